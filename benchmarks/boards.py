"""Events, boards and stores made without a network, and a board drawn: what `opening` and `growing` measure with."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path

from callbacks import form
from rich.console import Console, Group

from callctl.calls.board import Board, Snapshot
from callctl.calls.event import CallEvent
from callctl.store.event_store import EventStore
from callctl.store.sqlite.store import SqliteStore
from callctl.support.clock import Clock
from callctl.views.live.frame import Frame, draw, lay_out
from callctl.views.live.sorted_legs import SortedLegs
from callctl.views.live.state import ViewState
from callctl.views.view import WatchState

WORLD = "w"
MANY = 5000  # events that are on their way to a store at once
MANY_SHARED = 1000  # to a shared one, which refuses what is too many
LONG = 1_000_000  # events of a call that does not end


def event_of(call: int, sequence: int, *, depth: int = LONG, ago: timedelta = timedelta()) -> CallEvent:
    """Return an event of a call, the last of ``depth`` events being its end, sent and received ``ago``."""
    pairs = form(call, sequence, depth=depth, ago=ago.total_seconds())
    return CallEvent.from_form(pairs, received_at=datetime.now(UTC) - ago, world=WORLD, verified=True)


def with_live(calls: int) -> Board:
    """Return a board with so many calls that ring."""
    board = Board()
    for call in range(calls):
        board.apply(event_of(call, 1))
    return board


def opened(where: Path | str, *, world: str = WORLD) -> EventStore:
    """Open the store at a URL; or that in a file, which is made where it is not there."""
    if isinstance(where, str):
        from callctl.store.postgresql.store import PostgresStore

        return PostgresStore.open(where, world=world)
    return SqliteStore.open_for_watch(where, world=world)


def fill(store: EventStore, count: int, event: Callable[[int], CallEvent]) -> None:
    """Put ``count`` events into a store."""
    at_once = MANY_SHARED if store.is_shared else MANY
    for first in range(0, count, at_once):
        keep(store, [event(number) for number in range(first, min(first + at_once, count))])


def keep(store: EventStore, events: Iterable[CallEvent]) -> None:
    """Have a store keep events, and wait until all are on the disk."""
    waiting: list[Future[bool]] = [store.submit(event) for event in events]
    if not all(one.result() for one in waiting):
        raise RuntimeError("an event was there before")


class DrawnBoard:
    """Draws a board as `callctl watch` does on a terminal of 160 x 50, from frame to frame."""

    def __init__(self, state: ViewState | None = None) -> None:
        self._clock = Clock(wall=lambda: datetime.now(UTC))
        self._legs = SortedLegs(self._clock)
        self._state = state or ViewState()

    def draw(self, snapshot: Snapshot) -> int:
        """Return how many lines the frame has."""
        header = WatchState("watch", "127.0.0.1:8765", "http://127.0.0.1:8765/status", None)
        listing = self._legs.update(snapshot, self._state.arrangement(0.0))
        frame = Frame(header, listing, self._state, [], ["No calls yet."], [], self._clock.age, has_keys=True)
        with Path(os.devnull).open("w") as nowhere:
            console = Console(file=nowhere, width=160, height=50, force_terminal=True)
            lines = draw(frame, lay_out(frame, width=160, height=50))
            console.print(Group(*lines))
        return len(lines)
