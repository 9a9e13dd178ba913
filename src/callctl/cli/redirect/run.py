"""Redirecting one call or several, and telling what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from callctl.cli.io.results import Outcome, Teller, calls, failure, show_alone, some
from callctl.cli.io.runtime import Runtime
from callctl.cli.options.history import Memory
from callctl.cli.redirect.preview import PARALLEL, Foresight
from callctl.errors import PartlyFailedError
from callctl.operations import redirect
from callctl.operations.bulk import Done, Failed, for_each
from callctl.support.clock import elapsed

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.api.requests import RedirectRequest
    from callctl.operations.wait import Goal
    from callctl.settings import Settings


class Redirecting:
    """One command's redirects; ``where`` names the document."""

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        client: ApiClient,
        memory: Memory,
        foresight: Foresight,
        *,
        request: RedirectRequest,
        where: str,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._client = client
        self._memory = memory
        self._foresight = foresight
        self._request = request
        self._where = where
        self._teller = Teller(runtime)

    def redirect(self, sids: Sequence[str]) -> None:
        """Redirect the calls, one as well as many; children before their parents, which end the Dial.

        Raises:
            CallctlError: The only one was not redirected.
            PartlyFailedError: Some of several were not.
        """
        if len(sids) == 1:
            self._take_alone(self._one(sids[0]))
        else:
            self._redirect_several(self._foresight.waves(sids), self._one)

    def redirect_when(self, goal: Goal, sids: Sequence[str], *, limit: float | None) -> None:
        """Redirect each call as soon as it gets to the goal; ``limit`` is for how many seconds to wait for that.

        Raises:
            CallctlError: The only one was not redirected; WaitTimeoutError: it did not get there in time.
            PartlyFailedError: Some of several were not redirected.
        """

        def work(sid: str) -> Outcome:
            return self._when(goal, sid, limit=limit)

        if len(sids) == 1:
            self._take_alone(work(sids[0]))
        else:
            self._redirect_several([sids], work)

    def _redirect_several(self, waves: Sequence[Sequence[str]], work: Callable[[str], Outcome]) -> None:
        failed: list[str] = []
        for wave in waves:
            for group in for_each(wave, work, parallel=PARALLEL):
                failed += self._take(group)
        if failed:
            total = sum(map(len, waves))
            raise PartlyFailedError(
                f"{len(failed)} of {calls(total)} not redirected: {some(failed)}",
                hint="`callctl list --live` shows what each call is doing",
            )
        self._teller.finish()

    # One call

    def _when(self, goal: Goal, sid: str, *, limit: float | None) -> Outcome:
        from callctl.cli.wait import WatchedStore, waiter_for

        with WatchedStore(self._runtime, self._settings) as told:
            waiter = waiter_for(self._runtime, self._client, sid, told=told, placed=False)
            waiter.until(goal, limit=limit)
        return self._one(sid)

    def _one(self, sid: str) -> Outcome:
        foreseen = self._foresight.tell(sid)
        self._memory.intend([sid])
        with self._memory.asking(sid, "redirect", tuple(self._request.parameters())):
            call = redirect.redirect(
                self._client,
                sid,
                self._request,
                command=self._foresight.command(sid),
                reported=lambda: self._memory.leg(sid),
                sleep=time.sleep,
                monotonic=elapsed,
                now=self._runtime.now,
            )
        now = f" is {call.status}" if call.status else "; the answer could not be read whole"
        return Outcome(
            "redirect",
            sid,
            "redirected",
            f"redirected to {self._where}: {sid}{now}",
            tuple(self._request.parameters()),
            f"to {self._where}",
            call if call.status else None,
            more=foreseen.to_json(),
        )

    # Telling

    def _take_alone(self, told: Outcome) -> None:
        self._memory.note([told.to_event(self._memory.asked_at(told.sid))])
        self._memory.told([told.sid])
        show_alone(self._runtime, told)

    def _take(self, group: Sequence[Done[Outcome] | Failed]) -> list[str]:
        """Show and write down what came of some; return those that failed."""
        done = [result.value for result in group if isinstance(result, Done)]
        failed = [result for result in group if isinstance(result, Failed)]
        dealt_with: list[Outcome] = []
        try:
            for told in done:
                self._teller.tell(told)
                dealt_with.append(told)
            for result in failed:
                request = tuple(self._request.parameters())
                self._teller.tell(failure("redirect", result.sid, request=request, error=result.error))
        finally:  # Ctrl-C too: what has been told is known
            if dealt_with:
                self._memory.note([told.to_event(self._memory.asked_at(told.sid)) for told in dealt_with])
                self._memory.told(told.sid for told in dealt_with)
        return [result.sid for result in failed]
