"""The runner: it connects the rules to a watch, and starts a thread for each action that a rule proposes.

``update`` never waits: it decides, counts actions against the rate limit, and leaves the rest to threads. So no
callback waits for its reply because of a rule.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from callctl.calls.action import ActionEvent
from callctl.calls.board import Change, Snapshot
from callctl.calls.family import ancestors
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import NoThreadError, StoreError, failure_reason
from callctl.rules.engine import Engine
from callctl.rules.executor import LEASE, Applies, DryRun, Executor
from callctl.rules.outcome import Declination, Postponed, Unsent
from callctl.rules.rate_limit import Admission, RateLimit
from callctl.rules.rule import Action, Declined
from callctl.store.event_store import EventStore
from callctl.store.records import ActionLimit, OpenClaim, declined_rule
from callctl.support.backoff import Backoff
from callctl.support.clock import Clock

# How often to look for claims that a crashed watch left open.
RECOVER_EVERY = timedelta(seconds=15)
# How often to drop what the board has dropped: a watch runs for weeks.
PRUNE_EVERY = timedelta(minutes=5)

# Actions at once; further ones wait. Each holds a thread, one more while it connects, and a connection, of which the
# API client keeps so many. The rate limit alone, 10 in a second, needs no more while an action takes less than 6 s.
MOST_AT_ONCE = 64
# Two requests for each retry; the end of a leg that callbacks report is acted on at once all the same.
RETRY_PAUSES = Backoff(first=1.0, factor=2, longest=30.0)
# How long the end of a leg waits once its parent's was answered: by then it is mostly over, as its Dial is.
AFTER_PARENT = timedelta(seconds=2)

RunInThread = Callable[[Callable[[], None]], object]
MakeExecutor = Callable[[Applies, Callable[[Trouble], None]], Executor | DryRun]


class RuleRunner:
    """Runs the rules of one watch. One thread restores, starts and updates; any may take reports."""

    def __init__(
        self,
        engine: Engine,
        *,
        make_executor: MakeExecutor,
        store: EventStore,
        rate_limit: RateLimit,
        clock: Clock,
        run_in_thread: RunInThread,
        rest_time: Callable[[], datetime | None] = lambda: None,
        in_words: str = "",
    ) -> None:
        """Prepare.

        Args:
            engine: Decides.
            make_executor: Makes the executor; its arguments return whether a rule still proposes an action, and report
                why an action can't be done yet.
            store: Holds the actions that were begun before.
            rate_limit: Stops a rule that goes wild.
            clock: The time; what is measured here is measured by the steady clock.
            run_in_thread: Starts work in a thread of its own.
            rest_time: Returns the ``Date`` of REST's latest reply; None before any.
            in_words: How many rules these are, and whether this is a dry run.
        """
        self.in_words = in_words
        self._engine = engine
        self._executor = make_executor(self._applies, self._report_once)
        self._store = store
        self._rate_limit = rate_limit
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._rest_time, self._last_reply = rest_time, rest_time()
        self._snapshot = Snapshot()
        self._lock = threading.Lock()  # of the engine, which threads call to check whether a rule still applies
        self._queue: deque[Action | Declined] = deque()
        self._begun: set[tuple[str, str]] = set()  # by rule and leg; what was declined by its ``declined_rule``
        # Actions whose outcome was not taken in yet, by rule and leg, and the leg that each is about: what the same
        # rule proposes because of another one waits for it.
        self._in_progress: dict[tuple[str, str], str] = {}
        # Actions that a child's end waits for, by rule and leg: when each ended, None while a thread is at work.
        self._before_children: dict[tuple[str, str], datetime | None] = {}
        self._at_once = threading.Semaphore(MOST_AT_ONCE)
        self._recovering: set[tuple[str, str]] = set()  # by rule and leg, while a thread works on it
        self._recovery_waits = False  # a child's end waits until its parent's is finished
        self._postponed: deque[tuple[Action | Declined, Postponed]] = deque()  # by threads
        self._unsent: deque[tuple[Action, Declination | Unsent]] = deque()  # by threads
        self._ended: deque[tuple[str, str]] = deque()  # by threads: the actions that are no longer in progress
        self._retries = RetryQueue()
        self._reports: deque[ActionEvent | Trouble] = deque()
        self._reported: set[str] = set()
        self._unknown_owner: list[Action | Declined] = []  # the store could not be read to see whose the call is
        self._recovered_at: datetime | None = None
        self._pruned_at = clock.now()
        self._leases: dict[tuple[OpenClaim, datetime | None], datetime] = {}  # open ones, and when each was first seen
        self._former: set[tuple[OpenClaim, datetime | None]] | None = None  # those that were open at the first look

    def restore(self, change: Change) -> None:
        """Take in one change that the store holds from before."""
        self._engine.restore(change, now=self._clock.now())

    def start(self, snapshot: Snapshot) -> None:
        """Begin with the board that the store's events give, and with the actions that were begun before.

        Raises:
            StoreError: The store can't be read.
        """
        self._begun = self._store.claim_keys()
        self._snapshot = snapshot
        self._queue += self._engine.restored_actions(snapshot, now=self._clock.now())

    def update(self, changes: Sequence[Change], snapshot: Snapshot) -> None:
        """Take in what has changed; begin what is to be done now. Returns at once."""
        now = self._clock.now()
        with self._lock:
            self._snapshot = snapshot
            self._look_at_rest_time(now)
            if now - self._pruned_at >= PRUNE_EVERY:
                self._pruned_at = now
                self._prune(snapshot, now=now)
            for change in changes:
                self._queue += self._engine.observe(change, snapshot, now=now)
            self._queue += self._engine.due(snapshot, now=now)
        self._take_outcomes(now)
        self._begin_queued(now)
        if not self.is_stopped and (self._recovered_at is None or now - self._recovered_at >= RECOVER_EVERY):
            with suppress(NoThreadError):  # else it is tried again with the next update
                self._run_in_thread(self._recover)
                self._recovered_at = now

    def take_reports(self) -> list[ActionEvent | Trouble]:
        """Return what was done, or could not be, since the last call."""
        reports = []
        while self._reports:
            reports.append(self._reports.popleft())
        return reports

    @property
    def is_stopped(self) -> bool:
        """Whether the rate limit was exceeded: nothing is done any more until the watch is restarted."""
        return self._rate_limit.is_exceeded

    def _look_at_rest_time(self, now: datetime) -> None:
        """Have the engine know of a reply of REST that came since the last look, a second ago at most."""
        date = self._rest_time()
        if date is not None and date != self._last_reply:
            self._engine.take_reply(date, now=now)
        self._last_reply = date

    def _prune(self, snapshot: Snapshot, *, now: datetime) -> None:
        self._engine.prune(snapshot)
        # A claim in the store keeps what is dropped here from being done again.
        self._begun = {key for key in self._begun if key[1] in snapshot.legs}
        self._retries.retain(snapshot.legs)
        self._leases = {key: seen for key, seen in self._leases.items() if now - seen < PRUNE_EVERY}

    def _take_outcomes(self, now: datetime) -> None:
        """Let rules propose again what was not done and, because of other legs, what was declined."""
        while self._ended:  # first: a thread notes an outcome before the end
            key = self._ended.popleft()
            self._in_progress.pop(key, None)
            self._rate_limit.decide(key)
        while self._unsent:
            action, result = self._unsent.popleft()
            self._rate_limit.refund(action.key)
            if isinstance(result, Declination):
                self._begun.discard(action.key)
                self._begun.add(_declined_key(action))
        self._requeue_postponed(now)

    def _requeue_postponed(self, now: datetime) -> None:
        """Let rules propose again what was not done, and queue the actions whose pause is over."""
        while self._postponed:
            proposal, postponed = self._postponed.popleft()
            if postponed.limit_reached and not self.is_stopped:
                self._rate_limit.exceed()
                self._report_stopped()
            self._begun.discard(_begun_key(proposal))
            if isinstance(proposal, Action):
                self._rate_limit.refund(proposal.key)
            if postponed.retry:
                if isinstance(proposal, Action):
                    proposal = replace(proposal, turned_away_since=postponed.turned_away_since)
                self._retries.put(_to_be_checked(proposal), now=now, not_before=postponed.not_before)
            elif isinstance(proposal, Action) and (declined := self._declined(proposal)) is not None:
                self._queue.append(declined)
        self._queue += self._retries.due(now=now)

    def _begin_queued(self, now: datetime) -> None:
        """Begin what is queued, as far as the rate limit and the threads allow; the rest waits for the next update.

        Parents come first, and a leg is ended only after all that is done to those above it: a parent that loses its
        child goes on, and dials the next number.
        """
        self._queue += self._unknown_owner
        self._unknown_owner.clear()
        busy = self._legs_being_changed(now)
        self._queue = _parents_first(self._queue)
        waiting: list[Action | Declined] = []
        self._begin_in_order(now, busy=busy, waiting=waiting)
        if not self.is_stopped:
            self._queue = deque(map(_to_be_checked, (*self._queue, *waiting)))

    def _begin_in_order(self, now: datetime, *, busy: set[str], waiting: list[Action | Declined]) -> None:
        """Begin what is queued; put into ``waiting`` what waits for one of the legs in ``busy``, or for an outcome."""
        while self._queue and not self.is_stopped:
            proposal = self._queue[0]
            if isinstance(proposal, Action):
                proposal = self._declined(proposal) or proposal
            if isinstance(proposal, Action) and _waits_for(proposal, busy):
                waiting.append(proposal)
                busy.add(proposal.call_sid)
                self._queue.popleft()
                continue
            if self._in_progress.get(proposal.key, proposal.about) != proposal.about:
                waiting.append(proposal)
                self._queue.popleft()
                continue
            if not self._is_wanted(proposal):
                self._queue.popleft()
                busy.update(other.call_sid for other in self._unknown_owner[-1:] if other is proposal)
                continue
            # First: what can't begin yet must not count against the rate limit, beyond which the rules stop.
            if not self._at_once.acquire(blocking=False):
                return
            if isinstance(proposal, Action) and not self._is_admitted(proposal, now):
                self._at_once.release()
                return
            try:
                self._begin(proposal)
            except NoThreadError as error:
                if isinstance(proposal, Action):
                    self._rate_limit.cancel(proposal.key)
                self._report_once(Trouble(f"rules wait: {error.message}; {error.hint}", Cause.RULE))
                return
            self._queue.popleft()
            self._begun.add(_begun_key(proposal))
            if isinstance(proposal, Action):
                self._in_progress[proposal.key] = proposal.about
            if proposal.key in self._before_children:
                busy.add(proposal.call_sid)

    def _legs_being_changed(self, now: datetime) -> set[str]:
        """Return the legs for which an action is at work, has just ended, or is tried again soon."""
        for key, ended in list(self._before_children.items()):
            if ended is not None and now - ended >= AFTER_PARENT:
                del self._before_children[key]
        retried = [
            action for action in self._retries.soon(now=now) if isinstance(action, Action) and self._applies(action)
        ]
        return {
            *(key[1] for key in list(self._before_children)),
            *(action.call_sid for action in retried if action.comes_before_descendants),
        }

    def _is_admitted(self, action: Action, now: datetime) -> bool:
        admission = self._rate_limit.admit(now, action.key)
        if admission is Admission.STOPPED:
            self._report_stopped()
        return admission is Admission.ALLOWED

    def _is_wanted(self, proposal: Action | Declined) -> bool:
        if proposal.key in self._begun or _declined_key(proposal) in self._begun:
            return False
        if isinstance(proposal, Action) and not self._applies(proposal):
            return False
        try:
            return proposal.is_own or self._store.was_placed(proposal.family)
        except StoreError as error:
            text = f"rule {proposal.rule.name} waits, it can't tell whose call it is: {error.message}"
            self._report_once(Trouble(text, Cause.STORE, call_sid=proposal.call_sid))
            self._unknown_owner.append(proposal)  # queued again at the next update
            return False

    def _report_stopped(self) -> None:
        self._queue.clear()
        self._reports.append(
            Trouble(
                f"the rules have stopped: {self._rate_limit.per_minute} actions in a minute (--max-actions). "
                "The watch goes on; restart it to let them act again",
                Cause.RULE,
            )
        )

    def _report_once(self, trouble: Trouble) -> None:
        """Report once what lasts: each try meets it again."""
        if trouble not in self._reported:
            self._reported.add(trouble)
            self._reports.append(trouble)

    def _begin(self, proposal: Action | Declined) -> None:
        """Begin an action, or to record why there is none, in one of the threads at once.

        Raises:
            NoThreadError: The system has no thread left.
        """
        if isinstance(proposal, Action):
            work = partial(self._execute, proposal)
            if proposal.comes_before_descendants:
                self._before_children[proposal.key] = None
        else:
            work = partial(self._executor.decline, proposal)
        # Also after an error that came once it was claimed, or sent: then the claim keeps it from being done again.
        on_error = partial(self._postponed.append, (proposal, Postponed(retry=True)))
        self._run_and_report(work, on_error=on_error, on_end=partial(self._note_end, proposal))

    def _note_end(self, proposal: Action | Declined) -> None:
        if isinstance(proposal, Action):
            self._ended.append(proposal.key)
        if proposal.key in self._before_children:
            self._before_children[proposal.key] = self._clock.now()

    def _execute(self, action: Action) -> ActionEvent | None:
        limit = ActionLimit(self._rate_limit.per_second, self._rate_limit.per_minute)
        result = self._executor.execute(action, limit=limit)
        if isinstance(result, Postponed):
            self._postponed.append((action, result))
            return None
        if isinstance(result, Declination | Unsent):
            self._unsent.append((action, result))
            return result.event
        return result

    def _run_and_report(
        self,
        work: Callable[[], ActionEvent | None],
        *,
        on_error: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Work in a thread, and report what came of it. ``_at_once`` was acquired for it, and is released at its end.

        Raises:
            NoThreadError: The system has no thread left; it is released.
        """

        def run() -> None:
            try:
                event = work()
            except Exception as error:
                self._report_once(Trouble(f"a rule could not act: {failure_reason(error)}", Cause.RULE))
                on_error()
            else:
                if event is not None:
                    self._reports.append(event)
            finally:
                on_end()
                self._at_once.release()

        try:
            self._run_in_thread(run)
        except NoThreadError:
            on_end()
            self._at_once.release()
            raise

    def _recover(self) -> None:
        try:
            claims = self._store.expired_claims(is_over=self._is_over)
            self._former = set(self._leases) if self._former is None else self._former
        except Exception as error:
            self._reports.append(Trouble(f"can't look for what a crash left: {failure_reason(error)}", Cause.RULE))
            return
        open_legs = {claim.call_sid for claim in claims} | {key[1] for key in list(self._recovering)}
        first = [claim for claim in claims if open_legs.isdisjoint(self._ancestors(claim.call_sid))]
        self._recovery_waits = len(first) < len(claims)
        for claim in first:
            key = claim.rule, claim.call_sid
            # What can't begin now stays open, and is found again with the next look.
            if key in self._recovering or not self._at_once.acquire(blocking=False):
                continue
            self._recovering.add(key)
            with suppress(NoThreadError):
                self._run_and_report(partial(self._recover_claim, claim), on_end=partial(self._end_recovery, key))

    def _end_recovery(self, key: tuple[str, str]) -> None:
        self._recovering.discard(key)
        if self._recovery_waits:
            self._recovery_waits = False
            self._recovered_at = None  # so that the next update looks again

    def _ancestors(self, call_sid: str) -> tuple[str, ...]:
        legs = self._snapshot.legs
        return ancestors(call_sid, lambda sid: legs[sid].parent_call_sid if sid in legs else None)

    def _is_over(self, claim: OpenClaim) -> bool:
        """Return whether a claim was not renewed for as long as a lease lasts, whatever the wall clock was set to.

        One that is open at the start may be over by its own time already. One that is begun or renewed later is of
        another watch that runs: its time is by that one's clock.
        """
        now, lease = self._clock.now(), (claim, claim.lease)
        if now - self._leases.setdefault(lease, now) >= LEASE:
            return True
        is_former = self._former is None or lease in self._former
        return is_former and claim.lease is not None and self._clock.has_passed(claim.lease)

    def _recover_claim(self, claim: OpenClaim) -> ActionEvent | None:
        with self._lock:
            now, snapshot = self._clock.now(), self._snapshot
            action = self._engine.current_action(
                claim.rule, claim.call_sid, about=claim.about, snapshot=snapshot, now=now
            )
        return self._executor.recover(claim, action)

    def _applies(self, action: Action) -> bool:
        with self._lock:
            return self._engine.applies(action, self._snapshot)

    def _declined(self, action: Action) -> Declined | None:
        with self._lock:
            return self._engine.declined(action, self._snapshot)


class RetryQueue:
    """Proposals to be tried again after growing pauses, one for each rule, leg and leg that the rule looks at.

    Not for several threads.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str, str], tuple[datetime, Action | Declined]] = {}
        self._pauses: dict[tuple[str, str, str], Iterator[float]] = {}

    def put(self, proposal: Action | Declined, *, now: datetime, not_before: timedelta = timedelta()) -> None:
        """Add a proposal; its pause doubles each time, and is ``not_before`` at least."""
        key = *proposal.key, proposal.about
        pauses = self._pauses.setdefault(key, RETRY_PAUSES.pauses())
        self._waiting[key] = (now + max(timedelta(seconds=next(pauses)), not_before), proposal)

    def due(self, *, now: datetime) -> list[Action | Declined]:
        """Remove and return the proposals whose pause is over."""
        due = {key: proposal for key, (until, proposal) in self._waiting.items() if until <= now}
        for key in due:
            del self._waiting[key]
        return list(due.values())

    def soon(self, *, now: datetime) -> list[Action | Declined]:
        """Return the proposals that are tried again within the longest of the growing pauses."""
        longest = timedelta(seconds=RETRY_PAUSES.longest)
        return [proposal for until, proposal in self._waiting.values() if until - now <= longest]

    def retain(self, sids: Container[str]) -> None:
        """Drop the proposals about all legs but these."""
        self._waiting = {key: entry for key, entry in self._waiting.items() if key[1] in sids}
        self._pauses = {key: pauses for key, pauses in self._pauses.items() if key[1] in sids}


def _declined_key(proposal: Action | Declined) -> tuple[str, str]:
    """Return what is noted of a proposal that was declined; because of other legs the rule may still act."""
    return declined_rule(proposal.rule.name, proposal.call_sid, about=proposal.about), proposal.call_sid


def _begun_key(proposal: Action | Declined) -> tuple[str, str]:
    return proposal.key if isinstance(proposal, Action) else _declined_key(proposal)


def _to_be_checked(proposal: Action | Declined) -> Action | Declined:
    """Return a proposal that waits: time passes meanwhile, so that its leg may have been answered, or be over."""
    if isinstance(proposal, Declined) or proposal.needs_precheck:
        return proposal
    return replace(proposal, needs_precheck=True)


def _waits_for(action: Action, busy: Container[str]) -> bool:
    return action.comes_after_ancestors and any(sid in busy for sid in action.ancestors)


def _parents_first(proposals: Iterable[Action | Declined]) -> deque[Action | Declined]:
    """Return proposals in the order in which they begin: the end of a leg after what is done to those above it."""

    def depth(proposal: Action | Declined) -> int:
        return len(proposal.ancestors) if isinstance(proposal, Action) and proposal.comes_after_ancestors else 0

    return deque(sorted(proposals, key=depth))
