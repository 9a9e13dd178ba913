"""Watching one call and its legs until all have ended: what callbacks told, and what REST shows of silent legs.

It reads the store, to which a watch (another process, or a listener beside this) writes what callbacks tell. So it
shows the same wherever the callbacks go, and a call that sends none is watched by asking REST more often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from typing import Protocol

from callctl.api.protocol import CallsApi
from callctl.api.requests import CallQuery
from callctl.calls.action import ActionEvent
from callctl.calls.board import Board, Change, Snapshot
from callctl.calls.call import Call
from callctl.calls.event import CALLBACK, CallEvent
from callctl.calls.features import FEATURES
from callctl.calls.trouble import Cause, Trouble
from callctl.errors import NotFoundError, StoreError
from callctl.operations.reported import with_reported_status
from callctl.support.threads import failure_reason, run_in_thread

FRAME = 0.25  # seconds between two looks into the store, and two frames at least
COUNTING_FRAME = 1.0  # a clock in the table counts
# Seconds between two looks at REST, of two requests each: while no callback tells of the call, and once some do. Legs
# of TwiML without callbacks, and ends whose callback was lost, show by REST alone.
SILENT_GAP = 1.0
TOLD_GAP = 10.0
# How long REST may know nothing of a call that was placed just now: fetches are eventually consistent.
MISSING_FOR = 5.0


class Memory(Protocol):
    """What is needed of the store."""

    def family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call and its relatives."""

    def actions(self, call_sid: str) -> list[ActionEvent]:
        """Return what was asked of one call, the first request first."""


class Shown(Protocol):
    """What the call is shown on. It is told of each event, and when the picture changed."""

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Take notice of one event and of what it changed."""

    def action(self, action: ActionEvent) -> None:
        """Take notice of what was asked of a leg, and of the answer."""

    def trouble(self, trouble: Trouble) -> None:
        """Tell of something that went wrong."""

    def refresh(self, snapshot: Snapshot) -> None:
        """Show the legs as they are now."""


class FamilyWatch:
    """One call and its legs, from its placing to the end of the last of them."""

    def __init__(
        self,
        call: Call,
        *,
        world: str,
        memory: Memory,
        api: CallsApi,
        shown: Shown,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Begin with the call as the API returned it.

        Args:
            call: The call that was placed.
            world: The account and API address, for the keys of events.
            memory: The store.
            api: The API. Asked in daemon threads.
            shown: What it is shown on.
            now: The time.
            sleep: Waits for some seconds without blocking the event loop.
        """
        self._sid = call.sid
        self._world, self._memory, self._api, self._shown = world, memory, api, shown
        self._now, self._sleep = now, sleep
        self._board = Board()
        self._actions = 0
        self._heard = False
        self._confirmed = False
        self._stopping = False
        self._started = now()
        self._take([CallEvent.from_call(call, received_at=now(), world=world)])

    def stop(self) -> None:
        """Let ``run`` return; may be called more than once."""
        self._stopping = True

    async def run(self) -> Snapshot:
        """Show the legs until all have ended or ``stop`` is called; return how they stood then."""
        asking = asyncio.create_task(self._ask_again_and_again())
        drawn: Snapshot | None = None
        frames = 0
        try:
            while not self._stopping and not self._is_over():
                self._read()
                snapshot = self._board.snapshot()
                if snapshot is not drawn or frames % int(COUNTING_FRAME / FRAME) == 0:
                    self._shown.refresh(snapshot)
                drawn = snapshot
                frames += 1
                await self._sleep(FRAME)
        finally:
            asking.cancel()
        self._read()
        self._shown.refresh(self._board.snapshot())
        return self._board.snapshot()

    def _is_over(self) -> bool:
        return self._confirmed and self._board.snapshot().live == 0

    def _read(self) -> None:
        """Take in what callbacks told and what was asked of the legs."""
        try:
            self._take(self._memory.family(self._sid))
            legs = list(self._board.snapshot().legs)
            actions = sorted((action for sid in legs for action in self._memory.actions(sid)), key=lambda a: a.at)
        except StoreError:
            return  # REST still tells
        for action in actions[self._actions :]:
            self._shown.action(action)
        self._actions = max(self._actions, len(actions))

    def _take(self, events: Iterable[CallEvent]) -> None:
        for event in events:
            self._heard = self._heard or event.kind == CALLBACK
            change = self._board.apply(event)
            # What REST shows again of a leg is news to the board, and none to the reader.
            if change is not None and (event.kind in (CALLBACK, *FEATURES) or change.status_changed):
                self._shown.event(event, change)

    async def _ask_again_and_again(self) -> None:
        """Ask REST, now and then, until cancelled. An API that fails is told of once."""
        told: set[str] = set()
        while True:
            # Once all known legs have ended, one more look tells whether there are others.
            is_last = self._board.snapshot().live == 0
            calls = await self._calls(told)
            self._take(CallEvent.from_call(call, received_at=self._now(), world=self._world) for call in calls)
            self._confirmed = is_last and bool(calls) and all(map(self._has_ended, calls))
            await self._gap()

    def _has_ended(self, call: Call) -> bool:
        """Tell whether a call is over, by REST or by what callbacks told: not by what anybody could have told."""
        leg = self._board.snapshot().leg(call.sid)
        return with_reported_status(call, leg).is_final

    async def _calls(self, told: set[str]) -> list[Call]:
        """Return the call and its child legs as REST shows them; none if it could not be asked."""
        try:
            calls = await run_in_thread(self._round)
        except Exception as error:
            if (why := failure_reason(error)) not in told:
                told.add(why)
                self._shown.trouble(Trouble(f"can't ask REST: {why}", Cause.API, status=getattr(error, "status", None)))
            return []
        told.clear()
        return calls

    def _round(self) -> list[Call]:
        try:
            return [self._api.fetch(self._sid), *self._api.list(CallQuery(parent_call_sid=self._sid), limit=None)]
        except NotFoundError:
            if (self._now() - self._started).total_seconds() > MISSING_FOR:
                raise
            return []

    async def _gap(self) -> None:
        """Wait until it is time to ask again: soon if nothing else tells, at once if all seems to be over."""
        waited = 0.0
        while waited < (TOLD_GAP if self._heard else SILENT_GAP):
            await self._sleep(FRAME)
            waited += FRAME
            if self._board.snapshot().live == 0 and not self._confirmed and waited >= SILENT_GAP:
                return
