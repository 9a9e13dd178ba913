"""The listener's edge: where it is, how a request is read, and what one client may cost."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from callctl.addresses import is_loopback_host
from callctl.errors import CallctlError, PortTakenError
from callctl.signatures import SignedRequest

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
_log = logging.getLogger("callctl.intake")
_log.addHandler(logging.NullHandler())  # without one, Python would write to the terminal below the table


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may cost: ``body_bytes``, seconds for the header, the body and an idle connection, connections."""

    body_bytes: int = 64 * 1024
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    idle_seconds: float = 60.0
    connections: int = 256


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener is: bound to ``host`` and ``port``, and known to Twilio as ``public_url``, if at all."""

    host: str
    port: int
    path: str
    public_url: str | None

    @property
    def url(self) -> str:
        """The address on this machine, without a path."""
        host = _ANY_ADDRESS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def callback_url(self) -> str:
        """What to give Twilio: the public URL, or the local one where there is none."""
        return self.public_url or self.url + self.path

    @property
    def signed_urls(self) -> list[str]:
        """The URLs over which a callback may be signed: the public one, and the local one for a local simulator."""
        local = [self.url, *([f"http://localhost:{self.port}"] if is_loopback_host(self.host) else [])]
        return [*filter(None, [self.public_url]), *(url + self.path for url in local)]

    def is_callback(self, path: str) -> bool:
        """Tell whether callbacks arrive at a path; a trailing slash too many is left to the signature."""
        known = (self.path, urlsplit(self.callback_url).path)
        return path.rstrip("/") in {one.rstrip("/") for one in known}


class BodyRefusedError(Exception):
    """A body that is too long (413), too slow (408) or broken (400)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"body refused: {status}")
        self.status = status


class BoundedServer(web.Server):
    """Cuts clients that say nothing, and refuses more connections than the limit."""

    def __init__(self, answer: Answer, *, limits: Limits) -> None:
        self._limits = limits
        self._answer = answer
        self._waiting: dict[Any, asyncio.TimerHandle] = {}  # until the first request: connection and its time limit
        self._open: set[Any] = set()
        super().__init__(
            self._first_cut,
            keepalive_timeout=limits.idle_seconds,
            lingering_time=1.0,  # how long what a refused client still sends is thrown away
            auto_decompress=False,  # Twilio never compresses, and a small body could unfold into a large one
            access_log=None,
            logger=_log,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take in a connection, or refuse it where there are too many."""
        super().connection_made(handler, transport)
        if len(self._open) >= self._limits.connections:
            transport.abort()
            return
        self._open.add(handler)
        loop = asyncio.get_running_loop()
        self._waiting[handler] = loop.call_later(self._limits.header_seconds, transport.abort)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        self._open.discard(handler)
        self._heard(handler)
        super().connection_lost(handler, exc)

    def _heard(self, handler: object) -> None:
        timer = self._waiting.pop(handler, None)
        if timer is not None:
            timer.cancel()

    async def _first_cut(self, request: web.BaseRequest) -> web.StreamResponse:
        # A later header on the same connection falls under the limit for idle ones.
        self._heard(request.protocol)
        return await self._answer(request)


async def serve(answer: Answer, *, host: str, port: int, limits: Limits) -> tuple[web.ServerRunner, int]:
    """Listen; return what stops it, and the port, which is a free one where 0 was asked for.

    Raises:
        PortTakenError: Another process listens there.
        CallctlError: The address can't be bound.
    """
    # Whoever is being answered when it stops gets half a second.
    runner = web.ServerRunner(BoundedServer(answer, limits=limits), shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                f"the port is taken: {host}:{port}", hint="choose another with --port, or 0 for any"
            ) from error
        raise CallctlError(
            f"can't listen at {host}:{port}: {error.strerror or error}", hint="see --host and --port"
        ) from error
    return runner, int(runner.addresses[0][1])


def target_of(request: web.BaseRequest) -> str:
    """Return path and query as they stood in the request line, where a proxy may have put scheme and host too."""
    target = str(request.raw_path)
    return target if target.startswith("/") else "/" + target.partition("://")[2].partition("/")[2]


async def read_form(request: web.BaseRequest, *, limits: Limits) -> tuple[list[tuple[str, str]], SignedRequest]:
    """Read the form of a POST or GET, blanks included, and what of the request is signed.

    Raises:
        BodyRefusedError: The body or the form is too long, comes too slowly, or breaks off.
    """
    body = await _read_body(request, limits=limits)
    target = target_of(request)
    if request.method == "GET":
        return _pairs(target.partition("?")[2]), SignedRequest.read(target, request.headers, pairs=())
    if request.content_type == "application/json":
        return [], SignedRequest.read(target, request.headers, pairs=(), json_body=body)
    pairs = _pairs(body.decode("utf-8", "replace"))
    return pairs, SignedRequest.read(target, request.headers, pairs=pairs)


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=2000)
    except ValueError as error:
        raise BodyRefusedError(400) from error


async def _read_body(request: web.BaseRequest, *, limits: Limits) -> bytes:
    if (request.content_length or 0) > limits.body_bytes:
        raise BodyRefusedError(413)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise BodyRefusedError(413)
    except TimeoutError as error:
        raise BodyRefusedError(408) from error
    except (OSError, web.RequestPayloadError) as error:
        raise BodyRefusedError(400) from error
    return bytes(body)


def not_allowed(methods: str) -> web.Response:
    """Return the answer to a method that the path does not know."""
    return web.Response(status=405, headers={"Allow": methods})
