"""Rows of one table, and two ways of doing the same, run in turns in processes of their own.

Only ratios within one run say something: seconds depend on the machine and on what else it does. The two take turns,
and the median of the ratios of all rounds counts, with the interval in which the true one lies with 95 % confidence:
what makes the machine slower for a while concerns both sides of most rounds.
"""

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")

HEAD = "| what | measured | target | kept |\n|---|---|---|---|"


# Runs a command, and writes the seconds that it took, its most memory, and its exit code. A process of its own, since
# one that starts another lends it its peak of memory, and this one has imported much by then.
_LAUNCH = """
import os, sys, time
files = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
began = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=files)
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - began, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds from start to end, and the most memory it held, in MB."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Row:
    """A line of the table: what was promised, what was measured, and whether the promise was kept.

    ``is_certain``: that is so on a machine too whose speed changes.
    """

    what: str
    measured: str
    target: str
    kept: bool
    is_certain: bool = False

    def line(self, *, is_judged: bool = True) -> str:
        """Return it in Markdown; without a judgement where the measurement does not bear one."""
        kept = ("yes" if self.kept else "**no**") if is_judged else "not judged"
        return f"| {self.what} | {self.measured} | {self.target} | {kept} |"


@dataclass(frozen=True)
class Interval:
    """The median of some measurements, and between which two of them the true one lies with 95 % confidence."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return it by the order of the values alone, however they are spread; of less than six it is all of them."""
        ordered = sorted(values)
        count = len(ordered)
        below, chance = 0, 0.0
        while below < count // 2 and (chance := chance + math.comb(count, below) / 2**count) <= 0.025:
            below += 1
        first = max(below - 1, 0)
        return cls(ordered[first], statistics.median(ordered), ordered[count - 1 - first])

    @property
    def text(self) -> str:
        """The three, with two digits behind the point."""
        return f"{self.middle:.2f} x ({self.low:.2f} to {self.high:.2f}"


Pairs = Sequence[tuple[float, float]]  # ours and theirs, of each round


def at_most(limit: float, what: str, pairs: Pairs, *, unit: str = "s") -> Row:
    """Return the row of a promise that ours takes at most ``limit`` times what theirs does."""
    ratio = Interval.of(ours / theirs for ours, theirs in pairs)
    measured = f"{ratio.text}; {_medians(pairs, unit)})"
    certain = ratio.high <= limit or ratio.low > limit
    return Row(what, measured, f"≤ {limit:g} x", ratio.middle <= limit, is_certain=certain)


def at_least(limit: float, what: str, pairs: Pairs, *, unit: str, more: str = "") -> Row:
    """Return the row of a promise that ours is at least ``limit`` times theirs; ``more`` is added to what is shown."""
    ratio = Interval.of(ours / theirs for ours, theirs in pairs)
    measured = f"{ratio.text}; {_medians(pairs, unit)}{more})"
    certain = ratio.low >= limit or ratio.high < limit
    return Row(what, measured, f"≥ {limit:g} x", ratio.middle >= limit, is_certain=certain)


def as_fast(limit: float, what: str, pairs: Pairs) -> Row:
    """Return the row of a promise that ours is at least ``limit`` times as fast as theirs; both in seconds."""
    ratio = Interval.of(theirs / ours for ours, theirs in pairs)
    measured = f"{ratio.middle:.1f} x as fast ({ratio.low:.1f} to {ratio.high:.1f}; {_medians(pairs, 's')})"
    certain = ratio.low >= limit or ratio.high < limit
    return Row(what, measured, f"≥ {limit:g} x", ratio.middle >= limit, is_certain=certain)


def holds_at_most(limit: float, what: str, *, ours: float, theirs: float) -> Row:
    """Return the row of a promise that ours holds at most ``limit`` times the memory of theirs; both in MB."""
    ratio = ours / theirs
    measured = f"{ratio:.2f} x ({amount(ours, 'MB')} against {amount(theirs, 'MB')})"
    return Row(what, measured, f"≤ {limit:g} x", ratio <= limit, is_certain=True)


def within(limit: float, what: str, seconds: float) -> Row:
    """Return the row of a promise about a time, for the few that are no ratios; ``limit`` in seconds too.

    Whatever disturbs a measurement makes it longer: what was kept is certain.
    """
    kept = seconds <= limit
    return Row(what, amount(seconds, "s"), f"≤ {amount(limit, 's')}", kept, is_certain=kept)


def counted(what: str, measured: str, target: str, *, kept: bool) -> Row:
    """Return the row of a promise about a number that no machine's speed changes."""
    return Row(what, measured, target, kept, is_certain=True)


def _medians(pairs: Pairs, unit: str) -> str:
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return f"{amount(ours, unit)} against {amount(theirs, unit)}"


def amount(value: float, unit: str) -> str:
    """Return an amount in words, seconds in the unit that suits them."""
    if unit != "s":
        return f"{value:,.0f} {unit}"
    for size, name in ((1.0, "s"), (1e-3, "ms")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value * 1e6:.3g} µs"


def share(values: Sequence[float], part: float) -> float:
    """Return the value below which this part of the values lies; they are sorted."""
    return values[min(int(len(values) * part), len(values) - 1)]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a piece of work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and return its cost.

    Raises:
        RuntimeError: It failed.
    """
    # Compiled modules are kept, as those of an installed program are: else one side would compile its own each time.
    kept = {name: value for name, value in (env or os.environ).items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-ISc", _LAUNCH, *command], env=kept, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    seconds, memory, code = done.stdout.split()
    if int(code):
        talk = done.stderr.decode()
        raise RuntimeError(f"{' '.join(command[:6])} … ended with {int(code)}:\n{talk[-2000:]}")
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    return Cost(float(seconds), int(memory) / scale)


def in_turns(ours: Callable[[], T], theirs: Callable[[], T], *, rounds: int) -> list[tuple[T, T]]:
    """Run both in turns, after one run of each that warms the caches, and return the pair of each round."""
    ours(), theirs()
    return [(ours(), theirs()) for _ in range(rounds)]


def seconds_of(pairs: Sequence[tuple[Cost, Cost]]) -> Pairs:
    """Return what both sides of each round took."""
    return [(ours.seconds, theirs.seconds) for ours, theirs in pairs]


def memory_of(costs: Iterable[Cost]) -> float:
    """Return the least peak of memory, in MB: what is disturbed holds no less."""
    return min(cost.megabytes for cost in costs)
