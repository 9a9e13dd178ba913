"""What a watch does with damaged files: set them aside, and copy what can still be read to a new file."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from callctl.errors import StoreError
from callctl.store.sqlite.connection import link_or_copy, primary_code
from callctl.store.sqlite.file_checks import NewestEvent, is_sound
from callctl.store.sqlite.file_identity import check_identity, check_schema, is_store
from callctl.store.sqlite.files import File, Files
from callctl.store.sqlite.guarded_connection import ClaimKey
from callctl.store.sqlite.location import work_prefix
from callctl.store.sqlite.rows import MERGE_CALLS, Row, insert, last_number, readable
from callctl.store.sqlite.schema import (
    APPLICATION_ID,
    TABLES,
    find_alteration,
    has_tables,
    migrate,
    newest_version,
    set_store_id,
    store_id,
    version_of,
)

# What keeps rules from acting twice, and on calls that are not theirs: tables, with the column of their time.
_RULE_TABLES = {"claims": "at", "placed_calls": "at", "placed": "at", "intents": "until"}
_LEASE = 6  # its column in "claims"
# What a row changes about an older one. A lease of 0 is that of a settled claim.
_NEWER = {
    "claims": (
        "UPDATE SET lease = excluded.lease, fence = excluded.fence"
        " WHERE lease > 0 AND (excluded.lease = 0 OR excluded.lease > lease)"
    ),
    "placed": "UPDATE SET sid = excluded.sid, at = excluded.at WHERE excluded.at > at",
    "intents": "UPDATE SET until = excluded.until WHERE excluded.until > until",
}
_ADD_ACTION = (
    "INSERT INTO actions (world, sid, at, record) SELECT :world, :sid, :at, :record WHERE NOT EXISTS"
    " (SELECT 1 FROM actions WHERE world = :world AND sid = :sid AND at = :at AND record = :record)"
)
# What was in progress when a backup was made, and whose time is over by now.
_NOW = "CAST(strftime('%s', 'now') AS INTEGER) * 1000000"
_FORGET_LAPSED = (
    f"DELETE FROM claims WHERE lease > 0 AND lease < {_NOW}",
    f"DELETE FROM intents WHERE until < {_NOW}",
)
# The most rows of each table that are held in memory, the newest. They are not read again for so many times what
# reading them took of the processor: a thread that had to wait meanwhile would miss for long what others write.
_MOST_RECENT = 2000
_REFRESH_PAUSE = 20
_SUFFIXES = ("", "-wal", "-shm")
_ALL_SUFFIXES = (*_SUFFIXES, "-journal")  # SQLite would roll a journal back in whatever database is put beside it
_KEPT_ROWS = "held.db"  # the rows in memory of who makes a copy, beside it until it is in its place


def set_aside(path: Path) -> Path | None:
    """Give what lies under a store's names another name, all of it the same one; return that, or None if nothing did.

    Raises:
        OSError: It can't be renamed.
    """
    suffixes = [suffix for suffix in _ALL_SUFFIXES if os.path.lexists(f"{path}{suffix}")]
    if not suffixes:
        return None
    target = free_name(path)
    for suffix in suffixes:
        os.rename(f"{path}{suffix}", f"{target}{suffix}")  # noqa: PTH104 - with the ends of names
    return target


def remove_lone_index(target: Path) -> bool:
    """Remove an index that was set aside with neither database nor log, for it says nothing; return whether it was."""
    if any(os.path.lexists(f"{target}{suffix}") for suffix in ("", "-wal")):
        return False
    with suppress(OSError):
        os.unlink(f"{target}-shm")  # noqa: PTH108 - with the end of a name
    return True


def free_name(path: Path) -> Path:
    """Return a name for files that are set aside beside a store, under which none lies."""
    number = 1
    while any(os.path.lexists(f"{path}.damaged-{number}{suffix}") for suffix in _ALL_SUFFIXES):
        number += 1
    return path.with_name(f"{path.name}.damaged-{number}")


def set_log_aside(real_path: str, files: Files, database: Path) -> None:
    """Give a log and an index that lie apart from their database, which was moved without them, its new name.

    They would be applied to whatever database is put beside them. ``real_path`` is where the database was, ``files``
    are those that belong together, and ``database`` is where that lies now.
    """
    for suffix, file in (("-wal", files.log), ("-shm", files.index)):
        if file is None or not file.is_same(File.at(f"{real_path}{suffix}")):
            continue
        target, number = f"{database}{suffix}", 1
        while os.path.lexists(target):  # another process has begun a log beside it
            target, number = f"{real_path}.damaged-{number}{suffix}", number + 1
        with suppress(OSError):
            os.rename(f"{real_path}{suffix}", target)  # noqa: PTH104 - with the ends of names


def is_set_aside(path: Path, files: Files) -> bool:
    """Return whether one of some files lies beside a store, under the name that ``set_aside`` gave it."""
    wanted = [file for file in (files.database, files.log, files.index) if file is not None]
    damaged = map(File.at, _set_aside_files(path))
    return any(file is not None and any(file.is_same(other) for other in wanted) for file in damaged)


def _set_aside_files(path: Path) -> Iterator[str]:
    """Yield the paths of what lies beside a store under the names that ``set_aside`` gives."""
    return (str(entry) for entry in path.parent.iterdir() if entry.name.startswith(f"{path.name}.damaged-"))


def copy_to_new_file(
    source: sqlite3.Connection,
    path: Path,
    *,
    newest: NewestEvent | None,
    move_away: Callable[[], None],
    restore: Callable[[sqlite3.Connection], None] = lambda _target: None,
    has_own_database: bool = False,
) -> bool:
    """Make a new store at a path of what a connection still reads; return whether that is all of it, ``newest`` too.

    ``move_away`` renames what lies at the path. It is called once the copy is made and checked, so that there is always
    a store at the path while the copy is made. ``restore`` writes what is held in memory into an open store: the copy,
    and before that, as copying may take minutes, a file beside it, which ``settle_leftovers`` finds if this process is
    killed. With ``has_own_database`` the file at the path is what the connection has open: where its log is damaged,
    rows are read from the database alone too.

    Raises:
        StoreError: The copy is damaged too.
        sqlite3.Error: Nothing can be read or written.
        OSError: The new file can't be made, or there is one.
    """
    with _work_folder(path) as folder:
        _write_kept_rows(folder / _KEPT_ROWS, restore)
        new = folder / path.name
        version = data_version(source)
        own = f"{path.absolute().as_uri()}?mode=ro&immutable=1" if has_own_database else None
        whole = _copy(source, new, path, newest, restore=restore, own=own)
        move_away()
        if data_version(source) != version:  # others wrote meanwhile; from now on they see that the files are gone
            new.unlink()
            whole = _copy(source, new, path, newest, restore=restore)
        link_or_copy(new, path)
    return whole


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside a store until the block is left.

    It stays where the process ends meanwhile, which a TemporaryDirectory would not.
    """
    folder = tempfile.mkdtemp(dir=path.parent, prefix=work_prefix(path))
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def rows_kept_beside(path: Path, restore: Callable[[sqlite3.Connection], None]) -> Iterator[None]:
    """Keep what ``restore`` writes in a file beside a store until the block is left, for ``settle_leftovers``."""
    with _work_folder(path) as folder:
        _write_kept_rows(folder / _KEPT_ROWS, restore)
        yield


def _write_kept_rows(kept: Path, restore: Callable[[sqlite3.Connection], None]) -> None:
    with closing(sqlite3.connect(kept.absolute(), isolation_level=None)) as connection:
        migrate(connection, kept)
        _write(connection, restore)


def _write(connection: sqlite3.Connection, restore: Callable[[sqlite3.Connection], None]) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        restore(connection)


def settle_leftovers(path: Path) -> str | None:
    """Finish what killed processes began beside a store, and remove their folders; return what was repaired, in words.

    A copy that was to take the store's place does so. Where the copy was not made yet, it is made now of what can be
    read, with what the process had held in memory.

    Raises:
        StoreError: It can't be made.
        OSError: The folder can't be locked at once, as while another process makes or repairs a store, or written to.
        sqlite3.Error: A copy can't be read.
    """
    report = None
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for folder in [entry for entry in path.parent.iterdir() if _is_leftover(entry, path)]:
            # Killed between the two steps: the damaged files are set aside, and the copy is not yet in their place.
            if not os.path.lexists(path) and any(_set_aside_files(path)):
                _put_in_place(folder / path.name, path)
            if _is_own_store(folder / _KEPT_ROWS):
                report = _bring_back(folder / _KEPT_ROWS, path) or report
            for name in (path.name, _KEPT_ROWS):
                for suffix in _ALL_SUFFIXES:
                    (folder / f"{name}{suffix}").unlink(missing_ok=True)
            with suppress(OSError):  # something else is in it, which is not callctl's
                folder.rmdir()
    finally:
        os.close(handle)
    return report


def _bring_back(kept: Path, path: Path) -> str | None:
    """Write the rows that a killed process had held in memory into its store; where that is damaged, into a copy of it.

    Return what was repaired, in words. Where all files of the store are gone, it was purged.
    """
    if not any(os.path.lexists(f"{path}{suffix}") for suffix in _SUFFIXES):
        return None
    with closing(sqlite3.connect(f"{kept.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as rows:
        restore = partial(_restore_kept_rows, rows)
        is_there = path.exists() and path.stat().st_size > 0
        if is_there and is_sound(path, like=rows, newest=None, whole=True, limit=None) and _has_tables(path):
            with closing(sqlite3.connect(path.absolute(), isolation_level=None)) as store:
                check_schema(store, path)
                migrate(store, path)
                _write(store, restore)
            return None
        if is_there:
            check_identity(path)
        uri = f"{(path if is_there else kept).absolute().as_uri()}?mode=ro"
        aside: list[Path | None] = []
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as source:
            copy_to_new_file(
                source,
                path,
                newest=None,
                move_away=lambda: aside.append(set_aside(path)),
                restore=restore,
                has_own_database=is_there,
            )
    beside = "".join(f"; the old files are beside it as {name.name}*" for name in aside if name is not None)
    return (
        f"the event store {path} was left damaged by a repair that was cut off; what can be read of it and the newest"
        f" events were copied to a new file{beside}"
    )


def _has_tables(path: Path) -> bool:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return has_tables(connection)


def _restore_kept_rows(kept: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Write what a store lacks of the rows that a process had held in memory."""
    from callctl.calls.event import CallEvent

    recent = RecentRows()
    recent.refresh(kept, version=0)
    recent.restore(target)
    if (number := store_id(kept)) is not None:
        set_store_id(target, number)
    for world, record in kept.execute(
        "SELECT world, record FROM events JOIN calls ON calls.id = call_id ORDER BY events.id"
    ):
        event = readable(CallEvent.from_record, record)
        if event is not None:
            insert(target, [Row.of(event)], world=world)


def _is_leftover(folder: Path, path: Path) -> bool:
    is_folder = folder.name.startswith(work_prefix(path)) and folder.is_dir() and not folder.is_symlink()
    return is_folder and folder.stat().st_uid == os.getuid()


def _is_own_store(path: Path) -> bool:
    """Return whether a killed process of this user left a store of this version there: no link, and no code in it."""
    if not _is_own_file(path):
        return False
    try:
        check_identity(path)
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return has_tables(database) and version_of(database) == newest_version()
    except (OSError, StoreError, sqlite3.Error):
        return False


def _is_own_file(path: Path) -> bool:
    """Return whether a regular file of this user is there, not a link to one."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()


def _put_in_place(new: Path, path: Path) -> None:
    if not _is_own_file(new):
        return
    try:
        check_identity(new)
    except StoreError:
        return
    with closing(sqlite3.connect(new.absolute(), isolation_level=None)) as connection:
        is_copy = is_store(connection) and _is_whole(connection)
    if is_copy:
        new.chmod(0o600)
        link_or_copy(new, path)


def _copy(
    source: sqlite3.Connection,
    new: Path,
    path: Path,
    newest: NewestEvent | None,
    *,
    restore: Callable[[sqlite3.Connection], None],
    own: str | None = None,
) -> bool:
    whole = _copy_whole(source, new)
    if not whole:
        new.unlink(missing_ok=True)
        _copy_rows(source, new, own=own)
    is_altered = not whole and _is_altered(source)
    with closing(sqlite3.connect(new, isolation_level=None)) as connection:
        if not _is_whole(connection):
            raise StoreError(
                f"what could be read of the event store {path} does not make a whole database",
                hint="CALLCTL_STORE names another file; `callctl doctor` looks at this one",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        whole = whole or (is_altered and _has_all_rows(connection, source))
        whole = whole and (newest is None or newest.is_in(connection))
        migrate(connection, new)
        _write(connection, restore)
    new.chmod(0o600)
    return whole


def data_version(connection: sqlite3.Connection) -> int | None:
    """Return what changes when another connection writes; None where that can't be read."""
    try:
        return int(connection.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.DatabaseError:
        return None


RuleRows = dict[str, list[Sequence[Any]]]


def rule_rows(source: sqlite3.Connection) -> RuleRows:
    """Read what rules have done, and which calls callctl placed, as far as that can be read."""
    return {
        table: list(_readable(source, f"SELECT {', '.join(_columns(source, table))} FROM {table}"))
        for table in _RULE_TABLES
    }


def carry_over(rows: RuleRows, target: sqlite3.Connection) -> None:
    """Write the rows of rules into another store, in a transaction."""
    for table, saved in rows.items():
        _add(target, table, saved)


def merge(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Bring an earlier state of a store, in a transaction, up to date with what another connection reads of it.

    What is in progress is what that connection says: a claim may have been released since, and an intent ended.
    """
    for forget in _FORGET_LAPSED:
        target.execute(forget)
    _add_rows(source, target)


class RecentRows:
    """The newest rows of rules and commands, held in memory: the files may lose them.

    Of the calls' events each writer holds its own.
    """

    def __init__(self) -> None:
        self.version: int | None = None  # the version of the data that was read; see ``data_version``
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._own_claims: dict[ClaimKey, tuple[Any, ...] | None] = {}
        self._actions: deque[tuple[Any, ...]] = deque(maxlen=_MOST_RECENT)
        self._last_action = 0
        self._next_refresh = 0.0  # by the monotonic clock

    def refresh(self, connection: sqlite3.Connection, version: int | None) -> None:
        """Read the rows anew, if ``version`` of the data is another one: another connection has written since."""
        if version == self.version or time.monotonic() < self._next_refresh:
            return
        began = time.thread_time()
        for table, time_column in _RULE_TABLES.items():
            newest = f"SELECT * FROM {table} ORDER BY {time_column} DESC LIMIT ?"
            self._rows[table] = connection.execute(newest, (_MOST_RECENT,)).fetchall()
        self._own_claims.clear()
        self._last_action, self._actions = 0, deque(maxlen=_MOST_RECENT)
        self._read_actions(connection)
        self.version = version
        self._next_refresh = time.monotonic() + _REFRESH_PAUSE * (time.thread_time() - began)

    def note_claim(self, connection: sqlite3.Connection, key: ClaimKey) -> None:
        """Read a claim that the connection itself has changed, and the actions since the last look."""
        row = connection.execute("SELECT * FROM claims WHERE world = ? AND rule = ? AND sid = ?", key).fetchone()
        self._own_claims.pop(key, None)
        self._own_claims[key] = row  # the newest are the last
        if len(self._own_claims) > _MOST_RECENT:
            del self._own_claims[next(iter(self._own_claims))]
        self._read_actions(connection)

    def _read_actions(self, connection: sqlite3.Connection) -> None:
        sql = "SELECT id, world, sid, at, record FROM actions WHERE id > ? ORDER BY id DESC LIMIT ?"
        for number, *row in reversed(connection.execute(sql, (self._last_action, _MOST_RECENT)).fetchall()):
            self._actions.append(tuple(row))
            self._last_action = number

    def connection_changed(self) -> None:
        """Read the rows anew with the next refresh: versions are counted for each connection."""
        self.version, self._next_refresh = None, 0.0

    def are_in(self, connection: sqlite3.Connection) -> bool:
        """Return whether a store still has what rules have done and which calls callctl placed, as far as is held.

        Others may have ended intents and claims that were open.
        """
        rows = {row[:3]: row[_LEASE] for row in self._rows.get("claims", ()) if row[_LEASE] == 0}
        own = {key: row[_LEASE] for key, row in self._own_claims.items() if row is not None}
        by_key = "SELECT lease FROM claims WHERE world = ? AND rule = ? AND sid = ?"
        for key, lease in (rows | own).items():
            stored = connection.execute(by_key, key).fetchone()
            if stored is None or (lease == 0 and stored[0] > 0):
                return False
        placed = "SELECT 1 FROM placed_calls WHERE world = ? AND sid = ?"
        last = "SELECT 1 FROM placed WHERE world = ? AND at >= ?"
        return (
            all(connection.execute(placed, row[:2]).fetchone() for row in self._rows.get("placed_calls", ()))
            and all(connection.execute(last, (row[0], row[2])).fetchone() for row in self._rows.get("placed", ()))
            and self._last_action <= last_number(connection, "actions")
        )

    def restore(self, connection: sqlite3.Connection) -> None:
        """Write those of the rows that a new file lacks."""
        claims = {row[:3]: row for row in self._rows.get("claims", ())} | self._own_claims
        claim_rows = [row for row in claims.values() if row is not None]  # None: it was released
        for table, rows in (self._rows | {"claims": claim_rows}).items():
            _add(connection, table, rows)
        _add_actions(connection, self._actions)


def _copy_whole(source: sqlite3.Connection, new: Path) -> bool:
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as target:
            source.backup(target)
            # The connection may read the database of another program by now.
            is_whole_store = (
                is_store(target) and has_tables(target) and not find_alteration(target) and _is_whole(target)
            )
            return is_whole_store and _count(target, "events") == _count(source, "events")
    except sqlite3.DatabaseError as error:
        if primary_code(error) == sqlite3.SQLITE_FULL:
            raise
        return False


def _copy_rows(source: sqlite3.Connection, new: Path, *, own: str | None) -> None:
    """Copy row by row what can be read; also from the database alone, whose URI is ``own``."""
    with closing(sqlite3.connect(new, isolation_level=None)) as target:
        target.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrate(target, new)
        target.execute("BEGIN")
        for table in TABLES:
            if table != "store_id":  # ``restore`` writes it
                _copy_table(source, target, table)
        target.execute("DELETE FROM events WHERE call_id NOT IN (SELECT id FROM calls)")
        if own is not None:
            with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(own, uri=True)) as database:
                if is_store(database):
                    _add_rows(database, target)
        target.execute("COMMIT")


def _add_rows(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Add what a store lacks of another one, whose calls may have other ids."""
    columns = "world, sid, parent_sid, status, standing, is_final, last_at"
    target.executemany(
        f"INSERT OR IGNORE INTO calls ({columns}) VALUES (?,?,?,?,?,?,?) {MERGE_CALLS}",
        _readable(source, f"SELECT {columns} FROM calls"),
    )
    events = "SELECT key, record, world, sid FROM events JOIN calls ON calls.id = call_id ORDER BY events.id"
    target.executemany(
        "INSERT OR IGNORE INTO events (call_id, key, record) SELECT id, ?, ? FROM calls WHERE world = ? AND sid = ?",
        _readable(source, events),
    )
    for table in (*_RULE_TABLES, "undelivered"):
        _copy_table(source, target, table)
    _add_actions(target, _readable(source, "SELECT world, sid, at, record FROM actions ORDER BY id"))


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    names = ", ".join(_columns(target, table))
    keys = [str(row[1]) for row in target.execute(f"PRAGMA table_info({table})") if row[5]] or ["rowid"]
    for direction in ("ASC", "DESC"):  # from both ends: what lies in between may be lost
        order = ", ".join(f"{key} {direction}" for key in keys)
        _add(target, table, _readable(source, f"SELECT {names} FROM {table} ORDER BY {order}"))
        if _count(source, table) == _count(target, table):
            return


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]


def _add(target: sqlite3.Connection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    """Write whole rows of a table; of two with the same key the newer one stays."""
    names = _columns(target, table)
    newer = f"ON CONFLICT DO {_NEWER[table]}" if table in _NEWER else ""
    values = ",".join("?" * len(names))
    target.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({values}) {newer}", rows)


def _add_actions(target: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Write the actions that are not there yet; their ids are of one file only."""
    target.executemany(_ADD_ACTION, (dict(zip(("world", "sid", "at", "record"), row, strict=True)) for row in rows))


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


def _is_altered(connection: sqlite3.Connection) -> bool:
    try:
        return find_alteration(connection) is not None
    except sqlite3.DatabaseError:
        return False


def _has_all_rows(connection: sqlite3.Connection, source: sqlite3.Connection) -> bool:
    counts = [(_count(connection, table), _count(source, table)) for table in TABLES]
    return all(count is not None and count == wanted for count, wanted in counts)


def _is_whole(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)])
