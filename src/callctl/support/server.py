"""Opens and closes a server's door without losing hold of connections that are just coming in."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Protocol

_TURNS = 4
_BACKLOG = 128  # connections that may wait to be accepted


class Shutdown(Protocol):
    """What answers the connections: aiohttp's runner, set up, without sites of its own."""

    @property
    def server(self) -> Callable[[], asyncio.BaseProtocol] | None:
        """What makes a protocol for each connection."""

    async def cleanup(self) -> None:
        """Close every connection it knows."""


class Door:
    """A listening server; ``port`` is the real one where 0 was asked for."""

    def __init__(self, runner: Shutdown, server: asyncio.Server) -> None:
        self._runner = runner
        self._server = server
        self.port = int(server.sockets[0].getsockname()[1])

    @classmethod
    async def open(cls, runner: Shutdown, *, host: str, port: int) -> Door:
        """Listen; raise OSError where the address can't be bound, with the runner cleaned up."""
        if runner.server is None:
            raise ValueError("the runner was not set up")
        try:
            server = await asyncio.get_running_loop().create_server(runner.server, host, port, backlog=_BACKLOG)
        except OSError as error:
            await runner.cleanup()
            if error.errno is None:  # from 3.13 on asyncio passes over an address that is not this machine's
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)) from error
            raise
        return cls(runner, server)

    async def close(self) -> None:
        """Take no more connections, and close those that are open.

        An accepted connection needs three turns of the loop until the runner knows it; a server that is closed before
        then leaves its socket in nobody's hands (Python 3.11: the transport's constructor fails on a closed server).
        """
        loop = asyncio.get_running_loop()
        for listening in self._server.sockets:
            loop.remove_reader(listening)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self._server.close()
        await self._runner.cleanup()
