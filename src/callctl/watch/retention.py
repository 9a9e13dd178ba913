"""How long events are kept: days in the store, an hour or so of ended families on the board."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from callctl.calls.board import Board
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import failure_reason
from callctl.store.event_store import EventStore
from callctl.support.clock import Clock
from callctl.support.threads import run_in_thread
from callctl.watch.background_tasks import repeat
from callctl.watch.registry.record import WatchRecord

# Seconds from one trim to the next; the same as long as Twilio has reported no time.
INTERVAL = 600.0
SOON = 5.0
# Seconds between two steps, so that callbacks are committed in between.
PAUSE = 0.05
# Calls that are changed at a time: a transaction of some milliseconds.
STEP = 100
# Ended families stay on the board for so long at least.
ON_BOARD = timedelta(hours=1)
_ALL = 2**31
# From so much on this machine's clock and Twilio's time don't agree.
_FAR_APART = timedelta(days=1)


class Retention:
    """Trims store and board. ``days`` is how long the store keeps events, 0 for no longer than this run.

    What another one keeps in the same store stays. ``others`` looks up the records of those that run, and this one goes
    by the most days of them all, also when they are gone: one may be started anew. 0 days count once no other runs.

    A clock that is ahead when the watch starts must not make all events old. So their age counts to the newest time
    that Twilio reported, ``twilio_time``, if that is before this machine's; before any was reported, none is too old.
    An event has the later of its own time and that of its arrival, but none after now, so that every one gets old. What
    now is, is not known where this machine's clock is behind. Once it has been set and agrees with Twilio's time, how
    far it was behind before keeps nothing for longer.
    """

    def __init__(
        self,
        store: EventStore,
        board: Board,
        *,
        days: int,
        since: timedelta,
        trouble: Callable[[Trouble], None],
        clock: Clock,
        twilio_time: Callable[[], datetime | None],
        others: Callable[[], Sequence[WatchRecord]] = tuple,
        note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._store, self._board, self._days, self._trouble, self._clock = store, board, days, trouble, clock
        self._twilio_time, self._others, self._note = twilio_time, others, note
        self._is_alone = True
        self._on_board = max(since, ON_BOARD)
        self._started = clock.now()
        self._agreed = datetime.min.replace(tzinfo=UTC)  # the latest time that both clocks have had
        self._has_failed = False

    async def run(self) -> None:
        """Trim now and every ten minutes until cancelled; a store that can't be trimmed is reported once."""
        await repeat(self._trim_both)

    async def _trim_both(self) -> float:
        before = self._least_time() - self._on_board
        self._board.forget(before=before, now=self._clock.wall())
        try:
            await self.trim()
            self._has_failed = False
        except Exception as error:
            if not self._has_failed:
                what = f"can't delete what is older than {self._days} days: {failure_reason(error)}"
                self._trouble(Trouble(what, Cause.STORE))
            self._has_failed = True
        return INTERVAL if self._oldest_kept() is not None else SOON

    async def trim(self) -> None:
        """Delete from the store what is too old, in small steps; nothing where others can't be looked for.

        Raises:
            StoreError: It can't be deleted, or others not be looked for.
        """
        await run_in_thread(self._look_for_others)
        moment = self._oldest_kept()
        if moment is None:
            return
        latest = self._latest()
        if latest is not None:
            await _in_steps(lambda: self._store.cap_times(latest, limit=STEP))
        await _in_steps(lambda: self._store.delete_older_than(moment, limit=STEP))

    def _oldest_kept(self) -> datetime | None:
        # A clock that was set forward makes nothing old, and one that was set back makes nothing older than the start.
        if not self._days:
            return self._clock.earliest(self._started) if self._is_alone else None
        newest = self._twilio_time()
        if newest is None:
            return None
        return min(newest, self._least_time()) - timedelta(days=self._days)

    def _least_time(self) -> datetime:
        """Return a time that is over, whatever this machine's clock has shown since the start."""
        newest, wall = self._twilio_time(), self._clock.wall()
        if newest is not None and abs(newest - wall) < _FAR_APART:
            self._agreed = max(self._agreed, min(newest, wall))
        return max(self._agreed, self._clock.earliest(self._clock.now()))

    def _latest(self) -> datetime | None:
        """Return the latest time that an event can have; None where this machine's clock may be far behind."""
        newest, now = self._twilio_time(), self._clock.wall()
        return None if newest is None or newest - now > _FAR_APART else max(newest, now)

    def end(self) -> None:
        """Delete the events of the run, if none are to be kept beyond it; it blocks.

        Raises:
            StoreError: It can't be deleted, or others not be looked for.
        """
        if self._days == 0:
            self._look_for_others()
        if self._days == 0 and self._is_alone:
            # Past every event, whatever this machine's clock or the event's sender took for its time.
            self._store.delete_older_than(datetime.max.replace(tzinfo=UTC), limit=_ALL)

    def _look_for_others(self) -> None:
        """Find out what others keep in the same store; it blocks.

        Raises:
            StoreError: They can't be looked for.
        """
        others = self._others()
        self._is_alone = not others
        longest = max(others, key=lambda record: record.days_kept, default=None)
        if longest is not None and longest.days_kept > self._days:
            who = f"a {longest.noun} (process {longest.pid}{f' on {longest.host}' if longest.host else ''})"
            self._note(
                f"{who} keeps events in the same store for {longest.days_kept} days: so does this one, and "
                f"its --keep-days {self._days} is ignored"
            )
            self._days = longest.days_kept


async def _in_steps(work: Callable[[], int]) -> None:
    """Repeat some work, in another thread, until it does less than a whole step."""
    done = STEP
    while done == STEP:
        done = await run_in_thread(work)
        await asyncio.sleep(PAUSE)
