"""Ending a call, whatever the API makes of the request."""

import pytest
from operations.doors import PARENT, SID, Door, Time, call, wrong_state

from callctl.calls import Call
from callctl.errors import WrongCallStateError
from callctl.operations.ending import Ending, Result, cancel, hang_up, see_ended


def hung_up(door: Door, time: Time | None = None) -> Ending:
    time = time or Time()
    return hang_up(door, SID, sleep=time.sleep, monotonic=time.monotonic)


def canceled(door: Door, time: Time | None = None) -> Ending:
    return cancel(door, SID, sleep=(time or Time()).sleep)


def test_the_common_case_is_one_request() -> None:
    door = Door(hangups=[call("completed")])
    assert hung_up(door) == Ending(Result.ENDED, call("completed"))
    assert door.asked == ["hangup"]


def test_what_has_not_ended_at_once_is_accepted() -> None:
    assert hung_up(Door(hangups=[call("ringing")])).result is Result.ACCEPTED


def test_a_call_that_is_over_is_asked_for_and_is_no_error() -> None:
    door = Door(hangups=[wrong_state()], fetches=[call("busy")])
    assert hung_up(door) == Ending(Result.OVER, call("busy"))
    assert door.asked == ["hangup", "fetch"]


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed"])
def test_an_end_that_no_hang_up_makes_was_there_before(status: str) -> None:
    # Services that answer a second hang-up with 200 (sheet section 13).
    assert hung_up(Door(hangups=[call(status)])).result is Result.OVER


def test_a_refused_call_that_rest_still_shows_as_live_is_asked_for_again() -> None:
    time = Time()
    door = Door(hangups=[wrong_state()], fetches=[call("in-progress"), call("in-progress"), call("completed")])
    assert hung_up(door, time).result is Result.OVER
    assert time.slept == [pytest.approx(0.1), pytest.approx(0.15)]


def test_a_refused_call_that_stays_live_is_an_error_after_two_seconds() -> None:
    time = Time()
    with pytest.raises(WrongCallStateError):
        hung_up(Door(hangups=[wrong_state()], fetches=[call("in-progress")]), time)
    assert time.now == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("reply", "shown", "result", "requests"),
    [
        (call("canceled"), None, Result.ENDED, ["cancel"]),
        (call("ringing"), call("canceled"), Result.ENDED, ["cancel", "fetch"]),
        (call("ringing"), call("ringing"), Result.ACCEPTED, ["cancel", *["fetch"] * 5]),
        (call("ringing"), call("ringing", parent_call_sid=PARENT), Result.RINGING, ["cancel", *["fetch"] * 5]),
        (call("ringing"), call("ringing", direction="outbound-dial"), Result.RINGING, ["cancel", *["fetch"] * 5]),
        (call("ringing"), call("in-progress"), Result.SPARED, ["cancel", "fetch"]),
        (call("in-progress"), call("in-progress"), Result.SPARED, ["cancel", "fetch"]),
        (call("in-progress"), call("completed"), Result.OVER, ["cancel", "fetch"]),
        (wrong_state(), call("in-progress"), Result.SPARED, ["cancel", "fetch"]),
        (wrong_state(), call("canceled"), Result.OVER, ["cancel", "fetch"]),
        (wrong_state(), call("ringing", parent_call_sid=PARENT), Result.RINGING, ["cancel", *["fetch"] * 5]),
        (call("busy"), None, Result.OVER, ["cancel"]),
    ],
)
def test_canceling(reply: Call | WrongCallStateError, shown: Call | None, result: Result, requests: list[str]) -> None:
    door = Door(cancels=[reply], fetches=[shown] if shown else [])
    assert canceled(door).result is result
    assert door.asked == requests


def test_a_cancel_refused_for_a_ringing_call_is_an_error() -> None:
    with pytest.raises(WrongCallStateError):
        canceled(Door(cancels=[wrong_state()], fetches=[call("ringing")]))


def seen(door: Door, *, limit: float, time: Time) -> Ending:
    accepted = Ending(Result.ACCEPTED, call("ringing"))
    return see_ended(door, accepted, limit=limit, sleep=time.sleep, monotonic=time.monotonic)


def test_waiting_asks_with_growing_gaps_until_the_call_has_ended() -> None:
    time, door = Time(), Door(fetches=[call("ringing"), call("ringing"), call("ringing"), call("canceled")])
    assert seen(door, limit=5, time=time) == Ending(Result.ENDED, call("canceled"))
    assert time.slept == sorted(time.slept)
    assert time.slept[0] < time.slept[-1]


def test_waiting_gives_up_at_its_limit() -> None:
    time = Time()
    assert seen(Door(fetches=[call("ringing")]), limit=5, time=time).result is Result.ACCEPTED
    assert time.now == pytest.approx(5)


def test_what_has_ended_is_not_waited_for() -> None:
    door, ended = Door(), Ending(Result.ENDED, call("completed"))
    assert see_ended(door, ended, limit=5, sleep=Time().sleep, monotonic=Time().monotonic) is ended
    assert door.asked == []
