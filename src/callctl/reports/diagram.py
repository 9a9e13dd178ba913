"""The sequence diagram of a story: the position of each line and word, in pixels. A template draws it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from callctl.calls.call import CallStatus, is_final
from callctl.calls.event import TWIML_REQUEST
from callctl.calls.leg import Leg
from callctl.errors import shortened
from callctl.reports.excerpt import Excerpt, excerpt_of, left_out_here
from callctl.reports.stories.ending import far_end
from callctl.reports.stories.story import COMMAND, FEATURE, REST, RULE, Step, Story
from callctl.views.style import glyph
from callctl.views.table import clock

_STATUSES = frozenset(map(str, CallStatus))

# Pixels.
_GUTTER = 118  # for the times, at the left
_LANE = 184  # from one lifeline to the next
_HEAD = 66  # down to where lifelines begin
_ROW = 34
_PAUSE = 30
_BELOW = 13  # for what is below an arrow
_MARGIN = 24
_BAR = 8  # how thick the part of a lifeline is in which the leg is there
# How wide a character is at the size of labels, and in the widest fonts that readers may have.
_CHARACTER, _WIDEST_CHARACTER = 6.9, 8.2
_MOST_CHARACTERS = 92  # of a label; the table has the whole
_HEADING = 23  # characters of a lifeline's name

_LEAST_PAUSE = 5  # seconds between two steps that are drawn as a pause
# Of a longer story the first and the last steps are drawn.
_MOST_STEPS = 160
_FIRST_STEPS = 110

CALLCTL: Final = "callctl"
TWILIO: Final = "Twilio"


@dataclass(frozen=True, slots=True)
class Lane:
    """A lifeline: its position, title and subtitle, its tooltip, and from where to where it is drawn."""

    x: float
    title: str
    subtitle: str
    whole: str
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Bar:
    """The part of a lifeline in which a leg has one status. ``look`` is its class: ``plain`` for an unknown status."""

    x: float
    y: float
    width: float
    height: float
    status: str
    look: str


@dataclass(frozen=True, slots=True)
class Label:
    """Words; ``anchor`` is which of their ends is at ``x``: ``start`` or ``end``."""

    words: str
    x: float
    anchor: str

    @property
    def right(self) -> float:
        """How far to the right they reach, at most."""
        return self.x + (len(self.words) * _WIDEST_CHARACTER if self.anchor == "start" else 0)


@dataclass(frozen=True, slots=True)
class Arrow:
    """Something that happened between two lifelines, from ``x1`` to ``x2``: in words above it, further facts below."""

    y: float
    x1: float
    x2: float
    label: Label
    below: Label
    whole: str
    kind: str
    is_bad: bool
    is_dashed: bool


@dataclass(frozen=True, slots=True)
class Dot:
    """Something that happened at one lifeline; its label is to the right."""

    x: float
    y: float
    label: str
    whole: str
    kind: str


@dataclass(frozen=True, slots=True)
class End:
    """The end of a leg, with the glyph of how it ended."""

    x: float
    y: float
    glyph: str
    status: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a row happened; ``after`` is the time since the first row, as on a clock."""

    y: float
    at: datetime
    after: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Time in which nothing happened, or steps that are not drawn."""

    y: float
    words: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """All of it, with its size. ``left_out`` says which legs it lacks; it is empty if it has all."""

    width: float
    height: float
    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    arrows: tuple[Arrow, ...]
    dots: tuple[Dot, ...]
    ends: tuple[End, ...]
    stamps: tuple[Stamp, ...]
    pauses: tuple[Pause, ...]
    left_out: str


def diagram_of(story: Story) -> Diagram:
    """Return the diagram of a story: from the top to the bottom as time goes on, a row for each step."""
    excerpt = excerpt_of(story, most_steps=_MOST_STEPS, first_steps=_FIRST_STEPS)
    rows, pauses, bottom = _rows(excerpt)
    lanes = _lanes(story, excerpt, bottom=bottom)
    twilio = len(lanes) - len(excerpt.legs) - 1
    lane_of = dict(zip(excerpt.legs, lanes[twilio + 1 :], strict=True))
    drawn = [_drawn(step, y, lanes, lane_of, twilio=twilio) for step, y in rows]
    arrows = tuple(element for element in drawn if isinstance(element, Arrow))
    dots = tuple(element for element in drawn if isinstance(element, Dot))
    bars, ends = _bars_and_ends(story, rows, lane_of, bottom=bottom)
    right = max(
        [lane.x + _LANE / 2 for lane in lanes]
        + [max(arrow.label.right, arrow.below.right) for arrow in arrows]
        + [dot.x + 12 + len(dot.label) * _WIDEST_CHARACTER for dot in dots]
    )
    stamps = tuple(Stamp(y, step.at, f"+{clock(step.after)}") for step, y in _first_of_each_second(rows))
    width, height = round(right + _MARGIN / 2), bottom + _MARGIN
    return Diagram(width, height, lanes, bars, arrows, dots, ends, stamps, pauses, excerpt.in_words)


def _rows(excerpt: Excerpt) -> tuple[list[tuple[Step, float]], tuple[Pause, ...], float]:
    """Return the steps that are drawn, each with its height, the pauses between them, and where lifelines end."""
    rows: list[tuple[Step, float]] = []
    pauses: list[Pause] = []
    y = float(_HEAD)
    for step, left_out in excerpt.steps:
        if left_out:
            pauses.append(Pause(y + (_PAUSE + _ROW) / 2, left_out_here(left_out)))
            y += _PAUSE
        if rows and step.gap >= _LEAST_PAUSE and step.after - rows[-1][0].after == step.gap:
            pauses.append(Pause(y + (_PAUSE + _ROW) / 2, f"{clock(step.gap)} later"))
            y += _PAUSE
        y += _ROW
        rows.append((step, y))
        y += _BELOW if step.facts and step.kind != FEATURE else 0
    if excerpt.left_out_at_end:
        pauses.append(Pause(y + (_PAUSE + _ROW) / 2, left_out_here(excerpt.left_out_at_end)))
        y += _PAUSE
    return rows, tuple(pauses), y + _ROW


def _lanes(story: Story, excerpt: Excerpt, *, bottom: float) -> tuple[Lane, ...]:
    """Return the lifelines: callctl where it did something, Twilio, and each leg."""
    acts = any(step.kind in (COMMAND, RULE, TWIML_REQUEST) for step in story.steps)
    first = [(CALLCTL, "commands and rules", CALLCTL)] if acts else []
    legs = []
    for number in excerpt.legs:
        leg = story.legs[number].leg
        role = _role(leg) if excerpt.is_whole else f"{_role(leg)}, {number + 1}"
        legs.append((shortened(far_end(leg), _HEADING), role, f"{far_end(leg)}  {leg.call_sid}"))
    names = [*first, (TWILIO, "", TWILIO), *legs]
    left = _GUTTER + (_LANE / 2 if not acts else 56)
    return tuple(
        Lane(left + number * _LANE, title, subtitle, whole, _HEAD - 12, bottom)
        for number, (title, subtitle, whole) in enumerate(names)
    )


def _role(leg: Leg) -> str:
    if leg.parent_call_sid is not None:
        return "dialled leg"
    return "caller" if leg.direction == "inbound" else "called by API" if leg.direction == "outbound-api" else "leg"


def _drawn(step: Step, y: float, lanes: Sequence[Lane], lane_of: Mapping[int, Lane], *, twilio: int) -> Arrow | Dot:
    whole = ", ".join([step.words, *step.facts])
    leg = lanes[twilio].x if step.leg is None else lane_of[step.leg].x
    if step.kind == FEATURE or step.leg is None:
        return Dot(leg, y, shortened(whole, _MOST_CHARACTERS), whole, step.kind)
    if step.kind in (COMMAND, RULE):
        return _arrow(step, y, lanes[0].x, leg, whole)
    if step.kind == TWIML_REQUEST:
        return _arrow(step, y, lanes[twilio].x, lanes[0].x, whole)
    x1, x2 = (leg, lanes[twilio].x) if step.is_from_far_end else (lanes[twilio].x, leg)
    return _arrow(step, y, x1, x2, whole)


def _arrow(step: Step, y: float, x1: float, x2: float, whole: str) -> Arrow:
    left, right = min(x1, x2), max(x1, x2)
    is_dashed = step.is_dry or step.kind == REST
    inset = _BAR / 2 + 1 if x2 > x1 else -_BAR / 2 - 1
    label, below = (_label(words, left, right) for words in (step.words, ", ".join(step.facts)))
    return Arrow(y, x1 + inset, x2 - inset, label, below, whole, step.kind, step.is_bad, is_dashed)


def _label(words: str, left: float, right: float) -> Label:
    """Return a label between two lifelines: at the right one, where its leg is, unless it is too long for that."""
    shown = shortened(words, _MOST_CHARACTERS)
    fits = len(shown) * _CHARACTER <= right - left - 3 * _BAR
    return Label(shown, right - 2 * _BAR, "end") if fits else Label(shown, left + 2 * _BAR, "start")


def _bars_and_ends(
    story: Story, rows: Sequence[tuple[Step, float]], lane_of: Mapping[int, Lane], *, bottom: float
) -> tuple[tuple[Bar, ...], tuple[End, ...]]:
    """Return a bar for each status of each leg, and the ends of legs."""
    bars: list[Bar] = []
    ends: list[End] = []
    changes_of = _changes(rows)
    for number, lane in lane_of.items():
        x, status_at_end = lane.x, story.legs[number].leg.status
        changes = changes_of.get(number, [])
        for (status, y), (_, until) in pairwise([*changes, ("", bottom)]):
            if is_final(status):
                continue
            look = status if status in _STATUSES else "plain"
            bars.append(Bar(x - _BAR / 2, y, _BAR, until - y, status, look))
        last = [y for status, y in changes if is_final(status)]
        if last:
            ends.append(End(x, last[-1], glyph(status_at_end), status_at_end))
    return tuple(bars), tuple(ends)


def _changes(rows: Sequence[tuple[Step, float]]) -> dict[int, list[tuple[str, float]]]:
    """Return the statuses of each leg with the heights at which it got them; nothing comes after its end."""
    changes: dict[int, list[tuple[str, float]]] = {}
    for step, y in rows:
        if step.leg is not None and step.status:
            known = changes.setdefault(step.leg, [])
            if not known or not is_final(known[-1][0]):
                known.append((step.status, y))
    return changes


def _first_of_each_second(rows: Sequence[tuple[Step, float]]) -> Iterator[tuple[Step, float]]:
    before: datetime | None = None
    for step, y in rows:
        if step.at != before:
            yield step, y
        before = step.at
