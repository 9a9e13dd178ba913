"""How times are written, by Twilio and by others."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callctl.errors import UsageError
from callctl.support.dates import (
    format_date,
    from_microseconds,
    local_time,
    nearest_time,
    parse_date,
    parse_timestamp,
    read_duration,
    read_end,
    read_start,
    seconds_text,
    time_of_day,
)

MOMENT = datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SECONDS = st.datetimes(min_value=datetime(2000, 1, 2), max_value=datetime(2100, 1, 1)).map(
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
        "Mon, 31 Feb 2026 10:00:00 +0000",
        "Mon, 05 Xyz 2026 10:00:00 +0000",
        "Mon, 05 Jan 2026 24:00:00 +0000",
        "Mon, 05 Jan 2026 10:60:00 +0000",
        "0" * 40,
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.9999999Z",
        "Mon, 01 Jan 0001 00:00:00 +0000",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +1400",
        "Thu, 01 Jan 1970 00:00:00 +0000",
        "1970-01-01T00:00:00Z",
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


@pytest.mark.parametrize("year", [2000, 2999])
def test_the_first_and_the_last_year_of_a_date(year: int) -> None:
    assert parse_date(f"{year}-06-01T10:00:00Z") == datetime(year, 6, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["99999999999", "9" * 14, "9" * 5000, "1969-12-31T23:59:59Z", "\u0663" * 10, "", None])
def test_what_is_no_timestamp(text: str | None) -> None:
    assert parse_timestamp(text) is None


@pytest.mark.parametrize("text", ["1767607200", "1767607200000", "2026-01-05 10:00:00 UTC"])
def test_timestamps_in_seconds_and_milliseconds(text: str) -> None:
    assert parse_timestamp(text) == MOMENT


@pytest.mark.parametrize("value", [10**18, -(10**18), -1, 2**63 - 1, "soon", None, b"x"])
def test_what_is_no_time_in_a_store_is_near_one_or_refused(value: Any) -> None:
    moment = nearest_time(value)
    for step in (timedelta(days=1), -timedelta(days=1)):
        assert (moment + step).astimezone(timezone(timedelta(hours=14))) == moment + step
    with pytest.raises(ValueError, match="no time"):
        from_microseconds(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("0s", 0),
        ("1.5s", 1.5),
        ("500ms", 0.5),
        ("45s", 45),
        ("5m", 300),
        ("5min", 300),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86400),
        ("1w", 604800),
        (" 2H ", 7200),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text, option="--x") == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "2", "1.5", "1h30", "h", "-5s", "5 apples", "1h-30m", "nan", "inf", "1e9", "999999999h"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match=r"--x (is|needs)"):
        read_duration(text, option="--x")


@pytest.mark.parametrize("read", [read_start, read_end])
def test_a_bare_number_is_refused_with_what_to_write(read: Callable[..., datetime]) -> None:
    with pytest.raises(UsageError, match="--since needs a unit, or is a date: 2") as refused:
        read("2", now=NOW, option="--since")
    assert "2s" in str(refused.value.hint)
    assert "2h" in str(refused.value.hint)


def test_times_and_so_long_ago() -> None:
    assert read_start("2h", now=NOW, option="--since") == NOW - timedelta(hours=2)
    assert read_start("2026-01-05T14:00Z", now=NOW, option="--since") == datetime(2026, 1, 5, 14, tzinfo=UTC)
    assert read_start("2026-01-05 14:00+02:00", now=NOW, option="--since") == datetime(2026, 1, 5, 12, tzinfo=UTC)
    assert read_start("20260105T140000Z", now=NOW, option="--since") == datetime(2026, 1, 5, 14, tzinfo=UTC)


def test_a_date_is_local_and_its_day_belongs_to_the_span() -> None:
    midnight = datetime(2026, 1, 5).astimezone()
    assert read_start("2026-01-05", now=NOW, option="--since") == midnight
    assert read_end("2026-01-05", now=NOW, option="--until") == datetime(2026, 1, 6).astimezone()
    assert read_end("2026-01-05T10:00", now=NOW, option="--until") == datetime(2026, 1, 5, 10).astimezone()


@pytest.mark.parametrize("text", ["2026-02-30", "2026-01-05T25:00", "9999-12-31T23:59-14:00", "yesterday", ""])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="--until is neither a duration nor a time"):
        read_end(text, now=NOW, option="--until")


@given(st.integers(0, 10_000), st.sampled_from(["ms", "s", "m", "min", "h", "d", "w"]))
def test_any_number_with_a_unit_is_a_duration_and_none_without(number: int, unit: str) -> None:
    seconds = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}[unit]
    if number * seconds <= 100 * 365 * 86400:
        assert read_duration(f"{number}{unit}", option="--x") == pytest.approx(number * seconds)
    with pytest.raises(UsageError, match="needs a unit"):
        read_duration(str(number), option="--x")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (0.1 + 0.2, "0.3"),
        (6.64, "6.64"),
        (0.0089217999, "0.009"),
        (2592061.3, "2592061.3"),
        (3e8, "300000000"),
    ],
)
def test_seconds_are_written_in_full(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_start, read_end):
        try:
            moment = read(text, now=NOW, option="--since")
        except UsageError:
            continue
        assert moment.tzinfo is not None
