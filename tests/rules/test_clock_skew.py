"""The steady clock runs fast or slow for weeks, jumps, or one call's Timestamp is wrong: what callbacks tell of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from engine_run import EngineRun, seconds
from events import START, sid
from hypothesis import assume, given
from hypothesis import strategies as st

from callctl.rules.clock_skew import PERIOD, ClockSkew
from callctl.rules.rule import FRESH, Action, Hangup, Rule, When

DAY = 86400
WORST = 200e-6  # of a second in each second
EXACT = seconds(0.001)
SLOWEST = 5.0  # seconds that a callback takes, but for a few
TALKING = Rule(name="talking", when=When(statuses=frozenset({"in-progress"})), then=Hangup())

drifts = st.sampled_from([-WORST, WORST]) | st.floats(-WORST, WORST)
# By call: the true time from the one before, and how long its callback took, in seconds.
streams = st.lists(
    st.tuples(st.floats(600, 3600), st.floats(0, SLOWEST) | st.floats(SLOWEST, 600)), min_size=20, max_size=300
)


@dataclass
class Machine:
    """A machine whose steady clock runs wrong: callbacks arrive, and it is asked how wrong its clock is."""

    drift: float
    skew: ClockSkew = field(default_factory=ClockSkew)
    true: float = 0.0
    jumped: float = 0.0
    calls: int = 0

    @property
    def ahead(self) -> timedelta:
        """How far its clock really is ahead."""
        return seconds(self.true * self.drift + self.jumped)

    @property
    def correction(self) -> timedelta:
        return self.skew.correction(now=START + seconds(self.true) + self.ahead)

    def receive(self, gap: float, delay: float) -> None:
        """Receive a callback of another call, so long after the one before."""
        self.true += gap
        self.calls += 1
        now = START + seconds(self.true) + self.ahead
        self.skew.add(sid(self.calls), seconds(delay) + self.ahead, at=now, now=now)


@given(drifts, st.lists(st.tuples(st.floats(0, 4 * DAY), st.floats(0, 600)), min_size=1, max_size=100))
def test_no_drift_makes_an_event_older_than_it_is(drift: float, stream: list[tuple[float, float]]) -> None:
    machine = Machine(drift)
    machine.receive(0, 0)
    for gap, delay in stream:
        machine.receive(gap, delay)
        assert machine.correction >= machine.ahead - EXACT


@given(drifts, streams)
def test_while_calls_come_each_hour_no_old_event_becomes_fresh(drift: float, stream: list[tuple[float, float]]) -> None:
    machine = Machine(drift)
    for gap, delay in stream:
        for call_delay in (delay, SLOWEST):  # one of two is as fast as usual
            machine.receive(gap, call_delay)
            assert machine.correction <= machine.ahead + FRESH


@given(drifts, streams, st.floats(-3600, 3600), streams)
def test_after_a_jump_events_are_as_old_as_they_are_within_hours(
    drift: float, before: list[tuple[float, float]], jump: float, after: list[tuple[float, float]]
) -> None:
    machine = Machine(drift)
    for gap, delay in before:
        machine.receive(gap, delay)
    machine.jumped = jump
    for gap, _ in after[:20]:
        machine.receive(gap, SLOWEST)
    assert machine.ahead - EXACT <= machine.correction <= machine.ahead + FRESH
    assert machine.skew.skew >= machine.ahead - EXACT - WORST * 20 * PERIOD


@given(st.floats(0, 1e6), st.integers(1, 4))
def test_one_calls_timestamps_rule_out_no_other_call(ahead: float, times: int) -> None:
    machine = Machine(0)
    machine.receive(0, 1)
    for _ in range(times):
        machine.calls = 1
        machine.receive(1, -ahead)
    machine.receive(1, 1)
    assert machine.correction >= -FRESH
    assert machine.skew.skew >= -FRESH


@given(st.floats(16, 1e6), st.floats(0, 14))
def test_a_clock_that_is_behind_is_known_by_two_calls(behind: float, slower: float) -> None:
    machine = Machine(0, jumped=-behind)
    machine.receive(0, slower)
    machine.receive(1, 0)
    assert machine.correction == machine.skew.skew == seconds(-behind)


@pytest.mark.parametrize("drift", [-WORST, WORST])
def test_a_steady_clock_that_runs_wrong_for_weeks_stops_no_rule(drift: float) -> None:
    run, days = EngineRun(TALKING), 21
    for hour in range(24 * days):
        run.seconds = hour * 3600.0
        run.report(hour + 1, "in-progress", at=run.seconds * (1 - drift) - 1)
    actions = [(at, one) for at, one in run.proposals if isinstance(one, Action)]
    assert (len(actions), run.declined) == (24 * days, [])
    # Where this clock alone would not have it so, REST is asked first.
    assert all(one.needs_precheck == (at * drift + 1 > FRESH.total_seconds()) for at, one in actions)


def test_of_a_clock_that_runs_faster_than_any_rest_says_how_wrong_it_is() -> None:
    run = EngineRun(TALKING)
    for call in range(5):
        run.seconds = call * 20.0
        run.report(call + 1, "in-progress", at=run.seconds / 1.2)
    assert run.declined == []
    run.seconds = 2000.0
    run.reply(ahead=run.seconds - run.seconds / 1.2)
    for call, age in ((7, 0), (8, 10), (9, 20)):
        run.report(call, "in-progress", at=run.seconds / 1.2 - age)
    assert [call for _, _, call in run.actions[5:]] == [sid(7), sid(8)]
    assert len(run.declined) == 1


@given(st.floats(-1e5, 1e5), st.lists(st.floats(0, 600), min_size=1, max_size=5))
def test_a_reply_of_rest_tells_how_wrong_the_clock_is(wrong: float, delays: list[float]) -> None:
    machine = Machine(0, jumped=wrong)
    now = START + machine.ahead
    machine.skew.add_reply(machine.ahead + seconds(1), now=now)
    assert machine.skew.is_confirmed(now=now)
    assert seconds(-2) <= machine.correction - machine.ahead <= seconds(1)
    assert machine.skew.skew == machine.ahead + seconds(1)
    for delay in delays:
        assume(wrong > -14 or abs(wrong + delay) > 4)  # no callback is as late as the clock is behind
        machine.receive(0, delay)
    assert machine.skew.skew == machine.ahead + seconds(min(delays))
    assert seconds(-2) <= machine.correction - machine.ahead <= seconds(1)


@pytest.mark.parametrize("ahead", [20, 60, 600])
def test_no_date_that_is_ahead_makes_callbacks_old_that_come_in_time(ahead: float) -> None:
    """It is a proxy's own."""
    run = EngineRun(TALKING)
    for call in range(1, 6):
        run.seconds += 100
        run.reply(ahead=-ahead)
        run.report(call, "in-progress", at=run.seconds - 0.3)
    actions = [one for _, one in run.proposals if isinstance(one, Action)]
    assert (len(actions), run.declined) == (5, [])
    assert all(one.trigger is not None and one.trigger.is_news for one in actions)
    run.report(6, "in-progress", at=run.seconds - 40)
    assert run.declined == ["too old: it happened 40 s ago"]


def test_callbacks_from_before_a_jump_keep_no_reply_from_showing_it() -> None:
    machine = Machine(0)
    machine.receive(10, 0.3)
    machine.true, machine.jumped = 200, -60
    now = START + seconds(machine.true) + machine.ahead
    machine.skew.add_reply(machine.ahead, now=now)
    assert abs(machine.correction - machine.ahead) <= seconds(1)


def test_a_clock_is_confirmed_by_fresh_callbacks_or_for_a_while_by_a_reply() -> None:
    skew = ClockSkew()
    assert not skew.is_confirmed(now=START)
    skew.add(sid(1), FRESH + seconds(1), at=START, now=START)
    assert not skew.is_confirmed(now=START)
    skew.add_reply(seconds(1), now=START)
    assert skew.is_confirmed(now=START + seconds(60))
    assert not skew.is_confirmed(now=START + seconds(61))
    skew.add(sid(2), seconds(1), at=START + seconds(61), now=START + seconds(61))
    assert skew.is_confirmed(now=START + seconds(61))
