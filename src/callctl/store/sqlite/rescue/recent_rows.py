"""The newest rows of rules and commands and of requests that were not passed on, held in memory."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

from callctl.store.sqlite.guarded_connection import ClaimKey, UndeliveredKey
from callctl.store.sqlite.rescue.row_transfer import RULE_TABLES, add_actions, add_to_table
from callctl.store.sqlite.rows import EVENT_OF_CALL, last_number

_LEASE = 6  # its column in "claims"
_UNDELIVERED = "world, sid, key, url, at, why, tried_until"
# The most rows of each table that are held in memory, the newest. They are not read again for so many times what
# reading them took of the processor: a thread that had to wait meanwhile would miss for long what others write.
_MOST_RECENT = 2000
_MOST_UNDELIVERED = 8192  # as many as the events that a writer holds, which they are about
_REFRESH_PAUSE = 20


class RecentRows:
    """The newest rows of rules and commands, and of requests that were not passed on, held in memory.

    The files may lose them. Of the calls' events each writer holds its own.
    """

    def __init__(self) -> None:
        self.version: int | None = None  # the version of the data that was read; see ``data_version``
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._own_claims: dict[ClaimKey, tuple[Any, ...] | None] = {}
        self._actions: deque[tuple[Any, ...]] = deque(maxlen=_MOST_RECENT)
        self._last_action = 0
        self._undelivered: dict[UndeliveredKey, tuple[Any, ...]] = {}  # the newest are the last
        self._next_refresh = 0.0  # by the monotonic clock

    def refresh(self, connection: sqlite3.Connection, version: int | None) -> None:
        """Read the rows anew, if ``version`` of the data is another one: another connection has written since."""
        if version == self.version or time.monotonic() < self._next_refresh:
            return
        began = time.thread_time()
        for table, time_column in RULE_TABLES.items():
            newest = f"SELECT * FROM {table} ORDER BY {time_column} DESC LIMIT ?"
            self._rows[table] = connection.execute(newest, (_MOST_RECENT,)).fetchall()
        self._own_claims.clear()
        self._last_action, self._actions = 0, deque(maxlen=_MOST_RECENT)
        self._read_actions(connection)
        newest = f"SELECT {_UNDELIVERED} FROM undelivered ORDER BY at DESC LIMIT ?"
        rows = connection.execute(newest, (_MOST_UNDELIVERED,)).fetchall()
        self._undelivered = {row[:4]: row for row in reversed(rows)}
        self.version = version
        self._next_refresh = time.monotonic() + _REFRESH_PAUSE * (time.thread_time() - began)

    def note_claim(self, connection: sqlite3.Connection, key: ClaimKey) -> None:
        """Read a claim that the connection itself has changed, and the actions since the last look."""
        row = connection.execute("SELECT * FROM claims WHERE world = ? AND rule = ? AND sid = ?", key).fetchone()
        self._own_claims.pop(key, None)
        self._own_claims[key] = row  # the newest are the last
        if len(self._own_claims) > _MOST_RECENT:
            del self._own_claims[next(iter(self._own_claims))]
        self._read_actions(connection)

    def note_undelivered(self, changed: Mapping[UndeliveredKey, tuple[Any, ...] | None]) -> None:
        """Hold rows that the connection itself writes; with None, drop what it deletes."""
        for key, row in changed.items():
            self._undelivered.pop(key, None)
            if row is not None:
                self._undelivered[key] = row
        for key in list(islice(self._undelivered, max(0, len(self._undelivered) - _MOST_UNDELIVERED))):
            del self._undelivered[key]

    def _read_actions(self, connection: sqlite3.Connection) -> None:
        sql = "SELECT id, world, sid, at, record FROM actions WHERE id > ? ORDER BY id DESC LIMIT ?"
        for number, *row in reversed(connection.execute(sql, (self._last_action, _MOST_RECENT)).fetchall()):
            self._actions.append(tuple(row))
            self._last_action = number

    def connection_changed(self) -> None:
        """Read the rows anew with the next refresh: versions are counted for each connection."""
        self.version, self._next_refresh = None, 0.0

    def are_in(self, connection: sqlite3.Connection) -> bool:
        """Return whether a store still has what rules have done and which calls callctl placed, as far as is held.

        Others may have ended intents and claims that were open.
        """
        rows = {row[:3]: row[_LEASE] for row in self._rows.get("claims", ()) if row[_LEASE] == 0}
        own = {key: row[_LEASE] for key, row in self._own_claims.items() if row is not None}
        by_key = "SELECT lease FROM claims WHERE world = ? AND rule = ? AND sid = ?"
        for key, lease in (rows | own).items():
            stored = connection.execute(by_key, key).fetchone()
            if stored is None or (lease == 0 and stored[0] > 0):
                return False
        placed = "SELECT 1 FROM placed_calls WHERE world = ? AND sid = ?"
        last = "SELECT 1 FROM placed WHERE world = ? AND at >= ?"
        return (
            all(connection.execute(placed, row[:2]).fetchone() for row in self._rows.get("placed_calls", ()))
            and all(connection.execute(last, (row[0], row[2])).fetchone() for row in self._rows.get("placed", ()))
            and self._last_action <= last_number(connection, "actions")
        )

    def restore(self, connection: sqlite3.Connection) -> None:
        """Write those of the rows that a new file lacks."""
        claims = {row[:3]: row for row in self._rows.get("claims", ())} | self._own_claims
        claim_rows = [row for row in claims.values() if row is not None]  # None: it was released
        for table, rows in (self._rows | {"claims": claim_rows}).items():
            add_to_table(connection, table, rows)
        add_actions(connection, self._actions)

    def restore_undelivered(self, connection: sqlite3.Connection) -> None:
        """Write the requests that were not passed on and that a new file lacks."""
        add_to_table(connection, "undelivered", self._undelivered.values())

    def undelivered_not_in(self, connection: sqlite3.Connection) -> int:
        """Return how many of the requests that are held have no event in a store."""
        return sum(connection.execute(EVENT_OF_CALL, key[:3]).fetchone() is None for key in self._undelivered)
