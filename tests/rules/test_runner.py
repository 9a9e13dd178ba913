"""Rules at work as a whole: whose calls, the rate limit, and the limit of their length."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playing import seconds
from telling import moment, sid
from turning import TurnedStage, a_turned_stage

from callctl.calls.action import DONE, REFUSED
from callctl.rules.engine import Scope
from callctl.rules.outcome import Postponed
from callctl.rules.rate_limit import RateLimit
from callctl.rules.rule import Action, Cancel, Hangup, Rule, When, max_duration_rules, ring_limit_rule
from callctl.rules.runner import RetryQueue
from callctl.simulator.settings import TIME_LIMIT_ALONE
from callctl.store.records import OpenClaim
from callctl.store.sqlite.store import EventStore

RING = ring_limit_rule(seconds(10), cancel=Cancel())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[TurnedStage]:
    with a_turned_stage(tmp_path, TurnedStage) as stage:
        yield stage


def test_a_call_of_somebody_else_is_left_alone_and_one_that_callctl_placed_is_not(stage: TurnedStage) -> None:
    store = EventStore.open_for_watch(stage.home / "events.db", world="stage")
    for scope, placed in ((Scope.OWN, False), (Scope.OWN, True), (Scope.ALL, False)):
        stage.act(RING, scope=scope)
        sid = stage.place("+12025550103", callbacks=False)
        if placed:
            store.remember_placed(sid, at=stage.now())
        stage.until_of_rest(sid, "ringing")
        stage.poll(sid)
        stage.settle(20)
        acted = placed or scope is Scope.ALL
        assert stage.client.fetch(sid).status == ("canceled" if acted else "ringing")
        assert bool([event for event in stage.events if event.call_sid == sid]) == acted
    store.close()


def test_the_rate_limit_is_reported_and_the_watch_goes_on(stage: TurnedStage) -> None:
    answered = When(statuses=frozenset({"in-progress"}))
    stage.act(Rule(name="end-all", when=answered, then=Hangup()), rate_limit=RateLimit(per_minute=3))
    sids = [stage.place() for _ in range(5)]
    stage.until(lambda: bool(stage.notes) and len(stage.events) == 3)
    assert stage.notes[0].startswith("the rules have stopped: 3 actions in a minute (--max-actions)")
    stage.until(lambda: sum(stage.status(sid) == "in-progress" for sid in sids) == 2)
    assert len(stage.notes) == 1
    assert len(stage.sent("Status", "completed")) == 3
    late = stage.place()
    stage.until(lambda: stage.status(late) == "in-progress")
    assert len(stage.events) == 3


def test_a_long_call_is_ended_by_twilios_own_limit_where_that_is_taken(tmp_path: Path) -> None:
    """By one reading an update may be TimeLimit alone."""
    with a_turned_stage(tmp_path, TurnedStage, readings=[TIME_LIMIT_ALONE]) as stage:
        stage.act(*max_duration_rules(timedelta(seconds=20)))
        sid = stage.place()
        stage.until(lambda: stage.status(sid) == "completed" and bool(stage.events))
        (event,) = stage.events
        assert (event.rule, event.action, event.result) == ("max-duration", "limit", DONE)
        assert event.outcome == "Twilio ends it 20 s after its answer"
        assert stage.sent("TimeLimit", "20") == [sid]
        assert stage.sent("Status", "completed") == []
        assert stage.client.fetch(sid).duration == 20


def test_a_long_call_is_hung_up_where_no_time_limit_is_taken(stage: TurnedStage) -> None:
    """By the other reading TimeLimit alone is refused (21218)."""
    limit, hangup = max_duration_rules(timedelta(seconds=1))
    stage.act(
        limit, Rule(name=hangup.name, when=When(statuses=hangup.when.statuses, lasting=seconds(1)), then=Hangup())
    )
    sid = stage.place()
    stage.until(lambda: stage.status(sid) == "completed")
    stage.until(lambda: len(stage.events) == 2)
    told = {event.action: event for event in stage.events}
    assert (told["limit"].result, told["limit"].code) == (REFUSED, "21218")
    assert told["limit"].request == (("TimeLimit", "1"),)
    assert told["hangup"].result == DONE


def test_rules_that_were_stopped_take_nothing_over_that_a_crash_left(stage: TurnedStage) -> None:
    rule = Rule(name="end-all", when=When(statuses=frozenset({"in-progress"})), then=Hangup())
    stage.act(rule, rate_limit=RateLimit(per_minute=1))
    sids = [stage.place() for _ in range(2)]
    stage.until(lambda: bool(stage.notes))
    (spared,) = [sid for sid in sids if stage.client.fetch(sid).status == "in-progress"]
    claim = OpenClaim(rule.name, spared, spared, "hangup")
    assert stage.claims.claim(claim, now=stage.clock.wall(), until=stage.clock.wall() - seconds(1))
    stage.settle(40)
    assert stage.client.fetch(spared).status == "in-progress"
    assert len(stage.events) == 1
    assert stage.claims.expired_claims(is_over=lambda _: True) == [claim]


def test_what_was_postponed_does_not_count_for_the_rate_limit(stage: TurnedStage) -> None:
    """REST is behind for longer than the rate limit would allow, if each look counted."""
    stage.act(RING, rate_limit=RateLimit(per_minute=2))
    sid = stage.place("+12025550103")
    looks = 0

    def behind(_: Action) -> Postponed:
        nonlocal looks
        looks += 1
        return Postponed(retry=True)

    assert stage.runner is not None
    executor = stage.runner._executor
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(executor, "execute", behind)
        stage.until(lambda: looks == 5)
    assert stage.notes == []
    stage.until(lambda: bool(stage.events))
    assert [(event.call_sid, event.result) for event in stage.events] == [(sid, DONE)]


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
