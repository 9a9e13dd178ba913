"""Ctrl-C: said on stderr, exit code 130, nothing half written on stdout."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from api.scripted import Server, hang
from processes import LIMIT, Piped, environment

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
            while not server.received and time.monotonic() < deadline:
                time.sleep(0.01)
            assert command.interrupt() == 130
        said = (home / f"stderr-{args[0]}").read_text()
    assert said.splitlines()[-1] == "callctl: interrupted"
    assert "Traceback" not in said
    assert ("may have been placed: look with `callctl list --live --to +12025550103`" in said) == (args[0] == "place")


INTERRUPTED_WHILE_LOADING = """
import sys
import callctl.cli.main
from callctl.__main__ import main

def interrupted(argv):
    try:
        exec("raise KeyboardInterrupt")  # what is run while a module with a dataclass is loaded
    except KeyboardInterrupt:
        sys.stdout.write("said so")
        return 130

callctl.cli.main.main = interrupted
main()
"""


def test_the_exit_code_is_130_also_where_it_fell_into_the_making_of_a_dataclass(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED_WHILE_LOADING)
    command = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (130, "said so")


# Sends itself a signal when it is about to load a module, and runs callctl.
SIGNALLED_WHILE_LOADING = """
import os
import sys

number, module, *sys.argv[1:] = int(sys.argv[1]), *sys.argv[2:]

class Signalling:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            sys.stdout.write("sent\\n")
            sys.stdout.flush()
            os.kill(os.getpid(), number)

sys.meta_path.insert(0, Signalling())
from callctl.__main__ import main
main()
"""
WATCH = ("watch", "--port", "0", "--no-poll")
LISTEN = ("listen", "--port", "0")
SIMULATOR = ("simulator", "--port", "0")
MODULES = [
    *((WATCH, name) for name in ("callctl.cli.main", "typer", "callctl.cli.watch.command", "callctl.watch", "aiohttp")),
    *((LISTEN, name) for name in ("callctl.cli.main", "callctl.cli.listen.command")),
    *(
        (SIMULATOR, name)
        for name in ("callctl.cli.main", "callctl.cli.simulator.command", "callctl.simulator", "aiohttp")
    ),
]


def run_signalled(home: Path, sent: signal.Signals, module: str, *args: str) -> subprocess.CompletedProcess[str]:
    env = environment(home, {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake"})
    command = [sys.executable, "-c", SIGNALLED_WHILE_LOADING, str(int(sent)), module, *args]
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, timeout=LIMIT)


@pytest.mark.parametrize(("args", "module"), MODULES)
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 130), (signal.SIGINT, 130)])
def test_what_runs_until_stopped_is_stopped_while_it_is_loaded_too(
    home: Path, args: tuple[str, ...], module: str, sent: signal.Signals, code: int
) -> None:
    done = run_signalled(home, sent, module, *args)
    assert (done.returncode, done.stdout) == (code, "sent\n")
    assert done.stderr == ("callctl: interrupted\n" if sent == signal.SIGINT else "")


@pytest.mark.parametrize("module", ["callctl.cli.main", "typer", "callctl.cli.list"])
def test_ctrl_c_while_another_command_is_loaded_is_said_in_a_line(home: Path, module: str) -> None:
    done = run_signalled(home, signal.SIGINT, module, "list")
    assert (done.returncode, done.stdout, done.stderr) == (130, "sent\n", "callctl: interrupted\n")
    assert run_signalled(home, signal.SIGTERM, module, "list").returncode == -signal.SIGTERM


# What is left when the interpreter ends is given up once it has taken its handlers of signals away.
SIGNALLED_AT_THE_END = """
import os
import signal
import sys

class AtTheEnd:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):
        kill(pid, number)

sys.at_the_end = AtTheEnd()
from callctl.__main__ import main
main()
"""


def test_a_second_sigterm_at_the_very_end_does_not_kill(home: Path) -> None:
    command = [sys.executable, "-c", SIGNALLED_AT_THE_END, *SIMULATOR]
    with subprocess.Popen(command, cwd=home, env=environment(home), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert "=" in running.stdout.readline()
        running.terminate()
        assert running.wait(timeout=LIMIT) == 0


BETWEEN_BLOCKS = """
import asyncio
import signal
import sys

import callctl.__main__
from callctl.cli.io.signals import stop_on_signals

async def run(first):
    stopping = asyncio.Event()
    with stop_on_signals(stopping.set):
        if first:
            signal.raise_signal(signal.SIGTERM)
            await stopping.wait()
    if not first:
        signal.raise_signal(signal.SIGTERM)

asyncio.run(run(sys.argv[2:] == ["again"]))
signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.parametrize(("args", "code"), [((), 0), (("again",), 130)])
def test_after_what_took_signals_a_first_one_stops_and_a_second_one_leaves(args: tuple[str, ...], code: int) -> None:
    command = [sys.executable, "-c", BETWEEN_BLOCKS, "watch", *args]
    assert subprocess.run(command, timeout=LIMIT, check=False).returncode == code


NEVER_OVER = """
import asyncio
import signal
import sys
import threading

import callctl.__main__
import callctl.cli.io.ending
from callctl.cli.io.signals import stop_on_signals

callctl.cli.io.ending.END_LIMIT = 0.01

async def run(number):
    stopping = asyncio.Event()
    with stop_on_signals(stopping.set):
        signal.raise_signal(number)
        await stopping.wait()
    await asyncio.to_thread(threading.Event().wait)

asyncio.run(run(int(sys.argv[2])))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_what_takes_too_long_to_end_ends_with_the_code_of_the_signal(number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-c", NEVER_OVER, "watch", str(int(number))]
    assert subprocess.run(command, timeout=LIMIT, check=False).returncode == code


UNDER_NOHUP = ("/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh", sys.executable, "-m", "callctl")


@pytest.mark.parametrize(
    ("args", "sent", "code"),
    [
        (SIMULATOR, signal.SIGTERM, 0),
        (("watch", "--port", "0", "--no-poll", "--json"), signal.SIGTERM, 0),
        (("wait", SID, "--for", "ended", "--json"), signal.SIGINT, 130),
    ],
)
def test_a_sighup_that_is_ignored_stays_so(home: Path, args: tuple[str, ...], sent: signal.Signals, code: int) -> None:
    """Taken, it would be the first signal, by which what runs until stopped ends with 130."""
    with Server(hang()) as server:
        account = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        command, env = [*UNDER_NOHUP, *args], environment(home, account)
        with subprocess.Popen(command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
            assert running.stdout is not None
            if args[0] == "wait":
                deadline = time.monotonic() + LIMIT
                while not server.received:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            else:
                assert running.stdout.readline()
            running.send_signal(signal.SIGHUP)
            running.send_signal(sent)
            assert running.wait(timeout=LIMIT) == code
