"""Redirecting one call or several: saying what happens to the other leg first, and telling what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from callctl.calls import Call
from callctl.cli.memory import Memory
from callctl.cli.outcomes import Outcome, Teller, calls, failure, show_alone, some
from callctl.cli.runtime import Runtime
from callctl.errors import ApiError, NetworkError, NotFoundError, PartlyFailedError
from callctl.operations import redirecting
from callctl.operations.many import Done, Failed, for_each
from callctl.operations.relatives import Relatives, children_of, look, parent_of

if TYPE_CHECKING:
    from callctl.gateway import Gateway, RedirectRequest
    from callctl.settings import Settings

_PARALLEL = 20


class Redirecting:
    """One command's redirects. ``where`` names the document, ``again`` is the option that gave it."""

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        gateway: Gateway,
        memory: Memory,
        *,
        request: RedirectRequest,
        where: str,
        again: str,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._gateway = gateway
        self._memory = memory
        self._request = request
        self._where = where
        self._again = again
        self._teller = Teller(runtime)
        self._relatives: dict[str, Relatives | None] = {}

    def others(self, sids: Sequence[str], *, on: str) -> list[str]:
        """Return the other legs of some calls: ``on`` is parent or children.

        Raises:
            UnknownCallError: A call has none.
        """
        found = [
            (parent_of(self._gateway, sid),) if on == "parent" else children_of(self._gateway, sid) for sid in sids
        ]
        return list(dict.fromkeys(chain.from_iterable(found)))

    def redirect(self, sids: Sequence[str]) -> None:
        """Redirect the calls, one as well as many; children before their parents, which end the Dial.

        Raises:
            CallctlError: The only one was not redirected.
            PartlyFailedError: Some of several were not.
        """
        if len(sids) == 1:
            self._take_alone(self._one(sids[0]))
        else:
            self._redirect_several(self._waves(sids), self._one)

    def redirect_when_answered(self, sids: Sequence[str], *, limit: float | None) -> None:
        """Redirect each call as soon as it is in progress; ``limit`` is for how many seconds to wait for that.

        Raises:
            CallctlError: The only one was not redirected; WaitTimeoutError: it was not answered in time.
            PartlyFailedError: Some of several were not redirected.
        """

        def work(sid: str) -> Outcome:
            return self._when_answered(sid, limit=limit)

        if len(sids) == 1:
            self._take_alone(work(sids[0]))
        else:
            self._redirect_several([sids], work)

    def _redirect_several(self, waves: Sequence[Sequence[str]], work: Callable[[str], Outcome]) -> None:
        failed: list[str] = []
        for wave in waves:
            for group in for_each(wave, work, parallel=_PARALLEL):
                failed += self._take(group)
        if failed:
            total = sum(map(len, waves))
            raise PartlyFailedError(
                f"{len(failed)} of {calls(total)} not redirected: {some(failed)}",
                hint="`callctl list --live` shows what each call is doing",
            )
        self._teller.finish()

    # One call

    def _when_answered(self, sid: str, *, limit: float | None) -> Outcome:
        from callctl.cli.wait import WatchedStore, waiter_for
        from callctl.operations.waiting import Goal

        with WatchedStore(self._runtime, self._settings) as told:
            waiter = waiter_for(self._runtime, self._gateway, sid, told=told, placed=False)
            waiter.until(Goal.read("answered", option="--when"), limit=limit)
        return self._one(sid)

    def _one(self, sid: str) -> Outcome:
        if sid not in self._relatives:
            self._relatives[sid] = self._look(sid)
        relatives = self._relatives[sid]
        foreseen = [] if relatives is None else redirecting.foresee(relatives, left=self._memory.left_dial)
        if relatives is not None and foreseen:
            self._foretell(relatives.call, foreseen)
        self._memory.intend([sid])
        call = redirecting.redirect(
            self._gateway,
            sid,
            self._request,
            command=self._command(sid),
            told=lambda: self._memory.leg(sid),
            sleep=time.sleep,
            monotonic=time.monotonic,
            now=self._runtime.now,
        )
        return Outcome(
            "redirect",
            sid,
            "redirected",
            f"redirected to {self._where}: {sid} is {call.status}",
            tuple(self._request.parameters()),
            f"to {self._where}",
            call,
            more={
                "other_legs": [
                    {"call_sid": other.sid, "relation": other.relation, "effect": other.effect} for other in foreseen
                ]
            },
        )

    def _look(self, sid: str) -> Relatives | None:
        try:
            return look(self._gateway, sid)
        except NotFoundError:
            raise
        except (ApiError, NetworkError) as error:
            self._runtime.say(f"callctl: can't tell what happens to the other leg of {sid}: {error.message}")
            return None

    def _foretell(self, call: Call, foreseen: Sequence[redirecting.OtherLeg]) -> None:
        lines = [f"callctl: {call.sid} is {redirecting.whose_phone(call)}"]
        lines += [f"callctl: its {other.relation} leg {other.sid}: {other.effect}" for other in foreseen]
        lines += [f"hint: for the other leg: {self._command(other.sid)}" for other in foreseen if other.goes_on]
        self._runtime.say("\n".join(lines))

    def _command(self, sid: str) -> str:
        return f"callctl redirect {sid} {self._again}"

    # Several

    def _waves(self, sids: Sequence[str]) -> list[list[str]]:
        """Look at all of them; return the children, then the rest."""
        for group in for_each(sids, self._look, parallel=_PARALLEL):
            for result in group:
                if isinstance(result, Done):
                    self._relatives[result.sid] = result.value
        parents = {sid: found.parent_sid for sid, found in self._relatives.items() if found is not None}
        children = [sid for sid in sids if parents.get(sid) in sids]
        bridged = [sid for sid in children if self._memory.left_dial(sid) is None]
        if bridged:
            self._runtime.say(
                f"callctl: both legs of a <Dial> are named ({some(bridged)} and its parent): redirecting the first "
                "ends the Dial, and a parent without a next verb hangs up before its turn\n"
                "hint: redirect the child alone, and let the Dial's action bring the parent where it shall go"
            )
        return [children, [sid for sid in sids if sid not in children]]

    # Telling

    def _take_alone(self, told: Outcome) -> None:
        self._memory.note([told.to_event(self._runtime.now())])
        show_alone(self._runtime, told)

    def _take(self, group: Sequence[Done[Outcome] | Failed]) -> list[str]:
        """Show and write down what came of some; return those that failed."""
        done = [result.value for result in group if isinstance(result, Done)]
        failed = [result for result in group if isinstance(result, Failed)]
        for told in done:
            self._teller.tell(told)
        for result in failed:
            request = tuple(self._request.parameters())
            self._teller.tell(failure("redirect", result.sid, request=request, error=result.error))
        if done:
            self._memory.note([told.to_event(self._runtime.now()) for told in done])
        return [result.sid for result in failed]
