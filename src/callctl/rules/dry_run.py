"""The rehearsal: what the rules would do, told and not done."""

from __future__ import annotations

from callctl.api.protocol import CallsApi
from callctl.calls.action import DRY_RUN, ActionEvent
from callctl.errors import CallctlError
from callctl.rules.outcome import Claims, Found, Held, claim_of
from callctl.rules.precheck import why_not
from callctl.rules.rule import Action, Declined, Proposal, Redirect
from callctl.store.records import OpenClaim
from callctl.support.clock import Clock


class Rehearsal:
    """Takes the executor's place under ``--dry-run``: it looks, and neither claims, nor sends, nor writes down."""

    def __init__(self, api: CallsApi, claims: Claims, *, clock: Clock) -> None:
        """Prepare."""
        self._api = api
        self._claims = claims
        self._clock = clock

    def perform(self, action: Action) -> ActionEvent | Held | None:
        """Return what would be done, or why it would not."""
        try:
            reason = why_not(self._api, self._claims, action, clock=self._clock)
        except CallctlError as error:
            return self._event(action, f"would look first, but can't: {error.message}")
        if isinstance(reason, Held):
            return reason
        if reason is not None:
            return self._event(action, f"would not be done: {reason.outcome}")
        deed = action.operation
        to = f" to {deed.name}" if isinstance(deed, Redirect) else ""
        return self._event(action, f"would {deed.action.replace('hangup', 'hang up')}{to}")

    def decline(self, declined: Declined) -> ActionEvent | None:
        """Return why nothing would be done."""
        return self._event(declined, f"would not be done: {declined.reason}")

    def recover(self, _claim: OpenClaim, _action: Action | None, /) -> ActionEvent | None:
        """Leave what a crash left to a watch that acts."""
        return None

    def _event(self, asked: Proposal, words: str) -> ActionEvent:
        return Found(DRY_RUN, f"dry run: {words}").event(claim_of(asked), asked.operation, at=self._clock.wall())
