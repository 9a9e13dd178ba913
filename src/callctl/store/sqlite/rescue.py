"""What is done when the files of an open store were changed from outside: what can still be read goes to a new file."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from callctl.errors import StoreError
from callctl.store.sqlite.connection import give_name
from callctl.store.sqlite.files import File, Files, Newest
from callctl.store.sqlite.identity import is_store
from callctl.store.sqlite.schema import APPLICATION_ID, migrate

# What keeps rules from acting twice, and on calls that are not theirs.
_OF_RULES = {"claims": "at", "placed_calls": "at", "placed": "at", "intents": "until"}  # with the column of its time
# So many of each are held in memory, the newest; and reading them is left for so many times what it took.
_MOST_HELD = 2000
_STAYS = 20
_ENDS = ("", "-wal", "-shm")


def set_aside(path: Path) -> Path | None:
    """Give what lies under a store's names another name, all of it the same one; return that, or None if nothing did.

    Raises:
        OSError: It can't be renamed.
    """
    there = [end for end in _ENDS if os.path.lexists(f"{path}{end}")]
    if not there:
        return None
    number = 1
    while any(os.path.lexists(f"{path}.damaged-{number}{end}") for end in _ENDS):
        number += 1
    aside = path.with_name(f"{path.name}.damaged-{number}")
    for end in there:
        os.rename(f"{path}{end}", f"{aside}{end}")  # noqa: PTH104 - with the ends of names
    return aside


def is_set_aside(path: Path, files: Files) -> bool:
    """Tell whether one of some files lies beside a store, under the name that ``set_aside`` gave it."""
    old = [file for file in (files.database, files.log, files.index) if file is not None]
    there = (File.at(str(found)) for found in path.parent.glob(f"{path.name}.damaged-*"))
    return any(file is not None and any(file.is_same(one) for one in old) for file in there)


def copy_to_new_file(
    source: sqlite3.Connection,
    path: Path,
    *,
    newest: Newest | None,
    aside: Callable[[], None],
    has_own_database: bool = False,
) -> bool:
    """Make a new store at a path of what a connection still reads; tell whether that is all of it, ``newest`` too.

    ``aside`` takes away what lies at the path. It is called once the copy is made and checked, so that a crash does not
    leave nothing there for as long as copying takes. With ``has_own_database`` that is what the connection has open:
    where its log is damaged, rows are read from the database alone too.

    Raises:
        StoreError: The copy is damaged too.
        sqlite3.Error: Nothing can be read or written.
        OSError: The new file can't be made, or there is one.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        made = Path(folder) / path.name
        version = _data_version(source)
        own = f"{path.absolute().as_uri()}?mode=ro&immutable=1" if has_own_database else None
        whole = _copy(source, made, path, newest, own=own)
        aside()
        if _data_version(source) != version:  # others wrote meanwhile; from now on they see that the files are gone
            made.unlink()
            whole = _copy(source, made, path, newest)
        give_name(made, path)
    return whole


def _copy(source: sqlite3.Connection, made: Path, path: Path, newest: Newest | None, *, own: str | None = None) -> bool:
    whole = _copy_whole(source, made)
    if not whole:
        made.unlink(missing_ok=True)
        _copy_rows(source, made, own=own)
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        if not _is_whole(connection):
            raise StoreError(
                f"what could be read of the event store {path} does not make a whole database",
                hint="CALLCTL_STORE names another file; `callctl doctor` looks at this one",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        whole = whole and (newest is None or newest.is_in(connection))
    made.chmod(0o600)
    return whole


def _data_version(connection: sqlite3.Connection) -> int | None:
    """Return what changes when another connection writes; None where that can't be read."""
    try:
        return int(connection.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.DatabaseError:
        return None


def carry_over(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Copy what rules need to know: what they have done, and which calls callctl placed."""
    with target:
        target.execute("BEGIN IMMEDIATE")
        for table in _OF_RULES:
            _copy_table(source, target, table)


class Held:
    """What other connections wrote of rules and commands, held in memory: the files may lose it.

    Of the calls' events each writer holds its own.
    """

    def __init__(self) -> None:
        self._version: int | None = None
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._actions: list[tuple[Any, ...]] = []
        self._next = 0.0

    def look(self, connection: sqlite3.Connection) -> None:
        """Read it anew, if another connection has written since."""
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version == self._version or (began := time.monotonic()) < self._next:
            return
        for table, at in _OF_RULES.items():
            newest = f"SELECT * FROM {table} ORDER BY {at} DESC LIMIT ?"
            self._rows[table] = connection.execute(newest, (_MOST_HELD,)).fetchall()
        newest = "SELECT world, sid, at, record FROM actions ORDER BY id DESC LIMIT ?"
        self._actions = connection.execute(newest, (_MOST_HELD,)).fetchall()[::-1]
        self._version, now = version, time.monotonic()
        self._next = now + _STAYS * (now - began)

    def of_another_connection(self) -> None:
        """Have it read with the next look: versions are counted for each connection."""
        self._version, self._next = None, 0.0

    def restore(self, connection: sqlite3.Connection) -> None:
        """Write what a new file lacks of it."""
        for table, rows in self._rows.items():
            if rows:
                connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)
        settled = [row[:3] for row in self._rows.get("claims", ()) if row[-1] == 0]
        connection.executemany("UPDATE claims SET lease = 0 WHERE world = ? AND rule = ? AND sid = ?", settled)
        connection.executemany(
            "INSERT INTO actions (world, sid, at, record) SELECT :world, :sid, :at, :record WHERE NOT EXISTS"
            " (SELECT 1 FROM actions WHERE world = :world AND sid = :sid AND at = :at AND record = :record)",
            [dict(zip(("world", "sid", "at", "record"), row, strict=True)) for row in self._actions],
        )


def _copy_whole(source: sqlite3.Connection, made: Path) -> bool:
    try:
        with closing(sqlite3.connect(made, isolation_level=None)) as target:
            source.backup(target)
            # The connection may read the database of another program by now.
            return is_store(target) and _is_whole(target) and _count(target, "events") == _count(source, "events")
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise
        return False


def _copy_rows(source: sqlite3.Connection, made: Path, *, own: str | None) -> None:
    """Copy row by row what can be read; also from the database alone, whose URI is ``own``."""
    with closing(sqlite3.connect(made, isolation_level=None)) as target:
        target.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrate(target, made)
        target.execute("BEGIN")
        for table in ("calls", "events", "actions", "keyed_by_pairs", *_OF_RULES):
            _copy_table(source, target, table)
        target.execute("DELETE FROM events WHERE call_id NOT IN (SELECT id FROM calls)")
        if own is not None:
            with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(own, uri=True)) as found:
                if is_store(found):
                    _add_rows(found, target)
        target.execute("COMMIT")


def _add_rows(found: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Add what a store lacks of another one, whose calls may have other ids."""
    columns = "world, sid, parent_sid, status, standing, is_final, last_at"
    target.executemany(
        f"INSERT OR IGNORE INTO calls ({columns}) VALUES (?,?,?,?,?,?,?)",
        _readable(found, f"SELECT {columns} FROM calls"),
    )
    events = "SELECT key, record, world, sid FROM events JOIN calls ON calls.id = call_id ORDER BY events.id"
    target.executemany(
        "INSERT OR IGNORE INTO events (call_id, key, record) SELECT id, ?, ? FROM calls WHERE world = ? AND sid = ?",
        _readable(found, events),
    )
    for table in _OF_RULES:
        _copy_table(found, target, table)


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    names = [str(row[1]) for row in target.execute(f"PRAGMA table_info({table})")]
    keys = [str(row[1]) for row in target.execute(f"PRAGMA table_info({table})") if row[5]] or ["rowid"]
    places = ",".join("?" * len(names))
    for way in ("ASC", "DESC"):  # from both ends: what lies in between may be lost
        order = ", ".join(f"{key} {way}" for key in keys)
        rows = _readable(source, f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}")
        target.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({places})", rows)
        if _count(source, table) == _count(target, table):
            return


def _readable(source: sqlite3.Connection, sql: str) -> Iterator[Sequence[Any]]:
    """Yield the rows up to the first that can't be read."""
    try:
        yield from source.execute(sql)
    except sqlite3.DatabaseError:
        return


def _count(connection: sqlite3.Connection, table: str) -> int | None:
    """Return how many rows there are; None where that can't be read."""
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.DatabaseError:
        return None


def _is_whole(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)])
