"""When REST is compared with the board: on start, and at once after a silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from calls_api import UnexpectedRequest
from legs import board_of, callback
from telling import START, clock_of
from watches import LIMIT, running_watch, settings_in

from callctl.api.requests import CallQuery
from callctl.calls.board import Snapshot
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.errors import NetworkError, StoreError
from callctl.watch.plan import Plan
from callctl.watch.poll import Poller, PollLoop

SID = "CA" + "0" * 32


class Rest(UnexpectedRequest):
    """Lists one live call, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_down = False
        self.fault: Exception | None = None  # raised after the call was listed
        self.meanwhile: Callable[[], None] = lambda: None

    def list(self, query: CallQuery, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:
        assert (page_size, limit) == (1000, None)
        if query.status == "queued":  # of the three that are asked for in turn
            self.asked += 1
            if self.is_down:
                raise NetworkError("the API can't be reached")
            self.meanwhile()
        elif query.status == "ringing":
            yield Call(SID, "ringing")
        elif self.fault is not None:
            raise self.fault


class Silence:
    """What a poll loop is given, and what it reported."""

    def __init__(self) -> None:
        self.rest = Rest()
        self.unreachable: str | None = None
        self.now, self.ahead = START, timedelta()
        self.kept: list[CallEvent] = []
        self.snapshot = Snapshot()
        self.pending: set[str] = set()
        self.said: list[str] = []
        self.full: Exception | None = None  # why nothing can be kept

    async def keep(self, event: CallEvent) -> None:
        if self.full is not None:
            raise self.full
        self.kept.append(event)

    @asynccontextmanager
    async def running(self, *, is_news: bool = True) -> AsyncIterator[None]:
        clock = clock_of(lambda: self.now + self.ahead, elapsed=lambda: self.now)

        poller = Poller(self.rest, world="w", clock=clock)
        loop = PollLoop(
            poller,
            unreachable=lambda: self.unreachable,
            snapshot=lambda: self.snapshot,
            is_pending=self.pending.__contains__,
            store=self.keep,
            trouble=self.said.append,
            clock=clock,
        )
        running = asyncio.create_task(loop.run())
        try:
            await self.until(lambda: self.rest.asked == 1 and (not is_news or bool(self.kept or self.said)))
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():  # noqa: ASYNC110 # nothing tells when: a thread is asked
                await asyncio.sleep(0.005)

    async def ticks(self) -> None:
        """Let it look a few times whether there was a silence."""
        for _ in range(20):
            await asyncio.sleep(0.005)


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Silence:
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 3600.0)
    monkeypatch.setattr("callctl.watch.poll.TICK", 0.01)
    monkeypatch.setattr("callctl.watch.poll.GRACE", 0.002)
    return Silence()


async def test_what_rest_knows_is_handed_on_at_the_start(silence: Silence) -> None:
    async with silence.running():
        assert [event.kind for event in silence.kept] == ["polled"]
        await silence.ticks()
        assert silence.rest.asked == 1


async def test_a_machine_that_slept_asks_at_once(silence: Silence) -> None:
    async with silence.running():
        silence.now += timedelta(hours=1)
        await silence.until(lambda: silence.rest.asked == 2)
        await silence.ticks()
        assert silence.rest.asked == 2


async def test_callbacks_that_waited_meanwhile_are_taken_in_before_rest_has_its_word(
    silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine slept, or the process was stopped; then there is much to be read from sockets."""
    gone_on, grace = asyncio.Event(), 0.0037
    monkeypatch.setattr("callctl.watch.poll.GRACE", grace)
    sleep = asyncio.sleep

    async def noting(seconds: float) -> None:
        if seconds == grace:
            gone_on.set()
            silence.snapshot = board_of([callback(SID, "ringing", second=0, sequence=0)]).snapshot()
        await sleep(0.001)

    async with silence.running():
        kept = len(silence.kept)
        monkeypatch.setattr("callctl.watch.poll.asyncio.sleep", noting)
        silence.now += timedelta(hours=1)
        await silence.until(lambda: silence.rest.asked == 2)
        await silence.ticks()
        assert gone_on.is_set()
        assert len(silence.kept) == kept


@pytest.mark.parametrize("ahead", [timedelta(hours=1), -timedelta(hours=1)], ids=str)
async def test_a_clock_that_is_set_is_no_silence_and_hides_none(silence: Silence, ahead: timedelta) -> None:
    async with silence.running():
        silence.ahead = ahead
        await silence.ticks()
        assert silence.rest.asked == 1
        silence.now += timedelta(hours=1)
        silence.ahead -= timedelta(hours=1)
        await silence.until(lambda: silence.rest.asked == 2)


async def test_a_way_in_that_is_open_again_asks_at_once(silence: Silence) -> None:
    async with silence.running():
        silence.unreachable = "the tunnel has ended"
        await silence.ticks()
        assert silence.rest.asked == 1
        silence.unreachable = None
        await silence.until(lambda: silence.rest.asked == 2)


async def test_an_api_that_is_down_is_told_of_once(silence: Silence) -> None:
    silence.rest.is_down = True
    async with silence.running():
        silence.now += timedelta(hours=1)
        await silence.until(lambda: silence.rest.asked == 2)
        await silence.ticks()
        silence.rest.is_down = False
        silence.now += timedelta(hours=1)
        await silence.until(lambda: len(silence.kept) == 1)
        await silence.until(lambda: len(silence.said) == 2)
        assert silence.said == ["can't compare with REST: the API can't be reached", "REST is compared again"]


@pytest.mark.parametrize("where", ["on the board", "on its way to the board"])
async def test_what_a_callback_told_while_rest_was_asked_is_no_news(silence: Silence, where: str) -> None:
    def heard() -> None:
        if where == "on the board":
            silence.snapshot = board_of([callback(SID, "ringing", second=0, sequence=0)]).snapshot()
        else:
            silence.pending.add(SID)

    silence.rest.meanwhile = heard
    async with silence.running(is_news=False):

        def is_asked_again() -> bool:  # by then, what the first look found has been dealt with
            silence.now += timedelta(hours=1)
            return silence.rest.asked > 1

        await silence.until(is_asked_again)
        assert silence.kept == []


async def test_what_a_callback_may_still_tell_is_asked_again_soon(
    silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.SOON", 0.01)
    silence.now = START + timedelta(seconds=4)
    gone = "CA" + "1" * 32
    silence.snapshot = board_of([callback(gone, "ringing", second=0, sequence=0)]).snapshot()
    async with silence.running():
        await silence.until(lambda: silence.rest.asked >= 3)


@pytest.mark.parametrize("fault", [OverflowError("date value out of range"), NetworkError("odd")])
async def test_an_odd_answer_ends_neither_the_polling_nor_what_came_before_it(
    fault: Exception, silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 0.01)
    silence.rest.fault = fault
    async with silence.running():
        await silence.until(lambda: silence.rest.asked > 2)
    assert [event.call_sid for event in silence.kept][:1] == [SID]
    (said,) = silence.said
    assert said.startswith("can't compare with REST: ")
    assert str(fault) in said


@pytest.mark.parametrize("fault", [StoreError("the disk is full"), OverflowError("too large")])
async def test_what_can_not_be_kept_is_handed_on_again(
    fault: Exception, silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 0.01)
    silence.full = fault
    async with silence.running():
        await silence.until(lambda: silence.rest.asked > 2)
        silence.full = None
        await silence.until(lambda: bool(silence.kept))
        await silence.until(lambda: len(silence.said) == 2)
    said, end = silence.said
    assert str(fault) in said
    assert (end, getattr(end, "cause", None), getattr(end, "is_over", None)) == ("REST is compared again", "api", True)


async def test_of_two_watches_that_share_a_store_both_show_a_call_that_rest_alone_tells_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 0.01)
    settings, plan = settings_in(tmp_path), Plan("127.0.0.1", 0)

    class Listing(Rest):
        is_there = False

        def list(self, query: CallQuery, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:
            assert (page_size, limit) == (1000, None)
            return iter([Call(SID, "ringing")] if self.is_there and query.status == "ringing" else [])

    first, second = Listing(), Listing()
    async with running_watch(settings, plan, api=first) as one, running_watch(settings, plan, api=second) as other:
        for rest, running in ((first, one), (second, other)):
            rest.is_there = True
            await running.view.until(lambda view: [event.call_sid for event in view.events] == [SID])
