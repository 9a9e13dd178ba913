"""One frame of the live table: a pure function of the board, the ages of things and the size of the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callctl.errors import without_secrets
from callctl.views.live.rows import WIDE, Block, column_titles, family_blocks, text
from callctl.views.table import clock
from callctl.views.terminal_safe import printable
from callctl.views.view import WatchState

if TYPE_CHECKING:
    from rich.text import Text

    from callctl.calls.board import Snapshot
    from callctl.support.clock import Age

EVENT_LINES = 5
FEWEST_EVENT_LINES = 2
_INDENT = 6  # cells, of a second line: those of `` watch``, the usual title
# From this height on, a second line of the header may take what has no room in the first.
ROOMY = 16


@dataclass(frozen=True, slots=True)
class Line:
    """A line under the table, and how it looks; a sentence goes on in further ones."""

    text: str
    look: str
    rest: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Return all of it."""
        return (self.text, *self.rest)


PLAIN, TROUBLE = "dim", "bold red"


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything a frame shows.

    ``recent`` are the latest events, the newest last; ``idle`` is shown while there are no calls, ``foot`` always.
    ``age`` returns how long ago a moment was.
    ``is_last``: it stays when the watch has ended, and no other will show more.
    """

    header: WatchState
    snapshot: Snapshot
    recent: Sequence[Line]
    idle: Sequence[str]
    foot: Sequence[str]
    age: Age
    is_last: bool = False


def draw(frame: Frame, *, width: int, height: int) -> list[Text]:
    """Return at most ``height`` lines of at most ``width`` cells."""
    lines = _header(frame.header, width=width, height=height, age=frame.age)
    tail = _tail(frame, width=width, height=height, above=len(lines))
    room = max(0, height - len(lines) - len(tail))
    body = _table(frame, width=width, room=room) if frame.snapshot.families else _block(_plain(_idle(frame)))
    lines += [*body[:room], *tail]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _tail(frame: Frame, *, width: int, height: int, above: int) -> list[Text]:
    """Return the latest events and the foot: as many as leave room for every leg, and so few at least as say something.

    ``above`` is how many lines the header takes.
    """
    legs = frame.snapshot.live + frame.snapshot.ended
    wanted = 1 + above + legs * (1 if width >= WIDE else 2) + len(frame.foot)
    shown = min(EVENT_LINES, max(FEWEST_EVENT_LINES, height - wanted - 2))
    tail = _block(_latest(frame.recent, room=shown)) + _block(_plain(frame.foot))
    return tail if len(tail) <= height // 3 else []


def _latest(recent: Sequence[Line], *, room: int) -> list[Line]:
    """Return what has room, in its order: the newest, the last trouble, which events must not push away, and others.

    The others are shown whole or not at all: half a sentence says nothing.
    """
    newest_first = range(len(recent) - 1, -1, -1)
    troubles = [index for index in newest_first if recent[index].look == TROUBLE]
    first = [*newest_first[:1], *troubles[:1]]
    chosen: dict[int, Line] = {}
    for index in dict.fromkeys([*first, *newest_first]):
        lines = recent[index].lines
        if room < (1 if index in first else len(lines)):
            break
        text, *rest = lines[:room]
        chosen[index] = Line(text, recent[index].look, tuple(rest))
        room -= 1 + len(rest)
    return [chosen[index] for index in sorted(chosen)]


def _header(header: WatchState, *, width: int, height: int, age: Age) -> list[Text]:
    """Return one line; or two, where the first has no room for all down to the callback URL, and the window is high."""
    first = text(f" {printable(header.title)}", "bold reverse")
    second = text(" " * _INDENT, "bold reverse")
    for alarm in _alarms(header):
        first.append(f" {alarm} ", "bold white on red")
    lines = [first]
    rest = _append(first, list(_header_parts(header)), width=width)
    if rest and height >= ROOMY:
        lines.append(second.append(f"  {rest[0]}"))
        rest = _append(second, rest[1:], width=width)
    if header.last_callback_at and not rest:
        ago = _ago(age(header.last_callback_at).total_seconds())
        _append(lines[-1], [f"last callback {ago} ago"], width=width)
    for line in lines:
        line.pad_right(max(0, width - line.cell_len))
    return lines


def _append(line: Text, parts: Sequence[str], *, width: int) -> Sequence[str]:
    """Append what there is room for; return the rest."""
    for number, part in enumerate(parts):
        if line.cell_len + 2 + len(part) > width:
            return parts[number:]
        line.append(f"  {part}")
    return ()


def _alarms(header: WatchState) -> Iterator[str]:
    """Yield what must be seen at any width: no callback can arrive, signatures are not checked, rules stopped."""
    if header.unreachable:
        yield f"deaf: {printable(header.unreachable)}"
    if header.unverified:
        yield "unverified"
    if header.rules_stopped:
        yield "rules stopped"


def _header_parts(header: WatchState) -> Iterator[str]:
    if header.events_read is not None:
        yield f"reading the store: {header.events_read:,} events"
    if header.shown_only:
        yield f"only {printable(header.shown_only)}"
    if header.rules:
        yield header.rules
    if header.api_url:
        yield f"API {printable(header.api_url)}"
    counts = f"{header.accepted} ok"
    for count, word in (
        (header.refused, "refused"),
        (header.duplicates, "twice"),
        (header.failed, "not stored"),
        *((count, kind) for kind, count in header.features.items()),
        (header.misdirected, "to another path"),
        (header.ignored, "no callback"),
    ):
        counts += f"  {count} {word}" if count else ""
    yield counts
    yield header.listening
    if header.callback_url:
        trip = "" if header.round_trip is None else f" ✓ {header.round_trip * 1000:.0f} ms"
        yield f"{printable(without_secrets(header.callback_url))}{trip}"


def _ago(seconds: float) -> str:
    return f"{max(0, int(seconds))} s" if seconds < 100 else clock(seconds)


def _block(lines: Sequence[Line]) -> list[Text]:
    shown = [text(f" {printable(part)}", line.look) for line in lines for part in line.lines]
    return [text(), *shown] if shown else []


def _idle(frame: Frame) -> Sequence[str]:
    return frame.idle if frame.header.events_read is None else ("Reading what the store knows …",)


def _plain(lines: Sequence[str]) -> list[Line]:
    return [Line(line, "") for line in lines]


def _table(frame: Frame, *, width: int, room: int) -> list[Text]:
    """Return the legs that fit, and how many do not: only what is visible is drawn, however many legs there are."""
    head = [column_titles(width=width)] if width >= WIDE else []
    shown = _fitting(_family_blocks(frame, width=width), room=room - len(head))
    hidden = frame.snapshot.live + frame.snapshot.ended - sum(block.legs for block in shown)
    body = [line for block in shown for line in block.lines]
    more = f" … {hidden} more {'leg' if hidden == 1 else 'legs'}{'' if frame.is_last else ': make the window higher'}"
    return [*head, *body, *([text(more, "dim")] if hidden else [])]


def _fitting(blocks: Iterator[Block], *, room: int) -> list[Block]:
    """Return all blocks if they fit, else as many as leave a line for saying how many legs do not."""
    fitting: list[Block] = []
    for block in blocks:
        fitting.append(block)
        room -= len(block.lines)
        if room < 0:
            while fitting and room < 1:
                room += len(fitting.pop().lines)
            break
    return fitting


def _family_blocks(frame: Frame, *, width: int) -> Iterator[Block]:
    """Yield the blocks of each family: those with a live leg first, the newest first among them."""
    for live in (True, False):
        for family in frame.snapshot.families:
            if family.is_live is live:
                yield from family_blocks(family, age=frame.age, width=width)
