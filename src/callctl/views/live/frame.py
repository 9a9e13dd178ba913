"""One frame of the live table: a pure function of the board, what a person has made of it, the time and the size."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unicodedata import category

from callctl.calls.call import CallStatus
from callctl.calls.masked_numbers import masked_leg
from callctl.errors import without_secrets
from callctl.views.live.filter import masked_filter_text
from callctl.views.live.rows import SHORT_WORDS, WIDE, LegRow, Style, column_titles, failures_line, leg_lines, text
from callctl.views.live.sorted_legs import FAILURES, Listing, Sort
from callctl.views.live.state import Filtering, Page, Question, ViewState
from callctl.views.table import cells, clock, fit
from callctl.views.terminal_safe import printable
from callctl.views.view import WatchState

if TYPE_CHECKING:
    from rich.text import Text

    from callctl.support.clock import Age

EVENT_LINES = 5
FEWEST_EVENT_LINES = 2
_INDENT = 6  # cells, of a second line: those of `` watch``, the usual title
# From this height on, a second line of the header may take what has no room in the first.
ROOMY = 16
# In which order statuses are counted in the header; others follow.
_COUNTED = (CallStatus.RINGING, CallStatus.IN_PROGRESS, CallStatus.QUEUED, CallStatus.INITIATED)
# The keys in the foot: what each does, and which are left out first where there is no room.
_CHANGING = (("x hang up", 1), ("r redirect", 5))  # they change calls
_KEYS = (
    ("↑↓ select", 7),
    ("⏎ details", 6),
    *_CHANGING,
    ("/ filter", 4),
    ("? keys", 0),
    ("q quit", 3),
)
_CLEARS = ("Esc clears", 2)  # while there is a filter, or marks
_WHILE_TYPING = (("↑↓ select", 2), ("⏎ done", 0), ("Esc clears", 1))  # a filter, of which every letter is part
# What may be chosen in the foot: between three blanks, and with single ones, at which no line ends.
_CHOICE = re.compile(r"\S+:( \S+)+")
_KEPT_BLANK = "\u00a0"
_FIGURES = 24  # cells that the figures take beside a message


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


PLAIN, TROUBLE, QUESTION = "dim", "bold red", "bold"


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything a frame shows.

    ``recent`` are the latest events, the newest last; ``idle`` is shown while there are no calls, ``below`` always.
    ``question`` is what is mode or said in the foot. ``page`` are the lines of the page that is open.
    ``age`` returns how long ago a moment was.
    ``has_keys``: it is operated, and with ``may_act`` keys change calls. ``is_last``: it stays when the watch has
    ended, and no other will show more.
    ``waiting`` counts the events that came since the picture was held, at ``held_since``; ``row_age`` is the age of
    what the rows show, if it is not ``age``. ``in_flight`` says which actions
    have no outcome yet. ``masks_numbers``: the rows are drawn with numbers masked, and so is the filter unless it is
    being typed; all other texts are masked already.
    """

    header: WatchState
    listing: Listing
    state: ViewState
    recent: Sequence[Line]
    idle: Sequence[str]
    below: Sequence[str]
    age: Age
    question: Sequence[str] = ()
    page: Sequence[str] = ()
    has_keys: bool = False
    may_act: bool = True
    masks_numbers: bool = False
    is_last: bool = False
    waiting: int = 0
    held_since: str = ""
    row_age: Age | None = None
    in_flight: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of a frame goes, in lines. ``room`` is for how many rows or, of a page, how many lines."""

    width: int
    height: int
    header: list[Text]
    tail: list[Text]
    rows: Style
    room: int
    has_last_line: bool = False


def lay_out(frame: Frame, *, width: int, height: int) -> Layout:
    """Return how much room there is for rows. They take two lines each if all of them fit so; else one."""
    header = _header(frame, width=width, height=height)
    foot = _foot(frame, width=width, height=height)
    has_last_line = _scrolls(frame) and not _asks(frame)
    free = height - len(header) - len(foot) - has_last_line
    if isinstance(frame.state.mode, Page):
        return Layout(width, height, header, foot, Style(width, is_two_lines=False), max(1, free), has_last_line)
    count = len(frame.listing.rows)
    rows = Style(width, is_two_lines=width < WIDE)
    events = _events(frame, height=height, free=free - count * rows.height - rows.has_titles)
    if count * rows.height + rows.has_titles > free - len(events):
        rows = Style(width, is_two_lines=False)
    sids = [] if rows.has_whole_sids or frame.is_last else _selected_sids(frame, width=width)
    if rows.height == 1:
        events = _events(frame, height=height, free=free - len(sids) - count - rows.has_titles)
    room = (free - len(events) - len(sids) - rows.has_titles) // rows.height
    return Layout(width, height, header, [*sids, *events, *foot], rows, max(1, room), has_last_line)


def draw(frame: Frame, layout: Layout) -> list[Text]:
    """Return at most as many lines, of at most as many cells, as the layout has."""
    if isinstance(frame.state.mode, Page):
        top = frame.state.mode.top
        body = [text(f" {printable(line)}") for line in frame.page[top : top + layout.room]]
    elif frame.listing.total:
        body = _table(frame, layout)
    else:
        # A line that is to be pasted elsewhere must not end in dots.
        body = _block([Line(line, "") for line in wrapped_page(_idle(frame), width=layout.width - 1)])
    last = [_last_line(frame, layout)] if layout.has_last_line else []
    room = max(0, layout.height - len(layout.header) - len(layout.tail) - len(last))
    fill = [text()] * (room - len(body)) if _scrolls(frame) else []
    lines = [*layout.header, *body[:room], *fill, *layout.tail, *last]
    for line in lines:
        fit(line, layout.width)
    return lines[: layout.height]


def wrapped_page(lines: Sequence[str], *, width: int) -> list[str]:
    """Return the lines of a page, those that are longer than ``width`` cells on several, which stand further in.

    The blanks between columns are fewer then.
    """
    wide = max(20, width)
    wrapped: list[str] = []
    for line in map(printable, lines):
        if cells(line) <= wide:
            wrapped.append(line)
            continue
        words = line.lstrip()
        lead = min(len(line) - len(words), wide // 2)
        further = " " * (lead + 2)
        wrapped += wrap(re.sub(r" {3,}", "  ", words), wide, initial_indent=" " * lead, subsequent_indent=further)
    return wrapped


def wrap(text: str, width: int, *, initial_indent: str = "", subsequent_indent: str = "") -> list[str]:
    """Return a text on lines of at most so many cells, as textwrap, which counts characters, would.

    It is broken at blanks, and within a word that is wider than a line. A letter keeps its marks. A word may be
    narrower or wider than its pieces together: what is left of it is counted by these until it is short.
    """
    lines: list[str] = []
    line, has_words = initial_indent, False
    for blanks, word in re.findall("( *)([^ ]+)", printable(re.sub("[\t-\r]", " ", text))):
        between, rest, size = blanks if has_words else "", word, cells(word)
        while rest and cells(line) + cells(between) + size > width:
            if cells(subsequent_indent) + size > width:
                room = width - cells(line) - cells(between)
                begin = _beginning(rest, room, at_least=0 if has_words else 1)
                line, rest, size = f"{line}{between}{begin}" if begin else line, rest[len(begin) :], size - cells(begin)
                size = size if size > 2 * width else cells(rest)
            lines.append(line)
            line, between, has_words = subsequent_indent, "", False
        if rest:
            line, has_words = f"{line}{between}{rest}", True
    return [*lines, line] if has_words else lines


def _beginning(word: str, room: int, *, at_least: int) -> str:
    """Return as much of a word as fits into so many cells, but so many letters at least."""
    kept = letters = 0
    for end in range(1, len(word) + 1):
        if end < len(word) and category(word[end]).startswith("M"):
            continue
        if letters >= at_least and cells(word[:end]) > room:
            break
        kept, letters = end, letters + 1
    return word[:kept]


# Header


def _header(frame: Frame, *, width: int, height: int) -> list[Text]:
    """Return one line; or two, where the first has no room for all of it, and the window is high."""
    header = frame.header
    title, alarms, counts = f" {printable(header.title)}", list(_alarms(header)), list(_counts(frame))
    first, second = text("", "bold reverse"), text(" " * _INDENT, "bold reverse")
    short = [alarm.partition(":")[0] for alarm in alarms]
    # How it begins: whatever is left out, alarms and counts are there, and failures before other counts.
    brief = list(_counts(frame, is_brief=True))
    beginnings = [(title, alarms, counts), ("", alarms, counts), (title, short, counts), ("", short, counts)]
    beginnings += [("", alarms, brief), ("", short, brief)]
    fitting = (beginning for beginning in beginnings if _cells_of(*beginning) <= width)
    last = ("", short, brief[-1:] + brief[:-1]) if frame.listing.failures else ("", short, brief)
    name, alarms, counts = next(fitting, last if counts else (title, alarms, counts))
    first.append(name)
    for alarm in alarms:
        first.append(f" {alarm} ", "bold white on red")
    lines = [first]
    rest = _append(first, [*counts, *_header_parts(header)], width=width)
    if rest and height >= ROOMY:
        lines.append(second.append(f"  {rest[0]}"))
        rest = _append(second, rest[1:], width=width)
    if header.last_callback_at and not rest:
        ago = _ago(frame.age(header.last_callback_at).total_seconds())
        _append(lines[-1], [f"last {ago} ago"], width=width)
    for line in lines:
        line.pad_right(max(0, width - cells(line.plain)))
    return lines


def _cells_of(title: str, alarms: Sequence[str], counts: Sequence[str]) -> int:
    return cells(title) + sum(cells(alarm) + 2 for alarm in alarms) + sum(cells(count) + 2 for count in counts)


def _append(line: Text, parts: Sequence[str], *, width: int) -> Sequence[str]:
    """Append what there is room for; return the rest."""
    for number, part in enumerate(parts):
        if cells(line.plain) + 2 + cells(part) > width:
            return parts[number:]
        line.append(f"  {part}")
    return ()


def _alarms(header: WatchState) -> Iterator[str]:
    """Yield what must be seen at any width: no callback can arrive, signatures are not checked, rules stopped."""
    if header.unreachable:
        yield f"unreachable: {printable(header.unreachable)}"
    if header.unverified:
        yield "unverified"
    if header.rules_stopped:
        yield "rules stopped"


def _counts(frame: Frame, *, is_brief: bool = False) -> Iterator[str]:
    """Yield how many legs have each live status, and last how many failures are new."""
    counts = frame.listing.counts
    others = [status for status, count in counts.items() if count and status not in _COUNTED]
    live = [status for status in others if status not in set(CallStatus)]
    for status in (*_COUNTED, *live):
        if counts.get(status):
            word = printable(status)
            yield f"{counts[status]} {SHORT_WORDS.get(word, word) if is_brief else word}"
    if frame.listing.failures:
        yield f"{len(frame.listing.failures)} failed{'' if is_brief else ' in 5 min'}"


def _header_parts(header: WatchState) -> Iterator[str]:
    if header.events_read is not None:
        yield f"reading the store: {header.events_read:,} events"
    if header.nobody_polls:
        yield "nothing polls REST"
    if header.shown_only:
        yield f"only {printable(header.shown_only)}"
    if header.callback_url:
        trip = "" if header.round_trip is None else f" ✓ {header.round_trip * 1000:.0f} ms"
        yield f"{printable(without_secrets(header.callback_url))}{trip}"
    else:
        yield header.listening
    yield f"{header.accepted} callback{'' if header.accepted == 1 else 's'}"
    for count, word in (
        (header.refused, "refused"),
        (header.duplicates, "twice"),
        (header.failed, "not stored"),
        (header.misdirected, "to another path"),
        (header.ignored, "no callback"),
    ):
        if count:
            yield f"{count} {word}"
    if header.rules:
        yield header.rules
    if header.api_url:
        yield f"API {printable(header.api_url)}"
    yield from (f"{count} {kind}" for kind, count in header.features.items() if count)
    if header.callback_url:
        yield header.listening


def _ago(seconds: float) -> str:
    return f"{max(0, int(seconds))} s" if seconds < 100 else clock(seconds)


# Body


def _idle(frame: Frame) -> Sequence[str]:
    return frame.idle if frame.header.events_read is None else ("Reading what the store knows …",)


def _table(frame: Frame, layout: Layout) -> list[Text]:
    """Return the rows on the screen: only what is visible is drawn, however many legs there are."""
    listing, state, width = frame.listing, frame.state, layout.width
    lines = [column_titles(width=width)] if layout.rows.has_titles else []
    rows = listing.rows[state.top : state.top + layout.room]
    hidden = 0 if _scrolls(frame) else len(listing.rows) - len(rows)
    if hidden and layout.rows.height == 1:  # the last line says so
        rows, hidden = rows[:-1], hidden + 1
    for sid in rows:
        lines += _row_lines(frame, layout, sid)
    if hidden:
        how = "" if frame.is_last else ": make the window higher"
        lines.append(text(f" … {hidden} more {'leg' if hidden == 1 else 'legs'}{how}", PLAIN))
    if not listing.rows:
        lines.append(text(" No leg matches the filter.", PLAIN))
    return lines


def _scrolls(frame: Frame) -> bool:
    return frame.has_keys and not frame.is_last


def _row_lines(frame: Frame, layout: Layout, sid: str) -> list[Text]:
    listing, state = frame.listing, frame.state
    if sid == FAILURES:
        return [_failures(frame, width=layout.width)]
    leg = listing.leg(sid)
    if leg is None:
        return []
    failure = listing.failures.get(sid)
    shown = LegRow(
        masked_leg(leg) if frame.masks_numbers else leg,
        is_selected=sid == state.selected and not frame.is_last,
        is_marked=sid in state.marks and not frame.is_last,
        rings_too_long=sid in listing.rings_too_long,
        failure=None if failure is None else failure.words,
    )
    return leg_lines(shown, layout.rows, age=frame.row_age or frame.age)


def _failures(frame: Frame, *, width: int) -> Text:
    listing, state = frame.listing, frame.state
    return failures_line(
        len(listing.failures),
        is_open=state.failures_open,
        is_selected=state.selected == FAILURES and not frame.is_last,
        words=list(dict.fromkeys(failure.words for failure in listing.failures.values())),
        width=width,
    )


# Foot


def _events(frame: Frame, *, height: int, free: int) -> list[Text]:
    """Return the latest events: as many as leave room for every row, and so few at least as say something.

    ``free`` is how many lines are left when every row is shown.
    """
    shown = min(EVENT_LINES, max(FEWEST_EVENT_LINES, free - 1))
    events = _block(_latest(frame.recent, room=shown))
    return events if len(events) <= height // 3 else []


def _latest(recent: Sequence[Line], *, room: int) -> list[Line]:
    """Return what has room, in its order: the newest, troubles, which events must not push away, and others.

    The others are shown whole or not at all: half a sentence says nothing. The last trouble has a line at least.
    """
    newest_first = range(len(recent) - 1, -1, -1)
    troubles = [index for index in newest_first if recent[index].look == TROUBLE]
    first = [*newest_first[:1], *troubles]
    kept = 1 if troubles and room > 1 and first[0] != troubles[0] else 0
    chosen: dict[int, Line] = {}
    for index in dict.fromkeys([*first, *newest_first]):
        lines = recent[index].lines
        if room < (1 if index in first else len(lines)):
            break
        text, *rest = lines[: room - kept]
        kept = 0
        chosen[index] = Line(text, recent[index].look, tuple(rest))
        room -= 1 + len(rest)
    return [chosen[index] for index in sorted(chosen)]


def _block(lines: Sequence[Line]) -> list[Text]:
    shown = [text(f" {printable(part)}", line.look) for line in lines for part in line.lines]
    return [text(), *shown] if shown else []


def _selected_sids(frame: Frame, *, width: int) -> list[Text]:
    """Return the line with the SIDs of the selected leg, whole if the terminal has room for them."""
    leg = frame.listing.leg(frame.state.selected)
    if leg is None:
        return []
    of = f" of {printable(leg.parent_call_sid)}" if leg.parent_call_sid else ""
    sids = f" {printable(leg.call_sid)}{of}"
    if cells(sids) <= width or not of:
        return [text(sids)]
    return [text(f" {printable(leg.call_sid)}"), text(f"  {of}")]


def _foot(frame: Frame, *, width: int, height: int) -> list[Text]:
    """Return the lines that stand below all else, but for the last line of a table without a question.

    A question takes as many lines as it needs, but leaves half of the window for rows. A message that is too long for
    the last line takes a third of it at most. What is cut ends in dots.
    """
    below = _block([Line(line, "") for line in frame.below])
    below = [] if len(below) > height // 3 else below
    if not _scrolls(frame):
        return below
    below += [text(f" {line}", QUESTION) for line in _few(frame.in_flight, most=max(1, height // 8))]
    if not frame.question or _is_short_message(frame, width=width):
        return below
    wrapped = [part for line in frame.question for part in _wrapped(printable(line), max(20, width - 2))]
    shown = wrapped[: max(1, height // 2 if _asks(frame) else height // 3)]
    if len(shown) < len(wrapped):
        shown[-1] += " …"
    return [*below, *(text(f" {part}", QUESTION) for part in shown)]


def _wrapped(line: str, width: int) -> list[str]:
    """Return a line of the foot on as many as it needs; a key and what it does, as in ``y: yes``, are kept together."""
    kept = [
        part.replace(" ", _KEPT_BLANK) if _CHOICE.fullmatch(part) and cells(part) <= width else part
        for part in line.split("   ")
    ]
    return [part.replace(_KEPT_BLANK, " ") for part in wrap("   ".join(kept), width) or [""]]


def _few(actions: Sequence[str], *, most: int) -> Sequence[str]:
    """Return the lines for the actions in flight, the newest last; how many there are where they are too many."""
    if len(actions) <= most:
        return actions
    return [*actions[len(actions) - most + 1 :], f"{len(actions) - most + 1} other actions in flight …"]


def _last_line(frame: Frame, layout: Layout) -> Text:
    """Return where one is in the table, and the keys that fit beside it."""
    if isinstance(frame.state.mode, Page):
        last = min(frame.state.mode.top + layout.room, len(frame.page))
        where = f"lines {frame.state.mode.top + 1}-{last} of {len(frame.page)}"
        return text(f" {where}   ↑↓ scroll  q back", PLAIN)
    width = layout.width
    if _is_short_message(frame, width=width):
        message = printable(frame.question[0])
        figures = _figures(frame, room=layout.room, width=width - cells(message) - 4)
        line = text(f" {message}", QUESTION)
        return line.append(" " * max(2, width - cells(line.plain) - cells(figures) - 1)).append(figures, style=PLAIN)
    line = text(f" {_figures(frame, room=layout.room, width=width - 2)}")
    room = width - cells(line.plain) - 3
    keys = _keys_that_fit(frame, room)
    return line.append(f"  {' ' * (room - cells(keys))}{keys}", style=PLAIN) if keys else line


def _asks(frame: Frame) -> bool:
    """Return whether the foot has a question, which stands there alone; else it may have a message."""
    return bool(frame.question) and isinstance(frame.state.mode, Question)


def _is_short_message(frame: Frame, *, width: int) -> bool:
    """Return whether the foot has a message that fits beside the figures."""
    if _asks(frame) or frame.state.mode is not None or len(frame.question) != 1:
        return False
    return cells(printable(frame.question[0])) + _FIGURES <= width


def _figures(frame: Frame, *, room: int, width: int) -> str:
    """Return how many of how many legs are shown, which of their rows are on the screen, and how they are sorted.

    Of a filter that is too long for ``width`` cells the end is shown, where it is typed.
    """
    listing, state = frame.listing, frame.state
    of = f"{listing.shown} of " if state.filter else ""
    figures = []
    if state.is_held:
        waits = f"{frame.waiting} {'event waits' if frame.waiting == 1 else 'events wait'}"
        figures.append(f"held since {frame.held_since}, {waits}")
    figures.append(f"{of}{listing.total} {'leg' if listing.total == 1 else 'legs'}")
    rows = len(listing.rows)
    if rows > room:
        figures.append(f"rows {state.top + 1}-{min(state.top + room, rows)}")
    if state.filter or isinstance(state.mode, Filtering):
        is_typed = isinstance(state.mode, Filtering)
        cursor = "▏" if is_typed else ""
        rest = width - cells("  ".join(figures)) - 3 - len(cursor)
        typed = masked_filter_text(state.filter) if frame.masks_numbers and not is_typed else state.filter
        figures.append(f"/{_end_of(printable(typed), rest)}{cursor}")
    if state.marks:
        figures.append(f"{len(state.marks)} marked")
    if state.sort is not Sort.ATTENTION:
        figures.append(f"by {state.sort.value}")
    return "  ".join(figures)


def _end_of(typed: str, room: int) -> str:
    """Return a text, or as much of its end as has room."""
    if cells(typed) <= room:
        return typed
    begin = bisect_left(range(len(typed)), True, key=lambda begin: cells(typed[begin:]) < max(1, room))
    return f"…{typed[begin:]}"


def _keys_that_fit(frame: Frame, room: int) -> str:
    kept = [item for item in _keys(frame.state) if frame.may_act or item not in _CHANGING]
    while kept and cells("  ".join(key for key, _ in kept)) > room:
        kept.remove(max(kept, key=lambda item: item[1]))
    return "  ".join(key for key, _ in kept)


def _keys(state: ViewState) -> Sequence[tuple[str, int]]:
    """Return the keys that count now."""
    if isinstance(state.mode, Filtering):
        return _WHILE_TYPING
    clears = state.mode is None and (state.filter or state.marks)
    return (*_KEYS[:-2], _CLEARS, *_KEYS[-2:]) if clears else _KEYS
