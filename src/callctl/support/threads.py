"""Slow, blocking calls beside whoever waits for them, in daemon threads.

Neither an executor nor ``asyncio.to_thread``: their threads are waited for when the loop closes and when the
interpreter exits, so Ctrl-C would wait for a slow request. Commands without an event loop begin work here too, hence
asyncio is imported where it is needed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def beside(work: Callable[[], T]) -> Future[T]:
    """Begin ``work`` in a thread of its own; the future holds what it returned or raised."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # who gives up waiting does not stop it

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised again where the result is read, whatever it is
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="callctl-request").start()
    return future


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return or raise what ``work`` does, if that takes no longer than so many seconds.

    Raises:
        TimeoutError: It takes longer. It goes on, and nobody waits for it any more.
    """
    return beside(work).result(timeout=None if math.isinf(seconds) else seconds)


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread of its own and return or raise what it does."""
    import asyncio

    return await asyncio.wrap_future(beside(work))


@asynccontextmanager
async def alongside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run some work in the event loop until the block is left; what went wrong with it is told to nobody."""
    import asyncio

    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def unforeseen(error: Exception) -> str:
    """Return what is told of an error that nobody foresaw."""
    return f"{type(error).__name__}: {error}"


def reason(error: Exception) -> str:
    """Return why something failed that is tried again: the message of an error of ours, else what it is."""
    message = getattr(error, "message", None)
    return message if isinstance(message, str) else unforeseen(error)


class AfterTurn(Generic[*Ts]):
    """Calls a function for each thing put here, once the event loop's present turn is over: one wake-up for all."""

    def __init__(self, call: Callable[[*Ts], None]) -> None:
        self._call = call
        self._waiting: list[tuple[*Ts]] = []

    def put(self, *args: *Ts) -> None:
        """Have the function called with these arguments. Only within an event loop."""
        if not self._waiting:
            import asyncio

            asyncio.get_running_loop().call_soon(self._call_all)
        self._waiting.append(args)

    def _call_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for args in waiting:
            self._call(*args)
