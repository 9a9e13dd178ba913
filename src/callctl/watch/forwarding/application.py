"""One application of yours: how a request is sent to its URL, and what comes back."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from callctl.errors import SettingsError, without_secrets
from callctl.support.connection_errors import reason_of, tls_reason
from callctl.support.urls import is_loopback_url, joined_queries
from callctl.watch.forwarding.name_lookup import NameLookup
from callctl.watch.listener.server import ReceivedRequest

# Twilio gives up after 15 s (docs/twilio.md, "Delivery").
LIMIT = 15.0
LONGEST = 65536  # bytes of an answer with TwiML
# A connection is used again within so many seconds. Applications close one that is idle for longer (gunicorn after
# 2 s, Node and uvicorn after 5), and a request that is sent just then is lost.
_KEPT_FOR = 0.5
# With these an application says that it could not take the request now. With any other below 500 it has answered.
_RETRIED = (408, 425, 429)

# What belongs to one connection and not to the request (RFC 9110, section 7.6.1), and what is counted anew.
_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "content-length", "expect",
    }
)  # fmt: skip
_FORWARDED_HOST, _FORWARDED_PROTO = "X-Forwarded-Host", "X-Forwarded-Proto"
# What aiohttp would add by itself.
_OWN_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an application answered: after how many ``seconds``, and with which status, or why there is none.

    ``is_untrusted`` means that its certificate was not accepted. ``headers`` are as they came: Set-Cookie may be
    there more than once. Of a ``body`` that is longer than Twilio takes, only the beginning is there. With
    ``is_hopeless`` the same request fails whenever it is sent.
    """

    seconds: float
    status: int | None = None
    failure: str | None = None
    is_untrusted: bool = False
    is_hopeless: bool = False
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """Status, or what failed, and time in a few words."""
        return f"{self.status if self.failure is None else self.failure} in {self.seconds * 1000:.0f} ms"

    @property
    def is_answered(self) -> bool:
        """Whether the application has answered the request, be it by refusing it."""
        return self.status is not None and self.status < 500 and self.status not in _RETRIED

    @property
    def is_too_long(self) -> bool:
        """Whether Twilio would not take its body as TwiML."""
        return len(self.body) > LONGEST

    @property
    def reason(self) -> str | None:
        """Why it was not taken, in words; None if it was."""
        return None if self.is_answered else self.failure or f"HTTP {self.status}"


class Application:
    """An application at a URL. ``shown`` is the URL without a password."""

    def __init__(
        self,
        url: str,
        *,
        verify: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        keeps_connections: bool = True,
        has_paths: bool = False,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: Where it is.
            verify: Whether its certificate must be one that is trusted.
            clock: Returns seconds.
            keeps_connections: Whether a connection is used again, if soon. An application may close it just then,
                and the request is lost.
            has_paths: Whether a request to a path that the listener does not serve goes to the same path here.
        """
        self.given, self.url, self.shown = url, URL(url), without_secrets(url)
        self._verify, self._clock, self._keeps_connections = verify, clock, keeps_connections
        self._has_paths = has_paths
        self._takes_any_host = is_loopback_url(url)  # one under development, which verifies by the Host that came
        self._http: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Get ready to send; call it in the event loop.

        Raises:
            SettingsError: The certificates that SSL_CERT_FILE names can't be read.
        """
        tls = _trusted(os.environ) if self._verify and self.url.scheme == "https" else False
        kept_for: dict[str, Any] = (
            {"keepalive_timeout": _KEPT_FOR} if self._keeps_connections else {"force_close": True}
        )
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, resolver=NameLookup(), **kept_for),
            timeout=aiohttp.ClientTimeout(total=LIMIT),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    def target_of(self, received: ReceivedRequest) -> URL:
        """Return where a request goes that was received here: to the URL, with the request's own query.

        The URL's query is there too, but for names that the request's has: a number's URL here keeps the query of the
        application's own, which is often the one that was given.
        """
        path, _, query = received.target.partition("?")
        if self._is_at_path(received):
            path = self._without_folder(path, received.folder)
            root = str(self.url.with_path("/")).removesuffix("/")
            return URL(f"{root}{path}?{query}" if query else root + path, encoded=True)
        if not query:
            return self.url
        text = str(self.url.with_query(None).with_fragment(None))
        return URL(f"{text}?{joined_queries(self.url.raw_query_string, query)}", encoded=True)

    def _without_folder(self, path: str, folder: str) -> str:
        """Return a path as the application has it: without the folder of the public URL, unless it is below that too.

        There it is left out where it comes twice, as in the URL that ``doctor`` has a number keep its path in.
        """
        rest = path.removeprefix(folder)
        is_below = self.url.raw_path.startswith(f"{folder}/")
        return rest if folder and (not is_below or rest.startswith(f"{folder}/")) else path

    def name_of(self, received: ReceivedRequest) -> str:
        """Return where a request goes, for a message: the URL as it was given, or with the request's own path."""
        return self._path_of(received) or self.given

    def kept_url(self, received: ReceivedRequest) -> str:
        """Return the URL to which the event of a request is to be sent later; the query of a GET is its form."""
        if received.method == "GET":
            return self._path_of(received) or self.shown
        return without_secrets(str(self.target_of(received)))

    def _path_of(self, received: ReceivedRequest) -> str | None:
        if not self._is_at_path(received):
            return None
        return without_secrets(str(self.target_of(received).with_query(None)))

    def _is_at_path(self, received: ReceivedRequest) -> bool:
        return self._has_paths and received.is_elsewhere

    async def pass_on(self, received: ReceivedRequest, *, via: str) -> Answer:
        """Send a request as it was received, but for a ``Via`` (RFC 9110, section 7.6.3) that names ``via``."""
        headers = CIMultiDict([*self._headers(received), ("Via", f"1.1 {via}")])
        return await self.send(received.method, self.target_of(received), headers=headers, body=received.body)

    async def send(self, method: str, url: URL, *, headers: CIMultiDict[str], body: bytes) -> Answer:
        """Send a request with these headers, and return the answer. A redirect is not followed."""
        if self._http is None:
            raise RuntimeError("the application was not opened")
        began = self._clock()
        try:
            async with self._http.request(
                method, url, data=body or None, headers=headers, skip_auto_headers=_OWN_HEADERS, allow_redirects=False
            ) as reply:
                if reply.status < 200:  # 101: an upgrade that was not requested
                    return Answer(self._clock() - began, failure=f"no usable answer (HTTP {reply.status})")
                body = await _read(reply)
                return Answer(self._clock() - began, reply.status, body=body, headers=tuple(reply.headers.items()))
        except TimeoutError:
            return Answer(self._clock() - began, failure="no answer")
        except (aiohttp.ClientError, ValueError) as error:  # the latter for what can't be sent
            untrusted = isinstance(error, aiohttp.ClientConnectorCertificateError)
            return Answer(self._clock() - began, failure=_why(error), is_untrusted=untrusted)

    def _headers(self, received: ReceivedRequest) -> list[tuple[str, str]]:
        headers = [(_text(name), _text(value)) for name, value in received.headers]
        names = {name.lower() for name, _ in headers}
        left_out = {
            word.strip().lower() for name, value in headers if name.lower() == "connection" for word in value.split(",")
        }
        if self.url.user is not None:  # credentials in the URL replace those that Twilio sent
            left_out.add("authorization")
        if not self._takes_any_host:
            # Its own Host, which is added: by it a hosting platform finds the application. The one to which Twilio sent
            # the request stands where frameworks look for it.
            left_out.add("host")
            sent_to = [value for name, value in headers if name.lower() == "host"]
            if sent_to and _FORWARDED_HOST.lower() not in names:
                headers.append((_FORWARDED_HOST, sent_to[0]))
        if received.is_https and _FORWARDED_PROTO.lower() not in names:
            headers.append((_FORWARDED_PROTO, "https"))  # by it a framework makes URLs, and checks signatures
        return [(name, value) for name, value in headers if name.lower() not in _HOP | left_out]


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > LONGEST:
            reply.close()
            break
    return bytes(body[: LONGEST + 1])


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _trusted(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return the usual certificates, and those of the file or folder that SSL_CERT_FILE names."""
    context = ssl.create_default_context()
    if named := environ.get("SSL_CERT_FILE"):
        try:
            is_folder = Path(named).is_dir()
            context.load_verify_locations(cafile=None if is_folder else named, capath=named if is_folder else None)
        except OSError as error:
            raise SettingsError(
                f"the certificates that SSL_CERT_FILE names can't be read: {named}: {reason_of(error)}",
                hint="correct or unset SSL_CERT_FILE",
            ) from error
    return context


def _why(error: aiohttp.ClientError | ValueError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted ({tls_reason(error.certificate_error)})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"can't connect ({reason_of(error.os_error)})"
    return f"no usable answer ({type(error).__name__})"
