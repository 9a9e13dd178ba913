"""When and how long ago each status of a leg was reported, by whose clock; the least delay of callbacks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from engine_run import seconds
from events import WORLD, event, event_of, form, moment, sid

from callctl.calls.board import Arrival, Board
from callctl.calls.call import Call
from callctl.calls.event import MISSED, POLLED, CallEvent
from callctl.rules.evidence import UNKNOWN_AGE, Evidence
from callctl.rules.rule import LastRinging

HOUR = 3600


def evidence(*, set_forward: float = 0) -> Evidence:
    """Return evidence whose wall clock was set forward by so many seconds since the steady one began."""
    return Evidence(steady_time=lambda at: at - seconds(set_forward))


def delayed(call: int, delay: float) -> CallEvent:
    """Return a callback that took so many seconds, by the two clocks; less than none if this machine's is slow."""
    return event(call, "ringing", at=call * 100, received=call * 100 + delay)


def stored_by(now: float) -> Arrival:
    """Return when an event came that is in the store at a start."""
    return Arrival(None, moment(now))


def of_rest(status: str, *, kind: str, received: float) -> CallEvent:
    """Return what REST shows of a call that began at second 0 and ended an hour later, if it did."""
    end = moment(HOUR) if status == "completed" else None
    call = Call(sid(1), status, start_time=moment(0), end_time=end)
    return CallEvent.from_call(call, received_at=moment(received), world=WORLD, kind=kind)


@pytest.mark.parametrize("is_own", [False, True])
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
def test_the_least_delay_counts(delays: tuple[float, ...], least: float, is_own: bool) -> None:
    result = evidence()
    for call, delay in enumerate(delays, 1):
        came = delayed(call, delay)
        if is_own:
            result.add(came, now=moment(1000))
            continue
        # Another process received it, whose clock says anything.
        other = event(call, "ringing", at=call * 100, received=call * HOUR)
        result.add(other, now=moment(1000), arrival=Arrival(moment(0), came.received_at))
    assert result.skew == seconds(least)


@pytest.mark.parametrize("received", [-HOUR, 100, 2 * HOUR])
def test_the_store_tells_only_that_this_clock_is_behind_and_until_a_callback_arrives(received: float) -> None:
    result = evidence()
    for call, at in ((1, 50.0), (2, 130.0), (3, 140.0)):
        result.add(event(call, "ringing", at=at, received=received), now=moment(100), arrival=stored_by(100))
    assert result.skew == result.correction(now=moment(100)) == seconds(-40)
    result.add(event(4, "ringing", at=100, received=104), now=moment(104))
    assert result.skew == seconds(4)


def test_a_reply_of_rest_counts_until_a_callback_arrives() -> None:
    result = evidence()
    for call in (1, 2):
        result.add(event(call, "ringing", at=130), now=moment(100), arrival=stored_by(100))
    result.add_reply(moment(99), now=moment(100))
    assert result.skew == seconds(1)
    result.add(event(4, "ringing", at=100, received=104), now=moment(104))
    assert result.skew == seconds(4)


def test_a_reply_of_rest_from_the_future_makes_no_leg_older_unless_the_store_agrees() -> None:
    """Its ``Date`` may be a proxy's own."""
    result, board = evidence(), Board()
    result.add_reply(moment(160), now=moment(100))
    found = of_rest("in-progress", kind=POLLED, received=100)
    change = board.apply(found)
    assert change is not None
    result.add(found, now=moment(100))
    assert result.status_since(change.after, now=moment(100)) == moment(0)
    for call in (2, 3):
        result.add(event(call, "ringing", at=130), now=moment(100), arrival=stored_by(100))
    assert result.skew == seconds(-30)


@pytest.mark.parametrize("received", [-3 * HOUR, 42, 5 * HOUR])
def test_when_an_event_without_a_timestamp_came_is_never_by_another_clock(received: float) -> None:
    """It is as old as it may be where it must be news, and as young as it may be where it must be old."""
    result, board = evidence(), Board()
    seen = event(1, "ringing", received=received)
    board.apply(seen)
    arrival = Arrival(moment(40), moment(43))
    result.add(seen, now=moment(44), arrival=arrival)
    leg = board.snapshot().legs[sid(1)]
    assert result.status_since(leg, now=moment(60)) == moment(43)
    assert result.age(seen, now=moment(60), arrival=arrival) == seconds(20)
    ended = event(1, "completed", received=received)
    board.apply(ended)
    result.add(ended, now=moment(64), arrival=Arrival(moment(60), moment(63)))
    assert result.age_of_end(board.snapshot().legs[sid(1)], now=moment(70)) == seconds(10)


@pytest.mark.parametrize("received", [-3 * HOUR, 42, 5 * HOUR])
def test_what_the_store_has_without_a_timestamp_is_no_news_and_counts_from_now(received: float) -> None:
    result, board = evidence(), Board()
    seen = event(1, "in-progress", received=received)
    board.apply(seen)
    result.add(seen, now=moment(50), arrival=stored_by(50))
    assert result.status_since(board.snapshot().legs[sid(1)], now=moment(60)) == moment(50)
    assert result.age(seen, now=moment(60), arrival=stored_by(50)) == UNKNOWN_AGE


def test_a_poll_of_the_store_is_news_if_its_call_began_just_now() -> None:
    result = evidence()
    polled = of_rest("in-progress", kind=POLLED, received=5 * HOUR)
    assert result.age(polled, now=moment(60), arrival=stored_by(50)) == seconds(0)
    assert result.age_of_call(polled, now=moment(60)) == seconds(60)


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
    request = form(2, "in-progress") | {"ApiVersion": "2010-04-01", "Direction": "inbound"}
    del request["CallbackSource"]
    seen.add(event_of(request, verified=False), now=moment(0))
    assert not any(map(seen.is_reported, (sid(1), sid(2), sid(3))))
    seen.add(event_of(form(1, "ringing")), now=moment(0))
    seen.add(event_of(request), now=moment(0))
    assert [seen.is_reported(sid(call)) for call in (1, 2, 3)] == [True, True, False]


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


def test_when_a_leg_last_rang_is_what_its_callbacks_reported_before_the_answer() -> None:
    seen, board = evidence(), Board()
    events = [
        event(1, "initiated", at=3, received=4),
        event(1, "ringing", at=5, received=6),
        event(1, "ringing", at=None, received=7),
        event(1, "in-progress", at=9, received=10),
    ]
    for one in events:
        seen.add(one, now=one.received_at)
        board.apply(one)
    restored = event(2, "ringing", at=None, received=7)
    seen.add(restored, now=moment(20), arrival=Arrival(None, moment(20)))
    poll = CallEvent.from_call(Call(sid(3), "ringing", start_time=moment(5)), received_at=moment(6), world=WORLD)
    seen.add(poll, now=moment(6))
    for one in (restored, poll):
        board.apply(one)
    legs = [board.snapshot().leg(sid(number)) for number in (1, 2, 3)]
    assert [seen.last_ringing(leg) for leg in legs if leg] == [
        LastRinging(moment(5), moment(7)),
        LastRinging(),
        LastRinging(),
    ]
