"""Opening the store that the settings name: the one place that knows where it lies and of which kind it is.

What opens it is imported when it is needed: most commands find that there is no store.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from callctl.store.sqlite.location import store_exists

if TYPE_CHECKING:
    from callctl.settings import Settings
    from callctl.store.event_store import EventStore

# How many seconds to wait for another program's lock. Twilio waits 15 for an answer.
_BUSY_TIMEOUT = 5.0


def open_store(settings: Settings) -> EventStore:
    """Open the store, or make it. Files that somebody damages meanwhile are left for a watch to repair.

    Raises:
        StoreError: It can't be opened.
    """
    from callctl.store.sqlite.store import SqliteStore

    return SqliteStore.open(settings.checked_store(), world=settings.world, busy_timeout=_BUSY_TIMEOUT)


def open_for_watch(settings: Settings, *, on_trouble: Callable[[str], None]) -> EventStore:
    """Do what ``open_store`` does; repair the files where somebody changes them, and read while others write.

    ``on_trouble`` is called, in any thread, with what was done to the files and what became of their content.

    Raises:
        StoreError: It can't be opened.
    """
    from callctl.store.sqlite.store import SqliteStore

    path = settings.checked_store()
    return SqliteStore.open_for_watch(path, world=settings.world, busy_timeout=_BUSY_TIMEOUT, on_trouble=on_trouble)


def has_store(settings: Settings) -> bool:
    """Return whether there is a store where the settings say.

    Raises:
        StoreError: There can be none, or it can't be looked at.
    """
    return store_exists(settings.checked_store())


def open_existing(settings: Settings) -> EventStore | None:
    """Open the store for reading and writing; return None if there is none.

    Raises:
        StoreError: It can't be read, or was written by another version of callctl.
    """
    if not has_store(settings):
        return None
    from callctl.store.sqlite.store import SqliteStore

    return SqliteStore.open_existing(settings.store, world=settings.world, busy_timeout=_BUSY_TIMEOUT)


def open_readonly(settings: Settings, *, busy_timeout: float = _BUSY_TIMEOUT) -> EventStore | None:
    """Open the store, which another process may be writing, for reading only; return None if there is none.

    ``busy_timeout`` is how many seconds to wait for another program's lock.

    Raises:
        StoreError: It can't be read, or was written by another version of callctl.
    """
    if not has_store(settings):
        return None
    from callctl.store.sqlite.store import SqliteStore

    return SqliteStore.open_readonly(settings.store, world=settings.world, busy_timeout=busy_timeout)


def open_file_readonly(path: Path, *, world: str) -> EventStore:
    """Open the store that another watch's record names, for reading only.

    Raises:
        StoreError: It is not there, can't be read, or was written by another version of callctl.
    """
    from callctl.store.sqlite.store import SqliteStore

    return SqliteStore.open_readonly(path, world=world, busy_timeout=_BUSY_TIMEOUT)
