"""A session: what it starts, keeps running, reports, and stops."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from events import ACCOUNT, form, moment, sid
from listeners import post, sign
from watches import RecordingView, RunningWatch, running_watch, settings_in, until

from callctl.calls.action import DONE, DRY_RUN, ActionEvent
from callctl.calls.board import Change, Snapshot
from callctl.calls.call import Call
from callctl.calls.event import MISSED, CallEvent
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import PortTakenError
from callctl.store.event_store import EventStore
from callctl.store.opening import open_for_watch, open_store
from callctl.store.sqlite.store import SqliteStore
from callctl.support.clock import Clock
from callctl.support.threads import run_in_thread
from callctl.watch.board_feed import BoardFeed
from callctl.watch.options import WatchAtPortError, WatchOptions
from callctl.watch.registry import registry
from callctl.watch.registry.health import HEALTH_LIMIT
from callctl.watch.registry.process import process_space
from callctl.watch.registry.record import WatchRecord
from callctl.watch.session import DRAIN_LIMIT, SHUT_DOWN_LIMIT, Session, keep_running

PROGRAM = """
import gc, weakref
from callctl.watch.session import prepare_to_serve

class Knot:
    def __init__(self):
        self.itself = self

full = []
gc.callbacks.append(lambda phase, facts: full.append(phase) if facts["generation"] == 2 else None)
prepare_to_serve()
full.clear()
living = weakref.WeakSet()
most = 0
for _ in range(200_000):
    living.add(Knot())
    most = max(most, len(living))
kept = [[number] for number in range(300_000)]
print(len(full), most < 150_000)
"""


async def test_a_callback_that_is_acknowledged_while_the_watch_stops_is_shown(tmp_path: Path) -> None:
    clock = Clock(wall=lambda: datetime.now(UTC))
    session, view = Session(settings_in(tmp_path), WatchOptions("127.0.0.1", 0), clock=clock), RecordingView()
    ready = await session.start_up()
    session.stop()
    await session.run(view)
    fields = form(1, "ringing")
    async with (
        aiohttp.ClientSession() as http,
        http.post(ready.callback_url, data=fields, headers=sign(ready.callback_url, fields)) as answer,
    ):
        assert answer.status == 204
    await session.shut_down()
    assert [event.call_sid for event in view.events] == [sid(1)]
    assert view.snapshot is not None
    assert view.snapshot.live == 1


async def test_another_program_that_has_locked_the_store_keeps_no_watch_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.store.opening._BUSY_TIMEOUT", 1000.0)
    monkeypatch.setattr("callctl.watch.session.FILE_LIMIT", 0.1)
    settings = settings_in(tmp_path)
    session = Session(settings, WatchOptions("127.0.0.1", 0), clock=Clock(wall=lambda: datetime.now(UTC)))
    await session.start_up()
    with closing(sqlite3.connect(settings.store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(100):
            await session.shut_down(limit=SHUT_DOWN_LIMIT + DRAIN_LIMIT)


def test_cycles_are_still_found_young_no_full_search_is_made_and_threads_switch_sooner() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["0", "True"]


async def test_work_that_fails_is_begun_anew_and_each_error_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.session.RESTART_AFTER", 0.001)
    faults = iter([ZeroDivisionError("1/0"), ZeroDivisionError("1/0"), KeyError("x")])
    troubles: list[Trouble] = []

    async def work() -> None:
        if (fault := next(faults, None)) is not None:
            raise fault

    async with asyncio.timeout(60):
        await keep_running(work, what="looking for silent calls", trouble=troubles.append)
    assert [str(trouble) for trouble in troubles] == [
        "looking for silent calls failed, and is begun anew: ZeroDivisionError: 1/0",
        "looking for silent calls failed, and is begun anew: KeyError: 'x'",
    ]


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(hours=2), "set forward by 7200 s"),
        (timedelta(seconds=-45), "set back by 45 s"),
        (timedelta(seconds=1), None),
    ],
    ids=str,
)
async def test_a_step_of_the_clock_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: timedelta, words: str | None
) -> None:
    monkeypatch.setattr("callctl.watch.session.CLOCK_INTERVAL", 0.01)
    step = timedelta()
    clock = Clock(wall=lambda: datetime.now(UTC) + step)
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0), clock=clock) as watch:
        step = ahead
        if words is not None:
            assert words in await watch.view.until_noted("this machine's clock")
        url, fields = watch.ready.callback_url, form(1, "ringing")
        async with aiohttp.ClientSession() as http, http.post(url, data=fields, headers=sign(url, fields)) as answer:
            assert answer.status == 204
        await watch.view.until(lambda view: bool(view.events))
        assert abs(watch.view.events[0].received_at - datetime.now(UTC) - ahead) < timedelta(minutes=1)
        assert len(watch.view.troubles) == (words is not None)


STOPPED = Trouble("the rules have stopped: 100 actions in a minute (--max-actions)", Cause.RULE)


def hangup(call: int, result: str) -> ActionEvent:
    return ActionEvent(moment(0), sid(call), "hangup", (), f"{result} {call}", rule="mine", result=result)


class StoppedRules:
    """Rules that did too much: they say so once, beside what they did and would have done."""

    in_words = "1 rule"
    is_stopped = False

    def __init__(self) -> None:
        self._news: list[ActionEvent | Trouble] = [
            hangup(1, DONE),
            STOPPED,
            Trouble("rule mine waits for https://user:secret@example.com", Cause.RULE),
            hangup(2, DRY_RUN),
        ]

    def restore(self, change: Change) -> None: ...

    def start(self, snapshot: Snapshot) -> None: ...

    def update(self, changes: Sequence[Change], snapshot: Snapshot) -> None: ...

    def take_reports(self) -> list[ActionEvent | Trouble]:
        news, self._news = self._news, []
        self.is_stopped = self.is_stopped or STOPPED in news
        return news


async def test_rules_use_the_sessions_own_store(tmp_path: Path) -> None:
    stores: list[SqliteStore] = []

    def make_rules(store: SqliteStore) -> Any:
        stores.append(store)
        return StoppedRules()

    options = WatchOptions("127.0.0.1", 0)
    async with running_watch(settings_in(tmp_path), options, make_rules=make_rules) as watch:
        await watch.view.until(lambda view: view.began is not None)
        assert stores == [watch.session._store]


async def test_what_the_rate_limit_reports_is_trouble_and_an_alarm(tmp_path: Path) -> None:
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0), rules=StoppedRules()) as watch:
        await watch.view.until(lambda view: view.header is not None and view.header.rules_stopped)
        assert watch.view.troubles == [STOPPED, "rule mine waits for https://user:***@example.com"]
        # What was done is in the store, which is where it is read from.
        assert [note for note in watch.view.notes if note not in watch.view.troubles] == [f"{DRY_RUN} 2"]


async def test_a_busy_watch_is_given_time_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as first:

        def answers_late(_: WatchRecord, *, timeout: float) -> bool:
            return timeout > HEALTH_LIMIT

        monkeypatch.setattr(registry, "is_alive", answers_late)
        with pytest.raises(WatchAtPortError):
            async with running_watch(settings, WatchOptions("127.0.0.1", first.ready.port)):
                pass
        monkeypatch.setattr(registry, "is_alive", lambda _, *, timeout: timeout < 0)
        with pytest.raises(PortTakenError) as caught:
            async with running_watch(settings, WatchOptions("127.0.0.1", first.ready.port)):
                pass
        assert not isinstance(caught.value, WatchAtPortError)


@pytest.fixture
def short_record_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.session.RECORD_INTERVAL", 0.01)


@pytest.mark.usefixtures("short_record_interval")
@pytest.mark.parametrize("is_all", [False, True], ids=["records", "state folder"])
async def test_a_watch_is_found_again_after_its_record_was_removed(tmp_path: Path, is_all: bool) -> None:
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as watch:
        await watch.view.until(lambda view: view.began is not None)
        shutil.rmtree(settings.state_dir if is_all else settings.state_dir / "watch")
        await watch.view.until_noted("was gone, and is written again")
        assert [one.cause for one in watch.view.resolved if one.cause == Cause.RECORD] == [Cause.RECORD]
        record = await run_in_thread(lambda: registry.find(settings))
        assert record is not None
        assert (record.nonce, record.callback_url) == (watch.session.listener_config.nonce, watch.ready.callback_url)
    assert list(settings.state_dir.glob("watch/*")) == []


@pytest.mark.usefixtures("short_record_interval")
async def test_a_watch_says_where_its_process_is_seen_and_renews_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.registry.registry.RENEW_EVERY", -1.0)
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)):
        (record,) = await asyncio.to_thread(lambda: list(registry.running(settings)))
        assert record.processes == process_space()
        (path,) = (settings.state_dir / "watch").glob("*.json")
        before = path.stat()
        await until(lambda: path.stat().st_ctime_ns > before.st_ctime_ns)
        assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.usefixtures("short_record_interval")
async def test_why_the_record_can_not_be_written_is_reported_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    folder = settings.state_dir / "watch"
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as watch:
        shutil.rmtree(folder)
        folder.write_text("in its place")
        await watch.view.until_noted(f"`place` does not find this watch: the state folder {folder} is no folder")
        folder.unlink()
        await watch.view.until_noted("was gone, and is written again")
        await until(lambda: len(list(folder.glob("*.json"))) == 1)
        (trouble,) = watch.view.troubles
        assert trouble.cause == Cause.RECORD


@pytest.mark.usefixtures("short_record_interval")
@pytest.mark.parametrize("step", ["has_record", "write_record", "renew_record"])
async def test_a_state_folder_on_a_disk_that_does_not_answer_holds_up_no_callback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    settings = settings_in(tmp_path)
    is_reached, answers = threading.Event(), threading.Event()
    take = getattr(registry, step)

    def wait(*args: Any) -> Any:
        is_reached.set()
        assert answers.wait(60)
        return take(*args)

    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as watch:
        monkeypatch.setattr(registry, step, wait)
        shutil.rmtree(settings.state_dir / "watch")
        await until(is_reached.is_set)
        assert (await post(watch.ready.callback_url, form(1, "ringing")))[0] == 204
        answers.set()
        await watch.view.until_noted("was gone, and is written again")


async def test_a_watch_ends_though_its_record_is_on_a_disk_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(registry, "remove_record", lambda *_: answers.wait(60))
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0)):
        pass
    assert not answers.is_set()
    answers.set()


async def test_health_is_well_again_with_the_store_though_no_callback_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.session.STORE_TEST_INTERVAL", 0.05)
    monkeypatch.setattr("callctl.store.opening._BUSY_TIMEOUT", 0.05)
    settings, fields = settings_in(tmp_path), form(1, "ringing")
    async with (
        running_watch(settings, WatchOptions("127.0.0.1", 0)) as running,
        aiohttp.ClientSession() as http,
    ):

        async def health() -> str:
            async with http.get(running.ready.health_url) as answer:
                return str((await answer.json())["status"])

        url = running.ready.callback_url
        with closing(sqlite3.connect(settings.store, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with http.post(url, data=fields, headers=sign(url, fields)) as answer:
                assert answer.status == 500
            assert await health() == "failing"
            other.execute("ROLLBACK")
        assert "callbacks are answered with 500" in await running.view.until_noted("answered with")
        await running.view.until_noted("events are stored again")
        assert await health() == "ok"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_an_end_that_a_command_stored_comes_on_the_board_of_a_watch_that_asks_nobody(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.session.MISSED_INTERVAL", 0.05)
    settings = settings_in(tmp_path)
    if kind == "postgresql":
        settings = replace(settings, store_url=request.getfixturevalue("shared_store"))
    with closing(open_store(settings)) as other:
        fields = form(1, "ringing")
        event = CallEvent.from_form(fields.items(), received_at=datetime.now(UTC), world=settings.world, verified=True)
        other.append(event)
        async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as running:
            view = running.view
            await view.until(lambda view: view.snapshot is not None and view.snapshot.live == 1)
            call, now = Call(sid(1), "no-answer"), datetime.now(UTC)
            missed = CallEvent.from_call(call, received_at=now, world=settings.world, kind=MISSED)
            await run_in_thread(lambda: other.append(missed))
            await view.until(lambda view: view.snapshot is not None and view.snapshot.live == 0)
            assert [(one.kind, one.status) for one in view.events] == [(MISSED, "no-answer")]


async def test_two_listeners_on_one_file_have_what_both_took_in_on_their_boards_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule spares who is in a conference, though the other listener was told of it."""
    monkeypatch.setattr("callctl.watch.session.MISSED_INTERVAL", 0.05)
    put: list[tuple[BoardFeed, str]] = []
    put_on_board = BoardFeed._put_on_board

    def noted(feed: BoardFeed, event: CallEvent) -> Change | None:
        put.append((feed, event.key))
        return put_on_board(feed, event)

    monkeypatch.setattr(BoardFeed, "_put_on_board", noted)
    settings = settings_in(tmp_path)
    async with (
        running_watch(settings, WatchOptions("127.0.0.1", 0)) as first,
        running_watch(settings, WatchOptions("127.0.0.1", 0)) as second,
        aiohttp.ClientSession() as http,
    ):

        async def send(to: RunningWatch, fields: dict[str, str]) -> None:
            url = to.ready.callback_url
            async with http.post(url, data=fields, headers=sign(url, fields)) as answer:
                assert answer.status == 204

        for call in range(20):
            for number, status in enumerate(("initiated", "ringing", "in-progress")):
                await send((first, second)[(call + number) % 2], form(call, status, number=number, at=number))
        conference = {
            "ConferenceSid": "CF" + "0" * 32,
            "FriendlyName": "room",
            "StatusCallbackEvent": "participant-join",
        }
        joined = {"CallSid": sid(1), "AccountSid": ACCOUNT, "SequenceNumber": "1"} | conference
        await send(second, joined)
        for one in (first, second):
            await one.view.until(
                lambda seen: (
                    seen.snapshot is not None
                    and seen.snapshot.live == 20
                    and all(leg.status == "in-progress" for leg in seen.snapshot.legs.values())
                    and any(leg.conference is not None for leg in seen.snapshot.legs.values())
                )
            )
    assert len(put) == len(set(put)) == 2 * 61


async def test_what_another_listener_stored_last_is_on_the_board_though_it_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was jumped over with the first look at which nobody else was there."""
    monkeypatch.setattr("callctl.watch.session.MISSED_INTERVAL", 0.02)
    monkeypatch.setattr("callctl.watch.session.READ_INTERVAL", 0.02)
    monkeypatch.setattr("callctl.watch.session.COMPANY_INTERVAL", timedelta())
    monkeypatch.setattr("callctl.watch.session.COMPANY_LASTS", timedelta())
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as one:
        await until(lambda: not one.session._has_company)  # before its first look a watch takes it that it has some
        for call in range(10):
            record = WatchRecord("", "", ACCOUNT, settings.api_url, os.getpid(), f"n{call}", "0")
            with closing(open_for_watch(settings, on_trouble=print)) as other:
                await run_in_thread(partial(registry.announce, other, record))
                await until(lambda: one.session._has_company)

                def store_and_go(call: int = call, other: EventStore = other, nonce: str = record.nonce) -> None:
                    fields, now = form(call, "in-progress", number=0, at=call), datetime.now(UTC)
                    other.append(
                        CallEvent.from_form(fields.items(), received_at=now, world=settings.world, verified=True)
                    )
                    other.withdraw(nonce)

                await run_in_thread(store_and_go)
                await until(lambda: not one.session._has_company)
        await one.view.until(lambda seen: seen.snapshot is not None and seen.snapshot.live == 10)


@pytest.mark.parametrize("company", [False, True])
async def test_who_else_listens_is_looked_for_while_callbacks_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, company: bool
) -> None:
    """Listeners that were killed may have left thousands of announcements in the file."""
    looked: list[threading.Thread] = []
    announced = SqliteStore.announced

    def noted(store: SqliteStore, **limits: Any) -> dict[str, Mapping[str, Any]]:
        looked.append(threading.current_thread())
        return announced(store, **limits)

    monkeypatch.setattr(SqliteStore, "announced", noted)
    monkeypatch.setattr("callctl.watch.session.MISSED_INTERVAL", 0.02)
    monkeypatch.setattr("callctl.watch.session.READ_INTERVAL", 0.02)
    monkeypatch.setattr("callctl.watch.session.COMPANY_INTERVAL", timedelta())
    settings = settings_in(tmp_path)
    if company:
        record = WatchRecord("", "", ACCOUNT, settings.api_url, os.getpid(), "n2", "0")
        with closing(open_store(settings)) as store:
            registry.announce(store, record)
    looked.clear()
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as watch:
        await until(lambda: len(looked) > 20 and watch.session._has_company == company)
    assert threading.current_thread() not in looked
