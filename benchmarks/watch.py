"""What `callctl watch` takes, whether it keeps what it acknowledged, and how much memory that needs.

It is the command itself, on a pseudo-terminal with its table drawn, against a bare aiohttp handler in the same run; the
two take turns, so that whatever else the machine does disturbs both.
"""

import os
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import closing
from pathlib import Path

from callbacks import Load, Outcome, Process, Watch, bare, generate, position
from measuring import Row, amount, share, within

ROUND = 5000  # requests
WARM_UP = 1024


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure a watch under load, and another over a long time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from measure_requests(folder / "requests", rounds=2 if quick else 7)
        yield from measure_memory(folder / "memory", events=20_000 if quick else 1_000_000)


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
        disk = amount(durable_write(folder), "s")
        rates = f"{statistics.median(ours):,.0f} a second against {statistics.median(theirs):,.0f}; the disk: {disk}"
        what = "verified and durable callbacks / the rate of a bare handler"
        yield Row(what, f"{ratio:.2f} x ({rates})", "≥ 0.45 x", ratio >= 0.45)
        quarter = statistics.median(ours) / 4
        waits = ask(int(quarter * 10), rate=quarter).waits
        yield within(0.05, f"99 % are answered at {quarter:,.0f} a second within", share(waits, 0.99))
    what = "events in the store, 3 % of them sent twice"
    yield compare(what, forms_of_file(watch.store), sent_in(loads))


def durable_write(folder: Path) -> float:
    """Return the seconds that the folder's disk takes to make some kilobytes durable, as each commit must."""
    sync = getattr(os, "fdatasync", os.fsync)  # macOS has the latter only
    times = []
    with (folder / "durable").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(bytes(16 * 1024))
            began = time.perf_counter()
            sync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def span(load: Load) -> range:
    """Return the numbers of a load's callbacks."""
    return range(load.first, load.first + load.count)


def sent_in(loads: Iterable[Load]) -> set[tuple[int, int]]:
    """Return what was sent, and acknowledged, in some loads: of each callback which call and which of its events."""
    return {position(load, number) for load in loads for number in span(load)}


def forms_of_file(store: Path) -> Iterator[dict[str, str]]:
    """Yield the forms of the events in a store, by a look into the file alone."""
    from callctl.calls.event import CallEvent

    with closing(sqlite3.connect(store)) as connection:
        for (record,) in connection.execute("SELECT record FROM events"):
            yield dict(CallEvent.from_record(record).form)


def event_in(form: Mapping[str, str]) -> tuple[int, int]:
    """Return which call the form of a callback reports on, and which of its events it is."""
    return int(form["CallSid"][2:], 16), int(form["SequenceNumber"])


def compare(what: str, stored: Iterable[Mapping[str, str]], sent: Set[tuple[int, int]]) -> Row:
    """Return the row of a promise that a store holds each event once that was acknowledged."""
    kept = Counter(map(event_in, stored))
    lost = sum(one not in kept for one in sent)
    doubled = sum(count - 1 for count in kept.values())
    measured = f"{lost} lost, {doubled} doubled of {len(sent):,}"
    return Row(what, measured, "none", lost == doubled == 0)


def measure_memory(folder: Path, *, events: int) -> Iterator[Row]:
    """Measure how much more memory a watch holds after all events of its calls than after a tenth of them."""
    calls = min(10_000, max(100, events // 100))
    depth = events // calls
    with Process(generate) as generator, Watch(folder) as watch:
        memory = []
        for tenth in range(10):
            count = events // 10
            for first in range(tenth * count, (tenth + 1) * count, ROUND):
                most = min(ROUND, (tenth + 1) * count - first)
                generator.ask(Load(watch.port, first, most, width=calls, depth=depth))
            time.sleep(1)  # the table is drawn once more
            memory.append(watch.resident())
    growth = memory[-1] / memory[0]
    what = f"memory after {events:,} events of {calls:,} calls / after a tenth"
    yield Row(what, f"{growth:.2f} x ({memory[-1]:.0f} MB against {memory[0]:.0f} MB)", "≤ 1.25 x", growth <= 1.25)
