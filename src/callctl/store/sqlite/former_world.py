"""Rows of a world by a former name, such as that of its API address with an edge: they are moved to that of today."""

from __future__ import annotations

import sqlite3

from callctl.store.sqlite.rows import MERGE_CALLS

_TABLES = ("calls", "placed", "placed_calls", "actions", "claims", "intents", "undelivered")
_FORMER_CALLS = "SELECT id FROM calls WHERE world = :former"
_MOVES = (
    "INSERT INTO calls (world, sid, parent_sid, status, standing, is_final, last_at)"
    " SELECT :world, sid, parent_sid, status, standing, is_final, last_at FROM calls WHERE world = :former"
    f" {MERGE_CALLS}",
    f"""
    UPDATE OR IGNORE events SET call_id = (
        SELECT now.id FROM calls JOIN calls AS now ON now.world = :world AND now.sid = calls.sid
        WHERE calls.id = events.call_id
    ) WHERE call_id IN ({_FORMER_CALLS})
    """,
    f"DELETE FROM events WHERE call_id IN ({_FORMER_CALLS})",  # the call has the same one
    "INSERT INTO placed SELECT :world, sid, at FROM placed WHERE world = :former"
    " ON CONFLICT DO UPDATE SET sid = excluded.sid, at = excluded.at WHERE excluded.at > at",
    *(f"UPDATE OR IGNORE {table} SET world = :world WHERE world = :former" for table in _TABLES if table != "calls"),
    *(f"DELETE FROM {table} WHERE world = :former" for table in _TABLES),
)
_ANY = " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE world = :former" for table in _TABLES)


def has_rows(connection: sqlite3.Connection, former: str) -> bool:
    """Return whether a store holds rows of a world by its former name."""
    return bool(connection.execute(f"SELECT EXISTS ({_ANY})", {"former": former}).fetchone()[0])


def move_rows(connection: sqlite3.Connection, former: str, *, world: str) -> None:
    """Move the rows of a world by its former name, in a transaction."""
    for sql in _MOVES:
        connection.execute(sql, {"former": former, "world": world})
