"""The SQLite file opened: for writing, for reading only, or to see whether it could be written."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

from callctl.errors import StoreError
from callctl.store.faults import explained
from callctl.store.place import check_place
from callctl.store.schema import migrate, newest_version, too_new, version_of

_TURNS = 100  # times that others may be first to lock a new store
_making = threading.Lock()  # between making a file and closing it nobody else of this process may have it open


def connect(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open a store for writing; make it, or bring it up to date, if need be.

    The file is 0600 and a directory made for it 0700. ``busy_timeout`` is in seconds.

    Raises:
        StoreError: It can't be opened, is no store, or was written by a newer callctl.
    """
    with explained(path, "open"):
        check_place(path)
        _make_file(path)
        connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
        try:
            _use_log(connection)
            connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
            migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def connect_readonly(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open a store that another process may be writing, for reading only.

    Raises:
        StoreError: It is not there, can't be opened, is no store, or was written by another version of callctl.
    """
    with explained(path, "read"):
        check_place(path)
        uri = f"{path.resolve().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
        try:
            version = version_of(connection)
        except BaseException:
            connection.close()
            raise
    if version == newest_version():
        return connection
    connection.close()
    if version > newest_version():
        raise too_new(path, version)
    raise StoreError(
        f"the event store {path} has version {version}, not {newest_version()}",
        hint="`callctl watch` brings it up to date",
    )


def check_writable(path: Path, *, busy_timeout: float = 1.0) -> bool:
    """See that a store that is there can be read, and locked for writing; return whether it is of this version.

    An older one is brought up to date by whoever writes next. Nothing is written. ``busy_timeout`` is in seconds.

    Raises:
        StoreError: It is no store, damaged, locked, or was written by a newer callctl.
    """
    with explained(path, "write to"):
        uri = f"{path.resolve().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None)
        try:
            version = version_of(connection)
            if version > newest_version():
                raise too_new(path, version)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    return version == newest_version()


def _make_file(path: Path) -> None:
    """Make the file if it is not there, for its owner only.

    One that is there must not be opened: closing it would drop the locks that SQLite holds for other connections of
    this process (POSIX), and another process would then take the log away from under them.
    """
    with _making:
        if not path.parent.is_dir():
            path.parent.parent.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
        # SQLite gives the -wal and -shm files the mode of this one.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _use_log(connection: sqlite3.Connection) -> None:
    """Turn write-ahead logging on. While others make the same new store, SQLite refuses that without waiting."""
    for _ in range(_TURNS):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        else:
            return
        connection.execute("BEGIN IMMEDIATE")  # waits for the others, as long as the connection's time limit lets it
        connection.execute("ROLLBACK")
    connection.execute("PRAGMA journal_mode = WAL")
