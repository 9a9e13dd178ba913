"""Waiting until a call has a status: by what its callbacks reported to a running watch, else by polling REST.

Callbacks are quicker and cost nothing, and REST is eventually consistent (docs/twilio.md, "Eventual consistency"). So
as long as they report the call, REST is only queried after a long pause: by default Twilio doesn't repeat a lost
callback. Before the waiting ends in vain it is queried once more.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from math import isinf

from callctl.api.calls_api import CallsApi
from callctl.api.retries import NoReplyError
from callctl.calls.call import FINAL_STATUSES, Call, CallStatus, rank_of
from callctl.errors import CallctlError, ConditionNotMetError, NetworkError, NotFoundError, UsageError, WaitTimeoutError
from callctl.support.backoff import LAST_REQUEST, Backoff, with_pauses
from callctl.support.threads import run_with_time_limit

GAPS = Backoff(first=0.5, factor=1.5, longest=5.0)  # between two requests to REST
# Seconds without news after which REST is queried although callbacks have reported the call.
GAP_WITH_CALLBACKS = 30.0
# How often the store is read: it is a local file, and a watch writes to it before it answers a callback.
LOOK = 0.1

ENDED = "ended"
GOALS = (CallStatus.RINGING.value, CallStatus.IN_PROGRESS.value, ENDED, *sorted(FINAL_STATUSES))
_OTHER_WORDS = {"answered": CallStatus.IN_PROGRESS.value}
_EVENTS = {CallStatus.RINGING.value: "ringing", CallStatus.IN_PROGRESS.value: "answered"}
# The statuses that a call has only after a step. A far end that was busy or did not answer was rung; a call that
# failed or was canceled may never have been.
_PASSED: dict[str, frozenset[str]] = {
    CallStatus.RINGING: frozenset(
        {
            CallStatus.RINGING,
            CallStatus.IN_PROGRESS,
            CallStatus.COMPLETED,
            CallStatus.BUSY,
            CallStatus.NO_ANSWER,
        }
    ),
    CallStatus.IN_PROGRESS: frozenset({CallStatus.IN_PROGRESS, CallStatus.COMPLETED}),
    ENDED: FINAL_STATUSES,
}


@dataclass(frozen=True, slots=True)
class Goal:
    """What is waited for: ``name`` as Twilio spells it (or ``ended``), and the statuses that fulfil it."""

    name: str
    fulfilled_by: frozenset[str]

    @classmethod
    def read(cls, text: str, *, option: str) -> Goal:
        """Return the goal that a word stands for; ``answered`` is another word for ``in-progress``.

        Raises:
            UsageError: No call ever gets there.
        """
        word = text.strip().lower()
        name = _OTHER_WORDS.get(word, word)
        if name not in GOALS:
            raise UsageError(
                f"{option}: a call never is {text or '(nothing)'}", hint=f"one of {', '.join([*_OTHER_WORDS, *GOALS])}"
            )
        return cls(name, _PASSED.get(name, frozenset({name})))

    @property
    def event(self) -> str:
        """The event whose callback reports it. Source: docs/twilio.md, "Creating a call"."""
        return _EVENTS.get(self.name, "completed")

    def is_met(self, statuses: Iterable[str]) -> bool:
        """Return whether a call that went through some statuses has got there; one already passed counts."""
        return any(status in self.fulfilled_by for status in statuses)


@dataclass(frozen=True, slots=True)
class Reported:
    """What callbacks reported of a call: nothing while no watch is running, or without callbacks.

    ``statuses`` are those that it had, the present one last. ``age`` is for how many seconds that has been known;
    below 0 where a clock was set back. ``is_complete`` is False where it is known that the callback that is waited for
    may not come.
    """

    statuses: Sequence[str] = ()
    age: float = 0.0
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Waited:
    """How a call was when the waiting was over.

    ``source`` is where the status comes from: ``callbacks`` or ``rest``. ``call`` is REST's latest reply, if any.
    """

    sid: str
    status: str
    source: str
    call: Call | None = None


class Waiter:
    """Follows one call until a goal is met, or can't be any more. ``sid`` is the call, ``last`` its latest status."""

    def __init__(
        self,
        sid: str,
        *,
        api: CallsApi,
        reported: Callable[[str], Reported],
        sleep: Callable[[float], None],
        now: Callable[[], float],
        on_status: Callable[[str], None],
        missing_for: float = 0.0,
        was_just_placed: Callable[[str], bool] = lambda _sid: False,
        on_look: Callable[[str], None] = lambda _status: None,
        on_outage: Callable[[CallctlError | None], None] = lambda _error: None,
    ) -> None:
        """Prepare; nothing is requested yet.

        Args:
            sid: The call.
            api: The API.
            reported: Returns what callbacks reported of a call.
            sleep: Waits for some seconds.
            now: Seconds on a clock that never goes back.
            on_status: Called with each status when it is first seen.
            missing_for: For how many seconds REST may not know the call: it was placed just now.
            was_just_placed: Called where REST does not know it; returns whether that may be so for the same reason.
            on_look: Called with the call's status at each look.
            on_outage: Called with the error while the API can't be reached, and with None once it answers again.
        """
        self.sid = sid
        self._api, self._reported_by = api, reported
        self._sleep, self._now = sleep, now
        self._on_status, self._on_look, self._on_outage = on_status, on_look, on_outage
        self._is_out = False
        self._has_answered = missing_for > 0  # it placed the call
        self._missing_until = now() + missing_for
        self._was_just_placed = was_just_placed
        self._gaps = GAPS.pauses()
        self._ask_at = now()
        self._reported = Reported()
        self._shown: list[str] = []
        self.last: Waited | None = None

    def until(self, goal: Goal, *, limit: float | None) -> Waited:
        """Return when the goal is met.

        An API that can't be reached for a while is tried again: until the limit, or without one if it has answered.

        Args:
            goal: What is waited for.
            limit: For how many seconds at most, or None for as long as it takes.

        Raises:
            ConditionNotMetError: The call ended another way.
            WaitTimeoutError: The limit is over.
            ApiError: The API refused the request.
            NetworkError: It could not be reached: never yet and without a limit, or for a reason that does not pass.
        """
        return with_pauses(self.waiting(goal, limit=limit), sleep=self._sleep)

    def waiting(
        self, goal: Goal, *, limit: float | None, since: float | None = None, look: float = LOOK
    ) -> Generator[float, None, Waited]:
        """Do what ``until`` does, and yield the pauses, in seconds, instead of sleeping; raise as that does.

        The limit counts from ``since``, by the waiter's clock, if it is given. ``look`` is the longest pause.
        """
        deadline = float("inf") if limit is None else (self._now() if since is None else since) + limit
        while True:
            remaining = deadline - self._now()
            try:
                self._look(goal, remaining)
            except TimeoutError:
                raise self._unknown(goal, limit) from None
            if self.last is not None:
                self._on_look(self.last.status)
                if self._is_met(goal):
                    return self.last
                if self.last.status in FINAL_STATUSES:
                    raise ConditionNotMetError(
                        _ended(self.last, goal), hint=f"`callctl show {shlex.quote(self.sid)}` shows what became of it"
                    )
            if remaining <= 0 and self._is_out:
                raise self._unknown(goal, limit)
            if remaining <= 0:
                raise WaitTimeoutError(
                    f"{self.sid} is not {goal.name} after {limit:g} s{self._standing()}",
                    hint=self._goes_on,
                )
            yield min(look, max(deadline - self._now(), 0.0))

    def _unknown(self, goal: Goal, limit: float | None) -> WaitTimeoutError:
        return WaitTimeoutError(
            f"{self.sid} is not known to be {goal.name} after {limit:g} s{self._standing(last=True)}; "
            "the API has not answered since",
            hint=self._goes_on,
        )

    @property
    def _goes_on(self) -> str:
        sid = shlex.quote(self.sid)
        return f"it goes on: `callctl show {sid}` looks at it, `callctl hangup {sid}` ends it"

    def _look(self, goal: Goal, remaining: float) -> None:
        """Note what callbacks reported, and what REST shows if a query is due or no time is left.

        Raises:
            TimeoutError: REST has not answered in the seconds that are left, with all that is repeated.
        """
        self._note_reported()
        is_settled = self._is_over() or self._is_met(goal)
        if not is_settled and (remaining <= 0 or self._now() >= self._ask_at):
            self._ask(max(remaining, LAST_REQUEST))

    def _note_reported(self) -> None:
        """Note what callbacks reported, and when REST is to be queried by that."""
        before, now = self._reported, self._now()
        self._reported = reported = self._reported_by(self.sid)
        if not reported.statuses or not reported.is_complete:
            # The watch has stopped and reports no more, or what it reports is no longer to be relied on.
            if before.statuses and before.is_complete:
                self._ask_at = now
        elif not before.statuses:
            self._ask_at = now + max(0.0, GAP_WITH_CALLBACKS - max(0.0, reported.age))
        elif reported.statuses != before.statuses:
            self._ask_at = now + GAP_WITH_CALLBACKS
        if reported.statuses:
            self._has_answered = True
            self._note(reported.statuses[-1], source="callbacks")

    def _ask(self, remaining: float) -> None:
        try:
            call = run_with_time_limit(remaining, lambda: self._api.fetch(self.sid))
        except NotFoundError:
            if self._now() >= self._missing_until and not self._was_just_placed(self.sid):
                raise
        except CallctlError as error:
            if not self._waits_out(error, remaining):
                raise
            self._is_out = True
            self._on_outage(error)
        else:
            self._is_out, self._has_answered = False, True
            self._on_outage(None)
            self._shown = list(dict.fromkeys([*self._shown, call.status]))
            self._note(call.status, source="rest", call=call)
        gap = next(self._gaps)
        by_callbacks = self._reported.statuses and self._reported.is_complete
        self._ask_at = self._now() + (GAP_WITH_CALLBACKS if by_callbacks else gap)

    def _waits_out(self, error: CallctlError, remaining: float) -> bool:
        """Return whether it is tried again: where nothing answered yet as the API does, the address may be wrong."""
        is_other_server = isinstance(error, NetworkError) and not isinstance(error, NoReplyError)
        return error.is_transient and (self._has_answered or not (isinf(remaining) or is_other_server))

    def _note(self, status: str, *, source: str, call: Call | None = None) -> None:
        """Believe a status unless a later one is known: callbacks overtake each other, and REST lags."""
        before = self.last
        if before is not None and (
            before.status == status or rank_of(status) < rank_of(before.status) or before.status in FINAL_STATUSES
        ):
            return
        self.last = Waited(self.sid, status, source, call)
        self._on_status(status)

    def _is_met(self, goal: Goal) -> bool:
        return self.last is not None and goal.is_met([*self._reported.statuses, *self._shown])

    def _is_over(self) -> bool:
        return self.last is not None and self.last.status in FINAL_STATUSES

    def _standing(self, *, last: bool = False) -> str:
        if self.last is None:
            return ""
        return f": it was {self.last.status} by the last report" if last else f": it is {self.last.status}"


def _ended(last: Waited, goal: Goal) -> str:
    return f"{last.sid} did not get to {goal.name}: it ended {last.status}"
