"""Ctrl-C and SIGTERM: the first stops and tidies up, the second leaves at once."""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from callctl.cli.exits import DONE, INTERRUPTED
from callctl.support.terminal import is_in_foreground, resume_output

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Leave the alternate screen, show the cursor, and have pasted text not marked: what the live table changed.
_RESTORE = b"\x1b[?1049l\x1b[?25h\x1b[?2004l"

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

    After the block, a second one leaves the process still; if none came, the handlers are again those from before. A
    SIGHUP that is ignored, as ``nohup`` has it, stays so.
    """
    loop, stopped = asyncio.get_running_loop(), Stop()
    attributes = _terminal_attributes()
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in _SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]

    def take(by: int) -> None:
        stopped.number = by
        _replace(loop, dict.fromkeys(before, leave))
        stop()

    def leave(_number: int, _frame: object) -> None:
        _give_terminal_back(attributes)
        os._exit(INTERRUPTED)

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


def _give_terminal_back(attributes: list[Any] | None) -> None:
    if attributes is not None:
        with suppress(termios.error):
            resume_output(0)  # held by Ctrl-S, it would hold this process as well
            termios.tcsetattr(0, termios.TCSAFLUSH, attributes)
    if os.isatty(1):
        os.write(1, _RESTORE)
