"""The SQLite file: how it is opened, what its tables are, and how old ones are brought up to date."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from callctl.errors import StoreError
from callctl.store.place import HINT, check_place

# One entry per version, in order; never changed once released. A store's ``user_version`` counts those it has had.
#
# ``events`` are found by call, never by key alone: the index on (call, key) grows at its end, where a new call's rows
# are, while one on random keys would touch a page per event. ``standing`` sorts as CallEvent.order does.
MIGRATIONS = (
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        world TEXT NOT NULL,
        sid TEXT NOT NULL,
        parent_sid TEXT,
        status TEXT NOT NULL,
        standing TEXT NOT NULL,
        is_final INTEGER NOT NULL,
        last_at INTEGER NOT NULL,
        UNIQUE (world, sid)
    );
    CREATE INDEX calls_by_parent ON calls (world, parent_sid) WHERE parent_sid IS NOT NULL;
    CREATE INDEX calls_by_time ON calls (world, last_at);
    CREATE INDEX calls_not_final ON calls (world) WHERE NOT is_final;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        call_id INTEGER NOT NULL REFERENCES calls (id),
        key TEXT NOT NULL,
        record TEXT NOT NULL,
        UNIQUE (call_id, key)
    );
    CREATE TABLE placed (
        world TEXT PRIMARY KEY,
        sid TEXT NOT NULL,
        at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE actions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        world TEXT NOT NULL,
        sid TEXT NOT NULL,
        at INTEGER NOT NULL,
        record TEXT NOT NULL
    );
    CREATE INDEX actions_by_call ON actions (world, sid);
    CREATE INDEX actions_by_time ON actions (world, at);
    """,
    # What rules have done, once per rule and leg: ``lease`` is until when whoever claimed it is at work, in
    # microseconds since 1970, and 0 once the answer is recorded.
    """
    CREATE TABLE claims (
        world TEXT NOT NULL,
        rule TEXT NOT NULL,
        sid TEXT NOT NULL,
        about TEXT NOT NULL,
        action TEXT NOT NULL,
        at INTEGER NOT NULL,
        lease INTEGER NOT NULL,
        PRIMARY KEY (world, rule, sid)
    ) WITHOUT ROWID;
    CREATE INDEX claims_open ON claims (world, lease) WHERE lease > 0;
    CREATE TABLE placed_calls (
        world TEXT NOT NULL,
        sid TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (world, sid)
    ) WITHOUT ROWID;
    """,
    # Where a placed call's callbacks were to go, and of which events, separated by blanks: whether its silence is news.
    """
    ALTER TABLE placed_calls ADD COLUMN callback TEXT;
    ALTER TABLE placed_calls ADD COLUMN events TEXT NOT NULL DEFAULT '';
    CREATE INDEX placed_calls_by_time ON placed_calls (world, at);
    """,
    # From here on an event's record may be lines as well as JSON, which an older callctl can't read.
    "",
    # Where a placed call goes by itself when its <Dial> is over, as its user called it: no rule shall do so too.
    "ALTER TABLE placed_calls ADD COLUMN dial_action TEXT",
    # The calls that a command is about to change, and until when that may be so: its answer is in ``actions``.
    """
    CREATE TABLE intents (
        world TEXT NOT NULL,
        sid TEXT NOT NULL,
        until INTEGER NOT NULL,
        PRIMARY KEY (world, sid)
    ) WITHOUT ROWID
    """,
)

_TURNS = 100  # times that others may be first to lock a new store
_making = threading.Lock()  # between making a file and closing it nobody else of this process may have it open


def short_key(key: str) -> str:
    """Return the part of an event's key that is stored beside it: 128 of its 256 bits are plenty for one call."""
    return key[:32]


def plain(text: str) -> str:
    """Return a text as a column holds it: SQLite's JSON functions stop at a NUL, which no real SID contains."""
    return text.replace("\0", "\ufffd")


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turn what SQLite and the file system raise into StoreError, with what to do about it."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"can't {doing} the event store {path}: {_reason(error)}", hint=_hint(error)) from error


def _reason(error: sqlite3.Error | OSError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _hint(error: sqlite3.Error | OSError) -> str:
    hints = {
        sqlite3.SQLITE_FULL: "make room on the disk; events are refused until then, so that Twilio may send them again",
        sqlite3.SQLITE_BUSY: "another program holds the file locked; close it",
        sqlite3.SQLITE_NOTADB: "the file is no database; move it away, or name another with CALLCTL_STORE",
        sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away, or name another with CALLCTL_STORE",
    }
    code = getattr(error, "sqlite_errorcode", None)
    return HINT if code is None else hints.get(code & 0xFF, HINT)  # the low byte is the primary code


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
            _migrate(connection, path)
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
            version = _version(connection)
        except BaseException:
            connection.close()
            raise
    if version != len(MIGRATIONS):
        connection.close()
        raise StoreError(
            f"the event store {path} has version {version}, not {len(MIGRATIONS)}",
            hint="`callctl watch` of this version brings an older one up to date",
        )
    return connection


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
            version = _version(connection)
            if version > len(MIGRATIONS):
                raise _too_new(path, version)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    return version == len(MIGRATIONS)


def _too_new(path: Path, version: int) -> StoreError:
    return StoreError(
        f"the event store {path} was written by a newer callctl (version {version}, this one knows up to "
        f"{len(MIGRATIONS)})",
        hint="update callctl, or name another file with CALLCTL_STORE",
    )


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


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        had = _version(connection)  # read again: another process may have been first
        if had > len(MIGRATIONS):
            raise _too_new(path, had)
        for migration in MIGRATIONS[had:]:
            # Not executescript: it would commit first, and a migration happens wholly or not at all.
            for statement in filter(str.strip, migration.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
