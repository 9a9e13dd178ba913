"""A pause, and a machine that is suspended meanwhile."""

from __future__ import annotations

import asyncio

from callctl.watch.background_tasks import pause


async def test_a_pause_is_over_at_once_when_the_machine_wakes() -> None:
    now = 0.0
    waiting = asyncio.create_task(pause(600, tick=0.001, elapsed=lambda: now))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    now += 3600
    async with asyncio.timeout(60):
        await waiting
