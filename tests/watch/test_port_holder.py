"""Whose watch holds the port is found out also when that watch is too busy to say so at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from watches import running_watch, settings_in

from callctl.errors import PortTakenError
from callctl.watch import registry
from callctl.watch.options import PortHeldError, WatchOptions
from callctl.watch.registry import WatchRecord


async def test_a_busy_watch_is_given_time_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as first:

        def answers_late(_: WatchRecord, *, timeout: float) -> bool:
            return timeout > registry.HEALTH_LIMIT

        monkeypatch.setattr(registry, "is_alive", answers_late)
        with pytest.raises(PortHeldError):
            async with running_watch(settings, WatchOptions("127.0.0.1", first.ready.port)):
                pass
        monkeypatch.setattr(registry, "is_alive", lambda _, *, timeout: timeout < 0)
        with pytest.raises(PortTakenError) as caught:
            async with running_watch(settings, WatchOptions("127.0.0.1", first.ready.port)):
                pass
        assert not isinstance(caught.value, PortHeldError)
