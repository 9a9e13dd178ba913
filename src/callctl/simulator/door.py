"""The simulator's door: how many connections there may be at once, and for how long one may be silent.

Whoever connects and never finishes a request costs a file, and the process has only so many. No call may fail to fetch
its document, and no callback be lost, for want of one.
"""

import asyncio
import resource

from aiohttp import web

IDLE_SECONDS = 75.0  # real ones, without a request or in the midst of its header
LINGER_SECONDS = 1.0  # how long what a refused client still sends is thrown away, so that it reads the refusal
OWN_FILES = 500  # documents and callbacks take up to 400 (web.py), and the rest of the program some
LEAST = 64


def room() -> int:
    """Return how many connections the process's limit of open files leaves room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else max(soft - OWN_FILES, LEAST)


class Door:
    """Makes what answers each connection. Beyond the room there is, whoever has been silent longest is put out.

    Silent is who has no request under way, or is still sending one. Nobody who waits for an answer is put out; where
    all do, a new connection is refused.
    """

    def __init__(self, server: web.Server, *, room: int) -> None:
        self._server = server
        self._answer = server.request_handler
        self._room = room
        self._open: dict[web.RequestHandler, asyncio.Transport] = {}
        self._silent: dict[web.RequestHandler, None] = {}  # the longest first
        server.request_handler = self._take

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a connection to come."""
        return _Guest(self._server(), self)

    def admits(self, guest: web.RequestHandler, transport: asyncio.Transport) -> bool:
        """Take a connection in, and tell whether there was room or someone to make it."""
        if len(self._open) >= self._room and not self._put_one_out():
            return False
        self._open[guest] = transport
        self._silent[guest] = None
        return True

    def heard(self, guest: web.RequestHandler) -> None:
        """Take note that a connection has said something."""
        if guest in self._silent:
            del self._silent[guest]
            self._silent[guest] = None

    def left(self, guest: web.RequestHandler) -> None:
        """Forget a connection."""
        self._open.pop(guest, None)
        self._silent.pop(guest, None)

    def _put_one_out(self) -> bool:
        # Whoever has not taken the whole of its answer yet still waits for it.
        longest = next((guest for guest in self._silent if not self._open[guest].get_write_buffer_size()), None)
        if longest is None:
            return False
        self._open[longest].abort()
        self.left(longest)
        return True

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        guest, under_way = request.protocol, True

        def whole() -> None:
            if under_way:  # what comes after the answer, of a body that was refused, is waited for by nobody
                self._silent.pop(guest, None)

        request.content.on_eof(whole)
        try:
            return await self._answer(request)
        finally:
            under_way = False
            if guest in self._open:
                self._silent.pop(guest, None)
                self._silent[guest] = None


class _Guest(asyncio.Protocol):
    """One connection: what happens to it is passed on to what answers it, unless it is refused."""

    def __init__(self, inside: web.RequestHandler, door: Door) -> None:
        self._inside = inside
        self._door = door
        self._admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"not a connection: {transport!r}")
        self._admitted = self._door.admits(self._inside, transport)
        if self._admitted:
            self._inside.connection_made(transport)
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._door.heard(self._inside)
        self._inside.data_received(data)

    def eof_received(self) -> None:
        self._inside.eof_received()

    def pause_writing(self) -> None:
        self._inside.pause_writing()

    def resume_writing(self) -> None:
        self._inside.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.left(self._inside)
        if self._admitted:
            self._inside.connection_lost(exc)
