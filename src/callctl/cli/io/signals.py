"""Ctrl-C and SIGTERM: the first stops and tidies up, the second leaves at once."""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from callctl.cli.exits import DONE, INTERRUPTED
from callctl.cli.io.ending import leave_later
from callctl.support.clock import elapsed
from callctl.support.terminal import drop_input, is_in_foreground, resume_output

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Wrap lines, leave the alternate screen, show the cursor, and have pasted text not marked: what the live table changed.
_RESTORE = b"\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[?2004l"

# Seconds in which signals are one, as a terminal that goes sends several, where the loop has not taken the first yet.
_ONE_STOP = 1.0
# Seconds that giving the terminal back may take: it may not be read.
_GIVE_BACK_LIMIT = 0.5
# Seconds from one look whether the process is in the foreground again to the next.
_FOREGROUND_CHECK = 0.25


class Stop:
    """Which signal stopped a command, if one did."""

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def exit_code(self) -> int:
        """The code to end with: nothing is wrong where a service manager sent SIGTERM, or a person pressed ``q``."""
        return DONE if self.number in (None, signal.SIGTERM) else INTERRUPTED


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[Stop]:
    """While in the block, call ``stop`` on the first Ctrl-C, SIGTERM or SIGHUP and leave the process on the second.

    After the block, a second one leaves the process still, and so does the first after a while, for what is said last
    may be read by nobody; if none came, the handlers are again those from before. A SIGHUP that is ignored, as
    ``nohup`` has it, stays so.
    """
    loop, stopped = asyncio.get_running_loop(), Stop()
    attributes = _terminal_attributes()
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in _SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]
    is_stopping, first_at = False, 0.0

    # Not a handler of the loop's: a loop that waits for the terminal calls none.
    def take(number: int, _frame: object) -> None:
        nonlocal first_at
        if stopped.number is None:
            stopped.number, first_at = number, elapsed()
            loop.call_soon_threadsafe(begin)
        elif is_stopping or elapsed() - first_at >= _ONE_STOP:
            _leave(attributes)

    def begin() -> None:
        nonlocal is_stopping
        is_stopping = True
        stop()

    for number in before:
        signal.signal(number, take)
    try:
        yield stopped
    finally:
        if stopped.number is None:
            for number, handler in before.items():
                signal.signal(number, handler)
        else:
            is_stopping = True
            leave_later(lambda: _leave(attributes, stopped.exit_code))


@contextmanager
def suspend_on_signals(give_back: Callable[[], None], take_again: Callable[[], None]) -> Iterator[None]:
    """While in the block, give the terminal back on SIGTSTP, stop, and take it again when the process is continued.

    Continued in the background, it goes on without the terminal until it is in the foreground.
    """
    loop = asyncio.get_running_loop()
    is_away = False
    check: asyncio.TimerHandle | None = None

    def stop() -> None:
        nonlocal is_away
        give_back()
        is_away = True
        loop.remove_signal_handler(signal.SIGTSTP)
        # To this thread, so that nothing runs on before the process is stopped.
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, stop)
        take()

    def take() -> None:
        nonlocal is_away, check
        if check is not None:
            check.cancel()
            check = None
        if is_away and not is_in_foreground(0):  # after `bg`; no signal says when `fg` follows
            check = loop.call_later(_FOREGROUND_CHECK, take)
            return
        is_away = False
        take_again()

    loop.add_signal_handler(signal.SIGTSTP, stop)
    loop.add_signal_handler(signal.SIGCONT, take)  # it may have been stopped from outside, with SIGSTOP
    try:
        yield
    finally:
        for number in (signal.SIGTSTP, signal.SIGCONT):
            loop.remove_signal_handler(number)
        if check is not None:
            check.cancel()


def _terminal_attributes() -> list[Any] | None:
    try:
        return termios.tcgetattr(0)
    except (termios.error, OSError, ValueError):
        return None


def _leave(attributes: list[Any] | None, exit_code: int = INTERRUPTED) -> None:
    """Give the terminal back and leave the process; one that is not read takes nothing, and holds nobody up."""
    giving_back = threading.Thread(target=_give_terminal_back, args=(attributes,), daemon=True)
    with suppress(RuntimeError):  # the system has no thread left
        giving_back.start()
        giving_back.join(_GIVE_BACK_LIMIT)
    os._exit(exit_code)


def _give_terminal_back(attributes: list[Any] | None) -> None:
    if not is_in_foreground(0):  # it was given back, and belongs to another: to change it would stop this process
        return
    if attributes is not None:
        with suppress(termios.error):
            resume_output(0)  # held by Ctrl-S, it would hold this process as well
            termios.tcsetattr(0, termios.TCSANOW, attributes)  # the other ways wait until all output was read
            drop_input(0)
    if os.isatty(1):
        os.write(1, _RESTORE)
