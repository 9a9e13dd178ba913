"""`callctl simulator --proxy`, as a process of its own, and callctl and others beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli.simulator.test_command import run, started
from dotenv import dotenv_values

from callctl.cli.simulator.command import simulator
from callctl.errors import CallctlError, UsageError
from callctl.simulator import Simulator, SimulatorError

PLACE = """
import os
from twilio.rest import Client
client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
print(client.calls.create(to="+12025550100", from_="+15005550006", twiml="<Response/>").sid)
"""
PROXY = ("--proxy", "--proxy-port", "0")


def in_shell(command: str, folder: Path) -> str:
    """Run a command in a shell that has read the settings file as the message says."""
    script = f"set -a; . ./.env.simulator; set +a; {command}"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_application_as_it_is_and_callctl_use_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "place.py").write_text(PLACE)
    callctl = f"{sys.executable} -m callctl"
    with started(tmp_path, *PROXY, "--log", "always") as (process, settings):
        assert settings == dotenv_values(tmp_path / ".env.simulator")
        sid = in_shell(f"{sys.executable} place.py", tmp_path).strip()
        assert sid in in_shell(f"{callctl} list --json", tmp_path)  # with the proxy in its environment
        without = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "callctl", "list", "--json", "--env-file", ".env.simulator"]
        shown = subprocess.run(command, cwd=tmp_path, env=without, capture_output=True, text=True, check=True)
        assert sid in shown.stdout
        refused = in_shell("curl -s http://example.com/ || true", tmp_path)

        folder = Path(settings["SSL_CERT_FILE"]).parent
        assert folder.is_dir()
        assert process.interrupt() == 130
        assert not folder.exists()
        out, err = list(process.lines()), process.said
    assert out == [f"{name}={value}" for name, value in settings.items()]
    assert f"set -a; . {tmp_path}/.env.simulator; set +a;" in err
    assert "<-- 201 POST /Calls.json" in err
    if refused:  # there is a curl
        assert "--allow-host example.com" in refused
        assert "<-- 403 GET http://example.com/" in err


def test_two_of_them_at_one_port(tmp_path: Path) -> None:
    with Simulator(proxy=True) as sim, pytest.raises(CallctlError, match="the port is taken") as raised:
        run(simulator, "--port", "0", "--proxy", "--proxy-port", sim.proxy_url.rpartition(":")[2], cwd=tmp_path)
    assert raised.value.hint is not None
    assert "--proxy-port" in raised.value.hint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--allow-host", "example.com"), "--allow-host goes with --proxy"),
        (("--proxy-port", "0"), "--proxy-port goes with --proxy"),
        (("--proxy", "--allow-host", "https://example.com"), "not the name of a host"),
        (("--proxy", "--allow-host", "api.twilio.com"), "is simulated"),
        (("--proxy", "--base-path", "/api/laml"), "no base path"),
    ],
)
def test_what_makes_no_sense(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(simulator, "--port", "0", *options, cwd=tmp_path)


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(CallctlError, match="the proxy needs trustme, which is not installed") as raised:
        run(simulator, "--port", "0", *PROXY, cwd=tmp_path)
    assert raised.value.hint == "pip install 'callctl[proxy]'"
    with pytest.raises(SimulatorError, match=r"pip install 'callctl\[proxy\]'"), Simulator(proxy=True):
        pass
