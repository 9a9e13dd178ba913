"""A view in a thread of its own, so that nobody waits for what it draws on.

A terminal that is held (Ctrl-S) or a pipe that nobody reads stops whoever writes to it; for a watch that would be the
listener, and callbacks would be lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from callctl.calls.trouble import Cause, Trouble

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change, Snapshot
    from callctl.calls.event import CallEvent
    from callctl.views.view import View, WatchState

# News that may wait for a terminal or pipe; beyond it the oldest are left out, and that is told.
MOST_WAITING = 100_000
# A picture stays for so many times what drawing it took, but a second at most: drawing takes time from callbacks.
STAYS = 20
LONGEST_STAY = 1.0
# Seconds in which what was told last must be written at the end.
END_LIMIT = 0.5


class ThreadedView:
    """Passes on to another view, in a thread: all news in their order, and of pictures the newest.

    What goes wrong there is raised from the next call here.
    """

    def __init__(self, view: View, *, most_waiting: int = MOST_WAITING) -> None:
        self._view, self._most = view, most_waiting
        self._news: deque[Callable[[Any], None]] = deque()
        self._pictures: deque[Callable[[Any], None]] = deque(maxlen=1)
        self._left_out = 0
        self._wake, self._ending = threading.Event(), threading.Event()
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    def begin(self, snapshot: Snapshot) -> None:
        """Pass it on before the first news."""
        self._put(methodcaller("begin", snapshot))

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Pass it on with the next picture."""
        self._put(methodcaller("event", event, change))

    def action(self, action: ActionEvent) -> None:
        """Pass it on with the next picture."""
        self._put(methodcaller("action", action))

    def note(self, text: str) -> None:
        """Pass it on with the next picture."""
        self._put(methodcaller("note", text))

    def trouble(self, trouble: Trouble) -> None:
        """Pass it on with the next picture."""
        self._put(methodcaller("trouble", trouble))

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Have all news and this picture shown as soon as the view can."""
        self._check()
        self._pictures.append(methodcaller("refresh", snapshot, header))
        if self._thread is None:
            # A daemon, so that a held terminal can't keep the program from ending.
            self._thread = threading.Thread(target=self._run, name="callctl-view", daemon=True)
            self._thread.start()
        self._wake.set()

    def is_stale(self) -> bool:
        """Return what the view says."""
        self._check()
        return self._view.is_stale()

    def close(self) -> None:
        """Give the view a moment to show what is left, and close it."""
        self._ending.set()
        self._wake.set()
        if self._thread is None:
            self._tell()
        else:
            self._thread.join(END_LIMIT)
        self._view.close()
        self._check()

    def _put(self, call: Callable[[Any], None]) -> None:
        self._check()
        self._news.append(call)
        if len(self._news) > self._most:
            with suppress(IndexError):
                self._news.popleft()
                self._left_out += 1

    def _check(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            while not self._ending.is_set() or self._news or self._pictures:
                self._wake.wait()
                self._wake.clear()
                self._tell()
                self._draw()
        except Exception as error:  # raised again where it is seen, whatever it is
            self._failure = error

    def _tell(self) -> None:
        while self._news:
            self._news.popleft()(self._view)
        if self._left_out:
            count, self._left_out = self._left_out, 0
            what = f"{count} lines were left out: nobody read them for too long; the store has the events"
            self._view.trouble(Trouble(what, Cause.OUTPUT))

    def _draw(self) -> None:
        if self._pictures:
            began = time.perf_counter()
            self._pictures.popleft()(self._view)
            self._ending.wait(min(STAYS * (time.perf_counter() - began), LONGEST_STAY))
