"""``redirect --dry-run``: what would be sent, what becomes of the other legs, and whether it would be refused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from callctl.calls.call import Call, CallStatus
from callctl.cli import exits
from callctl.cli.io.dry_run import say_nothing_was_sent, show_request
from callctl.cli.io.results import calls, some
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.redirect.preview import Foresight
from callctl.errors import CallctlError, ConditionNotMetError, NotInProgressError, PartlyFailedError
from callctl.operations.reported import with_reported_status

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.api.requests import RedirectRequest
    from callctl.settings import Settings


class Rehearsal:
    """One command's dry run. Calls are looked at, and nothing else is asked of the API.

    ``when_answered``: the redirect would wait until a call is in progress.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        client: ApiClient,
        foresight: Foresight,
        *,
        request: RedirectRequest,
        when_answered: bool,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._client = client
        self._foresight = foresight
        self._request = request
        self._when_answered = when_answered

    def show(self, sids: Sequence[str]) -> None:
        """Show each call's request, in the order in which they would be sent.

        Raises:
            CallctlError: The only call could not be redirected, as it is now.
            PartlyFailedError: Some of several could not.
        """
        at_once = len(sids) > 1 and not self._when_answered
        in_order = list(chain.from_iterable(self._foresight.waves(sids))) if at_once else list(sids)
        failed: list[tuple[str, CallctlError]] = []
        for number, sid in enumerate(in_order):
            if number and self._runtime.form is not Form.JSON:
                self._runtime.write("")
            try:
                self._show(sid)
            except CallctlError as error:
                failed.append((sid, error))
                if len(in_order) > 1:
                    self._runtime.complain(error, code=exits.code_for(error), of=sid)
        say_nothing_was_sent(self._runtime)
        if failed and len(in_order) == 1:
            raise failed[0][1]
        if failed:
            named = some([sid for sid, _ in failed])
            raise PartlyFailedError(
                f"{len(failed)} of {calls(len(in_order))} could not be redirected: {named}",
                hint="`callctl list --live` shows what each call is doing",
            )

    def _show(self, sid: str) -> None:
        foreseen = self._foresight.tell(sid, of_none=True)
        call = None if foreseen.call is None else with_reported_status(foreseen.call, self._foresight.memory.leg(sid))
        status = None if call is None else call.status
        about = {"call_sid": sid, "status": status, **foreseen.to_json()}
        show_request(self._runtime, self._settings, self._client.call_url(sid), self._request, about=about)
        if call is not None:
            self._check(call)

    def _check(self, call: Call) -> None:
        """Raise what the redirect would end in, as the call is now."""
        if call.status == CallStatus.IN_PROGRESS:
            return
        if self._when_answered and not call.is_final:
            self._runtime.say(f"callctl: {call.sid} is {call.status}: it would be sent once the call is in progress")
            return
        told = f"{call.sid} could not be redirected: it is {call.status}"
        if call.is_final:
            # Who has completed was answered: the waiting is over at once, and the redirect is refused.
            never = self._when_answered and call.status != CallStatus.COMPLETED
            kind = ConditionNotMetError if never else NotInProgressError
            raise kind(told, hint="it is over; `callctl list --live` shows the calls that can be redirected")
        command = self._foresight.command(call.sid)
        raise NotInProgressError(told, hint=f"`{command} --when answered` waits until it can be")
