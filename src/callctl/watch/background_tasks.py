"""Tasks that go on in the event loop while a watch runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from callctl.support.clock import elapsed
from callctl.support.tasks import cancel_until_done


@asynccontextmanager
async def background_tasks(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines in the event loop until the block is left; their errors are dropped."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        await cancel_until_done(tasks)


async def pause(seconds: float, *, tick: float = 1.0, elapsed: Callable[[], float] = elapsed) -> None:
    """Return after so many seconds of elapsed time; a timer of the event loop stands still in suspension.

    ``tick`` is the longest sleep between two readings, in seconds.
    """
    end = elapsed() + seconds
    while (rest := end - elapsed()) > 0:  # noqa: ASYNC110 # no timer of the loop goes on in suspension
        await asyncio.sleep(min(tick, rest))


async def repeat(work: Callable[[], Awaitable[float]], *, wait: Callable[[float], Awaitable[object]] = pause) -> None:
    """Do some work again and again until cancelled; it returns after how many seconds it is due again.

    ``wait`` returns after so many seconds, or as soon as the work is due for another reason.
    """
    while True:
        await wait(await work())
