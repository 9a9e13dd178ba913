"""When a request is sent again, and how long to wait before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from callctl.support.backoff import Backoff
from callctl.support.dates import parse_date

TRIES = 5
WAITS = Backoff(first=0.1, factor=2, longest=30.0, jitter=0.1)  # docs/twilio.md, "Back-off"


class Repeats(Enum):
    """What may be sent again after a failure."""

    NEVER_PROCESSED = "what the server never processed"
    """Creating and redirecting: sent twice they call twice, or start the survey twice."""
    ALWAYS = "anything"
    """Asking and hanging up: sent twice they do what they did once."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause before a request is sent again: ``seconds``, why, and how many of ``tries`` are over."""

    seconds: float
    reason: str
    attempt: int
    tries: int = TRIES


def with_retry_after(pause: float, headers: Mapping[str, str] | None) -> float:
    """Return a pause in seconds, or what a reply's Retry-After asks for if that is longer; 30 s at most."""
    retry_after = _retry_after(headers) if headers is not None else None
    return min(max(pause, retry_after or 0.0), WAITS.longest)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After: seconds, or a date, which is set against the reply's own Date (RFC 9110, 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    until, now = parse_date(text), date_of(headers)
    return (until - now).total_seconds() if until and now else None


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Return what a reply's headers say that the time is, in whole seconds (RFC 9110, 6.6.1); None if they don't."""
    return parse_date(headers.get("Date", ""))
