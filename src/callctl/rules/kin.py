"""Who else is in a leg's family, and what that means for a rule."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from callctl.calls.board import Family, Leg, Snapshot
from callctl.rules.rule import On, Rule


def family_of(snapshot: Snapshot, leg: Leg) -> Family:
    """Return the family of a leg: that of the leg to which parent by parent leads."""
    return snapshot.family_of.get(leg.call_sid) or Family(leg.call_sid, leg, ())


def others_alive(family: Family, leg: Leg) -> bool:
    """Tell whether a caller has another leg than this one that has not ended."""
    return any(other.is_live for other in family.children if other.call_sid != leg.call_sid)


def targets(rule: Rule, leg: Leg, snapshot: Snapshot) -> list[str]:
    """Return the legs that a rule acts on when it holds for this one."""
    if rule.on is On.THIS:
        return [leg.call_sid]
    if rule.on is On.PARENT:
        return [leg.parent_call_sid] if leg.parent_call_sid else []
    children = family_of(snapshot, leg).children
    return [child.call_sid for child in children if child.parent_call_sid == leg.call_sid and child.is_live]


def held_up(rule: Rule, last: Leg, snapshot: Snapshot, *, tolerance: timedelta) -> Leg | None:
    """Return the leg whose end the rule let pass because its caller had another leg; None if there is none.

    ``last`` is the leg that has ended now. The others are gone through from it backwards, as long as each ended no more
    than ``tolerance`` before the next one began. Only the board is asked, so that a restarted watch finds it as well.
    """
    began = last.first_at
    for end, leg in sorted(_ended(last, snapshot), key=lambda ended: ended[0], reverse=True):
        if end + tolerance < began:
            return None
        if rule.when.fits(leg):
            return leg
        began = min(began, leg.first_at)
    return None


def _ended(last: Leg, snapshot: Snapshot) -> Iterator[tuple[datetime, Leg]]:
    """Yield the other legs of a leg's parent that have ended, and when."""
    for leg in family_of(snapshot, last).children:
        is_sibling = leg.parent_call_sid == last.parent_call_sid and leg.call_sid != last.call_sid
        if is_sibling and leg.is_final and leg.ended_at is not None:
            yield leg.ended_at, leg
