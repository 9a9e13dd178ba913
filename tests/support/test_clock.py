"""The two clocks: the wall's is set forward and back, and elapsed time goes on."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest
from events import START, clock_of, moment
from hypothesis import given
from hypothesis import strategies as st

from callctl.support.clock import Clock, elapsed

HOUR = 3600.0


class Time:
    """Time that is turned by hand."""

    def __init__(self) -> None:
        self.real = 0.0
        self.ahead = 0.0  # how far the wall clock is set forward
        self.clock = clock_of(self.wall, elapsed=lambda: moment(self.real))

    def wall(self) -> datetime:
        return moment(self.real + self.ahead)

    def pass_by(self, seconds: float) -> datetime:
        """Let time go by and return what the wall clock then shows."""
        self.real += seconds
        return self.clock.wall()


def test_elapsed_time_is_that_which_goes_on_in_suspension(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    assert time.clock_gettime(clock) - 1 < elapsed() <= time.clock_gettime(clock)
    # On a machine that never slept all of them show the same.
    monkeypatch.setattr(time, "clock_gettime", {clock: 8 * HOUR}.__getitem__)
    assert elapsed() == 8 * HOUR


@pytest.mark.parametrize("step", [2 * HOUR, -2 * HOUR, 45.0, -45.0])
def test_a_clock_that_is_set_ages_nothing(step: float) -> None:
    turned = Time()
    before = turned.pass_by(10)
    turned.ahead += step
    after = turned.pass_by(20)
    assert after == moment(30 + step)
    assert turned.clock.now() == moment(30)
    assert [turned.clock.steady(at) for at in (before, after)] == [moment(10), moment(30)]
    assert turned.clock.new_steps() == [timedelta(seconds=step)]
    assert turned.clock.new_steps() == []


def test_time_that_goes_by_in_suspension_is_no_step() -> None:
    turned = Time()
    turned.pass_by(8 * HOUR)
    assert turned.clock.new_steps() == []
    assert turned.clock.now() == moment(8 * HOUR)


def test_a_pause_between_the_two_readings_is_no_step() -> None:
    elapsed = iter([0.0, 0.0, HOUR])  # suspended after the wall clock was read
    wall = iter([moment(0), moment(0)])
    clock = Clock(wall=lambda: next(wall, moment(HOUR)), elapsed=lambda: next(elapsed, HOUR))
    assert clock.new_steps() == []
    assert clock.now() == moment(HOUR)


@pytest.mark.parametrize("step", [2 * HOUR, -2 * HOUR, 45.0])
def test_what_was_to_come_before_a_step_comes_as_late_as_it_would_have(step: float) -> None:
    turned = Time()
    until = turned.pass_by(1) + timedelta(seconds=60)
    turned.ahead = step
    turned.pass_by(59)
    assert not turned.clock.has_passed(until)
    turned.pass_by(120)
    assert turned.clock.has_passed(until)
    later = turned.clock.wall() + timedelta(seconds=60)
    assert not turned.clock.has_passed(later)
    turned.pass_by(120)
    assert turned.clock.has_passed(later)


def test_nothing_that_was_recorded_is_older_than_the_earliest_time() -> None:
    turned = Time()
    recorded = [turned.pass_by(1)]
    for ahead in (2 * HOUR, -HOUR, 0.0):
        turned.ahead = ahead
        recorded.append(turned.pass_by(60))
    assert min(recorded) >= turned.clock.earliest(moment(0))
    assert turned.clock.earliest(turned.clock.now()) <= turned.clock.wall()


@given(st.lists(st.tuples(st.floats(0, HOUR), st.floats(-HOUR, HOUR)), max_size=12))
def test_the_steady_clock_only_goes_on_however_the_other_is_set(steps: list[tuple[float, float]]) -> None:
    turned = Time()
    for seconds, ahead in steps:
        turned.ahead = ahead
        recorded = turned.pass_by(seconds)
        assert turned.clock.now() == START + timedelta(seconds=turned.real)
        steady = turned.clock.steady(recorded)
        assert abs(steady - turned.clock.now()) <= timedelta(seconds=0.5)
