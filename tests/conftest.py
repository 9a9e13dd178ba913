"""What every test may use: the command line as a function, in a world of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from postgresql_server import PostgresServer, postgres_server
from running import Callctl, run
from stage import handlers_kept

from callctl.simulator import Simulator

# No deadline: how long an example takes says nothing on a busy machine, and no test here asserts a duration.
settings.register_profile("callctl", deadline=None)
settings.load_profile("callctl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that wait most, so that no worker waits for them alone in the end."""
    long = ("demo", "test_readme.py", "test_command_reachability.py")
    items.sort(key=lambda item: not any(part in long for part in item.path.parts))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Let what is started here be interrupted, also where the tests themselves run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Let no handler of a command that was interrupted in this process end it later."""
    with handlers_kept():
        yield


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
def simulator() -> Iterator[Simulator]:
    """Return a running simulator on a free port, in real time."""
    with Simulator(port=0) as simulator:
        yield simulator


@pytest.fixture
def fast_simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Return a simulator whose calls live five times as fast, by the readings of Twilio's text that the test names."""
    with Simulator(port=0, speed=5, readings=getattr(request, "param", ())) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """Return a PostgreSQL of the tests' own; where the programs are not installed the test is skipped."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def shared_store(postgresql: PostgresServer) -> str:
    """Return the URL of a database with callctl's schema, and nothing in it."""
    return postgresql.new_store()
