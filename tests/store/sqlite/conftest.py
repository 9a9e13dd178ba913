from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from events import WORLD

from callctl.store.sqlite.store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "events.db"


@pytest.fixture
def troubles() -> list[str]:
    """Return what the store reports, as it does so."""
    return []


@pytest.fixture
def store(path: Path, troubles: list[str]) -> Iterator[SqliteStore]:
    store = SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)
    yield store
    store.close()
