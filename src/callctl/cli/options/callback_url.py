"""Where a new call shall send its status callbacks: the URL that was given, a running watch, or the public URL."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from callctl.cli.io.runtime import Runtime
from callctl.cli.options.another_store import say_another_store
from callctl.cli.options.checks import check_reachable
from callctl.errors import CallctlError, UsageError, without_secrets, without_user_info
from callctl.settings import Settings
from callctl.support.urls import is_http_url, is_loopback_url, scheme_hint, with_fragment

if TYPE_CHECKING:
    from callctl.watch.options import Ready
    from callctl.watch.registry.record import WatchRecord

STATUS_PATH = "/status"
# How Twilio shall deliver to a listener (docs/twilio.md, "Delivery"): try again, up to five times, also when it answers
# with a 5xx or not at all, as while it is restarted. Twilio takes 15 seconds for all of it at most.
RETRIES = "rc=5&rp=5xx,ct,rt"
# A listener is quick to connect to and to answer, so give up each try early: there is time for three that fail late.
_EARLY = "&ct=2000&rt=3000"


def find_callback(runtime: Runtime, settings: Settings, given: str | None) -> str | None:
    """Return the callback URL for a call, or None for none, having said on stderr what was chosen and why.

    ``given`` (a URL or ``none``) goes first, and as it was given; then a running watch of the same account and API
    address that answers, then ``CALLCTL_PUBLIC_URL``, these two with what makes Twilio try again.

    Raises:
        UsageError: The URL that was given can't work.
    """
    if given is not None:
        return _as_given(runtime, settings, given)
    record, is_known = look_for_watch(runtime, settings)
    if record is not None:
        return _of_watch(runtime, settings, record)
    return _of_public_url(runtime, settings, is_known=is_known)


def find_callback_of_live(runtime: Runtime, settings: Settings, given: str | None, *, by_url: bool) -> str | None:
    """Return where a call in progress shall report from now on, or None to leave that as it is.

    Nothing is changed unless requested: ``given`` is a URL, ``watch`` for the running watch (else the public URL), or
    ``none``, as if it were not given: Twilio has no way to take a status callback away.

    Raises:
        UsageError: The URL can't work, no watch runs, or the redirect is not ``by_url``: then Twilio ignores a new
            status callback (docs/twilio.md, "REST: updating a call").
    """
    if given is None or given.lower() == "none":
        return None
    if not by_url:
        raise UsageError(
            "--status-callback goes with --url: beside TwiML, Twilio ignores it",
            hint="give --url; `callctl watch --serve NAME=FILE` serves a file of TwiML at a URL",
        )
    if given.lower() != "watch":
        return _as_given(runtime, settings, given)
    record, is_known = look_for_watch(runtime, settings)
    if record is not None:
        return _of_watch(runtime, settings, record)
    if settings.public_url is not None:
        return _of_public_url(runtime, settings, is_known=is_known)
    why, start = why_none(settings, is_known=is_known)
    raise UsageError(f"--status-callback watch: {why}", hint=f"{start}, or give a URL")


def _as_given(runtime: Runtime, settings: Settings, given: str) -> str | None:
    if given.lower() == "none":
        return None
    if not is_http_url(given):
        raise UsageError(
            f"--status-callback is neither a URL nor none: {without_user_info(given)}",
            hint=scheme_hint(given, otherwise="an absolute http or https URL; none means no callbacks"),
        )
    check_reachable(settings, given, what="--status-callback")
    _warn_of_another_spelling(runtime, settings, given)
    return given


def _warn_of_another_spelling(runtime: Runtime, settings: Settings, given: str) -> None:
    """Say that a URL is that of a watch or listener here but for its spelling: callbacks are signed with that."""
    from callctl.watch.registry.registry import running

    try:
        watches = list(running(settings))
    except CallctlError:
        return
    if not watches:
        return
    from callctl.doctor.numbers import Listeners
    from callctl.doctor.spelling import difference

    listeners = Listeners.of(watches, retries=RETRIES)
    but, what = listeners.has_but_for(given), "callbacks may be lost"
    own = listeners.corrected(given)
    own = own if listeners.has(own) else listeners.to_paste
    if (slashed_like := listeners.slashed_like(given)) is not None:
        but, what, own = difference(given, slashed_like), "the application gets callbacks at that path", slashed_like
    if but is not None:
        own = without_secrets(own if _understands_retries(settings) else own.partition("#")[0])
        runtime.say(
            f"callctl: warning: --status-callback is the URL of a running listener, but {but}: {what}\n"
            f"hint: give {shlex.quote(own)}"
        )


def look_for_watch(runtime: Runtime, settings: Settings) -> tuple[WatchRecord | None, bool]:
    """Return the record of the running watch or listener, if there is one, and whether it could be looked for.

    Why it can't be is said.
    """
    from callctl.watch.registry.registry import find

    try:
        return find(settings), True
    except CallctlError as error:
        runtime.warn(error, before="watches and listeners can't be looked for: ")
        return None, False


def _of_watch(runtime: Runtime, settings: Settings, record: WatchRecord) -> str:
    from callctl.watch.registry.health import trouble_of
    from callctl.watch.registry.registry import keeps_another_store

    if keeps_another_store(settings, record):
        say_another_store(runtime, settings, record)
    runtime.say(f"callctl: status callbacks go to the running {record.noun}, {without_secrets(record.callback_url)}")
    if why := trouble_of(record):
        look = f"see what the {record.noun} says; `callctl doctor` looks for the cause"
        runtime.say(f"callctl: warning: {why}, so that they may be lost\nhint: {look}")
    return with_retries(settings, record.callback_url)


def _of_public_url(runtime: Runtime, settings: Settings, *, is_known: bool) -> str | None:
    why, start = why_none(settings, is_known=is_known)
    if settings.public_url is None:
        runtime.say(
            f"callctl: no status callbacks: {why}\nhint: {start}, or give --status-callback URL (none says you mean it)"
        )
        return None
    callback = with_status_path(settings.public_url)
    check_reachable(settings, callback, what="CALLCTL_PUBLIC_URL")
    # A file that was found, not named, may be somebody else's.
    named = settings.named("CALLCTL_PUBLIC_URL")
    runtime.say(f"callctl: {why}; status callbacks go to {named}, {without_secrets(callback)}")
    return with_retries(settings, callback)


def stopped_watch(settings: Settings) -> WatchRecord | None:
    """Return the record of a watch that is stopped (Ctrl-Z), or None."""
    from callctl.watch.registry.registry import stopped

    try:
        return stopped(settings)
    except CallctlError:
        return None  # mentioned when a running one was looked for


def idle_watch(settings: Settings) -> tuple[str, str] | None:
    """Say of a watch that takes no callbacks in why that is, and what to do about it: stopped, or still starting.

    None if there is none. One that is still starting is looked for at the port that is set.
    """
    from callctl.watch.registry.health import health_url_at, is_starting, starting_in_words
    from callctl.watch.registry.process import resume_hint, stopped_in_words

    stopped = stopped_watch(settings)
    if stopped is not None:
        return stopped_in_words(stopped), resume_hint(stopped)
    if settings.port and is_starting(health_url_at(settings.port), settings.world):
        return starting_in_words(settings.port), "wait until it says where it listens"
    return None


def why_none(settings: Settings, *, is_known: bool) -> tuple[str, str]:
    """Say why no watch takes callbacks in, and what to do about it; ``is_known``: whether it could be looked for."""
    if (idle := idle_watch(settings)) is not None:
        return idle
    if not is_known:
        return "it is not known whether a watch or listener runs", "mend what keeps that from being known"
    return "no watch or listener is running", "start `callctl watch` or `callctl listen` first"


def with_status_path(url: str) -> str:
    """Return a public URL with ``/status`` appended if it has no path of its own, and no ``#`` with nothing behind."""
    parts = urlsplit(url)
    return parts._replace(path=STATUS_PATH).geturl() if parts.path in ("", "/") else url.removesuffix("#")


def with_retries(settings: Settings, url: str) -> str:
    """Return a callback URL of callctl's own with the fragment that makes Twilio try again.

    A fragment that is there is left alone.
    """
    return with_fragment(url, f"{RETRIES}{_EARLY}") if _understands_retries(settings) else url


def _understands_retries(settings: Settings) -> bool:
    """Return whether the API takes a fragment for what it is: another service might sign it."""
    return settings.is_twilio or settings.is_loopback


def with_retries_to_paste(ready: Ready) -> str:
    """Return the callback URL of a listener as people paste it elsewhere: shorter, and to the same effect."""
    url = ready.callback_url
    understood = ready.is_twilio or is_loopback_url(ready.api_url)
    return with_fragment(url, RETRIES) if understood else url
