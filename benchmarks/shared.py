"""What a store in PostgreSQL takes: under one listener, under two, and for those who follow.

The server is started here, with PostgreSQL's default settings. Its files are in the folder for temporary ones, as is
the SQLite file that takes turns with it. Where the server's programs are not installed nothing is measured.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, Self

from callbacks import Load, Outcome, Process, Service, generate, own_environment
from measuring import Row, at_least, at_most, in_turns, share, within
from opening import make, opening
from watch import ROUND, WARM_UP, compare, event_in, forms_of_file, sent_in

if TYPE_CHECKING:
    from postgresql_server import PostgresServer

RATE = 500  # callbacks a second where the row says so
TWICE = 3  # of each hundred that are sent again
STORED: LiteralString = "SELECT form, pg_xact_commit_timestamp(xmin) FROM callctl.stored_events"


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure what is stored by listeners, what a follower shows of it, and how long opening takes."""
    if (why := why_not()) is not None:
        sys.stderr.write(f"nothing is measured of a store in PostgreSQL: {why}\n")
        return
    from postgresql_server import postgres_server

    seconds, rounds = (4, 2) if quick else (20, 15)
    with (
        tempfile.TemporaryDirectory() as name,
        # The first two are PostgreSQL's own defaults, which the tests lower; the last is for the row about followers.
        postgres_server(shared_buffers="128MB", max_wal_size="1GB", track_commit_timestamp="on") as server,
        Process(generate) as first,
        Process(generate) as second,
    ):
        bench = Bench(server, Path(name), (first, second))
        yield measure_rate(bench, rounds=rounds, count=ROUND // 5 if quick else ROUND)
        yield measure_waits(bench, seconds=seconds)
        yield measure_processor_time(bench, seconds=seconds // 2, rounds=1 if quick else 7)
        yield measure_lag(bench, seconds=seconds)
        yield bench.compare()
        yield measure_opening(server.new_store(), quick=quick)


def why_not() -> str | None:
    """Return why no server can be started; None where one can."""
    try:
        from postgresql_server import why_there_is_none
    except ModuleNotFoundError as error:
        return f"{error}: it takes what callctl's tests do"
    return why_there_is_none()


class Bench:
    """A server, generators of load, and what was acknowledged in all stores together: no callback is in two."""

    def __init__(self, server: "PostgresServer", folder: Path, generators: Sequence[Process]) -> None:
        self.folder = folder
        self._server, self._generators = server, generators
        self._file, self._urls = folder / "events.db", list[str]()
        self.loads: list[Load] = []

    def on_file(self) -> "Listeners":
        """Start a listener on an SQLite file."""
        return Listeners(self.folder, self._file, self._generators[:1], self.loads)

    def on_server(self, *, listeners: int = 1) -> "Listeners":
        """Start listeners on a database of their own."""
        self._urls.append(self._server.new_store())
        return Listeners(self.folder, self._urls[-1], self._generators[:listeners], self.loads)

    def compare(self) -> Row:
        """Hold all stores against what was acknowledged."""
        forms = (fields_of(form) for url in self._urls for form, _ in rows_of(url, STORED))
        what = f"events in these stores, {TWICE} % of them sent twice"
        return compare(what, chain(forms_of_file(self._file), forms), sent_in(self.loads))


class Listeners:
    """`callctl listen` once or more, on one store, each with a generator of load; warmed up where it is entered."""

    def __init__(self, folder: Path, store: Path | str, generators: Sequence[Process], loads: list[Load]) -> None:
        self.folder, self.store = folder, store
        self._generators, self.loads = generators, loads
        self._stack = ExitStack()
        self._services: list[Service] = []

    def __enter__(self) -> Self:
        with self._stack:  # where one does not start, those before it end
            for _ in self._generators:
                self._services.append(self._stack.enter_context(Service(self.folder, self.store)))
            self.ask(WARM_UP)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, count: int, *, rate: float | None = None) -> list[Outcome]:
        """Send each listener its part of so many callbacks, at once, ``rate`` a second in all or as fast as it goes."""
        parts = len(self._generators)
        for generator, service in zip(self._generators, self._services, strict=True):
            first = sum(load.count for load in self.loads)
            each = None if rate is None else rate / parts
            self.loads.append(Load(service.port, first, count // parts, rate=each, twice=TWICE))
            generator.begin(self.loads[-1])
        return [generator.outcome() for generator in self._generators]

    def cost(self, count: int, *, rate: float) -> float:
        """Return the seconds of processor time of all listeners for each of so many callbacks."""
        time.sleep(1)  # what was sent before is on their boards
        before = self._processor_time()
        outcomes = self.ask(count, rate=rate)
        time.sleep(1)  # and so is this
        answered = sum(outcome.answers.total() for outcome in outcomes)
        return (self._processor_time() - before) / answered

    def _processor_time(self) -> float:
        return sum(service.processor_time() for service in self._services)


def rows_of(url: str, sql: LiteralString) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query in a database."""
    import psycopg

    with closing(psycopg.connect(url)) as connection:
        yield from connection.execute(sql)


def fields_of(form: list[str]) -> dict[str, str]:
    """Return a form that was read from a database."""
    return dict(zip(form[::2], form[1::2], strict=True))


def measure_rate(bench: Bench, *, rounds: int, count: int) -> Row:
    """Measure how many callbacks a second a listener takes, on either store; they take turns."""
    pairs = []
    with bench.on_file() as on_file, bench.on_server() as on_server:
        for _ in range(rounds):
            theirs = on_file.ask(count)[0].rate
            pairs.append((on_server.ask(count)[0].rate, theirs))
    return at_least(1, "`listen` on PostgreSQL / on SQLite, 64 connections", pairs, unit="a second")


def measure_waits(bench: Bench, *, seconds: int) -> Row:
    """Measure how long answers take at an even rate."""
    with bench.on_server() as listeners:
        (outcome,) = listeners.ask(RATE * seconds, rate=RATE)
    return within(0.025, f"99 % are answered at {RATE} a second within", share(outcome.waits, 0.99))


def measure_processor_time(bench: Bench, *, seconds: int, rounds: int) -> Row:
    """Measure what an event costs where there are two listeners, each under the same load as the one is alone."""

    def cost(listeners: int) -> float:
        with bench.on_server(listeners=listeners) as started:
            return started.cost(RATE * seconds * listeners, rate=RATE * listeners)

    what = f"processor time for an event of two listeners, each at {RATE} a second / of one"
    return at_most(1.2, what, [(cost(2), cost(1)) for _ in range(rounds)])


def measure_lag(bench: Bench, *, seconds: int) -> Row:
    """Measure how long after its commit, which the server keeps the time of, an event is on a follower's board."""
    with bench.on_server() as listeners, Follower(bench.folder, str(listeners.store)) as follower:
        listeners.ask(RATE * seconds, rate=RATE)
        shown = follower.shown(sent_in(listeners.loads[-1:]))
        committed = {event_in(fields_of(form)): at.timestamp() for form, at in rows_of(str(listeners.store), STORED)}
    lag = max(at - committed[event] for event, at in shown.items())
    return within(1, f"a follower shows each event at {RATE} a second, counted from its commit, within", lag)


class Follower:
    """`callctl watch --json` beside a listener, and when it wrote the line of each event, then on its board."""

    def __init__(self, folder: Path, store: str) -> None:
        command = [sys.executable, "-m", "callctl", "watch", "--json"]
        with (folder / "log-watch").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=own_environment(folder, store), stdout=subprocess.PIPE, stderr=log
            )
        self._shown: dict[tuple[int, int], float] = {}
        self._follows = False
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        self._wait_for(lambda: self._follows)
        time.sleep(1)  # what was stored before is on its board
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._reader.join()

    def shown(self, events: Set[tuple[int, int]]) -> dict[tuple[int, int], float]:
        """Wait until all of some events were shown; return when each was."""
        self._wait_for(lambda: events <= self._shown.keys())
        return {event: self._shown[event] for event in events}

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        with self._more:
            if not self._more.wait_for(condition, 60):
                raise RuntimeError("`callctl watch --json` does not show what the listener stores")

    def _read(self) -> None:
        for line in self._process.stdout or ():
            now, record = time.time(), json.loads(line)
            with self._more:
                if record["type"] == "ready":
                    self._follows = record["follows"] is not None
                elif record["type"] == "event":
                    self._shown[event_in(record["form"])] = now
                self._more.notify_all()


def measure_opening(url: str, *, quick: bool) -> Row:
    """Measure the time from opening a world to its first table, of two worlds in one database."""
    many, few = (10_000, 2_000) if quick else (1_000_000, 10_000)
    for world, events in (("large", many), ("small", few)):
        make(url, events, world=world)
    pairs = in_turns(partial(opening, url, "large"), partial(opening, url, "small"), rounds=2 if quick else 15)
    what = f"opening a shared world of {many:,} events and drawing the first table / of {few:,}"
    return at_most(2, what, pairs)
