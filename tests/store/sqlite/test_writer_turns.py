"""Events that come in turns of an event loop which follow each other share a commit, and each is answered for."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from events import WORLD, event

from callctl.errors import StoreError
from callctl.store.sqlite.store import SqliteStore


@pytest.mark.parametrize("count", [1, 2, 4, 5, 16, 17, 63, 64, 65, 256, 257, 700])
async def test_groups_of_every_size_are_kept_whole_and_in_order(store: SqliteStore, count: int) -> None:
    events = [event(call, "ringing", number=0) for call in range(count)]
    assert await asyncio.gather(*map(store.append_async, events)) == [True] * count
    assert [one.key for one in store.replay(since=None)] == [one.key for one in events]


async def test_of_a_turn_only_the_new_are_reported_new(store: SqliteStore) -> None:
    old = [event(call, "ringing", number=0) for call in range(0, 100, 3)]
    await asyncio.gather(*map(store.append_async, old))
    mixed = [event(call, "ringing", number=0) for call in range(100) for _ in range(2)]
    are_new = await asyncio.gather(*map(store.append_async, mixed))
    assert are_new == [call % 3 != 0 and which == 0 for call in range(100) for which in range(2)]
    assert len(list(store.replay(since=None))) == 100


async def test_a_turn_is_one_commit(store: SqliteStore) -> None:
    await store.append_async(event(1, "ringing"))
    commits: list[str] = []
    store._writing.connection.set_trace_callback(lambda sql: commits.append(sql) if sql.startswith("COMMIT") else None)
    await asyncio.gather(*(store.append_async(event(call, "ringing")) for call in range(2, 66)))
    assert commits == ["COMMIT"]


async def test_turns_that_follow_each_other_are_one_commit(store: SqliteStore) -> None:
    async def append(call: int) -> bool:
        for _ in range(call):  # so that each comes a turn after the one before
            await asyncio.sleep(0)
        return await store.append_async(event(call, "ringing"))

    await store.append_async(event(1, "ringing"))
    commits: list[str] = []
    store._writing.connection.set_trace_callback(lambda sql: commits.append(sql) if sql.startswith("COMMIT") else None)
    assert await asyncio.gather(*map(append, range(2, 66))) == [True] * 64
    assert commits == ["COMMIT"]


async def test_turns_without_end_keep_none_waiting(store: SqliteStore) -> None:
    first, call = asyncio.ensure_future(store.append_async(event(0, "ringing"))), 0
    waiting = [first]
    async with asyncio.timeout(60):
        while not first.done():
            call += 1
            waiting.append(asyncio.ensure_future(store.append_async(event(call, "ringing"))))
            await asyncio.sleep(0)
        assert all(await asyncio.gather(*waiting))


async def test_what_a_closing_store_was_given_in_the_same_turn_is_kept(path: Path) -> None:
    store = SqliteStore.open_for_watch(path, world=WORLD)
    waiting = [asyncio.ensure_future(store.append_async(event(call, "ringing"))) for call in range(10)]
    await asyncio.sleep(0)  # they are gathered, and not yet handed over
    store.close()
    assert await asyncio.gather(*waiting) == [True] * 10
    with pytest.raises(StoreError, match="closed"):
        await store.append_async(event(11, "ringing"))


def test_a_loop_that_ends_within_a_turn_keeps_no_other_waiting(store: SqliteStore) -> None:
    async def leave() -> None:
        asyncio.ensure_future(store.append_async(event(1, "ringing"))).cancel()
        waiting = asyncio.ensure_future(store.append_async(event(2, "ringing")))
        await asyncio.sleep(0)
        waiting.cancel()

    async def come_back() -> bool:
        return await store.append_async(event(3, "ringing"))

    asyncio.run(leave())
    assert asyncio.run(come_back()) is True
    assert store.append(event(4, "ringing")) is True
    assert {one.call_sid[-1] for one in store.replay(since=None)} >= {"3", "4"}


async def test_a_group_that_can_not_be_written_fails_wholly(path: Path, store: SqliteStore) -> None:
    store._writing.connection.execute("PRAGMA busy_timeout = 50")
    await store.append_async(event(0, "ringing"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(
        *(store.append_async(event(call, "ringing")) for call in range(1, 100)), return_exceptions=True
    )
    other.execute("ROLLBACK")
    other.close()
    assert [type(one) for one in results] == [StoreError] * 99
    assert len({id(one) for one in results}) == 99
    assert len(list(store.replay(since=None))) == 1


async def test_who_gives_up_leaves_the_others_of_the_commit_answered(path: Path, store: SqliteStore) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # so that none is written before the first has given up
    waiting = [asyncio.ensure_future(store.append_async(event(call, "ringing"))) for call in range(3)]
    for _ in range(3):
        await asyncio.sleep(0)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    other.execute("ROLLBACK")
    other.close()
    async with asyncio.timeout(60):
        assert await asyncio.gather(*waiting[1:]) == [True, True]
    assert len(list(store.replay(since=None))) == 3
