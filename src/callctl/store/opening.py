"""Opening the store that the settings name: the one place that knows where it lies and of which kind it is.

What opens it is imported when it is needed: most commands find that there is no store.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from callctl.errors import StoreAwayError, StoreError
from callctl.store.sqlite.location import store_exists
from callctl.support.clock import elapsed

if TYPE_CHECKING:
    from callctl.settings import Settings
    from callctl.store.event_store import EventStore
    from callctl.store.sqlite.store import SqliteStore

# How many seconds to wait for another program's lock. Twilio waits 15 for an answer.
_BUSY_TIMEOUT = 5.0
# How many seconds a command waits for a connection to a server. A hang-up goes on without a store.
_CONNECT_LIMIT = 2.0
# Seconds. A server that gave no answer for _LONG_WAIT is not tried again by the same command for _NOT_TRIED_AGAIN.
_LONG_WAIT = 1.0
_NOT_TRIED_AGAIN = 10.0
_silent: dict[str, tuple[float, StoreAwayError]] = {}  # by URL, since when by the monotonic clock, and what was said
# The URLs of the stores that this process keeps open: a watch outlasts such a silence, and tries again each time.
_kept_open: set[str] = set()


def open_store(
    settings: Settings,
    *,
    busy_timeout: float = _BUSY_TIMEOUT,
    stays_open: bool = False,
    on_trouble: Callable[[str], None] = lambda _text: None,
    on_recovery: Callable[[str], None] = lambda _text: None,
) -> EventStore:
    """Open the store, or make its file. Files that somebody damages meanwhile are left for a watch to repair.

    A database must have its schema, which ``callctl store migrate`` makes. ``on_trouble`` is called, in any thread,
    with why its server is away, and then ``on_recovery`` with the news that it is there again. ``busy_timeout`` is how
    many seconds to wait for another program's lock on a file. A server has longer to answer where the store stays open,
    as that of who follows a listener does.

    Raises:
        StoreError: It can't be opened.
    """
    if settings.store_url is not None:
        return _shared(
            settings, settings.store_url, stays_open=stays_open, on_trouble=on_trouble, on_recovery=on_recovery
        )
    from callctl.store.sqlite.store import SqliteStore

    path = settings.checked_store()
    return _adopting(SqliteStore.open(path, world=settings.world, busy_timeout=busy_timeout), settings)


def open_for_watch(
    settings: Settings, *, on_trouble: Callable[[str], None], on_recovery: Callable[[str], None] = lambda _text: None
) -> EventStore:
    """Do what ``open_store`` does; repair the files where somebody changes them, and read while others write.

    ``on_trouble`` is called, in any thread, with what was done to the files and what became of their content; and of a
    database with why its server is away, and then ``on_recovery`` with the news that it is there again.

    Raises:
        StoreError: It can't be opened.
    """
    if settings.store_url is not None:
        from callctl.store.postgresql.store import PostgresStore

        _kept_open.add(settings.store_url)
        shared = PostgresStore.open(
            settings.store_url, world=settings.world, on_trouble=on_trouble, on_recovery=on_recovery
        )
        shared.describe_world(account_sid=settings.account_sid, api_url=settings.api_url)
        return shared
    from callctl.store.sqlite.store import SqliteStore

    path = settings.checked_store()
    opened = SqliteStore.open_for_watch(path, world=settings.world, busy_timeout=_BUSY_TIMEOUT, on_trouble=on_trouble)
    return _adopting(opened, settings)


def has_store(settings: Settings) -> bool:
    """Return whether there is a store where the settings say; a database is taken to be there.

    Raises:
        StoreError: There can be none, or it can't be looked at.
    """
    return settings.store_url is not None or store_exists(settings.checked_store())


def open_existing(settings: Settings, *, busy_timeout: float = _BUSY_TIMEOUT) -> EventStore | None:
    """Open the store for reading and writing; return None if there is none.

    ``busy_timeout`` is how many seconds to wait for another program's lock.

    Raises:
        StoreError: It can't be read, or was written by another version of callctl.
    """
    if settings.store_url is not None:
        return _shared(settings, settings.store_url)
    if not has_store(settings):
        return None
    from callctl.store.sqlite.store import SqliteStore

    return _adopting(
        SqliteStore.open_existing(settings.store, world=settings.world, busy_timeout=busy_timeout), settings
    )


def open_readonly(settings: Settings, *, busy_timeout: float = _BUSY_TIMEOUT) -> EventStore | None:
    """Open the store, which another process may be writing, for reading only; return None if there is none.

    ``busy_timeout`` is how many seconds to wait for another program's lock.

    Raises:
        StoreError: It can't be read, or was written by another version of callctl.
    """
    if settings.store_url is not None:
        return _shared(settings, settings.store_url)
    if not has_store(settings):
        return None
    from callctl.store.sqlite.store import SqliteStore

    if settings.former_worlds:
        with suppress(StoreError), closing(SqliteStore.open_existing(settings.store, world=settings.world)) as writable:
            for former in settings.former_worlds:
                writable.adopt(former)
    return SqliteStore.open_readonly(settings.store, world=settings.world, busy_timeout=busy_timeout)


def open_file_readonly(path: Path, *, world: str) -> EventStore:
    """Open the store that another watch's record names, for reading only.

    Raises:
        StoreError: It is not there, can't be read, or was written by another version of callctl.
    """
    from callctl.store.sqlite.store import SqliteStore

    return SqliteStore.open_readonly(path, world=world, busy_timeout=_BUSY_TIMEOUT)


def _adopting(store: SqliteStore, settings: Settings) -> SqliteStore:
    """Return a store, with the rows that belong to it by a former name of its world."""
    try:
        for former in settings.former_worlds:
            _adopt(store, former)
    except BaseException:
        store.close()
        raise
    return store


def _adopt(store: SqliteStore, former: str) -> None:
    try:
        store.adopt(former)
    except StoreError:
        if not store.mend():
            raise
        store.adopt(former)


def _shared(
    settings: Settings,
    url: str,
    *,
    stays_open: bool = False,
    on_trouble: Callable[[str], None] = lambda _text: None,
    on_recovery: Callable[[str], None] = lambda _text: None,
) -> EventStore:
    from callctl.store.postgresql.store import PostgresStore

    if stays_open:
        _kept_open.add(url)
        return PostgresStore.open(url, world=settings.world, on_trouble=on_trouble, on_recovery=on_recovery)
    began = elapsed()
    since, error = _silent.get(url, (began - _NOT_TRIED_AGAIN, None))
    if error is not None and began - since < _NOT_TRIED_AGAIN and url not in _kept_open:
        raise StoreAwayError(error.message, hint=error.hint)
    try:
        return PostgresStore.open(
            url, world=settings.world, connect_limit=_CONNECT_LIMIT, on_trouble=on_trouble, on_recovery=on_recovery
        )
    except StoreAwayError as why:
        if elapsed() - began >= _LONG_WAIT:
            _silent[url] = elapsed(), StoreAwayError(why.message, hint=why.hint)
        raise
