"""A store that can't be written: locked, or on a full disk (``CALLCTL_TEST_TMPFS`` names a small one to fill)."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import aiohttp
import pytest
from events import WORLD, form, sid
from listeners import PUBLIC, Reports, Start, sign
from postgresql_server import postgres_server

from callctl.errors import StoreError
from callctl.store.postgresql.store import PostgresStore
from callctl.store.sqlite.store import SqliteStore
from callctl.watch.listener.listener import Listener

LARGEST = 64 * 1024 * 1024  # a larger one is no test's to fill


@pytest.fixture
def disk() -> Iterator[Path]:
    """Return a directory of its own on the small file system."""
    named = os.environ.get("CALLCTL_TEST_TMPFS")
    if not named:
        pytest.skip("CALLCTL_TEST_TMPFS names no small file system")
    space = os.statvfs(named)
    assert space.f_blocks * space.f_frsize <= LARGEST, f"{named} is not small"
    folder = Path(named) / uuid.uuid4().hex
    holder = os.open(named, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)  # tests run side by side, but only one can fill it
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    os.close(holder)


@pytest.mark.parametrize("spared", [0, 4096, 100_000])
async def test_a_full_disk_is_answered_with_500_until_there_is_room(
    disk: Path, start: Start, reports: Reports, http: aiohttp.ClientSession, spared: int
) -> None:
    store = SqliteStore.open_for_watch(disk / "events.db", world=WORLD)
    listener = await start(kept_by=store)

    async def post(call: int) -> int:
        fields = form(call, "ringing", Filling="x" * 500)
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            return answer.status

    assert await post(0) == 204
    ballast = disk / "ballast"
    fill(ballast, spare=spared)
    statuses = {call: await post(call) for call in range(1, 300)}
    assert statuses[299] == 500
    assert set(statuses.values()) <= {204, 500}
    assert len(reports.troubles) == 1
    assert "full" in reports.troubles[0] or "disk" in reports.troubles[0]
    with pytest.raises(StoreError, match=r"full|disk"):
        store.check_writable()
    ballast.unlink()
    store.check_writable()
    statuses |= {call: await post(call) for call in range(299, 310)}
    assert [statuses[call] for call in range(299, 310)] == [204] * 11

    await listener.stop()
    store.close()
    reopened = SqliteStore.open_for_watch(disk / "events.db", world=WORLD)
    kept = [int(event.call_sid[2:]) for event in reopened.replay(since=None)]
    check = reopened._writing.connection.execute("PRAGMA integrity_check").fetchone()
    reopened.close()
    assert len(kept) == len(set(kept))
    assert {0, *(call for call, status in statuses.items() if status == 204)} <= set(kept)
    assert check == ("ok",)


def fill(ballast: Path, *, spare: int) -> None:
    """Leave so many bytes free, or none."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            file.truncate(max(0, file.tell() - spare))


async def test_a_locked_database_is_answered_with_500_until_it_is_free(
    start: Start, reports: Reports, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    listener = await start()
    fields = form(1, "ringing")

    async def status() -> int:
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            return answer.status

    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert [await status(), await status()] == [500, 500]
        assert reports.events == []
        (trouble,) = reports.troubles
        assert "database is locked; callbacks are answered with 500" in trouble
        other.execute("ROLLBACK")
        assert await status() == 204
    assert [event.status for event in await reports.of(1)] == ["ringing"]


async def test_while_a_shared_store_is_away_the_answer_is_503_and_events_are_taken_again_when_it_is_back(
    start: Start, reports: Reports, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.store.postgresql.writer.PATIENCE", 0.2)
    with postgres_server() as server, closing(PostgresStore.open(server.new_store(), world=WORLD)) as store:
        listener = await start(kept_by=store)

        async def post(call: int) -> int:
            fields = form(call, "ringing")
            async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
                return answer.status

        assert await post(1) == 204
        server.kill()
        assert await post(2) == 503
        assert "callbacks are answered with 503" in str(reports.troubles[0])
        server.start()
        while await post(2) != 204:  # each waits for a while
            pass
        assert {one.call_sid for one in store.replay(since=None)} == {sid(1), sid(2)}


async def test_what_two_listeners_answered_503_counts_once_when_it_comes_to_both_again(
    start: Start, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.store.postgresql.writer.PATIENCE", 0.2)
    fields = form(1, "ringing")

    async def post(listener: Listener) -> int:
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            return answer.status

    with postgres_server() as server, ExitStack() as stack:
        url = server.new_store()
        stores = [stack.enter_context(closing(PostgresStore.open(url, world=WORLD))) for _ in range(2)]
        listeners = [await start(kept_by=store) for store in stores]
        server.kill()
        assert [await post(listener) for listener in listeners] == [503, 503]
        server.start()
        for listener in listeners:
            while await post(listener) != 204:  # each waits for a while
                pass
        counted = [
            (listener.accepted, listener.duplicates, sum(listener.counts.events.values())) for listener in listeners
        ]
        assert counted == [(1, 0, 1), (0, 1, 0)]
