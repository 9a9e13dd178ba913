"""Figures drawn on a terminal: tables and histograms that fit its width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from callctl.reports.figures import DELAYS, TIMES, Bar, Figures, Histogram, Tally, in_short
from callctl.reports.figures_report import Report, whose
from callctl.reports.leg_facts import CALLBACKS, EVIDENCE, REQUESTS, REST, UNVERIFIED
from callctl.support.dates import local_time
from callctl.views.style import append_status, style
from callctl.views.table import cells, fitted, shown_status
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_EVIDENCE_WORDS = {
    CALLBACKS: "verified callbacks",
    REQUESTS: "requests for TwiML alone, without a callback",
    UNVERIFIED: "unverified requests alone",
    REST: "what REST reported alone, without a callback",
}
_BLOCK = 34  # cells of a histogram, at least
_LABEL = 9  # cells of the longest label of a bar
_MOST_KEY = 28  # cells of a group's name
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def print_figures(console: Console, report: Report) -> None:
    """Draw the figures, as wide as the console is at most."""
    width = console.width
    tally = report.figures.all
    sections = [
        _head(report, width),
        _table(report, width) if report.by is not None else _times(tally),
        *([] if report.by is not None else [_histograms(tally, width)]),
        _ends(tally),
        _actions(report.figures),
        _callbacks(report.figures, width),
    ]
    lines: list[Text] = []
    for section in filter(None, sections):
        lines += [*([_text("")] if lines else []), *section]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.rstrip()
        console.print(line, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)


def _text(text: str, look: str = "") -> Text:
    from rich.text import Text

    return Text(text, style=look)


def _head(report: Report, width: int) -> list[Text]:
    tally = report.figures.all
    facts = [_count(tally.calls, "call"), _count(tally.legs, "leg"), f"{tally.live:,} live" if tally.live else ""]
    line = _text("").append(" · ".join(filter(None, facts)), style="bold")
    if span := _span(report):
        fits = cells(line.plain) + 2 + cells(span) <= width
        line.append(f"{' ' * (width - cells(line.plain) - cells(span))}{span}" if fits else "", style="dim")
    lines = [line]
    if tally.decided:
        answered = f"answered {_share(tally.answered, tally.decided)}"
        if tally.outgoing_decided not in (0, tally.decided):
            answered += f" · of outgoing legs {_share(tally.outgoing_answered, tally.outgoing_decided)}"
        lines += _wrapped(answered, width, indent="")
    return lines


def _span(report: Report) -> str:
    begin = f"since {local_time(report.since)}" if report.since else ""
    end = f"until {local_time(report.until)}" if report.until else ""
    return " ".join(filter(None, (begin, end)))


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}, {100 * part / whole:.1f} %"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _times(tally: Tally) -> list[Text]:
    rows = [
        ("post-dial delay", tally.post_dial_delay, "initiated to ringing"),
        ("ring time", tally.ring_time, "ringing to answer/end"),
        ("talk time", tally.talk_time, "answer to end"),
        ("callback delay", tally.callback_delay, "event to arrival"),
    ]
    heading = _text(f"{'':15}{'p50':>10}{'p95':>10}{'max':>10}{'of':>10}", "bold")
    lines = [heading]
    for name, histogram, what in rows:
        shown = "".join(f"{_time(histogram.quantile(percent)):>10}" for percent in (50, 95, 100))
        lines.append(_text(f"{name:15}{shown}{histogram.count:>10,}").append(f"  {what}", style="dim"))
    return lines


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else in_short(seconds)


def _histograms(tally: Tally, width: int) -> list[Text]:
    blocks = [
        (name, histogram.bars(starts))
        for name, histogram, starts in (
            ("post-dial delay", tally.post_dial_delay, TIMES),
            ("ring time", tally.ring_time, TIMES),
            ("talk time", tally.talk_time, TIMES),
            ("callback delay", tally.callback_delay, DELAYS),
        )
        if histogram.counts
    ]
    at_once = max(1, min(len(blocks), width // _BLOCK))
    room = min(width // at_once, 2 * _BLOCK)
    lines: list[Text] = []
    for start in range(0, len(blocks), at_once):
        if lines:
            lines.append(_text(""))
        drawn = [_block(name, bars, width=room - 2) for name, bars in blocks[start : start + at_once]]
        for parts in zip_longest(*drawn):
            line = _text("")
            for number, part in enumerate(parts):
                line.pad_right(number * room - cells(line.plain))
                line.append_text(part or _text(""))
            lines.append(line)
    return lines


def _block(name: str, bars: Sequence[Bar], *, width: int) -> list[Text]:
    most = max(bar.times for bar in bars)
    digits = len(f"{most:,}")
    room = max(1, width - _LABEL - digits - 4)
    lines = [_text(name, "bold")]
    for bar in bars:
        line = _text(f"{bar.label:>{_LABEL}}  ")
        line.append(f"{_filled(bar.times / most * room):{room}}", style="cyan")
        lines.append(line.append(f"  {bar.times:>{digits},}"))
    return lines


def _filled(cells_: float) -> str:
    """Return a bar so many cells long, to an eighth; only 0 is empty."""
    eighths = max(1, round(cells_ * 8)) if cells_ else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _ends(tally: Tally) -> list[Text]:
    total = sum(tally.ends.values())
    if not total:
        return []
    codes: dict[str, list[str]] = {}
    for (status, code), legs in tally.ends.items():
        if code:
            codes.setdefault(status, []).append(f"SIP {code}: {legs:,}")
    lines = [_text(f"{'ended':15}{'legs':>10}{'':>10}", "bold")]
    for status, legs in sorted(tally.ended_with.items(), key=lambda item: (-item[1], item[0])):
        line = append_status(_text(""), shown_status(status), style(status))
        line.pad_right(15 - cells(line.plain))
        line.append(f"{legs:>10,}{100 * legs / total:>8.1f} %")
        line.append(f"  {', '.join(codes.get(status, ()))}", style="dim")
        lines.append(line)
    return lines


def _actions(figures: Figures) -> list[Text]:
    if not figures.actions:
        return []
    rows = [
        (f"{count:,}", " ".join(filter(None, (kind, printable(who)))), printable(done.action), printable(done.result))
        for done, count in figures.actions_in_order()
        for kind, who in (whose(done),)
    ]
    widths = [max(cells(row[number]) for row in rows) for number in range(4)]
    lines = [_text("done by rules and commands", "bold")]
    for count, who, action, result in rows:
        line = _text(f"{count:>{widths[0]}}  ")
        for text, size in ((who, widths[1]), (action, widths[2]), (result, widths[3])):
            line.append(text).append(" " * (size - cells(text) + 2))
        lines.append(line)
    return lines


def _callbacks(figures: Figures, width: int) -> list[Text]:
    """Return what the figures rest on, and how many callbacks are missing."""
    tally = figures.all
    evidence = tally.evidence
    counts = [
        (tally.missed_ends, "end", "that REST alone reported: no callback came"),
        (tally.missing, "callback", "missing before later ones, by their SequenceNumber"),
        (tally.early, "callback", "before their time: this machine's clock is behind"),
        *((evidence[name], "leg", f"known by {_EVIDENCE_WORDS[name]}") for name in EVIDENCE),
        (figures.unreported, "call", "with recordings or other callbacks alone, without a status: not counted"),
        (figures.unreadable, "event", "that can't be read: left out"),
    ]
    lines = [_text("what this rests on", "bold")]
    if tally.callback_delay.counts:
        lines += _wrapped("callback delays to a second: Twilio's times have no fractions", width)
    for number, noun, what in counts:
        if number:
            lines += _wrapped(f"{_count(number, noun)} {what}", width)
    return lines


def _wrapped(sentence: str, width: int, *, indent: str = "  ") -> list[Text]:
    from textwrap import wrap

    lines = wrap(sentence, max(width, 20), initial_indent=indent, subsequent_indent=f"{indent}  ")
    return [_text(line) for line in lines]


@dataclass(frozen=True)
class _Column:
    title: str
    value: Callable[[Tally], str]
    is_status: bool = False  # which says nothing in a row of one status


def _ended(status: str) -> Callable[[Tally], str]:
    return lambda tally: f"{tally.ended_with[status]:,}"


def _quantiles(of: Callable[[Tally], Histogram]) -> Callable[[Tally], str]:
    def shown(tally: Tally) -> str:
        half, most = (_time(of(tally).quantile(percent)) for percent in (50, 95))
        return f"{half} / {most}" if of(tally).counts else "-"

    return shown


# The later ones are left out where there is no room.
_COLUMNS = (
    _Column("LEGS", lambda tally: f"{tally.legs:,}"),
    _Column("ANSWERED", lambda tally: "-" if tally.answer_rate is None else f"{100 * tally.answer_rate:.1f} %"),
    _Column("FAILED", _ended("failed"), is_status=True),
    _Column("BUSY", _ended("busy"), is_status=True),
    _Column("NO-ANSWER", _ended("no-answer"), is_status=True),
    _Column("RING p50/p95", _quantiles(lambda tally: tally.ring_time)),
    _Column("TALK p50/p95", _quantiles(lambda tally: tally.talk_time)),
    _Column("CANCELED", _ended("canceled"), is_status=True),
    _Column("LIVE", lambda tally: f"{tally.live:,}", is_status=True),
    _Column("DIAL p50/p95", _quantiles(lambda tally: tally.post_dial_delay)),
    _Column("CALLBACKS p50/p95", _quantiles(lambda tally: tally.callback_delay)),
)


def _table(report: Report, width: int) -> list[Text]:
    groups, others = report.groups()
    rows = [(printable(report.name(key)) or "(nothing)", tally) for key, tally in groups]
    if others.legs:
        other_groups = len(report.figures.groups.tallies) - len(groups) if report.figures.groups else 0
        rows.append((f"{other_groups:,} others" if not report.lost_at_most else "others", others))
    title = {"hour": "BEGUN IN THE HOUR"}.get(report.by or "", (report.by or "").upper())
    first = min(_MOST_KEY, max(len(title), *(cells(name) for name, _ in rows)) if rows else len(title))
    shown: list[tuple[_Column, list[str], int]] = []
    room = width - first
    for column in _COLUMNS:
        if column.is_status and report.by == "status":
            continue
        values = [column.value(tally) for _, tally in rows]
        size = max([len(column.title), *map(cells, values)])
        if size + 2 > room:
            break
        shown.append((column, values, size))
        room -= size + 2
    head = f"{title:{first}}" + "".join(f"  {column.title:>{size}}" for column, _, size in shown)
    lines = [_text(head, "bold")]
    for number, (name, _) in enumerate(rows):
        line = _text(fitted(name, first))
        line.pad_right(first - cells(line.plain))
        for _, values, size in shown:
            line.append("  " + " " * (size - cells(values[number])) + values[number])
        lines.append(line)
    if report.lost_at_most:
        lines.append(
            _text(f"of too many to keep each: one may have {report.lost_at_most:,} more legs, among the others", "dim")
        )
    return lines
