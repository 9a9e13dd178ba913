"""A follower goes on after what it can't read."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from calls_api import UnexpectedRequest
from events import event, event_of, moment, sid
from thread_limit import ThreadLimit
from watches import RecordingView, running_follower, running_watch, settings_in, until

from callctl.calls.action import ActionEvent
from callctl.calls.call import Call
from callctl.calls.event import MISSED, POLLED, CallEvent
from callctl.calls.filter import CallFilter
from callctl.settings import Settings
from callctl.store.opening import open_store
from callctl.store.sqlite.rows import Row, insert
from callctl.store.sqlite.store import SqliteStore
from callctl.support.threads import run_in_thread
from callctl.watch.options import WatchOptions
from callctl.watch.registry import registry
from callctl.watch.registry.record import WatchRecord


@asynccontextmanager
async def followed_store(
    settings: Settings, *, now: Callable[[], datetime] | None = None
) -> AsyncIterator[tuple[SqliteStore, RecordingView]]:
    """Follow a watch that does not answer; yield its store and what is shown."""
    url = "http://127.0.0.1:9"
    record = WatchRecord(url, url, str(settings.account_sid), settings.api_url, os.getpid(), "n", "0")
    with closing(SqliteStore.open_for_watch(settings.store, world=settings.world)) as store:
        async with running_follower(settings, WatchOptions("127.0.0.1", 0), record, now=now) as view:
            yield store, view


async def test_a_record_that_can_not_be_read_is_said_and_what_comes_after_it_shown(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with followed_store(settings) as (store, view):
        store.append(event(1, "ringing"))
        await view.until(lambda seen: [one.call_sid for one in seen.events] == [sid(1)])
        with store._writing.transaction() as connection:
            for number in (2, 3, 4):
                insert(connection, [Row.of(event(number, "ringing"))], world=settings.world)
            connection.execute("UPDATE events SET record = 'half of' WHERE id = 3")
        await view.until(lambda seen: [one.call_sid for one in seen.events] == [sid(1), sid(2), sid(4)])
        assert await view.until_noted("can't be read") == "1 of the store's events can't be read and is left out"
        store.append(event(5, "ringing"))
        await view.until(lambda seen: [one.call_sid for one in seen.events][3:] == [sid(5)])
        assert sum("can't be read" in note for note in view.notes) == 1


async def test_a_store_that_can_not_be_read_is_said_and_what_came_shown_once_it_can(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with followed_store(settings) as (store, view):
        store.append(event(1, "ringing"))
        await view.until(lambda seen: [one.call_sid for one in seen.events] == [sid(1)])
        connection = store._writing.connection
        connection.execute("ALTER TABLE events RENAME TO away")
        await view.until_noted("no such table")
        connection.execute("ALTER TABLE away RENAME TO events")
        store.append(event(2, "ringing"))
        await view.until(lambda seen: [one.call_sid for one in seen.events] == [sid(1), sid(2)])
        await view.until(lambda seen: [one.cause for one in seen.resolved if "can be read again" in one] == ["store"])


async def test_the_header_counts_callbacks_and_not_what_rest_reported(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with followed_store(settings) as (store, view):
        store.append(event(1, "ringing", received=1))
        store.append(event_of({"CallSid": sid(1), "AnsweredBy": "fax"}, received=2))
        for number, kind in enumerate((POLLED, MISSED), 3):
            call = Call(sid(number), "completed")
            store.append(CallEvent.from_call(call, received_at=moment(number), world=settings.world, kind=kind))
        await view.until(lambda seen: {one.call_sid for one in seen.events} >= {sid(3), sid(4)})
        await view.until(lambda seen: seen.header is not None and seen.header.last_callback_at is not None)
        assert view.header is not None
        assert (view.header.accepted, view.header.features) == (1, {"amd": 1})
        assert view.header.last_callback_at == moment(2)


async def test_the_header_has_the_last_action_that_was_shown(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with followed_store(settings) as (store, view):
        await view.until(lambda seen: seen.header is not None)
        assert view.header is not None
        assert view.header.last_action == 0
        store.record_actions([ActionEvent(moment(1), sid(1), "redirect", (), "to survey", "in-progress")])
        await view.until(lambda seen: seen.header is not None and seen.header.last_action == store.last_action_id())


def fired(moment: datetime) -> str:
    return moment.strftime("%a, %d %b %Y %H:%M:%S +0000")


async def test_the_header_has_how_far_the_own_clock_is_ahead_as_new_callbacks_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.follower.EXACT", timedelta(days=1))  # however slow this machine is
    settings = settings_in(tmp_path)
    async with followed_store(settings) as (store, view):
        for number in (1, 2):  # who received them has another clock
            timestamp = fired(datetime.now(UTC) + timedelta(hours=1))
            store.append(event(number, "ringing", received=number, Timestamp=timestamp))
        await view.until(lambda seen: seen.header is not None and bool(seen.header.clock_ahead))
        assert view.header is not None
        assert abs(view.header.clock_ahead + timedelta(hours=1)) < timedelta(minutes=1)


@pytest.mark.parametrize("store_works", [True, False])
async def test_what_could_be_read_only_later_does_not_count_as_a_clock_that_is_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_works: bool
) -> None:
    passed, real, reads, after = timedelta(), time.clock_gettime, 0, SqliteStore.after

    def counting(store: SqliteStore, event_id: int) -> list[tuple[int, CallEvent]]:
        nonlocal reads
        reads += 1
        return after(store, event_id)

    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + passed.total_seconds())
    monkeypatch.setattr(SqliteStore, "after", counting)
    settings = settings_in(tmp_path)
    async with followed_store(settings, now=lambda: datetime.now(UTC) + passed) as (store, view):
        fired_at = datetime.now(UTC)
        connection = store._writing.connection
        if not store_works:
            connection.execute("ALTER TABLE events RENAME TO away")
            await view.until_noted("no such table")
        passed = timedelta(minutes=5)
        if not store_works:
            before = reads
            await until(lambda: reads > before + 1)
            connection.execute("ALTER TABLE away RENAME TO events")
        store.append(event(1, "ringing", Timestamp=fired(fired_at)))
        await view.until(lambda seen: seen.header is not None and seen.header.accepted == 1)
        assert view.header is not None
        assert not view.header.clock_ahead


async def test_what_another_store_took_in_meanwhile_does_not_count_as_a_clock_that_is_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.follower.EXACT", timedelta(days=1))
    monkeypatch.setattr("callctl.watch.follower.HEALTH_INTERVAL", 0.05)
    settings = settings_in(tmp_path)
    other = replace(settings, store=tmp_path / "other.db")
    next_record: list[WatchRecord] = []
    monkeypatch.setattr(registry, "running", lambda _settings: iter(next_record))
    async with followed_store(settings) as (_, view):
        await view.until_noted("is gone")
        with closing(open_store(other)) as store:
            received = (datetime.now(UTC) - moment(0)).total_seconds()
            ringing = event(1, "ringing", received=received, Timestamp=fired(datetime.now(UTC) - timedelta(minutes=5)))
            store.append(ringing)
            url = "http://127.0.0.1:9"
            next_record.append(
                WatchRecord(url, url, str(settings.account_sid), settings.api_url, 7, "o", "0", store=str(other.store))
            )
            await view.until(lambda seen: [one.call_sid for one in seen.events] == [sid(1)])
            await view.until(lambda seen: seen.header is not None and seen.header.accepted == 1)
            assert view.header is not None
            assert not view.header.clock_ahead


def alarm_of(view: RecordingView) -> str | None:
    return "not drawn yet" if view.header is None else view.header.unreachable


async def test_what_the_watch_that_listens_says_is_wrong_with_it_stands_in_the_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.follower.HEALTH_INTERVAL", 0.05)
    settings, options = settings_in(tmp_path), WatchOptions("127.0.0.1", 0)
    async with running_watch(settings, options) as listening:
        (record,) = await run_in_thread(lambda: list(registry.running(settings)))
        async with running_follower(settings, options, record) as view:
            health = listening.session._listener.health  # type: ignore[union-attr]
            await view.until(lambda seen: alarm_of(seen) is None)
            for field, value, usual, why in (
                ("reachable", False, True, "no request comes through to it now"),
                ("status", "failing", "ok", "it can't store callbacks now and answers with 500"),
            ):
                health[field] = value
                await view.until_noted(why)
                await view.until(lambda seen: alarm_of(seen) is not None)
                assert alarm_of(view) == why
                health[field] = usual
                await view.until(lambda seen: alarm_of(seen) is None)
            assert [one.cause for one in view.resolved] == ["unreachable", "unreachable"]


async def test_without_a_thread_to_ask_a_shared_store_that_is_said_and_what_came_shown_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    async with followed_store(settings) as (store, view):
        monkeypatch.setattr(SqliteStore, "is_shared", True)
        store.append(event(1, "ringing"))
        await view.until(lambda seen: [one.call_sid for one in seen.events] == [sid(1)])
        limit = ThreadLimit(monkeypatch, left=0)
        await view.until_noted("start no further thread")
        store.append(event(2, "ringing"))
        limit.left = 1000
        await view.until(lambda seen: [one.call_sid for one in seen.events] == [sid(1), sid(2)])


class NoCalls(UnexpectedRequest):
    """Lists no calls."""

    def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:  # noqa: ARG002
        return iter(())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_where_nobody_compares_with_rest_it_says_so_until_somebody_does(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.follower.HEALTH_INTERVAL", 0.05)
    settings, options = settings_in(tmp_path), WatchOptions("127.0.0.1", 0, is_service=True)
    if kind == "postgresql":
        settings = replace(settings, store_url=request.getfixturevalue("shared_store"))
    elsewhere = replace(settings, state_dir=tmp_path / "elsewhere")  # its records are not there, as of another machine
    async with running_watch(settings, options):
        (record,) = await run_in_thread(lambda: list(registry.running(settings)))
        async with running_follower(settings, options, record) as view:
            await view.until(lambda seen: seen.header is not None and seen.header.nobody_polls)
            assert "`callctl listen --poll` does" in await view.until_noted("nothing polls REST")
            other = elsewhere if kind == "postgresql" else settings
            async with running_watch(other, options, api=NoCalls()):
                await view.until(lambda seen: seen.header is not None and not seen.header.nobody_polls)


@pytest.mark.parametrize("polls", ["yes", ""])
def test_of_one_that_polls_or_does_not_say_so_it_is_not_said_that_nobody_does(tmp_path: Path, polls: str) -> None:
    settings, url = settings_in(tmp_path), "http://127.0.0.1:9"
    record = WatchRecord(url, url, str(settings.account_sid), settings.api_url, 7, "n", "0", polls=polls)
    with closing(open_store(settings)) as store:
        assert not registry.nobody_polls(settings, store, record)
        assert registry.nobody_polls(settings, store, replace(record, polls="no"))
