"""The writer of an SQLite file. It holds the newest events in memory: they survive what others do to the files."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from callctl.calls.event import CallEvent
from callctl.store.group_writer import GroupWriter
from callctl.store.sqlite.guarded_connection import GuardedConnection
from callctl.store.sqlite.rows import CHUNK, Row, insert

# The most events that are held in memory, some MB: more than SQLite leaves in its log, which somebody may empty, before
# it copies them to the database.
_MOST_RECENT = 8192


class FileWriter(GroupWriter[Row]):
    """Commits events to a file in groups."""

    def __init__(self, guarded: GuardedConnection, *, path: Path, world: str) -> None:
        """Write with a connection that others use too."""
        super().__init__(str(path))
        self._guarded = guarded
        self._world = world
        self._recent: deque[Row] = deque(maxlen=_MOST_RECENT)  # the newest; under the connection's lock

    @property
    def holds_events(self) -> bool:
        """Whether events that it has committed are in memory."""
        return bool(self._recent)

    def restore(self, connection: sqlite3.Connection) -> None:
        """Write the newest events once more, since the files may have lost some."""
        rows = list(self._recent)
        for start in range(0, len(rows), CHUNK):
            insert(connection, rows[start : start + CHUNK], world=self._world)

    def forget(self, *, before: int | None = None) -> None:
        """Drop from memory the events whose time is before another one, in microseconds since 1970; all, if None."""
        kept = [] if before is None else [row for row in self._recent if row.call[-1] >= before]
        self._recent = deque(kept, maxlen=_MOST_RECENT)

    def cap_times(self, latest: int) -> None:
        """Set the times in memory that lie after ``latest``, in microseconds since 1970, to that."""
        if any(row.call[-1] > latest for row in self._recent):
            capped = (row._replace(call=(*row.call[:-1], min(row.call[-1], latest))) for row in self._recent)
            self._recent = deque(capped, maxlen=_MOST_RECENT)

    def _row_of(self, event: CallEvent) -> Row:
        return Row.of(event)

    def _commit(self, rows: Sequence[Row], *, follows: bool = False) -> list[bool]:
        outcomes: list[bool] = []
        with self._guarded.transaction(follows_commit=follows) as connection:
            for start in range(0, len(rows), CHUNK):
                outcomes += insert(connection, rows[start : start + CHUNK], world=self._world)
            self._recent.extend(rows)
        return outcomes

    def _check(self) -> None:
        self._guarded.check()
