"""The line that says how far something is, on a terminal that is narrower than it."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import cast

import pyte
import pytest
from pyte import modes

from callctl.cli.io import progress
from callctl.cli.io.progress import Progress
from callctl.cli.io.runtime import Runtime

LIMIT = 30.0


class Terminal(io.StringIO):
    """A terminal in memory, which lets on when it was written to a few times."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.has_some = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes += 1
        if self.writes == 4:
            self.has_some.set()
        return super().write(text)


def test_it_is_erased_whole_where_the_terminal_is_narrower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "AFTER", 0.0)
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    stderr = Terminal()
    runtime = Runtime({}, Path(), io.StringIO(), io.StringIO(), stderr)
    with Progress(runtime, lambda count: f"reading the list: {count:,} so far"):
        assert stderr.has_some.wait(LIMIT)
    written = stderr.getvalue()
    assert "reading the list: 0 so far" in written
    screen = pyte.Screen(20, 6)
    pyte.Stream(screen).feed(written)
    assert cast("list[str]", [row.strip() for row in screen.display]) == [""] * 6
    assert modes.DECAWM in screen.mode
