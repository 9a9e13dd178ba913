"""What `callctl watch` takes, and whether it keeps what it acknowledged.

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
from measuring import Row, amount, at_least, counted, share, within

ROUND = 5000  # requests
WARM_UP = 1024


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure a watch under load."""
    with tempfile.TemporaryDirectory() as folder:
        yield from measure_requests(Path(folder), rounds=2 if quick else 15)


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
        pairs = []
        for _ in range(rounds):
            theirs = generator.ask(Load(bare_port, 0, ROUND)).rate
            pairs.append((ask(ROUND).rate, theirs))
        disk = f"; the disk: {amount(durable_write(folder), 's')}"
        what = "verified and durable callbacks / the rate of a bare handler"
        yield at_least(0.45, what, pairs, unit="a second", more=disk)
        quarter = statistics.median(ours for ours, _ in pairs) / 4
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
    return counted(what, measured, "none", kept=lost == doubled == 0)
