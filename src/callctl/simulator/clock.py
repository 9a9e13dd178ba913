"""Simulated time: one clock, and the event loop's timers under it.

Everything that lasts in a call (ringing, speech, limits) is counted in simulated seconds from when the simulator began.
Time stamps and HTTP time limits are not: they stay real, because their readers live in real time.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

MANUAL_SPACING = 0.2  # seconds
Action = Callable[[], None]


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """Make it not happen; harmless when it has happened."""


class Clock(Protocol):
    """What the simulator needs of time."""

    def now(self) -> float:
        """Return the simulated seconds since the clock began."""

    def later(self, seconds: float, action: Action) -> Timer:
        """Run an action after so many simulated seconds."""

    def spacing(self, seconds: float) -> float:
        """Return the seconds between two timers for what recurs in so many: several at once, if often."""

    def stop(self) -> None:
        """Run no action any more, of those that were set and of any other."""


class RealClock:
    """Simulated time that runs by itself, `speed` times as fast as real time."""

    def __init__(self, speed: float = 1.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._speed = speed
        self._is_stopped = False

    def now(self) -> float:
        """Return the simulated seconds since the clock began."""
        return (self._loop.time() - self._began) * self._speed

    def later(self, seconds: float, action: Action) -> Timer:
        """Run an action after so many simulated seconds."""
        return self._loop.call_later(max(seconds, 0.0) / self._speed, self._run, action)

    def spacing(self, seconds: float) -> float:
        """Return how far apart to do what recurs so often, which is no less than so many real seconds."""
        return max(seconds, seconds * self._speed)

    def stop(self) -> None:
        """Run no action any more."""
        self._is_stopped = True

    def _run(self, action: Action) -> None:
        if not self._is_stopped:
            action()


@dataclass(order=True, slots=True)
class ManualTimer:
    """A timer of the manual clock; equal times keep the order in which they were set."""

    due: float
    number: int
    action: Action | None = field(compare=False)

    def cancel(self) -> None:
        """Make it not happen; the heap drops the empty entry when its time comes."""
        self.action = None


class ManualClock:
    """Simulated time that stands still until it is advanced. It counts microseconds, so that sums of seconds are exact.

    Ten advances by 0.1 come to what one by 1 does.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._timers: list[ManualTimer] = []
        self._count = 0
        self._is_stopped = False

    def now(self) -> float:
        """Return the simulated seconds since the clock began."""
        return self._now

    def later(self, seconds: float, action: Action) -> Timer:
        """Run an action once time has been advanced by so many simulated seconds."""
        self._count += 1
        timer = ManualTimer(_exact(self._now + max(seconds, 0.0)), self._count, action)
        if not self._is_stopped:
            heapq.heappush(self._timers, timer)
        return timer

    def spacing(self, seconds: float) -> float:
        """Return the seconds between two timers for what recurs in so many: the network is awaited each time."""
        return max(seconds, MANUAL_SPACING)

    def stop(self) -> None:
        """Run no action any more."""
        self._is_stopped = True
        self._timers.clear()

    def is_empty(self) -> bool:
        """Return whether nothing is to happen, however long time is advanced."""
        return all(timer.action is None for timer in self._timers)

    async def advance(
        self,
        seconds: float,
        *,
        settled: Callable[[], Awaitable[None]],
        is_done: Callable[[], bool] = lambda: False,
    ) -> None:
        """Let simulated seconds pass, timer by timer, waiting after each until the network has settled.

        Time stands still as soon as ``is_done`` returns True; it is called before each timer.
        """
        until = _exact(self._now + seconds)
        await settled()
        while not is_done():
            if not self.step(until):
                self._now = max(self._now, until)
                return
            await settled()

    def step(self, until: float) -> bool:
        """Run the next timer that is due until then, in simulated seconds; return whether there was one."""
        while self._timers and self._timers[0].due <= until:
            timer = heapq.heappop(self._timers)
            action, timer.action = timer.action, None
            if action is None:
                continue
            self._now = max(self._now, timer.due)
            action()
            return True
        return False


def _exact(seconds: float) -> float:
    return round(seconds, 6)
