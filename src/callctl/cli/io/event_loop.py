"""Run an event loop: how many files it may open, and what becomes of its own log."""

from __future__ import annotations

import errno
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from callctl.cli.io.runtime import Runtime

OPEN_FILES = 8192

T = TypeVar("T")


def allow_many_files() -> None:
    """Raise the soft limit of open files: 256 on macOS and 1024 on Linux are used up by many connections."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_loop(runtime: Runtime, work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end in an event loop. What the loop logs is said in one line, once, without a traceback."""
    import asyncio
    import logging

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with suppress(Exception):  # stderr can't be written, or memory is short: there is nowhere to say so
                runtime.say_once(self.format(record) if runtime.debug else _in_one_line(record))

    log, said = logging.getLogger("asyncio"), Said(logging.WARNING)
    log.addHandler(said)
    try:
        return asyncio.run(work)
    finally:
        log.removeHandler(said)


def _in_one_line(record: Any) -> str:
    from callctl.errors import failure_reason

    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"callctl: warning: no more connections can be accepted: {error.strerror}; `ulimit -n` sets the limit"
    what = record.getMessage().partition("\n")[0]
    return f"callctl: warning: {what}" + (f": {failure_reason(error)}".rstrip(": ") if error is not None else "")
