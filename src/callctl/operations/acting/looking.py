"""Looking before acting: is the leg still as the rule wants it, and has nobody else been there?"""

from __future__ import annotations

from callctl.actions import DECLINED, LATE
from callctl.calls import CallStatus
from callctl.operations.acting.needs import Claims, Door, Found
from callctl.policies import Action


def why_not(door: Door, claims: Claims, action: Action) -> Found | None:
    """Return why an action must not be done, or None: up to two requests, neither of which changes anything.

    Raises:
        CallctlError: The API or the store could not be asked.
    """
    if action.rule.follows_dial and (found := _taken_care_of(claims, action)):
        return found
    if not action.look_first:
        return None
    call = door.fetch(action.call_sid)
    if call.status not in action.rule.target_statuses:
        return Found(LATE, _too_late(call.status), call.status)
    if action.rule.follows_dial and any(child.sid != action.about for child in door.live_children(action.call_sid)):
        return Found(DECLINED, "it has another live leg", call.status)
    return None


def _taken_care_of(claims: Claims, action: Action) -> Found | None:
    name = claims.dial_action(action.call_sid)
    if name is not None:
        return Found(DECLINED, f"its own Dial sends it to {name} (place --then)")
    for sid, whose in ((action.call_sid, "it"), (action.about, "the leg that ended")):
        done = next((one for one in claims.asked_of(sid) if one.may_have_changed_it), None)
        if done is not None:
            return Found(DECLINED, f"callctl itself changed {whose} before ({done.action})")
    return None


def _too_late(status: str) -> str:
    if status == CallStatus.IN_PROGRESS:
        return "it was answered meanwhile and left alone"
    return f"the call got there first: it is {status}"
