"""Tasks end, though one cancellation is lost."""

from __future__ import annotations

import asyncio

import pytest

from callctl.support.tasks import cancel_until_done
from callctl.watch.background_tasks import background_tasks


async def lose(cancellations: int) -> None:
    """Go on for ever, unless cancelled more often than so."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancellations -= 1
            if cancellations < 0:
                raise


async def fail() -> None:
    raise ValueError


@pytest.mark.timeout(20)
async def test_a_task_that_loses_cancellations_is_cancelled_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.support.tasks._AGAIN", 0.01)
    tasks = [asyncio.create_task(work) for work in (lose(0), lose(1), lose(3), fail())]
    await asyncio.sleep(0)
    await cancel_until_done(tasks)
    assert [task.cancelled() for task in tasks] == [True, True, True, False]
    await cancel_until_done([])


@pytest.mark.timeout(20)
async def test_so_are_those_of_a_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.support.tasks._AGAIN", 0.01)
    async with background_tasks(lose(2), fail()):
        await asyncio.sleep(0)
