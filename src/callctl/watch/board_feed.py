"""What the view is told and when: news at once, but four frames a second at most, one a second while a clock counts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from operator import methodcaller
from typing import Protocol

from callctl.calls.action import DRY_RUN, ActionEvent
from callctl.calls.board import Board, Change, Snapshot
from callctl.calls.event import CallEvent
from callctl.calls.trouble import Cause, Trouble
from callctl.errors import StoreError, without_secrets
from callctl.support.threads import describe, run_in_thread
from callctl.views.view import View, WatchState

SHORTEST_FRAME = 0.25
COUNTING_FRAME = 1.0
# A frame stays for so many times what making it took in the loop: a board of many legs must not hold up callbacks. What
# draws it, in a thread of its own, does likewise (views/threaded.py).
STAYS = 20
AT_ONCE = 100  # events told to the board before others get their turn
_PAGE = 1000  # events read from the store at a time


class Memory(Protocol):
    """What is needed of the store. Everything raises StoreError."""

    unreadable: int  # how many events were left out
    unreadable_actions: int

    def replay(self, *, since: datetime | None, up_to: int | None = None) -> Iterator[CallEvent]:
        """Yield the events of what was touched since, but nothing that came after ``up_to``."""

    def last_event_id(self) -> int:
        """Return the id of the newest event."""

    def last_action_id(self) -> int:
        """Return the id of the newest action."""

    def actions_after(self, action_id: int) -> list[tuple[int, ActionEvent]]:
        """Return what was asked of calls after one action, with the ids."""


class Rules(Protocol):
    """What acts on what the board shows. Nothing here waits."""

    def restore(self, change: Change) -> None:
        """Take in one change that the store knew."""

    def start(self, snapshot: Snapshot) -> None:
        """Begin with the board as the store knew it."""

    def update(self, changes: Sequence[Change], snapshot: Snapshot) -> None:
        """Take in what changed, and begin what is to be done."""

    def take_reports(self) -> list[ActionEvent | Trouble]:
        """Return what the store does not tell: rehearsed actions, and why something could not be done."""

    @property
    def in_words(self) -> str:
        """How many rules are at work, and how."""

    @property
    def is_stopped(self) -> bool:
        """Whether they act no more."""


class Picture:
    """The board and what is to be told of it: events as they are put in, and what the store tells of actions."""

    def __init__(self, *, header: Callable[[], WatchState], rules: Rules | None = None) -> None:
        self.board = Board()
        self._header, self._rules = header, rules
        self._memory: Memory | None = None
        self._last_action = 0
        self._left_out = (0, 0)  # events and actions of the store, as far as that was told
        self._queue: deque[CallEvent] = deque()
        self._told: deque[Callable[[View], None]] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._drawn: WatchState | None = None
        self._rules_failed = self._actions_failed = False
        self._pause = SHORTEST_FRAME
        self._known: Iterator[CallEvent] = iter(())
        self.is_whole = asyncio.Event()
        self.recalled: int | None = 0  # events that were read so far; None once all were
        self._next_progress = 0.0
        self.newest_timestamp: datetime | None = None  # of all events that were put on the board

    def know(self, memory: Memory, *, since: datetime) -> int:
        """Have ``run`` begin with what the store knows by now; return the id of the last event of that.

        It is read in another thread, and what is new waits for that. What is asked of calls from now on is news.

        Raises:
            StoreError: The store can't be read.
        """
        self._memory, self._last_action, last = memory, memory.last_action_id(), memory.last_event_id()
        self._known = memory.replay(since=since, up_to=last)
        return last

    def read_actions_of(self, memory: Memory) -> None:
        """Tell from now on of what another store tells of actions.

        Raises:
            StoreError: The store can't be read.
        """
        self._memory, self._last_action, self._left_out = memory, memory.last_action_id(), (0, 0)

    def event(self, event: CallEvent) -> None:
        """Take an event for the board; it is told of with the next frame."""
        self._queue.append(event)
        self._wake.set()

    def is_pending(self, call_sid: str) -> bool:
        """Whether an event of a call waits to be put on the board."""
        return any(event.call_sid == call_sid for event in self._queue)

    def note(self, text: str) -> None:
        """Take a line that is no event."""
        self._told.append(methodcaller("note", without_secrets(text)))
        self._wake.set()

    def trouble(self, trouble: Trouble) -> None:
        """Take a line about something that went wrong, or about the end of that."""
        self._told.append(methodcaller("trouble", trouble))
        self._wake.set()

    def wake(self) -> None:
        """Have the next frame come soon."""
        self._wake.set()

    def stop(self) -> None:
        """Let ``run`` return; may be called more than once."""
        self._stopping = True
        self._wake.set()

    async def run(self, view: View) -> None:
        """Take in what was known, then show news as they come until ``stop`` is called. ``is_whole`` is set between.

        Raises:
            StoreError: The store can't be read.
        """
        self._next_progress = asyncio.get_running_loop().time() + SHORTEST_FRAME
        await self._recall(view)
        self._draw(view)
        while not self._stopping:
            await self._next_frame()
            await self._show_news(view)
        self._draw(view)

    def finish(self, view: View) -> None:
        """Tell the view what came after ``run`` had returned; rules look at that no more."""
        actions = self._asked()
        if not (actions or self._told or self._queue):
            return
        for action in actions:
            view.action(action)
        self._tell_view(view)
        while self._queue:
            event = self._queue.popleft()
            view.event(event, self._put_on_board(event))
        self._draw(view)

    async def _recall(self, view: View) -> None:
        """Put what was known on the board, some of it at a time."""
        count = 0
        while page := await self._page(view):
            for event in page:
                change = self._put_on_board(event)
                if change is not None and self._rules is not None:
                    self._rules.restore(change)
                count += 1
                if count % AT_ONCE == 0:
                    await asyncio.sleep(0)  # callbacks are answered meanwhile
            self.recalled = count
        if self._stopping:
            return
        self._tell_left_out()
        if self._rules is not None:
            self._rules.start(self.board.snapshot())
        self.recalled = None
        view.begin(self.board.snapshot())
        self.is_whole.set()

    def _tell_left_out(self) -> None:
        """Tell how much of what is in the store can't be read, when it has become more."""
        if self._memory is None:
            return
        now = self._memory.unreadable, self._memory.unreadable_actions
        for count, before, what in zip(now, self._left_out, ("events", "actions"), strict=True):
            if count > before:
                is_or_are = "is" if count == 1 else "are"
                self.trouble(
                    Trouble(f"{count} of the store's {what} can't be read and {is_or_are} left out", Cause.STORE)
                )
        self._left_out = now

    async def _page(self, view: View) -> list[CallEvent]:
        """Return what was known next, and draw now and then; nothing at the end, or if all is to stop."""
        reading = asyncio.ensure_future(run_in_thread(lambda: list(islice(self._known, _PAGE))))
        while not self._stopping:
            await asyncio.wait({reading}, timeout=SHORTEST_FRAME)
            if asyncio.get_running_loop().time() >= self._next_progress:
                self._tell_view(view)
                self._draw(view)
                self._next_progress = asyncio.get_running_loop().time() + SHORTEST_FRAME
            if reading.done():
                return reading.result()
        reading.cancel()
        return []

    async def _next_frame(self) -> None:
        """Return when something happened or a second went by, but not before the shortest frame is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COUNTING_FRAME - SHORTEST_FRAME):
                await self._wake.wait()
        if not self._stopping:
            self._wake.clear()
            await asyncio.sleep(self._pause)

    async def _show_news(self, view: View) -> None:
        """Tell the view what came, and have it draw if there is anything new to see."""
        actions = [*self._asked(), *self._rehearsed()]
        self._tell_left_out()
        news = bool(self._queue or self._told or actions)
        for action in actions:
            view.action(action)
        self._tell_view(view)
        changes: list[Change] = []
        for number in range(len(self._queue)):  # what comes meanwhile is for the next frame, so that this one is drawn
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)  # callbacks are answered meanwhile
            event = self._queue.popleft()
            change = self._put_on_board(event)
            view.event(event, change)
            if change is not None:
                changes.append(change)
        self._let_rules_look(changes)
        if news or self._is_aging() or self._header() != self._drawn or view.is_stale():
            self._draw(view)

    def _put_on_board(self, event: CallEvent) -> Change | None:
        at = event.timestamp
        if at is not None and (self.newest_timestamp is None or at > self.newest_timestamp):
            self.newest_timestamp = at
        try:
            return self.board.apply(event)
        except Exception as error:  # what nobody foresaw in one event must not hide all others
            what = f"can't put an event of {event.call_sid} on the board: {describe(error)}"
            self.trouble(Trouble(what, Cause.INTERNAL, call_sid=event.call_sid))
            return None

    def _let_rules_look(self, changes: Sequence[Change]) -> None:
        if self._rules is None:
            return
        try:
            self._rules.update(changes, self.board.snapshot())
            self._rules_failed = False
        except Exception as error:
            if not self._rules_failed:  # else it would be said with each frame
                self.trouble(Trouble(f"the rules could not look at what came: {describe(error)}", Cause.RULE))
            self._rules_failed = True

    def _tell_view(self, view: View) -> None:
        while self._told:
            self._told.popleft()(view)

    def _asked(self) -> list[ActionEvent]:
        """Return what commands and rules have asked of calls since the last look; they write it to the store."""
        if self._memory is None:
            return []
        try:
            found = self._memory.actions_after(self._last_action)
        except StoreError:
            return []  # told when the next event can't be kept, or read; a watch that can't read goes on listening
        except Exception as error:
            if not self._actions_failed:  # else it would be said with each frame
                self.trouble(Trouble(f"can't read what was asked of calls: {describe(error)}", Cause.STORE))
            self._actions_failed = True
            return []
        self._actions_failed = False
        self._last_action = found[-1][0] if found else self._last_action
        return [action for _, action in found]

    def _rehearsed(self) -> list[ActionEvent]:
        """Return what the rules would have done, and note what they could not do; the store tells what was done."""
        news = [] if self._rules is None else self._rules.take_reports()
        self._told.extend(methodcaller("trouble", one) for one in news if isinstance(one, Trouble))
        return [one for one in news if isinstance(one, ActionEvent) and one.result == DRY_RUN]

    def _is_aging(self) -> bool:
        """Whether the picture tells of times that go on: of live legs, or since the last callback."""
        header = self._drawn
        return self.board.snapshot().live > 0 or (header is not None and header.last_callback_at is not None)

    def _draw(self, view: View) -> None:
        began = time.perf_counter()
        self._drawn = self._header()
        view.refresh(self.board.snapshot(), self._drawn)
        self._pause = min(max(SHORTEST_FRAME, STAYS * (time.perf_counter() - began)), COUNTING_FRAME)
