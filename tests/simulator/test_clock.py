"""Simulated time that stands still until it is advanced."""

from __future__ import annotations

from callctl.simulator.clock import ManualClock, RealClock


async def settled() -> None: ...


async def test_timers_run_in_the_order_of_their_times_and_then_of_their_setting() -> None:
    clock, ran = ManualClock(), list[tuple[str, float]]()
    for name, seconds in (("second", 2.0), ("first", 1.0), ("also second", 2.0), ("late", 5.0)):
        clock.later(seconds, lambda name=name: ran.append((name, clock.now())))  # type: ignore[misc]
    await clock.advance(3, settled=settled)
    assert ran == [("first", 1.0), ("second", 2.0), ("also second", 2.0)]
    assert clock.now() == 3


async def test_a_timer_may_set_another_and_a_cancelled_one_does_not_run() -> None:
    clock, ran = ManualClock(), list[float]()

    def set_another() -> None:
        clock.later(1, lambda: ran.append(clock.now()))

    clock.later(1, set_another)
    clock.later(1.5, lambda: ran.append(-1)).cancel()
    await clock.advance(2, settled=settled)
    assert ran == [2.0]


def test_no_timer_runs_in_the_past() -> None:
    clock, ran = ManualClock(), list[float]()
    clock.later(-5, lambda: ran.append(clock.now()))
    assert clock.step(0)
    assert not clock.step(0)
    assert ran == [0.0]


async def test_what_recurs_is_done_no_more_often_than_is_worth_it() -> None:
    assert ManualClock().spacing(0.02) == 0.2
    assert ManualClock().spacing(1) == 1
    assert RealClock(1).spacing(0.02) == 0.02
    assert RealClock(50).spacing(0.02) == 1  # every 20 ms
    assert RealClock(0.5).spacing(0.02) == 0.02
