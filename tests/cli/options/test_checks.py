"""Durations and times as people write them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callctl.errors import UsageError
from callctl.support.dates import read_duration, read_end, read_start

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


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


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_start, read_end):
        try:
            moment = read(text, now=NOW, option="--since")
        except UsageError:
            continue
        assert moment.tzinfo is not None
