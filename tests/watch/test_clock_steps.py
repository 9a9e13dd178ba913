"""A watch whose clock is set: it says so, and what it records has the new time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from events import form
from listeners import sign
from watches import running_watch, settings_in

from callctl.support.clock import Clock
from callctl.watch.options import WatchOptions


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(hours=2), "set forward by 7200 s"),
        (timedelta(seconds=-45), "set back by 45 s"),
        (timedelta(seconds=1), None),
    ],
    ids=str,
)
async def test_a_step_of_the_clock_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: timedelta, words: str | None
) -> None:
    monkeypatch.setattr("callctl.watch.session.CLOCK_INTERVAL", 0.01)
    step = timedelta()
    clock = Clock(wall=lambda: datetime.now(UTC) + step)
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0), clock=clock) as watch:
        step = ahead
        if words is not None:
            assert words in await watch.view.until_noted("this machine's clock")
        url, fields = watch.ready.callback_url, form(1, "ringing")
        async with aiohttp.ClientSession() as http, http.post(url, data=fields, headers=sign(url, fields)) as answer:
            assert answer.status == 204
        await watch.view.until(lambda view: bool(view.events))
        assert abs(watch.view.events[0].received_at - datetime.now(UTC) - ahead) < timedelta(minutes=1)
        assert len(watch.view.troubles) == (words is not None)
