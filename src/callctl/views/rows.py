"""The rows of the live table: a leg in one line or two, a family that ended a while ago in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from callctl.events import CALLBACK
from callctl.views.foreign import printable
from callctl.views.lines import UNVERIFIED
from callctl.views.statuses import glyph, style
from callctl.views.tables import ENDS_AT, clock

if TYPE_CHECKING:
    from rich.text import Text

    from callctl.board import Family, Leg

# From this width on, a row has room for every fact beside two whole SIDs.
WIDE = 140
# From this width on there is room for ring time, talk time and direction as well.
WIDEST = 170
# An ended family stays unfolded for so long, so that one can see how it ended and copy its SIDs.
UNFOLDED = timedelta(seconds=60)
# The longest status Twilio documents, "in-progress", with its glyph and a space.
STATUS_WIDTH = 13
SID_WIDTH = 34
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
    sid, parent = "CALL SID".ljust(SID_WIDTH + 2), "PARENT CALL SID".ljust(SID_WIDTH)
    lesser = f"  RING   TALK  {'DIRECTION'.ljust(DIRECTION_WIDTH)}" if width >= WIDEST else ""
    return text(f" {sid} {parent}  {'STATUS'.ljust(STATUS_WIDTH)}   FOR{lesser}  FROM → TO", "bold")


def family_rows(family: Family, *, now: datetime, width: int) -> Iterator[Row]:
    """Yield a family's rows: its legs, the parent first, or one row if all ended a while ago."""
    if not family.is_live and now - family.last_event_at > UNFOLDED:
        yield _folded(family, width=width)
        return
    for leg in family.legs:
        yield Row((_wide if width >= WIDE else _narrow)(leg, now=now, width=width))


def _folded(family: Family, *, width: int) -> Row:
    leg = family.parent or family.children[0]
    line = text(f" {glyph(leg.status)} {printable(leg.call_sid)} {printable(leg.status)}", "dim")
    others = len(family.legs) - 1
    line.append(f" +{others}" if others else "")  # as many child legs
    line.append("  ")
    _append_ends(line, leg, _ends(leg), width=width)
    return Row([line], legs=len(family.legs))


def _branch(leg: Leg) -> str:
    return "└ " if leg.parent_call_sid else ""


def _wide(leg: Leg, *, now: datetime, width: int) -> list[Text]:
    line = text(f" {(_branch(leg) + printable(leg.call_sid)).ljust(SID_WIDTH + 2)} ")
    line.append(f"{printable(leg.parent_call_sid or '-').ljust(SID_WIDTH)}  ")
    line.append(f"{glyph(leg.status)} {printable(leg.status)}".ljust(STATUS_WIDTH), style=style(leg.status))
    line.append(f" {_elapsed(leg, now=now):>5}")
    if width >= WIDEST:
        direction = printable(leg.direction).ljust(DIRECTION_WIDTH)
        line.append(f" {_ring_time(leg, now=now):>5}  {_talk_time(leg, now=now):>5}  {direction}")
    line.append("  ")
    _append_ends(line, leg, _ends(leg), width=width)
    return [line]


def _narrow(leg: Leg, *, now: datetime, width: int) -> list[Text]:
    branch = _branch(leg)
    first = text(f" {branch}")
    status = f"{glyph(leg.status)} {printable(leg.status)} {_elapsed(leg, now=now)}"
    first.append(status, style=style(leg.status))
    first.pad_right(max(1, ENDS_AT - first.cell_len))
    _append_ends(first, leg, f"→ {printable(leg.to)}" if branch else _ends(leg), width=width)
    of = f" of {printable(leg.parent_call_sid)}" if leg.parent_call_sid else ""
    return [first, text(f"   {printable(leg.call_sid)}{of}")]


def _ends(leg: Leg) -> str:
    return f"{printable(leg.from_)} → {printable(leg.to)}"


def _append_ends(line: Text, leg: Leg, ends: str, *, width: int) -> None:
    """Append who talks to whom and the facts; where not all has room, what is not as usual comes first."""
    facts, unusual = _facts(leg), _unusual(leg)
    whole = f"{ends}{_in_brackets([*facts, *unusual])}"
    if unusual and line.cell_len + text(whole).cell_len > width:
        whole = f"{_in_brackets(unusual).strip()} {ends}{_in_brackets(facts)}"
    line.append(whole)


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


def _elapsed(leg: Leg, *, now: datetime) -> str:
    if leg.is_final:
        return "ended"
    return clock((now - leg.status_since).total_seconds())


def _ring_time(leg: Leg, *, now: datetime) -> str:
    if leg.ringing_at is None:
        return ""
    return clock(((leg.answered_at or leg.ended_at or now) - leg.ringing_at).total_seconds())


def _talk_time(leg: Leg, *, now: datetime) -> str:
    if leg.answered_at is None:
        return ""
    return clock(((leg.ended_at or now) - leg.answered_at).total_seconds())
