"""Two clocks: the wall clock, which may be set, and elapsed time, which only goes on.

What is recorded has the wall clock's time. What is measured, and above all what a rule waits for, must not depend on
it: a clock that is set forward by an hour makes no call an hour old.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

# CLOCK_BOOTTIME goes on while a Linux machine is suspended; elsewhere, on macOS, CLOCK_MONOTONIC does. Neither can be
# set. Python's time.monotonic stops while the machine is suspended, on both.
_STEADY: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# The wall clock is read between two readings of elapsed time, so that a pause between them is taken for no step.
_AT_ONCE = 0.05  # seconds
_TRIES = 3
# What differs by less is no step: both clocks are slewed alike.
_TOLERANCE = timedelta(seconds=0.5)
_TOLERANCE_SECONDS = _TOLERANCE.total_seconds()
# Steps that are remembered: enough for a clock that is corrected, not for one that is set without end.
_KEPT = 16
# Nothing that is waited for by the wall clock, a lease or an intent, is further ahead than this.
AHEAD: Final = timedelta(minutes=5)


def elapsed() -> float:
    """Return seconds since some moment: they go on in suspension and can't be set."""
    return time.clock_gettime(_STEADY)


# Returns how long ago a moment was.
Age = Callable[[datetime], timedelta]


class Clock:
    """The wall clock, and a steady one that begins with it and then only goes on. Safe for several threads."""

    def __init__(self, *, wall: Callable[[], datetime], elapsed: Callable[[], float] = elapsed) -> None:
        """Begin now. ``wall`` returns the time with its zone, ``elapsed`` seconds since some moment."""
        self._read_wall, self._elapsed = wall, elapsed
        self._lock = threading.Lock()
        self._zero = elapsed()
        self._began = wall()
        self._wall_zero = self._began  # what the wall clock would have shown at zero, if it had never been set
        # How far the steady clock was ahead of the wall clock, from the beginning and after each step of that.
        self._offsets = deque([timedelta()], maxlen=_KEPT)
        self._steps: deque[timedelta] = deque(maxlen=_KEPT)

    def wall(self) -> datetime:
        """Return the time as the machine has it now: what is recorded."""
        wall = self._read_wall()
        return wall if self._makes_no_step(wall) else self._observe()[0]

    def now(self) -> datetime:
        """Return the steady time, for measuring: it means nothing outside this object."""
        return self._observe()[1]

    def steady(self, moment: datetime) -> datetime:
        """Return the steady time of a moment of the wall clock, before or after its steps.

        A moment may have come twice, where the clock was set back; then it is the one nearer to now.
        """
        if len(self._offsets) == 1 and self._makes_no_step(self._read_wall()):
            return moment + self._offsets[0]
        now = self.now()
        return min((moment + offset for offset in self._offsets), key=lambda moment: abs(now - moment))

    def age(self, moment: datetime) -> timedelta:
        """Return how long ago a moment of the wall clock was, or of a clock that agrees with it."""
        return self.now() - self.steady(moment)

    def has_passed(self, moment: datetime) -> bool:
        """Return whether a moment that was some minutes ahead of the wall clock, by any of its steps, is over.

        In doubt it is not: it may have been read before the clock was set, or after.
        """
        now = self.now()
        steady = [time for offset in self._offsets if (time := moment + offset) <= now + AHEAD]
        return bool(steady) and max(steady) <= now

    def earliest(self, steady: datetime) -> datetime:
        """Return the earliest time that the wall clock can have had at a steady moment."""
        self._observe()
        return steady - max(self._offsets)

    def new_steps(self) -> list[timedelta]:
        """Return by how much the wall clock was set since the last call of this, forward or back."""
        self._observe()
        with self._lock:
            steps = list(self._steps)
            self._steps.clear()
        return steps

    def _makes_no_step(self, wall: datetime) -> bool:
        """Return whether the wall clock, as it was just read, goes on without a step: that is known soonest."""
        ahead = (wall - self._wall_zero).total_seconds() - (self._elapsed() - self._zero)
        return -_TOLERANCE_SECONDS <= ahead <= _TOLERANCE_SECONDS

    def _observe(self) -> tuple[datetime, datetime]:
        with self._lock:
            for _ in range(_TRIES):
                before, wall, after = self._elapsed(), self._read_wall(), self._elapsed()
                if after - before < _AT_ONCE:
                    break
            steady = self._began + timedelta(seconds=after - self._zero)
            step = self._offsets[-1] - (steady - wall)
            if abs(step) > _TOLERANCE:
                self._offsets.append(steady - wall)
                self._steps.append(step)
                self._wall_zero = self._began - self._offsets[-1]
            return wall, steady
