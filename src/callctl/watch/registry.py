"""The records by which other commands find a running watch or ``callctl listen``, one for each.

A record may be left behind by a watch that was killed, so it is only believed if the watch answers with its nonce.
The folder may be mounted in containers too, where process ids are others: a record says of which processes its is one.
It says where callbacks go, so it counts only in folders that no other user can write to.
Every ``place`` reads them, hence no asyncio here, and http.client only when there is a record to check.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from callctl.errors import CallctlError
from callctl.settings.own_folder import OTHERS_WRITE, check_own_folder, has_own_owner
from callctl.settings.values import without_edge
from callctl.support.dates import read_json
from callctl.support.threads import start
from callctl.support.urls import is_loopback_url

if TYPE_CHECKING:
    from callctl.settings import Settings
    from callctl.store.event_store import EventStore

# How long a watch may take to say that it is there, in seconds.
HEALTH_LIMIT = 1.0
# The field of a health answer by which a watch names its world until its record is written.
STARTING = "starting"
# The field by which a `place --watch` names its world, as long as it listens for its call.
PLACING = "placing"
_LONGEST_RECORD = 65536
# Seconds from one renewal of a record to the next, and for how long one counts for those that don't see its process.
RENEW_EVERY = 3600.0
RENEWED_FOR = 86400.0
# Fields that records of older versions lack.
_ADDED = ("store", "command", "host", "processes", "trouble", "polls", "keep_days")
# Whether it compares with REST; a record of an older version does not say so.
POLLS, POLLS_NOT = "yes", "no"
# For how many days one keeps events whose record does not say so: what ``--keep-days`` is unless it is given.
_USUAL_DAYS = 30
# Seconds for which an announcement in a shared store counts, from one to the next, and after one that failed.
ANNOUNCED_FOR = 20.0
ANNOUNCE_EVERY = 5.0
ANNOUNCE_RETRY = 1.0
# And in a file, where it only keeps others from deleting: long, for a machine may sleep.
ANNOUNCED_IN_FILE = 86400.0
# Where Linux lists processes; other systems are asked by ``ps``.
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class WatchRecord:
    """Where a watch can be reached, and for which account at which API address it works.

    ``command`` is the command that runs: ``watch`` or ``listen``. ``host`` is the machine of one that was announced in
    the store, where it is not known by a record here: it is on another machine, or another user's.
    ``processes`` is what ``process_space`` says, and ``trouble`` why callbacks may be lost, as it says itself.
    ``polls`` says whether it compares with REST; it is empty where that is not known. ``keep_days`` is for how many
    days it keeps events. ``health_url`` is empty while it starts: its store is open, but it may not listen yet; such
    a record is announced only.
    """

    callback_url: str
    health_url: str
    account_sid: str
    api_url: str
    pid: int
    nonce: str
    version: str
    store: str = ""
    command: str = "watch"
    host: str = ""
    processes: str = ""
    trouble: str = ""
    polls: str = ""
    keep_days: str = ""

    @property
    def days_kept(self) -> int:
        """For how many days it keeps events; 0 for no longer than it runs."""
        return int(self.keep_days[:5]) if self.keep_days.isdecimal() else _USUAL_DAYS

    @property
    def is_service(self) -> bool:
        """Whether it is ``callctl listen``, which others follow whatever its port."""
        return self.command == "listen"

    @property
    def noun(self) -> str:
        """What it is called in sentences."""
        return "listener" if self.is_service else "watch"

    @property
    def where(self) -> str:
        """Where it listens, for people: of one that was announced the machine, for nothing may answer from here."""
        return self.host or urlsplit(self.health_url).netloc

    @property
    def port(self) -> int | None:
        """The port at which it listens on this machine."""
        with suppress(ValueError):
            return urlsplit(self.health_url).port
        return None


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
        elif _is_gone(record) or _is_abandoned(path, record):
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
    records = (record for record in _all_in(store) if record.nonce != other_than and not _is_gone(record))
    return [replace(record, host="") if _is_in_own_space(record) else record for record in records]


def keeps_another_store(settings: Settings, record: WatchRecord) -> bool:
    """Return whether one that listens is known to keep events in another store than these settings name.

    Which database it is a record does not say, nor an older version's where it keeps them; and a path in another
    container may be that of another file.
    """
    if not record.keep_days or not _is_in_own_space(record):
        return False
    if settings.store_url is not None or not record.store:
        return bool(record.store) == (settings.store_url is not None)
    try:
        return not settings.store.samefile(record.store)
    except OSError:
        return os.path.realpath(record.store) != os.path.realpath(settings.store)


def listening_with_another_store(settings: Settings) -> WatchRecord | None:
    """Return the record of the newest one here that keeps events in another store, where none keeps them in this one.

    Nobody is asked whether it answers: a process that is there counts.

    Raises:
        CallctlError: The folder of the records can't be looked at, or is not to be trusted.
    """
    records = [record for _, record in _records(settings) if _is_in_own_space(record) and not _is_gone(record)]
    return records[0] if records and all(keeps_another_store(settings, record) for record in records) else None


def another_store_in_words(settings: Settings, record: WatchRecord) -> tuple[str, str]:
    """Say that one that listens keeps events in another store than these settings name, and what mends that."""
    there = record.store or "a database"
    what = f"the running {record.noun} (process {record.pid}) keeps events in {there}, not in {settings.store_name}"
    how = f"CALLCTL_STORE={shlex.quote(record.store)}" if record.store else "CALLCTL_STORE as it has it"
    return f"{what}: neither knows what was done by way of the other", f"set {how} to use the same store"


def nobody_polls(settings: Settings, store: EventStore, record: WatchRecord) -> bool:
    """Return whether none of those that keep events where a listener does compares with REST; in doubt one does.

    Raises:
        CallctlError: The store can't be read, or the folder of the records not be looked at or trusted.
    """
    if record.polls != POLLS_NOT:
        return False
    others = [other for other in running(settings) if other.store == record.store]
    others += announced_in(settings, store) if store.is_shared else []
    return all(other.polls == POLLS_NOT for other in others)


def _without_record(settings: Settings, records: list[WatchRecord]) -> list[WatchRecord]:
    """Leave out those that a record on this machine tells more of, and those whose process here is gone."""
    recorded = {record.nonce for _, record in _records(settings)} if records else set()
    return [record for record in records if record.nonce not in recorded and not _is_gone(record)]


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
    return [record for record_text in store.announced().values() if (record := _record_of(record_text)) is not None]


def is_here(record: WatchRecord) -> bool:
    """Return whether a record is of this machine."""
    return record.host in ("", socket.gethostname())


def process_space() -> str:
    """Return what names the processes that this one sees by their ids: those of this machine, or of this container.

    It is empty where the system does not say.
    """
    try:
        boot = (PROC / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(PROC / 'self' / 'ns' / 'pid').readlink()}"
    except (OSError, ValueError):
        return ""


def _is_in_own_space(record: WatchRecord) -> bool:
    """Return whether the process id of a record can be judged from here."""
    space = process_space()
    return record.processes == space and (bool(space) or is_here(record))


def _is_gone(record: WatchRecord) -> bool:
    """Return whether the process of a record is known to be gone; of one in another container that is not known."""
    return _is_in_own_space(record) and not _exists(record.pid)


def _is_abandoned(path: Path, record: WatchRecord) -> bool:
    """Return whether a record, whose process can't be seen from here, has not been renewed for long."""
    if _is_in_own_space(record):
        return False
    with suppress(OSError):
        return time.time() - path.stat().st_ctime > RENEWED_FOR
    return False


def announce(store: EventStore, record: WatchRecord) -> None:
    """Tell those who use the same store, wherever they are, that this one listens and keeps events there.

    Raises:
        StoreError: It can't be written.
    """
    host = socket.gethostname()
    url = f"http://{host}:{record.port}/healthz" if record.health_url else ""
    elsewhere = replace(record, host=host, processes=process_space(), health_url=url)
    seconds = ANNOUNCED_FOR if store.is_shared else ANNOUNCED_IN_FILE
    store.announce(record.nonce, asdict(elsewhere), lasting=timedelta(seconds=seconds))


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


def has_stopped_process(record: WatchRecord) -> bool:
    """Return whether the process of a record can be seen from here and is stopped."""
    return _is_in_own_space(record) and is_stopped(record.pid)


def is_stopped(pid: object) -> bool:
    """Return whether a process is stopped, as by Ctrl-Z; in doubt it is not."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        # Where there is /proc: the state follows the name, which may itself have brackets and blanks.
        state = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        state = "" if (PROC / "self" / "stat").exists() else _state_by_ps(pid)
    return state[:1] in ("T", "t")


def _state_by_ps(pid: int) -> str:
    import subprocess

    try:
        listed = subprocess.run(
            ["/bin/ps", "-o", "state=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=HEALTH_LIMIT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return listed.stdout.strip()


def stopped_in_words(record: WatchRecord) -> str:
    """Say that a watch is stopped."""
    return f"the {record.noun} (process {record.pid}) is stopped, as by Ctrl-Z: it takes nothing in until it goes on"


def resume_hint(record: WatchRecord) -> str:
    """Say what lets a watch that is stopped go on."""
    return f"`fg` in its terminal, or `kill -CONT {record.pid}`, lets it go on"


def health_url_at(port: int) -> str:
    """Return the health URL of a watch at a port of this machine, if one listens there."""
    return f"http://127.0.0.1:{port}/healthz"


def is_starting(health_url: str, world: str, *, timeout: float = HEALTH_LIMIT) -> bool:
    """Ask a health URL, for ``timeout`` seconds at most, whether a watch of this world listens that has no record yet.

    Its tunnel is not proven by then. It writes the record before it says that it has started.
    """
    answer = ask_health(health_url, timeout=timeout)
    return answer is not None and answer.get(STARTING) == world


def starting_in_words(port: int) -> str:
    """Say that a watch is still starting."""
    return f"a watch is still starting at port {port}"


def is_alive(record: WatchRecord, *, timeout: float = HEALTH_LIMIT) -> bool:
    """Ask the health URL, for ``timeout`` seconds at most, whether the watch with this nonce is there."""
    return health_of(record, timeout=timeout) is not None


def health_of(record: WatchRecord, *, timeout: float = HEALTH_LIMIT) -> dict[str, object] | None:
    """Return what the watch with this nonce says at its health URL within ``timeout`` seconds, else None."""
    answer = ask_health(record.health_url, timeout=timeout)
    return answer if answer is not None and answer.get("nonce") == record.nonce else None


def why_callbacks_may_be_lost(health: Mapping[str, object]) -> str | None:
    """Return why callbacks may be lost that are sent to a watch, by what it says of its health; None if none are."""
    if health.get("reachable") is False:
        return "no request comes through to it now"
    if health.get("status") == "failing":
        # An older listener does not say with what.
        return f"it can't store callbacks now and answers with {503 if health.get('answers_with') == 503 else 500}"
    return None


def trouble_of(record: WatchRecord) -> str | None:
    """Return why callbacks may be lost that are sent to a watch, as it says itself: when asked, or as it announced."""
    if record.host:  # at its health URL nothing need answer from here
        return record.trouble or None
    return why_callbacks_may_be_lost(ask_health(record.health_url) or {})


def ask_health(url: str, *, timeout: float = HEALTH_LIMIT) -> dict[str, object] | None:
    """Return what a watch says at its health URL within ``timeout`` seconds, else None. No proxy is used."""
    answers: list[dict[str, object] | None] = []
    # In a thread, for the limit is on the whole answer, and http.client's is on each wait within it.
    asking = threading.Thread(target=lambda: answers.append(_ask(url, timeout=timeout)), daemon=True)
    start(asking)
    asking.join(timeout)
    return answers[0] if answers else None


def _ask(url: str, *, timeout: float) -> dict[str, object] | None:
    from http.client import HTTPConnection, HTTPException

    try:
        parts = urlsplit(url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    except (ValueError, HTTPException):
        return None
    try:
        connection.request("GET", parts.path or "/")
        answer = read_json(connection.getresponse().read(_LONGEST_RECORD).decode("utf-8", "replace"))
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None


def _records(settings: Settings) -> Iterator[tuple[Path, WatchRecord]]:
    """Yield the records of those that listen, or did, for this account and API address, the newest first."""
    own_url = without_edge(settings.api_url)  # through whichever edge: the files of one world are read here
    for path in _paths(settings):
        record = _read(path)
        if record is not None and (record.account_sid, without_edge(record.api_url)) == (settings.account_sid, own_url):
            yield path, record


def _exists(pid: object) -> bool:
    """Return whether a process is there; in doubt it is."""
    try:
        os.kill(pid if isinstance(pid, int) and pid > 0 else os.getpid(), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


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
        return _record_of(read_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _record_of(fields: Any) -> WatchRecord | None:
    """Return the record of its fields; None if they are none of a record."""
    try:
        # A record that an older callctl left lacks the last ones.
        record = WatchRecord(
            **{name: fields[name] for name in WatchRecord.__slots__ if name not in _ADDED or name in fields}
        )
    except (KeyError, TypeError):
        return None
    texts = (getattr(record, name) for name in WatchRecord.__slots__ if name != "pid")
    return record if all(isinstance(text, str) for text in texts) and record.nonce else None
