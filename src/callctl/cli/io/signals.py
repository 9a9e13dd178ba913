"""Ctrl-C and SIGTERM: the first stops and tidies up, the second leaves at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from callctl.cli.exits import DONE, INTERRUPTED

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Leave the alternate screen and show the cursor: what the live table changed on the terminal.
_RESTORE = b"\x1b[?1049l\x1b[?25h"


class Stop:
    """Which signal stopped a command, if one did."""

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def exit_code(self) -> int:
        """The code to end with: SIGTERM is how a service manager ends what did nothing wrong."""
        return DONE if self.number == signal.SIGTERM else INTERRUPTED


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[Stop]:
    """While in the block, call ``stop`` on the first Ctrl-C, SIGTERM or SIGHUP and leave the process on the second.

    After the block, a second one leaves the process still; if none came, the handlers are again those from before. A
    SIGHUP that is ignored, as ``nohup`` has it, stays so.
    """
    loop, stopped = asyncio.get_running_loop(), Stop()
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in _SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]

    def take(by: int) -> None:
        stopped.number = by
        _replace(loop, dict.fromkeys(before, _leave))
        stop()

    for number in before:
        loop.add_signal_handler(number, take, number)
    try:
        yield stopped
    finally:
        if stopped.number is None:
            _replace(loop, before)


def _replace(loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Any]) -> None:
    """Take the loop's handlers away and put others in their place, with no moment at which a signal would kill."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
    try:
        for number, handler in handlers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _leave(_number: int, _frame: object) -> None:
    if os.isatty(1):
        os.write(1, _RESTORE)
    os._exit(INTERRUPTED)
