"""Figures of many legs: how many were answered, how long they rang and talked, how they ended, and who acted on them.

A fold over legs, whose size does not grow with them. Times are kept to three significant digits, so that whole seconds
up to 999 are exact and all others are off by half a percent at most; quantiles are of the nearest rank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from callctl.calls.action import ActionEvent
from callctl.errors import without_secrets
from callctl.reports.leg_facts import EVIDENCE, LegFacts, LegKind
from callctl.views.table import clock

# Milliseconds at which the bars of a histogram begin: of times that Twilio gives in seconds, and of delays.
TIMES = (0, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000)
DELAYS = (0, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
_LONGEST = 10**10  # milliseconds; what lasts longer, as by an absurd date, counts as that
_LONGEST_NAME = 256  # of a group; addresses are no longer
_MOST_GROUPS = 2000


class Bar(NamedTuple):
    """How many of the times lie from ``start`` up to ``end``, in seconds; None stands for all that is longer."""

    start: float
    end: float | None
    times: int

    @property
    def label(self) -> str:
        """From when to when it is, in short."""
        if self.end is None:
            return f"≥ {self.start:g} s" if self.start < 60 else f"≥ {self.start / 60:g} min"
        if self.end <= 60:
            return f"{self.start:g}-{self.end:g} s"
        return f"{self.start / 60:g}-{self.end / 60:g} min"


def in_short(seconds: float) -> str:
    """Return a time in few characters: in milliseconds below a second, and from a minute on with colons."""
    if seconds >= 60:
        return clock(seconds)
    return f"{seconds:.3g} s" if seconds >= 1 or not seconds else f"{seconds * 1000:.0f} ms"


class Histogram:
    """How often each time came, in milliseconds, to three significant digits: at most some 7,500 different ones."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def add(self, milliseconds: int, times: int = 1) -> None:
        """Count a time; a negative one counts as 0."""
        counts = self.counts
        if milliseconds not in counts:
            milliseconds = _rounded(min(max(milliseconds, 0), _LONGEST))
        counts[milliseconds] = counts.get(milliseconds, 0) + times

    def add_all(self, several: Iterable[int]) -> int:
        """Count times; return how many of them are negative."""
        counts, early = self.counts, 0
        for milliseconds in several:
            if milliseconds in counts:
                counts[milliseconds] += 1
            else:
                early += milliseconds < 0
                self.add(milliseconds)
        return early

    def merge(self, other: Histogram) -> None:
        """Count what another has counted."""
        for milliseconds, times in other.counts.items():
            self.add(milliseconds, times)

    @property
    def count(self) -> int:
        """How many times were counted."""
        return sum(self.counts.values())

    def quantile(self, percent: int) -> float | None:
        """Return the shortest time, in seconds, that so many percent do not exceed; None if there is no time."""
        rank = max(1, -(-self.count * percent // 100))
        for milliseconds in sorted(self.counts):
            rank -= self.counts[milliseconds]
            if rank <= 0:
                return milliseconds / 1000
        return None

    def bars(self, starts: Sequence[int]) -> list[Bar]:
        """Return the bars that begin at these milliseconds, from the first that is not empty to the last such."""
        ends = [*starts[1:], _LONGEST + 1]
        sums = [
            sum(times for milliseconds, times in self.counts.items() if start <= milliseconds < end)
            for start, end in zip(starts, ends, strict=True)
        ]
        filled = [number for number, total in enumerate(sums) if total]
        return [
            Bar(starts[number] / 1000, ends[number] / 1000 if number + 1 < len(starts) else None, sums[number])
            for number in (range(filled[0], filled[-1] + 1) if filled else ())
        ]

    def to_json(self, starts: Sequence[int]) -> dict[str, Any]:
        """Return count, quantiles and bars; times in seconds."""
        return {
            "count": self.count,
            "p50": self.quantile(50),
            "p95": self.quantile(95),
            "max": self.quantile(100),
            "histogram": [{"from": bar.start, "to": bar.end, "count": bar.times} for bar in self.bars(starts)],
        }


def _rounded(milliseconds: int) -> int:
    size = int(10 ** max(0, len(str(milliseconds)) - 3))
    return (milliseconds + size // 2) // size * size


@dataclass(slots=True)
class Tally:
    """What was counted of some legs.

    ``kinds`` counts the legs by what many have in common. ``early`` counts the callbacks that arrived before their
    Timestamp; ``missing`` those that did not arrive though later ones did; ``missed_ends`` the legs whose end REST
    reported and no callback.
    """

    kinds: dict[LegKind, int] = field(default_factory=dict)
    early: int = 0
    missing: int = 0
    missed_ends: int = 0
    post_dial_delay: Histogram = field(default_factory=Histogram)
    ring_time: Histogram = field(default_factory=Histogram)
    talk_time: Histogram = field(default_factory=Histogram)
    callback_delay: Histogram = field(default_factory=Histogram)

    def add(self, leg: LegFacts) -> None:
        """Count a leg."""
        _, kind, _, _, _, post_dial_delay, ring_time, talk_time, delays, missing, end_missed = leg
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if post_dial_delay is not None:
            self.post_dial_delay.add(post_dial_delay)
        if ring_time is not None:
            self.ring_time.add(ring_time)
        if talk_time is not None:
            self.talk_time.add(talk_time)
        self.early += self.callback_delay.add_all(delays)
        self.missing += missing
        self.missed_ends += end_missed

    def merge(self, other: Tally) -> None:
        """Count what another has counted."""
        for kind, legs in other.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + legs
        self.early += other.early
        self.missing += other.missing
        self.missed_ends += other.missed_ends
        self.post_dial_delay.merge(other.post_dial_delay)
        self.ring_time.merge(other.ring_time)
        self.talk_time.merge(other.talk_time)
        self.callback_delay.merge(other.callback_delay)

    def _sum(self, counts: Callable[[LegKind], bool]) -> int:
        return sum(legs for kind, legs in self.kinds.items() if counts(kind))

    @property
    def legs(self) -> int:
        """How many legs there are."""
        return sum(self.kinds.values())

    @property
    def calls(self) -> int:
        """How many of them have no parent."""
        return self._sum(lambda kind: not kind.is_child)

    @property
    def live(self) -> int:
        """How many have not ended, as far as anything reported it."""
        return self._sum(lambda kind: not kind.has_ended)

    @property
    def answered(self) -> int:
        """How many were answered."""
        return self._sum(lambda kind: kind.is_answered)

    @property
    def decided(self) -> int:
        """How many were answered or have ended."""
        return self._sum(_is_decided)

    @property
    def outgoing_answered(self) -> int:
        """How many of the outgoing legs were answered."""
        return self._sum(lambda kind: kind.is_outgoing and kind.is_answered)

    @property
    def outgoing_decided(self) -> int:
        """How many of the outgoing legs were answered or have ended."""
        return self._sum(lambda kind: kind.is_outgoing and _is_decided(kind))

    @property
    def answer_rate(self) -> float | None:
        """The answered part of the legs that were answered or have ended, from 0 to 1; None if there is no such leg."""
        return self.answered / self.decided if self.decided else None

    @property
    def outgoing_answer_rate(self) -> float | None:
        """The same of outgoing legs alone: Twilio itself answers the others."""
        return self.outgoing_answered / self.outgoing_decided if self.outgoing_decided else None

    @property
    def ends(self) -> dict[tuple[str, str], int]:
        """How many ended with each status and SIP code, which may be empty; the most frequent first."""
        ends: Counter[tuple[str, str]] = Counter()
        for kind, legs in self.kinds.items():
            if kind.has_ended:
                ends[kind.status, kind.sip_response_code] += legs
        return dict(sorted(ends.items(), key=lambda end: (-end[1], end[0])))

    @property
    def ended_with(self) -> Counter[str]:
        """How many ended with each status."""
        by_status: Counter[str] = Counter()
        for (status, _), legs in self.ends.items():
            by_status[status] += legs
        return by_status

    @property
    def evidence(self) -> Counter[str]:
        """How many legs are known by each kind of evidence."""
        by_evidence: Counter[str] = Counter()
        for kind, legs in self.kinds.items():
            by_evidence[kind.evidence] += legs
        return by_evidence

    def to_json(self) -> dict[str, Any]:
        """Return all of it, times in seconds and rates from 0 to 1."""
        evidence = self.evidence
        return {
            "calls": self.calls,
            "legs": self.legs,
            "live": self.live,
            "answered": self.answered,
            "decided": self.decided,
            "answer_rate": _part(self.answer_rate),
            "outgoing": {
                "answered": self.outgoing_answered,
                "decided": self.outgoing_decided,
                "answer_rate": _part(self.outgoing_answer_rate),
            },
            "post_dial_delay": self.post_dial_delay.to_json(TIMES),
            "ring_time": self.ring_time.to_json(TIMES),
            "talk_time": self.talk_time.to_json(TIMES),
            "ends": [
                {"status": status, "sip_response_code": code or None, "legs": legs}
                for (status, code), legs in self.ends.items()
            ],
            "callback_delay": {**self.callback_delay.to_json(DELAYS), "resolution": 1.0, "early": self.early},
            "missed_callbacks": {"ends": self.missed_ends, "sequence_gaps": self.missing},
            "rests_on": {name.replace("-", "_"): evidence[name] for name in EVIDENCE},
        }


def _is_decided(kind: LegKind) -> bool:
    return kind.has_ended or kind.is_answered


def _part(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)


class Done(NamedTuple):
    """Who did what to calls, and with which result: a rule, a command of ``user@host``, or one of unknown origin."""

    rule: str | None
    by: str | None
    action: str
    result: str

    @classmethod
    def of(cls, action: ActionEvent) -> Done:
        """Return what an action was."""
        return cls(action.rule, action.by, action.action, action.result)


Key = str | int


@dataclass
class Groups:
    """Tallies by a key of each leg. At most some thousand are kept: those with the most legs.

    With more different keys than that, each kept one may lack up to ``lost`` legs, which are then among the others:
    less than one in ``most`` of all. A key with more legs than that is always kept (Misra and Gries, "Finding repeated
    elements", 1982).
    """

    key_of: Callable[[LegFacts], Key]
    most: int = _MOST_GROUPS
    lost: int = 0
    tallies: dict[Key, Tally] = field(default_factory=dict)
    others: Tally = field(default_factory=Tally)
    _lost_before: dict[Key, int] = field(default_factory=dict)

    def add(self, leg: LegFacts) -> None:
        """Count a leg."""
        key = self.key_of(leg)
        if isinstance(key, str) and len(key) > _LONGEST_NAME:
            key = without_secrets(key)[:_LONGEST_NAME]
        tally = self.tallies.get(key)
        if tally is None:
            if len(self.tallies) >= 2 * self.most:
                self._shrink()
            tally = self.tallies[key] = Tally()
            self._lost_before[key] = self.lost
        tally.add(leg)

    def _shrink(self) -> None:
        """Drop the keys with the fewest legs, and raise ``lost`` to what the largest of them had."""
        weights = {key: tally.legs + self._lost_before[key] for key, tally in self.tallies.items()}
        self.lost = sorted(weights.values(), reverse=True)[self.most]
        for key, weight in weights.items():
            if weight <= self.lost:
                self.others.merge(self.tallies.pop(key))
                del self._lost_before[key]

    def merge(self, other: Groups) -> None:
        """Count what another has counted by the same key."""
        lost_before = {
            key: self._lost_before.get(key, self.lost) + other._lost_before.get(key, other.lost)
            for key in self.tallies.keys() | other.tallies.keys()
        }
        self._lost_before, self.lost = lost_before, self.lost + other.lost
        self.others.merge(other.others)
        for key, tally in other.tallies.items():
            self.tallies.setdefault(key, Tally()).merge(tally)
        while len(self.tallies) > 2 * self.most:
            self._shrink()

    def top(self, count: int) -> tuple[list[tuple[Key, Tally]], Tally]:
        """Return the keys with the most legs, ``count`` at most, and the tally of all others."""
        in_order = sorted(self.tallies.items(), key=lambda item: (-item[1].legs, item[0]))
        others = Tally()
        others.merge(self.others)
        for _, tally in in_order[count:]:
            others.merge(tally)
        return in_order[:count], others


@dataclass
class Figures:
    """The figures of all legs that were added, in groups too if there are any, and of what was done to calls.

    ``unreadable`` counts the records that could not be read, ``unreported`` the legs of which no event had a status;
    neither are among the others.
    """

    groups: Groups | None = None
    all: Tally = field(default_factory=Tally)
    actions: Counter[Done] = field(default_factory=Counter)
    unreadable: int = 0
    unreported: int = 0

    def add(self, leg: LegFacts) -> None:
        """Count a leg."""
        self.all.add(leg)
        if self.groups is not None:
            self.groups.add(leg)

    def merge(self, other: Figures) -> None:
        """Count what another has counted, in groups by the same key if there are any."""
        self.all.merge(other.all)
        self.actions.update(other.actions)
        self.unreadable += other.unreadable
        self.unreported += other.unreported
        if self.groups is not None and other.groups is not None:
            self.groups.merge(other.groups)

    def add_action(self, action: ActionEvent) -> None:
        """Count what was done to a call."""
        self.actions[Done.of(action)] += 1

    def actions_in_order(self) -> list[tuple[Done, int]]:
        """Return who did what and how often, the most frequent first."""
        return sorted(self.actions.items(), key=lambda item: (-item[1], *(part or "" for part in item[0])))
