"""Calls by the event loop, one for many callbacks: a wake-up, and a timer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVarTuple

Ts = TypeVarTuple("Ts")


class AfterTurn(Generic[*Ts]):
    """Calls a function for each item put here, once the event loop's present turn is over: one wake-up for all."""

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
