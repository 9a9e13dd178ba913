"""What a listener counts for those who watch over it. To count is to add to a number: callbacks do not wait for it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# Upper ends in seconds. A commit takes a millisecond on a good disk; after 10 s the answer is 500.
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Upper ends in events. No commit has more than the last of these (store/group_writer.py).
COMMIT_EVENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# They are there from the beginning: what is first seen as 1 has not increased for Prometheus.
ANSWERS = (204, 403, 500, 503)
REFUSALS = ("signature", "unsigned", "selftest", "path", "stream", "body", "replay", "connections")


def is_to_be_reported(count: int) -> bool:
    """Return whether one of many alike is reported: the first, second, fourth, eighth …"""
    return count & (count - 1) == 0


class Histogram:
    """How often values fell between some bounds, each of which belongs to what is below it, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)  # the last one: above all bounds
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass
class Counts:
    """What a listener has done since it started.

    ``answers`` is by HTTP status, health checks left out; ``refusals`` by cause; ``events`` by kind and status, each
    event once; ``pending`` how many events are being stored at this moment.
    """

    answers: Counter[int] = field(default_factory=lambda: Counter(dict.fromkeys(ANSWERS, 0)))
    refusals: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(REFUSALS, 0)))
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    commit_seconds: Histogram = field(default_factory=lambda: Histogram(COMMIT_SECONDS))
    commit_events: Histogram = field(default_factory=lambda: Histogram(COMMIT_EVENTS))
    pending: int = 0

    def commit(self, seconds: float, events: int) -> None:
        """Count a commit of so many events that took so many seconds."""
        self.commit_seconds.add(seconds)
        self.commit_events.add(events)
