"""Growth: what one unit of work costs, when there is 10 and 100 times as much of it or around it.

Sizes take turns, so that whatever else the machine does disturbs all of them.
"""

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TextIO, cast

from boards import DrawnBoard, event_of, fill, keep, opened, with_live
from hanging_up import environment
from measuring import Interval, Row, amount, timed
from stub import server

from callctl.calls.board import Board, Change
from callctl.cli.io.runtime import Runtime
from callctl.cli.main import main
from callctl.rules.engine import Engine
from callctl.rules.rule import Cancel, ring_limit_rule
from callctl.store.event_store import EventStore
from callctl.views.live.state import ViewState

GROWTH = (1, 10, 100)
LIMIT = 2.0
BATCH = 100  # events at a time, where one takes too little to be measured alone
NEVER, NOW = timedelta(hours=9), timedelta()

Work = Callable[[], object]
Prepare = Callable[[], Work]  # what it does itself is not measured


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure board, frame, store, list and rules."""
    rounds = 3 if quick else 20
    yield from measure_board(rounds)
    yield measure_store(rounds)
    yield measure_listing(3 if quick else 9)
    yield from measure_rules(1 if quick else 9)


def grown(what: str, unit: str, work: Mapping[int, Prepare], *, rounds: int, units: Callable[[int], int]) -> Row:
    """Return the row of a work at three sizes, of each of which ``units`` says into how many parts its cost goes."""
    for prepare in work.values():
        prepare()()
    costs = [[timed(prepare()) / units(size) for size, prepare in work.items()] for _ in range(rounds)]
    small, *larger = work
    ratios = [Interval.of(cost[index] / cost[0] for cost in costs) for index in range(1, len(work))]
    sizes = " and ".join(f"{size:,}" for size in larger)
    first = amount(statistics.median(cost[0] for cost in costs), "s")
    measured = f"{' and '.join(f'{ratio.middle:.2f}' for ratio in ratios)} x ({first} at first)"
    kept = max(ratio.middle for ratio in ratios) <= LIMIT
    is_certain = max(ratio.high for ratio in ratios) <= LIMIT or any(ratio.low > LIMIT for ratio in ratios)
    return Row(f"{what} {sizes} {unit} / {small:,}", measured, f"≤ {LIMIT:g} x", kept, is_certain=is_certain)


def measure_board(rounds: int) -> Iterator[Row]:
    """Measure an event taken in, and a frame drawn after one."""
    boards = {100 * times: with_live(100 * times) for times in GROWTH}
    numbers = count(2)  # of events: each is news

    def take(board: Board, calls: int) -> Work:
        sequence = next(numbers)
        events = [event_of(part * calls // BATCH, sequence) for part in range(BATCH)]

        def apply() -> None:
            for event in events:
                board.apply(event)

        return apply

    applied = {calls: partial(take, board, calls) for calls, board in boards.items()}
    yield grown("board: an event of one of", "calls", applied, rounds=10 * rounds, units=lambda _: BATCH)

    def frame(board: Board, table: DrawnBoard) -> Work:
        event = event_of(next(numbers) % 100, next(numbers))
        return lambda: (board.apply(event), table.draw(board.snapshot()))

    drawn = {calls: partial(frame, board, drawn_before(board)) for calls, board in boards.items()}
    yield grown("a frame with", "live legs", drawn, rounds=10 * rounds, units=lambda _: 1)


def drawn_before(board: Board) -> DrawnBoard:
    """Return the table of a board that is on the screen already."""
    table = DrawnBoard(ViewState(filter="+1"))
    table.draw(board.snapshot())
    return table


def measure_store(rounds: int) -> Row:
    """Measure events appended, some to a commit, to a file that holds more and more."""

    def prepare(store: EventStore, calls: Iterator[int]) -> Work:
        return partial(keep, store, [event_of(next(calls), 0) for _ in range(BATCH)])

    with tempfile.TemporaryDirectory() as name, ExitStack() as closing:
        work = {}
        for times in GROWTH:
            events = 1000 * times
            store = opened(Path(name) / f"{events}.db")
            closing.callback(store.close)
            fill(store, events, lambda number: event_of(number // 4, number % 4, depth=4))
            work[events] = partial(prepare, store, count(events))
        return grown("store: an event appended to", "events", work, rounds=rounds, units=lambda _: BATCH)


def measure_listing(rounds: int) -> Row:
    """Measure `list --all --json` of more and more calls, in this process, so that its start is no part of it."""
    with tempfile.TemporaryDirectory() as home, ExitStack() as serving:
        nowhere = serving.enter_context(Path(os.devnull).open("r+"))
        work = {}
        for times in GROWTH:
            url = serving.enter_context(server(total=200 * times, status="completed"))
            work[200 * times] = partial(partial, listed, environment(url, home=home), nowhere)
        return grown("list: a call of", "calls", work, rounds=rounds, units=lambda calls: calls)


def listed(environ: Mapping[str, str], nowhere: TextIO) -> None:
    """Write a list of all calls to nowhere."""
    runtime = Runtime(environ, Path(environ["HOME"]), nowhere, nowhere, nowhere)
    if main(["list", "--all", "--json"], runtime=runtime):
        raise RuntimeError("the list failed")


def measure_rules(rounds: int) -> Iterator[Row]:
    """Measure the engine's look at all live legs, none of which is due, and one at which all are."""

    def ready(legs: int, after: timedelta) -> Prepare:
        board, now = Board(), datetime.now(UTC) + timedelta(hours=1)
        changes = [board.apply(event_of(call, 1)) for call in range(legs)]
        snapshot = board.snapshot()
        engine = Engine([ring_limit_rule(after, cancel=Cancel())])

        def look() -> None:
            if len(engine.due(snapshot, now=now)) != (legs if after is NOW else 0):
                raise RuntimeError("the rule was for others")

        def prepare() -> Work:
            for change in changes:
                engine.observe(cast(Change, change), snapshot, now=now)
            return look

        return prepare

    for what, after in (("a look at", NEVER), ("a look that acts on", NOW)):
        work = {100 * times: ready(100 * times, after) for times in GROWTH}
        yield grown(f"rules: {what} one of", "legs", work, rounds=rounds, units=lambda legs: legs)
