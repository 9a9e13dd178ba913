"""The simulator's door: how many connections there may be at once, and for how long one may be silent.

Whoever connects and never finishes a request costs a file, and the process has only so many. No call may fail to fetch
its document, and no callback be lost, for want of one.
"""

import asyncio
import resource
from collections.abc import Callable

IDLE_SECONDS = 75.0  # real ones, without a request or in the midst of its header
LINGER_SECONDS = 1.0  # how long what a refused client still sends is thrown away, so that it reads the refusal
OWN_FILES = 500  # documents and callbacks take up to 400 (web.py), and the rest of the program some
LEAST = 64


def room() -> int:
    """Return how many connections the process's limit of open files leaves room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else max(soft - OWN_FILES, LEAST)


class Door:
    """Makes what answers each connection; beyond the room there is, whoever has been silent longest is put out."""

    def __init__(self, inside: Callable[[], asyncio.Protocol], *, room: int) -> None:
        self._inside = inside
        self._room = room
        self._guests: dict[_Guest, None] = {}  # the longest silent first

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a connection to come."""
        return _Guest(self._inside(), self)

    def heard(self, guest: "_Guest") -> None:
        """Take note that a connection is new, or has said something."""
        self._guests.pop(guest, None)
        while len(self._guests) >= self._room:
            longest = next(iter(self._guests))
            del self._guests[longest]
            longest.put_out()
        self._guests[guest] = None

    def left(self, guest: "_Guest") -> None:
        """Forget a connection."""
        self._guests.pop(guest, None)


class _Guest(asyncio.Protocol):
    """One connection: what happens to it is passed on to what answers it."""

    def __init__(self, inside: asyncio.Protocol, door: Door) -> None:
        self._inside = inside
        self._door = door
        self._transport: asyncio.Transport | None = None

    def put_out(self) -> None:
        """Break the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
        self._door.heard(self)
        self._inside.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._door.heard(self)
        self._inside.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inside.eof_received()

    def pause_writing(self) -> None:
        self._inside.pause_writing()

    def resume_writing(self) -> None:
        self._inside.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.left(self)
        self._inside.connection_lost(exc)
