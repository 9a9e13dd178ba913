"""Runs slow, blocking calls in daemon threads.

Neither an executor nor ``asyncio.to_thread``: the loop's end and the interpreter's exit wait for their threads, so
Ctrl-C would wait for a slow request. Commands without an event loop start threads here too, hence asyncio is imported
where it is needed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from callctl.errors import NoThreadError

T = TypeVar("T")


def start(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        NoThreadError: The system has none left.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThreadError from error


def start_in_thread(work: Callable[[], T]) -> Future[T]:
    """Start ``work`` in a thread of its own; the future holds its result or its error.

    Raises:
        NoThreadError: The system has no thread left; nothing of the work was begun.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # a waiter that gives up does not stop it

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised again where the result is read
            future.set_exception(error)

    start(threading.Thread(target=run, daemon=True, name="callctl-request"))
    return future


def run_with_time_limit(seconds: float, work: Callable[[], T]) -> T:
    """Return or raise what ``work`` does, if that takes no longer than ``seconds``.

    Raises:
        TimeoutError: It takes longer. It goes on in its thread.
        NoThreadError: The system has no thread left.
    """
    return start_in_thread(work).result(timeout=None if math.isinf(seconds) else seconds)


async def run_in_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread of its own and return or raise what it does; raise as ``start_in_thread``."""
    import asyncio

    return await asyncio.wrap_future(start_in_thread(work))
