"""What happens between two frames, however much comes and whatever goes wrong: what is new is drawn, and no more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from events import START, moment
from legs import callback
from thread_limit import ThreadLimit
from watches import LIMIT, RecordingView, until

from callctl.calls.action import ActionEvent
from callctl.calls.board import Board, Change, Snapshot
from callctl.calls.event import CallEvent
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import StoreAwayError
from callctl.views.view import WatchState
from callctl.watch.board_feed import AT_ONCE, BoardFeed

SID = "CA" + "0" * 32
HEADER = WatchState(title="watch", listening="x", callback_url="", api_url=None)


class EventStormView(RecordingView):
    """A view that gets one more call whenever other tasks run, and never comes to an end."""

    def __init__(self, feed: list[BoardFeed]) -> None:
        super().__init__()
        self._feed, self._calls = feed, 0

    def event(self, event: CallEvent, change: Change | None) -> None:
        super().event(event, change)
        self.blow()

    def blow(self) -> None:
        self._calls += 1
        self._feed[0].event(callback(f"CA{self._calls:032}", "ringing", second=1, sequence=0))


async def test_a_storm_is_drawn_while_it_lasts() -> None:
    feeds: list[BoardFeed] = []
    feeds.append(BoardFeed(header=lambda: HEADER))
    view = EventStormView(feeds)
    for _ in range(2 * AT_ONCE):
        view.blow()
    running = asyncio.create_task(feeds[0].run(view))
    async with asyncio.timeout(LIMIT):
        await view.until(lambda seen: seen.snapshot is not None and seen.snapshot.live >= 2 * AT_ONCE)
        feeds[0].stop()
        await running
    assert view.snapshot is not None
    assert view.snapshot.live < len(view.events) + 2 * AT_ONCE


class FailingBoard(Board):
    """A board that can't take in the events of one call."""

    def apply(self, event: CallEvent) -> Change | None:
        if event.call_sid == "CA" + "1" * 32:
            raise ZeroDivisionError("1/0")
        return super().apply(event)


async def test_an_event_that_the_board_cannot_take_hides_no_other() -> None:
    feed, view = BoardFeed(header=lambda: HEADER), RecordingView()
    feed.board = FailingBoard()
    for number in (1, 2):
        feed.event(callback("CA" + str(number) * 32, "ringing", second=1, sequence=0))
    running = asyncio.create_task(feed.run(view))
    async with asyncio.timeout(LIMIT):
        await view.until(lambda seen: seen.snapshot is not None and seen.snapshot.live == 1 and bool(seen.troubles))
        feed.stop()
        await running
    assert view.troubles == [f"can't put an event of CA{'1' * 32} on the board: ZeroDivisionError: 1/0"]


class FailingRules:
    """Rules that fail with each look."""

    in_words = "1 rule"
    is_stopped = False

    def restore(self, change: Change) -> None:
        raise AssertionError(change)

    def start(self, _snapshot: Snapshot, /) -> None:
        self.looks = 0
        self.fails = True

    def update(self, _changes: Sequence[Change], _snapshot: Snapshot, /) -> None:
        self.looks += 1
        if self.fails:
            raise ZeroDivisionError("1/0")

    def take_reports(self) -> list[ActionEvent | Trouble]:
        return []


async def test_rules_that_fail_are_reported_once_and_the_watching_goes_on() -> None:
    rules: Any = FailingRules()
    feed, view = BoardFeed(header=lambda: HEADER, rules=rules), RecordingView()
    running = asyncio.create_task(feed.run(view))
    async with asyncio.timeout(LIMIT):
        await view.until(lambda seen: seen.snapshot is not None)
        for number in range(3):
            feed.event(callback(f"CA{number:032}", "ringing", second=1, sequence=0))
            await view.until(lambda seen: seen.snapshot is not None and seen.snapshot.live > number)  # noqa: B023
        feed.stop()
        await running
    assert rules.looks >= 3
    assert view.troubles == ["the rules could not look at what came: ZeroDivisionError: 1/0"]


async def test_rules_that_fail_again_after_they_worked_are_reported_again() -> None:
    rules: Any = FailingRules()
    feed, view = BoardFeed(header=lambda: HEADER, rules=rules), RecordingView()
    running = asyncio.create_task(feed.run(view))
    async with asyncio.timeout(LIMIT):
        await view.until(lambda seen: seen.snapshot is not None)
        for number, fails in enumerate((True, False, True)):
            rules.fails, before = fails, rules.looks
            feed.event(callback(f"CA{number:032}", "ringing", second=1, sequence=0))
            await until(lambda: rules.looks > before)  # noqa: B023
        await view.until(lambda seen: len(seen.troubles) == 2)
        feed.stop()
        await running


class FrameCountingView(RecordingView):
    """A view that counts its frames."""

    frames = 0

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        self.frames += 1
        super().refresh(snapshot, header)


async def test_frames_are_drawn_by_the_clock_only_while_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a leg that lives, or the time since the last callback, nothing is drawn unless something is new."""
    monkeypatch.setattr("callctl.watch.board_feed.SHORTEST_FRAME", 0.005)
    monkeypatch.setattr("callctl.watch.board_feed.COUNTING_FRAME", 0.01)
    pictures = {
        "live": (BoardFeed(header=lambda: HEADER), FrameCountingView()),
        "since": (BoardFeed(header=lambda: replace(HEADER, last_callback_at=START)), FrameCountingView()),
        "finished": (BoardFeed(header=lambda: HEADER), FrameCountingView()),
    }
    pictures["live"][0].event(callback(SID, "ringing", second=1, sequence=0))
    pictures["finished"][0].event(callback(SID, "busy", second=1, sequence=0))
    running = [asyncio.create_task(feed.run(view)) for feed, view in pictures.values()]
    async with asyncio.timeout(LIMIT):
        finished = pictures["finished"][1]
        await finished.until(lambda seen: seen.snapshot is not None and seen.snapshot.ended == 1)
        before = {name: view.frames for name, (_, view) in pictures.items()}
        for name in ("live", "since"):
            more = before[name] + 8
            await pictures[name][1].until(lambda seen: isinstance(seen, FrameCountingView) and seen.frames >= more)  # noqa: B023
        assert finished.frames == before["finished"]
        for feed, _ in pictures.values():
            feed.stop()
        await asyncio.gather(*running)


async def test_one_absurd_timestamp_is_not_the_time_that_twilio_reports_from_then_on() -> None:
    feed, view = BoardFeed(header=lambda: HEADER), RecordingView()
    normal = callback("CA" + "2" * 32, "ringing", second=1, sequence=0)
    for event in (
        replace(normal, key="1", timestamp=START.replace(year=2999)),
        normal,
        replace(normal, key="2", timestamp=None),
    ):
        feed.event(event)
    running = asyncio.create_task(feed.run(view))
    async with asyncio.timeout(LIMIT):
        await view.until(lambda seen: len(seen.events) == 3)
        feed.stop()
        await running
    assert feed.last_timestamp == normal.timestamp


def event_of_call(number: int) -> CallEvent:
    return callback(f"CA{number:032}", "ringing", second=1, sequence=0)


class AwayAtFirst:
    """A shared store that is away in the middle of the first time that it is read."""

    is_shared, unreadable, unreadable_actions = True, 0, 0

    def __init__(self, events: Sequence[CallEvent]) -> None:
        self._events, self.times = events, 0

    def replay(self, **_: object) -> Iterator[CallEvent]:
        self.times += 1
        for number, one in enumerate(self._events):
            if self.times == 1 and number == 1:
                raise StoreAwayError("the event store is away")
            yield one

    def last_event_id(self) -> int:
        return len(self._events)

    def last_action_id(self) -> int:
        return 0

    def actions_after(self, _last: int) -> list[object]:
        return []


async def test_a_shared_store_that_is_away_while_it_is_read_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.board_feed.COUNTING_FRAME", 0.0)
    events = [event_of_call(number) for number in range(3)]
    store: Any = AwayAtFirst(events)
    feed = BoardFeed(header=lambda: HEADER)
    feed.load(store, since=moment(0))
    running = asyncio.ensure_future(feed.run(RecordingView()))
    await feed.is_loaded.wait()
    assert store.times == 2
    assert set(feed.board.snapshot().legs) == {one.call_sid for one in events}
    feed.stop()
    await running


async def test_a_shared_store_that_does_not_answer_keeps_nobody_from_leaving() -> None:
    asked, answers = threading.Event(), threading.Event()

    class Silent(AwayAtFirst):
        def actions_after(self, _last: int) -> list[object]:
            asked.set()
            answers.wait(LIMIT)
            return []

    store: Any = Silent([])
    feed, view = BoardFeed(header=lambda: HEADER), RecordingView()
    feed.load(store, since=moment(0))
    running = asyncio.ensure_future(feed.run(view))
    async with asyncio.timeout(LIMIT):
        await asyncio.to_thread(asked.wait)
        feed.stop()
        await running
        assert not answers.is_set()
    answers.set()


class SeeingRules(FailingRules):
    """Rules that remember the legs of which they were told."""

    def start(self, _snapshot: Snapshot, /) -> None:
        self.looks, self.seen = 0, list[str]()

    def update(self, changes: Sequence[Change], _snapshot: Snapshot, /) -> None:
        self.looks += 1
        self.seen += [change.after.call_sid for change in changes]


async def test_that_a_shared_store_is_away_is_said_while_the_rules_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.board_feed.COUNTING_FRAME", 0.01)
    view = RecordingView()

    class WaitingRules(SeeingRules):
        def start(self, snapshot: Snapshot, /) -> None:
            if not view.troubles:
                raise StoreAwayError("the event store is away")
            super().start(snapshot)

    store: Any = AwayAtFirst([])
    rules: Any = WaitingRules()
    feed = BoardFeed(header=lambda: HEADER, rules=rules)
    feed.load(store, since=moment(0))
    feed.trouble(Trouble("the event store is away", Cause.STORE))
    running = asyncio.ensure_future(feed.run(view))
    async with asyncio.timeout(LIMIT):
        await feed.is_loaded.wait()
    feed.stop()
    await running
    assert view.troubles == ["the event store is away"]


async def test_rules_that_find_no_thread_to_ask_a_shared_store_look_later_at_what_came_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store: Any = AwayAtFirst([])
    rules: Any = SeeingRules()
    feed, view, limit = BoardFeed(header=lambda: HEADER, rules=rules), RecordingView(), ThreadLimit(monkeypatch, left=0)
    feed.load(store, since=moment(0))
    running = asyncio.ensure_future(feed.run(view))
    limit.left = 1000
    await feed.is_loaded.wait()
    limit.left = 0
    for number in range(3):
        feed.event(event_of_call(number))
        await view.until(lambda seen: len(seen.events) == number + 1)  # noqa: B023
    limit.left = 1000
    await until(lambda: bool(rules.seen))
    feed.stop()
    await running
    assert rules.seen == [event_of_call(number).call_sid for number in range(3)]


class ThreadNotingBoard(Board):
    """A board that notes in which threads it is looked at: it is for one."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def snapshot(self) -> Snapshot:
        self.threads.add(threading.get_ident())
        return super().snapshot()


async def test_the_board_is_looked_at_in_one_thread_alone_where_rules_ask_a_shared_store_in_another() -> None:
    store: Any = AwayAtFirst([])
    rules: Any = SeeingRules()
    feed, view, board = BoardFeed(header=lambda: HEADER, rules=rules), RecordingView(), ThreadNotingBoard()
    feed.board = board
    feed.load(store, since=moment(0))
    running = asyncio.ensure_future(feed.run(view))
    async with asyncio.timeout(LIMIT):
        await feed.is_loaded.wait()
        feed.event(event_of_call(1))
        await until(lambda: bool(rules.seen))
        feed.stop()
        await running
    assert board.threads == {threading.get_ident()}
