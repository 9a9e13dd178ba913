"""Two ways of doing the same, run in turns in processes of their own, and held to a ratio.

Only ratios within one run say something: seconds depend on the machine and on what else it does. Of several rounds the
quickest counts for each side, since whatever disturbs a run makes it slower.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds from start to end, and the most memory it held, in MB."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Ratio:
    """A promise and how it was kept: ``ours / theirs`` is at most ``limit``, or at least, where ``at_least``."""

    what: str
    ours: float
    theirs: float
    unit: str
    limit: float
    at_least: bool = False

    @property
    def value(self) -> float:
        """The ratio that is held to the limit: how many times as long, or, where ``at_least``, as fast."""
        return self.theirs / self.ours if self.at_least else self.ours / self.theirs

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        """Return it as a line of a table."""
        sign = "≥" if self.at_least else "≤"
        verdict = "ok" if self.kept else "MISSED"
        sides = f"{_amount(self.ours, self.unit)} against {_amount(self.theirs, self.unit)}"
        return f"{self.what:<58} {sides:<26} {self.value:5.2f} x  ({sign} {self.limit:g} x)  {verdict}"


def _amount(value: float, unit: str) -> str:
    return f"{value * 1000:.0f} ms" if unit == "s" else f"{value:.0f} {unit}"


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and return its cost.

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.TemporaryFile() as talk:
        begin = time.perf_counter()
        child = subprocess.Popen(
            list(command),
            env=dict(env or os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=talk,
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait for it again
        talk.seek(0)
        told = talk.read().decode()
    if child.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} … ended with {child.returncode}:\n{told[-2000:]}")
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    return Cost(seconds, usage.ru_maxrss / scale)


def in_turns(ours: Callable[[], Cost], theirs: Callable[[], Cost], *, rounds: int) -> tuple[Cost, Cost]:
    """Run both in turns, after one run of each that warms the caches, and return the least of each."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return _least([pair[0] for pair in pairs]), _least([pair[1] for pair in pairs])


def _least(costs: Sequence[Cost]) -> Cost:
    return Cost(min(cost.seconds for cost in costs), min(cost.megabytes for cost in costs))
