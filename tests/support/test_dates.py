"""How times and numbers are written, by Twilio and by others."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callctl.support.dates import (
    format_date,
    from_microseconds,
    local_time,
    nearest_time,
    parse_date,
    parse_int,
    parse_price,
    parse_timestamp,
    read_json,
    time_of_day,
)

MOMENT = datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)
SECONDS = st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 05 Jan 2026 10:00:00 +0000",
        "Mon, 05 Jan 2026 15:00:00 +0500",
        "Mon, 05 Jan 2026 10:00:00 GMT",
        "Mon, 05 Jan 2026 10:00:00 Etc/UTC",
        "Mon, 05 Jan 2026 10:00:00 -0000",
        " Mon, 05 Jan 2026 10:00:00 +0000 ",
        "2026-01-05T10:00:00Z",
        "2026-01-05T10:00:00+00:00",
        "2026-01-05T05:00:00-05:00",
        "2026-01-05T10:00:00",
        "2026-01-05 10:00:00",
    ],
)
def test_dates_as_they_are_written(text: str) -> None:
    assert parse_date(text) == MOMENT


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "  ",
        5,
        True,
        [],
        "yesterday",
        "2026",
        "Mon, 45 Jan 2026 10:00:00 +0000",
        "0" * 40,
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.9999999Z",
        "Mon, 01 Jan 0001 00:00:00 +0000",
        "1969-12-31T23:59:59Z",
    ],
)
def test_what_is_no_date(value: object) -> None:
    assert parse_date(value) is None


@given(SECONDS, st.integers(-23, 23))
def test_dates_survive_both_ways_of_writing_them(moment: datetime, hours: int) -> None:
    there = moment.astimezone(timezone(timedelta(hours=hours)))
    assert parse_date(format_datetime(there)) == moment
    assert parse_date(there.isoformat()) == moment
    written = format_date(there)
    assert written is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", written)
    assert parse_date(written) == moment


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_date_in_utc_or_none(text: str) -> None:
    moment = parse_date(text)
    assert moment is None or moment.utcoffset() == timedelta(0)


def test_absent_dates_stay_absent_and_fractions_are_kept() -> None:
    assert format_date(None) is None
    assert format_date(MOMENT.replace(microsecond=250_000)) == "2026-01-05T10:00:00.250000Z"


@pytest.mark.parametrize(("value", "number"), [("49", 49), (49, 49), ("0", 0), (" 7 ", 7), ("-1", -1)])
def test_numbers_as_text_and_as_numbers(value: object, number: int) -> None:
    assert parse_int(value) == number


@pytest.mark.parametrize("value", [None, "", "x", "4.5", 4.5, True, [], {}])
def test_what_is_no_whole_number(value: object) -> None:
    assert parse_int(value) is None


@pytest.mark.parametrize(("value", "price"), [("-0.03000", "-0.03000"), (-0.004, "-0.004"), ("0", "0"), (0, "0")])
def test_prices(value: object, price: str) -> None:
    assert parse_price(value) == Decimal(price)


@pytest.mark.parametrize("value", [None, "", "free", "NaN", "Infinity", float("inf"), True, []])
def test_what_is_no_price(value: object) -> None:
    assert parse_price(value) is None


@pytest.mark.parametrize(
    ("zone", "moment", "expected"),
    [
        ("UTC", datetime(2026, 1, 5, 10, tzinfo=UTC), "2026-01-05 10:00:00Z"),
        ("CET-1CEST,M3.5.0,M10.5.0", datetime(2026, 1, 5, 10, tzinfo=UTC), "2026-01-05 11:00:00+01"),
        ("CET-1CEST,M3.5.0,M10.5.0", datetime(2026, 7, 5, 23, tzinfo=UTC), "2026-07-06 01:00:00+02"),
        ("EST5", datetime(2026, 1, 5, 2, tzinfo=UTC), "2026-01-04 21:00:00-05"),
        ("IST-5:30", datetime(2026, 1, 5, 10, tzinfo=UTC), "2026-01-05 15:30:00+05:30"),
    ],
)
def test_a_local_time_carries_its_zone_and_is_read_back(
    monkeypatch: pytest.MonkeyPatch, zone: str, moment: datetime, expected: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert (local_time(moment), time_of_day(moment)) == (expected, expected.partition(" ")[2])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert datetime.fromisoformat(expected) == moment
    assert local_time(None) == ""


@pytest.mark.parametrize("value", ["9" * 16, "-" + "9" * 400, 10**15, -(10**15), True, None, 1.5, "1.5", "1e3"])
def test_what_is_no_whole_number_that_can_be_kept_is_none(value: object) -> None:
    assert parse_int(value) is None


def test_json_with_what_python_can_not_hold_is_read_all_the_same() -> None:
    assert read_json('{"x": NaN, "y": [Infinity, -Infinity]}') == {"x": None, "y": [None, None]}
    digits = "9" * 5000
    assert read_json(f'{{"sid": "CA", "x": {digits}, "y": [NaN]}}') == {"sid": "CA", "x": digits, "y": [None]}
    assert read_json('{"x": "\\ud800", "\\uDfff": ["\\ud83d\\ude00"]}') == {"x": "\ufffd", "\ufffd": ["\U0001f600"]}


@pytest.mark.parametrize("year", [1970, 2999])
def test_the_first_and_the_last_year_of_a_date(year: int) -> None:
    assert parse_date(f"{year}-06-01T10:00:00Z") == datetime(year, 6, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["99999999999", "9" * 14, "9" * 5000, "1969-12-31T23:59:59Z", "\u0663" * 10, "", None])
def test_what_is_no_timestamp(text: str | None) -> None:
    assert parse_timestamp(text) is None


@pytest.mark.parametrize("text", ["1767607200", "1767607200000", "2026-01-05 10:00:00 UTC"])
def test_timestamps_in_seconds_and_milliseconds(text: str) -> None:
    assert parse_timestamp(text) == MOMENT


def test_what_is_no_number_in_json_is_none() -> None:
    assert read_json('[NaN, Infinity, -Infinity, {"a": NaN}, 1.5]') == [None, None, None, {"a": None}, 1.5]


@pytest.mark.parametrize("value", [10**18, -(10**18), -1, 2**63 - 1, "soon", None, b"x"])
def test_what_is_no_time_in_a_store_is_near_one_or_refused(value: Any) -> None:
    moment = nearest_time(value)
    for step in (timedelta(days=1), -timedelta(days=1)):
        assert (moment + step).astimezone(timezone(timedelta(hours=14))) == moment + step
    with pytest.raises(ValueError, match="no time"):
        from_microseconds(value)
