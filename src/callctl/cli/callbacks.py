"""Where a new call shall send its status callbacks: what was asked for, a running watch, or the public URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from callctl.addresses import is_http_url
from callctl.cli.instructions import check_reachable
from callctl.cli.runtime import Runtime
from callctl.errors import UsageError
from callctl.settings import Settings

STATUS_PATH = "/status"


def find_callback(runtime: Runtime, settings: Settings, given: str | None) -> str | None:
    """Return the callback URL for a call, or None for none, having said on stderr what was chosen and why.

    ``given`` (a URL or ``none``) goes first, then a running watch of the same account and API address that
    answers, then ``CALLCTL_PUBLIC_URL``.

    Raises:
        UsageError: The URL that was asked for can't work.
    """
    if given is not None:
        return _as_given(settings, given)
    return _of_running_watch(runtime, settings) or _of_public_url(runtime, settings)


def _as_given(settings: Settings, given: str) -> str | None:
    if given.lower() == "none":
        return None
    if not is_http_url(given):
        raise UsageError(f"--status-callback is neither a URL nor none: {given}")
    check_reachable(settings, given, what="--status-callback")
    return given


def _of_running_watch(runtime: Runtime, settings: Settings) -> str | None:
    from callctl.presence import find

    record = find(settings)
    if record is None:
        return None
    runtime.say(f"callctl: status callbacks go to the running watch, {record.callback_url}")
    return record.callback_url


def _of_public_url(runtime: Runtime, settings: Settings) -> str | None:
    if settings.public_url is None:
        runtime.say(
            "callctl: no status callbacks: no watch is running\n"
            "hint: start `callctl watch` first, or give --status-callback URL (none says you mean it)"
        )
        return None
    callback = with_status_path(settings.public_url)
    check_reachable(settings, callback, what="CALLCTL_PUBLIC_URL")
    runtime.say(f"callctl: no watch is running; status callbacks go to CALLCTL_PUBLIC_URL, {callback}")
    return callback


def with_status_path(url: str) -> str:
    """Return a public URL with ``/status`` appended if it has no path of its own."""
    parts = urlsplit(url)
    return parts._replace(path=STATUS_PATH).geturl() if parts.path in ("", "/") else url
