"""What killed processes left unfinished beside a store, and how it is finished."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from callctl.errors import StoreError
from callctl.store.sqlite.connection import link_or_copy
from callctl.store.sqlite.file_checks import is_sound
from callctl.store.sqlite.file_identity import check_identity, check_schema, is_store
from callctl.store.sqlite.location import work_prefix
from callctl.store.sqlite.rescue.copying import KEPT_ROWS, copy_to_new_file, is_whole, write_in_transaction
from callctl.store.sqlite.rescue.recent_rows import RecentRows
from callctl.store.sqlite.rescue.row_transfer import carry_over, copy_table, rule_rows
from callctl.store.sqlite.rescue.set_aside import SUFFIXES, set_aside, set_aside_files
from callctl.store.sqlite.rows import Row, insert, readable
from callctl.store.sqlite.schema import (
    has_tables,
    migrate,
    newest_version,
    set_store_id,
    store_id,
    version_of,
)


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
            if not os.path.lexists(path) and any(set_aside_files(path)):
                _put_in_place(folder / path.name, path)
            if _is_own_store(folder / KEPT_ROWS):
                report = _bring_back(folder / KEPT_ROWS, path) or report
            for name in (path.name, KEPT_ROWS):
                for suffix in SUFFIXES:
                    (folder / f"{name}{suffix}").unlink(missing_ok=True)
            with suppress(OSError):  # something else is in it, which is not callctl's
                folder.rmdir()
    finally:
        os.close(handle)
    return report


def _bring_back(kept: Path, path: Path) -> str | None:
    """Write the rows that a killed process had held in memory into its store; where that is damaged, into a copy of it.

    Return what was repaired, in words. Where all files of the store are gone, it was purged; where another store was
    put in its place, that gets the rows of rules alone.
    """
    if not any(os.path.lexists(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")):
        return None
    with closing(sqlite3.connect(f"{kept.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as rows:
        restore = partial(_restore_kept_rows, rows)
        is_there = path.exists() and path.stat().st_size > 0
        if is_there and is_sound(path, like=rows, newest=None, whole=True, limit=None) and _has_tables(path):
            with closing(sqlite3.connect(path.absolute(), isolation_level=None)) as store:
                check_schema(store, path)
                number, found = store_id(rows), store_id(store)  # before it gets one: a backup may be older than ids
                migrate(store, path)
                is_other = None not in (number, found) and number != found
                write_in_transaction(store, partial(carry_over, rule_rows(rows)) if is_other else restore)
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
    copy_table(kept, target, "undelivered")


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
        is_copy = is_store(connection) and is_whole(connection)
    if is_copy:
        new.chmod(0o600)
        link_or_copy(new, path)
