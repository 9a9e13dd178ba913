"""Work on many calls at once: every call once, none lost, fewer at a time when the API has too many."""

import threading
from collections.abc import Callable, Generator

import pytest
from thread_limit import ThreadLimit

from callctl.errors import AuthenticationError, CallctlError, NetworkError, NoThreadError, RateLimitedError
from callctl.operations.bulk import Done, Failed, for_each, for_each_in_order, for_each_waiting
from callctl.support.threads import start_in_thread

SIDS = [f"CA{number:032d}" for number in range(40)]


def results(work: Callable[[str], str], *, parallel: int = 8) -> list[Done[str] | Failed]:
    return [result for group in for_each(SIDS, work, parallel=parallel) for result in group]


def refused(kind: type[RateLimitedError]) -> CallctlError:
    return kind("no", status=429)


@pytest.mark.parametrize("parallel", [1, 3, 64])
def test_every_call_gets_one_result(parallel: int) -> None:
    assert sorted(result.sid for result in results(str.lower, parallel=parallel)) == SIDS


def test_one_at_a_time_keeps_the_order() -> None:
    assert [result.sid for result in results(str.lower, parallel=1)] == SIDS


def test_results_come_in_the_order_of_the_calls_however_they_were_done() -> None:
    is_last_done = threading.Event()

    def work(sid: str) -> str:
        if sid == SIDS[7]:
            raise NetworkError("gone")
        if sid == SIDS[-1]:
            is_last_done.set()
        elif sid == SIDS[0]:
            is_last_done.wait(10)
        return sid.lower()

    done = list(for_each_in_order(SIDS, work, parallel=4))
    assert [result.sid for result in done] == SIDS
    assert [result.sid for result in done if isinstance(result, Failed)] == [SIDS[7]]
    assert list(for_each_in_order([], work, parallel=4)) == []


def test_no_call_is_no_work() -> None:
    assert list(for_each([], str.lower, parallel=3)) == []


def test_so_many_run_at_once_and_no_more() -> None:
    meeting = threading.Barrier(4)
    running, most, lock = 0, 0, threading.Lock()

    def work(sid: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        meeting.wait(10)  # passes only when four are waiting together
        with lock:
            running -= 1
        return sid

    assert len(results(work, parallel=4)) == len(SIDS)
    assert most == 4


def test_a_failure_is_a_result_among_others() -> None:
    def work(sid: str) -> str:
        if sid == SIDS[7]:
            raise NetworkError("gone")
        return sid

    outcomes = results(work)
    assert [result.sid for result in outcomes if isinstance(result, Failed)] == [SIDS[7]]
    assert len(outcomes) == len(SIDS)


def test_too_many_at_once_are_tried_again_with_fewer() -> None:
    running, lock = 0, threading.Lock()

    def work(sid: str) -> str:
        nonlocal running
        with lock:
            running += 1
            crowded = running > 2
        try:
            if crowded:
                raise refused(RateLimitedError)
            threading.Event().wait(0.002)  # lets others come meanwhile
            return sid
        finally:
            with lock:
                running -= 1

    outcomes = results(work, parallel=16)
    assert sorted(result.sid for result in outcomes if isinstance(result, Done)) == SIDS


def test_what_is_refused_even_alone_has_failed() -> None:
    def work(_sid: str) -> str:
        raise refused(RateLimitedError)

    outcomes = results(work)
    assert sorted(result.sid for result in outcomes if isinstance(result, Failed)) == SIDS


def no_access(status: int) -> AuthenticationError:
    return AuthenticationError("no", status=status)


class Refusing:
    """Work that is refused for some calls, by their numbers; records what was asked for, in its order."""

    def __init__(self, status: int, *numbers: int) -> None:
        self.requested: list[str] = []
        self._status = status
        self._refused = {SIDS[number] for number in numbers}

    def __call__(self, sid: str) -> str:
        self.requested.append(sid)
        if sid in self._refused:
            raise no_access(self._status)
        return sid


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("parallel", [1, 3, 64])
@pytest.mark.parametrize("number", [5, 39])
def test_a_refusal_that_others_contradict_is_of_its_call_alone(status: int, parallel: int, number: int) -> None:
    refusing, is_first_read = Refusing(status, number), threading.Event()

    def work(sid: str) -> str:
        if sid == SIDS[number]:
            is_first_read.wait(60)
        return refusing(sid)

    outcomes: list[Done[str] | Failed] = []
    for group in for_each(SIDS, work, parallel=parallel):
        is_first_read.set()
        outcomes += group
    assert [result.sid for result in outcomes if isinstance(result, Failed)] == [SIDS[number]]
    assert sorted(refusing.requested) == SIDS


@pytest.mark.parametrize("parallel", [1, 3, 64])
def test_so_is_one_that_comes_before_others_are_accepted(parallel: int) -> None:
    refusing = Refusing(403, 0, 1)
    outcomes = results(refusing, parallel=parallel)
    assert sorted(result.sid for result in outcomes if isinstance(result, Failed)) == SIDS[:2]
    assert sorted(refusing.requested) == SIDS


def test_many_at_once_that_are_refused_leave_the_rest_to_those_that_are_accepted() -> None:
    """As by a firewall that lets so many connections through: its refusals come before the first answer."""
    wave = threading.Barrier(9)  # all that are refused, and the one that is accepted

    def work(sid: str) -> str:
        if sid in SIDS[:9]:
            wave.wait(60)
            if sid != SIDS[8]:
                raise no_access(403)
        return sid

    outcomes = results(work, parallel=9)
    assert {result.sid for result in outcomes if isinstance(result, Done)} == set(SIDS[8:])


@pytest.mark.parametrize("parallel", [1, 2, 8])
def test_wrong_credentials_end_it(parallel: int) -> None:
    refusing = Refusing(401, *range(40))
    with pytest.raises(AuthenticationError):
        results(refusing, parallel=parallel)
    assert len(refusing.requested) <= parallel


@pytest.mark.parametrize(("parallel", "asked"), [(1, 3), (2, 3), (8, 8)])
def test_so_does_access_that_is_refused_to_whatever_is_asked_first(parallel: int, asked: int) -> None:
    refusing = Refusing(403, *range(40))
    with pytest.raises(AuthenticationError):
        results(refusing, parallel=parallel)
    assert len(refusing.requested) == asked


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("status", [401, 403])
def test_so_it_does_with_few_calls_unless_such_work_was_done_before(status: int, count: int) -> None:
    refusing = Refusing(status, *range(40))
    with pytest.raises(AuthenticationError):
        list(for_each(SIDS[:count], refusing, parallel=8))
    outcomes = [one for group in for_each(SIDS[:count], refusing, parallel=8, accepted=True) for one in group]
    assert [(type(one), one.sid) for one in sorted(outcomes)] == [(Failed, sid) for sid in SIDS[:count]]


def test_credentials_that_become_wrong_end_it_after_what_was_done() -> None:
    refusing = Refusing(401, *range(2, 40))
    outcomes = []
    with pytest.raises(AuthenticationError):
        for group in for_each(SIDS, refusing, parallel=1):
            outcomes += group
    assert [(type(result), result.sid) for result in outcomes] == [
        *((Done, sid) for sid in SIDS[:2]),
        *((Failed, sid) for sid in SIDS[2:4]),
    ]
    assert refusing.requested == SIDS[:5]


def test_an_unexpected_failure_is_reported_for_its_call_and_leaves_no_other_alone() -> None:
    def work(sid: str) -> str:
        if sid == SIDS[1]:
            raise ZeroDivisionError("by nothing")
        return sid

    outcomes = results(work)
    assert {result.sid for result in outcomes} == set(SIDS)
    (failed,) = [result for result in outcomes if isinstance(result, Failed)]
    assert (failed.sid, failed.error.message) == (SIDS[1], "unexpected ZeroDivisionError: by nothing")


@pytest.mark.parametrize("left", range(2, 9))
def test_those_that_find_a_thread_do_all_of_it_also_where_each_request_takes_one_more(
    monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    ThreadLimit(monkeypatch, left=left)
    outcomes = results(lambda sid: start_in_thread(sid.lower).result(), parallel=20)
    assert [result for result in outcomes if isinstance(result, Failed)] == []
    assert sorted(result.sid for result in outcomes) == SIDS


def test_without_any_thread_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    ThreadLimit(monkeypatch, left=0)
    with pytest.raises(NoThreadError):
        results(str.lower)


def test_what_finds_no_thread_at_all_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    ThreadLimit(monkeypatch, left=1)
    (group,) = for_each(SIDS[:1], lambda sid: start_in_thread(sid.lower).result(), parallel=1)
    (failed,) = group
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, NoThreadError)


def test_what_may_be_done_already_is_not_done_again_for_want_of_a_thread() -> None:
    tries: list[str] = []

    def work(sid: str) -> str:
        tries.append(sid)
        error = NoThreadError()
        error.may_be_done = True
        raise error

    outcomes = results(work)
    assert [type(result) for result in outcomes] == [Failed] * len(SIDS)
    assert sorted(tries) == SIDS


def test_an_interrupt_is_not_swallowed() -> None:
    def work(_sid: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results(work)


def test_nothing_further_is_begun_when_nobody_reads_on() -> None:
    started: list[str] = []
    threads: set[threading.Thread] = set()
    go_on = threading.Semaphore(1)

    def work(sid: str) -> str:
        threads.add(threading.current_thread())
        go_on.acquire()
        started.append(sid)
        return sid

    groups = for_each(SIDS, work, parallel=1)
    next(groups)
    groups.close()
    go_on.release(len(SIDS))
    for thread in threads:
        thread.join(60)
    assert len(started) <= 2  # the one that was read, and the one that was under way


def test_a_call_that_came_at_a_bad_time_is_the_next_one_of_those_who_are_left() -> None:
    started: list[str] = []
    refusing: list[threading.Thread] = []
    both, lock = threading.Barrier(2), threading.Lock()

    def work(sid: str) -> str:
        with lock:
            started.append(sid)
            is_first = len(started) <= 2
        if is_first:
            if sid == SIDS[0]:
                refusing.append(threading.current_thread())
            both.wait(60)
            if sid == SIDS[0]:
                raise refused(RateLimitedError)
            refusing[0].join(60)  # it has put its call back, and leaves the rest to this one
        return sid

    assert len(results(work, parallel=2)) == len(SIDS)
    assert sorted(started[:2]) == SIDS[:2]
    assert started[2:] == [SIDS[0], *SIDS[2:]]


@pytest.mark.timeout(60)
def test_who_is_left_alone_while_a_request_is_refused_sends_it_again() -> None:
    requested: list[str] = []
    other: list[threading.Thread] = []
    both = threading.Barrier(2)

    def work(sid: str) -> str:
        requested.append(sid)
        if len(requested) > 2:
            return sid
        if sid == SIDS[1]:
            other.append(threading.current_thread())
        both.wait(30)
        if sid == SIDS[0]:
            other[0].join(30)  # nothing is left for it to do
            raise refused(RateLimitedError)
        return sid

    groups = for_each(SIDS[:2], work, parallel=2)
    assert {type(result) for group in groups for result in group} == {Done}
    assert sorted(requested) == [SIDS[0], *SIDS[:2]]


# Work that waits in between


@pytest.mark.timeout(60)
def test_what_waits_keeps_no_other_from_its_turn() -> None:
    done_by_others = threading.Event()

    def work(sid: str) -> Generator[float, None, str]:
        while sid in SIDS[:20] and not done_by_others.is_set():
            yield 0.01
        return sid

    order = []
    for group in for_each_waiting(SIDS, work, parallel=2):
        order += [result.sid for result in group]
        if set(order) == set(SIDS[20:]):
            done_by_others.set()
    assert set(order[:20]) == set(SIDS[20:])
    assert sorted(order) == SIDS


def test_all_are_begun_before_any_is_gone_on_with_and_then_in_the_order_of_their_pauses() -> None:
    steps: list[tuple[str, int]] = []

    def work(sid: str) -> Generator[float, None, str]:
        steps.append((sid, 0))
        yield 0.0
        steps.append((sid, 1))
        return sid

    assert [one.sid for group in for_each_waiting(SIDS, work, parallel=1) for one in group] == SIDS
    assert steps == [(sid, 0) for sid in SIDS] + [(sid, 1) for sid in SIDS]


def test_what_is_refused_for_too_many_at_once_after_a_pause_is_begun_again() -> None:
    refusals = iter([True])

    def work(sid: str) -> Generator[float, None, str]:
        yield 0.0
        if sid == SIDS[0] and next(refusals, False):
            raise refused(RateLimitedError)
        return sid

    outcomes = [one for group in for_each_waiting(SIDS[:2], work, parallel=2) for one in group]
    assert sorted(outcomes) == [Done(sid, sid) for sid in SIDS[:2]]


def test_nothing_is_gone_on_with_when_nobody_reads_on() -> None:
    threads: set[threading.Thread] = set()

    def work(sid: str) -> Generator[float, None, str]:
        threads.add(threading.current_thread())
        while sid != SIDS[-1]:
            yield 60.0
        return sid

    groups = for_each_waiting(SIDS, work, parallel=3)
    assert next(groups) == [Done(SIDS[-1], SIDS[-1])]
    groups.close()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
