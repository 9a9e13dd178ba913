"""Looking before acting: is the leg still as the rule wants it, and has nobody else been there?"""

from __future__ import annotations

from datetime import datetime

from callctl.actions import DECLINED, DONE, UNKNOWN, ActionEvent
from callctl.events import rank_of
from callctl.operations.acting.needs import Claims, Door, Found, Held, too_late
from callctl.operations.relatives import live_children
from callctl.policies import Action


def why_not(door: Door, claims: Claims, action: Action, *, now: datetime) -> Found | Held | None:
    """Return why an action must not be done, or not yet; None if it may: up to two requests that change nothing.

    Raises:
        CallctlError: The API or the store could not be asked.
    """
    if action.rule.follows_dial:
        # Before what is written down is read: a command takes back its intent after it has written.
        if any(claims.is_about_to_change(sid, now=now) for sid in (action.call_sid, action.about)):
            return Held(look_again=True)
        if (found := _taken_care_of(claims, action)) is not None:
            return found
    if not action.look_first:
        return None
    call = door.fetch(action.call_sid)
    wanted = action.rule.target_statuses
    if call.status not in wanted:
        # What callbacks told can't be undone: REST is behind (sheet section 2).
        is_behind = 0 < rank_of(call.status) < min(map(rank_of, wanted))
        return Held(look_again=True) if is_behind else too_late(call.status)
    if action.rule.follows_dial and any(child.sid != action.about for child in live_children(door, action.call_sid)):
        return Held(look_again=True)  # that leg may tell nothing of its end, so nobody would ask again
    return None


def _taken_care_of(claims: Claims, action: Action) -> Found | None:
    name = claims.dial_action(action.call_sid)
    if name is not None:
        return Found(DECLINED, f"its own Dial sends it to {name} (place --then)")
    for sid, whose in ((action.call_sid, "it"), (action.about, "the leg that ended")):
        done = next((one.action for one in claims.asked_of(sid) if _counts(one, action)), None)
        if done is not None:
            return Found(DECLINED, f"callctl itself changed {whose} before ({done})")
        doing = claims.at_work_on(sid, beside=action.rule.name)
        if doing is not None:
            return Found(DECLINED, f"callctl itself is changing {whose} ({doing})")
    return None


def _counts(done: ActionEvent, action: Action) -> bool:
    """Tell whether callctl changed a leg by this: also by a TimeLimit, if the leg that ended lasted that long."""
    if done.action != "limit" or done.call_sid != action.about or done.result not in (DONE, UNKNOWN):
        return done.may_have_changed_it
    seconds = next((int(value) for name, value in done.request if name == "TimeLimit" and value.isdecimal()), 0)
    return action.lasted is None or action.lasted >= seconds
