"""A connection to the store's files that notices when somebody changes them from outside.

SQLite would go on writing to a file that has no name any more, or beside a log that was emptied, and all of it would be
gone with the process: events that were acknowledged too. One connection of a store mends that, its keeper; the others
wait for it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from callctl.errors import StoreError
from callctl.store.sqlite.faults import explained
from callctl.store.sqlite.files import File, Files, Log, Newest, alone_in, is_sound
from callctl.store.sqlite.identity import check_identity
from callctl.store.sqlite.index import Index
from callctl.store.sqlite.rescue import Held, carry_over, copy_to_new_file, is_set_aside, set_aside

# So many KiB of what was read or written are kept in memory: what can be read of a database that is overwritten.
_CACHE = 16 * 1024
_LOOK_EVERY = 1.0  # seconds, where nothing is written
# After so many commits or changed rows the log is brought to the database: some MB, as SQLite would do by itself.
_MOST_COMMITS, _MOST_CHANGES = 200, 4000
# A check of the whole database is not repeated for so many times what it took, where another process writes to it too.
_STAYS = 20
_LOG, _INDEX = "its log (-wal) was overwritten", "its index (-shm) was overwritten"
_SETTLE = 0.05  # seconds in which whoever removes or replaces the files one by one is done with it


class Opened:
    """A connection and the files it was opened on. Only for one thread at a time."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection], *, keeper: Keeper | None = None) -> None:
        """Open the file with ``connect``, which raises StoreError if that can't be done. ``keeper`` mends the files."""
        self._path, self._connect, self._keeper = path, connect, keeper
        self._lock = threading.Lock()
        self._files: Files | None = None
        self.turn = -1  # how often another file was found
        self._has_failed = False  # whether the last change did, for what SQLite read
        with explained(path, "open"):
            self._take(connect())

    @contextmanager
    def used(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Yield a connection to the files that are there now, for one use of it; ``doing`` says what for, in errors.

        Raises:
            StoreError: They can't be opened, or what is done with them fails.
        """
        with self._lock, explained(self._path, doing):
            self._look()
            yield self.connection

    @contextmanager
    def changed(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that writes: what is done with it is done as one when the block is left, or not at all.

        Raises:
            StoreError: It can't be opened or locked for writing, or what is done with it fails, or the files were
                changed meanwhile: then it may or may not be kept.
        """
        with self.used("write to") as connection:
            if connection.in_transaction:  # one whose rollback failed, or nothing could be written ever after
                connection.execute("ROLLBACK")
            try:
                with connection:  # its own block commits or rolls back
                    connection.execute("BEGIN IMMEDIATE")
                    yield connection
            except sqlite3.DatabaseError as error:
                self._has_failed = _code_of(error) == sqlite3.SQLITE_CORRUPT
                raise
            self._look_again()

    def look(self) -> None:
        """See that the files are those that were opened, though nothing is done with them.

        Raises:
            StoreError: They are not, and can't be opened anew.
        """
        with self._lock, explained(self._path, "use"):
            self._look()

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            self.connection.close()

    def _look(self) -> None:
        """See that the files are those that were opened; else open those that are there now."""
        now = self._there()
        if self._files is None:
            self._open_anew()
            return
        if self._keeper is not None:
            self._keeper.look_soon(at_once=self._files.replaced_in(now) is not None)
        if (why := self._files.replaced_in(now)) is None:
            self._files = now
            return
        is_of_another = now.database is not None and not now.database.is_same(self._files.database)
        log, before = now.log, self._files.log
        if not now.are_gone and (not is_of_another or (log is not None and log.is_same(before))):
            raise StoreError(_changed(self._path, why), hint="a watch that uses it mends it")
        self._open_anew()

    def _look_again(self) -> None:
        """See that what was committed went to the files that have the store's names."""
        now = self._there()
        if self._files is not None and (why := self._files.replaced_in(now)) is not None:
            raise StoreError(_changed(self._path, why), hint="a watch that uses it mends it")
        self._files = now

    def _open_anew(self) -> None:
        self.connection.close()  # first: with it go its locks on files of the same names
        self._files = None
        self._take(self._connect())

    def _take(self, connection: sqlite3.Connection) -> None:
        self.connection, self._real = connection, os.path.realpath(self._path)
        self._files = self._there()
        self.turn += 1

    def _there(self) -> Files:
        return Files.at(self._path, self._real)


class Keeper(Opened):
    """The connection of a store that mends its files.

    What it still reads of files that were damaged is copied to a new one; those lie beside it under another name.
    Where all of them were removed together, as one does to purge a store, or another store was put in their place, only
    what rules have done is carried over.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        *,
        on_trouble: Callable[[str], None] = lambda _text: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open the file. ``on_trouble`` is told, in any thread, what was mended; ``pause`` waits for some seconds."""
        self._on_trouble, self._pause = on_trouble, pause
        self._aside: Path | None = None  # where damaged files are of which nothing is copied yet
        self._held, self._looked_at, self._next_check = Held(), time.monotonic(), 0.0
        self._index: Index | None = None
        self.restore: Callable[[sqlite3.Connection], None] = lambda _: None
        self.forget: Callable[[], None] = lambda: None
        self.ask: Callable[[], None] = lambda: None
        super().__init__(path, connect)

    def _take(self, connection: sqlite3.Connection) -> None:
        # Checkpoints are made where they can be told from what others write.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA cache_size = {-_CACHE}")
        with suppress(sqlite3.OperationalError):  # what a killed watch left in the log is held in no memory
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._commits, self._changes, self._has_failed = 0, connection.total_changes, False
        self._held.of_another_connection()
        super()._take(connection)
        self._index = self._opened_index()
        self._log: Log | None = None
        self._log = self._read_log()  # at the last look
        self._backfilled: tuple[bytes | None, int, File | None] | None = None
        self._newest = Newest.of(connection)

    def look_soon(self, *, at_once: bool) -> None:
        """Have a look taken in another thread, if it is time or ``at_once``: mending may take long. Returns at once."""
        now = time.monotonic()
        if at_once or now - self._looked_at >= _LOOK_EVERY:
            self._looked_at = now
            self.ask()

    def close(self) -> None:
        """Let go of the files, mended if need be."""
        with suppress(StoreError, sqlite3.ProgrammingError):  # the latter: closed before
            self.connection.execute("SELECT 1")
            if not self._there().are_gone:
                self.look()
        super().close()
        if self._index is not None:
            self._index.close()
            self._index = None

    def _look(self) -> None:
        why = self._what_is_wrong(after_commit=False)
        if why is not None:
            self._mend(why)
        self._held.look(self.connection)

    def _look_again(self) -> None:
        why = self._what_is_wrong(after_commit=True)
        if why is not None:
            self._mend(why)
            hint = "let nothing but callctl change the store's files; `callctl doctor` looks at the store"
            raise StoreError(f"{_changed(self._path, why)} while it was written to", hint=hint)
        self._newest = Newest.of(self.connection)
        self._commits += 1
        if self._commits >= _MOST_COMMITS or self.connection.total_changes - self._changes >= _MOST_CHANGES:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Bring what is in the log to the database, as far as nobody reads it, so that the log begins anew."""
        with suppress(sqlite3.OperationalError):  # tried again after as many commits
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._commits, self._changes = 0, self.connection.total_changes
        now = self._there()
        if self._files is not None and not self._files.replaced_in(now) and not self._files.shrank_in(now):
            self._files = now  # else the next look finds out why

    def _what_is_wrong(self, *, after_commit: bool) -> str | None:
        """Return what was done to the files since the last look, in words; None if they are whole."""
        before, now = self._files, self._there()
        if self._aside is not None or before is None or before.database is None:
            return "it could not be mended yet"
        log = self._read_log()
        if log is None and now.log is not None and now.log.size:
            with self._locked():  # others may be emptying it just now, or beginning it anew
                now, log = self._there(), self._read_log()
        if (why := before.replaced_in(now)) is not None:
            return why
        if now.database is None or now.log is None:
            return "its log (-wal) was removed"
        if now.log.size and log is None:
            return _LOG
        log, why = self._with_index(log)
        if why is not None:
            return why
        is_emptied = now.log.size == 0 and (after_commit or before.log is None or before.log.size > 0)
        # Only checkpoints write to the database, and this connection makes its own after the look. A new log begins
        # with the next commit, of this connection or of another one.
        is_written = now.database.changed != before.database.changed or (not after_commit and self._begins_anew(log))
        is_smaller = is_emptied or self._has_failed or before.shrank_in(now)
        if is_written or is_smaller:
            is_whole_due = is_smaller or time.monotonic() >= self._next_check
            if not self._is_sound(whole=is_whole_due):
                return "its content was overwritten or cut"
            self._has_failed = False
            if not is_whole_due:
                self._log = log  # all of it is checked later: the files of the last look are kept
                return None
        self._log, self._files = log, now
        return None

    def _with_index(self, log: Log | None) -> tuple[Log | None, str | None]:
        """See that the index says what the log holds, else have it made anew.

        Return the log as it is then, and in words what was done to the files that this does not mend.
        """
        index = self._index
        if index is None or (index.is_of(log) and self._is_backfilled(index, log)):
            return log, None
        with self._locked():  # others may be writing just now
            log, before = self._read_log(), self._log
            is_of_log = index.is_of(log)
            if is_of_log and self._is_backfilled(index, log):
                return log, None
            if before is not None and before.frames and self._begins_anew(log) and index.goes_on_from(before):
                return log, _LOG
            index.invalidate()
        try:
            is_mended = self._make_index(index)
        except sqlite3.DatabaseError as error:
            if _code_of(error) == sqlite3.SQLITE_BUSY:
                raise
            is_mended = False
        if not is_mended:
            return log, _INDEX
        if not is_of_log:  # else a checkpoint may have written to the database within one tick of its clock
            self._on_trouble(f"{_changed(self._path, _INDEX)}; it was made anew from the log")
        return self._read_log(), None

    def _is_backfilled(self, index: Index, log: Log | None) -> bool:
        """Tell whether a checkpoint can have brought to the database what the index says: that changes the database."""
        header = None if log is None else log.header
        database = File.at(self._real)  # before the index: a checkpoint writes to that last
        frames = index.backfilled(log)
        before = self._backfilled
        if before is not None and frames <= (before[1] if before[0] == header else 0):
            return True
        if before is not None and File.at(self._real) == before[2]:
            return False
        self._backfilled = header, frames, database
        return True

    def _make_index(self, index: Index) -> bool:
        """Have SQLite make the index anew; tell whether the store is whole with what is held in memory."""
        with self.connection as connection:
            connection.execute("BEGIN IMMEDIATE")  # makes it
            self._log = Log.read(self._real, None, upto=index.end)
            if not index.is_of(self._log):
                return False
            self._held.restore(connection)  # what was written meanwhile may lie where it does not count
            self.restore(connection)
        return self._is_sound(whole=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others from writing; where SQLite can't make sense of the index, go on without that."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            if _code_of(error) == sqlite3.SQLITE_BUSY:
                raise
        try:
            yield
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _opened_index(self) -> Index | None:
        try:
            return Index(self._real)
        except OSError:  # it is not compared, then
            return None

    def _is_sound(self, *, whole: bool) -> bool:
        began = time.monotonic()
        try:
            return is_sound(self._path, like=self.connection, newest=self._newest, whole=whole)
        finally:
            now = time.monotonic()
            if whole:
                self._next_check = now + _STAYS * (now - began)

    def _read_log(self) -> Log | None:
        """Read on in the log, as far as it counts by the index: what follows others may be writing, or have died at."""
        return Log.read(self._real, self._log, upto=None if self._index is None else self._index.end)

    def _begins_anew(self, log: Log | None) -> bool:
        return (log and log.header) != (self._log and self._log.header)

    def _mend(self, why: str) -> None:
        before, old, index = self._files or Files(None, None, None), self.connection, self._index
        path = Path(os.path.realpath(self._path))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone_in(path.parent):
            is_damaged = self._aside is not None or self._is_damaged(before)
            is_mended = not is_damaged and is_set_aside(path, before)
            text = self._rescue(path, why) if is_damaged else _replaced(self._path, self._there())
        connection = self._connect()
        if is_damaged or is_mended:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                self._held.restore(connection)
                self.restore(connection)
        else:
            self.forget()
            with suppress(sqlite3.Error):  # of what was purged, or is no longer whole, something is better than nothing
                carry_over(old, connection)
        self._take(connection)
        old.close()
        if index is not None:
            index.close()
        if not is_mended:  # else another watch has told it
            self._on_trouble(text)

    def _is_damaged(self, before: Files) -> bool:
        """Tell whether what is there can't simply be used; None of the files is fine, and another whole store is."""
        now = self._there()
        if before.database is not None and (now.database is None or not before.database.is_same(now.database)):
            self._pause(_SETTLE)
            now = self._there()
        if now.are_gone:
            return False
        if now.database is None or now.database.is_same(before.database):
            return True
        if any(
            file is not None and file.is_same(old) for file, old in ((now.log, before.log), (now.index, before.index))
        ):
            return True
        try:
            check_identity(self._path)
        except (StoreError, sqlite3.Error):
            return True
        return False

    def _rescue(self, path: Path, why: str) -> str:
        def aside() -> None:
            self._aside = set_aside(path) or self._aside

        there = File.at(str(path))
        is_own = there is not None and self._files is not None and there.is_same(self._files.database)
        whole = copy_to_new_file(self.connection, path, newest=self._newest, aside=aside, has_own_database=is_own)
        kept, self._aside = self._aside, None
        read = (
            "all that was in it was"
            if whole
            else "not all that was in it could be read; the rest and the newest events were"
        )
        beside = f"; the old files are beside it as {kept.name}*" if kept is not None else ""
        return f"{_changed(self._path, why)}; {read} copied to a new file{beside}"


def _code_of(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # the low byte is the primary code


def _changed(path: Path, why: str) -> str:
    return f"the event store {path} was changed from outside: {why}"


def _replaced(path: Path, now: Files) -> str:
    what = (
        "removed, and is begun anew" if now.database is None else "replaced by another store, which is used from now on"
    )
    return f"the event store {path} was {what}; what rules have done is kept, so that none acts twice"
