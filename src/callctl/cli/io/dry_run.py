"""``--dry-run``: the request exactly as it would be sent, without the secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from callctl.cli.io.runtime import Form, Runtime
from callctl.errors import REDACTED, without_secrets
from callctl.settings import Settings

if TYPE_CHECKING:
    from callctl.api.requests import PlaceRequest, RedirectRequest


def show_request(
    runtime: Runtime,
    settings: Settings,
    url: str,
    request: PlaceRequest | RedirectRequest,
    *,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write the request and its TwiML to stdout; one JSON object with ``--json``, to which ``about`` is added."""
    from callctl.views.terminal_safe import printable

    form = [(name, _hidden(value, settings)) for name, value in request.parameters()]
    user = _hidden(settings.credentials().username, settings)
    twiml = _hidden(request.twiml, settings) if request.twiml else None
    if runtime.form is Form.JSON:
        record = {"v": 1, "type": "dry-run", "method": "POST", "url": url, "user": user, "password": REDACTED}
        runtime.write_json(record | {"form": form, "twiml": twiml} | dict(about or {}))
        return
    lines = [f"POST {url}", f"Authorization: Basic {user}:{REDACTED}", ""]
    lines += [f"{name}={value}" for name, value in form]
    lines += ["", *twiml.split("\n")] if twiml else []
    for line in lines:
        runtime.write(printable(line))


def say_nothing_was_sent(runtime: Runtime) -> None:
    """Say on stderr that nothing was sent, unless a JSON object says so."""
    if runtime.form is not Form.JSON:
        runtime.say("callctl: dry run: nothing was sent")


def _hidden(text: str, settings: Settings) -> str:
    """Return a text without the secrets of the settings, and without passwords in URLs and ``<Sip>`` nouns."""
    for secret in (settings.auth_token, settings.api_key, settings.api_secret, settings.signing_token):
        text = text.replace(secret, REDACTED) if secret else text
    return without_secrets(text)
