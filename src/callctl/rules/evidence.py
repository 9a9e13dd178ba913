"""What rules need to know of each leg beside the board: when it was reported, by whose clock, and by what."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from callctl.calls.board import Arrival
from callctl.calls.call import CallStatus
from callctl.calls.event import CALLBACK, MISSED, POLLED, TWIML_REQUEST, CallEvent
from callctl.calls.leg import Leg
from callctl.rules.clock_skew import ClockSkew
from callctl.rules.rule import LastRinging

# How long ago something happened of which that is not known: too long for any rule.
UNKNOWN_AGE = timedelta.max / 2
_BEFORE_ANSWER = (CallStatus.QUEUED.value, CallStatus.INITIATED.value, CallStatus.RINGING.value)


class Evidence:
    """A fold over events, beside the board. ``steady_time`` converts a time of the wall clock to the steady clock's.

    An age by which a rule acts comes from Twilio's times, or from this process's own steady clock. So the
    ``received_at`` of an event counts only where this process received it itself.
    """

    def __init__(self, *, steady_time: Callable[[datetime], datetime]) -> None:
        self._steady_time = steady_time
        self._legs: dict[str, LegEvidence] = {}
        self._clock = ClockSkew()
        self._stored_clock = ClockSkew()  # as far as times in the store, which are over, are yet to come by it

    def add(self, event: CallEvent, *, now: datetime, arrival: Arrival | None = None) -> None:
        """Take in an event; ``arrival`` is as in ``Change``."""
        came = self._arrival(event, arrival)
        known = self._legs.get(event.call_sid)
        if known is None:
            known = self._legs[event.call_sid] = LegEvidence(came.latest)
        known.add(event, arrival=came, now=now)
        if event.timestamp is None or not event.verified:
            return
        delay = came.latest - event.timestamp
        if came.earliest is None:
            if delay < timedelta():
                self._stored_clock.add(event.call_sid, delay, at=now, now=now)
        elif event.kind == CALLBACK:
            self._clock.add(event.call_sid, delay, at=came.latest, now=now)

    def add_reply(self, date: datetime, *, now: datetime) -> None:
        """Take in the ``Date`` of REST's latest reply, just after it came."""
        self._clock.add_reply(now - date, now=now)

    def retain(self, sids: Container[str]) -> None:
        """Drop all legs but these."""
        self._legs = {sid: known for sid, known in self._legs.items() if sid in sids}

    @property
    def skew(self) -> timedelta:
        """How far the steady clock is ahead of Twilio's: the least delay of late, since no callback arrives early.

        That is too much, by the time the callback took and by the part of a second that its Timestamp leaves out. It
        makes legs younger than they are, so that a rule acts late rather than early. What is in the store tells only
        that the clock is behind, and counts until a callback arrives or REST replies. That REST's replies seem to come
        before they were sent makes no leg older, unless what is in the store does: a ``Date`` may be a proxy's own.
        """
        by_replies = self._clock.by_replies
        if by_replies is not None:
            return max(by_replies, self._stored_clock.skew)
        return (self._clock or self._stored_clock).skew

    def is_clock_confirmed(self, *, now: datetime) -> bool:
        """Return whether it is known, from Twilio, that ages are about right."""
        return self._clock.is_confirmed(now=now)

    def is_clock_in_time(self, *, now: datetime) -> bool:
        """Return whether a verified callback has just come in time by this machine's clock as it is."""
        return self._clock.is_in_time(now=now)

    def correction(self, *, now: datetime) -> timedelta:
        """Return what is taken off the age of an event: less than zero where this machine's clock is behind.

        It is more than zero only where this clock runs fast: the least delay of a few callbacks may itself be long, and
        must not make old events fresh.
        """
        if self._clock:
            return self._clock.correction(now=now)
        return self._stored_clock.skew

    def is_reported(self, call_sid: str) -> bool:
        """Return whether a verified callback, or a verified request for TwiML, named a leg."""
        known = self._legs.get(call_sid)
        return known is not None and known.is_reported

    def status_since(self, leg: Leg, *, now: datetime) -> datetime:
        """Return since when, by the steady clock, a live leg has had its status.

        A ringing leg counts from ringing's own Timestamp, else from initiated's, else from its first event: ringing may
        never come (docs/twilio.md, "Statuses"). A leg in progress counts from its answer; where no callback reported
        that, from what REST calls its start, the ringing included: REST's other dates decide before it is changed.
        """
        known = self._legs.get(leg.call_sid)
        if known is None:
            return now
        reported = next((status for status in _counted_from(leg.status) if status in known.timestamps), None)
        if reported is not None:
            since = known.timestamps[reported] + self.skew
        elif leg.status == CallStatus.IN_PROGRESS and known.started_at is not None:
            since = known.started_at + self.skew
        elif leg.status == CallStatus.IN_PROGRESS:
            since = known.arrivals[leg.status].latest if leg.status in known.arrivals else known.first_arrival
        else:
            since = known.first_arrival
        # The status began before this process saw it, though its clock may be behind.
        observed = self.observed_since(leg, now=since) if reported is None else known.observed[reported]
        return min(since, observed)

    def status_timestamp(self, leg: Leg) -> datetime | None:
        """Return since when a live leg has had its status by Twilio's clock; None if no event has its Timestamp."""
        known = self._legs.get(leg.call_sid)
        timestamps = {} if known is None else known.timestamps
        return next((timestamps[status] for status in _counted_from(leg.status) if status in timestamps), None)

    def last_ringing(self, leg: Leg) -> LastRinging:
        """Return when callbacks last reported that a leg was not answered yet."""
        known = self._legs.get(leg.call_sid)
        if known is None:
            return LastRinging()
        timestamps = (known.timestamps[status] for status in _BEFORE_ANSWER if status in known.timestamps)
        return LastRinging(max(timestamps, default=None), known.rang_at)

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
            return UNKNOWN_AGE
        timestamp = known.timestamps.get(leg.status)
        return _age_at(known.arrivals[leg.status], now=now) if timestamp is None else self._age_of(timestamp, now=now)

    def age(self, event: CallEvent, *, now: datetime, arrival: Arrival | None = None) -> timedelta:
        """Return how long ago an event happened at most, by its own Timestamp; a poll of a live call has none of that.

        Such a poll reports the present. Where it is not known when it came, ``age_of_call`` alone counts.
        """
        came, is_poll = self._arrival(event, arrival), event.kind == POLLED and not event.is_final
        if event.timestamp is None:
            return _age_at(came, now=now)
        if is_poll and came.earliest is None:
            return timedelta()
        has_own_time = event.kind in (CALLBACK, MISSED, POLLED) and not is_poll
        return self._age_of(event.timestamp, now=now) if has_own_time else _age_at(came, now=now)

    def age_of_call(self, event: CallEvent, *, now: datetime) -> timedelta | None:
        """Return how long ago a live call began that a poll found, or that requested TwiML; None for another event.

        Neither says since when the call does what it does. A request has no time of its own: the call began when the
        first one came, if that was before the answer; else it is not known when. None also for a poll without a start.
        """
        if event.kind == TWIML_REQUEST:
            known = self._legs.get(event.call_sid)
            began = None if known is None else known.rang_from
            return UNKNOWN_AGE if began is None else now - began
        if event.kind != POLLED or event.is_final or event.timestamp is None:
            return None
        return self._age_of(event.timestamp, now=now)

    def _arrival(self, event: CallEvent, arrival: Arrival | None) -> Arrival:
        if arrival is not None:
            return arrival
        arrived = self._steady_time(event.received_at)
        return Arrival(arrived, arrived)

    def _age_of(self, timestamp: datetime, *, now: datetime) -> timedelta:
        return now - timestamp - self.correction(now=now)


@dataclass(slots=True)
class LegEvidence:
    """The events of one leg.

    ``first_arrival`` is when its first event arrived, at the latest, by the steady clock. By status, ``timestamps`` are
    Twilio's, ``arrivals`` those of the events, and ``observed`` when this process saw them, which is later for what
    waited. ``started_at`` is when the leg began according to REST. The earliest counts, so that the order of arrival
    does not matter. ``rang_at`` is when this process last received a callback without a Timestamp before the answer.
    """

    first_arrival: datetime
    timestamps: dict[str, datetime] = field(default_factory=dict)
    arrivals: dict[str, Arrival] = field(default_factory=dict)
    observed: dict[str, datetime] = field(default_factory=dict)
    started_at: datetime | None = None
    rang_at: datetime | None = None
    is_reported: bool = False

    @property
    def rang_from(self) -> datetime | None:
        """When the first event came that had the leg before its answer, at the earliest; None if that is not known."""
        arrivals = [arrival.earliest for status, arrival in self.arrivals.items() if status in _BEFORE_ANSWER]
        known = [earliest for earliest in arrivals if earliest is not None]
        return min(known) if known and len(known) == len(arrivals) else None

    def add(self, event: CallEvent, *, arrival: Arrival, now: datetime) -> None:
        """Take in an event of this leg; the times are the steady clock's."""
        self.first_arrival = min(self.first_arrival, arrival.latest)
        self.arrivals[event.status] = _earlier(self.arrivals.get(event.status, arrival), arrival)
        self.observed[event.status] = min(self.observed.get(event.status, now), now)
        is_request = event.kind == TWIML_REQUEST and event.verified
        self.is_reported = self.is_reported or event.shows_callback or is_request
        if event.timestamp is None:
            if event.kind == CALLBACK and event.status in _BEFORE_ANSWER and arrival.earliest is not None:
                self.rang_at = max(self.rang_at or arrival.latest, arrival.latest)
            return
        if event.kind in (CALLBACK, MISSED):
            self.timestamps[event.status] = min(self.timestamps.get(event.status, event.timestamp), event.timestamp)
        elif event.kind == POLLED:
            self.started_at = min(self.started_at or event.timestamp, event.timestamp)


def _earlier(arrival: Arrival, other: Arrival) -> Arrival:
    """Return when the first of two events came."""
    earliest = None if arrival.earliest is None or other.earliest is None else min(arrival.earliest, other.earliest)
    return Arrival(earliest, min(arrival.latest, other.latest))


def _age_at(arrival: Arrival, *, now: datetime) -> timedelta:
    """Return how long ago an event came at most."""
    return UNKNOWN_AGE if arrival.earliest is None else now - arrival.earliest


def _counted_from(status: str) -> tuple[str, ...]:
    if status == CallStatus.RINGING:
        return CallStatus.RINGING.value, CallStatus.INITIATED.value
    return (status,)
