"""The event store in an SQLite file: events, actions, placed calls and claims of one account at one API address."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callctl.errors import StoreError
from callctl.store.records import (
    MOST_UNDELIVERED,
    ActionLimit,
    CallRow,
    Forgotten,
    OpenClaim,
    PlacedCall,
    Refusal,
    Undelivered,
    declined_rule,
)
from callctl.store.sqlite.connection import connect, connect_existing, connect_readonly
from callctl.store.sqlite.guarded_connection import GuardedConnection, UndeliveredKey
from callctl.store.sqlite.rows import INSERT_ACTION, action_row, read_action, readable, try_insert
from callctl.store.sqlite.schema import plain, short_key
from callctl.support.dates import microseconds, nearest_time
from callctl.support.parsing import read_json

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from concurrent.futures import Future

    from callctl.calls.action import ActionEvent
    from callctl.calls.event import CallEvent
    from callctl.store.sqlite.cursor import RowCursor
    from callctl.store.sqlite.writer import FileWriter

# How many events are read at a time, so that no long read keeps the log from being folded back into the file.
_PAGE = 1000
_CALLS_AT_ONCE = 250  # of which all records are read at a time
_NEWEST = 2**63 - 1
# What a test of the store writes: more than one event does.
_FILLING = "x" * 32768

# The calls that are not over or were touched since, with their parents, and with the children of all of those.
_RECENT = """
    WITH touched AS (
        SELECT id, sid, parent_sid FROM calls WHERE world = :world AND NOT is_final AND status <> ''
        UNION SELECT id, sid, parent_sid FROM calls WHERE world = :world AND last_at >= :since
    ), heads AS (
        SELECT sid FROM touched UNION SELECT parent_sid FROM touched WHERE parent_sid IS NOT NULL
    )
    SELECT id FROM touched
    UNION SELECT id FROM calls WHERE world = :world AND sid IN (SELECT sid FROM heads)
    UNION SELECT id FROM calls WHERE world = :world AND parent_sid IN (SELECT sid FROM heads)
"""
_FAMILY = """
    SELECT id FROM calls WHERE world = :world AND sid IN (:sid, :parent)
    UNION SELECT id FROM calls WHERE world = :world AND parent_sid IN (:sid, :parent)
"""
_WHOLE_FAMILY = """
    WITH RECURSIVE above (sid) AS (
        SELECT :sid
        UNION SELECT parent_sid FROM above CROSS JOIN calls USING (sid) WHERE world = :world AND parent_sid IS NOT NULL
    ), family (sid) AS (
        SELECT sid FROM above
        UNION SELECT calls.sid FROM family CROSS JOIN calls ON parent_sid = family.sid WHERE world = :world
    )
    SELECT id FROM family CROSS JOIN calls USING (sid) WHERE world = :world
"""
# Whichever form a record has (calls/event_record.py), its kind is near its beginning.
_MISSED_AFTER = """
    SELECT record FROM events JOIN calls ON calls.id = call_id
    WHERE events.id > :after AND events.id <= :up_to AND world = :world AND substr(record, 1, 100) LIKE '%missed%'
    ORDER BY events.id
"""
# All records of a call as one text: no record holds a NUL, and fewer rows take less time. The signs before world and
# last_at have the calls read in the order of their ids, as their events lie in the file.
_RECORDS = """
    SELECT id, (SELECT group_concat(record, char(0)) FROM events WHERE call_id = calls.id AND id <= :up_to) FROM calls
    WHERE id > :after AND +world = :world AND +last_at >= :since AND id / :limit % :of = :part ORDER BY id LIMIT :limit
"""
_CALLS = "SELECT sid, parent_sid, status, is_final, last_at FROM calls WHERE world = :world"
# What is about calls beside their events: tables, with the columns of their time and of the calls' SIDs.
_OF_CALLS = {
    "actions": ("at", "actions.sid"),
    "claims": ("at", "claims.sid, claims.about"),
    "placed_calls": ("at", "placed_calls.sid"),
    "intents": ("until", "intents.sid"),
    "undelivered": ("at", "undelivered.sid"),
}
# A request is there once for each event and URL.
_KEEP_UNDELIVERED = """
    INSERT INTO undelivered (world, sid, key, url, at, why, tried_until)
    VALUES (:world, :sid, :key, :url, :at, :why, :until)
    ON CONFLICT (world, sid, key, url) DO UPDATE SET why = excluded.why, tried_until = excluded.tried_until
"""
_FORGET_UNDELIVERED = "DELETE FROM undelivered WHERE world = :world AND sid = :sid AND key = :key AND url = :url"
_FORGET_OLDEST_UNDELIVERED = """
    DELETE FROM undelivered WHERE world = :world AND (sid, key, url) IN (
        SELECT sid, key, url FROM undelivered WHERE world = :world ORDER BY at DESC LIMIT -1 OFFSET :most
    )
"""
_UNDELIVERED = """
    SELECT kept.sid, kept.key, url, at, why, tried_until, record
    FROM undelivered AS kept
    CROSS JOIN calls ON calls.world = kept.world AND calls.sid = kept.sid
    CROSS JOIN events ON events.call_id = calls.id AND events.key = kept.key
    WHERE kept.world = :world ORDER BY events.id, url
"""
_DELETE_INTENT = "DELETE FROM intents WHERE world = :world AND sid = :sid"
_THIS_CLAIM = "world = :world AND rule = :rule AND sid = :sid"
_THIS_OPEN_CLAIM = f"{_THIS_CLAIM} AND fence = :fence AND lease > 0"
_THIS_SETTLED_CLAIM = "world = :world AND sid = :sid AND rule IN (:rule, :declined) AND lease = 0"
_INSERT_CLAIM = """
    INSERT INTO claims (world, rule, sid, about, action, at, lease, fence, counted)
    VALUES (:world, :rule, :sid, :about, :action, :at, :lease, :fence, :counted)
"""
# What counts towards the limits. Claims after now are of a clock that was set back since.
_COUNTED = """
    SELECT count(*), count(CASE WHEN at > :at - 1000000 THEN 1 END) FROM claims
    WHERE world = :world AND counted AND at > :at - 60000000 AND at <= :at
"""
# Who listens: by this machine's clock, in microseconds since 1970.
_NOW = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
_IS_ANNOUNCED = f"""
    SELECT 1 FROM listeners
    WHERE world = :world AND nonce = :nonce AND record = :record
        AND until BETWEEN {_NOW} + :lasting / 2 AND {_NOW} + :lasting
"""
_FORGET_LISTENERS = f"DELETE FROM listeners WHERE world = :world AND nonce <> :nonce AND until <= {_NOW}"
# SQLite's clock has whole milliseconds: of two in one of them, too, the later one is to come later.
_ANNOUNCE = f"""
    INSERT INTO listeners (world, nonce, record, since, until)
    VALUES (
        :world, :nonce, :record,
        max({_NOW}, 1 + coalesce((SELECT max(since) FROM listeners WHERE world = :world), 0)), {_NOW} + :lasting
    )
    ON CONFLICT (world, nonce) DO UPDATE SET record = excluded.record, until = excluded.until
"""
# Open claims of other rules on a leg. A limit ends nothing by itself.
_OTHER_CLAIMS = "world = :world AND lease > 0 AND sid = :sid AND rule != :rule AND action != 'limit'"


class SqliteStore:
    """The part of a store that belongs to one world: one account at one API address. Safe to use from several threads.

    A method that writes has committed when it returns. Every method raises StoreError where the store can't be read or
    written: the disk is full, the file is locked or damaged, the store is closed.
    """

    is_shared = False
    away: str | None = None  # a file that can't be written is tried each time

    def __init__(
        self, writing: GuardedConnection, *, path: Path, world: str, reading: GuardedConnection | None = None
    ) -> None:
        """Use open connections; reads go through that for writing where there is no other."""
        self._path = path
        self._world = world
        self._writing = writing
        self._reading = reading or writing
        # How many events and actions were left out, since their records can't be read.
        self.unreadable = self.unreadable_actions = 0
        self._generation = writing.generation  # as ``mend`` saw it last
        self._intents: dict[str, int] = {}  # until when those last that were added here, by SID

    # Most commands write no events and don't read on, so what does is loaded when it is needed.

    @cached_property
    def _writer(self) -> FileWriter:
        from callctl.store.sqlite.writer import FileWriter

        return FileWriter(self._writing, path=self._path, world=self._world)

    @cached_property
    def _new_events(self) -> RowCursor:
        from callctl.store.sqlite.cursor import EVENTS, RowCursor

        return RowCursor(self._reading, EVENTS, world=self._world)

    @cached_property
    def _new_actions(self) -> RowCursor:
        from callctl.store.sqlite.cursor import ACTIONS, RowCursor

        return RowCursor(self._reading, ACTIONS, world=self._world)

    # Opening

    @classmethod
    def open(cls, path: Path, *, world: str, busy_timeout: float = 5.0) -> SqliteStore:
        """Open the store at ``path``, or make it. Files that somebody damages meanwhile are left for a watch to repair.

        Args:
            path: The database file.
            world: What separates this account's calls from those of others in the same file.
            busy_timeout: How many seconds to wait for another program's lock. Twilio waits 15 for an answer.

        Raises:
            StoreError: It can't be opened.
        """
        opened = GuardedConnection(path, lambda: connect(path, busy_timeout=busy_timeout))
        return cls(opened, path=path, world=world)

    @classmethod
    def open_for_watch(
        cls,
        path: Path,
        *,
        world: str,
        busy_timeout: float = 5.0,
        on_trouble: Callable[[str], None] = lambda _text: None,
    ) -> SqliteStore:
        """Do what ``open`` does; repair the files where somebody changes them, and read while others write.

        ``busy_timeout`` is in seconds. ``on_trouble`` is called, in any thread, with what was done to the files and
        what became of their content.

        Raises:
            StoreError: It can't be opened.
        """
        from callctl.store.sqlite.repair import RepairingConnection

        writing = RepairingConnection(path, lambda: connect(path, busy_timeout=busy_timeout), on_trouble=on_trouble)
        try:
            reading = GuardedConnection(
                path, lambda: connect_readonly(path, busy_timeout=busy_timeout), readonly=True, repaired_by=writing
            )
        except StoreError:
            writing.close()
            raise
        store = cls(writing, path=path, world=world, reading=reading)
        writing.attach(store._writer)
        return store

    @classmethod
    def open_existing(cls, path: Path, *, world: str, busy_timeout: float = 5.0) -> SqliteStore:
        """Open a store that is there, for reading and writing; ``busy_timeout`` is in seconds.

        Raises:
            StoreError: It is not there, can't be read, or was written by another version of callctl.
        """
        opened = GuardedConnection(path, lambda: connect_existing(path, busy_timeout=busy_timeout))
        return cls(opened, path=path, world=world)

    @classmethod
    def open_readonly(cls, path: Path, *, world: str, busy_timeout: float = 5.0) -> SqliteStore:
        """Open a store that is there, and that another process may be writing, for reading only.

        ``busy_timeout`` is in seconds.

        Raises:
            StoreError: It is not there, can't be read, or was written by another version of callctl.
        """
        opened = GuardedConnection(path, lambda: connect_readonly(path, busy_timeout=busy_timeout), readonly=True)
        return cls(opened, path=path, world=world)

    def adopt(self, former_world: str) -> None:
        """Have what another name of the same world has in the file belong to this one."""
        from callctl.store.sqlite.former_world import has_rows, move_rows

        with self._writing.use("read") as connection:
            if not has_rows(connection, former_world):
                return
        with self._writing.transaction() as connection:
            move_rows(connection, former_world, world=self._world)

    def close(self, *, timeout: float = 5.0) -> None:
        """Write what was submitted and close the files; wait ``timeout`` seconds at most.

        A file that another program has locked for so long stays open, until this process ends.
        """
        end = time.monotonic() + timeout
        is_written = self._writer.close(timeout=timeout) if "_writer" in vars(self) else True
        if self._reading is not self._writing:
            self._reading.close(timeout=max(0.0, end - time.monotonic()))
        if is_written:
            self._writing.close(timeout=max(0.0, end - time.monotonic()))

    def check_writable(self) -> None:
        """Write an event and undo that, then something else and delete it again, as a test that both can be stored."""
        with self._writing.transaction() as connection:
            try_insert(connection)
            # No world has this name. On a full disk a short row may still find room where those of an event do not.
            connection.execute("INSERT OR REPLACE INTO intents (world, sid, until) VALUES ('', ?, 0)", (_FILLING,))
        with self._writing.transaction() as connection:
            connection.execute("DELETE FROM intents WHERE world = ''")

    def mend(self) -> bool:
        """Repair the files after a read failed, or wait until that is done; return whether to read them anew.

        That is so where other files were opened since the last call of this, and as long as committed events are in
        memory: ``close`` tries for the last time to bring them into the files. Who only reads leaves it to others.

        Raises:
            StoreError: They can't be repaired now, and nothing is in memory.
        """
        if self._writing.is_readonly:
            return True
        holds_events = "_writer" in vars(self) and self._writer.holds_events
        try:
            self._writing.check()
        except StoreError:
            if not holds_events:
                raise
        before, self._generation = self._generation, self._writing.generation
        return holds_events or self._generation != before

    def observe_commits(self, observe: Callable[[float, int], None]) -> None:
        """Have ``observe`` called, in the writer's thread, with the seconds that each commit took and its events."""
        self._writer.observe = observe

    # Events

    def append(self, event: CallEvent) -> bool:
        """Store an event; return False if it was stored before."""
        return self.submit(event).result()

    def submit(self, event: CallEvent) -> Future[bool]:
        """Do what ``append`` does, without waiting; the future is settled in the writer's thread."""
        return self._writer.submit(event)

    def append_async(self, event: CallEvent) -> asyncio.Future[bool]:
        """Do what ``append`` does, in an event loop. All that share a commit are woken at once."""
        return self._writer.submit_in_loop(event)

    def replay(self, *, since: datetime | None, up_to: int | None = None) -> Iterator[CallEvent]:
        """Yield, in their order of arrival, the events of the families that are not over or were touched since.

        With None, of all families. A family comes whole, however old its first events are; but nothing that came
        after the event with the id ``up_to``, if that is given.
        """
        if since is None:
            calls = self._rows("SELECT id FROM calls WHERE world = :world")
        else:
            calls = self._rows(_RECENT, since=microseconds(since))
        for event in self._events_of([row[0] for row in calls], up_to=up_to):
            if event is None:
                self.unreadable += 1
            else:
                yield event

    def records(self, *, since: datetime | None = None, part: int = 0, of: int = 1) -> Iterator[list[str]]:
        """Yield the records of each call that was touched since, one call after the other; with None, of all calls.

        They are what ``CallEvent.from_record`` reads. What is stored after the first one was read is missing.
        Each call is in one of ``of`` parts.
        """
        touched = 0 if since is None else microseconds(since)
        up_to, last = int(self._rows("SELECT coalesce(max(id), 0) FROM events")[0][0]), 0
        values = {"since": touched, "up_to": up_to, "limit": _CALLS_AT_ONCE, "part": part, "of": of}
        while rows := self._rows(_RECORDS, after=last, **values):
            last = rows[-1][0]
            yield from (records.split("\0") for _, records in rows if records is not None)

    def family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call, its parent, its siblings and its children, in their order of arrival."""
        call = self.call(call_sid)
        parent = (call and call.parent_call_sid) or call_sid
        calls = self._rows(_FAMILY, sid=plain(call_sid), parent=plain(parent))
        return (event for event in self._events_of([row[0] for row in calls]) if event is not None)

    def whole_family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call and of all above and below it, parent by parent, in their order of arrival."""
        calls = self._rows(_WHOLE_FAMILY, sid=plain(call_sid))
        return (event for event in self._events_of([row[0] for row in calls]) if event is not None)

    def after(self, event_id: int, *, limit: int = _PAGE) -> list[tuple[int, CallEvent]]:
        """Return the events that came after the one with this id, with their ids, at most ``limit``."""
        from callctl.calls.event import CallEvent

        events, left_out = self._new_events.after(event_id, CallEvent.from_record, limit=limit)
        self.unreadable += left_out
        return events

    def missed_after(self, event_id: int) -> tuple[int, list[CallEvent]]:
        """Return the id of the newest event, and those of the kind ``missed`` that came after the one with this id."""
        from callctl.calls.event import MISSED, CallEvent

        newest = int(self._rows("SELECT coalesce(max(id), 0) FROM events")[0][0])
        self._new_events.skip()
        rows = self._rows(_MISSED_AFTER, after=event_id, up_to=newest)
        events = (readable(CallEvent.from_record, row[0]) for row in rows)
        return newest, [event for event in events if event is not None and event.kind == MISSED]

    def last_event_id(self) -> int:
        """Return the id of the newest event of any world, or 0."""
        return self._new_events.last_id()

    # Calls

    def call(self, call_sid: str) -> CallRow | None:
        """Return what is known of one call."""
        rows = _call_rows(self._rows(f"{_CALLS} AND sid = :sid", sid=plain(call_sid)))
        return rows[0] if rows else None

    def calls_starting(self, start: str, *, limit: int = 10) -> list[CallRow]:
        """Return the calls whose SID begins with a text, the latest first."""
        rows = self._rows(
            f"{_CALLS} AND status <> '' AND sid >= :start AND sid < :end AND substr(sid, 1, length(:start)) = :start"
            " ORDER BY last_at DESC LIMIT :limit",
            start=start,
            end=start + "\U0010ffff",
            limit=limit,
        )
        return _call_rows(rows)

    def live_calls(self) -> list[CallRow]:
        """Return the calls of which no final status is stored."""
        return _call_rows(self._rows(f"{_CALLS} AND NOT is_final AND status <> '' ORDER BY last_at"))

    def ended_calls(self, *, limit: int) -> list[CallRow]:
        """Return the calls of which a final status is stored, those of the latest events first, at most ``limit``."""
        rows = self._rows(f"{_CALLS} AND is_final ORDER BY last_at DESC LIMIT :limit", limit=limit)
        return _call_rows(rows)

    def delete_older_than(self, moment: datetime, *, limit: int = 100) -> int:
        """Delete at most ``limit`` calls without an event since, with their events; return how many.

        A small step, for one transaction must not keep callbacks waiting: call it again until it returns 0. What rules
        and commands did to a call stays as long as the call: its time is the machine's, which may have been wrong.
        """
        chosen = "SELECT id FROM calls WHERE world = ? AND last_at < ? ORDER BY last_at LIMIT ?"
        with self._writing.transaction() as connection:
            rows = connection.execute(chosen, (self._world, microseconds(moment), limit)).fetchall()
            connection.executemany("DELETE FROM events WHERE call_id = ?", rows)
            connection.executemany("DELETE FROM calls WHERE id = ?", rows)
            for table, (column, calls) in _OF_CALLS.items():
                connection.execute(
                    f"DELETE FROM {table} WHERE {column} < :before AND world = :world AND NOT EXISTS"
                    f" (SELECT 1 FROM calls WHERE calls.world = :world AND calls.sid IN ({calls}))",
                    {"before": microseconds(moment), "world": self._world},
                )
            self._writer.forget(before=microseconds(moment))
            self._writing.rows_deleted()
        return len(rows)

    def cap_times(self, latest: datetime, *, limit: int = 100) -> int:
        """Set the time of calls that lies after ``latest`` to that, of at most ``limit``; return of how many.

        Else a time that can't be right, of an absurd Timestamp or a clock that was ahead, would keep them forever. It
        is a small step as ``delete_older_than`` is.
        """
        chosen = "SELECT id FROM calls WHERE world = ? AND last_at > ? LIMIT ?"
        time = microseconds(latest)
        with self._writing.transaction() as connection:
            rows = connection.execute(chosen, (self._world, time, limit)).fetchall()
            connection.executemany("UPDATE calls SET last_at = ? WHERE id = ?", [(time, *row) for row in rows])
            self._writer.cap_times(time)
        return len(rows)

    # Placed calls

    def remember_placed(
        self,
        call_sid: str,
        *,
        at: datetime,
        turn: datetime | None = None,
        is_last: bool = True,
        callback: str | None = None,
        events: Iterable[str] = (),
        dial_action: str | None = None,
    ) -> None:
        """Store the call that was placed last: what ``@last`` stands for in this world.

        Args:
            call_sid: The call.
            at: When it was placed.
            turn: The turn that ``forget_last_placed`` gave it. If another one was given a turn since, that is the last
                one, or it is not known which is. None: this is the last one in any case.
            is_last: False if another one was placed since, which the store may not know yet.
            callback: Where its callbacks go, without what may be secret.
            events: The names of the events of which it sends callbacks.
            dial_action: The name of where its <Dial> sends it; empty if it hangs up once that is over, None if that
                is not known.
        """
        with self._writing.transaction() as connection:
            if is_last:
                connection.execute(
                    "INSERT INTO placed (world, sid, at) VALUES (:world, :sid, :at) ON CONFLICT (world) DO UPDATE"
                    " SET sid = :sid, at = max(placed.at + 1, :at) WHERE :turn IS NULL OR placed.at = :turn",
                    {
                        "world": self._world,
                        "sid": call_sid,
                        "at": microseconds(at),
                        "turn": None if turn is None else microseconds(turn),
                    },
                )
            # Rules may touch what callctl placed, also when no callback of it ever comes.
            connection.execute(
                "INSERT INTO placed_calls (world, sid, at, callback, events, dial_action) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (world, sid) DO NOTHING",
                (self._world, call_sid, microseconds(at), callback, " ".join(events), dial_action),
            )

    def forget_last_placed(self, *, at: datetime) -> Forgotten:
        """Store that the call that was placed last is not known, since one is about to be placed."""
        with self._writing.transaction() as connection:
            row = connection.execute("SELECT sid, at FROM placed WHERE world = ?", (self._world,)).fetchone()
            former, turn = row or (None, 0)
            turn = max(int(turn) + 1, microseconds(at))
            connection.execute("INSERT OR REPLACE INTO placed (world, sid, at) VALUES (?, '', ?)", (self._world, turn))
        return Forgotten(former, nearest_time(turn))

    def restore_last_placed(self, forgotten: Forgotten) -> None:
        """Undo a ``forget_last_placed``, since no call was placed. Where more was stored since, do nothing."""
        sid = forgotten.former
        with self._writing.transaction() as connection:
            connection.execute(
                "DELETE FROM placed WHERE world = :world AND sid = '' AND at = :turn"
                if sid is None
                else "UPDATE placed SET sid = :sid WHERE world = :world AND sid = '' AND at = :turn",
                {"world": self._world, "sid": sid, "turn": microseconds(forgotten.turn)},
            )

    def last_placed(self) -> str | None:
        """Return the SID of the call that was placed last in this world; it is empty where that is not known."""
        rows = self._rows("SELECT sid FROM placed WHERE world = :world")
        return str(rows[0][0]) if rows else None

    def placed_since(self, moment: datetime, *, callback: str) -> list[PlacedCall]:
        """Return the calls that callctl placed since, with callbacks to this very URL, the first one first."""
        rows = self._rows(
            "SELECT sid, at, events FROM placed_calls WHERE world = :world AND at >= :since AND callback = :callback"
            " ORDER BY at",
            since=microseconds(moment),
            callback=callback,
        )
        return [PlacedCall(str(sid), nearest_time(at), tuple(str(events).split())) for sid, at, events in rows]

    def was_placed(self, call_sid: str) -> bool:
        """Return whether callctl placed a call."""
        rows = self._rows(
            "SELECT EXISTS (SELECT 1 FROM placed_calls WHERE world = :world AND sid = :sid)"
            " OR EXISTS (SELECT 1 FROM placed WHERE world = :world AND sid = :sid)",
            sid=call_sid,
        )
        return bool(rows[0][0])

    def placed_at(self, call_sid: str) -> datetime | None:
        """Return when callctl placed a call, by the clock of who placed it; None if it did not."""
        rows = self._rows("SELECT at FROM placed_calls WHERE world = :world AND sid = :sid", sid=call_sid)
        return nearest_time(rows[0][0]) if rows else None

    def dial_action(self, call_sid: str) -> str | None:
        """Return where the <Dial> of a call that callctl placed sends it, as its user called it.

        Empty if it hangs up once its Dial is over; None if that is not known.
        """
        rows = self._rows("SELECT dial_action FROM placed_calls WHERE world = :world AND sid = :sid", sid=call_sid)
        return str(rows[0][0]) if rows and rows[0][0] is not None else None

    # Requests that were to be passed on

    def keep_undelivered(self, requests: Iterable[Undelivered], *, now: datetime) -> None:
        """Store requests that an application has not taken; this replaces what was stored of them before.

        They stay as long as their calls, and the newest ``MOST_UNDELIVERED`` at most. ``now`` is the caller's time.
        """
        rows: list[dict[str, str | int]] = [
            {
                **self._undelivered_key(request),
                "at": microseconds(request.at),
                "why": plain(request.why),
                "until": microseconds(now + request.tried_for) if request.tried_for else 0,
            }
            for request in requests
        ]
        with self._writing.transaction() as connection:
            connection.executemany(_KEEP_UNDELIVERED, rows)
            connection.execute(_FORGET_OLDEST_UNDELIVERED, {"world": self._world, "most": MOST_UNDELIVERED})
            self._writing.note_undelivered({_key_of(row): tuple(row.values()) for row in rows})

    def forget_undelivered(self, requests: Iterable[Undelivered]) -> None:
        """Delete requests that were taken."""
        rows = [self._undelivered_key(request) for request in requests]
        with self._writing.transaction() as connection:
            connection.executemany(_FORGET_UNDELIVERED, rows)
            self._writing.note_undelivered({_key_of(row): None for row in rows})

    def undelivered(self, *, now: datetime) -> list[tuple[Undelivered, CallEvent]]:
        """Return the requests that were not taken, each with its event, in the order in which the events arrived."""
        from callctl.calls.event import CallEvent

        requests = []
        for sid, key, url, at, why, until, record in self._rows(_UNDELIVERED):
            if (event := readable(CallEvent.from_record, record)) is not None:
                tried_for = max(nearest_time(until) - now, timedelta())
                requests.append((Undelivered(sid, key, url, nearest_time(at), why, tried_for), event))
        return requests

    def _undelivered_key(self, request: Undelivered) -> dict[str, str | int]:
        return {
            "world": self._world,
            "sid": plain(request.call_sid),
            "key": short_key(request.key),
            "url": plain(request.url),
        }

    # Actions, and the intents that precede them

    def record_actions(self, actions: Iterable[ActionEvent]) -> None:
        """Store actions on several calls with one commit; the intents to change those that may have been changed end.

        One that was refused leaves the intent: another command may be about to change the same call.
        """
        actions = list(actions)
        changed = [{"world": self._world, "sid": action.call_sid} for action in actions if action.may_have_changed_it]
        with self._writing.transaction() as connection:
            connection.executemany(INSERT_ACTION, [action_row(action, world=self._world) for action in actions])
            connection.executemany(_DELETE_INTENT, changed)

    def actions(self, call_sid: str) -> list[ActionEvent]:
        """Return the actions of commands and rules on one call that can be read, the first one first."""
        records = self._action_records(call_sid)
        return [action for record in records if (action := readable(read_action, record)) is not None]

    def all_actions(self, call_sid: str) -> list[ActionEvent]:
        """Return the actions on one call; where one can't be read, no rule may act as if there had been none.

        Raises:
            StoreError: One can't be read.
        """
        records = self._action_records(call_sid)
        try:
            return [read_action(record) for record in records]
        except Exception as error:  # whatever damage left there
            raise StoreError(
                f"the record of an action on {call_sid} can't be read in the event store {self._path}",
                hint="`callctl doctor` looks at the store",
            ) from error

    def actions_after(self, action_id: int, *, limit: int = _PAGE) -> list[tuple[int, ActionEvent]]:
        """Return the actions that came after the one with this id, with their ids, at most ``limit``."""
        actions, left_out = self._new_actions.after(action_id, read_action, limit=limit)
        self.unreadable_actions += left_out
        return actions

    def last_action_id(self) -> int:
        """Return the id of the newest action of any world, or 0."""
        return self._new_actions.last_id()

    def add_intents(self, call_sids: Iterable[str], *, now: datetime, until: datetime) -> set[str]:  # noqa: ARG002
        """Store that a command is about to change calls, until a time at most; return those that had an intent before.

        An intent ends when an action is recorded that may have changed the call, or with ``remove_intents``. One whose
        time is over is of a command that was cut off, and may have changed the call.
        """
        rows = [(self._world, sid, microseconds(until)) for sid in call_sids]
        is_there = "SELECT 1 FROM intents WHERE world = ? AND sid = ?"
        with self._writing.transaction() as connection:
            before = {row[1] for row in rows if connection.execute(is_there, row[:2]).fetchone() is not None}
            connection.executemany("INSERT OR REPLACE INTO intents (world, sid, until) VALUES (?, ?, ?)", rows)
        self._intents.update((sid, until) for _, sid, until in rows)
        return before

    def remove_intents(self, call_sids: Iterable[str]) -> None:
        """Remove the intents to change calls that were added here last, and by nobody since."""
        rows = [
            {"world": self._world, "sid": sid, "until": self._intents.pop(sid)}
            for sid in call_sids
            if sid in self._intents
        ]
        with self._writing.transaction() as connection:
            connection.executemany(f"{_DELETE_INTENT} AND until = :until", rows)

    def has_intent(self, call_sid: str, *, is_over: Callable[[datetime], bool]) -> bool:
        """Return whether a command is about to change a call. ``is_over`` returns whether the intent has lapsed."""
        rows = self._rows("SELECT until FROM intents WHERE world = :world AND sid = :sid", sid=call_sid)
        return bool(rows) and not is_over(nearest_time(rows[0][0]))

    def had_intent(self, call_sid: str) -> bool:
        """Return whether there is an intent to change a call, though its time may be over."""
        return self.has_intent(call_sid, is_over=lambda _until: False)

    # Who listens and keeps events here

    def announce(self, nonce: str, record: Mapping[str, Any], *, lasting: timedelta) -> None:
        """Store that a listener is there for a while, with what others have to know of it.

        It is written where it is not so in the file yet, or half of the time is over.
        """
        import json

        values: dict[str, str | int] = {"nonce": nonce, "record": json.dumps(record)}
        values["lasting"] = lasting // timedelta(microseconds=1)
        if self._rows(_IS_ANNOUNCED, **values):
            return
        values["world"] = self._world
        with self._writing.transaction() as connection:
            connection.execute(_FORGET_LISTENERS, values)
            connection.execute(_ANNOUNCE, values)

    def withdraw(self, *nonces: str) -> None:
        """Store that listeners are gone."""
        rows = [(self._world, nonce) for nonce in nonces]
        with self._writing.transaction() as connection:
            connection.executemany("DELETE FROM listeners WHERE world = ? AND nonce = ?", rows)

    def announced(self, *, limit: int | None = None) -> dict[str, Mapping[str, Any]]:
        """Return what listeners that are there said of themselves, by nonce, the one that was started last first.

        At most ``limit``, if that is given.
        """
        rows = self._rows(
            f"SELECT nonce, record FROM listeners WHERE world = :world AND until > {_NOW}"
            " ORDER BY since DESC LIMIT :limit",
            limit=-1 if limit is None else limit,
        )
        records = {str(nonce): readable(read_json, record) for nonce, record in rows}
        return {nonce: record for nonce, record in records.items() if isinstance(record, dict)}

    def lead(self, holder: str, *, lasting: timedelta) -> bool:  # noqa: ARG002
        """Return True: each watch of a machine does all."""
        return True

    # Claims. Leases are times of the wall clock, which may be set: the caller decides whether one is over, and a
    # take-over names the lease that was read. A lease of 0 stands for a settled claim: two columns find open ones.

    def claim(
        self,
        claim: OpenClaim,
        *,
        now: datetime,
        until: datetime,
        exclusive: bool = False,
        limit: ActionLimit | None = None,
    ) -> OpenClaim | Refusal:
        """Claim a rule's action on a leg, with a lease, in one step; return the claim with its fence, or why not.

        Args:
            claim: What is claimed.
            now: The caller's time.
            until: When the lease ends by that. Where a store has a clock of its own, it lasts as long by that one.
            exclusive: Whether to refuse while another rule's action on the leg is in progress: of two that claim at
                once, one wins.
            limit: How many claims that named a limit there may be; what is released or declined does not count.
        """
        fenced = replace(claim, fence=_new_fence(), lease=until)
        with self._claiming(fenced) as connection:
            values = {**self._claim_values(fenced), "at": microseconds(now), "lease": microseconds(until)}
            values["counted"] = int(limit is not None)
            refusal = _refusal(connection, values, exclusive=exclusive, limit=limit)
            if refusal is None:
                connection.execute(_INSERT_CLAIM, values)
        return fenced if refusal is None else refusal

    def renew(self, claim: OpenClaim, *, now: datetime, until: datetime) -> bool:  # noqa: ARG002 - until is by the same clock
        """Extend the lease of an open claim; return False, and nothing may be sent, if it was taken over."""
        with self._claiming(claim) as connection:
            values = {**self._claim_values(claim), "lease": microseconds(until)}
            return connection.execute(f"UPDATE claims SET lease = :lease WHERE {_THIS_OPEN_CLAIM}", values).rowcount > 0

    def take_over(self, claim: OpenClaim, *, now: datetime, until: datetime) -> OpenClaim | None:  # noqa: ARG002
        """Take an open claim, under a new fence; return None if it was renewed, taken over or settled since."""
        if claim.lease is None:
            return None
        renewed = replace(claim, fence=_new_fence(), lease=until)
        sql = f"UPDATE claims SET lease = :lease, fence = :new_fence WHERE {_THIS_OPEN_CLAIM} AND lease = :former"
        with self._claiming(claim) as connection:
            times = {"lease": microseconds(until), "former": microseconds(claim.lease), "new_fence": renewed.fence}
            is_taken = connection.execute(sql, {**self._claim_values(claim), **times}).rowcount > 0
        return renewed if is_taken else None

    def settle(self, claim: OpenClaim, event: ActionEvent) -> bool:
        """Close a claim and store the action's result; return False, with neither, if it was taken over or settled."""
        with self._claiming(claim) as connection:
            sql = f"UPDATE claims SET lease = 0 WHERE {_THIS_OPEN_CLAIM}"
            is_open = connection.execute(sql, self._claim_values(claim)).rowcount > 0
            if is_open:
                connection.execute(INSERT_ACTION, action_row(event, world=self._world))
        return is_open

    def decline(self, claim: OpenClaim, event: ActionEvent) -> bool:
        """Store that an action was declined, and the event of it, once for each leg that the rule looked at.

        Return False, with neither, if this was stored before, if the claim was taken over or settled, or, of a claim
        without a fence, if the action is done or in progress.
        """
        declined = replace(claim, rule=declined_rule(claim.rule, claim.call_sid, about=claim.about), fence=_new_fence())
        with self._claiming(claim, declined) as connection:
            values = self._claim_values(claim)
            if claim.fence:
                is_free = connection.execute(f"DELETE FROM claims WHERE {_THIS_OPEN_CLAIM}", values).rowcount > 0
            else:
                is_free = connection.execute(f"SELECT 1 FROM claims WHERE {_THIS_CLAIM}", values).fetchone() is None
            row = {**self._claim_values(declined), "at": microseconds(event.at), "lease": 0, "counted": 0}
            is_new = is_free and connection.execute(f"{_INSERT_CLAIM} ON CONFLICT DO NOTHING", row).rowcount > 0
            if is_new:
                connection.execute(INSERT_ACTION, action_row(event, world=self._world))
        return is_new

    def release(self, claim: OpenClaim) -> None:
        """Delete a claim, because nothing was sent and the rule no longer proposes the action."""
        with self._claiming(claim) as connection:
            connection.execute(f"DELETE FROM claims WHERE {_THIS_OPEN_CLAIM}", self._claim_values(claim))

    def expired_claims(self, *, is_over: Callable[[OpenClaim], bool]) -> list[OpenClaim]:
        """Return the open claims whose lease is over, as ``is_over`` returns for each."""
        columns = "rule, sid, about, action, lease, fence"
        rows = self._rows(f"SELECT {columns} FROM claims WHERE world = :world AND lease > 0")
        claims = (
            OpenClaim(str(rule), str(sid), str(about), str(action), nearest_time(lease), fence)
            for rule, sid, about, action, lease, fence in rows
        )
        return [claim for claim in claims if is_over(claim)]

    def is_settled(self, claim: OpenClaim) -> bool:
        """Return whether an action is done, or was declined because of the same leg, by anybody."""
        sql = f"SELECT 1 FROM claims WHERE {_THIS_SETTLED_CLAIM}"
        return bool(self._rows(sql, **self._claim_values(claim)))

    def open_claims(self) -> int:
        """Return how many claims are open."""
        return int(self._rows("SELECT count(*) FROM claims WHERE world = :world AND lease > 0")[0][0])

    def claim_keys(self) -> set[tuple[str, str]]:
        """Return rule and leg of all claims, open and settled; of what was declined the ``declined_rule``."""
        rows = self._rows("SELECT rule, sid FROM claims WHERE world = :world")
        return {(str(rule), str(sid)) for rule, sid in rows}

    def action_in_progress(self, call_sid: str, *, other_than: str, action: str = "") -> str | None:
        """Return the action of an open claim on a leg that belongs to another rule than ``other_than``."""
        sql = f"SELECT action FROM claims WHERE {_OTHER_CLAIMS} AND :action IN ('', action)"
        rows = self._rows(sql, sid=call_sid, rule=other_than, action=action)
        return str(rows[0][0]) if rows else None

    # Statements

    def _rows(self, sql: str, **values: str | int) -> list[tuple[Any, ...]]:
        with self._reading.use("read") as connection:
            return connection.execute(sql, {"world": self._world, **values}).fetchall()

    def _action_records(self, call_sid: str) -> list[str]:
        rows = self._rows("SELECT record FROM actions WHERE world = :world AND sid = :sid ORDER BY id", sid=call_sid)
        return [row[0] for row in rows]

    def _events_of(self, calls: list[int], *, up_to: int | None = None) -> Iterator[CallEvent | None]:
        """Yield the events of some calls, by their row ids; None for each whose record can't be read."""
        import json
        from array import array

        from callctl.calls.event import CallEvent

        # CROSS JOIN keeps SQLite from going through all events instead of the index of each call. There may be a
        # million: their ids come as one text and are kept at eight bytes each.
        (row,) = self._rows(
            "SELECT json_group_array(id) FROM (SELECT events.id FROM json_each(:calls) AS wanted"
            " CROSS JOIN events ON events.call_id = wanted.value WHERE events.id <= :up_to ORDER BY events.id)",
            calls=json.dumps(calls),
            up_to=_NEWEST if up_to is None else up_to,
        )
        ids = array("q", json.loads(row[0]))
        for start in range(0, len(ids), _PAGE):
            rows = self._rows(
                "SELECT record FROM json_each(:ids) AS wanted CROSS JOIN events ON events.id = wanted.value"
                " ORDER BY events.id",
                ids=json.dumps(ids[start : start + _PAGE].tolist()),
            )
            yield from (readable(CallEvent.from_record, row[0]) for row in rows)

    def _claiming(self, *claims: OpenClaim) -> AbstractContextManager[sqlite3.Connection]:
        """Begin a transaction that changes claims."""
        return self._writing.transaction(claims=[(self._world, claim.rule, claim.call_sid) for claim in claims])

    def _claim_values(self, claim: OpenClaim) -> dict[str, str | int]:
        key = {"world": self._world, "rule": claim.rule, "sid": claim.call_sid}
        declined = declined_rule(claim.rule, claim.call_sid, about=claim.about)
        return {**key, "about": claim.about, "action": claim.action, "fence": claim.fence, "declined": declined}


def _new_fence() -> int:
    """Return a number that no claim has had. It need not rise, and no file that was repaired may bring one back."""
    import secrets

    return secrets.randbits(62) + 1


def _key_of(row: Mapping[str, Any]) -> UndeliveredKey:
    """Return the key of a row of ``undelivered``."""
    return row["world"], row["sid"], row["key"], row["url"]


def _refusal(
    connection: sqlite3.Connection, values: Mapping[str, str | int], *, exclusive: bool, limit: ActionLimit | None
) -> Refusal | None:
    """Return why an action can't be claimed, in the transaction that claims it; None if it can."""
    sql = "SELECT 1 FROM claims WHERE world = :world AND rule IN (:rule, :declined) AND sid = :sid"
    if connection.execute(sql, values).fetchone():
        return Refusal.CLAIMED_BEFORE
    if exclusive and connection.execute(f"SELECT 1 FROM claims WHERE {_OTHER_CLAIMS}", values).fetchone():
        return Refusal.OTHER_IN_PROGRESS
    if limit is None:
        return None
    in_minute, in_second = connection.execute(_COUNTED, values).fetchone()
    if in_minute >= limit.per_minute:
        return Refusal.MINUTE_IS_FULL
    return Refusal.SECOND_IS_FULL if in_second >= limit.per_second else None


def _call_rows(rows: Iterable[tuple[Any, ...]]) -> list[CallRow]:
    """Return rows of calls. What is no text counts for nothing: one damaged row must not hide all others."""
    return [
        CallRow(
            sid,
            parent if isinstance(parent, str) else None,
            status if isinstance(status, str) else "",
            is_final=bool(final),
            last_event_at=nearest_time(last_at),
        )
        for sid, parent, status, final, last_at in rows
        if isinstance(sid, str)
    ]
