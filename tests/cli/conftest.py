"""Fixtures of the command line's tests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli.frozen import Frozen, frozen_simulator
from cli.setup import CliSetup
from running import Callctl

from callctl.simulator import Simulator
from callctl.support.backoff import Backoff


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands that run in this process ask ten times as often; what they do does not depend on it."""
    monkeypatch.setattr("callctl.operations.wait.GAPS", Backoff(first=0.05, factor=1.5, longest=0.5))
    monkeypatch.setattr("callctl.operations.hangup.READ_BACK_PAUSES", Backoff(first=0.01, factor=2, longest=0.08))
    monkeypatch.setattr("callctl.cli.hangup.bulk._PAUSE", 0.1)


@pytest.fixture
def setup(callctl: Callctl, home: Path) -> Iterator[CliSetup]:
    """Return a simulator whose time passes only on demand, and callctl set up for it."""
    with Simulator(port=0, seed=1, manual_clock=True) as simulator:
        yield CliSetup(simulator, callctl, home)


@pytest.fixture
def lagging(callctl: Callctl, home: Path) -> Iterator[CliSetup]:
    """Return a simulator that shows calls as they were four seconds ago, and refuses what does not fit.

    Its dates are those of the store, which callctl compares with them.
    """
    readings = ["cancel-refused-in-progress"]
    with Simulator(manual_clock=True, lag=4.0, readings=readings, wall=lambda: datetime.now(UTC)) as simulator:
        yield CliSetup(simulator, callctl, home)


@pytest.fixture
def frozen(callctl: Callctl, monkeypatch: pytest.MonkeyPatch) -> Iterator[Frozen]:
    """Return a simulator whose calendar stands still, in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    with frozen_simulator(callctl) as frozen:
        yield frozen
    monkeypatch.undo()
    time.tzset()
