"""Where a store may lie, and whether there is one: SQLite is not loaded to see that there is none."""

from __future__ import annotations

from pathlib import Path

from callctl.errors import StoreError

_BESIDE = ("-wal", "-shm", "-journal")  # what SQLite names the files that it keeps beside a database
LOCATION_HINT = "name another file with CALLCTL_STORE, or another folder for callctl's state with XDG_STATE_HOME"


def check_location(path: Path) -> None:
    """Make sure that a store may lie at a path, whether or not there is one.

    Raises:
        StoreError: A file stands where a folder should be, or something else where the file, or one of those that
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
    if any(name.lower().endswith(_BESIDE) for name in (path.name, real_path.name)):
        raise StoreError(
            f"there can be no event store {path}: SQLite keeps what belongs to another database under such a name",
            hint=LOCATION_HINT,
        )
    for suffix in _BESIDE:
        beside = real_path.with_name(real_path.name + suffix)
        if beside.is_symlink() or (beside.exists() and not beside.is_file()):
            raise StoreError(f"there can be no event store {path}: {beside} is no regular file", hint=LOCATION_HINT)


def check_no_log_alone(path: Path) -> None:
    """Make sure that a store which is not there can be made: SQLite would apply or remove a log that lies beside it.

    Raises:
        StoreError: A log or a journal lies there without its database.
        OSError: It can't be looked at.
    """
    logs = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-journal"))
    orphan = next((log for log in logs if log.exists() and log.stat().st_size), None)
    if orphan is not None:
        raise StoreError(
            f"there can be no event store {path}: the log of another database, {orphan}, lies beside it",
            hint=f"move it away if its database will come back, else remove it; or {LOCATION_HINT}",
        )


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
