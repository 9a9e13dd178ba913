"""The listener's HTTP server: how requests are read, and what one client may cost."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_plus

from aiohttp import HttpVersion11, web
from aiohttp.http import SERVER_SOFTWARE

from callctl.errors import CallctlError, PortTakenError
from callctl.support.connection_errors import reason_of
from callctl.support.server import ANSWER_SECONDS, OpenConnections, TcpServer, room_for_connections
from callctl.support.urls import hostname_of, is_loopback_host
from callctl.watch.listener.signature import SignedRequest

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# What `callctl replay` sends carries this header, with when it came first. It is taken for no event here.
REPLAY_HEADER: Final = "X-Callctl-Replay"
# A form with this field alone is a watch's self-test, signed; or, as a GET that is not signed, a query for which watch
# answers here. The answer says which, as /healthz does.
SELFTEST_FIELD: Final = "CallctlProbe"
SELFTEST_BYTES: Final = 16  # of its value, which is random, in hexadecimal
SelftestId = tuple[str, str]  # a self-test's method and random value
ACCOUNT_FIELD: Final = "AccountSid"  # in all that Twilio signs, near the beginning of the form
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "Via")  # what a proxy or a tunnel adds
_MOST_FIELDS = 2000  # Twilio sends about thirty
_OWN_FILES = 96  # kept free for the store, the tunnel, requests, and connections that were accepted but not counted yet
_LAST_WORDS = 0.5  # seconds in which answers must be written once the server has stopped
_SHORT = 2048  # characters of a form; Twilio's have less
_log = logging.getLogger("callctl.watch.listener.server")
_log.addHandler(logging.NullHandler())  # without one, Python would write to the terminal below the table


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may cost: ``body_bytes``, seconds for the header, the body and an idle connection, connections.

    ``store_seconds`` is how long an event may take to be stored: Twilio waits 15 s for an answer (docs/twilio.md,
    "Delivery"). ``twiml_store_seconds`` is how long a request for TwiML waits for that: a call must have its answer,
    stored or not. ``answer_seconds`` is how long a client may take to read an answer, where there is no room for
    another connection. ``stop_seconds`` is how long requests under way may still be answered once the server is to
    stop, and ``last_store_seconds`` how long an event may take to be stored from then on: as long as a commit may.
    """

    body_bytes: int = 64 * 1024
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    idle_seconds: float = 60.0
    connections: int = 256
    store_seconds: float = 10.0
    twiml_store_seconds: float = 1.0
    answer_seconds: float = ANSWER_SECONDS
    stop_seconds: float = 0.5
    last_store_seconds: float = 5.0


@dataclass(slots=True)
class ReceivedRequest:
    """One request as it came. ``headers`` keep their order and case; ``pairs`` is the form, blanks included.

    ``is_usual`` is whether it is of HTTP/1.1 and others may follow on its connection; ``is_elsewhere`` whether it came
    to a path of the application, which the listener itself does not serve; ``folder`` is what that path begins with of
    the public URL's, and the application's may not; ``is_https`` is whether its Host is that of an https URL of ours,
    before which a proxy or a tunnel takes the TLS away.
    """

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    pairs: tuple[tuple[str, str], ...]
    signed: SignedRequest
    is_usual: bool = False
    is_elsewhere: bool = False
    folder: str = ""
    is_https: bool = False

    @property
    def has_no_form(self) -> bool:
        """Whether it is a GET without the fields that Twilio sends, which is how it follows a 301, a 302 or a 303.

        No request that has them, and no self-test, can be cut again into such a one. Source: docs/twilio.md,
        "Delivery".
        """
        return self.method == "GET" and ACCOUNT_FIELD not in self.target and SELFTEST_FIELD not in self.target

    @property
    def is_selftest(self) -> bool:
        """Whether it is a watch's own self-test."""
        return len(self.pairs) == 1 and self.pairs[0][0] == SELFTEST_FIELD

    @property
    def asks_which_watch(self) -> bool:
        """Whether it queries which watch is here: sent before a self-test to an address not known to lead here."""
        return self.is_selftest and self.method == "GET" and self.signed.signature is None


class _NoContent(web.Response):
    """The answer 204 to a usual request: the same to all of a second, and nothing of it is made anew for each."""

    def __init__(self) -> None:
        super().__init__(status=204)
        self._second = 0
        self._head = b""

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open."""
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send it."""
        second = int(time.time())
        if second != self._second:
            self._second, date = second, formatdate(second, usegmt=True)
            self._head = f"HTTP/1.1 204 No Content\r\nDate: {date}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n".encode()
        if request.transport is not None:  # else the client is gone
            request.transport.write(self._head)

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing more: it has no body."""


_NO_CONTENT = _NoContent()


def _last(response: web.StreamResponse) -> web.StreamResponse:
    """Return an answer after which the connection is closed."""
    if response is _NO_CONTENT:
        response = web.Response(status=204)
    response.force_close()
    return response


class BodyRefusedError(Exception):
    """A body that is too long (413), too slow (408) or broken (400)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"body refused: {status}")
        self.status = status

    def answer(self) -> web.Response:
        """Return the answer, after which the connection is of no more use."""
        response = web.Response(status=self.status)
        response.force_close()
        return response


def most_connections(limits: Limits) -> int:
    """Return how many connections a listener may keep: fewer than ``limits`` say where few files may be open."""
    return room_for_connections(limits.connections, reserve=_OWN_FILES)


class BoundedServer(web.Server):
    """Closes a connection without a request after a while, and keeps at most ``limits.connections``.

    It keeps fewer where the limit of open files is low. ``on_refused`` is called for each that there is no room for.
    """

    def __init__(self, answer: Answer, *, limits: Limits, on_refused: Callable[[], object]) -> None:
        self._limits, self._on_refused = limits, on_refused
        self._answer = answer
        self._first_requests: dict[Any, asyncio.TimerHandle] = {}  # time limits until each connection's first request
        self._answering: set[Any] = set()  # connections with a request that is coming in, or being answered
        self._is_draining = False
        self._drained = asyncio.Event()
        self._open_connections = OpenConnections[Any](most_connections(limits), answer_seconds=limits.answer_seconds)
        super().__init__(
            self._bounded_answer,
            keepalive_timeout=limits.idle_seconds,
            lingering_time=1.0,  # how long what a refused client still sends is thrown away
            auto_decompress=False,  # Twilio never compresses, and a small body could unfold into a large one
            access_log=None,
            logger=_log,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Add a connection, or refuse it where there are too many."""
        super().connection_made(handler, transport)
        if self._open_connections.add(handler, transport):
            loop = asyncio.get_running_loop()
            self._first_requests[handler] = loop.call_later(self._limits.header_seconds, transport.abort)
        else:
            self._on_refused()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        self._open_connections.discard(handler)
        self._stop_timer(handler)
        super().connection_lost(handler, exc)

    def _stop_timer(self, handler: object) -> None:
        timer = self._first_requests.pop(handler, None)
        if timer is not None:
            timer.cancel()

    async def _bounded_answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection, content = request.protocol, request.content
        self._stop_timer(connection)  # a later header on the same connection falls under the limit for idle ones
        on_whole = None if content.is_eof() else content.on_eof
        if on_whole is not None:
            self._open_connections.received(connection)
        self._answering.add(connection)
        try:
            response = await self._open_connections.answering(connection, self._answer(request), on_whole=on_whole)
        finally:
            self._answering.discard(connection)
            if not self._answering:
                self._drained.set()
        return _last(response) if self._is_draining else response

    async def drain(self) -> None:
        """Answer the requests whose header is here, for ``stop_seconds`` at most, and close all other connections.

        aiohttp, when it shuts down, no longer reads: a request whose body is still on its way would never be whole.
        """
        self._is_draining = True
        for connection in self.connections:
            if connection not in self._answering:
                connection.force_close()
        self._drained.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.stop_seconds):
                if self._answering:
                    await self._drained.wait()


async def serve(
    answer: Answer, *, host: str, port: int, limits: Limits, on_refused: Callable[[], object] = lambda: None
) -> TcpServer:
    """Listen, at a free port where the port is 0; ``on_refused`` is called for each connection beyond the limit.

    Raises:
        PortTakenError: Another process listens there.
        CallctlError: The address can't be bound.
    """
    server = BoundedServer(answer, limits=limits, on_refused=on_refused)
    runner = web.ServerRunner(server, shutdown_timeout=_LAST_WORDS)
    await runner.setup()

    async def cleanup() -> None:
        await server.drain()
        await runner.cleanup()

    try:
        return await TcpServer.open(runner.server, cleanup=cleanup, host=host, port=port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                f"the port is taken: {host}:{port}", hint="choose another with --port, or 0 for any"
            ) from error
        raise CallctlError(
            f"can't listen at {host}:{port}: {reason_of(error)}",
            hint="--host says where to listen, --port at which port",
        ) from error


def target_of(request: web.BaseRequest) -> str:
    """Return path and query as they were in the request line, where a proxy may have put scheme and host too."""
    target = str(request.raw_path)
    return target if target.startswith("/") else "/" + target.partition("://")[2].partition("/")[2]


def is_from_here(request: web.BaseRequest, url: str) -> bool:
    """Return whether a request was sent from this machine to a URL on it, and not to another one by a proxy here."""
    if request.transport is None or any(name in request.headers for name in _FORWARDED):
        return False
    peer, own = (request.transport.get_extra_info(name) for name in ("peername", "sockname"))
    if not peer or not (is_loopback_host(peer[0]) or (own and peer[0] == own[0])):
        return False
    # Without the zone of an IPv6 address, which is not sent.
    host, own_host = (
        (hostname_of(each) or "").partition("%")[0] for each in (f"//{request.headers.get('Host', '')}", url)
    )
    return bool(host) and host == own_host


async def receive(request: web.BaseRequest, target: str, *, limits: Limits) -> ReceivedRequest:
    """Read a POST or GET: its form, what of it is signed, and what it takes to pass it on unchanged.

    Raises:
        BodyRefusedError: The body or the form is too long, comes too slowly, or breaks off.
    """
    body, headers, json_body = await _read_body(request, limits=limits), request.headers, None
    pairs: tuple[tuple[str, str], ...] = ()
    if request.method == "GET":
        pairs = _pairs(target.partition("?")[2])
    elif _is_json(request):
        json_body = body
    else:
        pairs = _pairs(body.decode("utf-8", "replace"))
    signed = SignedRequest.read(target, headers, pairs=() if request.method == "GET" else pairs, json_body=json_body)
    is_usual = request.keep_alive and request.version == HttpVersion11
    return ReceivedRequest(request.method, target, request.raw_headers, body, pairs, signed, is_usual)


def _is_json(request: web.BaseRequest) -> bool:
    sent = request.headers.get("Content-Type", "")
    # What Twilio sends is known without parsing.
    return not sent.startswith("application/x-www-form-urlencoded") and request.content_type == "application/json"


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Do what ``parse_qsl`` does, blanks kept, in a fraction of the time: most parts were read a moment ago."""
    if text.count("&") >= _MOST_FIELDS:
        raise BodyRefusedError(400)
    return tuple(map(_short_pair if len(text) <= _SHORT else _pair, filter(None, text.split("&"))))


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return unquote_plus(name), unquote_plus(value)


# Names, numbers and times come again and again. Those of short forms only, so that no client can fill the memory.
_short_pair = lru_cache(maxsize=1024)(_pair)


async def _read_body(request: web.BaseRequest, *, limits: Limits) -> bytes:
    content = request.content
    try:
        if content.is_eof():  # it came with its header, as nearly all do: no time limit need be set
            body = content.read_nowait()
        elif (request.content_length or 0) > limits.body_bytes:
            raise BodyRefusedError(413)
        else:
            chunks = bytearray()
            async with asyncio.timeout(limits.body_seconds):
                while len(chunks) <= limits.body_bytes and (chunk := await content.readany()):
                    chunks += chunk
            body = bytes(chunks)
    except TimeoutError as error:
        raise BodyRefusedError(408) from error
    except (OSError, web.RequestPayloadError) as error:
        raise BodyRefusedError(400) from error
    if len(body) > limits.body_bytes:
        raise BodyRefusedError(413)
    return body


def no_content(received: ReceivedRequest) -> web.Response:
    """Return the answer 204."""
    return _NO_CONTENT if received.is_usual else web.Response(status=204)


def not_allowed(methods: str) -> web.Response:
    """Return the answer to a method that the path does not know."""
    return web.Response(status=405, headers={"Allow": methods})
