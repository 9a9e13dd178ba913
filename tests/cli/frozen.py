"""A simulator whose calendar is frozen, for output that is the same in every run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from running import Callctl, Outcome, env_for

from callctl.simulator import Simulator

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
LONG = "A sentence that takes a good while to say. " * 10


@dataclass
class Calendar:
    """What time it is."""

    now: datetime = NOON


@dataclass
class Frozen:
    """The simulator, its calendar, and callctl set up for it."""

    simulator: Simulator
    callctl: Callctl
    calendar: Calendar

    def __call__(self, *args: str, **kept: Any) -> Outcome:
        kept["env"] = {**env_for(self.simulator), **kept.get("env", {})}
        return self.callctl(*args, **kept)

    def place(self, to: str, *args: str) -> str:
        """Place a call and return its SID."""
        outcome = self("place", to, *(args or ("--say", LONG)), "--status-callback", "none")
        assert outcome.code == 0, outcome.err
        return outcome.out.strip()

    def later(self, **span: float) -> None:
        """Move the calendar on; no call moves with it."""
        self.calendar.now += timedelta(**span)

    def sids(self, *args: str) -> list[str]:
        """Return what ``list -q`` prints with these options."""
        outcome = self("list", "-q", *args)
        assert outcome.code == 0, outcome.err
        return outcome.out.splitlines()


@contextmanager
def frozen_simulator(callctl: Callctl, **options: Any) -> Iterator[Frozen]:
    """Run such a simulator."""
    calendar = Calendar()
    with Simulator(port=0, seed=1, manual_clock=True, wall=lambda: calendar.now, **options) as simulator:
        yield Frozen(simulator, callctl, calendar)
