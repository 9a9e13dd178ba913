"""Forwards verified requests to a local application, unchanged: the signature, the headers, the form.

Status callbacks are forwarded after they are acknowledged, so that a slow application delays nothing. A request for
TwiML is forwarded before, for its answer is what Twilio waits for.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import SettingsError
from callctl.support.threads import describe
from callctl.support.urls import is_loopback_url, reason_of, tls_reason
from callctl.watch.listener.server import ReceivedRequest

# Twilio gives up after 15 s (docs/twilio.md, "Delivery").
LIMIT = 15.0
# The most requests that are under way, and that wait; further ones are dropped, which is reported.
AT_ONCE = 8
WAITING = 1000
_LONGEST = 65536  # bytes of an answer with TwiML
# How often the same request is forwarded at most. Twilio sends a callback six times at most: once, and the five retries
# of #rc=5 (docs/twilio.md, "Delivery"). A call whose TwiML goes round asks again and again, but not within a second.
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
# Headers of an application's answer that mean something to Twilio; the rest belongs to its connection to us.
_ANSWER_HEADERS = ("content-type", "content-encoding", "location", "cache-control", "set-cookie")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_LOOP = 508  # Loop Detected (RFC 5842, section 7.2)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the application answered: ``seconds`` it took, and its status, or why there is none.

    ``is_untrusted`` means that its certificate was not accepted. ``headers`` are as they came: Set-Cookie may be there
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
    """Forwards requests to one URL, whose path and query stand in place of those here.

    Each carries a ``Via`` (RFC 9110, section 7.6.3), by which one that comes back is recognised. Else it is unchanged.
    One that comes back without it is recognised by how often it comes.
    """

    def __init__(
        self,
        url: str,
        *,
        note: Callable[[str], None],
        trouble: Callable[[Trouble], None],
        verify: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare; nothing is sent yet. Without ``verify`` any certificate is accepted.

        ``note`` is given each answer in words, ``trouble`` what failed; neither may be slow. ``clock`` is in seconds.
        """
        self._given, self._url, self._verify = url, URL(url), verify
        self._note, self._trouble, self._clock = note, trouble, clock
        self._via = f"callctl-{secrets.token_hex(8)}"
        self._queue: asyncio.Queue[ReceivedRequest] = asyncio.Queue(WAITING)
        self._workers: list[asyncio.Task[None]] = []
        self._http: aiohttp.ClientSession | None = None
        self._forwarded: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how often, and when last; by signature
        self._reported: set[str] = set()
        self._dropped = self._unfinished = 0

    def start(self) -> None:
        """Begin to forward what is put in; call it in the event loop.

        Raises:
            SettingsError: The certificates that SSL_CERT_FILE names can't be read.
        """
        tls = _trusted(os.environ) if self._verify and self._url.scheme == "https" else False
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls),
            timeout=aiohttp.ClientTimeout(total=LIMIT),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._workers = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]

    async def stop(self, limit: float = 0.0) -> None:
        """Forward what still waits, for ``limit`` seconds at most; what then is left is not forwarded."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._queue.join()
        if limit and (left := self._unfinished):
            what = f"{left} requests were not passed on to {self._given}, which is too slow: the listener ends"
            self._trouble(Trouble(what, Cause.FORWARD, url=self._given))
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def put(self, received: ReceivedRequest, *, asks_for_twiml: bool = False) -> None:
        """Forward a request that is acknowledged, but none that came back from there; return at once."""
        if self._comes_back(received, asks_for_twiml=asks_for_twiml):
            return
        try:
            self._queue.put_nowait(received)
            self._unfinished += 1
        except asyncio.QueueFull:
            self._dropped += 1
            if self._dropped & (self._dropped - 1) == 0:  # the first, second, fourth, eighth …
                what = f"{self._given} is too slow: {self._dropped} requests were not passed on"
                self._trouble(Trouble(what, Cause.FORWARD, url=self._given))

    async def answer(self, received: ReceivedRequest) -> web.Response:
        """Return the application's answer to a request for TwiML."""
        if self._comes_back(received, asks_for_twiml=True):
            return web.Response(status=_LOOP)
        answer = await self._ask(received)
        self._report(received, answer)
        if answer.status is None:
            return web.Response(status=502)
        # A header with a control character can't be sent, and an answer without it is better for the call than none.
        headers = [(name, _CONTROL.sub("", value)) for name, value in answer.headers if name.lower() in _ANSWER_HEADERS]
        return web.Response(status=answer.status, body=answer.body, headers=CIMultiDict(headers))

    def _comes_back(self, received: ReceivedRequest, *, asks_for_twiml: bool) -> bool:
        via = self._via.encode()
        if any(name.lower() == b"via" and via in value for name, value in received.headers):
            what = f"--forward-to {self._given} leads back to this watch: give it the address of your application"
        elif self.is_repeated(received, asks_for_twiml=asks_for_twiml):
            what = (
                f"--forward-to {self._given}: what is passed on comes back here, again and again: a request that "
                "has come so often is not passed on any more; see where your application sends what it is given"
            )
        else:
            return False
        self._report_once(Trouble(what, Cause.FORWARD, url=self._given))
        return True

    def is_repeated(self, received: ReceivedRequest, *, asks_for_twiml: bool) -> bool:
        """Count a request; return whether it was forwarded so often that the application must be sending it back.

        What an application sends back may lack the ``Via``, but not the signature, or it would be refused. A request
        for TwiML counts where it follows the one before within a second.
        """
        now, signature = self._clock(), received.signed.signature or ""
        times, last = self._forwarded.pop(signature, (0, now))
        if asks_for_twiml and now - last > _TURN:
            times = 0
        self._forwarded[signature] = min(times + 1, _MOST_TIMES + 1), now
        if len(self._forwarded) > _REMEMBERED:
            self._forwarded.popitem(last=False)
        return times >= _MOST_TIMES

    async def _work(self) -> None:
        while True:
            received = await self._queue.get()
            began = self._clock()
            try:
                answer = await self._ask(received)
            except Exception as error:  # one request that can't be forwarded must not end what forwards the next
                answer = Answer(self._clock() - began, failure=f"not passed on ({describe(error)})")
            self._report(received, answer)
            self._unfinished -= 1
            self._queue.task_done()

    def _report(self, received: ReceivedRequest, answer: Answer) -> None:
        fields = dict(received.pairs)
        call = " ".join(filter(None, (fields.get("CallSid"), fields.get("CallStatus"))))
        what = f"→ {self._given}  {answer.text}  {call}".rstrip()
        if answer.status is None or answer.status >= 500:
            sid = fields.get("CallSid")
            self._trouble(Trouble(what, Cause.FORWARD, url=self._given, status=answer.status, call_sid=sid))
        else:
            self._note(what)
        if answer.is_untrusted:
            what = "SSL_CERT_FILE names the file of a CA to trust, or of your application's own certificate"
            what += "; --forward-insecure accepts any" if is_loopback_url(self._given) else ""
            self._report_once(Trouble(what, Cause.FORWARD, url=self._given))

    def _report_once(self, trouble: Trouble) -> None:
        if trouble not in self._reported:
            self._reported.add(trouble)
            self._trouble(trouble)

    async def _ask(self, received: ReceivedRequest) -> Answer:
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
                if reply.status < 200:  # 101: an upgrade that was not requested
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

    def _target(self, received: ReceivedRequest) -> URL:
        query = received.target.partition("?")[2]
        if not query:
            return self._url
        own = self._url.raw_query_string
        text = str(self._url.with_query(None).with_fragment(None))
        return URL(f"{text}?{own}&{query}" if own else f"{text}?{query}", encoded=True)

    def _headers(self, received: ReceivedRequest) -> CIMultiDict[str]:
        headers = [(_text(name), _text(value)) for name, value in received.headers]
        left_out = {
            word.strip().lower() for name, value in headers if name.lower() == "connection" for word in value.split(",")
        }
        if self._url.user is not None:  # credentials in the URL take the place of those that Twilio sent
            left_out.add("authorization")
        kept = [(name, value) for name, value in headers if name.lower() not in _HOP | left_out]
        return CIMultiDict([*kept, ("Via", f"1.1 {self._via}")])


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
