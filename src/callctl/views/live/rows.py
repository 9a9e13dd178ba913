"""The rows of the live table: a leg in one line or two, a family that ended a while ago in one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from callctl.calls.event import CALLBACK
from callctl.calls.sid import LENGTH, SHOWN_START
from callctl.views.lines import UNVERIFIED
from callctl.views.style import glyph
from callctl.views.table import (
    DIRECTION,
    FAR_WIDTH,
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

    from callctl.calls.family import Family
    from callctl.calls.leg import Leg
    from callctl.support.clock import Age

# From this width on, a row has room for every fact beside two whole SIDs.
WIDE = 140
# From this width on there is room for ring time, talk time and direction as well.
WIDEST = 170
# An ended family stays unfolded for so long, so that one can see how it ended and copy its SIDs.
UNFOLDED = timedelta(seconds=60)
# The longest status Twilio documents, "in-progress", with its glyph and a space.
_STATUS_WIDTH = 13
_DIRECTION_WIDTH = 13
_COLUMNS = (
    replace(SID, width=LENGTH + 2, gap=1),
    replace(PARENT, width=LENGTH, gap=1, is_whole=True),
    replace(STATUS, width=_STATUS_WIDTH, is_whole=True),
    Column("FOR", lambda row: row.elapsed, 5, gap=1, is_right=True, is_whole=True),
)
_WIDEST_COLUMNS = (
    *_COLUMNS,
    Column("RING", lambda row: row.ring_time, 5, gap=1, is_right=True, is_whole=True),
    Column("TALK", lambda row: row.talk_time, 5, is_right=True, is_whole=True),
    replace(DIRECTION, width=_DIRECTION_WIDTH, is_whole=True),
)


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that stay together, and how many legs they stand for."""

    lines: list[Text]
    legs: int = 1


def text(content: str = "", look: str = "") -> Text:
    """Return one line that is cut rather than wrapped."""
    from rich.text import Text

    return Text(content, style=look, no_wrap=True, overflow="ellipsis")


def column_titles(*, width: int) -> Text:
    """Return the heading of the one-line layout."""
    return heading(_columns(width)).append("  FROM → TO")


def family_blocks(family: Family[Leg], *, age: Age, width: int) -> Iterator[Block]:
    """Yield a family's rows: its legs, the parent first, or one row if all ended a while ago."""
    if not family.is_live and age(family.last_event_at) > UNFOLDED:
        yield _folded(family, age=age, width=width)
        return
    for leg in family.legs:
        row = _leg_row(leg, age=age, width=width)
        yield Block(_wide(row, width=width) if width >= WIDE else _narrow(row, width=width))


def _columns(width: int) -> Sequence[Column]:
    return _WIDEST_COLUMNS if width >= WIDEST else _COLUMNS


def _leg_row(leg: Leg, *, age: Age, width: int) -> Row:
    has_times = width >= WIDEST
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
        facts=tuple(_facts(leg)),
        unusual=tuple(_unusual(leg)),
    )


def _wide(row: Row, *, width: int) -> list[Text]:
    line = one_line(row, _columns(width)).append("  ")
    append_ends(line, row, width=width)
    return [line]


def _narrow(row: Row, *, width: int) -> list[Text]:
    first = status_line(row, width=width)
    append_ends(first, row, width=width, far_alone=row.is_child)
    of = f" of {printable(row.parent_sid)}" if row.parent_sid else ""
    return [first, text(f"   {printable(row.sid)}{of}")]


def _folded(family: Family[Leg], *, age: Age, width: int) -> Block:
    leg = family.parent or family.children[0]
    others = len(family.legs) - 1
    status = f" {printable(leg.status)}{f' +{others}' if others else ''}  "  # with as many child legs
    sid = printable(leg.call_sid)
    if width - cells(f" {glyph(leg.status)} {sid}{status}") < FAR_WIDTH:
        sid = f"{sid[:SHOWN_START]}…"
    line = text(f" {glyph(leg.status)} {sid}{status}", "dim")
    append_ends(line, _leg_row(leg, age=age, width=width), width=width)
    return Block([line], legs=len(family.legs))


def _facts(leg: Leg) -> Iterator[str]:
    """Yield how a leg ended and who answered."""
    if leg.is_final and leg.duration:
        yield clock(leg.duration)
    if leg.is_final and leg.sip_response_code not in (None, "200"):
        yield f"SIP {printable(leg.sip_response_code or '')}"
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
