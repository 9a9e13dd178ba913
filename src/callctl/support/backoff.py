"""Pauses that grow from one try to the next, and repeating a request until its answer will do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, TypeVar, cast

T = TypeVar("T")

# The least time that the last request before a limit is given to be answered, in seconds.
LAST_REQUEST = 0.5


class Backoff(NamedTuple):
    """How pauses grow: ``first`` and ``longest`` in seconds, each pause ``factor`` times the one before.

    ``jitter`` is the part of a pause by which it may be longer or shorter, so that many callers don't come back
    together.
    """

    first: float
    factor: float
    longest: float
    jitter: float = 0.0

    def pauses(self, random: Callable[[], float] = lambda: 0.5) -> Iterator[float]:
        """Yield the pauses in seconds, without end; ``random`` returns numbers from 0 to 1."""
        pause = self.first
        while True:
            yield min(pause * (1 - self.jitter + 2 * self.jitter * random()), self.longest)
            pause = min(pause * self.factor, self.longest)


# Most changes come at once, so the first pauses are short.
POLLING = Backoff(first=0.1, factor=1.5, longest=2.0)


def until(
    attempt: Callable[[], T],
    *,
    done: Callable[[T], bool],
    limit: float,
    sleep: Callable[[float], None],
    monotonic: Callable[[], float],
) -> T:
    """Call ``attempt`` until its answer will do, for ``limit`` seconds at most; return the last answer."""
    return with_pauses(repeating(attempt, done=done, limit=limit, monotonic=monotonic), sleep=sleep)


def repeating(
    attempt: Callable[[], T], *, done: Callable[[T], bool], limit: float, monotonic: Callable[[], float]
) -> Generator[float, None, T]:
    """Do what ``until`` does, and yield the pauses, in seconds, instead of sleeping."""
    deadline = monotonic() + limit
    pauses = POLLING.pauses()
    answer = attempt()
    while not done(answer) and (rest := deadline - monotonic()) > 0:
        yield min(next(pauses), rest)
        answer = attempt()
    return answer


def with_pauses(work: Generator[float, None, T], *, sleep: Callable[[float], None]) -> T:
    """Do work to its end, sleeping for each pause that it yields; return its result."""
    while True:
        try:
            pause = next(work)
        except StopIteration as end:
            return cast("T", end.value)
        sleep(pause)
