"""What comes of an action: an outcome to record, or that it is postponed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from callctl.calls.action import LATE, ActionEvent
from callctl.calls.call import CallStatus
from callctl.rules.rule import Operation
from callctl.store.records import OpenClaim


@dataclass(frozen=True, slots=True)
class Postponed:
    """Nothing was sent and nothing is claimed, so the rule may propose the action again.

    With ``retry`` the action is tried again without that: its caller has another leg, a command is changing one of its
    legs, or REST does not yet show what callbacks reported, and that passes. Otherwise the rule no longer proposes it.
    ``not_before`` is how long another try can't succeed: the time that a leg lacks of what the rule requires.
    ``turned_away_since``: it could not be done for another reason than the call's, since then by the steady clock.
    ``limit_reached``: as many actions as are allowed in a minute were begun by all watches that share the store.
    """

    retry: bool
    not_before: timedelta = timedelta()
    turned_away_since: datetime | None = None
    limit_reached: bool = False


@dataclass(frozen=True, slots=True)
class Declination:
    """Nothing was sent, nor is it tried again because of the leg that the rule looked at; because of another one it is.

    ``event`` is what was recorded; None where that had been done before, or somebody else has claimed the action.
    """

    event: ActionEvent | None


@dataclass(frozen=True, slots=True)
class Unsent:
    """Nothing was sent, for the call had got there first, or could not be changed.

    ``event`` is what was recorded; None where another watch took the claim over.
    """

    event: ActionEvent | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action.

    ``result`` is a word of ``callctl.calls.action``, ``text`` the same as a sentence, ``status`` and ``code`` are the
    API's.
    """

    result: str
    text: str
    status: str | None = None
    code: str | None = None

    def to_event(self, claim: OpenClaim, operation: Operation | None, *, at: datetime) -> ActionEvent:
        """Return the event that the store keeps; ``operation`` is None where what was sent is not known any more."""
        return ActionEvent(
            at,
            claim.call_sid,
            claim.action,
            () if operation is None else operation.request(),
            self.text,
            self.status,
            claim.rule,
            claim.about if claim.about != claim.call_sid else None,
            self.result,
            self.code,
        )


def too_late(status: str, *, is_over: bool = False, code: str | None = None) -> Outcome:
    """Return the outcome of an action whose leg has another status by now than the rule requires.

    Args:
        status: The status it has; empty if that is not known.
        is_over: Whether it has ended, where the status does not say so.
        code: The API's code, where it refused.
    """
    if status == CallStatus.IN_PROGRESS:
        text = "it was answered meanwhile and left alone"
    elif status:
        text = f"the call got there first: it is {status}"
    else:
        text = "the call got there first: it is over" if is_over else "it was answered or is over, and was left alone"
    return Outcome(LATE, text, status or None, code)
