"""The SDK's HTTP client, made fit for a command that must not hang, and the SDK's client around it.

Only this module and ``faults`` know twilio and requests; the gateway imports both late, so that a command that sends
nothing does not pay for them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from requests import ReadTimeout, Request
from requests.adapters import HTTPAdapter

# The SDK's base client signs requests in, names itself and encodes; nothing of it knows the resources. The full
# client's Calls resource would load a hundred modules more, and parse replies into objects that lose the time zone of
# dates, the headers of errors and the code of list errors (sheet section 12).
from twilio.base.client_base import ClientBase
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response

from callctl import __version__
from callctl.errors import SettingsError
from callctl.gateway.faults import FAULTS
from callctl.gateway.replies import Reply

# Replies come in pages of 1,000 calls, about 1.2 kB each; what is larger than this is no reply.
MAX_BODY = 64 * 1024 * 1024
_CHUNK = 64 * 1024
# As many as threads may ask at once; beyond it urllib3 would throw connections away, and log that.
_POOL_SIZE = 64


class TimeLimitedHttpClient(TwilioHttpClient):  # type: ignore[misc] # the library is untyped
    """The SDK's HTTP client with a time limit on whole replies, one pool, and the environment's certificates."""

    def __init__(self, *, timeout: float, loopback: bool, encrypted: bool) -> None:
        super().__init__(timeout=timeout)
        self.session.verify = _certificates(os.environ) if encrypted else True
        # A proxy can't reach our loopback; and no .netrc has anything to say there.
        self.session.trust_env = not loopback
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=_POOL_SIZE)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)

    def request(
        self,
        method: str,
        url: str,
        params: Any = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the SDK's signature; the limit is the client's
        allow_redirects: bool = False,  # noqa: ARG002 - likewise: the token goes to no other host
    ) -> Response:
        """Send one request and read its reply, both within the time limit.

        ``requests`` limits the wait for each piece alone, so that a server that sends a byte now and then would hold
        a command for ever; hence the reply is read here, piece by piece.

        Raises:
            requests.RequestException: No reply came, or it broke off.
            urllib3.exceptions.HTTPError: It broke off while it was read.
        """
        question = {"method": method.upper(), "url": url, "params": params, "headers": headers}
        self.log_request(question)
        deadline = time.monotonic() + self.timeout
        prepared = self.session.prepare_request(Request(**question, data=data, auth=auth))
        environment = self.session.merge_environment_settings(prepared.url, {}, True, None, None)
        with self.session.send(prepared, allow_redirects=False, timeout=self.timeout, **environment) as reply:
            body = _read(reply.raw, deadline=deadline)
        self.log_response(reply.status_code, reply)
        # JSON is UTF-8 whatever the header says; without a header the library would guess, and take long over it.
        return Response(reply.status_code, body.decode("utf-8", "replace"), reply.headers)


def _read(raw: Any, *, deadline: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    # What the socket has, not a full chunk: only so is the clock looked at between two pieces.
    read = getattr(raw, "read1", raw.read)
    while piece := read(_CHUNK, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if time.monotonic() > deadline or size > MAX_BODY:
            raise ReadTimeout("the reply did not end")
    return b"".join(pieces)


def _certificates(environ: Mapping[str, str]) -> str | bool:
    """Return the file or folder of certificates to trust, or True for the usual ones.

    Raises:
        SettingsError: A variable names one that is not there.
    """
    # requests honours the first two by itself, but not where the environment is not to be trusted (a loopback
    # address); the third, which OpenSSL and most tools honour, it ignores.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if path := environ.get(name):
            if os.path.exists(path):  # noqa: PTH110 - Path's raises where one may not look
                return path
            raise SettingsError(f"{name} names a file that is not there: {path}", hint=f"correct or unset {name}")
    return True


class Client:
    """The SDK's client for one account at one API address. Safe for use from several threads.

    ``faults`` are the exceptions that mean that no whole reply came.
    """

    faults = FAULTS

    def __init__(self, *, username: str, secret: str, timeout: float, loopback: bool, encrypted: bool) -> None:
        self._sdk = ClientBase(
            username,
            secret,
            http_client=TimeLimitedHttpClient(timeout=timeout, loopback=loopback, encrypted=encrypted),
            # Not os.environ, which an empty mapping would mean: an exported region would mangle the address's host
            # (sheet section 8, Hosts). The settings have put region and edge into it.
            environment={"TWILIO_REGION": ""},
            user_agent_extensions=[f"callctl/{__version__}"],
        )

    def get(self, url: str) -> Reply:
        """Ask for a resource."""
        return _reply(self._sdk.request("GET", url), url=url)

    def post(self, url: str, form: Sequence[tuple[str, str]]) -> Reply:
        """Send a form; a name may stand in it several times."""
        return _reply(self._sdk.request("POST", url, data=list(form)), url=url)


def _reply(response: Response, *, url: str) -> Reply:
    return Reply(host=urlsplit(url).netloc, status=response.status_code, headers=response.headers, text=response.text)
