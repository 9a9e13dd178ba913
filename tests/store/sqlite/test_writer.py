"""Whatever goes wrong in the writer's thread, everybody who waits is answered and the next event is kept."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from events import WORLD, event, sid

import callctl
from callctl.errors import StoreError
from callctl.store.sqlite import writer
from callctl.store.sqlite.rows import Row
from callctl.store.sqlite.rows import insert as rows_insert
from callctl.store.sqlite.store import SqliteStore

FAILURES = [
    DeprecationWarning("Binding 1 ('?1') is a named parameter"),
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    OverflowError("Python int too large to convert to SQLite INTEGER"),
    sqlite3.Warning("another one"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
async def test_a_failure_of_any_kind_is_reported_to_each_who_waits_and_the_next_event_is_kept(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> list[bool]:
        raise failure

    with monkeypatch.context() as failing:
        failing.setattr(writer, "insert", fail)
        async with asyncio.timeout(60):
            waiting = (store.append_async(event(call, "ringing")) for call in range(20))
            results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in results] == [StoreError] * 20
    assert all(type(failure).__name__ in str(one) for one in results)
    assert len({id(one) for one in results}) == 20
    async with asyncio.timeout(60):
        assert await store.append_async(event(1, "ringing")) is True


async def test_one_event_that_can_not_be_written_fails_none_that_share_its_commit(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def insert(connection: sqlite3.Connection, rows: Sequence[Row], *, world: str) -> list[bool]:
        if any(row.call[0] == sid(2) for row in rows):
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return rows_insert(connection, rows, world=world)

    monkeypatch.setattr(writer, "insert", insert)
    async with asyncio.timeout(60):
        results = await asyncio.gather(
            *(store.append_async(event(call, "ringing")) for call in (1, 2, 3)), return_exceptions=True
        )
    assert [type(one) for one in results] == [bool, StoreError, bool]
    assert {one.call_sid for one in store.replay(since=None)} == {sid(1), sid(3)}


def test_one_who_gave_up_waiting_keeps_no_other_waiting(store: SqliteStore) -> None:
    waiting: list[Future[bool]] = [Future() for _ in range(3)]
    waiting[0].cancel()
    waiting[1].set_result(False)
    for call, future in enumerate(waiting):
        store._writer.put(event(call, "ringing"), future)
    assert waiting[2].result(timeout=60) is True
    assert store.append(event(9, "ringing"))


def test_a_thread_that_could_not_be_started_is_started_for_the_next_event(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            store.append(event(1, "ringing"))
    assert store.submit(event(2, "ringing")).result(timeout=60) is True


def test_a_transaction_that_was_left_open_does_not_keep_the_next_from_being_written(store: SqliteStore) -> None:
    store._writing.connection.execute("BEGIN IMMEDIATE")
    assert store.append(event(1, "ringing"))


def test_no_statement_has_numbered_placeholders() -> None:
    """Python 3.12 takes them for named ones, and later versions refuse a sequence of values for these."""
    sources = list(Path(callctl.__file__).parent.joinpath("store").rglob("*.py"))
    assert len(sources) > 10
    lines = [line for path in sources for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if re.search(r"\?(\d|\{)", line.partition("#")[0])] == []


def test_all_that_is_known_of_worlds_stays_apart_in_large_groups(path: Path) -> None:
    stores = [SqliteStore.open_for_watch(path, world=world) for world in (WORLD, "other")]
    for store in stores:
        for future in [store.submit(event(call, "ringing")) for call in range(70)]:
            assert future.result(timeout=60)
    for store in stores:
        assert len(list(store.replay(since=None))) == 70
        store.close()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_look_at_the_files_that_fails_ends_no_thread(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    looked = threading.Event()

    def fail() -> None:
        looked.set()
        raise failure

    assert store.append(event(1, "ringing"))
    with monkeypatch.context() as failing:
        failing.setattr(store._writing, "check", fail)
        store._writer.request_check()
        assert looked.wait(60)
    assert store.submit(event(2, "ringing")).result(timeout=60) is True
