"""Whose programs listen at a port of this machine: what another user's program says of itself is not believed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))  # proc(5); a system without them has lsof
_LISTEN: Final = "0A"
_LIMIT: Final = 1.0  # seconds


async def listening_users(port: int) -> frozenset[int]:
    """Return the numbers of the users whose programs listen at a TCP port; none where that can't be found out.

    Where there is no table of sockets, ``lsof`` shows a user's own alone.
    """
    tables = [table for table in _TABLES if table.exists()]
    if tables:
        return frozenset(user for table in tables for user in users_in(table.read_text("ascii", "replace"), port))
    return await _by_lsof(port)


def users_in(table: str, port: int) -> Iterator[int]:
    """Yield the users of a table of sockets whose programs listen at a port."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
            yield int(fields[7])


async def _by_lsof(port: int) -> frozenset[int]:
    try:
        async with asyncio.timeout(_LIMIT):
            process = await asyncio.create_subprocess_exec(
                *("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fu"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            said, _ = await process.communicate()
    except (OSError, TimeoutError):
        return frozenset()
    return frozenset(int(number) for number in re.findall(rb"(?m)^u([0-9]+)$", said))
