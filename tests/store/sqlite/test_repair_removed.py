"""A store whose file is removed while it is in use, as one does to purge it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from claims import claimed
from events import START, WORLD, event, moment, sid

from callctl.calls.action import ActionEvent
from callctl.errors import StoreError
from callctl.store.records import OpenClaim, Undelivered
from callctl.store.sqlite.connection import connect
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


@pytest.mark.parametrize("back", [("", "-wal", "-shm"), ("", "-wal")])
@pytest.mark.parametrize("is_new_removed", [True, False])
def test_a_store_that_was_moved_away_and_comes_back_has_all_that_came_before_and_since(
    path: Path, store: SqliteStore, troubles: list[str], tmp_path: Path, back: tuple[str, ...], is_new_removed: bool
) -> None:
    for number in range(10):
        store.append(event(number, "ringing"))
    store.remember_placed(sid(1), at=START)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"{path.name}{suffix}").rename(tmp_path / f"events.db{suffix}")
    store.append(event(20, "ringing"))
    with closing(SqliteStore.open(path, world=WORLD)) as command:
        command.remember_placed(sid(20), at=START + timedelta(seconds=1))
    if is_new_removed:
        purge(path, "events.db*")
    for suffix in back:
        (tmp_path / f"events.db{suffix}").replace(path.with_name(f"{path.name}{suffix}"))
    store.append(event(21, "ringing"))
    assert kept(path) == [*(sid(number) for number in range(10)), sid(20), sid(21)]
    assert store.last_placed() == sid(20)
    assert store.was_placed(sid(1))
    begun, replaced = troubles
    assert "was removed, and is begun anew" in begun
    assert replaced.endswith("was replaced by another state of it; all that it lacked was written into that")
    store.close()
    assert kept(path) == [*(sid(number) for number in range(10)), sid(20), sid(21)]
    assert {file.name for file in path.parent.iterdir()} <= {"events.db", "events.db-wal", "events.db-shm"}


def backup_of(path: Path, folder: Path) -> Path:
    backup = folder / "backup.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    return backup


def delete_by_hand(path: Path, call: str) -> None:
    with closing(sqlite3.connect(path)) as shell, shell:
        shell.execute("DELETE FROM events WHERE call_id = (SELECT id FROM calls WHERE sid = ?)", (call,))


@pytest.mark.parametrize("deleted", ["by retention", "by hand", "nothing was there", "nothing"])
@pytest.mark.parametrize("is_all_removed", [True, False])
@pytest.mark.parametrize("has_id", [True, False])
def test_a_backup_whose_newest_event_has_been_deleted_since_loses_nothing_that_came_since(
    path: Path,
    store: SqliteStore,
    troubles: list[str],
    tmp_path: Path,
    deleted: str,
    is_all_removed: bool,
    has_id: bool,
) -> None:
    if deleted != "nothing was there":
        for number in range(3):
            store.append(event(number, "ringing", at=-3600 if number else 0))
    backup = backup_of(path, tmp_path)
    if not has_id:  # a callctl before this one made it
        with closing(sqlite3.connect(backup)) as shell:
            shell.executescript(
                "DROP TABLE undelivered; DROP TABLE listeners; DROP TABLE store_id; PRAGMA user_version = 8"
            )
    for number in range(10, 20):
        store.append(event(number, "ringing"))
    if deleted == "by retention":
        store.delete_older_than(START - timedelta(minutes=30))
    elif deleted == "by hand":
        delete_by_hand(path, sid(2))
    if is_all_removed:
        purge(path, "events.db*")
    backup.replace(path)
    with suppress(StoreError):  # raised by the write that notices it
        store.append(event(20, "ringing"))
    store.append(event(21, "ringing"))
    found = kept(path)
    if not has_id and deleted == "nothing was there" and is_all_removed:  # nothing shows whose it is
        assert found == [sid(20), sid(21)]
        return
    assert {*(sid(number) for number in range(10, 20)), sid(21)} <= set(found)
    assert len(found) == len(set(found))
    (trouble,) = troubles
    assert "was replaced by another state of it" in trouble or "copied to a new file" in trouble


def test_what_was_not_passed_on_since_is_kept_where_an_earlier_state_is_put_in_place(
    path: Path, store: SqliteStore, tmp_path: Path
) -> None:
    first, second = event(1, "ringing", at=1), event(2, "ringing", at=2)
    store.append(first)
    backup = backup_of(path, tmp_path)
    store.append(second)
    store.keep_undelivered(
        [
            Undelivered(one.call_sid, one.key, "http://127.0.0.1:5000/", one.received_at, "no answer", timedelta())
            for one in (first, second)
        ],
        now=START,
    )
    backup.replace(path)
    with suppress(StoreError):  # raised by the write that notices it
        store.append(event(20, "ringing"))
    store.append(event(21, "ringing"))
    assert {one.call_sid for _, one in store.undelivered(now=START)} == {sid(1), sid(2)}


@pytest.mark.parametrize("has_event", [True, False])
@pytest.mark.parametrize("kind", ["the same store", "another store"])
def test_what_rules_and_commands_have_done_since_is_kept_where_an_earlier_state_is_put_in_place(
    path: Path, store: SqliteStore, tmp_path: Path, has_event: bool, kind: str
) -> None:
    if has_event:
        store.append(event(1, "ringing"))
    settled, released = (OpenClaim("rule", sid(number), sid(number), "hangup") for number in (2, 3))
    held = [claimed(store, claim, now=START, until=START + timedelta(seconds=30)) for claim in (settled, released)]
    store.remember_placed(sid(7), at=START)
    store.add_intents([sid(4)], now=START, until=START + timedelta(seconds=30))
    backup = backup_of(path, tmp_path)
    if kind == "another store":
        with closing(sqlite3.connect(backup)) as shell, shell:
            shell.execute("UPDATE store_id SET id = 'other'")
            shell.execute("DELETE FROM intents")
            shell.execute("DELETE FROM claims WHERE sid = ?", (sid(3),))
    store.settle(held[0], ActionEvent(START, sid(2), "hangup", (), "done", rule="rule"))
    store.release(held[1])
    store.record_actions([ActionEvent(START, sid(4), "hangup", (), "done")])
    store.remember_placed(sid(8), at=START + timedelta(seconds=1))
    store.append(event(5, "ringing"))
    purge(path, "events.db*")
    backup.replace(path)
    store.append(event(6, "ringing"))
    assert store.expired_claims(is_over=lambda _: True) == []
    assert store.claim_keys() == {("rule", sid(2))}
    assert not store.had_intent(sid(4))
    assert store.last_placed() == sid(8)
    assert store.was_placed(sid(7))
    if kind == "the same store":
        assert [one.outcome for one in store.actions(sid(2))] == ["done"]
        assert [one.outcome for one in store.actions(sid(4))] == ["done"]
    else:
        assert sid(5) not in kept(path)


def test_two_watches_bring_a_backup_up_to_date_together_and_each_has_its_events(path: Path, tmp_path: Path) -> None:
    with (
        closing(SqliteStore.open_for_watch(path, world=WORLD)) as one,
        closing(SqliteStore.open_for_watch(path, world="other")) as other,
    ):
        one.append(event(1, "ringing"))
        backup = backup_of(path, tmp_path)
        one.append(event(2, "ringing"))
        other.append(event(3, "ringing"))
        purge(path, "events.db*")
        backup.replace(path)
        for _ in range(3):
            one.check_writable()
            inode = path.stat().st_ino
            other.check_writable()
        assert path.stat().st_ino == inode
        assert [found.call_sid for found in one.replay(since=None)] == [sid(1), sid(2)]
        assert [found.call_sid for found in other.replay(since=None)] == [sid(3)]


def test_a_follower_gets_each_row_once_where_a_backup_is_put_in_place(
    path: Path, store: SqliteStore, tmp_path: Path
) -> None:
    for number in range(10):
        store.append(event(number, "ringing"))
    backup = backup_of(path, tmp_path)
    store.append(event(10, "ringing"))
    with closing(SqliteStore.open_readonly(path, world=WORLD)) as reader:
        last = reader.last_event_id()
        store.append(event(11, "ringing"))
        purge(path, "events.db*")
        backup.replace(path)
        store.append(event(12, "ringing"))
        found = reader.after(last)
        assert [one.call_sid for _, one in found] == [sid(11), sid(12)]
        assert reader.after(found[-1][0]) == []


def test_a_purge_makes_room_for_the_new_store_on_a_full_disk(
    path: Path, store: SqliteStore, troubles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    former, failures = store._writing.connection, 0

    def connect_with_little_room(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
        nonlocal failures
        with suppress(sqlite3.ProgrammingError):  # it is closed, and its files' space is free
            former.execute("SELECT 1")
            raise StoreError("the disk is full")
        failures += 1
        if failures == 1:  # somebody else has taken the room
            raise StoreError("the disk is full")
        return connect(path, busy_timeout=busy_timeout)

    store.append(event(1, "ringing"))
    claimed(store, CLAIM, now=START, until=START + timedelta(minutes=1))
    store.remember_placed(sid(7), at=START)
    monkeypatch.setattr("callctl.store.sqlite.store.connect", connect_with_little_room)
    purge(path, "events.db*")
    with pytest.raises(StoreError, match="full"):
        store.append(event(2, "ringing"))
    assert troubles == []
    assert store.append(event(3, "ringing"))
    assert kept(path) == [sid(3)]
    assert store.claim_keys() == {("rule", sid(2))}
    assert store.last_placed() == sid(7)
    assert len(troubles) == 1


_KILLED_WHILE_MERGING = """
import os, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from events import START, event, sid
from callctl.store.sqlite import repair
from callctl.store.sqlite.store import SqliteStore

path, backup = Path(sys.argv[1]), Path(sys.argv[2])
store = SqliteStore.open_for_watch(path, world=sys.argv[3])
for number in range(10, 20):
    store.append(event(number, "ringing"))
store.remember_placed(sid(19), at=START + timedelta(seconds=1))
store.check_writable()
for file in path.parent.iterdir():
    file.unlink()
backup.replace(path)
repair.merge = lambda *_: os._exit(9)
store.append(event(20, "ringing"))
"""


def test_a_watch_that_is_killed_while_it_brings_a_backup_up_to_date_loses_nothing(
    path: Path, tmp_path: Path, troubles: list[str]
) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        for number in range(3):
            store.append(event(number, "ringing"))
        store.remember_placed(sid(1), at=START)
        backup = backup_of(path, tmp_path)
    program = [sys.executable, "-c", _KILLED_WHILE_MERGING, str(path), str(backup), WORLD]
    folders = os.pathsep.join(sys.path)
    assert subprocess.run(program, check=False, env={**os.environ, "PYTHONPATH": folders}).returncode == 9
    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as store:
        assert {one.call_sid for one in store.replay(since=None)} == {
            sid(number) for number in (*range(3), *range(10, 20))
        }
        assert store.last_placed() == sid(19)
    assert {file.name for file in path.parent.iterdir()} == {"events.db"}
    assert troubles == []


# A watch that is killed at a step of what it does where another state of its store was put in place of its file.
_KILLED_AT_STEP = """
import os, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from events import START, event, sid
from callctl.store.records import Undelivered
from callctl.store.sqlite import repair
from callctl.store.sqlite.store import SqliteStore

path, put = Path(sys.argv[1]), Path(sys.argv[2])
store = SqliteStore.open_for_watch(path, world=sys.argv[3])
for number in range(10, 20):
    store.append(event(number, "ringing"))
last = event(19, "ringing")
kept = [Undelivered(last.call_sid, last.key, "http://127.0.0.1:5000/", last.received_at, "no answer", timedelta())]
store.keep_undelivered(kept, now=START)
other = SqliteStore.open_for_watch(path, world="other")
for number in range(30, 40):
    other.append(event(number, "ringing"))
store.remember_placed(sid(19), at=START + timedelta(seconds=1))
put.replace(path)
STEP = lambda *_, **__: os._exit(9)
store.append(event(20, "ringing"))
"""


def run_until_killed(path: Path, put: Path, step: str, *, is_all_replaced: bool) -> None:
    program = _KILLED_AT_STEP.replace("STEP", step)
    if is_all_replaced:
        program = program.replace("put.replace", "[file.unlink() for file in path.parent.iterdir()]; put.replace")
    arguments = [sys.executable, "-c", program, str(path), str(put), WORLD]
    folders = os.pathsep.join(sys.path)
    assert subprocess.run(arguments, check=False, env={**os.environ, "PYTHONPATH": folders}).returncode == 9


def kept_after_a_kill(path: Path, world: str) -> list[str]:
    with closing(SqliteStore.open_for_watch(path, world=world)) as store:
        return [one.call_sid for one in store.replay(since=None)]


@pytest.mark.parametrize("is_all_replaced", [False, True])
@pytest.mark.parametrize("put", ["a copy of its file", "a backup", "a copy that has given its ids otherwise"])
def test_a_watch_that_is_killed_while_it_checks_another_state_of_its_store_loses_nothing(
    path: Path, tmp_path: Path, put: str, is_all_replaced: bool
) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        for number in range(3):
            store.append(event(number, "ringing"))
        backup = backup_of(path, tmp_path)
        if put == "a backup":  # that lacks more than what will be in the log
            store.append(event(3, "ringing"))
    if put == "a copy of its file":
        shutil.copyfile(path, backup)
    elif put != "a backup":
        with closing(SqliteStore.open_for_watch(backup, world=WORLD)) as store:
            store.append(event(4, "ringing"))
    run_until_killed(path, backup, "repair.RepairingConnection._compare", is_all_replaced=is_all_replaced)
    more = {"a copy of its file": [], "a backup": [3]}.get(put, [4])
    assert kept_after_a_kill(path, WORLD) == [sid(number) for number in (*range(3), *more, *range(10, 20))]
    assert kept_after_a_kill(path, "other") == [sid(number) for number in range(30, 40)]
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        assert store.last_placed() == sid(19)
        assert [one.call_sid for _, one in store.undelivered(now=START)] == [sid(19)]
    assert list(path.parent.glob(".*")) == []


def test_a_watch_that_is_killed_while_it_writes_down_what_others_wrote_has_its_own_events(
    path: Path, tmp_path: Path
) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        store.append(event(1, "ringing"))
        backup = backup_of(path, tmp_path)
    run_until_killed(path, backup, "repair.copy_table", is_all_replaced=True)  # in the midst of a transaction
    assert kept_after_a_kill(path, WORLD) == [sid(1), *(sid(number) for number in range(10, 20))]
    assert list(path.parent.glob(".*")) == []


def test_another_store_that_is_put_at_the_path_after_a_kill_gets_no_event_of_the_former_one(
    path: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "other" / "events.db"
    with closing(SqliteStore.open_for_watch(elsewhere, world=WORLD)) as store:
        store.append(event(50, "ringing"))
        other = backup_of(elsewhere, elsewhere.parent)
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        store.append(event(1, "ringing"))
        backup = backup_of(path, tmp_path)
    run_until_killed(path, backup, "repair.RepairingConnection._compare", is_all_replaced=True)
    other.replace(path)
    assert kept_after_a_kill(path, WORLD) == [sid(50)]
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        assert store.was_placed(sid(19))  # so that rules for calls that callctl placed know it
    assert list(path.parent.glob(".*")) == []


@pytest.mark.parametrize("has_former_log", [False, True])
def test_nothing_comes_back_from_a_backup_that_is_not_used(
    path: Path, store: SqliteStore, tmp_path: Path, troubles: list[str], has_former_log: bool
) -> None:
    """One with a second name, say: what it holds was in the store, and what of it is gone is over."""
    first = event(1, "ringing")
    store.append(first)
    kept = Undelivered(first.call_sid, first.key, "http://127.0.0.1:5000/", START, "no answer", timedelta())
    store.keep_undelivered([kept], now=START)
    store.add_intents([sid(1)], now=START, until=START)
    backup = backup_of(path, tmp_path)
    store.forget_undelivered([kept])
    store.remove_intents([sid(1)])
    store.append(event(2, "ringing"))
    os.link(backup, tmp_path / "linked.db")
    if not has_former_log:
        purge(path, "events.db*")
    backup.replace(path)
    with suppress(StoreError):
        store.append(event(3, "ringing"))
    store.append(event(4, "ringing"))
    assert {one.call_sid for one in store.replay(since=None)} >= set(map(sid, (1, 2, 4)))
    assert "is not used" in troubles[0]
    assert store.undelivered(now=START) == []
    assert not store.had_intent(sid(1))


# A watch whose store is replaced by another one, into which events come, and that by the first one; it is killed then.
_KILLED_ON_THE_WAY_BACK = """
import os, sys
from pathlib import Path
from events import event
from callctl.store.sqlite import repair
from callctl.store.sqlite.store import SqliteStore

path, other, back = map(Path, sys.argv[1:4])
store = SqliteStore.open_for_watch(path, world=sys.argv[4])

def put(file):
    for one in path.parent.iterdir():
        one.unlink()
    file.replace(path)

put(other)
for number in (10, 11):
    store.append(event(number, "ringing"))
repair.RepairingConnection._compare = lambda *_, **__: os._exit(9)
put(back)
store.append(event(12, "ringing"))
"""


def test_what_came_while_another_store_was_used_is_in_the_first_one_that_was_put_back_before_a_kill(
    path: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "other" / "events.db"
    with closing(SqliteStore.open_for_watch(elsewhere, world=WORLD)) as store:
        store.append(event(50, "ringing"))
        other = backup_of(elsewhere, elsewhere.parent)
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        store.append(event(1, "ringing"))
        back = backup_of(path, tmp_path)
    program = [sys.executable, "-c", _KILLED_ON_THE_WAY_BACK, str(path), str(other), str(back), WORLD]
    folders = os.pathsep.join(sys.path)
    assert subprocess.run(program, check=False, env={**os.environ, "PYTHONPATH": folders}).returncode == 9
    assert set(kept_after_a_kill(path, WORLD)) >= {sid(1), sid(10), sid(11)}


def test_rows_that_are_kept_beside_a_store_stay_there_until_they_are_in_it(
    path: Path, store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, say; and a purge that comes then is one."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def put_in_place() -> None:
        with monkeypatch.context() as full:
            full.setattr("callctl.store.sqlite.repair.merge", fail)
            backup.replace(path)
            for _ in range(2):
                with pytest.raises(StoreError, match="No space left"):
                    store.append(event(98, "ringing"))

    backup = backup_of(path, tmp_path)
    store.append(event(1, "ringing"))
    put_in_place()
    after_a_kill = tmp_path / "after-a-kill"
    shutil.copytree(path.parent, after_a_kill)
    with closing(SqliteStore.open_for_watch(after_a_kill / path.name, world=WORLD)) as reopened:
        assert [one.call_sid for one in reopened.replay(since=None)] == [sid(1)]
    assert store.append(event(2, "ringing"))
    assert kept(path) == [sid(1), sid(2)]
    assert list(path.parent.glob(".*")) == []
    backup = backup_of(path, tmp_path)
    store.append(event(3, "ringing"))
    put_in_place()
    purge(path, "events.db*")
    store.append(event(4, "ringing"))
    assert list(path.parent.glob(".*")) == []
    assert kept(path) == [sid(4)]


def test_who_reads_on_takes_nothing_of_another_store_for_news_that_was_before(path: Path, tmp_path: Path) -> None:
    """Also where little was read until then."""
    archive = tmp_path / "archive.db"
    for where, first, count in ((archive, 100, 20), (path, 9000, 2)):
        with closing(SqliteStore.open_for_watch(where, world=WORLD)) as store:
            for number in range(first, first + count):
                store.append(event(number, "ringing", at=number))
    with closing(SqliteStore.open_readonly(path, world=WORLD)) as reader:
        last = reader.last_event_id()
        purge(path, "events.db*")
        archive.replace(path)
        with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
            for number in (8000, 8999, 9003):  # the second one came to another listener whose clock is behind
                store.append(event(number, "ringing", at=number))
            found = list[str]()
            for _ in range(5):
                with suppress(StoreError):
                    found += [one.call_sid for _, one in reader.after(last)]
                    break
    assert found == [sid(8999), sid(9003)]


def test_who_reads_on_takes_what_comes_to_another_store_for_news_though_a_clock_was_ahead(
    path: Path, tmp_path: Path
) -> None:
    archive, now = tmp_path / "archive.db", (datetime.now(UTC) - START).total_seconds()
    for where, number, at in ((archive, 1, now - 7200), (path, 2, now + 86400)):
        with closing(SqliteStore.open_for_watch(where, world=WORLD)) as store:
            store.append(event(number, "ringing", at=at))
    with closing(SqliteStore.open_readonly(path, world=WORLD)) as reader:
        last = reader.last_event_id()
        purge(path, "events.db*")
        archive.replace(path)
        with suppress(StoreError):
            assert reader.after(last) == []
        assert reader.after(last) == []
        with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
            store.append(event(3, "ringing", at=now))
        assert [one.call_sid for _, one in reader.after(last)] == [sid(3)]


@pytest.mark.parametrize("looks_first", [True, False])
def test_who_reads_on_takes_nothing_of_an_old_backup_for_news(
    path: Path, store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks_first: bool
) -> None:
    """More has come since than a reader knows again."""
    monkeypatch.setattr("callctl.store.sqlite.cursor._MOST_KNOWN", 5)
    monkeypatch.setattr("callctl.store.sqlite.cursor._MOST_PAGES", 1)
    backup = None
    for number in range(40):
        store.append(event(number, "ringing", at=100 * number))
        store.record_actions([ActionEvent(moment(100 * number), sid(number), "hangup", (), "done")])
        if number == 10:
            backup = backup_of(path, tmp_path)
    assert backup is not None
    with closing(SqliteStore.open_readonly(path, world=WORLD)) as reader:
        last, last_action = reader.last_event_id(), reader.last_action_id()
        purge(path, "events.db*")
        backup.replace(path)
        if looks_first:
            with suppress(StoreError):
                assert (reader.after(last), reader.actions_after(last_action)) == ([], [])
        with suppress(StoreError):
            store.append(event(50, "ringing", at=4100))
        store.append(event(51, "ringing", at=4100))
        store.append(event(50, "ringing", at=4100))
        store.record_actions([ActionEvent(moment(4100), sid(50), "hangup", (), "done")])
        found, acted = list[str](), list[str]()
        for _ in range(20):
            with suppress(StoreError):
                events = reader.after(last, limit=10)
                last = events[-1][0] if events else last
                actions = reader.actions_after(last_action, limit=10)
                last_action = actions[-1][0] if actions else last_action
                found += [one.call_sid for _, one in events]
                acted += [action.call_sid for _, action in actions]
        assert (sorted(found), acted) == ([sid(50), sid(51)], [sid(50)])
