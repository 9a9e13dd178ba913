"""A standby that takes over: with synchronous replication nothing that was acknowledged is lost."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest
from events import WORLD, event, sid
from paths import ROOT
from postgresql_server import PostgresServer, postgres_server

from callctl.errors import StoreError
from callctl.store.postgresql.store import PostgresStore

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def play(server: PostgresServer, name: str) -> None:
    """Do what a file of docs/deploy.md says."""
    (text,) = re.findall(rf"<!-- file: {name} -->\n\n *```sql\n(.*?)```", PAGE, re.DOTALL)
    for statement in filter(None, map(str.strip, text.split(";"))):
        first_value(server, statement)


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
        play(primary, "synchronous.sql")
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
            # As where the standby was made when the other server waited for one already: it would wait for one, too.
            first_value(standby, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            play(standby, "promote.sql")
            writing.join()
            until(lambda: append(1000))  # without a restart
            stored = [one.call_sid for one in store.replay(since=None)]
        assert len(stored) == len(set(stored))
        assert set(stored) >= {sid(number) for number in acknowledged}
        with closing(PostgresStore.open(standby.url(database), world=WORLD)) as promoted:
            assert {one.call_sid for one in promoted.replay(since=None)} == set(stored)
