"""The names under which damaged files are set aside, beside a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from callctl.store.sqlite.files import File, Files
from callctl.store.sqlite.location import BESIDE

SUFFIXES = ("", *BESIDE)  # SQLite would roll a journal back in whatever database is put beside it


def set_aside(path: Path) -> Path | None:
    """Give what lies under a store's names another name, all of it the same one; return that, or None if nothing did.

    Raises:
        OSError: It can't be renamed.
    """
    suffixes = [suffix for suffix in SUFFIXES if os.path.lexists(f"{path}{suffix}")]
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
    while any(os.path.lexists(f"{path}.damaged-{number}{suffix}") for suffix in SUFFIXES):
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
    damaged = map(File.at, set_aside_files(path))
    return any(file is not None and any(file.is_same(other) for other in wanted) for file in damaged)


def set_aside_files(path: Path) -> Iterator[str]:
    """Yield the paths of what lies beside a store under the names that ``set_aside`` gives."""
    return (str(entry) for entry in path.parent.iterdir() if entry.name.startswith(f"{path.name}.damaged-"))
