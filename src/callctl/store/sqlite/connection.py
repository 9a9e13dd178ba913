"""The SQLite file opened: for writing, for reading only, or to see whether it could be written."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from contextlib import closing, suppress
from pathlib import Path

from callctl.errors import StoreError
from callctl.store.sqlite.faults import explained
from callctl.store.sqlite.files import alone_in
from callctl.store.sqlite.identity import check_identity
from callctl.store.sqlite.location import HINT, check_place
from callctl.store.sqlite.schema import APPLICATION_ID, migrate, newest_version, too_new, version_of

_TURNS = 100  # times that others may be first to lock a store without a log
# While a file is made, nobody else of this process may open it: closing it by hand drops this process's locks on it.
_making = threading.Lock()


def connect(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open a store for writing; make it, or bring it up to date, if need be.

    The file is 0600 and a directory made for it 0700. Nothing is changed about one that is no store. ``busy_timeout``
    is in seconds.

    Raises:
        StoreError: It can't be opened, is no store, or was written by a newer callctl.
    """
    with explained(path, "open"):
        check_place(path)
        with _making:
            if not path.exists():
                _make_file(path)
        check_identity(path)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)  # SQLite gives the -wal and -shm files the mode of this one
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
        check_identity(path)
        uri = f"{path.absolute().as_uri()}?mode=ro"
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
        check_identity(path)
        uri = f"{path.absolute().as_uri()}?mode=rw"
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
    """Make an empty store, for its owner only, unless somebody else is quicker: it is there whole or not at all.

    Raises:
        StoreError: A log or a journal lies there without its database, and SQLite would apply or remove it.
        OSError: It can't be made.
    """
    if not path.parent.is_dir():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    with alone_in(path.parent), tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        if path.exists():
            return
        logs = (path.with_name(f"{path.name}{end}") for end in ("-wal", "-journal"))
        log = next((one for one in logs if one.exists() and one.stat().st_size), None)
        if log is not None:
            raise StoreError(
                f"there can be no event store {path}: the log of another database, {log}, lies beside it",
                hint=f"move it away if its database will come back, else remove it; or {HINT}",
            )
        made = Path(folder) / path.name
        os.close(os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
        with closing(sqlite3.connect(made, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        with suppress(FileExistsError):
            give_name(made, path)


def give_name(made: Path, path: Path) -> None:
    """Let a file have another name.

    Raises:
        FileExistsError: There is a file of that name.
    """
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:  # a file system where a file has one name only
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(made.read_bytes())


def _use_log(connection: sqlite3.Connection) -> None:
    """Turn write-ahead logging on, as in a restored copy. While others do so, SQLite refuses that without waiting."""
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
