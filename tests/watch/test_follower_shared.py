"""A follower of a listener elsewhere, which is known by what it announces in the shared store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from announcements import announce_at, record_of, settings_of
from watches import RecordingView, ago, running_watch, until

from callctl.settings import Settings
from callctl.simulator import Simulator
from callctl.support.threads import run_in_thread
from callctl.watch.follower import Follower
from callctl.watch.options import WatchOptions
from callctl.watch.registry import announced

OPTIONS = WatchOptions("127.0.0.1", 0)


@pytest.fixture
def settings(simulator: Simulator, home: Path, shared_store: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("callctl.watch.follower.HEALTH_INTERVAL", 0.05)
    return settings_of(simulator, home, shared_store)


@asynccontextmanager
async def following(settings: Settings) -> AsyncIterator[RecordingView]:
    """Follow the one that is announced; yield what is shown."""
    record = None
    while record is None:
        record = await run_in_thread(lambda: next(iter(announced(settings)), None))
    follower, view = Follower(settings, OPTIONS, record, now=ago), RecordingView()
    await follower.start_up()
    running = asyncio.create_task(follower.run(view))
    try:
        yield view
    finally:
        follower.stop()
        await running
        await follower.shut_down()


async def test_what_another_users_listener_says_is_wrong_with_it_stands_in_the_header(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.registry.ANNOUNCE_EVERY", 0.05)
    async with running_watch(replace(settings, state_dir=tmp_path / "theirs"), OPTIONS) as listening:
        health = listening.session._listener.health  # type: ignore[union-attr]
        await until(lambda: health.get("reachable") is True)
        async with following(settings) as view:
            for field, value, usual, why in (
                ("reachable", False, True, "no request comes through to it now"),
                ("status", "failing", "ok", "it can't store callbacks now"),
            ):
                await view.until(lambda seen: seen.header is not None and seen.header.unreachable is None)
                health[field] = value
                await view.until_noted(why)
                health[field] = usual
            await view.until(lambda seen: len(seen.resolved) == 2)


async def test_what_a_listener_elsewhere_announces_as_wrong_stands_in_the_header(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "no request comes through to it now"
    announce_at("web1", settings, record_of(settings), monkeypatch)
    async with following(settings) as view:
        await view.until(lambda seen: seen.header is not None and seen.header.unreachable is None)
        announce_at("web1", settings, record_of(settings, trouble=why), monkeypatch)
        await view.until(lambda seen: seen.header is not None and seen.header.unreachable == why)
        announce_at("web1", settings, record_of(settings), monkeypatch)
        await view.until(lambda seen: seen.header is not None and seen.header.unreachable is None)
    assert [one.cause for one in view.troubles + view.resolved] == ["unreachable", "unreachable"]
