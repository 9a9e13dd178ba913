"""How a call is ended, and what came of it in words: what ``hangup`` of one call and of many share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callctl.calls.call import CallStatus
from callctl.cli.io.results import Outcome
from callctl.cli.options.history import Memory
from callctl.support.clock import elapsed

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.calls.call import Call
    from callctl.errors import CallctlError
    from callctl.operations.hangup import HangupOutcome

RINGS_ON = "`callctl hangup CALL` ends it as well, also if it is answered at that moment"


@dataclass(frozen=True, slots=True)
class Manner:
    """How calls are to be ended; ``wait`` is for how many seconds their end is waited for, None for not at all."""

    only_ringing: bool
    wait: float | None

    @property
    def action(self) -> str:
        """What it is called in records."""
        return "cancel" if self.only_ringing else "hangup"

    @property
    def request(self) -> tuple[tuple[str, str], ...]:
        """The form that is sent."""
        return (("Status", "canceled" if self.only_ringing else "completed"),)


def ender(
    client: ApiClient,
    memory: Memory,
    manner: Manner,
    *,
    on_outage: Callable[[CallctlError | None], None],
    look: Callable[[str], HangupOutcome | None] | None = None,
) -> Callable[[str], HangupOutcome]:
    """Return what ends one call, and waits for the end if that was asked for; what is waited for is noted before.

    ``look`` is asked just before and returns why a call is left alone, or None if it is to be ended. ``on_outage`` is
    told why the API can't be asked while the end is waited for, and with None that it can again.
    """
    from callctl.operations import hangup

    def end(sid: str) -> HangupOutcome:
        if look is not None and (left := look(sid)) is not None:
            return left
        with memory.asking(sid, manner.action, manner.request):
            if manner.only_ringing:
                ended = hangup.cancel(client, sid, reported=memory.leg, sleep=time.sleep)
            else:
                ended = hangup.hang_up(client, sid, reported=memory.leg, sleep=time.sleep)
        if ended.may_be_by_earlier_try:
            memory.note_unclear(sid, manner.action, manner.request, "the first request was not answered")
        if manner.wait is None or ended.result != "accepted":
            return ended
        memory.note_at_once(outcome_of(ended, memory, sid=sid, manner=manner).to_event(memory.asked_at(sid)))
        return hangup.wait_until_ended(
            client,
            ended,
            reported=memory.leg,
            limit=manner.wait,
            sleep=time.sleep,
            monotonic=elapsed,
            only_ringing=manner.only_ringing,
            on_outage=on_outage,
        )

    return end


def asked_for(told: Outcome) -> bool:
    """Tell whether something was asked of the call that may have changed it."""
    return told.result in ("ended", "accepted")


def outcome_of(ended: HangupOutcome, memory: Memory, *, sid: str, manner: Manner) -> Outcome:
    """Return what came of it in words; how long the call had been ringing only if callbacks told that."""
    call = ended.call
    noted = ""
    match ended.result:
        case "ended":
            before = _before(memory, call, sid=sid)
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
            sentence = f"not ended: {sid} {why_not_ended(ended)}"
    # Without a status, what REST shows is not so: nobody shall read it there.
    return Outcome(
        manner.action, sid, str(ended.result), sentence, manner.request, noted, call if call.status else None
    )


def why_not_ended(ended: HangupOutcome) -> str:
    """Return why a call was not ended, after its SID."""
    if ended.result == "still-ringing":
        if ended.refusal is not None:
            return "rings inside a <Dial>, or was answered just now: Twilio refused Status=canceled"
        return "rings inside a <Dial>, and Status=canceled did not end it"
    return "is in progress" if ended.call.status else f"was answered or is over{_still_shown(ended)}"


def _no_longer(ended: HangupOutcome) -> str:
    call = ended.call
    if call.status == CallStatus.IN_PROGRESS:
        return "was answered meanwhile"
    return f"is {call.status} by now and no longer matches" if call.status else why_not_ended(ended)


def _still_shown(ended: HangupOutcome) -> str:
    return f" (REST is behind and still shows it as {ended.shown})" if ended.shown else ""


def _before(memory: Memory, call: Call, *, sid: str) -> str:
    leg = memory.leg(sid)
    if leg is None:
        return ""
    from callctl.operations.reported import seconds_before_end

    # Callbacks have Twilio's time stamps, so the date of its reply counts: this machine's clock may be wrong.
    known = seconds_before_end(leg, call.status, now=call.as_of or memory.now())
    if known is None:
        return ""
    was = "in progress" if known[0] == CallStatus.IN_PROGRESS else known[0]
    return f", was {was} for {known[1]:.0f} s"
