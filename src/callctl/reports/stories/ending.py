"""How a leg ended and by whom, as far as events and actions show it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from callctl.calls.action import DONE, UNKNOWN, ActionEvent
from callctl.calls.call import CallStatus, is_final
from callctl.calls.leg import Leg
from callctl.support.parsing import parse_int

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


class Endings:
    """How the legs of one family ended.

    What a leg's end is explained by, its relatives and the requests to change it, is sorted once for all legs: a call
    may have dialled a thousand.
    """

    def __init__(self, legs: Sequence[Leg], actions: Iterable[ActionEvent], *, joined: Collection[str] = ()) -> None:
        """Begin with all legs of a family.

        Args:
            legs: All legs of the family.
            actions: What commands and rules did to it.
            joined: The SIDs of the legs that joined a conference: a child was redirected there, by whomever.
        """
        self._requests = _Requests(actions)
        self._family = _Relatives(legs, self._requests, joined)

    def of(
        self,
        leg: Leg,
        *,
        arrived: datetime | None,
        notes: Iterable[Notification] = (),
        is_reported: bool = True,
    ) -> Ending:
        """Return how a leg ended.

        A child that left its ``<Dial>`` ends apart from its parent, whose Dial was over then.

        Args:
            leg: The leg.
            arrived: When the report of its end arrived: by the clock of this machine, as are the times of actions.
            notes: The errors and warnings that Twilio noted for the leg.
            is_reported: Whether a callback of its end arrived.
        """
        if leg.is_live:
            return Ending(None, NOBODY, "not over when it was last reported")
        action = _action_of(leg, arrived or leg.last_event_at, self._requests, self._family)
        if action is not None:
            return _by_action(leg, action)
        ending = _BY_STATUS.get(leg.status, _unclear)(leg, self._family)
        if ending.by != UNCLEAR or (error := _error_of(leg, notes)) is None:
            return ending
        named = f"error {error.code or ''}: {error.message}"
        if not is_reported and (error.code or "").startswith(_REQUEST_FAILED):  # perhaps that of the missing callback
            return replace(ending, words=f"{ending.words}, or ended with {named}")
        return Ending(leg.ended_at, TWILIO, f"ended with {named}")


class _Requests:
    """The requests that were done to the legs of a family, or may have been, by leg and by what they explain."""

    def __init__(self, actions: Iterable[ActionEvent]) -> None:
        self._ends: dict[str, list[ActionEvent]] = {}  # hang-ups and cancels, by time
        self._ends_done: dict[str, list[ActionEvent]] = {}  # of them those that were done, in the store's order
        self._redirects: dict[str, list[ActionEvent]] = {}  # by time
        self._limits: dict[str, list[ActionEvent]] = {}
        self._left_dial: dict[str, ActionEvent] = {}  # the first redirect that was done
        for action in actions:
            sid = action.call_sid
            if action.may_have_ended_it:
                self._ends.setdefault(sid, []).append(action)
                if action.result == DONE:
                    self._ends_done.setdefault(sid, []).append(action)
            elif action.may_have_changed_it:
                self._redirects.setdefault(sid, []).append(action)
                if action.result == DONE:
                    self._left_dial.setdefault(sid, action)
            elif action.action == "limit" and action.result in (DONE, UNKNOWN):
                self._limits.setdefault(sid, []).append(action)
        for requests in (*self._ends.values(), *self._redirects.values()):
            requests.sort(key=_at)

    def end(self, sid: str | None, *, of: Leg, arrived: datetime) -> ActionEvent | None:
        """Return the latest hang-up or cancel of a leg that the end of ``of`` may have come from."""
        return _latest(self._ends.get(sid or "", ()), of, arrived, within=_EFFECT)

    def end_done(self, leg: Leg) -> ActionEvent | None:
        """Return the hang-up or cancel by which a leg ended, as Twilio's answer to it shows, whatever its time.

        The clock of who sent it may be wrong. What is sent to a leg that is over is not done (``LATE``); a cancel that
        was only accepted may have come too late for a call that was answered.
        """
        return next(
            (
                action
                for action in self._ends_done.get(leg.call_sid, ())
                if action.action == "hangup" or is_final(action.status or "") or leg.status == CallStatus.CANCELED
            ),
            None,
        )

    def redirect(self, sid: str | None, *, of: Leg, arrived: datetime) -> ActionEvent | None:
        """Return the latest redirect of a leg that the end of ``of`` may have come from."""
        return _latest(self._redirects.get(sid or "", ()), of, arrived, within=_REDIRECT_EFFECT)

    def limits(self, sid: str) -> Sequence[ActionEvent]:
        """Return the time limits that were set for a leg."""
        return self._limits.get(sid, ())

    def left_dial(self, sid: str) -> ActionEvent | None:
        """Return the redirect by which a child leg left its ``<Dial>``, as ``left_dial_by`` does."""
        return self._left_dial.get(sid)

    def last_change(self, sid: str) -> datetime | None:
        """Return when a leg was last ended or given other TwiML."""
        last = [kind[sid][-1].at for kind in (self._ends, self._redirects) if sid in kind]
        return max(last, default=None)


_at = attrgetter("at")


def _latest(actions: Sequence[ActionEvent], leg: Leg, arrived: datetime, *, within: timedelta) -> ActionEvent | None:
    """Return the latest of these before the end of a leg was reported, if that was at most so long before its end.

    An end is timed by Twilio's clock. This machine's may be ahead, so that the request seems to come after it.
    """
    end = leg.ended_at or leg.last_event_at
    reached = min(
        bisect_right(actions, arrived, key=_at), bisect_left(actions, _AHEAD, key=lambda action: action.at - end)
    )
    return actions[reached - 1] if reached and end - actions[reached - 1].at < within else None


class _Relatives:
    """The legs of a family, by how they belong together."""

    def __init__(self, legs: Sequence[Leg], requests: _Requests, joined: Collection[str]) -> None:
        self._legs = {leg.call_sid: leg for leg in legs}
        self._children: dict[str, list[Leg]] = {}
        for leg in legs:
            if leg.parent_call_sid is not None:
                self._children.setdefault(leg.parent_call_sid, []).append(leg)
        # Those that were answered, with when, in that order.
        self._answers = {
            sid: sorted(
                ((child.answered_at, child) for child in children if child.answered_at is not None),
                key=lambda answer: answer[0],
            )
            for sid, children in self._children.items()
        }
        # Those that left their Dial: they were redirected, or outlived their parent. Others than callctl redirect calls
        # too. A child that did not leave is dropped with its parent in about a second.
        self.out_of_dial = frozenset(
            leg.call_sid
            for leg in legs
            if leg.parent_call_sid is not None
            and (
                leg.call_sid in joined
                or requests.left_dial(leg.call_sid) is not None
                or _outlived(leg, self.parent(leg))
            )
        )

    def parent(self, leg: Leg) -> Leg | None:
        """Return the parent leg, if it is known."""
        return None if leg.parent_call_sid is None else self._legs.get(leg.parent_call_sid)

    def children(self, leg: Leg) -> Sequence[Leg]:
        """Return the legs that a leg dialled."""
        return self._children.get(leg.call_sid, ())

    def answered_at_the_end_of(self, leg: Leg) -> Leg | None:
        """Return the leg beside this one that was answered just when this one ended, the first one."""
        end = leg.ended_at
        if end is None or leg.parent_call_sid is None:
            return None
        answers = self._answers[leg.parent_call_sid]
        first = bisect_left(answers, -_TOGETHER, key=lambda answer: answer[0] - end)
        near = (other for at, other in answers[first : first + 2] if at - end <= _TOGETHER)
        return next((other for other in near if other.call_sid != leg.call_sid), None)


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


def _outlived(child: Leg, parent: Leg | None) -> bool:
    if parent is None or parent.ended_at is None or child.ended_at is None:
        return False
    return child.answered_at is not None and child.ended_at - parent.ended_at >= _REDIRECT_EFFECT


def _action_of(leg: Leg, arrived: datetime, requests: _Requests, family: _Relatives) -> ActionEvent | None:
    """Return the latest request that explains the end of a leg."""
    if leg.status in (CallStatus.BUSY, CallStatus.FAILED):
        return None  # no request does that
    limits = [limit for limit in requests.limits(leg.call_sid) if limit.result == DONE or limit.at <= arrived]
    explaining = [
        *(limit for limit in limits if _is_reached(limit, leg)),
        requests.end(leg.call_sid, of=leg, arrived=arrived),
    ]
    if leg.call_sid not in family.out_of_dial:
        explaining.append(requests.end(leg.parent_call_sid, of=leg, arrived=arrived))
        explaining.append(requests.redirect(leg.parent_call_sid, of=leg, arrived=arrived))
    known = [action for action in explaining if action is not None]
    if not known and (done := _end_done(leg, requests, family)) is not None:
        return done
    if leg.status == CallStatus.COMPLETED and not known:
        known = _ends_of_dial(leg, requests, family)
    return max(known, key=_at, default=None)


def _end_done(leg: Leg, requests: _Requests, family: _Relatives) -> ActionEvent | None:
    """Return the hang-up or cancel that a leg ended by, or its parent just before it, whatever its time."""
    own, parent = requests.end_done(leg), family.parent(leg)
    if own is not None or parent is None or leg.call_sid in family.out_of_dial:
        return own
    if leg.ended_at is None or parent.ended_at is None:
        return None
    is_dropped = timedelta() <= leg.ended_at - parent.ended_at < _REDIRECT_EFFECT
    return requests.end_done(parent) if is_dropped else None


def _ends_of_dial(leg: Leg, requests: _Requests, family: _Relatives) -> list[ActionEvent]:
    """Return the redirects by which children left this leg just before it ended.

    It ends where nothing follows its Dial. A redirect of its own gives it something else.
    """
    redirects = [requests.left_dial(child.call_sid) for child in family.children(leg)]
    own = requests.last_change(leg.call_sid)
    return [
        redirect
        for redirect in redirects
        if redirect is not None
        and (own is None or own < redirect.at)
        and -_AHEAD < (leg.ended_at or leg.last_event_at) - redirect.at < _REDIRECT_EFFECT
    ]


def _is_reached(limit: ActionEvent, leg: Leg) -> bool:
    seconds = parse_int(dict(limit.request).get("TimeLimit"))
    return seconds is not None and leg.duration is not None and leg.duration >= seconds - 1


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


def _busy(leg: Leg, _family: _Relatives) -> Ending:
    return Ending(leg.ended_at, FAR_END, f"busy at {far_end(leg)}{_sip(leg)}")


def _no_answer(leg: Leg, _family: _Relatives) -> Ending:
    return Ending(leg.ended_at, FAR_END, f"no answer from {far_end(leg)}{_sip(leg)}")


def _failed(leg: Leg, _family: _Relatives) -> Ending:
    return Ending(leg.ended_at, TWILIO, f"could not be connected{_sip(leg)}")


def _canceled(leg: Leg, family: _Relatives) -> Ending:
    sibling = family.answered_at_the_end_of(leg)
    if sibling is not None:
        return Ending(leg.ended_at, FAMILY, f"no longer needed: {far_end(sibling)} answered first")
    if _ended_with_parent(leg, family.parent(leg)):
        return Ending(leg.ended_at, FAMILY, "canceled with the call that dialled it")
    return Ending(leg.ended_at, UNCLEAR, "canceled before it was answered, not by callctl")


def _completed(leg: Leg, family: _Relatives) -> Ending:
    if leg.parent_call_sid is not None and leg.call_sid not in family.out_of_dial:
        return _completed_child(leg, family.parent(leg))
    children = family.children(leg)
    stayed = [child for child in children if child.call_sid not in family.out_of_dial]
    if leg.ended_at and any(child.answered_at and child.ended_at and child.ended_at > leg.ended_at for child in stayed):
        return Ending(leg.ended_at, FAR_END, f"hung up by {far_end(leg)}, it seems")
    if any(child.ended_at and _is_near(child.ended_at, leg) for child in children) and not any(
        map(_was_answered, children)
    ):
        return Ending(leg.ended_at, FAMILY, "over when nobody was reached")
    return Ending(leg.ended_at, UNCLEAR, f"hung up by {far_end(leg)}, or its TwiML was over")


def _completed_child(leg: Leg, parent: Leg | None) -> Ending:
    if parent is None or parent.ended_at is None or leg.ended_at is None or leg.ended_at < parent.ended_at:
        return Ending(leg.ended_at, FAR_END, f"hung up by {far_end(leg)}, it seems")
    if leg.ended_at > parent.ended_at:
        return Ending(leg.ended_at, FAMILY, "ended with the call that dialled it")
    return Ending(leg.ended_at, UNCLEAR, "ended in the same second as the call that dialled it")


def _was_answered(leg: Leg) -> bool:
    return leg.answered_at is not None or leg.status == CallStatus.COMPLETED


def _unclear(leg: Leg, _family: _Relatives) -> Ending:
    return Ending(leg.ended_at, UNCLEAR, "ended")


_BY_STATUS = {
    CallStatus.COMPLETED.value: _completed,
    CallStatus.BUSY.value: _busy,
    CallStatus.NO_ANSWER.value: _no_answer,
    CallStatus.FAILED.value: _failed,
    CallStatus.CANCELED.value: _canceled,
}


def _is_near(moment: datetime, leg: Leg) -> bool:
    return leg.ended_at is not None and abs(leg.ended_at - moment) <= _TOGETHER


def _is_after(moment: datetime, leg: Leg) -> bool:
    return leg.ended_at is not None and moment > leg.ended_at


def _ended_with_parent(leg: Leg, parent: Leg | None) -> bool:
    if parent is None or parent.ended_at is None or leg.ended_at is None:
        return False
    return parent.ended_at <= leg.ended_at


def _sip(leg: Leg) -> str:
    words = unexpected_sip(leg.status, leg.sip_response_code)
    return f": {words}" if words else ""
