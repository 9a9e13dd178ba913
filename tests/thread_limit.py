"""A system that has only so many threads for requests."""

from __future__ import annotations

import threading

import pytest


class ThreadLimit:
    """Refuses to start a thread for a request while ``left`` of them live, as a system does at its limit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, left: int) -> None:
        self.left = left
        self._start, self._lock = threading.Thread.start, threading.Lock()
        monkeypatch.setattr(threading.Thread, "start", lambda thread: self._start_within(thread))

    def _start_within(self, thread: threading.Thread) -> None:
        with self._lock:
            if thread.name == "callctl-request":
                alive = sum(other.name == "callctl-request" for other in threading.enumerate())
                if alive >= self.left:
                    raise RuntimeError("can't start new thread")
            self._start(thread)
