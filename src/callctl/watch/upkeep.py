"""What a watch does beside listening and showing: it compares with REST, asks why calls are silent, drops what is old.

All of it needs to know what the store knew, so it begins when that is on the board.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from callctl.api.protocol import CallsApi
from callctl.calls.event import CallEvent
from callctl.calls.trouble import Cause, Trouble
from callctl.store.sqlite.store import EventStore
from callctl.support.clock import Clock
from callctl.support.threads import describe
from callctl.watch.board_feed import Picture
from callctl.watch.comparing import Comparing
from callctl.watch.listener.listener import Listener
from callctl.watch.plan import Plan
from callctl.watch.poll import Poller
from callctl.watch.reachability import Reach
from callctl.watch.retention import Retention
from callctl.watch.silent_calls import Here, SilentCalls

# Seconds before work is begun anew that failed.
RESTART_AFTER = 5.0

# Seconds between two looks whether the clock was set, and from what on that is told.
LOOK_AT_CLOCK = 1.0
TOLD_STEP = timedelta(seconds=2)


def step_in_words(step: timedelta) -> str:
    """Say by how much this machine's clock was set, and what that means."""
    seconds = step.total_seconds()
    return (
        f"this machine's clock was set {'forward' if seconds > 0 else 'back'} by {abs(seconds):.0f} s; "
        "waits, ages in the table and rules count elapsed time, which that does not change"
    )


class Upkeep:
    """Compares, asks and trims for one watch that listens."""

    def __init__(
        self,
        plan: Plan,
        *,
        world: str,
        store: EventStore,
        listener: Listener,
        reach: Reach,
        picture: Picture,
        api: CallsApi | None,
        clock: Clock,
    ) -> None:
        """Prepare. ``api`` is the session's; ``picture`` is told of what was found and stored."""
        self._store, self._picture, self._clock, self._api = store, picture, clock, api
        self._retention = Retention(
            store,
            picture.board,
            days=plan.keep_days,
            since=plan.since,
            trouble=picture.trouble,
            clock=clock,
            told_time=self._told_time,
        )
        self._comparing = self._silent_calls = None
        if api is not None:
            self._comparing = Comparing(
                Poller(api, world=world, clock=clock),
                way=reach,
                snapshot=picture.board.snapshot,
                is_pending=picture.is_pending,
                keep=self._keep,
                trouble=picture.trouble,
                clock=clock,
            )
            self._silent_calls = SilentCalls(
                store,
                api,
                here=lambda: Here(listener.callback_url, reach.deaf),
                snapshot=picture.board.snapshot,
                keep=self._keep,
                world=world,
                trouble=picture.trouble,
                clock=clock,
            )

    async def tell_steps(self) -> None:
        """Tell, until cancelled, when this machine's clock is set."""
        while True:
            for step in self._clock.new_steps():
                if abs(step) >= TOLD_STEP:
                    self._picture.trouble(Trouble(step_in_words(step), Cause.CLOCK))
            await asyncio.sleep(LOOK_AT_CLOCK)

    async def run(self) -> None:
        """Do all this until cancelled."""
        await self._picture.is_whole.wait()
        works = {
            "comparing with REST": self._comparing,
            "looking for silent calls": self._silent_calls,
            "deleting what is old": self._retention,
        }
        trouble = self._picture.trouble
        begun = (kept_going(work.run, what=what, trouble=trouble) for what, work in works.items() if work)
        await asyncio.gather(*begun)

    def end(self) -> None:
        """Delete what the run has told, if nothing is to be kept beyond it.

        Raises:
            StoreError: It can't be deleted.
        """
        self._retention.end()

    def _told_time(self) -> datetime | None:
        """Return the newest time that Twilio told, by callbacks or by REST; None before any."""
        told = (self._picture.newest_timestamp, None if self._api is None else self._api.server_time)
        return max(filter(None, told), default=None)

    async def _keep(self, event: CallEvent) -> None:
        # That the store has it says nothing: another watch may have put it there, or a write that seemed to fail.
        await self._store.append_async(event)
        self._picture.event(event)


async def kept_going(
    work: Callable[[], Coroutine[Any, Any, None]], *, what: str, trouble: Callable[[Trouble], None]
) -> None:
    """Do some work beside everything else, until it is done.

    An error that nobody foresaw is told, each one once, and the work is begun anew after a while.
    """
    told: set[str] = set()
    while True:
        try:
            return await work()
        except Exception as error:
            if (why := describe(error)) not in told:
                told.add(why)
                trouble(Trouble(f"{what} failed, and is begun anew: {why}", Cause.INTERNAL))
        await asyncio.sleep(RESTART_AFTER)
