"""Futures that share a time limit."""

from __future__ import annotations

import asyncio

from callctl.watch.listener.loop_calls import TimeLimit


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
