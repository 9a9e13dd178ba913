"""Looking before acting: is the leg still as the rule wants it, and has nobody else been there?"""

from __future__ import annotations

from datetime import timedelta

from callctl.api.protocol import CallsApi
from callctl.calls.action import DECLINED, DONE, UNKNOWN, ActionEvent
from callctl.calls.call import Call
from callctl.calls.event import rank_of
from callctl.operations.family import live_children
from callctl.rules.outcome import Claims, Found, Held, too_late
from callctl.rules.rule import Action
from callctl.support.clock import Clock

# What dates in whole seconds, and a request that takes a while, may make of an age.
_SLACK = timedelta(seconds=2)


def why_not(api: CallsApi, claims: Claims, action: Action, *, clock: Clock) -> Found | Held | None:
    """Return why an action must not be done, or not yet; None if it may: up to two requests that change nothing.

    Raises:
        CallctlError: The API or the store could not be asked.
    """
    if (taken := taken_up(claims, action, clock=clock)) is not None or not action.needs_precheck:
        return taken
    call = api.fetch(action.call_sid)
    wanted = action.rule.target_statuses
    if call.status not in wanted:
        # What callbacks told can't be undone: REST is behind (docs/twilio.md, "Eventual consistency").
        is_behind = 0 < rank_of(call.status) < min(map(rank_of, wanted))
        return Held(look_again=True) if is_behind else too_late(call.status)
    if action.rule.follows_dial and any(child.sid != action.about for child in live_children(api, action.call_sid)):
        return Held(look_again=True)  # that leg may tell nothing of its end, so nobody would ask again
    if action.rule.when.lasting is None:
        return None
    if action.about == action.call_sid:
        return _too_young(call, action, clock=clock)
    watched = api.fetch(action.about)
    if watched.status not in action.rule.matching_statuses:
        return Found(DECLINED, f"the leg that the rule looks at, {watched.sid}, is {watched.status} by now")
    return _too_young(watched, action, clock=clock)


def taken_up(claims: Claims, action: Action, *, clock: Clock) -> Found | Held | None:
    """Return why a caller whose Dial is over is left to whom has taken them up, or is about to; else None.

    Raises:
        StoreError: The store could not be asked.
    """
    if not action.rule.follows_dial:
        return None
    # Before what is written down is read: a command takes back its intent after it has written.
    if any(claims.has_intent(sid, is_over=clock.has_passed) for sid in (action.call_sid, action.about)):
        return Held(look_again=True)
    return _taken_care_of(claims, action)


def _too_young(call: Call, action: Action, *, clock: Clock) -> Held | None:
    """Return what to wait for if a leg can't have had its status for as long as the rule asks for; else None.

    This machine's clock, and what the store told by it, may be wrong. Twilio's own dates, all by one clock, are not: a
    call that began so long ago may have been answered later, but one that began later was not answered before.
    """
    lasting = action.rule.when.lasting or timedelta()
    dates = [call.start_time or call.date_created, action.status_timestamp]
    began = max((date for date in dates if date and call.as_of and date <= call.as_of), default=None)
    if call.as_of and began:
        left = lasting - _SLACK - (call.as_of - began)
    else:  # a service that tells no dates: only what this process has waited for itself
        left = lasting - (clock.now() - action.observed_since) if action.observed_since else lasting
    return Held(look_again=True, not_before=left) if left > timedelta() else None


def _taken_care_of(claims: Claims, action: Action) -> Found | None:
    name = claims.dial_action(action.call_sid)
    if name is not None:
        return Found(DECLINED, f"its own Dial sends it to {name} (place --then)")
    for sid, whose in ((action.call_sid, "it"), (action.about, "the leg that ended")):
        done = next((one.action for one in claims.all_actions(sid) if _counts(one, action)), None)
        if done is not None:
            return Found(DECLINED, f"callctl itself changed {whose} before ({done})")
        doing = claims.action_in_progress(sid, other_than=action.rule.name)
        if doing is not None:
            return Found(DECLINED, f"callctl itself is changing {whose} ({doing})")
    return None


def _counts(done: ActionEvent, action: Action) -> bool:
    """Tell whether callctl changed a leg by this: also by a TimeLimit, if the leg that ended duration that long."""
    if done.action != "limit" or done.call_sid != action.about or done.result not in (DONE, UNKNOWN):
        return done.may_have_changed_it
    seconds = next((int(value) for name, value in done.request if name == "TimeLimit" and value.isdecimal()), 0)
    return action.duration is None or action.duration >= seconds
