"""A stage whose time is turned by hand: requests and callbacks travel over HTTP, and hours go by in between.

Simulator, rules and requests share one clock, and everything happens in one thread, so that a run is the same on any
machine, however busy it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from staging import Stage
from telling import START, clock_of
from web_site import Site

from callctl.api.protocol import CallsApi
from callctl.simulator import Simulator, SimulatorError
from callctl.support.clock import Clock


class Slow:
    """A door behind which each request is under way for a while, by chance."""

    def __init__(self, inner: Any, wait: Callable[[], None]) -> None:
        self._inner = inner
        self._wait = wait

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            self._wait()
            return method(*args, **kwargs)

        return called


class TurnedStage(Stage):
    """A stage on which time goes by when something waits. ``latency`` is how long a request takes at most."""

    limit = 200.0
    step = 0.25
    latency = 0.0
    # How far the wall clock of whoever acts was set forward; the simulator's goes on as if it were Twilio's.
    step_of_clock = timedelta()

    def __init__(self, simulator: Simulator, site: Site, home: Path) -> None:
        super().__init__(simulator, site, home)
        self._chance = random.Random(7)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.simulator.simulated_seconds())

    def make_clock(self) -> Clock:
        return clock_of(lambda: self.now() + self.step_of_clock, elapsed=self.now)

    def pause(self, seconds: float) -> None:
        self.simulator.advance(seconds)

    def begin_work(self, work: Callable[[], None]) -> None:
        work()

    def api(self) -> CallsApi:
        slow: Any = Slow(self.client, lambda: self.pause(self._chance.uniform(0, self.latency)))
        return slow  # type: ignore[no-any-return]

    def look(self) -> None:
        self.pause(0)  # until what was fired has arrived
        super().look()

    def go_on(self, seconds: float) -> None:
        """Let time go by in one step, then look."""
        self.pause(seconds)
        self.look()


Kind = TypeVar("Kind", bound=TurnedStage)


@contextmanager
def a_turned_stage(home: Path, kind: type[Kind], **options: Any) -> Iterator[Kind]:
    """Return a stage whose clock stands still until it is turned; options are the simulator's."""
    site = Site()

    def wall() -> datetime:
        seconds = 0.0
        with suppress(SimulatorError):  # it asks for the time while it starts
            seconds = simulator.simulated_seconds()
        return START + timedelta(seconds=seconds)

    simulator = Simulator(manual_clock=True, seed=1, wall=wall, **options)
    with simulator:
        stage = kind(simulator, site, home)
        try:
            yield stage
        finally:
            stage.claims.close()
            site.close()
