"""A store is read while callbacks arrive: the board loses none, and rules see each once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from calls_api import UnexpectedRequest
from events import form, sid
from listeners import sign
from watches import LIMIT, RunningWatch, running_watch, settings_in, until

from callctl.calls.action import ActionEvent
from callctl.calls.board import Change, Snapshot
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.filter import CallFilter
from callctl.calls.watch_trouble import Trouble
from callctl.errors import CallctlError
from callctl.settings import Settings
from callctl.store.sqlite.rows import INSERT_ACTION, action_row
from callctl.store.sqlite.store import SqliteStore
from callctl.watch.options import WatchOptions

PLAN = WatchOptions("127.0.0.1", 0)
CALLS, EACH = 200, 100


class RecordingRules:
    """Rules that note what they are shown."""

    is_stopped = False
    in_words = "1 rule"

    def __init__(self) -> None:
        self.recalled: list[Change] = []
        self.begun: list[Snapshot] = []
        self.looked_at: list[Change] = []

    def restore(self, change: Change) -> None:
        assert not self.begun
        self.recalled.append(change)

    def start(self, snapshot: Snapshot) -> None:
        self.begun.append(snapshot)

    def update(self, changes: Sequence[Change], snapshot: Snapshot) -> None:
        assert self.begun
        self.looked_at += changes
        self.board = snapshot

    def take_reports(self) -> list[ActionEvent | Trouble]:
        return []


def fill(settings: Settings, *, calls: int, each: int) -> None:
    """Fill a store with calls that never ended, of many events each."""
    at = datetime.now(UTC) - timedelta(minutes=5)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    for number in range(calls * each):
        call, sequence = divmod(number, each)
        fields = form(call, "ringing", number=sequence).items()
        store.submit(CallEvent.from_form(fields, received_at=at, world=settings.world, verified=True))
    store.close()


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Pause each reader of the store after some events, until this is set."""
    go_on, replay = threading.Event(), SqliteStore.replay

    def paused_replay(reader: SqliteStore, **options: Any) -> Iterator[CallEvent]:
        for number, event in enumerate(replay(reader, **options)):
            if number == 1500:
                go_on.wait(LIMIT)
            yield event

    monkeypatch.setattr(SqliteStore, "replay", paused_replay)
    yield go_on
    go_on.set()


async def post(running: RunningWatch, fields: dict[str, str]) -> int:
    url = running.ready.callback_url
    async with aiohttp.ClientSession() as http, http.post(url, data=fields, headers=sign(url, fields)) as answer:
        return answer.status


def live(running: RunningWatch) -> Callable[[], bool]:
    return lambda: running.session.header().events_read is None


async def test_callbacks_are_taken_in_while_a_large_store_is_read(tmp_path: Path, go_on: threading.Event) -> None:
    settings, rules = settings_in(tmp_path), RecordingRules()
    fill(settings, calls=CALLS, each=EACH)
    async with running_watch(settings, PLAN, rules=rules) as running:
        await running.view.until(lambda view: view.header is not None and view.header.events_read == 1000)
        known, new = form(CALLS - 1, "completed", number=EACH), form(CALLS, "ringing", number=0)
        for fields in (known, new, known):
            assert await post(running, fields) == 204
        assert running.session.header().accepted == 2
        assert running.view.events == []
        assert rules.begun == []
        go_on.set()
        await until(live(running))
        await running.view.until(lambda view: len(view.events) == 2)
        assert [event.call_sid for event in running.view.events] == [sid(CALLS - 1), sid(CALLS)]
        await running.view.until(lambda view: view.snapshot is not None and view.snapshot.live == CALLS)
        leg = running.session.snapshot().leg(sid(CALLS - 1))
        assert leg is not None
        assert leg.status == "completed"
    assert len(rules.recalled) == CALLS * EACH
    assert len(rules.begun) == 1
    assert [change.event.status for change in rules.looked_at] == ["completed", "ringing"]
    assert rules.looked_at[0].before is not None  # the board knew it from before


@pytest.mark.parametrize("record", ["'no record'", "x'ff00'", "17"])
async def test_an_event_that_can_not_be_read_hides_no_other(tmp_path: Path, record: str) -> None:
    settings = settings_in(tmp_path)
    fill(settings, calls=3, each=1)
    with closing(sqlite3.connect(settings.store)) as other, other:
        other.execute(f"UPDATE events SET record = {record} WHERE id = 2")
    async with running_watch(settings, PLAN) as running:
        await running.view.until(lambda view: view.snapshot is not None and view.snapshot.live == 2)
        assert (
            await running.view.until_noted("can't be read") == "1 of the store's events can't be read and is left out"
        )
        assert await post(running, form(9, "ringing", number=0)) == 204


async def test_an_action_that_can_not_be_read_hides_no_other(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running_watch(settings, PLAN) as running:
        await until(live(running))
        with closing(SqliteStore.open_for_watch(settings.store, world=settings.world)) as command:
            actions = [ActionEvent(datetime.now(UTC), sid(n), "hangup", (), f"number {n}") for n in (1, 2, 3)]
            with command._writing.transaction() as connection:
                rows = [action_row(one, world=settings.world) for one in actions]
                rows[1] = (*rows[1][:3], "no record")
                connection.executemany(INSERT_ACTION, rows)
            await running.view.until(lambda view: {"number 1", "number 3"} <= set(view.notes))
            text = await running.view.until_noted("can't be read")
            assert text == "1 of the store's actions can't be read and is left out"
            command.record_actions([ActionEvent(datetime.now(UTC), sid(4), "hangup", (), "number 4")])
            await running.view.until(lambda view: "number 4" in view.notes)
        assert [note for note in running.view.notes if "number" in note] == ["number 1", "number 3", "number 4"]
        assert sum("can't be read" in note for note in running.view.notes) == 1


async def test_it_stops_at_once_while_the_store_is_read(tmp_path: Path, go_on: threading.Event) -> None:
    settings = settings_in(tmp_path)
    fill(settings, calls=20, each=EACH)
    async with running_watch(settings, PLAN) as running:
        await running.view.until(lambda view: view.header is not None and view.header.events_read == 1000)
        assert not go_on.is_set()
    assert running.session.header().events_read == 1000


async def test_what_compares_and_deletes_waits_until_all_is_known(tmp_path: Path, go_on: threading.Event) -> None:
    settings = settings_in(tmp_path)
    fill(settings, calls=20, each=EACH)
    calls_seen: list[int] = []

    class Rest(UnexpectedRequest):
        def list(self, _query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:
            assert (page_size, limit) == (1000, None)
            calls_seen.append(len(running.session.snapshot().families))
            return iter(())

        def fetch(self, sid: str) -> Call:
            raise CallctlError(f"{sid} can't be asked for")

    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=0), api=Rest()) as running:
        await running.view.until(lambda view: view.header is not None and view.header.events_read == 1000)
        await asyncio.sleep(0)
        assert calls_seen == []
        go_on.set()
        await until(lambda: bool(calls_seen))
        assert set(calls_seen) == {20}
