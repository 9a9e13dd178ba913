"""Ending many calls: which match, their confirmation, several requests at once, and an outcome for each call."""

from __future__ import annotations

import math
import shlex
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from callctl.calls.call import Call, CallStatus
from callctl.calls.family import ancestors, parents_first
from callctl.calls.filter import CallFilter
from callctl.cli.hangup.single import (
    END_ALL_THE_SAME,
    HangupOptions,
    hanging_up,
    is_waited_for,
    outcome_of,
    waiting_until_ended,
)
from callctl.cli.io.progress import Progress
from callctl.cli.io.results import (
    DRY_RUN,
    FAILED,
    Outcome,
    OutcomeWriter,
    calls,
    failure,
    name_some,
    show_among_others,
    what_failed,
)
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options.filters import find_calls, without_answered
from callctl.cli.options.history import History, StatusSince
from callctl.errors import (
    CallctlError,
    ConditionNotMetError,
    NotEndedError,
    PartlyFailedError,
    UsageError,
    WaitTimeoutError,
)
from callctl.operations.bulk import Done, Failed, for_each, for_each_waiting
from callctl.operations.family import family_of, find_parents
from callctl.support.backoff import LAST_REQUEST
from callctl.support.clock import elapsed
from callctl.support.threads import run_with_time_limit

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.operations.hangup import HangupOutcome

_BAR = 20  # characters
_PAUSE = 1.0  # seconds between two rounds
_LOOK_UP = 5.0  # seconds in which REST may say which call dialled which; no hang-up waits longer for that
# Queued calls first, or they would ring meanwhile; an answered one is already being paid for.
_ORDER = (CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS)


class Confirmation(NamedTuple):
    """What the command line says of many calls: ``yes`` asks nothing, more than ``limit`` calls are too many."""

    yes: bool
    limit: int | None

    def check_flags(self, runtime: Runtime) -> None:
        """Make sure, before any request, that the number of calls can be confirmed.

        Raises:
            UsageError: Nobody can be asked, and a flag is missing.
        """
        if runtime.may_ask or (self.yes and self.limit is not None):
            return
        raise UsageError(
            "there is no terminal to ask at, and --all may end many calls",
            hint="give --yes and --max N: with more than N matches nothing is ended; --dry-run shows what matches",
        )

    def check_stdin(self, count: int) -> None:
        """Make sure that calls named on stdin are all meant.

        Raises:
            UsageError: A flag is missing, or there are more than the limit.
        """
        if not self.yes or self.limit is None:
            raise UsageError(
                f"{calls(count)} on stdin, and no prompt can confirm them",
                hint="give --yes and --max N: with more than N nothing is ended",
            )
        self.check_count(count, which="on stdin")

    def check_count(self, count: int, *, which: str) -> None:
        """Make sure that there are no more calls than the limit; ``which`` says what they are, after their number.

        Raises:
            UsageError: There are.
        """
        if self.limit is not None and count > self.limit:
            raise UsageError(
                f"{calls(count)} {which}, more than --max {self.limit}: nothing was ended",
                hint="--dry-run shows them; give a larger --max if they are all meant",
            )

    def ask(self, runtime: Runtime, matching: Sequence[Call], *, timed: bool = False) -> None:
        """Show the calls, with their starts if ``timed``, and have their number typed.

        Raises:
            CallctlError: Something else was typed.
        """
        from callctl.views.table import print_calls

        print_calls(runtime.console(), matching, timed=timed)
        count = len(matching)
        runtime.stderr.write(f"Type {count} to end {'this call' if count == 1 else f'these {count} calls'}: ")
        runtime.stderr.flush()
        if runtime.stdin.readline().strip() != str(count):
            raise CallctlError("not confirmed: nothing was ended", hint=f"{count} was to be typed; --yes asks nothing")


class BulkHangup:
    """One command's hang-up of many calls."""

    def __init__(
        self,
        runtime: Runtime,
        client: ApiClient,
        history: History,
        *,
        options: HangupOptions,
        parallel: int,
        dry_run: bool,
        confirmation: Confirmation,
    ) -> None:
        self._runtime = runtime
        self._client = client
        self._history = history
        self._options = options
        self._parallel = parallel
        self._dry_run = dry_run
        self._confirmation = confirmation
        self._filter: CallFilter | None = None
        self._deadline: float | None = None
        self._writer = OutcomeWriter(runtime)
        self._outcomes: dict[str, Outcome] = {}

    def end_named(self, sids: Sequence[str], *, family: bool, on_stdin: bool) -> None:
        """End the calls that were named, parents before their children; ``family`` adds the other legs of each.

        Raises:
            CallctlError: The only one was not ended.
            UsageError: Many came on stdin, and nothing says that they are all meant; or there are more than the limit.
            PartlyFailedError: Some were not ended.
        """
        if on_stdin and len(sids) > 1 and not self._dry_run:
            self._confirmation.check_stdin(len(sids))
        parents = self._families(sids) if family else {}
        legs = list(parents) if family else list(sids)
        if self._dry_run:
            self._show_named_dry(list(chain.from_iterable(parents_first(legs, parents.get))))
            return
        self._confirmation.check_count(len(legs), which="with their families" if family else "named")
        self._end(legs, parents if family else self._parents_of(legs))
        self._sum_up()

    def _families(self, sids: Sequence[str]) -> dict[str, str | None]:
        """Return all legs of the families of calls, each with its parent as far as it is known."""
        parents: dict[str, str | None] = {}
        for sid in sids:
            for leg, parent in family_of(self._client, sid, reported=self._history).items():
                parents[leg] = parents.get(leg) or parent
        return parents

    def _parents_of(self, sids: Sequence[str]) -> Mapping[str, str | None]:
        """Return the parents of calls, from the store or else from REST; what neither knows in time is missing."""
        if len(sids) < 2:
            return {}
        parents = self._history.parents(sids)
        if rest := [sid for sid in sids if sid not in parents]:
            end = elapsed() + _LOOK_UP
            with Progress(self._runtime, lambda _count: f"finding out which of {calls(len(sids))} dialled which"):
                parents |= find_parents(self._client, rest, parallel=self._parallel, time_left=lambda: end - elapsed())
        return parents

    def end_matching(self, chosen: CallFilter, *, repeat: float | None) -> None:
        """End the live calls that match, after asking; with ``repeat`` again for so many seconds, until none does.

        The filter holds until the end. Where it leaves out calls in progress, Twilio checks that: ``Status=canceled``
        ends no answered call. With any other filter each call is looked at once more, just before it is ended.

        Raises:
            UsageError: More match than --max allows, or nobody can be asked and the flags for that case are missing.
            PartlyFailedError: Some were not ended.
            WaitTimeoutError: New ones came as fast as they were ended, or the API did not answer in time.
        """
        if self._options.only_ringing:
            chosen = without_answered(chosen)
        elif chosen.excludes_answered:
            self._options = self._options._replace(only_ringing=True)
        since = StatusSince(self._history.leg, was_read=self._history.was_read)
        self._filter = chosen = replace(chosen, status_since=since, clock=self._runtime.now, matches_undated=False)
        if not self._dry_run:
            self._confirmation.check_flags(self._runtime)
        if repeat is not None:
            self._client.load()
            self._begin(repeat)
        matching = self._matching(chosen)
        if (words := since.in_words(call.sid for call in matching)) is not None:
            self._runtime.say(f"callctl: {words}")
        if not matching:
            self._runtime.say("callctl: no live call matches")
            return
        if self._dry_run:
            self._show_matching_dry(matching)
            return
        if not self._confirmation.yes:
            self._confirmation.ask(self._runtime, matching, timed=chosen.concerns_time)
            if repeat is not None:
                self._begin(repeat)
        if self._deadline is not None:
            self._runtime.say(
                "callctl: repeating until no call matches; this does not stop the application that places them"
            )
        self._end_listed(matching)
        self._sum_up(() if self._deadline is None else self._repeat(chosen, deadline=self._deadline))

    def _begin(self, seconds: float) -> None:
        """Have all that follows end after so many seconds."""
        self._deadline = elapsed() + seconds

    def _matching(self, chosen: CallFilter) -> list[Call]:
        remaining = math.inf if self._deadline is None else max(self._deadline - elapsed(), LAST_REQUEST)
        # None is counted before the lists of live calls are read to their ends.
        with Progress(
            self._runtime, lambda count: f"{calls(count)} found" if count else "reading the lists"
        ) as progress:
            try:
                listed = progress.counted(self._find(chosen))
                matching = (
                    list(listed) if math.isinf(remaining) else run_with_time_limit(remaining, lambda: list(listed))
                )
            except TimeoutError:
                raise WaitTimeoutError(
                    "the API did not list in time which calls match; no call was ended",
                    hint="give it longer with --wait-timeout; `callctl list --live` shows the calls",
                ) from None
        if not self._dry_run:
            self._confirmation.check_count(len(matching), which="match")
        matching.sort(key=_urgency)
        return matching

    def _find(self, chosen: CallFilter) -> Iterator[Call]:
        return find_calls(self._client, chosen, limit=None, reported=self._history.reported_calls)

    # Ending

    def _end_listed(self, listed: Sequence[Call]) -> None:
        parents = {call.sid: call.parent_call_sid for call in listed}
        self._end(list(parents), parents, check=self._check_before({call.sid: call for call in listed}))

    def _check_before(self, listed: Mapping[str, Call]) -> Callable[[str], HangupOutcome | None] | None:
        """Return what checks that a call still matches just before it is ended; None where that is needless."""
        from callctl.operations.hangup import check_again

        call_filter = self._filter
        if call_filter is None or call_filter.means_all_live:
            return None
        # Twilio checks the filters itself with Status=canceled, unless they are about how long a status has lasted, or
        # about queued calls alone.
        is_twilios = call_filter.longer_than is None and CallStatus.RINGING in call_filter.statuses
        if self._options.only_ringing and is_twilios:
            return None
        return lambda sid: check_again(
            self._client, listed[sid], reported=self._history.leg, matches=call_filter.matches
        )

    def _end(
        self,
        legs: Sequence[str],
        parents: Mapping[str, str | None],
        *,
        check: Callable[[str], HangupOutcome | None] | None = None,
    ) -> None:
        """End the calls, parents first; then wait for the ends of all that have not ended yet.

        ``parents`` are the parents of the calls as far as they are known, and those of legs in between, which are not
        to be ended. A call is left alone where a leg above it could not be ended: without it that would go on behind
        its Dial, and maybe call the next number.
        """

        def end(sid: str) -> Generator[float, None, HangupOutcome]:
            _check_parents(sid, parents, failed=failed)
            return (yield from hanging_up(self._client, self._history, sid, options=self._options, check=check))

        sids = parents_first(legs, parents.get)
        total = sum(map(len, sids))
        done: set[str] = set()
        failed: dict[str, CallctlError] = {}
        ending: dict[str, HangupOutcome] = {}  # accepted; the end is still to be waited for
        time_left = self._time_for_requests()
        with Progress(self._runtime, lambda count: _bar(count, total)) as progress:

            def take(results: Sequence[Done[HangupOutcome] | Failed]) -> None:
                for result in results:
                    done.add(result.sid)
                    ending.pop(result.sid, None)
                    if isinstance(result, Failed):
                        failed[result.sid] = result.error
                progress.count = len(done)
                self._report([self._outcome(result) for result in results])
                progress.draw_again()

            try:
                for batch in sids:
                    self._history.record_intent(batch)
                    accepted = bool(ending) or any(outcome.result != FAILED for outcome in self._outcomes.values())
                    work = for_each_waiting(batch, end, parallel=self._parallel, accepted=accepted, time_left=time_left)
                    for group in work:
                        ending |= {
                            result.sid: result.value
                            for result in group
                            if isinstance(result, Done) and is_waited_for(result.value, self._options)
                        }
                        take([result for result in group if result.sid not in ending])
                if ending:
                    for group in self._wait_for_ends(dict(ending), time_left=time_left):
                        take([self._accepted_before(result, ending) for result in group])
            except TimeoutError:
                unended = list(ending)
                take([Done(sid, outcome) for sid, outcome in ending.items()])
                unknown = [sid for sid in chain.from_iterable(sids) if sid not in done]
                what = f"to the hang-up of {calls(len(unknown))}: {name_some(unknown)}"
                if not unknown:
                    what = f"whether {calls(len(unended))} ended: {name_some(unended)}"
                raise WaitTimeoutError(
                    f"the API has not answered in time {what}", hint="`callctl list --live` shows what is left"
                ) from None
            except KeyboardInterrupt:
                self._runtime.say(
                    f"callctl: stopped after {len(done)} of {calls(total)}; some more may have been ended"
                )
                raise

    def _wait_for_ends(
        self, ending: Mapping[str, HangupOutcome], *, time_left: Callable[[], float] | None
    ) -> Iterator[list[Done[HangupOutcome] | Failed]]:
        """Wait for the ends of calls whose hang-ups were accepted, with one limit for all of them."""
        limit = math.inf if self._options.wait is None else self._options.wait
        end = min(elapsed() + limit, math.inf if self._deadline is None else self._deadline)

        def wait(sid: str) -> Generator[float, None, HangupOutcome]:
            return waiting_until_ended(
                self._client,
                self._history,
                ending[sid],
                options=self._options,
                limit=max(end - elapsed(), 0.0),
                on_outage=self._runtime.report_outage,
            )

        return for_each_waiting(list(ending), wait, parallel=self._parallel, accepted=True, time_left=time_left)

    def _accepted_before(
        self, result: Done[HangupOutcome] | Failed, ending: Mapping[str, HangupOutcome]
    ) -> Done[HangupOutcome]:
        """Return what is known of a call that was waited for: where it can't be fetched, that its end was accepted."""
        if isinstance(result, Done):
            return result
        self._runtime.say(f"callctl: {result.sid}: its hang-up was accepted, and then: {result.error.message}")
        return Done(result.sid, ending[result.sid])

    def _time_for_requests(self) -> Callable[[], float] | None:
        """Return how to know the seconds left for hang-ups that begin now; None if there is no limit."""
        if self._deadline is None:
            return None
        end = max(self._deadline, elapsed() + LAST_REQUEST)
        if self._options.wait is not None:  # after the limit of waiting the call is fetched once more
            end += 2 * LAST_REQUEST
        return lambda: end - elapsed()

    def _outcome(self, result: Done[HangupOutcome] | Failed) -> Outcome:
        if isinstance(result, Failed):
            return failure(self._options.action, result.sid, request=self._options.request, error=result.error)
        from callctl.operations.hangup import Result

        ended = result.value
        if self._filter is not None and ended.result == "not-ended":  # it was not meant, as it is now
            ended = ended._replace(result=Result.NO_MATCH)
        return outcome_of(ended, self._history, sid=result.sid, options=self._options)

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        """Show and record outcomes; of a call with an earlier outcome, only a different one."""
        new = {outcome.sid for outcome in outcomes if self._is_new(outcome)}
        self._outcomes.update((outcome.sid, outcome) for outcome in outcomes)
        shown: list[Outcome] = []
        try:
            for outcome in outcomes:
                if outcome.sid in new:
                    self._writer.write(outcome)
                shown.append(outcome)
        finally:  # Ctrl-C too: the outcomes that are shown are no longer pending
            self._history.record(outcome for outcome in shown if outcome.sid in new and outcome.is_recorded)
            self._history.settle(outcome.sid for outcome in shown)

    def _is_new(self, outcome: Outcome) -> bool:
        before = self._outcomes.get(outcome.sid)
        return before is None or before.result != outcome.result

    def _repeat(self, chosen: CallFilter, *, deadline: float) -> list[str]:
        """End what matches again and again; return what still matches when the time is over."""
        while True:
            time.sleep(min(_PAUSE, max(deadline - elapsed(), 0.0)))
            # What has ended may be listed as live for a while (docs/twilio.md, "Eventual consistency").
            over = {sid for sid, outcome in self._outcomes.items() if self._is_settled(outcome)}
            matching = [call for call in self._listed(chosen, deadline=deadline) if call.sid not in over]
            if not matching:
                self._runtime.say("callctl: no call matches any more")
                return []
            if elapsed() >= deadline:
                return [call.sid for call in matching]
            new = {call.sid for call in matching} - self._outcomes.keys()
            total = len(self._outcomes) + len(new)
            limit = self._confirmation.limit
            if limit is not None and total > limit:
                self._runtime.say(f"callctl: with those that match now it would be {total}, more than --max {limit}")
                return [call.sid for call in matching]
            if self._options.wait is not None:  # one limit for all of it
                remaining = deadline - elapsed()
                self._options = self._options._replace(wait=max(remaining, 0.0))
            self._end_listed(sorted(matching, key=_urgency))

    def _listed(self, chosen: CallFilter, *, deadline: float) -> list[Call]:
        while True:
            try:
                listed = run_with_time_limit(max(deadline - elapsed(), LAST_REQUEST), lambda: list(self._find(chosen)))
            except TimeoutError:
                break
            except CallctlError as error:
                if not error.is_transient:
                    raise
                self._runtime.report_outage(error)
            else:
                self._runtime.report_outage(None)
                return listed
            if (remaining := deadline - elapsed()) <= 0:
                break
            time.sleep(min(_PAUSE, remaining))
        raise WaitTimeoutError(
            "the API has not answered in time whether a call still matches",
            hint="`callctl list --live` shows what is left",
        )

    def _is_settled(self, outcome: Outcome) -> bool:
        # What was answered never rings again; what the other filters left out may match later.
        answered = outcome.result == "left-alone" and self._options.only_ringing
        return answered or outcome.result in ("ended", "already-over")

    # Output

    def _show_matching_dry(self, matching: Sequence[Call]) -> None:
        if self._runtime.form is Form.TABLE:
            from callctl.views.table import print_calls

            timed = self._filter is not None and self._filter.concerns_time
            print_calls(self._runtime.console(), matching, timed=timed)
        else:
            for call in matching:
                show_among_others(self._runtime, self._would_be_ended(call))
        self._say_nothing_was_sent(len(matching))

    def _say_nothing_was_sent(self, count: int) -> None:
        if not count:
            self._runtime.say("callctl: nothing was sent, and without --dry-run no call would be ended")
            return
        form = "&".join("=".join(pair) for pair in self._options.request)
        self._runtime.say(f"callctl: nothing was sent; without --dry-run, {calls(count)} would get {form}")

    def _would_be_ended(self, call: Call) -> Outcome:
        sentence = f"would be ended: {call.sid}"
        return Outcome(self._options.action, call.sid, DRY_RUN, sentence, self._options.request, call=call)

    def _over(self, call: Call) -> Outcome:
        sentence = f"already over: {call.sid} is {call.status}"
        return Outcome(self._options.action, call.sid, "already-over", sentence, self._options.request, call=call)

    def _show_named_dry(self, sids: Sequence[str]) -> None:
        """Fetch the calls that were named, and show what would come of ending each, as it is now.

        Raises:
            CallctlError: The only one would not be ended.
            PartlyFailedError: Some of several would not.
        """
        by_sid: dict[str, Outcome] = {}
        for group in for_each(sids, self._dry_outcome, parallel=self._parallel):
            for result in group:
                by_sid[result.sid] = self._outcome(result) if isinstance(result, Failed) else result.value
        outcomes = [by_sid[sid] for sid in sids]
        is_single = len(outcomes) == 1
        for outcome in outcomes:
            # The error of the only call is raised at the end.
            if not (is_single and outcome.error is not None and self._runtime.form is not Form.JSON):
                show_among_others(self._runtime, outcome)
        self._say_nothing_was_sent(sum(outcome.result == DRY_RUN for outcome in outcomes))
        missed = [outcome for outcome in outcomes if outcome.error is not None]
        if is_single and outcomes[0].error is not None:
            raise outcomes[0].error
        if missed:
            named = name_some([outcome.sid for outcome in missed])
            raise PartlyFailedError(
                f"{len(missed)} of {calls(len(outcomes))} would not be ended: {named}",
                hint="`callctl list --live` shows what each call is doing",
            )

    def _dry_outcome(self, sid: str) -> Outcome:
        from callctl.operations.reported_status import with_reported_status

        call = with_reported_status(self._client.fetch(sid), self._history.leg(sid))
        if call.is_final:
            return self._over(call)
        action, request = self._options.action, self._options.request
        if self._options.only_ringing and call.status == CallStatus.IN_PROGRESS:
            error = NotEndedError(
                f"would not be ended: {sid} is in progress", hint=f"`callctl hangup {sid}` would end it all the same"
            )
            return Outcome(action, sid, "not-ended", error.message, request, call=call, error=error)
        return self._would_be_ended(call)

    def _sum_up(self, remaining: Sequence[str] = ()) -> None:
        """Say how it went.

        Raises:
            WaitTimeoutError: Some calls still match.
            PartlyFailedError: Some were not ended; if there was only one, its own error instead.
        """
        outcomes = list(self._outcomes.values())
        counts = Counter(outcome.result.replace("-", " ") for outcome in outcomes)
        if len(outcomes) > 1:
            how = ", ".join(f"{count} {result}" for result, count in counts.items())
            self._runtime.say(f"callctl: {calls(len(outcomes))}: {how}")
        if remaining:
            raise WaitTimeoutError(
                f"{calls(len(remaining))} still {'match' if len(remaining) > 1 else 'matches'}: {name_some(remaining)}",
                hint=self._why_left(remaining),
            )
        missed = [outcome for outcome in outcomes if self._is_missed(outcome)]
        if len(outcomes) == 1 and missed and missed[0].error is not None:
            raise missed[0].error
        if missed:
            done = "known to have ended" if all(outcome.result == "accepted" for outcome in missed) else "ended"
            raise PartlyFailedError(
                what_failed({outcome.sid: outcome.error for outcome in missed}, total=len(outcomes), done=done),
                hint=END_ALL_THE_SAME
                if all(outcome.result == "still-ringing" for outcome in missed)
                else "`callctl list --live` shows what is left",
            )
        self._writer.finish()

    def _why_left(self, remaining: Sequence[str]) -> str:
        """Return the hint for when some calls still match."""
        results = {self._outcomes[sid].result if sid in self._outcomes else "" for sid in remaining}
        if results == {"still-ringing"}:
            return END_ALL_THE_SAME
        if "" in results:
            return "an application may be placing them as fast as they are ended: stop it there"
        return "`callctl list --live` shows what each call is doing"

    def _is_missed(self, outcome: Outcome) -> bool:
        waited = self._options.wait is not None
        return outcome.result in (FAILED, "not-ended", "still-ringing") or (waited and outcome.result == "accepted")


def _check_parents(sid: str, parents: Mapping[str, str | None], *, failed: Mapping[str, CallctlError]) -> None:
    """Make sure that no leg above a call, of those that are to be ended, has failed to end.

    Raises:
        ConditionNotMetError: One has.
    """
    for parent in ancestors(sid, parents.get):
        if parent in failed:
            how = "may have failed" if failed[parent].may_be_done else "failed"
            raise ConditionNotMetError(
                f"{sid} was left alone: the hang-up of its parent {parent} {how}, and without its child that would go "
                "on behind its Dial",
                hint=f"`callctl hangup {shlex.quote(sid)}` ends it by itself",
            )


def _urgency(call: Call) -> int:
    return _ORDER.index(call.status) if call.status in _ORDER else len(_ORDER)


def _bar(count: int, total: int) -> str:
    filled = _BAR * count // max(total, 1)
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {count} of {calls(total)}"
