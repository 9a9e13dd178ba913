"""What the SQLite file holds: its tables, and how those of an older callctl are brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from callctl.errors import StoreError

# "CCTL": marks a SQLite file as a store. It is at byte 68 of the file, as of "Database File Format".
APPLICATION_ID = 0x4343544C

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
    # What rules have done, once per rule and leg: ``lease`` is until when the watch that claimed it may be at work, in
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
    # The last event whose key was made of its pairs; from here on it is made of what is signed (calls/event_record.py).
    """
    CREATE TABLE keyed_by_pairs (last_id INTEGER NOT NULL);
    INSERT INTO keyed_by_pairs SELECT max(id) FROM events HAVING count(*) > 0
    """,
    # The number of a claim, which a change of it must name; and whether it counts towards the limit of actions.
    """
    ALTER TABLE claims ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE claims ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX claims_counted ON claims (world, at) WHERE counted
    """,
    # What all copies of a store have in common and no other store has, whatever was deleted from one of them.
    """
    CREATE TABLE store_id (id TEXT NOT NULL);
    INSERT INTO store_id VALUES (lower(hex(randomblob(16))))
    """,
    # Who keeps events here, and until when that counts unless it is said again.
    """
    CREATE TABLE listeners (
        world TEXT NOT NULL,
        nonce TEXT NOT NULL,
        record TEXT NOT NULL,
        since INTEGER NOT NULL,
        until INTEGER NOT NULL,
        PRIMARY KEY (world, nonce)
    ) WITHOUT ROWID
    """,
    # What applications have not taken of what was to be passed on to them: events, where they were to go, and until
    # when a listener tries that again.
    """
    CREATE TABLE undelivered (
        world TEXT NOT NULL,
        sid TEXT NOT NULL,
        key TEXT NOT NULL,
        url TEXT NOT NULL,
        at INTEGER NOT NULL,
        why TEXT NOT NULL,
        tried_until INTEGER NOT NULL,
        PRIMARY KEY (world, sid, key, url)
    ) WITHOUT ROWID;
    CREATE INDEX undelivered_by_time ON undelivered (world, at)
    """,
)

_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
# The indexes that may keep a row from being written: they are UNIQUE, evaluate an expression, or sort by what another
# program defined (-2 and ``coll`` of "PRAGMA index_xinfo").
_LIMITING = """
    SELECT owners.name, indexes.name FROM sqlite_schema AS owners, pragma_index_list(owners.name) AS indexes
    WHERE owners.type = 'table' AND (
        indexes."unique" OR indexes.partial
        OR EXISTS (
            SELECT 1 FROM pragma_index_xinfo(indexes.name) AS columns
            WHERE columns.cid = -2 OR upper(columns.coll) NOT IN ('BINARY', 'NOCASE', 'RTRIM')
        )
    )
"""
# How SQLite begins the text of a table and of an index, whatever was written to make it ("The Schema Table").
_PLAIN = {"table": ("CREATE TABLE ",), "index": ("CREATE INDEX ", "CREATE UNIQUE INDEX ")}

# The tables that these make.
TABLES = (
    *("calls", "events", "actions", "claims", "placed", "placed_calls", "intents", "keyed_by_pairs", "store_id"),
    *("listeners", "undelivered"),
)


def short_key(key: str) -> str:
    """Return the part of an event's key that is stored beside it: 128 of its 256 bits are plenty for one call."""
    return key[:32]


def plain(text: str) -> str:
    """Return a text as a column holds it: SQLite's JSON functions stop at a NUL, which no real SID contains."""
    return text.replace("\0", "\ufffd")


def newest_version() -> int:
    """Return the version that this callctl writes."""
    return len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of an open store; 0 for one that was just made."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def has_tables(connection: sqlite3.Connection) -> bool:
    """Return whether an open store has its tables, as far as its version has been there."""
    names = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return version_of(connection) < newest_version() or names.issuperset(TABLES)


def store_id(connection: sqlite3.Connection) -> str | None:
    """Return the id of an open store; None if it has none, as that of an older callctl."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'store_id'").fetchone() is None:
        return None
    row = connection.execute("SELECT id FROM store_id").fetchone()
    return None if row is None else str(row[0])


def set_store_id(connection: sqlite3.Connection, number: str) -> None:
    """Let a copy of a store have its id, in a transaction."""
    if store_id(connection) != number:
        connection.execute("DELETE FROM store_id")
        connection.execute("INSERT INTO store_id VALUES (?)", (number,))


def find_alteration(connection: sqlite3.Connection) -> str | None:
    """Return what in an open store is not as callctl made it, so that not all might be stored; None if all is.

    Tables and indexes must be those of its version, as far as they are there, and none of a later one may be: it could
    not be brought up to date. Other tables are in nobody's way, and neither are plain indexes. Of the store of a newer
    callctl nothing is known.

    Raises:
        sqlite3.Error: It can't be read.
    """
    with _snapshot(connection):
        version = max(0, version_of(connection))
        if version > newest_version():
            return None
        expected = _schema_of(version)
        later = _schema_of(newest_version()).objects.keys() - expected.objects.keys()
        objects = connection.execute(_OBJECTS).fetchall()
        for kind, name, _owner, _sql in objects:
            if name in later:
                return f"its version number (user_version) is {version}, but its {kind} {name!r} is of a later version"
        for kind, name, owner, sql in objects:
            if name in expected.objects:
                if expected.objects[name] != (kind, owner, _normalized(sql)):
                    return f"its {kind} {name!r} is not as callctl made it"
            elif sql is not None and not str(sql).startswith(_PLAIN.get(kind, ())):
                return f"its {kind} {name!r} is not callctl's"
        for owner, name in connection.execute(_LIMITING):
            if owner in expected.objects and (owner, name) not in expected.limiting:
                return f"its index {name!r} is not callctl's, and may keep rows from being stored"
    return None


def version_by_tables(connection: sqlite3.Connection) -> int | None:
    """Return the newest version whose tables an open store has, whatever its version number says; None for none.

    Raises:
        sqlite3.Error: It can't be read.
    """
    found = {name: _normalized(sql) for kind, name, _, sql in connection.execute(_OBJECTS) if kind == "table"}
    for version in range(newest_version(), 0, -1):
        tables = {name: sql for name, (kind, _, sql) in _schema_of(version).objects.items() if kind == "table"}
        if tables.items() <= found.items():
            return version
    return None


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Read one state in several statements: another process may bring the store up to date meanwhile."""
    is_own = not connection.in_transaction
    if is_own:
        connection.execute("BEGIN")
    try:
        yield
    finally:
        if is_own and connection.in_transaction:  # it ends by itself with some errors
            connection.execute("ROLLBACK")


class _Schema(NamedTuple):
    """Kind, table and text of each object, by its name; and the indexes that limit what a table holds."""

    objects: dict[str, tuple[str, str, str | None]]
    limiting: frozenset[tuple[str, str]]


@cache
def _schema_of(version: int) -> _Schema:
    with closing(sqlite3.connect(":memory:")) as model:
        model.executescript(";".join(MIGRATIONS[:version]))
        objects = {name: (kind, owner, _normalized(sql)) for kind, name, owner, sql in model.execute(_OBJECTS)}
        return _Schema(objects, frozenset(model.execute(_LIMITING)))


def _normalized(sql: str | None) -> str | None:
    return None if sql is None else " ".join(str(sql).split())


def application_id_of(connection: sqlite3.Connection) -> int:
    """Return the mark of the program that a database belongs to; 0 if it has none."""
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring them up to date, and mark the file as a store: wholly or not at all.

    Raises:
        StoreError: A newer callctl wrote them.
    """
    if version_of(connection) == newest_version() and application_id_of(connection) == APPLICATION_ID:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = version_of(connection)  # read again: another process may have been first
        if version > newest_version():
            raise too_new(path, version)
        for migration in MIGRATIONS[version:]:
            # Not executescript: it would commit first.
            for statement in filter(str.strip, migration.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest_version()}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def too_new(path: Path, version: int) -> StoreError:
    """Return the error about a store that a newer callctl wrote."""
    return StoreError(
        f"the event store {path} was written by a newer callctl (version {version}, this one knows up to "
        f"{newest_version()})",
        hint="update callctl, or name another file with CALLCTL_STORE",
    )
