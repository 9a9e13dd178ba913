"""Which calls a filter means, and the filter in words, as the header of ``watch`` has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import repeat

from legs import CALLER

from callctl.calls.call import Call
from callctl.calls.filter import CallFilter

SID = "CA" + "1" * 32
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_in_words() -> None:
    assert CallFilter().in_words == ""
    assert CallFilter(to="client:ann", from_=CALLER, statuses=("busy", "failed")).in_words == (
        f"to client:ann, from {CALLER}, busy/failed"
    )


def test_all_that_is_given_must_match() -> None:
    one = Call(SID, "ringing", to="+12025550100", from_="+15005550006", parent_call_sid="CA2", start_time=START)
    assert CallFilter().matches(one)
    matching = CallFilter(to="+12025550100", from_="+15005550006", parent="CA2", statuses=("busy", "ringing"))
    assert matching.matches(one)
    for other in (
        CallFilter(to="+12025550101"),
        CallFilter(from_="+12025550100"),
        CallFilter(parent="CA3"),
        CallFilter(statuses=("busy",)),
        CallFilter(until=START),
        CallFilter(since=START + SECOND),
    ):
        assert not other.matches(one)
    assert CallFilter(since=START).matches(one)
    assert CallFilter(until=START + SECOND).matches(one)


def test_a_call_that_has_not_started_counts_by_its_creation() -> None:
    queued = Call(SID, "queued", date_created=START)
    assert CallFilter(since=START - SECOND).matches(queued)
    assert not CallFilter(since=START + SECOND).matches(queued)


def test_where_calls_are_ended_neither_clock_makes_one_old() -> None:
    minute = timedelta(minutes=1)
    began = CallFilter(older_than=5 * minute, now=START + 9 * minute)
    lasting = CallFilter(longer_than=5 * minute, now=START + 9 * minute, status_since=lambda call: call.date_created)
    for clock, date, is_old in ((9, 9, True), (1, 9, False), (9, 1, False), (9, None, True), (1, None, False)):
        at = START + clock * minute
        one = Call(SID, "ringing", date_created=START, as_of=None if date is None else START + date * minute)
        assert replace(began, clock=repeat(at).__next__).matches(one) is is_old
        assert replace(lasting, clock=repeat(at).__next__).matches(one) is is_old


def test_a_call_without_any_date_is_shown_and_not_ended() -> None:
    for span in (CallFilter(since=START), CallFilter(until=START)):
        assert span.matches(Call(SID, "queued"))
        assert not replace(span, matches_undated=False).matches(Call(SID, "queued"))
    assert replace(CallFilter(), matches_undated=False).matches(Call(SID, "queued"))


def test_a_span_that_is_counted_back_is_counted_by_the_clock_by_which_fewer_calls_match() -> None:
    hour = timedelta(hours=1)
    one = Call(SID, "ringing", start_time=START, as_of=START + hour)
    for since, ago, fits in ((START, hour, True), (START + SECOND, hour, False), (START, hour - SECOND, False)):
        assert CallFilter(since=since, since_ago=ago).matches(one) is fits
    after, ago_of_after = START + SECOND, hour - SECOND
    for until, ago, fits in ((after, ago_of_after, True), (START, ago_of_after, False), (after, hour, False)):
        assert CallFilter(until=until, until_ago=ago).matches(one) is fits


def test_a_sip_address_matches_with_and_without_its_scheme() -> None:
    assert CallFilter(to="sip:agent@example.com").matches(Call(SID, "ringing", to="agent@example.com"))
    assert not CallFilter(to="sip:agent@example.com").matches(Call(SID, "ringing", to="client:agent@example.com"))
