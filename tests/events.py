"""Callbacks for tests: their forms, the events of them, and the published samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from paths import DATA

from callctl.calls.event import CallEvent
from callctl.support.clock import Clock

ACCOUNT = "AC" + "0" * 32
WORLD = "0123456789abcdef"
START = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)


def sid(number: int | str) -> str:
    """Return the SID of the call with a number; a whole SID as it is."""
    return number if isinstance(number, str) else f"CA{number:032d}"


def moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def form(
    call: int | str,
    status: str,
    *,
    number: int | None = None,
    at: float | None = None,
    parent: int | str | None = None,
    **more: str,
) -> dict[str, str]:
    """Return a callback's form, as Twilio would fill it in, ``at`` seconds after the start of time here."""
    fields = {
        "CallSid": sid(call),
        "AccountSid": ACCOUNT,
        "From": "+15005550006",
        "To": "+12025550100",
        "CallStatus": status,
        "Direction": "outbound-dial" if parent else "outbound-api",
        "CallbackSource": "call-progress-events",
    }
    optional = {
        "SequenceNumber": None if number is None else str(number),
        "Timestamp": None if at is None else format_datetime(moment(at)),
        "ParentCallSid": None if parent is None else sid(parent),
    }
    return fields | {name: value for name, value in optional.items() if value is not None} | more


def event(call: int | str, status: str, *, received: float | None = None, **fields: Any) -> CallEvent:
    """Return the event of a callback that arrived ``received`` seconds after the start, or when it fired."""
    arrived = received if received is not None else fields.get("at") or 0
    return event_of(form(call, status, **fields), received=arrived)


def event_of(fields: Mapping[str, str], *, received: float = 0, verified: bool = True) -> CallEvent:
    return CallEvent.from_form(fields.items(), received_at=moment(received), world=WORLD, verified=verified)


def age_at(now: datetime) -> Callable[[datetime], timedelta]:
    """Return what tells how long ago a moment was."""
    return lambda moment: now - moment


def clock_of(wall: Callable[[], datetime], *, elapsed: Callable[[], datetime] | None = None) -> Clock:
    """Return a clock that is turned by hand; ``elapsed`` tells how much time has really gone by, where that differs."""
    steady = elapsed or wall
    return Clock(wall=wall, elapsed=lambda: (steady() - START).total_seconds())


def samples(name: str) -> list[dict[str, Any]]:
    """Return the entries of a file of samples."""
    path = DATA / name
    text = path.read_text(encoding="utf-8")
    entries = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    return list(entries)
