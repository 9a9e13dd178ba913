"""One frame of the live table: a pure function of the board, the time and the size of the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from callctl.views.foreign import printable
from callctl.views.header import Header
from callctl.views.statuses import glyph, style
from callctl.views.tables import WIDE, clock

if TYPE_CHECKING:
    from rich.text import Text

    from callctl.board import Family, Leg, Snapshot

# The longest status Twilio documents, "in-progress", with its glyph and a space.
STATUS_WIDTH = 13
SID_WIDTH = 34
EVENT_LINES = 5
FEWEST_EVENT_LINES = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything a frame shows.

    ``recent`` are the latest events as lines, the newest last; ``idle`` is shown while there are no calls, ``foot``
    always.
    """

    header: Header
    snapshot: Snapshot
    recent: Sequence[str]
    idle: Sequence[str]
    foot: Sequence[str]
    now: datetime


def draw(frame: Frame, *, width: int, height: int) -> list[Text]:
    """Return at most ``height`` lines of at most ``width`` cells."""
    lines = [_header(frame.header, width=width, now=frame.now)]
    tail = _tail(frame, width=width, height=height)
    room = max(0, height - len(lines) - len(tail))
    body = _table(frame, width=width, room=room) if frame.snapshot.families else _block(frame.idle)
    lines += [*body[:room], *tail]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _tail(frame: Frame, *, width: int, height: int) -> list[Text]:
    """Return the latest events and the foot: all of them if every leg still fits, else as few as say something."""
    legs = frame.snapshot.live + frame.snapshot.ended
    wanted = 2 + legs * (1 if width >= WIDE else 2) + len(frame.foot)
    shown = EVENT_LINES if wanted + EVENT_LINES + 2 <= height else FEWEST_EVENT_LINES
    tail = _block(frame.recent[-shown:], look="dim") + _block(frame.foot)
    return tail if len(tail) <= height // 3 else []


def _text(content: str = "", look: str = "") -> Text:
    from rich.text import Text

    return Text(content, style=look, no_wrap=True, overflow="ellipsis")


def _header(header: Header, *, width: int, now: datetime) -> Text:
    line = _text(f" {printable(header.title)}", "bold reverse")
    for part in _header_parts(header, now=now):
        if line.cell_len + 2 + len(part) > width:
            break
        line.append(f"  {part}")
    line.pad_right(max(0, width - line.cell_len))
    return line


def _header_parts(header: Header, *, now: datetime) -> Iterator[str]:
    if header.api_url:
        yield f"API {printable(header.api_url)}"
    counts = f"{header.accepted} ok"
    for count, word in ((header.refused, "refused"), (header.duplicates, "twice"), (header.failed, "not stored")):
        counts += f"  {count} {word}" if count else ""
    yield counts
    yield header.listening
    if header.callback_url:
        yield printable(header.callback_url)
    if header.last_callback_at:
        yield f"last callback {_ago((now - header.last_callback_at).total_seconds())} ago"


def _ago(seconds: float) -> str:
    return f"{max(0, int(seconds))} s" if seconds < 100 else clock(seconds)


def _block(lines: Sequence[str], *, look: str = "") -> list[Text]:
    return [_text(), *(_text(f" {printable(line)}", look) for line in lines)] if lines else []


def _table(frame: Frame, *, width: int, room: int) -> list[Text]:
    wide = width >= WIDE
    rows = _rows(frame.snapshot, now=frame.now, wide=wide)
    head = [_columns()] if wide else []
    per_leg = 1 if wide else 2
    legs = frame.snapshot.live + frame.snapshot.ended
    space = max(0, room - len(head)) // per_leg
    if legs > space:
        space = max(0, room - len(head) - 1) // per_leg
    body = [line for row in islice(rows, space) for line in row]
    hidden = legs - min(legs, space)
    more = (
        [_text(f" … {hidden} more {'leg' if hidden == 1 else 'legs'}: make the window higher", "dim")] if hidden else []
    )
    return head + body + more


def _columns() -> Text:
    sid = "CALL SID".ljust(SID_WIDTH + 2)
    parent = "PARENT CALL SID".ljust(SID_WIDTH + 2)
    return _text(f" {sid} {parent} {'STATUS'.ljust(STATUS_WIDTH)}   FOR  FROM → TO", "bold")


def _rows(snapshot: Snapshot, *, now: datetime, wide: bool) -> Iterator[list[Text]]:
    """Yield the lines of each leg: families with a live leg first, the newest first among them."""
    for live in (True, False):
        for family in snapshot.families:
            if family.is_live is live:
                yield from _family_rows(family, now=now, wide=wide)


def _family_rows(family: Family, *, now: datetime, wide: bool) -> Iterator[list[Text]]:
    row = _wide_row if wide else _narrow_row
    if family.parent is not None:
        yield row(family.parent, now=now)
    for child in family.children:
        yield row(child, now=now)


def _branch(leg: Leg) -> str:
    return "└ " if leg.parent_call_sid else ""


def _wide_row(leg: Leg, *, now: datetime) -> list[Text]:
    line = _text(f" {(_branch(leg) + printable(leg.call_sid)).ljust(SID_WIDTH + 2)} ")
    line.append(f"{printable(leg.parent_call_sid or '-').ljust(SID_WIDTH + 2)} ")
    line.append(f"{glyph(leg.status)} {printable(leg.status)}".ljust(STATUS_WIDTH), style=style(leg.status))
    line.append(f" {_elapsed(leg, now=now):>5}  {_ends(leg)}{_outcome(leg)}")
    return [line]


def _narrow_row(leg: Leg, *, now: datetime) -> list[Text]:
    branch = _branch(leg)
    first = _text(f" {branch}")
    status = f"{glyph(leg.status)} {printable(leg.status)} {_elapsed(leg, now=now)}"
    first.append(status, style=style(leg.status))
    first.pad_right(max(1, 24 - first.cell_len))
    first.append((f"→ {printable(leg.to)}" if branch else _ends(leg)) + _outcome(leg))
    of = f" of {printable(leg.parent_call_sid)}" if leg.parent_call_sid else ""
    return [first, _text(f"   {printable(leg.call_sid)}{of}")]


def _ends(leg: Leg) -> str:
    return f"{printable(leg.from_)} → {printable(leg.to)}"


def _outcome(leg: Leg) -> str:
    facts = []
    if leg.is_final and leg.duration:
        facts.append(clock(leg.duration))
    if leg.is_final and leg.sip_response_code not in (None, "200"):
        facts.append(f"SIP {printable(leg.sip_response_code or '')}")
    if leg.answered_by:
        facts.append(printable(leg.answered_by))
    return f"  ({', '.join(facts)})" if facts else ""


def _elapsed(leg: Leg, *, now: datetime) -> str:
    if leg.is_final:
        return "ended"
    return clock((now - leg.status_since).total_seconds())
