"""What rules need to know of each leg beside the board: when it was reported, by whose clock, and by what."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from callctl.calls.call import CallStatus
from callctl.calls.event import CALLBACK, MISSED, POLLED, CallEvent
from callctl.calls.leg import Leg
from callctl.rules.clock_skew import ClockSkew


class Evidence:
    """A fold over events, beside the board. ``steady_time`` converts a time of the wall clock to the steady clock's."""

    def __init__(self, *, steady_time: Callable[[datetime], datetime]) -> None:
        self._steady_time = steady_time
        self._legs: dict[str, LegEvidence] = {}
        self._clock = ClockSkew()
        self._stored_clock = ClockSkew()  # by the wall clock of an earlier process

    def add(self, event: CallEvent, *, now: datetime, is_stored: bool = False) -> None:
        """Take in an event; ``is_stored``: it comes from the store, from before this process."""
        arrived = self._steady_time(event.received_at)
        known = self._legs.get(event.call_sid)
        if known is None:
            known = self._legs[event.call_sid] = LegEvidence(arrived)
        known.add(event, arrived=arrived, now=now)
        if event.kind == CALLBACK and event.verified and event.timestamp is not None:
            clock = self._stored_clock if is_stored else self._clock
            clock.add(event.call_sid, arrived - event.timestamp, at=arrived, now=now)

    def retain(self, sids: Container[str]) -> None:
        """Drop all legs but these."""
        self._legs = {sid: known for sid, known in self._legs.items() if sid in sids}

    @property
    def skew(self) -> timedelta:
        """How far the steady clock is ahead of Twilio's: the least delay of late, since no callback arrives early.

        That is too much, by the time the callback took and by the part of a second that its Timestamp leaves out. It
        makes legs younger than they are, so that a rule acts late rather than early. The store's delays count only
        until a callback arrives: the wall clock may have been set since.
        """
        return (self._clock or self._stored_clock).skew

    @property
    def clock_ahead(self) -> timedelta | None:
        """How far this machine's clock seems to be ahead, if that makes all events too old for rules; else None."""
        return (self._clock or self._stored_clock).unexplained

    def correction(self, *, now: datetime) -> timedelta:
        """Return what is taken off the age of an event: less than zero where this machine's clock is behind.

        It is more than zero only where this clock runs fast: the least delay of a few callbacks may itself be long, and
        must not make old events fresh.
        """
        if self._clock:
            return self._clock.correction(now=now)
        return min(self._stored_clock.skew, timedelta())

    def has_callback(self, call_sid: str) -> bool:
        """Return whether a verified callback reported a leg."""
        known = self._legs.get(call_sid)
        return known is not None and known.has_callback

    def status_since(self, leg: Leg) -> datetime:
        """Return since when, by the steady clock, a live leg has had its status.

        A ringing leg counts from ringing's own Timestamp, else from initiated's, else from its first event: ringing may
        never come (docs/twilio.md, "Statuses"). A leg in progress counts from its answer; where no callback reported
        that, from what REST calls its start, the ringing included.
        """
        known = self._legs.get(leg.call_sid)
        if known is None:
            return self._steady_time(leg.first_at)
        reported = next((status for status in _counted_from(leg.status) if status in known.timestamps), None)
        if reported is not None:
            since = known.timestamps[reported] + self.skew
        elif leg.status == CallStatus.IN_PROGRESS and known.started_at is not None:
            since = known.started_at + self.skew
        elif leg.status == CallStatus.IN_PROGRESS:
            since = known.arrivals.get(leg.status, known.first_arrival)
        else:
            since = known.first_arrival
        # The status began before this process saw it, though the times of a store whose clock was ahead may be later.
        observed = self.observed_since(leg, now=since) if reported is None else known.observed[reported]
        return min(since, observed)

    def status_timestamp(self, leg: Leg) -> datetime | None:
        """Return since when a live leg has had its status by Twilio's clock; None if no event has its Timestamp."""
        known = self._legs.get(leg.call_sid)
        timestamps = {} if known is None else known.timestamps
        return next((timestamps[status] for status in _counted_from(leg.status) if status in timestamps), None)

    def observed_since(self, leg: Leg, *, now: datetime) -> datetime:
        """Return since when, by the steady clock, this process itself knows that a live leg has its status."""
        known = self._legs.get(leg.call_sid)
        if known is None:
            return now
        if leg.status == CallStatus.IN_PROGRESS:
            return known.observed.get(leg.status, now)
        return min(known.observed.values(), default=now)

    def age_of_end(self, leg: Leg, *, now: datetime) -> timedelta:
        """Return how long ago a leg ended."""
        known = self._legs.get(leg.call_sid)
        if known is None or leg.status not in known.arrivals:
            return self._age_of(leg.ended_at or leg.last_event_at, now=now)
        timestamp = known.timestamps.get(leg.status)
        return now - known.arrivals[leg.status] if timestamp is None else self._age_of(timestamp, now=now)

    def age(self, event: CallEvent, *, now: datetime) -> timedelta:
        """Return how long ago an event happened, by its own Timestamp; a poll of a live call reports the present."""
        has_own_time = event.kind in (CALLBACK, MISSED) or (event.kind == POLLED and event.is_final)
        if not has_own_time or event.timestamp is None:
            return now - self._steady_time(event.received_at)
        return self._age_of(event.timestamp, now=now)

    def age_of_call(self, event: CallEvent, *, now: datetime) -> timedelta | None:
        """Return how long ago a live call began that a poll found; None for another event, or without a start."""
        if event.kind != POLLED or event.is_final or event.timestamp is None:
            return None
        return self._age_of(event.timestamp, now=now)

    def _age_of(self, timestamp: datetime, *, now: datetime) -> timedelta:
        return now - timestamp - self.correction(now=now)


@dataclass(slots=True)
class LegEvidence:
    """The events of one leg.

    ``first_arrival`` is when its first event arrived, by the steady clock. By status, ``timestamps`` are Twilio's,
    ``arrivals`` those of the events, and ``observed`` when this process saw them, which is later for what the store
    knew. ``started_at`` is when the leg began according to REST. The earliest counts, so that the order of arrival does
    not matter.
    """

    first_arrival: datetime
    timestamps: dict[str, datetime] = field(default_factory=dict)
    arrivals: dict[str, datetime] = field(default_factory=dict)
    observed: dict[str, datetime] = field(default_factory=dict)
    started_at: datetime | None = None
    has_callback: bool = False

    def add(self, event: CallEvent, *, arrived: datetime, now: datetime) -> None:
        """Take in an event of this leg; both times are the steady clock's."""
        self.first_arrival = min(self.first_arrival, arrived)
        self.arrivals[event.status] = min(self.arrivals.get(event.status, arrived), arrived)
        self.observed[event.status] = min(self.observed.get(event.status, now), now)
        self.has_callback = self.has_callback or event.shows_callback
        if event.timestamp is None:
            return
        if event.kind in (CALLBACK, MISSED):
            self.timestamps[event.status] = min(self.timestamps.get(event.status, event.timestamp), event.timestamp)
        elif event.kind == POLLED:
            self.started_at = min(self.started_at or event.timestamp, event.timestamp)


def _counted_from(status: str) -> tuple[str, ...]:
    if status == CallStatus.RINGING:
        return CallStatus.RINGING.value, CallStatus.INITIATED.value
    return (status,)
