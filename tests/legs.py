"""Events and boards for tests, told as Twilio's status callbacks tell them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from callctl.board import Board
from callctl.events import CallEvent

START = datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC)
PARENT = "CA00000000000000000000000000000001"
SIP_CHILD = "CA00000000000000000000000000000002"
BUSY_CHILD = "CA00000000000000000000000000000003"
CALLER = "+15005550006"


def callback(
    sid: str,
    status: str,
    *,
    second: int,
    sequence: int,
    parent: str | None = None,
    to: str = "+12025550100",
    extra: Mapping[str, str] | None = None,
) -> CallEvent:
    """Return the event of one callback that fired ``second`` seconds after the start."""
    moment = START + timedelta(seconds=second)
    form = {
        "AccountSid": "AC" + "0" * 32,
        "CallSid": sid,
        "From": CALLER,
        "To": to,
        "CallStatus": status,
        "Direction": "outbound-dial" if parent else "outbound-api",
        "Timestamp": format_datetime(moment),
        "CallbackSource": "call-progress-events",
        "SequenceNumber": str(sequence),
        **({"ParentCallSid": parent} if parent else {}),
        **(extra or {}),
    }
    return CallEvent.from_form(form.items(), received_at=moment, world="test", verified=True)


def family() -> list[CallEvent]:
    """Return a parent in progress, a SIP child that rings and a child that was busy, as in the design's picture."""
    sip, busy = "sip:agent@example.com", "client:ann"
    return [
        callback(PARENT, "initiated", second=0, sequence=0),
        callback(PARENT, "ringing", second=1, sequence=1),
        callback(PARENT, "in-progress", second=3, sequence=2),
        callback(SIP_CHILD, "initiated", second=31, sequence=0, parent=PARENT, to=sip),
        callback(SIP_CHILD, "ringing", second=32, sequence=1, parent=PARENT, to=sip),
        callback(BUSY_CHILD, "initiated", second=33, sequence=0, parent=PARENT, to=busy),
        callback(BUSY_CHILD, "busy", second=34, sequence=1, parent=PARENT, to=busy, extra={"SipResponseCode": "486"}),
    ]


def board_of(events: list[CallEvent]) -> Board:
    """Return a board that was told of these events."""
    board = Board()
    for event in events:
        board.apply(event)
    return board
