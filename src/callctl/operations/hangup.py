"""Ending one call, and finding out whether it ended: for ``hangup`` and the rules of a watch.

REST is eventually consistent (docs/twilio.md, "Eventual consistency"): a call that has just ended, or was just
answered, may still be fetched as it was before. A status only ever goes on, so of all that is known of a call the
latest step counts, and callbacks, which the store holds, are often ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from callctl.api.calls_api import CallsApi
from callctl.calls.call import Call, CallStatus, Direction, rank_of
from callctl.errors import ApiError, CallctlError, NetworkError, NoThreadError, WrongCallStateError
from callctl.operations.reported_status import with_reported_status
from callctl.operations.sent_request import SentRequest
from callctl.support.backoff import LAST_REQUEST, Backoff, repeating, with_pauses
from callctl.support.threads import run_with_time_limit

if TYPE_CHECKING:
    from callctl.calls.leg import Leg
    from callctl.support.clock import Clock

# How often a call is fetched again when it is not clear what it does, with 1.5 s of pauses together.
READ_BACKS = 4
READ_BACK_PAUSES = Backoff(first=0.1, factor=2, longest=0.8)
# Final statuses that no hang-up leads to: a call with one of them was over before.
_OTHER_ENDS = frozenset({CallStatus.BUSY, CallStatus.NO_ANSWER, CallStatus.FAILED})
# So long before the reply a call may have been ended by an earlier try that was not answered: it and its time limit
# come in between.
_BEFORE_TRIES = timedelta(minutes=1)


class Result(StrEnum):
    """The result of a request to end a call."""

    ENDED = "ended"
    ACCEPTED = "accepted"
    """The API took the request, and the call has not ended yet."""
    ALREADY_OVER = "already-over"
    NOT_ENDED = "not-ended"
    """It was answered, and only a ringing call was to be ended. Without a status: it was answered, or is over."""
    STILL_RINGING = "still-ringing"
    """It rings inside ``<Dial>``, where ``Status=canceled`` may do nothing.

    Source: docs/twilio.md, "REST: updating a call".
    """
    NO_MATCH = "left-alone"
    """It no longer matches the filters, so nothing was sent, or nothing that ends it."""


class HangupOutcome(NamedTuple):
    """The result, and the call as far as it is known.

    The call's status is empty where it is not known; ``shown`` is then what REST still shows, which can't be; where a
    call was to be canceled it may be ``in-progress``, which need not be so any more. ``refusal`` is the API's, if it
    refused.
    """

    result: Result
    call: Call
    shown: str = ""
    refusal: WrongCallStateError | None = None

    @property
    def may_be_by_earlier_try(self) -> bool:
        """Whether an earlier try of the request, which was not answered, may have ended the call."""
        # ``Status=canceled`` ends no call that was answered.
        may_be_over = not self.call.status and self.shown != CallStatus.IN_PROGRESS
        is_over = self.result is Result.ALREADY_OVER or (self.result is Result.NOT_ENDED and may_be_over)
        return is_over and self.refusal is not None and self.refusal.may_be_done


# Returns a leg as callbacks reported it, or None.
ReportedLeg: TypeAlias = "Callable[[str], Leg | None]"
Sleep = Callable[[float], None]
Monotonic = Callable[[], float]


def hang_up(api: CallsApi, sid: str, *, reported: ReportedLeg, sleep: Sleep, clock: Clock) -> HangupOutcome:
    """End a call that is queued, ringing or in progress: one request, unless the call is over already.

    Only a call that is over is refused (21220, docs/twilio.md, "REST: updating a call"), so it is taken for over,
    whatever a fetch shows, unless something newer than the refusal says that it lives.

    Raises:
        WrongCallStateError: The API refused, and a callback or a fetch that is newer shows the call as live.
    """
    return with_pauses(hanging_up(api, sid, reported=reported, clock=clock), sleep=sleep)


def hanging_up(
    api: CallsApi, sid: str, *, reported: ReportedLeg, clock: Clock
) -> Generator[float, None, HangupOutcome]:
    """Do what ``hang_up`` does, and yield the pauses, in seconds, instead of sleeping."""
    request = SentRequest(clock)
    try:
        call = api.hangup(sid)
    except WrongCallStateError as error:
        return (yield from _refused(api, sid, error, reported=reported, request=request))
    leg = reported(sid)
    known = with_reported_status(call, leg)
    if known.status in _OTHER_ENDS or request.came_after_end(known, leg):
        return HangupOutcome(Result.ALREADY_OVER, known)
    return HangupOutcome(Result.ENDED if known.is_final else Result.ACCEPTED, known)


def _ended_by_earlier_try(call: Call, leg: Leg | None, refusal: WrongCallStateError, *, request: SentRequest) -> bool:
    """Return whether a call that is over was ended by an earlier try of the request that was not answered."""
    is_end_by_request = refusal.may_be_done and call.status not in _OTHER_ENDS
    return is_end_by_request and not request.came_after_end(call, leg, at_least=_BEFORE_TRIES)


def _refused(
    api: CallsApi, sid: str, refusal: WrongCallStateError, *, reported: ReportedLeg, request: SentRequest
) -> Generator[float, None, HangupOutcome]:
    def is_clear(call: Call) -> bool:
        return with_reported_status(call, reported(sid)).is_final or _lives(call, reported(sid), since=refusal.at)

    call, _ = yield from _read_back(api, Call(sid, ""), is_clear=is_clear)
    leg = reported(sid)
    known = with_reported_status(call, leg)
    if known.is_final:
        ended = _ended_by_earlier_try(known, leg, refusal, request=request)
        return HangupOutcome(Result.ENDED if ended else Result.ALREADY_OVER, known, refusal=refusal)
    if _lives(call, leg, since=refusal.at):
        raise refusal.reworded(
            f"{sid} was not ended: Twilio refused, and it is {known.status} since",
            hint=f"try again: `callctl hangup {sid}`; `callctl show {sid}` shows what it is doing",
        )
    return HangupOutcome(Result.ALREADY_OVER, replace(call, status=""), shown=call.status, refusal=refusal)


def _lives(call: Call, leg: Leg | None, *, since: datetime | None) -> bool:
    """Return whether a call is live by what is newer than a moment, all of it by Twilio's clock."""
    if since is None:
        return False
    by_callbacks = leg is not None and leg.verified and leg.is_live and leg.status_since > since
    return by_callbacks or (call.is_live and call.date_updated is not None and call.date_updated > since)


def cancel(api: CallsApi, sid: str, *, reported: ReportedLeg, sleep: Sleep, clock: Clock) -> HangupOutcome:
    """End a call that is queued or ringing, and leave an answered one alone; read it back if the reply leaves doubt.

    Whether a call in progress is refused or left alone with a 200 is not settled (docs/twilio.md, "REST: updating a
    call"). A refusal alone says no more than that the call does not ring any longer, or that it rings inside
    ``<Dial>``. That it is in progress is then known from callbacks, or from what is newer than the refusal; a fetch
    may be behind. A leg counts as ringing on only if REST shows that until the last read-back, since the caller may
    then hang it up.
    """
    return with_pauses(canceling(api, sid, reported=reported, clock=clock), sleep=sleep)


def canceling(api: CallsApi, sid: str, *, reported: ReportedLeg, clock: Clock) -> Generator[float, None, HangupOutcome]:
    """Do what ``cancel`` does, and yield the pauses, in seconds, instead of sleeping."""
    request = SentRequest(clock)
    refusal: WrongCallStateError | None = None
    call = Call(sid, "")
    try:
        call = api.cancel(sid)
    except WrongCallStateError as error:
        refusal = error

    def is_clear(call: Call) -> bool:
        known = with_reported_status(call, reported(sid))
        return known.is_final or _is_answered(known, reported(sid), refusal=refusal)

    was_read = True
    if refusal is not None or not call.is_final:
        call, was_read = yield from _read_back(api, call, is_clear=is_clear)
    leg = reported(sid)
    known = with_reported_status(call, leg)
    if known.is_final:
        if refusal is None and request.came_after_end(known, leg):
            return HangupOutcome(Result.ALREADY_OVER, known)
        by_earlier = refusal is not None and _ended_by_earlier_try(known, leg, refusal, request=request)
        return HangupOutcome(_end_of_cancel(known, None if by_earlier else refusal), known, refusal=refusal)
    if _is_answered(known, leg, refusal=refusal):
        return HangupOutcome(Result.NOT_ENDED, known, refusal=refusal)
    if was_read and known.status != CallStatus.IN_PROGRESS and _is_dialled(known):
        return HangupOutcome(Result.STILL_RINGING, known, refusal=refusal)
    if refusal is not None:
        return HangupOutcome(Result.NOT_ENDED, replace(call, status=""), shown=call.status, refusal=refusal)
    return HangupOutcome(Result.ACCEPTED, known)


def _is_answered(call: Call, leg: Leg | None, *, refusal: WrongCallStateError | None) -> bool:
    """Return whether a call is known to be in progress: after a refusal, a fetch may be behind a call that is over."""
    if call.status != CallStatus.IN_PROGRESS or refusal is None:
        return call.status == CallStatus.IN_PROGRESS
    by_callbacks = leg is not None and leg.verified and leg.status == CallStatus.IN_PROGRESS
    return by_callbacks or _lives(call, leg, since=refusal.at)


def _end_of_cancel(call: Call, refusal: WrongCallStateError | None) -> Result:
    return Result.ENDED if refusal is None and call.status == CallStatus.CANCELED else Result.ALREADY_OVER


def _read_back(
    api: CallsApi, call: Call, *, is_clear: Callable[[Call], bool]
) -> Generator[float, None, tuple[Call, bool]]:
    """Fetch a call until it is clear what it does, for a second and a half at most.

    Return the latest step seen, and whether every fetch was answered. One that fails adds nothing, and is no failure of
    the request before.
    """
    with suppress(ApiError, NetworkError, NoThreadError):
        call = later_of(call, api.fetch(call.sid))
        for pause in islice(READ_BACK_PAUSES.pauses(), READ_BACKS):
            if is_clear(call):
                break
            yield pause
            call = later_of(call, api.fetch(call.sid))
        return call, True
    return call, False


def check_again(
    api: CallsApi, listed: Call, *, reported: ReportedLeg, matches: Callable[[Call], bool]
) -> HangupOutcome | None:
    """Fetch a call that was listed, just before it is ended; return why it is left alone, or None if it is not."""
    call = with_reported_status(later_of(listed, api.fetch(listed.sid)), reported(listed.sid))
    if call.is_final:
        return HangupOutcome(Result.ALREADY_OVER, call)
    return None if matches(call) else HangupOutcome(Result.NO_MATCH, call)


def waiting_until_ended(
    api: CallsApi,
    ending: HangupOutcome,
    *,
    reported: ReportedLeg,
    limit: float,
    monotonic: Monotonic,
    only_ringing: bool,
    on_outage: Callable[[CallctlError | None], None],
) -> Generator[float, None, HangupOutcome]:
    """Fetch a call whose end was accepted until it has ended, for ``limit`` seconds at most; yield the pauses.

    With ``only_ringing`` it was canceled, so that an answered call does not end. An API that can't be reached for a
    while is no failure, since the end was accepted before: ``on_outage`` is called with the error, and with None once
    the API answers again.
    """
    if ending.result is not Result.ACCEPTED:
        return ending
    sid = ending.call.sid
    deadline = monotonic() + limit

    def fetch() -> Call:
        call = ending.call
        try:
            call = later_of(
                call, run_with_time_limit(max(deadline - monotonic(), LAST_REQUEST), lambda: api.fetch(sid))
            )
        except TimeoutError:
            pass
        except CallctlError as error:
            if not error.is_transient:
                raise
            on_outage(error)
        else:
            on_outage(None)
        return with_reported_status(call, reported(sid))

    def is_clear(call: Call) -> bool:
        return call.is_final or (only_ringing and call.status == CallStatus.IN_PROGRESS)

    call = yield from repeating(fetch, done=is_clear, limit=limit, monotonic=monotonic)
    if call.is_final:
        return ending._replace(result=_end_of_cancel(call, None) if only_ringing else Result.ENDED, call=call)
    return ending._replace(result=Result.NOT_ENDED if is_clear(call) else Result.ACCEPTED, call=call)


def later_of(first: Call, second: Call) -> Call:
    """Return the second reply about a call, unless its status is an earlier one: then it is old.

    Source: docs/twilio.md, "Eventual consistency".
    """
    return first if rank_of(second.status) < rank_of(first.status) else second


def _is_dialled(call: Call) -> bool:
    return call.parent_call_sid is not None or call.direction == Direction.OUTBOUND_DIAL
