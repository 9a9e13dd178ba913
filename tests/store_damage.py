"""What people and programs do to the files of a store while it is in use, each kind by a name."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from callctl.store.sqlite.log_index import checksum
from callctl.store.sqlite.store import SqliteStore


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def index_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-shm")


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
    SqliteStore.open_for_watch(other, world="other").close()
    return other


def remove_log(path: Path) -> None:
    log_of(path).unlink()


def remove_database(path: Path) -> None:
    path.unlink()


def remove_index(path: Path) -> None:
    index_of(path).unlink()


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


def write_into_index(path: Path, at: int, data: bytes) -> None:
    with index_of(path).open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def _number_of_frames(path: Path, change: Callable[[int], int], *, salt: int = 0) -> None:
    """Change how many frames count, in both copies of the header, with the checksum that belongs to them."""
    header = bytearray(index_of(path).read_bytes()[:40])
    (frames,) = struct.unpack_from("=I", header, 16)
    struct.pack_into("=I", header, 16, change(frames))
    header[32:36] = (int.from_bytes(header[32:36]) + salt).to_bytes(4)
    write_into_index(path, 0, (bytes(header) + checksum(bytes(header))) * 2)


def halve_index(path: Path) -> None:
    _number_of_frames(path, lambda frames: frames // 2)


def forget_index(path: Path) -> None:
    _number_of_frames(path, lambda _frames: 0)


def raise_index(path: Path) -> None:
    _number_of_frames(path, lambda frames: frames + 1000)


def begin_index_anew(path: Path) -> None:
    """Write what a checkpoint leaves that has brought all of the log to the database."""
    _number_of_frames(path, lambda _frames: 0, salt=1)


def fill_backfilled(path: Path) -> None:
    """Write that all of the log is in the database."""
    write_into_index(path, 96, index_of(path).read_bytes()[16:20])


def raise_backfilled(path: Path) -> None:
    write_into_index(path, 96, b"\xff" * 4)


def zero_index(path: Path) -> None:
    write_into_index(path, 0, bytes(32768))


def overwrite_headers(path: Path) -> None:
    write_into_index(path, 0, random.Random(1).randbytes(136))


def overwrite_pages(path: Path) -> None:
    write_into_index(path, 136, random.Random(2).randbytes(16384 - 136))


def overwrite_tables(path: Path) -> None:
    write_into_index(path, 16384, random.Random(3).randbytes(16384))


def _elsewhere(path: Path) -> Path:
    other = path.parent.with_name("elsewhere")
    other.mkdir()
    return other / "moved.db"


def move_and_link(path: Path) -> None:
    """Leave a link where the database was, as to have it on a larger disk. Its log stays where it is."""
    moved = path.rename(_elsewhere(path))
    path.symlink_to(moved)


def link_to_second_name(path: Path) -> None:
    moved = _elsewhere(path)
    moved.hardlink_to(path)
    path.unlink()
    path.symlink_to(moved)


def link_folder_with_second_name(path: Path) -> None:
    """Put a link in place of the folder, to one that has the database under a second name, and nothing else."""
    second = _elsewhere(path).with_name(path.name)
    second.hardlink_to(path)
    path.parent.rename(path.parent.with_name("before"))
    path.parent.symlink_to(second.parent)


# After these the path leads to the same database, and a program that opens it looks for its log at another place.
MOVES: list[Callable[[Path], None]] = [move_and_link, link_to_second_name, link_folder_with_second_name]

# After these SQLite makes it anew by itself, as its header is not valid; or it looks as after a checkpoint.
QUIET_INDEX_DAMAGES: list[Callable[[Path], None]] = [
    zero_index,
    overwrite_headers,
    begin_index_anew,
    fill_backfilled,
]
INDEX_DAMAGES: list[Callable[[Path], None]] = [
    *QUIET_INDEX_DAMAGES,
    halve_index,
    forget_index,
    raise_index,
    raise_backfilled,
    overwrite_pages,
    overwrite_tables,
]

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
