"""stdout that is closed, full or not there, with real processes: no traceback, and an exit code that is true."""

import errno
import io
import json
import os
import re
import resource
import select
import shlex
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

import pytest
from processes import LIMIT, OnTerminal, environment
from running import env_for

from callctl.cli.io import streams
from callctl.cli.io.runtime import Runtime
from callctl.cli.io.streams import LossyStream, OutputError, ReaderGoneError, guarded, written_whole
from callctl.errors import UsageError
from callctl.simulator import Simulator

CALLCTL = [sys.executable, "-m", "callctl"]
LISTING = ["list", "--json"]


@pytest.fixture
def env(home: Path, simulator: Simulator) -> dict[str, str]:
    return environment(home, env_for(simulator))


@pytest.mark.parametrize("args", [LISTING, ["--help"], ["--version"], ["list", "--help"]])
def test_a_reader_that_has_gone_is_no_failure(args: list[str], env: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run([*CALLCTL, *args], env=env, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("args", [LISTING, ["--help"], ["--version"]])
def test_a_full_disk_is_a_failure_in_a_sentence(args: list[str], env: dict[str, str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*CALLCTL, *args], env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "can't write to stdout: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_cannot_be_written_is_reported_by_its_name(name: str) -> None:
    with suppress(OSError), Path("/dev/full").open("w") as full:  # closing it fails once more
        stream = guarded(full, name=name)
        stream.write("Hello")
        with pytest.raises(OutputError, match=f"can't write to {name}: No space left on device") as refused:
            stream.flush()
        assert f"where {name} goes" in (refused.value.hint or "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_call_that_was_placed_is_named_even_if_stdout_is_full(env: dict[str, str], simulator: Simulator) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*CALLCTL, "place", "+12025550103", "--say", "Hello"],
            env=env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    (sent,) = [request for request in simulator.requests if request.method == "POST"]
    assert sent.status == 201
    assert "placed CA" in done.stderr


UNBUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"])


@UNBUFFERED
def test_a_disk_with_room_for_a_part_is_a_failure(unbuffered: str, env: dict[str, str], tmp_path: Path) -> None:
    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3, 3))

    env = {**env, "PYTHONUNBUFFERED": unbuffered, "PYTHONDONTWRITEBYTECODE": "1"}
    with (tmp_path / "log").open("w") as log:
        command = [*CALLCTL, "--version"]
        done = subprocess.run(
            command, env=env, stdout=log, stderr=subprocess.PIPE, text=True, check=False, preexec_fn=limit_files
        )
    assert (tmp_path / "log").read_text() == "cal"
    assert done.returncode == 1
    assert "can't write to stdout: File too large" in done.stderr


@UNBUFFERED
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_pipe_that_never_waits_is_waited_for(name: str, unbuffered: str, env: dict[str, str]) -> None:
    much = "x" * 300_000  # more than a pipe holds
    code = f"from callctl.cli.io.runtime import Runtime; r = Runtime.of_process(); r.{name}.write('x' * {len(much)})"
    code += f"; r.{name}.flush()"
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    running = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**env, "PYTHONUNBUFFERED": unbuffered},
        stdout=writing if name == "stdout" else subprocess.DEVNULL,
        stderr=writing if name == "stderr" else subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == much
    assert running.wait(timeout=LIMIT) == 0


def test_a_full_pipe_that_never_waits_is_written_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    much, read = "x" * 300_000, b""  # more than a pipe holds
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def read_some(*_descriptors: list[int]) -> None:
        nonlocal read
        read += os.read(reading, 65536)

    monkeypatch.setattr(select, "select", read_some)  # nobody reads before it waits
    with os.fdopen(writing, "w") as pipe:
        print(much, file=written_whole(pipe), end="", flush=True)
    monkeypatch.undo()
    with os.fdopen(reading, "rb") as rest:
        assert read + rest.read() == much.encode()
    assert read


class Disk:
    """Takes the place of ``write_some``: a disk that has room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = streams.write_some

    def write_some(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


def test_what_a_disk_did_not_take_goes_before_what_follows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk = Disk(room=3)
    monkeypatch.setattr(streams, "write_some", disk.write_some)
    with (tmp_path / "log").open("w") as log:
        stream = written_whole(log)
        assert stream is not None
        for line in ("first\n", "second\n"):
            with pytest.raises(OSError, match="No space left"):
                print(line, file=stream, end="", flush=True)
        assert (tmp_path / "log").read_text() == "fir"
        disk.room = 100
        print("third", file=stream, flush=True)
    assert (tmp_path / "log").read_text() == "first\nthird\n"


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_lines_that_a_full_disk_does_not_take_are_counted_and_said(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = Disk(room=3)
    monkeypatch.setattr(streams, "write_some", disk.write_some)
    said: list[str] = []
    with (tmp_path / "log").open("w") as log:
        stream = LossyStream(guarded(written_whole(log), name=name), say=said.append)
        stream.report = lambda text: print(text, file=cast(TextIO, stream))
        for _outage in range(2):
            disk.room = 3
            for number in range(4):
                stream.write(f"line {number}\n")
            stream.flush()
            disk.room = 1000
            stream.flush()
            stream.write("more\n")
    what = f"can't write to {name}: No space left on device"
    once = f"line 0\n3 lines were left out: {what}; the store has the events\nmore\n"
    assert (tmp_path / "log").read_text() == once * 2
    assert said == [f"callctl: {what}; lines are left out until that is over; the store has the events"] * 2


def test_a_reader_that_has_gone_is_no_full_disk() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with suppress(OSError), os.fdopen(writing, "w") as pipe:  # closing it fails once more
        stream = LossyStream(guarded(pipe, name="stdout"), say=pytest.fail)
        with pytest.raises(ReaderGoneError):
            stream.write("line\n")


def test_a_message_that_stderr_does_not_take_ends_nothing(home: Path) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    Runtime({}, home, io.StringIO(), io.StringIO(), Full()).say("callctl: hello")


def test_a_flush_does_not_wait_for_a_thread_that_is_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    is_held, free = threading.Event(), threading.Event()

    def hold(_descriptor: int, data: bytes) -> int:
        is_held.set()
        assert free.wait(LIMIT)
        return len(data)

    monkeypatch.setattr(streams, "write_some", hold)
    with (tmp_path / "log").open("w") as log:
        stream = written_whole(log)
        assert stream is not None
        writing = threading.Thread(target=lambda: print("Hello", file=stream, flush=True))
        writing.start()
        assert is_held.wait(LIMIT)
        flushing = threading.Thread(target=stream.flush)
        flushing.start()
        flushing.join(LIMIT)
        was_held = flushing.is_alive()
        free.set()
        writing.join(LIMIT)
    assert not was_held


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_streams_that_are_closed_from_the_start(closed: str, env: dict[str, str]) -> None:
    command = f"{sys.executable} -m callctl list --json {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.count("Traceback") == 0


@pytest.mark.parametrize("more", [[], ["--json"], ["--wait-for", "answered", "--wait-timeout", "10ms"]])
def test_the_sid_of_a_placed_call_is_said_where_stdout_is_closed(env: dict[str, str], more: list[str]) -> None:
    command = [*CALLCTL, "place", "+12025550100", "--say", "Hello", "--status-callback", "none", *more]
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join(command)} >&-"], env=env, capture_output=True, text=True, check=False
    )
    assert re.search(r"^callctl: placed CA[0-9a-f]{32}$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_text_that_the_encoding_lacks_is_no_failure(encoding: str, env: dict[str, str]) -> None:
    to = "client:é😀→"
    env = {**env, "PYTHONIOENCODING": f"{encoding}:strict"}
    place = [*CALLCTL, "place", to, "--say", "→", "--status-callback", "none", "--json"]
    done = subprocess.run(place, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode(encoding))["to"] == to
    rows = subprocess.run([*CALLCTL, "list"], env=env, capture_output=True, check=True).stdout.decode(encoding)
    assert rows.split("\t")[4] == (
        to
        if encoding == "utf-8"
        else {"ascii": r"client:\u00e9", "latin-1": "client:é"}[encoding] + r"\ud83d\ude00\u2192"
    )


def test_a_terminal_shows_what_its_encoding_has(home: Path, env: dict[str, str]) -> None:
    subprocess.run([*CALLCTL, "place", "+12025550103", "--say", "x"], env=env, capture_output=True, check=True)
    with OnTerminal("list", home=home, env={**env, "PYTHONIOENCODING": "ascii:strict"}) as listing:
        assert listing.ended() == 0
        assert any("  ? " in row and "+12025550103" in row for row in listing.rows)


def test_bytes_that_are_no_text_are_refused_for_what_they_are(env: dict[str, str]) -> None:
    env = {**env, "PYTHONIOENCODING": "utf-8:strict"}
    for args, message in (
        (["hangup", "-"], "not a call SID: "),
        (["place", "+12025550103", "--twiml", "-", "--status-callback", "none"], "the TwiML is not well-formed"),
    ):
        done = subprocess.run([*CALLCTL, *args], env=env, input=b"\xff\xfe\n", capture_output=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr.decode()


def test_a_stdin_that_cannot_be_read_is_reported(home: Path) -> None:
    class Broken(io.StringIO):
        def read(self, _size: int | None = -1, /) -> str:
            raise OSError(5, "Input/output error")

    runtime = Runtime({}, home, Broken(), io.StringIO(), io.StringIO())
    with pytest.raises(UsageError, match="can't read stdin: Input/output error"):
        runtime.read_stdin()


def test_a_fault_of_callctls_own_is_a_sentence_without_debug(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import callctl.settings\n"
        "def broken(*args, **options): raise RuntimeError('a fault')\n"
        "callctl.settings.load = broken\n"
    )
    env = {**env, "PYTHONPATH": str(tmp_path)}
    plain = subprocess.run([*CALLCTL, "list"], env=env, capture_output=True, text=True, check=False)
    assert plain.returncode == 1
    assert plain.stderr.startswith("callctl: error: unexpected RuntimeError: a fault\nhint: ")
    debugged = subprocess.run([*CALLCTL, "list", "--debug"], env=env, capture_output=True, text=True, check=False)
    assert debugged.returncode == 1
    assert "Traceback" in debugged.stderr
