"""How times and durations are written: by Twilio and services like it, by people, in JSON and in the store."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

from callctl.errors import UsageError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Twilio's own form. A list holds four to a call, and the general parser takes seven times as long.
_TWILIO_DATE = re.compile(
    r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) ((?:[01]\d|2[0-3]):\d\d:\d\d) \+0000", re.ASCII
)
_YEARS = (1970, 3000)  # of what is stored
_FIRST_YEAR = 2000  # of calls: no service is older
# A year of which the email package would make one of this century.
_YEAR_OF_ZERO = re.compile(r"(?<![\d+-])0\d{3}(?!\d)", re.ASCII)
_LATEST = (datetime(_YEARS[1], 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) - 1
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: f"{number:02}" for number, name in enumerate(_MONTH_NAMES, 1)}


def parse_date(text: object) -> datetime | None:
    """Read a date as Twilio or a compatible service writes it; None for what is not one.

    RFC 2822 (``Fri, 18 Oct 2019 17:00:00 +0000``, OAS), ISO 8601, and RFC 2822 with the name of a zone instead of
    an offset (``Etc/UTC``), which is taken as UTC.
    """
    return _read_date(text) if isinstance(text, str) else None


# A call's dates come in pairs (created and started, ended and updated), and a list has twenty thousand of them.
@lru_cache(maxsize=64)
def _read_date(text: str) -> datetime | None:
    text = text.strip()
    if not text:
        return None
    for read in (_parse_twilio, _parse_iso, _parse_rfc2822):
        try:
            moment = read(text)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            return _plausible(moment.astimezone(UTC))
        except Exception:  # noqa: S112 - the library's parser raises a dozen kinds for what is no date
            continue
    return None


def _plausible(moment: datetime) -> datetime | None:
    """Return a time that can be one of a call's, else None.

    The years 1 and 9999 stand for no date where .NET writes them, and have no equal in other zones, and no neighbours.
    So does 1970 where a service keeps seconds since then.
    """
    return moment if _FIRST_YEAR <= moment.year < _YEARS[1] else None


def _parse_twilio(text: str) -> datetime:
    match = _TWILIO_DATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    day, month, year, hours = match.groups()
    return datetime.fromisoformat(f"{year}-{_MONTHS[month]}-{day} {hours}+00:00")


def _parse_iso(text: str) -> datetime:
    if not text[:4].isdigit() or len(text) < len("2026-01-01"):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _parse_rfc2822(text: str) -> datetime:
    from email.utils import parsedate_to_datetime

    if _YEAR_OF_ZERO.search(text):
        raise ValueError(text)
    return parsedate_to_datetime(text)


def parse_timestamp(text: str | None) -> datetime | None:
    """Read a Timestamp: Twilio's form, and the three other ones in the samples."""
    if not text:
        return None
    value = text.strip().removesuffix(" UTC")
    if value.isascii() and value.isdecimal() and len(value) <= 13:
        seconds = int(value) / (1000 if len(value) > 11 else 1)
        return _plausible(_EPOCH + timedelta(seconds=seconds))
    return parse_date(value)


# For the same reason as _read_date; a page's calls are written in the order in which they were read.
@lru_cache(maxsize=64)
def format_date(moment: datetime | None) -> str | None:
    """Write a time as callctl's JSON has it: RFC 3339, UTC, with ``Z``; sub-seconds only where there are some."""
    if moment is None:
        return None
    return (moment if moment.tzinfo is UTC else moment.astimezone(UTC)).isoformat().removesuffix("+00:00") + "Z"


def parse_written_date(text: object) -> datetime | None:
    """Read what :func:`format_date` wrote, by whatever clock; None for what is not one."""
    try:
        moment = datetime.fromisoformat(str(text))
        return None if moment.tzinfo is None else from_microseconds(microseconds(moment))
    except (ValueError, OverflowError):
        return None


def local_time(moment: datetime | None) -> str:
    """Write a time in the local zone, with its offset: ``2026-11-24 10:41:02+01``; nothing for None."""
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d} {time_of_day(moment)}"


def time_of_day(moment: datetime) -> str:
    """Write the local time of day with its zone, as short as ISO 8601 has it: ``10:41:02+01``, ``09:41:02Z``."""
    local = moment.astimezone()
    offset = f"{local:%z}"
    zone = "Z" if not local.utcoffset() else offset[:3] if offset[3:] == "00" else f"{offset[:3]}:{offset[3:5]}"
    return f"{local:%H:%M:%S}{zone}"


def microseconds(moment: datetime) -> int:
    """Return a time as whole microseconds since 1970, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_microseconds(value: int) -> datetime:
    """Return the time, in UTC, that :func:`microseconds` wrote.

    Raises:
        ValueError: It can be no time of a call's.
    """
    moment = nearest_time(value)
    if microseconds(moment) != value:
        raise ValueError(f"no time: {value!r}")
    return moment


def nearest_time(value: object) -> datetime:
    """Return the time, in UTC, that :func:`microseconds` wrote; for a value out of range, the nearest in it.

    The earliest, if it is no number. Every time that this returns can be converted to any zone and added to.
    """
    number = value if isinstance(value, int) else 0
    return _EPOCH + timedelta(microseconds=min(max(number, 0), _LATEST))


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION_PART = r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w)"
_DURATION = rf"(?:{_DURATION_PART})+"
_UNITLESS = r"[0-9]+(?:\.[0-9]+)?"
_DAY = r"\d{4}-\d{2}-\d{2}"
_CENTURY = 100 * 365 * 86400.0  # seconds; what is longer leaves the calendar


def read_duration(text: str, *, option: str) -> float:
    """Return a duration in seconds: ``500ms``, ``45s``, ``1h30m``, ``2d``. The unit is never left out.

    Raises:
        UsageError: It is no duration, has no unit, or is longer than a century.
    """
    word = text.strip().lower()
    if re.fullmatch(_UNITLESS, word):
        raise UsageError(
            f"{option} needs a unit: {text}", hint=f"write {word}s for seconds, {word}m for minutes, {word}h for hours"
        )
    if not re.fullmatch(_DURATION, word):
        raise UsageError(f"{option} is no duration: {text}", hint="such as 500ms, 45s, 10m, 1h30m or 2d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_DURATION_PART, word))
    if seconds > _CENTURY:
        raise UsageError(f"{option} is too long: {text}", hint="a century at most")
    return seconds


def seconds_text(seconds: float) -> str:
    """Write seconds to the millisecond, without an exponent and without zeros behind."""
    return f"{round(seconds, 3):.12g}"


def read_start(text: str, *, now: datetime, option: str) -> datetime:
    """Return the moment that begins a span: so long ago (``2h``), a date (its first moment), or an ISO time.

    Dates, and times without a zone, are local.

    Raises:
        UsageError: It is none of these.
    """
    return _read_moment(text, now=now, option=option, day=timedelta())


def read_end(text: str, *, now: datetime, option: str) -> datetime:
    """Return the moment that ends a span; as ``read_start``, but of a date the end, so that the day belongs to it.

    Raises:
        UsageError: It is none of these.
    """
    return _read_moment(text, now=now, option=option, day=timedelta(days=1))


def read_span(text: str) -> timedelta | None:
    """Return how long ago a text of ``read_start`` or ``read_end`` says; None if it is a date or a time."""
    try:
        return timedelta(seconds=read_duration(text.strip(), option=""))
    except UsageError:
        return None


def _read_moment(text: str, *, now: datetime, option: str, day: timedelta) -> datetime:
    word = text.strip()
    if re.fullmatch(_UNITLESS, word):
        raise UsageError(
            f"{option} needs a unit, or is a date: {text}",
            hint=f"write {word}s for so many seconds ago, {word}h for hours, or a date such as 2026-01-05",
        )
    try:
        if re.fullmatch(_DAY, word):
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
