"""The copy, in a new file, of what can still be read of damaged ones."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from callctl.errors import StoreError
from callctl.store.sqlite.connection import link_or_copy, primary_code
from callctl.store.sqlite.file_checks import NewestEvent
from callctl.store.sqlite.file_identity import check_identity, is_store
from callctl.store.sqlite.location import work_prefix
from callctl.store.sqlite.rescue.row_transfer import add_rows, copy_table, row_count
from callctl.store.sqlite.schema import (
    APPLICATION_ID,
    TABLES,
    find_alteration,
    has_tables,
    migrate,
)

KEPT_ROWS = "held.db"  # the rows that a process alone has, until a whole store with them is in its place


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
        _write_kept_rows(folder / KEPT_ROWS, restore)
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
def open_copy(aside: Path, *, beside: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy, beside a store, of files that were set aside, until the block is left.

    A process that still has the database open, with another index, could not open the files themselves.

    Raises:
        StoreError, sqlite3.Error: They are no event store.
        OSError: They can't be copied.
    """
    path = Path(os.path.realpath(beside))
    with _work_folder(path) as folder:
        copy = folder / path.name
        for suffix in ("", "-wal"):
            if os.path.exists(f"{aside}{suffix}"):  # noqa: PTH110 - with the end of a name
                shutil.copyfile(f"{aside}{suffix}", f"{copy}{suffix}")
        check_identity(copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            yield connection


def keep_rows_beside(path: Path, restore: Callable[[sqlite3.Connection], None]) -> Path:
    """Keep what ``restore`` writes on the disk, beside a store, for ``settle_leftovers``; return the folder."""
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=work_prefix(path)))
    try:
        _write_kept_rows(folder / KEPT_ROWS, restore)
    except BaseException:
        remove_kept_rows(folder)
        raise
    return folder


def remove_kept_rows(folder: Path) -> None:
    """Remove the folder that ``keep_rows_beside`` made."""
    shutil.rmtree(folder, ignore_errors=True)


def _sync_names(folder: Path) -> None:
    """Have the names in a folder on the disk: SQLite sees to that for the files that it makes in it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system that can't
            os.fsync(handle)
    finally:
        os.close(handle)


def _write_kept_rows(kept: Path, restore: Callable[[sqlite3.Connection], None]) -> None:
    with closing(sqlite3.connect(kept.absolute(), isolation_level=None)) as connection:
        migrate(connection, kept)
        write_in_transaction(connection, restore)
    _sync_names(kept.parent.parent)


def write_in_transaction(connection: sqlite3.Connection, restore: Callable[[sqlite3.Connection], None]) -> None:
    """Have ``restore`` write into an open store, all of it or nothing."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        restore(connection)


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
        if not is_whole(connection):
            raise StoreError(
                f"what could be read of the event store {path} does not make a whole database",
                hint="CALLCTL_STORE names another file; `callctl doctor` looks at this one",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        whole = whole or (is_altered and _has_all_rows(connection, source))
        whole = whole and (newest is None or newest.is_in(connection))
        migrate(connection, new)
        write_in_transaction(connection, restore)
    new.chmod(0o600)
    return whole


def data_version(connection: sqlite3.Connection) -> int | None:
    """Return what changes when another connection writes; None where that can't be read."""
    try:
        return int(connection.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.DatabaseError:
        return None


def _copy_whole(source: sqlite3.Connection, new: Path) -> bool:
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as target:
            source.backup(target)
            # The connection may read the database of another program by now.
            is_whole_store = (
                is_store(target) and has_tables(target) and not find_alteration(target) and is_whole(target)
            )
            return is_whole_store and row_count(target, "events") == row_count(source, "events")
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
                copy_table(source, target, table)
        target.execute("DELETE FROM events WHERE call_id NOT IN (SELECT id FROM calls)")
        if own is not None:
            with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(own, uri=True)) as database:
                if is_store(database):
                    add_rows(database, target)
        target.execute("COMMIT")


def _is_altered(connection: sqlite3.Connection) -> bool:
    try:
        return find_alteration(connection) is not None
    except sqlite3.DatabaseError:
        return False


def _has_all_rows(connection: sqlite3.Connection, source: sqlite3.Connection) -> bool:
    counts = [(row_count(connection, table), row_count(source, table)) for table in TABLES]
    return all(count is not None and count == wanted for count, wanted in counts)


def is_whole(connection: sqlite3.Connection) -> bool:
    """Return whether SQLite finds no fault in a database."""
    return bool(connection.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)])
