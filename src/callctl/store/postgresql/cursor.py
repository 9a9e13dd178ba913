"""Reading the rows of a table that are new, also in a database that was put back to an earlier state.

A backup that is restored, or a standby that lacked the last commits, gives positions once more that were read already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from callctl.errors import StoreError

# The most rows that are recognized in another state, and those of them that are read at first.
_MOST_KNOWN = 8192
_KNOWN_AT_FIRST = 1000
# How far the clocks of two listeners may be apart: rows of one that is behind are new all the same.
_CLOCKS_APART = timedelta(minutes=5)


class RowQuery(NamedTuple):
    """A table whose rows have positions: what marks a row in every state, its time, and who counts its positions."""

    table: str
    mark: str
    time: str
    last: str


EVENTS = RowQuery("callctl.stored_events", "encode(key, 'hex')", "received_at", "last_event")
ACTIONS = RowQuery("callctl.actions", "md5(record::text)", "at", "last_action")


class Row(NamedTuple):
    """A row that was read."""

    position: int
    mark: str
    at: datetime


class RowCursor:
    """Remembers how far a table of one world was read, and notices that it was put back. Not safe for several threads.

    Every method raises StoreError where the store can't be read.
    """

    def __init__(
        self, read: Callable[..., list[tuple[Any, ...]]], query: RowQuery, *, put_back: Callable[[], None]
    ) -> None:
        """Prepare.

        Args:
            read: Returns the rows of a statement, whose parameters are given by their names.
            query: Which rows are read.
            put_back: Called when an earlier state was found, before that is read.
        """
        self._read, self._query, self._put_back = read, query, put_back
        self._known: deque[Row] | None = None  # the newest rows that were read in this state, the newest last
        self._read_before: dict[str, None] = {}  # marks of rows that were read in former states, the newest last
        self._newest_at: datetime | None = None  # the time of the newest row that was read
        self._moved_from: int | None = None  # the position that the caller has, and where to read on for that one
        self._moved_to = 0

    def newest(self) -> int:
        """Return the position after which new rows come; reading goes on from there."""
        last = self.last_position()
        with suppress(StoreError):  # then with the next look
            self._begin(last)
        return last

    def last_position(self) -> int:
        """Return the position after which new rows come, or 0."""
        found = self._read(f"SELECT {self._query.last} FROM callctl.worlds WHERE world = %(world)s")
        return int(found[0][0]) if found else 0

    def place_after(self, last: int) -> int:
        """Return the position after which rows are new to a caller who has read up to ``last``."""
        known = self._known if self._known is not None else self._begin(last)
        place = self._moved_to if last == self._moved_from else last
        if self._is_put_back(known, place):
            self._put_back()
            self._move_back(known, last)
            return self._moved_to
        return place

    def is_new(self, mark: str) -> bool:
        """Return whether a row was not read before the table was put back."""
        return mark not in self._read_before

    def note(self, rows: Iterable[Row]) -> None:
        """Remember rows that were read."""
        if self._known is not None:
            self._known.extend(rows)
            self._newest_at = self._known[-1].at if self._known else self._newest_at

    def note_place(self, last: int, *, returned: int) -> None:
        """Remember up to where was read, for a caller who has ``returned``."""
        self._moved_from, self._moved_to = returned, last

    def _begin(self, last: int) -> deque[Row]:
        rows = self._newest(_KNOWN_AT_FIRST, up_to=last)
        self._known = known = deque[Row](maxlen=_MOST_KNOWN)
        self.note(reversed(rows))
        return known

    def _is_put_back(self, known: deque[Row], place: int) -> bool:
        position, mark = (known[-1].position, known[-1].mark) if known else (0, "")
        found = self._read(
            f"SELECT {self._query.last}, (SELECT {self._query.mark} FROM {self._query.table} AS row"
            " WHERE row.world = w.world AND row.position = %(position)s)"
            " FROM callctl.worlds AS w WHERE world = %(world)s",
            position=position,
        )
        newest, there = found[0] if found else (0, None)
        # A row that is not there, though newer ones are, was deleted.
        return int(newest) < max(place, position) or there not in (None, mark)

    def _move_back(self, known: deque[Row], last: int) -> None:
        """Go to the first row that is known; without one, to those that came since the last that was read."""
        self._read_before |= dict.fromkeys(row.mark for row in known)
        while len(self._read_before) > 4 * _MOST_KNOWN:
            del self._read_before[next(iter(self._read_before))]
        known.clear()
        rows = self._newest(2 * _MOST_KNOWN)
        first = min((row.position for row in rows if row.mark in self._read_before), default=None)
        if first is None:
            since = None if self._newest_at is None else self._newest_at - _CLOCKS_APART
            first = min((row.position for row in rows if since is None or row.at >= since), default=None)
        newest = rows[0].position if rows else 0
        self._moved_from, self._moved_to = last, newest if first is None else first - 1

    def _newest(self, most: int, *, up_to: int = 2**63 - 1) -> list[Row]:
        rows = self._read(
            f"SELECT position, {self._query.mark}, {self._query.time} FROM {self._query.table}"
            " WHERE world = %(world)s AND position <= %(up_to)s ORDER BY position DESC LIMIT %(most)s",
            up_to=up_to,
            most=most,
        )
        return [Row(*row) for row in rows]
