"""Following one call and its legs until all have ended: by the callbacks in the store, and by polling REST.

A watch, which is another process or a listener in this one, writes callbacks to the store. So it does not matter where
the callbacks go. For a call that sends none, REST is polled more often. A listener in this process leaves with it: for
the callback of an end it waits a little, and what comes in no callback then is stored as REST shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime
from heapq import merge
from typing import TYPE_CHECKING, Protocol

from callctl.api.calls_api import CallsApi
from callctl.calls.action import ActionEvent
from callctl.calls.board import Board, Change, Snapshot
from callctl.calls.call import Call
from callctl.calls.event import CALLBACK, CallEvent
from callctl.calls.filter import CallFilter
from callctl.calls.other_callbacks import FEATURES
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import NotFoundError, NoThreadError, StoreError, failure_reason
from callctl.operations.missed_ends import AwaitedEnds, store_last_ends
from callctl.operations.reported_status import with_reported_status
from callctl.support.threads import run_in_thread

if TYPE_CHECKING:
    from callctl.store.event_store import EventStore

FRAME = 0.25  # seconds between two reads of the store, and between two frames at least
COUNTING_FRAME = 1.0  # a clock in the table counts
# Seconds between two rounds of two requests to REST: while no callback has come, and afterwards. Only REST shows legs
# of TwiML without callbacks, and ends whose callback was lost.
GAP_WITHOUT_CALLBACKS = 1.0
GAP_WITH_CALLBACKS = 10.0
# Seconds that the store may hold up the beginning and the end.
READ_LIMIT = 0.9
# How long REST may know nothing of a call that was placed just now: fetches are eventually consistent.
MISSING_FOR = 5.0


class FamilyView(Protocol):
    """Shows the legs and what happens to them."""

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Show one event and what it changed."""

    def action(self, action: ActionEvent) -> None:
        """Show what was requested of a leg, and the answer."""

    def trouble(self, trouble: Trouble) -> None:
        """Show something that went wrong."""

    def refresh(self, snapshot: Snapshot) -> None:
        """Show the legs as they are now."""


class FamilyFollower:
    """One call and its legs, from its placing to the end of the last of them."""

    def __init__(
        self,
        call: Call,
        *,
        world: str,
        store: EventStore,
        api: CallsApi,
        view: FamilyView,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
        listens: bool = False,
    ) -> None:
        """Begin with the call as the API returned it.

        Args:
            call: The call that was placed.
            world: The account and API address, for the keys of events.
            store: Where a watch keeps callbacks, and commands their requests.
            api: The API. Requests are sent in daemon threads.
            view: Shows the legs.
            now: The time.
            sleep: Waits for some seconds without blocking the event loop.
            listens: Whether callbacks come to this process, and none any more when it has left.
        """
        self._sid = call.sid
        self._world, self._store, self._api, self._view = world, store, api, view
        self._now, self._sleep, self._listens = now, sleep, listens
        self._board = Board()
        self._actions: set[ActionEvent] = set()  # that were shown
        self._with_callbacks: set[str] = set()  # the legs of which some came
        self._ended: dict[str, Call] = {}  # the legs that are over by REST
        self._awaited = AwaitedEnds()
        self._confirmed = False
        self._stopping = False
        self._started = now()
        self._apply([CallEvent.from_call(call, received_at=now(), world=world)])

    def stop(self) -> None:
        """Let ``run`` return; may be called more than once."""
        self._stopping = True

    async def run(self) -> Snapshot:
        """Show the legs until all have ended or ``stop`` is called; return how they were then."""
        await self._read_in_time()
        polling, reading = asyncio.create_task(self._poll()), asyncio.create_task(self._keep_reading())
        drawn: Snapshot | None = None
        frames = 0
        try:
            while not self._stopping and not self._is_over():
                snapshot = self._board.snapshot()
                if snapshot is not drawn or frames % int(COUNTING_FRAME / FRAME) == 0:
                    self._view.refresh(snapshot)
                drawn = snapshot
                frames += 1
                await self._sleep(FRAME)
                if reading.done():
                    reading.result()
        finally:
            polling.cancel()
            reading.cancel()
        await self._read_in_time()
        if self._listens:
            await self._store_ends()
        self._view.refresh(self._board.snapshot())
        return self._board.snapshot()

    def _is_over(self) -> bool:
        return self._confirmed and self._board.snapshot().live == 0

    async def _keep_reading(self) -> None:
        while True:
            await self._sleep(FRAME)
            await self._read()

    async def _read_in_time(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_LIMIT):
                await self._read()

    async def _read(self) -> None:
        """Read the callbacks, and what was requested of the legs.

        In a thread: a shared store may take a while to answer, or not do so, and a listener in this process answers
        meanwhile.
        """
        legs = list(self._board.snapshot().legs)
        try:
            events, actions = await run_in_thread(lambda: self._stored(legs))
        except (StoreError, NoThreadError):
            return  # REST is polled all the same
        self._apply(events)
        for action in actions:
            self._view.action(action)
        self._actions.update(actions)

    def _stored(self, legs: Iterable[str]) -> tuple[list[CallEvent], list[ActionEvent]]:
        """Return the family's events, and what was requested of these legs and theirs and was not shown.

        What was requested of one leg is in the store's order: one that was sent earlier may be recorded later, and the
        clocks of those who sent it may differ.

        Raises:
            StoreError: The store can't be read.
        """
        events = list(self._store.family(self._sid))
        sids = dict.fromkeys([*legs, *(event.call_sid for event in events)])
        actions = [[action for action in self._store.actions(sid) if action not in self._actions] for sid in sids]
        return events, list(merge(*actions, key=lambda action: action.at))

    def _apply(self, events: Iterable[CallEvent]) -> None:
        for event in events:
            if event.kind == CALLBACK:
                self._with_callbacks.add(event.call_sid)
            change = self._board.apply(event)
            # What REST shows again of a leg is news to the board, and none to the reader.
            if change is not None and (event.kind in (CALLBACK, *FEATURES) or change.status_changed):
                self._view.event(event, change)

    async def _poll(self) -> None:
        """Query REST again and again until cancelled. An API that fails is reported once."""
        reported: set[str] = set()
        while True:
            # Once all known legs have ended, one more round shows whether there are others.
            all_ended = self._board.snapshot().live == 0
            calls = await self._calls(reported)
            self._apply(CallEvent.from_call(call, received_at=self._now(), world=self._world) for call in calls)
            self._ended.update((call.sid, call) for call in calls if call.is_final)
            self._confirmed = all_ended and bool(calls) and all(map(self._has_ended, calls))
            await self._gap()

    def _has_ended(self, call: Call) -> bool:
        """Return whether a call is over, by REST or by verified callbacks, and its callback came or is not awaited."""
        leg = self._board.snapshot().leg(call.sid)
        return with_reported_status(call, leg).is_final and not self._awaits_end(call)

    def _awaits_end(self, call: Call) -> bool:
        """Return whether the callback of a call's end may still be on its way to this process."""
        if not self._listens or call.sid not in self._with_callbacks or self._is_end_reported(call.sid):
            return False
        return self._awaited.has(call, now=self._now(), steady=self._now())

    def _is_end_reported(self, sid: str) -> bool:
        leg = self._board.snapshot().leg(sid)
        return leg is not None and leg.is_final and leg.source == CALLBACK

    async def _store_ends(self) -> None:
        """Store the ends of legs that no callback can report any more: the store would have them live for good."""
        ends = [call for sid, call in self._ended.items() if not self._is_end_reported(sid)]
        with suppress(StoreError, NoThreadError, TimeoutError):
            async with asyncio.timeout(READ_LIMIT):
                await run_in_thread(lambda: store_last_ends(self._store, ends, now=self._now(), world=self._world))

    async def _calls(self, reported: set[str]) -> list[Call]:
        """Return the call and its child legs as REST shows them; none if it could not be queried."""
        try:
            calls = await run_in_thread(self._round)
        except Exception as error:
            if (why := failure_reason(error)) not in reported:
                reported.add(why)
                self._view.trouble(
                    Trouble(f"can't query REST: {why}", Cause.API, status=getattr(error, "status", None))
                )
            return []
        reported.clear()
        return calls

    def _round(self) -> list[Call]:
        try:
            return [self._api.fetch(self._sid), *self._api.list(CallFilter(parent=self._sid), limit=None)]
        except NotFoundError:
            if (self._now() - self._started).total_seconds() > MISSING_FOR:
                raise
            return []

    async def _gap(self) -> None:
        """Wait until it is time for the next query: soon without callbacks, at once if all seems to be over."""
        waited = 0.0
        while waited < (GAP_WITH_CALLBACKS if self._with_callbacks else GAP_WITHOUT_CALLBACKS):
            await self._sleep(FRAME)
            waited += FRAME
            if self._board.snapshot().live == 0 and not self._confirmed and waited >= GAP_WITHOUT_CALLBACKS:
                return
