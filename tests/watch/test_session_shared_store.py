"""Nothing waits for a shared store in an event loop in which a listener answers: a server may stand still."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from events import event, form, sid
from listeners import sign
from postgresql_server import postgres_server
from running import Callctl, env_for
from watches import running_follower, running_watch, settings_in, until

from callctl.api.client import ApiClient
from callctl.api.requests import PlaceRequest
from callctl.calls.action import ActionEvent
from callctl.calls.watch_trouble import Cause
from callctl.cli.watch.rules import RuleOptions, make_runner, read_rules
from callctl.operations.missing_callbacks import comparable_url
from callctl.settings import Settings
from callctl.simulator import Faults, Simulator
from callctl.store.opening import open_store
from callctl.store.postgresql.connection import Link
from callctl.store.postgresql.store import PostgresStore
from callctl.support.clock import Clock
from callctl.support.threads import run_in_thread
from callctl.watch.listener.listener import Listener
from callctl.watch.monitoring import MonitoringAddress
from callctl.watch.options import WatchOptions
from callctl.watch.registry import registry


class Statements:
    """The statements that were sent while a listener of this process answered."""

    def __init__(self) -> None:
        self.listeners = 0
        self.in_threads: list[str] = []
        self.in_loop: list[str] = []

    def note(self, sql: str) -> None:
        if not self.listeners:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.in_threads.append(sql)
        else:
            self.in_loop.append(sql)

    def has_read(self, table: str) -> bool:
        return any(table in sql for sql in self.in_threads)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    noted = Statements()
    start, stop = Listener.start, Listener.stop

    async def starting(listener: Listener) -> None:
        await start(listener)
        noted.listeners += 1

    async def stopping(listener: Listener, *arguments: Any) -> None:
        await stop(listener, *arguments)
        noted.listeners -= 1

    monkeypatch.setattr(Listener, "start", starting)
    monkeypatch.setattr(Listener, "stop", stopping)
    for name in ("read", "write", "test"):
        original = getattr(Link, name)

        def sent(link: Link, sql: str, values: Mapping[str, Any], original: Any = original) -> Any:
            noted.note(sql)
            return original(link, sql, values)

        monkeypatch.setattr(Link, name, sent)
    return noted


@pytest.fixture
def shared(tmp_path: Path, shared_store: str) -> Settings:
    return replace(settings_in(tmp_path), store_url=shared_store)


async def test_a_watch_with_rules_that_asks_about_silent_calls(
    shared: Settings, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.operations.missing_callbacks.AFTER", timedelta(seconds=1))
    monkeypatch.setattr("callctl.watch.silent_calls.INTERVAL", 0.1)
    clock = Clock(wall=lambda: datetime.now(UTC))
    with Simulator(port=0, faults=Faults(drop=1.0)) as simulator:
        settings = replace(shared, api_url=simulator.url, auth_token=simulator.auth_token)
        client = ApiClient(settings, sleep=time.sleep, random=random.random)
        options = RuleOptions(max_duration="1h")
        rules = read_rules(settings, options, cwd=settings.state_dir)
        async with running_watch(
            settings,
            WatchOptions("127.0.0.1", 0),
            api=client,
            clock=clock,
            make_rules=lambda store: make_runner(client, store, rules, options=options, clock=clock),
        ) as running:
            callback = running.ready.callback_url
            request = PlaceRequest(
                to="+12025550103",
                from_="+15005550006",
                twiml="<Response/>",
                status_callback=callback,
                status_callback_events=("initiated", "ringing", "answered", "completed"),
            )
            placed = (await asyncio.to_thread(client.place, request)).sid

            def remember() -> None:
                with closing(open_store(settings)) as store:
                    events, url = request.status_callback_events, comparable_url(callback)
                    store.remember_placed(placed, at=datetime.now(UTC), callback=url, events=events)
                    store.append(event(2, "ringing"))
                    store.record_actions([ActionEvent(datetime.now(UTC), sid(2), "hangup", (), "done")])

            await asyncio.to_thread(remember)
            await running.view.until_noted(f"{placed}: no status callback")
            await running.view.until_noted("done")
    assert statements.in_loop == []
    assert all(map(statements.has_read, ("placed_calls", "family_calls", "claims", "actions", "stored_events")))


async def test_watch_and_follower_say_that_the_store_is_away_and_soon_that_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.follower.HEALTH_INTERVAL", 0.1)
    monkeypatch.setattr("callctl.watch.session.STORE_TEST_INTERVAL", 3600.0)  # it is tested because the store is back
    monkeypatch.setattr("callctl.store.postgresql.connection.LONG_AWAY", 0.1)
    monkeypatch.setattr("callctl.store.postgresql.writer.PATIENCE", 0.1)
    with postgres_server() as server:
        settings, options = replace(settings_in(tmp_path), store_url=server.new_store()), WatchOptions("127.0.0.1", 0)
        async with running_watch(settings, options) as listening, aiohttp.ClientSession() as http:
            url, fields = listening.ready.callback_url, form(1, "ringing")
            (record,) = await run_in_thread(lambda: list(registry.running(settings)))
            async with running_follower(settings, options, record) as view:
                await view.until(lambda seen: seen.header is not None and seen.header.unreachable is None)
                server.kill()
                for one in (view, listening.view):
                    await one.until_noted("looking for it")
                    await one.until_noted("still looking for it")
                    await one.until(lambda seen: seen.header is not None and seen.header.unreachable is not None)
                    assert one.header is not None
                    assert one.header.unreachable == "the event store is away"
                async with http.post(url, data=fields, headers=sign(url, fields)) as answer:
                    assert answer.status == 503
                await view.until_noted("it can't store callbacks now and answers with 503")
                server.start()
                await view.until_noted("callbacks arrive and are stored again")
                await view.until(lambda seen: seen.header is not None and seen.header.unreachable is None)
                assert [one for one in view.troubles if "can't look" in one] == []
                assert [one for one in view.resolved if "is there again" in one]


FULL = """
    CREATE FUNCTION callctl.is_full() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER is_full BEFORE INSERT ON callctl.stored_events FOR EACH ROW EXECUTE FUNCTION callctl.is_full()
"""


@pytest.mark.parametrize(
    ("begin", "end", "status"),
    [
        pytest.param(FULL, "DROP TRIGGER is_full ON callctl.stored_events", 500, id="a table's disk is full"),
        pytest.param(
            "BEGIN; LOCK TABLE callctl.stored_events IN ACCESS EXCLUSIVE MODE", "ROLLBACK", 503, id="a table is locked"
        ),
    ],
)
async def test_as_long_as_callbacks_are_not_stored_it_is_not_ready_and_does_not_say_that_they_are(
    tmp_path: Path, own_shared_store: str, monkeypatch: pytest.MonkeyPatch, begin: str, end: str, status: int
) -> None:
    monkeypatch.setattr("callctl.watch.session.STORE_TEST_INTERVAL", 0.05)
    monkeypatch.setattr("callctl.watch.monitoring.TEST_COUNTS_FOR", 0.0)
    monkeypatch.setattr("callctl.store.postgresql.connection.STATEMENT_LIMIT", 2.0)
    check, ended = PostgresStore.check_writable, list[PostgresStore]()

    def check_and_note(store: PostgresStore) -> None:
        try:
            check(store)
        finally:
            ended.append(store)

    monkeypatch.setattr(PostgresStore, "check_writable", check_and_note)
    settings = replace(settings_in(tmp_path), store_url=own_shared_store)
    options = WatchOptions("127.0.0.1", 0, monitoring=MonitoringAddress("127.0.0.1", 0))
    async with running_watch(settings, options) as running, aiohttp.ClientSession() as http:
        view, url = running.view, running.ready.callback_url

        async def post(call: int) -> int:
            fields = form(call, "ringing")
            async with http.post(url, data=fields, headers=sign(url, fields)) as answer:
                return answer.status

        async def readiness() -> int:
            async with http.get(f"{running.ready.monitoring_url}/readyz") as answer:
                return answer.status

        assert (await post(1), await readiness()) == (204, 200)
        with closing(psycopg.connect(own_shared_store, autocommit=True)) as admin:
            await asyncio.to_thread(lambda: admin.execute(begin.encode(), prepare=False))
            assert await post(2) == status
            tested = len(ended)
            await until(lambda: len(ended) > tested + 2)
            assert (await post(3), await readiness()) == (status, 503)
            assert view.resolved == []
            await asyncio.to_thread(lambda: admin.execute(end.encode()))
        await view.until_noted("events are stored again")
        assert (await readiness(), await post(2), await post(3)) == (200, 204, 204)
        assert {trouble.cause for trouble in (*view.troubles, *view.resolved)} == {Cause.STORE}


async def test_one_fault_of_a_store_that_is_there_is_reported_once(tmp_path: Path, own_shared_store: str) -> None:
    settings = replace(settings_in(tmp_path), store_url=own_shared_store)
    with closing(psycopg.connect(own_shared_store, autocommit=True)) as admin:
        admin.execute("ALTER TABLE callctl.stored_events RENAME TO missing")
        async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as running:
            await running.view.until_noted("stored_events")
            await asyncio.to_thread(admin.execute, b"ALTER TABLE callctl.missing RENAME TO stored_events")
            await running.view.until(lambda seen: seen.header is not None and seen.header.unreachable is None)
            await running.view.until_noted("can be read again")
        assert (len(running.view.troubles), len(running.view.resolved)) == (1, 1)


@pytest.mark.parametrize("function", ["recent_calls(text, timestamptz)", None], ids=["at the start", "what is new"])
async def test_a_store_that_is_there_and_can_not_be_read_is_reported_as_long_as_that_is_so(
    tmp_path: Path, own_shared_store: str, function: str | None
) -> None:
    """A right that a role lacks since a migration, say: no rule began, no leg was shown, and nothing was said."""
    away, back = "RENAME TO missing", f"RENAME TO {'recent_calls' if function else 'stored_events'}"
    settings = replace(settings_in(tmp_path), store_url=own_shared_store)
    with closing(psycopg.connect(own_shared_store, autocommit=True)) as admin:

        def alter(what: str, change: str) -> None:
            admin.execute(f"ALTER {what} {change}".encode(), prepare=False)

        if function is not None:
            alter(f"FUNCTION callctl.{function}", away)
        async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as running:
            view = running.view
            if function is None:
                await view.until(lambda seen: seen.header is not None and seen.header.events_read is None)
                await asyncio.to_thread(alter, "TABLE callctl.stored_events", away)
            await view.until(lambda seen: [one.cause for one in seen.troubles] == [Cause.STORE])
            await view.until(lambda seen: seen.header is not None and seen.header.unreachable is not None)
            assert view.header is not None
            assert view.header.unreachable == "the event store can't be read"
            what = "FUNCTION callctl.missing(text, timestamptz)" if function else "TABLE callctl.missing"
            await asyncio.to_thread(alter, what, back)
            await view.until_noted("the event store can be read again")
            await view.until(lambda seen: seen.header is not None and seen.header.unreachable is None)
            assert len(view.troubles) == 1


def test_a_call_that_is_placed_and_watched_with_a_listener_of_its_own(
    callctl: Callctl, fast_simulator: Simulator, shared_store: str, statements: Statements
) -> None:
    env = {**env_for(fast_simulator), "CALLCTL_STORE": shared_store}
    outcome = callctl("place", "+12025550102", "--say", "Hello", "--watch", "--json", env=env)
    assert outcome.code == 0, outcome.err
    assert "callback" in {json.loads(line).get("source") for line in outcome.out.splitlines()}
    assert statements.in_loop == []
    assert all(map(statements.has_read, ("callctl.placed ", "placed_calls", "family_calls", "actions")))
