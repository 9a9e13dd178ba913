"""A view in a thread of its own: its callers wait for nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import pytest
from legs import callback
from watches import LIMIT

from callctl.calls.action import ActionEvent
from callctl.calls.board import Board, Change, Snapshot
from callctl.calls.event import CallEvent
from callctl.cli.io.streams import ReaderGoneError
from callctl.views.threaded_view import ThreadedView
from callctl.views.view import WatchState

HEADER = WatchState(title="watch", listening="x", callback_url="", api_url=None)
EMPTY = Board().snapshot()


class BlockedView:
    """A view on a terminal that is blocked until ``free`` is set."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.free = threading.Event()
        self.failure: Exception | None = None

    def begin(self, _snapshot: Snapshot) -> None:
        self._write("begun")

    def event(self, event: CallEvent, _change: Change | None) -> None:
        self._write(event.call_sid)

    def action(self, action: ActionEvent) -> None:
        self._write(action.call_sid)

    def note(self, text: str) -> None:
        self._write(text)

    def trouble(self, text: str) -> None:
        self._write(text)

    def refresh(self, _snapshot: Snapshot, header: WatchState) -> None:
        self._write(header.title)

    def is_stale(self) -> bool:
        return False

    def close(self) -> None:
        self.messages.append("closed")

    def _write(self, text: str) -> None:
        assert self.free.wait(LIMIT)
        if self.failure is not None:
            raise self.failure
        self.messages.append(text)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_frame_comes_after_all_that_came_before_it() -> None:
    free = BlockedView()
    free.free.set()
    view, sid = ThreadedView(free), "CA" + "1" * 32

    def show_more() -> None:  # just when the messages have been passed on
        view.event(callback(sid, "ringing", second=1, sequence=0), None)
        view.refresh(EMPTY, WatchState(title="next", listening="x", callback_url="", api_url=None))

    view.refresh(EMPTY, HEADER)
    until(lambda: HEADER.title in free.messages)
    view.call_soon(show_more)
    until(lambda: "next" in free.messages)
    view.close()
    assert free.messages == [HEADER.title, sid, "next", "closed"]


def test_nothing_waits_for_a_blocked_terminal_and_then_it_shows_all_news_and_the_newest_frame() -> None:
    blocked = BlockedView()
    view = ThreadedView(blocked)
    view.refresh(EMPTY, HEADER)
    sids = [f"CA{number:032}" for number in range(50)]
    for sid in sids:
        view.event(callback(sid, "ringing", second=1, sequence=0), None)
        view.refresh(EMPTY, WatchState(title=sid, listening="x", callback_url="", api_url=None))
    view.note("last")
    blocked.free.set()
    view.close()
    assert [messages for messages in blocked.messages if messages in sids][:50] == sids
    assert blocked.messages[-3:] == ["last", sids[-1], "closed"] or blocked.messages[-2:] == ["last", "closed"]
    assert len(blocked.messages) <= len(sids) + 5


def test_what_waits_too_long_is_left_out_and_that_is_reported() -> None:
    blocked = BlockedView()
    view = ThreadedView(blocked, most_waiting=10)
    view.note("stuck")
    view.refresh(EMPTY, HEADER)
    until(lambda: not view._messages)
    for number in range(25):
        view.note(str(number))
    blocked.free.set()
    view.close()
    assert [text for text in blocked.messages if text.isdecimal()] == [str(number) for number in range(15, 25)]
    assert any(text.startswith("15 lines were left out") for text in blocked.messages)


def test_what_fails_there_is_raised_here() -> None:
    blocked = BlockedView()
    blocked.failure = ReaderGoneError()
    blocked.free.set()
    view = ThreadedView(blocked)
    view.note("unread")
    view.refresh(EMPTY, HEADER)
    with pytest.raises(ReaderGoneError):
        until(lambda: view.is_stale())
    view.close()


def test_what_fails_at_the_very_end_is_raised_too() -> None:
    blocked = BlockedView()
    blocked.failure = ReaderGoneError()
    view = ThreadedView(blocked)
    view.note("unread")
    view.refresh(EMPTY, HEADER)
    blocked.free.set()
    with pytest.raises(ReaderGoneError):
        view.close()
    assert blocked.messages == ["closed"]


def test_while_it_draws_other_threads_wait_for_less_than_usual() -> None:
    usual, while_drawing = sys.getswitchinterval(), list[float]()

    class Drawing(BlockedView):
        def refresh(self, _snapshot: Snapshot, _header: WatchState) -> None:
            while_drawing.append(sys.getswitchinterval())

    view = ThreadedView(Drawing())
    view.refresh(EMPTY, HEADER)
    view.close()
    assert while_drawing
    assert max(while_drawing) < usual
    assert sys.getswitchinterval() == usual
