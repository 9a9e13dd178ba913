"""A view that draws in a thread of its own, so that a slow terminal or pipe never blocks the event loop.

A terminal that is held (Ctrl-S) and a pipe that is not read block the writer; in a watch that would be the listener,
and callbacks would be lost.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from callctl.calls.watch_trouble import Cause, Trouble
from callctl.support.threads import start

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change, Snapshot
    from callctl.calls.event import CallEvent
    from callctl.views.view import View, WatchState

# Messages that may wait for a terminal or pipe; beyond it the oldest are left out, and the view says so.
MOST_WAITING = 100_000
# A frame stays for so many times what drawing it took, but a second at most: drawing takes time from callbacks.
STAYS = 20
LONGEST_STAY = 1.0
# Seconds in which the last messages must be written at the end.
END_LIMIT = 0.5
_SHORT_TURN = 0.001  # seconds


class ThreadedView:
    """Passes on to another view, in a thread: all messages in their order, and of frames the newest.

    An error there is raised from the next call here.
    """

    def __init__(self, view: View, *, most_waiting: int = MOST_WAITING) -> None:
        self._view, self._most = view, most_waiting
        self._messages: deque[Callable[[Any], None]] = deque()
        self._frames: deque[Callable[[Any], None]] = deque(maxlen=1)
        self._urgent: deque[Callable[[], None]] = deque()
        self._next_frame = 0.0  # not before this time
        self._left_out = 0
        self._wake, self._ending = threading.Event(), threading.Event()
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    def begin(self, snapshot: Snapshot) -> None:
        """Pass it on before the first message."""
        self._put(methodcaller("begin", snapshot))

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Pass it on with the next frame."""
        self._put(methodcaller("event", event, change))

    def action(self, action: ActionEvent) -> None:
        """Pass it on with the next frame."""
        self._put(methodcaller("action", action))

    def note(self, text: str) -> None:
        """Pass it on with the next frame."""
        self._put(methodcaller("note", text))

    def trouble(self, trouble: Trouble) -> None:
        """Pass it on with the next frame."""
        self._put(methodcaller("trouble", trouble))

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Have all messages and this frame shown as soon as the view can."""
        self._check()
        self._frames.append(methodcaller("refresh", snapshot, header))
        if self._thread is None:
            # A daemon, so that a held terminal can't keep the program from ending.
            thread = threading.Thread(target=self._run, name="callctl-view", daemon=True)
            start(thread)
            self._thread = thread
        self._wake.set()

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have a function called in the thread that draws, before the next frame. May be called in any thread."""
        self._urgent.append(call)
        self._wake.set()

    def is_stale(self) -> bool:
        """Return what the other view does."""
        self._check()
        return self._view.is_stale()

    def close(self) -> None:
        """Give the view a moment to show the rest, and close it."""
        self._ending.set()
        self._wake.set()
        if self._thread is None:
            self._pass_on()
        else:
            self._thread.join(END_LIMIT)
        self._view.close()
        self._check()

    def _put(self, call: Callable[[Any], None]) -> None:
        self._check()
        self._messages.append(call)
        if len(self._messages) > self._most:
            with suppress(IndexError):
                self._messages.popleft()
                self._left_out += 1

    def _check(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            while not self._ending.is_set() or self._messages or self._frames:
                self._wake.wait(max(0.0, self._next_frame - time.monotonic()) if self._frames else None)
                self._wake.clear()
                with _short_turns():
                    self._pass_on()
                    while self._urgent:
                        self._urgent.popleft()()
                    self._draw()
        except Exception as error:  # raised again in the event loop's thread
            self._failure = error

    def _pass_on(self) -> None:
        while self._messages:
            self._messages.popleft()(self._view)
        if self._left_out:
            count, self._left_out = self._left_out, 0
            what = f"{count} lines were left out: nobody read them for too long; the store has the events"
            self._view.trouble(Trouble(what, Cause.OUTPUT))

    def _draw(self) -> None:
        """Draw the newest frame, unless the one before is to stay."""
        began = time.monotonic()
        if self._frames and (began >= self._next_frame or self._ending.is_set()):
            frame = self._frames.popleft()
            self._pass_on()  # what came before this frame, since it was looked for
            frame(self._view)
            ended = time.monotonic()
            self._next_frame = ended + min(STAYS * (ended - began), LONGEST_STAY)


@contextmanager
def _short_turns() -> Iterator[None]:
    """Let other threads go on after a millisecond each time, while this one computes; only for one thread at a time.

    Python's usual turn is five milliseconds. An answer to a callback changes threads some ten times, and would wait
    that long each time. More changes cost time, so they are short only where a thread computes for long.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_SHORT_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
