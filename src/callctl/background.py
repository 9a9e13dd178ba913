"""Slow, blocking calls beside an event loop, in daemon threads.

Not ``asyncio.to_thread``: its executor's threads are waited for when the loop closes and when the interpreter exits, so
Ctrl-C would wait for a slow request.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread of its own and return or raise what it does."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():  # the waiter was cancelled
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # result is a T where there is no error

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # handed to the waiter, whatever it is
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, daemon=True, name="callctl-request").start()
    return await future


class AfterTurn(Generic[*Ts]):
    """Calls a function for each thing put here, once the event loop's present turn is over: one wake-up for all."""

    def __init__(self, call: Callable[[*Ts], None]) -> None:
        self._call = call
        self._waiting: list[tuple[*Ts]] = []

    def put(self, *args: *Ts) -> None:
        """Have the function called with these arguments. Only within an event loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._call_all)
        self._waiting.append(args)

    def _call_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for args in waiting:
            self._call(*args)
