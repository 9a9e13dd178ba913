"""The thread that writes events: those that wait at the same time share one commit.

A commit costs a write to the disk, whatever it holds, so events that come together are committed together. A caller
gets its answer only after the commit. What an event loop receives during one turn is handed over at its end, for
waking another thread costs more than writing a row.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callctl.calls.event import CallEvent
from callctl.errors import StoreError
from callctl.store.sqlite.guarded_connection import GuardedConnection
from callctl.store.sqlite.rows import CHUNK, Row, insert
from callctl.support.threads import describe

if TYPE_CHECKING:
    import asyncio

# The most events that share a commit: enough to make its cost small, few enough to stay quick.
_GROUP = 256
# The most events that are held in memory, some MB: more than SQLite leaves in its log, which somebody may empty, before
# it copies them to the database.
_MOST_RECENT = 8192


class _Entry(NamedTuple):
    """An event ready to be written, and the future of its caller."""

    row: Row
    future: Future[bool] | asyncio.Future[bool]


class GroupWriter:
    """Commits events in groups, in a thread of its own that starts with the first one."""

    def __init__(self, guarded: GuardedConnection, *, path: Path, world: str) -> None:
        """Write with a connection that others use too."""
        self._guarded = guarded
        self._path = path
        self._world = world
        self._queue: queue.SimpleQueue[list[_Entry] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # of what follows
        self._pending: list[_Entry] = []
        self._pending_loop: asyncio.AbstractEventLoop | None = None  # at the end of whose turn they are handed over
        self._thread: threading.Thread | None = None
        self._closed = False
        self._recent: deque[Row] = deque(maxlen=_MOST_RECENT)  # the newest; under the connection's lock
        # Called in the thread with each commit's seconds and events.
        self.observe: Callable[[float, int], None] = lambda _seconds, _events: None

    def put(self, event: CallEvent, future: Future[bool]) -> None:
        """Hand an event over; ``future`` is settled after its commit, or with StoreError.

        Raises:
            StoreError: The writer is closed.
        """
        entry = _Entry(Row.of(event), future)
        with self._lock:
            self._add(entry)
            self._hand_over()

    def put_in_loop(self, event: CallEvent, future: asyncio.Future[bool]) -> None:
        """Do what ``put`` does for a caller in an event loop: it is handed over at the end of the loop's turn.

        Raises:
            StoreError: The writer is closed.
        """
        entry, loop = _Entry(Row.of(event), future), future.get_loop()
        with self._lock:
            self._add(entry)
            if self._pending_loop is not loop:
                self._pending_loop = loop
                loop.call_soon(self._end_turn)

    def close(self, *, timeout: float) -> bool:
        """Accept no more, and write what is pending; return False if that took longer than ``timeout`` seconds."""
        with self._lock:
            self._closed = True
            thread = self._thread
            self._hand_over()
            self._queue.put(None)
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def request_check(self) -> None:
        """Have the thread check the files, as it does before and after each commit."""
        with self._lock:
            if not self._closed:
                self._start()
                self._queue.put([])

    def restore(self, connection: sqlite3.Connection) -> None:
        """Write the newest events once more, since the files may have lost some."""
        rows = list(self._recent)
        for start in range(0, len(rows), CHUNK):
            insert(connection, rows[start : start + CHUNK], world=self._world)

    def forget(self, *, before: int | None = None) -> None:
        """Drop from memory the events whose time is before another one, in microseconds since 1970; all, if None."""
        kept = [] if before is None else [row for row in self._recent if row.call[-1] >= before]
        self._recent = deque(kept, maxlen=_MOST_RECENT)

    def cap_times(self, latest: int) -> None:
        """Set the times in memory that lie after ``latest``, in microseconds since 1970, to that."""
        if any(row.call[-1] > latest for row in self._recent):
            capped = (row._replace(call=(*row.call[:-1], min(row.call[-1], latest))) for row in self._recent)
            self._recent = deque(capped, maxlen=_MOST_RECENT)

    def _add(self, entry: _Entry) -> None:
        if self._closed:
            raise StoreError(f"the event store {self._path} is closed", hint="the watch is ending: start it again")
        self._start()
        self._pending.append(entry)

    def _start(self) -> None:
        if self._thread is None:
            # A daemon, so that a stuck disk can't keep the program from ending.
            thread = threading.Thread(target=self._write, name="callctl-store", daemon=True)
            thread.start()  # kept only once it runs: where the system has no thread left, the next event tries again
            self._thread = thread

    def _end_turn(self) -> None:
        with self._lock:
            self._pending_loop = None
            self._hand_over()

    def _hand_over(self) -> None:
        if self._pending:
            self._queue.put(self._pending)
            self._pending = []

    def _write(self) -> None:
        more = True
        while more:
            has_waited = self._queue.empty()
            entries, more = self._group()
            for start in range(0, len(entries), _GROUP):
                self._settle(entries[start : start + _GROUP], follows=start > 0 or not has_waited)
            if not entries and more:
                with suppress(Exception):  # reported with the next event, which can't be stored
                    self._guarded.check()

    def _group(self) -> tuple[list[_Entry], bool]:
        """Wait for entries, and return them with those that are in the queue by then; whether more may come."""
        entries: list[_Entry] = []
        batch = self._queue.get()
        while batch is not None:
            entries += batch
            if len(entries) >= _GROUP or self._queue.empty():
                return entries, True
            batch = self._queue.get()
        return entries, False

    def _settle(self, entries: Sequence[_Entry], *, follows: bool = False) -> None:
        """Commit entries and settle their futures; ``follows``: at once after others.

        No failure is raised: it would end the thread.
        """
        try:
            outcomes: Sequence[bool | StoreError] = self._commit([entry.row for entry in entries], follows=follows)
        except StoreError as error:
            # One exception each: a shared one would gather the tracebacks of all who raise it.
            outcomes = [StoreError(error.message, hint=error.hint) for _ in entries]
        except Exception as error:
            if len(entries) > 1:  # one event that can't be written must not fail those that share its commit
                for entry in entries:
                    self._settle([entry])
                return
            what = f"can't write to the event store {self._path}: {describe(error)}"
            outcomes = [StoreError(what, hint="`callctl doctor` looks at the store")]
        _settle_futures([(entry.future, outcome) for entry, outcome in zip(entries, outcomes, strict=True)])

    def _commit(self, rows: Sequence[Row], *, follows: bool = False) -> list[bool]:
        outcomes: list[bool] = []
        began = time.perf_counter()
        with self._guarded.transaction(follows_commit=follows) as connection:
            for start in range(0, len(rows), CHUNK):
                outcomes += insert(connection, rows[start : start + CHUNK], world=self._world)
            self._recent.extend(rows)
        self.observe(time.perf_counter() - began, len(rows))
        return outcomes


def _settle_futures(outcomes: Sequence[tuple[Future[bool] | asyncio.Future[bool], bool | StoreError]]) -> None:
    """Settle the futures: those of event loops in their loop, all of one loop at once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[bool], bool | StoreError]]] = {}
    for future, outcome in outcomes:
        if not isinstance(future, Future):
            by_loop.setdefault(future.get_loop(), []).append((future, outcome))
            continue
        with suppress(InvalidStateError):  # its caller gave up; others of the commit still wait
            if isinstance(outcome, StoreError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
    for loop, futures in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed meanwhile, with its callers
            loop.call_soon_threadsafe(_settle_in_loop, futures)


def _settle_in_loop(outcomes: Sequence[tuple[asyncio.Future[bool], bool | StoreError]]) -> None:
    for future, outcome in outcomes:
        if future.done():  # its caller was cancelled
            continue
        if isinstance(outcome, StoreError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
