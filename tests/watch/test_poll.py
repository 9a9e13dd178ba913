"""The poller finds what no callback reported, and never takes absence for an end."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from calls_api import UnexpectedRequest
from events import START, clock_of
from legs import PARENT, board_of, callback, family

from callctl.calls.call import Call
from callctl.calls.event import MISSED, POLLED, CallEvent
from callctl.calls.filter import CallFilter
from callctl.errors import NetworkError, NotFoundError
from callctl.watch.poll import FETCHES, INTERVAL, NOT_FOUND_TRIES, Poller

LATER = START + timedelta(minutes=5)


@dataclass
class Rest(UnexpectedRequest):
    """What REST would answer; records the legs that were fetched one by one."""

    calls: dict[str, Call] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:
        assert (page_size, limit) == (1000, None)
        return (call for sid in self.listed if query.matches(call := self.calls[sid]))

    def fetch(self, sid: str) -> Call:
        self.fetched.append(sid)
        if sid not in self.calls:
            raise NotFoundError("not there", status=404)
        return self.calls[sid]


def poller(rest: Rest, *, now: datetime = LATER) -> Poller:
    return Poller(rest, world="test", clock=clock_of(lambda: now))


def test_a_call_without_callbacks_is_polled() -> None:
    rest = Rest({PARENT: Call(PARENT, "ringing", to="+12025550100")}, [PARENT])
    (event,) = poller(rest).round(board_of([]).snapshot())
    assert (event.kind, event.call_sid, event.status) == (POLLED, PARENT, "ringing")


def test_what_callbacks_reported_already_is_not_reported_again() -> None:
    events = family()
    legs = {event.call_sid: Call(event.call_sid, event.status) for event in events}
    rest = Rest(legs, list(legs))
    assert list(poller(rest).round(board_of(events).snapshot())) == []
    assert rest.fetched == []


def test_a_callback_gets_its_time_before_a_poll_has_its_word() -> None:
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    rest = Rest({PARENT: Call(PARENT, "in-progress")}, [PARENT])
    assert list(poller(rest, now=START + timedelta(seconds=5)).round(board.snapshot())) == []
    (event,) = poller(rest).round(board.snapshot())
    assert event.status == "in-progress"


def test_a_leg_gone_from_the_list_is_fetched_and_its_end_was_missed() -> None:
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    rest = Rest({PARENT: Call(PARENT, "completed", duration=7)})
    (event,) = poller(rest).round(board.snapshot())
    assert (event.kind, event.status, event.duration) == (MISSED, "completed", 7)
    board.apply(event)
    assert board.snapshot().live == 0
    assert list(poller(rest).round(board.snapshot())) == []


@pytest.mark.parametrize(
    ("ended", "events"), [(timedelta(seconds=6), 1), (timedelta(seconds=4), 0), (timedelta(seconds=-4), 0)], ids=str
)
def test_the_callback_of_an_end_gets_its_time_too(ended: timedelta, events: int) -> None:
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    rest = Rest({PARENT: Call(PARENT, "completed", end_time=LATER - ended)})
    asking = poller(rest)
    assert len(list(asking.round(board.snapshot()))) == events
    assert asking.awaits_callbacks == (not events)  # the next round is due soon


def test_the_end_of_a_call_that_sends_no_callbacks_is_found_at_once() -> None:
    board = board_of([])
    rest = Rest({PARENT: Call(PARENT, "ringing")}, [PARENT])
    for event in poller(rest, now=START).round(board.snapshot()):
        board.apply(event)
    rest = Rest({PARENT: Call(PARENT, "completed", end_time=LATER)})
    assert [event.kind for event in poller(rest).round(board.snapshot())] == [MISSED]


def test_a_leg_that_is_gone_right_after_a_callback_is_to_be_asked_for_soon() -> None:
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    rest = Rest({PARENT: Call(PARENT, "completed", end_time=START + timedelta(seconds=1))})
    asking = poller(rest, now=START + timedelta(seconds=4))
    assert list(asking.round(board.snapshot())) == []
    assert asking.awaits_callbacks
    assert rest.fetched == []
    later = poller(rest, now=START + timedelta(seconds=11))
    assert [event.kind for event in later.round(board.snapshot())] == [MISSED]
    assert not later.awaits_callbacks


def test_an_end_by_a_clock_that_is_far_from_ours_is_found() -> None:
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    rest = Rest({PARENT: Call(PARENT, "completed", end_time=LATER + timedelta(hours=1))})
    assert [event.kind for event in poller(rest).round(board.snapshot())] == [MISSED]


def test_absence_from_the_list_alone_ends_nothing() -> None:
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    rest = Rest({PARENT: Call(PARENT, "ringing")})
    assert list(poller(rest).round(board.snapshot())) == []
    assert rest.fetched == [PARENT]


def test_a_leg_that_rest_does_not_know_is_asked_for_a_few_times_with_growing_pauses() -> None:
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    rest, now = Rest(), LATER
    asked_at: list[datetime] = []
    asking = Poller(rest, world="test", clock=clock_of(lambda: now))
    for _ in range(200):
        assert list(asking.round(board.snapshot())) == []
        if len(rest.fetched) > len(asked_at):
            asked_at.append(now)
        now += timedelta(seconds=INTERVAL)
    pauses = [later - earlier for earlier, later in pairwise(asked_at)]
    assert len(asked_at) == len(rest.fetched) == NOT_FOUND_TRIES
    assert pauses == sorted(pauses)
    assert pauses[0] == timedelta(seconds=INTERVAL)
    assert pauses[-1] > 8 * pauses[0]


def test_the_end_of_a_leg_that_rest_did_not_know_yet_is_found() -> None:
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    rest, now = Rest(), LATER
    asking = Poller(rest, world="test", clock=clock_of(lambda: now))
    assert list(asking.round(board.snapshot())) == []
    rest.calls[PARENT] = Call(PARENT, "completed")
    now += timedelta(seconds=INTERVAL)
    (event,) = asking.round(board.snapshot())
    assert (event.kind, event.status) == (MISSED, "completed")


def test_legs_that_rest_does_not_know_keep_no_other_end_back() -> None:
    unknown = [f"CA{number:032d}" for number in range(100, 100 + FETCHES)]
    board = board_of([callback(sid, "ringing", second=0, sequence=0) for sid in unknown])
    board.apply(callback(PARENT, "ringing", second=1, sequence=0))
    rest, now = Rest({PARENT: Call(PARENT, "completed")}), LATER
    asking = Poller(rest, world="test", clock=clock_of(lambda: now))
    assert list(asking.round(board.snapshot())) == []
    now += timedelta(seconds=INTERVAL)
    assert [event.call_sid for event in asking.round(board.snapshot())] == [PARENT]


def test_a_round_asks_for_a_bounded_number_of_legs() -> None:
    board = board_of([callback(f"CA{number:032}", "ringing", second=0, sequence=0) for number in range(100)])
    rest = Rest({f"CA{number:032}": Call(f"CA{number:032}", "ringing") for number in range(100)})
    assert list(poller(rest).round(board.snapshot())) == []
    assert len(rest.fetched) == FETCHES


@pytest.mark.parametrize("step", [timedelta(hours=2), -timedelta(hours=2)], ids=str)
def test_a_clock_that_is_set_neither_hurries_nor_stops_the_comparison(step: timedelta) -> None:
    elapsed, ahead = START, timedelta()
    clock = clock_of(lambda: elapsed + ahead, elapsed=lambda: elapsed)
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    asking = Poller(Rest({PARENT: Call(PARENT, "in-progress")}, [PARENT]), world="test", clock=clock)
    ahead = step
    elapsed = START + timedelta(seconds=5)
    assert list(asking.round(board.snapshot())) == []
    elapsed = START + timedelta(seconds=15)
    (event,) = asking.round(board.snapshot())
    assert (event.status, event.received_at) == ("in-progress", START + timedelta(seconds=15) + step)


def test_what_a_clock_showed_before_that_was_ahead_does_not_hold_up_the_comparison() -> None:
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    asking = poller(Rest({PARENT: Call(PARENT, "completed")}), now=START - timedelta(days=1))
    (event,) = asking.round(board.snapshot())
    assert (event.status, event.kind, asking.awaits_callbacks) == ("completed", MISSED, False)


def test_the_end_of_a_call_is_aged_by_the_clock_that_dated_it() -> None:
    board = board_of([callback(PARENT, "ringing", second=0, sequence=0)])
    far = LATER + timedelta(hours=2)
    rest = Rest({PARENT: Call(PARENT, "completed", end_time=far, as_of=far + timedelta(seconds=2))})
    asking = poller(rest)
    assert list(asking.round(board.snapshot())) == []
    assert asking.awaits_callbacks
    rest.calls[PARENT] = Call(PARENT, "completed", end_time=far, as_of=far + timedelta(seconds=6))
    assert [event.kind for event in asking.round(board.snapshot())] == [MISSED]


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_one_odd_answer_keeps_no_other_end_back(odd: int) -> None:
    legs = [f"CA{number:032d}" for number in range(3)]
    board = board_of([callback(sid, "in-progress", second=0, sequence=0) for sid in legs])

    class Odd(Rest):
        def fetch(self, sid: str) -> Call:
            if sid == legs[odd]:
                raise NetworkError("answered, but not with a call")
            return super().fetch(sid)

    ended = []
    with pytest.raises(NetworkError):
        for event in poller(Odd({sid: Call(sid, "completed") for sid in legs})).round(board.snapshot()):
            ended.append(event.call_sid)
    assert sorted(ended) == [sid for sid in legs if sid != legs[odd]]


def test_legs_that_can_not_be_fetched_keep_no_other_end_back_for_more_than_a_round() -> None:
    legs = [f"CA{number:032d}" for number in range(30)]
    odd = set(legs[:25])  # the longest without an event, more than a round fetches
    board = board_of([callback(sid, "in-progress", second=number, sequence=0) for number, sid in enumerate(legs)])

    class Odd(Rest):
        def fetch(self, sid: str) -> Call:
            if sid in odd:
                raise NetworkError("answered, but not with a call")
            return super().fetch(sid)

    rest = Odd({sid: Call(sid, "completed") for sid in legs})
    asking, ended = poller(rest), set()
    for _ in range(20):
        with suppress(NetworkError):
            for event in asking.round(board.snapshot()):
                board.apply(event)
                ended.add(event.call_sid)
    assert ended == set(legs) - odd
    odd.clear()
    for _ in range(2):
        for event in asking.round(board.snapshot()):
            board.apply(event)
    assert board.snapshot().live == 0


@pytest.mark.parametrize("sid", ["CA3", "0", "CA" + "x" * 32, "../Accounts"])
def test_a_row_whose_sid_can_be_none_of_a_call_is_left_out(sid: str) -> None:
    rest = Rest({sid: Call(sid, "ringing"), PARENT: Call(PARENT, "ringing")}, [sid, PARENT])
    (event,) = poller(rest).round(board_of([]).snapshot())
    assert event.call_sid == PARENT
    event = CallEvent.from_call(Call(sid, "ringing"), received_at=START, world="test")  # a store may hold one
    rest = Rest()
    assert list(poller(rest).round(board_of([event]).snapshot())) == []
    assert rest.fetched == []


def test_an_api_in_trouble_is_not_asked_for_each_leg() -> None:
    legs = [f"CA{number:032d}" for number in range(5)]
    board = board_of([callback(sid, "in-progress", second=0, sequence=0) for sid in legs])
    fetched = []

    class Down(Rest):
        def fetch(self, sid: str) -> Call:
            fetched.append(sid)
            raise NetworkError("nothing answers")

    with pytest.raises(NetworkError):
        list(poller(Down()).round(board.snapshot()))
    assert len(fetched) == 2
