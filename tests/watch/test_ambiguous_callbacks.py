"""Callbacks that can be read in more than one way: no events, but what REST knows of their calls is shown."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from calls_api import UnexpectedRequest
from events import START, WORLD, clock_of, form, sid
from listeners import sign
from watches import running_watch, settings_in, until
from yarl import URL

from callctl.api.client import ApiClient
from callctl.api.requests import PlaceRequest
from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.errors import NetworkError, NotFoundError
from callctl.simulator import Faults, Simulator
from callctl.watch.ambiguous_callbacks import TRIES, AmbiguousCallbacks
from callctl.watch.options import WatchOptions

VICTIM = sid(9)
NAME = f"CallSid{VICTIM}CallStatuscompletedZ"


class KnowsSome(UnexpectedRequest):
    """A REST API that knows these calls, once it was asked so often."""

    def __init__(self, *sids: str, failures: Sequence[Exception] = ()) -> None:
        self.sids, self.failures, self.asked = sids, list(failures), 0

    def fetch(self, sid: str) -> Call:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        if sid not in self.sids:
            raise NotFoundError("not found", status=404)
        return Call(sid, "in-progress", date_created=START)


@asynccontextmanager
async def looking_up(api: KnowsSome, board: Board) -> AsyncIterator[tuple[AmbiguousCallbacks, list[CallEvent]]]:
    events: list[CallEvent] = []

    async def store(event: CallEvent) -> None:
        events.append(event)

    callbacks = AmbiguousCallbacks(
        api, snapshot=board.snapshot, store=store, world=WORLD, clock=clock_of(lambda: START)
    )
    task = asyncio.create_task(callbacks.run())
    try:
        yield callbacks, events
    finally:
        task.cancel()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.ambiguous_callbacks.PAUSE", 0.01)


@pytest.mark.parametrize(
    ("sids", "sender", "known", "shown"),
    [
        ([sid(1)], sid(1), [sid(1)], [(sid(1), True)]),
        ([VICTIM, sid(1)], None, [sid(1), VICTIM], [(VICTIM, False), (sid(1), False)]),  # either may have sent it
        ([VICTIM, sid(1)], None, [VICTIM], [(VICTIM, False)]),  # REST may not know yet which one did
        ([VICTIM], None, [VICTIM], [(VICTIM, False)]),  # the only SID, in the name of a conference
    ],
)
async def test_only_a_call_that_is_named_for_certain_sent_it(
    sids: list[str], sender: str | None, known: list[str], shown: list[tuple[str, bool]]
) -> None:
    async with looking_up(KnowsSome(*known), Board()) as (callbacks, events):
        callbacks.add(sids, sender=sender)
        await until(lambda: len(events) == len(shown))
    assert [(event.call_sid, event.shows_callback) for event in events] == shown
    assert [CallEvent.from_record(event.to_record()) for event in events] == events
    assert {(event.kind, event.status) for event in events} == {("polled", "in-progress")}


async def test_a_call_that_rest_does_not_know_yet_is_asked_about_again_beside_one_that_it_knows() -> None:
    api = KnowsSome(VICTIM, sid(1), failures=[NotFoundError("not found", status=404)])
    async with looking_up(api, Board()) as (callbacks, events):
        callbacks.add([sid(1), VICTIM], sender=sid(1))
        await until(lambda: len(events) == 2)
    assert [(event.call_sid, event.shows_callback) for event in events] == [(VICTIM, False), (sid(1), True)]
    assert api.asked == 3


@pytest.mark.parametrize("failure", [NotFoundError("not found", status=404), NetworkError("no route")])
async def test_rest_is_asked_again_where_it_is_behind_or_away_but_not_for_ever(failure: Exception) -> None:
    api = KnowsSome(sid(1), failures=[failure])
    async with looking_up(api, Board()) as (callbacks, events):
        callbacks.add([sid(1)], sender=sid(1))
        await until(lambda: len(events) == 1)
        callbacks.add([VICTIM], sender=None)
        await until(lambda: api.asked == 2 + TRIES)
        callbacks.add([sid(1)], sender=sid(1))
        await until(lambda: len(events) == 2)
    assert api.asked == 3 + TRIES


async def test_who_calls_himself_like_a_callback_is_shown_all_the_same(tmp_path: Path) -> None:
    with Simulator(port=0, faults=Faults(drop=1.0)) as simulator:
        settings = replace(settings_in(tmp_path, api_url=simulator.url), auth_token=simulator.auth_token)
        api = ApiClient(settings, sleep=time.sleep, random=random.random)
        async with running_watch(settings, WatchOptions("127.0.0.1", 0), api=api) as watch:
            request = PlaceRequest(to="+12025550103", from_="+15005550006", twiml="<Response/>")
            hidden = (await asyncio.to_thread(api.place, request)).sid
            url = f"{watch.ready.callback_url}?{urlencode(form(hidden, 'ringing', CallerName=NAME))}"
            async with (
                aiohttp.ClientSession() as http,
                http.get(URL(url, encoded=True), headers=sign(url, token=simulator.auth_token)) as reply,
            ):
                assert reply.status == 204
            await watch.view.until_noted("can be read in more than one way")
            await watch.view.until(
                lambda view: any(event.call_sid == hidden and event.shows_callback for event in view.events)
            )
