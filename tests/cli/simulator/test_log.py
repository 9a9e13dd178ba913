"""Requests in and out are reported as they happen: to the library's ``on_traffic``, and by the command on stderr."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from fork_server import Forked
from processes import start
from simulator.setup import ANSWERS, BUSY, FROM, simulator_setup
from twilio.rest import Client

from callctl.cli.simulator.log import LineWriter, noted_line, received_line, sent_line
from callctl.simulator import Faults, Noted, Received, Reply, Sent

AT = datetime(2026, 1, 5, 14, 2, 11, tzinfo=UTC)
ACCOUNT = "/2010-04-01/Accounts/AC00000000000000000000000000000000"
QUERY = {"StartTime>": ("2026-01-05",), "To": ("+12025550100",)}
SID = "CA00000000000000000000000000000001"
PATIENCE = 30.0
INTRODUCED = rb"Ctrl-C ends it\.\r?\n"
UNSAFE = "\N{REPLACEMENT CHARACTER}"  # what stands for a character that could steer a terminal


async def test_on_traffic_is_given_each_request_with_its_answer() -> None:
    seen: list[Received | Sent] = []
    async with simulator_setup(on_traffic=seen.append) as setup:
        url = f"{setup.listener.url.replace('//', '//ann:secret@')}/status#rc=0"
        call = await setup.place(BUSY, Url=f"{setup.listener.url}/doc", StatusCallback=url)
        await setup.request("POST", f"{setup.account}/Calls.json", {"To": "12"})
        await setup.advance(5)
        await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc", StatusCallback=None)
        await setup.advance(5)
        seen = seen[:]  # without what is checked at the end
    received = [each for each in seen if isinstance(each, Received)]
    assert [(each.method, each.status, each.code) for each in received] == [
        ("POST", 201, None),
        ("POST", 400, 21211),
        ("POST", 201, None),
    ]
    sent = [(each.url, each.about, each.reply and each.reply.status) for each in seen if isinstance(each, Sent)]
    assert sent == [
        *((f"{setup.listener.url}/status", status, 204) for status in ("initiated", "ringing", "busy")),
        (f"{setup.listener.url}/doc", "in-progress", 404),
    ]
    assert [each.call for each in seen if isinstance(each, Sent)][:3] == [call["sid"]] * 3


def test_what_was_noted_of_a_call_is_a_line() -> None:
    warning = Noted(SID, 21626, "<Number>: 'a,\nb' is no event", is_warning=True)
    error = Noted(SID, 11200, "HTTP retrieval failure", is_warning=False)
    assert noted_line(warning, at=AT) == f"14:02:11Z !!! 21626 warning {SID}: <Number>: 'a,{UNSAFE}b' is no event"
    assert noted_line(error, at=AT) == f"14:02:11Z !!! 11200 error {SID}: HTTP retrieval failure"


async def test_on_traffic_is_given_what_a_fault_dropped() -> None:
    seen: list[Received | Sent] = []
    async with simulator_setup(on_traffic=seen.append, faults=Faults(drop=1.0)) as setup:
        await setup.place(BUSY)
        await setup.advance(5)
    assert [each.reply for each in seen if isinstance(each, Sent)] == [None] * 3


@pytest.mark.parametrize(
    "failure", [OSError("no space"), pytest.fail.Exception("no"), asyncio.CancelledError()], ids=repr
)
async def test_what_on_traffic_raises_changes_nothing(failure: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    given = 0

    def on_traffic(_traffic: Received | Sent) -> None:
        nonlocal given
        given += 1
        raise failure

    async with simulator_setup(on_traffic=on_traffic, faults=Faults(drop=0.3)) as setup:
        setup.listener.documents["/doc"] = "<Response><Pause length='2'/></Response>"
        call = await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc")
        await setup.advance(10)
        assert (await setup.fetch(call["sid"]))["status"] == "completed"
        fired = setup.sim.callbacks
    assert {each.dropped for each in fired} == {False, True}
    assert [reply.status for each in fired for reply in each.replies] == [204] * sum(not each.dropped for each in fired)
    records = [record for record in caplog.records if record.name == "callctl.simulator"]
    assert given == len(records) == len(fired) + 3  # placed, fetched, and its document
    assert {record.exc_info and record.exc_info[1] for record in records} == {failure}


async def test_on_traffic_is_given_a_reply_once_it_has_been_acted_on() -> None:
    acted: list[bool] = []

    def on_traffic(traffic: Received | Sent) -> None:
        if isinstance(traffic, Sent):
            acted.append(bool(setup.sim.callbacks[0].replies))

    async with simulator_setup(on_traffic=on_traffic) as setup:
        await setup.place(BUSY, StatusCallbackEvent=None)
        await setup.advance(5)
    assert acted == [True]


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (Received("POST", f"{ACCOUNT}/Calls.json", {}, {}, {}, Reply(201)), "<-- 201 POST /Calls.json"),
        (
            Received(
                "GET",
                f"{ACCOUNT}/Calls.json",
                QUERY,
                {},
                {},
                Reply(200),
            ),
            "<-- 200 GET /Calls.json?StartTime>=2026-01-05&To=+12025550100",
        ),
        (Received("GET", f"{ACCOUNT}.json", {}, {}, {}, Reply(200)), f"<-- 200 GET {ACCOUNT}.json"),
        (
            Received("GET", f"{ACCOUNT}/a\nb.json", {}, {}, {}, Reply(404), 20404),
            f"<-- 404 20404 GET {ACCOUNT}/a{UNSAFE}b.json",
        ),
    ],
)
def test_a_request_received(request_: Received, line: str) -> None:
    assert received_line(request_, at=AT) == f"14:02:11Z {line}"


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
    line = f"14:02:11Z --> {outcome} POST http://127.0.0.1:8765/status busy {SID}{why}"
    assert sent_line(sent, at=AT) == line


@contextmanager
def started(
    folder: Path, stderr: int, *options: str
) -> Iterator[tuple[subprocess.Popen[bytes] | Forked, dict[str, str]]]:
    """Start the command with this stderr, and close that; give the process and the settings that it wrote."""
    path = folder / "settings"
    arguments = ("simulator", "--port", "0", "--write-env", str(path), *options)
    with Path(os.devnull).open("w") as nowhere:
        process = start(arguments, home=folder, stdout=nowhere.fileno(), stderr=stderr)
    os.close(stderr)
    try:
        until = time.monotonic() + PATIENCE
        while not path.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        yield process, dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    finally:
        process.kill()
        process.wait(PATIENCE)


@pytest.mark.parametrize(
    ("options", "terminal", "lines"),
    [((), True, 1), (("--log", "never"), True, 0), ((), False, 0), (("--log", "always"), False, 1)],
    ids=["terminal", "terminal, never", "pipe", "pipe, always"],
)
def test_the_command_logs_on_a_terminal_unless_an_option_says_otherwise(
    tmp_path: Path, options: tuple[str, ...], *, terminal: bool, lines: int
) -> None:
    near, far = pty.openpty() if terminal else os.pipe()
    with started(tmp_path, far, *options) as (process, settings):
        requests.get(f"{settings['CALLCTL_API_URL']}/%1b%5b31m", timeout=PATIENCE)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        output = _rest(near)
    line = rf"^\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d) <-- 401 20003 GET /{UNSAFE}\[31m\r?$"
    assert len(re.findall(line, output.decode(), flags=re.MULTILINE)) == lines
    assert output.count(b"<--") == lines
    assert b"SIMULATED" in output
    assert b"\x1b[31m" not in output


def test_a_terminal_that_is_held_stops_the_log_alone(tmp_path: Path) -> None:
    near, far = pty.openpty()
    with started(tmp_path, os.dup(far)) as (process, settings):
        output = _until(near, INTRODUCED)
        termios.tcflow(far, termios.TCOOFF)  # what Ctrl-S does
        for _ in range(3):
            assert requests.get(settings["CALLCTL_URL_SURVEY"], timeout=PATIENCE).ok
        termios.tcflow(far, termios.TCOON)
        os.close(far)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        output += _rest(near)
    assert output.count(b"<-- 200 GET /simulator/survey") == 3


def test_a_held_terminal_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    near, far = pty.openpty()
    with started(tmp_path, os.dup(far)) as (process, settings):
        _until(near, INTRODUCED)
        termios.tcflow(far, termios.TCOOFF)
        assert requests.get(settings["CALLCTL_URL_SURVEY"], timeout=PATIENCE).ok
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    os.close(far)
    os.close(near)


def test_a_reader_that_has_gone_stops_the_log_alone(tmp_path: Path) -> None:
    near, far = os.pipe()
    with started(tmp_path, far, "--log", "always", "--speed", "100") as (process, settings):
        _until(near, INTRODUCED)
        os.close(near)
        client = Client(settings["TWILIO_ACCOUNT_SID"], settings["TWILIO_AUTH_TOKEN"])
        client.api.base_url = settings["CALLCTL_API_URL"]
        survey = settings["CALLCTL_URL_SURVEY"]
        call = client.calls.create(to=ANSWERS, from_=FROM, url=survey, status_callback=survey)
        until = time.monotonic() + PATIENCE
        while call.fetch().status != "completed":
            assert time.monotonic() < until
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_lines_beyond_those_that_may_wait_are_left_out_and_counted() -> None:
    near, far = os.pipe()
    with os.fdopen(far, "w") as stream:
        lines = LineWriter(stream, most_waiting=2)
        for number in range(5):  # before it writes the first
            lines.put(f"line {number}")
        with lines:
            pass
    assert _rest(near) == b"line 0\nline 1\n3 lines were left out: nobody read them in time\n"


def test_a_stream_that_never_waits_is_waited_for() -> None:
    near, far = os.pipe()
    os.set_blocking(far, False)
    much = "x" * 200_000  # more than a pipe holds
    with os.fdopen(far, "w") as stream, LineWriter(stream) as lines:
        lines.put(much)
        assert _until(near, b"\n").decode() == f"{much}\n"
    os.close(near)


def test_a_stream_that_cannot_be_written_is_given_up() -> None:
    near, far = os.pipe()
    os.close(near)
    with os.fdopen(far, "w") as stream, LineWriter(stream) as lines:
        for number in range(5):
            lines.put(f"line {number}")


def _until(descriptor: int, end: bytes) -> bytes:
    """Read until the output matches a pattern; return all of it."""
    output = b""
    while not re.search(end, output):
        more = _read(descriptor)
        assert more, output
        output += more
    return output


def _rest(descriptor: int) -> bytes:
    """Read to the end, and close it."""
    output = b""
    while more := _read(descriptor):
        output += more
    os.close(descriptor)
    return output


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # a terminal whose other side is closed
        return b""
