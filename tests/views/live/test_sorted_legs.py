"""The order of the live table: what is on top, what folds, when it changes, and that it is found step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from events import clock_of, event, moment, sid
from hypothesis import given, settings
from hypothesis import strategies as st

from callctl.calls.board import Board
from callctl.calls.leg import Leg
from callctl.views.live.attention import Failure
from callctl.views.live.filter import TextFilter, text_of
from callctl.views.live.sorted_legs import FAILURES, Arrangement, Listing, Sort, SortedLegs

KEPT = Arrangement(order_is_kept=True)
FREE = Arrangement()


class Legs:
    """A board and its legs, sorted; ``now`` is elapsed time in seconds, ``ahead`` how far the wall clock was set."""

    def __init__(self, **options: Any) -> None:
        self.now, self.ahead = 1000.0, timedelta()
        self.clock = clock_of(lambda: moment(self.now) + self.ahead, elapsed=lambda: moment(self.now))
        self.board = Board()
        self.legs = SortedLegs(self.clock, **options)
        self._number = 0

    def event(self, call: int, status: str, *, ago: float = 0, parent: int | None = None, **more: Any) -> None:
        self._number += 1
        at = (self.clock.wall() - moment(0)).total_seconds() - ago
        self.board.apply(event(call, status, number=self._number, at=at, parent=parent, **more))

    def fail(self, call: int, *, ago: float = 0) -> datetime:
        """Have a request for a leg fail; return when it did."""
        at = self.clock.wall() - timedelta(seconds=ago)
        self.legs.add_failure(sid(call), Failure(at, "hangup refused"))
        return at

    def listing(self, arrangement: Arrangement = FREE) -> Listing:
        return self.legs.update(self.board.snapshot(), arrangement)

    def rows(self, arrangement: Arrangement = FREE) -> list[int | str]:
        return numbers(self.listing(arrangement))


def numbers(listing: Listing) -> list[int | str]:
    """Return the rows, of legs the numbers of their calls."""
    return [row if row == FAILURES else int(row[2:]) for row in listing.rows]


@pytest.fixture
def legs() -> Legs:
    return Legs()


@pytest.fixture
def evening(legs: Legs) -> Legs:
    """Return legs of every kind; those that ended without a failure are 60 and 61."""
    legs.event(10, "ringing", ago=31)
    legs.event(11, "ringing", ago=130)
    legs.event(20, "failed", ago=200)
    legs.event(21, "completed", ago=100, SipResponseCode="503")
    legs.event(30, "in-progress", ago=600)
    legs.event(31, "ringing", ago=12)
    legs.event(32, "queued", ago=90)
    legs.event(40, "in-progress", ago=5)
    legs.event(41, "in-progress", ago=4, parent=40)
    legs.event(60, "busy", ago=70, SipResponseCode="486")
    legs.event(61, "canceled", ago=50, SipResponseCode="487")
    legs.event(62, "failed", ago=301)
    return legs


# Order


def test_what_needs_a_person_comes_first(evening: Legs) -> None:
    ring_too_long, failed, live, ended = [11, 10], [21, 20], [30, 32, 31, 40, 41], [61, 60, 62]
    assert evening.rows() == [*ring_too_long, *failed, *live, *ended]


def test_by_time_in_status_live_legs_come_first_whatever_they_need(evening: Legs) -> None:
    order = [30, 11, 32, 10, 31, 40, 41, 61, 60, 21, 20, 62]
    assert evening.rows(Arrangement(Sort.STATUS_TIME)) == order


def test_by_start_the_newest_comes_first(evening: Legs) -> None:
    order = [40, 41, 31, 10, 61, 60, 32, 21, 11, 20, 62, 30]
    assert evening.rows(Arrangement(Sort.START)) == order


def test_sorts_go_round() -> None:
    assert [sort.next for sort in Sort] == [Sort.STATUS_TIME, Sort.START, Sort.ATTENTION]


def test_counts_mind_neither_filter_nor_folding(evening: Legs) -> None:
    listing = evening.listing(Arrangement(text_filter=TextFilter.read("ringing")))
    assert (numbers(listing), listing.shown, listing.total) == ([11, 10, 31], 3, 12)
    assert listing.counts == {
        "ringing": 3,
        "failed": 2,
        "completed": 1,
        "in-progress": 3,
        "queued": 1,
        "busy": 1,
        "canceled": 1,
    }
    assert {row: failure.words for row, failure in listing.failures.items()} == {sid(20): "failed", sid(21): "SIP 503"}
    assert listing.rings_too_long == {sid(10), sid(11)}


def test_the_most_urgent_leg_decides_where_its_family_stands(legs: Legs) -> None:
    legs.event(1, "in-progress", ago=900)
    legs.event(2, "in-progress", ago=5)
    legs.event(3, "ringing", ago=40, parent=2)
    legs.event(4, "in-progress", ago=800)
    legs.event(5, "in-progress", ago=3)
    legs.event(6, "failed", ago=2, parent=5)
    assert legs.rows() == [2, 3, 5, 6, 1, 4]


def test_a_family_that_is_live_stands_by_its_live_legs(legs: Legs) -> None:
    legs.event(1, "in-progress", ago=20)
    legs.event(2, "completed", ago=500, parent=1)
    legs.event(3, "in-progress", ago=30)
    assert legs.rows() == [3, 1, 2]


def test_a_leg_that_finds_its_parent_joins_it(legs: Legs) -> None:
    legs.event(1, "in-progress", ago=10)
    legs.event(2, "in-progress", ago=20)
    legs.event(3, "in-progress", ago=15)
    at = legs.fail(2)
    assert (legs.rows(), legs.listing().counts) == ([2, 3, 1], {"in-progress": 3})
    legs.event(2, "in-progress", parent=1)
    listing = legs.listing()
    assert (numbers(listing), listing.counts) == ([1, 2, 3], {"in-progress": 3})
    assert listing.failures == {sid(2): Failure(at, "hangup refused")}
    assert not listing.has_news


def test_a_family_that_is_forgotten_leaves_nothing_behind(evening: Legs) -> None:
    evening.listing()
    assert evening.board.forget(before=moment(evening.now - 60), now=moment(evening.now - 60)) == 4
    listing = evening.listing()
    assert numbers(listing) == [11, 10, 30, 32, 31, 40, 41, 61]
    counts = {status: count for status, count in listing.counts.items() if count}
    assert counts == {"ringing": 3, "in-progress": 3, "queued": 1, "canceled": 1}
    assert listing.failures == {}
    evening.event(20, "in-progress")
    assert evening.rows() == [11, 10, 30, 32, 31, 40, 41, 20, 61]


# Time


def test_a_threshold_is_crossed_by_time_alone() -> None:
    legs = Legs(rings_too_long=timedelta(seconds=20))
    legs.event(1, "in-progress", ago=900)
    legs.event(2, "ringing")
    assert legs.rows() == [1, 2]
    legs.now += 19.9
    assert (legs.rows(), set(legs.listing().rings_too_long)) == ([1, 2], set())
    legs.now += 0.1
    listing = legs.listing()
    assert (numbers(listing), set(listing.rings_too_long), listing.has_news) == ([2, 1], {sid(2)}, True)
    assert not legs.listing().has_news
    legs.event(2, "in-progress")
    assert (legs.rows(), set(legs.listing().rings_too_long)) == ([1, 2], set())


@pytest.mark.parametrize("hours", [-4, 4])
def test_a_clock_that_is_set_crosses_no_threshold_and_changes_no_order(legs: Legs, hours: int) -> None:
    legs.event(1, "in-progress", ago=60)
    legs.event(2, "ringing", ago=10)
    legs.event(3, "failed", ago=290)
    assert legs.rows() == [3, 1, 2]
    legs.ahead = timedelta(hours=hours)
    legs.event(4, "in-progress", ago=20)
    longer = Arrangement(text_filter=TextFilter.read(">15s"))
    shorter = Arrangement(text_filter=TextFilter.read("<15s"))
    assert (legs.rows(), legs.rows(longer), legs.rows(shorter)) == ([3, 1, 4, 2], [1, 4], [2])
    assert legs.rows(Arrangement(Sort.STATUS_TIME)) == [1, 4, 2, 3]
    legs.now += 9.9
    assert legs.rows() == [3, 1, 4, 2]
    legs.now += 0.1
    assert legs.rows() == [1, 4, 2, 3]
    legs.now += 10
    assert legs.rows() == [2, 1, 4, 3]


def test_thousands_that_ring_too_long_at_once_are_found_in_several_updates(legs: Legs) -> None:
    for call in range(1, 2201):
        legs.event(call, "ringing")
    legs.listing()
    legs.now += 31
    found = [len(legs.listing().rings_too_long) for _ in range(4)]
    assert found == sorted(found)
    assert 0 < found[0] < 2200
    assert found[-1] == 2200


def test_a_time_that_is_asked_for_is_over_by_time_alone(legs: Legs) -> None:
    legs.event(1, "ringing")
    legs.event(2, "in-progress", ago=20)
    longer = replace(FREE, text_filter=TextFilter.read(">10s"))
    shorter = replace(FREE, text_filter=TextFilter.read("<30s"))
    assert legs.rows(longer) == [2]
    legs.now += 10
    assert legs.rows(longer) == [2, 1]
    assert legs.rows(shorter) == [1]
    legs.now += 20
    assert legs.rows(shorter) == []


def test_a_failure_is_old_after_five_minutes(legs: Legs) -> None:
    legs.event(1, "in-progress")
    legs.event(2, "failed")
    legs.event(3, "in-progress", ago=60)
    legs.now += 10
    legs.fail(1)
    assert (legs.rows(), set(legs.listing().failures)) == ([1, 2, 3], {sid(1), sid(2)})
    legs.now += 290
    assert (legs.rows(), set(legs.listing().failures)) == ([1, 3, 2], {sid(1)})
    legs.now += 10
    assert (legs.rows(), legs.listing().failures) == ([3, 1, 2], {})


def test_a_failed_action_shows_on_a_leg_that_rings_too_long_too(legs: Legs) -> None:
    legs.event(1, "ringing", ago=60)
    legs.event(2, "ringing", ago=90)
    legs.listing()
    at = legs.fail(1)
    listing = legs.listing()
    assert (numbers(listing), listing.failures) == ([2, 1], {sid(1): Failure(at, "hangup refused")})
    assert listing.has_news
    legs.now += 300
    assert legs.listing().failures == {}


def test_what_failed_before_its_leg_was_known_counts(legs: Legs) -> None:
    at = legs.fail(1)
    legs.event(1, "in-progress")
    assert legs.listing().failures == {sid(1): Failure(at, "hangup refused")}


def test_news_is_told_once(legs: Legs) -> None:
    legs.event(1, "failed")
    assert [legs.listing().has_news for _ in range(2)] == [True, False]
    legs.fail(1)
    assert not legs.listing().has_news


# Failures that fold


def failures(legs: Legs, count: int) -> None:
    for number in range(count):
        legs.event(20 + number, "failed", ago=count - number)


def test_three_failures_have_rows_of_their_own(legs: Legs) -> None:
    failures(legs, 3)
    assert (legs.rows(), legs.listing().folded) == ([22, 21, 20], [])


def test_more_fold_into_a_row_that_opens(legs: Legs) -> None:
    legs.event(1, "ringing", ago=40)
    legs.event(2, "in-progress")
    legs.event(3, "completed", ago=4, parent=23)
    failures(legs, 4)
    listing = legs.listing()
    assert (numbers(listing), listing.shown, listing.total) == ([1, FAILURES, 2], 7, 7)
    assert [int(row[2:]) for row in listing.folded] == [23, 3, 22, 21, 20]
    opened = legs.listing(replace(FREE, failures_open=True))
    assert (numbers(opened), opened.shown, opened.folded) == ([1, FAILURES, 23, 3, 22, 21, 20, 2], 7, [])


def test_what_is_live_does_not_fold(legs: Legs) -> None:
    failures(legs, 3)
    legs.event(1, "in-progress")
    legs.fail(1)
    assert legs.rows() == [1, 22, 21, 20]
    failures(legs, 4)
    assert legs.rows() == [1, FAILURES]


@pytest.mark.parametrize("sort", [Sort.START, Sort.STATUS_TIME])
def test_only_by_attention_failures_fold(legs: Legs, sort: Sort) -> None:
    failures(legs, 5)
    assert legs.rows(Arrangement(sort)) == [24, 23, 22, 21, 20]
    assert legs.rows() == [FAILURES]


def test_a_filter_shows_failures_in_rows_of_their_own(legs: Legs) -> None:
    failures(legs, 5)
    assert legs.rows(Arrangement(text_filter=TextFilter.read("failed"))) == [24, 23, 22, 21, 20]
    assert legs.rows(Arrangement(text_filter=TextFilter.read("0022"))) == [22]


def test_what_is_dismissed_needs_nobody(legs: Legs) -> None:
    legs.event(1, "in-progress")
    failures(legs, 4)
    at = legs.listing().failures[sid(21)].at
    arrangement = Arrangement(dismissed=frozenset({(sid(21), at)}))
    assert (legs.rows(arrangement), legs.listing(arrangement).has_news) == ([23, 22, 20, 1, 21], False)
    again = legs.fail(21)
    assert legs.listing(arrangement).failures[sid(21)] == Failure(again, "hangup refused")
    assert legs.rows(arrangement) == [FAILURES, 1]


# While the order is kept


def test_no_family_changes_its_place_while_the_order_is_kept(legs: Legs) -> None:
    legs.event(1, "in-progress", ago=50)
    legs.event(2, "in-progress", ago=40)
    legs.event(3, "ringing", ago=25)
    assert legs.rows() == [1, 2, 3]
    legs.event(1, "completed")
    legs.event(2, "failed")
    legs.event(4, "ringing", ago=60)
    legs.event(5, "ringing", ago=70)
    legs.now += 10
    listing = legs.listing(KEPT)
    assert (numbers(listing), set(listing.rings_too_long)) == ([1, 2, 3, 5, 4], {sid(3), sid(4), sid(5)})
    legs.event(6, "ringing", ago=90)
    legs.event(7, "in-progress", parent=1)
    assert legs.rows(KEPT) == [1, 7, 2, 3, 5, 4, 6]
    assert legs.rows() == [6, 5, 4, 3, 2, 1, 7]


def test_what_is_forgotten_goes_while_the_order_is_kept(legs: Legs) -> None:
    legs.event(1, "completed", ago=50)
    legs.event(2, "in-progress")
    legs.listing()
    legs.event(3, "completed", ago=40)
    assert legs.rows(KEPT) == [2, 1, 3]
    legs.board.forget(before=moment(legs.now - 10), now=moment(legs.now - 10))
    assert legs.rows(KEPT) == [2]
    assert legs.rows() == [2]


def test_no_row_folds_or_opens_while_the_order_is_kept(legs: Legs) -> None:
    failures(legs, 3)
    legs.event(1, "in-progress", ago=60)
    legs.fail(1)
    assert legs.rows() == [1, 22, 21, 20]
    legs.event(1, "completed")
    assert legs.rows(KEPT) == [1, 22, 21, 20]
    assert legs.rows() == [FAILURES]
    legs.now += 297.5
    assert (legs.rows(KEPT), len(legs.listing(KEPT).failures)) == ([FAILURES], 3)
    assert legs.rows() == [1, 22, 21, 20]


def test_another_sort_and_a_dismissal_show_at_once(legs: Legs) -> None:
    legs.event(1, "in-progress", ago=60)
    legs.event(2, "failed", ago=50)
    assert legs.rows() == [2, 1]
    kept = replace(KEPT, dismissed=frozenset({(sid(2), legs.listing().failures[sid(2)].at)}))
    assert legs.rows(kept) == [1, 2]
    assert legs.rows(replace(kept, sort=Sort.START)) == [2, 1]


# What holds of any events


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Return what happens to a board, and how its legs are arranged in between."""
    call = st.integers(1, 8)
    status = st.sampled_from(
        ["initiated", "ringing", "ringing", "in-progress", "completed", "failed", "failed", "busy", "odd"]
    )
    parent = st.one_of(st.none(), call)
    code = st.sampled_from([None, "503", "603", "487"])
    one = st.one_of(
        st.tuples(st.just("event"), st.tuples(call, status, st.integers(0, 60), parent, code)),
        st.tuples(st.just("event"), st.tuples(call, status, st.integers(0, 60), parent, code)),
        st.tuples(st.just("wait"), st.floats(0, 200, allow_nan=False)),
        st.tuples(st.just("set"), st.sampled_from([-4, 4])),
        st.tuples(st.just("fail"), st.tuples(call, st.integers(0, 400))),
        st.tuples(st.just("forget"), st.integers(0, 400)),
        st.tuples(st.just("show"), ARRANGEMENTS),
        st.tuples(st.just("dismiss"), call),
    )
    return draw(st.lists(one, max_size=30))


FILTERS = st.sampled_from(["", "", "ringing", "live", ">30s", "<1m live", "0003", "failed 0", ">2", "nothing"])
ARRANGEMENTS = st.builds(
    Arrangement,
    sort=st.sampled_from(Sort),
    text_filter=FILTERS.map(TextFilter.read),
    failures_open=st.booleans(),
    order_is_kept=st.booleans(),
)


class Story(Legs):
    """Legs to which steps happen; knows which requests failed and what was dismissed."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: dict[str, Failure] = {}
        self.dismissed: frozenset[tuple[str, datetime]] = frozenset()

    def happen(self, kind: str, what: Any) -> None:
        match kind:
            case "event":
                call, status, ago, parent, code = what
                more = {} if code is None else {"SipResponseCode": code}
                self.event(call, status, ago=ago, parent=None if parent == call else parent, **more)
            case "wait":
                self.now += what
            case "set":
                self.ahead += timedelta(hours=what)
                self.clock.wall()
            case "fail":
                call, ago = what
                if self.board.snapshot().leg(sid(call)) is not None:
                    at = self.fail(call, ago=ago)
                    self.failed[sid(call)] = Failure(at, "hangup refused")
            case "forget":
                self.show(FREE)
                self.board.forget(before=self.clock.wall() - timedelta(seconds=what), now=self.clock.wall())
                self.show(FREE)
                snapshot = self.board.snapshot()
                self.failed = {leg: failure for leg, failure in self.failed.items() if snapshot.leg(leg)}
            case "show":
                self.show(what)
            case "dismiss":
                failure = self.show(FREE).failures.get(sid(what))
                if failure is not None:
                    self.dismissed |= {(sid(what), failure.at)}

    def show(self, arrangement: Arrangement) -> Listing:
        return self.listing(replace(arrangement, dismissed=self.dismissed))

    def anew(self, arrangement: Arrangement) -> Listing:
        """Return the listing that legs which were never sorted before give."""
        legs = SortedLegs(self.clock)
        for leg, failure in self.failed.items():
            legs.add_failure(leg, failure)
        return legs.update(self.board.snapshot(), replace(arrangement, dismissed=self.dismissed))


def comparable(listing: Listing) -> Listing:
    """Return a listing without what depends on the listings before it."""
    counts = {status: count for status, count in listing.counts.items() if count}
    return replace(listing, counts=counts, has_news=False)


@settings(max_examples=150)
@given(steps(), ARRANGEMENTS)
def test_step_by_step_it_is_sorted_as_anew(happened: list[tuple[str, Any]], last: Arrangement) -> None:
    story, last = Story(), replace(last, order_is_kept=False)
    for kind, what in happened:
        story.happen(kind, what)
    assert comparable(story.show(last)) == comparable(story.anew(last))


@settings(max_examples=100)
@given(steps(), ARRANGEMENTS)
def test_every_leg_that_matches_has_one_row_or_is_folded(happened: list[tuple[str, Any]], last: Arrangement) -> None:
    story = Story()
    for kind, what in happened:
        story.happen(kind, what)
    listing, chosen, now = story.show(last), last.text_filter, story.clock.now()

    def matches(leg: Leg) -> bool:
        since = story.clock.steady(leg.status_since)
        return chosen.matches(leg, text_of(leg)) and chosen.matches_time(since, now=now)

    legs = [*listing.legs(), *listing.folded]
    snapshot = story.board.snapshot()
    assert sorted(legs) == sorted(leg.call_sid for leg in snapshot.legs.values() if matches(leg))
    assert listing.shown == len(legs)
    assert bool(listing.folded) <= (FAILURES in listing.rows)
    assert list(listing.rows).count(FAILURES) <= 1


@settings(max_examples=100)
@given(steps(), steps())
def test_rows_stand_still_while_the_order_is_kept(
    before: list[tuple[str, Any]], meanwhile: list[tuple[str, Any]]
) -> None:
    story = Story()
    for kind, what in before:
        if kind != "set":  # children stand by when they appeared, which a clock that is set may change
            story.happen(kind, what)
    story.show(FREE)
    rows = story.show(KEPT).rows
    for kind, what in meanwhile:
        if kind == "event":
            call, status, _, _, code = what
            story.happen(kind, (call, status, 0, None, code))
        elif kind in ("wait", "fail"):
            story.happen(kind, what)
        now = story.show(KEPT).rows
        assert [row for row in now if row in rows] == list(rows)
        rows = now


@given(st.lists(st.tuples(st.sampled_from(["ringing", "failed", "in-progress"]), st.integers(0, 400)), max_size=12))
def test_the_order_does_not_depend_on_that_of_arrival(calls: list[tuple[str, int]]) -> None:
    one, other = Legs(), Legs()
    for legs, order in ((one, 1), (other, -1)):
        for number, (status, ago) in list(enumerate(calls, 1))[::order]:
            legs.event(number, status, ago=ago)
            legs.listing()
    assert one.rows() == other.rows()
