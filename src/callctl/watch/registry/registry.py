"""The records by which other commands find a running watch or ``callctl listen``, one for each.

A record may be left behind by a watch that was killed, so it is only believed if the watch answers with its nonce.
It says where callbacks go, so it counts only in folders that no other user can write to.
Every ``place`` reads them, hence no asyncio here.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from callctl.errors import CallctlError
from callctl.settings.own_folder import OTHERS_WRITE, check_own_folder, has_own_owner
from callctl.settings.values import without_edge
from callctl.support.parsing import read_json
from callctl.support.urls import is_loopback_url
from callctl.watch.registry.health import HEALTH_LIMIT, is_alive
from callctl.watch.registry.process import has_stopped_process, is_gone, is_here, is_in_own_space, process_space
from callctl.watch.registry.record import NO, WatchRecord, record_of

if TYPE_CHECKING:
    from callctl.settings import Settings
    from callctl.store.event_store import EventStore

_LONGEST_RECORD = 65536  # bytes
# Seconds from one renewal of a record to the next, and for how long one counts for those that don't see its process.
RENEW_EVERY = 3600.0
RENEWED_FOR = 86400.0
# Seconds for which an announcement in a shared store counts, from one to the next, and after one that failed.
ANNOUNCED_FOR = 20.0
ANNOUNCE_EVERY = 5.0
ANNOUNCE_RETRY = 1.0
# And in a file, where it only keeps others from deleting: long, for a machine may sleep.
ANNOUNCED_IN_FILE = 86400.0
# How many announcements, the newest, are looked at first, and how many for processes that are gone: listeners that are
# killed and started over and over leave thousands in a file.
_LOOKED_AT_FIRST = 20
_MOST_JUDGED = 1000


def write_record(settings: Settings, record: WatchRecord) -> Path:
    """Write a record for ``place``: whole or not at all, readable by its owner only.

    Raises:
        CallctlError: It can't be written, or others could change it.
    """
    path, state_dir = _path(settings, record.nonce), settings.state_dir
    try:
        state_dir.parent.mkdir(parents=True, exist_ok=True)
        for folder in _folders(state_dir):
            with suppress(FileExistsError):  # maybe a file, which is found out next
                folder.mkdir(mode=0o700)
        check_folders(state_dir)
        # mkstemp makes it 0600; the new name comes into being with the whole text in it.
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(asdict(record), stream)
        Path(made).replace(path)
    except OSError as error:
        raise CallctlError(
            f"can't write the record of the running watch, {path}: {error.strerror}",
            hint="set XDG_STATE_HOME to a directory that can be written",
        ) from error
    return path


def has_record(settings: Settings, nonce: str) -> bool:
    """Return whether this watch's record is there; in doubt it is."""
    try:
        _path(settings, nonce).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def renew_record(settings: Settings, nonce: str) -> None:
    """Show, from time to time, to those that don't see its process that this watch is there."""
    path = _path(settings, nonce)
    with suppress(OSError):
        status = path.stat()
        if time.time() - status.st_ctime > RENEW_EVERY:  # the time of its writing stays: the newest is the first
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def remove_record(settings: Settings, nonce: str) -> None:
    """Remove this watch's record; those of others stay."""
    with suppress(OSError):
        _path(settings, nonce).unlink()


def find(settings: Settings) -> WatchRecord | None:
    """Return the record of the newest watch that runs for this account and API address and answers, or None.

    One whose callback URL is on loopback counts only if the API is on loopback too, and it is on this machine: nobody
    else could reach it.

    Raises:
        CallctlError: The folder of the records can't be looked at, or is not to be trusted.
    """

    def counts(record: WatchRecord) -> bool:
        return not is_loopback_url(record.callback_url) or (settings.is_loopback and is_here(record))

    return next(filter(counts, running(settings)), None) or next(filter(counts, announced(settings)), None)


def running(settings: Settings, *, timeout: float = HEALTH_LIMIT) -> Iterator[WatchRecord]:
    """Yield the records of the watches that run for this account and API address and answer, the newest first.

    Each is given ``timeout`` seconds to answer.

    Raises:
        CallctlError: The folder of the records can't be looked at, or is not to be trusted.
    """
    for path, record in _records(settings):
        if is_alive(record, timeout=timeout):
            yield record
        elif is_gone(record) or _is_abandoned(path, record):
            with suppress(OSError):
                path.unlink()  # left behind by a watch that was killed


def services(settings: Settings) -> list[WatchRecord]:
    """Return the records of the ``callctl listen`` that run for this account and API address: first that at the
    port that is set, then the newest.

    Raises:
        CallctlError: The folder of the records can't be looked at, or is not to be trusted.
    """
    records = [record for record in running(settings) if record.is_service]
    if not records:
        return [record for record in announced(settings) if record.is_service]
    return sorted(records, key=lambda record: record.port != settings.port)


def announced(settings: Settings) -> list[WatchRecord]:
    """Return the records of those that listen and keep events in the shared store, if it is one, and have none here.

    They are on other machines, or other users'.

    Raises:
        CallctlError: The store can't be read, or the folder of the records not be looked at or trusted.
    """
    return _without_record(settings, _announced_anywhere(settings))


def announced_in(settings: Settings, store: EventStore) -> list[WatchRecord]:
    """Return the records of those that listen and keep events in a store, and have none here.

    Raises:
        CallctlError: It can't be read, or the folder of the records not be looked at or trusted.
    """
    return _without_record(settings, _all_in(store))


def keepers(store: EventStore, *, other_than: str) -> list[WatchRecord]:
    """Return the records of those that keep events in a store, but for the one with the nonce ``other_than``.

    They announce themselves in the store, so that it does not matter by what path, on which machine or in which
    container they use it. Those that are starting are among them, and those that do not answer: what they keep must
    not be deleted. The record of one whose process can be seen from here names no host.

    Raises:
        StoreError: It can't be read.
    """
    space = process_space()
    return [
        replace(record, host="") if is_in_own_space(record, space=space) else record
        for record in _keepers(store, other_than=other_than, space=space)
    ]


def has_others(store: EventStore, *, other_than: str) -> bool:
    """Return whether there are ``keepers`` of a store, which is sooner known than all of them are.

    Raises:
        StoreError: It can't be read.
    """
    space = process_space()
    some = (_keepers(store, other_than=other_than, space=space, limit=limit) for limit in (_LOOKED_AT_FIRST, None))
    return any(True for records in some for _ in records)


def _keepers(store: EventStore, *, other_than: str, space: str, limit: int | None = None) -> Iterator[WatchRecord]:
    for fields in store.announced(limit=limit).values():
        record = record_of(fields)
        if record is not None and record.nonce != other_than and not is_gone(record, space=space):
            yield record


def keeps_another_store(settings: Settings, record: WatchRecord) -> bool:
    """Return whether one that listens is known to keep events in another store than these settings name.

    Which database it is a record does not say, nor an older version's where it keeps them; and a path in another
    container may be that of another file.
    """
    if not record.keep_days or not is_in_own_space(record):
        return False
    if settings.store_url is not None or not record.store:
        return bool(record.store) == (settings.store_url is not None)
    try:
        return not settings.store.samefile(record.store)
    except OSError:
        return os.path.realpath(record.store) != os.path.realpath(settings.store)


def listening_with_another_store(settings: Settings) -> WatchRecord | None:
    """Return the record of the newest one here that keeps events in another store, where none keeps them in this one.

    Its health URL is not requested: a process that is there counts.

    Raises:
        CallctlError: The folder of the records can't be looked at, or is not to be trusted.
    """
    records = [record for _, record in _records(settings) if is_in_own_space(record) and not is_gone(record)]
    return records[0] if records and all(keeps_another_store(settings, record) for record in records) else None


def another_store_in_words(settings: Settings, record: WatchRecord) -> tuple[str, str]:
    """Say that one that listens keeps events in another store than these settings name, and what mends that."""
    there = record.store or "a database"
    what = f"the running {record.noun} (process {record.pid}) keeps events in {there}, not in {settings.store_name}"
    how = f"CALLCTL_STORE={shlex.quote(record.store)}" if record.store else "CALLCTL_STORE as it has it"
    return f"{what}: neither knows what is done through the other", f"set {how} to use the same store"


def nobody_polls(settings: Settings, store: EventStore, record: WatchRecord) -> bool:
    """Return whether none of those that keep events where a listener does compares with REST; in doubt one does.

    Raises:
        CallctlError: The store can't be read, or the folder of the records not be looked at or trusted.
    """
    if record.polls != NO:
        return False
    others = [other for other in running(settings) if other.store == record.store]
    others += announced_in(settings, store) if store.is_shared else []
    return all(other.polls == NO for other in others)


def _without_record(settings: Settings, records: list[WatchRecord]) -> list[WatchRecord]:
    """Leave out those of which a record on this machine says more, and those whose process here is gone."""
    recorded, space = {record.nonce for _, record in _records(settings)} if records else set(), process_space()
    return [record for record in records if record.nonce not in recorded and not is_gone(record, space=space)]


def _announced_anywhere(settings: Settings) -> list[WatchRecord]:
    if settings.store_url is None:
        return []
    from contextlib import closing

    from callctl.store.opening import open_readonly

    store = open_readonly(settings)
    if store is None:
        return []
    with closing(store):
        return _all_in(store)


def _all_in(store: EventStore) -> list[WatchRecord]:
    return [record for record_text in store.announced().values() if (record := record_of(record_text)) is not None]


def _is_abandoned(path: Path, record: WatchRecord) -> bool:
    """Return whether a record, whose process can't be seen from here, has not been renewed for long."""
    if is_in_own_space(record):
        return False
    with suppress(OSError):
        return time.time() - path.stat().st_ctime > RENEWED_FOR
    return False


def announce(store: EventStore, record: WatchRecord) -> None:
    """Announce to all that use the same store, wherever they are, that this one listens and keeps events there.

    From a file, where an announcement counts for long, those of processes that are known to be gone are deleted.

    Raises:
        StoreError: It can't be written.
    """
    host = socket.gethostname()
    url = f"http://{host}:{record.port}/healthz" if record.health_url else ""
    space = process_space()
    elsewhere = replace(record, host=host, processes=space, health_url=url)
    seconds = ANNOUNCED_FOR if store.is_shared else ANNOUNCED_IN_FILE
    store.announce(record.nonce, asdict(elsewhere), lasting=timedelta(seconds=seconds))
    if not store.is_shared and space:  # else the name of a machine is all that says whose process ids they are
        known = ((nonce, record_of(fields)) for nonce, fields in store.announced(limit=_MOST_JUDGED).items())
        gone = [nonce for nonce, other in known if other is not None and is_gone(other, space=space)]
        if gone:
            store.withdraw(*gone)


def others(settings: Settings, record: WatchRecord) -> Callable[[], Collection[str]]:
    """Return what looks up by which nonces others answer at the same callback URL, here or on other machines.

    They take turns with the one of ``record`` behind a proxy, and store the same.
    """

    def look_up() -> Collection[str]:
        nonces: set[str] = set()
        with suppress(CallctlError):
            nonces |= {other.nonce for _, other in _records(settings) if is_beside(other)}
        with suppress(CallctlError):
            nonces |= {other.nonce for other in _announced_anywhere(settings) if is_beside(other)}
        return nonces - {record.nonce}

    def is_beside(other: WatchRecord) -> bool:
        return (other.callback_url, other.store) == (record.callback_url, record.store)

    return look_up


def stopped(settings: Settings) -> WatchRecord | None:
    """Return the record of the newest watch of this account and API address whose process is stopped (Ctrl-Z).

    Of a watch in another container that is not known. Such a process answers nothing, and neither does it let go of
    its port.

    Raises:
        CallctlError: The records can't be looked for or trusted.
    """
    return next((record for _, record in _records(settings) if has_stopped_process(record)), None)


def silent(settings: Settings, *, other_than: Collection[str]) -> list[WatchRecord]:
    """Return the records of those whose process is there, but for the nonces ``other_than``: of those that answer.

    Of one in another container it is not known.

    Raises:
        CallctlError: The records can't be looked for or trusted.
    """
    records = (record for _, record in _records(settings) if record.nonce not in other_than)
    return [record for record in records if is_in_own_space(record) and not is_gone(record)]


def _records(settings: Settings) -> Iterator[tuple[Path, WatchRecord]]:
    """Yield the records of those that listen, or did, for this account and API address, the newest first."""
    own_url = without_edge(settings.api_url)  # through whichever edge: the files of one world are read here
    for path in _paths(settings):
        record = _read(path)
        if record is not None and (record.account_sid, without_edge(record.api_url)) == (settings.account_sid, own_url):
            yield path, record


def _path(settings: Settings, nonce: str) -> Path:
    return settings.state_dir / "watch" / f"{settings.world}-{nonce}.json"


def check_folders(state_dir: Path) -> bool:
    """Make sure that only this user writes records; return whether there may be any.

    Raises:
        CallctlError: A folder is none, is somebody else's or open to others, or can't be looked at.
    """
    return all(check_own_folder(folder, could="say where callbacks go") for folder in _folders(state_dir))


def _folders(state_dir: Path) -> tuple[Path, Path]:
    return state_dir, state_dir / "watch"


def _paths(settings: Settings) -> list[Path]:
    dated: list[tuple[int, Path]] = []
    if not check_folders(settings.state_dir):
        return []
    for path in (settings.state_dir / "watch").glob(f"{settings.world}-*.json"):
        with suppress(OSError):
            dated.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(dated, reverse=True)]


def _read(path: Path) -> WatchRecord | None:
    try:
        status = path.stat()
        is_own = has_own_owner(status) and not status.st_mode & OTHERS_WRITE
        if not (stat.S_ISREG(status.st_mode) and is_own) or status.st_size > _LONGEST_RECORD:
            return None
        return record_of(read_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
