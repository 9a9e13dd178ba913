"""What rules need to know of each leg beside the board: whose clock told what, and who told it."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from callctl.calls.board import Leg
from callctl.calls.call import CallStatus
from callctl.calls.event import CALLBACK, MISSED, POLLED, CallEvent


@dataclass(slots=True)
class Sight:
    """What was heard of one leg.

    ``first_at`` is when it was first heard of, by the steady clock; ``told`` the Timestamp of each status, by Twilio's
    clock, ``seen`` its arrival, and ``watched`` when this process took notice of it, which is later where the store
    knew it; ``began`` when REST says that the leg began. The earliest counts, so that the order of arrival does not
    matter.
    """

    first_at: datetime
    told: dict[str, datetime] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    watched: dict[str, datetime] = field(default_factory=dict)
    began: datetime | None = None
    has_callback: bool = False

    def take(self, event: CallEvent, *, arrived: datetime, now: datetime) -> None:
        """Take in an event of this leg; both times are the steady clock's."""
        self.first_at = min(self.first_at, arrived)
        self.seen[event.status] = min(self.seen.get(event.status, arrived), arrived)
        self.watched[event.status] = min(self.watched.get(event.status, now), now)
        self.has_callback = self.has_callback or (event.kind == CALLBACK and event.verified)
        if event.kind in (CALLBACK, MISSED):
            if event.timestamp is not None:
                self.told[event.status] = min(self.told.get(event.status, event.timestamp), event.timestamp)
        elif event.kind == POLLED and event.timestamp is not None:
            self.began = min(self.began or event.timestamp, event.timestamp)


class Sightings:
    """A fold over events, beside the board. ``steady`` gives the steady time of what the wall clock told."""

    def __init__(self, *, steady: Callable[[datetime], datetime]) -> None:
        self._steady = steady
        self._sights: dict[str, Sight] = {}
        self._least_delay: timedelta | None = None
        self._least_recalled: timedelta | None = None  # by whatever the wall clock was before this process

    def take(self, event: CallEvent, *, now: datetime, is_recalled: bool = False) -> None:
        """Take in an event; ``is_recalled``: the store knew it from before."""
        arrived = self._steady(event.received_at)
        sight = self._sights.get(event.call_sid)
        if sight is None:
            sight = self._sights[event.call_sid] = Sight(arrived)
        sight.take(event, arrived=arrived, now=now)
        if event.kind == CALLBACK and event.verified and event.timestamp is not None:
            delay = arrived - event.timestamp
            if is_recalled:
                self._least_recalled = _least(delay, self._least_recalled)
            else:
                self._least_delay = _least(delay, self._least_delay)

    def keep(self, legs: Container[str]) -> None:
        """Drop all other legs."""
        self._sights = {sid: sight for sid, sight in self._sights.items() if sid in legs}

    @property
    def skew(self) -> timedelta:
        """How far the steady clock is ahead of Twilio's: by the least delay of a callback, for none is early.

        That is too much, by the time the callback took and by the part of a second that its Timestamp leaves out. It
        makes legs younger than they are, so that a rule acts late rather than early. What the store knew counts only
        until something is heard: the wall clock may have been set since.
        """
        least = self._least_recalled if self._least_delay is None else self._least_delay
        return least or timedelta()

    def has_callback(self, call_sid: str) -> bool:
        """Tell whether a verified callback told of a leg."""
        sight = self._sights.get(call_sid)
        return sight is not None and sight.has_callback

    def since(self, leg: Leg) -> datetime:
        """Return since when, by the steady clock, a live leg has had its status.

        A ringing leg counts from ringing's own Timestamp, else from initiated's, else from first sight: ringing may
        never come (docs/twilio.md, "Statuses"). A leg in progress counts from its answer; where no callback told that,
        from what REST calls its start, the ringing included.
        """
        sight = self._sights.get(leg.call_sid)
        if sight is None:
            return self._steady(leg.first_at)
        counted = next((status for status in _counted_from(leg.status) if status in sight.told), None)
        if counted is not None:
            since = sight.told[counted] + self.skew
        elif leg.status == CallStatus.IN_PROGRESS and sight.began is not None:
            since = sight.began + self.skew
        elif leg.status == CallStatus.IN_PROGRESS:
            since = sight.seen.get(leg.status, sight.first_at)
        else:
            since = sight.first_at
        # It had it when this process took notice, though the store's times, of a clock that was ahead, may come later.
        watched = self.watched_since(leg, now=since) if counted is None else sight.watched[counted]
        return min(since, watched)

    def told_at(self, leg: Leg) -> datetime | None:
        """Return since when a live leg has had its status by Twilio's clock; None where no Timestamp told."""
        sight = self._sights.get(leg.call_sid)
        told = {} if sight is None else sight.told
        return next((told[status] for status in _counted_from(leg.status) if status in told), None)

    def watched_since(self, leg: Leg, *, now: datetime) -> datetime:
        """Return since when, by the steady clock, this process itself knows that a live leg has its status."""
        sight = self._sights.get(leg.call_sid)
        if sight is None:
            return now
        if leg.status == CallStatus.IN_PROGRESS:
            return sight.watched.get(leg.status, now)
        return min(sight.watched.values(), default=now)

    def since_end(self, leg: Leg, *, now: datetime) -> timedelta:
        """Return how long ago a leg ended."""
        sight = self._sights.get(leg.call_sid)
        if sight is None or leg.status not in sight.seen:
            return self.since_moment(leg.ended_at or leg.last_event_at, now=now)
        told = sight.told.get(leg.status)
        return now - sight.seen[leg.status] if told is None else self.since_moment(told, now=now)

    def age(self, event: CallEvent, *, now: datetime) -> timedelta:
        """Return how long ago an event happened, by its own Timestamp.

        A poll tells how things stand now. Only a clock that is behind is corrected: the smallest delay of a few
        callbacks may itself be long, and must not make old news fresh.
        """
        if event.kind not in (CALLBACK, MISSED) or event.timestamp is None:
            return now - self._steady(event.received_at)
        return self.since_moment(event.timestamp, now=now)

    def since_moment(self, moment: datetime, *, now: datetime) -> timedelta:
        """Return how long ago a moment was that Twilio's clock told."""
        return now - moment - min(self.skew, timedelta())


def _least(delay: timedelta, before: timedelta | None) -> timedelta:
    # Not ``before or delay``: a delay of zero is one, and the least there can be by clocks that agree.
    return delay if before is None else min(delay, before)


def _counted_from(status: str) -> tuple[str, ...]:
    if status == CallStatus.RINGING:
        return CallStatus.RINGING.value, CallStatus.INITIATED.value
    return (status,)
