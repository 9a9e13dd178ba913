"""Asking again and again, with pauses that grow: soon at first, for most changes come at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST = 0.1  # seconds
GROWTH = 1.5
LONGEST = 2.0  # seconds
# How long the last question may take that is asked before a limit is over, in seconds.
LAST = 0.5


def until(
    ask: Callable[[], T],
    *,
    done: Callable[[T], bool],
    limit: float,
    sleep: Callable[[float], None],
    monotonic: Callable[[], float],
) -> T:
    """Ask until the answer will do, for ``limit`` seconds at most; return the last answer."""
    deadline = monotonic() + limit
    pause = FIRST
    answer = ask()
    while not done(answer) and (left := deadline - monotonic()) > 0:
        sleep(min(pause, left))
        pause = min(pause * GROWTH, LONGEST)
        answer = ask()
    return answer
