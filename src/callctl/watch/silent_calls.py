"""Calls that should have sent callbacks here and did not: found, fetched, shown, and told with the likeliest cause.

Of the calls that callctl placed it is known where their callbacks go. Of others that REST alone tells of, placed by
anybody's code, nothing is known; they are told of only if Twilio itself noted what is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from callctl.api.protocol import CallsApi
from callctl.calls.board import Snapshot
from callctl.calls.event import CALLBACK, POLLED, CallEvent
from callctl.calls.trouble import Cause as TroubleCause
from callctl.calls.trouble import Trouble
from callctl.errors import CallctlError, NotFoundError, StoreError
from callctl.operations import missing_callbacks
from callctl.operations.missing_callbacks import Cause, comparable_url, find_cause, is_overdue
from callctl.store.records import PlacedCall
from callctl.support.clock import Clock
from callctl.support.threads import failure_reason, run_in_thread
from callctl.watch.poll import is_news

# Seconds between two looks. Each asks about one call at most, with two requests; a burst of silent calls has one cause.
LOOK = 2.0
# How often a call that was not yet dialled, or can't be asked about, is looked at again.
MOST_LOOKS = 30
# How many calls of other code are asked about at most: where many send nothing, that is meant.
MOST_STRANGERS = 20


class Memory(Protocol):
    """What is needed of the store."""

    def placed_since(self, moment: datetime, *, callback: str) -> list[PlacedCall]:
        """Return the calls that callctl placed since, with callbacks to this URL; raise StoreError."""

    def family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call and its relatives; raise StoreError."""


@dataclass(frozen=True, slots=True)
class Here:
    """This watch, as far as callbacks are concerned."""

    callback_url: str
    deaf: str | None


class SilentCalls:
    """Looks for silent calls, one at a time."""

    def __init__(
        self,
        memory: Memory,
        api: CallsApi,
        *,
        here: Callable[[], Here],
        snapshot: Callable[[], Snapshot],
        keep: Callable[[CallEvent], Awaitable[None]],
        world: str,
        trouble: Callable[[Trouble], None],
        clock: Clock,
    ) -> None:
        """Prepare. Calls placed before this moment are left alone: nobody may have listened then.

        ``keep`` is given what was fetched of a silent call, as an event: a call that is over before the poller's next
        look is listed nowhere.
        """
        self._memory, self._api, self._keep, self._world = memory, api, keep, world
        self._here, self._snapshot, self._trouble, self._clock = here, snapshot, trouble, clock
        self._began = clock.now()
        self._looks: dict[str, int] = {}
        self._due: dict[str, CallEvent] = {}  # what was fetched of calls that must have told
        self._done: set[str] = set()
        self._strangers = 0
        self._told: set[str] = set()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        """Ask about one silent call, if there is one, and tell what was found."""
        here = self._here()
        silent = next(self._silent(here), None)
        if silent is None:
            return
        sid, events = silent
        self._looks[sid] = self._looks.get(sid, 0) + 1
        try:
            await self._look_at(sid, events, here)
        except CallctlError as error:  # the poller tells of an API that can't be asked, the listener of the store
            if isinstance(error, NotFoundError):
                self._done.add(sid)
        except Exception as error:
            self._done.add(sid)
            what = f"{sid}: can't find out why no status callback comes: {failure_reason(error)}"
            self._trouble(Trouble(what, TroubleCause.NO_CALLBACK, call_sid=sid))
        if self._looks[sid] >= MOST_LOOKS:
            self._done.add(sid)

    async def _look_at(self, sid: str, events: Collection[str] | None, here: Here) -> None:
        if events is not None:
            if not await self._is_due(sid, events):
                return
            await self._show(self._due[sid])
        cause = await run_in_thread(lambda: self._cause(sid, here, is_ours=events is not None))
        self._done.add(sid)
        self._due.pop(sid, None)
        self._strangers += events is None
        if cause is not None:
            self._tell(sid, cause)

    def _silent(self, here: Here) -> Iterator[tuple[str, Collection[str] | None]]:
        """Yield the calls that are old enough and of which no callback told, those first that were asked about least.

        With the events that they were to tell of; None for those of others, of which that is not known.
        """
        try:
            since = self._clock.earliest(self._began)
            placed = self._memory.placed_since(since, callback=comparable_url(here.callback_url))
        except StoreError:
            return  # told when the next event can't be kept
        placed = [one for one in placed if self._clock.steady(one.at) >= self._began]
        ours = [(one.call_sid, one.events) for one in placed if self._is_old(one.at)]
        known = {one.call_sid for one in placed}
        found: list[tuple[str, Collection[str] | None]] = [*ours, *((sid, None) for sid in self._foreign(known))]
        for sid, events in sorted(found, key=lambda one: self._looks.get(one[0], 0)):
            if sid in self._done:
                continue
            if self._is_heard(sid):
                self._done.add(sid)
            else:
                yield sid, events

    def _foreign(self, ours: Collection[str]) -> Iterator[str]:
        """Yield the calls that some code placed since, and of which REST alone tells."""
        if self._strangers >= MOST_STRANGERS:
            return
        since = self._began.replace(microsecond=0)  # REST tells whole seconds
        for leg in (leg for family in self._snapshot().families for leg in family.legs):
            is_silent = leg.source == POLLED and leg.direction == "outbound-api"
            if is_silent and since <= leg.first_at and self._is_old(leg.first_at) and leg.call_sid not in ours:
                yield leg.call_sid

    def _is_old(self, moment: datetime) -> bool:
        return self._clock.age(moment) >= missing_callbacks.AFTER

    def _is_heard(self, sid: str) -> bool:
        try:
            return any(event.kind == CALLBACK and event.call_sid == sid for event in self._memory.family(sid))
        except StoreError:
            return True

    async def _is_due(self, sid: str, events: Collection[str]) -> bool:
        """Tell whether a call had come so far at the look before that it must have told, and has told nothing since.

        Raises:
            CallctlError: It can't be fetched.
        """
        if sid in self._due:
            return True
        call = await run_in_thread(lambda: self._api.fetch(sid))
        if is_overdue(events, call.status):
            self._due[sid] = CallEvent.from_call(call, received_at=self._clock.wall(), world=self._world)
        return False

    async def _show(self, event: CallEvent) -> None:
        if is_news(event.status, self._snapshot().leg(event.call_sid)):
            await self._keep(event)

    def _cause(self, sid: str, here: Here, *, is_ours: bool) -> Cause | None:
        """Return the likeliest cause of a call's silence; None if there is none to tell.

        Raises:
            CallctlError: Its notifications can't be listed.
        """
        return find_cause(
            self._api, sid, callback_url=here.callback_url, is_ours=lambda: is_ours, unreachable=lambda: here.deaf
        )

    def _tell(self, sid: str, cause: Cause) -> None:
        """Tell a cause with its fix; the same one again with the call alone."""
        if cause.text in self._told:
            text = f"{sid}: no status callback either"
        else:
            text = f"{sid}: no status callback in {missing_callbacks.AFTER.seconds} s: {cause.sentence}; {cause.fix}"
        self._told.add(cause.text)
        url = self._here().callback_url
        self._trouble(Trouble(text, TroubleCause.NO_CALLBACK, url=url, call_sid=sid))
