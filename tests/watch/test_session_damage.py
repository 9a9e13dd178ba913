"""A store that somebody damages while a watch still reads what is in it: the watch goes on, and nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from events import event, form, moment, sid
from listeners import post
from store_damage import empty_database, remove_index, remove_log
from watches import RecordingView, RunningWatch, running_watch, settings_in, until

from callctl.calls.event import CallEvent
from callctl.errors import PortTakenError, StoreError
from callctl.settings import Settings
from callctl.store.opening import open_file_readonly, open_for_watch, open_store
from callctl.store.sqlite.store import SqliteStore
from callctl.support.clock import Clock
from callctl.views.view import WatchState
from callctl.watch.board_feed import BoardFeed
from callctl.watch.options import WatchOptions
from callctl.watch.session import Session

STORED = 40
OPTIONS = WatchOptions("127.0.0.1", 0, since=timedelta(days=36500), keep_days=36500)


def copy_backup_over(path: Path) -> None:
    """Copy a backup of this very store over it, which leaves the log of the newer state beside it."""
    shutil.copyfile(path.with_name("backup.db"), path)


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have the first reading of a store pause after its first page, until this is set; pages are small."""
    go_on, replay, is_first = threading.Event(), SqliteStore.replay, [True]
    monkeypatch.setattr("callctl.store.sqlite.store._PAGE", 5)
    monkeypatch.setattr("callctl.watch.board_feed._PAGE", 5)
    monkeypatch.setattr("callctl.watch.board_feed.COUNTING_FRAME", 0.01)

    def pausing(self: SqliteStore, **values: Any) -> Iterator[CallEvent]:
        for number, one in enumerate(replay(self, **values)):
            if number == 5 and is_first:
                is_first.clear()
                go_on.wait()
            yield one

    monkeypatch.setattr(SqliteStore, "replay", pausing)
    yield go_on
    go_on.set()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings whose store holds calls, and has a backup of them beside it."""
    settings = settings_in(tmp_path)
    with closing(open_store(settings)) as store:
        for number in range(STORED):
            store.append(event(number, "ringing"))
    shutil.copyfile(settings.store, settings.store.with_name("backup.db"))
    return settings


async def acknowledged_by(running: RunningWatch, count: int) -> set[str]:
    """Send callbacks of new calls that are answered with 204; return the calls."""
    for number in range(100, 100 + count):
        fields = form(number, "ringing")
        assert (await post(running.ready.callback_url, fields))[0] == 204
    return {sid(number) for number in range(100, 100 + count)}


def stored_calls(settings: Settings) -> set[str]:
    with closing(open_for_watch(settings, on_trouble=lambda _text: None)) as store:
        return {one.call_sid for one in store.replay(since=None)}


@pytest.mark.parametrize("damage", [remove_log, remove_index, empty_database, copy_backup_over])
async def test_a_store_that_is_damaged_while_it_is_loaded_is_repaired_and_read_anew(
    settings: Settings, paused: threading.Event, damage: Callable[[Path], None]
) -> None:
    async with running_watch(settings, OPTIONS) as running:
        acknowledged = await acknowledged_by(running, 10)
        damage(settings.store)
        paused.set()
        await until(lambda: running.session.header().events_read is None)
        await until(lambda: acknowledged <= set(running.session.snapshot().legs))
    assert acknowledged <= stored_calls(settings)


def no_room(*_: object, **__: object) -> bool:
    raise OSError(28, "No space left on device")


async def test_a_watch_goes_on_listening_where_what_it_acknowledged_could_not_be_brought_into_the_files_yet(
    settings: Settings, paused: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_watch(settings, OPTIONS) as running:
        acknowledged = await acknowledged_by(running, 10)
        remove_log(settings.store)
        with monkeypatch.context() as full:
            full.setattr("callctl.store.sqlite.repair.copy_to_new_file", no_room)
            paused.set()
            assert "changed from outside" in await running.view.until_noted("its log (-wal) was removed")
            assert (await post(running.ready.callback_url, form(200, "ringing")))[0] == 500
            assert running.session.header().events_read is not None
        await running.view.until_noted("the event store can be read again")
        await until(lambda: acknowledged <= set(running.session.snapshot().legs))
    assert acknowledged <= stored_calls(settings)


async def test_a_store_that_nobody_can_read_ends_a_watch_that_has_nothing_in_memory(
    settings: Settings, paused: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(settings, OPTIONS, clock=Clock(wall=lambda: datetime.now(UTC)))
    await session.start_up()
    try:
        remove_log(settings.store)
        monkeypatch.setattr("callctl.store.sqlite.repair.copy_to_new_file", no_room)
        paused.set()
        with pytest.raises(StoreError, match="No space left"):
            await session.run(RecordingView())
    finally:
        await session.shut_down()


async def test_who_only_reads_waits_until_the_store_is_repaired(settings: Settings, paused: threading.Event) -> None:
    feed, view = BoardFeed(header=lambda: WatchState("watch", "x", "", None)), RecordingView()
    with (
        closing(open_for_watch(settings, on_trouble=lambda _text: None)) as writer,
        closing(open_file_readonly(settings.store, world=settings.world)) as reader,
    ):
        feed.load(reader, since=moment(0))
        running = asyncio.ensure_future(feed.run(view))
        await until(lambda: feed.events_read == 5)
        remove_log(settings.store)
        paused.set()
        await view.until_noted("its log (-wal) was removed")
        writer.append(event(100, "ringing"))
        await view.until_noted("the event store can be read again")
        await feed.is_loaded.wait()  # that was said as soon as a page of the rest could be read
        feed.stop()
        await running
    assert {sid(number) for number in range(STORED)} <= set(feed.board.snapshot().legs)


async def test_a_start_on_an_older_copy_beside_a_newer_log_repairs_it_and_says_so(
    settings: Settings,
) -> None:
    log = settings.store.with_name("events.db-wal")
    with closing(open_store(settings)) as store:
        for number in range(1000, 1400):
            store.append(event(number, "ringing"))
        with closing(sqlite3.connect(settings.store)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.append(event(1400, "ringing"))
        killed = log.read_bytes()
    shutil.copyfile(settings.store.with_name("backup.db"), settings.store)
    log.write_bytes(killed)
    async with running_watch(settings, OPTIONS) as running:
        acknowledged = await acknowledged_by(running, 3)
        assert "the old files are beside it" in await running.view.until_noted("was changed from outside")
    assert acknowledged <= stored_calls(settings)


async def test_a_repair_is_said_also_where_the_start_fails_then(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.session.STARTING_LIMIT", 0.05)
    overwrite_page_of(settings.store, "actions")
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        options = replace(OPTIONS, port=other.getsockname()[1])
        session = Session(settings, options, clock=Clock(wall=lambda: datetime.now(UTC)), say=said.append)
        with pytest.raises(PortTakenError):
            await session.start_up()
        await session.shut_down()
    assert [line for line in said if "copied to a new file; the old files are beside it" in line]


def overwrite_page_of(path: Path, name: str) -> None:
    """Overwrite the page at which a table or an index begins, while nobody has the store open."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xee" * size)


def test_rows_of_a_former_name_of_the_world_are_looked_for_in_a_repaired_store(settings: Settings) -> None:
    renamed = replace(settings, api_url_as_set=settings.api_url.upper())
    assert renamed.former_worlds
    overwrite_page_of(settings.store, "placed_calls")
    said: list[str] = []
    with closing(open_for_watch(renamed, on_trouble=said.append)) as store:
        assert store.append(event(100, "ringing"))
    assert ["the old files are beside it" in line for line in said] == [True]


@pytest.mark.parametrize("name", ["actions", "claims", "events", "intents", "placed", "placed_calls"])
async def test_a_start_on_a_store_with_a_damaged_page_repairs_it_and_says_so(settings: Settings, name: str) -> None:
    overwrite_page_of(settings.store, name)
    async with running_watch(settings, OPTIONS) as running:
        acknowledged = await acknowledged_by(running, 3)
        assert "copied to a new file; the old files are beside it" in await running.view.until_noted("was changed from")
        await until(lambda: acknowledged <= set(running.session.snapshot().legs))
    assert acknowledged <= stored_calls(settings)
    with closing(sqlite3.connect(settings.store)) as connection:
        assert connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
