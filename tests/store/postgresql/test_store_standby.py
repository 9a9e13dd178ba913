"""A standby that takes over: with synchronous replication nothing that was acknowledged is lost."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest
from events import WORLD, event, sid
from postgresql_server import PostgresServer, postgres_server

from callctl.errors import StoreError
from callctl.store.postgresql.store import PostgresStore


def first_value(server: PostgresServer, sql: str) -> object:
    with closing(psycopg.connect(server.url("postgres"), autocommit=True)) as connection:
        cursor = connection.execute(sql.encode())
        row = cursor.fetchone() if cursor.description is not None else None
        return None if row is None else row[0]


def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never was so")


@pytest.mark.timeout(300)
def test_a_standby_takes_over_without_a_lost_event() -> None:
    with postgres_server() as primary, postgres_server(standby_of=primary) as standby:
        database = primary.new_store().rpartition("/")[2]
        first_value(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        first_value(primary, "SELECT pg_reload_conf()")
        until(lambda: first_value(primary, "SELECT sync_state FROM pg_stat_replication") == "sync")
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        troubles: queue.Queue[str] = queue.Queue()
        url = f"postgresql://callctl@{hosts}/{database}"
        acknowledged: list[int] = []
        with closing(PostgresStore.open(url, world=WORLD, on_trouble=troubles.put)) as store:

            def append(number: int) -> bool:
                try:
                    store.append(event(number, "ringing", number=0, at=1))
                except StoreError:
                    return False
                acknowledged.append(number)
                return True

            for number in range(200):
                assert append(number)
            writing = threading.Thread(target=lambda: [append(number) for number in range(200, 400)])
            writing.start()
            until(lambda: len(acknowledged) > 220)
            primary.kill()
            first_value(standby, "SELECT pg_promote()")
            writing.join()
            until(lambda: append(1000))  # without a restart
            stored = [one.call_sid for one in store.replay(since=None)]
        assert len(stored) == len(set(stored))
        assert set(stored) >= {sid(number) for number in acknowledged}
        with closing(PostgresStore.open(standby.url(database), world=WORLD)) as promoted:
            assert {one.call_sid for one in promoted.replay(since=None)} == set(stored)
