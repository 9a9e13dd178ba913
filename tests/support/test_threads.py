"""Work in a thread of its own: its result or its error reaches the caller."""

from __future__ import annotations

import asyncio

import pytest

from callctl.calls.trouble import Trouble
from callctl.support.threads import run_in_thread, start_in_thread
from callctl.watch.session import keep_running


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


async def test_work_that_fails_is_begun_anew_and_each_error_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.session.RESTART_AFTER", 0.001)
    faults = iter([ZeroDivisionError("1/0"), ZeroDivisionError("1/0"), KeyError("x")])
    troubles: list[Trouble] = []

    async def work() -> None:
        if (fault := next(faults, None)) is not None:
            raise fault

    async with asyncio.timeout(60):
        await keep_running(work, what="looking for silent calls", trouble=troubles.append)
    assert [str(one) for one in troubles] == [
        "looking for silent calls failed, and is begun anew: ZeroDivisionError: 1/0",
        "looking for silent calls failed, and is begun anew: KeyError: 'x'",
    ]
