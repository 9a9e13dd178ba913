"""One piece of work for each of many calls: several at once, and each result as soon as it is there."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from itertools import count, islice
from queue import Empty, SimpleQueue
from typing import Generic, NamedTuple, TypeVar, cast

from callctl.errors import AuthenticationError, CallctlError, NoThreadError, RateLimitedError, type_and_message
from callctl.support.backoff import Backoff
from callctl.support.clock import elapsed
from callctl.support.threads import start

T = TypeVar("T")

# Of the last worker, before a call counts as failed for want of a thread: 1.5 s together.
_THREAD_PAUSES = Backoff(first=0.1, factor=2, longest=0.8)
_THREAD_TRIES = 4

# Refusals of credentials, one after the other, after which no further call is tried.
_REFUSALS = 3

_FAULT = "this is a fault of callctl; `callctl show` shows what the call is doing"


class Done(NamedTuple, Generic[T]):
    """What the work on one call returned."""

    sid: str
    value: T


class Failed(NamedTuple):
    """Why the work on one call was not done."""

    sid: str
    error: CallctlError


def for_each(
    sids: Sequence[str],
    work: Callable[[str], T],
    *,
    parallel: int,
    accepted: bool = False,
    time_left: Callable[[], float] | None = None,
) -> Generator[list[Done[T] | Failed], None, None]:
    """Do the work for every call, up to ``parallel`` at once and begun in their order; yield results as they come.

    Results that are ready at the same time come in one list, so that they can be recorded together. When the API
    has too many requests at once even for the pauses in between, or the system no thread left for a request, fewer are
    sent at a time, and the call gets its turn again. When the generator is closed, nothing further is begun.

    A refusal of the credentials where others were accepted, as by a firewall, is a failure of its call alone.
    ``accepted`` is whether such work was done with them before.

    ``time_left`` returns how many seconds are left for all of it; without it there is no limit.

    Raises:
        AuthenticationError: The credentials are refused: with a 401, or with a 403 to the first request; after
            work that was done, with several 401 in a row.
        TimeoutError: The time is over. What was begun goes on, and is no longer waited for.
        NoThreadError: The system has no thread left, so nothing was begun.
    """

    def at_once(sid: str) -> Generator[float, None, T]:
        yield from ()  # it never pauses
        return work(sid)

    return for_each_waiting(sids, at_once, parallel=parallel, accepted=accepted, time_left=time_left)


def for_each_in_order(
    sids: Sequence[str], work: Callable[[str], T], *, parallel: int
) -> Generator[Done[T] | Failed, None, None]:
    """Do the work as ``for_each`` does, and yield the results in the order of the calls, each of which is there once.

    A result is yielded once those before it are there.

    Raises:
        AuthenticationError: As ``for_each``.
        NoThreadError: As ``for_each``.
    """
    waiting, early = deque(sids), dict[str, Done[T] | Failed]()
    for group in for_each(sids, work, parallel=parallel):
        early.update((result.sid, result) for result in group)
        while waiting and waiting[0] in early:
            yield early.pop(waiting.popleft())


def for_each_waiting(
    sids: Sequence[str],
    work: Callable[[str], Generator[float, None, T]],
    *,
    parallel: int,
    accepted: bool = False,
    time_left: Callable[[], float] | None = None,
) -> Generator[list[Done[T] | Failed], None, None]:
    """Do work that waits in between, as ``for_each`` does; no call that waits keeps another from its turn.

    ``work`` yields the pauses, in seconds, that it makes, and returns its result. Only what it does between two pauses
    counts for ``parallel``. Calls of which nothing was done yet come first, then those whose pauses ended first.

    Raises:
        AuthenticationError: As ``for_each``.
        TimeoutError: As ``for_each``.
        NoThreadError: As ``for_each``.
    """
    queue = _WorkQueue(sids, work, workers=max(1, min(parallel, len(sids))), accepted=accepted)
    try:
        waiting = len(sids)
        while waiting:
            group = queue.next_group(timeout=None if time_left is None else max(time_left(), 0.0))
            waiting -= len(group)
            yield group
    finally:
        queue.close()


class _Step(NamedTuple, Generic[T]):
    """What a thread does next: begin the work on a call, or go on with it after a pause."""

    sid: str
    begun: Generator[float, None, T] | None = None


class _WorkQueue(Generic[T]):
    """The waiting calls, and the threads that work on one after another."""

    def __init__(
        self,
        sids: Sequence[str],
        work: Callable[[str], Generator[float, None, T]],
        *,
        workers: int,
        accepted: bool,
    ) -> None:
        self._work = work
        self._lock = threading.Condition()  # of the next six; notified of each call that pauses, and of the closing
        self._waiting = deque(sids)
        self._pausing: list[tuple[float, int, _Step[T]]] = []  # a heap: until when, and the order of equals
        self._numbers = count()
        self._workers = workers
        self._accepted = accepted
        self._refusals = 0  # of the credentials, since work was done
        self._closed = threading.Event()
        self._results: SimpleQueue[Done[T] | Failed | BaseException] = SimpleQueue()
        self._fault: BaseException | None = None
        for started in range(workers):
            try:
                # Daemons: an executor's threads are waited for at exit, so Ctrl-C would wait for a slow answer.
                start(threading.Thread(target=self._run, daemon=True, name="callctl-request"))
            except NoThreadError:
                if not started:
                    raise
                with self._lock:
                    self._workers -= workers - started  # those that could be started do it all
                break

    def next_group(self, *, timeout: float | None) -> list[Done[T] | Failed]:
        """Wait for a result, and take along those that are there already.

        Raises:
            TimeoutError: There is none after so many seconds.
        """
        group: list[Done[T] | Failed] = []
        try:
            result = self._fault or self._results.get(timeout=timeout)
        except Empty:
            raise TimeoutError from None
        while True:
            if isinstance(result, BaseException):
                if not group:
                    raise result
                self._fault = result  # after what was done before it
                return group
            group.append(result)
            try:
                result = self._results.get_nowait()
            except Empty:
                return group

    def close(self) -> None:
        """Begin nothing further."""
        with self._lock:
            self._waiting.clear()
            self._pausing.clear()
            self._closed.set()
            self._lock.notify_all()

    def _run(self) -> None:
        while (next_step := self._next_step()) is not None:
            step, is_last_worker = next_step
            sid = step.sid
            try:
                done = self._work_on(step, is_last_worker=is_last_worker)
                self._accept()
                if done is not None:
                    self._results.put(done)
            except (RateLimitedError, NoThreadError) as error:
                if is_last_worker or (isinstance(error, NoThreadError) and error.may_be_done):
                    self._results.put(Failed(sid, error))
                elif self._step_back(sid):
                    return
            except AuthenticationError as error:
                if self._is_refused(sid, error):
                    return
            except CallctlError as error:
                self._results.put(Failed(sid, error))
            except Exception as error:  # one odd answer must not leave the other calls alone
                self._results.put(Failed(sid, CallctlError(f"unexpected {type_and_message(error)}", hint=_FAULT)))
            except BaseException as error:  # raised again where the results are read
                self._results.put(error)
                return

    def _work_on(self, step: _Step[T], *, is_last_worker: bool) -> Done[T] | None:
        if is_last_worker:
            for pause in islice(_THREAD_PAUSES.pauses(), _THREAD_TRIES):
                try:
                    return self._do(step)
                except NoThreadError as error:  # those that stepped back, or other programs, end just now
                    if error.may_be_done or self._closed.wait(pause):
                        raise
                    step = _Step(step.sid)
        return self._do(step)

    def _do(self, step: _Step[T]) -> Done[T] | None:
        """Work on a call until it is done, or pauses: then it gets its turn again, and None is returned."""
        work = self._work(step.sid) if step.begun is None else step.begun
        try:
            pause = next(work)
        except StopIteration as end:
            return Done(step.sid, cast("T", end.value))
        with self._lock:
            if not self._closed.is_set():
                heapq.heappush(self._pausing, (elapsed() + pause, next(self._numbers), _Step(step.sid, work)))
                self._lock.notify()
        return None

    def _next_step(self) -> tuple[_Step[T], bool] | None:
        """Return what to do, and whether no other thread is at work; None for the thread that is no longer needed.

        While each call that is left pauses, it waits for the first of them.
        """
        with self._lock:
            while not self._waiting and self._pausing:
                remaining = self._pausing[0][0] - elapsed()
                if remaining <= 0:
                    return heapq.heappop(self._pausing)[2], self._workers == 1
                self._lock.wait(remaining)
            if self._waiting:
                return _Step(self._waiting.popleft()), self._workers == 1
            self._workers -= 1
            return None

    def _accept(self) -> None:
        with self._lock:
            self._accepted, self._refusals = True, 0

    def _is_refused(self, sid: str, error: AuthenticationError) -> bool:
        """Take down a refusal of the credentials; return whether this thread ends.

        Until they are accepted once, each thread that gets a 403 ends, and the last one ends all of the work.
        """
        with self._lock:
            self._refusals += 1
            is_enough = self._refusals >= _REFUSALS or not (self._waiting or self._pausing)
            if error.status == 401:
                concerns_all = not self._accepted or self._refusals >= _REFUSALS
            else:
                concerns_all = not self._accepted and self._workers == 1 and is_enough
            ends = concerns_all or (not self._accepted and self._workers > 1)
            if ends:
                self._workers -= 1
        if concerns_all:
            self.close()
        self._results.put(error if concerns_all else Failed(sid, error))
        return ends

    def _step_back(self, sid: str) -> bool:
        """Put a call back; return whether this thread ends, so that fewer requests are sent at once."""
        with self._lock:
            self._waiting.appendleft(sid)
            self._lock.notify()  # others may wait for a pause to end
            if self._workers == 1:
                return False
            self._workers -= 1
            return True
