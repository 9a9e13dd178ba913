"""What people and programs do to the files of a store while it is in use, each kind by a name."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from callctl.store.sqlite import SqliteStore


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def other_database(path: Path, *, rows: int = 50) -> Path:
    """Return a sound database of another program, which lies beside the store."""
    other = path.with_name("other.sqlite")
    other.unlink(missing_ok=True)
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.executemany("INSERT INTO notes VALUES (?)", [("x" * 2000,)] * rows)
    return other


def other_store(path: Path) -> Path:
    """Return a sound store with nothing in it, which lies beside the store."""
    other = path.with_name("other.db")
    SqliteStore(other, world="other").close()
    return other


def remove_log(path: Path) -> None:
    log_of(path).unlink()


def remove_database(path: Path) -> None:
    path.unlink()


def remove_index(path: Path) -> None:
    path.with_name(f"{path.name}-shm").unlink()


def rename_database(path: Path) -> None:
    path.rename(path.with_name("renamed.db"))


def rename_log(path: Path) -> None:
    log_of(path).rename(path.with_name("renamed-wal"))


def empty_database(path: Path) -> None:
    path.open("wb").close()


def empty_log(path: Path) -> None:
    log_of(path).open("wb").close()


def cut_log(path: Path) -> None:
    with log_of(path).open("r+b") as log:
        log.truncate(log_of(path).stat().st_size // 2)


def zero_log(path: Path) -> None:
    log = log_of(path)
    with log.open("r+b") as stream:
        stream.write(bytes(log.stat().st_size))


def move_database_over(path: Path) -> None:
    other_database(path).rename(path)


def move_store_over(path: Path) -> None:
    other_store(path).rename(path)


def copy_small_database_over(path: Path) -> None:
    shutil.copyfile(other_database(path, rows=1), path)


def copy_large_database_over(path: Path) -> None:
    shutil.copyfile(other_database(path, rows=2000), path)


def copy_store_over(path: Path) -> None:
    shutil.copyfile(other_store(path), path)


DAMAGES: list[Callable[[Path], None]] = [
    remove_log,
    remove_database,
    remove_index,
    rename_database,
    rename_log,
    empty_database,
    empty_log,
    cut_log,
    zero_log,
    move_database_over,
    move_store_over,
    copy_small_database_over,
    copy_large_database_over,
    copy_store_over,
]
