"""A line on stderr that says how far something is, once it takes over a second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from callctl.cli.io.runtime import Runtime
from callctl.errors import NoThreadError
from callctl.support.threads import start
from callctl.views.terminal_safe import CUT_LINES, WRAP_LINES, unfiltered

T = TypeVar("T")

AFTER = 1.0  # seconds of silence
_EVERY = 0.5  # seconds between two updates on a terminal
_EVERY_IN_LOG = 10.0  # seconds between two lines elsewhere
_ERASE = "\r\x1b[K"


class Progress:
    """A line that says how far something is: erased again on a terminal, written now and then elsewhere."""

    def __init__(self, runtime: Runtime, text: Callable[[int], str]) -> None:
        self.count = 0
        self._runtime = runtime
        self._text = text
        self._terminal = runtime.stderr.isatty()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._drawn = False
        self._begun = False  # the second of silence is over
        self._thread = threading.Thread(target=self._run, daemon=True, name="callctl-progress")

    def __enter__(self) -> Self:
        if self._terminal:
            self._runtime.make_room = self.make_room
        with suppress(NoThreadError):  # then nothing of it is shown
            start(self._thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def finish(self) -> None:
        """Erase the line, for good."""
        self._done.set()
        self._runtime.make_room = None
        self.make_room()

    def make_room(self) -> None:
        """Erase the line, for another that is to be written."""
        with self._lock:
            self._erase()

    def draw_again(self) -> None:
        """Put the line back, where it was there before something else was written."""
        with self._lock:
            if self._terminal and self._begun and not self._done.is_set():
                self._draw()

    def counted(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, counting them."""
        for item in items:
            self.count += 1
            yield item

    def _run(self) -> None:
        pause = AFTER
        while not self._done.wait(pause):
            with self._lock:
                if not self._done.is_set():
                    self._draw()
            pause = _EVERY if self._terminal else _EVERY_IN_LOG

    def _draw(self) -> None:
        if not self._terminal:
            self._runtime.say(f"callctl: {self._text(self.count)}")
            return
        self._begun = True
        # On several lines, only the last could be erased again.
        text = f"{CUT_LINES}callctl: {self._text(self.count)}{WRAP_LINES}"
        unfiltered(self._runtime.stderr).write(f"{_ERASE}{text}")
        self._runtime.stderr.flush()
        self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            unfiltered(self._runtime.stderr).write(_ERASE)
            self._runtime.stderr.flush()
            self._drawn = False
