"""Requests to a terminal's driver that the standard library has no function for."""

from __future__ import annotations

import os
import termios
from contextlib import suppress


def resume_output(descriptor: int) -> None:
    """Let a terminal that is held by Ctrl-S go on, so that writing to it no longer waits; not from the background.

    TCOON alone ends only a hold by TCOOFF (Linux: n_tty_ioctl_helper), so the one is made the other first.

    Raises:
        termios.error: It is no terminal.
    """
    if is_in_foreground(descriptor):
        termios.tcflow(descriptor, termios.TCOOFF)
        termios.tcflow(descriptor, termios.TCOON)


def is_in_foreground(descriptor: int) -> bool:
    """Return whether this process may change the terminal: not after ``bg``, where that would stop it (SIGTTOU)."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True  # it is no terminal of this session, so nobody is stopped because of it


def drop_input(descriptor: int) -> None:
    """Have what was typed and not read reach nobody; without effect in the background, or where it is no terminal."""
    with suppress(termios.error, OSError):
        if is_in_foreground(descriptor):
            termios.tcflush(descriptor, termios.TCIFLUSH)
