"""Figures as programs read them: as a JSON object, as rows of CSV, and as lines on a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from callctl.reports.figures import Done, Figures, Histogram, Key, Tally
from callctl.reports.leg_facts import EVIDENCE
from callctl.support.dates import format_date, local_time, nearest_time
from callctl.views.terminal_safe import printable

_ENDS = ("completed", "busy", "no-answer", "failed", "canceled")


@dataclass(frozen=True)
class Report:
    """Figures, and which calls they are of.

    ``since`` and ``until`` are those of the options; ``by`` is what the legs are grouped by, if they are, and ``top``
    how many groups are shown at most. ``name_of`` returns how a number or an address is written.
    """

    figures: Figures
    since: datetime | None = None
    until: datetime | None = None
    by: str | None = None
    top: int = 20
    name_of: Callable[[str], str] = str

    def groups(self) -> tuple[list[tuple[Key, Tally]], Tally]:
        """Return the groups to be shown and the tally of all others. Hours are all shown, the earliest first."""
        groups = self.figures.groups
        if groups is None:
            return [], Tally()
        if self.by == "hour":
            return sorted(groups.tallies.items()), groups.others
        return groups.top(self.top)

    @property
    def lost_at_most(self) -> int:
        """How many legs each group may lack at most, which are counted among the others."""
        return 0 if self.figures.groups is None else self.figures.groups.lost

    def name(self, key: Key) -> str:
        """Return the name of a group for people; an hour is in local time."""
        if isinstance(key, int):
            return local_time(nearest_time(key))
        return self.name_of(key) if self.by in ("to", "from") else key

    def machine_name(self, key: Key) -> str:
        """Return the name of a group for programs; an hour is in RFC 3339."""
        return (format_date(nearest_time(key)) or "") if isinstance(key, int) else self.name(key)


# JSON


def to_json(report: Report) -> dict[str, Any]:
    """Return all figures as one object; times in seconds."""
    return {
        "v": 1,
        "type": "stats",
        "since": format_date(report.since),
        "until": format_date(report.until),
        **report.figures.all.to_json(),
        "actions": [{**done._asdict(), "count": count} for done, count in report.figures.actions_in_order()],
        "unreported_legs": report.figures.unreported,
        "unreadable_events": report.figures.unreadable,
        "groups": None if report.by is None else _groups_json(report, report.by),
    }


def _groups_json(report: Report, by: str) -> dict[str, Any]:
    groups, others = report.groups()
    return {
        "by": by,
        "groups": [{by: report.machine_name(key), **tally.to_json()} for key, tally in groups],
        "others": others.to_json() if others.legs else None,
        "lost_at_most": report.lost_at_most,
    }


# CSV and lines

CSV_COLUMNS = (
    *("by", "group", "calls", "legs", "live", "answered", "decided", "answer_rate"),
    *("outgoing_answered", "outgoing_decided", "outgoing_answer_rate"),
    *_ENDS,
    *(
        f"{name}_{what}"
        for name in ("post_dial_delay", "ring_time", "talk_time", "callback_delay")
        for what in ("count", "p50", "p95", "max")
    ),
    *("early_callbacks", "missed_ends", "sequence_gaps"),
    *(f"rests_on_{name.replace('-', '_')}" for name in EVIDENCE),
)


def csv_rows(report: Report) -> Iterator[Sequence[object]]:
    """Yield the names of the columns, then a row for each group and one for all others; without groups, one row."""
    yield CSV_COLUMNS
    if report.by is None:
        yield _csv_row("all", "", report.figures.all)
        return
    groups, others = report.groups()
    for key, tally in groups:
        yield _csv_row(report.by, report.machine_name(key), tally)
    if others.legs:
        yield _csv_row("others", "", others)


def _csv_row(by: str, group: str, tally: Tally) -> Sequence[object]:
    record = tally.to_json()
    ended = tally.ended_with
    times = (tally.post_dial_delay, tally.ring_time, tally.talk_time, tally.callback_delay)
    return (
        *(by, group),
        *(record[name] for name in CSV_COLUMNS[2:8]),
        *record["outgoing"].values(),
        *(ended[status] for status in _ENDS),
        *(figure for histogram in times for figure in _of(histogram)),
        *(tally.early, tally.missed_ends, tally.missing),
        *(tally.evidence[name] for name in EVIDENCE),
    )


def _of(histogram: Histogram) -> Sequence[float | None]:
    return histogram.count, *(histogram.quantile(percent) for percent in (50, 95, 100))


def plain_lines(report: Report) -> Iterator[str]:
    """Yield the figures as tab-separated lines, each beginning with its name; times in seconds."""
    tally = report.figures.all
    for fields in _plain(tally):
        yield _line(fields)
    for done, count in report.figures.actions_in_order():
        kind, who = whose(done)
        yield _line(("action", count, kind, who, done.action, done.result))
    groups, others = report.groups()
    if report.by is not None:
        for key, group in groups:
            yield _line((report.by, report.machine_name(key), *_plain_group(group)))
        if others.legs:
            yield _line(("others", "", *_plain_group(others)))


def _plain(tally: Tally) -> Iterator[Sequence[object]]:
    yield "calls", tally.calls
    yield "legs", tally.legs
    yield "live", tally.live
    yield "answered", tally.answered, tally.decided, _part(tally.answer_rate)
    yield "outgoing_answered", tally.outgoing_answered, tally.outgoing_decided, _part(tally.outgoing_answer_rate)
    yield "post_dial_delay", *_of(tally.post_dial_delay)
    yield "ring_time", *_of(tally.ring_time)
    yield "talk_time", *_of(tally.talk_time)
    yield "callback_delay", *_of(tally.callback_delay)
    yield "early_callbacks", tally.early
    yield "missed_ends", tally.missed_ends
    yield "sequence_gaps", tally.missing
    for (status, code), legs in tally.ends.items():
        yield "end", legs, status, code
    for name in EVIDENCE:
        yield "rests_on", tally.evidence[name], name


def _plain_group(tally: Tally) -> Sequence[object]:
    times = (tally.post_dial_delay, tally.ring_time, tally.talk_time)
    quantiles = (histogram.quantile(percent) for histogram in times for percent in (50, 95))
    return tally.legs, tally.answered, tally.decided, _part(tally.answer_rate), *quantiles


def _line(fields: Iterable[object]) -> str:
    return "\t".join("" if field is None else printable(str(field)) for field in fields)


def _part(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.4f}"


def whose(done: Done) -> tuple[str, str]:
    """Return ``rule`` or ``command``, and the name of the rule or the ``user@host`` of the command."""
    return ("rule", done.rule) if done.rule else ("command", done.by or "")
