"""The thread that writes events: whoever waits at the same time shares one commit.

A commit costs a write to the disk, whatever it holds, so events that come together are committed together. Each is
answered for only after its commit.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callctl.errors import StoreError
from callctl.events import CallEvent, microseconds
from callctl.store.schema import explained, plain, short_key

if TYPE_CHECKING:
    import asyncio

# So many events at most share a commit: enough to make its cost small, few enough to stay quick.
_GROUP = 256

# A group goes to SQLite as one JSON text in three statements, not row by row: each step of a statement gives up
# Python's lock and must win it back from the busy event loop.
_UPSERT_CALLS = """
    INSERT INTO calls (world, sid, parent_sid, status, standing, is_final, last_at)
    SELECT :world, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
    FROM json_each(:rows) WHERE true
    ON CONFLICT (world, sid) DO UPDATE SET
        parent_sid = coalesce(parent_sid, excluded.parent_sid),
        status = CASE WHEN excluded.standing > standing THEN excluded.status ELSE status END,
        is_final = is_final OR excluded.is_final,
        last_at = max(last_at, excluded.last_at),
        standing = max(standing, excluded.standing)
"""
_INSERT_EVENTS = """
    INSERT INTO events (call_id, key, record)
    SELECT calls.id, value ->> 6, value ->> 7
    FROM json_each(:rows) AS told CROSS JOIN calls ON calls.world = :world AND calls.sid = told.value ->> 0
    WHERE true ORDER BY told.key
    ON CONFLICT DO NOTHING
"""
_NEW_KEYS = "SELECT json_group_array(key) FROM events WHERE id > :last"

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class _Entry(NamedTuple):
    """An event made ready to be written, and the future of the one who waits for it."""

    row: list[str | int | None]
    key: str
    waiting: Future[bool] | asyncio.Future[bool]


class GroupWriter:
    """Commits events in groups, in a thread of its own that starts with the first one."""

    def __init__(self, connection: sqlite3.Connection, lock: threading.Lock, *, path: Path, world: str) -> None:
        """Write with a connection that others use too, each while holding ``lock``."""
        self._connection = connection
        self._lock = lock
        self._path = path
        self._world = world
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # of what follows
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, event: CallEvent, waiting: Future[bool] | asyncio.Future[bool]) -> None:
        """Hand an event over; ``waiting`` is settled after its commit, or with StoreError.

        Raises:
            StoreError: The writer is closed.
        """
        entry = _entry(event, waiting)
        with self._gate:
            if self._closed:
                raise StoreError(f"the event store {self._path} is closed")
            if self._thread is None:
                # A daemon, so that a stuck disk can't keep the program from ending.
                self._thread = threading.Thread(target=self._write, name="callctl-store", daemon=True)
                self._thread.start()
            self._queue.put(entry)

    def close(self, *, timeout: float) -> bool:
        """Take in no more, and write what is there; False if that was not done in ``timeout`` seconds."""
        with self._gate:
            self._closed = True
            thread = self._thread
            self._queue.put(None)
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _write(self) -> None:
        more = True
        while more:
            entries, more = self._group()
            if entries:
                self._settle(entries)

    def _group(self) -> tuple[list[_Entry], bool]:
        """Wait for an entry, and take along those that are there already."""
        entries: list[_Entry] = []
        entry = self._queue.get()
        while entry is not None:
            entries.append(entry)
            if len(entries) == _GROUP:
                return entries, True
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return entries, True
        return entries, False

    def _settle(self, entries: Sequence[_Entry]) -> None:
        try:
            with explained(self._path, "write to"):
                outcomes: Sequence[bool | StoreError] = self._commit(entries)
        except StoreError as error:
            # One exception each: a shared one would gather the tracebacks of all who raise it.
            outcomes = [StoreError(error.message, hint=error.hint) for _ in entries]
        _tell([(entry.waiting, outcome) for entry, outcome in zip(entries, outcomes, strict=True)])

    def _commit(self, entries: Sequence[_Entry]) -> list[bool]:
        values = {"world": self._world, "rows": _encode([entry.row for entry in entries])}
        with self._lock:
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
                connection.execute(_UPSERT_CALLS, values)
                connection.execute(_INSERT_EVENTS, values)
                (keys,) = connection.execute(_NEW_KEYS, {"last": last}).fetchone()
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk may have ended it already
                    connection.execute("ROLLBACK")
                raise
        return _first_of_each(entries, set(json.loads(keys)))


def _entry(event: CallEvent, waiting: Future[bool] | asyncio.Future[bool]) -> _Entry:
    key = short_key(event.key)
    row: list[str | int | None] = [
        plain(event.call_sid),
        None if event.parent_call_sid is None else plain(event.parent_call_sid),
        plain(event.status),
        event.order,
        int(event.is_final),
        microseconds(event.received_at),
        key,
        _encode(event.to_record()),
    ]
    return _Entry(row, key, waiting)


def _first_of_each(entries: Sequence[_Entry], new: set[str]) -> list[bool]:
    """Tell of each entry whether it was new; of several with one key only the first is."""
    outcomes = []
    for entry in entries:
        outcomes.append(entry.key in new)
        new.discard(entry.key)
    return outcomes


def _tell(outcomes: Sequence[tuple[Future[bool] | asyncio.Future[bool], bool | StoreError]]) -> None:
    """Settle the futures: those of event loops in their loop, all of one loop at once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[bool], bool | StoreError]]] = {}
    for waiting, outcome in outcomes:
        if not isinstance(waiting, Future):
            by_loop.setdefault(waiting.get_loop(), []).append((waiting, outcome))
        elif isinstance(outcome, StoreError):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome)
    for loop, told in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(_tell_in_loop, told)


def _tell_in_loop(outcomes: Sequence[tuple[asyncio.Future[bool], bool | StoreError]]) -> None:
    for waiting, outcome in outcomes:
        if waiting.done():  # the one who waited was cancelled
            continue
        if isinstance(outcome, StoreError):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome)
