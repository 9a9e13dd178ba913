"""Several requests under way at once, in threads that nobody waits for when the program is told to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def begin(work: Callable[[], T]) -> Callable[[], T]:
    """Begin something in a thread of its own; the function returned waits for it and returns or raises what it did.

    A daemon thread: those of an executor are waited for when the interpreter exits, so that Ctrl-C would wait for a
    slow answer.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # raised again for the one who waits
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="callctl-request")
    thread.start()

    def finish() -> T:
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    return finish


def side_by_side(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do several things at once and return what they return, in their order; raise the first error in that order."""
    return [finish() for finish in [begin(work) for work in works]]
