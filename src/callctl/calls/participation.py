"""Participation: in which conference a leg is, as the conference's callbacks report.

Of each conference the latest callback about the leg counts, by SequenceNumber and then by time, so that their order of
arrival does not matter (docs/twilio.md, "Conferences").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from callctl.support.dates import format_date

if TYPE_CHECKING:
    from callctl.calls.event import CallEvent

END: Final = "conference-end"
_OF_PARTICIPANT = "participant-"
JOIN: Final = "participant-join"
_LEAVE = "participant-leave"
# A leg is in one conference at a time. This keeps a sender that reports one leg without end from filling the memory.
_MOST = 8

Order = tuple[int, datetime, str]


@dataclass(frozen=True, slots=True)
class Participation:
    """A leg in a conference. ``since`` is None where no callback reported that it joined."""

    conference_sid: str
    name: str
    label: str | None
    since: datetime | None
    is_muted: bool
    is_on_hold: bool
    is_coaching: bool

    @property
    def shown_name(self) -> str:
        """The conference's name, or its SID without one."""
        return self.name or self.conference_sid

    @property
    def states(self) -> tuple[str, ...]:
        """What is unlike an ordinary participant's, in words."""
        return states_in_words(on_hold=self.is_on_hold, muted=self.is_muted, coaching=self.is_coaching)

    def to_json(self) -> dict[str, Any]:
        """Return the object that the JSON of a leg has."""
        return {
            "conference_sid": self.conference_sid,
            "friendly_name": self.name or None,
            "participant_label": self.label,
            "since": format_date(self.since),
            "muted": self.is_muted,
            "hold": self.is_on_hold,
            "coaching": self.is_coaching,
        }


def states_in_words(*, on_hold: bool, muted: bool, coaching: bool) -> tuple[str, ...]:
    """Return those of a participant's states that are so, in words."""
    return tuple(state for state, is_so in (("on hold", on_hold), ("muted", muted), ("coaching", coaching)) if is_so)


@dataclass(slots=True)
class _Stay:
    """What was reported of a leg in one conference: the latest callback, the latest join, and the latest leave."""

    latest: Order
    moment: datetime
    facts: Participation | None
    joined: tuple[Order, datetime] | None = None
    left: Order | None = None

    def absorb(self, event: CallEvent, order: Order) -> None:
        if order >= self.latest:
            self.latest, self.moment, self.facts = order, event.moment, _facts_of(event)
        if event.event == JOIN and (self.joined is None or order > self.joined[0]):
            self.joined = (order, event.moment)
        if event.event == _LEAVE and (self.left is None or order > self.left):
            self.left = order

    @property
    def since(self) -> datetime | None:
        if self.joined is None or (self.left is not None and self.left > self.joined[0]):
            return None
        return self.joined[1]


class Participations:
    """What was reported of one leg in conferences: a fold that does not mind the order of its events."""

    __slots__ = ("_ended", "_stays")

    def __init__(self) -> None:
        self._stays: dict[str, _Stay] = {}
        self._ended: set[str] = set()

    def absorb(self, event: CallEvent) -> None:
        """Take in a conference's callback; what is not about a participant changes nothing."""
        conference = event.conference_sid
        if conference is None or not event.event.startswith(_OF_PARTICIPANT):
            return
        order = _order_of(event)
        stay = self._stays.get(conference)
        if stay is None:
            stay = self._stays[conference] = _Stay(order, event.moment, None)
        stay.absorb(event, order)
        if len(self._stays) > _MOST:
            oldest = min(self._stays, key=lambda sid: (self._stays[sid].moment, sid))
            del self._stays[oldest]
            self._ended.discard(oldest)

    def end(self, conference: str) -> bool:
        """Note that a conference is over for good; return whether this leg was reported to be in it."""
        if conference not in self._stays:
            return False
        self._ended.add(conference)
        return True

    @property
    def current(self) -> Participation | None:
        """In which conference the leg is; None if in none."""
        present = [
            (stay.moment, sid, stay.facts, stay.since)
            for sid, stay in self._stays.items()
            if stay.facts is not None and sid not in self._ended
        ]
        if not present:
            return None
        _, _, facts, since = max(present, key=lambda entry: entry[:2])
        return replace(facts, since=since)


def _order_of(event: CallEvent) -> Order:
    return (-1 if event.sequence_number is None else event.sequence_number, event.moment, event.key)


def _facts_of(event: CallEvent) -> Participation | None:
    """Return how a leg takes part by one callback; None if it left."""
    if event.event == _LEAVE:
        return None
    fields = event.fields
    return Participation(
        fields["ConferenceSid"],
        fields.get("FriendlyName", ""),
        fields.get("ParticipantLabel") or None,
        None,
        fields.get("Muted") == "true",
        fields.get("Hold") == "true",
        fields.get("Coaching") == "true",
    )
