"""Ending many calls: which, after asking, several at once, and told one by one."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from callctl.calls.call import Call, CallStatus
from callctl.calls.filter import CallFilter
from callctl.cli.hangup.confirm import Consent
from callctl.cli.hangup.one import RINGS_ON, Manner, asked_for, ender, outcome_of
from callctl.cli.io.lasting import StatusSince
from callctl.cli.io.progress import Progress
from callctl.cli.io.results import DRY_RUN, FAILED, Outcome, Teller, calls, failure, show_among_others, some
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options.filters import find_calls, without_answered
from callctl.cli.options.history import Memory
from callctl.errors import CallctlError, NotEndedError, PartlyFailedError, WaitTimeoutError
from callctl.operations.bulk import Done, Failed, for_each
from callctl.operations.family import family_of
from callctl.support.backoff import LAST_QUESTION
from callctl.support.clock import elapsed
from callctl.support.threads import run_with_time_limit

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.operations.hangup import HangupOutcome

_BAR = 20  # characters
_PAUSE = 1.0  # seconds between two rounds
# Queued calls first, or they would ring meanwhile; an answered one is already being paid for.
_ORDER = (CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS)


class Many:
    """One command's hang-up of many calls."""

    def __init__(
        self,
        runtime: Runtime,
        client: ApiClient,
        memory: Memory,
        *,
        manner: Manner,
        parallel: int,
        dry_run: bool,
        consent: Consent,
    ) -> None:
        self._runtime = runtime
        self._client = client
        self._memory = memory
        self._manner = manner
        self._parallel = parallel
        self._dry_run = dry_run
        self._consent = consent
        self._promise: CallFilter | None = None
        self._deadline: float | None = None
        self._teller = Teller(runtime)
        self._outcomes: dict[str, Outcome] = {}

    def end_named(self, sids: Sequence[str], *, family: bool, on_stdin: bool) -> None:
        """End the calls that were named; ``family`` adds the other legs of each.

        Raises:
            CallctlError: The only one was not ended.
            UsageError: Many came on stdin, and nothing says that they are all meant.
            PartlyFailedError: Some were not ended.
        """
        if on_stdin and len(sids) > 1 and not self._dry_run:
            self._consent.check_stdin(len(sids))
        waves: list[list[str]] = [list(sids)]
        if family:
            families = [family_of(self._client, sid) for sid in sids]
            heads = list(dict.fromkeys(members[0] for members in families))
            rest = dict.fromkeys(chain.from_iterable(members[1:] for members in families))
            waves = [heads, [sid for sid in rest if sid not in heads]]
        if self._dry_run:
            self._rehearse(list(chain.from_iterable(waves)))
            return
        self._end(waves)
        self._sum_up()

    def end_matching(self, chosen: CallFilter, *, repeat: float | None) -> None:
        """End the live calls that match, after asking; with ``repeat`` again for so many seconds, until none does.

        The filters are a promise. Where calls in progress are not meant, Twilio itself keeps it: ``Status=canceled``
        ends no answered call. With any other filter each call is looked at once more, just before it is ended.

        Raises:
            UsageError: More match than --max allows, or nobody can be asked and the flags for that case are missing.
            PartlyFailedError: Some were not ended.
            WaitTimeoutError: New ones came as fast as they were ended, or the API did not answer in time.
        """
        self._begin(repeat)
        if self._manner.only_ringing:
            chosen = without_answered(chosen)
        elif chosen.excludes_answered:
            self._manner = replace(self._manner, only_ringing=True)
        since = StatusSince(self._memory.leg)
        self._promise = chosen = replace(chosen, status_since=since)
        if not self._dry_run:
            self._consent.check_flags(self._runtime)
        matching = self._matching(chosen)
        if not matching:
            self._runtime.say("callctl: no live call matches")
            return
        if (words := since.in_words(call.sid for call in matching)) is not None:
            self._runtime.say(f"callctl: {words}")
        if self._dry_run:
            self._show_dry(self._as_told(matching))
            return
        if not self._consent.yes:
            self._consent.ask(self._runtime, self._as_told(matching), timed=chosen.concerns_time)
            self._begin(repeat)
        if self._deadline is not None:
            self._runtime.say(
                "callctl: repeating until no call matches; this does not stop the application that places them"
            )
        self._end_listed(matching)
        self._sum_up(() if self._deadline is None else self._repeat(chosen, deadline=self._deadline))

    def _begin(self, seconds: float | None) -> None:
        """Have all that follows end after so many seconds; None stands for no limit."""
        self._deadline = None if seconds is None else elapsed() + seconds

    def _matching(self, chosen: CallFilter) -> list[Call]:
        left = math.inf if self._deadline is None else max(self._deadline - elapsed(), LAST_QUESTION)
        with Progress(self._runtime, lambda count: f"{calls(count)} found") as progress:
            try:
                found = progress.counted(find_calls(self._client, chosen, limit=None))
                matching = list(found) if math.isinf(left) else run_with_time_limit(left, lambda: list(found))
            except TimeoutError:
                raise WaitTimeoutError(
                    "the API has not told in time which calls match; no call was ended",
                    hint="give it longer with --wait-timeout; `callctl list --live` shows the calls",
                ) from None
        if not self._dry_run:
            self._consent.check_count(len(matching), which="match")
        matching.sort(key=_urgency)
        return matching

    def _as_told(self, listed: Sequence[Call]) -> list[Call]:
        """Return listed calls as callbacks told them, where those are ahead of REST."""
        from callctl.operations.reported import with_reported_status

        return [with_reported_status(call, self._memory.leg(call.sid)) for call in listed]

    # Ending

    def _end_listed(self, listed: Sequence[Call]) -> None:
        self._end(_waves(listed), look=self._look_at({call.sid: call for call in listed}))

    def _look_at(self, listed: Mapping[str, Call]) -> Callable[[str], HangupOutcome | None] | None:
        """Return what looks at a call just before it is ended; None where that is needless."""
        from callctl.operations.hangup import check_again

        promise = self._promise
        if promise is None or promise.means_all_live:
            return None
        # By Status=canceled Twilio keeps the promise itself, but for how long a status has lasted, and for calls that
        # are to be ended only while they are queued.
        if self._manner.only_ringing and promise.longer_than is None and CallStatus.RINGING in promise.statuses:
            return None
        return lambda sid: check_again(self._client, listed[sid], reported=self._memory.leg, matches=promise.matches)

    def _end(
        self, waves: Iterable[Sequence[str]], *, look: Callable[[str], HangupOutcome | None] | None = None
    ) -> None:
        end = ender(self._client, self._memory, self._manner, on_outage=self._runtime.tell_outage, look=look)
        sids = [list(wave) for wave in waves if wave]
        total = sum(len(wave) for wave in sids)
        done: set[str] = set()
        left = self._time_for_requests()
        with Progress(self._runtime, lambda count: _bar(count, total)) as progress:
            try:
                for wave in sids:
                    self._memory.intend(wave)
                    for group in for_each(wave, end, parallel=self._parallel, left=left):
                        done.update(one.sid for one in group)
                        progress.count = len(done)
                        self._take([self._told(result) for result in group])
                        progress.draw_again()
            except TimeoutError:
                unknown = [sid for sid in chain.from_iterable(sids) if sid not in done]
                raise WaitTimeoutError(
                    f"the API has not answered in time to the hang-up of {calls(len(unknown))}: {some(unknown)}",
                    hint="`callctl list --live` shows what is left",
                ) from None
            except KeyboardInterrupt:
                self._runtime.say(
                    f"callctl: stopped after {len(done)} of {calls(total)}; some more may have been ended"
                )
                raise

    def _time_for_requests(self) -> Callable[[], float] | None:
        """Return what tells how many seconds are left for hang-ups that begin now; None if there is no limit."""
        if self._deadline is None:
            return None
        end = max(self._deadline, elapsed() + LAST_QUESTION)
        if self._manner.wait is not None:  # after the limit of waiting the call is asked for once more
            end += 2 * LAST_QUESTION
        return lambda: end - elapsed()

    def _told(self, result: Done[HangupOutcome] | Failed) -> Outcome:
        if isinstance(result, Failed):
            return failure(self._manner.action, result.sid, request=self._manner.request, error=result.error)
        from callctl.operations.hangup import Result

        ended = result.value
        if self._promise is not None and ended.result == "not-ended":  # it was not meant, as it is now
            ended = replace(ended, result=Result.NO_MATCH)
        return outcome_of(ended, self._memory, sid=result.sid, manner=self._manner)

    def _take(self, told: Sequence[Outcome]) -> None:
        """Show and write down what is new; of a call that had been dealt with, only what came out differently."""
        news = {one.sid for one in told if self._is_news(one)}
        self._outcomes.update((one.sid, one) for one in told)
        dealt_with: list[Outcome] = []
        try:
            for one in told:
                if one.sid in news:
                    self._teller.tell(one)
                dealt_with.append(one)
        finally:  # Ctrl-C too: what has been told is known
            asked = [one for one in dealt_with if one.sid in news and asked_for(one)]
            if asked:
                self._memory.note([one.to_event(self._memory.asked_at(one.sid)) for one in asked])
            self._memory.told(one.sid for one in dealt_with)

    def _is_news(self, told: Outcome) -> bool:
        before = self._outcomes.get(told.sid)
        return before is None or before.result != told.result

    def _repeat(self, chosen: CallFilter, *, deadline: float) -> list[str]:
        """End what matches again and again; return what still matches when the time is over."""
        while True:
            time.sleep(min(_PAUSE, max(deadline - elapsed(), 0.0)))
            # What has ended may be listed as live for a while (docs/twilio.md, "Eventual consistency").
            over = {sid for sid, told in self._outcomes.items() if self._is_dealt_with(told)}
            found = [call for call in self._listed(chosen, deadline=deadline) if call.sid not in over]
            if not found:
                self._runtime.say("callctl: no call matches any more")
                return []
            if elapsed() >= deadline:
                return [call.sid for call in found]
            fresh = {call.sid for call in found} - self._outcomes.keys()
            total = len(self._outcomes) + len(fresh)
            if self._consent.limit is not None and total > self._consent.limit:
                self._runtime.say(
                    f"callctl: with those that match now it would be {total}, more than --max {self._consent.limit}"
                )
                return [call.sid for call in found]
            if self._manner.wait is not None:  # one limit for all of it
                left = deadline - elapsed()
                self._manner = replace(self._manner, wait=max(left, 0.0))
            self._end_listed(sorted(found, key=_urgency))

    def _listed(self, chosen: CallFilter, *, deadline: float) -> list[Call]:
        while True:
            try:
                found = run_with_time_limit(
                    max(deadline - elapsed(), LAST_QUESTION), lambda: list(find_calls(self._client, chosen, limit=None))
                )
            except TimeoutError:
                break
            except CallctlError as error:
                if not error.is_transient:
                    raise
                self._runtime.tell_outage(error)
            else:
                self._runtime.tell_outage(None)
                return found
            if (left := deadline - elapsed()) <= 0:
                break
            time.sleep(min(_PAUSE, left))
        raise WaitTimeoutError(
            "the API has not answered in time whether a call still matches",
            hint="`callctl list --live` shows what is left",
        )

    def _is_dealt_with(self, told: Outcome) -> bool:
        # What was answered never rings again; what the other filters left out may match later.
        answered = told.result == "left-alone" and self._manner.only_ringing
        return answered or told.result in ("ended", "already-over")

    # Telling

    def _show_dry(self, found: Sequence[Call]) -> None:
        if self._runtime.form is Form.TABLE:
            from callctl.views.table import print_calls

            timed = self._promise is not None and self._promise.concerns_time
            print_calls(self._runtime.console(), found, timed=timed)
        else:
            for call in found:
                show_among_others(self._runtime, self._over(call) if call.is_final else self._would_be_ended(call))
        self._say_nothing_was_sent(len(found))

    def _say_nothing_was_sent(self, count: int) -> None:
        form = "&".join("=".join(pair) for pair in self._manner.request)
        self._runtime.say(f"callctl: nothing was sent; without --dry-run, {calls(count)} would get {form}")

    def _would_be_ended(self, call: Call) -> Outcome:
        sentence = f"would be ended: {call.sid}"
        return Outcome(self._manner.action, call.sid, DRY_RUN, sentence, self._manner.request, call=call)

    def _over(self, call: Call) -> Outcome:
        sentence = f"already over: {call.sid} is {call.status}"
        return Outcome(self._manner.action, call.sid, "already-over", sentence, self._manner.request, call=call)

    def _rehearse(self, sids: Sequence[str]) -> None:
        """Look at the calls that were named, and show what would come of ending each, as it is now.

        Raises:
            CallctlError: The only one would not be ended.
            PartlyFailedError: Some of several would not.
        """
        told: dict[str, Outcome] = {}
        for group in for_each(sids, self._foresee, parallel=self._parallel):
            for one in group:
                told[one.sid] = self._told(one) if isinstance(one, Failed) else one.value
        outcomes = [told[sid] for sid in sids]
        alone = len(outcomes) == 1
        for outcome in outcomes:
            # The error of the only one is told at the end, once.
            if not (alone and outcome.error is not None and self._runtime.form is not Form.JSON):
                show_among_others(self._runtime, outcome)
        self._say_nothing_was_sent(len(outcomes))
        missed = [outcome for outcome in outcomes if outcome.error is not None]
        if alone and outcomes[0].error is not None:
            raise outcomes[0].error
        if missed:
            raise PartlyFailedError(
                f"{len(missed)} of {calls(len(outcomes))} would not be ended: {some([one.sid for one in missed])}",
                hint="`callctl list --live` shows what each call is doing",
            )

    def _foresee(self, sid: str) -> Outcome:
        from callctl.operations.reported import with_reported_status

        call = with_reported_status(self._client.fetch(sid), self._memory.leg(sid))
        if call.is_final:
            return self._over(call)
        action, request = self._manner.action, self._manner.request
        if self._manner.only_ringing and call.status == CallStatus.IN_PROGRESS:
            error = NotEndedError(
                f"would not be ended: {sid} is in progress", hint=f"`callctl hangup {sid}` would end it all the same"
            )
            return Outcome(action, sid, "not-ended", error.message, request, call=call, error=error)
        return self._would_be_ended(call)

    def _sum_up(self, left: Sequence[str] = ()) -> None:
        """Say how it went.

        Raises:
            WaitTimeoutError: Some calls still match.
            PartlyFailedError: Some were not ended; if there was only one, its own error instead.
        """
        outcomes = list(self._outcomes.values())
        counts = Counter(told.result.replace("-", " ") for told in outcomes)
        if len(outcomes) > 1:
            how = ", ".join(f"{count} {result}" for result, count in counts.items())
            self._runtime.say(f"callctl: {calls(len(outcomes))}: {how}")
        if left:
            raise WaitTimeoutError(
                f"{calls(len(left))} still {'matches' if len(left) == 1 else 'match'}: {some(left)}",
                hint=self._why_left(left),
            )
        missed = [told for told in outcomes if self._is_missed(told)]
        if len(outcomes) == 1 and missed and missed[0].error is not None:
            raise missed[0].error
        if missed:
            raise PartlyFailedError(
                f"{len(missed)} of {calls(len(outcomes))} not ended: {some([told.sid for told in missed])}",
                hint=RINGS_ON
                if all(told.result == "still-ringing" for told in missed)
                else "`callctl list --live` shows what is left",
            )
        self._teller.finish()

    def _why_left(self, left: Sequence[str]) -> str:
        """Return the hint for when some calls still match."""
        results = {self._outcomes[sid].result if sid in self._outcomes else "" for sid in left}
        if results == {"still-ringing"}:
            return RINGS_ON
        if "" in results:
            return "an application may be placing them as fast as they are ended: stop it there"
        return "`callctl list --live` shows what each call is doing"

    def _is_missed(self, told: Outcome) -> bool:
        waited = self._manner.wait is not None
        return told.result in (FAILED, "not-ended", "still-ringing") or (waited and told.result == "accepted")


def _waves(matching: Sequence[Call]) -> list[list[str]]:
    """Return the parents, then the children: a parent that lost its child first would go on with its next verb."""
    parents = [call.sid for call in matching if call.parent_call_sid is None]
    return [parents, [call.sid for call in matching if call.parent_call_sid is not None]]


def _urgency(call: Call) -> int:
    return _ORDER.index(call.status) if call.status in _ORDER else len(_ORDER)


def _bar(count: int, total: int) -> str:
    filled = _BAR * count // max(total, 1)
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {count} of {calls(total)}"
