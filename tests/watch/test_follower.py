"""A follower goes on after what it can't read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from telling import event, sid
from watches import RecordingView, ago, settings_in

from callctl.store.sqlite.store import SqliteStore
from callctl.watch.follower import Follower
from callctl.watch.plan import Plan
from callctl.watch.registry import WatchRecord


async def test_a_record_that_can_not_be_read_is_said_and_what_comes_after_it_shown_once_it_can(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    store, url = SqliteStore(settings.store, world=settings.world), "http://127.0.0.1:9"
    record = WatchRecord(url, url, str(settings.account_sid), settings.api_url, os.getpid(), "n", "0")
    follower, view = Follower(settings, Plan("127.0.0.1", 0), record, now=ago), RecordingView()
    await follower.start_up()
    running = asyncio.create_task(follower.run(view))
    try:
        whole = event(1, "ringing")
        store.append(whole)
        connection = store._opened.connection
        connection.execute("UPDATE events SET record = 'half of'")
        await view.until(lambda seen: seen.header is not None and bool(seen.header.unreachable))
        connection.execute("UPDATE events SET record = ?", (whole.to_record(),))
        store.append(event(2, "ringing"))
        await view.until(lambda seen: [one.call_sid for one in seen.events] == [sid(1), sid(2)])
        assert [one.cause for one in view.resolved if "can be read again" in one] == ["store"]
    finally:
        follower.stop()
        await running
        await follower.shut_down()
        store.close()
