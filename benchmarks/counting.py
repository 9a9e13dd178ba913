"""Figures of a large store: the time of the whole command, and its memory against that of a tenth of the events."""

import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from callbacks import form, own_environment
from measuring import Row, holds_at_most, in_turns, memory_of, run, within

if TYPE_CHECKING:
    from callctl.calls.event import CallEvent

SPAN = timedelta(days=30)
WIDTH = 64  # calls that are under way at once
OURS = [sys.executable, "-m", "callctl", "stats", "--json", "--by", "to"]
# What is sent of a call: the number of a callback, or None for a request for TwiML, and after how many seconds.
SENT = ((0, 0.0), (1, 2.0), (None, 9.0), (2, 9.0), (3, 51.0))
DELAY = timedelta(milliseconds=120)


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure both in turns."""
    many = 20_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        large, small = Path(name) / "large.db", Path(name) / "small.db"
        for path, events in ((large, many), (small, many // 10)):
            make(path, events)
        ours, theirs = (own_environment(Path(name), path) for path in (large, small))
        pairs = in_turns(lambda: run(OURS, env=ours), lambda: run(OURS, env=theirs), rounds=1 if quick else 5)
    yield within(5.0, f"`stats --by to` of {many:,} events", min(long.seconds for long, _ in pairs))
    what = f"its peak memory / that of {many // 10:,} events"
    long, short = (memory_of(side) for side in zip(*pairs, strict=True))
    yield holds_at_most(1.25, what, ours=long, theirs=short)


def make(path: Path, events: int) -> None:
    """Make a store of calls that began in the course of thirty days."""
    from boards import fill, opened

    from callctl.settings import load

    world = load(own_environment(path.parent, path), cwd=path.parent).world
    began, apart = datetime.now(UTC) - SPAN, SPAN / (events // len(SENT))
    store = opened(path, world=world)
    fill(store, events, lambda number: event(number, began=began, apart=apart))
    store.close()


def event(number: int, *, began: datetime, apart: timedelta) -> "CallEvent":
    """Return an event; some dozen calls at a time go from step to step together."""
    from callctl.calls.event import CallEvent

    block, within_block = divmod(number, WIDTH * len(SENT))
    step, call = divmod(within_block, WIDTH)
    call += block * WIDTH
    sequence, after = SENT[step]
    fired = began + apart * call + timedelta(seconds=after)
    ago = (datetime.now(UTC) - fired).total_seconds()
    pairs = form(call, 2 if sequence is None else sequence, depth=4, ago=ago)
    if sequence is None:
        marks = ("CallbackSource", "SequenceNumber", "Timestamp")
        pairs = [pair for pair in pairs if pair[0] not in marks]
    return CallEvent.from_form(pairs, received_at=fired + DELAY, world="", verified=True)
