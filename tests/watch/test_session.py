from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from events import form, sid
from listeners import sign
from watches import RecordingView, settings_in

from callctl.calls.watch_trouble import Trouble
from callctl.support.clock import Clock
from callctl.watch.options import WatchOptions
from callctl.watch.session import Session, keep_running

PROGRAM = """
import gc, weakref
from callctl.watch.session import collect_garbage_seldom

class Knot:
    def __init__(self):
        self.itself = self

full = []
gc.callbacks.append(lambda phase, facts: full.append(phase) if facts["generation"] == 2 else None)
collect_garbage_seldom()
full.clear()
living = weakref.WeakSet()
most = 0
for _ in range(200_000):
    living.add(Knot())
    most = max(most, len(living))
kept = [[number] for number in range(300_000)]
print(len(full), most < 150_000)
"""


async def test_a_callback_that_is_acknowledged_while_the_watch_stops_is_shown(tmp_path: Path) -> None:
    clock = Clock(wall=lambda: datetime.now(UTC))
    session, view = Session(settings_in(tmp_path), WatchOptions("127.0.0.1", 0), clock=clock), RecordingView()
    ready = await session.start_up()
    session.stop()
    await session.run(view)
    fields = form(1, "ringing")
    async with (
        aiohttp.ClientSession() as http,
        http.post(ready.callback_url, data=fields, headers=sign(ready.callback_url, fields)) as answer,
    ):
        assert answer.status == 204
    await session.shut_down()
    assert [event.call_sid for event in view.events] == [sid(1)]
    assert view.snapshot is not None
    assert view.snapshot.live == 1


def test_cycles_are_still_found_young_and_no_full_search_is_made() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["0", "True"]


async def test_work_that_fails_is_begun_anew_and_each_error_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.watch.session.RESTART_AFTER", 0.001)
    faults = iter([ZeroDivisionError("1/0"), ZeroDivisionError("1/0"), KeyError("x")])
    troubles: list[Trouble] = []

    async def work() -> None:
        if (fault := next(faults, None)) is not None:
            raise fault

    async with asyncio.timeout(60):
        await keep_running(work, what="looking for silent calls", trouble=troubles.append)
    assert [str(trouble) for trouble in troubles] == [
        "looking for silent calls failed, and is begun anew: ZeroDivisionError: 1/0",
        "looking for silent calls failed, and is begun anew: KeyError: 'x'",
    ]
