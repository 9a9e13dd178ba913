"""Redirecting a call: what that does to its other leg, and what to say when it is refused."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from callctl.api.calls_api import CallsApi
from callctl.api.requests import RedirectRequest
from callctl.calls.call import Call, CallStatus, Direction
from callctl.calls.leg import Leg
from callctl.errors import (
    CallctlError,
    ConditionNotMetError,
    NotInProgressError,
    UnknownCallError,
    WrongCallStateError,
)
from callctl.operations.family import CallAndChildren, ReportedFamilies, fetch_with_family, live_children
from callctl.operations.reported_status import with_reported_status
from callctl.operations.sent_request import SentRequest
from callctl.support.backoff import repeating, with_pauses
from callctl.support.dates import time_of_day

if TYPE_CHECKING:
    from callctl.support.clock import Clock

# How long REST may refuse a call that callbacks say is in progress, in seconds.
LAG = 2.0
# What a redirect of the parent does besides (docs/twilio.md, "Redirects and the other leg").
NOTHING_FOLLOWS_DIAL = "its Dial has no action, and no verb behind it"
ACTION_IS_REQUESTED = "and the Dial's action, if it has one, is requested as well"


@dataclass(frozen=True, slots=True)
class OtherLeg:
    """What a redirect does to the other leg of a ``<Dial>``.

    ``relation`` is what that leg is to the redirected one: child or parent. ``goes_on`` says whether it can be
    redirected afterwards.
    """

    sid: str
    relation: str
    effect: str
    goes_on: bool = True


class KnownLegs(Protocol):
    """What is known here of legs, from the store."""

    def redirected_at(self, sid: str) -> datetime | None:
        """Return when a child leg was redirected, and so left its ``<Dial>``; None if that is not known."""

    def dial_action(self, sid: str) -> str | None:
        """Return where a call goes when its ``<Dial>`` is over; empty if it hangs up then, None if it is not known."""


def preview(call: CallAndChildren, *, known: KnownLegs) -> list[OtherLeg]:
    """Return what happens to the other legs when a call is redirected: nothing, if it is over or they are.

    Source: docs/twilio.md, "Redirects and the other leg".
    """
    if call.call.is_final:
        return []
    if call.children:
        return [_of_child(child, known.redirected_at(child.sid)) for child in call.children]
    if call.parent_sid is not None and not call.is_parent_over:
        child, parent = call.call.sid, call.parent_sid
        goes_on = known.redirected_at(child) is not None or known.dial_action(parent) != ""
        effect = effect_on_parent(known, child, parent=parent, is_live=call.is_parent_live)
        return [OtherLeg(parent, "parent", effect, goes_on)]
    return []


def children_in_dial(parents: Mapping[str, str | None], *, known: KnownLegs) -> dict[str, list[str]]:
    """Return those of some legs whose redirect ends the ``<Dial>`` of another one of them, by the SID of that one.

    ``parents`` are the legs, each with its parent.
    """
    in_dial: dict[str, list[str]] = {}
    for child, parent in parents.items():
        if parent in parents and parent is not None and known.redirected_at(child) is None:
            in_dial.setdefault(parent, []).append(child)
    return in_dial


def check_both_legs(parents: Mapping[str, str | None], *, known: KnownLegs, command: Callable[[str], str]) -> None:
    """Make sure that no parent is known to hang up before its turn, where its child is redirected first.

    There is no order in which both legs of such a ``<Dial>`` get there: the child drops where its parent is the first
    (docs/twilio.md, "Redirects and the other leg").

    Args:
        parents: The legs that are to be redirected, each with its parent.
        known: What is known of them.
        command: Returns the command that redirects one leg to the same.

    Raises:
        ConditionNotMetError: One is.
    """
    for parent, children in children_in_dial(parents, known=known).items():
        if known.dial_action(parent) == "":
            child = children[0]
            raise ConditionNotMetError(
                f"{parent} would hang up before its turn, and {child} be alone: callctl gave it a <Dial> with no "
                "action and no verb behind, which ends as the child leaves it",
                hint="nothing was sent. Place such a call with --then URL; of this one, "
                f"`{command(child)}` moves the child and `{command(parent)}` the parent, and either loses the other",
            )


@dataclass(frozen=True, slots=True)
class Conversation:
    """Who talk to each other by a ``<Dial>``: the leg that dialled, and those that it dialled and that are answered.

    ``left`` has the live child legs that are known to have left the ``<Dial>``, and when. Those of them that belong to
    the conversation all the same are among the children; the others stay where they are.
    """

    parent: Call
    children: tuple[Call, ...]
    left: Mapping[str, datetime]

    @property
    def staying(self) -> Mapping[str, datetime]:
        """The legs that stay where they are, and when each left the ``<Dial>``."""
        moved = {child.sid for child in self.children}
        return {sid: left_at for sid, left_at in self.left.items() if sid not in moved}


def conversation_of(
    api: CallsApi, sid: str, *, named: Collection[str], known: KnownLegs, reported: ReportedFamilies
) -> Conversation:
    """Return who talk to each other, whichever leg is named.

    A child leg that left the ``<Dial>`` talks to somebody else by now. It counts where it is named, where it is the
    only one, and where it is in the parent's conference.

    Args:
        api: The API client.
        sid: One of the legs.
        named: All legs that the user named.
        known: What is known of legs.
        reported: What callbacks reported of families.

    Raises:
        UnknownCallError: The leg has no other one, or several that have left the ``<Dial>``.
        NotInProgressError: One of them can't be redirected: it rings, or it is over.
    """
    call, head, legs = fetch_with_family(api, sid, reported=reported)
    parent = call if head == sid else with_reported_status(api.fetch(head), legs.get(head))
    children = list(live_children(api, head, legs, reported=reported))
    if parent.is_final or call.is_final:
        over = parent if parent.is_final else call
        raise NotInProgressError(
            f"{over.sid} is {over.status}: there is no conversation to move",
            hint="`callctl list --live --tree` shows who talks to whom",
        )
    if call is not parent and all(child.sid != sid for child in children):
        children.insert(0, call)  # REST's list is behind
    if not children:
        raise UnknownCallError(
            f"{sid} has no other leg: no <Dial> is under way in it", hint="leave out --family to redirect it alone"
        )
    left = {child.sid: at for child in children if (at := known.redirected_at(child.sid)) is not None}
    meant = [
        child
        for child in children
        if child.sid not in left
        or child.sid in named
        or len(children) == 1
        or _are_in_one_conference(legs.get(head), legs.get(child.sid))
    ]
    if not meant:
        raise UnknownCallError(
            f"{parent.sid} talks to nobody by a <Dial>: its child legs {', '.join(left)} were redirected out of it",
            hint="leave out --family to redirect it alone, or name the child that shall go along",
        )
    talking = tuple(child for child in meant if child.status == CallStatus.IN_PROGRESS)
    if not talking:
        raise NotInProgressError(
            f"{parent.sid} talks to nobody yet: its child leg {meant[0].sid} is {meant[0].status}",
            hint=f"`callctl wait {shlex.quote(meant[0].sid)} --for answered` waits until it can be redirected",
        )
    return Conversation(parent, talking, left)


def _are_in_one_conference(first: Leg | None, second: Leg | None) -> bool:
    rooms = [leg.conference for leg in (first, second) if leg is not None and leg.verified and leg.conference]
    return len(rooms) == 2 and rooms[0].conference_sid == rooms[1].conference_sid


def _of_child(child: Call, redirected_at: datetime | None) -> OtherLeg:
    if redirected_at is not None:
        return OtherLeg(child.sid, "child", child_goes_on(redirected_at))
    effect = f"{_doing(child)}: drops, {ACTION_IS_REQUESTED}"
    return OtherLeg(child.sid, "child", effect, goes_on=False)


def child_goes_on(redirected_at: datetime) -> str:
    """Return what a child does that was redirected some time before its parent is redirected or ended."""
    return f"goes on: {_left_dial(redirected_at)}"


def child_stays(left_at: datetime) -> str:
    """Return what a child does that left the ``<Dial>`` before those who talk there are moved."""
    return f"stays where it is: {_left_dial(left_at)}"


def _left_dial(left_at: datetime) -> str:
    return f"it was redirected out of the Dial at {time_of_day(left_at)}"


def effect_on_parent(known: KnownLegs, child: str, *, parent: str, is_live: bool) -> str:
    """Return what the parent does once this child is gone, unless it left the ``<Dial>`` before.

    ``is_live`` is whether it is known to be live: a child that left the ``<Dial>`` may have outlived it.
    """
    effect = _effect_on_live_parent(known, child, parent=parent)
    return effect if is_live else f"if it is live, {effect}"


def _effect_on_live_parent(known: KnownLegs, child: str, *, parent: str) -> str:
    redirected_at = known.redirected_at(child)
    if redirected_at is not None:
        return f"goes on: this leg was redirected out of its Dial at {time_of_day(redirected_at)}"
    action = known.dial_action(parent)
    if action is not None:
        return f"goes on with the Dial's action, {action}" if action else f"hangs up: {NOTHING_FOLLOWS_DIAL}"
    return "goes on with the Dial's action, else with its next verb, else hangs up"


def whose_phone(call: Call) -> str:
    """Say whose phone a leg is, from its direction."""
    match call.direction:
        case Direction.INBOUND:
            return f"the phone of the caller, {call.from_ or 'unknown'}"
        case Direction.OUTBOUND_DIAL:
            return f"the phone that <Dial> called, {call.to or 'unknown'} ({call.direction})"
        case _:
            return f"the phone that was called, {call.to or 'unknown'} ({call.direction or 'direction unknown'})"


def _doing(call: Call) -> str:
    verb = {CallStatus.IN_PROGRESS.value: "talking to", CallStatus.RINGING.value: "ringing"}.get(call.status)
    return f"{verb} {call.to}" if verb else f"{call.status}, to {call.to}"


class Taken(NamedTuple):
    """A call whose redirect the API took, as it is now; ``was_over``: it had ended before the request."""

    call: Call
    was_over: bool


def redirect(
    api: CallsApi,
    sid: str,
    request: RedirectRequest,
    *,
    command: str,
    reported: Callable[[], Leg | None],
    sleep: Callable[[float], None],
    monotonic: Callable[[], float],
    clock: Clock,
) -> Call:
    """Redirect a call; while callbacks say that it is in progress and REST does not yet, try for up to two seconds.

    A refused redirect was not carried out, so that it may be sent again.

    Args:
        api: The API client.
        sid: The call.
        request: What it shall run.
        command: The command line that requested it, for the hint.
        reported: Returns the call's leg as callbacks reported it, or None.
        sleep: Waits for some seconds.
        monotonic: A clock that only goes on, in seconds.
        clock: This machine's clock.

    Raises:
        WrongCallStateError: It was refused; the message says what the call does now, the hint what would work.
        NotInProgressError: The API took it for a call that was over.
        OutcomeUnknownError: No answer came; the call may have been redirected.
    """
    work = redirecting(api, sid, request, command=command, reported=reported, monotonic=monotonic, clock=clock)
    return with_pauses(work, sleep=sleep)


def redirecting(
    api: CallsApi,
    sid: str,
    request: RedirectRequest,
    *,
    command: str,
    reported: Callable[[], Leg | None],
    monotonic: Callable[[], float],
    clock: Clock,
) -> Generator[float, None, Call]:
    """Do what ``redirect`` does, and yield the pauses, in seconds, instead of sleeping."""

    def attempt() -> Taken | WrongCallStateError:
        try:
            return send_redirect(api, sid, request, reported=reported, clock=clock)
        except WrongCallStateError as error:
            return error

    def will_do(answer: Taken | WrongCallStateError) -> bool:
        if isinstance(answer, Taken):
            return True
        leg = reported()
        return leg is None or leg.status != CallStatus.IN_PROGRESS

    answer = yield from repeating(attempt, done=will_do, limit=LAG, monotonic=monotonic)
    if isinstance(answer, Taken):
        if answer.was_over:
            raise _taken_in_vain(answer.call, command=command, leg=reported(), now=clock.wall())
        return answer.call
    leg = reported()
    # A call that REST shows as in progress has ended, most likely, and REST is behind.
    patience = 0.0 if leg is not None and leg.status == CallStatus.IN_PROGRESS else LAG
    try:
        call = yield from repeating(
            lambda: with_reported_status(api.fetch(sid), reported()),
            done=lambda call: call.status != CallStatus.IN_PROGRESS,
            limit=patience,
            monotonic=monotonic,
        )
    except CallctlError:
        raise answer from None  # the refusal is what counts
    raise refused(answer, call, command=command, leg=reported(), now=clock.wall()) from answer


def send_redirect(
    api: CallsApi, sid: str, request: RedirectRequest, *, reported: Callable[[], Leg | None], clock: Clock
) -> Taken:
    """Redirect a call, once.

    Raises:
        WrongCallStateError: It was refused.
        OutcomeUnknownError: No answer came; the call may have been redirected.
    """
    before = reported()
    sent = SentRequest(clock)
    answer = api.redirect(sid, request)
    leg = reported()
    call = with_reported_status(answer, leg)
    was_reported = before is not None and before.verified and before.is_final
    # A call that was in progress can only be completed; by a short document it may be as soon as the reply.
    never_talked = call.is_final and call.status != CallStatus.COMPLETED
    return Taken(call, was_reported or never_talked or sent.came_after_end(call, leg))


def refused(
    error: WrongCallStateError, call: Call, *, command: str, leg: Leg | None, now: datetime
) -> WrongCallStateError:
    """Return the refusal with what the call does now, since when if that was reported, and what would work."""
    call = with_reported_status(call, leg)
    # Callbacks have Twilio's time stamps, so the date of its reply counts, if it has one.
    since = _since(leg, call.status, now=call.as_of or now)
    if call.status == CallStatus.IN_PROGRESS:
        reported = f"callbacks reported that it is{since}" if since else "REST still shows it as in-progress"
        return error.reworded(
            f"{call.sid} can't be redirected: Twilio says that it is not in progress, though {reported}",
            hint=f"it has just ended, or was just answered: see `callctl show {call.sid}`; if it is live, try again",
        )
    return error.reworded(
        f"{call.sid} can't be redirected: it is {call.status}{since}",
        hint=_what_works(call, call.status, command=command),
    )


def _taken_in_vain(call: Call, *, command: str, leg: Leg | None, now: datetime) -> NotInProgressError:
    since = _since(leg, call.status, now=call.as_of or now)
    return NotInProgressError(
        f"{call.sid} can't be redirected: it is {call.status}{since}, though the API took the request",
        hint=_what_works(call, call.status, command=command),
    )


def _since(leg: Leg | None, status: str, *, now: datetime) -> str:
    if leg is None or leg.status != status:
        return ""
    seconds = (now - leg.status_since).total_seconds()
    return f", since {time_of_day(leg.status_since)} ({max(0, round(seconds))} s ago)"


def _what_works(call: Call, status: str, *, command: str) -> str:
    if status in (CallStatus.QUEUED, CallStatus.INITIATED, CallStatus.RINGING):
        return f"`{command} --when answered` waits until it can be; `callctl hangup {call.sid}` ends it"
    if call.parent_call_sid is not None:
        return f"its parent may not be over: `callctl show {shlex.quote(call.parent_call_sid)}`"
    return "it is over; `callctl list --live` shows the calls that can be redirected"
