"""Looks up host names in daemon threads.

aiohttp does it in threads of the event loop, for which the loop's end waits: a DNS server that does not answer would
hold up Ctrl-C for as long as the system waits for it.
"""

from __future__ import annotations

import socket
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult

from callctl.errors import NoThreadError
from callctl.support.threads import run_in_thread

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class NameLookup(AbstractResolver):
    """Queries the system for the addresses of a name, as aiohttp's own resolver does."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            OSError: There are none, or the system has no thread left.
        """
        flags = socket.AI_ADDRCONFIG
        look_up = partial(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM, flags=flags)
        try:
            addresses = await run_in_thread(look_up)
        except NoThreadError as error:
            raise OSError(error.message) from error
        return [
            ResolveResult(hostname=host, host=_numeric(address), port=port, family=kind, proto=protocol, flags=_NUMERIC)
            for kind, _, protocol, _, address in addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


def _numeric(address: tuple[object, ...]) -> str:
    """Return the address as text, with the scope of a link-local one of IPv6 (RFC 4007, section 11)."""
    host, scope = str(address[0]), address[3] if len(address) > 3 else 0
    return f"{host}%{scope}" if scope and "%" not in host else host
