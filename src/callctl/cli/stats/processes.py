"""Work that is shared among processes, for computations that take one processor too long."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST = 4  # processes; with more, starting them would take longer than it saves


def processors() -> int:
    """Return how many processes may compute at once, this one included: 1 if it has several threads.

    A copy of a process lacks the other threads, but has the locks that they hold.
    """
    if threading.active_count() > 1:
        return 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, _MOST)


def share_out(work: Callable[[int], T], *, parts: int) -> list[T]:
    """Return what ``work`` returns for each part, from 0: the first is done here, the others in copies of this process.

    If a copy fails, its part is done here again, so that its error is raised here. Nothing that must not be shared,
    such as an open database, may exist when this is called. What ``work`` returns is pickled.
    """
    copies = [_Copy(work, number) for number in range(1, parts)]
    try:
        return [work(0), *(copy.result() for copy in copies)]
    finally:
        for copy in copies:
            copy.end()


class _Copy(Generic[T]):
    """A copy of this process that does one part."""

    def __init__(self, work: Callable[[int], T], number: int) -> None:
        self._work, self._number = work, number
        self._pid, self._pipe = 0, -1
        with suppress(OSError):  # no process or no file is left: it is done here
            self._pipe, far = os.pipe()
            self._pid = os.fork()
            if not self._pid:
                self._do(far)
            os.close(far)

    def _do(self, pipe: int) -> None:
        """Do the work in the copy, and end it: what the process would do afterwards is not done."""
        code = 1
        try:
            import pickle

            with os.fdopen(pipe, "wb") as stream:
                pickle.dump(self._work(self._number), stream)
            code = 0
        finally:
            os._exit(code)

    def result(self) -> T:
        """Wait for what the copy sends; do its work here if it fails."""
        import pickle

        if self._pid:
            with os.fdopen(self._pipe, "rb") as stream:
                self._pipe = -1
                sent = stream.read()
            _, status = os.waitpid(self._pid, 0)
            self._pid = 0
            if status == 0 and sent:
                result: T = pickle.loads(sent)
                return result
        return self._work(self._number)

    def end(self) -> None:
        """Kill the copy if it is still at work, and close its pipe."""
        if self._pipe >= 0:
            os.close(self._pipe)
        if self._pid:
            with suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
