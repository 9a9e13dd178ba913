"""When and how long ago each status of a leg was reported, by whose clock; the least delay of callbacks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from engine_run import seconds
from events import WORLD, event, event_of, form, moment, sid

from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import MISSED, POLLED, CallEvent
from callctl.rules.evidence import Evidence

HOUR = 3600


def evidence(*, set_forward: float = 0) -> Evidence:
    """Return evidence whose wall clock was set forward by so many seconds since the steady one began."""
    return Evidence(steady_time=lambda at: at - seconds(set_forward))


def delayed(call: int, delay: float) -> CallEvent:
    """Return a callback that took so many seconds, by the two clocks; less than none if this machine's is slow."""
    return event(call, "ringing", at=call * 100, received=call * 100 + delay)


def of_rest(status: str, *, kind: str, received: float) -> CallEvent:
    """Return what REST shows of a call that began at second 0 and ended an hour later, if it did."""
    end = moment(HOUR) if status == "completed" else None
    call = Call(sid(1), status, start_time=moment(0), end_time=end)
    return CallEvent.from_call(call, received_at=moment(received), world=WORLD, kind=kind)


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize(
    ("delays", "least"),
    [
        ((5, 2, 4), 2),
        ((5, 0, 4), 0),
        ((5, -15, 4), -15),
        ((5, -60, 4), 4),  # one call alone may be wrong
        ((5, -60, 4, -50), -60),  # another call agrees
        ((-HOUR, -60, -7200), 0),
        ((-HOUR, -60, -HOUR + 5), -HOUR),
        ((-60, -60, -61, -70), -70),
        ((0, 3), 0),
        ((7,), 7),
        ((), 0),
    ],
)
def test_the_least_delay_counts(delays: tuple[float, ...], least: float, is_stored: bool) -> None:
    result = evidence()
    for call, delay in enumerate(delays, 1):
        result.add(delayed(call, delay), now=moment(1000), is_stored=is_stored)
    assert result.skew == seconds(least)


@pytest.mark.parametrize("recalled", [-HOUR, 0, 2])
def test_what_the_store_knew_of_delays_counts_until_a_callback_arrives(recalled: float) -> None:
    result = evidence()
    for call in (1, 4):
        result.add(delayed(call, recalled), now=moment(1000), is_stored=True)
    assert result.skew == seconds(recalled)
    result.add(delayed(2, 4), now=moment(1000))
    result.add(delayed(3, recalled), now=moment(1000), is_stored=True)
    assert result.skew == seconds(4)


def test_only_a_verified_callback_with_a_timestamp_tells_a_delay() -> None:
    result = evidence()
    result.add(delayed(1, 4), now=moment(1000))
    result.add(event_of(form(2, "ringing", at=500), received=0, verified=False), now=moment(1000))
    result.add(event(3, "ringing", received=0), now=moment(1000))
    result.add(of_rest("completed", kind=MISSED, received=0), now=moment(1000))
    assert result.skew == seconds(4)


@pytest.mark.parametrize("set_forward", [0, HOUR])
def test_a_poll_is_as_old_as_its_arrival_however_long_ago_the_call_began(set_forward: float) -> None:
    result = evidence(set_forward=set_forward)
    polled = of_rest("in-progress", kind=POLLED, received=2 * HOUR + set_forward)
    assert polled.timestamp == moment(0)
    assert result.age(polled, now=moment(2 * HOUR + 7)) == seconds(7)


def test_a_callback_and_an_end_that_rest_reported_are_as_old_as_they_say() -> None:
    result = evidence()
    assert result.age(event(1, "busy", at=10, received=40), now=moment(50)) == seconds(40)
    assert result.age(event(1, "busy", received=40), now=moment(50)) == seconds(10)
    missed = of_rest("completed", kind=MISSED, received=2 * HOUR)
    assert result.age(missed, now=moment(2 * HOUR)) == timedelta(hours=1)
    # A call that sent no callbacks is fetched, and may be over by then.
    found = of_rest("completed", kind=POLLED, received=2 * HOUR)
    assert result.age(found, now=moment(2 * HOUR)) == timedelta(hours=1)


def test_a_callback_that_nobody_signed_makes_no_call_ours() -> None:
    seen = evidence()
    seen.add(event_of(form(1, "ringing"), verified=False), now=moment(0))
    assert not seen.has_callback(sid(1))
    seen.add(event_of(form(1, "ringing")), now=moment(0))
    assert seen.has_callback(sid(1))


def test_the_earliest_timestamp_of_a_status_counts_in_any_order() -> None:
    for order in ((5, 10), (10, 5)):
        seen, board = evidence(), Board()
        for at in order:
            one = event(1, "ringing", at=at, received=20)
            seen.add(one, now=moment(20))
            board.apply(one)
        leg = board.snapshot().leg(sid(1))
        assert leg is not None
        assert seen.status_timestamp(leg) == moment(5)
