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
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore.open_for_watch(path, world=WORLD, busy_timeout=0.05)
    yield store
    store.close()
