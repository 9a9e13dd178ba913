"""Reading the rows of a table that are new, also in a file that was repaired, where they may have other ids."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from callctl.store.sqlite.guarded_connection import GuardedConnection
from callctl.store.sqlite.rows import last_number, readable
from callctl.support.dates import microseconds

_NEWEST = 2**63 - 1
# The most rows that are recognized in another file: as many as a writer holds and may have written there once more.
_MOST_KNOWN = 8192
# Of a file without any of these, older rows were read before: so far the clocks of two listeners may be apart.
_CLOCKS_APART = timedelta(minutes=5)
_MOST_PAGES = 20  # of rows that were read before, in one step: a caller may have callbacks to answer

T = TypeVar("T")


class RowQuery(NamedTuple):
    """How a table is read on.

    Attributes:
        table: Its name.
        after: Selects id, mark and record of at most ``:limit`` rows of ``:world`` after ``:last``.
        marks: Selects id and mark of the newest rows up to an id. A row has the same mark in every file.
        record: Selects the record of the row with an id.
        since: Selects an id before which no row is as new as a time, in microseconds since 1970; of any world.
        time: Returns the time of what is read from a record.
    """

    table: str
    after: str
    marks: str
    record: str
    since: str
    time: Callable[[Any], datetime]


EVENTS = RowQuery(
    "events",
    "SELECT events.id, key, record FROM events JOIN calls ON calls.id = call_id"
    " WHERE events.id > :last AND world = :world ORDER BY events.id LIMIT :limit",
    "SELECT id, key FROM events WHERE id <= ? ORDER BY id DESC LIMIT ?",
    "SELECT record FROM events WHERE id = ?",
    "SELECT min(events.id) FROM events JOIN calls ON calls.id = call_id WHERE last_at >= ?",
    attrgetter("received_at"),
)
ACTIONS = RowQuery(
    "actions",
    "SELECT id, record, record FROM actions WHERE id > :last AND world = :world ORDER BY id LIMIT :limit",
    "SELECT id, record FROM actions WHERE id <= ? ORDER BY id DESC LIMIT ?",
    "SELECT record FROM actions WHERE id = ?",
    "SELECT min(id) FROM actions WHERE at >= ?",
    attrgetter("at"),
)


class RowCursor:
    """Reads on in one table of one world."""

    def __init__(self, guarded: GuardedConnection, query: RowQuery, *, world: str) -> None:
        self._guarded, self._query, self._world = guarded, query, world
        self._position: _Position | None = None

    def last_id(self) -> int:
        """Return the id of the newest row of any world, or 0: reading goes on from there."""
        with self._guarded.use("read") as connection:
            sql = f"SELECT coalesce(max(id), 0) FROM {self._query.table}"
            last = int(connection.execute(sql).fetchone()[0])
            self._position = self._position_at(connection, last)
            return last

    def skip(self) -> None:
        """Take what comes before the next look for read: the caller has got its position elsewhere."""
        self._position = None

    def after(self, last: int, read: Callable[[Any], T], *, limit: int) -> tuple[list[tuple[int, T]], int]:
        """Return the records with higher ids than ``last``; if that id is of a former file, those not read there.

        Also return how many rows were left out, since ``read`` can't read their records.
        """
        with self._guarded.use("read") as connection:
            position = self._position
            if position is None:
                position = self._position = self._position_at(connection, last)
            if position.generation != self._guarded.generation or self._is_lost(connection, position):
                self._move_to_new_file(connection, position, last, read)
            return self._read_on(connection, position, last, read, limit=limit)

    def _position_at(self, connection: sqlite3.Connection, last: int) -> _Position:
        rows = connection.execute(self._query.marks, (last, _MOST_KNOWN)).fetchall()
        known = deque((mark for _, mark in reversed(rows)), maxlen=_MOST_KNOWN)
        position = _Position(self._guarded.generation, known, newest=rows[0] if rows else None)
        if rows and (newest := connection.execute(self._query.record, rows[0][:1]).fetchone()) is not None:
            (position.newest_record,) = newest
        return position

    def _is_lost(self, connection: sqlite3.Connection, position: _Position) -> bool:
        """Return whether the file lost the newest row that was read, as by a restore: its id is given once more."""
        if position.newest is None:
            return False
        number, mark = position.newest
        row = connection.execute(self._query.marks, (number, 1)).fetchone()
        if row is not None and row[0] == number:
            return bool(row[1] != mark)
        return last_number(connection, self._query.table) < number  # else it was deleted

    def _move_to_new_file(
        self, connection: sqlite3.Connection, position: _Position, last: int, read: Callable[[Any], Any]
    ) -> None:
        """Go to the first row that is known, wherever that is in the new file.

        A file that was repaired has the rows that it had lost at its end. One without any known row is an old backup,
        in which that is written once more, or another store: what is older than what was read is no news in either.
        """
        known = set(position.known)
        rows = connection.execute(self._query.marks, (_NEWEST, 2 * _MOST_KNOWN)).fetchall()
        first = min((number for number, mark in rows if mark in known), default=None)
        position.since = None
        if first is None and (newest := readable(read, position.newest_record)) is not None:
            # A clock that was ahead may have dated it.
            position.since = min(self._query.time(newest), datetime.now(UTC)) - _CLOCKS_APART
            (first,) = connection.execute(self._query.since, (microseconds(position.since),)).fetchone()
            first = first or last_number(connection, self._query.table) + 1
        position.row_id = (first or 1) - 1
        position.generation, position.read_before, position.returned_id = self._guarded.generation, known, last
        position.newest = None

    def _read_on(
        self, connection: sqlite3.Connection, position: _Position, last: int, read: Callable[[Any], T], *, limit: int
    ) -> tuple[list[tuple[int, T]], int]:
        row_id = position.row_id if last == position.returned_id else last
        left_out, pages = 0, 0
        records: list[tuple[int, T]] = []
        values = {"world": self._world, "limit": limit}
        while (
            not records
            and pages < _MOST_PAGES
            and (rows := connection.execute(self._query.after, {**values, "last": row_id}).fetchall())
        ):
            row_id, pages = rows[-1][0], pages + 1
            position.newest, position.newest_record = rows[-1][:2], rows[-1][2]
            position.known.extend(mark for _, mark, _ in rows)
            for number, mark, text in rows:
                if mark in position.read_before:
                    position.since = None  # what is written once more is in the order in which it came
                elif (record := readable(read, text)) is None:
                    left_out += 1
                elif position.since is None or self._query.time(record) >= position.since:
                    records.append((number, record))
        position.returned_id, position.row_id = records[-1][0] if records else last, row_id
        return records, left_out


@dataclass(slots=True)
class _Position:
    """How far a cursor has read: ids are those of one file."""

    generation: int  # of which file the ids are
    known: deque[Any]  # the marks of the newest rows up to here
    newest: tuple[int, Any] | None = None  # id and mark of the newest row that was read in this file
    newest_record: Any = None
    read_before: set[Any] = field(default_factory=set)  # marks of rows that were read in a former file
    since: datetime | None = None  # what is older was read in a former file, too, up to the first row that is known
    returned_id: int | None = None  # the id that the caller has, and the row up to which was read for that one
    row_id: int = 0
