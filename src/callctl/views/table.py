"""Calls as a table for people, and as tab-separated lines for pipes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING

from callctl.calls.call import Call
from callctl.support.dates import format_date, local_time
from callctl.views.style import glyph, style
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

BRANCH = "└ "
# How many calls decide how wide the columns are; those after them are printed as they come.
_SAMPLE = 200
_GAP = "  "
# Cells; below it, an address says too little to be shown.
_LEAST_END = 9
_MOST_END = 40
# Where the ends of a call begin if it takes two lines, in cells.
ENDS_AT = 24


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a call; or, for a parent that is not among the calls, its SID alone. ``depth`` 1 is a child leg.

    With ``now``, the duration of a live call is that so far.
    """

    sid: str
    call: Call | None
    depth: int = 0
    now: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """The duration that is shown, in seconds; None if there is none."""
        if self.call is None or self.now is None:
            return None if self.call is None else self.call.duration
        return self.call.seconds_so_far(self.now)


def plain_line(call: Call) -> str:
    """Return one call as tab-separated fields: sid, status, direction, from, to, start, duration, parent."""
    fields = (
        call.sid,
        call.status,
        call.direction,
        call.from_,
        call.to,
        format_date(call.start_time) or "",
        "" if call.duration is None else str(call.duration),
        call.parent_call_sid or "",
    )
    return "\t".join(printable(text) for text in fields)


def print_calls(console: Console, calls: Iterable[Call], *, timed: bool = False, now: datetime | None = None) -> None:
    """Draw calls as a table that fits the console, as they come; SIDs stay whole and on one line.

    With ``now``, the durations of live calls are those so far.
    """
    print_rows(console, (Row(call.sid, call, now=now) for call in calls), timed=timed)


def print_rows(console: Console, rows: Iterable[Row], *, timed: bool = False) -> None:
    """Draw rows as they come. The first of them decide the columns; what does not fit later is cut with ``…``.

    Where a line has no room for what counts, each row takes two, as in the live table. With ``timed`` the starts of
    the calls count as well: they were chosen or sorted by time.
    """
    later = iter(rows)
    sample = list(islice(later, _SAMPLE))
    columns = _fitting(sample, width=console.width)
    drawn = chain(sample, later)
    if _holds_what_counts(columns, sample, timed=timed):
        lines = chain([_head(columns)], (_line(row, columns) for row in drawn))
    else:
        lines = chain.from_iterable(_two_lines(row, width=console.width, timed=timed) for row in drawn)
    for line in lines:
        console.print(line, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    value: Callable[[Row], str]
    width: int = 0

    def fitted(self, sample: Sequence[Row], *, most: int | None = None) -> _Column:
        from rich.cells import cell_len

        widest = max((cell_len(self.value(row)) for row in sample), default=0)
        width = max(len(self.title), widest)
        return _Column(self.title, self.value, width if most is None else min(width, most))


def _of(read: Callable[[Call], str]) -> Callable[[Row], str]:
    return lambda row: "" if row.call is None else printable(read(row.call))


_SID = _Column("CALL SID", lambda row: BRANCH * bool(row.depth) + printable(row.sid))
_STATUS = _Column("STATUS", lambda row: "not listed" if row.call is None else shown_status(row.call.status))
_DIRECTION = _Column("DIRECTION", _of(lambda call: call.direction))
_FROM = _Column("FROM", _of(lambda call: call.from_))
_TO = _Column("TO", _of(lambda call: call.to))
_START = _Column("START", _of(lambda call: local_time(call.start_time)))
_DURATION = _Column("DURATION", lambda row: "" if row.seconds is None else clock(row.seconds))
_PARENT = _Column("PARENT CALL SID", _of(lambda call: call.parent_call_sid or "-"))
_IN_ORDER = (_SID, _STATUS, _DIRECTION, _FROM, _TO, _START, _DURATION, _PARENT)
# What is left out in a narrow terminal, the last first; `show` tells it.
_LESSER = (_DURATION, _START, _PARENT, _DIRECTION)


def _fitting(sample: Sequence[Row], *, width: int) -> list[_Column]:
    """Return the columns that fit, in their order. SID and status always do, the ends of the call if they can."""
    kept = {column.title: column.fitted(sample) for column in (_SID, _STATUS)}
    room = width - sum(column.width + len(_GAP) for column in kept.values())
    for column in _ends(sample, room=room):
        kept[column.title] = column
        room -= column.width + len(_GAP)
    for lesser in _LESSER:
        column = lesser.fitted(sample)
        if column.width > room:
            break
        kept[column.title] = column
        room -= column.width + len(_GAP)
    return [kept[column.title] for column in _IN_ORDER if column.title in kept]


def _holds_what_counts(columns: Sequence[_Column], sample: Sequence[Row], *, timed: bool) -> bool:
    """Tell whether both ends of the calls are whole, and their durations there, if any of them has one."""
    widths = {column.title: column.width for column in columns}
    told = (_DURATION, _START) if timed else (_DURATION,)
    needed = {column.title for column in told if any(column.value(row) for row in sample)}
    return needed <= widths.keys() and all(
        widths.get(end.title, 0) >= end.fitted(sample, most=_MOST_END).width for end in (_FROM, _TO)
    )


def _ends(sample: Sequence[Row], *, room: int) -> list[_Column]:
    from_, to = _FROM.fitted(sample, most=_MOST_END), _TO.fitted(sample, most=_MOST_END)
    both = room - len(_GAP)
    if both < 2 * _LEAST_END:
        return [_narrowed(to, room)] if room >= _LEAST_END else []
    if from_.width + to.width <= both:
        return [from_, to]
    # Half for each, and what the one does not need for the other.
    left = max(both // 2, both - to.width)
    from_ = _narrowed(from_, left)
    return [from_, _narrowed(to, both - from_.width)]


def _narrowed(column: _Column, width: int) -> _Column:
    return _Column(column.title, column.value, min(column.width, width))


def _head(columns: Sequence[_Column]) -> Text:
    from rich.text import Text

    return Text(_GAP.join(column.title.ljust(column.width) for column in columns).rstrip(), style="bold")


def _line(row: Row, columns: Sequence[_Column]) -> Text:
    from rich.text import Text

    line = Text()
    for column in columns:
        if line:
            line.append(_GAP)
        cell = Text(column.value(row), style=_look(row) if column.title == _STATUS.title else "")
        if column.title != _SID.title:
            cell.truncate(column.width, overflow="ellipsis")
        cell.pad_right(max(0, column.width - cell.cell_len))
        line.append_text(cell)
    line.rstrip()
    return line


def _two_lines(row: Row, *, width: int, timed: bool) -> list[Text]:
    """Return a row's lines: what the call does and between whom; then its SID, and what else there is room for.

    One's own number gives way to the other end's, and if ``timed`` to the start.
    """
    from rich.text import Text

    branch = BRANCH * bool(row.depth)
    first = Text(f" {branch}").append(f"{_STATUS.value(row)} {_DURATION.value(row)}".rstrip(), style=_look(row))
    second = Text(f"   {printable(row.sid)}")
    if row.call is not None:
        of = f" of {_PARENT.value(row)}" if row.call.parent_call_sid and not branch else ""
        if second.cell_len + len(of) <= width:
            second.append(of)
        start = f"  {_START.value(row)}".rstrip()
        fits_below = second.cell_len + len(start) <= width
        far = far_end(_FROM.value(row), _TO.value(row), direction=row.call.direction)
        pad_for(far, first, width=width)
        both = f"{_FROM.value(row)} → {_TO.value(row)}"
        room = width - (len(start) if timed and not fits_below else 0)
        first.append(both if first.cell_len + cells(both) <= room else far)
        line = second if fits_below else first
        if line.cell_len + len(start) <= width:
            line.append(start)
    first.truncate(width, overflow="ellipsis")
    return [first, second]


def far_end(from_: str, to: str, *, direction: str) -> str:
    """Return the end of a call that is not one's own: who called, of an inbound call, else who is called."""
    return f"{from_} →" if direction == "inbound" else f"→ {to}"


def pad_for(far: str, line: Text, *, width: int) -> None:
    """Have what follows on a line begin in its column, or sooner where the far end would be cut there."""
    line.append("  ")
    room = width - cells(far)
    line.pad_right(max(0, min(ENDS_AT, room) - line.cell_len))


def cells(text: str) -> int:
    """Return how much room a text takes on a terminal."""
    from rich.cells import cell_len

    return cell_len(text)


def _look(row: Row) -> str:
    return "dim" if row.call is None else style(row.call.status)


def shown_status(status: str) -> str:
    """Return a status as people see it: glyph and word."""
    return f"{glyph(status)} {printable(status)}"


def clock(seconds: float) -> str:
    """Return a duration as ``01:07`` or ``1:02:03``."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
