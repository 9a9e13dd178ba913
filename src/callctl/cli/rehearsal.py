"""``--dry-run``: the request exactly as it would be sent, with the secrets masked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from callctl.cli.runtime import Form, Runtime
from callctl.settings import Settings

if TYPE_CHECKING:
    from callctl.gateway import PlaceRequest

MASK = "***"
# A password within a URL, and that of a <Sip> noun.
_IN_URL = re.compile(r"(://[^/\s:@\"'<>?#]*):[^/\s@\"'<>?#]+@")
_IN_NOUN = re.compile(r"""(\bpassword\s*=\s*)("[^"]*"|'[^']*')""")


def show_request(runtime: Runtime, settings: Settings, url: str, request: PlaceRequest) -> None:
    """Write the request and its TwiML to stdout; one JSON object with ``--json``."""
    from callctl.views.foreign import printable

    form = [(name, masked(value, settings)) for name, value in request.parameters()]
    user = masked(settings.credentials().username, settings)
    twiml = masked(request.twiml, settings) if request.twiml else None
    if runtime.form is Form.JSON:
        record = {"v": 1, "type": "dry-run", "method": "POST", "url": url, "user": user, "password": MASK}
        runtime.write_json(record | {"form": form, "twiml": twiml})
        return
    lines = [f"POST {url}", f"Authorization: Basic {user}:{MASK}", ""]
    lines += [f"{name}={value}" for name, value in form]
    lines += ["", *twiml.split("\n")] if twiml else []
    for line in lines:
        runtime.write(printable(line))
    runtime.say("callctl: dry run: nothing was sent")


def masked(text: str, settings: Settings) -> str:
    """Return a text without the secrets of the settings and without passwords in URLs and ``<Sip>`` nouns."""
    for secret in (settings.auth_token, settings.api_key, settings.api_secret, settings.signing_token):
        text = text.replace(secret, MASK) if secret else text
    return _IN_NOUN.sub(rf'\1"{MASK}"', _IN_URL.sub(rf"\1:{MASK}@", text))
