"""The connection of a watch, which repairs the store's files where somebody changes them from outside."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from callctl.errors import StoreError
from callctl.store.sqlite.connection import locked_folder
from callctl.store.sqlite.file_checks import RESTORED, FileChecks, NewestEvent, is_older_state
from callctl.store.sqlite.file_identity import check_identity
from callctl.store.sqlite.files import File, Files
from callctl.store.sqlite.guarded_connection import ClaimKey, GuardedConnection, changed_from_outside
from callctl.store.sqlite.rescue import (
    RecentRows,
    carry_over,
    copy_to_new_file,
    data_version,
    is_set_aside,
    remove_lone_index,
    set_aside,
    set_log_aside,
    settle_leftovers,
)

if TYPE_CHECKING:
    from callctl.store.sqlite.writer import FileWriter

# KiB of pages that SQLite keeps in memory: these can still be read once the database is overwritten.
_CACHE = 16 * 1024
_CHECK_EVERY = 1.0  # seconds, where nothing is written
# Commits, or changed rows, after which the log is copied to the database: some MB, as SQLite would do by itself.
_MOST_COMMITS, _MOST_CHANGES = 200, 4000
_SETTLE = 0.05  # seconds in which somebody who removes or replaces the files one by one is done with it


class RepairingConnection(GuardedConnection):
    """The connection of a store that repairs its files.

    What it can still read of damaged files is copied to a new one; the old ones are kept beside it under another name.
    Where all of them were removed together, as one does to purge a store, or another store was put at their path, only
    the rows of rules are carried over. An older state of the same store, as out of a backup, is no other one.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        *,
        on_trouble: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open the file.

        Args:
            path: The database file.
            connect: Opens or makes it, or raises StoreError.
            on_trouble: Called, in any thread, with what was repaired.
            pause: Waits for some seconds.
        """
        self._on_trouble, self._pause = on_trouble, pause
        self._unrescued: Path | None = None  # where damaged files were set aside of which nothing is copied yet
        self._recent = RecentRows()
        self._writer: FileWriter | None = None
        self._is_closing = False
        self._last_request = time.monotonic()
        with suppress(OSError, sqlite3.Error, StoreError):  # opening it says what is wrong
            report = settle_leftovers(Path(os.path.realpath(path)))
            if report is not None:
                on_trouble(report)
        super().__init__(path, connect)

    def attach(self, writer: FileWriter) -> None:
        """Have the thread of a writer check the files on request, and its newest events restored after damage."""
        self._writer = writer

    def request_check(self, *, at_once: bool) -> None:
        """Have another thread check the files, if it is time or ``at_once``: repairs may take long. Return at once."""
        now = time.monotonic()
        if self._writer is not None and (at_once or now - self._last_request >= _CHECK_EVERY):
            self._last_request = now
            self._writer.request_check()

    def close(self) -> None:
        """Close the files, repaired if need be."""
        with suppress(StoreError, sqlite3.ProgrammingError):  # the latter: closed before
            self.connection.execute("SELECT 1")
            if not self._current_files().are_gone:
                self._is_closing = True
                self.check()
        super().close()
        self._checks.close()

    def _adopt(self, connection: sqlite3.Connection) -> None:
        # Checkpoints are made only where what others write can be distinguished from them.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA cache_size = {-_CACHE}")
        with suppress(sqlite3.OperationalError):  # what a killed watch left in the log is in no memory
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._commits, self._changes, self._read_damage = 0, connection.total_changes, False
        self._recent.connection_changed()
        super()._adopt(connection)
        self._checks = FileChecks(self._path, connection, restore=self._restore, on_trouble=self._on_trouble)

    def _check_before_use(self) -> None:
        if (damage := self._find_damage(after_commit=False)) is not None:
            self._repair(damage)
        version = data_version(self.connection)
        if version != self._recent.version and (lost := self._checks.find_lost_rows(self._recent.are_in)) is not None:
            self._repair(lost)
            version = data_version(self.connection)
        self._recent.refresh(self.connection, version)

    def _check_after_commit(self) -> None:
        if (damage := self._find_damage(after_commit=True) or self._checks.note_commit()) is not None:
            self._repair(damage)
            raise StoreError(
                f"{changed_from_outside(self._path, damage)} while it was written to",
                hint="let nothing but callctl change the store's files; `callctl doctor` looks at the store",
            )
        self._commits += 1
        if self._commits >= _MOST_COMMITS or self.connection.total_changes - self._changes >= _MOST_CHANGES:
            self._checkpoint()

    def rows_deleted(self) -> None:
        """Have what is held in memory read anew with the next use."""
        self._recent.connection_changed()

    def _note_claim(self, claim: ClaimKey) -> None:
        with suppress(sqlite3.DatabaseError):  # the claim is committed, so that none may take it for failed
            self._recent.note_claim(self.connection, claim)

    def _find_damage(self, *, after_commit: bool) -> str | None:
        if self._unrescued is not None or self._checks.files.database is None:
            return "it could not be mended yet"
        damage = self._checks.find_damage(
            after_commit=after_commit, read_damage=self._read_damage, is_last=self._is_closing
        )
        if damage is None:
            self._read_damage = False
        return damage

    def _checkpoint(self) -> None:
        """Bring what is in the log to the database, as far as nobody reads it, so that the log begins anew."""
        with suppress(sqlite3.OperationalError):  # tried again after as many commits
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._commits, self._changes = 0, self.connection.total_changes
        self._checks.note_checkpoint()

    def _restore(self, connection: sqlite3.Connection) -> None:
        """Write what is held in memory of the newest rows, where the files lack it."""
        self._recent.restore(connection)
        if self._writer is not None:
            self._writer.restore(connection)

    def _repair(self, damage: str) -> None:
        """Open a whole store at the path: a copy of what can be read, or what somebody put there.

        Raises:
            StoreError, OSError, sqlite3.Error: It could not be done; the next check tries again.
        """
        former, checks = self.connection, self._checks
        path = Path(os.path.realpath(self._path))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked_folder(path.parent):
            is_damaged = self._unrescued is not None or self._is_damaged(checks.files)
            is_repaired = not is_damaged and is_set_aside(path, checks.files)  # by another watch, which has said so
            report = self._rescue(path, damage) if is_damaged else _replaced(self._path, self._current_files())
        connection = self._connect()
        if is_damaged or is_repaired:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                self._restore(connection)
                if damage == RESTORED:
                    report += _lost_count(checks.newest, NewestEvent.of(connection))
        else:
            if self._writer is not None:
                self._writer.forget()
            with suppress(sqlite3.Error):  # of what was purged, or is no longer whole, something is better than nothing
                carry_over(former, connection)
        self._adopt(connection)
        former.close()
        checks.close()
        if not is_repaired:
            self._on_trouble(report)

    def _is_damaged(self, before: Files) -> bool:
        """Return whether the files at the path can't simply be used. No file is fine, and so is another store."""
        now = self._current_files()
        if before.database is not None and (now.database is None or not before.database.is_same(now.database)):
            self._pause(_SETTLE)
            now = self._current_files()
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
            return is_older_state(self._path, of=self.connection)
        except (StoreError, sqlite3.Error):
            return True

    def _rescue(self, path: Path, damage: str) -> str:
        """Set damaged files aside and copy what can be read to a new one; return what was done, in words."""

        def move_away() -> None:
            self._unrescued = set_aside(path) or self._unrescued
            if self._unrescued is not None:
                set_log_aside(self._checks.real_path, self._checks.files, self._unrescued)

        database = File.at(str(path))
        is_own = database is not None and database.is_same(self._checks.files.database)
        whole = copy_to_new_file(
            self.connection,
            path,
            newest=self._checks.newest,
            move_away=move_away,
            restore=self._restore,
            has_own_database=is_own,
        )
        kept, self._unrescued = self._unrescued, None
        if kept is not None and remove_lone_index(kept):
            kept = None
        is_replaced = database is not None and not is_own
        former = "the former one" if is_replaced else "it"
        if damage == RESTORED:
            read = "that, with the newest events, was"
        elif whole:
            read = f"all that was in {former} was"
        else:
            read = f"not all that was in {former} could be read; the rest and the newest events were"
        aside = "what was put there is not used, and is" if is_replaced else "the old files are"
        beside = f"; {aside} beside it as {kept.name}*" if kept is not None else ""
        return f"{changed_from_outside(self._path, damage)}; {read} copied to a new file{beside}"


def _lost_count(before: NewestEvent | None, now: NewestEvent | None) -> str:
    """Return what is to be said of events that a restore took away and that were not written once more."""
    count = (before.id if before else 0) - (now.id if now else 0)
    return f"; up to {count} events that came since could not be written once more" if count > 0 else ""


def _replaced(path: Path, now: Files) -> str:
    what = (
        "removed, and is begun anew" if now.database is None else "replaced by another store, which is used from now on"
    )
    return f"the event store {path} was {what}; what rules have done is kept, so that none acts twice"
