"""The thread that writes events: those that wait at the same time share one commit.

A commit costs a write to the disk, whatever it holds, and maybe a way through the network, so events that come together
are committed together. A caller gets its answer only after the commit. What an event loop receives is submitted once
its turns bring no more: the loop then has nothing to do, and a commit need not win Python's lock back from it. That
goes for a server's commit as well: the thread needs the lock before it can send, and again to read the answer.
"""

from __future__ import annotations

import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from callctl.calls.event import CallEvent
from callctl.errors import StoreError, type_and_message

if TYPE_CHECKING:
    import asyncio

# The most events that share a commit: enough to make its cost small, few enough to stay quick.
GROUP = 256
# What is read in one turn of a loop is submitted by tasks in the next one.
_TURNS = 2

RowT = TypeVar("RowT")


class Entry(NamedTuple, Generic[RowT]):
    """An event ready to be written, the future of its caller, and when it was submitted, by the monotonic clock."""

    row: RowT
    future: Future[bool] | asyncio.Future[bool]
    at: float


class GroupWriter(Generic[RowT]):
    """Commits events in groups, in a thread of its own that starts with the first one."""

    def __init__(self, name: str) -> None:
        """Prepare; ``name`` is the store's, in errors."""
        self._name = name
        self._queue: queue.SimpleQueue[list[Entry[RowT]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # of what follows
        self._pending: list[Entry[RowT]] = []
        self._pending_loop: asyncio.AbstractEventLoop | None = None  # whose turns are waited for to hand them over
        self._thread: threading.Thread | None = None
        self._closed = False
        # Called in the thread with each commit's seconds and events.
        self.observe: Callable[[float, int], None] = lambda _seconds, _events: None

    @abstractmethod
    def _row_of(self, event: CallEvent) -> RowT:
        """Return what is written of an event. It is called by who hands the event over."""

    @abstractmethod
    def _commit(self, rows: Sequence[RowT], *, follows: bool = False) -> list[bool]:
        """Write rows, at most ``GROUP``, and commit; return for each whether its event was new.

        ``follows``: at once after another commit.

        Raises:
            StoreError: None of them can be written now.
            Exception: One of them can't be written, or something unexpected happened: each is then tried alone.
        """

    def _check(self) -> None:
        """Do what ``request_check`` requested."""

    def submit(self, event: CallEvent) -> Future[bool]:
        """Submit an event; the future is settled in the writer's thread.

        Raises:
            StoreError: The writer is closed.
        """
        outcome: Future[bool] = Future()
        outcome.set_running_or_notify_cancel()  # a caller that gives up waiting does not take the event back
        self.put(event, outcome)
        return outcome

    def submit_in_loop(self, event: CallEvent) -> asyncio.Future[bool]:
        """Do what ``submit`` does, in an event loop. All that share a commit are woken at once.

        Raises:
            StoreError: The writer is closed.
        """
        import asyncio

        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.put_in_loop(event, outcome)
        return outcome

    def put(self, event: CallEvent, future: Future[bool]) -> None:
        """Hand an event over; ``future`` is settled after its commit, or with StoreError.

        Raises:
            StoreError: The writer is closed.
        """
        entry = Entry(self._row_of(event), future, time.monotonic())
        with self._lock:
            self._add(entry)
            self._hand_over()

    def put_in_loop(self, event: CallEvent, future: asyncio.Future[bool]) -> None:
        """Do what ``put`` does for a caller in an event loop: it is submitted once the loop's turns bring no more.

        Raises:
            StoreError: The writer is closed.
        """
        entry, loop = Entry(self._row_of(event), future, time.monotonic()), future.get_loop()
        with self._lock:
            self._add(entry)
            if len(self._pending) >= GROUP:
                self._hand_over()
            if self._pending_loop is not loop:
                self._pending_loop = loop
                loop.call_soon(self._end_turn, loop, 0, 0)

    def close(self, *, timeout: float) -> bool:
        """Accept no more, and write what is pending; return False if that took longer than ``timeout`` seconds."""
        with self._lock:
            self._closed = True
            thread = self._thread
            self._hand_over()
            self._queue.put(None)
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def request_check(self) -> None:
        """Have the thread do ``_check``, where it has nothing to commit."""
        with self._lock:
            if not self._closed:
                self._start()
                self._queue.put([])

    def _add(self, entry: Entry[RowT]) -> None:
        if self._closed:
            raise StoreError(f"the event store {self._name} is closed", hint="the watch is ending: start it again")
        self._start()
        self._pending.append(entry)

    def _start(self) -> None:
        if self._thread is None:
            # A daemon, so that a stuck disk can't keep the program from ending.
            thread = threading.Thread(target=self._write, name="callctl-store", daemon=True)
            thread.start()  # kept only once it runs: where the system has no thread left, the next event tries again
            self._thread = thread

    def _end_turn(self, loop: asyncio.AbstractEventLoop, before: int, quiet: int) -> None:
        """Submit what is pending, ``before`` of it since the turn before, after so many turns that brought none."""
        with self._lock:
            now = len(self._pending)
            quiet = quiet + 1 if now == before else 0
            if now and quiet < _TURNS and not self._closed:
                loop.call_soon(self._end_turn, loop, now, quiet)
                return
            self._pending_loop = None
            self._hand_over()

    def _hand_over(self) -> None:
        if self._pending:
            self._queue.put(self._pending)
            self._pending = []

    def _write(self) -> None:
        more = True
        while more:
            has_waited = self._queue.empty()
            entries, more = self._group()
            for start in range(0, len(entries), GROUP):
                self._write_group(entries[start : start + GROUP], follows=start > 0 or not has_waited)
            if not entries and more:
                with suppress(Exception):  # reported with the next event, which can't be stored
                    self._check()

    def _group(self) -> tuple[list[Entry[RowT]], bool]:
        """Wait for entries, and return them with those that are in the queue by then; whether more may come."""
        entries: list[Entry[RowT]] = []
        batch = self._queue.get()
        while batch is not None:
            entries += batch
            if len(entries) >= GROUP or self._queue.empty():
                return entries, True
            batch = self._queue.get()
        return entries, False

    def _write_group(self, entries: Sequence[Entry[RowT]], *, follows: bool = False) -> None:
        """Commit entries and settle their futures; ``follows``: at once after others.

        No failure is raised: it would end the thread.
        """
        try:
            began = time.perf_counter()
            outcomes: Sequence[bool | StoreError] = self._commit([entry.row for entry in entries], follows=follows)
            self.observe(time.perf_counter() - began, len(entries))
        except StoreError as error:
            outcomes = _one_each(error, len(entries))
        except Exception as error:
            if len(entries) > 1:  # one event that can't be written must not fail those that share its commit
                for entry in entries:
                    self._write_group([entry])
                return
            what = f"can't write to the event store {self._name}: {type_and_message(error)}"
            outcomes = [StoreError(what, hint="`callctl doctor` looks at the store")]
        self._settle(entries, outcomes)

    def _fail(self, entries: Sequence[Entry[RowT]], error: StoreError) -> None:
        self._settle(entries, _one_each(error, len(entries)))

    def _settle(self, entries: Sequence[Entry[RowT]], outcomes: Sequence[bool | StoreError]) -> None:
        """Settle the futures: those of event loops in their loop, all of one loop at once."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[bool], bool | StoreError]]] = {}
        for entry, outcome in zip(entries, outcomes, strict=True):
            future = entry.future
            if not isinstance(future, Future):
                by_loop.setdefault(future.get_loop(), []).append((future, outcome))
                continue
            with suppress(InvalidStateError):  # its caller gave up; others of the commit still wait
                if isinstance(outcome, StoreError):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
        for loop, futures in by_loop.items():
            with suppress(RuntimeError):  # the loop was closed meanwhile, with its callers
                loop.call_soon_threadsafe(_settle_in_loop, futures)


def _one_each(error: StoreError, count: int) -> list[StoreError]:
    """Return copies of an error: a shared one would gather the tracebacks of all who raise it."""
    return [type(error)(error.message, hint=error.hint) for _ in range(count)]


def _settle_in_loop(outcomes: Sequence[tuple[asyncio.Future[bool], bool | StoreError]]) -> None:
    for future, outcome in outcomes:
        if future.done():  # its caller was cancelled
            continue
        if isinstance(outcome, StoreError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
