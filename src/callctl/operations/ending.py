"""Ending one call, and finding out what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from callctl.calls import Call, CallStatus, Direction
from callctl.errors import WrongCallStateError
from callctl.events import rank_of
from callctl.operations.pauses import until

# How long REST may show a call as live that it has just refused to end because it is over, in seconds.
_LAG = 2.0
# How often a call is read back that was to be canceled and still rings, and the pauses before.
_READ_BACK = (0.1, 0.2, 0.4, 0.8)  # seconds
# What no hang-up makes of a call: one that shows it was over before.
_OTHER_ENDS = frozenset({CallStatus.BUSY, CallStatus.NO_ANSWER, CallStatus.FAILED})


class Result(StrEnum):
    """What came of asking that a call be ended."""

    ENDED = "ended"
    ACCEPTED = "accepted"
    """The API took the request, and the call has not ended yet."""
    OVER = "already-over"
    SPARED = "not-ended"
    """It is in progress, and only ringing calls were to be ended."""
    RINGING = "still-ringing"
    """It rings inside ``<Dial>``, where ``Status=canceled`` may do nothing (sheet section 3)."""
    NO_MATCH = "left-alone"
    """It is no longer as the filters ask, so nothing was sent, or nothing that ends it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of it, and the call as the API told it last."""

    result: Result
    call: Call


class Door(Protocol):
    """What ending needs of the gateway."""

    def hangup(self, sid: str) -> Call:
        """Ask that a call be ended, whatever it does."""

    def cancel(self, sid: str) -> Call:
        """Ask that a call be ended unless it was answered."""

    def fetch(self, sid: str) -> Call:
        """Ask for a call."""


Sleep = Callable[[float], None]
Monotonic = Callable[[], float]


def hang_up(door: Door, sid: str, *, sleep: Sleep, monotonic: Monotonic) -> Ending:
    """End a call that is queued, ringing or in progress: one request, unless the call is over already.

    Raises:
        WrongCallStateError: The API refuses, though it shows the call as live.
    """
    try:
        call = door.hangup(sid)
    except WrongCallStateError:
        # Only an ended call is refused (sheet section 3), but what is shown may be old (section 2).
        call = until(lambda: door.fetch(sid), done=_is_final, limit=_LAG, sleep=sleep, monotonic=monotonic)
        if not call.is_final:
            raise
        return Ending(Result.OVER, call)
    if call.status in _OTHER_ENDS:
        return Ending(Result.OVER, call)
    return Ending(Result.ENDED if call.is_final else Result.ACCEPTED, call)


def cancel(door: Door, sid: str, *, sleep: Sleep) -> Ending:
    """End a call that is queued or ringing, and leave an answered one alone; read it back if the reply leaves doubt.

    Raises:
        WrongCallStateError: The API refuses, and the call is neither over nor in progress.
    """
    refusal: WrongCallStateError | None = None
    try:
        call = door.cancel(sid)
    except WrongCallStateError as error:
        refusal = error
        call = door.fetch(sid)
    else:
        # Whether a call in progress is refused or left alone with a 200 is not settled (sheet section 3).
        if not call.is_final:
            call = later_of(call, door.fetch(sid))
    for pause in _READ_BACK:
        if not _may_ring(call):
            break
        sleep(pause)
        call = later_of(call, door.fetch(sid))
    if call.is_final:
        ended_by_this = refusal is None and call.status == CallStatus.CANCELED
        return Ending(Result.ENDED if ended_by_this else Result.OVER, call)
    if call.status == CallStatus.IN_PROGRESS:
        return Ending(Result.SPARED, call)
    if _is_dialled(call):
        return Ending(Result.RINGING, call)
    if refusal is not None:
        raise refusal
    return Ending(Result.ACCEPTED, call)


def look_again(door: Door, listed: Call, *, matches: Callable[[Call], bool]) -> Ending | None:
    """Fetch a call that was listed, just before it is ended; return why it is left alone, or None if it is not."""
    call = later_of(listed, door.fetch(listed.sid))
    if call.is_final:
        return Ending(Result.OVER, call)
    return None if matches(call) else Ending(Result.NO_MATCH, call)


def later_of(first: Call, second: Call) -> Call:
    """Return the second reply about a call, unless its status is an earlier one: then it is old (sheet section 2)."""
    return first if rank_of(second.status) < rank_of(first.status) else second


def see_ended(door: Door, ending: Ending, *, limit: float, sleep: Sleep, monotonic: Monotonic) -> Ending:
    """Ask for a call whose end was accepted until it has ended, for ``limit`` seconds at most."""
    if ending.result is not Result.ACCEPTED:
        return ending
    sid = ending.call.sid
    call = until(lambda: door.fetch(sid), done=_is_final, limit=limit, sleep=sleep, monotonic=monotonic)
    return replace(ending, result=Result.ENDED if call.is_final else Result.ACCEPTED, call=call)


def _is_final(call: Call) -> bool:
    return call.is_final


def _may_ring(call: Call) -> bool:
    return not call.is_final and call.status != CallStatus.IN_PROGRESS


def _is_dialled(call: Call) -> bool:
    return call.parent_call_sid is not None or call.direction == Direction.OUTBOUND_DIAL
