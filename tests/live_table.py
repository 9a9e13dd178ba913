"""The live table without a terminal: keys, events and time in, rows and intents out, as its screen joins them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from events import clock_of, event, moment, sid

from callctl.calls.board import Board, Snapshot
from callctl.views.live.asking import CONFIRM_AFTER
from callctl.views.live.intents import Intent
from callctl.views.live.keys import (
    BACKSPACE,
    CTRL_B,
    CTRL_F,
    CTRL_U,
    CTRL_Z,
    DOWN,
    END,
    ENTER,
    ESCAPE,
    HOME,
    PAGE_DOWN,
    PAGE_UP,
    PASTE,
    UP,
    Key,
)
from callctl.views.live.press import press
from callctl.views.live.settle import changed, drawn, settle
from callctl.views.live.sorted_legs import Listing, SortedLegs
from callctl.views.live.state import Confirming, KeysPage, LegPage, Mode, Surroundings, ViewState

# What is read between two frames by nobody who could have seen the first of them, in seconds.
AT_ONCE = 0.001
# Every key that does something somewhere, and one that never does.
KEYS = [
    *(UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END, ENTER, ESCAPE, BACKSPACE, CTRL_B, CTRL_F, CTRL_U, CTRL_Z, PASTE),
    *"jkgGxr a/scCdp?qyft1n",
]


class LiveTable:
    """``now`` is elapsed time in seconds; ``ahead`` is how far the wall clock was set since it began."""

    def __init__(self, *, room: int = 8, listens: bool = False, may_act: bool = True, urls: Sequence[str] = ()) -> None:
        self.now = 1000.0
        self.ahead = timedelta()
        self.clock = clock_of(lambda: moment(self.now) + self.ahead, elapsed=lambda: moment(self.now))
        self.board = Board()
        self.legs = SortedLegs(self.clock)
        self.state = ViewState()
        self.shown = Snapshot()
        self.listing = Listing(self.shown)
        self.room, self.page_room, self.page_lines = room, room, 0
        self.listens, self.may_act, self.urls = listens, may_act, urls
        self.intents: list[Intent] = []
        self.asked: Mode | None = None  # what the last frame asked
        self._numbers: dict[str, int] = {}

    def event(self, call: int, status: str, *, ago: float = 0, parent: int | None = None, **more: Any) -> None:
        """Take in a callback that fired and arrived so many seconds ago; a frame shows it."""
        number = self._numbers[sid(call)] = self._numbers.get(sid(call), -1) + 1
        at = (self.clock.wall() - moment(0)).total_seconds() - ago
        self.board.apply(event(call, status, number=number, at=at, parent=parent, **more))

    @property
    def latest(self) -> Snapshot:
        return self.board.snapshot()

    @property
    def around(self) -> Surroundings:
        room = self.page_room if isinstance(self.state.mode, LegPage | KeysPage) else self.room
        return Surroundings(self.listing, self.latest, room, self.page_lines, self.listens, self.may_act, self.urls)

    @property
    def rows(self) -> list[str]:
        return list(self.listing.rows)

    def draw(self) -> None:
        """Draw a frame."""
        if not self.state.is_held:
            self.shown = self.latest
        self.listing = self.legs.update(self.shown, self.state.arrangement(self.now))
        self.state = drawn(settle(self.state, self.around, now=self.now), at=self.now)
        self.asked = self.state.mode

    def wait(self, seconds: float) -> None:
        """Let time go by, and draw."""
        self.now += seconds
        self.draw()

    def type(self, *names: str, text: str = "") -> Intent | None:
        """Press keys one after the other, each before the frame that it changes; return what the last one asks for."""
        intent = None
        for name in names:
            self.now += AT_ONCE
            intent = self.take(Key(name, self.now, text))
            self.draw()
        return intent

    def take(self, key: Key) -> Intent | None:
        """Take a key; what it changes is not drawn yet, unless the next key is for that."""
        before = self.state
        self.state, intent = press(before, key, self.around)
        if intent is not None:
            self.intents.append(intent)
        if self.state.is_held is not before.is_held:
            self.shown = self.latest
        if self.state.mode is not before.mode or intent is not None:
            self.draw()
        return intent

    def paste(self, text: str) -> Intent | None:
        return self.type(PASTE, text=text)

    def select(self, call: int) -> None:
        """Select the leg of a call by keys."""
        self.select_row(sid(call))

    def select_row(self, row: str) -> None:
        self.type("g", *["j"] * self.rows.index(row))
        assert self.state.selected == row

    def changed(self, call: int, what: str) -> None:
        """Take it that a command or a rule changed a leg."""
        self.state = changed(self.state, sid(call), what, at=self.now)
        self.draw()


def asked(table: LiveTable, *names: str) -> Confirming:
    """Press keys that ask for a confirmation; return the question, once it can be answered."""
    assert table.type(*names) is None
    assert isinstance(table.state.mode, Confirming)
    table.wait(CONFIRM_AFTER)
    assert isinstance(table.state.mode, Confirming)
    return table.state.mode
