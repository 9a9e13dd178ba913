"""Charts as plain data: the position of each bar, line and word, in pixels. A template draws them.

Each bar has its figure as a title too, for readers who can't see the chart.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from callctl.errors import shortened

# Pixels. A chart is drawn as wide as its column; these are what it is laid out for.
WIDTH = 440
_BAR, _BAR_GAP = 18, 10
_PLOT = 150  # height of the columns
_AXIS = 24  # height below them
_WIDEST = 64  # of a column
_TOP = 14
_CHARACTER = 7.4
_AXIS_CHARACTER, _AXIS_GAP = 6.3, 6  # below the columns, where words are smaller
_LABELS = 300.0  # pixels before bars, at most

# Seconds that a column may stand for: the first that gives few enough columns is used.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800, 2592000, 31536000)


@dataclass(frozen=True, slots=True)
class Rect:
    """A bar, or a part of one; ``look`` is the class that colours it, ``title`` what it says under the pointer."""

    x: float
    y: float
    width: float
    height: float
    look: str
    title: str


@dataclass(frozen=True, slots=True)
class Text:
    """A word; ``anchor`` is ``start``, ``middle`` or ``end``, ``look`` ``label``, ``value`` or ``axis``."""

    x: float
    y: float
    words: str
    anchor: str = "start"
    look: str = "label"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the grid, across the plot."""

    x1: float
    x2: float
    y: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. ``legend`` names the looks of the parts of columns, ``note`` is a sentence below it."""

    title: str
    width: float
    height: float
    rects: tuple[Rect, ...]
    texts: tuple[Text, ...]
    lines: tuple[Line, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""

    @property
    def in_words(self) -> str:
        """All of it as one sentence, for readers who can't see it."""
        return "; ".join(rect.title for rect in self.rects)


@dataclass(frozen=True, slots=True)
class Slice:
    """One bar: its label, its length, its colour, and the text behind it (the value, unless there is one)."""

    label: str
    value: float
    look: str = "plain"
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the label below it, what it is of in full, and its parts from the bottom up, by look."""

    label: str
    whole: str
    parts: Mapping[str, float]


def bar_chart(title: str, slices: Iterable[Slice], *, note: str = "") -> Chart:
    """Return a chart of bars that lie one below the other, each with its label before it and its value behind."""
    shown = list(slices)
    most = max((bar.value for bar in shown), default=0) or 1
    left = min(_LABELS, max((len(bar.label) for bar in shown), default=0) * _CHARACTER + 12)
    room = WIDTH - left - max((len(_shown(bar)) for bar in shown), default=0) * _CHARACTER - 10
    rects, texts = [], []
    for number, bar in enumerate(shown):
        y = _TOP / 2 + number * (_BAR + _BAR_GAP)
        length = max(2.0, room * bar.value / most) if bar.value else 0.0
        rects.append(Rect(left, y, round(length, 1), _BAR, bar.look, f"{bar.label}: {_shown(bar)}"))
        texts.append(Text(left - 8, y + _BAR - 5, shortened(bar.label, int((left - 8) / _CHARACTER) + 1), "end"))
        texts.append(Text(round(left + length + 6, 1), y + _BAR - 5, _shown(bar), look="value"))
    height = _TOP + len(shown) * (_BAR + _BAR_GAP)
    return Chart(title, WIDTH, height, tuple(rects), tuple(texts), note=note)


def column_chart(
    title: str, columns: Sequence[Column], *, legend: Sequence[tuple[str, str]] = (), note: str = ""
) -> Chart:
    """Return a chart of columns beside one another. Of ``legend`` each pair is a look and what it stands for."""
    most = max((sum(column.parts.values()) for column in columns), default=0)
    ticks = _ticks(most)
    scale = _PLOT / (ticks[-1] or 1)
    left = max(len(_number(tick)) for tick in ticks) * _CHARACTER + 12
    step = (WIDTH - left) / max(1, len(columns))
    thick = min(step - min(6.0, step * 0.2), _WIDEST)
    rects, texts = [], []
    named = dict(legend)
    every = max(
        1, math.ceil((max((len(column.label) for column in columns), default=0) * _AXIS_CHARACTER + _AXIS_GAP) / step)
    )
    for number, column in enumerate(columns):
        x, y = left + number * step, float(_TOP + _PLOT)
        for look, value in column.parts.items():
            height = value * scale
            y -= height
            name = f" {named[look]}" if look in named else ""
            if value:
                words = f"{column.whole}: {_number(value)}{name}"
                begin = round(x + (step - thick) / 2, 1)
                rects.append(Rect(begin, round(y, 1), round(thick, 1), round(height, 1), look, words))
        if number % every == 0 and x + step / 2 + len(column.label) * _AXIS_CHARACTER / 2 <= WIDTH + 8:
            texts.append(Text(round(x + step / 2, 1), _TOP + _PLOT + 16, column.label, "middle", "axis"))
    lines = tuple(Line(left, WIDTH, round(_TOP + _PLOT - tick * scale, 1)) for tick in ticks)
    texts += [Text(left - 6, round(_TOP + _PLOT - tick * scale + 4, 1), _number(tick), "end", "axis") for tick in ticks]
    used = tuple(pair for pair in legend if any(column.parts.get(pair[0]) for column in columns))
    return Chart(title, WIDTH, _TOP + _PLOT + _AXIS, tuple(rects), tuple(texts), lines, used, note)


def over_time(moments: Iterable[tuple[datetime, str]], *, looks: Sequence[str], most: int = 24) -> list[Column]:
    """Return how many things of each look happened in each span of local time, in at most ``most`` columns."""
    in_order = sorted(moments)
    if not in_order:
        return []
    span = (in_order[-1][0] - in_order[0][0]).total_seconds()
    step = next((seconds for seconds in _STEPS if seconds >= 10 and span < seconds * (most - 1)), _STEPS[-1])
    starts = _starts(in_order[0][0], in_order[-1][0], step)
    counts: list[dict[str, float]] = [dict.fromkeys(looks, 0) for _ in starts]
    for moment, look in in_order:
        counts[max(0, bisect_right(starts, moment) - 1)][look] += 1
    return [
        Column(_time_label(start, step), f"{start.astimezone():%Y-%m-%d %H:%M:%S}", parts)
        for start, parts in zip(starts, counts, strict=True)
    ]


def _starts(first: datetime, last: datetime, step: int) -> list[datetime]:
    """Return where the spans begin: at whole hours, minutes or days of local time."""
    local = first.astimezone()
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    begin = midnight + timedelta(seconds=(local - midnight).total_seconds() // step * step)
    count = int((last - begin).total_seconds() // step) + 1
    return [begin + timedelta(seconds=number * step) for number in range(count)]


def _time_label(moment: datetime, step: int) -> str:
    local = moment.astimezone()
    return f"{local:%H:%M:%S}" if step < 60 else f"{local:%H:%M}" if step < 86400 else f"{local:%d %b}"


def _ticks(most: float) -> list[float]:
    """Return the numbers of an axis up to a value: three to six round ones, whole."""
    if most <= 0:
        return [0, 1]
    size = 10.0 ** math.floor(math.log10(most))
    step = next(candidate for part in (0.2, 0.5, 1.0, 2.0) if (candidate := part * size) and most / candidate <= 5)
    step = max(1.0, step)
    return [number * step for number in range(math.ceil(most / step) + 1)]


def _shown(bar: Slice) -> str:
    return bar.shown or _number(bar.value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,g}"
