"""What acting needs of the API client and of the store, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from callctl.calls.action import LATE, ActionEvent
from callctl.calls.call import CallStatus
from callctl.calls.event import CallEvent
from callctl.rules.rule import Operation, Proposal
from callctl.store.records import OpenClaim

# Longer than one request with all its repetitions may take; renewed before each further one.
LEASE = timedelta(seconds=90)


class Claims(Protocol):
    """What happened once per rule and leg. Each call is committed when it returns; all raise StoreError."""

    def claim(self, claim: OpenClaim, *, now: datetime, until: datetime, exclusive: bool = False) -> bool:
        """Claim; False if it was claimed before, with ``exclusive`` also if another rule is changing the leg."""

    def renew(self, claim: OpenClaim, *, until: datetime) -> None:
        """Hold a claim for longer."""

    def take_over(self, claim: OpenClaim, *, until: datetime) -> bool:
        """Take a claim that was left open; False if it was renewed or taken since it was read."""

    def settle(self, claim: OpenClaim, event: ActionEvent) -> None:
        """Close a claim and keep what came of it."""

    def release(self, claim: OpenClaim) -> None:
        """Give a claim back: nothing was sent."""

    def expired_claims(self, *, is_over: Callable[[OpenClaim], bool]) -> list[OpenClaim]:
        """Return the open claims whose lease is over, as this says: those of watches that crashed."""

    def claim_keys(self) -> set[tuple[str, str]]:
        """Return rule and leg of all claims."""

    def family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a leg and its relatives, as far as they were told."""

    def all_actions(self, call_sid: str) -> list[ActionEvent]:
        """Return what was asked of a leg."""

    def action_in_progress(self, call_sid: str, *, other_than: str) -> str | None:
        """Return what another rule than this is doing to a leg just now."""

    def has_intent(self, call_sid: str, *, is_over: Callable[[datetime], bool]) -> bool:
        """Tell whether a command is changing a leg just now: until a time that is not over, as this says."""

    def was_placed(self, call_sid: str) -> bool:
        """Tell whether callctl placed a call."""

    def dial_action(self, call_sid: str) -> str | None:
        """Return the name of where the <Dial> of a call that callctl placed sends it."""


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing was sent and nothing is claimed, so the rule may ask again.

    With ``look_again`` it need not: a caller has another leg, a command is changing one of its legs, or REST does not
    yet show what callbacks told, and that passes. Without, the rule no longer asks for it. ``not_before`` is how long
    it takes at least until another look can tell more: what a leg lacks of the age that the rule asks for.
    """

    look_again: bool
    not_before: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Found:
    """What came of an action: a word of ``callctl.calls.action``, the same for people, and what the API answered."""

    result: str
    outcome: str
    status: str | None = None
    code: str | None = None

    def event(self, claim: OpenClaim, deed: Operation | None, *, at: datetime) -> ActionEvent:
        """Return it as what the store keeps; without a deed where nobody knows any more what was sent."""
        return ActionEvent(
            at,
            claim.call_sid,
            claim.action,
            () if deed is None else deed.request(),
            self.outcome,
            self.status,
            claim.rule,
            claim.about if claim.about != claim.call_sid else None,
            self.result,
            self.code,
        )


def too_late(status: str, *, over: bool = False, code: str | None = None) -> Found:
    """Return what came of an action whose leg has another status by now than the rule wanted.

    Args:
        status: The status it has; empty if that is not known.
        over: Whether it has ended, where the status does not say so.
        code: The API's code, where it refused.
    """
    if status == CallStatus.IN_PROGRESS:
        words = "it was answered meanwhile and left alone"
    elif status:
        words = f"the call got there first: it is {status}"
    else:
        words = "the call got there first: it is over" if over else "it was answered or is over, and was left alone"
    return Found(LATE, words, status or None, code)


def claim_of(asked: Proposal) -> OpenClaim:
    """Return what is claimed for an action, or for telling once why there is none."""
    return OpenClaim(asked.rule.name, asked.call_sid, asked.about, asked.operation.action)
