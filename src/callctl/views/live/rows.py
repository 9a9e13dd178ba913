"""The rows of the live table: a leg in one line or two, by the width of the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from callctl.calls.call import CallStatus
from callctl.calls.event import CALLBACK
from callctl.calls.sid import LENGTH, SHOWN_START
from callctl.views.lines import UNVERIFIED
from callctl.views.style import append_status, glyph
from callctl.views.table import (
    BRANCH,
    DIRECTION,
    LONGEST_STATUS,
    PARENT,
    SID,
    STATUS,
    Column,
    Row,
    append_ends,
    cells,
    clock,
    heading,
    one_line,
    status_line,
)
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from rich.text import Text

    from callctl.calls.leg import Leg
    from callctl.support.clock import Age

# From this width on, a row has room for every fact beside two whole SIDs.
WIDE = 140
# From this width on there is room for ring time, talk time and direction as well.
WIDEST = 170
# Below it, a row of one line has the start of the SID, a short status and the far end.
NARROW = 60
_DIRECTION_WIDTH = 13
_STATUS = replace(STATUS, width=LONGEST_STATUS, is_whole=True)
_FOR = Column("FOR", lambda row: row.elapsed, 5, gap=1, is_right=True, is_whole=True)
_COLUMNS = (
    replace(SID, width=LENGTH + 2, gap=1),
    replace(PARENT, width=LENGTH, gap=1, is_whole=True),
    _STATUS,
    _FOR,
)
_WIDEST_COLUMNS = (
    *_COLUMNS,
    Column("RING", lambda row: row.ring_time, 5, gap=1, is_right=True, is_whole=True),
    Column("TALK", lambda row: row.talk_time, 5, is_right=True, is_whole=True),
    replace(DIRECTION, width=_DIRECTION_WIDTH, is_whole=True),
)
_SHORT_COLUMNS = (Column("SID", lambda row: _short_sid(row), SHOWN_START, gap=1), replace(_STATUS, gap=1), _FOR)
_NARROW_WIDTH = 15  # cells of a short status and a time
SHORT_WORDS = {CallStatus.IN_PROGRESS.value: "in-prog", CallStatus.INITIATED.value: "init"}

SELECTED, MARKED, SELECTED_AND_MARKED = "▌", "*", "◆"
_URGENT = "bold red"


@dataclass(frozen=True, slots=True)
class LegRow:
    """A leg as the live table shows it, and how it stands out.

    ``failure`` says what went wrong lately, if anything did.
    """

    leg: Leg
    is_selected: bool = False
    is_marked: bool = False
    rings_too_long: bool = False
    failure: str | None = None

    @property
    def marker(self) -> str:
        """The sign before the row."""
        if self.is_selected:
            return SELECTED_AND_MARKED if self.is_marked else SELECTED
        return MARKED if self.is_marked else " "


@dataclass(frozen=True, slots=True)
class Style:
    """How rows are laid out in a width: in columns or, with ``is_two_lines``, below each other."""

    width: int
    is_two_lines: bool

    @property
    def height(self) -> int:
        """The lines of a row."""
        return 2 if self.is_two_lines else 1

    @property
    def has_whole_sids(self) -> bool:
        """Whether each row has its SIDs whole."""
        return self.is_two_lines or self.width >= WIDE

    @property
    def has_titles(self) -> bool:
        """Whether a line of titles stands above the columns."""
        return self.width >= WIDE


def text(content: str = "", look: str = "") -> Text:
    """Return one line that is cut rather than wrapped."""
    from rich.text import Text

    return Text(content, style=look, no_wrap=True, overflow="ellipsis")


def column_titles(*, width: int) -> Text:
    """Return the heading of the wide layout."""
    return heading(_columns(width)).append("  FROM → TO")


def leg_lines(shown: LegRow, layout: Style, *, age: Age) -> list[Text]:
    """Return the lines of a leg."""
    row = _row(shown, width=layout.width, age=age)
    if layout.is_two_lines:
        lines = _two_lines(row, width=layout.width)
    elif layout.width < NARROW:
        lines = [_narrow(row, width=layout.width)]
    else:
        line = one_line(row, _columns(layout.width)).append("  ")
        append_ends(line, row, width=layout.width)
        lines = [line]
    return [_marked(line, shown, width=layout.width) for line in lines]


def failures_line(count: int, *, is_open: bool, is_selected: bool, words: Sequence[str], width: int) -> Text:
    """Return the row that stands for several failures."""
    what = f"{glyph(CallStatus.FAILED)} {count} failures in 5 min"
    hint = "⏎ closes" if is_open else "⏎ opens"
    line = text(f"{SELECTED if is_selected else ' '}{what}  {hint}", _URGENT + (" reverse" if is_selected else ""))
    rest = f"  {', '.join(words)}"
    return line.append(rest) if cells(line.plain) + cells(rest) <= width else line


def _columns(width: int) -> Sequence[Column]:
    return _WIDEST_COLUMNS if width >= WIDEST else _COLUMNS if width >= WIDE else _SHORT_COLUMNS


def _row(shown: LegRow, *, width: int, age: Age) -> Row:
    leg, has_times = shown.leg, width >= WIDEST
    return Row(
        leg.call_sid,
        leg.status,
        "ended" if leg.is_final else clock(age(leg.status_since).total_seconds()),
        parent_sid=leg.parent_call_sid,
        direction=leg.direction,
        from_=leg.from_,
        to=leg.to,
        ring_time=_span(leg.ringing_at, leg.answered_at or leg.ended_at, age=age) if has_times else "",
        talk_time=_span(leg.answered_at, leg.ended_at, age=age) if has_times else "",
        is_child=leg.parent_call_sid is not None,
        facts=tuple(_facts(shown, age=age)),
        unusual=tuple(_unusual(leg)),
        is_urgent=shown.rings_too_long or shown.failure is not None,
        needs_facts=leg.conference is not None,
    )


def _marked(line: Text, shown: LegRow, *, width: int) -> Text:
    """Put the sign of a row before it, in the cell that every layout leaves free."""
    if shown.marker != " ":
        line.plain = shown.marker + line.plain[1:]
    if shown.is_selected:
        line.pad_right(max(0, width - cells(line.plain)))
        line.stylize("reverse", 1)
    elif shown.is_marked:
        line.stylize("bold")
    elif shown.leg.is_final and shown.failure is None:
        line.stylize("dim")
    return line


def _short_sid(row: Row) -> str:
    sid = printable(row.sid)
    return f"{BRANCH[0]}{sid[: SHOWN_START - 1]}" if row.is_child else sid[:SHOWN_START]


def _two_lines(row: Row, *, width: int) -> list[Text]:
    first = status_line(row, width=width)
    append_ends(first, row, width=width, far_alone=row.is_child)
    of = f" of {printable(row.parent_sid)}" if row.parent_sid else ""
    return [first, text(f"   {printable(row.sid)}{of}")]


def _narrow(row: Row, *, width: int) -> Text:
    """Return one line for a narrow terminal: the start of the SID, status, time, and the far end."""
    status, is_over = row.status or "", row.elapsed == "ended"
    word = printable(SHORT_WORDS.get(status, status))
    head = f"{glyph(status)} {word}{'!' if row.is_urgent else ''}"
    time = "" if is_over else _short_time(row.elapsed)
    blank = 1 if time and not row.is_urgent else 0  # the "!" stands in its place
    line = text(f" {_short_sid(row)} ")
    append_status(line, head + time.rjust(max(_NARROW_WIDTH - cells(head), len(time) + blank)), row.look)
    far = printable(row.from_ if row.direction == "inbound" else row.to)
    line.append(f" {far}")
    facts = f"  ({', '.join([*row.unusual, *row.facts])})" if row.facts or row.unusual else ""
    return line.append(facts) if cells(line.plain) + cells(facts) <= width else line


def _short_time(elapsed: str) -> str:
    """Return a time without its seconds where it has hours: 1h05."""
    hours, *rest = elapsed.split(":")
    return f"{hours}h{rest[0]}" if len(rest) > 1 else elapsed


def _facts(shown: LegRow, *, age: Age) -> Iterator[str]:
    """Yield what went wrong, in which conference a leg is and since when, how it ended and who answered."""
    leg = shown.leg
    if leg.conference is not None:
        since = leg.conference.since
        time = "" if since is None else f" {clock(age(since).total_seconds())}"
        yield f"in {printable(leg.conference.shown_name)}{time}"
        yield from leg.conference.states
    if leg.is_recorded:
        yield "recorded"
    sip = f"SIP {printable(leg.sip_response_code or '')}"
    if shown.failure is not None and shown.failure not in (leg.status, sip):
        yield printable(shown.failure)
    if leg.is_final and leg.duration:
        yield clock(leg.duration)
    if leg.is_final and leg.sip_response_code not in (None, "200"):
        yield sip
    if leg.answered_by:
        yield printable(leg.answered_by)


def _unusual(leg: Leg) -> Iterator[str]:
    """Yield what is unusual about the source of a leg's status."""
    if leg.source != CALLBACK:
        yield leg.source
    if not leg.verified:
        yield UNVERIFIED


def _span(begin: datetime | None, end: datetime | None, *, age: Age) -> str:
    if begin is None:
        return ""
    return clock((age(begin) if end is None else end - begin).total_seconds())


def phone(leg: Leg) -> str:
    """Return whose phone a leg is: of an inbound call the caller's, else the one that is called."""
    return printable(leg.from_ if leg.direction == "inbound" else leg.to) or printable(leg.call_sid)
