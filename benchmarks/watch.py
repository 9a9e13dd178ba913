"""What `callctl watch` takes, and how it bears size: `python benchmarks/watch.py`.

It prints a table of what was measured and the target; the exit code tells whether all targets were met. The first rows
are of the command itself, on a pseudo-terminal with its table drawn, against a bare aiohttp handler in the same run;
the two take turns, so that whatever else the machine does disturbs both. `--events 20000` makes a short run.
"""

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from callbacks import Load, Outcome, Process, Watch, bare, form, generate, position

if TYPE_CHECKING:
    from callctl.board import Snapshot

ROUND = 5000  # requests
WARM_UP = 1024


@dataclass(frozen=True)
class Row:
    """A line of the table; ``kept`` is None where nothing was promised."""

    what: str
    measured: str
    target: str = ""
    kept: bool | None = None

    def line(self) -> str:
        """Return it in Markdown."""
        verdict = {True: " ok", False: " **missed**", None: ""}[self.kept]
        return f"| {self.what} | {self.measured} | {self.target}{verdict} |"


def measure_requests(folder: Path, *, rounds: int) -> Iterator[Row]:
    """Measure the rate, the waits, and whether each acknowledged event is in the store once."""
    loads: list[Load] = []

    with Process(generate) as generator, Process(bare) as handler, Watch(folder) as watch:
        bare_port: int = handler.pipe.recv()

        def ask(count: int, *, rate: float | None = None) -> Outcome:
            loads.append(Load(watch.port, sum(one.count for one in loads), count, rate=rate, twice=3))
            return generator.ask(loads[-1])

        generator.ask(Load(bare_port, 0, WARM_UP))
        ask(WARM_UP)
        theirs, ours = [], []
        for _ in range(rounds):
            theirs.append(generator.ask(Load(bare_port, 0, ROUND)).rate)
            ours.append(ask(ROUND).rate)
        ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
        rates = f"{statistics.median(ours):.0f} a second against {statistics.median(theirs):.0f}"
        yield Row("verified, durable callbacks / bare handler", f"{ratio:.2f} ({rates})", "≥ 0.45", ratio >= 0.45)
        quarter = statistics.median(ours) / 4
        waits = ask(int(quarter * 10), rate=quarter).waits
        late = waits[int(len(waits) * 0.99)] * 1000
        yield Row(f"99 % answered at {quarter:.0f} a second within", f"{late:.1f} ms", "≤ 50 ms", late <= 50)
    yield compare(watch.store, [position(load, number) for load in loads for number in span(load)])


def span(load: Load) -> range:
    """Return the numbers of a load's callbacks."""
    return range(load.first, load.first + load.count)


def compare(store: Path, sent: Sequence[tuple[int, int]]) -> Row:
    """Hold a store against what was acknowledged, by a look into the file alone."""
    from callctl.events import CallEvent

    kept: Counter[tuple[int, int]] = Counter()
    with sqlite3.connect(store) as connection:
        for (record,) in connection.execute("SELECT record FROM events"):
            told = dict(CallEvent.from_record(record).form)
            kept[int(told["CallSid"][2:], 16), int(told["SequenceNumber"])] += 1
    connection.close()
    lost = sum(one not in kept for one in set(sent))
    doubled = sum(count - 1 for count in kept.values())
    measured = f"{lost} lost, {doubled} doubled of {len(set(sent))}"
    return Row("events in the store, 3 % of them sent twice", measured, "0, 0", lost == doubled == 0)


def measure_memory(folder: Path, *, events: int) -> Iterator[Row]:
    """Measure how much more memory a watch holds after all events of its calls than after a tenth of them."""
    calls = min(10_000, max(100, events // 100))
    depth = events // calls
    with Process(generate) as generator, Watch(folder) as watch:
        held = []
        for tenth in range(10):
            count = events // 10
            for first in range(tenth * count, (tenth + 1) * count, ROUND):
                most = min(ROUND, (tenth + 1) * count - first)
                generator.ask(Load(watch.port, first, most, width=calls, depth=depth))
            time.sleep(1)  # the table is drawn once more
            held.append(watch.resident())
    growth = held[-1] / held[0]
    what = f"memory after {events:,} events of {calls:,} calls / after a tenth"
    yield Row(what, f"{growth:.2f} ({held[-1]:.0f} MB against {held[0]:.0f} MB)", "≤ 1.25", growth <= 1.25)


def fill(store: Path, *, events: int) -> None:
    """Fill a store with ended calls of yesterday, and 250 live calls of now."""
    from callctl.events import CallEvent
    from callctl.store.sqlite import SqliteStore

    now = datetime.now(UTC)
    opened = SqliteStore(store, world="w")
    for first in range(0, events, ROUND):
        waiting = []
        for number in range(first, min(first + ROUND, events)):
            call, sequence = divmod(number, 4)
            is_old = number < events - 1000
            pairs = form(call, sequence if is_old else sequence % 3, depth=4)
            at = now - (timedelta(days=1) if is_old else timedelta())
            waiting.append(opened.submit(CallEvent.from_form(pairs, received_at=at, world="w", verified=True)))
        for one in waiting:
            one.result()
    opened.close()


def open_and_draw(store: Path) -> float:
    """Open a store, replay the last hour and draw the first table; return the seconds that took."""
    from callctl.board import Board
    from callctl.store.sqlite import SqliteStore

    draw_board(Board().snapshot())  # what is imported and compiled at first is no part of it
    began = time.perf_counter()
    opened, board = SqliteStore(store, world="w"), Board()
    for event in opened.replay(since=datetime.now(UTC) - timedelta(hours=1)):
        board.apply(event)
    lines = draw_board(board.snapshot())
    seconds = time.perf_counter() - began
    opened.close()
    if lines < 20:
        raise RuntimeError(f"the table was not drawn: {lines} lines")
    return seconds


def draw_board(snapshot: "Snapshot") -> int:
    """Draw it as `callctl watch` does on a terminal of 160 x 50; return how many lines there are."""
    from rich.console import Console, Group

    from callctl.views.frame import Frame, draw
    from callctl.views.header import Header

    header = Header(
        title="watch", listening="127.0.0.1:8765", callback_url="http://127.0.0.1:8765/status", api_url=None
    )
    frame = Frame(header, snapshot, [], ["No calls yet."], [], datetime.now(UTC))
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, width=160, height=50, force_terminal=True)
        lines = draw(frame, width=160, height=50)
        console.print(Group(*lines))
    return len(lines)


def measure_opening(folder: Path, *, events: int, rounds: int) -> Iterator[Row]:
    """Measure the opening of a large store and of a small one, each time in a process of its own, in turns."""
    small, large = folder / "small.db", folder / "large.db"
    few = max(2000, events // 100)
    fill(small, events=few)
    fill(large, events=events)
    times: dict[Path, list[float]] = {small: [], large: []}
    for _ in range(rounds):
        for store, taken in times.items():
            command = [sys.executable, __file__, "--open", str(store)]
            taken.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    yield versus(f"opening {events:,} events and drawing / {few:,}", min(times[large]), min(times[small]))


def measure_frame() -> Iterator[Row]:
    """Measure a frame after one event, with many legs live and with few, in turns."""
    from callctl.board import Board
    from callctl.events import CallEvent

    def told(call: int, sequence: int) -> CallEvent:
        at = datetime.now(UTC)
        return CallEvent.from_form(form(call, sequence, depth=9999), received_at=at, world="w", verified=True)

    boards = {legs: Board() for legs in (100, 10_000)}
    for legs, board in boards.items():
        for call in range(legs):
            board.apply(told(call, 1))
    times: dict[int, list[float]] = {legs: [] for legs in boards}
    for turn in range(200):
        for legs, board in boards.items():
            event = told(turn % 100, 2 + turn)
            times[legs].append(
                timed(lambda event=event, board=board: (board.apply(event), draw_board(board.snapshot())))
            )
    many, few = (statistics.median(times[legs]) for legs in (10_000, 100))
    yield versus("a frame with 10,000 live legs / with 100", many, few)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a piece of work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def versus(what: str, ours: float, theirs: float) -> Row:
    """Return the row of two times of which the first may be twice the second."""
    ratio = ours / theirs
    return Row(what, f"{ratio:.2f} ({ours * 1000:.1f} ms against {theirs * 1000:.1f} ms)", "≤ 2", ratio <= 2)


def measure(*, events: int, rounds: int) -> Iterator[Row]:
    """Measure everything, row by row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from measure_requests(folder / "requests", rounds=rounds)
        yield from measure_frame()
        (folder / "opening").mkdir()
        yield from measure_opening(folder / "opening", events=events, rounds=5)
        yield from measure_memory(folder / "memory", events=events)


def main() -> int:
    """Parse the command line, print the table, and tell whether all targets were met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events for memory and opening")
    parser.add_argument("--rounds", type=int, default=7, help="how often callctl and the bare handler take turns")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.open is not None:
        sys.stdout.write(f"{open_and_draw(chosen.open)}\n")
        return 0
    kept = True
    sys.stdout.write("| what | measured | target |\n|---|---|---|\n")
    for row in measure(events=max(10_000, chosen.events), rounds=chosen.rounds):
        sys.stdout.write(row.line() + "\n")
        sys.stdout.flush()
        kept = kept and row.kept is not False
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
