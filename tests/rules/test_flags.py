"""The rules behind the flags, played over time: what they ask for, when, and when they don't."""

import random
from datetime import timedelta

import pytest
from playing import Play, seconds
from telling import event, form, moment, sid, told

from callctl.rules.engine import Scope
from callctl.rules.rule import (
    Action,
    Cancel,
    Hangup,
    Limit,
    Redirect,
    Rule,
    When,
    after_dial_rule,
    max_duration_rules,
    ring_limit_rule,
)

SURVEY = Redirect("survey", "https://example.com/survey")
RING = ring_limit_rule(seconds(30), cancel=Cancel())
AFTER = after_dial_rule(SURVEY)


def test_a_leg_that_rings_too_long_is_cancelled_a_second_after_the_limit() -> None:
    play = Play(RING)
    play.tell(1, "initiated")
    play.wait(5)
    play.tell(1, "ringing")
    play.wait(3600)
    assert play.actions == [(36.0, "cancel", sid(1))]


def test_the_age_counts_from_initiated_where_ringing_never_comes() -> None:
    play = Play(RING)
    play.tell(1, "initiated")
    play.wait(60)
    assert play.actions == [(31.0, "cancel", sid(1))]


def test_the_age_counts_from_first_sight_where_nothing_has_a_timestamp() -> None:
    play = Play(RING)
    play.wait(10)
    play.take(event(1, "ringing", received=10))
    play.wait(60)
    assert play.actions == [(41.0, "cancel", sid(1))]


def test_a_ringing_leg_that_only_a_poll_told_of_counts_from_first_sight_and_is_fetched_before() -> None:
    play = Play(RING, scope=Scope.ALL)
    play.wait(100)
    play.poll(1, "ringing", began=0)
    play.wait(60)
    assert play.actions == [(131.0, "cancel", sid(1))]
    (_, action) = play.found[0]
    assert isinstance(action, Action)
    assert action.needs_precheck


@pytest.mark.parametrize("answer", [1, 29, 30])
def test_a_leg_that_is_answered_in_time_is_left_alone(answer: int) -> None:
    play = Play(RING)
    play.tell(1, "ringing")
    play.wait(answer)
    play.tell(1, "in-progress")
    play.wait(3600)
    assert play.actions == []


def test_legs_that_call_in_are_never_cancelled() -> None:
    play = Play(RING)
    play.tell(1, "ringing", Direction="inbound")
    play.wait(3600)
    assert play.actions == []


def test_a_leg_inside_dial_is_cancelled_and_its_parent_is_not() -> None:
    play = Play(RING)
    play.tell(1, "in-progress")
    play.tell(2, "ringing", parent=1)
    play.wait(3600)
    assert play.actions == [(31.0, "cancel", sid(2))]


@pytest.mark.parametrize("ahead", [-3600.0, -60.0, 60.0, 3600.0])
def test_a_wrong_clock_is_found_out_by_the_smallest_delay(ahead: float) -> None:
    play = Play(RING)
    play.tell(9, "completed", at=play.seconds - ahead)
    play.wait(100)
    play.tell(1, "ringing", at=play.seconds - ahead - 4)  # this one took four seconds
    play.wait(100)
    assert play.actions == [(127.0, "cancel", sid(1))]


def test_of_a_restarted_watch_the_age_goes_on() -> None:
    before = Play(RING)
    before.tell(1, "ringing")
    after = Play(RING)
    after.wait(20)
    after.board.apply(event(1, "ringing", at=0))
    change = Play(RING).board.apply(event(1, "ringing", at=0))
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
    play = Play(rule)
    play.wait(20)
    known = event(1, status, at=0, received=3600) if has_timestamp else event(1, status, received=3600)
    change = play.board.apply(known)
    assert change is not None
    play.engine.restore(change, now=moment(20))
    assert play.engine.restored_actions(play.board.snapshot(), now=moment(20)) == []
    play.wait(100)
    assert [(at, found) for at, found, _ in play.actions] == [(51.0, rule.then.action)]


def test_a_sleep_of_an_hour_asks_once_and_has_the_call_fetched() -> None:
    play = Play(RING)
    play.tell(1, "ringing")
    play.wait(5)
    play.wait(3600, step=3600)
    assert play.actions == [(3605.0, "cancel", sid(1))]
    assert all(one.needs_precheck for _, one in play.found if isinstance(one, Action))


def dial(play: Play, *, child: int = 2) -> None:
    play.tell(1, "in-progress", number=0)
    play.tell(child, "in-progress", number=0, parent=1)
    play.wait(60)


def test_after_an_answered_dial_the_parent_is_redirected_when_all_has_settled() -> None:
    play = Play(AFTER)
    dial(play)
    play.tell(2, "completed", number=1, parent=1)
    play.wait(3600)
    assert play.actions == [(61.0, "redirect", sid(1))]


@pytest.mark.parametrize("end", ["busy", "no-answer", "failed", "canceled"])
def test_after_a_dial_that_nobody_answered_nothing_is_done(end: str) -> None:
    play = Play(AFTER)
    play.tell(1, "in-progress")
    play.tell(2, "ringing", parent=1)
    play.tell(2, end, parent=1)
    play.wait(3600)
    assert play.found == []


def test_a_second_dial_within_the_settle_time_keeps_the_caller() -> None:
    play = Play(AFTER)
    dial(play)
    play.tell(2, "completed", parent=1)
    play.wait(0.5, step=0.5)
    play.tell(3, "initiated", parent=1)
    play.wait(60)
    assert play.actions == []
    play.tell(3, "in-progress", parent=1)
    play.wait(5)
    play.tell(3, "completed", parent=1)
    play.wait(5)
    assert [what for _, what, _ in play.actions] == ["redirect"]


def test_another_live_leg_keeps_the_caller() -> None:
    play = Play(AFTER)
    play.tell(3, "ringing", parent=1)
    dial(play)
    play.tell(2, "completed", parent=1)
    play.wait(3600)
    assert play.actions == []


@pytest.mark.parametrize("end", ["completed", "busy", "no-answer", "canceled"])
def test_when_the_last_leg_ends_the_caller_is_taken_up_once(end: str) -> None:
    """However the last one ends: the talk was with the first one."""
    play = Play(AFTER)
    dial(play)
    play.tell(3, "ringing", parent=1)
    play.tell(2, "completed", number=1, parent=1)
    play.wait(30)
    play.tell(4, "ringing", parent=1)
    play.tell(3, end, parent=1)
    play.wait(30)
    assert play.actions == []
    play.tell(4, end, parent=1)
    play.wait(3600)
    assert play.actions == [(121.0, "redirect", sid(1))]
    about = [one.about for _, one in play.found if isinstance(one, Action)]
    assert about == [sid(4 if end == "completed" else 2)]


def test_a_leg_that_was_dialled_long_after_a_talk_brings_nothing_back() -> None:
    """The watch heard nothing of the talk's end in time; what nobody answers later is another matter."""
    play = Play(AFTER)
    dial(play)
    play.wait(60)
    play.tell(2, "completed", at=60, number=1, parent=1)
    play.wait(60)
    play.tell(3, "ringing", parent=1)
    play.wait(10)
    play.tell(3, "busy", parent=1)
    play.wait(60)
    assert play.actions == []
    assert play.declined == ["too old: it happened 60 s ago"]


def test_a_restarted_watch_finds_what_another_leg_held_up() -> None:
    before = [
        event(1, "in-progress", at=0),
        event(3, "ringing", at=8, parent=1),
        event(2, "completed", at=9, parent=1),
    ]
    play = Play(AFTER)
    play.seconds = 60
    for one in before:
        change = play.board.apply(one)
        assert change is not None
        play.engine.restore(change, now=moment(60))
    assert play.engine.restored_actions(play.board.snapshot(), now=moment(60)) == []
    play.tell(3, "no-answer", parent=1)
    play.wait(60)
    assert play.actions == [(61.0, "redirect", sid(1))]


def test_the_cancelled_legs_of_a_dial_that_rang_several_may_be_told_last() -> None:
    play = Play(AFTER)
    play.tell(3, "ringing", parent=1)
    dial(play)
    play.tell(2, "completed", number=1, parent=1)
    play.wait(5)
    assert play.actions == []
    play.tell(3, "canceled", at=1, parent=1)
    play.wait(60)
    assert play.actions == [(66.0, "redirect", sid(1))]
    assert play.declined == []


def test_a_parent_that_has_ended_is_told() -> None:
    play = Play(AFTER)
    dial(play)
    play.tell(2, "completed", number=1, parent=1)
    play.tell(1, "completed", number=1)
    play.wait(60)
    assert play.actions == []
    assert play.declined == ["it has ended already: completed"]


def test_a_child_seen_before_its_parent_is_joined_and_the_parent_is_fetched() -> None:
    play = Play(AFTER)
    play.tell(2, "completed", parent=1)
    play.wait(60)
    assert play.actions == [(1.0, "redirect", sid(1))]
    assert all(one.needs_precheck for _, one in play.found if isinstance(one, Action))


@pytest.mark.parametrize(("late", "actions"), [(0, 1), (15, 1), (16, 0), (3600, 0)])
def test_old_news_asks_for_nothing_and_is_told(late: float, actions: int) -> None:
    play = Play(AFTER)
    dial(play)
    play.wait(3600, step=3600)
    play.tell(2, "completed", at=play.seconds - late, parent=1)
    play.wait(60)
    assert len(play.actions) == actions
    assert play.declined == ([] if actions else [f"too old: it happened {late} s ago"])


def test_a_late_first_callback_does_not_make_old_news_fresh() -> None:
    play = Play(AFTER)
    play.seconds = 3600
    play.tell(2, "completed", at=0, parent=1)
    play.wait(60)
    assert play.actions == []


def test_what_the_store_knew_of_old_ends_is_passed_over_in_silence() -> None:
    play = Play(AFTER)
    play.seconds = 3600
    change = play.board.apply(event(2, "completed", at=0, parent=1))
    assert change is not None
    now = event(1, "x", received=3600).received_at
    play.engine.restore(change, now=now)
    assert play.engine.restored_actions(play.board.snapshot(), now=now) == []
    play.wait(60)
    assert play.found == []


def test_what_the_store_knew_of_a_fresh_end_is_acted_on_once() -> None:
    play = Play(AFTER)
    now = event(1, "x", received=12).received_at
    for one in (
        event(1, "in-progress", at=0),
        event(2, "in-progress", at=1, parent=1),
        event(2, "completed", at=10, parent=1),
    ):
        change = play.board.apply(one)
        assert change is not None
        play.engine.restore(change, now=now)
    snapshot = play.board.snapshot()
    asked = [*play.engine.restored_actions(snapshot, now=now), *play.engine.restored_actions(snapshot, now=now)]
    later = event(1, "x", received=30).received_at
    asked += [one for one in play.engine.due(snapshot, now=later) if isinstance(one, Action)]
    assert [one.call_sid for one in asked] == [sid(1)]


def test_twilios_own_limit_comes_shortly_before_the_end_and_the_hang_up_after_it() -> None:
    play = Play(*max_duration_rules(timedelta(hours=2)))
    play.tell(1, "ringing")
    play.wait(20)
    play.tell(1, "in-progress")
    play.wait(3 * 3600)
    assert play.actions == [(20 + 7200 - 29.0, "limit", sid(1)), (20 + 7205.0, "hangup", sid(1))]
    limits = [one.operation for _, one in play.found if isinstance(one, Action) and isinstance(one.operation, Limit)]
    assert limits == [Limit(7200)]


def test_a_long_call_that_only_polls_told_of_counts_from_its_start() -> None:
    play = Play(*max_duration_rules(timedelta(minutes=10)), scope=Scope.ALL)
    play.seconds = 3600
    play.poll(1, "in-progress", began=3000)
    play.wait(60)
    assert [what for _, what, _ in play.actions] == ["limit", "hangup"]


def test_only_calls_told_of_by_a_verified_callback_are_own() -> None:
    for scope, own in ((Scope.OWN, False), (Scope.ALL, True)):
        play = Play(RING, scope=scope)
        play.poll(1, "ringing", began=0)
        play.wait(60)
        assert [one.is_own for _, one in play.found] == [own]
    play = Play(RING)
    play.tell(1, "in-progress")
    play.poll(2, "ringing", began=0, parent=1)
    play.wait(60)
    assert [one.is_own for _, one in play.found] == [True]  # one verified callback is enough for its family


def test_unverified_rows_are_never_touched_nor_are_their_families() -> None:
    play = Play(RING, scope=Scope.ALL)
    play.tell(1, "ringing")
    play.take(told(form(2, "ringing", at=0, parent=1), verified=False))
    play.wait(60)
    assert play.found == []


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
        play = Play(RING, AFTER)
        play.seconds = 10
        for one in shuffled:
            play.take(one)
        play.wait(120)
        assert {(what, who) for _, what, who in play.actions} == {("redirect", sid(1))}


def test_what_the_board_has_forgotten_is_dropped() -> None:
    play = Play(RING)
    play.tell(1, "ringing")
    play.engine.prune(Play(RING).board.snapshot())
    assert not play.engine._evidence.has_callback(sid(1))
    play.wait(60)
    assert play.actions == []


def again(play: Play, rule: str, call: int, about: int) -> Action | None:
    snapshot = play.board.snapshot()
    return play.engine.current_action(rule, sid(call), about=sid(about), snapshot=snapshot, now=moment(play.seconds))


def test_what_a_crash_left_is_asked_for_again_only_as_long_as_the_rule_asks_for_it() -> None:
    play = Play(RING)
    play.tell(1, "ringing")
    found = again(play, RING.name, 1, 1)
    assert found is not None
    assert (found.call_sid, found.operation, found.needs_precheck) == (sid(1), Cancel(), True)
    assert again(play, "another", 1, 1) is None
    assert again(play, RING.name, 2, 2) is None
    play.tell(1, "in-progress")
    assert again(play, RING.name, 1, 1) is None


def test_a_caller_who_has_another_leg_is_not_asked_for_again() -> None:
    play = Play(AFTER)
    play.tell(1, "in-progress")
    play.tell(2, "in-progress", parent=1)
    play.tell(2, "completed", parent=1)
    assert again(play, AFTER.name, 1, 2) is not None
    play.tell(3, "ringing", parent=1)
    assert again(play, AFTER.name, 1, 2) is None


def test_a_family_of_which_anything_unsigned_was_told_is_not_asked_for_again() -> None:
    play = Play(RING)
    play.tell(1, "ringing")
    play.take(told(form(2, "ringing", parent=1), verified=False))
    assert again(play, RING.name, 1, 1) is None


def test_a_leg_that_goes_on_as_it_was_is_asked_for_once() -> None:
    hangup = Rule(name="end-all", when=When(statuses=frozenset({"ringing", "in-progress"})), then=Hangup())
    play = Play(hangup)
    play.tell(1, "ringing", number=1)
    play.tell(1, "in-progress", number=2)
    play.tell(1, "in-progress", number=3)
    assert play.actions == [(0.0, "hangup", sid(1))]
