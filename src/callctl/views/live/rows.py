"""The rows of the live table: a leg in one line or two, a family that ended a while ago in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from callctl.calls.event import CALLBACK
from callctl.calls.sid import LENGTH, SHOWN_START
from callctl.views.lines import UNVERIFIED
from callctl.views.style import glyph, style
from callctl.views.table import cells, clock, far_end, pad_for
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from rich.text import Text

    from callctl.calls.board import Family, Leg
    from callctl.support.clock import Age

# From this width on, a row has room for every fact beside two whole SIDs.
WIDE = 140
# From this width on there is room for ring time, talk time and direction as well.
WIDEST = 170
# An ended family stays unfolded for so long, so that one can see how it ended and copy its SIDs.
UNFOLDED = timedelta(seconds=60)
# The longest status Twilio documents, "in-progress", with its glyph and a space.
STATUS_WIDTH = 13
# The longest phone number, with its plus and the arrow before it.
FAR_WIDTH = 18
DIRECTION_WIDTH = 13


@dataclass(frozen=True, slots=True)
class Row:
    """Lines that stay together, and how many legs they stand for."""

    lines: list[Text]
    legs: int = 1


def text(content: str = "", look: str = "") -> Text:
    """Return one line that is cut rather than wrapped."""
    from rich.text import Text

    return Text(content, style=look, no_wrap=True, overflow="ellipsis")


def columns(*, width: int) -> Text:
    """Return the heading of the one-line layout."""
    sid, parent = "CALL SID".ljust(LENGTH + 2), "PARENT CALL SID".ljust(LENGTH)
    lesser = f"  RING   TALK  {'DIRECTION'.ljust(DIRECTION_WIDTH)}" if width >= WIDEST else ""
    return text(f" {sid} {parent}  {'STATUS'.ljust(STATUS_WIDTH)}   FOR{lesser}  FROM → TO", "bold")


def family_rows(family: Family, *, age: Age, width: int) -> Iterator[Row]:
    """Yield a family's rows: its legs, the parent first, or one row if all ended a while ago."""
    if not family.is_live and age(family.last_event_at) > UNFOLDED:
        yield _folded(family, width=width)
        return
    for leg in family.legs:
        yield Row((_wide if width >= WIDE else _narrow)(leg, age=age, width=width))


def _folded(family: Family, *, width: int) -> Row:
    leg = family.parent or family.children[0]
    others = len(family.legs) - 1
    status = f" {printable(leg.status)}{f' +{others}' if others else ''}  "  # with as many child legs
    sid = printable(leg.call_sid)
    if width - cells(f" {glyph(leg.status)} {sid}{status}") < FAR_WIDTH:
        sid = f"{sid[:SHOWN_START]}…"
    line = text(f" {glyph(leg.status)} {sid}{status}", "dim")
    _append_ends(line, leg, width=width)
    return Row([line], legs=len(family.legs))


def _branch(leg: Leg) -> str:
    return "└ " if leg.parent_call_sid else ""


def _wide(leg: Leg, *, age: Age, width: int) -> list[Text]:
    line = text(f" {(_branch(leg) + printable(leg.call_sid)).ljust(LENGTH + 2)} ")
    line.append(f"{printable(leg.parent_call_sid or '-').ljust(LENGTH)}  ")
    line.append(f"{glyph(leg.status)} {printable(leg.status)}".ljust(STATUS_WIDTH), style=style(leg.status))
    line.append(f" {_elapsed(leg, age=age):>5}")
    if width >= WIDEST:
        direction = printable(leg.direction).ljust(DIRECTION_WIDTH)
        line.append(f" {_ring_time(leg, age=age):>5}  {_talk_time(leg, age=age):>5}  {direction}")
    line.append("  ")
    _append_ends(line, leg, width=width)
    return [line]


def _narrow(leg: Leg, *, age: Age, width: int) -> list[Text]:
    branch = _branch(leg)
    first = text(f" {branch}")
    status = f"{glyph(leg.status)} {printable(leg.status)} {_elapsed(leg, age=age)}"
    first.append(status, style=style(leg.status))
    pad_for(_far_end(leg), first, width=width)
    _append_ends(first, leg, width=width, far_alone=bool(branch))
    of = f" of {printable(leg.parent_call_sid)}" if leg.parent_call_sid else ""
    return [first, text(f"   {printable(leg.call_sid)}{of}")]


def _far_end(leg: Leg) -> str:
    return far_end(printable(leg.from_), printable(leg.to), direction=leg.direction)


def _append_ends(line: Text, leg: Leg, *, width: int, far_alone: bool = False) -> None:
    """Append who talks to whom and the facts. Where not all has room, one's own end gives way, and facts do.

    What is not as usual goes before the facts, and before the ends where it would be cut behind them.
    """
    room, facts, unusual = width - line.cell_len, _facts(leg), _unusual(leg)
    far, marks = _far_end(leg), _in_brackets(unusual).strip()
    both = far if far_alone else f"{printable(leg.from_)} → {printable(leg.to)}"
    if cells(whole := f"{both}{_in_brackets([*facts, *unusual])}") <= room:
        line.append(whole)
        return
    fitting = (one for end in (both, far) if cells(one := f"{marks} {end}".strip()) <= room)
    found, rest = next(fitting, ""), facts
    if not found and cells(far) <= min(room, FAR_WIDTH):
        found, rest = far, [*unusual, *facts]  # a number is whole or of no use
    found = found or f"{marks} {far}".lstrip()
    # Where a line is cut, the sign of it stands in its last cell.
    line.append(found if cells(found) == room else f"{found}{_in_brackets(rest)}")


def _in_brackets(facts: list[str]) -> str:
    return f"  ({', '.join(facts)})" if facts else ""


def _facts(leg: Leg) -> list[str]:
    """Return how a leg ended and who answered."""
    facts = []
    if leg.is_final and leg.duration:
        facts.append(clock(leg.duration))
    if leg.is_final and leg.sip_response_code not in (None, "200"):
        facts.append(f"SIP {printable(leg.sip_response_code or '')}")
    if leg.answered_by:
        facts.append(printable(leg.answered_by))
    return facts


def _unusual(leg: Leg) -> list[str]:
    """Return what is not as usual about who told of a leg."""
    told = {leg.source: leg.source != CALLBACK, UNVERIFIED: not leg.verified}
    return [mark for mark, is_so in told.items() if is_so]


def _elapsed(leg: Leg, *, age: Age) -> str:
    if leg.is_final:
        return "ended"
    return clock(age(leg.status_since).total_seconds())


def _ring_time(leg: Leg, *, age: Age) -> str:
    if leg.ringing_at is None:
        return ""
    return _span(leg.ringing_at, leg.answered_at or leg.ended_at, age=age)


def _talk_time(leg: Leg, *, age: Age) -> str:
    if leg.answered_at is None:
        return ""
    return _span(leg.answered_at, leg.ended_at, age=age)


def _span(begun: datetime, ended: datetime | None, *, age: Age) -> str:
    return clock((age(begun) if ended is None else ended - begun).total_seconds())
