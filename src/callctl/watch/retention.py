"""How long what was told is kept: days in the store, an hour or so of ended families in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from callctl.calls.board import Board
from callctl.calls.trouble import Cause, Trouble
from callctl.support.clock import Clock, pause
from callctl.support.threads import failure_reason, run_in_thread

# Seconds between two looks for what is too old, and between two steps, so that callbacks are committed in between.
INTERVAL = 600.0
# The same as long as nothing has told the time beside this machine's clock.
SOON = 5.0
PAUSE = 0.05
# Calls that are deleted at a time: a transaction of some milliseconds.
STEP = 100
# Ended families stay on the board for so long at least.
ON_BOARD = timedelta(hours=1)
_ALL = 2**31


class Store(Protocol):
    """Deletes what is old."""

    def delete_older_than(self, moment: datetime, *, limit: int = STEP) -> int:
        """Delete at most ``limit`` calls of which nothing was told since; return how many."""


class Retention:
    """Trims store and board. ``days`` is how long the store keeps events, 0 for no longer than this run.

    A clock that is ahead when the watch starts must not make all events old. So their age counts to the time that
    Twilio told last, ``told_time``, if that is before this machine's; until it has told any, none is too old.
    """

    def __init__(
        self,
        store: Store,
        board: Board,
        *,
        days: int,
        since: timedelta,
        trouble: Callable[[Trouble], None],
        clock: Clock,
        told_time: Callable[[], datetime | None],
    ) -> None:
        self._told_time = told_time
        self._store, self._board, self._days, self._trouble, self._clock = store, board, days, trouble, clock
        self._on_board = max(since, ON_BOARD)
        self._started = clock.now()

    async def run(self) -> None:
        """Trim now and every ten minutes until cancelled; a store that can't be trimmed is told of once."""
        told = False
        while True:
            self._board.forget(before=self._clock.earliest(self._clock.now()) - self._on_board)
            try:
                await self.trim()
                told = False
            except Exception as error:
                if not told:
                    what = f"can't delete what is older than {self._days} days: {failure_reason(error)}"
                    self._trouble(Trouble(what, Cause.STORE))
                told = True
            await pause(INTERVAL if self._oldest_kept() is not None else SOON)

    async def trim(self) -> None:
        """Delete from the store what is too old, in small steps.

        Raises:
            StoreError: It can't be deleted.
        """
        moment = self._oldest_kept()
        if moment is None:
            return
        deleted = STEP
        while deleted == STEP:
            deleted = await run_in_thread(lambda: self._store.delete_older_than(moment, limit=STEP))
            await asyncio.sleep(PAUSE)

    def _oldest_kept(self) -> datetime | None:
        # A clock that was set forward makes nothing old, and one that was set back makes nothing older than the start.
        if not self._days:
            return self._clock.earliest(self._started)
        told = self._told_time()
        return None if told is None else min(told, self._clock.earliest(self._clock.now())) - timedelta(days=self._days)

    def end(self) -> None:
        """Delete what the run has told, if nothing is to be kept beyond it. Nobody waits for the store any more.

        Raises:
            StoreError: It can't be deleted.
        """
        if self._days == 0:
            # A moment past every event of this run, also one whose sender's clock was ahead.
            self._store.delete_older_than(self._clock.wall() + timedelta(days=366), limit=_ALL)
