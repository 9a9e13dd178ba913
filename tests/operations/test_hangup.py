"""Ending a call, whatever the API makes of the request."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from events import WORLD, form
from operations.fake_api import PARENT, SID, FakeApi, Time, Unanswered, call, wrong_state

from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.leg import Leg
from callctl.errors import AuthenticationError, CallctlError, NetworkError, NoThreadError, WrongCallStateError
from callctl.operations.hangup import HangupOutcome, Result, cancel, check_again, hang_up, waiting_until_ended
from callctl.support.backoff import with_pauses
from callctl.support.clock import Clock
from callctl.support.dates import format_date

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def leg(status: str, *, ago: float = 1.0, verified: bool = True) -> Leg:
    """Return a leg of which a callback reported, by its Timestamp so many seconds ago."""
    moment = NOW - timedelta(seconds=ago)
    fields = form(1, status) | {"Timestamp": format_date(moment) or ""}
    board = Board()
    board.apply(CallEvent.from_form(fields.items(), received_at=moment, world=WORLD, verified=verified))
    return next(iter(board.snapshot().legs.values()))


def dialled_leg() -> Leg:
    """Return a leg inside ``<Dial>`` of which a callback reported that it rings."""
    return replace(leg("ringing"), parent_call_sid=PARENT)


def nothing(_sid: str) -> None:
    """Know of no callback."""


def clock_at(api: FakeApi, now: datetime, *, took: float = 0.0) -> Clock:
    """Return a clock that reads ``now`` when the first request is answered, so many seconds after it was sent."""

    def since() -> float:
        return took if api.requests else 0.0

    return Clock(wall=lambda: now - timedelta(seconds=took - since()), elapsed=since)


def hung_up(api: FakeApi, time: Time | None = None, *, reported: Leg | None = None) -> HangupOutcome:
    clock = clock_at(api, NOW)
    return hang_up(api, SID, reported=lambda _: reported, sleep=(time or Time()).sleep, clock=clock)


def canceled(api: FakeApi, time: Time | None = None, *, reported: Leg | None = None) -> HangupOutcome:
    clock = clock_at(api, NOW)
    return cancel(api, SID, reported=lambda _: reported, sleep=(time or Time()).sleep, clock=clock)


def refused_at(at: datetime | None = NOW) -> WrongCallStateError:
    return WrongCallStateError("Call is not in-progress.", status=400, code="21220", at=at)


def test_the_common_case_is_one_request() -> None:
    api = FakeApi(hangups=[call("completed")])
    assert hung_up(api) == HangupOutcome(Result.ENDED, call("completed"))
    assert api.requests == ["hangup"]


def test_what_has_not_ended_at_once_is_accepted() -> None:
    assert hung_up(FakeApi(hangups=[call("ringing")])).result is Result.ACCEPTED


def test_a_call_that_is_over_is_asked_for_and_is_no_error() -> None:
    api = FakeApi(hangups=[wrong_state()], fetches=[call("busy")])
    ended = hung_up(api)
    assert (ended.result, ended.call) == (Result.ALREADY_OVER, call("busy"))
    assert api.requests == ["hangup", "fetch"]


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed"])
def test_an_end_that_no_hang_up_makes_was_there_before(status: str) -> None:
    # Services that answer a second hang-up with 200 (docs/twilio.md, "REST: updating a call").
    assert hung_up(FakeApi(hangups=[call(status)])).result is Result.ALREADY_OVER


@pytest.mark.parametrize(("ago", "result"), [(9, Result.ALREADY_OVER), (1, Result.ENDED)])
@pytest.mark.parametrize("by_callback", [False, True])
def test_an_end_long_before_the_reply_was_there_before(ago: int, result: Result, by_callback: bool) -> None:
    end = None if by_callback else NOW - timedelta(seconds=ago)
    api = FakeApi(hangups=[call("completed", as_of=NOW, end_time=end)])
    assert hung_up(api, reported=leg("completed", ago=ago) if by_callback else None).result is result


@pytest.mark.parametrize("by_callback", [False, True])
@pytest.mark.parametrize(
    ("ago", "took", "ahead", "result"),
    [
        (7, 7, 0, Result.ENDED),  # the answer was slow, and the call ended at once
        (9, 7, 0, Result.ENDED),  # whole seconds, and two clocks
        (13, 7, 0, Result.ALREADY_OVER),
        (1, 0, 60, Result.ENDED),  # the ``Date`` is a proxy's own
        (1, 0, -60, Result.ENDED),
        (65, 0, 60, Result.ALREADY_OVER),
    ],
)
def test_what_ended_while_the_request_was_under_way_was_ended_by_it_whatever_the_date(
    ago: int, took: int, ahead: int, result: Result, by_callback: bool
) -> None:
    end = NOW - timedelta(seconds=ago)
    date = NOW + timedelta(seconds=ahead)
    # Twilio's reply still shows it as in progress, where the callback of its end is there.
    answer = call("in-progress", as_of=date) if by_callback else call("completed", as_of=date, end_time=end)
    reported = leg("completed", ago=ago) if by_callback else None
    api = FakeApi(hangups=[answer])
    clock = clock_at(api, NOW, took=took)
    outcome = hang_up(api, SID, reported=lambda _: reported, sleep=Time().sleep, clock=clock)
    assert (outcome.result, outcome.call.status) == (result, "completed")


@pytest.mark.parametrize(
    ("ago", "behind", "result"),
    [
        (600, 1800, Result.ALREADY_OVER),  # this machine's clock is wrong; the reply's two dates are Twilio's
        (3600, 1800, Result.ALREADY_OVER),
        (600, -1800, Result.ALREADY_OVER),
        (1, 1800, Result.ENDED),
        (1, -1800, Result.ENDED),
        (1800, 1800, Result.ENDED),  # as if the reply's date were wrong
    ],
)
@pytest.mark.parametrize("status", ["completed", "canceled"])
def test_a_clock_that_is_wrong_takes_no_end_of_before_for_that_by_the_request(
    ago: int, behind: int, result: Result, status: str
) -> None:
    end = NOW - timedelta(seconds=ago)
    api = FakeApi(hangups=[call(status, as_of=NOW, end_time=end)], cancels=[call(status, as_of=NOW, end_time=end)])
    clock = clock_at(api, NOW - timedelta(seconds=behind))
    assert hang_up(api, SID, reported=nothing, sleep=Time().sleep, clock=clock).result is result
    if status == "canceled":
        assert cancel(api, SID, reported=nothing, sleep=Time().sleep, clock=clock).result is result


def test_an_end_within_slow_tries_may_be_by_one_of_them() -> None:
    for took, result in ((150, Result.ENDED), (30, Result.ALREADY_OVER)):
        shown = call("completed", as_of=NOW, end_time=NOW - timedelta(minutes=2))
        api = FakeApi(hangups=[refused_after_a_try()], fetches=[shown])
        clock = clock_at(api, NOW, took=took)
        assert hang_up(api, SID, reported=nothing, sleep=Time().sleep, clock=clock).result is result


@pytest.mark.parametrize(
    ("shown", "reported", "ago", "result", "status"),
    [
        ("ringing", "completed", 60, Result.ALREADY_OVER, "completed"),
        ("in-progress", "completed", 60, Result.ALREADY_OVER, "completed"),
        ("ringing", "busy", 1, Result.ALREADY_OVER, "busy"),
        ("ringing", "completed", 0, Result.ENDED, "completed"),  # by this hang-up
        ("ringing", "in-progress", 60, Result.ACCEPTED, "in-progress"),
        ("in-progress", "ringing", 60, Result.ACCEPTED, "in-progress"),
    ],
)
def test_what_callbacks_reported_outranks_the_reply_to_a_hang_up(
    shown: str, reported: str, ago: int, result: Result, status: str
) -> None:
    answer = replace(call(shown), as_of=NOW)
    outcome = hung_up(FakeApi(hangups=[answer]), reported=leg(reported, ago=ago))
    assert (outcome.result, outcome.call.status) == (result, status)


def test_a_refused_call_that_rest_still_shows_as_live_is_asked_for_again() -> None:
    time = Time()
    api = FakeApi(hangups=[wrong_state()], fetches=[call("in-progress"), call("in-progress"), call("completed")])
    assert hung_up(api, time).result is Result.ALREADY_OVER
    assert time.slept == [0.1, 0.2]


def test_a_refused_call_is_over_also_while_rest_shows_it_as_live() -> None:
    time, api = Time(), FakeApi(hangups=[wrong_state()], fetches=[call("in-progress")])
    ended = hung_up(api, time)
    assert (ended.result, ended.call.status, ended.shown) == (Result.ALREADY_OVER, "", "in-progress")
    assert time.slept == [0.1, 0.2, 0.4, 0.8]


def test_a_refused_call_is_over_also_when_it_cannot_be_asked_for() -> None:
    ended = hung_up(FakeApi(hangups=[wrong_state()], fetches=[NetworkError("gone")]))
    assert (ended.result, ended.call.status, ended.shown) == (Result.ALREADY_OVER, "", "")


def refused_after_a_try() -> WrongCallStateError:
    """Refuse what an earlier try, which was not answered, may have done."""
    refusal = refused_at()
    refusal.may_be_done = True
    return refusal


@pytest.mark.parametrize(
    ("shown", "hung", "cancel_result"),
    [
        (call("completed", as_of=NOW, end_time=NOW - timedelta(seconds=20)), Result.ENDED, Result.ALREADY_OVER),
        (call("canceled"), Result.ENDED, Result.ENDED),
        (call("completed", as_of=NOW, end_time=NOW - timedelta(minutes=2)), Result.ALREADY_OVER, Result.ALREADY_OVER),
        (call("busy"), Result.ALREADY_OVER, Result.ALREADY_OVER),
    ],
)
def test_what_an_earlier_try_ended_was_not_over_before(shown: Call, hung: Result, cancel_result: Result) -> None:
    assert hung_up(FakeApi(hangups=[refused_after_a_try()], fetches=[shown])).result is hung
    assert canceled(FakeApi(cancels=[refused_after_a_try()], fetches=[shown])).result is cancel_result


@pytest.mark.parametrize(("refusal", "ours"), [(refused_after_a_try(), True), (refused_at(), False)])
def test_where_it_is_not_known_how_it_ended_an_earlier_try_may_have_ended_it(
    refusal: WrongCallStateError, ours: bool
) -> None:
    for ended in (
        hung_up(FakeApi(hangups=[refusal], fetches=[call("in-progress")])),
        canceled(FakeApi(cancels=[refusal], fetches=[call("ringing")])),
    ):
        assert (ended.call.status, ended.may_be_by_earlier_try) == ("", ours)
    answered = canceled(FakeApi(cancels=[refusal], fetches=[call("in-progress")]))
    assert (answered.result, answered.may_be_by_earlier_try) == (Result.NOT_ENDED, False)


def test_callbacks_that_reported_the_end_are_believed_before_rest() -> None:
    api = FakeApi(hangups=[refused_at()], fetches=[call("in-progress")])
    ended = hung_up(api, reported=leg("completed"))
    assert (ended.result, ended.call.status, api.requests) == (Result.ALREADY_OVER, "completed", ["hangup", "fetch"])


@pytest.mark.parametrize(
    ("reported", "fetched", "lives"),
    [
        (leg("in-progress", ago=1), call("ringing"), False),  # before the refusal: it says nothing against it
        (leg("in-progress", ago=-1), call("ringing"), True),
        (leg("in-progress", ago=-1, verified=False), call("ringing"), False),
        (None, call("in-progress", date_updated=NOW - timedelta(seconds=5)), False),
        (None, call("in-progress", date_updated=NOW), False),  # whole seconds: it may have been before
        (None, call("in-progress", date_updated=NOW + timedelta(seconds=1)), True),
    ],
)
def test_only_what_is_newer_than_the_refusal_shows_a_refused_call_to_be_live(
    reported: Leg | None, fetched: Call, lives: bool
) -> None:
    api = FakeApi(hangups=[refused_at()], fetches=[fetched])
    if not lives:
        assert hung_up(api, reported=reported).result is Result.ALREADY_OVER
        return
    with pytest.raises(WrongCallStateError, match="was not ended: Twilio refused, and it is in-progress since"):
        hung_up(api, reported=reported)


def test_without_a_time_of_the_refusal_nothing_is_newer() -> None:
    api = FakeApi(hangups=[refused_at(None)], fetches=[call("in-progress", date_updated=NOW)])
    assert hung_up(api, reported=leg("in-progress")).result is Result.ALREADY_OVER


@pytest.mark.parametrize(
    ("reply", "shown", "result", "requests"),
    [
        (call("canceled"), None, Result.ENDED, ["cancel"]),
        (call("ringing"), call("canceled"), Result.ENDED, ["cancel", "fetch"]),
        (call("ringing"), call("ringing"), Result.ACCEPTED, ["cancel", *["fetch"] * 5]),
        (call("ringing"), call("ringing", parent_call_sid=PARENT), Result.STILL_RINGING, ["cancel", *["fetch"] * 5]),
        (call("ringing"), call("ringing", direction="outbound-dial"), Result.STILL_RINGING, ["cancel", *["fetch"] * 5]),
        (call("ringing"), call("in-progress"), Result.NOT_ENDED, ["cancel", "fetch"]),
        (call("in-progress"), call("in-progress"), Result.NOT_ENDED, ["cancel", "fetch"]),
        (call("in-progress"), call("completed"), Result.ALREADY_OVER, ["cancel", "fetch"]),
        (wrong_state(), call("in-progress"), Result.NOT_ENDED, ["cancel", *["fetch"] * 5]),
        (wrong_state(), call("canceled"), Result.ALREADY_OVER, ["cancel", "fetch"]),
        (wrong_state(), call("ringing", parent_call_sid=PARENT), Result.STILL_RINGING, ["cancel", *["fetch"] * 5]),
        (call("busy"), None, Result.ALREADY_OVER, ["cancel"]),
    ],
)
def test_canceling(reply: Call | WrongCallStateError, shown: Call | None, result: Result, requests: list[str]) -> None:
    api = FakeApi(cancels=[reply], fetches=[shown] if shown else [])
    assert canceled(api).result is result
    assert api.requests == requests


@pytest.mark.parametrize("fetched", [call("ringing"), call("in-progress"), NetworkError("gone")])
def test_a_refused_cancel_never_means_over_by_itself(fetched: Call | NetworkError) -> None:
    """REST lags or fails: the call was answered or is over, and which is not known."""
    ended = canceled(FakeApi(cancels=[wrong_state()], fetches=[fetched]))
    assert (ended.result, ended.call.status) == (Result.NOT_ENDED, "")
    assert ended.shown == (fetched.status if isinstance(fetched, Call) else "")


@pytest.mark.parametrize(
    ("reported", "updated", "status"),
    [
        (None, NOW, ""),  # whole seconds: it may have been before
        (None, NOW + timedelta(seconds=1), "in-progress"),
        (leg("ringing", ago=30), NOW - timedelta(seconds=5), ""),
        (leg("in-progress", ago=30), NOW - timedelta(seconds=30), "in-progress"),
        (leg("in-progress", ago=30, verified=False), NOW - timedelta(seconds=30), ""),
    ],
)
def test_a_call_is_known_to_be_answered_after_a_refusal_by_callbacks_or_by_what_is_newer(
    reported: Leg | None, updated: datetime, status: str
) -> None:
    api = FakeApi(cancels=[refused_at()], fetches=[call("in-progress", date_updated=updated)])
    ended = canceled(api, reported=reported)
    assert (ended.result, ended.call.status) == (Result.NOT_ENDED, status)


def test_a_call_that_had_ended_is_found_to_be_over_once_rest_shows_it() -> None:
    api = FakeApi(cancels=[refused_at()], fetches=[call("in-progress"), call("in-progress"), call("completed")])
    ended = canceled(api)
    assert (ended.result, ended.call.status) == (Result.ALREADY_OVER, "completed")


@pytest.mark.parametrize(
    ("reply", "result", "status"),
    [
        (wrong_state(), Result.NOT_ENDED, ""),
        (call("ringing", parent_call_sid=PARENT), Result.ACCEPTED, "ringing"),
    ],
    ids=["refused", "taken"],
)
@pytest.mark.parametrize("looks", [0, 1, 4])
@pytest.mark.parametrize("why", [NetworkError("gone"), NoThreadError()], ids=["gone", "no-thread"])
def test_a_leg_that_could_not_be_read_back_is_not_known_to_ring_on(
    reply: Call | WrongCallStateError, result: Result, status: str, looks: int, why: CallctlError
) -> None:
    """It may have been answered just before, and who takes it for one that rings may cut it off."""
    shown = [call("ringing", parent_call_sid=PARENT)] * looks
    ended = canceled(FakeApi(cancels=[reply], fetches=[*shown, why]), reported=dialled_leg())
    assert (ended.result, ended.call.status) == (result, status)


@pytest.mark.parametrize("reply", [wrong_state(), call("ringing")])
@pytest.mark.parametrize(
    ("status", "result"),
    [("in-progress", Result.NOT_ENDED), ("completed", Result.ALREADY_OVER), ("busy", Result.ALREADY_OVER)],
)
def test_what_callbacks_reported_of_a_canceled_call_outranks_an_old_fetch(
    reply: Call | WrongCallStateError, status: str, result: Result
) -> None:
    api = FakeApi(cancels=[reply], fetches=[call("ringing")])
    ended = canceled(api, reported=leg(status))
    assert (ended.result, ended.call.status, api.requests) == (result, status, ["cancel", "fetch"])


def test_the_reply_itself_outranks_an_old_fetch() -> None:
    ended = canceled(FakeApi(cancels=[call("in-progress")], fetches=[call("ringing")]))
    assert (ended.result, ended.call.status) == (Result.NOT_ENDED, "in-progress")


@pytest.mark.parametrize(
    ("listed", "fetched", "reported", "result"),
    [
        ("ringing", "ringing", None, None),
        ("ringing", "in-progress", None, Result.NO_MATCH),
        ("ringing", "ringing", "in-progress", Result.NO_MATCH),
        ("ringing", "ringing", "completed", Result.ALREADY_OVER),
        ("ringing", "busy", None, Result.ALREADY_OVER),
    ],
)
def test_looking_again_believes_the_latest_step(
    listed: str, fetched: str, reported: str | None, result: Result | None
) -> None:
    outcome = check_again(
        FakeApi(fetches=[call(fetched)]),
        call(listed),
        reported=lambda _: leg(reported) if reported else None,
        matches=lambda call: call.status == "ringing",
    )
    assert (outcome and outcome.result) == result


def seen(api: FakeApi, *, limit: float, time: Time, only_ringing: bool = False) -> HangupOutcome:
    return seen_of(HangupOutcome(Result.ACCEPTED, call("ringing")), api, limit=limit, time=time, ringing=only_ringing)


def seen_of(outcome: HangupOutcome, api: FakeApi, *, limit: float, time: Time, ringing: bool = False) -> HangupOutcome:
    work = waiting_until_ended(
        api,
        outcome,
        reported=nothing,
        limit=limit,
        monotonic=time.monotonic,
        only_ringing=ringing,
        on_outage=lambda _: None,
    )
    return with_pauses(work, sleep=time.sleep)


def test_waiting_asks_with_growing_gaps_until_the_call_has_ended() -> None:
    time, api = Time(), FakeApi(fetches=[call("ringing"), call("ringing"), call("ringing"), call("canceled")])
    assert seen(api, limit=5, time=time) == HangupOutcome(Result.ENDED, call("canceled"))
    assert time.slept == sorted(time.slept)
    assert time.slept[0] < time.slept[-1]


def test_waiting_gives_up_at_its_limit() -> None:
    time = Time()
    assert seen(FakeApi(fetches=[call("ringing")]), limit=5, time=time).result is Result.ACCEPTED
    assert time.now == pytest.approx(5)


def test_waiting_gives_up_at_its_limit_also_where_the_api_does_not_answer(unanswered: Unanswered) -> None:
    ending = seen(unanswered, limit=0.1, time=Time())
    assert ending == HangupOutcome(Result.ACCEPTED, call("ringing"))


def test_what_was_accepted_stays_so_where_the_api_can_not_be_asked() -> None:
    for limit in (5, math.inf):
        api = FakeApi(fetches=[NetworkError("refused"), NetworkError("refused"), call("canceled")])
        assert seen(api, limit=limit, time=Time()).result is Result.ENDED
        with pytest.raises(AuthenticationError):
            seen(FakeApi(fetches=[AuthenticationError("who?", status=401)]), limit=limit, time=Time())


def test_what_has_ended_is_not_waited_for() -> None:
    api, ended = FakeApi(), HangupOutcome(Result.ENDED, call("completed"))
    assert seen_of(ended, api, limit=5, time=Time()) is ended
    assert api.requests == []


@pytest.mark.parametrize(
    ("status", "result"),
    [("in-progress", Result.NOT_ENDED), ("completed", Result.ALREADY_OVER), ("canceled", Result.ENDED)],
)
def test_a_canceled_call_that_was_answered_is_not_waited_for(status: str, result: Result) -> None:
    api = FakeApi(fetches=[call("ringing"), call(status)])
    assert seen(api, limit=5, time=Time(), only_ringing=True).result is result
