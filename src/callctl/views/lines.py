"""Events as lines: one per event, tab-separated, for pipes; spaced, for the foot of the live table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from callctl.calls import format_date
from callctl.events import TWIML_REQUEST
from callctl.views.foreign import printable
from callctl.views.statuses import glyph

if TYPE_CHECKING:
    from callctl.actions import ActionEvent
    from callctl.board import Change, Snapshot
    from callctl.events import CallEvent
    from callctl.views.header import Header

UNVERIFIED = "unverified"


def event_fields(event: CallEvent) -> tuple[str, ...]:
    """Return time, sid, parent, event, status, from, to of one event; ``-`` stands for no parent.

    An eighth field, ``unverified``, is there only where nobody vouches for the event.
    """
    fields = (
        format_date(event.timestamp or event.received_at) or "",
        event.call_sid,
        event.parent_call_sid or "-",
        event.event,
        event.status,
        event.from_,
        event.to,
    )
    return fields if event.verified else (*fields, UNVERIFIED)


def short_line(event: CallEvent) -> str:
    """Return one event for the foot of the live table: local time, SID, status, destination."""
    moment = (event.timestamp or event.received_at).astimezone()
    told = event.kind if event.kind == TWIML_REQUEST else event.status
    mark = "" if event.verified else f"  {UNVERIFIED}"
    return f"{moment:%H:%M:%S}  {event.call_sid}  {glyph(event.status)} {told}  {event.to}{mark}"


def action_line(action: ActionEvent) -> str:
    """Return what was asked of a call, the answer, and the rule that asked, as one line with a local time."""
    return f"{action.at.astimezone():%H:%M:%S}  {action.call_sid}  {action_words(action)}"


def action_words(action: ActionEvent) -> str:
    """Return what was asked, what came of it, and which rule asked: commands have no name."""
    by = f", by rule {action.rule}" if action.rule else ""
    return f"▸ {action.action}: {action.outcome}{by}"


class LineView:
    """One tab-separated line per event on a stream, each flushed."""

    def __init__(self, stream: TextIO, *, say: Callable[[str], None]) -> None:
        self._stream = stream
        self._say = say

    def event(self, event: CallEvent, _change: Change | None) -> None:
        """Write an event; the session passes each one on once."""
        self._stream.write("\t".join(printable(field) for field in event_fields(event)) + "\n")
        self._stream.flush()

    def action(self, action: ActionEvent) -> None:
        """Say what was asked of a call; the lines on stdout are events alone."""
        self._say(action_line(action))

    def note(self, text: str) -> None:
        """Say it where talk goes, not among the events."""
        self._say(text)

    def trouble(self, text: str) -> None:
        """Say it likewise."""
        self._say(f"callctl: {text}")

    def refresh(self, snapshot: Snapshot, header: Header) -> None:
        """Do nothing: lines have no picture to draw again."""

    def is_stale(self) -> bool:
        """Return False: what was written stays as it is."""
        return False

    def close(self) -> None:
        """Do nothing: every line was flushed."""
