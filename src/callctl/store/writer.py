"""The thread that writes events: whoever waits at the same time shares one commit.

A commit costs a write to the disk, whatever it holds, so events that come together are committed together. Each is
answered for only after its commit. What an event loop takes in during one turn is handed over at its end, for waking
another thread costs more than writing a row.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callctl.errors import StoreError
from callctl.events import CallEvent, microseconds
from callctl.store.opened import Opened
from callctl.store.schema import plain, short_key

if TYPE_CHECKING:
    import asyncio

# So many events at most share a commit: enough to make its cost small, few enough to stay quick.
_GROUP = 256
# So many rows at most go to SQLite in one statement; eight values each, of the 999 that old builds of it allow.
_CHUNK = 64

# Rows go to SQLite many at a time: each step of a statement gives up Python's lock and must win it back from the busy
# event loop. A statement has room for 1, 4, 16 or 64 rows; those without a SID are filling.
_UPSERT_CALLS = """
    INSERT INTO calls (world, sid, parent_sid, status, standing, is_final, last_at)
    SELECT ?1, column1, column2, column3, column4, column5, column6
    FROM (VALUES {rows}) WHERE column1 IS NOT NULL
    ON CONFLICT (world, sid) DO UPDATE SET
        parent_sid = coalesce(parent_sid, excluded.parent_sid),
        status = CASE WHEN excluded.standing > standing THEN excluded.status ELSE status END,
        is_final = is_final OR excluded.is_final,
        last_at = max(last_at, excluded.last_at),
        standing = max(standing, excluded.standing)
"""
# CROSS JOIN keeps the order of the rows: ids rise in the order of arrival.
_INSERT_EVENTS = """
    INSERT INTO events (call_id, key, record)
    SELECT calls.id, told.column2, told.column3
    FROM (VALUES {rows}) AS told CROSS JOIN calls ON calls.world = ?1 AND calls.sid = told.column1
    WHERE true
    ON CONFLICT DO NOTHING
"""
_LAST_KEYS = "SELECT json_group_array(key) FROM (SELECT key FROM events ORDER BY id DESC LIMIT ?)"

_Call = tuple[str, str | None, str, str, int, int]
_NO_CALL = (None,) * 6
_NO_EVENT = (None,) * 3


class _Entry(NamedTuple):
    """An event made ready to be written, and the future of the one who waits for it."""

    call: _Call
    key: str
    record: str
    waiting: Future[bool] | asyncio.Future[bool]


class GroupWriter:
    """Commits events in groups, in a thread of its own that starts with the first one."""

    def __init__(self, opened: Opened, *, path: Path, world: str) -> None:
        """Write with a connection that others use too."""
        self._opened = opened
        self._path = path
        self._world = world
        self._queue: queue.SimpleQueue[list[_Entry] | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # of what follows
        self._gathered: list[_Entry] = []
        self._turn_of: asyncio.AbstractEventLoop | None = None  # at the end of whose turn they are handed over
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, event: CallEvent, waiting: Future[bool]) -> None:
        """Hand an event over; ``waiting`` is settled after its commit, or with StoreError.

        Raises:
            StoreError: The writer is closed.
        """
        entry = _entry(event, waiting)
        with self._gate:
            self._gather(entry)
            self._hand_over()

    def put_in_loop(self, event: CallEvent, waiting: asyncio.Future[bool]) -> None:
        """Do what ``put`` does for one who waits in an event loop: it is handed over at the end of the loop's turn.

        Raises:
            StoreError: The writer is closed.
        """
        entry, loop = _entry(event, waiting), waiting.get_loop()
        with self._gate:
            self._gather(entry)
            if self._turn_of is not loop:
                self._turn_of = loop
                loop.call_soon(self._end_turn)

    def close(self, *, timeout: float) -> bool:
        """Take in no more, and write what is there; False if that was not done in ``timeout`` seconds."""
        with self._gate:
            self._closed = True
            thread = self._thread
            self._hand_over()
            self._queue.put(None)
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _gather(self, entry: _Entry) -> None:
        if self._closed:
            raise StoreError(f"the event store {self._path} is closed")
        if self._thread is None:
            # A daemon, so that a stuck disk can't keep the program from ending.
            self._thread = threading.Thread(target=self._write, name="callctl-store", daemon=True)
            self._thread.start()
        self._gathered.append(entry)

    def _end_turn(self) -> None:
        with self._gate:
            self._turn_of = None
            self._hand_over()

    def _hand_over(self) -> None:
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    def _write(self) -> None:
        more = True
        while more:
            entries, more = self._group()
            for start in range(0, len(entries), _GROUP):
                self._settle(entries[start : start + _GROUP])

    def _group(self) -> tuple[list[_Entry], bool]:
        """Wait for entries, and take along those that are there already."""
        entries: list[_Entry] = []
        handed = self._queue.get()
        while handed is not None:
            entries += handed
            if len(entries) >= _GROUP or self._queue.empty():
                return entries, True
            handed = self._queue.get()
        return entries, False

    def _settle(self, entries: Sequence[_Entry]) -> None:
        try:
            outcomes: Sequence[bool | StoreError] = self._commit(entries)
        except StoreError as error:
            # One exception each: a shared one would gather the tracebacks of all who raise it.
            outcomes = [StoreError(error.message, hint=error.hint) for _ in entries]
        _tell([(entry.waiting, outcome) for entry, outcome in zip(entries, outcomes, strict=True)])

    def _commit(self, entries: Sequence[_Entry]) -> list[bool]:
        outcomes: list[bool] = []
        with self._opened.used("write to") as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                for start in range(0, len(entries), _CHUNK):
                    outcomes += self._insert(connection, entries[start : start + _CHUNK])
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk may have ended it already
                    connection.execute("ROLLBACK")
                raise
        return outcomes

    def _insert(self, connection: sqlite3.Connection, entries: Sequence[_Entry]) -> list[bool]:
        """Write rows; tell of each event whether it was new."""
        upsert, insert, room = _statements(len(entries))
        values: list[object] = [self._world]
        for entry in entries:
            values += entry.call
        values += _NO_CALL * (room - len(entries))
        connection.execute(upsert, values)
        values = [self._world]
        for call, key, record, _ in entries:
            values += (call[0], key, record)
        values += _NO_EVENT * (room - len(entries))
        inserted = connection.execute(insert, values).rowcount
        if inserted == len(entries):
            return [True] * inserted
        (keys,) = connection.execute(_LAST_KEYS, (inserted,)).fetchone()
        return _first_of_each(entries, set(json.loads(keys)))


def _statements(count: int) -> tuple[str, str, int]:
    """Return the statements for ``count`` rows, and for how many they have room."""
    room = 1
    while room < count:
        room *= 4
    return *_written(room), room


@cache
def _written(room: int) -> tuple[str, str]:
    def rows(width: int) -> str:
        # The first value is the world, wherever it stands.
        return ",".join(
            f"({','.join(f'?{2 + row * width + column}' for column in range(width))})" for row in range(room)
        )

    return _UPSERT_CALLS.format(rows=rows(6)), _INSERT_EVENTS.format(rows=rows(3))


def _entry(event: CallEvent, waiting: Future[bool] | asyncio.Future[bool]) -> _Entry:
    parent = event.parent_call_sid
    call = (
        plain(event.call_sid),
        None if parent is None else plain(parent),
        plain(event.status),
        event.order,
        int(event.is_final),
        microseconds(event.received_at),
    )
    return _Entry(call, short_key(event.key), event.to_record(), waiting)


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
