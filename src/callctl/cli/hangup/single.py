"""Ending one call, and the outcome in words: for ``hangup`` of one call and of many."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple

from callctl.calls.call import CallStatus
from callctl.cli.io.results import Outcome, show_alone, show_among_others
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options.history import History
from callctl.errors import NoLongerWantedError, NotEndedError, WaitTimeoutError
from callctl.support.backoff import with_pauses
from callctl.support.clock import elapsed

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.calls.call import Call
    from callctl.errors import CallctlError
    from callctl.operations.hangup import HangupOutcome

END_ALL_THE_SAME = "`callctl hangup CALL` ends it as well, also if it is answered at that moment"


class HangupOptions(NamedTuple):
    """How calls are ended; ``wait`` is for how many seconds their end is waited for, None for not at all."""

    only_ringing: bool
    wait: float | None

    @property
    def action(self) -> str:
        """The name of the action in records."""
        return "cancel" if self.only_ringing else "hangup"

    @property
    def request(self) -> tuple[tuple[str, str], ...]:
        """The form that is sent."""
        return (("Status", "canceled" if self.only_ringing else "completed"),)


def end_call(runtime: Runtime, client: ApiClient, history: History, sid: str, *, options: HangupOptions) -> None:
    """End the only call that was named, and show the outcome.

    Raises:
        NotEndedError: It goes on.
        WaitTimeoutError: It has not ended in time.
        CallctlError: The request was refused or not answered.
    """
    history.record_intent([sid])
    ended = hang_up(client, history, sid, options=options)
    if is_waited_for(ended, options):
        limit = math.inf if options.wait is None else options.wait
        work = waiting_until_ended(
            client, history, ended, options=options, limit=limit, on_outage=runtime.report_outage
        )
        ended = with_pauses(work, sleep=time.sleep)
    outcome = outcome_of(ended, history, sid=sid, options=options)
    error = error_of(ended, options)
    try:  # shown first: the store may be locked
        if error is None:
            show_alone(runtime, outcome)
        elif runtime.form is not Form.TABLE:
            show_among_others(runtime, outcome)  # the sentence comes with the error
    finally:
        if outcome.is_recorded:
            history.record([outcome])
        history.settle([sid])
    if ended.call.parent_call_sid is not None and outcome.changes_call:
        _say_effect_on_parent(runtime, history, ended.call, parent=ended.call.parent_call_sid)
    if error is not None:
        raise error


def hang_up(
    client: ApiClient,
    history: History,
    sid: str,
    *,
    options: HangupOptions,
    check: Callable[[str], HangupOutcome | None] | None = None,
) -> HangupOutcome:
    """End a call; where its end is to be waited for, record the request, and leave the waiting to the caller.

    ``check`` is called just before each try; it returns why a call is left alone, or None if it is to be ended. What
    it raises is raised here.

    Raises:
        CallctlError: The request was refused or not answered.
    """
    return with_pauses(hanging_up(client, history, sid, options=options, check=check), sleep=time.sleep)


def hanging_up(
    client: ApiClient,
    history: History,
    sid: str,
    *,
    options: HangupOptions,
    check: Callable[[str], HangupOutcome | None] | None = None,
) -> Generator[float, None, HangupOutcome]:
    """Do what ``hang_up`` does, and yield the pauses, in seconds, instead of sleeping."""
    from callctl.operations import hangup

    if check is not None and (left_alone := check(sid)) is not None:
        return left_alone
    changed: list[HangupOutcome] = []

    def is_wanted(may_be_done: bool) -> bool:
        outcome = None if check is None else check(sid)
        # Of a call that is over the reply shows whether an earlier try has ended it.
        if outcome is None or (may_be_done and outcome.call.is_final):
            return True
        changed.append(outcome)
        return False

    send = hangup.canceling if options.only_ringing else hangup.hanging_up
    try:
        with history.requesting(sid, options.action, options.request) as attempt:
            api = client.while_wanted(is_wanted).seen_by(attempt)
            ended = yield from send(api, sid, reported=history.leg, clock=history.clock())
    except NoLongerWantedError:
        if not changed:
            raise
        return changed[-1]
    if ended.may_be_by_earlier_try:
        history.record_unclear(sid, options.action, options.request, "the first request was not answered")
    if is_waited_for(ended, options):
        history.record_early(outcome_of(ended, history, sid=sid, options=options))
    return ended


def is_waited_for(ended: HangupOutcome, options: HangupOptions) -> bool:
    """Return whether the end of a call that was hung up is still to be waited for."""
    return options.wait is not None and ended.result == "accepted"


def waiting_until_ended(
    client: ApiClient,
    history: History,
    ended: HangupOutcome,
    *,
    options: HangupOptions,
    limit: float,
    on_outage: Callable[[CallctlError | None], None],
) -> Generator[float, None, HangupOutcome]:
    """Fetch a call whose hang-up was accepted until it has ended, for ``limit`` seconds; yield the pauses.

    ``on_outage`` is called with the error while the API can't be reached, and with None once it answers again.

    Raises:
        CallctlError: The API refused the request for the call.
    """
    from callctl.operations import hangup

    return hangup.waiting_until_ended(
        client,
        ended,
        reported=history.leg,
        limit=limit,
        monotonic=elapsed,
        only_ringing=options.only_ringing,
        on_outage=on_outage,
    )


def outcome_of(ended: HangupOutcome, history: History, *, sid: str, options: HangupOptions) -> Outcome:
    """Return the outcome in words, with how long the call had been ringing or in progress if that was reported."""
    call = ended.call
    noted = ""
    match ended.result:
        case "ended":
            before = _before(history, call, sid=sid)
            sentence, noted = f"ended: {sid} is {call.status}{before}", f"{call.status}{before}"
        case "accepted":
            is_still = f" is still {call.status}" if call.status else "; its status is not known"
            sentence = f"hang-up accepted: {sid}{is_still}"
            noted = f"accepted, still {call.status}" if call.status else "accepted"
        case "already-over":
            sentence = f"already over: {sid}{f' is {call.status}' if call.status else _still_shown(ended)}"
        case "left-alone":
            sentence = f"left alone: {sid} {_no_longer(ended)}"
        case _:
            sentence = f"not ended: {sid} {_why_not_ended(ended)}"
            noted = _why_not_ended(ended)
    # Without a status, what REST shows is known to be wrong, so the call is left out.
    shown = call if call.status else None
    return Outcome(options.action, sid, str(ended.result), sentence, options.request, noted, shown)


def _why_not_ended(ended: HangupOutcome) -> str:
    if ended.result == "still-ringing":
        if ended.refusal is not None:
            return "rings inside a <Dial>, or was answered just now: Twilio refused Status=canceled"
        return "rings inside a <Dial>, and Status=canceled did not end it"
    return "is in progress" if ended.call.status else f"was answered or is over{_still_shown(ended)}"


def _no_longer(ended: HangupOutcome) -> str:
    call = ended.call
    if call.status == CallStatus.IN_PROGRESS:
        return "was answered meanwhile"
    return f"is {call.status} by now and no longer matches" if call.status else _why_not_ended(ended)


def _still_shown(ended: HangupOutcome) -> str:
    if ended.result != "already-over" and ended.shown == CallStatus.IN_PROGRESS:
        return f" (REST, which may be behind, shows it as {ended.shown})"
    return f" (REST is behind and still shows it as {ended.shown})" if ended.shown else ""


def _before(history: History, call: Call, *, sid: str) -> str:
    leg = history.leg(sid)
    if leg is None:
        return ""
    from callctl.operations.reported_status import seconds_before_end

    known = seconds_before_end(leg, call, now=history.now())
    if known is None:
        return ""
    was = "in progress" if known[0] == CallStatus.IN_PROGRESS else known[0]
    return f", was {was} for {known[1]:.0f} s"


def error_of(ended: HangupOutcome, options: HangupOptions) -> NotEndedError | WaitTimeoutError | None:
    """Return why a call was not ended, with what would help; None if it was, or was not meant any more."""
    call = ended.call
    if ended.result in ("not-ended", "still-ringing"):
        rings = ended.result == "still-ringing"
        return NotEndedError(
            f"not ended: {call.sid} {_why_not_ended(ended)}",
            hint=END_ALL_THE_SAME if rings else f"`callctl hangup {call.sid}` ends it all the same",
        )
    if ended.result == "accepted" and options.wait is not None:
        still = f"is still {call.status}" if call.status else "is not known to have ended"
        return WaitTimeoutError(
            f"the hang-up of {call.sid} was accepted, but after {options.wait:g} s it {still}",
            hint=f"`callctl show {call.sid}` shows what becomes of it",
        )
    return None


def _say_effect_on_parent(runtime: Runtime, history: History, call: Call, *, parent: str) -> None:
    from callctl.operations.redirect import effect_on_parent

    leg = history.leg(parent)
    if leg is not None and leg.verified and leg.is_final:
        return  # nothing more becomes of it
    redirected_at = history.redirected_at(call.sid)
    # A leg that nobody answered may be one of several that the Dial rings.
    may_ring_others = redirected_at is None and call.status != CallStatus.COMPLETED
    unless = ", unless the Dial still rings another leg" if may_ring_others else ""
    is_live = leg is not None and leg.verified
    effect = effect_on_parent(history, call.sid, parent=parent, is_live=is_live)
    runtime.say(
        f"callctl: its parent {parent}{'' if is_live else ','} {effect}{unless}\n"
        f"hint: `callctl hangup {shlex.quote(parent)}` ends it as well; --family ends both at once"
    )
