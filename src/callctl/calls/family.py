"""Families: a parent leg with its child legs, whichever of them is reported first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from callctl.calls.call import Call
from callctl.calls.leg import Leg

AnyLeg = TypeVar("AnyLeg", bound=Leg | Call)


@dataclass(slots=True)
class Family(Generic[AnyLeg]):
    """A parent leg and its child legs, these in order of appearance; as the board has them, or as REST lists them.

    ``sid`` is the parent leg's; ``parent`` is None while nothing is known of that leg itself. On the board a child's
    own children belong to the same family. ``legs`` are all of them, the parent first; ``is_live`` is whether any
    still exists. Never changed, but replaced by another one: not frozen, as a leg is not.
    """

    sid: str
    parent: AnyLeg | None
    children: tuple[AnyLeg, ...]
    # Computed once: a frame checks of every family whether it is live, and there may be ten thousand.
    legs: tuple[AnyLeg, ...] = field(init=False, repr=False, compare=False)
    is_live: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        legs: tuple[AnyLeg, ...] = self.children if self.parent is None else (self.parent, *self.children)
        self.legs = legs
        self.is_live = any(leg.is_live for leg in legs)

    @property
    def first_at(self: Family[Leg]) -> datetime:
        """When the first of its legs appeared."""
        return min(leg.first_at for leg in self.legs[:2])  # the parent and the first of its children

    @property
    def last_event_at(self: Family[Leg]) -> datetime:
        """When the last of its events arrived."""
        return max(leg.last_event_at for leg in self.legs)


def families_of(calls: Iterable[Call]) -> list[Family[Call]]:
    """Group calls that come newest first. A family stands where its newest leg stood, the first dialled child first.

    A leg dialled by a child leg is that child's: it is in a family of its own, after the one of its parent.
    """
    parents: dict[str, Call | None] = {}
    children: dict[str, list[Call]] = {}
    for call in calls:
        parent = call.parent_call_sid
        if parent is None or parent == call.sid:
            parents[call.sid] = call
        else:
            parents.setdefault(parent, None)
            children.setdefault(parent, []).append(call)
    return [Family(sid, call, tuple(reversed(children.get(sid, ())))) for sid, call in parents.items()]


def ancestors(sid: str, parent_of: Callable[[str], str | None]) -> tuple[str, ...]:
    """Return the legs above a leg, its parent first, as far as they are known.

    Legs that are each other's parents, which is a sender's nonsense, have none.
    """
    above: dict[str, None] = {}
    parent = parent_of(sid)
    while parent is not None and parent not in above:
        if parent == sid:
            return ()
        above[parent] = None
        parent = parent_of(parent)
    return tuple(above)


def parents_first(sids: Iterable[str], parent_of: Callable[[str], str | None]) -> list[list[str]]:
    """Group legs in the order in which they are to be ended: a leg is in a later group than all legs above it.

    Each is returned once; within a group the order is as given. A leg may have its parent, or only one further up,
    among them.
    """
    named = dict.fromkeys(sids)
    groups: dict[int, list[str]] = {}
    for sid in named:
        depth = sum(above in named for above in ancestors(sid, parent_of))
        groups.setdefault(depth, []).append(sid)
    return [groups[depth] for depth in sorted(groups)]


class FamilyTree:
    """Which legs make a family: those that lead, parent by parent, to the same leg."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._children: dict[str, set[str]] = {}
        self._roots: dict[str, str] = {}
        self._members: dict[str, dict[str, None]] = {}

    def members(self, root: str) -> Iterable[str]:
        """Return the known legs of a family, in their order of arrival.

        That is nearly the order in which they are shown, so that sorting them takes little.
        """
        return self._members.get(root, ())

    def place(self, sid: str, parent: str | None) -> set[str]:
        """Put a leg under its parent; return the roots of all families that this touches."""
        if sid in self._roots and self._parents.get(sid) == parent:
            return {self._roots[sid]}
        self._link(sid, parent)
        root = self._root(sid)  # and that of all below it, for their way up leads through it
        touched = {root}
        for moved in self._below(sid):
            touched |= self._move(moved, root)
        return touched

    def remove(self, sid: str) -> None:
        """Forget a leg."""
        self._link(sid, None)
        self._leave(sid, self._roots.pop(sid))

    def _link(self, sid: str, parent: str | None) -> None:
        old = self._parents.pop(sid, None)
        if old is not None:
            self._children[old].discard(sid)
            if not self._children[old]:
                del self._children[old]
        if parent is not None:
            self._parents[sid] = parent
            self._children.setdefault(parent, set()).add(sid)

    def _move(self, sid: str, root: str) -> set[str]:
        old = self._roots.get(sid)
        if old == root:
            return set()
        if old is not None:
            self._leave(sid, old)
        self._roots[sid] = root
        self._members.setdefault(root, {})[sid] = None
        return set() if old is None else {old}

    def _leave(self, sid: str, root: str) -> None:
        del self._members[root][sid]
        if not self._members[root]:
            del self._members[root]

    def _below(self, sid: str) -> list[str]:
        """Return the leg and all its descendants, each once, whatever circles senders report."""
        legs = {sid: None}
        queue = [sid]
        while queue:
            fresh = [child for child in self._children.get(queue.pop(), ()) if child not in legs]
            legs.update(dict.fromkeys(fresh))
            queue.extend(fresh)
        return list(legs)

    def _root(self, sid: str) -> str:
        path: dict[str, None] = {}
        leg = sid
        while leg not in path:
            path[leg] = None
            parent = self._parents.get(leg)
            if parent is None:
                return leg
            leg = parent
        circle = list(path)
        # Legs that are each other's parents are a sender's nonsense, but must not hang or depend on order.
        return min(circle[circle.index(leg) :])
