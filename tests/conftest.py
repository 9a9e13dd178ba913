"""What every test may use: the command line as a function, in a world of its own."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

# The assertions of a module are rewritten once and not in each worker, whatever the environment says of bytecode. Those
# of hypothesis too, so this stands before it is loaded.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False

from browser import running_browser
from hypothesis import HealthCheck, settings
from postgresql_server import PostgresServer, postgres_server
from running import Callctl, run
from stage import handlers_kept

from callctl.simulator import Simulator

# Where the tests that wait most are.
LONG = {
    "demo",
    "test_readme.py",
    "test_command_reachability.py",
    "test_fleet.py",
    "test_deploy_page.py",
    "test_guard.py",
}

# No deadline, and no complaint of slow data: how long an example takes, and how long its data take to be made, says
# nothing on a busy machine, and no test here asserts a duration.
settings.register_profile("callctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("callctl")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Load the modules of tests, each worker from another one on: what one has rewritten the others only read."""
    folders = [path for path in map(Path, session.config.args) if path.is_dir()]
    files = sorted(file for folder in folders for file in folder.rglob("test_*.py"))
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    first = len(files) * int(worker.removeprefix("gw")) // int(workers)
    for file in (*files[first:], *files[:first]):
        try:
            _ = pytest.Module.from_parent(session, path=file.resolve()).obj
        except (Exception, pytest.skip.Exception):  # the reason is reported where the module is collected: from anew
            for name in [name for name, module in sys.modules.items() if _file_of(module) == str(file.resolve())]:
                del sys.modules[name]


def _file_of(module: ModuleType) -> str | None:
    return getattr(module, "__file__", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker begin with some of the tests that wait most, so that none waits for them alone in the end."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if not LONG.isdisjoint(item.path.parts)]
    rest = [item for item in items if LONG.isdisjoint(item.path.parts)]
    # Each worker gets a run of so many tests first, and later some of who has most of them left.
    parts = [rest[len(rest) * n // workers : len(rest) * (n + 1) // workers] for n in range(workers)]
    items[:] = [item for n in range(workers) for item in (*long[n::workers], *parts[n])]


def pytest_collection_finish() -> None:
    """Have the collection of garbage pass over all that was loaded for the tests, which stays until the end."""
    gc.collect()
    gc.freeze()


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
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a browser's DevTools, for ``browser.new_page``; without a browser the test is skipped."""
    folder = tmp_path_factory.mktemp("browser")
    try:
        with running_browser(folder) as address:
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """Return a PostgreSQL of the tests' own; where the programs are not installed the test is skipped."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def shared_store(postgresql: PostgresServer) -> str:
    """Return the URL of a database with callctl's schema, and nothing in it: another test may have had it before."""
    return postgresql.emptied_store()


@pytest.fixture
def own_shared_store(postgresql: PostgresServer) -> str:
    """Return the URL of another such database, for tests that change more of it than callctl does."""
    return postgresql.new_store()
