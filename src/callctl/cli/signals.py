"""Ctrl-C: the first stops and tidies up, the second leaves at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from callctl.cli.exits import INTERRUPTED

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Leave the alternate screen and show the cursor: what the live table changed on the terminal.
_RESTORE = b"\x1b[?1049l\x1b[?25h"


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """While in the block, call ``stop`` on the first Ctrl-C, SIGTERM or SIGHUP and leave the process on the second."""
    loop = asyncio.get_running_loop()

    def take() -> None:
        stop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, _leave)

    for number in _SIGNALS:
        loop.add_signal_handler(number, take)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _leave(_number: int, _frame: object) -> None:
    if os.isatty(1):
        os.write(1, _RESTORE)
    os._exit(INTERRUPTED)
