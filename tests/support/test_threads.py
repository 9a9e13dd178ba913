"""Work in a thread of its own, whose result or error reaches the caller; futures that share a time limit."""

from __future__ import annotations

import asyncio

import pytest
from thread_limit import ThreadLimit

from callctl.errors import NoThreadError
from callctl.support.threads import TimeLimit, run_in_thread, start_in_thread


def missing() -> str:
    return dict[str, str]()["x"]


def test_the_result_and_the_error_of_a_thread_are_handed_on() -> None:
    assert start_in_thread(lambda: 7).result() == 7
    with pytest.raises(KeyError):
        start_in_thread(missing).result()


async def test_they_are_in_an_event_loop() -> None:
    assert await run_in_thread(lambda: 7) == 7
    with pytest.raises(KeyError):
        await run_in_thread(missing)


async def test_a_missing_thread_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    ThreadLimit(monkeypatch, left=0)
    with pytest.raises(NoThreadError, match="start no further thread"):
        start_in_thread(lambda: 7)
    with pytest.raises(NoThreadError):
        await run_in_thread(lambda: 7)


async def test_a_future_that_is_not_done_in_time_is_cancelled_and_others_are_left() -> None:
    loop = asyncio.get_running_loop()
    early, late, done, after = (loop.create_future() for _ in range(4))
    limit = TimeLimit(0.2)
    limit.add(early)
    limit.add(done)
    done.set_result(None)
    await asyncio.sleep(0.1)
    limit.add(late)
    await asyncio.wait([early])
    assert early.cancelled()
    assert not late.done()
    await asyncio.wait([late])
    assert late.cancelled()
    assert not done.cancelled()
    limit.add(after)  # the timer has ended with the last of them
    await asyncio.wait([after], timeout=10)
    assert after.cancelled()


async def test_a_shorter_limit_is_for_those_under_way_too() -> None:
    loop = asyncio.get_running_loop()
    limit, futures = TimeLimit(1000.0), [loop.create_future() for _ in range(4)]
    limit.shorten(900.0)  # while there is none
    for future in futures[:3]:
        limit.add(future)
    futures[1].set_result(None)
    limit.shorten(0.01)
    limit.shorten(2000.0)  # never longer
    limit.add(futures[3])
    await asyncio.wait(futures, timeout=60)
    assert [future.cancelled() for future in futures] == [True, False, True, True]
    assert limit.seconds == 0.01
