"""A leg as we believe it to be, and the fold of events that makes it.

Every fact is the greatest of those reported, by an order in which no two events are equal. Taking the greatest is
idempotent and does not depend on the order of arrival, so neither does the leg.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from callctl.calls.call import CallStatus, is_final
from callctl.calls.event import CALLBACK, TWIML_REQUEST, CallEvent
from callctl.support.dates import format_date

# Enough to recognize every event of an ordinary call. The store has all of them; this only keeps a sender that reports
# one call without end from filling the memory.
_KEYS_PER_LEG = 64
# Which source counts for the time of a step: REST knows when a call was dialled, but not when it was answered.
_TRUST = {CALLBACK: 0, TWIML_REQUEST: 1}
_STEPS = {
    CallStatus.QUEUED.value: "initiated",
    CallStatus.INITIATED.value: "initiated",
    CallStatus.RINGING.value: "ringing",
    CallStatus.IN_PROGRESS.value: "answered",
}
_FACTS = (
    "parent_call_sid",
    "direction",
    "from_",
    "to",
    "duration",
    "sip_response_code",
    "answered_by",
    "caller_name",
)
_facts_of = attrgetter(*_FACTS)


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg as we now believe it to be.

    ``*_at`` are the times of its steps, from the events' Timestamp or else from their arrival; None for a step that no
    event reported. ``first_received_at`` is when the first of its events arrived. ``source`` is the kind of the event
    that the status is from. ``duration`` is in seconds, as Twilio reports it.
    """

    call_sid: str
    parent_call_sid: str | None
    status: str
    direction: str
    from_: str
    to: str
    first_at: datetime
    first_received_at: datetime
    last_event_at: datetime
    initiated_at: datetime | None
    ringing_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    duration: int | None
    sip_response_code: str | None
    answered_by: str | None
    caller_name: str | None
    source: str
    verified: bool

    @property
    def is_live(self) -> bool:
        """Whether the leg still exists; an unknown status counts as live, for no event reported its end."""
        return not is_final(self.status)

    @property
    def is_final(self) -> bool:
        """Whether the leg has ended."""
        return is_final(self.status)

    @property
    def status_since(self) -> datetime:
        """Since when the leg has its status."""
        steps = {
            CallStatus.RINGING.value: self.ringing_at,
            CallStatus.IN_PROGRESS.value: self.answered_at,
        }
        step = self.ended_at if self.is_final else steps.get(self.status, self.initiated_at)
        return step or self.first_at

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``watch --json`` writes for a leg that is live at the start."""
        return {
            "v": 1,
            "type": "snapshot",
            "source": self.source,
            "verified": self.verified,
            "call_sid": self.call_sid,
            "parent_call_sid": self.parent_call_sid,
            "status": self.status,
            "status_since": format_date(self.status_since),
            "direction": self.direction or None,
            "from": self.from_ or None,
            "to": self.to or None,
            "initiated_at": format_date(self.initiated_at),
            "ringing_at": format_date(self.ringing_at),
            "answered_at": format_date(self.answered_at),
            "answered_by": self.answered_by,
            "caller_name": self.caller_name,
        }


class Fold:
    """What was reported of one leg: of each fact the greatest, by the order of events. Begins with its first event."""

    __slots__ = ("_facts", "_first_at", "_first_received_at", "_keys", "_last_at", "_steps", "_verified", "_winner")

    def __init__(self, event: CallEvent) -> None:
        self._winner = _Standing.of(event)
        self._facts: dict[str, tuple[str, Any]] = {}
        self._steps: dict[str, tuple[int, datetime]] = {}
        self._keys = array("Q")  # eight bytes each: there may be ten thousand legs
        self._first_at = event.moment
        self._first_received_at = event.received_at
        self._last_at = event.received_at
        self._verified = True
        self.absorb(event)

    @property
    def has_status(self) -> bool:
        """Whether any of the events has a status: a recording, say, reports a call without one."""
        return bool(self._winner.status)

    @property
    def last_at(self) -> datetime:
        """When the last of its events arrived."""
        return self._last_at

    def knows(self, event: CallEvent) -> bool:
        """Tell whether this event was taken in before."""
        return _short(event.key) in self._keys

    def is_late(self, event: CallEvent) -> bool:
        """Tell whether a callback comes after one that reports a later step."""
        # Polls and requests for TwiML report the present status, not what has just happened: they can't be late.
        rank = event.rank
        if event.kind != CALLBACK or not rank:
            return False
        return rank < self._winner.rank or (event.is_final and event.order < self._winner.order)

    def absorb(self, event: CallEvent) -> None:
        """Take in an event."""
        facts, order = self._facts, event.order
        if order > self._winner.order:
            self._winner = _Standing.of(event)
        for name, value in zip(_FACTS, _facts_of(event), strict=True):
            if value is not None and value != "":
                greatest = facts.get(name)
                if greatest is None or order > greatest[0]:
                    facts[name] = (order, value)
        self._absorb_times(event)
        self._verified = self._verified and event.verified
        self._keys.append(_short(event.key))
        del self._keys[:-_KEYS_PER_LEG]

    def _absorb_times(self, event: CallEvent) -> None:
        self._first_at = min(self._first_at, event.moment)
        self._first_received_at = min(self._first_received_at, event.received_at)
        self._last_at = max(self._last_at, event.received_at)
        step = _STEPS.get(event.status)
        if step is not None:
            time = (_TRUST.get(event.kind, 2), event.moment)
            self._steps[step] = min(self._steps.get(step, time), time)

    def leg(self, call_sid: str) -> Leg:
        """Return the leg by all events so far."""
        winner = self._winner
        facts = {name: value for name, (_, value) in self._facts.items()}
        return Leg(
            call_sid=call_sid,
            parent_call_sid=facts.get("parent_call_sid"),
            status=winner.status,
            direction=facts.get("direction", ""),
            from_=facts.get("from_", ""),
            to=facts.get("to", ""),
            first_at=self._first_at,
            first_received_at=self._first_received_at,
            last_event_at=self._last_at,
            initiated_at=self._step("initiated"),
            ringing_at=self._step("ringing"),
            answered_at=self._step("answered"),
            ended_at=winner.moment if is_final(winner.status) else None,
            duration=facts.get("duration"),
            sip_response_code=facts.get("sip_response_code"),
            answered_by=facts.get("answered_by"),
            caller_name=facts.get("caller_name"),
            source=winner.source,
            verified=self._verified,
        )

    def _step(self, name: str) -> datetime | None:
        time = self._steps.get(name)
        return None if time is None else time[1]


@dataclass(frozen=True, slots=True)
class _Standing:
    """The part of an event that decides a leg's status; its form is not kept."""

    order: str
    rank: int
    status: str
    source: str
    moment: datetime

    @classmethod
    def of(cls, event: CallEvent) -> _Standing:
        return cls(event.order, event.rank, event.status, event.kind, event.moment)


def _short(key: str) -> int:
    return int(key[:16], 16)
