"""The pytest plugin: the fixture `twilio_simulator`, and what happened in the simulator, shown where a test fails.

pytest loads this module in every run, also where nothing of it is used. So it imports pytest alone, and the rest where
the fixture is used. docs/simulator.md shows its use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from callctl.simulator import Simulator

MARKER = "twilio_simulator(**options): options of callctl.simulator.Simulator for this test, class or module."
DEFAULTS: Mapping[str, Any] = {"manual_clock": True, "strict": True, "seed": 1}
_WHAT_HAPPENED = pytest.StashKey[Callable[[], str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def twilio_simulator_options() -> Mapping[str, Any]:
    """Return the options of `callctl.simulator.Simulator` for all tests: override it, such as with {"port": 8766}."""
    return {}


@pytest.fixture(scope="session")
def _twilio_simulator_server() -> Iterator[_Server]:
    server = _Server()
    yield server
    server.stop()


@pytest.fixture
def twilio_simulator(
    request: pytest.FixtureRequest,
    twilio_simulator_options: Mapping[str, Any],
    _twilio_simulator_server: _Server,
) -> Iterator[Simulator]:
    """Return a `callctl.simulator.Simulator` of Twilio's voice API in which nothing has happened yet.

    It has a manual clock and is strict, unless `twilio_simulator_options` or the marker `twilio_simulator` say
    otherwise.
    Calls that go on at the test's end are dropped.
    """
    options = {**DEFAULTS, **twilio_simulator_options}
    for marker in reversed(list(request.node.iter_markers("twilio_simulator"))):
        if marker.args:
            pytest.fail("the marker twilio_simulator takes options by keyword, such as strict=False", pytrace=False)
        options |= marker.kwargs
    simulator = _twilio_simulator_server.fresh(options)
    from callctl.simulator.summary import Summary

    request.node.stash[_WHAT_HAPPENED] = lambda: Summary.of(simulator).text()
    yield simulator
    request.node.stash[_WHAT_HAPPENED] = Summary.of(simulator).text  # for what fails behind this
    _twilio_simulator_server.drop_calls()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add to the report of a failure what happened in the simulator."""
    outcome: Any = yield
    what_happened = item.stash.get(_WHAT_HAPPENED, None)
    if what_happened is None:
        return
    report = outcome.get_result()
    if report.failed:
        report.sections.append(("twilio_simulator", _text(what_happened)))
    if call.when == "teardown":
        del item.stash[_WHAT_HAPPENED]


def _text(what_happened: Callable[[], str]) -> str:
    try:
        return what_happened()
    except Exception as error:  # nothing may keep the report of the failure itself from being shown
        return f"can't say what happened: {error!r}"


class _Server:
    """The simulator of a session, or of one of xdist's workers: one at a time, since a port may be fixed."""

    def __init__(self) -> None:
        self._options: Mapping[str, Any] = {}
        self._running: Simulator | None = None

    def fresh(self, options: Mapping[str, Any]) -> Simulator:
        """Return a simulator with these options in which nothing has happened."""
        if options == self._options:
            self.drop_calls()
            if self._running is not None:
                return self._running
        from callctl.simulator import Simulator, SimulatorError

        self.stop()
        try:
            simulator = Simulator(**options)
            simulator.__enter__()
        except (SimulatorError, TypeError, ValueError) as error:
            why = str(error)
        else:
            self._running, self._options = simulator, options
            return simulator
        pytest.fail(f"twilio_simulator can't start: {why}", pytrace=False)

    def drop_calls(self) -> None:
        """Forget all that has happened; one that was stopped meanwhile, as a test may, is started anew for the next."""
        from callctl.simulator import SimulatorError

        if self._running is not None:
            try:
                self._running.reset()
            except SimulatorError:
                self.stop()

    def stop(self) -> None:
        """Stop the one that runs, if any."""
        running, self._running = self._running, None
        if running is not None:
            running.__exit__(None, None, None)
