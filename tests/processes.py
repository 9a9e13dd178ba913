"""callctl as processes of its own: on pipes, and on a pseudo-terminal whose screen can be read."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte
from fork_server import Forked, can_fork, fork

from callctl.watch.registry.health import ask_health

LIMIT = 90.0  # seconds; nothing takes so long, but many tests may share a processor
CALLCTL = (sys.executable, "-m", "callctl")
# For tests of what a process has from the one that starts it: it is started, and not forked.
CALLCTL_ANEW = ("/usr/bin/env", *CALLCTL)


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which nothing of the developer's own settings counts."""
    return {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", **(extra or {})}


def start(args: Sequence[str], *, home: Path, stdout: int, stderr: int) -> subprocess.Popen[bytes] | Forked:
    """Start callctl with two files of the caller's, which may close them then, and nothing on stdin."""
    variables = environment(home)
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        files = (nothing, stdout, stderr)
        if can_fork(variables):
            return Forked(fork(args, cwd=home, environment=variables, files=files, terminal=False))
        return subprocess.Popen(
            [*CALLCTL, *args], cwd=home, env=variables, stdin=nothing, stdout=stdout, stderr=stderr, process_group=0
        )
    finally:
        os.close(nothing)


class Piped:
    """A running callctl with stdout and stderr on pipes."""

    def __init__(
        self,
        *args: str,
        home: Path,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = CALLCTL,
    ) -> None:
        names = (f"stderr-{args[0]}{'-' * number}" for number in itertools.count())  # each has one of its own
        self._talk = next(path for name in names if not (path := home / name).exists())
        self._process = self._started(args, home, environment(home, env), program)
        self._buffer = b""

    def _started(
        self, args: Sequence[str], home: Path, variables: Mapping[str, str], program: Sequence[str]
    ) -> subprocess.Popen[bytes] | Forked:
        """Start it in a group of its own: the kernel discards SIGTSTP of one that is alone in its session, as in CI."""
        with self._talk.open("w") as talk:
            if program != CALLCTL or not can_fork(variables):
                return subprocess.Popen(
                    [*program, *args],
                    cwd=home,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=talk,
                    process_group=0,
                )
            ours, theirs = os.pipe()
            nothing = os.open(os.devnull, os.O_RDONLY)
            try:
                files = (nothing, theirs, talk.fileno())
                pid = fork(args, cwd=home, environment=variables, files=files, terminal=False)
            finally:
                os.close(theirs)
                os.close(nothing)
            return Forked(pid, stdout=os.fdopen(ours, "rb"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def line(self) -> str:
        """Return the next line of stdout."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + LIMIT
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(descriptor, 65536) if ready else b""
            if not chunk:
                raise AssertionError(f"no further line; so far {self._buffer!r}")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def record(self) -> dict[str, Any]:
        """Return the next line of stdout, which is JSON, as an object."""
        return dict(json.loads(self.line()))

    def lines(self) -> Iterator[str]:
        """Yield the lines of stdout until it ends."""
        while True:
            try:
                yield self.line()
            except AssertionError:
                return

    def read_on(self) -> None:
        """Read stdout to its end, and forget it: a full pipe would stop the process."""
        assert self._process.stdout is not None
        while os.read(self._process.stdout.fileno(), 65536):
            pass

    def until_health(self, url: str, condition: Callable[[Mapping[str, object]], bool]) -> Mapping[str, object]:
        """Ask a watch's health URL until what it says fulfils a condition; return that."""
        deadline = time.monotonic() + LIMIT
        while not condition(health := ask_health(url) or {}):
            if time.monotonic() > deadline:
                raise AssertionError(f"it never said so, only: {health}")
            time.sleep(0.02)
        return health

    @property
    def said(self) -> str:
        """All that it has said on stderr so far."""
        return self._talk.read_text()

    def until_said(self, text: str) -> str:
        """Wait until something was said on stderr; return all that was said."""
        deadline = time.monotonic() + LIMIT
        while text not in (said := self.said):
            if time.monotonic() > deadline:
                raise AssertionError(f"it never said {text!r}, only: {said}")
            time.sleep(0.02)
        return said

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it has done something that can be seen elsewhere."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self, sent: signal.Signals) -> int:
        """Have it stopped, as by Ctrl-Z, and return its process's number."""
        self._process.send_signal(sent)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)
        return self._process.pid

    def go_on(self) -> None:
        """Let it go on after that."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Send kill -9."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        """Send SIGTERM, as a service manager does, and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=LIMIT)

    def interrupt(self, sent: signal.Signals = signal.SIGINT) -> int:
        """Send Ctrl-C, or another signal, and return the exit code."""
        self._process.send_signal(sent)
        return self._process.wait(timeout=LIMIT)


class OnTerminal:
    """A running callctl on a pseudo-terminal, or another program."""

    def __init__(
        self,
        *args: str,
        home: Path,
        env: Mapping[str, str] | None = None,
        columns: int = 80,
        lines: int = 24,
        program: Sequence[str] = CALLCTL,
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._rows: list[str] | None = None  # of the screen as it is, once they were asked for
        self.raw = b""
        variables = environment(home, env)
        if program == CALLCTL and can_fork(variables):
            self.descriptor, inner = os.openpty()
            try:
                self._pid = fork(args, cwd=home, environment=variables, files=(inner, inner, inner), terminal=True)
            finally:
                os.close(inner)
        else:
            self._pid, self.descriptor = pty.fork()
            if self._pid == 0:  # the child
                os.chdir(home)
                os.execve(program[0], [*program, *args], variables)
        self.resize(columns, lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.descriptor)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, as a window manager would."""
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)
        self._rows = None

    def type(self, text: str) -> None:
        """Type on the keyboard; ``\\x03`` is Ctrl-C."""
        os.write(self.descriptor, text.encode())

    def hang_up(self) -> None:
        """Take the terminal away, as a connection that breaks off does, and wait for the process to end."""
        os.close(self.descriptor)
        self.descriptor = os.open(os.devnull, os.O_RDONLY)  # which is closed in its place
        os.waitpid(self._pid, 0)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, from outside."""
        os.kill(self._pid, number)

    @property
    def rows(self) -> list[str]:
        """What stands on the screen, line by line."""
        if self._rows is None:
            self._rows = [row.rstrip() for row in self._screen.display]
        return self._rows

    def colours(self, text: str) -> set[tuple[str, str]]:
        """Return the colours of a text on the screen: foreground and background."""
        number, start = next((number, row.find(text)) for number, row in enumerate(self.rows) if text in row)
        cells = (self._screen.buffer[number][column] for column in range(start, start + len(text)))
        return {(cell.fg, cell.bg) for cell in cells}

    def until(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """Read what callctl draws until the screen fulfils a condition; return the screen."""
        deadline = time.monotonic() + LIMIT
        while not condition(self.rows):
            if not self._read(max(0.0, deadline - time.monotonic())):
                if condition(self.rows):  # it ended with what was read last
                    break
                raise AssertionError("the screen never came to that; it shows:\n" + "\n".join(self.rows))
        return self.rows

    def ended(self) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + LIMIT
        while self._read(max(0.0, deadline - time.monotonic())):
            pass
        _, status = os.waitpid(self._pid, 0)
        return os.waitstatus_to_exitcode(status)

    def _read(self, timeout: float) -> bool:
        ready, _, _ = select.select([self.descriptor], [], [], timeout)
        try:
            chunk = os.read(self.descriptor, 65536) if ready else b""
        except OSError:  # the other end is closed: Linux says EIO
            chunk = b""
        self.raw += chunk
        self._stream.feed(chunk)
        self._rows = None
        return bool(chunk)
