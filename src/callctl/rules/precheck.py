"""The check before an action: does the leg still match, and has nothing else changed it?"""

from __future__ import annotations

from datetime import datetime, timedelta

from callctl.api.calls_api import CallsApi
from callctl.calls.action import DECLINED, DONE, UNKNOWN, ActionEvent
from callctl.calls.call import Call, CallStatus, rank_of
from callctl.calls.event import CALLBACK, TWIML_REQUEST
from callctl.calls.leg import Leg
from callctl.errors import NotFoundError
from callctl.operations.family import list_children, list_live_children
from callctl.operations.reported_status import reported_legs, with_reported_status
from callctl.rules.outcome import Outcome, Postponed, too_late
from callctl.rules.rule import FRESH, RESOLUTION, Action, LastRinging, On, another_answered, changed_meanwhile
from callctl.store.event_store import EventStore
from callctl.support.clock import Clock

# How far apart two of Twilio's dates of one moment may be: they have whole seconds, and are not of one machine.
_TOLERANCE = timedelta(seconds=2)
# A child whose parent is redirected ends within this time: a guess, with room to spare.
_DROPPED_WITHIN = timedelta(seconds=10)


def precheck(api: CallsApi, store: EventStore, action: Action, *, clock: Clock) -> Outcome | Postponed | None:
    """Return why an action must not be done, or not yet; None if it may. Four requests at most, which change nothing.

    Raises:
        CallctlError: The API or the store could not be read.
    """
    try:
        outcome = _check(api, store, action, clock=clock)
        # Last: between this look and the request nothing else is waited for.
        return _unless_another_answered(api, store, action, clock=clock) if outcome is None else outcome
    except NotFoundError:
        if not may_be_behind(action, clock=clock):
            raise
        return Postponed(retry=True)


def may_be_behind(action: Action, *, clock: Clock) -> bool:
    """Return whether REST may not show yet what callbacks have just reported, be it a leg or the end of another.

    Source: docs/twilio.md, "Eventual consistency".
    """
    seen = action.observed_since if action.trigger is None else action.trigger.observed_at
    return seen is not None and clock.now() - seen < FRESH


def _check(api: CallsApi, store: EventStore, action: Action, *, clock: Clock) -> Outcome | Postponed | None:
    # Another watch may be at work, or a crash have left it open: until it is known what came of that, it comes first.
    if action.comes_after_ancestors and any(store.action_in_progress(sid, other_than="") for sid in action.ancestors):
        return Postponed(retry=True)
    handled = handled_already(store, action, clock=clock)
    if handled is None and action.about != action.call_sid:
        handled = _unless_related(api, action, clock=clock) or _unless_redirected(api, store, action, clock=clock)
    if handled is not None or not action.needs_precheck:
        return handled
    call = api.fetch(action.call_sid)
    allowed = action.rule.target_statuses
    if call.status not in allowed:
        # What callbacks reported can't be undone: REST lags (docs/twilio.md, "Eventual consistency").
        rest_lags = 0 < rank_of(call.status) < min(map(rank_of, allowed))
        return Postponed(retry=True) if rest_lags else too_late(call.status)
    if (old := _declined_if_too_old(call, action, clock=clock)) is not None:
        return old
    children = list_live_children(api, action.call_sid) if action.rule.follows_dial else ()
    if any(child.sid != action.about for child in children):
        return Postponed(retry=True)  # that leg may send no callback of its end, which would propose the action again
    if action.rule.when.lasting is None:
        return None
    if action.about == action.call_sid:
        if _has_begun_to_ring(call, action, clock=clock):
            return too_late(call.status)
        return _postponed_if_too_young(call, action, clock=clock)
    matched = api.fetch(action.about)
    if matched.status not in action.rule.matching_statuses or _has_begun_to_ring(matched, action, clock=clock):
        return _declined_by_status(matched)
    return _postponed_if_too_young(matched, action, clock=clock)


def _unless_related(api: CallsApi, action: Action, *, clock: Clock) -> Outcome | Postponed | None:
    """Return that REST does not name one leg as the parent of the other; None if it does.

    An action on another leg than the one that the rule matched rests on that alone, and a callback may have claimed it.
    """
    is_child_changed = action.rule.on is On.CHILDREN
    child, parent = (action.call_sid, action.about) if is_child_changed else (action.about, action.call_sid)
    try:
        call = api.fetch(child)
    except NotFoundError:
        if may_be_behind(action, clock=clock):
            raise
        return Outcome(DECLINED, f"REST knows no leg {child}")
    if call.parent_call_sid != parent:
        return Outcome(DECLINED, f"REST does not name {parent} as the parent of {child}")
    if child == action.about and action.rule.is_before_answer and call.status not in action.rule.matching_statuses:
        return _declined_by_status(call)
    return None


def _unless_another_answered(
    api: CallsApi, store: EventStore, action: Action, *, clock: Clock
) -> Outcome | Postponed | None:
    """Return that a parent talks to another child than the one that the rule looks at; None if it talks to none.

    An answer counts if REST shows it or callbacks reported it. A conversation that is over by either of them counts for
    nothing: REST may be behind, and the callback of an end late, or lost. A child that has just begun to ring may be
    the next one that is dialled, and neither of the two show that yet: it is looked at again.
    """
    if not action.rule.leaves_conversations_alone:
        return None
    listed = list_children(api, action.call_sid)
    legs = reported_legs(store.family(action.call_sid))
    statuses = {sid: leg.status for sid, leg in legs.items() if _is_in_conversation(leg, action)}
    statuses |= {child.sid: with_reported_status(child, legs.get(child.sid)).status for child in listed}
    talking = (sid for sid, status in statuses.items() if status == CallStatus.IN_PROGRESS and sid != action.about)
    other = next(talking, None)
    if other is not None and action.rule.is_before_answer and may_be_behind(action, clock=clock):
        return Postponed(retry=True)
    return None if other is None else Outcome(DECLINED, another_answered(other))


def reported_conversation(
    api: CallsApi, store: EventStore, action: Action, *, clock: Clock
) -> Outcome | Postponed | None:
    """Return that a parent talks to a child, as callbacks in the store report it; None if they report none.

    The store has them a moment before the board, and before REST shows it. Where it is another child than the one that
    the rule looks at, REST is queried once more: it may show that this conversation is over.

    Raises:
        CallctlError: The API or the store could not be read.
    """
    if not action.rule.leaves_conversations_alone:
        return None
    legs = reported_legs(store.family(action.call_sid))
    talking = [sid for sid, leg in legs.items() if _is_in_conversation(leg, action)]
    if action.about in talking:
        return Outcome(DECLINED, changed_meanwhile(action.about, CallStatus.IN_PROGRESS))
    return _unless_another_answered(api, store, action, clock=clock) if talking else None


def reported_beyond(store: EventStore, action: Action) -> Outcome | None:
    """Return that callbacks report a leg further on than the rule allows; None if they do not.

    That is the leg to be changed, or the one for whose ringing another is changed. A callback may have come while the
    reply of the check before was on its way; the store has it a moment before the board.

    Raises:
        StoreError: The store could not be read.
    """
    legs, rule = reported_legs(store.family(action.call_sid)), action.rule
    leg, matched = legs.get(action.call_sid), legs.get(action.about)
    if leg is not None and _is_beyond(leg, rule.target_statuses):
        return too_late(leg.status)
    if matched is not None and rule.is_before_answer and _is_beyond(matched, rule.matching_statuses):
        return Outcome(DECLINED, changed_meanwhile(matched.call_sid, matched.status))
    return None


def _is_beyond(leg: Leg, statuses: frozenset[str]) -> bool:
    return leg.verified and rank_of(leg.status) > max(map(rank_of, statuses))


def _is_in_conversation(leg: Leg, action: Action) -> bool:
    is_child = leg.parent_call_sid == action.call_sid
    return is_child and leg.status == CallStatus.IN_PROGRESS and leg.verified


def _declined_by_status(call: Call) -> Outcome:
    return Outcome(DECLINED, changed_meanwhile(call.sid, call.status))


def _has_begun_to_ring(call: Call, action: Action, *, clock: Clock) -> bool:
    """Return whether a rule for legs that do not ring yet must leave one alone that REST shows as ringing.

    REST may show an initiated leg so as well (docs/twilio.md, "Statuses"). It rings if it has changed since it was
    initiated, as callbacks reported; without such a callback it is not known to be only initiated.
    """
    if call.status != CallStatus.RINGING or not action.rule.leaves_ringing_alone:
        return False
    if action.status != CallStatus.INITIATED:
        return action.status == CallStatus.QUEUED
    initiated_at = action.status_timestamp
    if initiated_at is None and call.as_of is not None and action.observed_since is not None:
        initiated_at = call.as_of - (clock.now() - action.observed_since)
    changed = max((date for date in (call.start_time, call.date_updated) if date), default=None)
    return initiated_at is not None and changed is not None and changed > initiated_at + _TOLERANCE


def _declined_if_too_old(call: Call, action: Action, *, clock: Clock) -> Outcome | None:
    """Return that what made the rule match was no news when it was seen, by Twilio's own dates; None if it was.

    This machine's clock may be behind, as after a start without a clock that runs on its own, or ahead, or it may not
    run fast.
    """
    trigger = action.trigger
    if trigger is None or trigger.is_news:
        return None
    if call.as_of is None:
        text = "too old by this machine's clock, and REST does not say what the time is"
        return Outcome(DECLINED, text) if trigger.seems_old else None
    age = call.as_of - trigger.timestamp - (clock.now() - trigger.observed_at)
    if age <= trigger.fresh + _TOLERANCE:
        return None
    return Outcome(DECLINED, f"too old: it happened {age.total_seconds():.0f} s ago by Twilio's clock")


def _postponed_if_too_young(call: Call, action: Action, *, clock: Clock) -> Postponed | None:
    """Return for how long a leg lacks a part of the time that the rule requires; None if it has had its status so long.

    This machine's clock may be wrong. Twilio's own dates, all by one clock, are not: a call that began so long ago may
    have been answered later, but one that began later was not answered before. Their ``Date`` may be a proxy's own: the
    leg is no older than it is by this machine's clock, or than this process has seen it.
    """
    lasting = action.rule.when.lasting or timedelta()
    # REST may show an answer whose callback is on its way, or lost.
    is_new = call.status == CallStatus.IN_PROGRESS != action.status
    observed_since = None if is_new else action.observed_since
    dates = [call.start_time or call.date_created, action.status_timestamp]
    if call.as_of and call.status == CallStatus.IN_PROGRESS and (is_new or action.status_timestamp is None):
        first_seen = call.as_of if observed_since is None else call.as_of - (clock.now() - observed_since)
        dates.append(_answered_before(call, action.last_ringing, call.as_of, first_seen=first_seen, now=clock.now()))
    # A date that is further ahead can't be right.
    latest = call.as_of and call.as_of + _TOLERANCE
    began = max((date for date in dates if date and latest and date <= latest), default=None)
    if call.as_of and began:
        seen = timedelta() if observed_since is None else clock.now() - observed_since
        age = max(clock.now() - action.clock_ahead - began, seen)
        remaining = lasting + max(RESOLUTION - (call.as_of - began), -age)
    else:  # a service that sends no dates: only the time that this process has observed counts
        remaining = lasting - (clock.now() - observed_since) if observed_since else lasting
    return Postponed(retry=True, not_before=remaining) if remaining > timedelta() else None


def _answered_before(
    call: Call, rang: LastRinging, as_of: datetime, *, first_seen: datetime, now: datetime
) -> datetime:
    """Return before when a call in progress was answered, by Twilio's clock, where no callback reported that.

    REST does not say when. It was before this process saw it in progress, and before the last change of the call, such
    as a redirect. But a service may not count the answer as a change (docs/twilio.md does not say that Twilio does): a
    change from before it last rang is not that.
    """
    received_at = None if rang.received_at is None else as_of - (now - rang.received_at)
    last_rang = max((date for date in (rang.timestamp, received_at) if date), default=None)
    changed = call.date_updated
    if changed is None or (last_rang is not None and changed <= last_rang + _TOLERANCE):
        return first_seen
    return min(changed, first_seen)


def handled_already(store: EventStore, action: Action, *, clock: Clock) -> Outcome | Postponed | None:
    """Return why a caller whose Dial is over is left to another rule or a command; None if nothing handles it.

    Raises:
        StoreError: The store could not be read.
    """
    if not action.rule.follows_dial:
        return None
    # Intents before actions: a command removes its intent after it has recorded what it did.
    if any(store.has_intent(sid, is_over=clock.has_passed) for sid in (action.call_sid, action.about)):
        return Postponed(retry=True)
    name = store.dial_action(action.call_sid)
    if name:
        return Outcome(DECLINED, f"its own Dial sends it to {name} (place --then)")
    for sid, leg in ((action.call_sid, "it"), (action.about, "the leg that ended")):
        done = next((event.action for event in store.all_actions(sid) if _may_have_changed(event, action)), None)
        if done is not None:
            return Outcome(DECLINED, f"callctl itself changed {leg} before ({done})")
        in_progress = store.action_in_progress(sid, other_than=action.rule.name)
        if in_progress is not None:
            return Outcome(DECLINED, f"callctl itself is changing {leg} ({in_progress})")
        if store.had_intent(sid):  # its time is over, and no command has removed it
            return Outcome(DECLINED, f"a command that was cut off may have changed {leg}")
    return None


def _unless_redirected(api: CallsApi, store: EventStore, action: Action, *, clock: Clock) -> Outcome | Postponed | None:
    """Return that callctl redirected the parent that a rule is to end for its child's end; None if it did not.

    It was the redirect that ended the child, unless it came before the child began. Where no callback reported that
    beginning, as none does by default of a ``<Number>``, REST says when it was.

    Raises:
        CallctlError: The API or the store could not be read.
    """
    rule, parent = action.rule, action.call_sid
    if rule.follows_dial or rule.on is not On.PARENT or not rule.when.is_end:
        return None
    # Before actions: what begins to change a call records that when it has done so. No hang-up is waited for: a rule
    # that is about to send one may wait for this one.
    is_redirected = store.action_in_progress(parent, other_than=rule.name, action="redirect")
    if is_redirected or store.has_intent(parent, is_over=clock.has_passed):
        return Postponed(retry=True)
    redirects = [
        event for event in store.all_actions(parent) if event.action == "redirect" and event.may_have_changed_it
    ]
    if redirects:
        events = (event for event in store.family(action.about) if event.call_sid == action.about)
        began = (event for event in events if event.kind in (CALLBACK, TWIML_REQUEST) and not event.is_final)
        reported = [event.received_at for event in began]
        if reported:
            if any(event.at >= min(reported) for event in redirects):
                return Outcome(DECLINED, "callctl itself redirected it after that child had begun")
        else:
            child = api.fetch(action.about)
            if not all(_came_before(event.at, child, clock=clock) for event in redirects):
                return Outcome(DECLINED, "callctl itself redirected it, maybe after that child had begun")
    if store.had_intent(parent):  # its time is over, and no command has removed it
        return Outcome(DECLINED, "a command that was cut off may have redirected it")
    return None


def _came_before(redirected_at: datetime, child: Call, *, clock: Clock) -> bool:
    """Return whether a parent was redirected before a child began, by REST's dates; False where they do not say.

    A child that began at about the same time may have been dialled by the redirect's TwiML, or ended by the redirect.
    One that lasted longer than a redirect takes was not ended by it.
    """
    began = child.date_created or child.start_time
    if began is None or child.as_of is None:
        return False
    later = redirected_at - (clock.wall() - child.as_of) - began  # by Twilio's clock
    lasted = timedelta() if child.end_time is None else child.end_time - began
    return later < (_TOLERANCE if lasted > _DROPPED_WITHIN else -_TOLERANCE)


def _may_have_changed(event: ActionEvent, action: Action) -> bool:
    """Return whether an earlier action changed its leg; a TimeLimit did if the leg that ended lasted that long."""
    if event.action != "limit" or event.call_sid != action.about or event.result not in (DONE, UNKNOWN):
        return event.may_have_changed_it
    seconds = next((int(value) for name, value in event.request if name == "TimeLimit" and value.isdecimal()), 0)
    return action.duration is None or action.duration >= seconds
