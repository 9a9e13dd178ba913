"""The steps of a call's life: what Twilio calls its events, how far along a status is, and which of two ends counts."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from callctl.calls.call import CallStatus
from callctl.support.dates import microseconds

CALLBACK: Final = "callback"
TWIML_REQUEST: Final = "twiml-request"
POLLED: Final = "polled"  # found by asking REST
MISSED: Final = "missed"  # an end that no callback told, found by asking REST

_EVENT_NAMES: dict[str, str] = {
    CallStatus.INITIATED: "initiated",
    CallStatus.RINGING: "ringing",
    CallStatus.IN_PROGRESS: "answered",
    CallStatus.COMPLETED: "completed",
    CallStatus.BUSY: "completed",
    CallStatus.NO_ANSWER: "completed",
    CallStatus.FAILED: "completed",
    CallStatus.CANCELED: "completed",
}
# SignalWire sends ``answered`` beside ``in-progress`` for one and the same step (docs/twilio.md, "Compatible
# services").
SAME_STATUS = {"answered": CallStatus.IN_PROGRESS.value}

# The steps of a call's life; an unknown status ranks below all, so that it shows only where nothing better is known.
_RANKS: dict[str, int] = {
    CallStatus.QUEUED: 1,
    CallStatus.INITIATED: 2,
    CallStatus.RINGING: 3,
    CallStatus.IN_PROGRESS: 4,
    CallStatus.CANCELED: 5,
    CallStatus.FAILED: 5,
    CallStatus.NO_ANSWER: 5,
    CallStatus.BUSY: 5,
    CallStatus.COMPLETED: 5,
}
# Which of two ends told for one call counts when neither number nor time decides: the later in this row.
_FINAL_WEIGHTS: dict[str, int] = {
    CallStatus.CANCELED: 1,
    CallStatus.FAILED: 2,
    CallStatus.NO_ANSWER: 3,
    CallStatus.BUSY: 4,
    CallStatus.COMPLETED: 5,
}
# Callbacks count before requests for TwiML, and those before polls.
_TOLD = {CALLBACK: 2, TWIML_REQUEST: 1}


def rank_of(status: str) -> int:
    """Return how far along a call's life a status is; 0 for one that nobody knows."""
    return _RANKS.get(status, 0)


def event_name(status: str) -> str:
    """Return Twilio's event name for a status (docs/twilio.md, "Statuses"); the status itself where there is none."""
    return _EVENT_NAMES.get(status, status)


def order_of(*, status: str, number: int | None, timestamp: datetime | None, kind: str, key: str) -> str:
    """Return the text by which events of one call sort; the greatest tells the status.

    Life-cycle rank first; then SequenceNumber, Timestamp, and the order of ends; callbacks before polls; the key
    at last, so that no two events are equal and the outcome never hangs on the order of arrival. What tells no status
    sorts below all that do.
    """
    number = 0 if number is None else min(max(number + 1, 0), 10**10 - 1)
    moment = 0 if timestamp is None else max(microseconds(timestamp), 0)
    rank, weight = _RANKS.get(status, 0), _FINAL_WEIGHTS.get(status, 0)
    return f"{rank if status else '-'}{number:010d}{moment:018d}{weight}{_TOLD.get(kind, 0)}{key[:16]}"
