"""Rows of one table, and two ways of doing the same, run in turns in processes of their own.

Only ratios within one run say something: seconds depend on the machine and on what else it does. Of several rounds the
quickest counts for each side, since whatever disturbs a run makes it slower.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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
    """A line of the table: what was promised, what was measured, and whether the promise was kept."""

    what: str
    measured: str
    target: str
    kept: bool

    def line(self, *, is_judged: bool = True) -> str:
        """Return it in Markdown; without a judgement where the measurement does not bear one."""
        kept = ("yes" if self.kept else "**no**") if is_judged else "not judged"
        return f"| {self.what} | {self.measured} | {self.target} | {kept} |"


def at_most(limit: float, what: str, *, ours: float, theirs: float, unit: str = "s") -> Row:
    """Return the row of a promise that ours takes at most ``limit`` times what theirs does."""
    ratio = ours / theirs
    measured = f"{ratio:.2f} x ({amount(ours, unit)} against {amount(theirs, unit)})"
    return Row(what, measured, f"≤ {limit:g} x", ratio <= limit)


def as_fast(limit: float, what: str, *, ours: float, theirs: float) -> Row:
    """Return the row of a promise that ours is at least ``limit`` times as fast as theirs; both in seconds."""
    ratio = theirs / ours
    measured = f"{ratio:.1f} x as fast ({amount(ours, 's')} against {amount(theirs, 's')})"
    return Row(what, measured, f"≥ {limit:g} x", ratio >= limit)


def within(limit: float, what: str, seconds: float) -> Row:
    """Return the row of a promise about a time, for the few that are no ratios; ``limit`` in seconds too."""
    return Row(what, amount(seconds, "s"), f"≤ {amount(limit, 's')}", seconds <= limit)


def amount(value: float, unit: str) -> str:
    """Return an amount in words, seconds in the unit that suits them."""
    if unit != "s":
        return f"{value:.0f} {unit}"
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


def in_turns(ours: Callable[[], Cost], theirs: Callable[[], Cost], *, rounds: int) -> tuple[Cost, Cost]:
    """Run both in turns, after one run of each that warms the caches, and return the least of each."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return _least([pair[0] for pair in pairs]), _least([pair[1] for pair in pairs])


def _least(costs: Sequence[Cost]) -> Cost:
    return Cost(min(cost.seconds for cost in costs), min(cost.megabytes for cost in costs))
