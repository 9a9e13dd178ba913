"""The executors of actions: one sends what rules propose, the other, for a dry run, reports what would be sent.

The order of an action's steps makes a crash safe: check, claim (committed), send, record (in the commit that closes the
claim). A crash between two of these leaves either nothing, or an open claim that the next watch finds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from callctl.api.calls_api import CallsApi
from callctl.api.requests import RedirectRequest
from callctl.calls.action import DECLINED, DONE, DRY_RUN, LATE, NOT_ENDED, REFUSED, UNKNOWN, ActionEvent
from callctl.calls.call import CallStatus, is_final
from callctl.calls.leg import Leg
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import (
    ApiError,
    AuthenticationError,
    CallctlError,
    NetworkError,
    NoLongerWantedError,
    NotFoundError,
    NoThreadError,
    OutcomeUnknownError,
    RateLimitedError,
    StoreError,
    WrongCallStateError,
)
from callctl.operations import hangup
from callctl.operations.hangup import HangupOutcome, ReportedLeg, Result, Sleep
from callctl.operations.redirect import send_redirect
from callctl.operations.reported_status import reported_leg
from callctl.rules.outcome import Declination, Outcome, Postponed, Unsent, too_late
from callctl.rules.precheck import (
    handled_already,
    may_be_behind,
    precheck,
    reported_beyond,
    reported_conversation,
)
from callctl.rules.rule import Action, Cancel, Declined, Hangup, Limit, Operation, Proposal, Redirect
from callctl.store.event_store import EventStore
from callctl.store.records import ActionLimit, OpenClaim, Refusal
from callctl.support.backoff import Backoff
from callctl.support.clock import Clock

# Longer than one request with all its repetitions may take; renewed before each further one.
LEASE = timedelta(seconds=90)
PAUSES = Backoff(first=1.0, factor=2, longest=30.0)  # the API client has repeated the request five times by then
# For how long an action is tried that must be soon: an outage may be short, and then the caller is elsewhere.
SOON = timedelta(minutes=1)
SETTLE_TRIES = 5  # their pauses together, 31 s, are within the lease, so that no other watch takes the claim over

_ENDS_BY_REQUEST = (CallStatus.COMPLETED, CallStatus.CANCELED)  # the statuses that a hang-up or a cancel leads to

Applies = Callable[[Action], bool]


class Executor:
    """Does what rules propose. Blocks: call it in a thread of its own. Safe for several threads."""

    def __init__(
        self,
        api: CallsApi,
        store: EventStore,
        *,
        clock: Clock,
        sleep: Sleep,
        applies: Applies,
        report: Callable[[Trouble], None],
    ) -> None:
        """Prepare.

        ``applies`` returns whether a rule still proposes an action, as far as the board knows; ``report`` gets, each
        time, the reason why an action can't be done yet.
        """
        self._api = api
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._applies = applies
        self._report = report

    def execute(
        self, action: Action, *, limit: ActionLimit | None = None
    ) -> ActionEvent | Declination | Unsent | Postponed | None:
        """Do an action; return what came of it, or None if another watch took it over meanwhile.

        ``limit`` is for all watches that share the store: beyond it the action is postponed. What need not be sent
        does not count: after a pause the rules find many calls that ended meanwhile. Nothing is sent before the claim
        is stored: a full disk is waited for, as long as the rule proposes the action.

        Raises:
            StoreError: What came of it could not be stored; the claim stays open, as after a crash.
        """
        action = replace(action, turned_away_since=action.turned_away_since or self._clock.now())
        known = self._with_retries(action, partial(self._unless_settled, action))
        if isinstance(known, Postponed):
            return Declination(None) if known is _CLAIMED_BEFORE else known
        sending = _Sending(self._clock.now())  # before the check: its reply may be on its way for long
        outcome = known or self._precheck(action)
        if isinstance(outcome, Postponed):
            return outcome
        if outcome is not None and outcome.result == DECLINED:
            return Declination(self._decline(_claim_for(action), action.operation, outcome))
        is_needless = outcome is not None
        is_exclusive = action.rule.follows_dial and not is_needless
        claim = self._claim_with_retries(action, exclusive=is_exclusive, limit=None if is_needless else limit)
        if isinstance(claim, Outcome):
            return Declination(self._decline(_claim_for(action), action.operation, claim))
        if isinstance(claim, Postponed):
            # Who holds the claim may let go of it, as where REST refuses the credentials of that one.
            is_done = claim is _CLAIMED_BEFORE or (is_needless and claim.retry)
            return Declination(None) if is_done else claim
        if is_exclusive:  # between the check and the claim another rule, or a command, may have been quicker
            outcome = self._with_retries(action, partial(handled_already, self._store, action, clock=self._clock))
        if outcome is None and action.rule.leaves_conversations_alone:
            # A callback may have come since the check, while REST replied and the claim was stored.
            check = partial(reported_conversation, self._api, self._store, action, clock=self._clock)
            outcome = self._with_retries(action, check)
            outcome = outcome or (None if self._applies(action) else _NO_LONGER_PROPOSED)
        outcome = outcome or self._send(action, claim, sending)
        if isinstance(outcome, Postponed) and (outcome.retry or action.rule.follows_dial):
            self._store.release(claim)  # the caller has another leg, whose end may have the action done after all
            return outcome
        outcome = _final(outcome)
        if outcome.result == DECLINED and not sending.may_be_done:
            event = self._decline(claim, action.operation, outcome)
            return event and Declination(event)
        event = self._settle(claim, action.operation, outcome, at=sending.at)
        return Unsent(event) if sending.at is None else event

    def decline(self, declined: Declined) -> ActionEvent | None:
        """Record why a rule does not propose an action; None if that was recorded before."""
        return self._decline(_claim_for(declined), declined.operation, Outcome(DECLINED, declined.reason))

    def recover(self, claim: OpenClaim, action: Action | None) -> ActionEvent | None:
        """Finish a claim that a crash left open; ``action`` is what the rule proposes now, if it still does.

        What ends a call is sent again, since a call ends only once. A redirect is not: it may have been carried out.
        """
        now = self._clock.wall()
        renewed = self._store.take_over(claim, now=now, until=now + LEASE)
        if renewed is None:
            return None
        claim = renewed
        if action is None or isinstance(action.operation, Redirect):
            why = "the rule no longer proposes it" if action is None and claim.action != "redirect" else "not repeated"
            text = f"outcome unknown: callctl stopped before the answer was recorded; {why}"
            return self._settle(claim, action.operation if action else None, Outcome(UNKNOWN, text))
        sending = _Sending(self._clock.now())
        outcome = self._precheck(action) or self._send(action, claim, sending, keeps_claim=True)
        if isinstance(outcome, Postponed) and outcome.retry:
            return None  # the claim stays open, and is found again
        return self._settle(claim, action.operation, _final(outcome), at=sending.at)

    def _precheck(self, action: Action) -> Outcome | Postponed | None:
        def check() -> Outcome | Postponed | None:
            return self._unless_late(action) or precheck(self._api, self._store, action, clock=self._clock)

        return self._with_retries(action, check)

    def _unless_settled(self, action: Action) -> Postponed | None:
        """Return that what came of an action, or why it was declined, is in the store already."""
        return _CLAIMED_BEFORE if self._store.is_settled(_claim_for(action)) else None

    def _unless_late(self, action: Action) -> Outcome | None:
        """Return that an action that must be soon could not be done for too long; None if it may be done."""
        if action.turned_away_since is None or not action.must_be_soon:
            return None
        waited = self._clock.now() - action.turned_away_since
        if waited <= SOON:
            return None
        return Outcome(DECLINED, f"too late: for {waited.total_seconds():.0f} s it could not be done")

    def _claim_with_retries(
        self, action: Action, *, exclusive: bool, limit: ActionLimit | None
    ) -> OpenClaim | Postponed | Outcome:
        """Claim, also where the store has to be waited for; return the claim, or that nothing may be sent."""
        claims: list[OpenClaim] = []

        def claim_once() -> Postponed | Outcome | None:
            if (late := self._unless_late(action)) is not None:
                return late
            now = self._clock.wall()
            wanted = _claim_for(action)
            claimed = self._store.claim(wanted, now=now, until=now + LEASE, exclusive=exclusive, limit=limit)
            if claimed is Refusal.CLAIMED_BEFORE:
                return self._unless_settled(action) or _waiting(action)
            if claimed is Refusal.OTHER_IN_PROGRESS:
                return _waiting(action)  # what comes of that is seen then
            if isinstance(claimed, Refusal):
                return _UNCLAIMED[claimed]
            claims.append(claimed)
            return None

        unclaimed = self._with_retries(action, claim_once)
        return claims[0] if claims else unclaimed or _NO_LONGER_PROPOSED

    def _renew(self, claim: OpenClaim) -> bool:
        now = self._clock.wall()
        return self._store.renew(claim, now=now, until=now + LEASE)

    def _send(
        self, action: Action, claim: OpenClaim, sending: _Sending, *, keeps_claim: bool = False
    ) -> Outcome | Postponed:
        """Send a request until it is answered; without ``keeps_claim`` let another listener do what this one can't."""

        def is_wanted(may_be_done: bool) -> bool:
            if not self._renew(claim):  # the pauses may be longer than a lease, and so may the check
                return False
            return self._recheck(action, may_be_done=may_be_done, with_board=True) is None and self._renew(claim)

        def check_and_send() -> Outcome | Postponed:
            if not sending.may_be_done and (late := self._unless_late(action)) is not None:
                return late
            if not self._renew(claim):
                return _NO_LONGER_PROPOSED  # another watch took the claim over while this one was suspended
            # Also where the store was waited for: the callback of an answer may have been refused meanwhile.
            if sending.at is not None or self._clock.now() - sending.checked_at >= _STALE:
                outcome = self._recheck(action, may_be_done=sending.may_be_done, with_board=False)
                if isinstance(outcome, Postponed) and not action.rule.follows_dial:
                    raise NoLongerWantedError("not yet")  # REST is behind: that passes
                if outcome is not None:
                    return outcome
                if not self._renew(claim):
                    return _NO_LONGER_PROPOSED
            if not sending.may_be_done and (beyond := reported_beyond(self._store, action)) is not None:
                return beyond
            sending.at = self._clock.wall()
            api = self._api.while_wanted(is_wanted)
            try:
                return _request(
                    api,
                    action.call_sid,
                    action.operation,
                    reported=self._reported_leg,
                    sleep=self._sleep,
                    clock=self._clock,
                )
            except CallctlError as error:
                sending.may_be_done = sending.may_be_done or error.may_be_done
                raise

        def send_once() -> Outcome | Postponed:
            try:
                return check_and_send()
            except CallctlError as error:
                if not keeps_claim and not sending.may_be_done and self._is_own_failure(action, error):
                    with suppress(StoreError):  # else this one waits with the claim
                        self._store.release(claim)
                        return _waiting(action)
                raise

        is_redirect = isinstance(action.operation, Redirect)
        outcome = self._with_retries(action, send_once, send_at_most_once=is_redirect) or _NO_LONGER_PROPOSED
        return _after_unanswered_request(outcome) if sending.may_be_done else outcome

    def _recheck(self, action: Action, *, may_be_done: bool, with_board: bool) -> Outcome | Postponed | None:
        """Check before a request that failed is sent again: the call may have moved on. None if it may be sent.

        ``with_board`` also checks whether the rule still proposes the action, as far as the board knows.

        Raises:
            CallctlError: The API or the store could not be queried.
        """
        try:
            outcome = precheck(self._api, self._store, replace(action, needs_precheck=True), clock=self._clock)
        except CallctlError as error:
            if _final_failure(error, send_at_most_once=False) is None:
                raise _NotYetError(error.message) from error  # it is checked again
            raise
        if outcome is None:
            return None if not with_board or self._applies(action) else _NO_LONGER_PROPOSED
        if may_be_done and isinstance(outcome, Outcome) and is_final(outcome.status or ""):
            return None  # the answer to the next request shows whether an earlier one ended the call
        return outcome

    def _reported_leg(self, sid: str) -> Leg | None:
        try:
            return reported_leg(self._store.family(sid), sid)
        except StoreError:
            return None  # the request is sent, and a fetch shows the call as well

    def _with_retries(
        self, action: Action, step: Callable[[], Outcome | Postponed | None], *, send_at_most_once: bool = False
    ) -> Outcome | Postponed | None:
        """Try a step with growing pauses until it succeeds or fails for good, while the rule proposes the action."""
        for pause in PAUSES.pauses():
            try:
                return step()
            except StoreError as error:  # before anything is sent: the check, the claim and its renewal
                text = f"rule {action.rule.name} waits, it can't keep what it does: {error.message}"
                self._report(Trouble(text, Cause.STORE, call_sid=action.call_sid))
            except CallctlError as error:
                self._report_if_odd(action, error)
                rest_lags = isinstance(error, NotFoundError) and may_be_behind(action, clock=self._clock)
                outcome = None if rest_lags else _final_failure(error, send_at_most_once=send_at_most_once)
                if outcome is not None:
                    return outcome
            self._sleep(pause)
            if not self._applies(action):
                break
        return _NO_LONGER_PROPOSED

    def _is_own_failure(self, action: Action, error: CallctlError) -> bool:
        """Return whether nothing was sent for a reason that another listener may not have; report what is to be."""
        if isinstance(error, _NotYetError) and isinstance(error.__cause__, CallctlError):
            error = error.__cause__
        is_final = _final_failure(error, send_at_most_once=isinstance(action.operation, Redirect)) is not None
        if is_final or not (isinstance(error, NetworkError | NoThreadError) or _is_turned_away(error)):
            return False
        self._report_if_odd(action, error)
        return True

    def _report_if_odd(self, action: Action, error: CallctlError) -> None:
        if isinstance(error, NoThreadError) or _is_turned_away(error):
            text = f"rule {action.rule.name} waits: {error.message}"
            self._report(Trouble(text, Cause.RULE, call_sid=action.call_sid))

    def _settle(
        self, claim: OpenClaim, operation: Operation | None, outcome: Outcome, *, at: datetime | None = None
    ) -> ActionEvent | None:
        """Record what came of an action; return None where another watch took its claim over, which records it."""
        at = at or self._clock.wall()
        return self._record(lambda *one: self._store.settle(*one), claim, operation, outcome, at=at)

    def _decline(self, claim: OpenClaim, operation: Operation, outcome: Outcome) -> ActionEvent | None:
        """Record that an action was declined; return None where that was recorded before, or the action is another's.

        The claim may be held or not: from now on it is free for what another leg leads to.
        """
        return self._record(lambda *one: self._store.decline(*one), claim, operation, outcome, at=self._clock.wall())

    def _record(
        self,
        record: Callable[[OpenClaim, ActionEvent], bool],
        claim: OpenClaim,
        operation: Operation | None,
        outcome: Outcome,
        *,
        at: datetime,
    ) -> ActionEvent | None:
        event = outcome.to_event(claim, operation, at=at)
        for pause in islice(PAUSES.pauses(), SETTLE_TRIES):
            try:
                return event if record(claim, event) else None
            except StoreError as error:
                what = f"{claim.action} of {claim.call_sid}: {outcome.text}"
                text = f"{what}, but it is not written down yet: {error.message}"
                self._report(Trouble(text, Cause.STORE, call_sid=claim.call_sid))
                self._sleep(pause)
        return event if record(claim, event) else None


class DryRun:
    """Stands in for the executor under ``--dry-run``: it checks, but neither claims, nor sends, nor records."""

    def __init__(self, api: CallsApi, store: EventStore, *, clock: Clock) -> None:
        """Prepare."""
        self._api = api
        self._store = store
        self._clock = clock

    def execute(
        self,
        action: Action,
        *,
        limit: ActionLimit | None = None,  # noqa: ARG002
    ) -> ActionEvent | Declination | Unsent | Postponed | None:
        """Return what would be done, or why it would not."""
        try:
            outcome = precheck(self._api, self._store, action, clock=self._clock)
        except CallctlError as error:
            return self._event(action, f"would look first, but can't: {error.message}")
        if isinstance(outcome, Postponed):
            return outcome
        if outcome is not None:
            event = self._event(action, f"would not be done: {outcome.text}")
            return Declination(event) if outcome.result == DECLINED else Unsent(event)
        operation = action.operation
        to = f" to {operation.name}" if isinstance(operation, Redirect) else ""
        return self._event(action, f"would {operation.action.replace('hangup', 'hang up')}{to}")

    def decline(self, declined: Declined) -> ActionEvent | None:
        """Return why nothing would be done."""
        return self._event(declined, f"would not be done: {declined.reason}")

    def recover(self, _claim: OpenClaim, _action: Action | None, /) -> ActionEvent | None:
        """Leave a crash's open claims to a watch that acts."""
        return None

    def _event(self, proposal: Proposal, text: str) -> ActionEvent:
        outcome = Outcome(DRY_RUN, f"dry run: {text}")
        return outcome.to_event(_claim_for(proposal), proposal.operation, at=self._clock.wall())


@dataclass(slots=True)
class _Sending:
    """The requests of one action.

    ``checked_at`` is when the call was checked, by the steady clock; ``at`` when a request was last sent, None before.
    ``may_be_done``: a request without an answer may have been carried out.
    """

    checked_at: datetime
    at: datetime | None = None
    may_be_done: bool = False


class _NotYetError(NoLongerWantedError):
    """The check before a request is sent again failed for a reason that passes, which is the cause."""


# A check that is older is repeated before the first request.
_STALE = timedelta(seconds=1)
_NO_LONGER_PROPOSED = Postponed(retry=False)
_CLAIMED_BEFORE = Postponed(retry=False)
_UNCLAIMED = {
    Refusal.SECOND_IS_FULL: Postponed(retry=True, not_before=timedelta(seconds=1)),
    Refusal.MINUTE_IS_FULL: Postponed(retry=False, limit_reached=True),
}


def _waiting(action: Action) -> Postponed:
    """Return that an action is tried again, and since when it could not be done."""
    return Postponed(retry=True, turned_away_since=action.turned_away_since)


def _claim_for(proposal: Proposal) -> OpenClaim:
    return OpenClaim(proposal.rule.name, proposal.call_sid, proposal.about, proposal.operation.action)


def _final(outcome: Outcome | Postponed) -> Outcome:
    if isinstance(outcome, Postponed):
        return Outcome(DECLINED, "the rule no longer applied when it could be sent")
    return outcome


def _final_failure(error: CallctlError, *, send_at_most_once: bool) -> Outcome | None:
    """Return the outcome of a failure that is final, or None if the request may be sent again."""
    if isinstance(error, NoLongerWantedError):
        return None  # it is checked again, while the rule proposes it
    if isinstance(error, WrongCallStateError):
        text = f"the call got there first: it is not in a state for this ({error.code or error.status})"
        return Outcome(LATE, text, code=error.code)
    if isinstance(error, OutcomeUnknownError):
        return Outcome(UNKNOWN, f"outcome unknown: {error.message}")
    if isinstance(error, ApiError) and (error.may_be_done or error.status >= 500):
        return Outcome(UNKNOWN, f"outcome unknown: {error.message}", code=error.code) if send_at_most_once else None
    # Without a thread, a connection or an address nothing was sent; 429 was never processed (docs/twilio.md, "Errors",
    # 20429), nor was what was turned away.
    if isinstance(error, RateLimitedError | NetworkError | NoThreadError) or _is_turned_away(error):
        return None
    code = error.code if isinstance(error, ApiError) else None
    return Outcome(REFUSED, f"refused: {error.message}", code=code)


def _is_turned_away(error: CallctlError) -> bool:
    """Return whether a refusal is of who requests, or a proxy's, and says nothing of the call.

    A token may be replaced while a listener runs, and a proxy may let nothing through for a moment.
    """
    elsewhere = isinstance(error, ApiError) and (300 <= error.status < 400 or error.status == 407)
    return elsewhere or isinstance(error, AuthenticationError)


def _after_unanswered_request(outcome: Outcome | Postponed) -> Outcome:
    """Return the outcome of an action of which an earlier request was not answered, and may have been carried out.

    That may be why the rule no longer proposes the action, or why the call is over now.
    """
    text = "outcome unknown: a request was not answered"
    if isinstance(outcome, Postponed):
        return Outcome(UNKNOWN, text)
    is_clear = outcome.result not in (LATE, REFUSED) or outcome.status not in (None, *_ENDS_BY_REQUEST)
    return outcome if is_clear else Outcome(UNKNOWN, text, outcome.status, outcome.code)


def _request(
    api: CallsApi, sid: str, operation: Operation, *, reported: ReportedLeg, sleep: Sleep, clock: Clock
) -> Outcome:
    """Send an operation's request once; ``reported`` returns a leg as callbacks reported it.

    Raises:
        CallctlError: It was refused, or no answer came.
    """
    match operation:
        case Cancel():
            return _cancel(api, sid, operation, reported=reported, sleep=sleep, clock=clock)
        case Hangup():
            return _hangup_outcome(hangup.hang_up(api, sid, reported=reported, sleep=sleep, clock=clock), "hung up")
        case Redirect():
            request = RedirectRequest(url=operation.url, method=operation.method)
            call, was_over = send_redirect(api, sid, request, reported=lambda: reported(sid), clock=clock)
            if was_over:
                return too_late(call.status)
            return Outcome(DONE, f"redirected to {operation.name}", call.status or None)
        case Limit():
            call = api.limit_time(sid, operation.seconds)
            return Outcome(DONE, f"Twilio ends it {operation.seconds} s after its answer", call.status or None)


def _cancel(api: CallsApi, sid: str, cancel: Cancel, *, reported: ReportedLeg, sleep: Sleep, clock: Clock) -> Outcome:
    ending = hangup.cancel(api, sid, reported=reported, sleep=sleep, clock=clock)
    match ending.result:
        case Result.ENDED:
            return Outcome(DONE, "ended before it was answered", ending.call.status)
        case Result.ALREADY_OVER | Result.NOT_ENDED:
            return _late_outcome(ending)
        case Result.ACCEPTED:  # Twilio ends it unless it was answered meanwhile, so it must not be hung up
            shown = f", and REST still shows it as {ending.call.status}" if ending.call.status else ""
            return Outcome(UNKNOWN, f"outcome unknown: Twilio took it{shown}")
    if not cancel.cut_answered:
        return Outcome(NOT_ENDED, "Twilio did not end it", ending.call.status)
    ending = hangup.hang_up(api, sid, reported=reported, sleep=sleep, clock=clock)
    return _hangup_outcome(ending, "Twilio did not end it, so it was hung up")


def _hangup_outcome(ending: HangupOutcome, text: str) -> Outcome:
    if ending.result is Result.ALREADY_OVER:
        return _late_outcome(ending)
    return Outcome(DONE, text, ending.call.status or None)


def _late_outcome(ending: HangupOutcome) -> Outcome:
    code = None if ending.refusal is None else ending.refusal.code
    if ending.may_be_by_earlier_try:
        text = "outcome unknown: it is over, and the first request was not answered"
        return Outcome(UNKNOWN, text, code=code)
    return too_late(ending.call.status, is_over=ending.result is Result.ALREADY_OVER, code=code)
