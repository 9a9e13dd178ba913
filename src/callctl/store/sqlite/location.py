"""Where a store may lie, and whether there is one: SQLite is not loaded to see that there is none."""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path

from callctl.errors import StoreError

BESIDE = ("-wal", "-shm", "-journal")  # what SQLite names the files that it keeps beside a database
_INDEX_BLOCK, _INDEX_HEADER, _INDEX_VERSION = 32768, 136, 3007000  # bytes, bytes, and what the header begins with
# The end of a rollback journal that names another file ("The Super-Journal Name" in SQLite's pager.c: name, length,
# checksum, and this), which SQLite deletes once it has rolled back.
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_LONGEST_PATH = 512  # bytes, with what is put after it (MAX_PATHNAME in SQLite's os_unix.c)
_RANDOM = 8  # characters that the tempfile module puts at the end of a name
_SINGLE_NAME_HINT = "give each place a copy of the file"
LOCATION_HINT = "name another file with CALLCTL_STORE, or another folder for callctl's state with XDG_STATE_HOME"


def check_location(path: Path) -> None:
    """Make sure that a store may lie at a path, whether or not there is one.

    Raises:
        StoreError: A file is where a folder should be, or something else where the file, or one of those that
            SQLite keeps beside it, should be; or the name is that of such a file.
        OSError: It can't be looked at.
    """
    blocking = next((folder for folder in path.parents if folder.exists()), None)
    if blocking is not None and not blocking.is_dir():
        raise StoreError(f"there can be no event store {path}: {blocking} is no folder", hint=LOCATION_HINT)
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise StoreError(f"there can be no event store {path}: it is {what}", hint=LOCATION_HINT)
    dangling = next((name for name in (path, *path.parents) if name.is_symlink() and not name.exists()), None)
    if dangling is not None:
        raise StoreError(
            f"there can be no event store {path}: {dangling} is a symbolic link that leads nowhere", hint=LOCATION_HINT
        )
    real_path = path.resolve()
    if any(name.lower().endswith(BESIDE) for name in (path.name, real_path.name)):
        raise StoreError(
            f"there can be no event store {path}: SQLite keeps what belongs to another database under such a name",
            hint=LOCATION_HINT,
        )
    for suffix in BESIDE:
        beside = real_path.with_name(real_path.name + suffix)
        if beside.is_symlink() or (beside.exists() and not beside.is_file()):
            raise StoreError(f"there can be no event store {path}: {beside} is no regular file", hint=LOCATION_HINT)


def check_no_log_alone(path: Path) -> None:
    """Make sure that a store which is not there can be made: SQLite would apply or remove a log that lies beside it.

    It would write over an index too. One that SQLite made says nothing without its database.

    Raises:
        StoreError: A log or a journal lies there without its database, or a file that is no index and named like one;
            or the path is longer than SQLite takes.
        OSError: It can't be looked at.
    """
    made_at = path.resolve().parent / f"{work_prefix(path)}{'x' * _RANDOM}" / f"{path.name}-journal"
    if (surplus := len(os.fsencode(made_at)) - _LONGEST_PATH) > 0:
        raise StoreError(
            f"there can be no event store {path}: its path is longer than SQLite takes, by {surplus} bytes",
            hint=LOCATION_HINT,
        )
    logs = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-journal"))
    orphan = next((log for log in logs if log.exists() and log.stat().st_size), None)
    if orphan is not None:
        raise StoreError(
            f"there can be no event store {path}: the log of another database, {orphan}, lies beside it",
            hint=f"move it away if its database will come back, else remove it; or {LOCATION_HINT}",
        )
    index = path.with_name(f"{path.name}-shm")
    if index.exists() and not _may_be_index(index):
        raise StoreError(
            f"there can be no event store {path}: SQLite would write over {index}, which belongs to something else",
            hint=f"move it away, or {LOCATION_HINT}",
        )


def check_single_name(path: Path) -> None:
    """Make sure that a store that is there has no second name, as a hard link or a mounted file has.

    SQLite keeps a log for each name: who opens the store by another one reads and writes past it, and spoils the file
    ("How to corrupt", section 2.5).

    Raises:
        StoreError: It has one.
        OSError: It can't be looked at.
    """
    real_path = path.resolve()
    if real_path.stat().st_nlink > 1:
        others = real_path.stat().st_nlink - 1 - _links_of_work(real_path)
        if others > 0 and real_path.stat().st_nlink > 1:  # who makes it removes the name that it was made by
            raise StoreError(
                f"the event store {path} has another name too (a hard link), and SQLite would keep a log for each",
                hint=f"remove the other name, or {_SINGLE_NAME_HINT}: `find / -samefile {path}` finds it",
            )
    if _is_mount_point(real_path):
        raise StoreError(
            f"the event store {path} is a file that is mounted, and SQLite would keep another log where it comes from",
            hint=f"mount its folder instead, or {_SINGLE_NAME_HINT}",
        )


def _links_of_work(path: Path) -> int:
    """Return how many names a store has in the folders in which files are made for it."""
    folders = (entry for entry in path.parent.iterdir() if entry.name.startswith(work_prefix(path)))
    links = 0
    for folder in folders:
        with suppress(OSError):  # it is gone by now
            links += (folder / path.name).samefile(path)
    return links


def _is_mount_point(path: Path) -> bool:
    """Return whether a file itself is mounted. If the system does not say, it is not."""
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    name = os.fsencode(path)
    return any(_unescaped(mount.split(b" ", 5)[4]) == name for mount in mounts if mount.count(b" ") > 4)


def _unescaped(text: bytes) -> bytes:
    """Return a path of the list of mounts as it is: blanks and backslashes are octal there (proc_pid_mountinfo(5))."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes((int(match[1], 8),)), text) if b"\\" in text else text


def work_prefix(path: Path) -> str:
    """Return how the folders begin in which files for a store are made, beside it, while its folder is locked."""
    return f".{path.name}.callctl-"


def check_journal(path: Path) -> None:
    """Make sure that the rollback journal beside a database, if there is one, names no other file.

    SQLite would delete the file that it names, wherever it lies, when it opens the database for writing. Only a
    transaction on several attached databases leaves such a journal; callctl attaches none.

    Raises:
        StoreError: It names one, or is no regular file.
        OSError: It can't be looked at.
    """
    real_path = path.resolve()
    journal = real_path.with_name(f"{real_path.name}-journal")
    try:
        status = journal.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is no event store: {journal} is no regular file", hint=LOCATION_HINT)
    with journal.open("rb") as stream:
        stream.seek(max(0, status.st_size - len(_JOURNAL_MAGIC)))
        end = stream.read()
    if end.endswith(_JOURNAL_MAGIC):
        raise StoreError(
            f"the event store {path} is not opened: SQLite would delete another file, which {journal} names",
            hint=f"callctl made no such journal: move it away with its database, or {LOCATION_HINT}",
        )


def _may_be_index(path: Path) -> bool:
    """Return whether SQLite may have made a file as an index: by its size and the beginning of its header.

    The header is all zeros until the log has one ("WAL-mode File Format", section 2.1).
    """
    with path.open("rb") as stream:
        header = stream.read(_INDEX_HEADER)
    version = int.from_bytes(header[:4], sys.byteorder)
    return path.stat().st_size % _INDEX_BLOCK == 0 and (version == _INDEX_VERSION or not any(header))


def store_exists(path: Path) -> bool:
    """Return whether there is a store at a path.

    Raises:
        StoreError: There can be none, or it can't be looked at.
    """
    try:
        check_location(path)
        return path.exists()
    except OSError as error:
        why = error.strerror or str(error)
        raise StoreError(f"can't read the event store {path}: {why}", hint=LOCATION_HINT) from error
