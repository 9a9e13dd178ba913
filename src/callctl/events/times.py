"""Times as events carry them: Timestamps in all forms that were seen, and microseconds since 1970 for the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from callctl.calls import parse_date, plausible

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Return a time as whole microseconds since 1970, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_microseconds(value: int) -> datetime:
    """Return the time, in UTC, that :func:`microseconds` wrote."""
    return _EPOCH + timedelta(microseconds=value)


def read_timestamp(text: str | None) -> datetime | None:
    """Read a Timestamp: Twilio's form, and the three other ones in the samples."""
    if not text:
        return None
    value = text.strip().removesuffix(" UTC")
    if value.isascii() and value.isdecimal() and len(value) <= 13:
        seconds = int(value) / (1000 if len(value) > 11 else 1)
        return plausible(_EPOCH + timedelta(seconds=seconds))
    return parse_date(value)
