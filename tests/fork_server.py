"""A process that has loaded callctl, and forks one for each command line or other program that it is given.

Python and what callctl imports take half a second of a processor at each start; a fork takes a few milliseconds. What a
start itself is like is tested by starts (tests/cli/test_commands_start_up.py, tests/cli/test_help.py).
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import fcntl
import gc
import io
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

# What commands import once they run.
LOADED = (
    "callctl.api.client",
    "callctl.api.transport",
    "callctl.calls.twiml",
    "callctl.cli.hangup.command",
    "callctl.cli.hangup.single",
    "callctl.cli.list",
    "callctl.cli.listen.command",
    "callctl.cli.main",
    "callctl.cli.place.command",
    "callctl.cli.redirect",
    "callctl.cli.show",
    "callctl.cli.simulator.command",
    "callctl.cli.wait",
    "callctl.cli.watch.command",
    "callctl.cli.watch.operator",
    "callctl.cli.watch.table",
    "callctl.rules.runner",
    "callctl.simulator.simulator",
    "callctl.store.postgresql.store",
    "callctl.store.sqlite.cursor",
    "callctl.store.sqlite.repair",
    "callctl.store.sqlite.store",
    "callctl.store.sqlite.writer",
    "callctl.cli.listen.service_manager",
    "callctl.views.call_page",
    "callctl.views.filtered_view",
    "callctl.views.jsonl",
    "callctl.views.live.screen",
    "callctl.views.log",
    "callctl.views.threaded_view",
    "callctl.watch.follower",
    "callctl.watch.session",
    "encodings.ascii",
    "encodings.idna",
    "encodings.utf_8_sig",
    "prompt_toolkit",
    "prompt_toolkit.input.vt100",
    "rich.file_proxy",
    "rich.live",
    "twilio.twiml.voice_response",
    "xml.sax.saxutils",
)
# Variables that nothing reads before it runs; with others a process is started anew.
READ_LATE = ("CALLCTL_", "TWILIO_", "XDG_")
USUAL = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
PR_SET_CHILD_SUBREAPER = 36
_HANDLE = threading.Lock()


class Forked:
    """A forked process, with what is used of ``subprocess.Popen``: it is a child of this one."""

    def __init__(self, pid: int, *, stdout: io.BufferedReader | None = None) -> None:
        self.pid, self.stdout = pid, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code; raise subprocess.TimeoutExpired if it takes longer."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self._reap(0 if deadline is None else os.WNOHANG)) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("callctl", timeout or 0.0)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send kill -9."""
        self.send_signal(signal.SIGKILL)

    def _reap(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def can_fork(environment: Mapping[str, str]) -> bool:
    """Return whether a forked process would be as one that is started with this environment."""
    return sys.platform == "linux" and all(
        USUAL.get(name) == value if name in USUAL else name in ("HOME", "PATH") or name.startswith(READ_LATE)
        for name, value in environment.items()
    )


def fork(
    args: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    files: Sequence[int],
    terminal: bool,
    module: str = "callctl",
) -> int:
    """Have callctl run with three files as stdin, stdout and stderr; return the process's number.

    It leads a group of processes or, where the first file is to be its terminal, a session. Another ``module``, of the
    tests, is run in its place.
    """
    job = {
        "module": module,
        "args": list(args),
        "cwd": str(cwd),
        "environment": dict(environment),
        "terminal": terminal,
    }
    with _HANDLE:
        line = _server()
        _adopt(True)
        try:
            socket.send_fds(line, [json.dumps(job).encode()], files)
            pid = int(line.recv(100))
            line.recv(100)  # who forked it has ended, so that it is a child of this process
        finally:
            _adopt(False)
    return pid


_lines: list[socket.socket] = []


def _server() -> socket.socket:
    if not _lines:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with theirs:
            number = theirs.fileno()
            process = subprocess.Popen(
                [sys.executable, __file__, str(number)],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], **USUAL},
                process_group=0,  # in this session: a group whose parent is in another one can not be stopped
            )
        _lines.append(ours)
        atexit.register(process.wait)
        atexit.register(ours.close)  # before that: it ends then
    return _lines[0]


def _adopt(on: bool) -> None:
    """Become the parent of descendants whose own has ended, or no more (prctl(2))."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def serve(line: socket.socket) -> None:
    """Fork until the other end is closed; in a forked process, run callctl."""
    for name in LOADED:
        import_module(name)
    gc.collect()
    gc.freeze()
    while True:
        data, files, _, _ = socket.recv_fds(line, 1 << 20, 3)
        if not data:
            return None
        if not (between := os.fork()):
            if not (child := os.fork()):
                line.close()
                return run(json.loads(data), files)
            line.send(str(child).encode())
            os._exit(0)
        os.waitpid(between, 0)
        for file in files:
            os.close(file)
        line.send(b"forked")


def run(job: dict[str, object], files: Sequence[int]) -> None:
    """Be the process that was asked for."""
    if job["terminal"]:
        os.setsid()
        fcntl.ioctl(files[0], termios.TIOCSCTTY, 0)
    else:
        os.setpgid(0, 0)
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(str(job["cwd"]))
    os.environ.clear()
    os.environ.update(dict(job["environment"]))  # type: ignore[call-overload]
    random.seed()
    for number, name in enumerate(
        ("stdin", "stdout", "stderr")
    ):  # whether one is a terminal decides how it is buffered
        stream = getattr(sys, name)
        mode = "w" if number else "r"
        made = os.fdopen(number, mode, encoding=stream.encoding, errors=stream.errors, closefd=False)
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    # Where it hangs, SIGUSR2 shows where each of its threads stands.
    faulthandler.register(signal.SIGUSR2, file=2, all_threads=True)
    module = str(job["module"])
    sys.argv = [module, *job["args"]]  # type: ignore[misc]
    if module == "callctl":
        sys.path[0] = ""
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        serve(socket.socket(fileno=int(sys.argv[1])))
