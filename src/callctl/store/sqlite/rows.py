"""Events and actions as rows: what is written of each, with how many events in a statement.

Each step of a statement gives up Python's lock and must win it back from the busy event loop, hence few statements with
many rows. A statement has room for up to 4 of them or for 8, 16, 24 and so on; rows without a SID fill it up, which
cost as much as others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from callctl.store.sqlite.schema import plain, short_key
from callctl.support.dates import microseconds

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.event import CallEvent

T = TypeVar("T")

# The most rows in one statement: six values each, and old builds of SQLite allow 999.
CHUNK = 64

_UPSERT_CALLS = """
    INSERT INTO calls (world, sid, parent_sid, status, standing, is_final, last_at)
    SELECT ?, column1, column2, column3, column4, column5, column6
    FROM (VALUES {rows}) WHERE column1 IS NOT NULL
"""
# Whether a store holds an event, whatever id it has there.
EVENT_OF_CALL = "SELECT 1 FROM calls JOIN events ON call_id = calls.id WHERE world = ? AND sid = ? AND key = ?"
# Completes a statement that inserts calls.
MERGE_CALLS = """
    ON CONFLICT (world, sid) DO UPDATE SET
        parent_sid = coalesce(parent_sid, excluded.parent_sid),
        status = CASE WHEN excluded.standing > standing THEN excluded.status ELSE status END,
        is_final = is_final OR excluded.is_final,
        last_at = max(last_at, excluded.last_at),
        standing = max(standing, excluded.standing)
"""
# CROSS JOIN keeps the order of the rows: ids rise in the order of arrival.
_INSERT_EVENTS = """
    INSERT INTO events (call_id, key, record)
    SELECT calls.id, new.column2, new.column3
    FROM (VALUES {rows}) AS new CROSS JOIN calls ON calls.world = ? AND calls.sid = new.column1
    WHERE true
    ON CONFLICT (call_id, key) DO NOTHING
"""
INSERT_ACTION = "INSERT INTO actions (world, sid, at, record) VALUES (?, ?, ?, ?)"
# Of a store of callctl 0.1.0, as long as events of it are there.
_ANY_BY_PAIRS = "SELECT EXISTS (SELECT 1 FROM events WHERE id <= (SELECT last_id FROM keyed_by_pairs))"
_ONE_BY_PAIRS = """
    SELECT EXISTS (
        SELECT 1 FROM calls JOIN events ON call_id = calls.id WHERE world = ? AND sid = ? AND key = ?
        AND events.id <= (SELECT last_id FROM keyed_by_pairs)
    )
"""
_LAST_KEYS = "SELECT json_group_array(key) FROM (SELECT key FROM events ORDER BY id DESC LIMIT ?)"

_Call = tuple[str, str | None, str, str, int, int]
_NO_CALL = (None,) * 6
_NO_EVENT = (None,) * 3


class Row(NamedTuple):
    """An event ready to be written: its columns of the call, its key, and its record."""

    call: _Call
    key: str
    record: str

    @classmethod
    def of(cls, event: CallEvent) -> Row:
        """Return the row of an event.

        Its time is the event's own where that is later than its arrival: a machine whose clock is behind, as before its
        first NTP, must not make it older than it is. One that can't be right is capped by the store (``cap_times``).
        """
        parent = event.parent_call_sid
        call = (
            plain(event.call_sid),
            None if parent is None else plain(parent),
            plain(event.status),
            event.order,
            int(event.is_final),
            microseconds(max(event.received_at, event.moment)),
        )
        return cls(call, short_key(event.key), event.to_record())


def insert(connection: sqlite3.Connection, rows: Sequence[Row], *, world: str) -> list[bool]:
    """Write rows, at most ``CHUNK``; return for each whether its event was new."""
    known = _stored_before(connection, rows, world=world)
    if not known:
        return _insert(connection, rows, world=world)
    fresh = iter(_insert(connection, [row for row in rows if row not in known], world=world))
    return [row not in known and next(fresh) for row in rows]


def try_insert(connection: sqlite3.Connection) -> None:
    """Write an event and undo that, in a transaction: it fails where something keeps events out."""
    from callctl.calls.event import CallEvent

    fields = {"CallSid": f"CA{0:032}", "CallStatus": "ringing"}
    event = CallEvent.from_form(fields.items(), received_at=datetime.now(UTC), world="", verified=True)
    connection.execute("SAVEPOINT test")
    insert(connection, [Row.of(event)], world="")
    connection.execute("ROLLBACK TO test")


def _stored_before(connection: sqlite3.Connection, rows: Sequence[Row], *, world: str) -> set[Row]:
    """Return the rows whose events callctl 0.1.0 stored, under another kind of key: a retry is no new event."""
    if not connection.execute(_ANY_BY_PAIRS).fetchone()[0]:
        return set()
    from callctl.calls.event import CallEvent
    from callctl.calls.event_record import pairs_key

    known = set()
    for row in rows:
        key = short_key(pairs_key(CallEvent.from_record(row.record).form, world=world))
        if connection.execute(_ONE_BY_PAIRS, (world, row.call[0], key)).fetchone()[0]:
            known.add(row)
    return known


def _insert(connection: sqlite3.Connection, rows: Sequence[Row], *, world: str) -> list[bool]:
    if not rows:
        return []
    upsert_calls, insert_events, room = _statements(len(rows))
    values: list[object] = [world]
    for row in rows:
        values += row.call
    values += _NO_CALL * (room - len(rows))
    connection.execute(upsert_calls, values)
    values = []
    for call, key, record in rows:
        values += (call[0], key, record)
    values += _NO_EVENT * (room - len(rows))
    inserted = connection.execute(insert_events, [*values, world]).rowcount
    if inserted == len(rows):
        return [True] * inserted
    import json

    (keys,) = connection.execute(_LAST_KEYS, (inserted,)).fetchone()
    return _first_of_each(rows, set(json.loads(keys)))


def last_number(connection: sqlite3.Connection, table: str) -> int:
    """Return the last id that was given to a row of a table with AUTOINCREMENT; 0 if none was."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])


def action_row(action: ActionEvent, *, world: str) -> tuple[str, str, int, str]:
    """Return the values for ``INSERT_ACTION``."""
    import json

    return world, action.call_sid, microseconds(action.at), json.dumps(action.to_record())


def read_action(record: str) -> ActionEvent:
    """Read back what ``action_row`` made the record of."""
    import json

    from callctl.calls.action import ActionEvent

    return ActionEvent.from_record(json.loads(record))


def _statements(count: int) -> tuple[str, str, int]:
    """Return the statements for ``count`` rows, and for how many they have room."""
    room = count if count <= 4 else -(-count // 8) * 8
    return *_statements_for(room), room


@cache
def _statements_for(room: int) -> tuple[str, str]:
    # No numbered placeholders (?1): for Python 3.12 they are named ones, which take no sequence of values.
    def rows(width: int) -> str:
        return ",".join([f"({','.join('?' * width)})"] * room)

    return _UPSERT_CALLS.format(rows=rows(6)) + MERGE_CALLS, _INSERT_EVENTS.format(rows=rows(3))


def _first_of_each(rows: Sequence[Row], new: set[str]) -> list[bool]:
    """Return for each row whether it was new; of several with one key only the first is."""
    outcomes = []
    for row in rows:
        outcomes.append(row.key in new)
        new.discard(row.key)
    return outcomes


def readable(read: Callable[[Any], T], record: Any) -> T | None:
    """Return what ``read`` makes of a record; None if it can't: one damaged record must not hide all others."""
    try:
        return read(record)
    except Exception:
        return None
