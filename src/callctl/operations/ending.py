"""Ending one call, and finding out what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from callctl.calls import Call, CallStatus
from callctl.errors import WrongCallStateError
from callctl.operations.pauses import until

# How long REST may show a call as live that it has just refused to end because it is over, in seconds.
_LAG = 2.0
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


def cancel(door: Door, sid: str) -> Ending:
    """End a call that is queued or ringing, and leave an answered one alone; ask for it once if the reply leaves doubt.

    Raises:
        WrongCallStateError: The API refuses, and the call is neither over nor in progress.
    """
    refusal: WrongCallStateError | None = None
    try:
        call = door.cancel(sid)
    except WrongCallStateError as error:
        refusal = error
    # Whether a call in progress is refused or left alone with a 200 is not settled (sheet section 3).
    if refusal is not None or not call.is_final:
        call = door.fetch(sid)
    if call.is_final:
        ended_by_this = refusal is None and call.status == CallStatus.CANCELED
        return Ending(Result.ENDED if ended_by_this else Result.OVER, call)
    if call.status == CallStatus.IN_PROGRESS:
        return Ending(Result.SPARED, call)
    if refusal is not None:
        raise refusal
    return Ending(Result.ACCEPTED, call)


def see_ended(door: Door, ending: Ending, *, limit: float, sleep: Sleep, monotonic: Monotonic) -> Ending:
    """Ask for a call whose end was accepted until it has ended, for ``limit`` seconds at most."""
    if ending.result is not Result.ACCEPTED:
        return ending
    sid = ending.call.sid
    call = until(lambda: door.fetch(sid), done=_is_final, limit=limit, sleep=sleep, monotonic=monotonic)
    return replace(ending, result=Result.ENDED if call.is_final else Result.ACCEPTED, call=call)


def _is_final(call: Call) -> bool:
    return call.is_final
