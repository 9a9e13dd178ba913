"""stdout and stderr, whose faults are raised as errors of callctl's own.

A closed pipe must not come out as an OSError: Typer takes that for its own affair and exits 1, while a reader that has
seen enough (`| head`) is no failure. A full disk, on the other hand, is one, and may not pass for success.
"""

from __future__ import annotations

import codecs
import contextlib
import os
from io import TextIOWrapper
from typing import Any, TextIO, cast

from callctl.errors import CallctlError


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


def guarded(stream: TextIO | None, *, name: str) -> TextIO:
    """Return the stream with errors of callctl's own, which name it; closed from the start, it swallows everything."""
    return cast(TextIO, _Guarded(stream, name))


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
