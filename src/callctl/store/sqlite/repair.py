"""The connection of a watch, which repairs the store's files where somebody changes them from outside."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callctl.errors import StoreError
from callctl.store.sqlite.connection import DAMAGED, locked_folder, primary_code
from callctl.store.sqlite.file_checks import (
    RESTORED,
    FileChecks,
    NewestEvent,
    has_newest_event,
    is_same_store,
    last_common_event,
    open_found,
)
from callctl.store.sqlite.file_identity import check_identity
from callctl.store.sqlite.files import File, Files
from callctl.store.sqlite.guarded_connection import (
    ClaimKey,
    GuardedConnection,
    UndeliveredKey,
    changed_from_outside,
)
from callctl.store.sqlite.location import check_single_name
from callctl.store.sqlite.rescue.copying import (
    copy_to_new_file,
    data_version,
    is_whole,
    keep_rows_beside,
    open_copy,
    remove_kept_rows,
)
from callctl.store.sqlite.rescue.leftovers import settle_leftovers
from callctl.store.sqlite.rescue.recent_rows import RecentRows
from callctl.store.sqlite.rescue.row_transfer import (
    RuleRows,
    add_newer_events,
    add_some_events,
    carry_over,
    copy_table,
    lacking_events,
    merge,
    rule_rows,
)
from callctl.store.sqlite.rescue.set_aside import free_name, is_set_aside, remove_lone_index, set_aside, set_log_aside
from callctl.store.sqlite.rows import last_number
from callctl.store.sqlite.schema import find_alteration, has_tables, newest_version, set_store_id, store_id, version_of

if TYPE_CHECKING:
    from callctl.store.sqlite.writer import FileWriter

# KiB of pages that SQLite keeps in memory: these can still be read once the database is overwritten.
_CACHE = 16 * 1024
_CHECK_EVERY = 1.0  # seconds, where nothing is written
# Commits, or changed rows, after which the log is copied to the database: some MB, as SQLite would do by itself.
_MOST_COMMITS, _MOST_CHANGES = 200, 4000
# The most events that are kept of a store whose ids have nothing in common with those of the file at its path: more
# than are in a log.
_MOST_LACKING = 8192
_SETTLE = 0.05  # seconds in which somebody who removes or replaces the files one by one is done with it


class _Files(Enum):
    """What lies at a store's path after somebody changed its files."""

    NOTHING = "nothing"  # it was purged
    DAMAGED = "damaged"
    EARLIER = "earlier"  # a state of this very store that lacks something
    COMPLETE = "complete"  # a state of it that lacks nothing
    OTHER = "other"  # another store


_RULES_KEPT = "; what rules have done is kept, so that none acts twice"
_REPORTS = {
    _Files.NOTHING: "the event store {} was removed, and is begun anew" + _RULES_KEPT,
    _Files.OTHER: "the event store {} was replaced by another store, which is used from now on" + _RULES_KEPT,
    _Files.EARLIER: "the event store {} was replaced by another state of it; all that it lacked was written into that",
    _Files.COMPLETE: "the event store {} was replaced by a copy of it, which lacks nothing and is used from now on",
}


class RepairingConnection(GuardedConnection):
    """The connection of a store that repairs its files.

    What it can still read of damaged files is copied to a new one; the old ones are kept beside it under another name.
    Where all of them were removed together, as one does to purge a store, or another store was put at their path, only
    the rows of rules are carried over. Another state of the same store, as out of a backup or moved away and back, gets
    all that it lacks.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        *,
        on_trouble: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open the file.

        Args:
            path: The database file.
            connect: Opens or makes it, or raises StoreError.
            on_trouble: Called, in any thread, with what was repaired.
            pause: Waits for some seconds.
        """
        self._on_trouble, self._pause = on_trouble, pause
        self._unrescued: Path | None = None  # where damaged files were set aside of which nothing is copied yet
        # Where files were set aside to which another process may have written: another database, or by another log.
        self._others: Path | None = None
        self._stray: Path | None = None  # where a log was set aside that does not belong to what was put at the path
        self._kept: list[Path] = []  # where rows are kept on the disk until they are in the store at the path
        self._recent = RecentRows()
        self._ids: set[str] = set()  # of the stores that were used at the path, whose backups are this very store
        self._id: str | None = None
        self._carried: RuleRows | None = None  # of a purged store, until it is begun anew
        self._writer: FileWriter | None = None
        self._is_closing = self._is_name_said = False
        self._last_request = time.monotonic()
        with suppress(OSError, sqlite3.Error, StoreError):  # opening it says what is wrong
            report = settle_leftovers(Path(os.path.realpath(path)))
            if report is not None:
                on_trouble(report)
        super().__init__(path, connect)

    def attach(self, writer: FileWriter) -> None:
        """Have the thread of a writer check the files on request, and its newest events restored after damage."""
        self._writer = writer

    def has_open(self, files: Files) -> bool:
        """Return whether these are the files that were opened last. To be called in any thread."""
        return self._checks.files.replaced_in(files) is None

    def request_check(self, *, at_once: bool) -> None:
        """Have another thread check the files, if it is time or ``at_once``: repairs may take long. Return at once."""
        now = time.monotonic()
        if self._writer is not None and (at_once or now - self._last_request >= _CHECK_EVERY):
            self._last_request = now
            self._writer.request_check()

    def close(self, *, timeout: float = -1) -> None:
        """Close the files, repaired if need be, unless they are in use for longer than ``timeout`` seconds."""
        if not self._lock.acquire(timeout=timeout):
            return  # they can't be repaired now either; this process ends, and SQLite forgets what is not committed
        self._lock.release()
        with suppress(StoreError, sqlite3.ProgrammingError):  # the latter: closed before
            self.connection.execute("SELECT 1")
            if not self._current_files().are_gone:
                self._is_closing = True
                self.check()
        super().close(timeout=timeout)
        self._checks.close()

    def _adopt(self, connection: sqlite3.Connection) -> None:
        # Checkpoints are made only where what others write can be distinguished from them.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA cache_size = {-_CACHE}")
        found_damage = False
        try:  # what a killed watch left in the log is in no memory
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.OperationalError:
            pass
        except sqlite3.DatabaseError as error:  # the log belongs to a much larger file
            if primary_code(error) not in DAMAGED:
                raise
            found_damage = True
        self._commits, self._changes, self._read_damage = 0, connection.total_changes, False
        self._recent.connection_changed()
        with suppress(sqlite3.DatabaseError):  # its page is damaged: the file can be opened without it
            self._id = store_id(connection)
        if self._id is not None:
            self._ids.add(self._id)
        super()._adopt(connection)
        self._checks = FileChecks(self._path, connection, restore=self._restore, on_trouble=self._on_trouble)
        self._read_damage = found_damage or self._checks.found_damage

    def _check_before_use(self) -> None:
        if (damage := self._find_damage(after_commit=False)) is not None:
            self._repair(damage)
        version = data_version(self.connection)
        if version != self._recent.version and (lost := self._checks.find_lost_rows(self._recent.are_in)) is not None:
            self._repair(lost)
            version = data_version(self.connection)
        self._recent.refresh(self.connection, version)
        self._look_at_names()

    def _check_after_commit(self) -> None:
        if (damage := self._find_damage(after_commit=True) or self._checks.note_commit()) is not None:
            self._repair(damage)
            raise StoreError(
                f"{changed_from_outside(self._path, damage)} while it was written to",
                hint="let nothing but callctl change the store's files; `callctl doctor` looks at the store",
            )
        self._commits += 1
        if self._commits >= _MOST_COMMITS or self.connection.total_changes - self._changes >= _MOST_CHANGES:
            self._checkpoint()

    def _look_at_names(self) -> None:
        """Say once that the store has another name by now. That does no harm until somebody opens it by that one."""
        database = self._checks.files.database
        if database is None or database.names == 1:
            self._is_name_said = False
        elif not self._is_name_said:
            try:
                check_single_name(self._path)
            except StoreError as error:
                self._is_name_said = True
                self._on_trouble(f"{error}; {error.hint}" if error.hint else str(error))

    def rows_deleted(self) -> None:
        """Have what is held in memory read anew with the next use."""
        self._recent.connection_changed()

    def note_undelivered(self, changed: Mapping[UndeliveredKey, tuple[Any, ...] | None]) -> None:
        """Hold the requests in memory, too, that applications have not taken."""
        self._recent.note_undelivered(changed)

    def _note_claim(self, claim: ClaimKey) -> None:
        with suppress(sqlite3.DatabaseError):  # the claim is committed, so that none may take it for failed
            self._recent.note_claim(self.connection, claim)

    def _find_damage(self, *, after_commit: bool) -> str | None:
        if self._unrescued is not None or self._carried is not None or self._checks.files.database is None:
            return "it could not be mended yet"
        # Taken back before the check: a reader in another thread may meet damage while it runs.
        read_damage, self._read_damage = self._read_damage, False
        damage: str | None = "not known yet"
        try:
            damage = self._checks.find_damage(
                after_commit=after_commit, read_damage=read_damage, is_last=self._is_closing
            )
        finally:
            if damage is not None and read_damage:
                self._read_damage = True
        return damage

    def _checkpoint(self) -> None:
        """Bring what is in the log to the database, as far as nobody reads it, so that the log begins anew."""
        with suppress(sqlite3.OperationalError):  # tried again after as many commits
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._commits, self._changes = 0, self.connection.total_changes
        self._checks.note_checkpoint()

    def _restore(self, connection: sqlite3.Connection) -> None:
        """Write what is held in memory of the newest rows, where the files lack it."""
        if self._id is not None:
            set_store_id(connection, self._id)
        self._recent.restore(connection)
        if self._writer is not None:
            self._writer.restore(connection)
        self._recent.restore_undelivered(connection)

    def _repair(self, damage: str) -> None:
        """Open a whole store at the path: a copy of what can be read, or what somebody put there.

        Raises:
            StoreError, OSError, sqlite3.Error: It could not be done; the next check tries again.
        """
        path = Path(os.path.realpath(self._path))
        if not self._leads_elsewhere(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._carried is not None:
            self._begin_anew()
            return
        name = Path(os.path.realpath(self._path.parent), self._path.name)
        with locked_folder(name.parent if self._leads_elsewhere(path) else path.parent):
            path = Path(os.path.realpath(self._path))  # another watch may have put a store in the place of a link
            state = self._look_at_files(path)
            # By another watch, which has said so.
            is_mended = state is _Files.COMPLETE and is_set_aside(path, self._checks.files)
            if state is _Files.DAMAGED and self._leads_elsewhere(path):
                path = name
            report = self._rescue(path, damage) if state is _Files.DAMAGED else _REPORTS[state].format(self._path)
        if state is _Files.NOTHING:
            self._carried = rule_rows(self.connection)
            self._close_former()  # before the new one is made: on a full disk only that makes room for it
            self._begin_anew()
            return
        connection = self._connect()
        try:
            with connection:  # this may take long, too: the rows stay kept
                connection.execute("BEGIN IMMEDIATE")
                self._bring_up_to_date(connection, state)
                if state is _Files.DAMAGED and damage == RESTORED:
                    report += _lost_count(self._checks.newest, NewestEvent.of(connection))
                    report += _lost_requests(self._recent.undelivered_not_in(connection))
        except BaseException:
            connection.close()
            raise
        former, checks = self.connection, self._checks
        self._adopt(connection)
        former.close()
        checks.close()
        self._add_others_rows()
        if self._stray is not None and not remove_lone_index(self._stray):
            report += f"; the log that lay beside it is now {self._stray.name}-wal"
        self._stray = None
        self._drop_kept_rows()
        if not is_mended:
            self._on_trouble(report)

    def _bring_up_to_date(self, connection: sqlite3.Connection, state: _Files) -> None:
        """Write into what is at the path, in a transaction, what it lacks."""
        if state is _Files.OTHER:
            if self._writer is not None:
                self._writer.forget()
            carry_over(rule_rows(self.connection), connection)
            return
        if state is _Files.EARLIER:
            merge(self.connection, connection)
        self._restore(connection)

    def _add_others_rows(self) -> None:
        """Add what another process wrote to files that were set aside, of which no connection here has read it."""
        aside, self._others = self._others, None
        if aside is None:
            return
        with suppress(OSError, StoreError, sqlite3.Error), open_copy(aside, beside=self._path) as file:
            is_current = find_alteration(file) is None and version_of(file) == newest_version()
            if not (is_current and is_same_store(file, like=self.connection, ids=self._ids)):
                return
            lacking = lacking_events(file, self.connection, most=_MOST_LACKING)
            has_actions = last_number(file, "actions") > last_number(self.connection, "actions")
            if not (lacking or has_actions):  # a backup, say: all of it is there
                return
            rules = RecentRows()
            rules.refresh(file, version=0)
            with self.connection:
                self.connection.execute("BEGIN IMMEDIATE")
                add_some_events(file, self.connection, lacking)
                rules.restore(self.connection)

    def _begin_anew(self) -> None:
        """Begin the store anew after a purge, with the rows of rules; the id shows that what comes back is its own."""
        if self._writer is not None:
            self._writer.forget()
        is_new = self._current_files().are_gone
        connection = self._connect()
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                carry_over(self._carried or {}, connection)
                if is_new and self._id is not None:
                    set_store_id(connection, self._id)
        except BaseException:
            connection.close()
            raise
        self._carried = None
        self._adopt(connection)
        self._on_trouble(_REPORTS[_Files.NOTHING].format(self._path))

    def _leads_elsewhere(self, path: Path) -> bool:
        """Return whether a link was put at the store's path that leads to what may be somebody else's."""
        if not self._path.is_symlink() or str(path) == self._checks.real_path:
            return False
        database = File.at(str(path))
        return database is None or not database.is_same(self._checks.files.database)

    def _close_former(self) -> None:
        self.connection.close()
        self._checks.close()

    def _look_at_files(self, path: Path) -> _Files:
        """Return what lies at the path, and set aside what is in the way of using it."""
        before, now = self._checks.files, self._current_files()
        if self._unrescued is not None:
            return _Files.DAMAGED
        if before.database is not None and (now.database is None or not before.database.is_same(now.database)):
            self._pause(_SETTLE)
            now = self._current_files()
        if now.are_gone and self._leads_elsewhere(path):  # a link with a typo, or to a disk that is not there yet
            return _Files.DAMAGED
        if now.are_gone:
            self._drop_kept_rows()  # what was purged does not come back
            return _Files.NOTHING
        if now.database is None or now.database.is_same(before.database):
            return _Files.DAMAGED
        if not path.is_file():  # a device, a pipe: to open it may do something, or take for ever
            return _Files.DAMAGED
        try:
            check_single_name(path)
            check_identity(path)
            has_former_log = now.log is not None and now.log.is_same(before.log)
            is_mixed = has_former_log or (now.index is not None and now.index.is_same(before.index))
            with closing(open_found(path, without_log=is_mixed)) as file:
                if find_alteration(file) is not None:
                    return _Files.DAMAGED
                if not is_same_store(file, like=self.connection, ids=self._ids):
                    return _Files.DAMAGED if is_mixed else _Files.OTHER
                after = last_common_event(file, like=self.connection, most=_MOST_LACKING)
                number = store_id(file)
        except (StoreError, sqlite3.Error):
            return _Files.DAMAGED
        # The database that is open has no name any more, and the log is about to lose its own: this process alone has
        # what is in them, until it is in the file at the path. To see whether that is whole may take minutes.
        self._keep_rows(path, after=after, number=number)
        try:
            if is_mixed:  # SQLite would take the former log, or its index, for that of the file
                self._stray = free_name(path)
                set_log_aside(str(path), before, self._stray)
            return self._compare(path)
        except (StoreError, sqlite3.Error):
            return _Files.DAMAGED

    def _keep_rows(self, path: Path, *, after: int, number: str | None) -> None:
        """Keep on the disk what is in memory and the events that came after one: a killed process leaves them there.

        They are for the store with the id ``number``: that at the path, which may be one that was used there before.
        """

        def write_held(target: sqlite3.Connection) -> None:
            self._restore(target)
            if number is not None:
                set_store_id(target, number)

        def write_all(target: sqlite3.Connection) -> None:
            add_newer_events(self.connection, target, after=after)
            copy_table(self.connection, target, "undelivered")
            write_held(target)

        with suppress(sqlite3.DatabaseError):  # else what is in memory is kept, and compared
            self._recent.connection_changed()
            self._recent.refresh(self.connection, data_version(self.connection))
        if not self._kept:  # at once: the others may be many, where an old backup lies at the path
            self._kept.append(keep_rows_beside(path, write_held))
        self._kept.append(keep_rows_beside(path, write_all))
        self._drop_kept_rows(but=1)

    def _drop_kept_rows(self, *, but: int = 0) -> None:
        """Remove what was kept on the disk, all but the last."""
        while len(self._kept) > but:
            remove_kept_rows(self._kept.pop(0))

    def _compare(self, path: Path) -> _Files:
        """Return whether another state of this store lacks anything; it is damaged if it can't be used as it is."""
        check_identity(path)
        with closing(open_found(path)) as file:
            if version_of(file) > newest_version() or find_alteration(file) is not None or not is_whole(file):
                return _Files.DAMAGED
            is_current = version_of(file) == newest_version() and has_tables(file)
            if is_current and has_newest_event(file, of=self.connection) and self._recent.are_in(file):
                return _Files.COMPLETE
        return _Files.EARLIER

    def _rescue(self, path: Path, damage: str) -> str:
        """Set damaged files aside and copy what can be read to a new one; return what was done, in words."""

        def move_away() -> None:
            log = File.at(f"{path}-wal")
            has_other_log = log is not None and log.size > 0 and not log.is_same(self._checks.files.log)
            self._unrescued = set_aside(path) or self._unrescued
            if not is_link and (has_other_log or (database is not None and not is_own)):
                self._others = self._unrescued
            if self._unrescued is not None:
                set_log_aside(self._checks.real_path, self._checks.files, self._unrescued)

        database, is_link = File.at(str(path)), path.is_symlink()
        is_own = database is not None and database.is_same(self._checks.files.database)
        whole = copy_to_new_file(
            self.connection,
            path,
            newest=self._checks.newest,
            move_away=move_away,
            restore=self._restore,
            has_own_database=is_own,
        )
        kept, self._unrescued = self._unrescued, None
        if kept is not None and remove_lone_index(kept):
            kept = None
        is_replaced = database is not None and not is_own
        former = "the former one" if is_replaced else "it"
        if damage == RESTORED:
            read = "that, with the newest events, was"
        elif whole:
            read = f"all that was in {former} was"
        else:
            read = f"not all that was in {former} could be read; the rest and the newest events were"
        aside = "what was put there is not used, and is" if is_replaced else "the old files are"
        beside = f"; {aside} beside it as {kept.name}*" if kept is not None else ""
        return f"{changed_from_outside(self._path, damage)}; {read} copied to a new file{beside}"


def _lost_count(before: NewestEvent | None, now: NewestEvent | None) -> str:
    """Return what is to be said of events that a restore took away and that were not written once more."""
    count = (before.id if before else 0) - (now.id if now else 0)
    return f"; up to {count} events that came since could not be written once more" if count > 0 else ""


def _lost_requests(count: int) -> str:
    """Return what is to be said of requests that ``replay --failed`` does not know any more."""
    return f"; of requests that an application has not taken, {count} are lost with their events" if count else ""
