"""Calls whose callbacks do not come: what ``place --wait-for`` and a watch say of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from processes import Piped
from running import Callctl, env_for
from web_site import closed_port

from callctl.operations import missing_callbacks
from callctl.simulator import Faults, Simulator

NEVER = "+12025550103"
WAIT = ("--say", "Hello", "--wait-for", "ended", "--wait-timeout")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let silence be noticed after a second."""
    monkeypatch.setattr("callctl.operations.missing_callbacks.AFTER", timedelta(seconds=1))
    monkeypatch.setattr("callctl.operations.missing_callbacks.DELIVERY_TIME", timedelta(seconds=0.3))


@pytest.fixture
def losing() -> Iterator[Simulator]:
    """Return a simulator that loses every callback."""
    with Simulator(port=0, faults=Faults(drop=1.0)) as simulator:
        yield simulator


def watching(home: Path, env: dict[str, str], *args: str) -> Piped:
    return Piped("watch", "--port", "0", "--no-poll", "--json", *args, home=home, env=env)


def requests_for_notifications(simulator: Simulator) -> int:
    return sum("Notifications" in one.path for one in simulator.requests)


@pytest.mark.usefixtures("soon")
def test_a_tunnel_that_is_down(callctl: Callctl, simulator: Simulator, home: Path) -> None:
    env = env_for(simulator)
    with closed_port() as port:
        gone = f"http://127.0.0.1:{port}"
        with watching(home, env, "--public-url", gone) as watch:
            watch.until_health(str(watch.record()["health_url"]), lambda health: health.get("reachable") is False)
            outcome = callctl("place", NEVER, *WAIT, "3s", env=env)
    sid = outcome.out.strip()
    assert outcome.code == 9
    assert f"running watch, {gone}/status\ncallctl: warning: no request comes through to it now" in outcome.err
    assert f"callctl: no status callback of {sid} in 1 s: Twilio could not deliver to {gone}/status: " in outcome.err
    assert "(11200, https://www.twilio.com/docs/errors/11200)\nhint: see that the tunnel runs" in outcome.err
    assert requests_for_notifications(simulator) == 1


@pytest.mark.usefixtures("soon")
def test_callbacks_that_are_lost_on_their_way(callctl: Callctl, losing: Simulator, home: Path) -> None:
    env = env_for(losing)
    with watching(home, env) as watch:
        watch.until_health(str(watch.record()["health_url"]), lambda health: health.get("reachable") is True)
        outcome = callctl("place", NEVER, *WAIT, "3s", env=env)
    assert outcome.code == 9
    assert "warning" not in outcome.err
    assert f"no status callback of {outcome.out.strip()} in 1 s: Twilio has noted nothing; " in outcome.err
    assert "`callctl doctor` tests the way" in outcome.err
    assert requests_for_notifications(losing) == 1


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("callback", ["none", "http://127.0.0.1:9/status"])
def test_without_a_watch_only_what_was_noted_is_reported(callctl: Callctl, simulator: Simulator, callback: str) -> None:
    outcome = callctl("place", NEVER, *WAIT, "3s", "--status-callback", callback, env=env_for(simulator))
    assert outcome.code == 9
    assert ("no status callback of" in outcome.err) is (callback != "none")
    assert ("could not deliver to http://127.0.0.1:9/status" in outcome.err) is (callback != "none")
    assert requests_for_notifications(simulator) == (0 if callback == "none" else 1)


@pytest.mark.usefixtures("soon")
def test_a_call_that_is_reported_costs_no_request(callctl: Callctl, simulator: Simulator, home: Path) -> None:
    env = env_for(simulator)
    with watching(home, env) as watch:
        watch.record()
        outcome = callctl("place", NEVER, *WAIT, "3s", env=env)
    assert outcome.code == 9
    assert "no status callback" not in outcome.err
    assert requests_for_notifications(simulator) == 0


# A watch that misses callbacks after a second, not ten.
SOON = """
from datetime import timedelta
from callctl.__main__ import main
from callctl.operations import missing_callbacks
missing_callbacks.AFTER = timedelta(seconds=1)
main()
"""


def test_a_watch_reports_missing_callbacks(callctl: Callctl, losing: Simulator, home: Path) -> None:
    assert timedelta(seconds=10) == missing_callbacks.AFTER
    env = env_for(losing)
    with Piped("watch", "--port", "0", home=home, env=env, program=(sys.executable, "-c", SOON)) as watch:
        watch.until_said("listening on")
        sid = callctl("place", NEVER, "--say", "Hello", env=env).out.strip()
        assert callctl("wait", sid, "--for", "ended", "--wait-timeout", "1s", env=env).code == 9
        said = watch.until_said("no status callback")
    assert f"{sid}: no status callback in 1 s: Twilio has noted nothing; " in said
    assert requests_for_notifications(losing) == 1
