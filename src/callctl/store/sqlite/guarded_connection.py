"""A connection that notices when somebody changes the store's files from outside.

SQLite would go on writing to a file that has no name any more, or beside a log that was emptied, and all of it would be
gone with the process: acknowledged events too. Hence the files are checked before each use, and after each commit.
A watch repairs them (``repair.py``); other connections refuse to go on until they are repaired.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callctl.errors import StoreError
from callctl.store.sqlite.connection import DAMAGED, explained, primary_code
from callctl.store.sqlite.files import Files

if TYPE_CHECKING:
    from callctl.store.sqlite.repair import RepairingConnection

_HINT = "a watch that uses it mends it"


ClaimKey = tuple[str, str, str]  # world, rule and SID
UndeliveredKey = tuple[str, str, str, str]  # world, SID, the event's key and URL


class GuardedConnection:
    """A connection and the files it was opened on. May be used by several threads, one at a time."""

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        *,
        readonly: bool = False,
        repaired_by: RepairingConnection | None = None,
    ) -> None:
        """Open the file.

        Args:
            path: The database file.
            connect: Opens it, or raises StoreError.
            readonly: Whether that is for reading only.
            repaired_by: The connection of the same store that repairs its files.
        """
        self._path, self._connect, self.is_readonly, self._repaired_by = path, connect, readonly, repaired_by
        self._lock = threading.Lock()
        self._files: Files | None = None
        self.generation = -1  # counts the files that were opened, from 0
        self._is_checked = False  # whether nothing was done with it since the check after a commit
        self._read_damage = False  # whether the last use of it failed for what SQLite read
        with explained(path, "open"):
            self._adopt(connect())

    @contextmanager
    def use(self, doing: str, *, follows_commit: bool = False) -> Iterator[sqlite3.Connection]:
        """Yield a connection to the files that are there now, for one use of it; ``doing`` says what for, in errors.

        With ``follows_commit`` the last commit was a moment ago, and the check after it will do.

        Raises:
            StoreError: They can't be opened, or what is done with them fails.
        """
        with self._lock, explained(self._path, doing), self._noting_read_damage():
            if not (follows_commit and self._is_checked):
                self._check_before_use()
            self._is_checked = False
            yield self.connection

    @contextmanager
    def transaction(
        self, *, claims: Iterable[ClaimKey] = (), follows_commit: bool = False
    ) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction that is committed when the block is left, or rolled back if it fails.

        ``claims`` are those that it changes; ``follows_commit`` is as in ``use``.

        Raises:
            StoreError: It can't be opened or locked for writing, or what is done with it fails, or the files were
                changed meanwhile: then the transaction may or may not be kept.
        """
        with self.use("write to", follows_commit=follows_commit) as connection:
            if connection.in_transaction:  # one whose rollback failed, or nothing could be written ever after
                connection.execute("ROLLBACK")
            with connection:  # its own block commits or rolls back
                connection.execute("BEGIN IMMEDIATE")
                yield connection
            self._check_after_commit()
            self._is_checked = True
            for claim in claims:
                self._note_claim(claim)

    def check(self) -> None:
        """See that the files are those that were opened, though nothing is done with them.

        Raises:
            StoreError: They are not, and can't be opened anew.
        """
        with self._lock, explained(self._path, "use"), self._noting_read_damage():
            self._check_before_use()

    def close(self, *, timeout: float = -1) -> None:
        """Close the files. A read under way in another thread is broken off where nothing is written.

        What else is under way there is waited for, ``timeout`` seconds at most unless that is negative: the files then
        stay open.
        """
        if self.is_readonly:  # an interrupt would keep a connection that writes from the checkpoint that closing makes
            with suppress(sqlite3.ProgrammingError):  # closed before
                self.connection.interrupt()
        if not self._lock.acquire(timeout=timeout):
            return
        try:
            self.connection.close()
        finally:
            self._lock.release()

    def _check_before_use(self) -> None:
        """See that the files are those that were opened; else open those that are there now."""
        now = self._current_files()
        if self._files is None:
            self._reopen()
            return
        if self._repaired_by is not None:
            self._repaired_by.request_check(at_once=self._files.replaced_in(now) is not None)
        if (damage := self._files.replaced_in(now)) is None:
            self._files = now
            return
        is_other_database = now.database is not None and not now.database.is_same(self._files.database)
        log, former_log = now.log, self._files.log
        is_mended = self._repaired_by is not None and self._repaired_by.has_open(now)
        if not (now.are_gone or is_mended) and (not is_other_database or (log is not None and log.is_same(former_log))):
            raise StoreError(changed_from_outside(self._path, damage), hint=_HINT)
        self._reopen()

    def _check_after_commit(self) -> None:
        """See that what was committed went to the files that have the store's names."""
        now = self._current_files()
        if self._files is not None and (damage := self._files.replaced_in(now)) is not None:
            raise StoreError(changed_from_outside(self._path, damage), hint=_HINT)
        self._files = now

    @contextmanager
    def _noting_read_damage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if primary_code(error) in DAMAGED:
                self._report_read_damage()
            raise

    def _report_read_damage(self) -> None:
        """Have all of the database checked before the next use, since SQLite could not make sense of it."""
        self._read_damage = True
        if self._repaired_by is not None:
            self._repaired_by._read_damage = True
            self._repaired_by.request_check(at_once=True)

    def rows_deleted(self) -> None:
        """Take note that rows are deleted, in a transaction: none of them may be held in memory."""

    def note_undelivered(self, changed: Mapping[UndeliveredKey, tuple[Any, ...] | None]) -> None:
        """Take note, in a transaction, of requests that applications have not taken: rows, None for one deleted."""

    def _note_claim(self, claim: ClaimKey) -> None:
        """Take note of a claim that was committed."""

    def _reopen(self) -> None:
        self.connection.close()  # first: with it go its locks on files of the same names
        self._files = None
        self._adopt(self._connect())

    def _adopt(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._files = self._current_files()
        self.generation += 1

    def _current_files(self) -> Files:
        return Files.at(self._path)


def changed_from_outside(path: Path, damage: str) -> str:
    """Return the message of errors and reports about files that somebody changed."""
    return f"the event store {path} was changed from outside: {damage}"
