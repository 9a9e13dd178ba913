"""A shared store whose server is killed, stands still, or lets a connection go: what was acknowledged is kept."""

from __future__ import annotations

import gc
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from events import START, WORLD, event, moment, sid
from postgresql_server import PostgresServer, postgres_server

from callctl.errors import StoreAwayError, StoreError
from callctl.store.group_writer import Entry
from callctl.store.postgresql import connection, writer
from callctl.store.postgresql.connection import Engine
from callctl.store.postgresql.store import PostgresStore
from callctl.store.records import OpenClaim
from callctl.support.threads import start_in_thread

LEASE = timedelta(seconds=90)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Return a server that tests may kill."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def troubles() -> queue.Queue[str]:
    return queue.Queue()


@pytest.fixture
def store(server: PostgresServer, troubles: queue.Queue[str]) -> Iterator[PostgresStore]:
    store = PostgresStore.open(server.new_store(), world=WORLD, on_trouble=troubles.put, on_recovery=troubles.put)
    yield store
    store.close()


class Load(threading.Thread):
    """Stores events, a new one whenever one is settled, until it is stopped; each is tried until it is stored."""

    def __init__(self, store: PostgresStore) -> None:
        super().__init__(daemon=True)
        self._store = store
        self._stopping = threading.Event()
        self.acknowledged: list[int] = []
        self.repeated: list[int] = []  # those that an earlier try had stored, as the store said

    def run(self) -> None:
        pending: dict[int, Future[bool]] = {}
        number = 0
        while not self._stopping.is_set() or pending:
            while len(pending) < 32 and not self._stopping.is_set():
                number += 1
                pending[number] = self._submit(number)
            for one, outcome in list(pending.items()):
                try:
                    is_new = outcome.result(timeout=120)
                except StoreError:
                    pending[one] = self._submit(one)
                    continue
                del pending[one]
                (self.acknowledged if is_new else self.repeated).append(one)

    def _submit(self, number: int) -> Future[bool]:
        return self._store.submit(event(number, "ringing", number=0, at=1))

    def stop(self) -> None:
        self._stopping.set()
        self.join(timeout=120)
        assert not self.is_alive()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_or_doubled_over_kills_of_the_server(
    server: PostgresServer, store: PostgresStore, troubles: queue.Queue[str]
) -> None:
    load = Load(store)
    load.start()
    for _ in range(3):
        before = len(load.acknowledged)
        until(lambda before=before: len(load.acknowledged) > before + 200)  # type: ignore[misc]
        server.kill()
        server.start()
    before = len(load.acknowledged)
    until(lambda: len(load.acknowledged) > before)  # without a restart
    load.stop()
    stored = [one.call_sid for one in store.replay(since=None)]
    assert len(stored) == len(set(stored))
    assert set(stored) == {sid(number) for number in [*load.acknowledged, *load.repeated]}
    said = list(troubles.queue)
    assert any("is there again" in text for text in said)


def test_while_the_server_stands_still_events_are_refused_and_taken_again_when_it_goes_on(
    server: PostgresServer, store: PostgresStore, troubles: queue.Queue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STATEMENT_LIMIT", 0.5)
    assert store.append(event(1, "ringing", number=0, at=1))
    server.signal_all(signal.SIGSTOP)
    try:
        with pytest.raises(StoreAwayError):
            store.append(event(2, "ringing", number=0, at=1))
        assert store.away is not None
        assert "looking for it" in troubles.get(timeout=60)
        for use in (store.last_event_id, store.claim_keys, store.live_calls):  # at once: nobody waits for it
            with pytest.raises(StoreAwayError):
                use()
        with pytest.raises(StoreAwayError):
            store.append(event(3, "ringing", number=0, at=1))
    finally:
        server.signal_all(signal.SIGCONT)
    assert "is there again" in troubles.get(timeout=60)
    until(lambda: store.away is None)
    assert store.append(event(4, "ringing", number=0, at=1))
    store.append(event(2, "ringing", number=0, at=1))  # which may have been stored
    assert {one.call_sid for one in store.replay(since=None)} >= {sid(1), sid(2), sid(4)}


@pytest.fixture
def without_gc() -> Iterator[None]:
    """Search for no reference cycles: a process that does little seldom does."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_gc")
def test_a_try_to_connect_that_takes_too_long_leaves_no_connection_behind() -> None:
    with socket.create_server(
        ("127.0.0.1", 0)
    ) as silent:  # the system takes connections for it, as where it is stopped
        engine = connection.Engine(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/any", connect_limit=2)
        with pytest.raises(StoreAwayError) as caught:  # which may be kept, as it is while the server is away
            engine.connect()
        assert "timeout expired" in caught.value.message
        accepted, _ = silent.accept()
        with accepted:
            accepted.settimeout(60)
            while accepted.recv(1024):  # until the other side has closed it
                pass


def test_the_look_up_of_a_name_is_waited_for_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's takes many seconds while name servers are away, and can't be broken off."""
    released = threading.Event()
    look_up = socket.getaddrinfo
    monkeypatch.setattr(connection, "_LOOK_UP_LIMIT", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        def look_up_slowly(_host: str, *args: Any, **more: Any) -> Any:
            assert released.wait(60)
            return look_up("127.0.0.1", *args, **more)

        monkeypatch.setattr(socket, "getaddrinfo", look_up_slowly)
        engine = connection.Engine(f"postgresql://localhost:{port}/any?sslmode=disable")
        try:
            with pytest.raises(StoreAwayError, match="its host's name was not looked up within"):
                engine.connect()
        finally:
            released.set()
        accepted, _ = silent.accept()  # what nobody waits for is closed, once it is there
        with accepted:
            accepted.settimeout(60)
            while accepted.recv(1024):
                pass
        with pytest.raises(StoreAwayError, match="timeout expired"):  # the connection itself has its own time
            connection.Engine(f"postgresql://127.0.0.1:{port}/any", connect_limit=2).connect()


@pytest.mark.parametrize("connect_limit", [2.0, connection.CONNECT_LIMIT], ids=["command", "listener"])
def test_a_listener_waits_for_the_second_name_server_and_a_command_does_not(
    monkeypatch: pytest.MonkeyPatch, connect_limit: float
) -> None:
    """The system goes on to it after five seconds."""
    limits = list[float | None]()

    def note(_event: threading.Event, timeout: float | None = None) -> bool:
        limits.append(timeout)
        return False

    with monkeypatch.context() as patch, pytest.raises(StoreAwayError, match="was not looked up within"):
        patch.setattr(threading.Event, "wait", note)
        patch.setattr(connection, "start_in_thread", lambda _work: Future[Any]())
        connection.Engine("postgresql://localhost/any?sslmode=disable", connect_limit=connect_limit).connect()
    assert limits == [2.0 if connect_limit == 2.0 else 8.0]


@pytest.mark.usefixtures("without_gc")
def test_a_server_that_stood_still_has_room_for_connections_when_it_goes_on() -> None:
    with postgres_server(max_connections="10") as server:
        engine = connection.Engine(f"{server.url('postgres')}?sslmode=disable", connect_limit=2)
        server.signal_all(signal.SIGSTOP)
        tries = [start_in_thread(engine.connect) for _ in range(20)]
        for outcome in tries:
            assert isinstance(outcome.exception(timeout=60), StoreAwayError)
        server.signal_all(signal.SIGCONT)

        def can_connect() -> bool:  # not at once: it takes those that were closed meanwhile first
            try:
                engine.connect().close()
            except StoreAwayError:
                return False
            return True

        until(can_connect)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(
            lambda one: one.execute("SET default_transaction_read_only = on"), id="of a server that takes no writes"
        ),
        pytest.param(lambda one: one.pgconn.send_query(b"SELECT 1"), id="out of step"),
    ],
)
def test_a_connection_that_is_of_no_use_is_replaced_though_it_is_open(
    store: PostgresStore, spoil: Callable[[psycopg.Connection[object]], object]
) -> None:
    assert store.append(event(1, "ringing", number=0, at=1))
    store.withdraw("n1")
    store.check_writable()
    for link in (store._writing, store._writer._link, store._testing):
        assert link._connection is not None
        spoil(link._connection)
    with pytest.raises(StoreAwayError):
        store.withdraw("n1")
    store.withdraw("n1")
    assert store.append(event(2, "ringing", number=0, at=1))
    store.check_writable()  # which changes nothing, and so is repeated


def test_why_a_server_can_not_be_reached_is_reported_where_it_is_away_for_long(
    server: PostgresServer, store: PostgresStore, troubles: queue.Queue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LONG_AWAY", 0.0)
    assert store.append(event(1, "ringing", number=0, at=1))
    server.kill()
    try:
        with pytest.raises(StoreError):
            store.append(event(2, "ringing", number=0, at=1))
        assert troubles.get(timeout=60).endswith("; looking for it")
        # A server that is being killed may take a connection yet, and break it off.
        while "Connection refused" not in (again := troubles.get(timeout=60)):
            assert "; still looking for it after" in again
        assert "; still looking for it after" in again
    finally:
        server.start()
    while "is there again" not in (said := troubles.get(timeout=60)):  # as it starts, it says so
        assert "still looking" in said and said != again


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            "callctl@127.0.0.1:1,127.0.0.1:2/callctl",
            'connection to server at "127.0.0.1", port 1 failed: Connection refused; '
            'connection to server at "127.0.0.1", port 2 failed: Connection refused',
        ),
        (
            "/callctl?host=/nowhere",
            'connection to server on socket "/nowhere/.s.PGSQL.5432" failed: No such file or directory',
        ),
    ],
)
def test_why_a_server_can_not_be_reached_is_said_once_for_each_address_and_without_a_question(
    where: str, said: str
) -> None:
    engine = Engine(f"postgresql://{where}")
    with pytest.raises(StoreAwayError) as caught:
        engine.connect()
    assert caught.value.message.partition("/callctl: ")[2] == said


def test_events_wait_for_a_server_that_is_back_soon(
    server: PostgresServer, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 60.0)
    assert store.append(event(1, "ringing", number=0, at=1))
    server.kill()
    outcomes = [store.submit(event(number, "ringing", number=0, at=1)) for number in (2, 3)]
    until(lambda: store.away is not None)
    server.start()
    assert [outcome.result(timeout=60) for outcome in outcomes] == [True, True]


def test_so_many_events_may_wait_and_no_more(
    server: PostgresServer, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_WAITING", 10)
    monkeypatch.setattr(writer, "PATIENCE", 60.0)
    assert store.append(event(1, "ringing", number=0, at=1))
    server.kill()
    outcomes = [store.submit(event(number, "ringing", number=0, at=1)) for number in range(2, 12)]
    with pytest.raises(StoreAwayError, match="10 events wait"):
        store.submit(event(99, "ringing", number=0, at=1))
    server.start()
    assert all(outcome.result(timeout=60) for outcome in outcomes)
    assert store.append(event(99, "ringing", number=0, at=1))


def test_the_end_of_a_store_does_not_wait_for_a_server_that_is_away(
    server: PostgresServer, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 600.0)
    store.append(event(1, "ringing", number=0, at=1))
    server.kill()
    outcome = store.submit(event(2, "ringing", number=0, at=1))
    until(lambda: store.away is not None)
    store.close()
    with pytest.raises(StoreAwayError):
        outcome.result(timeout=60)
    server.start()


def test_the_end_of_a_store_breaks_off_what_a_server_that_stands_still_does_not_answer(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STATEMENT_LIMIT", 3600.0)
    store = PostgresStore.open(server.new_store(), world=WORLD)
    store.append(event(1, "ringing", number=0, at=1))
    assert store.lead("one", lasting=LEASE)
    server.signal_all(signal.SIGSTOP)
    try:
        waiting: list[Future[Any]] = [
            start_in_thread(lambda: store.after(0)),
            start_in_thread(lambda: store.lead("one", lasting=LEASE)),
            store.submit(event(1, "completed", number=1, at=2)),
        ]
        links = (store._reading, store._writing, store._writer._link)
        until(lambda: all(link._lock.locked() for link in links))  # they wait for the server
        store.close(timeout=0.1)
        for outcome in waiting:
            with pytest.raises(StoreError):
                outcome.result(timeout=120)
    finally:
        server.signal_all(signal.SIGCONT)


@pytest.mark.timeout(300)
def test_connections_that_are_lost_in_the_middle_of_commits_lose_and_double_nothing(
    server: PostgresServer, store: PostgresStore
) -> None:
    load = Load(store)
    load.start()
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    with closing(psycopg.connect(server.url("postgres"), autocommit=True)) as admin:
        for _ in range(20):
            before = len(load.acknowledged)
            until(lambda before=before: len(load.acknowledged) > before + 20)  # type: ignore[misc]
            admin.execute(others, (store.name.rpartition("/")[2],))
    load.stop()
    stored = [one.call_sid for one in store.replay(since=None)]
    assert len(stored) == len(set(stored))
    assert set(stored) == {sid(number) for number in load.acknowledged}
    assert load.repeated == []  # each was new exactly once


def test_of_one_event_twice_in_a_commit_whose_answer_was_lost_the_first_is_new(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.append(event(1, "ringing", number=0, at=1))
    commit, answers = store._writer._commit, iter([False])

    def commit_without_an_answer(rows: Any) -> list[bool]:
        outcomes = commit(rows)
        if next(answers, True):
            return outcomes
        raise StoreAwayError("the connection was lost")

    monkeypatch.setattr(store._writer, "_commit", commit_without_an_answer)
    again = event(2, "ringing", number=0, at=1)  # sent again while the first one waits
    events = [again, again, event(3, "ringing", number=0, at=1), event(1, "ringing", number=0, at=1)]
    with store._writer._lock:  # so that they share a commit
        held = [store._writer._row_of(one) for one in events]
        futures: list[Future[bool]] = [Future() for _ in events]
        for row, future in zip(held, futures, strict=True):
            store._writer._add(Entry(row, future, time.monotonic()))
        store._writer._hand_over()
    # What was there before is told as new here: nobody knows what the lost answer said of it.
    assert [future.result(timeout=60) for future in futures] == [True, False, True, True]


def test_what_was_written_by_a_connection_that_was_lost_is_read_back(
    server: PostgresServer, store: PostgresStore
) -> None:
    assert store.append(event(1, "ringing", number=0, at=1))
    assert store.append(event(2, "ringing", number=0, at=1))
    url = server.url(store.name.rpartition("/")[2])
    with closing(psycopg.connect(url, autocommit=True)) as other:  # as where the server is another one, which lacks it
        other.execute("DELETE FROM callctl.stored_events WHERE sid = %s", (sid(1),))
        ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        other.execute(f"{ends} AND pid <> pg_backend_pid()".encode())
    assert store.append(event(3, "ringing", number=0, at=1))
    assert [(number, one.call_sid) for number, one in store.after(0)] == [(2, sid(2)), (3, sid(3))]


def test_leases_are_by_the_servers_clock_whatever_a_clients_says(store: PostgresStore) -> None:
    wanted = OpenClaim("rule", sid(1), sid(1), "hangup")
    hour_ahead = moment(3600)
    held = store.claim(wanted, now=START, until=moment(90))
    assert isinstance(held, OpenClaim)
    assert store.expired_claims(is_over=lambda _: True) == []
    assert store.take_over(held, now=hour_ahead, until=moment(3690)) is None
    assert store.renew(held, now=hour_ahead, until=moment(3690))
    store.add_intents([sid(1)], now=START, until=moment(60))
    assert store.has_intent(sid(1), is_over=lambda _: True)


def test_what_waits_for_a_connection_that_was_closed_meanwhile_is_read_by_another(
    server: PostgresServer, store: PostgresStore
) -> None:
    assert store.append(event(1, "ringing", number=0, at=1))
    assert store.last_event_id() == 1
    server.kill()
    server.start()
    assert store.last_event_id() == 1
    assert store.append(event(2, "ringing", number=0, at=1))


def test_of_connections_that_a_firewall_forgot_one_alone_is_waited_for(
    store: PostgresStore, troubles: queue.Queue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each used to be found out by itself: a commit after a readiness test failed as that did."""
    monkeypatch.setattr(connection, "STATEMENT_LIMIT", 0.5)
    assert store.append(event(1, "ringing", number=0, at=1))
    store.withdraw("n1")
    store.check_writable()
    links = (store._writing, store._writer._link, store._testing)
    stopped = [link._connection.info.backend_pid for link in links if link._connection is not None]
    assert len(stopped) == 3
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(StoreAwayError):
            store.withdraw("n1")
        assert "looking for it" in troubles.get(timeout=30)
        assert "there again" in troubles.get(timeout=30)
        assert store.append(event(2, "ringing", number=0, at=1))
        store.check_writable()
        store.withdraw("n1")
        assert troubles.empty()
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize(("more", "idle"), [("", 60), ("?keepalives_idle=7", 7)])
def test_idle_connections_are_kept_alive_as_the_url_says_or_each_minute(
    server: PostgresServer, more: str, idle: int
) -> None:
    with closing(Engine(server.new_store() + more).connect()) as opened:
        handle = socket.socket(fileno=os.dup(opened.pgconn.socket))
        with handle:
            assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            name = getattr(socket, "TCP_KEEPIDLE", 0x10)  # which is TCP_KEEPALIVE on macOS
            assert handle.getsockopt(socket.IPPROTO_TCP, name) == idle
