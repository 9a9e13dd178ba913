"""Reading an event store: the queries, and a reader for those who never write, as followers and ``show``."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from callctl.calls.action import ActionEvent
from callctl.calls.event import CallEvent
from callctl.store.protocol import CallRow, PlacedCall
from callctl.store.sqlite.connection import connect_readonly
from callctl.store.sqlite.opened import Keeper, Opened
from callctl.store.sqlite.rows import read_action
from callctl.store.sqlite.schema import plain
from callctl.support.dates import microseconds, nearest_time

# How many events are read at a time, so that no long read keeps the log from being folded back into the file.
_PAGE = 1000
_NEWEST = 2**63 - 1
# So many rows are known again in another file: as many as a writer holds and may have written there once more.
_KNOWN = 8192

T = TypeVar("T")

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
_ROW = "SELECT sid, parent_sid, status, is_final, last_at FROM calls WHERE world = :world"
_EVENTS_AFTER = """
    SELECT events.id, key, record FROM events JOIN calls ON calls.id = call_id
    WHERE events.id > :last AND world = :world ORDER BY events.id LIMIT :limit
"""
_ACTIONS_AFTER = "SELECT id, record, record FROM actions WHERE id > :last AND world = :world ORDER BY id LIMIT :limit"
# By what a row is known again in another file, where it may have another id.
_MARKS = {
    _EVENTS_AFTER: "SELECT id, key FROM events WHERE id <= ? ORDER BY id DESC LIMIT ?",
    _ACTIONS_AFTER: "SELECT id, record FROM actions WHERE id <= ? ORDER BY id DESC LIMIT ?",
}


@dataclass(slots=True)
class _Place:
    """How far somebody has read who asks for what comes after: ids are those of one file, and that may be mended."""

    turn: int  # of which file the ids are
    known: deque[Any]  # the marks of the newest rows up to here
    before: set[Any] = field(default_factory=set)  # marks of rows that were read in a former file
    given: int | None = None  # the id that the reader has, and for that one
    at: int = 0

    def move(self, connection: sqlite3.Connection, sql: str, *, turn: int, last: int) -> None:
        """Find the place in another file: behind the rows that are known, wherever they are now.

        A file that was mended has the rows that it had lost at its end; one without any known row is read whole.
        """
        before = set(self.known)
        rows = connection.execute(_MARKS[sql], (_NEWEST, 2 * _KNOWN)).fetchall()
        self.at = min((number for number, mark in rows if mark in before), default=1) - 1
        self.turn, self.before, self.given = turn, before, last


class Reader:
    """Reads what a store holds of one world. May be used from several threads, one at a time.

    Everything raises StoreError where the store can't be read.
    """

    def __init__(self, opened: Opened, *, world: str) -> None:
        self._opened = opened
        self._world = world
        # How many events and actions were left out, since what stands in their rows is none.
        self.unreadable = self.unreadable_actions = 0
        self._places: dict[str, _Place] = {}  # of each query

    @classmethod
    def open(cls, path: Path, *, world: str, busy_timeout: float = 5.0, keeper: Keeper | None = None) -> Reader:
        """Open a store that is there, for reading only. ``busy_timeout`` is in seconds; ``keeper`` mends its files.

        Raises:
            StoreError: It is not there, or can't be read.
        """
        return cls(Opened(path, lambda: connect_readonly(path, busy_timeout=busy_timeout), keeper=keeper), world=world)

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

    def family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call, its parent, its siblings and its children, in their order of arrival."""
        row = self.call(call_sid)
        parent = (row and row.parent_call_sid) or call_sid
        calls = self._rows(_FAMILY, sid=plain(call_sid), parent=plain(parent))
        return (event for event in self._events_of([found[0] for found in calls]) if event is not None)

    def after(self, event_id: int, *, limit: int = _PAGE) -> list[tuple[int, CallEvent]]:
        """Return the events that came after one, with their ids, at most ``limit``: what a follower asks for."""
        found, left_out = self._after(event_id, _EVENTS_AFTER, CallEvent.from_record, limit=limit)
        self.unreadable += left_out
        return found

    def last_event_id(self) -> int:
        """Return the id of the newest event of any world, or 0: where a follower begins."""
        return self._last("events", _EVENTS_AFTER)

    def actions_after(self, action_id: int, *, limit: int = _PAGE) -> list[tuple[int, ActionEvent]]:
        """Return what was asked of calls after one action, with their ids, at most ``limit``."""
        found, left_out = self._after(action_id, _ACTIONS_AFTER, read_action, limit=limit)
        self.unreadable_actions += left_out
        return found

    def last_action_id(self) -> int:
        """Return the id of the newest action of any world, or 0."""
        return self._last("actions", _ACTIONS_AFTER)

    def actions(self, call_sid: str) -> list[ActionEvent]:
        """Return what was asked of one call, the first request first."""
        rows = self._rows("SELECT record FROM actions WHERE world = :world AND sid = :sid ORDER BY id", sid=call_sid)
        return [action for row in rows if (action := _readable(read_action, row[0])) is not None]

    def call(self, call_sid: str) -> CallRow | None:
        """Return what is known of one call."""
        rows = self._rows(f"{_ROW} AND sid = :sid", sid=plain(call_sid))
        return _call_row(rows[0]) if rows else None

    def calls_starting(self, start: str, *, limit: int = 10) -> list[CallRow]:
        """Return the calls whose SID begins with a text, the latest first."""
        rows = self._rows(
            f"{_ROW} AND status <> '' AND sid >= :start AND sid < :end AND substr(sid, 1, length(:start)) = :start"
            " ORDER BY last_at DESC LIMIT :limit",
            start=start,
            end=start + "\U0010ffff",
            limit=limit,
        )
        return [_call_row(row) for row in rows]

    def live_calls(self) -> list[CallRow]:
        """Return the calls that have not ended, as far as the store was told."""
        return [_call_row(row) for row in self._rows(f"{_ROW} AND NOT is_final AND status <> '' ORDER BY last_at")]

    def last_placed(self) -> str | None:
        """Return the SID of the call that was placed last in this world."""
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
        return [PlacedCall(str(sid), nearest_time(at), tuple(str(told).split())) for sid, at, told in rows]

    def close(self) -> None:
        """Let go of the file, also while somebody reads."""
        with suppress(sqlite3.ProgrammingError):  # closed before
            self._opened.connection.interrupt()
        self._opened.close()

    def _events_of(self, calls: list[int], *, up_to: int | None = None) -> Iterator[CallEvent | None]:
        """Yield the events of some calls; None for each whose row holds none."""
        # CROSS JOIN keeps SQLite from going through all events instead of the index of each call. There may be a
        # million: their ids come as one text and are kept at eight bytes each.
        (found,) = self._rows(
            "SELECT json_group_array(id) FROM (SELECT events.id FROM json_each(:calls) AS wanted"
            " CROSS JOIN events ON events.call_id = wanted.value WHERE events.id <= :up_to ORDER BY events.id)",
            calls=json.dumps(calls),
            up_to=_NEWEST if up_to is None else up_to,
        )
        ids = array("q", json.loads(found[0]))
        for start in range(0, len(ids), _PAGE):
            rows = self._rows(
                "SELECT record FROM json_each(:ids) AS wanted CROSS JOIN events ON events.id = wanted.value"
                " ORDER BY events.id",
                ids=json.dumps(ids[start : start + _PAGE].tolist()),
            )
            yield from (_readable(CallEvent.from_record, row[0]) for row in rows)

    def _last(self, table: str, sql: str) -> int:
        with self._opened.used("read") as connection:
            last = int(connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])
            self._places[sql] = self._place(connection, sql, last)
            return last

    def _place(self, connection: sqlite3.Connection, sql: str, last: int) -> _Place:
        rows = connection.execute(_MARKS[sql], (last, _KNOWN)).fetchall()
        return _Place(self._opened.turn, deque((mark for _, mark in reversed(rows)), maxlen=_KNOWN))

    def _after(self, last: int, sql: str, read: Callable[[Any], T], *, limit: int) -> tuple[list[tuple[int, T]], int]:
        """Return what stands in rows with higher ids; if ``last`` is of a former file, in those not read there.

        And how many rows were left out, since nothing that can be read stands in them.
        """
        with self._opened.used("read") as connection:
            place = self._places.get(sql)
            if place is None:
                place = self._places[sql] = self._place(connection, sql, last)
            if place.turn != self._opened.turn:
                place.move(connection, sql, turn=self._opened.turn, last=last)
            at, left_out = place.at if last == place.given else last, 0
            found: list[tuple[int, T]] = []
            values = {"world": self._world, "limit": limit}
            while not found and (rows := connection.execute(sql, {**values, "last": at}).fetchall()):
                at = rows[-1][0]
                place.known.extend(mark for _, mark, _ in rows)
                new = [(number, _readable(read, record)) for number, mark, record in rows if mark not in place.before]
                found = [(number, one) for number, one in new if one is not None]
                left_out += len(new) - len(found)
            place.given, place.at = found[-1][0] if found else last, at
            return found, left_out

    def _rows(self, sql: str, **values: str | int) -> list[tuple[Any, ...]]:
        with self._opened.used("read") as connection:
            return connection.execute(sql, {"world": self._world, **values}).fetchall()


def _readable(read: Callable[[Any], T], record: Any) -> T | None:
    """Return what stands in a row; None for whatever damage or a hand has left there: it must not hide all others."""
    try:
        return read(record)
    except Exception:
        return None


def _call_row(row: tuple[Any, ...]) -> CallRow:
    sid, parent, status, final, last_at = row
    return CallRow(sid, parent, status, is_final=bool(final), last_event_at=nearest_time(last_at))
