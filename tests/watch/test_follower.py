"""A follower goes on after what it can't read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from events import event, sid
from watches import RecordingView, ago, settings_in

from callctl.store.sqlite.rows import Row, insert
from callctl.store.sqlite.store import SqliteStore
from callctl.watch.follower import Follower
from callctl.watch.options import WatchOptions
from callctl.watch.registry import WatchRecord


async def test_a_record_that_can_not_be_read_is_said_and_what_comes_after_it_shown(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    store, url = SqliteStore.open_for_watch(settings.store, world=settings.world), "http://127.0.0.1:9"
    record = WatchRecord(url, url, str(settings.account_sid), settings.api_url, os.getpid(), "n", "0")
    follower, view = Follower(settings, WatchOptions("127.0.0.1", 0), record, now=ago), RecordingView()
    await follower.start_up()
    running = asyncio.create_task(follower.run(view))
    try:
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
    finally:
        follower.stop()
        await running
        await follower.shut_down()
        store.close()


async def test_a_store_that_can_not_be_read_is_said_and_what_came_shown_once_it_can(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    store, url = SqliteStore.open_for_watch(settings.store, world=settings.world), "http://127.0.0.1:9"
    record = WatchRecord(url, url, str(settings.account_sid), settings.api_url, os.getpid(), "n", "0")
    follower, view = Follower(settings, WatchOptions("127.0.0.1", 0), record, now=ago), RecordingView()
    await follower.start_up()
    running = asyncio.create_task(follower.run(view))
    try:
        store.append(event(1, "ringing"))
        await view.until(lambda seen: [one.call_sid for one in seen.events] == [sid(1)])
        connection = store._writing.connection
        connection.execute("ALTER TABLE events RENAME TO away")
        await view.until_noted("no such table")
        connection.execute("ALTER TABLE away RENAME TO events")
        store.append(event(2, "ringing"))
        await view.until(lambda seen: [one.call_sid for one in seen.events] == [sid(1), sid(2)])
        await view.until(lambda seen: [one.cause for one in seen.resolved if "can be read again" in one] == ["store"])
    finally:
        follower.stop()
        await running
        await follower.shut_down()
        store.close()
