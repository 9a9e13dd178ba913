"""A session goes by its own clock, and says where that is wrong: other processes write to the same store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from calls_api import UnexpectedRequest
from events import form, sid
from listeners import sign
from watches import running_watch, settings_in, until

from callctl.calls.action import ActionEvent
from callctl.calls.board import Change, Snapshot
from callctl.calls.call import Call
from callctl.calls.event import MISSED, CallEvent
from callctl.calls.filter import CallFilter
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.settings import Settings
from callctl.store.opening import open_store
from callctl.support.clock import Clock
from callctl.support.threads import run_in_thread
from callctl.views.view import WatchState
from callctl.watch.options import WatchOptions

OPTIONS = WatchOptions("127.0.0.1", 0)
WRONG = [timedelta(hours=5), timedelta(hours=-3)]


class RecordingRules:
    """Rules that note what they are to look at."""

    in_words = "1 rule"
    is_stopped = False

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def restore(self, change: Change) -> None: ...

    def start(self, snapshot: Snapshot) -> None: ...

    def update(self, changes: Sequence[Change], snapshot: Snapshot) -> None:  # noqa: ARG002
        self.changes += changes

    def take_reports(self) -> list[ActionEvent | Trouble]:
        return []

    async def change_of(self, call: int) -> Change:
        """Return the last change of a call, once there is one."""
        await until(lambda: any(change.event.call_sid == sid(call) for change in self.changes))
        return [change for change in self.changes if change.event.call_sid == sid(call)][-1]


@pytest.fixture(params=["sqlite", "postgresql"])
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    settings = settings_in(tmp_path)
    if request.param == "postgresql":
        return replace(settings, store_url=request.getfixturevalue("shared_store"))
    return settings


def callback(call: int, *, received_at: datetime, settings: Settings, status: str = "ringing") -> CallEvent:
    fields = form(call, status).items()
    return CallEvent.from_form(fields, received_at=received_at, world=settings.world, verified=True)


async def post(url: str, fields: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as http, http.post(url, data=fields, headers=sign(url, fields)) as answer:
        assert answer.status == 204


async def test_rules_get_with_what_came_from_a_store_when_it_came_by_the_own_clock(kept: Settings) -> None:
    rules, clock = RecordingRules(), Clock(wall=lambda: datetime.now(UTC))
    async with running_watch(kept, OPTIONS, rules=rules, clock=clock) as watch:
        await watch.view.until(lambda view: view.began is not None)
        before = clock.now()
        await post(watch.ready.callback_url, form(1, "ringing"))
        change = await rules.change_of(1)
        if change.arrival is None:  # the one process that received it said so before it was read from the file
            assert kept.store_url is None
            return
        assert change.arrival.earliest is not None
        assert change.arrival.earliest <= clock.steady(change.event.received_at) <= change.arrival.latest
        assert before <= change.arrival.latest <= clock.now()


@pytest.mark.parametrize("wrong", WRONG, ids=str)
async def test_what_another_process_stored_came_between_two_looks(
    kept: Settings, wrong: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.session.MISSED_INTERVAL", 0.05)
    rules, clock = RecordingRules(), Clock(wall=lambda: datetime.now(UTC))
    with closing(open_store(kept)) as other:
        other.append(callback(1, received_at=datetime.now(UTC), settings=kept))
        async with running_watch(kept, OPTIONS, rules=rules, clock=clock) as watch:
            await watch.view.until(lambda view: view.began is not None)
            for call in (1, 2) if kept.store_url else (1,):
                at, before = datetime.now(UTC) + wrong, clock.now()
                event = callback(2, received_at=at, settings=kept)
                if call == 1:
                    ended = Call(sid(1), "no-answer")
                    event = CallEvent.from_call(ended, received_at=at, world=kept.world, kind=MISSED)
                await run_in_thread(lambda event=event: other.append(event))  # type: ignore[misc]
                stored = clock.now()
                change = await rules.change_of(call)
                assert change.arrival is not None and change.arrival.earliest is not None
                assert change.arrival.earliest <= stored
                assert before <= change.arrival.latest <= clock.now()


class Rest(UnexpectedRequest):
    """Lists one call that rings, once that is asked for, and says what the time is."""

    def __init__(self) -> None:
        self.lists_call = False
        self.time: datetime | None = None

    @property
    def server_time(self) -> datetime | None:
        return self.time

    def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:  # noqa: ARG002
        if self.lists_call and query.statuses == ("ringing",):
            yield Call(sid(1), "ringing", account_sid="", start_time=datetime.now(UTC))


async def test_of_what_another_listener_has_put_into_a_file_it_is_not_known_since_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is, where a poll of REST leads to it, before the file is read on."""

    async def read_later(*_: object) -> float:
        return 60

    monkeypatch.setattr("callctl.watch.session.Session._read_others", read_later)
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 0.01)
    settings, rules, rest = settings_in(tmp_path), RecordingRules(), Rest()
    clock = Clock(wall=lambda: datetime.now(UTC))
    with closing(open_store(settings)) as other:
        async with running_watch(settings, OPTIONS, rules=rules, clock=clock, api=rest) as watch:
            await watch.view.until(lambda view: view.began is not None)
            before = clock.now()
            other.append(callback(1, received_at=datetime.now(UTC), settings=settings))
            rest.lists_call = True
            change = await rules.change_of(1)
    assert change.arrival is not None
    assert change.arrival.earliest is None
    assert before <= change.arrival.latest <= clock.now()


async def test_that_the_clock_is_behind_is_reported_by_callbacks_and_once(kept: Settings) -> None:
    clock = Clock(wall=lambda: datetime.now(UTC) - timedelta(hours=3))
    async with running_watch(kept, OPTIONS, clock=clock) as watch:
        for call in range(1, 5):
            fired = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
            await post(watch.ready.callback_url, form(call, "ringing", Timestamp=fired))
        await watch.view.until(lambda view: len(view.events) == 4)
        (trouble,) = watch.view.troubles
        assert trouble.cause == Cause.CLOCK
        assert "behind the API's. The times of what is stored and shown here are wrong" in trouble


async def test_that_the_clock_is_behind_is_reported_by_a_reply_of_rest_that_agrees_with_a_callback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.session.CLOCK_INTERVAL", 0.01)
    rest, clock = Rest(), Clock(wall=lambda: datetime.now(UTC) - timedelta(hours=3))
    rest.time = datetime.now(UTC) - timedelta(minutes=10)  # of a reply before it ran
    async with running_watch(settings_in(tmp_path), OPTIONS, clock=clock, api=rest) as watch:
        fired = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
        await post(watch.ready.callback_url, form(1, "ringing", Timestamp=fired))
        await watch.view.until(lambda view: bool(view.events))
        await asyncio.sleep(0)
        assert watch.view.troubles == []
        rest.time = datetime.now(UTC)
        assert "behind the API's" in await watch.view.until_noted("this machine's clock")


@pytest.mark.parametrize("wrong", WRONG, ids=str)
async def test_the_header_has_how_far_the_clock_is_ahead_as_callbacks_and_replies_of_rest_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: timedelta
) -> None:
    monkeypatch.setattr("callctl.watch.session.CLOCK_INTERVAL", 0.01)

    def is_known(header: WatchState | None) -> bool:
        return header is not None and abs(header.clock_ahead - wrong) < timedelta(minutes=1)

    rest, clock = Rest(), Clock(wall=lambda: datetime.now(UTC) + wrong)
    rest.time = datetime.now(UTC) - timedelta(hours=30)  # of a reply before it ran
    async with running_watch(settings_in(tmp_path), OPTIONS, clock=clock, api=rest) as watch:
        await watch.view.until(lambda view: view.header is not None)
        assert watch.view.header is not None
        assert not watch.view.header.clock_ahead
        rest.time = datetime.now(UTC)
        await until(lambda: is_known(watch.session.header()))
    clock = Clock(wall=lambda: datetime.now(UTC) + wrong)
    async with running_watch(settings_in(tmp_path), OPTIONS, clock=clock) as watch:
        for call in (1, 2):
            fired = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
            await post(watch.ready.callback_url, form(call, "ringing", Timestamp=fired))
        await watch.view.until(lambda view: is_known(view.header))


async def test_how_far_the_clock_is_ahead_goes_by_callbacks_where_the_date_of_rest_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.session.CLOCK_INTERVAL", 0.01)
    rest = Rest()
    async with running_watch(settings_in(tmp_path), OPTIONS, api=rest) as watch:
        await watch.view.until(lambda view: view.header is not None)
        rest.time = datetime.now(UTC) + timedelta(minutes=10)  # by the clock of a proxy
        await until(lambda: abs(watch.session.header().clock_ahead + timedelta(minutes=10)) < timedelta(minutes=1))
        fired = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
        await post(watch.ready.callback_url, form(1, "ringing", Timestamp=fired))
        await until(lambda: not watch.session.header().clock_ahead)


async def test_a_callback_that_is_sent_once_more_shows_nothing_of_the_clock(kept: Settings) -> None:
    earlier = (datetime.now(UTC) - timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S +0000")
    for is_duplicate in (False, True):
        async with running_watch(kept, OPTIONS) as watch:
            await post(watch.ready.callback_url, form(1, "ringing", Timestamp=earlier))
            await until(lambda: watch.session.header().accepted + watch.session.header().duplicates == 1)
            assert bool(watch.session.header().duplicates) is is_duplicate
            await asyncio.sleep(0)
            assert bool(watch.session.header().clock_ahead) is not is_duplicate
