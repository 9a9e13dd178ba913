"""A watch whose tunnel is not up yet: others at its port wait for it, and ``place`` and ``doctor`` say so."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doctor_runs import doctor, level
from paths import TESTS
from processes import Piped
from running import Callctl, env_for
from web_site import free_port

from callctl.simulator import Simulator

# A tunnel that prints its address once there is a file ``go``.
TUNNEL = f"{sys.executable} {TESTS / 'relay.py'} {{port}} print-after go"


@contextmanager
def starting(home: Path, env: dict[str, str]) -> Iterator[Piped]:
    """Run a watch until it listens; it goes on starting until there is a file ``go``."""
    port = env["CALLCTL_PORT"]
    with Piped("watch", "--no-poll", "--json", "--tunnel", TUNNEL, home=home, env=env) as watch:
        watch.until_health(f"http://127.0.0.1:{port}/healthz", lambda health: "starting" in health)
        yield watch


def another(home: Path, env: dict[str, str]) -> Piped:
    return Piped("watch", "--no-poll", "--json", home=home, env=env)


@pytest.fixture
def env(simulator: Simulator) -> dict[str, str]:
    return env_for(simulator) | {"CALLCTL_PORT": str(free_port())}


def test_other_watches_wait_for_it_and_follow_it(callctl: Callctl, home: Path, env: dict[str, str]) -> None:
    port = env["CALLCTL_PORT"]
    with starting(home, env) as first, another(home, env) as second, another(home, env) as third:
        for waiting in (second, third):
            waiting.until_said(f"callctl: a watch is still starting at port {port}; waiting to follow it")
        (home / "go").touch()
        ready = first.record()
        assert "starting" not in first.until_health(str(ready["health_url"]), lambda health: "nonce" in health)
        leader = second.record()["follows"]
        assert leader is not None
        assert third.record()["follows"] == leader
        placed = callctl("place", "+12025550100", "--say", "Hello", env=env)
        assert f"status callbacks go to the running watch, {ready['callback_url']}" in placed.err


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_waiting_ends_on_a_signal(home: Path, env: dict[str, str], sent: signal.Signals, code: int) -> None:
    with starting(home, env), another(home, env) as second:
        second.until_said("still starting")
        assert (second.interrupt() if sent == signal.SIGINT else second.terminate()) == code
    assert "Traceback" not in (home / "stderr-watch-").read_text()


def test_one_that_waits_listens_itself_if_nothing_comes_of_the_first(home: Path, env: dict[str, str]) -> None:
    with starting(home, env) as first, another(home, env) as second, another(home, env) as third:
        second.until_said("still starting")
        third.until_said("still starting")
        assert first.terminate() == 0
        follows = [second.record()["follows"], third.record()["follows"]]
    assert [one is None for one in follows].count(True) == 1


def test_what_can_only_be_done_by_the_one_that_listens_is_refused_at_once(
    callctl: Callctl, home: Path, env: dict[str, str]
) -> None:
    with starting(home, env):
        outcome = callctl("watch", "--tunnel", TUNNEL, env=env)
    assert outcome.code == 1
    said = f"the port {env['CALLCTL_PORT']} is taken: a watch is still starting at port {env['CALLCTL_PORT']}"
    assert said in outcome.err


def test_place_says_so(callctl: Callctl, home: Path, env: dict[str, str]) -> None:
    port = env["CALLCTL_PORT"]
    with starting(home, env):
        placed = callctl("place", "+12025550100", "--say", "Hello", env=env)
        assert placed.code == 0
        assert placed.err.splitlines()[1:3] == [
            f"callctl: no status callbacks: a watch is still starting at port {port}",
            "hint: wait until it says where it listens, or give --status-callback URL (none says you mean it)",
        ]
        public = {**env, "CALLCTL_PUBLIC_URL": f"http://localhost:{port}"}
        placed = callctl("place", "+12025550100", "--say", "Hello", env=public)
        where = f"http://localhost:{port}/status"
        assert (
            f"a watch is still starting at port {port}; status callbacks go to CALLCTL_PUBLIC_URL (from the "
            f"environment), {where}" in placed.err
        )
        # Of another account it says nothing.
        other = callctl("place", "+12025550100", "--say", "Hello", env={**env, "TWILIO_ACCOUNT_SID": "AC" + "9" * 32})
        assert "no watch or listener is running" in other.err


def test_doctor_says_so(callctl: Callctl, home: Path, env: dict[str, str]) -> None:
    port = env["CALLCTL_PORT"]
    with starting(home, env):
        code, findings = doctor(callctl, env)
        assert (code, level(findings, "port"), level(findings, "round trip")) == (0, "warning", "skipped")
        assert findings["port"]["text"] == f"a watch is still starting at port {port}"
        with Simulator(port=0, auth_token="e" * 32) as other:
            code, findings = doctor(callctl, env_for(other) | {"CALLCTL_PORT": port})
        assert (code, level(findings, "port")) == (1, "error")
        assert "a watch of another account, API address, user or state folder" in findings["port"]["text"]


@pytest.mark.parametrize("command", ["watch", "listen"])
def test_a_public_url_of_a_file_that_was_found_is_said_with_its_name(
    home: Path, env: dict[str, str], command: str
) -> None:
    """It may be somebody else's, and callbacks of all calls that are placed here go there."""
    url = f"http://ann:fake-word@localhost:{env['CALLCTL_PORT']}"
    (home / ".env").write_text(f"CALLCTL_PUBLIC_URL={url}\n")
    with Piped(command, *(["--no-poll"] if command == "watch" else []), "--json", home=home, env=env) as watch:
        named = f"CALLCTL_PUBLIC_URL (in {home / '.env'})"
        watch.until_said(f"the public URL is {url.replace('fake-word', '***')}/status, from {named}")
