"""The executor: one action from the look to the record, repeated while the rule still asks for it.

The order is what keeps it honest: look, claim (committed), send, record (in the commit that closes the claim). A crash
between two of these leaves either nothing, or an open claim that the next watch finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice

from callctl.api.protocol import CallsApi
from callctl.calls.action import DECLINED, LATE, REFUSED, UNKNOWN, ActionEvent
from callctl.calls.board import Leg
from callctl.calls.call import CallStatus
from callctl.calls.trouble import Cause, Trouble
from callctl.errors import (
    ApiError,
    CallctlError,
    NetworkError,
    OutcomeUnknownError,
    RateLimitedError,
    StoreError,
    WrongCallStateError,
)
from callctl.operations.hangup import Sleep
from callctl.operations.reported import reported_leg
from callctl.rules.deeds import carry_out
from callctl.rules.outcome import LEASE, Claims, Found, Held, claim_of
from callctl.rules.precheck import taken_up, why_not
from callctl.rules.rule import Action, Declined, Operation, Redirect
from callctl.store.records import OpenClaim
from callctl.support.backoff import Backoff
from callctl.support.clock import Clock

PAUSES = Backoff(first=1.0, factor=2, longest=30.0)  # the API client has repeated the request five times by then
SETTLE_TRIES = 5  # their pauses together, 31 s, are within the lease, so that nobody else takes the claim

_ENDS_OF_DEEDS = (CallStatus.COMPLETED, CallStatus.CANCELED)  # what a hang-up or a cancel makes of a call

Applies = Callable[[Action], bool]


@dataclass(slots=True)
class _Asked:
    """When a request was sent, the last time; None before. Whether one without an answer may have been carried out."""

    at: datetime | None = None
    may_be_done: bool = False


class Executor:
    """Does what rules ask for. Blocks: call it in a thread of its own. Safe for several at once."""

    def __init__(
        self,
        api: CallsApi,
        claims: Claims,
        *,
        clock: Clock,
        sleep: Sleep,
        applies: Applies,
        trouble: Callable[[Trouble], None],
    ) -> None:
        """Prepare.

        ``applies`` tells whether a rule still asks for an action, as far as the board knows; ``trouble`` is told, each
        time, why something that waits can't be done yet.
        """
        self._api = api
        self._claims = claims
        self._clock = clock
        self._sleep = sleep
        self._applies = applies
        self._trouble = trouble

    def perform(self, action: Action) -> ActionEvent | Held | None:
        """Do an action; return what came of it, or None if it was done before.

        Nothing is sent before the claim is kept: a full disk is waited for, as long as the rule asks for the action.

        Raises:
            StoreError: What came of it could not be kept; the claim stays open, as after a crash.
        """
        claim = claim_of(action)
        found = self._look(action)
        if isinstance(found, Held):
            return found
        follows = action.rule.follows_dial and found is None
        claimed = self._claim_patiently(action, claim, exclusive=follows)
        if claimed is not None:
            return claimed if isinstance(claimed, Held) else None
        asked = _Asked()
        if follows:  # between the look and the claim another rule, or a command, may have been quicker
            found = self._patiently(action, partial(self._taken_up, action), once_only=False)
        found = found or self._send(action, claim, asked)
        if isinstance(found, Held) and action.rule.follows_dial:
            self._claims.release(claim)  # the caller has another leg, whose end may ask for it again
            return found
        return self._settle(claim, action.operation, _NO_LONGER if isinstance(found, Held) else found, at=asked.at)

    def decline(self, declined: Declined) -> ActionEvent | None:
        """Write down why a rule asks for nothing; None if that was written down before."""
        claim = claim_of(declined)
        if not self._claim(claim):
            return None
        return self._settle(claim, declined.operation, Found(DECLINED, declined.reason))

    def recover(self, claim: OpenClaim, action: Action | None) -> ActionEvent | None:
        """Deal with a claim that a crash left open; ``action`` is what the rule asks for now, if it still does.

        What ends a call is sent again, for twice ends it once. A redirect is not: it may have been carried out.
        """
        if not self._claims.take_over(claim, until=self._clock.wall() + LEASE):
            return None
        if action is None or isinstance(action.operation, Redirect):
            what = "the rule no longer asks for it" if action is None and claim.action != "redirect" else "not repeated"
            words = f"outcome unknown: callctl stopped before the answer was recorded; {what}"
            return self._settle(claim, action.operation if action else None, Found(UNKNOWN, words))
        asked = _Asked()
        found = self._look(action) or self._send(action, claim, asked)
        if isinstance(found, Held) and found.look_again:
            return None  # it stays open, and is met again
        return self._settle(claim, action.operation, _NO_LONGER if isinstance(found, Held) else found, at=asked.at)

    def _claim(self, claim: OpenClaim, *, exclusive: bool = False) -> bool:
        now = self._clock.wall()
        return self._claims.claim(claim, now=now, until=now + LEASE, exclusive=exclusive)

    def _claim_patiently(self, action: Action, claim: OpenClaim, *, exclusive: bool) -> Found | Held | None:
        """Claim; None if that was done, else why it was not. With ``exclusive`` not while another rule is at work."""

        def once() -> Found | Held | None:
            if self._claim(claim, exclusive=exclusive):
                return None
            if exclusive and self._claims.action_in_progress(action.call_sid, other_than=claim.rule) is not None:
                return Held(look_again=True)  # what came of that is seen then
            return Found(DECLINED, "it was done before")

        return self._patiently(action, once, once_only=False)

    def _taken_up(self, action: Action) -> Found | Held | None:
        return taken_up(self._claims, action, clock=self._clock)

    def _settle(
        self, claim: OpenClaim, deed: Operation | None, found: Found, *, at: datetime | None = None
    ) -> ActionEvent:
        event = found.event(claim, deed, at=at or self._clock.wall())
        for pause in islice(PAUSES.pauses(), SETTLE_TRIES):
            try:
                self._claims.settle(claim, event)
                return event
            except StoreError as error:
                what = f"{claim.action} of {claim.call_sid}: {found.outcome}"
                self._trouble(
                    Trouble(
                        f"{what}, but it is not written down yet: {error.message}", Cause.STORE, call_sid=claim.call_sid
                    )
                )
                self._sleep(pause)
        self._claims.settle(claim, event)
        return event

    def _send(self, action: Action, claim: OpenClaim, asked: _Asked) -> Found | Held:
        def once() -> Found:
            self._claims.renew(claim, until=self._clock.wall() + LEASE)
            asked.at = self._clock.wall()
            try:
                return carry_out(
                    self._api, action.call_sid, action.operation, reported=self._reported_leg, sleep=self._sleep
                )
            except CallctlError as error:
                asked.may_be_done = asked.may_be_done or error.may_be_done
                raise

        found = self._patiently(action, once, once_only=isinstance(action.operation, Redirect)) or _GIVEN_UP
        return _unclear(found) if asked.may_be_done else found

    def _reported_leg(self, sid: str) -> Leg | None:
        try:
            return reported_leg(self._claims.family(sid), sid)
        except StoreError:
            return None  # the request is out, and a fetch tells as well

    def _look(self, action: Action) -> Found | Held | None:
        def once() -> Found | Held | None:
            return why_not(self._api, self._claims, action, clock=self._clock)

        return self._patiently(action, once, once_only=False)

    def _patiently(
        self, action: Action, work: Callable[[], Found | Held | None], *, once_only: bool
    ) -> Found | Held | None:
        """Work until there is an answer, with growing pauses, as long as the rule asks for it."""
        for pause in PAUSES.pauses():
            try:
                return work()
            except StoreError as error:  # before anything is sent: the look, the claim and its renewal
                what = f"rule {action.rule.name} waits, it can't keep what it does: {error.message}"
                self._trouble(Trouble(what, Cause.STORE, call_sid=action.call_sid))
            except CallctlError as error:
                if (found := _meaning(error, once_only=once_only)) is not None:
                    return found
            self._sleep(pause)
            if not self._applies(action):
                break
        return _GIVEN_UP


_GIVEN_UP = Held(look_again=False)
_NO_LONGER = Found(DECLINED, "the rule no longer asked for it when it could be sent")


def _unclear(found: Found | Held) -> Found:
    """Return what came of an action of which an earlier request was not answered, and may have been carried out.

    That may be why the rule no longer asks for it, or why the call is over now.
    """
    words = "outcome unknown: a request was not answered"
    if isinstance(found, Held):
        return Found(UNKNOWN, words)
    is_clear = found.result not in (LATE, REFUSED) or found.status not in (None, *_ENDS_OF_DEEDS)
    return found if is_clear else Found(UNKNOWN, words, found.status, found.code)


def _meaning(error: CallctlError, *, once_only: bool) -> Found | None:
    """Return what a failure means for good, or None if the request may be sent again."""
    if isinstance(error, WrongCallStateError):
        words = f"the call got there first: it is not in a state for this ({error.code or error.status})"
        return Found(LATE, words, code=error.code)
    if isinstance(error, OutcomeUnknownError):
        return Found(UNKNOWN, f"outcome unknown: {error.message}")
    # Refused connections, unknown hosts and 429 were never processed (docs/twilio.md, "Errors", 20429).
    if isinstance(error, RateLimitedError | NetworkError):
        return None
    if isinstance(error, ApiError) and error.status >= 500:
        return Found(UNKNOWN, f"outcome unknown: {error.message}", code=error.code) if once_only else None
    code = error.code if isinstance(error, ApiError) else None
    return Found(REFUSED, f"refused: {error.message}", code=code)
