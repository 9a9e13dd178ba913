"""A family of legs for tests, and boards with its events."""

from __future__ import annotations

from email.utils import format_datetime
from typing import Any

from events import event, event_of, moment

from callctl.calls.board import Board
from callctl.calls.event import CallEvent

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
    **more: Any,
) -> CallEvent:
    """Return the event of one callback that fired ``second`` seconds after the start."""
    return event(sid, status, at=second, number=sequence, parent=parent, To=to, **more)


def in_conference(sid: str, room: str, *, second: int, label: str = "", **more: str) -> CallEvent:
    """Return the event of a conference's callback that a leg joined it."""
    fields = {
        "ConferenceSid": f"CF{room}",
        "FriendlyName": room,
        "SequenceNumber": "0",
        "Timestamp": format_datetime(moment(second)),
        "StatusCallbackEvent": "participant-join",
        "CallSid": sid,
        "ParticipantLabel": label,
    }
    return event_of(fields | more, received=second)


def family() -> list[CallEvent]:
    """Return a parent in progress, a SIP child that rings and a child that was busy, as in the design's example."""
    sip, busy = "sip:agent@example.com", "client:ann"
    return [
        callback(PARENT, "initiated", second=0, sequence=0),
        callback(PARENT, "ringing", second=1, sequence=1),
        callback(PARENT, "in-progress", second=3, sequence=2),
        callback(SIP_CHILD, "initiated", second=31, sequence=0, parent=PARENT, to=sip),
        callback(SIP_CHILD, "ringing", second=32, sequence=1, parent=PARENT, to=sip),
        callback(BUSY_CHILD, "initiated", second=33, sequence=0, parent=PARENT, to=busy),
        callback(BUSY_CHILD, "busy", second=34, sequence=1, parent=PARENT, to=busy, SipResponseCode="486"),
    ]


def board_of(events: list[CallEvent]) -> Board:
    """Return a board to which these events were applied."""
    board = Board()
    for one in events:
        board.apply(one)
    return board
