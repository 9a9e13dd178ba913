"""What every test may use: the command line as a function, in a world of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from running import Callctl, run

from callctl.simulator import Simulator

# No deadline: how long an example takes says nothing on a busy machine, and no test here asserts a duration.
settings.register_profile("callctl", deadline=None)
settings.load_profile("callctl")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home directory that nobody else has."""
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture
def callctl(home: Path) -> Callctl:
    """Return ``callctl ARGS…`` as a function, run through ``main()``."""
    return partial(run, home=home)


@pytest.fixture
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Return a running simulator on a free port; a test may choose the readings of Twilio's text it goes by."""
    with Simulator(port=0, readings=getattr(request, "param", ())) as simulator:
        yield simulator
