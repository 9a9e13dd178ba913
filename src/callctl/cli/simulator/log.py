"""One line for each request that a simulator received or made, and for each error or warning that it noted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from callctl.cli.io.runtime import Runtime
from callctl.cli.io.streams import write_some
from callctl.cli.simulator.show import Answer, received_target, request_words
from callctl.errors import UsageError
from callctl.support.dates import time_of_day
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from callctl.simulator import Noted, Received, Sent

    Traffic = Received | Sent | Noted

_WHEN = ("always", "never", "terminal")
MOST_WAITING = 1000  # lines
END_LIMIT = 0.3  # seconds in which the last lines must be written at the end


@contextmanager
def log_traffic(runtime: Runtime, *, when: str) -> Iterator[Callable[[Traffic], None]]:
    """Give a function that writes a line for each record to stderr: always, never, or where that is a terminal.

    Raises:
        UsageError: ``when`` is none of these.
    """
    if when not in _WHEN:
        raise UsageError(f"--log has no such time: {when}", hint=f"one of {', '.join(_WHEN)}")
    if when == "never" or (when == "terminal" and not runtime.stderr.isatty()):
        yield lambda _: None
        return

    with LineWriter(runtime.stderr) as writer:

        def write(traffic: Traffic) -> None:
            writer.put(line_of(traffic, at=runtime.now()))

        yield write


class LineWriter:
    """Writes lines in a thread of its own: a terminal that is held (Ctrl-S) stops a thread that writes to it.

    It stops where they can't be written any more. Lines are left out while too many wait, and a line says how
    many.
    """

    def __init__(self, stream: TextIO, *, most_waiting: int = MOST_WAITING) -> None:
        self._stream = stream
        self._most = most_waiting
        self._waiting: deque[str | int] = deque()  # a number: of so many that were left out
        self._ending = False
        self._changed = threading.Condition()
        # A daemon, so that a held terminal can't keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="callctl-log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(END_LIMIT)

    def put(self, line: str) -> None:
        """Have a line written after those before it."""
        with self._changed:
            if len(self._waiting) < self._most:
                self._waiting.append(line)
            elif isinstance(left_out := self._waiting[-1], int):
                self._waiting[-1] = left_out + 1
            else:
                self._waiting.append(1)
            self._changed.notify()

    def _run(self) -> None:
        with suppress(OSError, ValueError):  # a reader that has gone, a closed terminal, a full disk
            while (line := self._next()) is not None:
                self._write(line if isinstance(line, str) else f"{line} lines were left out: nobody read them in time")

    def _next(self) -> str | int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            return self._waiting.popleft() if self._waiting else None

    def _write(self, line: str) -> None:
        # Past the stream's own buffer: a thread that waits with its lock held would hold up the last messages, too.
        data = f"{printable(line)}\n".encode(self._stream.encoding, self._stream.errors or "strict")
        while data:
            data = data[write_some(self._stream.fileno(), data) :]


def line_of(traffic: Traffic, *, at: datetime) -> str:
    """Return the line of a record."""
    from callctl.simulator import Noted, Received

    if isinstance(traffic, Noted):
        return noted_line(traffic, at=at)
    return received_line(traffic, at=at) if isinstance(traffic, Received) else sent_line(traffic, at=at)


def received_line(request: Received, *, at: datetime) -> str:
    """Return the line of an API request and its answer; the path is whole if it was refused, else below the account."""
    answer = Answer(request.status, request.code)
    target = received_target(request.method, request.path, request.query, answer)
    return _one_line(f"{time_of_day(at)} {request_words('<--', answer, target)}")


def sent_line(request: Sent, *, at: datetime) -> str:
    """Return the line of a request that the simulator made, the call it is about, and the reply."""
    reply, target = request.reply, f"{request.method} {request.url}"
    answer = None if reply is None else Answer(reply.status, attempts=reply.attempts, error=reply.error)
    return _one_line(f"{time_of_day(at)} {request_words('-->', answer, target, request.about, request.call)}")


def noted_line(note: Noted, *, at: datetime) -> str:
    """Return the line of an error or a warning that was noted for a call."""
    level = "warning" if note.is_warning else "error"
    return _one_line(f"{time_of_day(at)} !!! {note.code} {level} {note.call}: {note.text}")


def _one_line(text: str) -> str:
    return text.replace("\n", "\N{REPLACEMENT CHARACTER}")
