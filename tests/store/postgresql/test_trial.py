"""The test that events can be stored: it fails where they would, passes else, and leaves no trace."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from events import START, WORLD, event, moment, sid
from postgresql_server import PostgresServer, postgres_server
from running import Callctl

from callctl.errors import StoreAwayError, StoreBusyError, StoreError
from callctl.store.postgresql import connection
from callctl.store.postgresql.maintenance import check
from callctl.store.postgresql.store import PostgresStore
from callctl.store.records import OpenClaim
from callctl.support.threads import start_in_thread

# As where a table's own disk is full.
FULL = """
    CREATE FUNCTION callctl.is_full() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER is_full BEFORE INSERT ON callctl.{table} FOR EACH ROW {condition} EXECUTE FUNCTION callctl.is_full()
"""
TROUBLES = {
    "no room for events": FULL.format(table="stored_events", condition=""),
    "no room for calls": FULL.format(table="stored_calls", condition=""),
    "room for short rows alone": FULL.format(
        table="stored_events", condition="WHEN (length(NEW.form::text) BETWEEN 1000 AND 2000)"
    ),
    "no room for long forms": FULL.format(table="stored_events", condition="WHEN (pg_column_size(NEW.form) > 2040)"),
    "a constraint": "ALTER TABLE callctl.stored_events ADD CHECK (position < 2) NOT VALID",
    "a function that is gone": "ALTER FUNCTION callctl.append RENAME TO other",
    "a column that is gone": "ALTER TABLE callctl.stored_calls RENAME standing TO other",
}


@pytest.fixture
def admin(own_shared_store: str) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(own_shared_store, autocommit=True)) as admin:
        yield admin


@pytest.fixture
def store(own_shared_store: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore.open(own_shared_store, world=WORLD)) as store:
        assert store.append(event(1, "ringing", number=0, at=1))
        yield store


@contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    """Lock a table as VACUUM FULL does."""
    with closing(psycopg.connect(url)) as other:
        other.execute(f"LOCK TABLE callctl.{table} IN ACCESS EXCLUSIVE MODE".encode())
        yield


@pytest.mark.parametrize("trouble", TROUBLES)
def test_it_fails_where_an_event_can_not_be_stored(
    own_shared_store: str, store: PostgresStore, admin: psycopg.Connection[Any], trouble: str
) -> None:
    store.check_writable()
    assert check(own_shared_store, world=WORLD).troubles == []
    admin.execute(TROUBLES[trouble].encode(), prepare=False)
    filling = "x" * 1500 if trouble == "room for short rows alone" else "".join(map(chr, range(0x4E00, 0x5A00)))
    with pytest.raises(StoreError) as refused:
        store.append(event(2, "ringing", number=0, at=1, Filling=filling))
    with pytest.raises(StoreError) as tested:
        store.check_writable()
    assert (sentence(tested.value), tested.value.hint) == (sentence(refused.value), refused.value.hint)
    assert "SQL statement" not in tested.value.message  # which the server adds
    assert check(own_shared_store, world=WORLD).troubles != []


def sentence(error: StoreError) -> str:
    return error.message.replace("unknown", "text")  # as what the types of a function that is gone are


def test_the_commands_that_look_at_a_store_try_it(
    callctl: Callctl, own_shared_store: str, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(TROUBLES["no room for events"].encode(), prepare=False)
    for command in ("store", "doctor"):
        outcome = callctl(command, env={"CALLCTL_STORE": own_shared_store})
        assert outcome.code != 0
        assert "No space left on device" in outcome.out
        assert "make room on the server's disk" in outcome.out
        assert "can be read and written" not in outcome.out


@pytest.mark.parametrize("table", ["stored_events", "stored_calls", "worlds"])
def test_a_table_that_is_locked_is_no_server_that_is_away(
    own_shared_store: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STATEMENT_LIMIT", 2.0)
    said: queue.Queue[str] = queue.Queue()
    with closing(PostgresStore.open(own_shared_store, world=WORLD, on_trouble=said.put, on_recovery=said.put)) as store:
        one = event(1, "ringing", number=0, at=1)
        with locked(own_shared_store, table):
            tested = start_in_thread(store.check_writable)
            for outcome in (store.submit(one), tested):  # each waits for the lock alone, not for the other one as well
                error = outcome.exception(timeout=60)
                assert isinstance(error, StoreBusyError)
                assert "canceling statement due to statement timeout" in error.message
                assert "holds a lock" in (error.hint or "")
            assert check(own_shared_store, world=WORLD).troubles != []
        store.check_writable()
        assert store.append(one)
        assert said.empty()


def test_while_it_waits_for_a_table_claims_go_on(own_shared_store: str, admin: psycopg.Connection[Any]) -> None:
    waits = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'callctl.stored_events'::regclass)"
    with (
        closing(PostgresStore.open(own_shared_store, world=WORLD)) as store,
        closing(PostgresStore.open(own_shared_store, world=WORLD)) as other,
    ):
        store.describe_world(account_sid=None, api_url="")
        with locked(own_shared_store, "stored_events"):
            tested = start_in_thread(store.check_writable)
            while not (row := admin.execute(waits.encode()).fetchone()) or not row[0]:
                assert not tested.done()
            wanted = OpenClaim("rule", sid(1), sid(1), "hangup")
            assert isinstance(other.claim(wanted, now=START, until=moment(90)), OpenClaim)
            assert not tested.done()
        tested.result(timeout=60)


def test_it_leaves_no_error_in_the_servers_log(postgresql: PostgresServer, store: PostgresStore) -> None:
    log = postgresql.folder / "log"
    before = log.read_text()
    store.check_writable()
    assert log.read_text() == before


def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never was so")


def test_it_waits_for_the_standby_as_a_commit_does_and_one_alone_is_left_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "STATEMENT_LIMIT", 1.0)
    with postgres_server() as server:
        url = server.new_store()
        with (
            closing(PostgresStore.open(url, world=WORLD)) as store,
            closing(psycopg.connect(url, autocommit=True)) as admin,
        ):
            assert store.append(event(1, "ringing", number=0, at=1))

            def wait_for_standby(names: str) -> None:
                admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'".encode())
                admin.execute("SELECT pg_reload_conf()")
                until(lambda: first(admin, "SHOW synchronous_standby_names") == names)

            admin.execute("SET synchronous_commit = local")
            wait_for_standby("*")  # and there is none
            with pytest.raises(StoreAwayError):
                store.check_writable()
            for _ in range(2):
                until(lambda: store.away is None)
                with pytest.raises(StoreBusyError):
                    store.check_writable()
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            assert first(admin, waiting) == 1
            wait_for_standby("")
            until(lambda: first(admin, waiting) == 0)
            store.check_writable()
            assert store.last_event_id() == 1


@pytest.mark.parametrize("level", ["warning", "error"])
def test_a_wait_for_the_standby_that_is_cancelled_stores_nothing_for_certain(level: str) -> None:
    """The server says so by a warning alone, which a role may have left out."""
    with postgres_server() as server:
        url = server.new_store()
        with closing(psycopg.connect(url, autocommit=True)) as admin:
            admin.execute(f"ALTER ROLE callctl SET client_min_messages = {level}".encode())
            admin.execute("SET synchronous_commit = local")
            with closing(PostgresStore.open(url, world=WORLD)) as store:
                admin.execute(b"ALTER SYSTEM SET synchronous_standby_names = '*'")  # and there is none
                admin.execute(b"SELECT pg_reload_conf()")
                until(lambda: first(admin, "SHOW synchronous_standby_names") == "*")
                stored = store.submit(event(1, "ringing", number=0, at=1))
                until(lambda: first(admin, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1)
                admin.execute(b"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                with pytest.raises(StoreError):
                    stored.result(timeout=60)
                admin.execute(b"ALTER SYSTEM SET synchronous_standby_names = ''")
                admin.execute(b"SELECT pg_reload_conf()")


def test_another_warning_is_no_failure(store: PostgresStore, admin: psycopg.Connection[Any]) -> None:
    """As a server warns with each write, for days, that its tables must be vacuumed."""
    admin.execute(b"""
        CREATE FUNCTION callctl.warn() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE WARNING 'database must be vacuumed within 25166529 transactions'; RETURN NEW; END $$;
        CREATE TRIGGER warn BEFORE INSERT ON callctl.stored_events FOR EACH ROW EXECUTE FUNCTION callctl.warn()
    """)
    assert store.append(event(2, "ringing", number=0, at=1))
    store.check_writable()


def first(admin: psycopg.Connection[Any], sql: str) -> object:
    row = admin.execute(sql.encode()).fetchone()
    return None if row is None else row[0]
