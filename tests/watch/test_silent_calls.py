"""A session and calls whose callbacks do not come."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from unittest.mock import AsyncMock

import pytest
import requests
from calls_api import UnexpectedRequest
from events import clock_of, moment
from watches import LIMIT, RunningWatch, running_watch, settings_in, until
from web_site import free_port

from callctl.api.client import ApiClient
from callctl.api.requests import PlaceRequest
from callctl.api.resources import Notification
from callctl.calls.board import Snapshot
from callctl.calls.call import Call
from callctl.calls.filter import CallFilter
from callctl.calls.watch_trouble import Trouble
from callctl.errors import NetworkError, NoThreadError
from callctl.operations.missing_callbacks import comparable_url
from callctl.settings import Settings
from callctl.simulator import Faults, Simulator
from callctl.store.sqlite.store import SqliteStore
from callctl.watch.options import WatchOptions
from callctl.watch.silent_calls import SilentCalls

NEVER = "+12025550103"
EVENTS = ("initiated", "ringing", "answered", "completed")
PLAN = WatchOptions("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice silent calls after a second, and list calls often."""
    monkeypatch.setattr("callctl.operations.missing_callbacks.AFTER", timedelta(seconds=1))
    monkeypatch.setattr("callctl.watch.silent_calls.INTERVAL", 0.1)
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 0.3)


@pytest.fixture
def losing() -> Iterator[Simulator]:
    """Return a simulator that loses every callback."""
    with Simulator(port=0, faults=Faults(drop=1.0)) as simulator:
        yield simulator


class SilentCallSetup:
    """A simulator, and settings and an API client for it."""

    def __init__(self, simulator: Simulator, folder: Path) -> None:
        self.simulator = simulator
        self.settings: Settings = settings_in(folder, api_url=simulator.url)
        self.settings = self._with_token(simulator.auth_token)
        self.client = ApiClient(self.settings, sleep=time.sleep, random=random.random)

    def _with_token(self, token: str) -> Settings:
        return replace(self.settings, auth_token=token)

    async def place(self, callback: str, *, is_remembered: bool = True, events: tuple[str, ...] = EVENTS) -> str:
        request = PlaceRequest(
            to=NEVER,
            from_="+15005550006",
            twiml="<Response/>",
            status_callback=callback,
            status_callback_events=events,
        )
        sid = (await asyncio.to_thread(self.client.place, request)).sid
        if is_remembered:
            store = SqliteStore.open_for_watch(self.settings.store, world=self.settings.world)
            store.remember_placed(sid, at=datetime.now(UTC), callback=comparable_url(callback), events=events)
            store.close()
        return sid

    async def place_badly(self, callback: str) -> str:
        """Place a call as much code does: with the events in one value."""
        url = f"{self.simulator.url}/2010-04-01/Accounts/{self.simulator.account_sid}/Calls.json"
        form = {"To": NEVER, "From": "+15005550006", "Twiml": "<Response/>", "StatusCallback": callback}
        form["StatusCallbackEvent"] = "initiated ringing"
        auth = (self.simulator.account_sid, self.simulator.auth_token)
        reply = await asyncio.to_thread(requests.post, url, data=form, auth=auth, timeout=120)
        return str(reply.json()["sid"])

    @property
    def notification_requests(self) -> int:
        return sum("Notifications" in one.path for one in self.simulator.requests)

    def fetches(self, sid: str) -> int:
        return sum(one.method == "GET" and one.path.endswith(f"/Calls/{sid}.json") for one in self.simulator.requests)

    def has_requested_notifications(self, sid: str) -> bool:
        return any(f"/{sid}/Notifications" in one.path for one in self.simulator.requests)


class FailingApi(UnexpectedRequest):
    """A REST API that answers only the second request about a call."""

    def __init__(self, calls: ApiClient) -> None:
        self._calls = calls
        self.failed: set[str] = set()

    def _fail_once(self, what: str) -> None:
        if what not in self.failed:
            self.failed.add(what)
            raise NetworkError("the API can't be reached")

    def fetch(self, sid: str) -> Call:
        self._fail_once("fetch")
        return self._calls.fetch(sid)

    def notifications(self, sid: str) -> list[Notification]:
        self._fail_once("notifications")
        return self._calls.notifications(sid)


class UnlistedCallsApi(UnexpectedRequest):
    """Calls that no list shows."""

    def __init__(self, calls: ApiClient) -> None:
        self._calls = calls

    def fetch(self, sid: str) -> Call:
        return self._calls.fetch(sid)

    def notifications(self, sid: str) -> list[Notification]:
        return self._calls.notifications(sid)

    def list(self, _query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:  # noqa: ARG002
        return iter(())


@pytest.fixture
def setup(losing: Simulator, tmp_path: Path) -> SilentCallSetup:
    return SilentCallSetup(losing, tmp_path)


async def noted(running: RunningWatch, sid: str) -> str:
    return await running.view.until_noted(f"{sid}: no status callback")


async def test_a_silent_call_is_asked_about_once_and_reported(setup: SilentCallSetup) -> None:
    async with running_watch(setup.settings, PLAN, api=setup.client) as running:
        sid = await setup.place(running.ready.callback_url + "#rc=3")
        line = await noted(running, sid)
        assert line.startswith(f"{sid}: no status callback in 1 s: Twilio has noted nothing; ")
        other = await setup.place(running.ready.callback_url)
        assert await noted(running, other) == f"{other}: no status callback either"
        assert setup.notification_requests == 2
        assert [note for note in running.view.notes if sid in note] == [line]


async def test_a_silent_call_that_is_over_before_rest_is_compared_is_shown(
    setup: SilentCallSetup,
) -> None:
    async with running_watch(setup.settings, PLAN, api=UnlistedCallsApi(setup.client)) as running:
        sid = await setup.place(running.ready.callback_url)
        await asyncio.to_thread(setup.client.cancel, sid)
        await noted(running, sid)
        await running.view.until(lambda view: bool(view.events))
        assert [(event.call_sid, event.kind, event.status) for event in running.view.events] == [
            (sid, "polled", "canceled")
        ]
        assert setup.fetches(sid) == 1


async def test_an_api_that_fails_once_is_asked_again(setup: SilentCallSetup) -> None:
    calls = FailingApi(setup.client)
    async with running_watch(setup.settings, PLAN, api=calls) as running:
        sid = await setup.place(running.ready.callback_url)
        await noted(running, sid)
        assert calls.failed == {"fetch", "notifications"}


async def test_an_odd_answer_about_one_call_keeps_no_other_from_being_asked_about(setup: SilentCallSetup) -> None:
    class Odd(FailingApi):
        def _fail_once(self, what: str) -> None:
            if what == "notifications" and what not in self.failed:
                self.failed.add(what)
                raise OverflowError("date value out of range")

    async with running_watch(setup.settings, PLAN, api=Odd(setup.client)) as running:
        first = await setup.place(running.ready.callback_url)
        line = await running.view.until_noted(f"{first}: can't find out")
        assert line.endswith("why no status callback comes: OverflowError: date value out of range")
        await noted(running, await setup.place(running.ready.callback_url))


async def test_a_call_that_found_no_thread_is_asked_about_once_there_is_one(
    setup: SilentCallSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    class Crowded(UnlistedCallsApi):
        def notifications(self, sid: str) -> list[Notification]:
            nonlocal tries
            tries += 1
            if tries <= 5:
                raise NoThreadError
            return super().notifications(sid)

    monkeypatch.setattr("callctl.watch.silent_calls.MOST_CHECKS", 3)
    async with running_watch(setup.settings, PLAN, api=Crowded(setup.client)) as running:
        await noted(running, await setup.place(running.ready.callback_url))
    assert tries > 5


async def test_what_twilio_noted_of_a_tunnel_that_is_down(simulator: Simulator, tmp_path: Path) -> None:
    setup = SilentCallSetup(simulator, tmp_path)
    gone = WatchOptions("127.0.0.1", 0, public_url="http://127.0.0.1:9/status")
    async with running_watch(setup.settings, gone, api=setup.client) as running:
        sid = await setup.place("http://127.0.0.1:9/status")
        line = await noted(running, sid)
    assert "Twilio could not deliver to http://127.0.0.1:9/status: " in line
    assert "(11200, https://www.twilio.com/docs/errors/11200); see that the tunnel runs" in line


async def test_where_twilio_noted_nothing_the_self_test_is_named(setup: SilentCallSetup) -> None:
    gone = WatchOptions("127.0.0.1", 0, public_url="http://127.0.0.1:9/status")
    async with running_watch(setup.settings, gone, api=setup.client) as running:
        await running.view.until(lambda view: view.header is not None and view.header.unreachable is not None)
        sid = await setup.place("http://127.0.0.1:9/status")
        line = await noted(running, sid)
    assert "callbacks can't arrive: can't connect: Connection refused; Twilio has noted nothing yet" in line


async def test_events_in_one_value_in_somebodys_code(setup: SilentCallSetup) -> None:
    async with running_watch(setup.settings, PLAN, api=setup.client) as running:
        sid = await setup.place_badly(running.ready.callback_url)
        line = await noted(running, sid)
    assert isinstance(line, Trouble)
    assert (line.cause, line.call_sid, line.url) == ("no-callback", sid, running.ready.callback_url)
    assert "its StatusCallbackEvent was not understood" in line
    assert "(21626, https://www.twilio.com/docs/errors/21626); send StatusCallbackEvent once for each event" in line


async def test_other_calls_are_none_of_our_business(setup: SilentCallSetup) -> None:
    async with running_watch(setup.settings, PLAN, api=setup.client) as running:
        elsewhere = await setup.place("http://127.0.0.1:9/other", is_remembered=False)
        at_the_end = await setup.place(running.ready.callback_url, events=("completed",))
        unreported = await setup.place(running.ready.callback_url)
        await noted(running, unreported)
        await until(lambda: setup.has_requested_notifications(elsewhere))
        assert not any(sid in note for note in running.view.notes for sid in (elsewhere, at_the_end))
        assert not setup.has_requested_notifications(at_the_end)


async def test_a_call_that_reported_something_is_not_asked_about(simulator: Simulator, tmp_path: Path) -> None:
    setup = SilentCallSetup(simulator, tmp_path)
    async with running_watch(setup.settings, PLAN, api=setup.client) as running:
        reported = await setup.place(running.ready.callback_url)
        unreported = await setup.place_badly(running.ready.callback_url)
        await noted(running, unreported)
        assert not any(reported in note for note in running.view.notes)
        assert not setup.has_requested_notifications(reported)


async def test_calls_from_before_the_watch_are_left_alone(setup: SilentCallSetup) -> None:
    setup.settings.store.parent.mkdir(parents=True)
    port = free_port()
    before = await setup.place(f"http://127.0.0.1:{port}/status")
    async with running_watch(setup.settings, WatchOptions("127.0.0.1", port), api=setup.client) as running:
        unreported = await setup.place(running.ready.callback_url)
        await noted(running, unreported)
        assert not any(before in note for note in running.view.notes)


@pytest.mark.parametrize(
    "part", ["watch.silent_calls.comparable_url", "watch.reachability.selftest", "support.clock.Clock.new_steps"]
)
async def test_a_fault_of_callctls_own_ends_no_part_of_a_watch(
    setup: SilentCallSetup, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr("callctl.watch.session.RESTART_AFTER", 0.01)
    faults = iter([ZeroDivisionError("once")])
    own = resolve_name(f"callctl.{part}")

    def odd(*args: Any, **more: Any) -> Any:
        for fault in faults:
            raise fault
        resumed.set()
        return own(*args, **more)

    resumed = asyncio.Event()
    monkeypatch.setattr(f"callctl.{part}", odd)
    async with running_watch(setup.settings, PLAN, api=setup.client) as running:
        assert "is begun anew: ZeroDivisionError: once" in await running.view.until_noted("is begun anew")
        async with asyncio.timeout(LIMIT):
            await resumed.wait()


@pytest.mark.parametrize("wrong", [timedelta(seconds=-60), timedelta(0), timedelta(seconds=600)], ids=str)
async def test_a_call_that_another_machine_placed_counts_from_when_it_was_first_seen(
    setup: SilentCallSetup, wrong: timedelta
) -> None:
    """Its clock may be wrong. What it placed before is left alone all the same."""
    seconds = 1000.0
    clock = clock_of(lambda: moment(seconds))
    callback_url = "http://127.0.0.1:9/status"
    with closing(SqliteStore.open_for_watch(setup.settings.store, world="w")) as store:

        async def place() -> str:
            unreported = await setup.place(callback_url, is_remembered=False)
            store.remember_placed(unreported, at=clock.wall() + wrong, callback=callback_url, events=EVENTS)
            return unreported

        before = await place()
        seconds += 1.0
        silent_calls = SilentCalls(
            store,
            setup.client,
            callback_url=lambda: callback_url,
            unreachable=lambda: None,
            snapshot=Snapshot,
            store=AsyncMock(),
            world="w",
            trouble=print,
            clock=clock,
        )
        await silent_calls.check()
        seconds += 1.0
        sid = await place()
        await silent_calls.check()
        assert setup.fetches(sid) == 0
        seconds += 1.0
        await silent_calls.check()
        assert setup.fetches(sid) == 1
        seconds += 3600.0
        await silent_calls.check()
        assert setup.fetches(before) == 0


@pytest.mark.parametrize("is_placed_after", [False, True])
@pytest.mark.parametrize("step", [timedelta(hours=2), timedelta(hours=-2)], ids=str)
async def test_a_clock_that_is_set_makes_no_call_silent_and_hides_none(
    setup: SilentCallSetup, step: timedelta, is_placed_after: bool
) -> None:
    seconds, ahead = 0.0, timedelta()
    clock = clock_of(lambda: moment(seconds) + ahead, elapsed=lambda: moment(seconds))
    callback_url = "http://127.0.0.1:9/status"
    with closing(SqliteStore.open_for_watch(setup.settings.store, world="w")) as store:
        silent_calls = SilentCalls(
            store,
            setup.client,
            callback_url=lambda: callback_url,
            unreachable=lambda: None,
            snapshot=Snapshot,
            store=AsyncMock(),
            world="w",
            trouble=print,
            clock=clock,
        )
        unreported = await setup.place(callback_url, is_remembered=False)
        ahead = step if is_placed_after else timedelta()
        store.remember_placed(unreported, at=clock.wall(), callback=callback_url, events=EVENTS)
        requests_before = len(setup.simulator.requests)
        ahead = step
        await silent_calls.check()
        assert len(setup.simulator.requests) == requests_before
        seconds = 2.0
        await silent_calls.check()
        assert len(setup.simulator.requests) == requests_before + 1
