"""The engine over time: what rules propose, when, and when they don't; and for which legs."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from engine_run import EngineRun, seconds
from events import event, event_of, form, moment, sid
from legs import in_conference

from callctl.calls.event import CallEvent
from callctl.calls.leg import Leg
from callctl.rules.engine import Scope, passed_over
from callctl.rules.rule import (
    Action,
    Cancel,
    Hangup,
    LastRinging,
    Limit,
    On,
    Redirect,
    Rule,
    Trigger,
    When,
    after_dial_rule,
    max_duration_rules,
    ring_limit_rule,
)

SURVEY = Redirect("survey", "https://example.com/survey")
RING = ring_limit_rule(seconds(30), cancel=Cancel())
AFTER = after_dial_rule(SURVEY)


def test_a_leg_that_rings_too_long_is_cancelled_a_second_after_the_limit() -> None:
    run = EngineRun(RING)
    run.report(1, "initiated")
    run.wait(5)
    run.report(1, "ringing")
    run.wait(3600)
    assert run.actions == [(36.0, "cancel", sid(1))]


def test_the_age_counts_from_initiated_where_ringing_never_comes() -> None:
    run = EngineRun(RING)
    run.report(1, "initiated")
    run.wait(60)
    assert run.actions == [(31.0, "cancel", sid(1))]


def test_the_age_counts_from_first_sight_where_nothing_has_a_timestamp() -> None:
    run = EngineRun(RING)
    run.wait(10)
    run.take(event(1, "ringing", received=10))
    run.wait(60)
    assert run.actions == [(41.0, "cancel", sid(1))]


def test_a_ringing_leg_that_only_a_poll_reported_counts_from_first_sight_and_is_fetched_before() -> None:
    run = EngineRun(RING, scope=Scope.ALL)
    run.wait(100)
    run.poll(1, "ringing", began=0)
    run.wait(60)
    assert run.actions == [(131.0, "cancel", sid(1))]
    (_, action) = run.proposals[0]
    assert isinstance(action, Action)
    assert action.needs_precheck


@pytest.mark.parametrize("answer", [1, 29, 30])
def test_a_leg_that_is_answered_in_time_is_left_alone(answer: int) -> None:
    run = EngineRun(RING)
    run.report(1, "ringing")
    run.wait(answer)
    run.report(1, "in-progress")
    run.wait(3600)
    assert run.actions == []


def test_legs_that_call_in_are_never_cancelled() -> None:
    run = EngineRun(RING)
    run.report(1, "ringing", Direction="inbound")
    run.wait(3600)
    assert run.actions == []


def test_a_leg_inside_dial_is_cancelled_and_its_parent_is_not() -> None:
    run = EngineRun(RING)
    run.report(1, "in-progress")
    run.report(2, "ringing", parent=1)
    run.wait(3600)
    assert run.actions == [(31.0, "cancel", sid(2))]


@pytest.mark.parametrize("ahead", [-3600.0, -60.0, 60.0, 3600.0])
def test_a_wrong_clock_is_found_out_by_the_smallest_delay(ahead: float) -> None:
    run = EngineRun(RING)
    run.report(9, "completed", at=run.seconds - ahead)
    run.wait(100)
    run.report(1, "ringing", at=run.seconds - ahead - 4)  # this one took four seconds
    run.wait(100)
    assert run.actions == [(127.0, "cancel", sid(1))]


def test_of_a_restarted_watch_the_age_goes_on() -> None:
    before = EngineRun(RING)
    before.report(1, "ringing")
    after = EngineRun(RING)
    after.wait(20)
    after.board.apply(event(1, "ringing", at=0))
    change = EngineRun(RING).board.apply(event(1, "ringing", at=0))
    assert change is not None
    now = event(1, "x", received=20).received_at
    after.engine.restore(change, now=now)
    assert after.engine.restored_actions(after.board.snapshot(), now=now) == []
    after.wait(100)
    assert after.actions == [(31.0, "cancel", sid(1))]


@pytest.mark.parametrize("status", ["ringing", "in-progress"])
@pytest.mark.parametrize("has_timestamp", [False, True])
def test_after_a_restart_a_clock_that_was_ahead_before_puts_off_no_rule_beyond_its_time(
    status: str, has_timestamp: bool
) -> None:
    rule = RING if status == "ringing" else max_duration_rules(seconds(60))[0]
    run = EngineRun(rule)
    run.wait(20)
    known = event(1, status, at=0, received=3600) if has_timestamp else event(1, status, received=3600)
    change = run.board.apply(known)
    assert change is not None
    run.engine.restore(change, now=moment(20))
    assert run.engine.restored_actions(run.board.snapshot(), now=moment(20)) == []
    run.wait(100)
    # When an event without a Timestamp came is by the clock of that time: it counts from the restart.
    assert [(at, name) for at, name, _ in run.actions] == [(31.0 if has_timestamp else 51.0, rule.then.action)]


def test_a_sleep_of_an_hour_asks_once_and_has_the_call_fetched() -> None:
    run = EngineRun(RING)
    run.report(1, "ringing")
    run.wait(5)
    run.wait(3600, step=3600)
    assert run.actions == [(3605.0, "cancel", sid(1))]
    assert all(one.needs_precheck for _, one in run.proposals if isinstance(one, Action))


def dial(run: EngineRun, *, child: int = 2) -> None:
    run.report(1, "in-progress", number=0)
    run.report(child, "in-progress", number=0, parent=1)
    run.wait(60)


def test_after_an_answered_dial_the_parent_is_redirected_when_all_has_settled() -> None:
    run = EngineRun(AFTER)
    dial(run)
    run.report(2, "completed", number=1, parent=1)
    run.wait(3600)
    assert run.actions == [(61.0, "redirect", sid(1))]


@pytest.mark.parametrize("end", ["busy", "no-answer", "failed", "canceled"])
def test_after_a_dial_that_nobody_answered_nothing_is_done(end: str) -> None:
    run = EngineRun(AFTER)
    run.report(1, "in-progress")
    run.report(2, "ringing", parent=1)
    run.report(2, end, parent=1)
    run.wait(3600)
    assert run.proposals == []


def test_a_second_dial_within_the_settle_time_keeps_the_caller() -> None:
    run = EngineRun(AFTER)
    dial(run)
    run.report(2, "completed", parent=1)
    run.wait(0.5, step=0.5)
    run.report(3, "initiated", parent=1)
    run.wait(60)
    assert run.actions == []
    run.report(3, "in-progress", parent=1)
    run.wait(5)
    run.report(3, "completed", parent=1)
    run.wait(5)
    assert [what for _, what, _ in run.actions] == ["redirect"]


def test_another_live_leg_keeps_the_caller() -> None:
    run = EngineRun(AFTER)
    run.report(3, "ringing", parent=1)
    dial(run)
    run.report(2, "completed", parent=1)
    run.wait(3600)
    assert run.actions == []


@pytest.mark.parametrize(("joined", "left", "redirected"), [(1, False, False), (1, True, True), (2, False, True)])
def test_a_conference_keeps_the_caller(joined: int, left: bool, redirected: bool) -> None:
    """Both went into one by an application of somebody else's, and the first leaves the caller with a third."""
    run = EngineRun(AFTER)
    dial(run)
    run.take(in_conference(sid(joined), "room", second=int(run.seconds)))
    if left:
        leave = {"StatusCallbackEvent": "participant-leave", "SequenceNumber": "1"}
        run.take(in_conference(sid(joined), "room", second=int(run.seconds), **leave))
    run.wait(5)
    run.report(2, "completed", parent=1)
    run.wait(3600)
    assert [target for _, _, target in run.actions] == ([sid(1)] if redirected else [])


@pytest.mark.parametrize("end", ["completed", "busy", "no-answer", "canceled"])
def test_when_the_last_leg_ends_the_caller_is_taken_up_once(end: str) -> None:
    """However the last one ends: the talk was with the first one."""
    run = EngineRun(AFTER)
    dial(run)
    run.report(3, "ringing", parent=1)
    run.report(2, "completed", number=1, parent=1)
    run.wait(30)
    run.report(4, "ringing", parent=1)
    run.report(3, end, parent=1)
    run.wait(30)
    assert run.actions == []
    run.report(4, end, parent=1)
    run.wait(3600)
    assert run.actions == [(121.0, "redirect", sid(1))]
    about = [one.about for _, one in run.proposals if isinstance(one, Action)]
    assert about == [sid(4 if end == "completed" else 2)]


def test_a_leg_that_was_dialled_long_after_a_talk_brings_nothing_back() -> None:
    """No report of the talk's end arrived in time; a leg that is not answered later is another matter."""
    run = EngineRun(AFTER)
    dial(run)
    run.wait(60)
    run.report(2, "completed", at=60, number=1, parent=1)
    run.wait(60)
    run.report(3, "ringing", parent=1)
    run.wait(10)
    run.report(3, "busy", parent=1)
    run.wait(60)
    assert run.actions == []
    assert run.declined == ["too old: it happened 60 s ago"]


def test_a_restarted_watch_finds_what_another_leg_held_up() -> None:
    before = [
        event(1, "in-progress", at=0),
        event(3, "ringing", at=8, parent=1),
        event(2, "completed", at=9, parent=1),
    ]
    run = EngineRun(AFTER)
    run.seconds = 60
    for one in before:
        change = run.board.apply(one)
        assert change is not None
        run.engine.restore(change, now=moment(60))
    assert run.engine.restored_actions(run.board.snapshot(), now=moment(60)) == []
    run.report(3, "no-answer", parent=1)
    run.wait(60)
    assert run.actions == [(61.0, "redirect", sid(1))]


def test_the_cancelled_legs_of_a_dial_that_rang_several_may_be_reported_last() -> None:
    run = EngineRun(AFTER)
    run.report(3, "ringing", parent=1)
    dial(run)
    run.report(2, "completed", number=1, parent=1)
    run.wait(5)
    assert run.actions == []
    run.report(3, "canceled", at=1, parent=1)
    run.wait(60)
    assert run.actions == [(66.0, "redirect", sid(1))]
    assert run.declined == []


def test_a_parent_that_has_ended_is_reported() -> None:
    run = EngineRun(AFTER)
    dial(run)
    run.report(2, "completed", number=1, parent=1)
    run.report(1, "completed", number=1)
    run.wait(60)
    assert run.actions == []
    assert run.declined == ["it has ended already: completed"]


def test_a_child_seen_before_its_parent_is_joined_and_the_parent_is_fetched() -> None:
    run = EngineRun(AFTER)
    run.report(2, "completed", parent=1)
    run.wait(60)
    assert run.actions == [(1.0, "redirect", sid(1))]
    assert all(one.needs_precheck for _, one in run.proposals if isinstance(one, Action))


@pytest.mark.parametrize(("late", "actions"), [(0, 1), (15, 1), (16, 0), (3600, 0)])
def test_old_news_asks_for_nothing_and_is_reported(late: float, actions: int) -> None:
    run = EngineRun(AFTER)
    dial(run)
    run.wait(3600, step=3600)
    run.report(2, "completed", at=run.seconds - late, parent=1)
    run.wait(60)
    assert len(run.actions) == actions
    assert run.declined == ([] if actions else [f"too old: it happened {late} s ago"])
    # Where the action would have been reported as well.
    assert {(one.call_sid, one.about) for _, one in run.proposals} == {(sid(1), sid(2))}


def test_a_talk_whose_end_is_reported_late_while_another_leg_rings_is_followed_once_that_is_over() -> None:
    run = EngineRun(AFTER)
    dial(run)
    ended = run.seconds
    run.report(3, "ringing", parent=1)
    run.wait(20)
    run.report(2, "completed", at=ended, number=1, parent=1)
    run.report(3, "busy", parent=1)
    run.wait(60)
    assert run.declined == []
    assert [(one.call_sid, one.about) for _, one in run.proposals] == [(sid(1), sid(2))]


def test_of_a_late_first_callback_rest_is_asked_whether_it_is_old_news() -> None:
    run = EngineRun(AFTER)
    run.seconds = 3600
    run.report(2, "completed", at=0, parent=1)
    run.wait(60)
    ((_, action),) = run.proposals
    assert isinstance(action, Action)
    assert action.needs_precheck
    assert action.trigger == Trigger(moment(0), moment(3600), seems_old=True)


def test_a_late_first_callback_does_not_make_old_news_fresh_once_rest_has_replied() -> None:
    run = EngineRun(AFTER)
    run.seconds = 3600
    run.reply()
    run.report(2, "completed", at=0, parent=1)
    run.wait(60)
    assert (run.actions, run.declined) == ([], ["too old: it happened 3600 s ago"])


def test_what_the_store_knew_of_old_ends_is_passed_over_in_silence() -> None:
    run = EngineRun(AFTER)
    run.seconds = 3600
    change = run.board.apply(event(2, "completed", at=0, parent=1))
    assert change is not None
    now = event(1, "x", received=3600).received_at
    run.engine.restore(change, now=now)
    assert run.engine.restored_actions(run.board.snapshot(), now=now) == []
    run.wait(60)
    assert run.proposals == []


def test_what_the_store_knew_of_a_fresh_end_is_acted_on_once() -> None:
    run = EngineRun(AFTER)
    now = event(1, "x", received=12).received_at
    for one in (
        event(1, "in-progress", at=0),
        event(2, "in-progress", at=1, parent=1),
        event(2, "completed", at=10, parent=1),
    ):
        change = run.board.apply(one)
        assert change is not None
        run.engine.restore(change, now=now)
    snapshot = run.board.snapshot()
    actions = [*run.engine.restored_actions(snapshot, now=now), *run.engine.restored_actions(snapshot, now=now)]
    later = event(1, "x", received=30).received_at
    actions += [one for one in run.engine.due(snapshot, now=later) if isinstance(one, Action)]
    assert [one.call_sid for one in actions] == [sid(1)]


def test_twilios_own_limit_comes_shortly_before_the_end_and_the_hang_up_after_it() -> None:
    run = EngineRun(*max_duration_rules(timedelta(hours=2)))
    run.report(1, "ringing")
    run.wait(20)
    run.report(1, "in-progress")
    run.wait(3 * 3600)
    assert run.actions == [(20 + 7200 - 29.0, "limit", sid(1)), (20 + 7205.0, "hangup", sid(1))]
    limits = [one.operation for _, one in run.proposals if isinstance(one, Action) and isinstance(one.operation, Limit)]
    assert limits == [Limit(7200)]


def test_a_long_call_that_only_polls_reported_counts_from_its_start() -> None:
    run = EngineRun(*max_duration_rules(timedelta(minutes=10)), scope=Scope.ALL)
    run.seconds = 3600
    run.poll(1, "in-progress", began=3000)
    run.wait(60)
    assert [what for _, what, _ in run.actions] == ["limit", "hangup"]


@pytest.mark.parametrize(("age", "acts"), [(100, True), (1200, False)])
def test_a_conversation_that_a_poll_finds_is_news_only_if_its_call_began_just_now(age: float, acts: bool) -> None:
    rule = Rule(name="closed", when=When(statuses=frozenset({"in-progress"})), then=SURVEY)
    run = EngineRun(rule, scope=Scope.ALL)
    run.seconds = 3600
    run.poll(1, "in-progress", began=3600 - age)
    assert [target for _, _, target in run.actions] == ([sid(1)] if acts else [])
    assert run.declined == ([] if acts else ["too old: the call began 1200 s before REST showed it like this"])


@pytest.mark.parametrize(
    ("age", "rang_here", "declined"),
    [
        (100, True, None),
        (600, True, "too old: the call began 600 s before a request for TwiML showed it like this"),
        (0, False, "too old, as far as is known: nothing says when it happened"),
    ],
)
def test_an_answer_that_a_request_for_twiml_shows_is_news_only_if_its_call_began_just_now(
    age: float, rang_here: bool, declined: str | None
) -> None:
    """A caller may have been in a menu for long when his next document is requested."""
    rule = Rule(name="closed", when=When(statuses=frozenset({"in-progress"})), then=SURVEY)
    run = EngineRun(rule)
    if rang_here:
        run.take(twiml_request("ringing", received=0))
    run.wait(age)
    run.take(twiml_request("in-progress", received=age))
    assert [target for _, _, target in run.actions] == ([sid(1)] if declined is None else [])
    assert run.declined == ([] if declined is None else [declined])
    assert all(one.needs_precheck for _, one in run.proposals if isinstance(one, Action))


def twiml_request(status: str, *, received: float) -> CallEvent:
    fields = form(1, status) | {"ApiVersion": "2010-04-01", "Direction": "inbound"}
    del fields["CallbackSource"]
    return event_of(fields, received=received)


def test_an_answer_that_a_poll_finds_is_old_though_the_leg_was_known_to_ring() -> None:
    rule = Rule(name="closed", when=When(statuses=frozenset({"in-progress"})), then=SURVEY)
    run = EngineRun(rule)
    run.report(1, "ringing")
    run.wait(1200)
    run.poll(1, "in-progress", began=0)
    run.wait(60)
    assert run.actions == []


def test_only_calls_reported_by_a_verified_callback_are_own() -> None:
    for scope, own in ((Scope.OWN, False), (Scope.ALL, True)):
        run = EngineRun(RING, scope=scope)
        run.poll(1, "ringing", began=0)
        run.wait(60)
        assert [one.is_own for _, one in run.proposals] == [own]
    run = EngineRun(RING)
    run.report(1, "in-progress")
    run.poll(2, "ringing", began=0, parent=1)
    run.wait(60)
    assert [one.is_own for _, one in run.proposals] == [True]  # one verified callback is enough for its family


def test_a_call_whose_callback_could_be_read_in_several_ways_is_own_by_what_rest_says_of_it() -> None:
    run = EngineRun(RING)
    run.poll(1, "ringing", began=0, sent_callback=True)
    run.wait(60)
    assert [one.is_own for _, one in run.proposals] == [True]


def test_unverified_rows_are_never_touched_nor_are_their_families() -> None:
    run = EngineRun(RING, scope=Scope.ALL)
    run.report(1, "ringing")
    run.take(event_of(form(2, "ringing", at=0, parent=1), verified=False))
    run.wait(60)
    assert run.proposals == []


def test_the_order_and_number_of_callbacks_changes_nothing() -> None:
    events = [
        event(1, "ringing", at=0, number=0),
        event(1, "in-progress", at=2, number=1),
        event(2, "ringing", at=3, number=0, parent=1),
        event(2, "in-progress", at=5, number=1, parent=1),
        event(2, "completed", at=9, number=2, parent=1),
    ]
    for seed in range(200):
        shuffled = events + random.Random(seed).choices(events, k=3)
        random.Random(seed).shuffle(shuffled)
        run = EngineRun(RING, AFTER)
        run.seconds = 10
        for one in shuffled:
            run.take(one)
        run.wait(120)
        assert {(what, who) for _, what, who in run.actions} == {("redirect", sid(1))}


def test_what_the_board_has_forgotten_is_dropped() -> None:
    run = EngineRun(RING)
    run.report(1, "ringing")
    run.engine.prune(EngineRun(RING).board.snapshot())
    assert not run.engine._evidence.is_reported(sid(1))
    run.wait(60)
    assert run.actions == []


def current_action(run: EngineRun, rule: str, call: int, about: int) -> Action | None:
    snapshot = run.board.snapshot()
    return run.engine.current_action(rule, sid(call), about=sid(about), snapshot=snapshot, now=moment(run.seconds))


def test_what_a_crash_left_is_asked_for_again_only_as_long_as_the_rule_asks_for_it() -> None:
    run = EngineRun(RING)
    run.report(1, "ringing")
    action = current_action(run, RING.name, 1, 1)
    assert action is not None
    assert (action.call_sid, action.operation, action.needs_precheck) == (sid(1), Cancel(), True)
    assert current_action(run, "another", 1, 1) is None
    assert current_action(run, RING.name, 2, 2) is None
    run.report(1, "in-progress")
    assert current_action(run, RING.name, 1, 1) is None


def test_a_caller_who_has_another_leg_is_not_asked_for_again() -> None:
    run = EngineRun(AFTER)
    run.report(1, "in-progress")
    run.report(2, "in-progress", parent=1)
    run.report(2, "completed", parent=1)
    assert current_action(run, AFTER.name, 1, 2) is not None
    run.report(3, "ringing", parent=1)
    assert current_action(run, AFTER.name, 1, 2) is None


def test_a_family_with_an_unsigned_report_is_not_asked_for_again() -> None:
    run = EngineRun(RING)
    run.report(1, "ringing")
    run.take(event_of(form(2, "ringing", parent=1), verified=False))
    assert current_action(run, RING.name, 1, 1) is None


def test_a_leg_that_goes_on_as_it_was_is_asked_for_once() -> None:
    hangup = Rule(name="end-all", when=When(statuses=frozenset({"ringing", "in-progress"})), then=Hangup())
    run = EngineRun(hangup)
    run.report(1, "ringing", number=1)
    run.report(1, "in-progress", number=2)
    run.report(1, "in-progress", number=3)
    assert run.actions == [(0.0, "hangup", sid(1))]


def test_children_are_those_of_the_leg_that_live_and_not_their_own_children() -> None:
    when = When(statuses=frozenset({"in-progress"}), lasting=seconds(10), leg="parent")
    run = EngineRun(Rule(name="free", when=when, then=Hangup(), on=On.CHILDREN))
    run.report(1, "in-progress")
    run.report(2, "ringing", parent=1)
    run.report(3, "ringing", parent=2)
    run.report(4, "busy", parent=1)
    run.wait(60)
    assert run.actions == [(11.0, "hangup", sid(2))]
    assert run.declined == []


def test_a_leg_without_a_parent_asks_for_nothing_on_its_parent() -> None:
    when = When(statuses=frozenset({"in-progress"}))
    run = EngineRun(Rule(name="mine", when=when, then=Hangup(), on=On.PARENT))
    run.report(1, "in-progress")
    run.report(2, "in-progress", parent=1)
    run.wait(60)
    assert run.actions == [(0.0, "hangup", sid(1))]


def legs_of_a_caller(*legs: tuple[float, float, str]) -> tuple[EngineRun, Leg]:
    """Report a caller's legs, each with its beginning, end and final status; return the last one, too."""
    run = EngineRun()
    run.report(1, "in-progress")
    moments = [(began, number, "in-progress") for number, (began, _, _) in enumerate(legs, 2)]
    moments += [(ended, number, status) for number, (_, ended, status) in enumerate(legs, 2)]
    for run.seconds, number, status in sorted(moments):
        run.report(number, status, parent=1)
    last = run.board.snapshot().leg(sid(len(legs) + 1))
    assert last is not None
    return run, last


@pytest.mark.parametrize(("gap", "is_passed_over"), [(0, True), (4, True), (5, True), (6, False)])
def test_an_end_was_passed_over_for_a_leg_that_began_soon_enough(gap: int, is_passed_over: bool) -> None:
    run, last = legs_of_a_caller((0, 10, "completed"), (10 + gap, 30, "busy"))
    leg = passed_over(AFTER, last, run.board.snapshot(), tolerance=seconds(5))
    assert (leg.call_sid if leg else None) == (sid(2) if is_passed_over else None)


def test_of_legs_that_overlap_the_one_that_began_first_counts() -> None:
    run, last = legs_of_a_caller((0, 4, "completed"), (5, 19, "busy"), (15, 18, "busy"), (20, 21, "busy"))
    leg = passed_over(AFTER, last, run.board.snapshot(), tolerance=seconds(1))
    assert leg is not None
    assert leg.call_sid == sid(2)


LONG = Rule(name="longest", when=When(statuses=frozenset({"in-progress"}), lasting=seconds(10)), then=Hangup())


@pytest.mark.parametrize("later", [1, 2])
def test_a_child_waits_for_a_parent_that_was_answered_by_its_answer_and_is_old_enough_just_after_it(later: int) -> None:
    """As with answerOnBridge; a callback's Timestamp has whole seconds."""
    run = EngineRun(LONG)
    run.report(2, "in-progress", parent=1)
    run.wait(later)
    run.report(1, "in-progress")
    run.wait(30)
    assert run.actions == [(11.0 + later, "hangup", sid(1)), (12.0 + later, "hangup", sid(2))]


def known(run: EngineRun, *events: CallEvent) -> None:
    """Start with what the store knows."""
    for change in filter(None, map(run.board.apply, events)):
        run.engine.restore(change, now=moment(run.seconds))


@pytest.mark.parametrize("is_parent_known", [False, True])
def test_of_a_watch_that_starts_a_child_waits_until_rest_has_told_of_its_parent(is_parent_known: bool) -> None:
    run = EngineRun(LONG)
    run.seconds = 100
    parent = [event(1, "ringing", at=0)] if is_parent_known else []  # it sends no callbacks, or this one got lost
    known(run, event(2, "in-progress", at=10, parent=1), *parent)
    run.wait(3)
    assert run.actions == []
    run.poll(1, "in-progress", began=0)
    run.wait(3)
    assert run.actions == [(104.0, "hangup", sid(1)), (105.0, "hangup", sid(2))]


def test_a_child_waits_no_longer_for_a_parent_of_which_nobody_tells() -> None:
    run = EngineRun(LONG)
    run.seconds = 100
    known(run, event(2, "in-progress", at=10, parent=1))
    run.wait(30)
    assert run.actions == [(105.0, "hangup", sid(2))]


def test_a_child_does_not_wait_for_a_parent_that_has_ended() -> None:
    run = EngineRun(LONG)
    run.seconds = 100
    known(run, event(2, "in-progress", at=10, parent=1), event(1, "completed", at=12))
    run.wait(1)
    assert run.actions == [(101.0, "hangup", sid(2))]


@pytest.mark.parametrize("rule", [RING, Rule(name="r", when=LONG.when, then=SURVEY), LONG])
def test_a_child_does_not_wait_for_a_parent_that_has_long_to_go_or_is_not_meant(rule: Rule) -> None:
    run = EngineRun(rule)
    run.report(2, "ringing" if rule is RING else "in-progress", parent=1)
    run.wait(7)
    run.report(1, "in-progress")
    run.wait(40)
    assert next(at for at, _, leg in run.actions if leg == sid(2)) == (31.0 if rule is RING else 11.0)


def test_an_action_names_the_legs_above_the_one_that_it_changes() -> None:
    run = EngineRun(LONG, Rule(name="parents", when=LONG.when, then=Hangup(), on=On.PARENT))
    run.report(3, "in-progress", parent=2)
    run.report(2, "in-progress", parent=1)
    run.report(1, "in-progress")
    run.wait(30)
    above = {(one.rule.name, one.call_sid): one.ancestors for _, one in run.proposals if isinstance(one, Action)}
    assert above == {
        ("longest", sid(1)): (),
        ("longest", sid(2)): (sid(1),),
        ("longest", sid(3)): (sid(2), sid(1)),
        ("parents", sid(2)): (sid(1),),
        ("parents", sid(1)): (),
    }


def rule_for(*statuses: str, on: On = On.THIS, leg: str | None = None) -> Rule:
    return Rule(name="at-once", when=When(statuses=frozenset(statuses), leg=leg), then=Hangup(), on=on)


def observed_at_once(rule: Rule, *events: CallEvent) -> EngineRun:
    """Return a run whose engine learns of all events together, as the frames of a watch have it."""
    run = EngineRun(rule)
    changes = [change for one in events if (change := run.board.apply(one)) is not None]
    for change in changes:
        found = run.engine.observe(change, run.board.snapshot(), now=moment(0))
        run.proposals += [(0.0, one) for one in found]
    return run


def test_a_call_that_was_initiated_and_rings_by_now_is_fetched_and_ended() -> None:
    run = observed_at_once(rule_for("initiated"), event(1, "initiated", at=0), event(1, "ringing", at=0))
    assert run.actions == [(0.0, "hangup", sid(1))]
    (_, action) = run.proposals[0]
    assert isinstance(action, Action)
    assert action.needs_precheck
    assert run.engine.applies(action, run.board.snapshot())
    assert run.engine.declined(action, run.board.snapshot()) is None


def test_a_call_that_is_as_reported_is_ended_without_a_fetch() -> None:
    run = observed_at_once(rule_for("initiated"), event(1, "initiated", at=0))
    assert [isinstance(one, Action) and one.needs_precheck for _, one in run.proposals] == [False]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("in-progress", "it was answered meanwhile and left alone"),
        ("completed", "it has ended already: completed"),
        ("busy", "it has ended already: busy"),
    ],
)
@pytest.mark.parametrize("rule", [rule_for("initiated"), rule_for("ringing"), rule_for("initiated", "ringing")])
def test_what_a_call_became_since_it_rang_declines_the_rule(rule: Rule, status: str, reason: str) -> None:
    ringing = [event(1, "initiated", at=0), event(1, "ringing", at=0)]
    run = observed_at_once(rule, *ringing, event(1, status, at=0))
    assert (run.actions, set(run.declined)) == ([], {reason})
    later = observed_at_once(rule, *ringing)
    later.board.apply(event(1, status, at=0))
    for _, action in later.proposals:
        assert isinstance(action, Action)
        assert not later.engine.applies(action, later.board.snapshot())
        declined = later.engine.declined(action, later.board.snapshot())
        assert declined is not None
        assert declined.reason == reason
    crashed = later.engine.current_action(
        rule.name, sid(1), about=sid(1), snapshot=later.board.snapshot(), now=moment(1)
    )
    assert crashed is None


def test_a_rule_that_names_in_progress_as_well_ends_what_was_answered_meanwhile() -> None:
    run = observed_at_once(
        rule_for("initiated", "in-progress"), event(1, "initiated", at=0), event(1, "in-progress", at=0)
    )
    assert {sid for _, _, sid in run.actions} == {sid(1)}
    assert run.declined == []


def test_what_a_crash_left_of_a_call_that_was_initiated_is_sent_while_it_rings() -> None:
    rule = rule_for("initiated")
    run = observed_at_once(rule, event(1, "initiated", at=0), event(1, "ringing", at=0))
    action = run.engine.current_action(rule.name, sid(1), about=sid(1), snapshot=run.board.snapshot(), now=moment(1))
    assert action is not None
    assert action.needs_precheck


@pytest.mark.parametrize(
    ("status", "actions", "declined"),
    [
        ("ringing", [(0.0, "hangup", sid(1))], []),
        ("busy", [], [f"the leg that the rule looks at, {sid(2)}, is busy by now"]),
        ("in-progress", [], [f"the leg that the rule looks at, {sid(2)}, is in-progress by now"]),
        ("completed", [], [f"the leg that the rule looks at, {sid(2)}, is completed by now"]),
    ],
)
def test_a_parent_is_changed_for_a_child_that_was_initiated_unless_that_was_answered_or_is_over(
    status: str, actions: list[tuple[float, str, str]], declined: list[str]
) -> None:
    run = observed_at_once(
        rule_for("initiated", on=On.PARENT, leg="child"),
        event(1, "in-progress", at=0),
        event(2, "initiated", at=0, parent=1),
        event(2, status, at=0, parent=1),
    )
    assert (run.actions, run.declined) == (actions, declined)


@pytest.mark.parametrize(
    ("status", "actions", "declined"),
    [
        ("ringing", [(0.0, "hangup", sid(1))], []),
        ("in-progress", [], ["it was answered meanwhile and left alone"]),
        ("completed", [], ["it has ended already: completed"]),
    ],
)
def test_a_callback_that_a_later_one_overtook_still_has_its_rule_act(
    status: str, actions: list[tuple[float, str, str]], declined: list[str]
) -> None:
    run = EngineRun(rule_for("initiated"))
    run.report(1, status)
    assert run.proposals == []
    for _ in range(2):  # the second is a repetition
        run.report(1, "initiated")
    assert (run.actions, run.declined) == (actions, declined)


def test_an_overtaken_callback_that_is_old_is_declined_as_too_old() -> None:
    run = EngineRun(rule_for("initiated"))
    run.wait(60)
    run.report(1, "ringing")
    run.report(1, "initiated", at=20)
    assert (run.actions, run.declined) == ([], ["too old: it happened 40 s ago"])


def test_an_action_on_a_call_whose_answer_only_a_poll_showed_says_when_it_last_rang() -> None:
    rule = Rule(name="r", when=When(statuses=frozenset({"in-progress"}), lasting=seconds(20)), then=Hangup())
    run = EngineRun(rule)
    run.report(1, "initiated")
    run.wait(2)
    run.report(1, "ringing")
    run.wait(10)
    run.poll(1, "in-progress", began=0)
    run.wait(30)
    (action,) = (one for _, one in run.proposals if isinstance(one, Action))
    assert (action.status_timestamp, action.last_ringing) == (None, LastRinging(moment(2)))


def ring_group(status: str, *, lasting: float | None = 5, then: Hangup | Redirect = SURVEY) -> EngineRun:
    """Return a run whose rule is for a child with a status, and changes the parent; two children ring."""
    when = When(statuses=frozenset({status}), leg="child", lasting=None if lasting is None else seconds(lasting))
    run = EngineRun(Rule(name="mine", when=when, then=then, on=On.PARENT))
    run.report(1, "in-progress", number=0)
    for child in (2, 3):
        run.report(child, "initiated", number=0, parent=1)
    return run


def prechecks(run: EngineRun) -> list[bool]:
    """Return which of the actions that a run proposed REST is queried for."""
    return [one.needs_precheck for _, one in run.proposals if isinstance(one, Action)]


def test_whether_a_parent_still_talks_to_another_child_than_the_ringing_one_is_left_to_rest() -> None:
    run = ring_group("ringing")
    run.report(2, "ringing", number=1, parent=1)
    run.wait(2)
    run.report(3, "ringing", number=1, parent=1)
    run.report(2, "in-progress", number=2, parent=1)
    run.wait(60)
    assert (run.actions, prechecks(run)) == ([(8.0, "redirect", sid(1))], [True])
    assert run.declined == []


def test_a_parent_is_changed_for_a_ringing_child_when_the_conversation_with_another_is_over() -> None:
    run = ring_group("ringing")
    run.report(2, "in-progress", number=2, parent=1)
    run.wait(30)
    run.report(2, "completed", number=3, parent=1)
    run.report(3, "ringing", number=1, parent=1)
    run.wait(60)
    assert run.actions == [(36.0, "redirect", sid(1))]


@pytest.mark.parametrize("number", [2, 3])
def test_what_waits_is_no_longer_proposed_once_its_own_child_was_answered_and_for_another_rest_decides(
    number: int,
) -> None:
    run = ring_group("ringing")
    run.report(3, "ringing", number=1, parent=1)
    run.wait(6)
    (action,) = (one for _, one in run.proposals if isinstance(one, Action))
    assert run.engine.applies(action, run.board.snapshot())
    assert run.engine.declined(action, run.board.snapshot()) is None
    run.report(number, "in-progress", number=2, parent=1)
    snapshot = run.board.snapshot()
    assert run.engine.applies(action, snapshot) == (number == 2)
    # That its own leg was answered is no news: the rule was for a time in the status.
    assert run.engine.declined(action, snapshot) is None


@pytest.mark.parametrize("status", ["ringing", "no-answer"])
@pytest.mark.parametrize("other", ["in-progress", "completed"])
def test_at_the_moment_of_one_child_the_rule_acts_though_the_parent_seems_to_talk_to_another(
    status: str, other: str
) -> None:
    """The callback of that conversation's end may come after the next child's, or be lost: REST decides."""
    run = ring_group(status, lasting=None, then=Hangup())
    run.report(2, "in-progress", number=2, parent=1)
    if other == "completed":
        run.report(2, other, number=3, parent=1)
    run.report(3, status, number=1, parent=1)
    assert run.actions == [(0.0, "hangup", sid(1))]
    (action,) = (one for _, one in run.proposals if isinstance(one, Action))
    assert run.engine.applies(action, run.board.snapshot())
    assert run.declined == []


def test_a_rule_for_conversations_does_not_spare_one() -> None:
    run = ring_group("in-progress", then=Hangup())
    for child in (2, 3):
        run.report(child, "in-progress", number=2, parent=1)
    run.wait(60)
    assert {target for _, _, target in run.actions} == {sid(1)}
