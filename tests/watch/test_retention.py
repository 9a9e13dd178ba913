from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from calls_api import UnexpectedRequest
from events import ACCOUNT, WORLD, clock_of, event, event_of, form, moment, sid
from listeners import sign
from watches import LIMIT, RunningWatch, Suspension, ago, running_watch, settings_in, until

from callctl.calls.action import ActionEvent
from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.filter import CallFilter
from callctl.errors import PortTakenError, StoreError
from callctl.settings import Settings
from callctl.store.records import OpenClaim
from callctl.store.sqlite.store import SqliteStore
from callctl.support.clock import Clock
from callctl.watch.options import WatchOptions
from callctl.watch.registry import registry
from callctl.watch.registry.record import WatchRecord
from callctl.watch.retention import INTERVAL, PAUSE, STEP, Retention
from callctl.watch.session import Session


def fill(settings: Settings, *, calls: range, age: timedelta) -> None:
    at = datetime.now(UTC) - age
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    for call in calls:
        fields = form(call, "completed").items()
        store.submit(CallEvent.from_form(fields, received_at=at, world=settings.world, verified=True))
    store.close()


def kept(settings: Settings) -> int:
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    try:
        return len(list(store.replay(since=None)))
    finally:
        store.close()


def retention_of(watch: RunningWatch) -> Retention:
    retention = watch.session._retention
    assert retention is not None
    return retention


class InTime:
    """A store of which no event has a time that can't be right."""

    def cap_times(self, latest: datetime, *, limit: int = STEP) -> int:
        assert latest.tzinfo is not None
        return min(limit, 0)


class ApiWithServerTime(UnexpectedRequest):
    """Lists no call, and sends the time with each reply."""

    time: datetime | None = None

    @property
    def server_time(self) -> datetime | None:
        return self.time

    def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:  # noqa: ARG002 - the API's own
        self.time = ago()
        return iter(())


async def test_what_is_older_than_the_days_kept_is_deleted_in_small_steps(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    fill(settings, calls=range(2 * STEP + 50), age=timedelta(days=31))
    fill(settings, calls=range(1000, 1010), age=timedelta(days=29))
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    steps: list[int] = []

    class Counted(InTime):
        def delete_older_than(self, moment: datetime, *, limit: int = STEP) -> int:
            steps.append(store.delete_older_than(moment, limit=limit))
            return steps[-1]

    retention = Retention(
        cast(SqliteStore, Counted()),
        Board(),
        days=30,
        since=timedelta(hours=1),
        trouble=print,
        clock=Clock(wall=ago),
        twilio_time=ago,
    )
    await retention.trim()
    retention.end()
    store.close()
    assert steps == [STEP, STEP, 50]
    assert kept(settings) == 10


async def test_a_watch_trims_when_it_starts_and_keeps_the_rest(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    fill(settings, calls=range(3), age=timedelta(days=8))
    fill(settings, calls=range(10, 12), age=timedelta(days=6))
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=7), api=ApiWithServerTime()):
        reader = SqliteStore.open_readonly(settings.store, world=settings.world)
        await until(lambda: len(list(reader.replay(since=None))) == 2)
        reader.close()
    assert kept(settings) == 2


async def test_no_days_keep_nothing_beyond_the_run(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    fill(settings, calls=range(3), age=timedelta(minutes=5))
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=0)) as watch:
        await watch.view.until(lambda view: view.snapshot is not None and len(view.snapshot.families) == 3)
        fill(settings, calls=range(10, 12), age=timedelta())
    assert kept(settings) == 0


async def test_no_days_delete_nothing_that_another_watch_keeps(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    fill(settings, calls=range(3), age=timedelta(minutes=5))
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, is_service=True)):
        async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=0)) as watch:
            await watch.view.until(lambda view: any("so does this one" in note for note in view.notes))
            (note,) = (note for note in watch.view.notes if "keep" in note)
            fill(settings, calls=range(10, 12), age=timedelta())
        assert kept(settings) == 5
    process = f"a listener (process {os.getpid()})"
    assert note.startswith(f"{process} keeps events in the same store for 30 days: so does this one")
    assert kept(settings) == 5


async def test_no_days_delete_nothing_at_the_end_that_one_keeps_which_began_later(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    link = tmp_path / "link"
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=0)) as first:
        await first.view.until(lambda view: view.snapshot is not None)
        link.symlink_to(settings.store.parent)
        same = replace(settings, store=link / settings.store.name)
        async with running_watch(same, WatchOptions("127.0.0.1", 0)):
            fill(settings, calls=range(3), age=timedelta())
            first.session.stop()
            await first.session.shut_down()
            assert kept(settings) == 3
    assert kept(settings) == 3


async def test_what_another_one_kept_stays_when_it_is_gone_as_for_a_restart(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=0)) as watch:
        async with running_watch(settings, WatchOptions("127.0.0.1", 0)):
            fill(settings, calls=range(3), age=timedelta(minutes=5))
            await retention_of(watch).trim()
        await retention_of(watch).trim()
        assert kept(settings) == 3
    assert kept(settings) == 3


async def test_of_two_watches_that_keep_nothing_the_last_one_deletes(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    none = WatchOptions("127.0.0.1", 0, keep_days=0)
    async with running_watch(settings, none):
        fill(settings, calls=range(3), age=timedelta())
        async with running_watch(settings, none) as second:
            await retention_of(second).trim()
            assert kept(settings) == 3
        assert kept(settings) == 3
    assert kept(settings) == 0


def announce_in(path: Path, record: WatchRecord) -> None:
    with closing(SqliteStore.open(path, world=settings_in(path.parent).world)) as store:
        registry.announce(store, record)


async def test_no_days_delete_nothing_that_one_keeps_whose_record_is_elsewhere(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    other = replace(settings, state_dir=tmp_path / "other state")
    fill(settings, calls=range(3), age=timedelta(minutes=5))
    async with running_watch(other, WatchOptions("127.0.0.1", 0, keep_days=365)):
        assert list(registry.running(settings)) == []
        async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=0)) as watch:
            await retention_of(watch).trim()
            assert kept(settings) == 3
        assert kept(settings) == 3
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=0)):
        pass
    assert kept(settings) == 0  # what ended has withdrawn what it announced


@pytest.mark.parametrize(("lasting", "left"), [(timedelta(hours=1), 3), (timedelta(seconds=-1), 0)])
async def test_what_one_in_a_container_keeps_stays_until_its_announcement_expires(
    tmp_path: Path, lasting: timedelta, left: int
) -> None:
    settings = settings_in(tmp_path)
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    fill(settings, calls=range(3), age=timedelta(minutes=5))
    record = WatchRecord("", "", ACCOUNT, settings.api_url, ended.pid, "n2", "0.1.0", keep_days="365")
    there = replace(record, host="web1", processes="of a container")
    with closing(SqliteStore.open(settings.store, world=settings.world)) as store:
        store.announce("n2", asdict(there), lasting=lasting)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=0)) as watch:
        await retention_of(watch).trim()
        assert kept(settings) == left
        if left:
            said = f"a watch (process {ended.pid} on web1) keeps events in the same store for 365 days"
            await watch.view.until(lambda view: any(note.startswith(said) for note in view.notes))
    assert kept(settings) == left


async def test_a_watch_announces_again_what_a_purged_store_has_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "ANNOUNCE_EVERY", 0.05)
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as watch:
        nonce = watch.session.listener_config.nonce
        with closing(SqliteStore.open(settings.store, world=settings.world)) as store:
            store.withdraw(nonce)
            await until(lambda: [record.nonce for record in registry.keepers(store, other_than="")] == [nonce])


@pytest.mark.parametrize("of_others", ["another file", "process is gone"])
async def test_who_keeps_events_elsewhere_or_is_gone_does_not_count(tmp_path: Path, of_others: str) -> None:
    settings = settings_in(tmp_path)
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    fill(settings, calls=range(3), age=timedelta(minutes=5))
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=0)) as watch:
        (record,) = await asyncio.to_thread(lambda: list(registry.running(settings)))
        if of_others == "another file":
            announce_in(tmp_path / "other.db", replace(record, nonce="n2", keep_days="30"))
        else:
            announce_in(settings.store, replace(record, nonce="n2", pid=ended.pid, keep_days="30"))
        await retention_of(watch).trim()
        assert kept(settings) == 0


async def test_one_that_is_still_starting_counts_before_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    starting = Session(settings, WatchOptions("127.0.0.1", 0), clock=Clock(wall=ago))
    fill(settings, calls=range(3), age=timedelta(minutes=5))

    def fail(*_args: object, **_more: object) -> None:
        raise PortTakenError("not free")

    with monkeypatch.context() as patch:
        patch.setattr("callctl.watch.session.Session._make_listener", fail)
        with pytest.raises(PortTakenError):
            await starting.start_up()
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=0)) as watch:
        listening = [record.nonce for record in await asyncio.to_thread(lambda: list(registry.running(settings)))]
        assert listening == [watch.session.listener_config.nonce]  # nothing can be sent to the other one yet
        await retention_of(watch).trim()
        assert kept(settings) == 3
        assert len(list((settings.state_dir / "watch").glob("*.json"))) == 1
        await starting.shut_down()
        with closing(SqliteStore.open(settings.store, world=settings.world)) as store:
            assert registry.keepers(store, other_than=watch.session.listener_config.nonce) == []


async def test_the_most_days_of_those_that_share_a_store_count(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    fill(settings, calls=range(3), age=timedelta(days=8))
    fill(settings, calls=range(5, 7), age=timedelta(days=31))
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=30)):
        week = WatchOptions("127.0.0.1", 0, keep_days=7)
        async with running_watch(settings, week, api=ApiWithServerTime()) as watch:
            await until(lambda: kept(settings) < 5)
            await retention_of(watch).trim()
            assert kept(settings) == 3
    assert kept(settings) == 3


@pytest.mark.parametrize(("said", "days"), [("", 30), ("7", 7), ("0", 0), ("x", 30), ("-1", 30), ("9" * 5000, 99999)])
def test_the_record_of_an_older_version_keeps_the_usual_days(said: str, days: int) -> None:
    record = WatchRecord("", "", ACCOUNT, "https://api.twilio.com", 7, "n1", "0.1.0", keep_days=said)
    assert record.days_kept == days


async def test_ended_families_leave_the_board_after_a_while() -> None:
    class Locked(InTime):
        def delete_older_than(self, moment: datetime, *, limit: int = STEP) -> int:
            raise StoreError(f"locked when {limit} calls before {moment.year} were to go")

    board = Board()
    for call, age, status in ((1, 61, "completed"), (2, 59, "completed"), (3, 61, "in-progress")):
        fields = form(call, status).items()
        board.apply(CallEvent.from_form(fields, received_at=ago(minutes=age), world="w", verified=True))
    reported: list[str] = []

    def once(text: str) -> None:
        reported.append(text)
        raise KeyError(text)  # leave the endless loop

    retention = Retention(
        cast(SqliteStore, Locked()),
        board,
        days=30,
        since=timedelta(minutes=1),
        trouble=once,
        clock=Clock(wall=ago),
        twilio_time=ago,
    )
    with pytest.raises(KeyError):
        await retention.run()
    assert len(reported) == 1
    assert reported[0].startswith("can't delete what is older than 30 days: locked")
    assert sorted(leg.call_sid[-1] for family in board.snapshot().families for leg in family.legs) == ["2", "3"]


@pytest.mark.parametrize("step", [timedelta(hours=2), timedelta(hours=-2)], ids=str)
async def test_a_clock_that_is_set_takes_no_family_off_the_board(step: timedelta) -> None:
    ahead = timedelta()
    board = Board()
    board.apply(event(1, "completed", at=0))
    clock = clock_of(lambda: moment(60) + ahead, elapsed=lambda: moment(60))
    ahead = step

    class Store(InTime):
        def delete_older_than(self, moment: datetime, *, limit: int = STEP) -> int:
            raise AssertionError((moment, limit))

    def leave(text: str) -> None:
        raise KeyError(text)

    retention = Retention(
        cast(SqliteStore, Store()),
        board,
        days=30,
        since=timedelta(),
        trouble=leave,
        clock=clock,
        twilio_time=lambda: moment(60),
    )
    with pytest.raises(KeyError):
        await retention.run()
    assert len(board.snapshot().families) == 1


@pytest.mark.parametrize("days", [0, 30])
@pytest.mark.parametrize("step", [timedelta(days=400), -timedelta(hours=2)], ids=str)
async def test_a_clock_that_is_set_makes_nothing_old(tmp_path: Path, step: timedelta, days: int) -> None:
    settings = settings_in(tmp_path)
    elapsed, ahead = moment(0), timedelta()
    clock = clock_of(lambda: elapsed + ahead, elapsed=lambda: elapsed)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    retention = Retention(
        store, Board(), days=days, since=timedelta(hours=1), trouble=print, clock=clock, twilio_time=lambda: elapsed
    )
    for call in (1, 2):
        elapsed += timedelta(minutes=5)
        fields = form(call, "completed").items()
        store.append(CallEvent.from_form(fields, received_at=clock.wall(), world=settings.world, verified=True))
        ahead = step
    await retention.trim()
    store.close()
    assert kept(settings) == 2


@pytest.mark.parametrize("reported", [None, 0, 60, 400 * 86400])
async def test_a_clock_that_was_ahead_when_the_watch_started_makes_nothing_old(
    tmp_path: Path, reported: float | None
) -> None:
    settings = settings_in(tmp_path)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    for call, day in ((1, 0), (2, 20), (3, 400)):  # the last was received by the clock that is ahead
        fields = form(call, "completed").items()
        at = moment(day * 86400)
        store.append(CallEvent.from_form(fields, received_at=at, world=settings.world, verified=True))
    ahead = clock_of(lambda: moment(400 * 86400))
    retention = Retention(
        store,
        Board(),
        days=30,
        since=timedelta(hours=1),
        trouble=print,
        clock=ahead,
        twilio_time=lambda: None if reported is None else moment(reported),
    )
    await retention.trim()
    store.close()
    assert kept(settings) == (1 if reported == 400 * 86400 else 3)


@pytest.mark.parametrize("is_polled", [True, False])
async def test_a_watch_with_a_clock_far_ahead_keeps_what_is_not_old_by_twilios_time(
    tmp_path: Path, is_polled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.retention.SOON", 0.01)
    settings, reported = settings_in(tmp_path), asyncio.Event()

    class Old(Retention):
        async def trim(self) -> None:
            await super().trim()
            if self._oldest_kept() is not None:
                reported.set()

    monkeypatch.setattr("callctl.watch.session.Retention", Old)
    fill(settings, calls=range(1), age=timedelta(days=31))
    fill(settings, calls=range(1, 3), age=timedelta(days=5))
    ahead = Clock(wall=lambda: datetime.now(UTC) + timedelta(days=400))
    async with running_watch(
        settings, WatchOptions("127.0.0.1", 0), clock=ahead, api=ApiWithServerTime() if is_polled else None
    ) as watch:
        if not is_polled:
            await watch.view.until(lambda view: view.began is not None)
            await post(watch, form(9, "ringing", Timestamp=format_datetime(ago())))
        async with asyncio.timeout(LIMIT):
            await reported.wait()
    assert kept(settings) == (2 if is_polled else 3)


async def test_a_watch_trims_again_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.retention.INTERVAL", 0.01)
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0, keep_days=7), api=ApiWithServerTime()):
        reader = SqliteStore.open_readonly(settings.store, world=settings.world)
        for calls in (range(3), range(10, 13)):
            fill(settings, calls=calls, age=timedelta(days=8))
            await until(lambda: list(reader.replay(since=None)) == [])
        reader.close()


async def test_time_goes_on_for_board_and_store_and_trouble_that_comes_again_is_reported_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("callctl.watch.retention.INTERVAL", 0.0)
    monkeypatch.setattr("callctl.watch.retention.PAUSE", 0.0)
    limits: list[datetime] = []

    class LockedAtTimes(InTime):
        def delete_older_than(self, moment: datetime, *, limit: int = STEP) -> int:
            limits.append(moment)
            if len(limits) in (1, 2, 4):
                raise StoreError(f"locked when {limit} calls were to go")
            return 0

    board = Board()
    for call, received in ((1, 0), (2, 3600)):
        board.apply(event(call, "completed", received=received))
    reported: list[str] = []
    clock = clock_of(lambda: moment(3600) + timedelta(minutes=min(len(limits), 5)))
    retention = Retention(
        cast(SqliteStore, LockedAtTimes()),
        board,
        days=30,
        since=timedelta(),
        trouble=reported.append,
        clock=clock,
        twilio_time=clock.wall,
    )
    running = asyncio.create_task(retention.run())
    await until(lambda: len(limits) > 4)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert limits[:5] == [moment(3600) - timedelta(days=30) + timedelta(minutes=minutes) for minutes in range(5)]
    assert len(reported) == 2
    assert [family.sid for family in board.snapshot().families] == [sid(2)]


async def test_whatever_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.retention.INTERVAL", 0.01)
    tries: list[datetime] = []
    said: list[str] = []

    class Odd(InTime):
        def delete_older_than(self, moment: datetime, *, limit: int = STEP) -> int:  # noqa: ARG002 - the store's own
            tries.append(moment)
            raise OverflowError("date value out of range")

    retention = Retention(
        cast(SqliteStore, Odd()),
        Board(),
        days=30,
        since=timedelta(hours=1),
        trouble=said.append,
        clock=Clock(wall=ago),
        twilio_time=ago,
    )
    running = asyncio.create_task(retention.run())
    await until(lambda: len(tries) > 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert said == ["can't delete what is older than 30 days: OverflowError: date value out of range"]


async def test_between_two_steps_callbacks_are_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    fill(settings, calls=range(STEP + 1), age=timedelta(days=31))
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    done: list[str] = []

    class RecordingStore(InTime):
        def delete_older_than(self, moment: datetime, *, limit: int = STEP) -> int:
            done.append("step")
            return store.delete_older_than(moment, limit=limit)

    async def sleep(seconds: float) -> None:
        done.append("pause" if seconds == PAUSE else f"another one of {seconds} s")

    monkeypatch.setattr("callctl.watch.retention.asyncio.sleep", sleep)
    clock = Clock(wall=lambda: datetime.now(UTC))
    await Retention(
        cast(SqliteStore, RecordingStore()),
        Board(),
        days=30,
        since=timedelta(),
        trouble=print,
        clock=clock,
        twilio_time=clock.wall,
    ).trim()
    store.close()
    assert done == ["pause", "step", "pause", "step", "pause"]


async def test_it_goes_on_at_once_when_the_machine_wakes(suspension: Suspension) -> None:
    looks: list[datetime] = []

    class Store(InTime):
        def delete_older_than(self, moment: datetime, *, limit: int = STEP) -> int:
            looks.append(moment)
            return min(limit, 0)

    clock = Clock(wall=lambda: datetime.now(UTC))
    retention = Retention(
        cast(SqliteStore, Store()),
        Board(),
        days=30,
        since=timedelta(),
        trouble=print,
        clock=clock,
        twilio_time=clock.wall,
    )
    running = asyncio.create_task(retention.run())
    await until(lambda: len(looks) == 1)
    await suspension.of(INTERVAL, done=lambda: len(looks) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(looks) == 2


class Turned:
    """A clock that is set by hand, and the time that Twilio reports."""

    def __init__(self, wall: float) -> None:
        self.wall, self.twilio = wall, 0.0

    def retention(self, store: SqliteStore, *, days: int = 30) -> Retention:
        return Retention(
            store,
            Board(),
            days=days,
            since=timedelta(hours=1),
            trouble=print,
            clock=clock_of(lambda: moment(self.wall)),
            twilio_time=lambda: moment(self.twilio),
        )


DAY = 86400.0
YEARS = 3 * 365 * DAY
ABSURD = "Tue, 31 Dec 2999 23:59:59 +0000"


async def post(watch: RunningWatch, fields: dict[str, str]) -> None:
    url = watch.ready.callback_url
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=fields, headers=sign(url, fields)) as answer,
    ):
        assert answer.status == 204


async def test_what_came_while_the_clock_was_far_behind_is_kept_once_it_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, trimmed = settings_in(tmp_path), asyncio.Event()

    class Noted(Retention):
        async def trim(self) -> None:
            await super().trim()
            if self._oldest_kept() is not None:
                trimmed.set()

    behind = Clock(wall=lambda: datetime.now(UTC) - timedelta(days=483))
    async with running_watch(settings, WatchOptions("127.0.0.1", 0), clock=behind) as watch:
        for call in range(3):
            await post(watch, form(call, "completed", Timestamp=format_datetime(ago(minutes=5))))
    monkeypatch.setattr("callctl.watch.session.Retention", Noted)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0), api=ApiWithServerTime()) as watch:
        async with asyncio.timeout(LIMIT):
            await trimmed.wait()
        assert watch.view.began is not None
        assert len(watch.view.began.families) == 3  # they are of the last hour
    assert kept(settings) == 3


async def test_what_rules_did_while_the_clock_was_behind_is_kept_with_the_call(tmp_path: Path) -> None:
    settings, clock = settings_in(tmp_path), Turned(YEARS)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    store.append(event(1, "in-progress", at=YEARS, received=0))
    for call in (1, 2):
        store.claim(OpenClaim("after-dial", sid(call), sid(call), "redirect"), now=moment(0), until=moment(60))
        store.record_actions([ActionEvent(moment(0), sid(call), "redirect", (), "done")])
        store.remember_placed(sid(call), at=moment(0))
    clock.twilio = YEARS
    await clock.retention(store).trim()
    assert store.claim_keys() == {("after-dial", sid(1))}
    assert [len(store.actions(sid(call))) for call in (1, 2)] == [1, 0]
    assert store.was_placed(sid(1))
    store.close()


@pytest.mark.parametrize("verified", [True, False])
async def test_an_absurd_timestamp_keeps_no_event_forever(tmp_path: Path, verified: bool) -> None:
    settings, clock = settings_in(tmp_path), Turned(0)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    retention = clock.retention(store)
    for call in range(STEP + 1):
        store.append(event_of(form(call, "completed", Timestamp=ABSURD), received=0, verified=verified))
    await retention.trim()
    assert len(list(store.replay(since=None))) == STEP + 1
    assert len(list(store.replay(since=moment(1)))) == 0
    clock.wall = clock.twilio = 31 * DAY
    await retention.trim()
    with store._writing.transaction() as connection:
        store._writer.restore(connection)  # as after a repair of its files: what is deleted stays so
    assert list(store.replay(since=None)) == []
    store.close()


async def test_a_clock_that_was_ahead_keeps_no_event_for_so_much_longer(tmp_path: Path) -> None:
    settings, clock = settings_in(tmp_path), Turned(0)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    store.append(event(1, "completed", at=0, received=YEARS))
    await clock.retention(store).trim()
    clock.wall = clock.twilio = 31 * DAY
    await clock.retention(store).trim()
    assert list(store.replay(since=None)) == []
    store.close()


async def test_a_clock_that_is_behind_makes_no_event_older_than_it_is(tmp_path: Path) -> None:
    settings, clock = settings_in(tmp_path), Turned(0)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    store.append(event(1, "completed", at=YEARS, received=0))
    clock.twilio = YEARS
    await clock.retention(store).trim()
    clock.wall = clock.twilio = YEARS + 29 * DAY
    await clock.retention(store).trim()
    assert len(list(store.replay(since=None))) == 1
    clock.wall = clock.twilio = YEARS + 31 * DAY
    await clock.retention(store).trim()
    assert list(store.replay(since=None)) == []
    store.close()


@pytest.mark.parametrize("behind", [timedelta(days=20), timedelta(days=20_000)], ids=str)
async def test_a_clock_that_was_behind_until_it_was_set_keeps_nothing_for_longer(
    tmp_path: Path, behind: timedelta
) -> None:
    elapsed, twilio = moment(YEARS), moment(YEARS)
    clock = clock_of(lambda: elapsed - behind, elapsed=lambda: elapsed)
    store, board = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD), Board()
    retention = Retention(
        store,
        board,
        days=1,
        since=timedelta(hours=1),
        trouble=print,
        clock=clock,
        twilio_time=lambda: twilio,
    )
    for call, age in ((1, 5 * DAY), (2, 0)):
        store.append(event(call, "completed", at=YEARS - age))
        board.apply(event(call, "completed", at=YEARS - age))

    async def trimmed() -> tuple[list[str], list[str]]:
        await retention._trim_both()
        calls = {event.call_sid for event in store.replay(since=None)}
        return sorted(calls), sorted(family.sid for family in board.snapshot().families)

    assert await trimmed() == ([sid(1), sid(2)], [sid(1), sid(2)])
    behind = timedelta()  # it is set
    assert await trimmed() == ([sid(2)], [sid(2)])
    elapsed = moment(YEARS + 3 * DAY)  # without a word of Twilio's
    assert await trimmed() == ([sid(2)], [sid(2)])
    twilio = elapsed
    assert await trimmed() == ([], [])
    store.close()


@pytest.mark.parametrize("timestamp", [ABSURD, format_datetime(moment(YEARS))])
async def test_no_days_keep_nothing_whatever_its_time(tmp_path: Path, timestamp: str) -> None:
    settings, clock = settings_in(tmp_path), Turned(0)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    store.append(event_of(form(1, "completed", Timestamp=timestamp), received=0))
    store.claim(OpenClaim("after-dial", sid(1), sid(1), "redirect"), now=moment(0), until=moment(60))
    clock.retention(store, days=0).end()
    assert list(store.replay(since=None)) == []
    assert store.claim_keys() == set()
    store.close()
