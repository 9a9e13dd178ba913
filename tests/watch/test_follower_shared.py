"""A follower of a listener elsewhere, which is known by what it announces in the shared store."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from announcements import announce_at, record_of, settings_of, withdraw
from postgresql_server import PostgresServer, postgres_server
from watches import RecordingView, running_follower, running_watch, until

from callctl.errors import StoreAwayError
from callctl.settings import Settings
from callctl.simulator import Simulator
from callctl.support.threads import run_in_thread
from callctl.watch.options import WatchOptions
from callctl.watch.registry import registry
from callctl.watch.registry.record import WatchRecord
from callctl.watch.registry.registry import announced

OPTIONS = WatchOptions("127.0.0.1", 0)


@pytest.fixture
def settings(simulator: Simulator, home: Path, shared_store: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("callctl.watch.follower.HEALTH_INTERVAL", 0.05)
    return settings_of(simulator, home, shared_store)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@asynccontextmanager
async def following(settings: Settings) -> AsyncIterator[RecordingView]:
    """Follow the one that is announced; yield what is shown."""
    record = None
    while record is None:
        record = await run_in_thread(lambda: next(iter(announced(settings)), None))
    async with running_follower(settings, OPTIONS, record) as view:
        yield view


async def test_what_another_users_listener_says_is_wrong_with_it_stands_in_the_header(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.registry.registry.ANNOUNCE_EVERY", 0.05)
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


class Looks:
    """Counts how often a follower has looked at what is announced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, look = 0, registry.announced_in

        def counting(*arguments: Any) -> list[WatchRecord]:
            found = look(*arguments)
            self.count += 1
            return found

        monkeypatch.setattr("callctl.watch.registry.registry.announced_in", counting)

    async def more(self, number: int) -> None:
        before = self.count
        await until(lambda: self.count >= before + number)


async def test_a_store_that_was_away_leaves_a_listener_time_to_announce_itself_again(
    simulator: Simulator, home: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.follower.HEALTH_INTERVAL", 0.05)
    every = 2.0  # so that it counts as gone after 80 looks
    monkeypatch.setattr("callctl.watch.registry.registry.ANNOUNCE_EVERY", every)
    settings = settings_of(simulator, home, server.new_store())
    announce_at("web1", settings, record_of(settings), monkeypatch)
    looks = Looks(monkeypatch)
    async with following(settings) as view:
        await looks.more(1)
        # As where the server was away for longer than what was announced counts.
        monkeypatch.setattr("callctl.watch.registry.registry.ANNOUNCED_FOR", 3.0)
        announce_at("web1", settings, record_of(settings), monkeypatch)
        over = time.monotonic() + 3
        monkeypatch.setattr("callctl.watch.registry.registry.ANNOUNCED_FOR", 20.0)
        server.kill()
        await view.until(lambda seen: [one.cause for one in seen.troubles] == ["store"])
        await until(lambda: time.monotonic() > over)
        server.start()
        await view.until(lambda seen: [one.cause for one in seen.resolved] == ["store"])
        await looks.more(10)
        announce_at("web1", settings, record_of(settings), monkeypatch)
        await looks.more(30)
        assert [one.cause for one in view.troubles] == ["store"]
        withdraw(settings, record_of(settings))
        assert await view.until_noted("gone") == (
            "the listener (process 7 at web1) is gone; start `callctl listen` again to listen"
        )


async def test_a_listener_that_could_not_announce_itself_does_so_as_soon_as_it_can(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.registry.registry.ANNOUNCE_EVERY", 1000.0)
    monkeypatch.setattr("callctl.watch.registry.registry.ANNOUNCE_RETRY", 0.05)
    announce, failures = registry.announce, [StoreAwayError("away", hint="wait")] * 2

    def failing(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        announce(*arguments)

    monkeypatch.setattr("callctl.watch.registry.registry.announce", failing)
    async with running_watch(replace(settings, state_dir=tmp_path / "theirs"), OPTIONS), following(settings):
        assert not failures
