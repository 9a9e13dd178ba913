"""The poller: asks REST for what no callback told. It finds; the session stores and shows.

Callbacks come only from calls that were asked for them, and some get lost. So now and then the live calls that REST
lists are compared with the board: a call that is not there is ``polled``; a leg that the board believes alive but REST
no longer lists is fetched, and if it has ended, its end was ``missed``. Absence from a list alone ends nothing: lists
and fetches are eventually consistent (docs/twilio.md, "Eventual consistency").
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from callctl.api.protocol import CallsApi
from callctl.api.requests import CallQuery
from callctl.calls.board import Leg, Snapshot
from callctl.calls.call import Call, CallStatus
from callctl.calls.event import CALLBACK, MISSED, POLLED, CallEvent, rank_of
from callctl.errors import CallctlError, NotFoundError
from callctl.support.clock import Clock

# A callback that is on its way tells more than a poll; only what is older than this is worth a poll's word.
SETTLED = timedelta(seconds=10)
# How long ago a call must have ended, for its callback to count as lost. Rules act on what is younger than 15 s.
ARRIVED = timedelta(seconds=5)
# One round asks for at most so many legs one by one; the others wait for the next.
FETCHES = 20


def is_news(status: str, leg: Leg | None) -> bool:
    """Whether a status that REST told says more than the board knows of a leg; None is one it does not know."""
    return leg is None or (rank_of(status) > rank_of(leg.status) and not leg.is_final)


class Poller:
    """Compares REST with the board, round by round. Its requests block: call it in a thread of its own."""

    def __init__(self, api: CallsApi, *, world: str, clock: Clock) -> None:
        self._api = api
        self._world = world
        self._clock = clock
        self._gone: set[str] = set()  # legs that REST knows nothing of: asking again would tell nothing
        self.left_open = False  # whether the last round left something to the callbacks that may be on their way

    def round(self, snapshot: Snapshot) -> Iterator[CallEvent]:
        """Yield what REST knows and the board does not: 3 requests for the lists and one for each leg gone from them.

        Raises:
            CallctlError: The API could not be asked.
        """
        listed = set()
        self.left_open = False
        for call in self._live():
            listed.add(call.sid)
            leg = snapshot.leg(call.sid)
            if is_news(call.status, leg) and (leg is None or self._is_settled(leg)):
                yield self._event(call, kind=POLLED)
        yield from self._ends(self._unlisted(snapshot, listed))

    def _live(self) -> Iterator[Call]:
        """Yield the calls that REST lists as queued, ringing or in progress: a request, or more, for each."""
        for status in (CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS):
            yield from self._api.list(CallQuery(status=status), limit=None)

    def _unlisted(self, snapshot: Snapshot, listed: set[str]) -> list[Leg]:
        legs = (leg for family in snapshot.families if family.is_live for leg in family.legs if leg.is_live)
        unlisted = [leg for leg in legs if leg.call_sid not in listed and leg.call_sid not in self._gone]
        suspects = [leg for leg in unlisted if self._is_settled(leg)]
        self.left_open = len(suspects) < len(unlisted)
        return sorted(suspects, key=lambda leg: leg.last_event_at)[:FETCHES]

    def _ends(self, legs: list[Leg]) -> Iterator[CallEvent]:
        """Yield the ends of legs; one of which REST answers oddly keeps none of the others back."""
        failure: CallctlError | None = None
        for leg in legs:
            try:
                yield from self._end_of(leg)
            except CallctlError as error:
                if failure is not None:
                    break  # the API is in trouble, not one call's answer
                failure = error
        if failure is not None:
            raise failure

    def _end_of(self, leg: Leg) -> Iterator[CallEvent]:
        try:
            call = self._api.fetch(leg.call_sid)
        except NotFoundError:
            self._gone.add(leg.call_sid)
            return
        if not call.is_final:
            return
        if leg.source == CALLBACK and self._has_just_ended(call):
            self.left_open = True  # the callback of that may still be on its way
        else:
            yield self._event(call, kind=MISSED)

    def _is_settled(self, leg: Leg) -> bool:
        # What was told by a clock that was ahead, as before a restart, lies in the future: it is not just being told.
        return abs(self._clock.age(leg.last_event_at)) > SETTLED

    def _has_just_ended(self, call: Call) -> bool:
        if call.end_time is None:
            return False
        # By the clock that told the end, if the reply says what it is. One that is wrong hides no end.
        return abs((call.as_of or self._clock.wall()) - call.end_time) < ARRIVED

    def _event(self, call: Call, *, kind: str) -> CallEvent:
        return CallEvent.from_call(call, received_at=self._clock.wall(), world=self._world, kind=kind)
