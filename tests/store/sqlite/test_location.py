"""Where a store may lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from callctl.errors import StoreError
from callctl.store.sqlite.location import store_exists


def test_a_store_is_there_or_not(tmp_path: Path) -> None:
    path = tmp_path / "state" / "events.db"
    assert not store_exists(path)
    path.parent.mkdir()
    assert not store_exists(path)
    path.touch()
    assert store_exists(path)


def test_what_can_be_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "events.db-wal").mkdir()
    for path, what in (
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "events.db", "is no folder"),
        (tmp_path / "link", "is a symbolic link that leads nowhere"),
        (tmp_path / "events.db", "events.db-wal is no regular file"),
    ):
        with pytest.raises(StoreError, match=what):
            store_exists(path)
