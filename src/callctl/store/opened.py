"""A connection to the store's file that notices when somebody takes the file away.

SQLite would go on writing to a file that has no name any more, and all of it would be gone with the process: events
that were acknowledged too. Removing the file is how one purges it, also while a watch runs.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from callctl.store.faults import explained

_opening = threading.Lock()  # or one would remove what another of this process has just made


class Opened:
    """A connection and the file it was opened on. Only for one thread at a time."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection]) -> None:
        """Open the file with ``connect``, which raises StoreError if that can't be done."""
        self._path, self._connect = path, connect
        self._lock = threading.Lock()
        self.connection = connect()
        self._file = self._there()
        self.turn = 0  # how often another file was found

    @contextmanager
    def used(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Yield a connection to the file that is there now, for one use of it; ``doing`` says what for, in errors.

        Raises:
            StoreError: It can't be opened, or what is done with it fails.
        """
        with self._lock, explained(self._path, doing):
            if self._file is None or self._there() != self._file:
                self._open_anew()
            yield self.connection

    @contextmanager
    def changed(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that writes: what is done with it is done as one when the block is left, or not at all.

        Raises:
            StoreError: It can't be opened or locked for writing, or what is done with it fails.
        """
        with self.used("write to") as connection:
            if connection.in_transaction:  # one whose rollback failed, or nothing could be written ever after
                connection.execute("ROLLBACK")
            with connection:  # its own block commits or rolls back
                connection.execute("BEGIN IMMEDIATE")
                yield connection

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self.connection.close()

    def _open_anew(self) -> None:
        self.connection.close()  # first: with it go its locks on files of the same names
        self._file = None
        with _opening:
            if self._there() is None:
                for end in ("-wal", "-shm"):  # nothing of what was removed may come back
                    self._path.with_name(self._path.name + end).unlink(missing_ok=True)
            self.connection = self._connect()
            self._file = self._there()
            self.turn += 1

    def _there(self) -> tuple[int, int] | None:
        # As long as a file is open, no other one gets its number.
        try:
            found = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_dev, found.st_ino
