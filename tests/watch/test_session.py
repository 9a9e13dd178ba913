from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from listeners import sign
from telling import form, sid
from watches import RecordingView, settings_in

from callctl.support.clock import Clock
from callctl.watch.plan import Plan
from callctl.watch.session import Session

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
    session, view = Session(settings_in(tmp_path), Plan("127.0.0.1", 0), clock=clock), RecordingView()
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
