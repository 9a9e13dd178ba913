"""What goes in and out is told as it happens: to a library's witness, and by the command, a line each, on stderr."""

import asyncio
import os
import pty
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from simulator.world import ANSWERS, BUSY, a_world

from callctl.cli.simulator_log import received_line, sent_line
from callctl.simulator import Faults, Received, Reply, Sent

AT = datetime(2026, 1, 5, 14, 2, 11, tzinfo=UTC)
ACCOUNT = "/2010-04-01/Accounts/AC00000000000000000000000000000000"
SID = "CA00000000000000000000000000000001"
PATIENCE = 30.0
UNSAFE = "\N{REPLACEMENT CHARACTER}"  # what stands for a character that could steer a terminal


async def test_a_witness_is_given_each_request_with_its_answer() -> None:
    seen: list[Received | Sent] = []
    async with a_world(witness=seen.append) as world:
        url = f"{world.listener.url.replace('//', '//ann:secret@')}/status#rc=0"
        call = await world.place(BUSY, Url=f"{world.listener.url}/doc", StatusCallback=url)
        await world.request("POST", f"{world.account}/Calls.json", {"To": "12"})
        await world.advance(5)
        await world.place(ANSWERS, Url=f"{world.listener.url}/doc", StatusCallback=None)
        await world.advance(5)
    received = [each for each in seen if isinstance(each, Received)]
    assert [(each.method, each.status, each.code) for each in received] == [
        ("POST", 201, None),
        ("POST", 400, 21211),
        ("POST", 201, None),
    ]
    told = [(each.url, each.status, each.reply and each.reply.status) for each in seen if isinstance(each, Sent)]
    assert told == [
        *((f"{world.listener.url}/status", status, 204) for status in ("initiated", "ringing", "busy")),
        (f"{world.listener.url}/doc", "in-progress", 404),
    ]
    assert [each.call for each in seen if isinstance(each, Sent)][:3] == [call["sid"]] * 3


async def test_a_witness_learns_of_what_a_fault_dropped() -> None:
    seen: list[Received | Sent] = []
    async with a_world(witness=seen.append, faults=Faults(drop=1.0)) as world:
        await world.place(BUSY)
        await world.advance(5)
    assert [each.reply for each in seen if isinstance(each, Sent)] == [None] * 3


@pytest.mark.parametrize(
    "failure", [OSError("no space"), pytest.fail.Exception("no"), asyncio.CancelledError()], ids=repr
)
async def test_what_a_witness_raises_changes_nothing(failure: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    given = 0

    def witness(_traffic: Received | Sent) -> None:
        nonlocal given
        given += 1
        raise failure

    async with a_world(witness=witness, faults=Faults(drop=0.3)) as world:
        world.listener.documents["/doc"] = "<Response><Pause length='2'/></Response>"
        call = await world.place(ANSWERS, Url=f"{world.listener.url}/doc")
        await world.advance(10)
        assert (await world.fetch(call["sid"]))["status"] == "completed"
        fired = world.sim.callbacks
    assert {each.dropped for each in fired} == {False, True}
    assert [reply.status for each in fired for reply in each.replies] == [204] * sum(not each.dropped for each in fired)
    told = [record for record in caplog.records if record.name == "callctl.simulator"]
    assert given == len(told) == len(fired) + 3  # placed, fetched, and its document
    assert {record.exc_info and record.exc_info[1] for record in told} == {failure}


async def test_a_witness_is_told_of_a_reply_once_it_has_been_acted_on() -> None:
    acted: list[bool] = []

    def witness(traffic: Received | Sent) -> None:
        if isinstance(traffic, Sent):
            acted.append(bool(world.sim.callbacks[0].replies))

    async with a_world(witness=witness) as world:
        await world.place(BUSY, StatusCallbackEvent=None)
        await world.advance(5)
    assert acted == [True]


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (Received("POST", f"{ACCOUNT}/Calls.json", {}, {}, {}, 201), "<-- 201 POST /Calls.json"),
        (
            Received("GET", f"{ACCOUNT}/Calls.json", {"StartTime>": "2026-01-05", "To": "+12025550100"}, {}, {}, 200),
            "<-- 200 GET /Calls.json?StartTime>=2026-01-05&To=+12025550100",
        ),
        (Received("GET", f"{ACCOUNT}.json", {}, {}, {}, 200), f"<-- 200 GET {ACCOUNT}.json"),
        (
            Received("POST", f"/simulator/calls/{SID}/answer", {}, {}, {}, 200),
            f"<-- 200 POST /simulator/calls/{SID}/answer",
        ),
        (
            Received("GET", f"{ACCOUNT}/a\nb.json", {}, {}, {}, 404, 20404),
            f"<-- 404 20404 GET {ACCOUNT}/a{UNSAFE}b.json",
        ),
    ],
)
def test_a_request_received(request_: Received, line: str) -> None:
    assert received_line(request_, at=AT) == f"14:02:11 {line}"


@pytest.mark.parametrize(
    ("reply", "outcome", "why"),
    [
        (Reply(204), "204", ""),
        (Reply(500, attempts=3), "500 (try 3)", ""),
        (Reply(None, error="no reply within 15 s"), "failed", " (no reply within 15 s)"),
        (None, "dropped", ""),
    ],
)
def test_a_request_made(reply: Reply | None, outcome: str, why: str) -> None:
    sent = Sent("POST", "http://127.0.0.1:8765/status", SID, "busy", reply)
    line = f"14:02:11 --> {outcome} POST http://127.0.0.1:8765/status busy {SID}{why}"
    assert sent_line(sent, at=AT) == line


@pytest.mark.parametrize(
    ("options", "terminal", "lines"),
    [((), True, 1), (("--log", "never"), True, 0), ((), False, 0), (("--log", "always"), False, 1)],
    ids=["terminal", "terminal, never", "pipe", "pipe, always"],
)
def test_the_command_tells_on_a_terminal_unless_told(
    tmp_path: Path, options: tuple[str, ...], *, terminal: bool, lines: int
) -> None:
    near, far = pty.openpty() if terminal else os.pipe()
    path = tmp_path / "settings"
    command = [sys.executable, "-m", "callctl", "simulator", "--port", "0", "--write-env", str(path), *options]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=far, cwd=tmp_path, env=environment)
    os.close(far)
    try:
        until = time.monotonic() + PATIENCE
        while not path.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        settings = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
        requests.get(f"{settings['CALLCTL_URL_SURVEY']}/%1b%5b31m", timeout=PATIENCE)
        process.terminate()
        process.wait(PATIENCE)
        told = b""
        while more := _read(near):
            told += more
    finally:
        process.kill()
        process.wait(PATIENCE)
        os.close(near)
    line = rf"^\d\d:\d\d:\d\d <-- 401 20003 GET /simulator/survey/{UNSAFE}\[31m\r?$"
    assert len(re.findall(line, told.decode(), flags=re.MULTILINE)) == lines
    assert told.count(b"<--") == lines
    assert b"SIMULATED" in told
    assert b"\x1b[31m" not in told


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # a terminal whose other side is closed
        return b""
