"""Asking REST what no callback told: on start, every 30 s, at once after a silence, soon where it is not clear yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from callctl.calls.board import Snapshot
from callctl.calls.event import CallEvent
from callctl.calls.trouble import Cause, Trouble
from callctl.support.clock import Clock
from callctl.support.threads import failure_reason, run_in_thread
from callctl.watch.poll import Poller, is_news

# Seconds between two looks at REST: three requests each, and one for each leg that is gone from the lists.
INTERVAL = 30.0
# The same after a look that left something to the callbacks that may be on their way.
SOON = 5.0
# Seconds between two looks whether there was a silence, and how much time must have gone by between two of them.
TICK = 1.0
SLEPT = timedelta(seconds=5)
# Seconds that callbacks get which waited in the socket meanwhile: what they tell is not to be told by REST before.
GRACE = 2.0


class Way(Protocol):
    """The way that callbacks come."""

    @property
    def deaf(self) -> str | None:
        """Why none can arrive; None if all is well."""


class Comparing:
    """Compares REST with the board, and hands on what is new.

    A silence is over when the machine wakes from sleep, or this process goes on after it was stopped, or when
    callbacks can arrive again: who called meanwhile is not to stand wrong on the board for half a minute more.
    """

    def __init__(
        self,
        poller: Poller,
        *,
        way: Way,
        snapshot: Callable[[], Snapshot],
        is_pending: Callable[[str], bool],
        keep: Callable[[CallEvent], Awaitable[None]],
        trouble: Callable[[Trouble], None],
        clock: Clock,
    ) -> None:
        self._poller, self._way = poller, way
        self._snapshot, self._is_pending = snapshot, is_pending
        self._keep, self._trouble, self._clock = keep, trouble, clock

    async def run(self) -> None:
        """Compare until cancelled. What fails is told of once, and tried again with the next round; so is its end."""
        told: set[str] = set()
        while True:
            failure = await self._compare()
            if failure is None:
                if told:
                    self._trouble(Trouble("REST is compared again", Cause.API, is_over=True))
                told.clear()
            elif (why := failure_reason(failure)) not in told:
                told.add(why)
                self._trouble(
                    Trouble(f"can't compare with REST: {why}", Cause.API, status=getattr(failure, "status", None))
                )
            await self._pause(SOON if self._poller.left_open else INTERVAL)

    async def _compare(self) -> Exception | None:
        """Do one round; return why it broke off. What was found before that counts."""
        snapshot = self._snapshot()
        try:
            found, failure = await run_in_thread(lambda: self._round(snapshot))
            for event in found:
                if self._is_news(event):
                    await self._keep(event)
        except Exception as error:
            return error
        return failure

    def _round(self, snapshot: Snapshot) -> tuple[list[CallEvent], Exception | None]:
        found: list[CallEvent] = []
        try:
            found.extend(self._poller.round(snapshot))
        except Exception as error:
            return found, error
        return found, None

    def _is_news(self, event: CallEvent) -> bool:
        sid = event.call_sid
        return not self._is_pending(sid) and is_news(event.status, self._snapshot().leg(sid))

    async def _pause(self, seconds: float) -> None:
        """Return after a while, or once a silence is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            before, was_deaf = self._clock.now(), self._way.deaf is not None
            await asyncio.sleep(min(TICK, left))
            if self._clock.now() - before > SLEPT:
                await asyncio.sleep(GRACE)
                return
            if was_deaf and self._way.deaf is None:
                return
