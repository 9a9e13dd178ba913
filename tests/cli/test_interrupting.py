"""Ctrl-C: said on stderr, exit code 130, nothing half written on stdout."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from gateway.scripted import Server, hang
from processes import LIMIT, Piped

SID = "CA" + "1" * 32
COMMANDS = [
    ("list",),
    ("show", SID),
    ("place", "+12025550103", "--say", "Hello", "--status-callback", "none"),
    ("place", "+12025550103", "--say", "Hello", "--status-callback", "none", "--watch"),
    ("redirect", SID, "--say", "Hello"),
    ("hangup", SID),
    ("hangup", SID, "CA" + "2" * 32),
    ("wait", SID, "--for", "ended"),
]


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_it_is_said(home: Path, args: tuple[str, ...]) -> None:
    deadline = time.monotonic() + LIMIT
    with Server(hang()) as server:
        env = {
            "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
            "TWILIO_AUTH_TOKEN": "fake",
            "CALLCTL_API_URL": server.url,
            "CALLCTL_FROM": "+15005550006",
        }
        with Piped(*args, home=home, env=env) as command:
            while not server.asked and time.monotonic() < deadline:
                time.sleep(0.01)
            assert command.interrupt() == 130
        said = (home / f"stderr-{args[0]}").read_text()
    assert said.splitlines()[-1] == "callctl: interrupted"
    assert "Traceback" not in said
    assert ("may have been placed: look with `callctl list --live --to +12025550103`" in said) == (args[0] == "place")


INTERRUPTED_WHILE_LOADING = """
import sys
import callctl.cli.app
from callctl.__main__ import main

def interrupted(argv):
    try:
        exec("raise KeyboardInterrupt")  # what is run while a module with a dataclass is loaded
    except KeyboardInterrupt:
        sys.stdout.write("said so")
        return 130

callctl.cli.app.main = interrupted
main()
"""


def test_the_exit_code_is_130_also_where_it_fell_into_the_making_of_a_dataclass(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED_WHILE_LOADING)
    command = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (130, "said so")
