"""stdout and stderr, whose faults are raised as errors of callctl's own.

A closed pipe must not come out as an OSError: Typer takes that for its own affair and exits 1, while a reader that has
seen enough (`| head`) is no failure. A full disk, on the other hand, is one, and may not pass for success.

All that is written is taken by the descriptor, or an error is raised. Python's own streams lose the rest of a short
write where ``PYTHONUNBUFFERED`` is set, and fail where the descriptor never waits (``O_NONBLOCK``), as another program
on the same terminal or pipe may have made it.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import threading
import time
from io import RawIOBase, TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO, cast

from callctl.errors import CallctlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

# Seconds before a terminal is tried again that has room for less than what is to be written.
_PAUSE = 0.01
# Seconds that a flush waits for another thread, which is writing.
_FLUSH_LIMIT = 0.1


class ReaderGoneError(Exception):
    """Nobody reads any more. Not an OSError, on purpose."""


class OutputError(CallctlError):
    """stdout or stderr can't be written."""


class _Guarded:
    """A stream whose write and flush raise errors of ours. ``leads_nowhere`` if it was closed from the start."""

    def __init__(self, stream: TextIO | None, name: str) -> None:
        self.leads_nowhere = stream is None
        self._stream = stream if stream is not None else null_stream()
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with _own_errors(self._name):
            return self._stream.write(text)

    def flush(self) -> None:
        with _own_errors(self._name):
            self._stream.flush()


@contextlib.contextmanager
def _own_errors(name: str) -> Any:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    except OSError as error:
        raise OutputError(
            f"can't write to {name}: {error.strerror}", hint=f"see where {name} goes: a full disk, a closed terminal"
        ) from error


def write_some(descriptor: int, data: ReadableBuffer) -> int:
    """Write a part of some bytes, at least one, and return how many; wait as long as the descriptor takes none.

    Raises:
        OSError: It can't be written. Never BlockingIOError.
    """
    has_waited = False
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            if has_waited:  # a terminal may have room, but less than a line end takes
                time.sleep(_PAUSE)
            select.select([], [descriptor], [])
            has_waited = True


class _DescriptorWriter(RawIOBase):
    """Writes all that it is given to a descriptor. Where that fails, the rest is kept, and goes before what follows."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = memoryview(b"")
        # A signal's handler may write in the midst of a write.
        self._writing = threading.RLock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer, /) -> int:
        with self._writing:
            self._write_rest()  # where this fails, none of the new is taken: the rest does not grow
            self._rest = memoryview(bytes(data))
            length = len(self._rest)
            self._write_rest()
            return length

    def flush(self) -> None:
        # A thread that is held by a pipe that nobody reads must not keep the program from ending. All that is not
        # written yet is with that thread.
        if self._writing.acquire(timeout=_FLUSH_LIMIT):
            try:
                self._write_rest()
            finally:
                self._writing.release()

    def _write_rest(self) -> None:
        while self._rest:
            self._rest = self._rest[write_some(self._descriptor, self._rest) :]


def written_whole(stream: TextIO | None) -> TextIO | None:
    """Return a stream to the same descriptor that loses nothing; a stream that has none as it is."""
    if type(stream) is not TextIOWrapper:
        return stream
    try:
        writer = _DescriptorWriter(stream.fileno())
    except OSError:  # it is in memory
        return stream
    stream.flush()
    return TextIOWrapper(
        cast(Any, writer),
        encoding=stream.encoding,
        errors=stream.errors,
        newline="\n",
        line_buffering=stream.line_buffering,
    )


def guarded(stream: TextIO | None, *, name: str) -> TextIO:
    """Return the stream with errors of callctl's own, which name it; closed from the start, it swallows everything."""
    return cast(TextIO, _Guarded(stream, name))


class LossyStream:
    """A stream of lines, each flushed, that leaves lines out while they can't be written, as on a full disk.

    What was begun of a line goes before the next: no line is torn. A reader that has gone, or a terminal, is an error
    as elsewhere, for there nothing can be written any more; but not for a log, whose writer has other work.
    """

    def __init__(self, stream: TextIO, *, say: Callable[[str], None], is_log: bool = False) -> None:
        """Take the stream; ``say`` is called once each time that lines begin to be left out."""
        self._stream, self._say, self._is_log = stream, say, is_log
        self._failure: str | None = None
        self._left_out = 0
        # Is given a sentence that says how many lines were left out, and may write it here.
        self.report: Callable[[str], None] = say

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, line: str) -> int:
        """Write a line, or count it as left out."""
        self.flush()
        if self._failure is not None:
            self._left_out += 1
        else:
            self._try(line)
        return len(line)

    def flush(self) -> None:
        """Write what was begun before; where there is room for it again, report how many lines were left out."""
        if self._failure is None or not self._try(""):
            return
        failure, count, self._failure, self._left_out = self._failure, self._left_out, None, 0
        if count:
            lines = "1 line was" if count == 1 else f"{count} lines were"
            self.report(f"{lines} left out: {failure}; the store has the events")

    def _try(self, text: str) -> bool:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OutputError, OSError) as error:
            if not self._is_log and (isinstance(error, BrokenPipeError) or self._stream.isatty()):
                raise
            if self._failure is None:
                self._failure = error.message if isinstance(error, OutputError) else f"can't write: {error.strerror}"
                self._say(f"callctl: {self._failure}; lines are left out until that is over; the store has the events")
            return False
        return True


def accept_any_text(*streams: TextIO | None) -> None:
    """Let streams carry any text, whatever their encoding lacks: ``?`` on a terminal, elsewhere as JSON escapes it.

    By then the call may have been placed, or half of them ended. Bytes that come in and are no text are let through, to
    be refused for what they are.
    """
    codecs.register_error(_ESCAPED, _escape)
    for stream in streams:
        if isinstance(stream, TextIOWrapper):
            how = "surrogateescape" if stream.readable() else "replace" if stream.isatty() else _ESCAPED
            stream.reconfigure(errors=how)


_ESCAPED = "callctl.escaped"


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[index : index + 2].hex() for index in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs), error.end


def null_stream() -> TextIO:
    """Return a stream that swallows what it is given and has nothing to read."""
    return open(os.devnull, "r+", encoding="utf-8")  # noqa: PTH123 - it lives as long as the process


def discard_buffer(stream: TextIO) -> None:
    """Send what is still buffered nowhere: the interpreter flushes once more at exit, and would complain again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
