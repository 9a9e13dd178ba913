"""A server on a TCP port: how it opens and closes, and how many connections it keeps."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

_TURNS = 4
_BACKLOG = 128  # connections that may wait to be accepted; asyncio accepts so many at once, before any is counted
LEAST_CONNECTIONS = 64  # where the limit of open files allows so many
ANSWER_SECONDS = 15.0  # that a client may take to read an answer: as long as Twilio waits for one

C = TypeVar("C")
T = TypeVar("T")


def room_for_connections(most: int, *, reserve: int) -> int:
    """Return how many connections a server may keep: ``most``, or fewer where the limit of open files is low.

    ``reserve`` files are left for the rest of the process, or three quarters of them where there are few.
    """
    files = _most_files()
    return most if files is None else max(min(most, max(files - reserve, min(LEAST_CONNECTIONS, files // 4))), 1)


def _backlog() -> int:
    files = _most_files()
    return _BACKLOG if files is None else max(min(_BACKLOG, files // 8), 1)


def _most_files() -> int | None:
    """Return how many files this process may have open; None without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


class TcpServer:
    """A listening server; ``port`` is the real one where 0 was given."""

    def __init__(self, server: asyncio.Server, cleanup: Callable[[], Awaitable[None]]) -> None:
        self._server = server
        self._cleanup = cleanup
        self.port = int(server.sockets[0].getsockname()[1])

    @classmethod
    async def open(
        cls,
        make_protocol: Callable[[], asyncio.BaseProtocol] | None,
        *,
        cleanup: Callable[[], Awaitable[None]],
        host: str,
        port: int,
    ) -> TcpServer:
        """Listen. ``make_protocol`` makes what answers one connection, ``cleanup`` closes the open connections.

        An aiohttp runner that is set up has both, as ``server`` and ``cleanup``.

        Raises:
            OSError: The address can't be bound; ``cleanup`` was called.
        """
        if make_protocol is None:
            raise ValueError("the runner was not set up")
        try:
            server = await asyncio.get_running_loop().create_server(make_protocol, host, port, backlog=_backlog())
        except OSError as error:
            await cleanup()
            if error.errno is None:  # from 3.13 on asyncio passes over an address that is not this machine's
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)) from error
            raise
        return cls(server, cleanup)

    async def close(self) -> None:
        """Accept no more connections, and close those that are open.

        An accepted connection needs three turns of the loop until the runner knows it; a server that is closed before
        then leaks its socket (Python 3.11: the transport's constructor fails on a closed server).
        """
        loop = asyncio.get_running_loop()
        for listening in self._server.sockets:
            loop.remove_reader(listening)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self._server.close()
        await self._cleanup()


class OpenConnections(Generic[C]):
    """The connections of a server, at most so many. Beyond the limit, the one that has been quiet longest is aborted.

    A connection is quiet while no request is under way on it, or while one is still coming in. A connection that waits
    for an answer is never aborted, nor one that has had ``answer_seconds`` to take the whole of it or less; where all
    of them do, a new connection is refused.
    """

    def __init__(self, limit: int, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._limit, self._answer_seconds = limit, answer_seconds
        self._transports: dict[C, asyncio.Transport] = {}
        self._quiet: dict[C, float] = {}  # since when; the longest quiet first
        self._unread: dict[C, float] = {}  # of which earlier answers were not taken when a request came: since when

    def add(self, connection: C, transport: asyncio.Transport) -> bool:
        """Add a connection; return False, with its transport aborted, where there is no room for it."""
        if len(self._transports) >= self._limit and not self._abort_longest_quiet():
            transport.abort()
            return False
        self._transports[connection] = transport
        self._set_quiet(connection)
        return True

    def discard(self, connection: C) -> None:
        """Forget a connection that is closed."""
        self._transports.pop(connection, None)
        self._quiet.pop(connection, None)
        self._unread.pop(connection, None)

    def received(self, connection: C) -> None:
        """Count a quiet connection as the latest to be so, since data came in."""
        if connection in self._quiet:
            self._set_quiet(connection)

    async def answering(
        self, connection: C, answer: Awaitable[T], *, on_whole: Callable[[Callable[[], None]], object] | None
    ) -> T:
        """Return the answer to a request. The connection is quiet until the request is whole, and afterwards.

        ``on_whole`` registers a function to be called as soon as the whole request is there; None where it is.
        """
        is_answered = False
        if on_whole is None:
            self._quiet.pop(connection, None)
        else:

            def request_is_whole() -> None:
                if not is_answered:  # the rest of a refused body may come after its answer
                    self._quiet.pop(connection, None)

            on_whole(request_is_whole)
        try:
            return await answer
        finally:
            is_answered = True
            if connection in self._transports:
                self._set_quiet(connection)

    def _set_quiet(self, connection: C) -> None:
        self._quiet.pop(connection, None)
        self._quiet[connection] = now = monotonic()
        if not self._transports[connection].get_write_buffer_size():
            self._unread.pop(connection, None)
        else:
            self._unread.setdefault(connection, now)

    def _abort_longest_quiet(self) -> bool:
        # One that has not taken the whole of its answer yet still waits for it, unless it reads none.
        long_ago = monotonic() - self._answer_seconds
        quiet = (
            connection
            for connection, since in self._quiet.items()
            if self._unread.get(connection, since) <= long_ago
            or not self._transports[connection].get_write_buffer_size()
        )
        longest = next(quiet, None)
        if longest is None:
            return False
        self._transports[longest].abort()
        self.discard(longest)
        return True
