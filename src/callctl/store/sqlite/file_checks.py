"""Whether the files of an open store still hold what was written to them: what a watch checks around each commit."""

from __future__ import annotations

import os
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from callctl.errors import StoreError
from callctl.store.sqlite.connection import DAMAGED, explained, primary_code
from callctl.store.sqlite.file_identity import check_identity
from callctl.store.sqlite.files import File, Files, Log
from callctl.store.sqlite.guarded_connection import changed_from_outside
from callctl.store.sqlite.log_index import LogIndex
from callctl.store.sqlite.rows import EVENT_OF_CALL, last_number
from callctl.store.sqlite.schema import find_alteration, has_tables, newest_version, store_id, version_of

# A check of the whole database is not repeated for so many times what it took, where another process writes to it too.
_CHECK_PAUSE = 20
_LONGEST_CHECK = 0.5  # seconds that callbacks may have to wait for the check of a whole database
RESTORED = "an older state was restored into it"
_NEWEST_OF_CALL = "SELECT world, sid, key FROM events JOIN calls ON calls.id = call_id ORDER BY events.id DESC LIMIT 1"
_LOG_DAMAGE, _INDEX_DAMAGE = "its log (-wal) was overwritten", "its index (-shm) was overwritten"


class FileChecks:
    """What was known of the files under one connection at the last check. Only for one thread at a time."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        *,
        restore: Callable[[sqlite3.Connection], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        """Look at the files that a connection has just opened.

        Args:
            path: The database file.
            connection: The connection.
            restore: Writes the newest rows once more, in the connection's transaction.
            on_trouble: Called with what was repaired here: an index that was made anew.
        """
        self._path, self.real_path = path, os.path.realpath(path)  # SQLite resolves links once, too
        self._connection = connection
        self._restore, self._on_trouble = restore, on_trouble
        self.files = self.current_files()
        self._index = self._open_index()
        self._log: Log | None = None
        self._log = self._read_log()
        self.newest: NewestEvent | None = None
        self.found_damage = False  # whether not even the newest event could be read
        try:
            self.newest = NewestEvent.of(connection)
        except sqlite3.DatabaseError as error:
            if primary_code(error) not in DAMAGED:
                raise
            self.found_damage = True
        self._schema_version = _schema_version(connection)
        self._next_whole_check = 0.0  # by the monotonic clock
        if self.files.log is not None and self.files.log.size and not self.found_damage:  # as after a crash
            self.found_damage = not self._is_sound(whole=True)
        self._backfilled: _Backfilled | None = None

    def find_damage(self, *, after_commit: bool, read_damage: bool, is_last: bool = False) -> str | None:
        """Return what was done to the files since the last check, in words; None if they are whole.

        ``after_commit`` is whether this connection has just committed; ``read_damage`` whether something failed for
        what SQLite read: then the check of the database takes as long as it takes. ``is_last`` is whether the
        connection is about to be closed, which brings its log to the database: the same goes for that.
        """
        before, now = self.files, self.current_files()
        log = self._read_log()
        if log is None and now.log is not None and now.log.size:
            with self._locked():  # others may be emptying it just now, or beginning it anew
                now, log = self.current_files(), self._read_log()
        if (damage := before.replaced_in(now)) is not None:
            return damage
        if now.database is None or now.log is None:
            return "its log (-wal) was removed"
        if now.log.size and log is None:
            return _LOG_DAMAGE if File.at(f"{self.real_path}-wal") is not None else "its folder was moved"
        log, damage = self._check_index(log)
        if damage is not None:
            return damage
        is_emptied = now.log.size == 0 and (after_commit or before.log is None or before.log.size > 0)
        # Only checkpoints write to the database, and this connection makes its own after the check. A new log begins
        # with the next commit, of this connection or of another one.
        is_written = self._is_written(now) or (not after_commit and self._begins_anew(log))
        is_smaller = is_emptied or read_damage or before.shrank_in(now)
        if is_written or is_smaller:
            is_whole_due = is_smaller or is_last or time.monotonic() >= self._next_whole_check
            if not self._is_sound(whole=is_whole_due, limit=None if read_damage or is_last else _LONGEST_CHECK):
                return "its content was overwritten or cut"
            if not is_whole_due:
                self._log = log  # all of it is checked later: the files of the last check are kept
                return None
        self._log, self.files = log, now
        return None

    def current_files(self) -> Files:
        """Look at the files as they are now."""
        return Files.at(self._path)

    def note_commit(self) -> str | None:
        """Take note of the newest event, after a commit.

        Return in words what was done to the store, where the one before was lost; None if it was not.
        """
        before = self.newest
        newest, former_key = NewestEvent.with_former(self._connection, before)
        if before is not None and before.key != former_key and before.is_lost_in(self._connection):
            return RESTORED
        self.newest = newest
        return None

    def find_lost_rows(self, are_others_kept: Callable[[sqlite3.Connection], bool]) -> str | None:
        """Return in words what another connection, which has written, did to the content of the files; None if nothing.

        A restore is a commit like any other, to the same files: what was there before is lost, and its ids are given
        again. It sets the number of the schema, as VACUUM and each change of a table do. ``are_others_kept`` returns
        whether the rows that are held in memory beside the events are still there.
        """
        connection, version = self._connection, _schema_version(self._connection)
        if version == self._schema_version:
            return None
        if not has_tables(connection):
            return "tables were dropped"
        is_older = version_of(connection) < newest_version()
        if is_older and (altered := find_alteration(connection)) is not None:
            return altered
        if is_older or (self.newest and self.newest.is_lost_in(connection)):
            return RESTORED
        if not are_others_kept(connection):
            return RESTORED
        if (altered := find_alteration(connection)) is not None:
            return altered
        self._schema_version = version
        return None

    def note_checkpoint(self) -> None:
        """Take note of the files as the connection's own checkpoint left them."""
        now = self.current_files()
        if not self.files.replaced_in(now) and not self.files.shrank_in(now):
            self.files = now  # else the next check finds out why

    def close(self) -> None:
        """Close the index, after the connection."""
        if self._index is not None:
            self._index.close()
            self._index = None

    # The log and its index

    def _open_index(self) -> LogIndex | None:
        try:
            return LogIndex(self.real_path)
        except OSError:  # it is not compared, then
            return None

    def _read_log(self) -> Log | None:
        """Read on in the log, as far as it counts by the index: others may be writing beyond, or have died there."""
        return Log.read(self.real_path, self._log, upto=None if self._index is None else self._index.end)

    def _begins_anew(self, log: Log | None) -> bool:
        return (log and log.header) != (self._log and self._log.header)

    def _check_index(self, log: Log | None) -> tuple[Log | None, str | None]:
        """See that the index says what the log holds, else have it made anew.

        Return the log as it is then, and in words what was done to the files that this does not repair.
        """
        index = self._index
        if index is None or (index.matches(log) and self._is_backfilled(index, log)):
            return log, None
        with self._locked():  # others may be writing just now
            log, before = self._read_log(), self._log
            matches_log = index.matches(log)
            if matches_log and self._is_backfilled(index, log):
                return log, None
            if before is not None and before.frames and self._begins_anew(log) and index.continues(before):
                return log, _LOG_DAMAGE
            index.invalidate()
        try:
            is_repaired = self._remake_index(index)
        except sqlite3.DatabaseError as error:
            if primary_code(error) == sqlite3.SQLITE_BUSY:
                raise
            is_repaired = False
        if not is_repaired:
            return log, _INDEX_DAMAGE
        if not matches_log:  # else a checkpoint may have written to the database within one tick of its clock
            self._on_trouble(f"{changed_from_outside(self._path, _INDEX_DAMAGE)}; it was made anew from the log")
        return self._read_log(), None

    def _is_backfilled(self, index: LogIndex, log: Log | None) -> bool:
        """Return whether a checkpoint can have written what the index says to the database: that changes its file."""
        header = None if log is None else log.header
        database = File.at(self.real_path)  # before the index: a checkpoint writes to that last
        frames = index.backfilled(log)
        before = self._backfilled
        if before is not None and frames <= (before.frames if before.header == header else 0):
            return True
        if before is not None and File.at(self.real_path) == before.database:
            return False
        self._backfilled = _Backfilled(header, frames, database)
        return True

    def _remake_index(self, index: LogIndex) -> bool:
        """Have SQLite make the index anew; return whether the store is whole with the newest rows written once more."""
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")  # makes it
            self._log = Log.read(self.real_path, None, upto=index.end)
            if not index.matches(self._log):
                return False
            self._restore(connection)  # what was written meanwhile may lie where it does not count
        return self._is_sound(whole=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others from writing; where SQLite can't make sense of the index, go on without that."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            if primary_code(error) == sqlite3.SQLITE_BUSY:
                raise
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    # The database

    def _is_written(self, now: Files) -> bool:
        before = self.files.database
        return before is None or now.database is None or now.database.changed != before.changed

    def _is_sound(self, *, whole: bool, limit: float | None = _LONGEST_CHECK) -> bool:
        began = time.monotonic()
        try:
            return is_sound(self._path, like=self._connection, newest=self.newest, whole=whole, limit=limit)
        finally:
            now = time.monotonic()
            if whole:
                self._next_whole_check = now + _CHECK_PAUSE * (now - began)


@dataclass(frozen=True, slots=True)
class _Backfilled:
    """How many frames of the log with this header a checkpoint had written to the database, and the file then."""

    header: bytes | None
    frames: int
    database: File | None


@dataclass(frozen=True, slots=True)
class NewestEvent:
    """The newest event that a connection has read from a store, kept in memory: the files may be others by now."""

    id: int
    key: str

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> NewestEvent | None:
        """Return the newest event; None if there is none."""
        row = connection.execute("SELECT id, key FROM events ORDER BY id DESC LIMIT 1").fetchone()
        return None if row is None else cls(row[0], row[1])

    @classmethod
    def with_former(
        cls, connection: sqlite3.Connection, former: NewestEvent | None
    ) -> tuple[NewestEvent | None, str | None]:
        """Return the newest event, and the key that the event with the id of a former one has; None for none.

        It is done with each commit, hence in one statement.
        """
        sql = "SELECT id, key, (SELECT key FROM events WHERE id = ?) FROM events ORDER BY id DESC LIMIT 1"
        row = connection.execute(sql, (0 if former is None else former.id,)).fetchone()
        return (None, None) if row is None else (cls(row[0], row[1]), row[2])

    def is_in(self, connection: sqlite3.Connection) -> bool:
        """Return whether a store holds this event."""
        row = connection.execute("SELECT key FROM events WHERE id = ?", (self.id,)).fetchone()
        return row is not None and bool(row[0] == self.key)

    def was_in(self, connection: sqlite3.Connection) -> bool:
        """Return whether a store has had as many events: it may have deleted this one since. No id is given twice."""
        return last_number(connection, "events") >= self.id

    def is_lost_in(self, connection: sqlite3.Connection) -> bool:
        """Return whether a store has lost this event: it has never had it, or has given its id to another one.

        Where it was deleted, as its owner may do by hand, it is not lost.
        """
        row = connection.execute("SELECT key FROM events WHERE id = ?", (self.id,)).fetchone()
        return not self.was_in(connection) if row is None else bool(row[0] != self.key)


def _schema_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA schema_version").fetchone()[0])


def is_sound(
    path: Path,
    *,
    like: sqlite3.Connection,
    newest: NewestEvent | None,
    whole: bool,
    limit: float | None = _LONGEST_CHECK,
) -> bool:
    """Return whether the files still hold a store with the newest event that a connection has read there.

    It may have been deleted since, but then that connection does not find it either. With ``whole`` all of the database
    is checked. That takes time, ``limit`` seconds at most; a larger one than can be read in that counts as sound.
    """
    try:
        check_identity(path)
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)) as fresh:
            if newest is not None and not newest.is_in(fresh) and (newest.is_in(like) or not newest.was_in(fresh)):
                return False
            return not whole or find_fault(fresh, limit=limit) is None
    except (StoreError, OSError):
        return False
    except sqlite3.Error as error:
        return primary_code(error) == sqlite3.SQLITE_BUSY


def check_sound(path: Path, *, limit: float | None) -> None:
    """See that all of a store that is there is sound, as ``find_fault`` does.

    Raises:
        StoreError: It is not, or can't be read.
    """
    with explained(path, "read"), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as file:
        fault = find_fault(file, limit=limit)
    if fault is not None:
        raise StoreError(
            f"the event store {path} is damaged: {fault}",
            hint="stop what uses it, and start `callctl watch`, which copies what can be read to a new file; where "
            f"that changes nothing, only its indexes are wrong: `sqlite3 {shlex.quote(str(path))} REINDEX`",
        )


def find_fault(connection: sqlite3.Connection, *, limit: float | None) -> str | None:
    """Return the first fault that SQLite finds in a whole database, also in its indexes; None if it is sound.

    It looks for ``limit`` seconds at most: a larger one than can be read in that counts as sound.

    Raises:
        sqlite3.Error: The check can't be made.
    """
    try:
        with _interrupted_after(limit, connection):
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if primary_code(error) == sqlite3.SQLITE_INTERRUPT:
            return None
        if primary_code(error) in DAMAGED:
            return str(error)
        raise
    return None if said == "ok" else " ".join(str(said).split())


@contextmanager
def _interrupted_after(seconds: float | None, connection: sqlite3.Connection) -> Iterator[None]:
    """Break off what a connection does after so many seconds; None: not at all."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def is_same_store(connection: sqlite3.Connection, *, like: sqlite3.Connection, ids: Collection[str]) -> bool:
    """Return whether an open file is a copy of the store that another connection has open, or another state of it.

    ``ids`` are those that the store has had. A copy that an older callctl made has none: it has an event in common.
    """
    number = store_id(connection)
    if number is not None:
        return number in ids
    newest, oldest = (
        NewestEvent.of(connection),
        like.execute("SELECT id, key FROM events ORDER BY id LIMIT 1").fetchone(),
    )
    return (newest is not None and newest.is_in(like)) or (
        oldest is not None and NewestEvent(*oldest).is_in(connection)
    )


def has_newest_event(connection: sqlite3.Connection, *, of: sqlite3.Connection) -> bool:
    """Return whether an open file holds the newest event that another connection reads, whatever id it has there."""
    newest = of.execute(_NEWEST_OF_CALL).fetchone()
    return newest is None or connection.execute(EVENT_OF_CALL, newest).fetchone() is not None


def last_common_event(connection: sqlite3.Connection, *, like: sqlite3.Connection, most: int) -> int:
    """Return the id of the newest event that an open file, an earlier state of a store, has in common with it.

    ``like`` reads the store. Where the file has given its ids otherwise, return that of the last but so many events.
    """
    newest = NewestEvent.of(connection)
    if newest is None or newest.is_in(like):
        return 0 if newest is None else newest.id
    return max(0, last_number(like, "events") - most)


def open_found(path: Path, *, without_log: bool = False) -> sqlite3.Connection:
    """Open the file that somebody put at a store's path, for reading."""
    options = "?mode=ro&immutable=1" if without_log else "?mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}{options}", uri=True, timeout=0.1)
