"""Rows that are read from one store and written into another one, as far as they can be read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from callctl.store.sqlite.rows import EVENT_OF_CALL, MERGE_CALLS

# What keeps rules from acting twice, and on calls that are not theirs: tables, with the column of their time.
RULE_TABLES = {"claims": "at", "placed_calls": "at", "placed": "at", "intents": "until"}
# What a row changes about an older one. A lease of 0 is that of a settled claim.
_NEWER = {
    "claims": (
        "UPDATE SET lease = excluded.lease, fence = excluded.fence"
        " WHERE lease > 0 AND (excluded.lease = 0 OR excluded.lease > lease)"
    ),
    "placed": "UPDATE SET sid = excluded.sid, at = excluded.at WHERE excluded.at > at",
    "intents": "UPDATE SET until = excluded.until WHERE excluded.until > until",
}
_ADD_ACTION = (
    "INSERT INTO actions (world, sid, at, record) SELECT :world, :sid, :at, :record WHERE NOT EXISTS"
    " (SELECT 1 FROM actions WHERE world = :world AND sid = :sid AND at = :at AND record = :record)"
)
# What was in progress when a backup was made, and whose time is over by now.
_NOW = "CAST(strftime('%s', 'now') AS INTEGER) * 1000000"
_FORGET_LAPSED = (
    f"DELETE FROM claims WHERE lease > 0 AND lease < {_NOW}",
    f"DELETE FROM intents WHERE until < {_NOW}",
)
RuleRows = dict[str, list[Sequence[Any]]]


def rule_rows(source: sqlite3.Connection) -> RuleRows:
    """Read what rules have done, and which calls callctl placed, as far as that can be read."""
    return {
        table: list(_readable(source, f"SELECT {', '.join(_columns(source, table))} FROM {table}"))
        for table in RULE_TABLES
    }


def carry_over(rows: RuleRows, target: sqlite3.Connection) -> None:
    """Write the rows of rules into another store, in a transaction."""
    for table, saved in rows.items():
        add_to_table(target, table, saved)


def merge(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Bring an earlier state of a store, in a transaction, up to date with what another connection reads of it.

    What is in progress is what that connection says: a claim may have been released since, and an intent ended.
    """
    for forget in _FORGET_LAPSED:
        target.execute(forget)
    add_rows(source, target)


def add_rows(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Add what a store lacks of another one, whose calls may have other ids."""
    _add_calls(source, target, "SELECT {} FROM calls")
    _add_events(source, target, "true")
    for table in (*RULE_TABLES, "undelivered"):
        copy_table(source, target, table)
    add_actions(target, _readable(source, "SELECT world, sid, at, record FROM actions ORDER BY id"))


def add_newer_events(source: sqlite3.Connection, target: sqlite3.Connection, *, after: int) -> None:
    """Add the events whose ids come after another one, with their calls."""
    _add_events_with_calls(source, target, f"events.id > {after}")


# In microseconds: events are kept for as long at least, by ``--keep-days``.
_DAY = 86_400_000_000


def lacking_events(source: sqlite3.Connection, target: sqlite3.Connection, *, most: int) -> list[int]:
    """Return the ids of the newest events that another store lacks, of calls that were touched on the last day.

    So what was deleted as old is not taken for lacking.
    """
    touched = "SELECT coalesce(max(last_at), 0) FROM calls"
    since = max(store.execute(touched).fetchone()[0] for store in (source, target)) - _DAY
    newest = (
        "SELECT events.id, world, sid, key FROM events JOIN calls ON calls.id = call_id WHERE last_at >= ?"
        " ORDER BY events.id DESC LIMIT ?"
    )
    return [
        number
        for number, *event in source.execute(newest, (since, most))
        if target.execute(EVENT_OF_CALL, event).fetchone() is None
    ]


def add_some_events(source: sqlite3.Connection, target: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Add the events with these ids, with their calls and the requests that applications have not taken of them."""
    chosen = f"events.id IN (SELECT value FROM json_each('{json.dumps(list(numbers))}'))"
    _add_events_with_calls(source, target, chosen)
    names = ", ".join(_columns(target, "undelivered"))
    keys = f"SELECT world, sid, key FROM events JOIN calls ON calls.id = call_id WHERE {chosen}"
    rows = _readable(source, f"SELECT {names} FROM undelivered WHERE (world, sid, key) IN ({keys})")
    add_to_table(target, "undelivered", rows)


def _add_events_with_calls(source: sqlite3.Connection, target: sqlite3.Connection, condition: str) -> None:
    _add_calls(source, target, f"SELECT {{}} FROM calls WHERE id IN (SELECT call_id FROM events WHERE {condition})")
    _add_events(source, target, condition)


def _add_calls(source: sqlite3.Connection, target: sqlite3.Connection, sql: str) -> None:
    columns = "world, sid, parent_sid, status, standing, is_final, last_at"
    target.executemany(
        f"INSERT OR IGNORE INTO calls ({columns}) VALUES (?,?,?,?,?,?,?) {MERGE_CALLS}",
        _readable(source, sql.format(columns)),
    )


def _add_events(source: sqlite3.Connection, target: sqlite3.Connection, condition: str) -> None:
    # CROSS JOIN keeps SQLite from beginning with the calls, all of them, where few events are wanted.
    events = "SELECT key, record, world, sid FROM events CROSS JOIN calls ON calls.id = call_id"
    target.executemany(
        "INSERT OR IGNORE INTO events (call_id, key, record) SELECT id, ?, ? FROM calls WHERE world = ? AND sid = ?",
        _readable(source, f"{events} WHERE {condition} ORDER BY events.id"),
    )


def copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    """Copy what can be read of a table, whole rows with their keys."""
    names = ", ".join(_columns(target, table))
    keys = [str(row[1]) for row in target.execute(f"PRAGMA table_info({table})") if row[5]] or ["rowid"]
    for direction in ("ASC", "DESC"):  # from both ends: what lies in between may be lost
        order = ", ".join(f"{key} {direction}" for key in keys)
        add_to_table(target, table, _readable(source, f"SELECT {names} FROM {table} ORDER BY {order}"))
        if row_count(source, table) == row_count(target, table):
            return


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]


def add_to_table(target: sqlite3.Connection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    """Write whole rows of a table; of two with the same key the newer one stays."""
    names = _columns(target, table)
    newer = f"ON CONFLICT DO {_NEWER[table]}" if table in _NEWER else ""
    values = ",".join("?" * len(names))
    target.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({values}) {newer}", rows)


def add_actions(target: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Write the actions that are not there yet; their ids are of one file only."""
    target.executemany(_ADD_ACTION, (dict(zip(("world", "sid", "at", "record"), row, strict=True)) for row in rows))


def _readable(source: sqlite3.Connection, sql: str) -> Iterator[Sequence[Any]]:
    """Yield the rows up to the first that can't be read."""
    try:
        yield from source.execute(sql)
    except sqlite3.DatabaseError:
        return


def row_count(connection: sqlite3.Connection, table: str) -> int | None:
    """Return how many rows there are; None where that can't be read."""
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.DatabaseError:
        return None
