"""The table counts ages by the very clock of which the watch measures how far it is ahead."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from watches import settings_in

from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.watch.command import ShownOptions, _watch
from callctl.support.clock import Clock
from callctl.views.live.screen import LiveView
from callctl.watch.options import Ready, WatchOptions
from callctl.watch.registry import registry
from callctl.watch.registry.record import WatchRecord

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize("what", ["session.Session", "follower.Follower"])
async def test_the_table_has_the_clock_of_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    clocks: list[Clock] = []

    class Watch:
        """Has its clock noted, and ends at once."""

        drains = False

        def __init__(self, settings: Any, *_args: Any, clock: Clock, **_more: Any) -> None:
            self.settings = settings
            clocks.append(clock)

        async def start_up(self) -> Ready:
            return Ready("127.0.0.1", 9, URL, URL, URL, "AC" + "0" * 32, is_twilio=False)

        def stop(self) -> None:
            pass

        def note(self, _text: str) -> None:
            pass

        async def run(self, _view: object) -> None:
            pass

        async def shut_down(self) -> None:
            pass

    class Table(LiveView):
        """Has its clock noted."""

        def __init__(self, *args: Any, clock: Clock, **more: Any) -> None:
            clocks.append(clock)
            super().__init__(*args, clock=clock, **more)

    settings = settings_in(tmp_path)
    record = WatchRecord(URL, URL, str(settings.account_sid), settings.api_url, 7, "n", "0")
    follows = what.startswith("follower")
    monkeypatch.setattr(f"callctl.watch.{what}", Watch)
    monkeypatch.setattr("callctl.watch.session.prepare_to_serve", lambda: None)
    monkeypatch.setattr("callctl.views.live.screen.LiveView", Table)
    monkeypatch.setattr(Runtime, "form", Form.TABLE)
    monkeypatch.setattr(registry, "services", lambda _settings: [record] if follows else [])
    runtime = Runtime({}, tmp_path, io.StringIO(), io.StringIO(), io.StringIO())
    shown = ShownOptions(None, timedelta(seconds=30), bell=False, read_only=False)
    options, clock = WatchOptions("127.0.0.1", 0), runtime.clock()
    await _watch(runtime, settings, options, clock=clock, api=None, make_rules=None, shown=shown, may_follow=follows)
    assert clocks == [clock, clock]
