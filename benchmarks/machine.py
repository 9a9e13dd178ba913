"""Whether the machine was quiet while it was measured on: what is measured on a busy one says nothing."""

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

SETTLING_SECONDS = 1.0  # in which what was measured before is written to the disk
IDLE_SECONDS = 2.0
MOST_IN_USE = 0.1  # of one processor, while nothing is measured
MOST_UNEVEN = 1.15  # the median of equal pieces of work, by the least
MOST_CHANGE = 1.15  # of the same work, before the measurement and after it
ROUNDS = 40


@dataclass(frozen=True)
class Calibration:
    """What a machine does while nothing is measured.

    ``in_use`` is how much of one processor others take, None where the system does not say; ``seconds`` is what a fixed
    piece of work takes at best, and ``uneven`` the median of its rounds by the best.
    """

    in_use: float | None
    seconds: float
    uneven: float

    @classmethod
    def take(cls) -> "Calibration":
        """Measure, for about four seconds."""
        time.sleep(SETTLING_SECONDS)
        in_use = _in_use()
        rounds = [_work() for _ in range(ROUNDS)]
        best = min(rounds)
        return cls(in_use, best, statistics.median(rounds) / best)

    def why_busy(self) -> str | None:
        """Return what shows that others used the machine; None if it was quiet."""
        if self.in_use is not None and self.in_use > MOST_IN_USE:
            return f"other programs take {self.in_use:.0%} of a processor"
        return None

    def why_uneven(self) -> str | None:
        """Return what shows that its speed changes; None if that is even."""
        if self.uneven > MOST_UNEVEN:
            return f"equal pieces of work take {self.uneven:.2f} times as long as the quickest of them"
        return None


def why_busy(before: Calibration, after: Calibration) -> str | None:
    """Return why nothing that was measured between two calibrations is judged; None if it may be."""
    return _first(before.why_busy(), after.why_busy())


def why_uneven(before: Calibration, after: Calibration) -> str | None:
    """Return why only what is certain is judged of what was measured between two calibrations; None if all is."""
    if (why := _first(before.why_uneven(), after.why_uneven())) is not None:
        return why
    change = max(before.seconds, after.seconds) / min(before.seconds, after.seconds)
    if change > MOST_CHANGE:
        return f"the machine's speed changed by {change:.2f} times meanwhile"
    return None


def _first(before: str | None, after: str | None) -> str | None:
    if before is not None:
        return f"before the measurement {before}"
    return None if after is None else f"after the measurement {after}"


def _work() -> float:
    began = time.perf_counter()
    total = 0
    for number in range(200_000):
        total += number * number % 7
    return time.perf_counter() - began


def _in_use() -> float | None:
    """Return how much of one processor was in use while this process slept; None where /proc/stat is not there."""
    if not Path("/proc/stat").exists():
        return None
    before = _busy_ticks()
    time.sleep(IDLE_SECONDS)
    return (_busy_ticks() - before) / os.sysconf("SC_CLK_TCK") / IDLE_SECONDS


def _busy_ticks() -> int:
    # user, nice, system, idle, iowait, irq, softirq (proc_stat(5)), of all processors together
    user, nice, system, _idle, _iowait, irq, softirq = Path("/proc/stat").read_text().split()[1:8]
    return sum(map(int, (user, nice, system, irq, softirq)))
