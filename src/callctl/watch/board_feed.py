"""The board of a watch, and the view that is fed from it: at once, but four frames a second at most.

While durations are on display it is redrawn once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from callctl.calls.action import DRY_RUN, ActionEvent
from callctl.calls.board import Arrival, Board, Change, Snapshot
from callctl.calls.event import CallEvent
from callctl.calls.watch_trouble import Cause, Forwarded, Trouble
from callctl.errors import NoThreadError, StoreAwayError, StoreError, type_and_message, without_secrets
from callctl.support.threads import run_in_thread
from callctl.views.view import View, WatchState

if TYPE_CHECKING:
    from callctl.rules.runner import RuleRunner
    from callctl.store.event_store import EventStore

SHORTEST_FRAME = 0.25
COUNTING_FRAME = 1.0
# A frame stays for so many times what making it took in the loop: a board of many legs must not hold up callbacks. What
# draws it, in a thread of its own, does likewise (views/threaded_view.py).
STAYS = 20
AT_ONCE = 100  # events put on the board before other tasks get their turn
_PAGE = 1000  # events read from the store at a time


T = TypeVar("T")


class BoardFeed:
    """Puts events on the board, and passes to a view what changed, with lines about it and the store's actions."""

    def __init__(self, *, header: Callable[[], WatchState], rules: RuleRunner | None = None) -> None:
        self.board = Board()
        self._header = header
        self.rules = rules
        self._reader: EventStore | None = None
        self._last_action = 0
        self._unreadable = (0, 0)  # events and actions of the store, as far as that was reported
        self._queue: deque[tuple[CallEvent, Arrival | None]] = deque()
        self._queued: set[str] = set()  # the keys of the events in it
        self._lines: deque[str | Trouble] = deque()
        self._for_rules: list[Change] = []  # what the rules have not seen
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._drawn: WatchState | None = None
        self._rules_failed = self._actions_failed = False
        # Why the store can't be read, as it was reported: what it had at the start, and what is new.
        self._failures: dict[bool, str | None] = {False: None, True: None}
        self._pause = SHORTEST_FRAME
        self._stored: Iterator[CallEvent] = iter(())
        self._replay: Callable[[], Iterator[CallEvent]] = lambda: iter(())
        self.is_loaded = asyncio.Event()
        # Called with the SID of each leg that a command, a key or a rule has ended.
        self.on_end: Callable[[str], None] = lambda _call_sid: None
        self.events_read: int | None = 0  # events that were read so far; None once all were
        self._next_progress = 0.0
        # Of the last event that had one. Not the newest of all: one that is absurd would be it from then on.
        self.last_timestamp: datetime | None = None

    def load(self, reader: EventStore, *, since: datetime) -> int:
        """Have ``run`` begin with what the store has by now; return the id of the last event of that.

        It is read in another thread, and new events wait until it is. Actions from now on are passed on as new.

        Raises:
            StoreError: The store can't be read.
        """
        self._reader, self._last_action, last = reader, reader.last_action_id(), reader.last_event_id()
        self._replay = partial(reader.replay, since=since, up_to=last)
        self._stored = self._replay()
        return last

    def read_actions_from(self, reader: EventStore) -> None:
        """Pass on the actions of another store from now on.

        Raises:
            StoreError: The store can't be read.
        """
        self._reader, self._last_action, self._unreadable = reader, reader.last_action_id(), (0, 0)

    @property
    def last_action(self) -> int | None:
        """The store's id of the last action that was passed to the view; None where there is no store."""
        return None if self._reader is None else self._last_action

    def event(self, event: CallEvent, arrival: Arrival | None = None) -> None:
        """Add an event; it comes on the board with the next frame. ``arrival`` is as in ``Change``."""
        self._queue.append((event, arrival))
        self._queued.add(event.key)
        self._wake.set()

    def has(self, event: CallEvent) -> bool:
        """Return whether an event is on the board, or is to come there with the next frame."""
        return event.key in self._queued or self.board.has(event)

    def is_pending(self, call_sid: str) -> bool:
        """Whether an event of a call waits to be put on the board."""
        return any(event.call_sid == call_sid for event, _ in self._queue)

    def note(self, text: str) -> None:
        """Add a line that is no event."""
        self._lines.append(text if isinstance(text, Forwarded) else without_secrets(text))
        self._wake.set()

    def trouble(self, trouble: Trouble) -> None:
        """Add a line about something that went wrong, or about the end of that."""
        self._lines.append(trouble)
        self._wake.set()

    def note_reading(self, failure: str | None, *, is_new: bool = True) -> None:
        """Report why what is new in the store can't be read, once, and that it can be read again, where that is None.

        ``is_new``: False for what the store had at the start.
        """
        before, others = self._failures[is_new], self._failures[not is_new]
        self._failures[is_new] = failure
        if failure is not None and failure not in (before, others):
            self.trouble(Trouble(failure, Cause.STORE))
        elif failure is None and before is not None and others is None:
            self.trouble(Trouble("the event store can be read again", Cause.STORE, is_over=True))

    @property
    def is_readable(self) -> bool:
        """Whether the store could be read when it was read last."""
        return not any(self._failures.values())

    def store_reporter(self, *, is_over: bool = False) -> Callable[[str], None]:
        """Return what adds a line about trouble with the store, or the end of it, from any thread.

        It is to be called in the event loop of this.
        """
        loop = asyncio.get_running_loop()

        def report(text: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the watch has ended
                loop.call_soon_threadsafe(self.trouble, Trouble(text, Cause.STORE, is_over=is_over))

        return report

    def wake(self) -> None:
        """Have the next frame come soon."""
        self._wake.set()

    def stop(self) -> None:
        """Let ``run`` return; may be called more than once."""
        self._stop.set()
        self._wake.set()

    async def run(self, view: View) -> None:
        """Load the stored events, then show new ones as they come until ``stop`` is called; ``is_loaded`` is set then.

        Raises:
            StoreError: The store can't be read.
        """
        self._next_progress = asyncio.get_running_loop().time() + SHORTEST_FRAME
        await self._load(view)
        self._draw(view)
        while not self._stopping:
            await self._next_frame()
            await self._show_news(view)
        self._draw(view)

    @property
    def _stopping(self) -> bool:
        return self._stop.is_set()

    async def finish(self, view: View, *, limit: float) -> None:
        """Pass to the view what came after ``run`` had returned; the rules do not see it.

        A shared store may take ``limit`` seconds to return the actions on calls.
        """
        actions: list[ActionEvent] = []
        with contextlib.suppress(TimeoutError, NoThreadError):
            async with asyncio.timeout(limit):
                actions = await run_in_thread(self._new_actions) if self._is_shared else self._new_actions()
        if not (actions or self._lines or self._queue):
            return
        for action in actions:
            view.action(action)
        self._pass_lines_to(view)
        while self._queue:
            event, _ = self._queue.popleft()
            view.event(event, self._put_on_board(event))
        self._draw(view)

    async def _load(self, view: View) -> None:
        """Put the stored events on the board, some of them at a time."""
        count = 0
        while page := await self._once_readable(partial(self._page, view), view):
            for event in page:
                change = self._put_on_board(event)
                if change is not None and self.rules is not None:
                    self.rules.restore(change)
                count += 1
                if count % AT_ONCE == 0:
                    await asyncio.sleep(0)  # callbacks are answered meanwhile
            self.events_read = count
        if self._stopping:
            return
        self._report_unreadable()
        if self.rules is not None:
            await self._once_readable(partial(self._start_rules, self.rules), view)
        self.events_read = None
        view.begin(self.board.snapshot())
        self.is_loaded.set()

    async def _start_rules(self, rules: RuleRunner) -> None:
        snapshot = self.board.snapshot()
        await self._asking_store(lambda: rules.start(snapshot))

    async def _once_readable(self, step: Callable[[], Awaitable[T]], view: View) -> T:
        """Take a step that reads the store; where that fails, read it anew once it is there again or was repaired.

        What is on the board by then is no news to it.

        Raises:
            StoreError: It can't be read, and is a file that can't be repaired, or this is to stop.
            NoThreadError: The system has no thread left to read it; the same goes for this.
        """
        while True:
            try:
                result = await step()
            except (StoreError, NoThreadError) as error:
                if self._stopping or not (self._is_shared or await self._is_mended(view)):
                    raise
                if not isinstance(error, StoreAwayError):  # of which the store itself reports
                    self.note_reading(error.message, is_new=False)
            else:
                self.note_reading(None, is_new=False)
                return result
            self._pass_lines_to(view)
            self._draw(view)
            await asyncio.sleep(COUNTING_FRAME)
            self._stored = self._replay()

    async def _is_mended(self, view: View) -> bool:
        """Have a file repaired, which may take minutes; return whether to read it anew, also where this is to stop.

        Raises:
            StoreError: It can't be repaired.
            NoThreadError: The system has no thread left to do so.
        """
        if self._reader is None:
            return False
        mending = asyncio.ensure_future(run_in_thread(self._reader.mend))
        await self._wait_drawing(mending, view)
        if mending.done():
            return mending.result()
        mending.cancel()
        return True

    def _report_unreadable(self) -> None:
        """Report how much of the store can't be read, when it has become more."""
        if self._reader is None:
            return
        now = self._reader.unreadable, self._reader.unreadable_actions
        for count, before, what in zip(now, self._unreadable, ("events", "actions"), strict=True):
            if count > before:
                is_or_are = "is" if count == 1 else "are"
                self.trouble(
                    Trouble(f"{count} of the store's {what} can't be read and {is_or_are} left out", Cause.STORE)
                )
        self._unreadable = now

    async def _page(self, view: View) -> list[CallEvent]:
        """Return the next stored events, and draw now and then; none at the end, or once it is to stop."""
        reading = asyncio.ensure_future(run_in_thread(lambda: list(islice(self._stored, _PAGE))))
        await self._wait_drawing(reading, view)
        if reading.done():
            return reading.result()
        reading.cancel()
        return []

    async def _wait_drawing(self, work: asyncio.Future[Any], view: View) -> None:
        """Return once some work is done, or this is to stop; draw now and then."""
        while not (self._stopping or work.done()):
            await asyncio.wait({work}, timeout=SHORTEST_FRAME)
            if asyncio.get_running_loop().time() >= self._next_progress:
                self._pass_lines_to(view)
                self._draw(view)
                self._next_progress = asyncio.get_running_loop().time() + SHORTEST_FRAME

    async def _next_frame(self) -> None:
        """Return when something happened or a second went by, but not before the shortest frame is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COUNTING_FRAME - SHORTEST_FRAME):
                await self._wake.wait()
        if not self._stopping:
            self._wake.clear()
            await asyncio.sleep(self._pause)

    async def _show_news(self, view: View) -> None:
        """Pass to the view what came, and have it draw if there is anything new to see."""
        actions = [*await self._stored_actions(), *self._dry_run_actions()]
        self._report_unreadable()
        news = bool(self._queue or self._lines or actions)
        for action in actions:
            view.action(action)
            if action.may_have_ended_it:
                self.on_end(action.call_sid)
        self._pass_lines_to(view)
        for number in range(len(self._queue)):  # what comes meanwhile is for the next frame, so that this one is drawn
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)  # callbacks are answered meanwhile
            event, arrival = self._queue.popleft()
            change = self._put_on_board(event)
            view.event(event, change)
            if change is not None and self.rules is not None:
                change.arrival = arrival
                self._for_rules.append(change)
        if self.rules is not None:
            await self._have_rules_look(self.rules)
        if news or self._is_aging() or self._header() != self._drawn or view.is_stale():
            self._draw(view)

    def _put_on_board(self, event: CallEvent) -> Change | None:
        self._queued.discard(event.key)
        self.last_timestamp = event.timestamp or self.last_timestamp
        try:
            return self.board.apply(event)
        except Exception as error:  # an unexpected error with one event must not hide all others
            what = f"can't put an event of {event.call_sid} on the board: {type_and_message(error)}"
            self.trouble(Trouble(what, Cause.INTERNAL, call_sid=event.call_sid))
            return None

    async def _have_rules_look(self, rules: RuleRunner) -> None:
        """Have the rules look at what they have not seen, and at the time; they read in the store whose call it is."""
        changes, snapshot = self._for_rules, self.board.snapshot()  # here: the board is not for several threads
        try:
            await self._asking_store(lambda: self._update_rules(rules, changes, snapshot))
        except (NoThreadError, StoreAwayError):
            return  # they look at it with the next frame
        self._for_rules = []

    def _update_rules(self, rules: RuleRunner, changes: Sequence[Change], snapshot: Snapshot) -> None:
        try:
            rules.update(changes, snapshot)
            self._rules_failed = False
        except Exception as error:
            if not self._rules_failed:  # else it would be reported with each frame
                self.trouble(Trouble(f"the rules could not look at what came: {type_and_message(error)}", Cause.RULE))
            self._rules_failed = True

    def take_troubles(self) -> list[Trouble]:
        """Return what went wrong and was reported after ``finish``, or without ``run``; notes are left out."""
        troubles = [line for line in self._lines if isinstance(line, Trouble)]
        self._lines.clear()
        return troubles

    def _pass_lines_to(self, view: View) -> None:
        while self._lines:
            line = self._lines.popleft()
            if isinstance(line, Trouble):
                view.trouble(line)
            else:
                view.note(line)

    @property
    def _is_shared(self) -> bool:
        """Whether the store may take a while to answer, or not do so."""
        return self._reader is not None and self._reader.is_shared

    async def _stored_actions(self) -> list[ActionEvent]:
        """Do what ``_new_actions`` does, and return nothing where a shared store does not answer."""
        try:
            return await self._asking_store(self._new_actions)
        except (NoThreadError, StoreAwayError):
            return []  # they are read the next time

    async def _asking_store(self, work: Callable[[], T]) -> T:
        """Run work that queries the store, a shared one in a thread, and return or raise what it does.

        Raises:
            StoreAwayError: This is to stop, and the store, which may hang for seconds, has not answered.
            NoThreadError: The system has no thread left.
        """
        if not self._is_shared:
            return work()
        working, stopping = asyncio.ensure_future(run_in_thread(work)), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        finally:
            working.cancel()
            stopping.cancel()
        raise StoreAwayError("the event store has not answered yet")

    def _new_actions(self) -> list[ActionEvent]:
        """Return the actions of commands and rules since the last call of this; they are in the store."""
        if self._reader is None:
            return []
        try:
            actions = self._reader.actions_after(self._last_action)
        except StoreError:
            return []  # reported when the next event can't be stored or read; a watch that can't read still listens
        except Exception as error:
            if not self._actions_failed:  # else it would be reported with each frame
                self.trouble(Trouble(f"can't read the actions on calls: {type_and_message(error)}", Cause.STORE))
            self._actions_failed = True
            return []
        self._actions_failed = False
        self._last_action = actions[-1][0] if actions else self._last_action
        return [action for _, action in actions]

    def _dry_run_actions(self) -> list[ActionEvent]:
        """Return what rules would have done, and add what they could not do; what they did is in the store."""
        reports = [] if self.rules is None else self.rules.take_reports()
        self._lines.extend(report for report in reports if isinstance(report, Trouble))
        return [report for report in reports if isinstance(report, ActionEvent) and report.result == DRY_RUN]

    def _is_aging(self) -> bool:
        """Whether durations on display go on: of live legs, or since the last callback."""
        header = self._drawn
        return self.board.snapshot().live > 0 or (header is not None and header.last_callback_at is not None)

    def _draw(self, view: View) -> None:
        began = time.perf_counter()
        self._drawn = self._header()
        view.refresh(self.board.snapshot(), self._drawn)
        self._pause = min(max(SHORTEST_FRAME, STAYS * (time.perf_counter() - began)), COUNTING_FRAME)
