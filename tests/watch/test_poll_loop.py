"""When REST is compared with the board: on start, and at once after a gap in the callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from calls_api import UnexpectedRequest
from events import START, clock_of, form
from legs import board_of, callback
from listeners import post
from watches import LIMIT, running_watch, settings_in, until

from callctl.calls.action import ActionEvent
from callctl.calls.board import Snapshot
from callctl.calls.call import Call
from callctl.calls.event import CALLBACK, CallEvent
from callctl.calls.filter import CallFilter
from callctl.errors import NetworkError, StoreError
from callctl.store.opening import open_store
from callctl.watch.options import WatchOptions
from callctl.watch.poll import Poller, PollLoop

SID, OTHER, PARENT = "CA" + "0" * 32, "CA" + "1" * 32, "CA" + "2" * 32


class Rest(UnexpectedRequest):
    """Lists one live call, and counts the requests."""

    def __init__(self) -> None:
        self.requests = 0
        self.is_down = False
        self.fault: Exception | None = None  # raised after the call was listed
        self.is_answered = False  # after it was listed as ringing
        self.others: list[Call] = []  # in progress
        self.meanwhile: Callable[[], None] = lambda: None

    def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:
        assert (page_size, limit) == (1000, None)
        if query.statuses == ("queued",):  # the first of the three statuses that are listed in turn
            self.requests += 1
            if self.is_down:
                raise NetworkError("the API can't be reached")
            self.meanwhile()
        elif query.statuses == ("ringing",):
            yield Call(SID, "ringing")
        elif self.fault is not None:
            raise self.fault
        elif self.is_answered:
            yield Call(SID, "in-progress")
        else:
            yield from self.others


class Polling:
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
        self.loop = loop = PollLoop(
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
            await self.until(lambda: self.rest.requests == 1 and (not is_news or bool(self.kept or self.said)))
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():  # noqa: ASYNC110 # no event is set by the thread
                await asyncio.sleep(0.005)

    async def ticks(self) -> None:
        """Let it look a few times whether there was a gap."""
        for _ in range(20):
            await asyncio.sleep(0.005)


@pytest.fixture
def polling(monkeypatch: pytest.MonkeyPatch) -> Polling:
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 3600.0)
    monkeypatch.setattr("callctl.watch.poll.TICK", 0.01)
    monkeypatch.setattr("callctl.watch.poll.GRACE", 0.002)
    return Polling()


async def test_what_rest_knows_is_handed_on_at_the_start(polling: Polling) -> None:
    async with polling.running():
        assert [event.kind for event in polling.kept] == ["polled"]
        await polling.ticks()
        assert polling.rest.requests == 1


async def test_of_a_call_that_is_answered_while_the_lists_are_read_that_is_handed_on(polling: Polling) -> None:
    polling.rest.is_answered = True
    async with polling.running():
        assert [event.status for event in polling.kept] == ["in-progress"]


async def test_a_child_that_rest_lists_before_its_parent_is_handed_on_after_it(polling: Polling) -> None:
    """Rules may look in between, and would end it alone."""
    polling.rest.others = [Call(OTHER, "in-progress", parent_call_sid=PARENT), Call(PARENT, "in-progress")]
    async with polling.running():
        await polling.until(lambda: len(polling.kept) == 3)
        assert [event.call_sid for event in polling.kept] == [SID, PARENT, OTHER]


async def test_a_machine_that_slept_asks_at_once(polling: Polling) -> None:
    async with polling.running():
        polling.now += timedelta(hours=1)
        await polling.until(lambda: polling.rest.requests == 2)
        await polling.ticks()
        assert polling.rest.requests == 2


async def test_callbacks_that_waited_meanwhile_are_taken_in_before_rest_has_its_word(
    polling: Polling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine slept, or the process was stopped; then there is much to be read from sockets."""
    gone_on, grace = asyncio.Event(), 0.0037
    monkeypatch.setattr("callctl.watch.poll.GRACE", grace)
    sleep = asyncio.sleep

    async def noting(seconds: float) -> None:
        if seconds == grace:
            gone_on.set()
            polling.snapshot = board_of([callback(SID, "ringing", second=0, sequence=0)]).snapshot()
        await sleep(0.001)

    async with polling.running():
        kept = len(polling.kept)
        monkeypatch.setattr("callctl.watch.poll.asyncio.sleep", noting)
        polling.now += timedelta(hours=1)
        await polling.until(lambda: polling.rest.requests == 2)
        await polling.ticks()
        assert gone_on.is_set()
        assert len(polling.kept) == kept


@pytest.mark.parametrize("ahead", [timedelta(hours=1), -timedelta(hours=1)], ids=str)
async def test_a_clock_that_is_set_is_no_gap_and_hides_none(polling: Polling, ahead: timedelta) -> None:
    async with polling.running():
        polling.ahead = ahead
        await polling.ticks()
        assert polling.rest.requests == 1
        polling.now += timedelta(hours=1)
        polling.ahead -= timedelta(hours=1)
        await polling.until(lambda: polling.rest.requests == 2)


async def test_a_way_in_that_is_open_again_asks_at_once(polling: Polling) -> None:
    async with polling.running():
        polling.unreachable = "the tunnel has ended"
        await polling.ticks()
        assert polling.rest.requests == 1
        polling.unreachable = None
        await polling.until(lambda: polling.rest.requests == 2)


async def test_an_api_that_is_down_is_reported_once(polling: Polling) -> None:
    polling.rest.is_down = True
    async with polling.running():
        polling.now += timedelta(hours=1)
        await polling.until(lambda: polling.rest.requests == 2)
        await polling.ticks()
        polling.rest.is_down = False
        polling.now += timedelta(hours=1)
        await polling.until(lambda: len(polling.kept) == 1)
        await polling.until(lambda: len(polling.said) == 2)
        assert polling.said == ["can't compare with REST: the API can't be reached", "REST is compared again"]


@pytest.mark.parametrize("where", ["on the board", "on its way to the board"])
async def test_what_a_callback_reported_while_rest_was_asked_is_no_news(polling: Polling, where: str) -> None:
    def callback_arrives() -> None:
        if where == "on the board":
            polling.snapshot = board_of([callback(SID, "ringing", second=0, sequence=0)]).snapshot()
        else:
            polling.pending.add(SID)

    polling.rest.meanwhile = callback_arrives
    async with polling.running(is_news=False):

        def has_second_request() -> bool:  # by then, the result of the first one has been dealt with
            polling.now += timedelta(hours=1)
            return polling.rest.requests > 1

        await polling.until(has_second_request)
        assert polling.kept == []


async def test_what_a_callback_may_still_report_is_asked_again_soon(
    polling: Polling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.SOON", 0.01)
    polling.now = START + timedelta(seconds=4)
    gone = "CA" + "1" * 32
    polling.snapshot = board_of([callback(gone, "ringing", second=0, sequence=0)]).snapshot()
    async with polling.running():
        await polling.until(lambda: polling.rest.requests >= 3)


def outliving(*more: CallEvent) -> Snapshot:
    """Return a board with a leg that rings, as REST lists it, and whose parent has ended; and with more events."""
    rings = callback(SID, "ringing", second=0, sequence=0, parent=OTHER)
    return board_of([rings, callback(OTHER, "completed", second=9, sequence=1), *more]).snapshot()


async def test_a_leg_that_outlives_its_parent_is_asked_for_soon_and_once(
    polling: Polling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.SOON", 0.01)
    async with polling.running():
        await polling.ticks()
        assert polling.rest.requests == 1
        polling.snapshot = outliving()
        await polling.until(lambda: polling.rest.requests == 2)
        await polling.ticks()
        assert polling.rest.requests == 2  # it goes on: it may have been redirected out of the Dial


async def test_a_leg_that_somebody_has_ended_is_asked_for_soon_and_once(
    polling: Polling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.SOON", 0.01)
    polling.snapshot = board_of([callback(SID, "ringing", second=0, sequence=0)]).snapshot()
    async with polling.running(is_news=False):
        await polling.ticks()
        assert polling.rest.requests == 1
        polling.loop.expect_end(SID)
        await polling.until(lambda: polling.rest.requests == 2)
        await polling.ticks()
        assert polling.rest.requests == 2
        polling.loop.expect_end(OTHER)  # not on the board, or no longer
        await polling.ticks()
        assert polling.rest.requests == 2


async def test_a_leg_whose_end_a_callback_reports_after_that_of_its_parent_is_not_asked_for(
    polling: Polling, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with polling.running():
        polling.snapshot = outliving()
        await polling.ticks()
        polling.snapshot = outliving(callback(SID, "canceled", second=9, sequence=1, parent=OTHER))
        monkeypatch.setattr("callctl.watch.poll.SOON", 0.0)
        await polling.ticks()
        assert polling.rest.requests == 1


@pytest.mark.parametrize("fault", [OverflowError("date value out of range"), NetworkError("odd")])
async def test_an_odd_answer_ends_neither_the_polling_nor_what_came_before_it(
    fault: Exception, polling: Polling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 0.01)
    polling.rest.fault = fault
    async with polling.running():
        await polling.until(lambda: polling.rest.requests > 2)
    assert [event.call_sid for event in polling.kept][:1] == [SID]
    (said,) = polling.said
    assert said.startswith("can't compare with REST: ")
    assert str(fault) in said


@pytest.mark.parametrize("fault", [StoreError("the disk is full"), OverflowError("too large")])
async def test_what_can_not_be_kept_is_handed_on_again(
    fault: Exception, polling: Polling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 0.01)
    polling.full = fault
    async with polling.running():
        await polling.until(lambda: polling.rest.requests > 2)
        polling.full = None
        await polling.until(lambda: bool(polling.kept))
        await polling.until(lambda: len(polling.said) == 2)
    said, end = polling.said
    assert str(fault) in said
    assert (end, getattr(end, "cause", None), getattr(end, "is_over", None)) == ("REST is compared again", "api", True)


async def test_of_two_watches_that_share_a_store_both_show_a_call_that_rest_alone_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 0.01)
    settings, options = settings_in(tmp_path), WatchOptions("127.0.0.1", 0)

    class Listing(Rest):
        is_there = False

        def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:
            assert (page_size, limit) == (1000, None)
            return iter([Call(SID, "ringing")] if self.is_there and query.statuses == ("ringing",) else [])

    first, second = Listing(), Listing()
    async with (
        running_watch(settings, options, api=first) as one,
        running_watch(settings, options, api=second) as other,
    ):
        for rest, running in ((first, one), (second, other)):
            rest.is_there = True
            await running.view.until(lambda view: [event.call_sid for event in view.events] == [SID])


async def test_of_a_call_whose_callbacks_another_listener_takes_in_these_are_shown_and_nothing_is_stored_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.INTERVAL", 0.01)
    settings, options, rest = settings_in(tmp_path), WatchOptions("127.0.0.1", 0), Rest()
    rest.is_down = True
    async with running_watch(settings, options) as listener, running_watch(settings, options, api=rest) as polling:
        assert (await post(listener.ready.callback_url, form(SID, "ringing")))[0] == 204
        rest.is_down = False
        await polling.view.until(lambda view: [event.kind for event in view.events] == [CALLBACK])
        asked = rest.requests
        await until(lambda: rest.requests > asked + 3)
        assert [event.kind for event in polling.view.events] == [CALLBACK]
        with closing(open_store(settings)) as store:
            assert [event.kind for event in store.family(SID)] == [CALLBACK]


async def test_a_watch_asks_soon_for_a_leg_that_a_command_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.poll.TICK", 0.01)
    monkeypatch.setattr("callctl.watch.poll.SOON", 0.01)
    settings, rest = settings_in(tmp_path), Rest()
    async with running_watch(settings, WatchOptions("127.0.0.1", 0), api=rest) as running:
        await running.view.until(lambda view: [event.call_sid for event in view.events] == [SID])
        before = rest.requests
        with closing(open_store(settings)) as command:
            command.record_actions([ActionEvent(datetime.now(UTC), SID, "redirect", (), "redirected")])
        await running.view.until(lambda view: view.notes == ["redirected"])
        assert rest.requests == before
        with closing(open_store(settings)) as command:
            command.record_actions([ActionEvent(datetime.now(UTC), SID, "hangup", (), "ended")])
        await until(lambda: rest.requests > before)
