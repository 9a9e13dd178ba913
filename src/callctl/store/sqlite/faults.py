"""What SQLite and the file system raise, made ours: StoreError, with what to do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from callctl.errors import StoreError
from callctl.store.sqlite.location import HINT


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turn what SQLite and the file system raise into StoreError, with what to do about it."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"can't {doing} the event store {path}: {_reason(error)}", hint=_hint(error)) from error


def _reason(error: sqlite3.Error | OSError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _hint(error: sqlite3.Error | OSError) -> str:
    hints = {
        sqlite3.SQLITE_FULL: "make room on the disk; events are refused until then, so that Twilio may send them again",
        sqlite3.SQLITE_BUSY: "another program holds the file locked; close it",
        sqlite3.SQLITE_NOTADB: "the file is no database; move it away, or name another with CALLCTL_STORE",
        sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away, or name another with CALLCTL_STORE",
    }
    code = getattr(error, "sqlite_errorcode", None)
    return HINT if code is None else hints.get(code & 0xFF, HINT)  # the low byte is the primary code
