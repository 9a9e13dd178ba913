"""Finds calls that should have sent callbacks here and did not, shows them, and reports the likeliest cause.

Where callbacks go is known of the calls that callctl placed. Of others that only REST lists, placed by any code,
nothing is known; they are reported only if Twilio itself noted what is wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from datetime import datetime, timedelta

from callctl.api.calls_api import CallsApi
from callctl.calls.board import Snapshot
from callctl.calls.event import CALLBACK, POLLED, CallEvent
from callctl.calls.watch_trouble import Cause as TroubleCause
from callctl.calls.watch_trouble import Trouble
from callctl.errors import CallctlError, NotFoundError, NoThreadError, StoreError, failure_reason
from callctl.operations import missing_callbacks
from callctl.operations.missing_callbacks import Cause, comparable_url, find_cause, is_overdue
from callctl.store.event_store import EventStore
from callctl.store.records import PlacedCall
from callctl.support.clock import Clock
from callctl.support.threads import run_in_thread
from callctl.watch.background_tasks import repeat
from callctl.watch.poll import is_news

# Seconds from one check to the next. Each looks at one call at most, with two requests: many have one cause.
INTERVAL = 2.0
# How far the clock of another machine, which placed a call, may be behind this one's.
BEHIND = timedelta(hours=1)
# How often a call that was not yet dialled, or can't be requested, is checked again.
MOST_CHECKS = 30
# How many calls of other code are checked at most: where many send nothing, that is meant.
MOST_OTHER_CALLS = 20


class SilentCalls:
    """Checks calls that send no callbacks, one at a time."""

    def __init__(
        self,
        reader: EventStore,
        api: CallsApi,
        *,
        callback_url: Callable[[], str],
        unreachable: Callable[[], str | None],
        snapshot: Callable[[], Snapshot],
        store: Callable[[CallEvent], Awaitable[None]],
        world: str,
        trouble: Callable[[Trouble], None],
        clock: Clock,
    ) -> None:
        """Prepare. Calls placed before this moment are left alone: no watch may have listened then.

        Args:
            reader: Reads the store.
            api: The API.
            callback_url: Returns where callbacks to this watch go.
            unreachable: Returns why no callback can arrive, None if they can.
            snapshot: Returns the board.
            store: Stores what was fetched of a silent call, as an event, and passes it on to the board: a call that is
                over before the next poll is listed nowhere.
            world: The account and API address of the events.
            trouble: Called with each silent call and its likeliest cause.
            clock: The time.
        """
        self._reader, self._api, self._store, self._world = reader, api, store, world
        self._callback_url, self._unreachable = callback_url, unreachable
        self._snapshot, self._trouble, self._clock = snapshot, trouble, clock
        self._began = clock.now()
        self._before: dict[str, frozenset[str]] = {}  # by callback URL, the calls that were placed before
        self._first_seen: dict[str, datetime] = {}  # of calls that were placed since, by the steady clock
        self._checks: dict[str, int] = {}
        self._overdue: dict[str, CallEvent] = {}  # what was fetched of calls whose callbacks are overdue
        self._done: set[str] = set()
        self._other_calls = 0
        self._reported: set[str] = set()

    async def run(self) -> None:
        """Check again and again until cancelled."""
        await repeat(self.check)

    async def check(self) -> float:
        """Check one silent call, if there is one, and report the cause; return the seconds until the next check."""
        snapshot = self._snapshot()
        try:  # in a thread: a shared store may take a while to answer, or not do so
            silent = await run_in_thread(lambda: next(self._silent(snapshot), None))
        except NoThreadError:
            return INTERVAL
        if silent is None:
            return INTERVAL
        sid, events = silent
        self._checks[sid] = self._checks.get(sid, 0) + 1
        try:
            await self._check_call(sid, events)
        except CallctlError as error:  # the poll loop reports an API that can't be reached, the listener the store
            if isinstance(error, NotFoundError):
                self._done.add(sid)
            elif isinstance(error, NoThreadError):
                self._checks[sid] -= 1  # nothing was sent
        except Exception as error:
            self._done.add(sid)
            what = f"{sid}: can't find out why no status callback comes: {failure_reason(error)}"
            self._trouble(Trouble(what, TroubleCause.NO_CALLBACK, call_sid=sid))
        if self._checks[sid] >= MOST_CHECKS:
            self._done.add(sid)
        return INTERVAL

    async def _check_call(self, sid: str, events: Collection[str] | None) -> None:
        if events is not None:
            if not await self._is_overdue(sid, events):
                return
            await self._show(self._overdue[sid])
        cause = await run_in_thread(lambda: self._cause(sid, is_ours=events is not None))
        self._done.add(sid)
        self._overdue.pop(sid, None)
        self._other_calls += events is None
        if cause is not None:
            self._report(sid, cause)

    def _silent(self, snapshot: Snapshot) -> Iterator[tuple[str, Collection[str] | None]]:
        """Yield the calls that are old enough and sent no callback, those first that were checked least.

        With the events that they were to send; None for calls of other code, of which that is not known.
        """
        callback_url = comparable_url(self._callback_url())
        try:
            placed = self._reader.placed_since(self._clock.earliest(self._began) - BEHIND, callback=callback_url)
        except StoreError:
            return  # reported when the next event can't be stored
        ours = [(call.call_sid, call.events) for call in self._placed_since_long(placed, callback_url)]
        others = self._placed_by_others(snapshot, {call.call_sid for call in placed})
        calls: list[tuple[str, Collection[str] | None]] = [*ours, *((sid, None) for sid in others)]
        for sid, events in sorted(calls, key=lambda call: self._checks.get(call[0], 0)):
            if sid in self._done:
                continue
            if self._has_sent_callbacks(sid):
                self._done.add(sid)
            else:
                yield sid, events

    def _placed_since_long(self, placed: Collection[PlacedCall], callback_url: str) -> list[PlacedCall]:
        """Return the calls that were placed after the beginning, and should have sent a callback by now.

        A machine that shares the store may have placed them, whose clock is wrong: they count from when they were first
        seen here. Only of what is there at the first look the time decides whether it was placed before.
        """
        now = self._clock.now()
        if callback_url not in self._before:
            is_before = (call for call in placed if not self._began <= self._clock.steady(call.at) <= now)
            self._before[callback_url] = frozenset(call.call_sid for call in is_before)
        before = self._before[callback_url]
        new = [call for call in placed if call.call_sid not in before]
        return [
            call for call in new if now - self._first_seen.setdefault(call.call_sid, now) >= missing_callbacks.AFTER
        ]

    def _placed_by_others(self, snapshot: Snapshot, ours: Collection[str]) -> Iterator[str]:
        """Yield the calls that other code placed since, and that only REST reported."""
        if self._other_calls >= MOST_OTHER_CALLS:
            return
        since = self._began.replace(microsecond=0)  # REST has whole seconds
        for leg in (leg for family in snapshot.families for leg in family.legs):
            is_silent = leg.source == POLLED and leg.direction == "outbound-api"
            if is_silent and since <= leg.first_at and self._is_old(leg.first_at) and leg.call_sid not in ours:
                yield leg.call_sid

    def _is_old(self, moment: datetime) -> bool:
        return self._clock.age(moment) >= missing_callbacks.AFTER

    def _has_sent_callbacks(self, sid: str) -> bool:
        try:
            return any(event.kind == CALLBACK and event.call_sid == sid for event in self._reader.family(sid))
        except StoreError:
            return True

    async def _is_overdue(self, sid: str, events: Collection[str]) -> bool:
        """Return whether, at the check before, a call had a status that it must have reported, and has not since.

        Raises:
            CallctlError: It can't be fetched.
        """
        if sid in self._overdue:
            return True
        call = await run_in_thread(lambda: self._api.fetch(sid))
        if is_overdue(events, call.status):
            self._overdue[sid] = CallEvent.from_call(call, received_at=self._clock.wall(), world=self._world)
        return False

    async def _show(self, event: CallEvent) -> None:
        if is_news(event.status, self._snapshot().leg(event.call_sid)):
            await self._store(event)

    def _cause(self, sid: str, *, is_ours: bool) -> Cause | None:
        """Return the likeliest cause for which a call sends no callbacks; None if there is none to report.

        Raises:
            CallctlError: Its notifications can't be listed.
        """
        return find_cause(
            self._api,
            sid,
            callback_url=self._callback_url(),
            is_ours=lambda: is_ours,
            unreachable=self._unreachable,
        )

    def _report(self, sid: str, cause: Cause) -> None:
        """Report a cause with its fix; the same one again with the call alone."""
        if cause.text in self._reported:
            text = f"{sid}: no status callback either"
        else:
            text = f"{sid}: no status callback in {missing_callbacks.AFTER.seconds} s: {cause.sentence}; {cause.fix}"
        self._reported.add(cause.text)
        self._trouble(Trouble(text, TroubleCause.NO_CALLBACK, url=self._callback_url(), call_sid=sid))
