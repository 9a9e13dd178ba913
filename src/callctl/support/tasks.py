"""The end of an event loop's tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

# Seconds until a task that goes on is cancelled once more.
_AGAIN = 1.0


async def cancel_until_done(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks and wait until all have ended; their errors are dropped.

    A cancellation may be lost: aiohttp takes one that comes as a time limit of its own ends, in a request within a
    request's reading, for that time limit. Hence those that go on are cancelled again. Where the caller is cancelled
    meanwhile, it is so once they have ended.
    """
    pending = all_of_them = set(tasks)
    cancelled: asyncio.CancelledError | None = None
    while pending:
        for task in pending:
            task.cancel()
        try:
            _, pending = await asyncio.wait(pending, timeout=_AGAIN)
        except asyncio.CancelledError as error:
            cancelled, pending = error, {task for task in pending if not task.done()}
    await asyncio.gather(*all_of_them, return_exceptions=True)
    if cancelled is not None:
        raise cancelled
