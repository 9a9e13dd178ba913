"""The board: the calls as we now believe them to be, a fold over events that does not mind their order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType

from callctl.calls.event import CallEvent
from callctl.calls.family import Family, FamilyTree
from callctl.calls.leg import Fold, Leg

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


@dataclass(frozen=True, slots=True)
class Change:
    """What an event did: the leg before (None: it is new) and after, and whether the event came late."""

    event: CallEvent
    before: Leg | None
    after: Leg
    late: bool

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
        if not fold.has_status:
            return None  # its facts show once there is a leg
        before = self._legs.get(event.call_sid)
        after = self._legs[event.call_sid] = fold.leg(event.call_sid)
        self._final += after.is_final - (before is not None and before.is_final)
        self._touched |= self._tree.place(after.call_sid, after.parent_call_sid)
        self._snapshot = None
        return Change(event, before, after, late)

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

    def forget(self, *, before: datetime) -> int:
        """Drop the families that have ended and had no event since; return how many.

        A watch that runs for weeks would otherwise remember every call it ever saw.
        """
        gone = [family for family in self.snapshot().families if not family.is_live and family.last_event_at < before]
        for family in gone:
            for leg in family.legs:
                del self._folds[leg.call_sid], self._legs[leg.call_sid], self._family_of[leg.call_sid]
                self._tree.remove(leg.call_sid)
                self._final -= 1
            self._touched.add(family.sid)
        for sid in [sid for sid, fold in self._folds.items() if not fold.has_status and fold.last_at < before]:
            del self._folds[sid]
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
