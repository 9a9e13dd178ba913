"""The event store in SQLite. One thread writes; whoever waits at the same time shares one commit.

A commit costs a write to the disk, whatever it holds, so events that come together are committed together. Each is
answered for only after its commit.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from callctl.actions import ActionEvent
from callctl.errors import StoreError
from callctl.events import CallEvent, microseconds
from callctl.store import CallRow
from callctl.store.reader import Reader
from callctl.store.schema import connect, connect_readonly, explained

# So many events at most share a commit: enough to make its cost small, few enough to stay quick.
_GROUP = 256

_UPSERT_CALL = """
    INSERT INTO calls (world, sid, parent_sid, status, standing, is_final, last_at)
    VALUES (:world, :sid, :parent, :status, :standing, :is_final, :at)
    ON CONFLICT (world, sid) DO UPDATE SET
        parent_sid = coalesce(parent_sid, excluded.parent_sid),
        status = CASE WHEN excluded.standing > standing THEN excluded.status ELSE status END,
        is_final = is_final OR excluded.is_final,
        last_at = max(last_at, excluded.last_at),
        standing = max(standing, excluded.standing)
    RETURNING id
"""
_INSERT_EVENT = "INSERT INTO events (call_id, key, record) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class _Entry(NamedTuple):
    """An event made ready to be written, and the one who waits for it."""

    call: dict[str, str | int | None]
    key: bytes
    record: str
    done: Future[bool]


class SqliteStore:
    """Keeps events durably, each once. Safe to use from several threads."""

    def __init__(self, path: Path, *, world: str, busy_timeout: float = 5.0) -> None:
        """Open or make the store at ``path`` for one world: one account at one API address.

        Args:
            path: The database file.
            world: What keeps this account's calls from those of others in the same file.
            busy_timeout: How many seconds to wait for another program's lock. Twilio waits 15 for an answer.

        Raises:
            StoreError: It can't be opened.
        """
        self._path = path
        self._world = world
        self._connection = connect(path, busy_timeout=busy_timeout)
        self._lock = threading.Lock()  # of the writing connection
        try:
            reading = connect_readonly(path, busy_timeout=busy_timeout)
        except StoreError:
            self._connection.close()
            raise
        self._reader = Reader(path, world=world, connection=reading)
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # of what follows
        self._writer: threading.Thread | None = None
        self._closed = False

    def append(self, event: CallEvent) -> bool:
        """Keep an event; it is durable when this returns. False if it was there before.

        Raises:
            StoreError: It could not be kept: the disk is full, the file locked, the store closed.
        """
        return self.submit(event).result()

    def submit(self, event: CallEvent) -> Future[bool]:
        """Do what ``append`` does, without waiting; the future is settled in the writer's thread."""
        entry = _entry(event, world=self._world)
        with self._gate:
            if self._closed:
                entry.done.set_exception(StoreError(f"the event store {self._path} is closed"))
                return entry.done
            if self._writer is None:
                # A daemon, so that a stuck disk can't keep the program from ending.
                self._writer = threading.Thread(target=self._write, name="callctl-store", daemon=True)
                self._writer.start()
            self._queue.put(entry)
        return entry.done

    def replay(self, *, since: datetime | None) -> Iterator[CallEvent]:
        """Return, in their order of arrival, the events of the families that are not over or were touched since.

        Raises:
            StoreError: The store can't be read.
        """
        return self._reader.replay(since=since)

    def family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call and of its parent, siblings and children.

        Raises:
            StoreError: The store can't be read.
        """
        return self._reader.family(call_sid)

    def call(self, call_sid: str) -> CallRow | None:
        """Return what is known of one call.

        Raises:
            StoreError: The store can't be read.
        """
        return self._reader.call(call_sid)

    @property
    def reader(self) -> Reader:
        """All that can be asked of the store."""
        return self._reader

    def remember_placed(self, call_sid: str, *, at: datetime) -> None:
        """Note the call that was placed last: what ``@last`` stands for in this world.

        Raises:
            StoreError: It could not be kept.
        """
        with self._lock, explained(self._path, "write to"):
            self._connection.execute(
                "INSERT INTO placed (world, sid, at) VALUES (?, ?, ?)"
                " ON CONFLICT (world) DO UPDATE SET sid = excluded.sid, at = excluded.at",
                (self._world, call_sid, microseconds(at)),
            )

    def last_placed(self) -> str | None:
        """Return the SID that was remembered last in this world.

        Raises:
            StoreError: The store can't be read.
        """
        return self._reader.last_placed()

    def record_action(self, action: ActionEvent) -> None:
        """Keep what was asked of a call; it is durable when this returns.

        Raises:
            StoreError: It could not be kept.
        """
        with self._lock, explained(self._path, "write to"):
            self._connection.execute(
                "INSERT INTO actions (world, sid, at, record) VALUES (?, ?, ?, ?)",
                (self._world, action.call_sid, microseconds(action.at), json.dumps(action.to_record())),
            )

    def delete_older_than(self, moment: datetime, *, limit: int = 100) -> int:
        """Delete at most ``limit`` calls of which nothing was told since, with their events; return how many.

        A small step, for one transaction must not keep callbacks waiting: call it again until it returns 0.

        Raises:
            StoreError: They could not be deleted.
        """
        chosen = "SELECT id FROM calls WHERE world = ? AND last_at < ? ORDER BY last_at LIMIT ?"
        with self._lock, explained(self._path, "write to"), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            rows = self._connection.execute(chosen, (self._world, microseconds(moment), limit)).fetchall()
            self._connection.executemany("DELETE FROM events WHERE call_id = ?", rows)
            self._connection.executemany("DELETE FROM calls WHERE id = ?", rows)
            self._connection.execute(
                "DELETE FROM actions WHERE world = ? AND at < ?", (self._world, microseconds(moment))
            )
        return len(rows)

    def close(self, *, timeout: float = 5.0) -> None:
        """Write what was submitted and let go of the files; wait ``timeout`` seconds at most."""
        with self._gate:
            self._closed = True
            writer = self._writer
            self._queue.put(None)
        if writer is not None:
            writer.join(timeout)
        self._reader.close()
        if writer is None or not writer.is_alive():
            with self._lock:
                self._connection.close()

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
                outcomes = self._commit(entries)
        except StoreError as error:
            for entry in entries:
                # One exception each: a shared one would gather the tracebacks of all who raise it.
                entry.done.set_exception(StoreError(error.message, hint=error.hint))
            return
        for entry, is_new in zip(entries, outcomes, strict=True):
            entry.done.set_result(is_new)

    def _commit(self, entries: Sequence[_Entry]) -> list[bool]:
        with self._lock:
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                outcomes = [_insert(connection, entry) for entry in entries]
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk may have ended it already
                    connection.execute("ROLLBACK")
                raise
            return outcomes


def _entry(event: CallEvent, *, world: str) -> _Entry:
    call: dict[str, str | int | None] = {
        "world": world,
        "sid": event.call_sid,
        "parent": event.parent_call_sid,
        "status": event.status,
        "standing": event.order,
        "is_final": int(event.is_final),
        "at": microseconds(event.received_at),
    }
    record = json.dumps(event.to_record(), ensure_ascii=False, separators=(",", ":"))
    done: Future[bool] = Future()
    done.set_running_or_notify_cancel()  # who gives up waiting must not take the event back
    return _Entry(call, bytes.fromhex(event.key), record, done)


def _insert(connection: sqlite3.Connection, entry: _Entry) -> bool:
    call_id = connection.execute(_UPSERT_CALL, entry.call).fetchone()[0]
    return connection.execute(_INSERT_EVENT, (call_id, entry.key, entry.record)).rowcount == 1
