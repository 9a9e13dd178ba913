"""Verified requests passed on to a local application, unchanged: the signature, the headers, the form.

Status callbacks are passed on after they are acknowledged, so that a slow application delays nothing. A request for
TwiML is passed on before, for its answer is what Twilio waits for.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from callctl.errors import SettingsError
from callctl.support.threads import describe
from callctl.support.urls import reason_of, tls_reason
from callctl.watch.listener.received import Received

# Twilio gives up after 15 s (docs/twilio.md, "Delivery").
LIMIT = 15.0
# So many requests at once, and so many that wait; what comes beyond is dropped and told of.
AT_ONCE = 8
WAITING = 1000
_LONGEST = 65536  # bytes of an answer with TwiML
# So often the same request is passed on. Twilio sends a callback six times at most: once, and the five retries of #rc=5
# (docs/twilio.md, "Delivery"). A call whose TwiML goes round asks again and again, but not within a second.
_MOST_TIMES = 10
_TURN = 1.0  # seconds
_REMEMBERED = 8192  # requests; more than can go round at once, for no more than WAITING wait here

# What belongs to one connection and not to the request (RFC 9110, section 7.6.1), and what is counted anew.
_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "content-length", "expect",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What the application said: ``seconds`` it took, and its status, or why there is none.

    ``is_untrusted`` tells that its certificate was not accepted. ``headers`` are as they came: Set-Cookie may be there
    more than once.
    """

    seconds: float
    status: int | None = None
    failure: str | None = None
    is_untrusted: bool = False
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """Status and time in a few words."""
        return f"{self.status if self.failure is None else self.failure} in {self.seconds * 1000:.0f} ms"


class Forwarder:
    """Passes requests on to one URL, whose path and query stand in place of those here.

    Each carries a ``Via`` (RFC 9110, section 7.6.3), by which one that comes back is known. Else it is unchanged. One
    that comes back without it is known by how often it comes.

    ``told`` hears of each answer, and what was dropped; it may not be slow. ``clock`` is in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        told: Callable[[Received, Answer], None],
        dropped: Callable[[], None],
        clock: Callable[[], float],
        limit: float = LIMIT,
        verify: bool = True,
    ) -> None:
        """Prepare; nothing is sent yet. Without ``verify`` any certificate is accepted.

        Raises:
            SettingsError: The certificates that SSL_CERT_FILE names can't be read.
        """
        self._url = URL(url)
        self._tls = _trusted(os.environ) if verify and self._url.scheme == "https" else False
        self._told, self._dropped, self._clock, self._limit = told, dropped, clock, limit
        self._name = f"callctl-{secrets.token_hex(8)}"
        self._queue: asyncio.Queue[Received] = asyncio.Queue(WAITING)
        self._workers: list[asyncio.Task[None]] = []
        self._http: aiohttp.ClientSession | None = None
        self._passed_on: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how often, and when last; by signature

    def start(self) -> None:
        """Begin to pass on what is put in; call it in the event loop."""
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=self._limit),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._workers = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]

    async def stop(self) -> None:
        """Stop at once; what still waits is not passed on."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def put(self, received: Received) -> None:
        """Take a request to be passed on; return at once."""
        try:
            self._queue.put_nowait(received)
        except asyncio.QueueFull:
            self._dropped()

    def has_passed_on(self, received: Received) -> bool:
        """Tell whether a request was passed on from here already: the URL leads back to this watch."""
        return any(name.lower() == b"via" and self._name.encode() in value for name, value in received.headers)

    def goes_round(self, received: Received, *, asks_for_twiml: bool) -> bool:
        """Count a request; tell whether it was passed on so often that the application must be sending it back.

        What an application sends back may lack the ``Via``, but not the signature, or it would be refused. A request
        for TwiML counts where it follows the one before within a second.
        """
        now, signature = self._clock(), received.signed.signature or ""
        times, last = self._passed_on.pop(signature, (0, now))
        if asks_for_twiml and now - last > _TURN:
            times = 0
        self._passed_on[signature] = min(times + 1, _MOST_TIMES + 1), now
        if len(self._passed_on) > _REMEMBERED:
            self._passed_on.popitem(last=False)
        return times >= _MOST_TIMES

    async def _work(self) -> None:
        while True:
            received = await self._queue.get()
            began = self._clock()
            try:
                await self.ask(received)
            except Exception as error:  # one request that can't be passed on must not end what passes on the next
                self._told(received, Answer(self._clock() - began, failure=f"not passed on ({describe(error)})"))

    async def ask(self, received: Received) -> Answer:
        """Pass a request on and return the application's answer; it is told of as well."""
        answer = await self._ask(received)
        self._told(received, answer)
        return answer

    async def _ask(self, received: Received) -> Answer:
        if self._http is None:
            raise RuntimeError("the forwarder has not started")
        began = self._clock()
        try:
            async with self._http.request(
                received.method,
                self._target(received),
                data=received.body or None,
                headers=self._headers(received),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                allow_redirects=False,
            ) as reply:
                if reply.status < 200:  # 101: an upgrade that nobody asked for
                    return Answer(self._clock() - began, failure=f"no usable answer (HTTP {reply.status})")
                body = await _read(reply)
                if len(body) > _LONGEST:
                    return Answer(self._clock() - began, failure="an answer longer than Twilio takes (64 kB)")
                return Answer(self._clock() - began, reply.status, body=body, headers=tuple(reply.headers.items()))
        except TimeoutError:
            return Answer(self._clock() - began, failure="no answer")
        except (aiohttp.ClientError, ValueError) as error:  # the latter for what can't be sent
            untrusted = isinstance(error, aiohttp.ClientConnectorCertificateError)
            return Answer(self._clock() - began, failure=_why(error), is_untrusted=untrusted)

    def _target(self, received: Received) -> URL:
        query = received.target.partition("?")[2]
        if not query:
            return self._url
        own = self._url.raw_query_string
        text = str(self._url.with_query(None).with_fragment(None))
        return URL(f"{text}?{own}&{query}" if own else f"{text}?{query}", encoded=True)

    def _headers(self, received: Received) -> CIMultiDict[str]:
        headers = [(_text(name), _text(value)) for name, value in received.headers]
        left_out = {
            word.strip().lower() for name, value in headers if name.lower() == "connection" for word in value.split(",")
        }
        if self._url.user is not None:  # who signs in there by the URL does not sign in as Twilio does here
            left_out.add("authorization")
        kept = [(name, value) for name, value in headers if name.lower() not in _HOP | left_out]
        return CIMultiDict([*kept, ("Via", f"1.1 {self._name}")])


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > _LONGEST:
            reply.close()
            break
    return bytes(body[: _LONGEST + 1])


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
