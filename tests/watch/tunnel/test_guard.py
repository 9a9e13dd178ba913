"""A tunnel ends with the watch, in whatever way that ends, and so does what the tunnel command started."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import TESTS
from processes import OnTerminal, Piped
from running import env_for

from callctl.errors import CallctlError
from callctl.simulator import Simulator
from callctl.watch.tunnel.command import Tunnel

LIMIT = 60.0
RELAY = f"{sys.executable} {TESTS / 'relay.py'} $1"
# Prints its processes: its own, as a wrapper's, and that of a program which it runs; that one prints the address.
WRAPPER = f"{RELAY} & echo $$ $! >pids.new; mv pids.new pids; wait"
STUBBORN = f"trap '' TERM INT HUP; {WRAPPER}; sleep 600"


def command(folder: Path, text: str) -> str:
    script = folder / "tunnel.sh"
    script.write_text(f"#!/bin/sh\ncd '{folder}'\n{text}\n")
    script.chmod(0o755)
    return f"{script} {{port}}"


async def is_fine(_url: str) -> str | None:
    return None


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.tunnel.command.SETTLE", 0.01)


def pids_in(folder: Path) -> list[str]:
    return (folder / "pids").read_text().split()


def are_running(pids: list[str]) -> bool:
    """Return whether any of these runs; a zombie is no running process."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", ",".join(pids)], capture_output=True, text=True)
    return any(not state.strip().startswith("Z") for state in listed.stdout.splitlines())


def until_gone(pids: list[str]) -> None:
    assert len(pids) == 2
    deadline = time.monotonic() + LIMIT
    while are_running(pids):
        assert time.monotonic() < deadline, "the tunnel has outlived the watch"
        time.sleep(0.02)


@pytest.mark.parametrize("text", [WRAPPER, STUBBORN])
def test_it_ends_when_the_watch_is_killed(home: Path, simulator: Simulator, text: str) -> None:
    args = ("watch", "--port", "0", "--no-poll", "--json", "--tunnel", command(home, text))
    with Piped(*args, home=home, env=env_for(simulator)) as watch:
        ready = watch.record()
        assert ready["callback_url"] != f"http://127.0.0.1:{ready['port']}/status"
        assert are_running(pids_in(home))
        watch.kill()
        until_gone(pids_in(home))


@pytest.mark.parametrize("text", [WRAPPER, STUBBORN])
def test_it_ends_with_ctrl_c(home: Path, simulator: Simulator, text: str) -> None:
    args = ("watch", "--port", "0", "--no-poll", "--tunnel", command(home, text))
    with OnTerminal(*args, home=home, env=env_for(simulator)) as watch:
        watch.until(lambda rows: any("No calls yet" in row for row in rows))
        watch.type("\x03")
        assert watch.ended() == 130
        until_gone(pids_in(home))


def test_it_ends_when_the_watch_is_killed_before_it_printed_an_address(home: Path, simulator: Simulator) -> None:
    args = ("watch", "--port", "0", "--no-poll", "--tunnel", command(home, WRAPPER.replace(RELAY, "sleep 600")))
    with Piped(*args, home=home, env=env_for(simulator)) as watch:
        deadline = time.monotonic() + LIMIT
        while not (home / "pids").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        watch.kill()
        until_gone(pids_in(home))


async def test_what_it_left_running_ends_with_it(tmp_path: Path) -> None:
    text = f"echo http://127.0.0.1:9; {WRAPPER.removesuffix('wait')}"
    tunnel, _ = await Tunnel.start_and_find(command(tmp_path, text), port=1, check_address=is_fine)
    assert await tunnel.ended() == 0
    until_gone(pids_in(tmp_path))
    await tunnel.stop()


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def test_its_end_is_known_though_what_it_left_running_holds_its_output(tmp_path: Path) -> None:
    holder = "import os, time; os.setsid(); open('pids', 'w').write(str(os.getpid())); time.sleep(600)"
    text = (
        f'{sys.executable} -c "{holder}" &\nwhile [ ! -s pids ]; do sleep 0.01; done; echo http://127.0.0.1:9\n'
        "while [ ! -e now ]; do sleep 0.01; done; exit 5"
    )
    before = open_files()
    tunnel, _ = await Tunnel.start_and_find(command(tmp_path, text), port=1, check_address=is_fine)
    try:
        ended = asyncio.create_task(tunnel.ended())
        await asyncio.sleep(0)  # it is waited for before it ends
        (tmp_path / "now").touch()
        async with asyncio.timeout(LIMIT):
            assert await ended == 5
    finally:
        await tunnel.stop()
        for _ in range(10):  # turns of the loop, in which it closes them
            await asyncio.sleep(0)
        expired_claims = open_files()
        os.kill(int(pids_in(tmp_path)[0]), signal.SIGKILL)
    assert expired_claims <= before  # its pipes are let go of, though somebody holds the other ends


async def test_a_signal_that_ended_it_is_in_its_code(tmp_path: Path) -> None:
    tunnel, _ = await Tunnel.start_and_find(command(tmp_path, WRAPPER), port=1, check_address=is_fine)
    os.kill(int(pids_in(tmp_path)[0]), signal.SIGKILL)
    assert await tunnel.ended() == 128 + signal.SIGKILL
    await tunnel.stop()


async def test_a_file_that_is_no_program_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no program")
    with pytest.raises(CallctlError, match=r"notes.txt: Permission denied"):
        await Tunnel.start(str(path), port=1)


@pytest.mark.parametrize(("handler", "code"), [(signal.SIG_IGN, 5), (signal.SIG_DFL, 143)])
def test_a_sighup_that_is_ignored_ends_no_tunnel(tmp_path: Path, handler: signal.Handlers, code: int) -> None:
    ours, its = socket.socketpair()
    text = "trap 'exit 9' HUP; while [ ! -e now ]; do sleep 0.01; done; exit 5"
    with ours, its:
        guard = subprocess.Popen(
            [sys.executable, "-m", "callctl.watch.tunnel.guard", "/bin/sh", "-c", text],
            cwd=tmp_path,
            stdin=its.fileno(),
            preexec_fn=lambda: signal.signal(signal.SIGHUP, handler),
        )
        assert ours.recv(1) == b"\n"  # the command runs
        guard.send_signal(signal.SIGHUP)
        if handler is signal.SIG_IGN:
            (tmp_path / "now").touch()
        assert guard.wait(timeout=LIMIT) == code
