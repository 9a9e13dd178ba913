"""Events as lines: one per event, tab-separated, for pipes; spaced, for the foot of the live table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from callctl.calls.event import MISSED, POLLED, TWIML_REQUEST
from callctl.calls.sid import SHOWN_START
from callctl.support.dates import format_date, time_of_day
from callctl.support.identity import user_at_host
from callctl.views.style import glyph
from callctl.views.table import cells
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change, Snapshot
    from callctl.calls.event import CallEvent
    from callctl.calls.watch_trouble import Trouble
    from callctl.views.view import WatchState

LATE, UNVERIFIED = "late", "unverified"


def marks(event: CallEvent, *, is_late: bool = False) -> tuple[str, ...]:
    """Return what is unusual about an event: it came after a later one, REST reported it, no signature was checked."""
    unusual = {LATE: is_late, event.kind: event.kind in (POLLED, MISSED), UNVERIFIED: not event.verified}
    return tuple(mark for mark, is_so in unusual.items() if is_so)


def event_fields(event: CallEvent, *, is_late: bool = False) -> tuple[str, ...]:
    """Return time, sid, parent, event, status, from, to of one event, and its marks with commas between.

    ``-`` stands for no parent, for no marks, and for what callbacks without a status don't have.
    """
    return (
        format_date(event.moment) or "",
        event.call_sid,
        event.parent_call_sid or "-",
        event.event,
        *((event.status, event.from_, event.to) if event.status else ("-", "-", "-")),
        ",".join(marks(event, is_late=is_late)) or "-",
    )


def short_line(event: CallEvent, *, is_late: bool = False, width: int | None = None) -> str:
    """Return one event for the foot of the live table: local time, SID, status, marks, destination.

    Where it is wider than ``width`` cells, the SID is cut to what every command accepts, or left out if the destination
    has no room else: the row of the leg has it whole.
    """
    short = _short_line(event, f"{event.call_sid[:SHOWN_START]}…", is_late=is_late)
    lines = (_short_line(event, event.call_sid, is_late=is_late), short, _short_line(event, None, is_late=is_late))
    fitting = (line for line in lines if width is None or cells(printable(line)) <= width)
    return next(fitting, short)  # whose end is cut


def _short_line(event: CallEvent, sid: str | None, *, is_late: bool) -> str:
    shown = (time_of_day(event.moment), *([] if sid is None else [sid]))
    if not event.status:
        return "  ".join((*shown, event.in_words, *marks(event)))
    status = event.kind if event.kind == TWIML_REQUEST else event.status
    return "  ".join((*shown, f"{glyph(event.status)} {status}", *marks(event, is_late=is_late), event.to))


def action_line(action: ActionEvent) -> str:
    """Return a request for a call, its outcome, and who made it, as one line with a local time."""
    return f"{time_of_day(action.at)}  {action.call_sid}  {action_words(action)}"


def action_words(action: ActionEvent) -> str:
    """Return a request, its outcome, and who made it, as of ``by_whom``."""
    by = by_whom(action)
    return f"▸ {action.action}: {action.outcome}{f', {by}' if by else ''}"


def by_whom(action: ActionEvent) -> str:
    """Return which rule or which colleague made a request; nothing for a command of one's own."""
    if action.rule:
        return f"by rule {action.rule}"
    return f"by {action.by}" if action.by not in (None, user_at_host()) else ""


class LineView:
    """One tab-separated line per event on a stream, each flushed."""

    def __init__(self, stream: TextIO, *, say: Callable[[str], None]) -> None:
        self._stream = stream
        self._say = say

    def begin(self, snapshot: Snapshot) -> None:
        """Do nothing: a line is an event."""

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Write an event."""
        fields = event_fields(event, is_late=change is not None and change.late)
        self._stream.write("\t".join(printable(field) for field in fields) + "\n")
        self._stream.flush()

    def action(self, action: ActionEvent) -> None:
        """Say it on stderr: the lines on stdout are events alone."""
        self._say(action_line(action))

    def note(self, text: str) -> None:
        """Say it on stderr."""
        self._say(text)

    def trouble(self, trouble: Trouble) -> None:
        """Say it on stderr."""
        self._say(f"callctl: {trouble}")

    def refresh(self, _snapshot: Snapshot, _header: WatchState) -> None:
        """Have the stream write what it could not before; what was written stays."""
        self._stream.flush()

    def is_stale(self) -> bool:
        """Return False: what was written stays as it is."""
        return False

    def close(self) -> None:
        """Have the stream write what it could not before."""
        self._stream.flush()
