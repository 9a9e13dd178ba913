"""A store whose file is removed while it is in use, as one does to purge it."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from events import START, WORLD, event, sid

from callctl.calls.action import ActionEvent
from callctl.store.records import OpenClaim
from callctl.store.sqlite.store import SqliteStore

CLAIM = OpenClaim("rule", sid(2), sid(2), "hangup")


def kept(path: Path) -> list[str]:
    reader = SqliteStore.open_readonly(path, world=WORLD)
    sids = [one.call_sid for one in reader.replay(since=None)]
    reader.close()
    return sids


def purge(path: Path, whole: str) -> None:
    for file in path.parent.glob(whole):
        file.unlink()


@pytest.mark.parametrize("whole", ["events.db*"])
def test_what_is_acknowledged_after_a_purge_is_kept_and_what_came_before_is_gone(
    path: Path, store: SqliteStore, whole: str
) -> None:
    claims = SqliteStore.open(path, world=WORLD)
    for number in range(100):
        store.append(event(number, "ringing"))
    purge(path, whole)
    assert store.append(event(1, "ringing"))
    assert claims.claim(CLAIM, now=START, until=START + timedelta(minutes=1))
    assert store.append(event(2, "ringing"))
    claims.close()
    assert kept(path) == [sid(1), sid(2)]
    assert [row.call_sid for row in store.live_calls()] == [sid(1), sid(2)]
    store.close()
    assert kept(path) == [sid(1), sid(2)]
    assert path.stat().st_mode & 0o077 == 0


def test_the_folder_may_go_too(path: Path, store: SqliteStore) -> None:
    store.append(event(1, "ringing"))
    shutil.rmtree(path.parent)
    assert store.append(event(2, "ringing"))
    assert kept(path) == [sid(2)]


def test_a_follower_goes_on_with_the_new_file(path: Path, store: SqliteStore) -> None:
    for number in range(10):
        store.append(event(number, "ringing"))
    store.record_actions([ActionEvent(START, sid(1), "hangup", (), "done")])
    reader = SqliteStore.open_readonly(path, world=WORLD)
    last, last_action = reader.last_event_id(), reader.last_action_id()
    assert (reader.after(last), reader.actions_after(last_action)) == ([], [])
    purge(path, "events.db*")
    store.append(event(20, "ringing"))
    store.record_actions([ActionEvent(START, sid(20), "hangup", (), "done")])
    assert [one.call_sid for _, one in reader.after(last)] == [sid(20)]
    assert [one.call_sid for _, one in reader.actions_after(last_action)] == [sid(20)]
    reader.close()


def test_a_store_that_is_put_back_without_its_index_lies_beside_the_new_one_and_that_is_said(
    path: Path, store: SqliteStore, troubles: list[str], tmp_path: Path
) -> None:
    for number in range(10):
        store.append(event(number, "ringing"))
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"{path.name}{suffix}").rename(tmp_path / f"events.db{suffix}")
    store.append(event(20, "ringing"))
    for suffix in ("", "-wal"):
        (tmp_path / f"events.db{suffix}").replace(path.with_name(f"{path.name}{suffix}"))
    store.append(event(21, "ringing"))
    assert kept(path) == [sid(20), sid(21)]
    assert kept(path.with_name("events.db.damaged-1")) == [sid(number) for number in range(10)]
    begun, replaced = troubles
    assert "was removed, and is begun anew" in begun
    assert replaced.endswith(
        "another file has taken its place; all that was in the former one was copied to a new file; "
        "what was put there is not used, and is beside it as events.db.damaged-1*"
    )
