"""The test of the store behind /readyz, and the histograms."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from callctl.errors import StoreError
from callctl.watch import monitoring
from callctl.watch.counts import Histogram
from callctl.watch.monitoring import StoreTest

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Store:
    def __init__(self) -> None:
        self.tests = 0
        self.fails = False
        self.held = threading.Event()
        self.held.set()

    def check_writable(self) -> None:
        self.tests += 1
        self.held.wait()
        if self.fails:
            raise StoreError("can't write to the event store: database or disk is full")


@pytest.fixture
def store() -> Store:
    return Store()


def store_test(store: Store, seconds: list[float]) -> StoreTest:
    return StoreTest(store.check_writable, now=lambda: NOW, clock=lambda: seconds[0])


async def test_it_is_tested_anew_after_a_second_and_not_before(store: Store) -> None:
    seconds = [0.0]
    test = store_test(store, seconds)
    assert await test.failure() is None
    store.fails = True
    assert await test.failure() is None
    seconds[0] = 1.0
    assert "disk is full" in str(await test.failure())
    store.fails = False
    assert "disk is full" in str(await test.failure())
    seconds[0] = 2.0
    assert await test.failure() is None
    assert store.tests == 3


async def test_a_commit_is_as_good_as_a_test(store: Store) -> None:
    seconds = [0.0]
    test = store_test(store, seconds)
    store.fails = True
    assert await test.failure() is not None
    test.committed()
    assert await test.failure() is None
    assert test.last_commit_at == NOW
    assert store.tests == 1


async def test_one_that_takes_too_long_is_a_failure_and_no_second_one_begins(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "TEST_LIMIT", 0.01)
    store.held.clear()
    test = store_test(store, [0.0])
    for why in await asyncio.gather(test.failure(), test.failure()):
        assert "takes longer" in str(why)
    monkeypatch.setattr(monitoring, "TEST_LIMIT", 60.0)
    store.held.set()
    assert await test.failure() is None
    assert store.tests == 1


def test_a_bound_belongs_to_what_is_below_it() -> None:
    histogram = Histogram((1, 2, 4))
    for value in (0.5, 1, 1.5, 4, 5):
        histogram.add(value)
    assert histogram.counts == [2, 1, 1, 1]
    assert histogram.sum == 12
