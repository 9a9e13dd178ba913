"""The engine: which rules match now, for which legs, and what they propose.

It takes in each change and returns what is due. The time is always an argument, and always that of a steady clock,
which cannot be set. What it returns depends on nothing else, so a test runs hours in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import partial

from callctl.calls.board import Arrival, Change, Snapshot
from callctl.calls.call import CallStatus, rank_of
from callctl.calls.event import CALLBACK, MISSED, POLLED, TWIML_REQUEST, CallEvent
from callctl.calls.family import Family, ancestors
from callctl.calls.leg import Leg
from callctl.rules.evidence import UNKNOWN_AGE, Evidence
from callctl.rules.rule import (
    FAMILY_LEAD,
    FOUND_SOON,
    FRESH,
    RESOLUTION,
    Action,
    Declined,
    On,
    Rule,
    Trigger,
    changed_meanwhile,
)

# What says what a call does, and not since when.
_WITHOUT_MOMENT = frozenset({POLLED, MISSED, TWIML_REQUEST})
# For how many events that are too old by this machine's clock REST is queried until its reply shows the time.
_MOST_UNCONFIRMED = 10


class Scope(Enum):
    """Which calls rules may change."""

    OWN = "families that a verified callback or request for TwiML named, or that callctl placed"
    ALL = "all that the account shows"


@dataclass(frozen=True, slots=True)
class _Settling:
    """A leg that has ended; the rule decides at ``until``."""

    rule: Rule
    about: str
    until: datetime
    trigger: Trigger | None


class Engine:
    """Decides for a list of rules. Not for several threads."""

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        scope: Scope = Scope.OWN,
        steady_time: Callable[[datetime], datetime] = lambda moment: moment,
    ) -> None:
        """Begin without any event. Names of rules must differ.

        ``steady_time`` converts a time of the wall clock, such as an event's arrival, to the steady clock's.
        """
        self._rules = {rule.name: rule for rule in rules}
        self._scope = scope
        self._evidence = Evidence(steady_time=steady_time)
        self._waiting: dict[tuple[str, str], Rule] = {}  # by rule and leg: a leg that may become old enough
        self._settling: list[_Settling] = []
        self._restored: list[Change] = []  # changes of the store that may still be fresh
        self._unconfirmed = 0  # events for which REST is queried whether they are too old, since its last reply

    def take_reply(self, date: datetime, *, now: datetime) -> None:
        """Take in the ``Date`` of REST's latest reply, just after it came: it shows how wrong this machine's clock is.

        What a rule proposes never rests on it alone.
        """
        self._evidence.add_reply(date, now=now)
        self._unconfirmed = 0

    def restore(self, change: Change, *, now: datetime) -> None:
        """Take in a change that the store holds from before."""
        change = replace(change, arrival=Arrival(None, now))
        self._record(change, now=now)
        # Of a store's many changes only fresh ones may still lead to a proposal.
        if self._evidence.age(change.event, now=now, arrival=change.arrival) <= FRESH:
            self._restored.append(change)

    def restored_actions(self, snapshot: Snapshot, *, now: datetime) -> list[Action]:
        """Return what the changes that were restored propose, on the board after them; each once."""
        changes, self._restored = self._restored, []
        # How old they are is known by this machine's clock alone, which may be behind.
        proposals = (
            proposal for change in changes for proposal in self._proposals(change, snapshot, now=now, is_restored=True)
        )
        return [proposal for proposal in proposals if isinstance(proposal, Action)]

    def observe(self, change: Change, snapshot: Snapshot, *, now: datetime) -> list[Action | Declined]:
        """Take in a change; return what it proposes at once. ``snapshot`` is the board after it."""
        self._record(change, now=now)
        return list(self._proposals(change, snapshot, now=now))

    def due(self, snapshot: Snapshot, *, now: datetime) -> list[Action | Declined]:
        """Return what is proposed because time has passed. Each is returned once, unless its leg changes again."""
        proposals: list[Action | Declined] = []
        for key, rule in list(self._waiting.items()):
            leg = snapshot.leg(key[1])
            if leg is None or not rule.when.matches(leg):
                del self._waiting[key]
            elif self._is_old_enough(rule, leg, now=now) and not self._ends_after_parent(rule, leg, snapshot, now=now):
                del self._waiting[key]
                proposals += self._decide(rule, leg, snapshot, needs_precheck=True, now=now)
        settled = [entry for entry in self._settling if entry.until <= now]
        self._settling = [entry for entry in self._settling if entry.until > now]
        for entry in settled:
            leg = snapshot.leg(entry.about)
            if leg is not None:
                proposals += self._decide(
                    entry.rule, leg, snapshot, needs_precheck=True, now=now, trigger=entry.trigger
                )
        return proposals

    def applies(self, action: Action, snapshot: Snapshot) -> bool:
        """Return whether a rule still proposes an action, as far as the board knows.

        Where a rule is for the moment in which a leg gets a status, it may have got a further one since.
        """
        leg, target = snapshot.leg(action.about), snapshot.leg(action.call_sid)
        return (
            leg is not None
            and (_is_for_live_moment(action.rule) or action.rule.when.matches(leg))
            and not _moved_on(action.rule, leg, target)
            # The callback of another leg's answer may be lost: with a precheck, that decides.
            and (target is None or _may_be_target(target, action))
            and not (action.rule.follows_dial and _talks_to_others(snapshot, leg))
            and self._may_change(snapshot, leg)
        )

    def declined(self, action: Action, snapshot: Snapshot) -> Declined | None:
        """Return why an action is not done because its legs have changed since; None if they have not.

        That is for a rule for the moment in which a live leg gets a status. For others it is no news.
        """
        leg, target = snapshot.leg(action.about), snapshot.leg(action.call_sid)
        if leg is None or not _is_for_live_moment(action.rule) or not self._may_change(snapshot, leg):
            return None
        reason = _moved_on(action.rule, leg, target)
        return self._declined(action.rule, leg, action.call_sid, snapshot, reason) if reason else None

    def current_action(
        self, rule_name: str, call_sid: str, *, about: str, snapshot: Snapshot, now: datetime
    ) -> Action | None:
        """Return the action that a rule proposed before a crash; None if it no longer proposes it."""
        rule, leg = self._rules.get(rule_name), snapshot.leg(about)
        if rule is None or leg is None:
            return None
        action = self._action(rule, leg, call_sid, snapshot, needs_precheck=True, now=now)
        return action if self.applies(action, snapshot) else None

    def prune(self, snapshot: Snapshot) -> None:
        """Drop what is known of legs that the board has dropped."""
        self._evidence.retain(snapshot.legs)
        self._waiting = {key: rule for key, rule in self._waiting.items() if key[1] in snapshot.legs}

    def _record(self, change: Change, *, now: datetime) -> None:
        self._evidence.add(change.event, now=now, arrival=change.arrival)
        leg = change.after
        for rule in self._rules.values():
            if rule.when.lasting is None:
                continue
            if rule.when.matches(leg):
                self._waiting[rule.name, leg.call_sid] = rule
            else:
                self._waiting.pop((rule.name, leg.call_sid), None)

    def _proposals(
        self, change: Change, snapshot: Snapshot, *, now: datetime, is_restored: bool = False
    ) -> Iterator[Action | Declined]:
        """Yield what a change itself proposes, where a rule begins to match by it."""
        for rule in self._rules.values():
            if rule.when.lasting is not None:
                continue
            on_match = partial(self._on_match, rule, change, snapshot=snapshot, now=now, is_restored=is_restored)
            if rule.when.matches(change.after) and not (change.before and rule.when.matches(change.before)):
                yield from on_match(change.after)
            elif _was_overtaken(rule, change):
                yield from on_match(change.after, is_overtaken=True)
            elif rule.follows_dial and _has_ended(change):
                earlier = passed_over(rule, change.after, snapshot, tolerance=rule.settle + RESOLUTION)
                yield from () if earlier is None else on_match(earlier)

    def _on_match(
        self,
        rule: Rule,
        change: Change,
        leg: Leg,
        *,
        snapshot: Snapshot,
        now: datetime,
        is_restored: bool,
        is_overtaken: bool = False,
    ) -> Iterator[Action | Declined]:
        age = self._evidence.age(change.event, now=now, arrival=change.arrival)
        if leg is not change.after and leg.ended_at is not None:  # one of two ends is fresh, which is enough
            age = min(age, self._evidence.age_of_end(leg, now=now))
        age_by_clock = age + max(self._evidence.correction(now=now), timedelta())
        trigger = _trigger_of(change.event, now=now)
        age_of_call = self._evidence.age_of_call(change.event, now=now)
        is_confirmed = trigger is None or self._evidence.is_clock_confirmed(now=now)
        reason = ""
        if max(age, age_of_call or age) >= UNKNOWN_AGE:
            reason = "too old, as far as is known: nothing says when it happened"
        elif age > FRESH:
            reason = f"too old: it happened {age_by_clock.total_seconds():.0f} s ago"
        elif age_of_call is not None and age_of_call > FOUND_SOON:
            shown_by = "a request for TwiML" if change.event.kind == TWIML_REQUEST else "REST"
            reason = (
                f"too old: the call began {age_of_call.total_seconds():.0f} s before {shown_by} showed it like this"
            )
        if reason and trigger is not None and not is_confirmed and not is_restored:
            if self._unconfirmed == _MOST_UNCONFIRMED:
                return  # not even recorded: what is recorded here keeps others that share the store from acting
            self._unconfirmed += 1
            trigger = replace(trigger, seems_old=True)
        elif reason:
            yield from self._decide(rule, leg, snapshot, needs_precheck=False, now=now, too_old=reason)
            return
        if trigger is not None and not reason and not is_restored and change.event.kind == CALLBACK:
            trigger = replace(trigger, is_news=self._evidence.is_clock_in_time(now=now))
        if rule.settle:
            self._settling.append(_Settling(rule, leg.call_sid, now + rule.settle, trigger))
        else:
            # Where it is fresh only if this clock is wrong, or it may be, REST is queried: its reply shows the time.
            is_checked = is_restored or is_overtaken or change.event.kind in _WITHOUT_MOMENT
            check = is_checked or age_by_clock > FRESH or not is_confirmed
            yield from self._decide(rule, leg, snapshot, needs_precheck=check, now=now, trigger=trigger)

    def _is_old_enough(self, rule: Rule, leg: Leg, *, now: datetime) -> bool:
        lasting = rule.when.lasting or timedelta()
        return self._evidence.status_since(leg, now=now) + lasting + RESOLUTION <= now

    def _ends_after_parent(self, rule: Rule, leg: Leg, snapshot: Snapshot, *, now: datetime) -> bool:
        """Return whether a leg above one that a rule is to end may be old enough for a rule as well, in a moment."""
        if not rule.ends_calls or rule.on is not On.THIS or leg.parent_call_sid is None:
            return False
        is_new = now - self._evidence.observed_since(leg, now=now) < FAMILY_LEAD
        for above in map(snapshot.leg, _ancestors(snapshot, leg.call_sid)):
            if above is None or rank_of(above.status) < rank_of(leg.status):
                if is_new:  # REST, or a callback, says more of it
                    return True
            elif any(self._is_soon_due(other, above, now=now) for other in self._rules.values()):
                return True
        return False

    def _is_soon_due(self, rule: Rule, leg: Leg, *, now: datetime) -> bool:
        is_waiting = rule.on is On.THIS and (rule.name, leg.call_sid) in self._waiting and rule.when.matches(leg)
        return is_waiting and self._is_old_enough(rule, leg, now=now + FAMILY_LEAD)

    def _decide(
        self,
        rule: Rule,
        leg: Leg,
        snapshot: Snapshot,
        *,
        needs_precheck: bool,
        now: datetime,
        trigger: Trigger | None = None,
        too_old: str = "",
    ) -> Iterator[Action | Declined]:
        if not self._may_change(snapshot, leg):
            return
        if rule.follows_dial and _talks_to_others(snapshot, leg):
            return  # the end of another leg brings this one's back
        newest = snapshot.leg(leg.call_sid) or leg  # several changes may have come at once
        for sid in _targets(rule, leg, snapshot):
            target = snapshot.leg(sid)
            if reason := too_old or _moved_on(rule, newest, target):
                yield self._declined(rule, leg, sid, snapshot, reason)
            else:
                # A leg that has gone on since may have gone further than its callbacks report.
                is_as_reported = target is not None and target.status in rule.target_statuses
                check = needs_precheck or not is_as_reported or newest.status != leg.status
                yield self._action(rule, leg, sid, snapshot, needs_precheck=check, now=now, trigger=trigger)

    def _action(
        self,
        rule: Rule,
        leg: Leg,
        sid: str,
        snapshot: Snapshot,
        *,
        needs_precheck: bool,
        now: datetime,
        trigger: Trigger | None = None,
    ) -> Action:
        family = _family_of(snapshot, leg)
        return Action(
            rule,
            sid,
            leg.call_sid,
            family.sid,
            self._is_own(family),
            needs_precheck=needs_precheck,
            trigger=trigger,
            duration=leg.duration,
            status=leg.status,
            status_timestamp=self._evidence.status_timestamp(leg),
            observed_since=self._evidence.observed_since(leg, now=now),
            last_ringing=self._evidence.last_ringing(leg),
            clock_ahead=self._evidence.skew,
            ancestors=_ancestors(snapshot, sid),
        )

    def _declined(self, rule: Rule, leg: Leg, sid: str, snapshot: Snapshot, reason: str) -> Declined:
        family = _family_of(snapshot, leg)
        return Declined(rule, sid, leg.call_sid, family.sid, self._is_own(family), reason=reason)

    def _may_change(self, snapshot: Snapshot, leg: Leg) -> bool:
        # A forged event could make any leg the parent of another: one is enough to leave the family alone.
        return all(member.verified for member in _family_of(snapshot, leg).legs)

    def _is_own(self, family: Family[Leg]) -> bool:
        return self._scope is Scope.ALL or any(self._evidence.is_reported(leg.call_sid) for leg in family.legs)


def _is_for_live_moment(rule: Rule) -> bool:
    return rule.when.lasting is None and not rule.when.is_end


def _was_overtaken(rule: Rule, change: Change) -> bool:
    """Return whether a callback reports the moment that a rule is for, and came after that of a later status.

    Source: docs/twilio.md, "Delivery" (callbacks arrive in any order).
    """
    return (
        change.late
        and change.event.kind == CALLBACK
        and _is_for_live_moment(rule)
        and change.event.status in rule.when.statuses
        and change.after.status not in rule.when.statuses
        and rule.when.matches_apart_from_status(change.after)
    )


def _moved_on(rule: Rule, leg: Leg, target: Leg | None) -> str:
    """Return why a rule that came to match a leg must not change ``target`` any more; empty if it may.

    What a rule for a moment may be done to is decided by what the leg is now: one that was initiated may ring, but not
    have been answered, or be over, unless the rule names that as well.
    """
    if target is not None and target.is_final:
        return f"it has ended already: {target.status}"
    if not _is_for_live_moment(rule):
        return ""
    if leg.status not in rule.matching_statuses:
        if rule.on is On.THIS:
            is_answered = leg.status == CallStatus.IN_PROGRESS
            return "it was answered meanwhile and left alone" if is_answered else f"it is {leg.status} by now"
        if rule.is_before_answer:
            return changed_meanwhile(leg.call_sid, leg.status)
    if not rule.when.matches_apart_from_status(leg):
        return "more is known of it by now, by which the rule is not for it"
    return ""


def _may_be_target(target: Leg, action: Action) -> bool:
    return target.status in action.rule.target_statuses or (action.needs_precheck and target.is_live)


def _has_ended(change: Change) -> bool:
    return change.after.is_final and not (change.before and change.before.is_final)


def _trigger_of(event: CallEvent, *, now: datetime) -> Trigger | None:
    if event.timestamp is None or event.kind not in (CALLBACK, MISSED, POLLED):
        return None
    return Trigger(event.timestamp, now, FOUND_SOON if event.kind == POLLED and not event.is_final else FRESH)


def _family_of(snapshot: Snapshot, leg: Leg) -> Family[Leg]:
    return snapshot.family_of.get(leg.call_sid) or Family(leg.call_sid, leg, ())


def _ancestors(snapshot: Snapshot, call_sid: str) -> tuple[str, ...]:
    def parent_of(sid: str) -> str | None:
        leg = snapshot.leg(sid)
        return None if leg is None else leg.parent_call_sid

    return ancestors(call_sid, parent_of)


def _talks_to_others(snapshot: Snapshot, leg: Leg) -> bool:
    """Return whether the leg that dialled one which has ended still has somebody: another leg, or a conference."""
    parent = snapshot.leg(leg.parent_call_sid or "")
    if parent is not None and parent.conference is not None:
        return True
    return any(other.is_live for other in _family_of(snapshot, leg).children if other.call_sid != leg.call_sid)


def _targets(rule: Rule, leg: Leg, snapshot: Snapshot) -> list[str]:
    """Return the legs that a rule changes when it matches this one."""
    if rule.on is On.THIS:
        return [leg.call_sid]
    if rule.on is On.PARENT:
        return [leg.parent_call_sid] if leg.parent_call_sid else []
    children = _family_of(snapshot, leg).children
    return [child.call_sid for child in children if child.parent_call_sid == leg.call_sid and child.is_live]


def passed_over(rule: Rule, last: Leg, snapshot: Snapshot, *, tolerance: timedelta) -> Leg | None:
    """Return the leg whose end the rule let pass because its caller had another leg; None if there is none.

    ``last`` is the leg that has ended now. The others are gone through from it backwards, as long as each ended no more
    than ``tolerance`` before the next one began. This depends on the board alone, so that a restarted watch finds the
    leg as well.
    """
    began = last.first_at
    for end, leg in sorted(_ended_siblings(last, snapshot), key=lambda ended: ended[0], reverse=True):
        if end + tolerance < began:
            return None
        if rule.when.matches(leg):
            return leg
        began = min(began, leg.first_at)
    return None


def _ended_siblings(last: Leg, snapshot: Snapshot) -> Iterator[tuple[datetime, Leg]]:
    """Yield the other legs of a leg's parent that have ended, and when."""
    for leg in _family_of(snapshot, last).children:
        is_sibling = leg.parent_call_sid == last.parent_call_sid and leg.call_sid != last.call_sid
        if is_sibling and leg.is_final and leg.ended_at is not None:
            yield leg.ended_at, leg
