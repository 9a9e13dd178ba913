"""Reading an event store: the queries, and a reader for those who never write, as followers and ``show``."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from callctl.calls.action import ActionEvent
from callctl.calls.event import CallEvent
from callctl.store.protocol import CallRow, PlacedCall
from callctl.store.sqlite.connection import connect_readonly
from callctl.store.sqlite.opened import Keeper, Opened
from callctl.store.sqlite.rows import read_action
from callctl.store.sqlite.schema import plain
from callctl.support.dates import from_microseconds, microseconds

# How many events are read at a time, so that no long read keeps the log from being folded back into the file.
_PAGE = 1000
_NEWEST = 2**63 - 1

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


class Reader:
    """Reads what a store holds of one world. May be used from several threads, one at a time.

    Everything raises StoreError where the store can't be read.
    """

    def __init__(self, opened: Opened, *, world: str) -> None:
        self._opened = opened
        self._world = world
        self.unreadable = 0  # how many events were left out, since what stands in their rows is none
        self._turns: dict[str, int] = {}  # of each query the file that its last answer came from

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
        yield from self._events_of([row[0] for row in calls], up_to=up_to)

    def family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call, its parent, its siblings and its children, in their order of arrival."""
        row = self.call(call_sid)
        parent = (row and row.parent_call_sid) or call_sid
        calls = self._rows(_FAMILY, sid=plain(call_sid), parent=plain(parent))
        return self._events_of([found[0] for found in calls])

    def after(self, event_id: int, *, limit: int = _PAGE) -> list[tuple[int, CallEvent]]:
        """Return the events that came after one, with their ids, at most ``limit``: what a follower asks for."""
        rows = self._rows_after(
            event_id,
            "SELECT events.id, record FROM events JOIN calls ON calls.id = call_id"
            " WHERE events.id > :last AND world = :world ORDER BY events.id LIMIT :limit",
            limit=limit,
        )
        return [(row[0], CallEvent.from_record(row[1])) for row in rows]

    def last_event_id(self) -> int:
        """Return the id of the newest event of any world, or 0: where a follower begins."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM events")[0][0])

    def actions_after(self, action_id: int, *, limit: int = _PAGE) -> list[tuple[int, ActionEvent]]:
        """Return what was asked of calls after one action, with their ids, at most ``limit``."""
        rows = self._rows_after(
            action_id,
            "SELECT id, record FROM actions WHERE id > :last AND world = :world ORDER BY id LIMIT :limit",
            limit=limit,
        )
        return [(row[0], read_action(row[1])) for row in rows]

    def last_action_id(self) -> int:
        """Return the id of the newest action of any world, or 0."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM actions")[0][0])

    def actions(self, call_sid: str) -> list[ActionEvent]:
        """Return what was asked of one call, the first request first."""
        rows = self._rows("SELECT record FROM actions WHERE world = :world AND sid = :sid ORDER BY id", sid=call_sid)
        return [read_action(row[0]) for row in rows]

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
        return [PlacedCall(sid, from_microseconds(at), tuple(told.split())) for sid, at, told in rows]

    def close(self) -> None:
        """Let go of the file, also while somebody reads."""
        with suppress(sqlite3.ProgrammingError):  # closed before
            self._opened.connection.interrupt()
        self._opened.close()

    def _events_of(self, calls: list[int], *, up_to: int | None = None) -> Iterator[CallEvent]:
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
            yield from (event for row in rows if (event := self._event(row[0])) is not None)

    def _event(self, record: Any) -> CallEvent | None:
        try:
            return CallEvent.from_record(record)
        except Exception:  # whatever damage or a hand has left there, it must not hide all others
            self.unreadable += 1
            return None

    def _rows_after(self, last: int, sql: str, *, limit: int) -> list[tuple[Any, ...]]:
        """Return rows with higher ids; all, if ``last`` is of a file that is no longer there."""
        with self._opened.used("read") as connection:
            is_of_this = self._turns.get(sql, 0) == self._opened.turn
            values = {"world": self._world, "last": last if is_of_this else 0, "limit": limit}
            rows = connection.execute(sql, values).fetchall()
            if rows:
                self._turns[sql] = self._opened.turn
            return rows

    def _rows(self, sql: str, **values: str | int) -> list[tuple[Any, ...]]:
        with self._opened.used("read") as connection:
            return connection.execute(sql, {"world": self._world, **values}).fetchall()


def _call_row(row: tuple[Any, ...]) -> CallRow:
    sid, parent, status, final, last_at = row
    return CallRow(sid, parent, status, is_final=bool(final), last_event_at=from_microseconds(last_at))
