"""How a leg ended and by whom, as far as events and actions show it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from callctl.calls.action import DONE, UNKNOWN, ActionEvent, left_dial_by
from callctl.calls.call import CallStatus
from callctl.calls.leg import Leg
from callctl.support.dates import parse_int

if TYPE_CHECKING:
    from callctl.api.resources import Notification

# Who or what ended a leg. The words are in JSON and in CSV.
NOBODY: Final = "nobody"  # it has not ended, as far as was reported
COMMAND: Final = "command"
RULE: Final = "rule"
FAR_END: Final = "far-end"  # the phone at its end: it hung up, was busy, or did not answer
TWILIO: Final = "twilio"  # it could not be connected, or was ended with an error
FAMILY: Final = "family"  # another leg of its family: that one ended, or was answered first
UNCLEAR: Final = "unclear"  # callbacks do not say

# A hang-up is carried out at once, and its callback arrives within seconds; more, where callbacks are held up.
_EFFECT = timedelta(seconds=60)
# A redirected parent drops its child in less than a second (docs/twilio.md, "Redirects and the other leg"), and
# Timestamps are whole seconds. So it is with a parent that ends, and with one whose Dial is over and nothing follows.
_REDIRECT_EFFECT = timedelta(seconds=10)
_TOGETHER = timedelta(seconds=1)
_REQUEST_FAILED: Final = "112"  # how the codes begin of requests of Twilio's that failed: for TwiML, or a callback
_AHEAD = timedelta(seconds=10)  # how far this machine's clock may be

# RFC 3261, 21: the reason phrases of what callers meet most.
SIP_MEANINGS: Final = {
    "400": "bad request",
    "401": "unauthorized",
    "403": "forbidden",
    "404": "not found",
    "405": "method not allowed",
    "407": "proxy authentication required",
    "408": "request timeout",
    "410": "gone",
    "415": "unsupported media type",
    "480": "temporarily unavailable",
    "481": "call does not exist",
    "482": "loop detected",
    "483": "too many hops",
    "484": "address incomplete",
    "485": "ambiguous",
    "486": "busy here",
    "487": "request terminated",
    "488": "not acceptable here",
    "500": "server internal error",
    "501": "not implemented",
    "502": "bad gateway",
    "503": "service unavailable",
    "504": "server time-out",
    "600": "busy everywhere",
    "603": "decline",
    "604": "does not exist anywhere",
    "606": "not acceptable",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a leg ended: when, by whom or what (``by`` is one of the words above), and the same as a sentence.

    The sentence begins with words of its own, never with a number or a name: a spreadsheet takes ``+1…`` for a formula.
    ``who`` is the name of the rule or ``user@host`` of a command, where that is known.
    """

    at: datetime | None
    by: str
    words: str
    who: str | None = None


# The codes that say no more than the status, or that the call was no longer needed.
_EXPECTED: Final = {
    CallStatus.COMPLETED.value: ("200",),
    CallStatus.BUSY.value: ("486", "600"),
    CallStatus.NO_ANSWER.value: ("487", "408"),
    CallStatus.CANCELED.value: ("487",),
}


def unexpected_sip(status: str, code: str | None) -> str:
    """Return the SIP code of an end in words if it says more than the status, else nothing."""
    return "" if code is None or code in _EXPECTED.get(status, ()) else sip_words(code)


def sip_words(code: str) -> str:
    """Return a SIP code with what it means: ``SIP 404 (not found)``."""
    meaning = SIP_MEANINGS.get(code)
    return f"SIP {code} ({meaning})" if meaning else f"SIP {code}"


def far_end(leg: Leg) -> str:
    """Return the other end of a leg: the caller of an inbound one, else who is called."""
    return (leg.from_ if leg.direction == "inbound" else leg.to) or "the other end"


def actor(action: ActionEvent) -> str:
    """Return who made a request: ``rule ring-limit``, ``ann@ops``, or ``a command``."""
    return f"rule {action.rule}" if action.rule else action.by or "a command"


def action_words(action: str) -> str:
    """Return what an action is called in a sentence: a limit alone would not say of what."""
    return {"limit": "time limit"}.get(action, action)


def ending_of(
    leg: Leg,
    *,
    arrived: datetime | None,
    legs: Sequence[Leg],
    actions: Iterable[ActionEvent],
    notes: Iterable[Notification] = (),
    joined: Collection[str] = (),
    is_reported: bool = True,
) -> Ending:
    """Return how a leg ended.

    A child that left its ``<Dial>`` ends apart from its parent, whose Dial was over then.

    Args:
        leg: The leg.
        arrived: When the report of its end arrived: by the clock of this machine, as are the times of actions.
        legs: All legs of its family.
        actions: What commands and rules did to the family.
        notes: The errors and warnings that Twilio noted for the leg.
        joined: The SIDs of the legs that joined a conference: a child was redirected there, by whomever.
        is_reported: Whether a callback of its end arrived.
    """
    if leg.is_live:
        return Ending(None, NOBODY, "not over when it was last reported")
    known = list(actions)
    out_of_dial = _left_dial(legs, known, joined)
    action = _action_of(leg, arrived or leg.last_event_at, known, legs=legs, out_of_dial=out_of_dial)
    if action is not None:
        return _by_action(leg, action)
    if leg.status == CallStatus.COMPLETED:
        ending = _completed(leg, legs, out_of_dial)
    else:
        ending = _BY_STATUS.get(leg.status, _unclear)(leg, legs)
    if ending.by != UNCLEAR or (error := _error_of(leg, notes)) is None:
        return ending
    named = f"error {error.code or ''}: {error.message}"
    if not is_reported and (error.code or "").startswith(_REQUEST_FAILED):  # perhaps that of the missing callback
        return replace(ending, words=f"{ending.words}, or ended with {named}")
    return Ending(leg.ended_at, TWILIO, f"ended with {named}")


def _error_of(leg: Leg, notes: Iterable[Notification]) -> Notification | None:
    """Return the error that ended a leg, such as TwiML that can't be fetched: Twilio then hangs up.

    A status callback that can't be delivered has the same code (docs/twilio.md, "Notifications"), and ends nothing.
    So an error does not count if it came after the end, or if the same URL had one that the call outlived.
    """
    errors = [(note, note.date) for note in notes if note.level == "error" and note.date is not None]
    outlived = {note.request_url for note, at in errors if not _is_near(at, leg)} - {None}
    for note, at in errors:
        if _is_near(at, leg) and not _is_after(at, leg) and note.request_url not in outlived:
            return note
    return None


def _left_dial(legs: Sequence[Leg], actions: Sequence[ActionEvent], joined: Collection[str]) -> frozenset[str]:
    """Return the children that left their ``<Dial>``: those that were redirected, or that outlived their parent.

    Others than callctl redirect calls too. A child that did not leave is dropped with its parent in about a second.
    """
    parents = {leg.call_sid: leg for leg in legs}
    return frozenset(
        child.call_sid
        for child in legs
        if child.parent_call_sid is not None
        and (
            child.call_sid in joined
            or left_dial_by(child.call_sid, actions) is not None
            or _outlived(child, parents.get(child.parent_call_sid))
        )
    )


def _outlived(child: Leg, parent: Leg | None) -> bool:
    if parent is None or parent.ended_at is None or child.ended_at is None:
        return False
    return child.answered_at is not None and child.ended_at - parent.ended_at >= _REDIRECT_EFFECT


def _action_of(
    leg: Leg, arrived: datetime, actions: Sequence[ActionEvent], *, legs: Sequence[Leg], out_of_dial: Collection[str]
) -> ActionEvent | None:
    """Return the latest request that explains the end of a leg."""
    if leg.status in (CallStatus.BUSY, CallStatus.FAILED):
        return None  # no request does that
    explaining = [
        action
        for action in actions
        if action.at <= arrived and _explains(action, leg, has_left=leg.call_sid in out_of_dial)
    ]
    if leg.status == CallStatus.COMPLETED and not explaining:
        explaining = [action for action in _ends_of_dial(leg, actions, legs=legs) if action.at <= arrived]
    return max(explaining, key=lambda action: action.at, default=None)


def _ends_of_dial(leg: Leg, actions: Sequence[ActionEvent], *, legs: Sequence[Leg]) -> list[ActionEvent]:
    """Return the redirects by which children left this leg just before it ended.

    It ends where nothing follows its Dial. A redirect of its own gives it something else.
    """
    redirects = [left_dial_by(child.call_sid, actions) for child in legs if child.parent_call_sid == leg.call_sid]
    own = max(
        (action.at for action in actions if action.call_sid == leg.call_sid and action.may_have_changed_it),
        default=None,
    )
    return [
        redirect
        for redirect in redirects
        if redirect is not None
        and (own is None or own < redirect.at)
        and -_AHEAD < (leg.ended_at or leg.last_event_at) - redirect.at < _REDIRECT_EFFECT
    ]


def _explains(action: ActionEvent, leg: Leg, *, has_left: bool) -> bool:
    is_own = action.call_sid == leg.call_sid
    is_of_parent = action.call_sid == leg.parent_call_sid and not has_left
    if action.result not in (DONE, UNKNOWN) or not (is_own or is_of_parent):
        return False
    # An end is timed by Twilio's clock. This machine's may be ahead, so that the request seems to come after it.
    passed = (leg.ended_at or leg.last_event_at) - action.at
    if action.action == "limit":
        limit = parse_int(dict(action.request).get("TimeLimit"))
        return is_own and limit is not None and leg.duration is not None and leg.duration >= limit - 1
    if action.action == "redirect":
        return not is_own and -_AHEAD < passed < _REDIRECT_EFFECT
    return action.may_have_ended_it and -_AHEAD < passed < _EFFECT


def _by_action(leg: Leg, action: ActionEvent) -> Ending:
    by = f"by {actor(action)}" if action.rule or action.by else "by a command"
    maybe = " (probably: no answer to the request was recorded)" if action.result == UNKNOWN else ""
    is_own = action.call_sid == leg.call_sid
    if action.action == "limit":
        words = f"its time limit was reached, set {by}"
    elif action.action == "redirect" and action.call_sid != leg.parent_call_sid:
        words = f"over when the call it dialled was redirected {by}"
    elif action.action == "redirect":
        words = f"dropped when the call that dialled it was redirected {by}"
    else:
        verb = "canceled" if leg.status == CallStatus.CANCELED else "hung up"
        words = f"{verb} {by}" if is_own else f"{verb} with the call that dialled it, {by}"
    return Ending(leg.ended_at, RULE if action.rule else COMMAND, words + maybe, action.rule or action.by)


def _busy(leg: Leg, _legs: Sequence[Leg]) -> Ending:
    return Ending(leg.ended_at, FAR_END, f"busy at {far_end(leg)}{_sip(leg)}")


def _no_answer(leg: Leg, _legs: Sequence[Leg]) -> Ending:
    return Ending(leg.ended_at, FAR_END, f"no answer from {far_end(leg)}{_sip(leg)}")


def _failed(leg: Leg, _legs: Sequence[Leg]) -> Ending:
    return Ending(leg.ended_at, TWILIO, f"could not be connected{_sip(leg)}")


def _canceled(leg: Leg, legs: Sequence[Leg]) -> Ending:
    sibling = next(
        (each for each in _siblings(leg, legs) if each.answered_at and _is_near(each.answered_at, leg)), None
    )
    if sibling is not None:
        return Ending(leg.ended_at, FAMILY, f"no longer needed: {far_end(sibling)} answered first")
    if _ended_with_parent(leg, legs):
        return Ending(leg.ended_at, FAMILY, "canceled with the call that dialled it")
    return Ending(leg.ended_at, UNCLEAR, "canceled before it was answered, not by callctl")


def _completed(leg: Leg, legs: Sequence[Leg], out_of_dial: Collection[str]) -> Ending:
    if leg.parent_call_sid is not None and leg.call_sid not in out_of_dial:
        return _completed_child(leg, legs)
    children = [child for child in legs if child.parent_call_sid == leg.call_sid]
    stayed = [child for child in children if child.call_sid not in out_of_dial]
    if leg.ended_at and any(child.answered_at and child.ended_at and child.ended_at > leg.ended_at for child in stayed):
        return Ending(leg.ended_at, FAR_END, f"hung up by {far_end(leg)}, it seems")
    if any(child.ended_at and _is_near(child.ended_at, leg) for child in children) and not any(
        map(_was_answered, children)
    ):
        return Ending(leg.ended_at, FAMILY, "over when nobody was reached")
    return Ending(leg.ended_at, UNCLEAR, f"hung up by {far_end(leg)}, or its TwiML was over")


def _completed_child(leg: Leg, legs: Sequence[Leg]) -> Ending:
    parent = next((other for other in legs if other.call_sid == leg.parent_call_sid), None)
    if parent is None or parent.ended_at is None or leg.ended_at is None or leg.ended_at < parent.ended_at:
        return Ending(leg.ended_at, FAR_END, f"hung up by {far_end(leg)}, it seems")
    if leg.ended_at > parent.ended_at:
        return Ending(leg.ended_at, FAMILY, "ended with the call that dialled it")
    return Ending(leg.ended_at, UNCLEAR, "ended in the same second as the call that dialled it")


def _was_answered(leg: Leg) -> bool:
    return leg.answered_at is not None or leg.status == CallStatus.COMPLETED


def _unclear(leg: Leg, _legs: Sequence[Leg]) -> Ending:
    return Ending(leg.ended_at, UNCLEAR, "ended")


_BY_STATUS = {
    CallStatus.BUSY.value: _busy,
    CallStatus.NO_ANSWER.value: _no_answer,
    CallStatus.FAILED.value: _failed,
    CallStatus.CANCELED.value: _canceled,
}


def _siblings(leg: Leg, legs: Sequence[Leg]) -> list[Leg]:
    same = [other for other in legs if other.parent_call_sid == leg.parent_call_sid and other.call_sid != leg.call_sid]
    return [] if leg.parent_call_sid is None else same


def _is_near(moment: datetime, leg: Leg) -> bool:
    return leg.ended_at is not None and abs(leg.ended_at - moment) <= _TOGETHER


def _is_after(moment: datetime, leg: Leg) -> bool:
    return leg.ended_at is not None and moment > leg.ended_at


def _ended_with_parent(leg: Leg, legs: Sequence[Leg]) -> bool:
    parent = next((other for other in legs if other.call_sid == leg.parent_call_sid), None)
    if parent is None or parent.ended_at is None or leg.ended_at is None:
        return False
    return parent.ended_at <= leg.ended_at


def _sip(leg: Leg) -> str:
    words = unexpected_sip(leg.status, leg.sip_response_code)
    return f": {words}" if words else ""
