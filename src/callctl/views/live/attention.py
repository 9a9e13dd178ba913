"""What needs a person: legs that ring for too long, and failures that are new."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING

from callctl.calls.action import NOT_ENDED, REFUSED, UNKNOWN
from callctl.calls.call import CallStatus

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.leg import Leg

# A leg that has rung for longer needs attention, unless the user names another time.
RINGS_TOO_LONG = timedelta(seconds=30)
# A failure needs attention for so long.
FAILURE_STAYS = timedelta(minutes=5)
# The person who is called does not want the call: an outcome, like busy (RFC 3261, section 21.6).
_DECLINED = "603"
_OUTCOMES = frozenset({CallStatus.BUSY, CallStatus.NO_ANSWER, CallStatus.CANCELED})
_FAILED_ACTIONS = frozenset({REFUSED, NOT_ENDED, UNKNOWN})


class Urgency(IntEnum):
    """How urgent a leg is, the most urgent first."""

    RINGS_TOO_LONG = 0
    FAILED = 1
    LIVE = 2
    ENDED = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with a leg, in a word or two, and when."""

    at: datetime
    words: str


def failures_in_words(count: int) -> str:
    """Return a number of failures."""
    return "1 failure" if count == 1 else f"{count} failures"


def failed_end(leg: Leg) -> Failure | None:
    """Return the failure as which a leg ended: status ``failed``, or SIP 5xx or 6xx; None if it was an outcome.

    Busy, no answer and canceled are outcomes, whatever their SIP code, and so is SIP 603, "Decline".
    """
    if not leg.is_final:
        return None
    code = leg.sip_response_code or ""
    at = leg.ended_at or leg.last_event_at
    if leg.status == CallStatus.FAILED:
        return Failure(at, "failed")
    is_failure = code.isdecimal() and len(code) == 3 and code[0] in "56" and code != _DECLINED
    return Failure(at, f"SIP {code}") if is_failure and leg.status not in _OUTCOMES else None


def failed_action(action: ActionEvent) -> Failure | None:
    """Return that a command or a rule failed to change a leg; None if it did not fail, or came too late."""
    if action.result not in _FAILED_ACTIONS:
        return None
    word = "outcome unknown" if action.result == UNKNOWN else "refused" if action.result == REFUSED else "not ended"
    return Failure(action.at, f"{action.action} {word}")
