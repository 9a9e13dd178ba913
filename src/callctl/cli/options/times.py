"""Durations and times as people write them on a command line."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from callctl.errors import UsageError
from callctl.support.dates import read_duration

__all__ = ["read_duration", "read_end", "read_span", "read_start"]

_BARE = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def read_start(text: str, *, now: datetime, option: str) -> datetime:
    """Return the moment that begins a span: so long ago (``2h``), a date (its first moment), or an ISO time.

    Dates, and times without a zone, are local.

    Raises:
        UsageError: It is none of these.
    """
    return _moment(text, now=now, option=option, day=timedelta())


def read_end(text: str, *, now: datetime, option: str) -> datetime:
    """Return the moment that ends a span; as ``read_start``, but of a date the end, so that the day belongs to it.

    Raises:
        UsageError: It is none of these.
    """
    return _moment(text, now=now, option=option, day=timedelta(days=1))


def read_span(text: str) -> timedelta | None:
    """Return how long ago a text of ``read_start`` or ``read_end`` says; None if it is a date or a time."""
    try:
        return timedelta(seconds=read_duration(text.strip(), option=""))
    except UsageError:
        return None


def _moment(text: str, *, now: datetime, option: str, day: timedelta) -> datetime:
    word = text.strip()
    if _BARE.fullmatch(word):
        raise UsageError(
            f"{option} needs a unit, or is a date: {text}",
            hint=f"write {word}s for so many seconds ago, {word}h for hours, or a date such as 2026-01-05",
        )
    try:
        if _DATE.fullmatch(word):
            # The day's ends are found before the zone is put on them: a day has 23 or 25 hours now and then.
            return (datetime.combine(datetime.fromisoformat(word), time()) + day).astimezone(now.tzinfo)
        if len(word) > len("2026-01-01") and word[:4].isdigit() and word[4] in "-01":
            return datetime.fromisoformat(word).astimezone(now.tzinfo)
        return now - timedelta(seconds=read_duration(word, option=option))
    except (ValueError, OverflowError, UsageError) as error:
        raise UsageError(
            f"{option} is neither a duration nor a time: {text}",
            hint="such as 2h (so long ago), 2026-01-05, 2026-01-05T14:00 (local) or 2026-01-05T14:00Z",
        ) from error
