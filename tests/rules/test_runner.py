"""The runner: which calls rules change, the rate limit, what is retried, and what keeps rules from acting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from engine_run import seconds
from events import WORLD, clock_of, event, moment, sid
from rules_setup import ManualClockSetup, each_reading, manual_clock_setup

from callctl.calls.action import DONE, LATE, REFUSED, ActionEvent
from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.errors import NoThreadError, StoreError
from callctl.rules.engine import Engine, Scope
from callctl.rules.outcome import Declination, Postponed
from callctl.rules.rate_limit import RateLimit
from callctl.rules.rule import Action, Cancel, Declined, Hangup, On, Rule, When, max_duration_rules, ring_limit_rule
from callctl.rules.runner import MOST_AT_ONCE, RetryQueue, RuleRunner, RunInThread
from callctl.simulator.settings import TIME_LIMIT_ALONE
from callctl.store.records import ActionLimit, OpenClaim, declined_rule
from callctl.store.sqlite.store import SqliteStore
from callctl.support.threads import start_in_thread

RING = ring_limit_rule(seconds(10), cancel=Cancel())


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[ManualClockSetup]:
    with manual_clock_setup(tmp_path, ManualClockSetup) as setup:
        yield setup


def test_a_call_of_somebody_else_is_left_alone_and_one_that_callctl_placed_is_not(setup: ManualClockSetup) -> None:
    store = SqliteStore.open_for_watch(setup.home / "events.db", world=WORLD)
    for scope, placed in ((Scope.OWN, False), (Scope.OWN, True), (Scope.ALL, False)):
        setup.act(RING, scope=scope)
        sid = setup.place("+12025550103", callbacks=False)
        if placed:
            store.remember_placed(sid, at=setup.now())
        setup.wait_for_rest_status(sid, "ringing")
        setup.poll(sid)
        setup.settle(20)
        acted = placed or scope is Scope.ALL
        assert setup.client.fetch(sid).status == ("canceled" if acted else "ringing")
        assert bool([event for event in setup.events if event.call_sid == sid]) == acted
    store.close()


def test_the_rate_limit_is_reported_and_the_watch_goes_on(setup: ManualClockSetup) -> None:
    answered = When(statuses=frozenset({"in-progress"}))
    setup.act(Rule(name="end-all", when=answered, then=Hangup()), rate_limit=RateLimit(per_minute=3))
    sids = [setup.place() for _ in range(5)]
    setup.until(lambda: bool(setup.notes) and len(setup.events) == 3)
    assert setup.notes[0].startswith("the rules have stopped: 3 actions in a minute (--max-actions)")
    setup.until(lambda: sum(setup.status(sid) == "in-progress" for sid in sids) == 2)
    assert len(setup.notes) == 1
    assert len(setup.sent("Status", "completed")) == 3
    late = setup.place()
    setup.until(lambda: setup.status(late) == "in-progress")
    assert len(setup.events) == 3


def test_a_long_call_is_ended_by_twilios_own_limit_where_that_is_taken(tmp_path: Path) -> None:
    """By one reading an update may be TimeLimit alone."""
    with manual_clock_setup(tmp_path, ManualClockSetup, readings=[TIME_LIMIT_ALONE]) as setup:
        setup.act(*max_duration_rules(timedelta(seconds=20)))
        sid = setup.place()
        setup.until(lambda: setup.status(sid) == "completed" and bool(setup.events))
        (event,) = setup.events
        assert (event.rule, event.action, event.result) == ("max-duration", "limit", DONE)
        assert event.outcome == "Twilio ends it 20 s after its answer"
        assert setup.sent("TimeLimit", "20") == [sid]
        assert setup.sent("Status", "completed") == []
        assert setup.client.fetch(sid).duration == 20


def test_a_long_call_is_hung_up_where_no_time_limit_is_taken(setup: ManualClockSetup) -> None:
    """By the other reading TimeLimit alone is refused (21218)."""
    limit, hangup = max_duration_rules(timedelta(seconds=1))
    setup.act(
        limit, Rule(name=hangup.name, when=When(statuses=hangup.when.statuses, lasting=seconds(1)), then=Hangup())
    )
    sid = setup.place()
    setup.until(lambda: setup.status(sid) == "completed")
    setup.until(lambda: len(setup.events) == 2)
    events = {event.action: event for event in setup.events}
    assert (events["limit"].result, events["limit"].code) == (REFUSED, "21218")
    assert events["limit"].request == (("TimeLimit", "1"),)
    assert events["hangup"].result == DONE


TWO_DIALS = (
    "<Response><Dial><Sip>sip:talks@example.com</Sip></Dial><Dial><Sip>sip:second@example.com</Sip></Dial></Response>"
)
LONG = When(statuses=frozenset({"in-progress"}), lasting=seconds(5))


@each_reading
@pytest.mark.parametrize("rules", [max_duration_rules(seconds(5)), (Rule(name="longest", when=LONG, then=Hangup()),)])
def test_a_family_that_is_too_long_already_is_ended_without_another_dial(
    manual_clock: ManualClockSetup, rules: Sequence[Rule]
) -> None:
    setup = manual_clock
    parents = [setup.place(twiml=TWO_DIALS, callbacks=False) for _ in range(3)]
    children = [setup.child_of_rest(parent) for parent in parents]
    for child in children:
        setup.wait_for_rest_status(child, "in-progress")
    setup.pause(20)
    setup.act(*rules, scope=Scope.ALL)
    setup.take(  # as a poll lists them, newest first
        [
            CallEvent.from_call(setup.client.fetch(call), received_at=setup.clock.wall(), world=WORLD)
            for call in [*children, *parents]
        ]
    )
    setup.settle(20)
    assert [[call.sid for call in setup.children(parent)] for parent in parents] == [[child] for child in children]
    assert {setup.client.fetch(call).status for call in [*parents, *children]} == {"completed"}


def test_rules_that_were_stopped_take_nothing_over_that_a_crash_left(setup: ManualClockSetup) -> None:
    rule = Rule(name="end-all", when=When(statuses=frozenset({"in-progress"})), then=Hangup())
    setup.act(rule, rate_limit=RateLimit(per_minute=1))
    sids = [setup.place() for _ in range(2)]
    setup.until(lambda: bool(setup.notes))
    (spared,) = [sid for sid in sids if setup.client.fetch(sid).status == "in-progress"]
    claim = OpenClaim(rule.name, spared, spared, "hangup")
    assert setup.claims.claim(claim, now=setup.clock.wall(), until=setup.clock.wall() - seconds(1))
    setup.settle(40)
    assert setup.client.fetch(spared).status == "in-progress"
    assert len(setup.events) == 1
    assert setup.claims.expired_claims(is_over=lambda _: True) == [claim]


def test_what_was_postponed_does_not_count_for_the_rate_limit(setup: ManualClockSetup) -> None:
    """REST lags for longer than the rate limit would allow, if each look counted."""
    setup.act(RING, rate_limit=RateLimit(per_minute=2))
    sid = setup.place("+12025550103")
    looks = 0

    def postponed(_: Action, **_options: object) -> Postponed:
        nonlocal looks
        looks += 1
        return Postponed(retry=True)

    assert setup.runner is not None
    executor = setup.runner._executor
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(executor, "execute", postponed)
        setup.until(lambda: looks == 5)
    assert setup.notes == []
    setup.until(lambda: bool(setup.events))
    assert [(event.call_sid, event.result) for event in setup.events] == [(sid, DONE)]


def test_calls_that_ended_unseen_do_not_count_for_the_rate_limit(setup: ManualClockSetup) -> None:
    """As after a pause in which no watch ran: all that lasted too long by now are proposed, and hardly one is live."""
    rule = Rule(name="too-long", when=When(statuses=frozenset({"in-progress"}), lasting=seconds(20)), then=Hangup())
    setup.act(rule, scope=Scope.ALL, rate_limit=RateLimit(per_minute=2))
    *ended, live = [setup.place(callbacks=False) for _ in range(6)]
    for call in (*ended, live):
        setup.wait_for_rest_status(call, "in-progress")
        setup.poll(call)
    for call in ended:
        setup.client.hangup(call)
        setup.wait_for_rest_status(call, "completed")
    setup.until(lambda: len(setup.events) == len(ended) + 1)
    assert sorted((event.call_sid, event.result) for event in setup.events) == sorted(
        [*((call, LATE) for call in ended), (live, DONE)]
    )
    assert setup.notes == []


def test_what_failed_after_it_was_claimed_is_left_to_those_who_look_for_what_a_crash_left(
    setup: ManualClockSetup,
) -> None:
    setup.act(RING, rate_limit=RateLimit(per_minute=2))
    sid = setup.place("+12025550103")
    assert setup.runner is not None
    executor, sent = setup.runner._executor, list[str]()

    def fail(action: Action, *_: object) -> None:
        sent.append(action.call_sid)
        raise RuntimeError("an odd error")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(executor, "_send", fail)
        setup.until(lambda: bool(sent))
        setup.settle(40)
        assert sent == [sid]
    assert setup.notes == ["a rule could not act: RuntimeError: an odd error"]
    setup.until(lambda: bool(setup.events))
    assert [(one.call_sid, one.action) for one in setup.events] == [(sid, "cancel")]


def test_what_is_to_be_looked_at_again_comes_back_once_each_time_and_after_growing_pauses() -> None:
    queue, action = RetryQueue(), Action(RING, sid(1), sid(1), sid(1), True, needs_precheck=True)
    pauses = []
    at = 0.0
    for _ in range(7):
        queue.put(action, now=moment(at))
        pause = next(number for number in range(1000) if queue.due(now=moment(at + number)) == [action])
        assert queue.due(now=moment(at + 1000)) == []
        pauses.append(pause)
        at += 1000
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_what_is_too_young_comes_back_when_it_may_be_old_enough_and_not_before() -> None:
    queue, action = RetryQueue(), Action(RING, sid(1), sid(1), sid(1), True, needs_precheck=True)
    queue.put(action, now=moment(0), not_before=seconds(20))
    assert queue.due(now=moment(19.9)) == []
    assert queue.due(now=moment(20)) == [action]
    queue.put(action, now=moment(20), not_before=seconds(1))  # the pause is longer by now
    assert queue.due(now=moment(21.9)) == []
    assert queue.due(now=moment(22)) == [action]


def test_what_the_board_has_forgotten_is_not_looked_at_again() -> None:
    queue = RetryQueue()
    for number in (1, 2):
        queue.put(Action(RING, sid(number), sid(number), sid(number), True, needs_precheck=True), now=moment(0))
    queue.retain({sid(2)})
    assert [action.call_sid for action in queue.due(now=moment(1))] == [sid(2)]


def test_rules_stop_when_all_watches_together_have_done_too_much(setup: ManualClockSetup) -> None:
    limit = RateLimit(per_minute=2)
    for number in (1, 2):  # by another watch
        theirs = OpenClaim("theirs", sid(number), sid(number), "hangup")
        now = setup.clock.wall()
        shared = ActionLimit(per_second=10, per_minute=limit.per_minute)
        assert setup.claims.claim(theirs, now=now, until=now + seconds(90), limit=shared)
    setup.act(RING, rate_limit=limit)
    call = setup.place("+12025550103")
    assert setup.runner is not None
    setup.until(lambda: bool(setup.notes))
    assert setup.runner.is_stopped
    assert "2 actions in a minute (--max-actions)" in str(setup.notes[0])
    assert setup.client.fetch(call).status == "ringing"


END_ALL = Rule(name="end-all", when=When(statuses=frozenset({"in-progress"})), then=Hangup())


@dataclass
class RecordingExecutor:
    """Records the proposals that it gets."""

    proposals: list[Action | Declined] = field(default_factory=list)

    def execute(self, action: Action, **_: object) -> ActionEvent | None:
        self.proposals.append(action)
        return None

    def decline(self, declined: Declined) -> ActionEvent | None:
        self.proposals.append(declined)
        return None

    def recover(self, _claim: Any, _action: Action | None, /) -> ActionEvent | None:
        return None


@dataclass
class Threads:
    """Starts threads that work when they are let, as long as there are any left."""

    left: int
    works: list[Callable[[], None]] = field(default_factory=list)

    def start(self, work: Callable[[], None]) -> None:
        if not self.left:
            raise NoThreadError
        self.left -= 1
        self.works.append(work)

    def end(self) -> None:
        while self.works:
            self.works.pop(0)()
            self.left += 1


@dataclass
class FailingStore:
    """A store of which some reads fail."""

    failures: int = 0

    def claim_keys(self) -> set[tuple[str, str]]:
        return set()

    def expired_claims(self, **_: Any) -> list[Any]:
        return []

    def was_placed(self, _sid: str) -> bool:
        if self.failures:
            self.failures -= 1
            raise StoreError("the database is locked")
        return True


class RunnerSetup:
    def __init__(
        self,
        *rules: Rule,
        failures: int = 0,
        executor: RecordingExecutor | None = None,
        run_in_thread: RunInThread = lambda work: work(),
    ) -> None:
        self.board, self.executor, self.seconds = Board(), executor or RecordingExecutor(), 0.0
        self.rest_time: datetime | None = None
        recording: Any = self.executor
        store: Any = FailingStore(failures)
        self.runner = RuleRunner(
            Engine(rules or [END_ALL]),
            make_executor=lambda _applies, _report: recording,
            store=store,
            rate_limit=RateLimit(),
            clock=clock_of(lambda: moment(self.seconds)),
            run_in_thread=run_in_thread,
            rest_time=lambda: self.rest_time,
        )

    def update(self, *events: CallEvent) -> None:
        changes = [change for one in events if (change := self.board.apply(one)) is not None]
        self.runner.update(changes, self.board.snapshot())


def families(count: int, *, answered: float = 0) -> Iterator[CallEvent]:
    """Yield so many families, the child before its parent: as a poll lists them, newest first."""
    for number in range(1, count + 1):
        yield event(100 + number, "in-progress", at=answered, parent=number)
        yield event(number, "in-progress", at=answered)


def sids(running: RunnerSetup) -> list[str]:
    return [one.call_sid for one in running.executor.proposals]


def requested(running: RunnerSetup) -> list[str]:
    return [one.call_sid for one in running.executor.proposals if isinstance(one, Action)]


def declined(running: RunnerSetup) -> dict[str, str]:
    return {one.call_sid: one.reason for one in running.executor.proposals if isinstance(one, Declined)}


class DecliningExecutor(RecordingExecutor):
    """Declines what these legs lead to, and does the rest."""

    def __init__(self, *legs: int) -> None:
        super().__init__()
        self.legs = {sid(leg) for leg in legs}

    def execute(self, action: Action, **_: object) -> Any:
        self.proposals.append(action)
        return Declination(None) if action.about in self.legs else None


PARENTS = Rule(name="parents", when=When(statuses=frozenset({"ringing"})), then=Hangup(), on=On.PARENT)


def about(running: RunnerSetup) -> list[str]:
    return [one.about for one in running.executor.proposals]


def test_what_was_declined_because_of_a_child_is_proposed_because_of_the_next_and_not_of_the_same() -> None:
    running = RunnerSetup(PARENTS, executor=DecliningExecutor(2))
    running.update(event(1, "in-progress", at=0))
    running.update(event(2, "ringing", at=0, parent=1))
    running.update(event(2, "initiated", at=0, parent=1))
    running.update(event(2, "ringing", at=0, parent=1, number=7))
    running.update(event(3, "ringing", at=0, parent=1))
    running.update(event(4, "ringing", at=0, parent=1))
    running.update()
    assert about(running) == [sid(2), sid(3)]


@pytest.mark.parametrize("is_declined", [True, False])
def test_a_child_waits_for_what_comes_of_the_action_that_another_one_led_to(is_declined: bool) -> None:
    """Both ring too long at the same moment: the second must not be passed over if the first is declined."""
    threads = Threads(left=9)
    executor = DecliningExecutor(*((2,) if is_declined else ()))
    running = RunnerSetup(PARENTS, executor=executor, run_in_thread=threads.start)
    running.update(event(1, "in-progress", at=0))
    running.update(*(event(child, "ringing", at=0, parent=1) for child in (2, 3)))
    for _ in range(3):
        running.update()
        assert len([work for work in threads.works if "_recover" not in str(work)]) == 1
    for _ in range(3):
        threads.end()
        running.update()
    assert about(running) == ([sid(2), sid(3)] if is_declined else [sid(2)])
    assert all(one.needs_precheck for one in running.executor.proposals[1:] if isinstance(one, Action))


def test_what_was_declined_before_a_restart_is_declined_for_the_same_child_only() -> None:
    running = RunnerSetup(PARENTS)
    known: Any = running.runner._store
    known.claim_keys = lambda: {(declined_rule("parents", sid(1), about=sid(2)), sid(1))}
    running.runner.start(running.board.snapshot())
    running.update(event(1, "in-progress", at=0))
    running.update(*(event(child, "ringing", at=0, parent=1) for child in (2, 3)))
    assert about(running) == [sid(3)]


def test_what_is_tried_again_because_of_two_children_is_tried_because_of_each() -> None:
    queue = RetryQueue()
    actions = [Action(PARENTS, sid(1), sid(child), sid(1), True, needs_precheck=True) for child in (2, 3)]
    for action in actions:
        queue.put(action, now=moment(0))
    assert queue.due(now=moment(1)) == actions


RING_NOW = Rule(name="ring-now", when=When(statuses=frozenset({"ringing"})), then=Hangup())


def test_what_waits_its_turn_is_fetched_before_and_declined_once_it_was_answered() -> None:
    running = RunnerSetup(RING_NOW)
    running.update(*(event(number, "ringing", at=0) for number in range(1, 31)))
    first = requested(running)
    waiting = [sid(number) for number in range(1, 31) if sid(number) not in first]
    assert (len(first), len(waiting)) == (10, 20)
    running.seconds = 1.5
    running.update(*(event(number, "in-progress", at=1) for number in range(1, 26)))
    answered = [one for one in waiting if one <= sid(25)]
    assert declined(running) == dict.fromkeys(answered, "it was answered meanwhile and left alone")
    assert sorted(requested(running)) == sorted({*first, *waiting} - {*answered})
    assert [one.needs_precheck for one in running.executor.proposals if isinstance(one, Action)] == [
        *[False] * 10,
        *[True] * 5,
    ]


class GivingUpExecutor(RecordingExecutor):
    """Finds that a rule no longer proposes what it was given."""

    def execute(self, action: Action, **_: object) -> Any:
        self.proposals.append(action)
        return Postponed(retry=False)


def test_what_was_answered_while_a_thread_could_not_send_it_is_declined() -> None:
    threads = Threads(left=10)
    running = RunnerSetup(RING_NOW, executor=GivingUpExecutor(), run_in_thread=threads.start)
    running.update(event(1, "ringing", at=0))
    running.update(event(1, "in-progress", at=0))
    threads.end()
    running.update()
    threads.end()
    assert requested(running) == [sid(1)]
    assert declined(running) == {sid(1): "it was answered meanwhile and left alone"}


def test_a_child_is_ended_only_some_seconds_after_its_parents_end_was_answered() -> None:
    threads = Threads(left=10)
    running = RunnerSetup(run_in_thread=threads.start)
    running.update()
    threads.end()
    running.update(*families(1))
    for second in range(10):  # the API does not answer
        running.seconds = second
        running.update()
    assert len(threads.works) == 1
    threads.end()
    assert sids(running) == [sid(1)]
    for at, ended in ((9, [sid(1)]), (10.5, [sid(1)]), (11, [sid(1), sid(101)])):
        running.seconds = at
        running.update()
        threads.end()
        assert sids(running) == ended
    (parent, child) = running.executor.proposals
    assert [isinstance(one, Action) and one.needs_precheck for one in (parent, child)] == [False, True]


def test_a_child_that_ends_with_its_parent_needs_no_request() -> None:
    running = RunnerSetup()
    running.update(*families(3))
    running.update(*(event(number, "completed", at=0) for number in (1, 101, 102)))
    running.seconds = 2
    running.update()
    assert requested(running) == [sid(1), sid(2), sid(3), sid(103)]
    assert declined(running) == {
        sid(101): "it has ended already: completed",
        sid(102): "it has ended already: completed",
    }


def test_of_a_deep_family_each_leg_waits_for_all_above_it() -> None:
    running = RunnerSetup()
    running.update(
        event(3, "in-progress", at=0, parent=2), event(2, "in-progress", at=0, parent=1), event(1, "in-progress", at=0)
    )
    for second, ended in ((0, [1]), (1, [1]), (2, [1, 2]), (3, [1, 2]), (4, [1, 2, 3])):
        running.seconds = second
        running.update()
        assert sids(running) == [sid(number) for number in ended]


def test_legs_that_are_each_others_parents_wait_for_neither() -> None:
    running = RunnerSetup()
    running.update(event(1, "in-progress", at=0, parent=2), event(2, "in-progress", at=0, parent=1))
    assert sorted(sids(running)) == [sid(1), sid(2)]


def test_a_rate_limit_lets_no_child_through_before_its_parent() -> None:
    running = RunnerSetup()
    running.update(*families(25))
    assert sids(running) == [sid(number) for number in range(1, 11)]
    for tenths in range(1, 100):
        running.seconds = tenths / 10
        running.update()
    done = sids(running)
    assert len(done) == 50
    assert all(done.index(sid(number)) < done.index(sid(100 + number)) for number in range(1, 26))


def test_where_the_rules_stop_children_are_spared_whose_parents_are() -> None:
    running = RunnerSetup()
    running.update(*families(120))
    for second in range(1, 60):
        running.seconds = second
        running.update()
    assert running.runner.is_stopped
    done = set(sids(running))
    assert len(done) == 100
    assert all(sid(number) in done for number in range(1, 121) if sid(100 + number) in done)


@dataclass
class PostponingExecutor(RecordingExecutor):
    """An executor that can't end one leg at first."""

    postponed: str = ""
    times: int = 3
    not_before: timedelta = timedelta()

    def execute(self, action: Action, **options: object) -> Any:
        if action.call_sid == self.postponed and self.times:
            self.times -= 1
            return Postponed(retry=True, not_before=self.not_before)
        return super().execute(action, **options)


def test_a_child_waits_while_its_parent_is_tried_again() -> None:
    running = RunnerSetup(executor=PostponingExecutor(postponed=sid(1)))
    running.update(*families(2))
    for second in range(6):
        running.seconds = second
        running.update()
    assert sids(running) == [sid(2), sid(102)]
    for second in range(6, 12):
        running.seconds = second
        running.update()
    assert sids(running) == [sid(2), sid(102), sid(1), sid(101)]


def test_a_child_does_not_wait_for_a_parent_that_can_not_be_ended_for_long() -> None:
    executor = PostponingExecutor(postponed=sid(1), times=1000, not_before=timedelta(hours=1))
    running = RunnerSetup(executor=executor)
    running.update(*families(1))
    for second in range(4):
        running.seconds = second
        running.update()
    assert sids(running) == [sid(101)]


def test_a_child_does_not_wait_for_a_parent_that_has_ended_meanwhile() -> None:
    running = RunnerSetup(executor=PostponingExecutor(postponed=sid(1), times=1))
    running.update(*families(1))
    running.update(event(1, "completed", at=0))
    running.seconds = 2
    running.update()
    assert requested(running) == [sid(101)]
    assert declined(running) == {sid(1): "it has ended already: completed"}


def test_where_the_store_can_not_tell_whose_a_family_is_its_child_waits_as_well() -> None:
    running = RunnerSetup(failures=1)
    resources: list[dict[str, Any]] = [
        {"sid": sid(101), "status": "in-progress", "direction": "outbound-dial", "parent_call_sid": sid(1)},
        {"sid": sid(1), "status": "in-progress", "direction": "outbound-api"},
    ]
    running.update(
        *(CallEvent.from_call(Call.from_resource(one), received_at=moment(0), world=WORLD) for one in resources)
    )
    assert sids(running) == []
    for second, ended in ((0, [sid(1)]), (1, [sid(1)]), (2, [sid(1), sid(101)])):
        running.seconds = second
        running.update()
        assert sids(running) == ended


def test_the_parents_first_of_what_a_crash_left() -> None:
    """Two watches may have been at work: each had begun to end one leg of a family."""
    recovered: list[str] = []

    class RecoveringExecutor(RecordingExecutor):
        def recover(self, claim: OpenClaim, _action: Action | None, /) -> ActionEvent | None:
            recovered.append(claim.call_sid)
            open_claims.remove(claim)
            return None

    open_claims = [OpenClaim(END_ALL.name, call, call, "hangup") for call in (sid(101), sid(1), sid(2))]
    threads = Threads(left=10)
    running = RunnerSetup(executor=RecoveringExecutor(), run_in_thread=threads.start)
    store: Any = running.runner._store
    store.expired_claims = lambda **_: list(open_claims)
    store.claim_keys = lambda: {(claim.rule, claim.call_sid) for claim in open_claims}
    running.board.apply(event(101, "in-progress", at=-60, parent=1))
    running.board.apply(event(1, "in-progress", at=-60))
    running.runner.start(running.board.snapshot())
    running.update()
    while threads.works:
        threads.end()
    assert recovered == [sid(1), sid(2)]
    running.update()
    while threads.works:
        threads.end()
    assert recovered == [sid(1), sid(2), sid(101)]


@pytest.mark.parametrize("ahead", [16, 42, 3600])
def test_where_this_machines_clock_may_be_ahead_rest_is_asked_and_then_its_time_counts(ahead: int) -> None:
    running = RunnerSetup()
    running.seconds = 1000
    running.update(event(1, "in-progress", at=1000 - ahead, received=1000))
    running.rest_time = moment(1000 - ahead)
    running.seconds = 1100
    running.update(event(2, "in-progress", at=1100 - ahead, received=1100))
    running.update(event(3, "in-progress", at=1100 - ahead - 16, received=1100))
    first, second, third = running.executor.proposals
    assert isinstance(first, Action) and first.trigger is not None and first.trigger.seems_old
    assert isinstance(second, Action) and second.trigger is not None and not second.trigger.seems_old
    assert first.needs_precheck and second.needs_precheck
    assert isinstance(third, Declined)


@pytest.mark.parametrize("ahead", [-3600, -16, 0, 14])
def test_a_clock_that_is_behind_or_nearly_right_lets_rules_act(ahead: int) -> None:
    running = RunnerSetup()
    running.seconds = 5000
    running.update(event(1, "in-progress", at=5000 - ahead, received=5000))
    assert [(type(one), one.call_sid) for one in running.executor.proposals] == [(Action, sid(1))]
    assert running.runner.take_reports() == []


def test_one_late_callback_among_others_says_nothing_of_the_clock() -> None:
    running = RunnerSetup()
    running.seconds = 1000
    running.update(event(1, "ringing", at=1000, received=1000))
    running.update(event(2, "in-progress", at=900, received=1000))
    assert [type(one) for one in running.executor.proposals] == [Declined]
    assert running.runner.take_reports() == []


def test_a_request_that_hangs_keeps_nothing_waiting() -> None:
    """Neither the next look nor another action: what holds the first one up is let go only when all that is done."""
    advance, second = threading.Event(), threading.Event()

    class SlowApi(RecordingExecutor):
        def execute(self, action: Action, **_: object) -> ActionEvent | None:
            if action.call_sid == sid(1):
                advance.wait()
            else:
                second.set()
            return super().execute(action)

    running = RunnerSetup(executor=SlowApi(), run_in_thread=start_in_thread)
    running.update(event(1, "in-progress", at=0))
    running.update(event(2, "in-progress", at=0))
    assert second.wait(timeout=120)
    advance.set()


def test_where_the_store_can_not_tell_whose_call_it_is_the_rule_waits() -> None:
    running = RunnerSetup(failures=3)
    # A poll reported it, and no callback: the store must say whether callctl placed it.
    listed = Call.from_resource({"sid": sid(1), "status": "in-progress", "direction": "outbound-api"})
    running.update(CallEvent.from_call(listed, received_at=moment(0), world=WORLD))
    for _ in range(2):
        assert running.executor.proposals == []
        running.update()
    running.update()
    assert [one.call_sid for one in running.executor.proposals] == [sid(1)]
    assert running.runner.take_reports() == [
        "rule end-all waits, it can't tell whose call it is: the database is locked"
    ]
    running.update()
    assert len(running.executor.proposals) == 1


class FailingExecutor(RecordingExecutor):
    def execute(self, action: Action, **_: object) -> ActionEvent | None:
        super().execute(action)
        raise KeyError("a mistake of ours")


def test_what_finds_no_thread_is_done_when_there_is_one_and_does_not_count_before() -> None:
    threads = Threads(left=1)  # which looks for what a crash left
    running = RunnerSetup(run_in_thread=threads.start)
    running.update()
    running.update(*(event(number, "in-progress", at=0) for number in range(1, 4)))
    for _ in range(200):  # more often than is allowed in a minute
        running.update()
    assert not running.runner.is_stopped
    (trouble,) = running.runner.take_reports()
    assert str(trouble).startswith("rules wait: the system lets callctl start no further thread; end other programs")
    assert running.executor.proposals == []
    threads.end()
    for _ in range(3):
        running.update()
        threads.end()
    assert [one.call_sid for one in running.executor.proposals] == [sid(1), sid(2), sid(3)]
    running.update()
    threads.end()
    assert len(running.executor.proposals) == 3


def test_what_a_crash_left_is_looked_for_as_soon_as_there_is_a_thread() -> None:
    threads = Threads(left=0)
    running = RunnerSetup(run_in_thread=threads.start)
    running.update()
    threads.left = 1
    running.update()
    assert len(threads.works) == 1


def test_so_many_actions_run_at_once_and_the_rest_wait_without_being_counted() -> None:
    threads = Threads(left=1000)
    running = RunnerSetup(run_in_thread=threads.start)
    running.update()
    threads.end()
    calls = range(1, 91)
    running.update(*(event(number, "in-progress", at=0) for number in calls))
    for at in range(1, 20):  # the API does not answer
        running.seconds = at
        running.update()
    looks = 1  # for what a crash left
    assert len(threads.works) == MOST_AT_ONCE + looks
    running.seconds = 60  # those of the first seconds count no more
    running.update()
    for at in range(61, 70):
        threads.end()
        running.seconds = at
        running.update()
    assert not running.runner.is_stopped
    assert [one.call_sid for one in running.executor.proposals] == [sid(number) for number in calls]
    assert running.runner.take_reports() == []


@dataclass
class OnceFailingExecutor(RecordingExecutor):
    """An executor that can't do or record anything at first."""

    failures: int = 3

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("an odd error")

    def execute(self, action: Action, **options: object) -> ActionEvent | None:
        self._fail()
        return super().execute(action, **options)

    def decline(self, declined: Declined) -> ActionEvent | None:
        self._fail()
        return super().decline(declined)


@pytest.mark.parametrize(("at", "kind"), [(0, Action), (-42, Declined)])
def test_what_failed_before_it_was_claimed_is_tried_again_after_growing_pauses(
    at: int, kind: type[Action | Declined]
) -> None:
    running = RunnerSetup(executor=OnceFailingExecutor())
    running.seconds = 1000
    running.update(event(2, "ringing", at=1000))  # so that this machine's clock is known to be right
    running.update(event(1, "in-progress", at=1000 + at, received=1000))
    done_at: list[int] = []
    for second in range(1000, 1020):
        running.seconds = second
        running.update()
        done_at += [second] * (len(running.executor.proposals) - len(done_at))
    assert done_at == [1009]  # after 1, 2 and 4 seconds, each from the update after the failure on
    assert [type(one) for one in running.executor.proposals] == [kind]
    assert running.runner.take_reports() == ["a rule could not act: RuntimeError: an odd error"]


def test_what_keeps_failing_does_not_stop_the_rules() -> None:
    running = RunnerSetup(executor=OnceFailingExecutor(failures=10_000))
    running.update(*(event(number, "in-progress", at=0) for number in range(1, 91)))
    for second in range(60):
        running.seconds = second
        running.update()
    assert not running.runner.is_stopped


def test_a_rule_that_fails_unexpectedly_says_so() -> None:
    running = RunnerSetup(executor=FailingExecutor())
    running.update(event(1, "in-progress", at=0))
    assert running.runner.take_reports() == ["a rule could not act: KeyError: 'a mistake of ours'"]
