"""Polls REST for what no callback reported: on start, every 30 s, at once after a gap, soon where it is not clear yet.

It is not clear of what has just ended, nor of a live leg whose parent has ended: it may send no callbacks itself.

Only calls that were placed with a callback URL send callbacks, and some get lost. So now and then the live calls that
REST lists are compared with the board: a call that is not there is ``polled``; a leg that the board believes alive but
REST no longer lists is fetched, and if it has ended, its end was ``missed``. Absence from a list alone ends nothing:
lists and fetches are eventually consistent (docs/twilio.md, "Eventual consistency").
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from callctl.api.calls_api import CallsApi
from callctl.calls.board import Snapshot
from callctl.calls.call import REST_LIVE_STATUSES, Call, rank_of
from callctl.calls.event import CALLBACK, MISSED, POLLED, CallEvent
from callctl.calls.family import parents_first
from callctl.calls.filter import CallFilter
from callctl.calls.leg import Leg
from callctl.calls.sid import is_call_sid
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import CallctlError, NotFoundError, failure_reason
from callctl.operations.live_calls import list_in_turn
from callctl.operations.missed_ends import AwaitedEnds, is_settled
from callctl.support.backoff import Backoff
from callctl.support.clock import Clock
from callctl.support.threads import run_in_thread
from callctl.watch.background_tasks import repeat

# Seconds from one round to the next: three requests each, and one for each leg that is gone from the lists.
INTERVAL = 30.0
# The same after a round that left something to callbacks that may still come.
SOON = 5.0
# Seconds between two checks for a gap in the callbacks, and how much time must have gone by between two of them.
TICK = 1.0
SLEPT = timedelta(seconds=5)
# Seconds that callbacks get which waited in the socket meanwhile, so that they are stored before REST's word is.
GRACE = 2.0
# One round fetches at most so many legs; the others wait for the next.
FETCHES = 20
# REST may not know a new call yet. Such a call is requested so many times, with pauses in between, in
# seconds: for a quarter of an hour.
NOT_FOUND_TRIES = 6
NOT_FOUND_PAUSES = Backoff(first=25.0, factor=2, longest=600.0)


def is_news(status: str, leg: Leg | None) -> bool:
    """Whether a status of REST says more than the board knows of a leg; None is one it does not know."""
    return leg is None or (rank_of(status) > rank_of(leg.status) and not leg.is_final)


class PollLoop:
    """Polls on start, every 30 s, and at once after a gap in the callbacks, and passes on what is new.

    A gap is over when the machine wakes from sleep, when this process goes on after it was stopped, or when callbacks
    can arrive again: what calls did meanwhile must not stay unknown to the board for half a minute more. Nor must the
    end of a leg that sends no callbacks, where its parent has ended or somebody has ended it: REST is queried soon
    after that, once.
    """

    def __init__(
        self,
        poller: Poller,
        *,
        unreachable: Callable[[], str | None],
        snapshot: Callable[[], Snapshot],
        is_pending: Callable[[str], bool],
        store: Callable[[CallEvent], Awaitable[None]],
        trouble: Callable[[Trouble], None],
        clock: Clock,
    ) -> None:
        """Prepare.

        Args:
            poller: Finds what the board does not know.
            unreachable: Returns why no callback can arrive, None if they can.
            snapshot: Returns the board.
            is_pending: Whether an event of a call waits to be put on the board.
            store: Stores an event and passes it on to the board.
            trouble: Called with why the API can't be polled, once, and when it can again.
            clock: Measures time, also while the machine sleeps.
        """
        self._poller, self._unreachable = poller, unreachable
        self._snapshot, self._is_pending = snapshot, is_pending
        self._store, self._trouble, self._clock = store, trouble, clock
        self._reported: set[str] = set()
        self._ended: set[str] = set()  # the live legs that somebody has ended
        self._noticed: dict[str, float] = {}  # by live leg that should have ended, since when; inf once REST was polled

    async def run(self) -> None:
        """Poll until cancelled. What fails is reported once, and tried again with the next round; so is its end."""
        await repeat(self._poll, wait=self._wait)

    def expect_end(self, call_sid: str) -> None:
        """Note that a leg was ended just now: its callback may report it, else REST is queried soon."""
        self._ended.add(call_sid)

    async def _poll(self) -> float:
        failure = await self._round()
        if failure is None:
            if self._reported:
                self._trouble(Trouble("REST is compared again", Cause.API, is_over=True))
            self._reported.clear()
        elif (why := failure_reason(failure)) not in self._reported:
            self._reported.add(why)
            self._trouble(
                Trouble(f"can't compare with REST: {why}", Cause.API, status=getattr(failure, "status", None))
            )
        return SOON if self._poller.awaits_callbacks else INTERVAL

    async def _round(self) -> Exception | None:
        """Do one round; return why it broke off. What it yielded before that counts."""
        snapshot = self._snapshot()
        try:
            events, failure = await run_in_thread(lambda: self._events(snapshot))
            for event in events:
                if self._is_news(event):
                    await self._store(event)
        except Exception as error:
            return error
        return failure

    def _events(self, snapshot: Snapshot) -> tuple[list[CallEvent], Exception | None]:
        """Return the events of a round, and why it broke off; of a call that moved on meanwhile, the later event.

        REST lists children before their parents. Here these come first, as rules look in between: a child alone would
        be ended before its parent.
        """
        events: dict[str, CallEvent] = {}
        failure: Exception | None = None
        try:
            for event in self._poller.round(snapshot):
                events[event.call_sid] = event
        except Exception as error:
            failure = error
        groups = parents_first(events, lambda sid: events[sid].parent_call_sid if sid in events else None)
        return [events[sid] for group in groups for sid in group], failure

    def _is_news(self, event: CallEvent) -> bool:
        sid = event.call_sid
        return not self._is_pending(sid) and is_news(event.status, self._snapshot().leg(sid))

    async def _wait(self, seconds: float) -> None:
        """Return after so many seconds, once a gap in the callbacks is over, or soon after a leg should have ended."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (remaining := end - loop.time()) > 0:
            before, was_unreachable = self._clock.now(), self._unreachable() is not None
            await asyncio.sleep(min(TICK, remaining))
            if self._clock.now() - before > SLEPT:
                await asyncio.sleep(GRACE)
                return
            if was_unreachable and self._unreachable() is None:
                return
            if self._should_have_ended(loop.time()):
                return

    def _should_have_ended(self, now: float) -> bool:
        """Return, once for each leg, whether one is live some seconds after it or its parent was seen to have ended."""
        snapshot = self._snapshot()
        self._ended = {sid for sid in self._ended if (leg := snapshot.leg(sid)) is not None and leg.is_live}
        expected = {*_without_parent(snapshot), *self._ended}
        self._noticed = {sid: self._noticed.get(sid, now) for sid in expected}
        due = [sid for sid, since in self._noticed.items() if now - since >= SOON]
        self._noticed.update(dict.fromkeys(due, math.inf))
        return bool(due)


def _without_parent(snapshot: Snapshot) -> Iterator[str]:
    """Yield the live legs whose parent has ended."""
    for family in snapshot.families:
        if not family.is_live or not family.children:
            continue
        if len(family.children) == 1 and family.parent is not None and family.parent.is_live:
            continue  # nearly all of ten thousand: only its parent needs to be looked at
        for leg in family.children:
            parent = snapshot.leg(leg.parent_call_sid or "")
            if leg.is_live and parent is not None and parent.is_final:
                yield leg.call_sid


class NotFound(NamedTuple):
    """How often REST did not know a leg, and from when on it may be requested again; None: never."""

    times: int
    ask_from: datetime | None


class Poller:
    """Compares REST with the board, round by round. Its requests block: call it in a thread of its own."""

    def __init__(self, api: CallsApi, *, world: str, clock: Clock) -> None:
        self._api = api
        self._world = world
        self._clock = clock
        self._awaited = AwaitedEnds()
        self._not_found: dict[str, NotFound] = {}  # live legs that REST knows nothing of
        self._failures: dict[str, int] = {}  # of legs that could not be fetched, in how many rounds
        self.awaits_callbacks = False  # whether the last round left something to callbacks that may still come

    def round(self, snapshot: Snapshot) -> Iterator[CallEvent]:
        """Yield what REST knows and the board does not: 3 requests for the lists and one for each leg gone from them.

        Raises:
            CallctlError: The API could not be queried.
        """
        listed = set()
        self.awaits_callbacks = False
        for call in self._live():
            listed.add(call.sid)
            leg = snapshot.leg(call.sid)
            if is_news(call.status, leg) and (leg is None or self._is_settled(leg)):
                yield self._event(call, kind=POLLED)
        yield from self._ends(self._unlisted(snapshot, listed))

    def _live(self) -> Iterator[Call]:
        """Yield the calls that REST lists as queued, ringing or in progress: a request, or more, for each."""
        for call in list_in_turn(self._api, [CallFilter(statuses=(status,)) for status in REST_LIVE_STATUSES]):
            if is_call_sid(call.sid):  # any other could never be fetched, so its end would never be known
                yield call

    def _unlisted(self, snapshot: Snapshot, listed: set[str]) -> list[Leg]:
        legs = [leg for family in snapshot.families if family.is_live for leg in family.legs if leg.is_live]
        unlisted = [leg for leg in legs if leg.call_sid not in listed and self._may_be_fetched(leg.call_sid)]
        self._not_found = {
            leg.call_sid: self._not_found[leg.call_sid] for leg in legs if leg.call_sid in self._not_found
        }
        suspects = [leg for leg in unlisted if self._is_settled(leg)]
        self.awaits_callbacks = len(suspects) < len(unlisted)
        self._failures = {leg.call_sid: self._failures.get(leg.call_sid, 0) for leg in suspects}
        return sorted(suspects, key=lambda leg: (self._tries_in_vain(leg.call_sid), leg.last_event_at))[:FETCHES]

    def _tries_in_vain(self, sid: str) -> int:
        not_found = self._not_found.get(sid)
        return self._failures[sid] + (0 if not_found is None else not_found.times)

    def _may_be_fetched(self, sid: str) -> bool:
        not_found = self._not_found.get(sid)
        is_due = not_found is None or (not_found.ask_from is not None and self._clock.now() >= not_found.ask_from)
        return is_due and is_call_sid(sid)

    def _note_not_found(self, sid: str) -> None:
        times = 1 + (self._not_found[sid].times if sid in self._not_found else 0)
        pause = next(islice(NOT_FOUND_PAUSES.pauses(), times - 1, None))
        is_last = times == NOT_FOUND_TRIES
        self._not_found[sid] = NotFound(times, None if is_last else self._clock.now() + timedelta(seconds=pause))

    def _ends(self, legs: list[Leg]) -> Iterator[CallEvent]:
        """Yield the ends of legs; odd answers of REST do not keep the others back.

        After two failures in a row the API itself may be in trouble, and is left alone until the next round. That
        begins with the legs that failed least.
        """
        failure: CallctlError | None = None
        in_a_row = 0
        for leg in legs:
            try:
                yield from self._end_of(leg)
            except CallctlError as error:
                failure = failure or error
                self._failures[leg.call_sid] += 1
                in_a_row += 1
                if in_a_row == 2:
                    break
            else:
                self._failures[leg.call_sid] = in_a_row = 0
        if failure is not None:
            raise failure

    def _end_of(self, leg: Leg) -> Iterator[CallEvent]:
        try:
            call = self._api.fetch(leg.call_sid)
        except NotFoundError:
            self._note_not_found(leg.call_sid)
            return
        self._not_found.pop(leg.call_sid, None)
        if not call.is_final:
            return
        now = self._clock.wall()
        if leg.source == CALLBACK and self._awaited.has(call, now=now, steady=self._clock.now()):
            self.awaits_callbacks = True  # its callback may still come
        else:
            yield self._event(call, kind=MISSED)

    def _is_settled(self, leg: Leg) -> bool:
        return is_settled(self._clock.age(leg.last_event_at))

    def _event(self, call: Call, *, kind: str) -> CallEvent:
        return CallEvent.from_call(call, received_at=self._clock.wall(), world=self._world, kind=kind)
