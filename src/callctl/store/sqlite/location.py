"""Where a store lies: whether there can be one at all, said in better words than SQLite and the system have."""

from __future__ import annotations

from pathlib import Path

from callctl.errors import StoreError

HINT = "name another file with CALLCTL_STORE, or another folder for callctl's state with XDG_STATE_HOME"


def check_place(path: Path) -> None:
    """Make sure that a store may lie at a path, whether or not there is one.

    Raises:
        StoreError: A file stands where a folder should be, or something else where the file, or one of those that
            SQLite keeps beside it, should be.
        OSError: It can't be looked at.
    """
    blocking = next((folder for folder in path.parents if folder.exists()), None)
    if blocking is not None and not blocking.is_dir():
        raise StoreError(f"there can be no event store {path}: {blocking} is no folder", hint=HINT)
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise StoreError(f"there can be no event store {path}: it is {what}", hint=HINT)
    nowhere = next((one for one in (path, *path.parents) if one.is_symlink() and not one.exists()), None)
    if nowhere is not None:
        raise StoreError(
            f"there can be no event store {path}: {nowhere} is a symbolic link that leads nowhere", hint=HINT
        )
    real = path.resolve()
    for end in ("-wal", "-shm", "-journal"):
        beside = real.with_name(real.name + end)
        if beside.is_symlink() or (beside.exists() and not beside.is_file()):
            raise StoreError(f"there can be no event store {path}: {beside} is no regular file", hint=HINT)
