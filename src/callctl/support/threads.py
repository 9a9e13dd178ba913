"""Runs slow, blocking calls in daemon threads, and background tasks in an event loop.

Neither an executor nor ``asyncio.to_thread``: the loop's end and the interpreter's exit wait for their threads, so
Ctrl-C would wait for a slow request. Commands without an event loop start threads here too, hence asyncio is imported
where it is needed.
"""

from __future__ import annotations

import math
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple

from callctl.errors import NoThreadError

if TYPE_CHECKING:
    import asyncio

_SHORT_TURN = 0.001  # seconds

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def start(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        NoThreadError: The system has none left.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThreadError from error


def start_in_thread(work: Callable[[], T]) -> Future[T]:
    """Start ``work`` in a thread of its own; the future holds its result or its error.

    Raises:
        NoThreadError: The system has no thread left; nothing of the work was begun.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # a waiter that gives up does not stop it

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised again where the result is read
            future.set_exception(error)

    start(threading.Thread(target=run, daemon=True, name="callctl-request"))
    return future


def run_with_time_limit(seconds: float, work: Callable[[], T]) -> T:
    """Return or raise what ``work`` does, if that takes no longer than ``seconds``.

    Raises:
        TimeoutError: It takes longer. It goes on in its thread.
        NoThreadError: The system has no thread left.
    """
    return start_in_thread(work).result(timeout=None if math.isinf(seconds) else seconds)


async def run_in_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread of its own and return or raise what it does; raise as ``start_in_thread``."""
    import asyncio

    return await asyncio.wrap_future(start_in_thread(work))


@contextmanager
def short_turns() -> Iterator[None]:
    """Let other threads go on after a millisecond each time, while this one computes; only for one thread at a time.

    Python's usual turn is five milliseconds. An answer to a callback changes threads some ten times, and would wait
    that long each time. More changes cost time, so they are short only where a thread computes for long.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_SHORT_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


@asynccontextmanager
async def background_tasks(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines in the event loop until the block is left; their errors are dropped."""
    import asyncio

    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def describe(error: Exception) -> str:
    """Return the text for an unexpected error: its type and its message."""
    return f"{type(error).__name__}: {error}"


def failure_reason(error: Exception) -> str:
    """Return why something failed: the message of a CallctlError, else type and message."""
    message = getattr(error, "message", None)
    return message if isinstance(message, str) else describe(error)


class AfterTurn(Generic[*Ts]):
    """Calls a function for each item put here, once the event loop's present turn is over: one wake-up for all."""

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


class TimeLimit:
    """Cancels futures that are not done after so many seconds: with one timer for all, as each has the same time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._pending: deque[tuple[float, asyncio.Future[Any]]] = deque()  # with their ends, the first one first
        self._timer: asyncio.TimerHandle | None = None

    def add(self, future: asyncio.Future[Any]) -> None:
        """Give a future of the running event loop its time."""
        loop, pending = future.get_loop(), self._pending
        while pending and pending[0][1].done():
            pending.popleft()
        pending.append((loop.time() + self.seconds, future))
        if self._timer is None:
            self._timer = loop.call_at(pending[0][0], self._end, loop)

    def shorten(self, seconds: float) -> None:
        """Give futures so many seconds at most from now on, those under way too; to be called in their event loop."""
        self.seconds, pending = min(self.seconds, seconds), self._pending
        if self._timer is None or not pending:
            return
        self._timer.cancel()
        loop = pending[0][1].get_loop()
        latest = loop.time() + self.seconds
        self._pending = deque((min(end, latest), future) for end, future in pending)
        self._timer = loop.call_at(self._pending[0][0], self._end, loop)

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        pending, now = self._pending, loop.time()
        while pending and (pending[0][0] <= now or pending[0][1].done()):
            pending.popleft()[1].cancel()
        self._timer = loop.call_at(pending[0][0], self._end, loop) if pending else None
