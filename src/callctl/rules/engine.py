"""The engine: which rules hold now, for which legs, and what they ask for.

It is told of each change and asked what is due; the time is always an argument, and always that of a steady clock,
which nobody can set. What it returns depends on nothing else, so a test plays hours in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from callctl.calls.board import Change, Family, Leg, Snapshot
from callctl.calls.event import MISSED, POLLED, CallEvent
from callctl.rules.action import Action, Declined
from callctl.rules.evidence import Sightings
from callctl.rules.kin import family_of, held_up, others_alive, targets
from callctl.rules.rule import Rule

# What happened longer ago is old news: a callback that was held up, or one that somebody sends again.
FRESH = timedelta(seconds=15)
# A Timestamp has whole seconds, rounded down, so a leg may be a second younger than it says.
RESOLUTION = timedelta(seconds=1)


class Scope(Enum):
    """Whose calls rules may touch."""

    OWN = "families told of by a verified callback, or placed by callctl"
    ALL = "all that the account shows"


@dataclass(frozen=True, slots=True)
class _Settling:
    """An end that took place; what follows is decided at ``until``."""

    rule: Rule
    about: str
    until: datetime


class Engine:
    """Decides for a list of rules. Not for several threads."""

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        scope: Scope = Scope.OWN,
        steady: Callable[[datetime], datetime] = lambda moment: moment,
    ) -> None:
        """Begin with nothing heard. Names of rules must differ.

        ``steady`` gives the steady time of a moment that the wall clock told, such as an event's arrival.
        """
        self._rules = {rule.name: rule for rule in rules}
        self._scope = scope
        self._sightings = Sightings(steady=steady)
        self._waiting: dict[tuple[str, str], Rule] = {}  # by rule and leg: a leg that may become old enough
        self._settling: list[_Settling] = []
        self._recalled: list[Change] = []  # what the store knew and may still be fresh

    @property
    def clock_ahead(self) -> timedelta | None:
        """How far this machine's clock seems to be ahead, where that makes all news old for rules; else None.

        The smallest delay of a few callbacks may itself be long, so such a clock is told of and not corrected: old
        news must not become fresh.
        """
        return self._sightings.skew if self._sightings.skew > FRESH else None

    def recall(self, change: Change, *, now: datetime) -> None:
        """Take in a change that the store knew from before."""
        self._take(change, now=now, is_recalled=True)
        # Of a store's many changes only these may still ask for anything: the rest is old news, and not kept.
        if self._sightings.age(change.event, now=now) <= FRESH:
            self._recalled.append(change)

    def recalled(self, snapshot: Snapshot, *, now: datetime) -> list[Action]:
        """Return what the changes that were recalled ask for, on the board that they have led to; each once."""
        changes, self._recalled = self._recalled, []
        asked = (found for change in changes for found in self._asked(change, snapshot, now=now))
        return [found for found in asked if isinstance(found, Action)]

    def hear(self, change: Change, snapshot: Snapshot, *, now: datetime) -> list[Action | Declined]:
        """Take in a change; return what it asks for at once. ``snapshot`` is the board after it."""
        self._take(change, now=now)
        return list(self._asked(change, snapshot, now=now))

    def _asked(self, change: Change, snapshot: Snapshot, *, now: datetime) -> Iterator[Action | Declined]:
        """Yield what a change itself asks for: the beginning of what a rule looks for."""
        for rule in self._rules.values():
            if rule.when.lasting is not None:
                continue
            if rule.when.fits(change.after) and not (change.before and rule.when.fits(change.before)):
                yield from self._begun(rule, change, change.after, snapshot, now=now)
            elif rule.follows_dial and _has_ended(change):
                tolerance = rule.settle + RESOLUTION
                held = held_up(rule, change.after, snapshot, tolerance=tolerance)
                yield from () if held is None else self._begun(rule, change, held, snapshot, now=now)

    def _take(self, change: Change, *, now: datetime, is_recalled: bool = False) -> None:
        self._sightings.take(change.event, now=now, is_recalled=is_recalled)
        leg = change.after
        for rule in self._rules.values():
            if rule.when.lasting is None:
                continue
            if rule.when.fits(leg):
                self._waiting[rule.name, leg.call_sid] = rule
            else:
                self._waiting.pop((rule.name, leg.call_sid), None)

    def _begun(
        self, rule: Rule, change: Change, leg: Leg, snapshot: Snapshot, *, now: datetime
    ) -> Iterator[Action | Declined]:
        age = self._sightings.age(change.event, now=now)
        if leg is not change.after and leg.ended_at is not None:  # one of two ends is news, which is enough
            age = min(age, self._sightings.since_end(leg, now=now))
        if age > FRESH:
            if self._may_touch(snapshot, leg):
                reason = f"too old: it happened {age.total_seconds():.0f} s ago"
                yield self._declined(rule, leg, leg.call_sid, snapshot, reason)
        elif rule.settle:
            self._settling.append(_Settling(rule, leg.call_sid, now + rule.settle))
        else:
            yield from self._decide(rule, leg, snapshot, look_first=_is_polled(change.event), now=now)

    def due(self, snapshot: Snapshot, *, now: datetime) -> list[Action | Declined]:
        """Return what time has brought about. Each is returned once, unless its leg changes again."""
        found: list[Action | Declined] = []
        for key, rule in list(self._waiting.items()):
            leg = snapshot.leg(key[1])
            if leg is None or not rule.when.fits(leg):
                del self._waiting[key]
            elif self._is_old_enough(rule, leg, now=now):
                del self._waiting[key]
                found += self._decide(rule, leg, snapshot, look_first=True, now=now)
        settled = [one for one in self._settling if one.until <= now]
        self._settling = [one for one in self._settling if one.until > now]
        for one in settled:
            leg = snapshot.leg(one.about)
            if leg is not None:
                found += self._decide(one.rule, leg, snapshot, look_first=True, now=now)
        return found

    def _is_old_enough(self, rule: Rule, leg: Leg, *, now: datetime) -> bool:
        lasting = rule.when.lasting or timedelta()
        return self._sightings.since(leg) + lasting + RESOLUTION <= now

    def applies(self, action: Action, snapshot: Snapshot) -> bool:
        """Tell whether what a rule asked for is still asked for, as far as the board knows."""
        leg, target = snapshot.leg(action.about), snapshot.leg(action.call_sid)
        return (
            leg is not None
            and action.rule.when.fits(leg)
            # The callback of another leg's answer may be lost: where it is looked at first, the look decides.
            and (target is None or _may_be_as_wanted(target, action))
            and not (action.rule.follows_dial and others_alive(family_of(snapshot, leg), leg))
            and self._may_touch(snapshot, leg)
        )

    def again(self, rule_name: str, call_sid: str, *, about: str, snapshot: Snapshot, now: datetime) -> Action | None:
        """Return once more what a rule asked for before a crash; None if it no longer asks for it."""
        rule, leg = self._rules.get(rule_name), snapshot.leg(about)
        if rule is None or leg is None:
            return None
        action = self._action(rule, leg, call_sid, snapshot, look_first=True, now=now)
        return action if self.applies(action, snapshot) else None

    def tidy(self, snapshot: Snapshot) -> None:
        """Drop what is known of legs that the board has forgotten."""
        self._sightings.keep(snapshot.legs)
        self._waiting = {key: rule for key, rule in self._waiting.items() if key[1] in snapshot.legs}

    def _decide(
        self, rule: Rule, leg: Leg, snapshot: Snapshot, *, look_first: bool, now: datetime
    ) -> Iterator[Action | Declined]:
        if not self._may_touch(snapshot, leg):
            return
        if rule.follows_dial and others_alive(family_of(snapshot, leg), leg):
            return  # the end of that leg brings this one's back
        for sid in targets(rule, leg, snapshot):
            target = snapshot.leg(sid)
            if target is not None and target.is_final:
                yield self._declined(rule, leg, sid, snapshot, f"it has ended already: {target.status}")
            elif target is None or target.status in rule.target_statuses or look_first:
                yield self._action(rule, leg, sid, snapshot, look_first=look_first or target is None, now=now)

    def _action(self, rule: Rule, leg: Leg, sid: str, snapshot: Snapshot, *, look_first: bool, now: datetime) -> Action:
        family = family_of(snapshot, leg)
        return Action(
            rule,
            sid,
            leg.call_sid,
            family.sid,
            self._is_own(family),
            look_first=look_first,
            lasted=leg.duration,
            told_at=self._sightings.told_at(leg),
            watched_since=self._sightings.watched_since(leg, now=now),
        )

    def _declined(self, rule: Rule, leg: Leg, sid: str, snapshot: Snapshot, reason: str) -> Declined:
        family = family_of(snapshot, leg)
        return Declined(rule, sid, leg.call_sid, family.sid, self._is_own(family), reason=reason)

    def _may_touch(self, snapshot: Snapshot, leg: Leg) -> bool:
        # A forged event could make anybody's leg the parent of another: one is enough to leave the family alone.
        return all(member.verified for member in family_of(snapshot, leg).legs)

    def _is_own(self, family: Family) -> bool:
        return self._scope is Scope.ALL or any(self._sightings.has_callback(leg.call_sid) for leg in family.legs)


def _may_be_as_wanted(target: Leg, action: Action) -> bool:
    return target.status in action.rule.target_statuses or (action.look_first and target.is_live)


def _has_ended(change: Change) -> bool:
    return change.after.is_final and not (change.before and change.before.is_final)


def _is_polled(event: CallEvent) -> bool:
    return event.kind in (POLLED, MISSED)
