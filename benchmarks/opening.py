"""The time from opening a store to the first table, of a large store and of a small one.

Each is opened in a process of its own, `python benchmarks/opening.py STORE WORLD`, which prints the seconds. STORE is a
file or a URL.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from boards import WORLD, DrawnBoard, event_of, fill, opened
from measuring import Row, at_most, in_turns, timed

from callctl.calls.board import Board
from callctl.calls.event import CallEvent

LIVE = 250  # calls of now, four events each; all others ended yesterday
YESTERDAY = timedelta(days=1)


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure both in turns."""
    many, few = (20_000, 2_000) if quick else (1_000_000, 10_000)
    with tempfile.TemporaryDirectory() as name:
        large, small = Path(name) / "large.db", Path(name) / "small.db"
        for path, events in ((large, many), (small, few)):
            make(path, events)
        pairs = in_turns(partial(opening, large, WORLD), partial(opening, small, WORLD), rounds=2 if quick else 15)
    what = f"opening a store of {many:,} events and drawing the first table / of {few:,}"
    yield at_most(2, what, pairs)


def opening(where: Path | str, world: str) -> float:
    """Return the seconds that opening a world takes, in a process of its own."""
    command = [sys.executable, __file__, str(where), world]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def make(where: Path | str, events: int, *, world: str = WORLD) -> None:
    """Make a store, or a world of one, with ended calls of yesterday, and live ones of now."""

    def event(number: int) -> CallEvent:
        call, sequence = divmod(number, 4)
        if number < events - LIVE * 4:
            return event_of(call, sequence, depth=4, ago=YESTERDAY)
        return event_of(call, sequence)

    store = opened(where, world=world)
    fill(store, events, event)
    store.close()


def open_and_draw(where: Path | str, world: str) -> None:
    """Open a store, replay the last hour and draw the first table."""
    store, board = opened(where, world=world), Board()
    for event in store.replay(since=datetime.now(UTC) - timedelta(hours=1)):
        board.apply(event)
    lines = DrawnBoard().draw(board.snapshot())
    store.close()
    if lines < 20:
        raise RuntimeError(f"the table was not drawn: {lines} lines")


if __name__ == "__main__":
    DrawnBoard().draw(Board().snapshot())  # what is imported and compiled at first is no part of it
    name, world = sys.argv[1:]
    where = name if "://" in name else Path(name)
    if isinstance(where, str):
        opened(where, world=world).close()  # likewise
    sys.stdout.write(f"{timed(lambda: open_and_draw(where, world))}\n")
