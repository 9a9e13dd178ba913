"""What a watch reads of a shared store when it starts: the families that are live, however many are over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from events import WORLD, event, moment

from callctl.store.postgresql.store import _AT, _POSITIONS, PostgresStore

OVER = 500


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.mark.parametrize("has_statistics", [False, True], ids=["no statistics", "statistics"])
def test_calls_that_are_over_are_not_read(shared_store: str, *, has_statistics: bool) -> None:
    with closing(psycopg.connect(shared_store, autocommit=True)) as connection:
        for table in ("stored_calls", "stored_events"):
            connection.execute(f"ALTER TABLE callctl.{table} SET (autovacuum_enabled = off)".encode())
        with closing(PostgresStore.open(shared_store, world=WORLD)) as store:
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
