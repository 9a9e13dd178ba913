"""What the tests of a shared store would notice: the same without what makes it safe fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from events import WORLD, event, sid
from postgresql_server import PostgresServer, postgres_server

from callctl.store.postgresql.rows import event_row
from callctl.store.postgresql.store import PostgresStore

APPEND = b"SELECT callctl.append(%s, %s::jsonb)"


@pytest.fixture(scope="module")
def lax_server() -> Iterator[PostgresServer]:
    """Return a server that by itself answers before a commit is on the disk, as some are set up."""
    with postgres_server(synchronous_commit="off", wal_writer_delay="10s") as server:
        yield server


def append(connection: psycopg.Connection[Any], number: int) -> None:
    one = event(number, "ringing", number=0, at=1)
    connection.execute(APPEND, (WORLD, f"[{event_row(one)}]"))


def stored(url: str) -> set[str]:
    with closing(PostgresStore.open(url, world=WORLD)) as store:
        return {one.call_sid for one in store.replay(since=None)}


def test_without_a_flush_acknowledged_events_are_lost_and_callctl_has_it_flushed(lax_server: PostgresServer) -> None:
    url = lax_server.new_store()
    sids = {sid(number) for number in range(100)}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        for number in range(100):
            append(connection, number)
        lax_server.kill()
    lax_server.start()
    assert stored(url) < sids  # the control
    with closing(PostgresStore.open(url, world=WORLD)) as store:
        for number in range(100):
            store.append(event(number, "ringing", number=0, at=1))
        lax_server.kill()
    lax_server.start()
    assert stored(url) == sids


@pytest.mark.parametrize("given", ["off", "local", "remote_write", "on", "remote_apply"])
def test_what_was_answered_is_on_the_standby_whatever_the_role_has(own_shared_store: str, given: str) -> None:
    name = own_shared_store.rpartition("/")[2]
    with psycopg.connect(own_shared_store, autocommit=True) as owner:
        owner.execute(f"ALTER ROLE callctl IN DATABASE {name} SET synchronous_commit = {given}".encode())
    with closing(PostgresStore.open(own_shared_store, world=WORLD)) as store:
        store.append(event(1, "ringing"))
        connection = store._writer._link._connection
        assert connection is not None
        row = connection.execute("SHOW synchronous_commit").fetchone()
    assert row == (given if given == "remote_apply" else "on",)


def test_a_serial_column_misses_what_is_committed_late_and_positions_do_not(own_shared_store: str) -> None:
    with (
        psycopg.connect(own_shared_store) as slow,
        psycopg.connect(own_shared_store, autocommit=True) as quick,
        closing(PostgresStore.open(own_shared_store, world=WORLD)) as store,
    ):
        quick.execute("CREATE TABLE serial (id bigserial, name text)")
        slow.execute("INSERT INTO serial (name) VALUES ('slow')")  # has the lower number, and is not committed
        quick.execute("INSERT INTO serial (name) VALUES ('quick')")
        last = quick.execute("SELECT max(id) FROM serial").fetchone()
        slow.commit()
        later = quick.execute("SELECT name FROM serial WHERE id > %s", last).fetchall()
        assert later == []  # the control: who reads by the number never sees it

        append(slow, 1)
        waiting = store.submit(event(2, "ringing", number=0, at=1))
        pid = slow.info.backend_pid
        is_blocked = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid)))"
        while not (row := quick.execute(is_blocked, (pid,)).fetchone()) or not row[0]:
            time.sleep(0.01)
        assert store.after(0) == []  # nothing with a higher position is there before it
        slow.commit()
        assert waiting.result(timeout=60)
        assert [one.call_sid for _, one in store.after(0)] == [sid(1), sid(2)]


def test_a_form_is_readable_for_who_reads_the_views(own_shared_store: str) -> None:
    with (
        closing(PostgresStore.open(own_shared_store, world=WORLD)) as store,
        psycopg.connect(own_shared_store, autocommit=True) as reader,
    ):
        store.describe_world(account_sid="AC0", api_url="https://api.example.com")
        one = event(1, "busy", number=1, at=5, SipResponseCode="486")
        store.append(one)
        (row,) = reader.execute("SELECT call_sid, status, is_final, account_sid FROM callctl.calls").fetchall()
        assert row == (sid(1), "busy", True, "AC0")
        (found,) = reader.execute("SELECT position, received_at, form, api_url FROM callctl.events").fetchall()
        assert found == (1, one.received_at, json.loads(json.dumps(dict(one.form))), "https://api.example.com")
