"""Opening the SQLite file for reading or for writing, and what errors mean."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from callctl.errors import StoreError
from callctl.store.sqlite.file_identity import check_identity, check_schema
from callctl.store.sqlite.location import (
    LOCATION_HINT,
    check_location,
    check_no_log_alone,
    check_single_name,
    work_prefix,
)
from callctl.store.sqlite.schema import APPLICATION_ID, migrate, newest_version, too_new, version_of

_LOCK_ATTEMPTS = 100  # times that others may be first to lock a store without a log
# While a file is made, nobody else of this process may open it: closing it by hand drops this process's locks on it.
_making = threading.Lock()

# The primary codes of errors by which SQLite says that it can't make sense of what it read.
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


# Errors


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turn what SQLite and the file system raise into StoreError, with what to do about it."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise StoreError(f"can't {doing} the event store {path}: {why}", hint=_hint(error)) from error


def _hint(error: sqlite3.Error | OSError) -> str:
    hints = {
        sqlite3.SQLITE_FULL: "make room on the disk; events are refused until then, so that Twilio may send them again",
        sqlite3.SQLITE_BUSY: "another program holds the file locked; close it",
        sqlite3.SQLITE_NOTADB: "the file is no database; move it away, or name another with CALLCTL_STORE",
        sqlite3.SQLITE_CORRUPT: "the file is damaged: `callctl watch` copies what it can read of it to a new one; if "
        "that fails, move it away, or name another with CALLCTL_STORE",
        sqlite3.SQLITE_READONLY: "you must be able to write it, its folder and the files beside it that have its name "
        "with -wal and -shm; or name another with CALLCTL_STORE",
    }
    return hints.get(primary_code(error), LOCATION_HINT)


def primary_code(error: Exception) -> int:
    """Return SQLite's primary result code of an error; 0 if it has none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # an extended code has it in its low byte


# Opening


def connect(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open a store for writing; make it, or bring it up to date, if need be.

    The file is 0600 and a directory made for it 0700. Nothing is changed about one that is no store. ``busy_timeout``
    is in seconds.

    Raises:
        StoreError: It can't be opened, is no store, or was written by a newer callctl.
    """
    with explained(path, "open"):
        check_location(path)
        with _making:
            if not path.exists():
                _make_file(path)
        check_single_name(path)
        check_identity(path)
        _make_private(path)
        # Absolute, as wherever SQLite opens a file: it may take "file:x" for a URI, and ":memory:" for no file.
        connection = sqlite3.connect(
            path.absolute(), timeout=busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            _distrust_schema(connection)
            check_schema(connection, path)  # with what is in the log
            _use_log(connection)
            _commit_to_disk(connection)
            migrate(connection, path)
            _check_writable(connection, busy_timeout=busy_timeout)
        except BaseException:
            connection.close()
            raise
        return connection


def connect_existing(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open a store that is there, for writing too, where its file may be written.

    ``busy_timeout`` is how many seconds to wait for another program's lock.

    Raises:
        StoreError: It is not there, can't be opened, is no store, or was written by another version of callctl.
    """
    connection = _connect_current(path, "rw", busy_timeout=busy_timeout)
    with explained(path, "open"):
        try:
            with suppress(OSError):
                _make_private(path)
            with suppress(sqlite3.OperationalError):  # the file can't be written, or not just now
                connection.execute("PRAGMA journal_mode = WAL")
            _commit_to_disk(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def connect_readonly(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open a store that another process may be writing, for reading only; ``busy_timeout`` is in seconds.

    Raises:
        StoreError: It is not there, can't be opened, is no store, or was written by another version of callctl.
    """
    return _connect_current(path, "ro", busy_timeout=busy_timeout)


def _connect_current(path: Path, mode: str, *, busy_timeout: float) -> sqlite3.Connection:
    with explained(path, "read"):
        check_location(path)
        check_single_name(path)
        check_identity(path)
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
        try:
            _distrust_schema(connection)
            version = version_of(connection)
            check_schema(connection, path)  # with what is in the log
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

    An older one is brought up to date by the command that writes next. Nothing is written. ``busy_timeout`` is in
    seconds.

    Raises:
        StoreError: It is no store, damaged, locked, or was written by a newer callctl.
    """
    with explained(path, "write to"):
        check_single_name(path)
        check_identity(path)
        uri = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None)
        try:
            _distrust_schema(connection)
            version = version_of(connection)
            check_schema(connection, path)
            if version > newest_version():
                raise too_new(path, version)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    return version == newest_version()


def _check_writable(connection: sqlite3.Connection, *, busy_timeout: float) -> None:
    """Raise sqlite3.OperationalError where nothing can be written.

    SQLite opens such a file for reading, and never tries again to write it.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")  # of a file that can only be read it is no error
        connection.execute(f"PRAGMA user_version = {version_of(connection)}")
    except sqlite3.OperationalError as error:
        if primary_code(error) != sqlite3.SQLITE_BUSY:  # another program that writes just now is waited for later
            raise
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute(f"PRAGMA busy_timeout = {round(busy_timeout * 1000)}")


def _make_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)  # SQLite gives the -wal and -shm files the mode of this one


def _distrust_schema(connection: sqlite3.Connection) -> None:
    """Carry out as little as possible of what a file's schema says: it may be somebody else's."""
    connection.execute("PRAGMA trusted_schema = OFF")
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)


def _commit_to_disk(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns


def _use_log(connection: sqlite3.Connection) -> None:
    """Turn write-ahead logging on, as in a restored copy. While others do so, SQLite refuses that without waiting."""
    for _ in range(_LOCK_ATTEMPTS):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY:
                raise
        else:
            return
        connection.execute("BEGIN IMMEDIATE")  # waits for the others, as long as the connection's time limit lets it
        connection.execute("ROLLBACK")
    connection.execute("PRAGMA journal_mode = WAL")


# Making the file


def _make_file(path: Path) -> None:
    """Make an empty store, for its owner only, unless another process is quicker: it is there whole or not at all.

    Raises:
        StoreError: A log or a journal lies there without its database, and SQLite would apply or remove it.
        OSError: It can't be made.
    """
    import tempfile

    if not path.parent.is_dir():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    with locked_folder(path.parent), tempfile.TemporaryDirectory(dir=path.parent, prefix=work_prefix(path)) as folder:
        if path.exists():
            return
        check_no_log_alone(path)
        new = Path(folder) / path.name
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
        with closing(sqlite3.connect(new.absolute(), isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        with suppress(FileExistsError):
            link_or_copy(new, path)


def link_or_copy(source: Path, path: Path) -> None:
    """Let a file have another name; copy it where a file can have one name only.

    Raises:
        FileExistsError: There is a file of that name.
    """
    try:
        os.link(source, path)
    except FileExistsError:
        raise
    except OSError:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(source.read_bytes())


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Let nobody else, in this process or in another, make or replace a store in a folder until the block is left.

    Raises:
        OSError: The folder can't be opened.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
