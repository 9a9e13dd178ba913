"""Whether a file is an event store of callctl's, which is checked before the file or those beside it are changed.

It is read through SQLite with ``immutable=1``, which takes no lock and makes neither ``-wal`` nor ``-shm`` ("URI
filenames" in SQLite's documentation). Closing the file by hand would drop the locks of this process's other connections
to it ("How to corrupt", section 2.2); SQLite keeps them.
"""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

from callctl.errors import StoreError
from callctl.store.sqlite.location import check_journal
from callctl.store.sqlite.schema import (
    APPLICATION_ID,
    MIGRATIONS,
    application_id_of,
    find_alteration,
    newest_version,
    version_by_tables,
    version_of,
)

_HINT = "callctl changes no file but its own: name another one with CALLCTL_STORE, or move this one away"
_ALTERED_HINT = "undo that, move the file away, or name another one with CALLCTL_STORE"
# callctl makes none of these: what they say would be carried out whenever a table is read or written.
_CODE = "SELECT type FROM sqlite_schema WHERE type IN ('trigger', 'view') OR sql LIKE 'CREATE VIRTUAL%' LIMIT 1"
_COLUMNS = "SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns"


def check_identity(path: Path) -> None:
    """Make sure that a file that is there is an event store; nothing is changed.

    Raises:
        StoreError: It is empty, a database of another program, or has triggers or views; or its journal names another
            file, which SQLite would delete.
        sqlite3.Error: It is no database, or damaged.
        OSError: It can't be looked at.
    """
    check_journal(path)
    if path.stat().st_size == 0:
        raise StoreError(f"{path} is no event store: it is empty", hint=_HINT)
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        # Without it SQLite refuses a file that is shorter than its first page says: what a checkpoint that was cut off
        # leaves, whose rest is in the log ("writable_schema" in "PRAGMA Statements").
        database.execute("PRAGMA writable_schema = ON")
        _check_without_code(database, path)
        if not (is_store(database) or (_is_blank(database) and _is_store_with_log(database, path))):
            raise StoreError(f"{path} is no event store: it is a database of another program", hint=_HINT)


def check_schema(database: sqlite3.Connection, path: Path) -> None:
    """Make sure that an open store, with what its log holds, is as callctl made it.

    Raises:
        StoreError: It has triggers, views or virtual tables, or its own tables and indexes are others: an event that a
            foreign constraint keeps out would be taken for one that is stored already.
        sqlite3.Error: It can't be read.
    """
    _check_without_code(database, path)
    altered = find_alteration(database)
    if altered is None:
        return
    hint, version = _ALTERED_HINT, version_by_tables(database)
    if version is not None and version > version_of(database):
        hint = f"`sqlite3 {shlex.quote(str(path))} 'PRAGMA user_version = {version}'` sets it back; or {hint}"
    raise StoreError(f"the event store {path} is not used: {altered}", hint=hint)


def _check_without_code(database: sqlite3.Connection, path: Path) -> None:
    if _has_code(database):
        raise StoreError(f"{path} is no event store: it holds triggers, views or virtual tables", hint=_HINT)


def _has_code(database: sqlite3.Connection) -> bool:
    return database.execute(_CODE).fetchone() is not None


def is_store(database: sqlite3.Connection) -> bool:
    """Return whether an open database is an event store: by its mark, or by its tables where it has none.

    callctl 0.1.0 made none, and another program may have set it to 0.
    """
    if _has_code(database):
        return False
    marked, version = application_id_of(database), version_of(database)
    if marked or not 0 < version <= newest_version():
        return marked == APPLICATION_ID
    with closing(sqlite3.connect(":memory:")) as model:
        model.executescript(";".join(MIGRATIONS[:version]))
        expected = set(model.execute(_COLUMNS))
    return expected <= set(database.execute(_COLUMNS))


def _is_blank(database: sqlite3.Connection) -> bool:
    no_tables = database.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    return no_tables and application_id_of(database) == 0


def _is_store_with_log(database: sqlite3.Connection, path: Path) -> bool:
    """Return whether a blank database is a store with what its log holds, as that of a 0.1.0 that was killed early.

    The log is applied to a copy.
    """
    import shutil
    import tempfile

    log = path.resolve().with_name(f"{path.resolve().name}-wal")
    if not log.is_file():
        return False
    with tempfile.TemporaryDirectory(prefix="callctl-") as folder:
        copy = Path(folder) / "copy.db"
        with closing(sqlite3.connect(copy)) as blank:
            database.backup(blank)
        shutil.copyfile(log, f"{copy}-wal")
        with closing(sqlite3.connect(copy)) as whole:
            return is_store(whole)
