"""The board: the calls as we now believe them to be, a fold over events that does not mind their order.

Every fact of a leg is the greatest of those reported, by an order in which no two events are equal. Taking the greatest
is idempotent and does not depend on the order of arrival, so neither does the leg, nor the board of all legs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from callctl.calls.call import CallStatus, is_final
from callctl.calls.event import CALLBACK, TWIML_REQUEST, CallEvent
from callctl.calls.family import Family, FamilyTree
from callctl.calls.leg import Leg
from callctl.calls.other_callbacks import CONFERENCE, RECORDING, is_recording_over
from callctl.calls.participation import END, Participation, Participations

# Enough to recognize every event of an ordinary call. The store has all of them; this only keeps a sender that reports
# one call without end from filling the memory.
_KEYS_PER_LEG = 64
_RECORDINGS_PER_LEG = 16  # likewise
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
_UNREPORTED = (None, "", "", "", None, None, None, None)  # what stands for each fact that no event reported


class Fold:
    """What was reported of one leg: of each fact the greatest, by the order of events. Begins with its first event."""

    __slots__ = (
        "_facts",
        "_first_at",
        "_first_received_at",
        "_keys",
        "_last_at",
        "_orders",
        "_participations",
        "_recordings",
        "_steps",
        "_verified",
        "_winner",
    )

    def __init__(self, event: CallEvent) -> None:
        self._winner = _Standing.of(event)
        self._facts: list[Any] = list(_UNREPORTED)
        self._orders = [""] * len(_FACTS)  # of the events that the facts are from
        self._steps: dict[str, tuple[int, datetime]] = {}
        self._keys = array("Q")  # eight bytes each: there may be ten thousand legs
        self._first_at = event.moment
        self._first_received_at = event.received_at
        self._last_at = event.received_at
        self._verified = True
        # What most legs have none of. Of recordings: whether each is over.
        self._participations: Participations | None = None
        self._recordings: dict[str, bool] | None = None
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
        """Return whether this event was taken in before."""
        return _short(event.key) in self._keys

    def is_late(self, event: CallEvent) -> bool:
        """Return whether a callback comes after one that reports a later step."""
        # Polls and requests for TwiML report the present status, not what has just happened: they can't be late.
        rank = event.rank
        if event.kind != CALLBACK or not rank:
            return False
        return rank < self._winner.rank or (event.is_final and event.order < self._winner.order)

    def absorb(self, event: CallEvent) -> None:
        """Take in an event."""
        facts, orders, order = self._facts, self._orders, event.order
        if order > self._winner.order:
            self._winner = _Standing.of(event)
        for number, value in enumerate(_facts_of(event)):
            if value is not None and value != "" and order > orders[number]:
                orders[number], facts[number] = order, value
        self._absorb_times(event)
        if not event.status:
            self._absorb_feature(event)
        self._verified = self._verified and event.verified
        self._keys.append(_short(event.key))
        if len(self._keys) > _KEYS_PER_LEG:
            del self._keys[0]

    def _absorb_feature(self, event: CallEvent) -> None:
        if event.kind == CONFERENCE:
            self._participations = self._participations or Participations()
            self._participations.absorb(event)
        elif event.kind == RECORDING:
            self._recordings = recordings = self._recordings or {}
            sid = event.fields["RecordingSid"]
            recordings[sid] = recordings.get(sid, False) or is_recording_over(event.fields)
            if len(recordings) > _RECORDINGS_PER_LEG:
                del recordings[next(iter(recordings))]

    def end_conference(self, conference: str) -> bool:
        """Note that a conference is over; return whether the leg was reported to be in it."""
        return self._participations is not None and self._participations.end(conference)

    def _participation(self) -> Participation | None:
        if self._participations is None or is_final(self._winner.status):
            return None
        return self._participations.current

    def _is_recorded(self) -> bool:
        if self._recordings is None or is_final(self._winner.status):
            return False
        return not all(self._recordings.values())

    def _absorb_times(self, event: CallEvent) -> None:
        moment, received_at = event.moment, event.received_at
        if moment < self._first_at:
            self._first_at = moment
        if received_at < self._first_received_at:
            self._first_received_at = received_at
        if received_at > self._last_at:
            self._last_at = received_at
        step = _STEPS.get(event.status)
        if step is not None:
            time = (_TRUST.get(event.kind, 2), moment)
            self._steps[step] = min(self._steps.get(step, time), time)

    def leg(self, call_sid: str) -> Leg:
        """Return the leg by all events so far."""
        winner = self._winner
        parent, direction, from_, to, duration, sip_response_code, answered_by, caller_name = self._facts
        # In the order of a leg's fields: by their names it would take nearly twice as long to make one.
        return Leg(
            call_sid,
            parent,
            winner.status,
            direction,
            from_,
            to,
            self._first_at,
            self._first_received_at,
            self._last_at,
            self._step("initiated"),
            self._step("ringing"),
            self._step("answered"),
            winner.moment if is_final(winner.status) else None,
            duration,
            sip_response_code,
            answered_by,
            caller_name,
            winner.source,
            self._verified,
            self._participation(),
            self._is_recorded(),
        )

    def _step(self, name: str) -> datetime | None:
        time = self._steps.get(name)
        return None if time is None else time[1]


@dataclass(slots=True)
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


# Legs that one Dial makes at once have one Timestamp, of whole seconds: the order of arrival is nearer to that of Dial.
_appearance = attrgetter("first_at", "first_received_at", "call_sid")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The board at one moment: families newest first, how many legs are live and ended, and each leg's family."""

    families: tuple[Family[Leg], ...] = ()
    live: int = 0
    ended: int = 0
    legs: Mapping[str, Leg] = field(default_factory=dict, repr=False)
    family_of: Mapping[str, Family[Leg]] = field(default_factory=dict, repr=False)

    def leg(self, call_sid: str) -> Leg | None:
        """Return the leg with this SID; None if no event reported it."""
        return self.legs.get(call_sid)

    def live_family(self, call_sid: str) -> list[Leg]:
        """Return the live legs of the family that a leg belongs to."""
        family = self.family_of.get(call_sid)
        return [] if family is None else [leg for leg in family.legs if leg.is_live]


@dataclass(frozen=True, slots=True)
class Arrival:
    """When an event came, by the steady clock of this process: not before ``earliest``, nor after ``latest``.

    It is for an event that was read from a store. Its ``received_at`` is by the clock of the process that received it,
    which may run on another machine, or have run before this machine's clock was set. ``earliest`` is None where only
    that is known.
    """

    earliest: datetime | None
    latest: datetime


@dataclass(slots=True)
class Change:
    """What an event did: the leg before (None: it is new) and after, and whether the event came late.

    ``arrival`` is when the event came; None where this process received it itself, so that ``received_at`` is by its
    own clock.
    """

    event: CallEvent
    before: Leg | None
    after: Leg
    late: bool
    arrival: Arrival | None = None

    @property
    def status_changed(self) -> bool:
        """Whether the leg has another status than before."""
        return self.before is None or self.before.status != self.after.status


class Board:
    """The fold. Not for several threads; a snapshot may go anywhere."""

    def __init__(self) -> None:
        self._folds: dict[str, Fold] = {}
        self._legs: dict[str, Leg] = {}
        self._tree = FamilyTree()
        # Sorted by first appearance, with the families beside their keys, so that a snapshot copies pointers only.
        self._keys: list[tuple[datetime, str]] = []
        self._families: list[Family[Leg]] = []
        self._key_of: dict[str, tuple[datetime, str]] = {}
        self._family_of: dict[str, Family[Leg]] = {}  # by leg
        self._touched: set[str] = set()
        self._ended_conferences: dict[str, datetime] = {}  # with when that was reported
        self._final = 0
        self._snapshot: Snapshot | None = Snapshot()

    def apply(self, event: CallEvent) -> Change | None:
        """Take in an event; None if it is not new, or if no event has reported the status of its call yet."""
        fold = self._folds.get(event.call_sid)
        late = False
        if fold is None:
            fold = self._folds[event.call_sid] = Fold(event)
        elif fold.knows(event):
            return None
        else:
            late = fold.is_late(event)
            fold.absorb(event)
        if event.kind == CONFERENCE:
            self._note_conference(event, fold)
        if not fold.has_status:
            return None  # its facts show once there is a leg
        before = self._legs.get(event.call_sid)
        return Change(event, before, self._renew(event.call_sid, fold), late)

    def has(self, event: CallEvent) -> bool:
        """Return whether an event was taken in, as far as those of its call are remembered."""
        fold = self._folds.get(event.call_sid)
        return fold is not None and fold.knows(event)

    def _renew(self, sid: str, fold: Fold) -> Leg:
        before = self._legs.get(sid)
        after = self._legs[sid] = fold.leg(sid)
        self._final += after.is_final - (before is not None and before.is_final)
        self._touched |= self._tree.place(after.call_sid, after.parent_call_sid)
        self._snapshot = None
        return after

    def _note_conference(self, event: CallEvent, fold: Fold) -> None:
        """Have nobody be in a conference that is over, also where the callback of a participant's leave was lost."""
        conference = event.conference_sid
        if conference is None:
            return
        if event.event == END:
            self._ended_conferences[conference] = event.received_at
            for sid, other in self._folds.items():
                if other.end_conference(conference) and other.has_status:
                    self._renew(sid, other)
        elif conference in self._ended_conferences:
            fold.end_conference(conference)

    def snapshot(self) -> Snapshot:
        """Return the board as it is now. Only the families that changed since the last snapshot are built anew."""
        if self._snapshot is None:
            for root in self._touched:
                self._refresh(root)
            self._touched.clear()
            live = len(self._legs) - self._final
            legs = MappingProxyType(self._legs.copy())
            of = MappingProxyType(self._family_of.copy())
            self._snapshot = Snapshot(tuple(self._families[::-1]), live, self._final, legs, of)
        return self._snapshot

    def forget(self, *, before: datetime, now: datetime) -> int:
        """Drop the families that have ended and had no event since, nor ended since by Twilio's time; return how many.

        A watch that runs for weeks would otherwise remember every call it ever saw. No end is after ``now``.
        """

        def is_old(family: Family[Leg]) -> bool:
            has_just_ended = any(leg.ended_at and before <= leg.ended_at <= now for leg in family.legs)
            return not family.is_live and family.last_event_at < before and not has_just_ended

        gone = list(filter(is_old, self.snapshot().families))
        for family in gone:
            for leg in family.legs:
                del self._folds[leg.call_sid], self._legs[leg.call_sid], self._family_of[leg.call_sid]
                self._tree.remove(leg.call_sid)
                self._final -= 1
            self._touched.add(family.sid)
        for sid in [sid for sid, fold in self._folds.items() if not fold.has_status and fold.last_at < before]:
            del self._folds[sid]
        for conference in [
            conference_sid for conference_sid, ended in self._ended_conferences.items() if ended < before
        ]:
            del self._ended_conferences[conference]
        if gone:
            self._snapshot = None
        return len(gone)

    def _refresh(self, root: str) -> None:
        old = self._key_of.pop(root, None)
        if old is not None:
            index = bisect_left(self._keys, old)
            del self._keys[index], self._families[index]
        legs = [self._legs[sid] for sid in self._tree.members(root)]
        if not legs:
            return
        children = sorted((leg for leg in legs if leg.call_sid != root), key=_appearance)
        family = Family(root, self._legs.get(root), tuple(children))
        self._family_of.update((leg.call_sid, family) for leg in legs)
        key = self._key_of[root] = (family.first_at, root)
        index = bisect_left(self._keys, key)
        self._keys.insert(index, key)
        self._families.insert(index, family)
