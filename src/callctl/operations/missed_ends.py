"""Ends that no callback reported and REST shows: when such an end counts, and storing those that a command came across.

A callback says more than REST, and may still be on its way where a call has just ended: such an end is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from callctl.calls.call import Call
from callctl.calls.event import CALLBACK, MISSED, CallEvent

if TYPE_CHECKING:
    from callctl.calls.leg import Leg
    from callctl.store.event_store import EventStore

# What is known of a leg may be followed by a callback, which says more than REST, until it is older than this.
SETTLED = timedelta(seconds=10)
# How long ago a call must have ended, for its callback to count as lost. Rules act on what is younger than 15 s.
ARRIVED = timedelta(seconds=5)
_MOST_AWAITED = 1000


def is_settled(age: timedelta) -> bool:
    """Return whether a leg's last event is so old that no callback is expected at once.

    What a clock recorded that was ahead, as before a restart, lies in the future: it is not new.
    """
    return abs(age) > SETTLED


def has_just_ended(call: Call, *, now: datetime) -> bool:
    """Return whether a call ended so lately that its callback may still be on its way.

    By the API's clock, if the reply says what it is; else ``now``. A date that is wrong hides no end.
    """
    ended_at = call.end_time or call.date_updated
    return ended_at is not None and abs((call.as_of or now) - ended_at) < ARRIVED


class AwaitedEnds:
    """The ends that REST shows of legs whose callbacks may still be on their way, for ``ARRIVED`` at most.

    The times of the replies alone do not say so: a proxy may send its own, which stands still.
    """

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}

    def has(self, call: Call, *, now: datetime, steady: datetime) -> bool:
        """Return whether the callback of a call's end is still awaited.

        ``now`` is by the wall clock, ``steady`` by one that only goes on, where there is one.
        """
        if not has_just_ended(call, now=now):
            self._since.pop(call.sid, None)
            return False
        since = self._since.setdefault(call.sid, steady)
        if len(self._since) > _MOST_AWAITED:
            del self._since[next(iter(self._since))]
        return steady - since < ARRIVED


def missed_end(call: Call, leg: Leg | None, *, now: datetime, world: str) -> CallEvent | None:
    """Return the event of an end that REST shows; None where it is no news, or a callback may still report it.

    Args:
        call: The call as REST shows it.
        leg: What is stored of it; None where nothing is.
        now: The time.
        world: The account and API address, for the event's key.
    """
    if leg is None or leg.is_final or not call.is_final or not is_settled(now - leg.last_event_at):
        return None
    if leg.source == CALLBACK and has_just_ended(call, now=now):
        return None
    return CallEvent.from_call(call, received_at=now, world=world, kind=MISSED)


def store_missed_ends(
    store: EventStore, calls: Iterable[Call], *, leg: Callable[[str], Leg | None], now: datetime, world: str
) -> None:
    """Store the ends of calls that a store takes for live and that no callback reported; ``leg`` returns what it has.

    Raises:
        StoreError: It can't be read or written.
    """
    for call in calls:
        event = missed_end(call, leg(call.sid), now=now, world=world)
        if event is not None:
            _store_if_live(store, event)


def store_last_ends(store: EventStore, calls: Iterable[Call], *, now: datetime, world: str) -> None:
    """Store the ends of calls that a store takes for live, and that no callback can report any more.

    Raises:
        StoreError: It can't be read or written.
    """
    for call in calls:
        _store_if_live(store, CallEvent.from_call(call, received_at=now, world=world, kind=MISSED))


def _store_if_live(store: EventStore, event: CallEvent) -> None:
    row = store.call(event.call_sid)  # its callback may have come since
    if row is not None and not row.is_final:
        store.append(event)
