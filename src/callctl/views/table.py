"""The table of calls that ``list``, ``show`` and the live table draw, and calls as tab-separated lines.

A row takes one line in columns or, where these have no room, two lines.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from callctl.calls.call import Call
from callctl.support.dates import format_date, local_time
from callctl.views.style import append_status, glyph, style
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from callctl.calls.family import Family

BRANCH = "└ "
# How many calls decide how wide the columns are; those after them are printed as they come.
_SAMPLE = 200
BETWEEN = 2  # cells between columns
# Cells; below it, an address says too little to be shown.
_LEAST_END = 9
_MOST_END = 40
# Cells to which a chosen column may be cut: a phone number is whole or of no use.
_LEAST_CUT = 16
# Where the ends of a call begin if it takes two lines, in cells.
_ENDS_AT = 24
# Cells of the longest status that Twilio documents, "in-progress", with its glyph and a space.
LONGEST_STATUS = 13
# Cells of the longest phone number, with its plus and the arrow before it.
FAR_WIDTH = 18
# Characters; the widths of shorter texts are kept, since they are needed several times in each frame.
_LONG = 500
# Signs that rich counts as no cell, and many terminals draw in cells of their own: among these ranges are all marks
# with room of their own (category Mc), as vowel signs of Devanagari and Tamil are. They take one cell, these few two:
# tones of Hangul, readings of Vietnamese, colours of skin.
_DRAWN_WIDER = "[\u0900-\u1cff\u302e\u302f\ua800-\uabff\U00011000-\U0001d1ff\U0001f3fb-\U0001f3ff]"
_TWO_CELLS = "\u302e\u302f\U00016ff0\U00016ff1\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


@dataclass(frozen=True, slots=True)
class Row:
    """One leg as a table shows it; of a parent that is not among the calls its SID alone, and no status.

    ``elapsed``, ``ring_time`` and ``talk_time`` are written as :func:`clock` does. ``is_child``: it stands below its
    parent. ``facts`` and ``unusual`` are shown in brackets; the unusual ones have priority where there is little room.
    ``is_urgent``: it needs attention. ``needs_facts``: one's own end gives way to the facts. ``call`` is the leg in
    REST, where the table is of such.
    """

    sid: str
    status: str | None = None
    elapsed: str = ""
    parent_sid: str | None = None
    direction: str = ""
    from_: str = ""
    to: str = ""
    start: datetime | None = None
    ring_time: str = ""
    talk_time: str = ""
    is_child: bool = False
    facts: tuple[str, ...] = ()
    unusual: tuple[str, ...] = ()
    is_urgent: bool = False
    needs_facts: bool = False
    call: Call | None = None

    @property
    def look(self) -> str:
        """The rich style of its status."""
        if self.is_urgent:
            return "bold red"
        return "dim" if self.status is None else style(self.status)

    @property
    def shown_status(self) -> str:
        """Its status as people see it, with a sign after it if it needs attention and there is room for one."""
        if self.status is None:
            return "not listed"
        shown = shown_status(self.status)
        return f"{shown} !" if self.is_urgent and cells(shown) <= LONGEST_STATUS - 2 else shown

    @property
    def both_ends(self) -> str:
        """Who calls whom."""
        return f"{printable(self.from_)} → {printable(self.to)}"

    @property
    def far_end(self) -> str:
        """The other end of the call: the caller of an inbound call, else who is called."""
        return f"{printable(self.from_)} →" if self.direction == "inbound" else f"→ {printable(self.to)}"


def call_row(call: Call, *, is_child: bool = False, now: datetime | None = None) -> Row:
    """Return the row of a call. With ``now``, the duration of a live call is that so far."""
    seconds = call.duration if now is None else call.seconds_so_far(now)
    return Row(
        call.sid,
        call.status,
        "" if seconds is None else clock(seconds),
        parent_sid=call.parent_call_sid,
        direction=call.direction,
        from_=call.from_,
        to=call.to,
        start=call.start_time,
        is_child=is_child,
        call=call,
    )


def family_rows(families: Iterable[Family[Call]]) -> Iterator[Row]:
    """Yield the rows of a tree: each parent, then its children."""
    for family in families:
        yield Row(family.sid) if family.parent is None else call_row(family.parent)
        for child in family.children:
            yield call_row(child, is_child=True)


def family_json(
    family: Family[Call], to_json: Callable[[Call], dict[str, Any]], *, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a family: the parent's fields with ``children``; of one that was not found, its ``sid`` and ``extra``."""
    parent = {"sid": family.sid, **extra} if family.parent is None else to_json(family.parent)
    return {**parent, "children": [to_json(child) for child in family.children]}


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


def print_calls(
    console: Console,
    calls: Iterable[Call],
    *,
    timed: bool = False,
    now: datetime | None = None,
    chosen: Sequence[Column] = (),
) -> None:
    """Draw calls as a table that fits the console, as they come; SIDs stay whole and on one line.

    With ``now``, the durations of live calls are those so far. ``chosen`` are the columns, where somebody chose them.
    """
    print_rows(console, (call_row(call, now=now) for call in calls), timed=timed, chosen=chosen)


def print_rows(console: Console, rows: Iterable[Row], *, timed: bool = False, chosen: Sequence[Column] = ()) -> None:
    """Draw rows as they come. The first of them decide the columns; what does not fit later is cut with ``…``.

    Where a line has no room for what counts, each row takes two, as in the live table. With ``timed`` the starts of
    the calls count as well: they were chosen or sorted by time. Where the rows break off, those before that are drawn.

    Columns that were ``chosen`` are all there, in one line: texts that may be cut are, where it has no room for them.
    """
    later = iter(rows)
    sample, failure = _start_of(later)
    if failure is not None and not sample:
        raise failure
    columns = _squeezed(chosen, sample, width=console.width) if chosen else _fitting(sample, width=console.width)
    all_rows = chain(sample, later)
    if chosen or _holds_what_counts(columns, sample, timed=timed):
        lines = chain([heading(columns)], (one_line(row, columns) for row in all_rows))
    else:
        lines = chain.from_iterable(_two_lines(row, width=console.width, timed=timed) for row in all_rows)
    for line in lines:
        line.rstrip()
        console.print(line, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
    if failure is not None:
        raise failure


def _start_of(rows: Iterator[Row]) -> tuple[list[Row], BaseException | None]:
    """Return the first rows, and why there are no more if they break off among these."""
    sample: list[Row] = []
    try:
        for row in islice(rows, _SAMPLE):
            sample.append(row)
    except BaseException as error:
        return sample, error
    return sample, None


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``width`` in cells, ``gap`` the cells before it. ``is_whole``: what is wider is not cut."""

    title: str
    value: Callable[[Row], str]
    width: int = 0
    gap: int = BETWEEN
    is_right: bool = False
    is_whole: bool = False

    def fitted(self, sample: Sequence[Row], *, most: int | None = None) -> Column:
        """Return the column as wide as its widest value, at ``most`` so many cells."""
        widest = max((cells(self.value(row)) for row in sample), default=0)
        width = max(len(self.title), widest)
        return replace(self, width=width if most is None else min(width, most))

    def narrowed(self, width: int) -> Column:
        """Return the column no wider than so many cells."""
        return replace(self, width=min(self.width, width))


SID = Column("CALL SID", lambda row: BRANCH * row.is_child + printable(row.sid), gap=0, is_whole=True)
STATUS = Column("STATUS", lambda row: row.shown_status)
DIRECTION = Column("DIRECTION", lambda row: printable(row.direction))
PARENT = Column("PARENT CALL SID", lambda row: "" if row.status is None else printable(row.parent_sid or "-"))
FROM = Column("FROM", lambda row: printable(row.from_))
TO = Column("TO", lambda row: printable(row.to))
START = Column("START", lambda row: printable(local_time(row.start)))
DURATION = Column("DURATION", lambda row: row.elapsed)
_IN_ORDER = (SID, STATUS, DIRECTION, FROM, TO, START, DURATION, PARENT)
# What is left out in a narrow terminal, the last first; `show` has it all.
_LESSER = (DURATION, START, PARENT, DIRECTION)


def _fitting(sample: Sequence[Row], *, width: int) -> list[Column]:
    """Return the columns that fit, in their order. SID and status always do, the ends of the call if they can.

    Starts take the place of durations where no call has one yet.
    """
    kept = {column.title: column.fitted(sample) for column in (SID, STATUS)}
    room = width - sum(column.width + BETWEEN for column in kept.values())
    for column in _ends(sample, room=room):
        kept[column.title] = column
        room -= column.width + BETWEEN
    for lesser in _LESSER if _has(sample, DURATION) or not _has(sample, START) else (START, DURATION, *_LESSER[2:]):
        column = lesser.fitted(sample)
        if column.width > room:
            break
        kept[column.title] = column
        room -= column.width + BETWEEN
    return [kept[column.title] for column in _IN_ORDER if column.title in kept]


def _has(sample: Sequence[Row], column: Column) -> bool:
    return any(column.value(row) for row in sample)


def _squeezed(chosen: Sequence[Column], sample: Sequence[Row], *, width: int) -> list[Column]:
    """Return columns that fit, of which those that may be cut are, the widest first; whole ones where that won't do."""
    columns = [column.fitted(sample) for column in chosen]
    for _ in range(sum(column.gap + column.width for column in columns) - width):
        wide = [column for column in columns if not column.is_whole and column.width > _LEAST_CUT]
        if not wide:
            return [column.fitted(sample) for column in chosen]
        widest = max(wide, key=lambda column: column.width)
        columns[columns.index(widest)] = widest.narrowed(widest.width - 1)
    return columns


def _holds_what_counts(columns: Sequence[Column], sample: Sequence[Row], *, timed: bool) -> bool:
    """Return whether both ends of the calls are whole, and their durations there, if any of them has one."""
    widths = {column.title: column.width for column in columns}
    times = (DURATION, START) if timed else (DURATION,)
    needed = {column.title for column in times if _has(sample, column)}
    return needed <= widths.keys() and all(
        widths.get(end.title, 0) >= end.fitted(sample, most=_MOST_END).width for end in (FROM, TO)
    )


def _ends(sample: Sequence[Row], *, room: int) -> list[Column]:
    from_, to = FROM.fitted(sample, most=_MOST_END), TO.fitted(sample, most=_MOST_END)
    both = room - BETWEEN
    if both < 2 * _LEAST_END:
        return [to.narrowed(room)] if room >= _LEAST_END else []
    if from_.width + to.width <= both:
        return [from_, to]
    # Half for each, and what the one does not need for the other.
    from_ = from_.narrowed(max(both // 2, both - to.width))
    return [from_, to.narrowed(both - from_.width)]


def heading(columns: Sequence[Column]) -> Text:
    """Return the line of the columns' titles."""
    from rich.text import Text

    titles = (" " * column.gap + _justified(column.title, column) for column in columns)
    return Text("".join(titles), style="bold")


def one_line(row: Row, columns: Sequence[Column]) -> Text:
    """Return a row as one line in columns, padded to the end of the last."""
    from rich.text import Text

    line, unstyled = Text(), ""
    for column in columns:
        unstyled += " " * column.gap
        cell = _cell(column.value(row), column)
        if column.title == STATUS.title:
            append_status(line.append(unstyled), cell, row.look)
            unstyled = ""
        else:
            unstyled += cell
    return line.append(unstyled)


def _cell(text: str, column: Column) -> str:
    text = text if column.is_whole else fitted(text, column.width)
    padding = " " * (column.width - cells(text))
    return padding + text if column.is_right else text + padding


def _justified(text: str, column: Column) -> str:
    return text.rjust(column.width) if column.is_right else text.ljust(column.width)


def status_line(row: Row, *, width: int) -> Text:
    """Return the first of a row's two lines up to where the ends of the call begin: status and time.

    The ends begin in their column, or sooner where the far end would be cut there.
    """
    from rich.text import Text

    line = Text(f" {BRANCH * row.is_child}")
    append_status(line, f"{STATUS.value(row)} {row.elapsed}".rstrip(), row.look)
    if row.status is not None:
        line.append("  ")
        room = width - cells(row.far_end)
        line.pad_right(max(0, min(_ENDS_AT, room) - cells(line.plain)))
    return line


def _two_lines(row: Row, *, width: int, timed: bool) -> list[Text]:
    """Return a row's lines: what the call does and between whom; then its SID, and what else there is room for.

    One's own number gives way to the other end's, and if ``timed`` to the start.
    """
    from rich.text import Text

    first, second = status_line(row, width=width), Text(f"   {printable(row.sid)}")
    if row.status is not None:
        of = f" of {printable(row.parent_sid)}" if row.parent_sid and not row.is_child else ""
        if cells(second.plain) + len(of) <= width:
            second.append(of)
        start = f"  {START.value(row)}".rstrip()
        fits_below = cells(second.plain) + len(start) <= width
        room = width - cells(first.plain) - (len(start) if timed and not fits_below else 0)
        first.append(row.both_ends if cells(row.both_ends) <= room else row.far_end)
        line = second if fits_below else first
        if cells(line.plain) + len(start) <= width:
            line.append(start)
    fit(first, width)
    return [first, second]


def append_ends(line: Text, row: Row, *, width: int, far_alone: bool = False) -> None:
    """Append who talks to whom and the facts. Where not all has room, one's own end gives way, and facts do.

    What is unusual goes before the facts, and before the ends where it would be cut behind them.
    """
    room, far = width - cells(line.plain), row.far_end
    marks = _in_brackets(row.unusual).strip()
    both = far if far_alone else row.both_ends
    whole = f"{both}{_in_brackets([*row.facts, *row.unusual])}"
    if row.needs_facts and cells(whole) > room:
        both, whole = far, f"{far}{_in_brackets([*row.facts, *row.unusual])}"
    if cells(whole) <= room:
        line.append(whole)
        return
    fitting = (text for end in (both, far) if cells(text := f"{marks} {end}".strip()) <= room)
    ends, rest = next(fitting, ""), row.facts
    if not ends and cells(far) <= min(room, FAR_WIDTH):
        ends, rest = far, (*row.unusual, *row.facts)  # a number is whole or of no use
    ends = ends or f"{marks} {far}".lstrip()
    # Where a line is cut, the sign of it stands in its last cell.
    line.append(ends if cells(ends) == room else f"{ends}{_in_brackets(rest)}")


def _in_brackets(facts: Sequence[str]) -> str:
    return f"  ({', '.join(facts)})" if facts else ""


def cells(text: str) -> int:
    """Return how many cells a text takes on a terminal, at most: terminals differ about marks beside a letter."""
    if text.isascii() and text.isprintable():  # as nearly all are: the table calls this for every cell
        return len(text)
    return _cells(text) if len(text) < _LONG else _cells.__wrapped__(text)


@lru_cache(maxsize=4096)
def _cells(text: str) -> int:
    from unicodedata import category

    from rich.cells import cell_len

    wider = re.findall(_DRAWN_WIDER, text)
    return cell_len(text) + sum(2 if char in _TWO_CELLS else category(char) == "Mc" for char in wider)


def fitted(text: str, width: int) -> str:
    """Return a text of so many cells at most: a longer one ends with an ellipsis, in the last of them.

    ``shortened`` in errors.py does the same in characters.
    """
    if cells(text) <= width:
        return text
    room = max(0, width - 1)
    kept = text[: bisect_right(range(len(text)), room, key=lambda end: cells(text[:end])) - 1]
    return kept + " " * (room - cells(kept)) + "…"  # half of a wide character is left out


def fit(line: Text, width: int) -> None:
    """Shorten a line likewise."""
    if cells(line.plain) > width:
        line.plain = fitted(line.plain, width)


def shown_status(status: str) -> str:
    """Return a status as people see it: glyph and word."""
    return f"{glyph(status)} {printable(status)}"


def clock(seconds: float) -> str:
    """Return a duration in seconds as ``01:07`` or ``1:02:03``."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
