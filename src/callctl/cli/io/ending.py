"""The time that a command has to end once it has been stopped: what it says last may be read by nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

# Seconds for what is left once a command has been stopped: it is said, and all else is done.
END_LIMIT = 5.0

_over: list[threading.Event] = []


def leave_later(leave: Callable[[], None]) -> None:
    """Have the process left unless the command is over in time."""
    over = threading.Event()
    _over.append(over)

    def wait() -> None:
        if not over.wait(END_LIMIT):
            leave()

    with suppress(RuntimeError):  # the system has no thread left
        threading.Thread(target=wait, name="callctl-end", daemon=True).start()


def command_is_over() -> None:
    """Note that the command has ended."""
    while _over:
        _over.pop().set()
