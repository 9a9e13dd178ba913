"""Opens and closes a listening server without losing hold of connections that are just coming in."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable

_TURNS = 4
_BACKLOG = 128  # connections that may wait to be accepted


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
        backlog: int = _BACKLOG,
    ) -> TcpServer:
        """Listen. ``make_protocol`` makes what answers one connection, ``cleanup`` closes the open connections.

        An aiohttp runner that is set up has both, as ``server`` and ``cleanup``.

        Raises:
            OSError: The address can't be bound; ``cleanup`` was called.
        """
        if make_protocol is None:
            raise ValueError("the runner was not set up")
        try:
            server = await asyncio.get_running_loop().create_server(make_protocol, host, port, backlog=backlog)
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
