"""What a watch reads of a shared store when it starts: the families that are live, however many are over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from events import WORLD, event, moment

from callctl.store.postgresql.connection import Link
from callctl.store.postgresql.store import _AT, _POSITIONS, PostgresStore
from callctl.store.postgresql.writer import SharedWriter

OVER = 500


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.mark.parametrize("has_statistics", [False, True], ids=["no statistics", "statistics"])
def test_calls_that_are_over_are_not_read(own_shared_store: str, *, has_statistics: bool) -> None:
    with closing(psycopg.connect(own_shared_store, autocommit=True)) as connection:
        for table in ("stored_calls", "stored_events"):
            connection.execute(f"ALTER TABLE callctl.{table} SET (autovacuum_enabled = off)".encode())
        with closing(PostgresStore.open(own_shared_store, world=WORLD)) as store:
            over = [store.submit(event(call, "completed", number=0, at=1)) for call in range(OVER)]
            assert all(one.result() for one in over)
            store.append(event(OVER, "ringing", number=0, at=1))
            since = moment(1000)
            assert len(list(store.replay(since=since))) == 1
        if has_statistics:
            connection.execute("ANALYZE")
        values = {"world": WORLD, "since": since, "up_to": 2**62, "page": list(range(1, OVER))}
        for sql in (_POSITIONS.format(calls="recent_calls(%(world)s, %(since)s)"), _AT):
            row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}".encode(), values).fetchone()
            assert row is not None
            read = [node for node in nodes(row[0][0]["Plan"]) if "Relation Name" in node]
            assert read
            # Each time that a call or a position is looked up.
            assert max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in read) <= 1


def test_a_world_that_is_newer_than_the_statistics_does_not_seem_empty(own_shared_store: str) -> None:
    """Lookups in one of 10,000 events beside one of a million took more than four seconds: each read it whole."""
    with closing(psycopg.connect(own_shared_store, autocommit=True)) as connection:
        with closing(PostgresStore.open(own_shared_store, world=WORLD)) as store:
            stored = [store.submit(event(call, "completed", number=0, at=1)) for call in range(OVER)]
            assert all(one.result() for one in stored)
        connection.execute("ANALYZE")
        row = connection.execute(
            "EXPLAIN (FORMAT JSON) SELECT FROM callctl.stored_events WHERE world = 'new'"
        ).fetchone()
        assert row is not None
        assert row[0][0]["Plan"]["Plan Rows"] > 1
        # So with each table that has more than one index that begins with the world.
        several = connection.execute(
            """
            SELECT c.relname, a.attstattarget FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = 'world'
            WHERE c.relnamespace = 'callctl'::regnamespace GROUP BY 1, 2 HAVING count(*) > 1
            """
        ).fetchall()
        assert {name for name, _ in several} >= {"stored_calls", "stored_events", "undelivered"}
        assert {target for _, target in several} == {0}


def test_what_a_process_wrote_itself_is_neither_looked_up_nor_read_back(
    own_shared_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        closing(PostgresStore.open(own_shared_store, world=WORLD)) as mine,
        closing(PostgresStore.open(own_shared_store, world=WORLD)) as others,
    ):
        for number in range(3):
            assert mine.append(event(number, "ringing", number=0, at=1))
        assert not mine.append(event(0, "ringing", number=0, at=1))
        assert others.append(event(3, "ringing", number=0, at=1))
        assert mine.append(event(4, "ringing", number=0, at=1))
        rows = list[int]()
        read = Link.read

        def noted(link: Link, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
            found = read(link, sql, values)
            rows.append(len(found))
            return found

        monkeypatch.setattr(Link, "read", noted)
        found = mine.after(0)
        # What was read before, whether that is still there, the positions from the other's event on, and that event.
        assert rows == [0, 1, 2, 1]
        assert found == others.after(0)
        assert [number for number, _ in found] == [1, 2, 3, 4, 5]


async def test_what_comes_together_is_handed_over_as_one(
    own_shared_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, hand_over = list[int](), SharedWriter._hand_over

    def noted(writer: SharedWriter) -> None:
        if writer._pending:
            sizes.append(len(writer._pending))
        hand_over(writer)

    monkeypatch.setattr(SharedWriter, "_hand_over", noted)
    with closing(PostgresStore.open(own_shared_store, world=WORLD)) as store:
        for count in (70, 3):
            events = [event(call, "ringing", number=count, at=1) for call in range(count)]
            assert await asyncio.gather(*map(store.append_async, events)) == [True] * count
    assert sizes == [70, 3]
