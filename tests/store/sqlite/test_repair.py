"""Files that are changed from outside under an open store: what was acknowledged is kept, and no rule acts twice."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from claims import claimed
from events import START, WORLD, event, sid
from store_damage import (
    DAMAGES,
    MOVES,
    copy_large_database_over,
    copy_small_database_over,
    copy_store_over,
    cut_log,
    empty_database,
    empty_log,
    link_folder_with_second_name,
    log_of,
    remove_database,
    remove_index,
    remove_log,
    zero_log,
)

from callctl.calls.action import ActionEvent
from callctl.errors import StoreError
from callctl.store.records import OpenClaim
from callctl.store.sqlite.connection import locked_folder
from callctl.store.sqlite.file_checks import FileChecks, NewestEvent, is_sound
from callctl.store.sqlite.rescue.leftovers import settle_leftovers
from callctl.store.sqlite.rescue.set_aside import set_aside
from callctl.store.sqlite.store import SqliteStore

CLAIM = OpenClaim("rule", sid(2), sid(2), "hangup")
UNTIL = START + timedelta(minutes=1)
EVENTS = 50

Damage = Callable[[Path], None]


def named(damage: Damage) -> str:
    return damage.__name__


def kept(path: Path) -> set[str]:
    """Return the calls of which a store that is opened anew, as after a crash, has events."""
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as reopened:
        assert reopened._writing.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {one.call_sid for one in reopened.replay(since=None)}


def fill(store: SqliteStore) -> set[str]:
    for number in range(EVENTS):
        store.append(event(number, "ringing"))
    return {sid(number) for number in range(EVENTS)}


def fill_on(store: SqliteStore) -> set[str]:
    """Store as many events again, where the files may be damaged; return the calls of those that were acknowledged."""
    acknowledged = set[str]()
    for number in range(EVENTS, 2 * EVENTS):
        with suppress(StoreError):
            store.append(event(number, "ringing"))
            acknowledged.add(sid(number))
    return acknowledged


def put_link(path: Path, target: Path) -> None:
    """Put a link in the place of a store, in one step."""
    link = path.with_name("link")
    link.symlink_to(target)
    link.replace(path)


def copy_of(path: Path) -> Path:
    """Return what a crash would leave of a store: its files, as they lie on the disk now."""
    copy = path.parent.with_name(f"{path.parent.name}-after-a-crash")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path.parent, copy)
    return copy / path.name


def checkpoint(path: Path) -> None:
    """Do what a shell of SQLite's may do: bring all to the database, and empty the log."""
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("damage", [empty_log, cut_log, zero_log], ids=named)
def test_what_a_watch_before_has_written_is_there_though_the_log_is_damaged(
    path: Path, damage: Damage, is_killed: bool
) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as before:
        for number in range(0, 3000, 100):
            waiting = [before.submit(event(one, "ringing")) for one in range(number, number + 100)]
            assert all(one.result() for one in waiting)
        if is_killed:
            path = copy_of(path)
    with (
        closing(SqliteStore.open_for_watch(path, world=WORLD)) as store,
        closing(SqliteStore.open(path, world=WORLD)) as claims,
    ):
        for number in range(3000, 3050):
            store.append(event(number, "ringing"))
        # What another connection writes makes SQLite forget the pages in its memory.
        claims.claim(CLAIM, now=START, until=UNTIL)
        store.append(event(0, "in-progress"))
        damage(path)
        for number in range(3050, 3060):
            with suppress(StoreError):
                store.append(event(number, "ringing"))
        assert {sid(number) for number in range(3050)} <= kept(copy_of(path))


@pytest.mark.parametrize("is_checkpointed", [False, True])
@pytest.mark.parametrize("damage", DAMAGES, ids=named)
def test_all_that_was_acknowledged_is_there_after_a_crash(
    path: Path, store: SqliteStore, troubles: list[str], damage: Damage, is_checkpointed: bool
) -> None:
    acknowledged = fill(store)
    if is_checkpointed:
        checkpoint(path)
        store.append(event(0, "in-progress"))
    damage(path)
    acknowledged |= fill_on(store)
    assert len(acknowledged) >= 2 * EVENTS - 1
    assert acknowledged <= kept(copy_of(path))
    if damage is copy_store_over and not is_checkpointed:
        assert troubles == []  # all that is in the database is in the log as well
        return
    (trouble,) = troubles
    assert "was changed from outside" in trouble
    assert f"{path.name}.damaged-1*" in trouble
    assert path.stat().st_mode & 0o077 == 0


def copy_of_linked(path: Path) -> Path:
    """Return what a crash would leave of a store that links lead to, as the next program that opens it finds it."""
    real = path.resolve()
    copy = real.parent.with_name("after-a-crash") / real.name
    copy.parent.mkdir()
    for suffix in ("", "-wal"):
        if real.with_name(real.name + suffix).exists():
            shutil.copyfile(f"{real}{suffix}", f"{copy}{suffix}")
    return copy


@pytest.mark.parametrize("is_linked", [False, True], ids=["plain", "linked"])
@pytest.mark.parametrize("move", MOVES, ids=named)
def test_all_that_was_acknowledged_is_at_the_path_where_a_link_leads_to_the_same_database_elsewhere(
    path: Path, troubles: list[str], move: Damage, is_linked: bool
) -> None:
    opened = path
    if is_linked:
        SqliteStore.open_for_watch(path, world=WORLD).close()
        opened = path.parent.with_name("link.db")
        opened.symlink_to(path)
    with closing(SqliteStore.open_for_watch(opened, world=WORLD, on_trouble=troubles.append)) as store:
        reader = SqliteStore.open_readonly(opened, world=WORLD)
        acknowledged = fill(store)
        move(path)
        if is_linked and move is not link_folder_with_second_name:  # this link leads where the other one does
            opened.unlink()
            opened.symlink_to(path.resolve())
        acknowledged |= fill_on(store)
        assert len(acknowledged) >= 2 * EVENTS - 1
        assert acknowledged <= kept(copy_of_linked(opened))
        (trouble,) = troubles
        assert "its log (-wal) was removed" in trouble
        assert ".damaged-1*" in trouble
        assert {one.call_sid for one in reader.replay(since=None)} >= acknowledged
        reader.close()
        if move is not link_folder_with_second_name:  # else the log still lies beside the first name of its database
            assert not log_of(path).exists()  # it would be applied to a database that is put there
    assert acknowledged <= kept(opened)


@pytest.mark.parametrize("kind", ["text", "folder", "device", "pipe", "database"])
def test_what_a_link_leads_to_that_took_the_stores_place_stays_as_it_is(
    path: Path, store: SqliteStore, troubles: list[str], tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "theirs" / "notes"
    target.parent.mkdir()
    if kind == "text":
        target.write_text("notes")
    elif kind == "folder":
        target.mkdir()
    elif kind == "device":
        try:
            os.mknod(target, stat.S_IFCHR | 0o666, Path("/dev/null").stat().st_rdev)
        except PermissionError:
            pytest.skip("only root makes devices")
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        with closing(sqlite3.connect(target)) as database:
            database.execute("CREATE TABLE note (text)")

    def state() -> tuple[int, ...]:
        now = target.lstat()
        return now.st_ino, now.st_mode, now.st_size, now.st_mtime_ns, now.st_nlink

    before = state()
    acknowledged = fill(store)
    put_link(path, target)
    acknowledged |= fill_on(store)
    assert acknowledged <= kept(copy_of_linked(path))
    assert len(acknowledged) >= 2 * EVENTS - 1
    assert [entry.name for entry in target.parent.iterdir()] == [target.name]
    assert state() == before
    (trouble,) = troubles
    assert "what was put there is not used, and is beside it as events.db.damaged-1*" in trouble
    assert not path.is_symlink()
    assert path.with_name("events.db.damaged-1").readlink() == target


@pytest.mark.parametrize("is_moved", [False, True], ids=["replaced", "moved"])
def test_a_link_that_leads_nowhere_is_no_purge(
    path: Path, store: SqliteStore, troubles: list[str], tmp_path: Path, is_moved: bool
) -> None:
    """It has a typo, or leads to a disk that is not mounted yet."""
    acknowledged = fill(store)
    if is_moved:
        path.rename(tmp_path / "moved.db")
    put_link(path, tmp_path / "not" / "there" / path.name)
    acknowledged |= fill_on(store)
    assert acknowledged <= kept(copy_of_linked(path))
    assert len(acknowledged) >= 2 * EVENTS - 1
    assert not (tmp_path / "not").exists()
    (trouble,) = troubles
    assert "all that was in it was copied to a new file" in trouble


def test_a_folder_that_is_moved_while_a_link_leads_to_it_loses_nothing(path: Path, troubles: list[str]) -> None:
    folder, moved = path.parent.with_name("one"), path.parent.with_name("other")
    folder.mkdir()
    path.parent.symlink_to(folder)
    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as store:
        acknowledged = fill(store)
        folder.rename(moved)
        path.parent.unlink()
        path.parent.symlink_to(moved)
        acknowledged |= fill_on(store)
        assert acknowledged <= kept(copy_of_linked(path))
    (trouble,) = troubles
    assert "its folder was moved; all that was in it was copied to a new file" in trouble


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(
    path: Path, store: SqliteStore, troubles: list[str], end: str
) -> None:
    acknowledged = fill(store)
    file = path.with_name(path.name + end)
    file.unlink()
    os.mkfifo(file)
    with suppress(StoreError):
        store.submit(event(EVENTS, "ringing")).result(timeout=60)
    assert store.submit(event(EVENTS + 1, "ringing")).result(timeout=60)
    assert acknowledged <= kept(copy_of_linked(path))
    assert len(troubles) == 1


@pytest.mark.parametrize("damage", DAMAGES, ids=named)
def test_what_is_damaged_between_two_commits_that_follow_each_other_is_noticed_after_the_second(
    path: Path, store: SqliteStore, damage: Damage
) -> None:
    acknowledged = fill(store)
    damaged: list[Path] = []

    def damage_once(_: Future[bool]) -> None:  # in the writer's thread, between two commits
        if not damaged:
            damaged.append(path)
            damage(path)

    with store._writing._lock:  # until all of them wait: they are more than share a commit
        numbers = range(EVENTS, EVENTS + 1000)
        waiting = {sid(number): store.submit(event(number, "ringing")) for number in numbers}
        for future in waiting.values():
            future.add_done_callback(damage_once)
    for call, future in waiting.items():
        with suppress(StoreError):
            future.result()
            acknowledged.add(call)
    assert damaged == [path]
    assert len(acknowledged) >= EVENTS + 500  # no more than one commit is lost, and its callers are told
    assert acknowledged <= kept(copy_of(path))


@pytest.mark.parametrize("damage", [copy_large_database_over, copy_store_over])
def test_another_database_is_noticed_at_once_also_where_all_was_checked_just_before(
    path: Path, store: SqliteStore, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.store.sqlite.file_checks._CHECK_PAUSE", 10**9)
    acknowledged = fill(store)
    checkpoint(path)
    store.append(event(0, "in-progress"))
    damage(path)
    with suppress(StoreError):
        store.append(event(EVENTS, "ringing"))
    assert acknowledged <= kept(copy_of(path))


@pytest.mark.parametrize("damage", DAMAGES, ids=named)
def test_no_rule_acts_twice(path: Path, store: SqliteStore, damage: Damage) -> None:
    claims = SqliteStore.open(path, world=WORLD)
    held = claimed(claims, CLAIM, now=START, until=UNTIL)
    claims.settle(held, ActionEvent(START, sid(2), "hangup", (), "done", rule="rule"))
    store.remember_placed(sid(7), at=START)
    fill(store)
    damage(path)
    with suppress(StoreError):
        store.append(event(99, "ringing"))
    store.append(event(99, "ringing"))
    assert not claims.claim(CLAIM, now=START, until=UNTIL)
    assert claims.was_placed(sid(7))
    assert [one.outcome for one in store.actions(sid(2))] == ["done"]
    claims.close()


def test_a_store_larger_than_the_memory_of_its_connection_loses_nothing_that_lies_in_its_log(
    path: Path, store: SqliteStore
) -> None:
    store._writing.connection.execute("PRAGMA cache_size = 10")
    acknowledged = fill(store)
    with closing(SqliteStore.open_for_watch(path, world="other")) as other:
        other.append(event(1, "ringing"))  # what was in memory of the files is read anew
    empty_log(path)
    with suppress(StoreError):
        store.append(event(99, "ringing"))
    assert acknowledged <= kept(copy_of(path))


def test_megabytes_of_a_database_that_is_overwritten_can_still_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.store.sqlite.writer._MOST_RECENT", 10)
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        for number in range(300):
            store.append(event(number, "ringing", Filling="x" * 20_000))
        store._writing.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        store.append(event(300, "ringing"))
        empty_database(path)
        with suppress(StoreError):
            store.append(event(301, "ringing"))
        assert {sid(number) for number in range(301)} <= kept(copy_of(path))


def test_a_log_that_cannot_be_opened_just_now_is_no_damage(
    path: Path, store: SqliteStore, troubles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged = fill(store)

    opened = os.open

    def refuse(name: str | Path, flags: int, *more: int) -> int:
        if str(name).endswith("-wal"):
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(name, flags, *more)

    with monkeypatch.context() as patch:
        patch.setattr("callctl.store.sqlite.files.os.open", refuse)
        with pytest.raises(StoreError, match="Too many open files"):
            store.append(event(98, "ringing"))
    assert store.append(event(99, "ringing"))
    assert troubles == []
    assert acknowledged | {sid(99)} <= kept(copy_of(path))


def test_the_newest_event_that_another_watch_deletes_is_no_damage(
    path: Path, store: SqliteStore, troubles: list[str]
) -> None:
    with closing(SqliteStore.open_for_watch(path, world="other")) as other:
        other.append(event(1, "ringing"))
        store.delete_older_than(START)  # a commit that sees it
        assert other.delete_older_than(START + timedelta(days=1)) == 1
    checkpoint(path)
    assert store.append(event(2, "ringing"))
    assert troubles == []


@pytest.mark.parametrize("damage", [copy_small_database_over, copy_large_database_over, copy_store_over])
def test_a_database_of_another_program_is_never_taken_for_what_the_store_held(
    path: Path, store: SqliteStore, troubles: list[str], damage: Damage
) -> None:
    acknowledged = fill(store)
    checkpoint(path)
    damage(path)
    for connection in (store._writing.connection, store._reading.connection):
        connection.execute("PRAGMA shrink_memory")  # as where another process has written: it is read anew
    for number in range(EVENTS, EVENTS + 3):
        with suppress(StoreError):
            store.append(event(number, "ringing"))
            acknowledged.add(sid(number))
    assert len(acknowledged) >= EVENTS + 2
    assert acknowledged <= kept(copy_of(path))
    (trouble,) = troubles
    assert f"{path.name}.damaged-1*" in trouble
    assert not list(path.parent.glob("*.damaged-2*"))


def test_what_could_not_be_read_is_said(path: Path, store: SqliteStore, troubles: list[str]) -> None:
    fill(store)
    store._writing.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as reopened:
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(bytes(path.stat().st_size - 4096))
        with suppress(StoreError):
            reopened.append(event(99, "ringing"))
        assert reopened.append(event(100, "ringing"))
        assert "not all that was in it could be read" in troubles[0]
    assert sid(100) in kept(path)


def test_a_checkpoint_of_somebody_else_that_empties_the_log_is_no_damage(
    path: Path, store: SqliteStore, troubles: list[str]
) -> None:
    acknowledged = fill(store)
    for number in range(EVENTS, EVENTS + 3):
        checkpoint(path)
        assert path.with_name("events.db-wal").stat().st_size == 0
        assert store.append(event(number, "ringing"))
        acknowledged.add(sid(number))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DELETE FROM actions")
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert store.append(event(99, "ringing"))
    assert troubles == []
    assert acknowledged <= kept(copy_of(path))


def test_a_log_that_is_cut_while_it_is_written_to_is_noticed(path: Path, store: SqliteStore) -> None:
    acknowledged = fill(store)
    connection = store._writing.connection
    connection.create_function("damage", 0, lambda: cut_log(path))
    connection.execute("CREATE TEMP TRIGGER damages AFTER INSERT ON main.events BEGIN SELECT damage(); END")
    with pytest.raises(StoreError, match="overwritten while it was written to"):
        store.append(event(98, "ringing"))
    assert store.append(event(99, "ringing"))
    assert acknowledged | {sid(99)} <= kept(copy_of(path))


async def test_who_waits_for_the_commit_that_finds_the_damage_gets_the_error(path: Path, store: SqliteStore) -> None:
    await store.append_async(event(0, "ringing"))
    connection = store._writing.connection
    connection.create_function("damage", 0, lambda: remove_log(path))
    connection.execute("CREATE TEMP TRIGGER damages AFTER INSERT ON main.events BEGIN SELECT damage(); END")
    results = await asyncio.gather(
        *(store.append_async(event(one, "ringing")) for one in (1, 2)), return_exceptions=True
    )
    assert [type(one) for one in results] == [StoreError, StoreError]
    assert await store.append_async(event(3, "ringing"))
    assert {sid(0), sid(3)} <= kept(copy_of(path))


def test_damaged_files_lie_together_under_another_name(path: Path, store: SqliteStore) -> None:
    acknowledged = fill(store)
    remove_database(path)
    store.append(event(99, "ringing"))
    names = {file.name for file in path.parent.iterdir()}
    assert names == {
        "events.db",
        "events.db-wal",
        "events.db-shm",
        "events.db.damaged-1-wal",
        "events.db.damaged-1-shm",
    }
    zero_log(path)
    with suppress(StoreError):
        store.append(event(98, "ringing"))
    assert path.with_name("events.db.damaged-2").exists()
    assert acknowledged | {sid(99)} <= kept(copy_of(path))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE UNIQUE INDEX evil ON events (call_id)",
        "CREATE TRIGGER evil AFTER INSERT ON events BEGIN DELETE FROM events; END",
        "DROP TABLE intents; CREATE TABLE intents (world, sid, until UNIQUE)",
    ],
)
def test_what_would_keep_events_out_is_left_behind_with_the_old_files(
    path: Path, store: SqliteStore, troubles: list[str], statement: str
) -> None:
    acknowledged = fill(store)
    with closing(sqlite3.connect(path)) as other:
        other.executescript(statement)
    assert store.append(event(99, "initiated"))
    assert store.append(event(99, "ringing"))
    assert acknowledged | {sid(99)} <= kept(copy_of(path))
    (report,) = troubles
    assert "all that was in it was copied to a new file" in report
    assert "'evil' is not callctl's" in report or "its table 'intents' is not as callctl made it" in report
    assert path.with_name("events.db.damaged-1").exists()
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as later:
        assert not later.append(event(99, "ringing"))


def test_no_journal_is_left_for_the_new_file(path: Path, store: SqliteStore) -> None:
    """SQLite would roll it back in a database that it does not belong to."""
    fill(store)
    path.with_name("events.db-journal").write_bytes(b"of another database")
    zero_log(path)
    with suppress(StoreError):
        store.append(event(98, "ringing"))
    assert path.with_name("events.db.damaged-1-journal").read_bytes() == b"of another database"
    assert not path.with_name("events.db-journal").exists()


@pytest.mark.parametrize("has_another", [False, True])
def test_no_index_is_left_alone(path: Path, store: SqliteStore, troubles: list[str], has_another: bool) -> None:
    other = SqliteStore.open_for_watch(path, world="other")
    if not has_another:
        other.close()
    acknowledged = fill(store)
    remove_database(path)
    remove_log(path)
    assert store.append(event(99, "ringing"))
    if has_another:
        assert other.append(event(1, "ringing"))
        assert store.append(event(98, "ringing"))
        acknowledged.add(sid(98))
    assert not list(path.parent.glob("*.damaged-1*"))
    assert acknowledged | {sid(99)} <= kept(copy_of(path))
    assert ".damaged" not in troubles[0]
    assert "copied to a new file" in troubles[0]
    other.close()


def test_the_reader_finds_the_damage_where_nothing_is_written(
    path: Path, store: SqliteStore, troubles: list[str]
) -> None:
    acknowledged = fill(store)
    remove_log(path)
    with pytest.raises(StoreError, match="was changed from outside"):
        store.live_calls()
    deadline = time.monotonic() + 60
    while not troubles:  # it is mended in another thread
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert {row.call_sid for row in store.live_calls()} == acknowledged
    assert len(troubles) == 1
    assert acknowledged <= kept(copy_of(path))


def test_others_wait_for_who_mends_it(path: Path, store: SqliteStore) -> None:
    acknowledged = fill(store)
    follower, claims = SqliteStore.open_readonly(path, world=WORLD), SqliteStore.open(path, world=WORLD)
    remove_log(path)
    with pytest.raises(StoreError, match="was changed from outside"):
        follower.last_event_id()
    with pytest.raises(StoreError, match="was changed from outside"):
        claims.claim(CLAIM, now=START, until=UNTIL)
    store.append(event(99, "ringing"))
    assert {row.call_sid for row in follower.live_calls()} == {*acknowledged, sid(99)}
    assert claims.claim(CLAIM, now=START, until=UNTIL)
    follower.close()
    claims.close()


@pytest.mark.parametrize("damage", [empty_log, remove_log, zero_log, remove_database], ids=named)
def test_who_reads_on_gets_nothing_twice_and_all_that_is_new(
    path: Path, store: SqliteStore, troubles: list[str], damage: Damage
) -> None:
    def ask(call: int) -> None:
        store.record_actions([ActionEvent(START, sid(call), "hangup", (), "done")])

    def read_on() -> tuple[list[str], list[str]]:
        events, actions = reader.after(at["event"]), reader.actions_after(at["action"])
        at["event"] = max((number for number, _ in events), default=at["event"])
        at["action"] = max((number for number, _ in actions), default=at["action"])
        return [one.call_sid for _, one in events], [one.call_sid for _, one in actions]

    for number in range(10):
        store.append(event(number, "ringing"))
        ask(number)
    with closing(sqlite3.connect(path)) as other:  # what follows is in the log alone, and gets other ids
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    reader = SqliteStore.open_readonly(path, world=WORLD)
    at = {"event": reader.last_event_id(), "action": reader.last_action_id()}
    ask(10)
    store.append(event(10, "ringing"))
    assert read_on() == ([sid(10)], [sid(10)])
    ask(11)
    store.append(event(11, "ringing"))
    damage(path)
    for number in (12, 13):
        with suppress(StoreError):  # raised by the write that notices it
            store.append(event(number, "ringing"))
    assert troubles
    ask(14)
    news: tuple[list[str], list[str]] = ([], [])
    for _ in range(3):
        for seen, more in zip(news, read_on(), strict=True):
            seen.extend(more)
    assert news[0] == sorted({*news[0], sid(11), sid(12), sid(13)})
    assert set(news[0]) == {sid(11), sid(12), sid(13)}
    assert (len(news[1]), {sid(14)} <= set(news[1]) <= {sid(11), sid(14)}) == (len(set(news[1])), True)
    reader.close()


def test_a_command_leaves_it_to_the_watch(path: Path, store: SqliteStore) -> None:
    acknowledged = fill(store)
    with closing(SqliteStore.open(path, world=WORLD)) as command:
        command.remember_placed(sid(1), at=START)
        remove_log(path)
        with pytest.raises(StoreError, match="was changed from outside"):
            command.remember_placed(sid(2), at=START)
        assert not path.with_name("events.db.damaged-1").exists()
        store.append(event(99, "ringing"))
        command.remember_placed(sid(3), at=START)
    with closing(SqliteStore.open(path, world=WORLD)) as claims:
        assert [claims.was_placed(sid(number)) for number in (1, 2, 3)] == [True, False, True]
    assert acknowledged <= kept(copy_of(path))


def test_a_database_that_others_write_to_is_checked_now_and_then(
    path: Path, store: SqliteStore, troubles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[tuple[bool, bool]] = []
    fill(store)

    def check(
        _path: Path, *, like: sqlite3.Connection, newest: NewestEvent | None, whole: bool, limit: float | None
    ) -> bool:
        assert newest is not None
        assert limit is not None
        checks.append((like.in_transaction, whole))
        return True

    monkeypatch.setattr("callctl.store.sqlite.file_checks.is_sound", check)
    monkeypatch.setattr("callctl.store.sqlite.file_checks._CHECK_PAUSE", 10**9)
    for number in range(100, 110):
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        store.append(event(number, "ringing"))
    assert [check for check in checks if check[1]] == [(False, True)]  # the others look at the newest event alone
    assert troubles == []


def test_two_watches_that_share_a_store_mend_it_together(path: Path, store: SqliteStore) -> None:
    acknowledged = fill(store)
    with closing(SqliteStore.open_for_watch(path, world="other")) as other:
        remove_log(path)
        with suppress(StoreError):
            store.append(event(98, "ringing"))
        assert other.append(event(1, "ringing"))
        assert store.append(event(99, "ringing"))
        assert acknowledged | {sid(99)} <= kept(copy_of(path))
        assert [one.call_sid for one in other.replay(since=None)] == [sid(1)]
    assert not path.with_name("events.db.damaged-2").exists()


@pytest.mark.parametrize("damage", DAMAGES, ids=named)
def test_two_watches_to_which_no_event_comes_mend_it_once(path: Path, store: SqliteStore, damage: Damage) -> None:
    fill(store)
    with closing(SqliteStore.open_for_watch(path, world="other")) as other:
        other.check_writable()
        damage(path)
        for _ in range(4):
            for one in (store, other):
                with suppress(StoreError):
                    one.check_writable()
    assert not path.with_name("events.db.damaged-3").exists()


def test_each_of_two_watches_restores_its_own_events(path: Path, store: SqliteStore) -> None:
    with closing(SqliteStore.open_for_watch(path, world="other")) as other:
        acknowledged = fill(other)
        fill(store)
        empty_log(path)
        for one in (store, other):
            with suppress(StoreError):
                one.append(event(98, "ringing"))
            assert one.append(event(99, "ringing"))
        assert acknowledged <= {one.call_sid for one in other.replay(since=None)}


# A listener or a command that begins a log of its own, for the former one was removed, and is killed.
_WRITES_AND_DIES = """
import os, sys
from datetime import timedelta
from pathlib import Path
from claims import claimed
from events import START, event, sid
from callctl.store.records import OpenClaim, Undelivered
from callctl.store.sqlite.store import SqliteStore

store = SqliteStore.open_for_watch(Path(sys.argv[1]), world=sys.argv[2])
for number in range(700, 710):
    store.append(event(number, "ringing"))
claimed(store, OpenClaim("theirs", sid(700), sid(700), "hangup"), now=START, until=START)
last = event(705, "ringing")
kept = Undelivered(last.call_sid, last.key, "http://127.0.0.1:5000/", last.received_at, "no answer", timedelta())
store.keep_undelivered([kept], now=START)
os._exit(9)
"""


@pytest.mark.parametrize("is_all_in_database", [False, True])
def test_what_another_process_wrote_by_a_log_of_its_own_is_kept_though_it_was_killed(
    path: Path, store: SqliteStore, troubles: list[str], is_all_in_database: bool
) -> None:
    acknowledged = fill(store)
    if is_all_in_database:
        checkpoint(path)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    program, folders = [sys.executable, "-c", _WRITES_AND_DIES, str(path), WORLD], os.pathsep.join(sys.path)
    assert subprocess.run(program, check=False, env={**os.environ, "PYTHONPATH": folders}).returncode == 9
    store.append(event(709, "ringing"))  # the newest of theirs was sent to both
    store.append(event(99, "ringing"))
    assert acknowledged | {sid(99), *(sid(number) for number in range(700, 710))} <= kept(copy_of(path))
    assert ("theirs", sid(700)) in store.claim_keys()
    assert [one.call_sid for one, _ in store.undelivered(now=START)] == [sid(705)]
    assert any("its log (-wal) was replaced" in trouble for trouble in troubles)


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_a_purge_stays_one_and_no_rule_acts_twice(
    path: Path, store: SqliteStore, troubles: list[str], is_made_anew: bool
) -> None:
    claims = SqliteStore.open(path, world=WORLD)
    claims.claim(CLAIM, now=START, until=UNTIL)
    store.remember_placed(sid(7), at=START)
    fill(store)
    for file in path.parent.iterdir():
        file.unlink()
    if is_made_anew:  # as a command does that has something to write down
        SqliteStore.open_for_watch(path, world="other").close()
    store.append(event(99, "ringing"))
    assert kept(copy_of(path)) == {sid(99)}
    assert not claims.claim(CLAIM, now=START, until=UNTIL)
    assert claims.was_placed(sid(7))
    claims.close()
    (trouble,) = troubles
    assert "none acts twice" in trouble
    assert {file.name for file in path.parent.iterdir()} == {"events.db", "events.db-wal", "events.db-shm"}


def test_a_copy_that_could_not_be_made_is_made_with_the_next_event(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged = fill(store)
    remove_log(path)

    def fail(*_: object, **__: object) -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("callctl.store.sqlite.repair.copy_to_new_file", fail)
        for _ in range(2):
            with pytest.raises(StoreError, match="No space left"):
                store.append(event(98, "ringing"))
    assert store.append(event(99, "ringing"))
    assert acknowledged <= kept(copy_of(path))


def test_there_is_always_a_store_while_it_is_copied_and_what_others_write_then_is_copied_too(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged, claims = fill(store), SqliteStore.open(path, world=WORLD)
    there: list[set[str]] = []

    def take_away(folder: Path) -> Path | None:
        there.append({file.name for file in folder.parent.iterdir() if file.name.startswith(path.name)})
        connection = claims._writing.connection
        connection.execute(
            "INSERT INTO claims (world, rule, sid, about, action, at, lease) VALUES (?, ?, ?, ?, 'hangup', 0, 0)",
            (WORLD, CLAIM.rule, CLAIM.call_sid, CLAIM.about),
        )
        return set_aside(folder)

    monkeypatch.setattr("callctl.store.sqlite.repair.set_aside", take_away)
    remove_index(path)
    store.append(event(99, "ringing"))
    assert there == [{"events.db", "events.db-wal"}]
    assert acknowledged <= kept(copy_of(path))
    assert not claims.claim(CLAIM, now=START, until=UNTIL)
    claims.close()


def test_a_store_that_is_closed_is_mended_before(path: Path, store: SqliteStore) -> None:
    acknowledged = fill(store)
    zero_log(path)
    store.close()
    assert acknowledged <= kept(path)


# A watch that is killed while it repairs its store: when it has, or has not, set the damaged files aside.
_KILLED = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from callctl.store.sqlite import repair
from callctl.store.sqlite.rescue import copying
from callctl.store.sqlite.store import SqliteStore

setattr({"link_or_copy": copying, "set_aside": repair}[sys.argv[2]], sys.argv[2], lambda *_: os._exit(9))
path = Path(sys.argv[1])
store = SqliteStore.open_for_watch(path, world=sys.argv[3])
path.with_name(path.name + "-wal").unlink()
store.delete_older_than(datetime(2000, 1, 1, tzinfo=UTC))
"""


def work_folders(path: Path) -> list[Path]:
    return [found for found in path.parent.iterdir() if found.name.startswith(f".{path.name}.")]


@pytest.mark.parametrize("name", ["events.db", "notes[1]*.db"])
@pytest.mark.parametrize("step", ["set_aside", "link_or_copy"])
def test_the_copy_of_a_watch_that_was_killed_while_it_repaired_is_used_or_removed(
    path: Path, step: str, name: str
) -> None:
    path = path.with_name(name)
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        expected = fill(store)
    program = [sys.executable, "-c", _KILLED, str(path), step, WORLD]
    assert subprocess.run(program, check=False).returncode == 9
    (left,) = work_folders(path)
    assert path.exists() == (step == "set_aside")
    with locked_folder(path.parent), pytest.raises(BlockingIOError):  # another process makes or repairs a store
        settle_leftovers(path)
    assert work_folders(path) == [left]
    assert kept(path) == expected
    assert work_folders(path) == []


def test_a_purged_store_does_not_come_back_from_a_copy(path: Path) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        fill(store)
    subprocess.run([sys.executable, "-c", _KILLED, str(path), "link_or_copy", WORLD], check=False)
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    assert kept(path) == set()
    assert work_folders(path) == []


@pytest.mark.parametrize("kind", ["link", "foreign", "view"])
def test_what_only_looks_like_the_leftover_of_a_repair_is_not_used(path: Path, tmp_path: Path, kind: str) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    folder = path.with_name(f".{path.name}.callctl-x")
    folder.mkdir()
    notes, held = tmp_path / "notes.sqlite", folder / "held.db"
    with closing(sqlite3.connect(notes if kind == "link" else held)) as database:
        database.execute("CREATE TABLE note (text)")
        if kind == "view":
            database.execute("CREATE VIEW events AS SELECT 1")
        database.commit()
    if kind == "link":
        held.symlink_to(notes)
    before = notes.read_bytes() if kind == "link" else b""
    SqliteStore.open_for_watch(path, world=WORLD).close()
    assert kind != "link" or notes.read_bytes() == before


def test_what_is_not_callctls_stays_beside_the_store(path: Path) -> None:
    SqliteStore.open_for_watch(path, world="any").close()
    other, linked, file = (path.with_name(f".{path.name}.{end}") for end in ("other", "link", "swp"))
    other.mkdir()
    (other / path.name).write_text("theirs")  # a backup, say
    target = path.parent / "elsewhere"
    target.mkdir()
    (target / path.name).write_text("theirs")
    linked.symlink_to(target)
    file.write_text("theirs")
    SqliteStore.open_for_watch(path, world="any").close()
    assert (other / path.name).exists()
    assert (target / path.name).exists()
    assert linked.is_symlink()
    assert file.exists()


def test_an_older_state_of_the_same_store_loses_no_event_that_came_since(
    path: Path, store: SqliteStore, troubles: list[str], tmp_path: Path
) -> None:
    acknowledged = fill(store)
    backup = tmp_path / "backup"
    shutil.copytree(path.parent, backup)
    for number in range(EVENTS, 2 * EVENTS):
        store.append(event(number, "ringing"))
        acknowledged.add(sid(number))
    for file in backup.iterdir():  # as tar does: each file is made anew
        (path.parent / file.name).unlink()
        shutil.copyfile(file, path.parent / file.name)
    with suppress(StoreError):
        store.append(event(2 * EVENTS, "ringing"))
        acknowledged.add(sid(2 * EVENTS))
    store.append(event(2 * EVENTS + 1, "ringing"))
    assert acknowledged | {sid(2 * EVENTS + 1)} <= kept(copy_of(path))
    assert list(path.parent.glob("*.damaged-*")) == []
    (trouble,) = troubles
    assert trouble.endswith("was replaced by another state of it; all that it lacked was written into that")


def test_another_store_in_the_place_of_all_files_is_used_from_then_on(
    path: Path, store: SqliteStore, troubles: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "other" / "events.db"
    with closing(SqliteStore.open_for_watch(other, world=WORLD)) as their:
        for number in range(1000, 1000 + 2 * EVENTS):
            their.append(event(number, "ringing"))
    fill(store)
    for file in path.parent.iterdir():
        file.unlink()
    for file in other.parent.iterdir():
        shutil.copyfile(file, path.parent / file.name)
    store.append(event(1, "ringing"))
    assert kept(copy_of(path)) == {sid(1), *(sid(number) for number in range(1000, 1000 + 2 * EVENTS))}
    assert "another store" in troubles[0]


# A watch that is killed while it copies what it can still read, which may take minutes.
_KILLED_EARLY = """
import os, sys
from pathlib import Path
import store_damage
from claims import claimed
from events import START, event, sid
from callctl.store.records import OpenClaim
from callctl.store.sqlite.rescue import copying
from callctl.store.sqlite.store import SqliteStore

path = Path(sys.argv[1])
store = SqliteStore.open_for_watch(path, world=sys.argv[3])
for number in range(100, 150):
    store.append(event(number, "ringing"))
store.append(event(0, "completed"))
claimed(store, OpenClaim("rule", sid(2), sid(2), "hangup"), now=START, until=START)
copying._copy = lambda *_, **__: os._exit(9)
getattr(store_damage, sys.argv[2])(path)
store.append(event(200, "ringing"))
"""


@pytest.mark.parametrize("damage", DAMAGES, ids=named)
def test_a_watch_that_is_killed_before_it_has_copied_what_it_could_read_loses_nothing(
    path: Path, damage: Damage, troubles: list[str]
) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        fill(store)
    program = [sys.executable, "-c", _KILLED_EARLY, str(path), damage.__name__, WORLD]
    folders = os.pathsep.join(sys.path)
    assert subprocess.run(program, check=False, env={**os.environ, "PYTHONPATH": folders}).returncode == 9
    if "database_over" in damage.__name__:  # of another program: it is left alone, until somebody moves it away
        with pytest.raises(StoreError, match="is no event store"):
            SqliteStore.open_for_watch(path, world=WORLD)
        path.unlink()
    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as store:
        found = {one.call_sid for one in store.replay(since=None)}
        assert {sid(number) for number in (0, *range(100, 150))} <= found
        ended = store.call(sid(0))
        assert ended is not None
        assert ended.is_final
        assert store.claim_keys() == {("rule", sid(2))}
        assert store._writing.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert work_folders(path) == []
    assert all("by a repair that was cut off" in trouble for trouble in troubles)


def fill_and_write_backup_over(path: Path, store: SqliteStore) -> set[str]:
    """Write an older copy over the database, no shorter than it is: pages of both, each of them well-formed."""
    calls = fill(store)
    backup = path.with_name("backup.db")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    for number in range(EVENTS, 7 * EVENTS):
        store.append(event(number, "ringing"))
    with path.open("r+b") as database:
        database.write(backup.read_bytes())
    return calls | {sid(number) for number in range(EVENTS, 7 * EVENTS)}


def copied_as_left(path: Path, tmp_path: Path) -> Path:
    """Copy the files of a store as a kill would leave them now; return the path of the copy."""
    folder = tmp_path / "killed"
    folder.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, folder)
    return folder / path.name


def test_an_older_copy_that_is_written_over_a_part_of_the_database_loses_nothing(
    path: Path, store: SqliteStore, troubles: list[str]
) -> None:
    calls = fill_and_write_backup_over(path, store)
    store.append(event("c", "ringing"))
    assert "its content was overwritten" in troubles[0]
    assert {one.call_sid for one in store.replay(since=None)} == calls | {sid("c")}
    store.close()
    assert kept(path) == calls | {sid("c")}


def test_nor_does_it_where_it_is_found_by_the_next_watch(path: Path, tmp_path: Path, troubles: list[str]) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        fill_and_write_backup_over(path, store)
        left = copied_as_left(path, tmp_path)
    with closing(SqliteStore.open_for_watch(left, world=WORLD, on_trouble=troubles.append)) as store:
        assert store.append(event("b", "ringing"))
        assert "its content was overwritten" in troubles[0]
        found = {one.call_sid for one in store.replay(since=None)}
        assert {sid(number) for number in range(EVENTS)} <= found
        assert store.append(event("c", "ringing"))
        assert store._writing.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert kept(left) == found | {sid("c")}


@pytest.mark.usefixtures("seems_sound")
def test_a_read_that_fails_has_one_repaired_that_seemed_sound(path: Path, tmp_path: Path, troubles: list[str]) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        fill_and_write_backup_over(path, store)
        left = copied_as_left(path, tmp_path)
    with closing(SqliteStore.open_for_watch(left, world=WORLD, on_trouble=troubles.append)) as store:
        with pytest.raises(StoreError, match="malformed"):
            list(store.replay(since=START - timedelta(days=1)))
        assert store.mend()
        assert "its content was overwritten" in troubles[0]


@pytest.fixture
def seems_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each check of a whole database that has a time limit be broken off, as that of a large one is."""

    def check(path: Path, *, whole: bool, limit: float | None, **more: Any) -> bool:
        return is_sound(path, whole=whole and limit is None, limit=limit, **more)

    monkeypatch.setattr("callctl.store.sqlite.file_checks.is_sound", check)


@pytest.mark.usefixtures("seems_sound")
def test_a_database_too_large_for_a_quick_check_is_mended_before_it_is_closed(path: Path) -> None:
    store = SqliteStore.open_for_watch(path, world=WORLD)
    for number in range(EVENTS):
        store.append(event(number, "ringing", Filling="x" * 1500))
    checkpoint(path)
    store.append(event(EVENTS, "ringing"))
    with path.open("r+b") as database:
        database.seek(path.stat().st_size // 8192 * 4096)
        database.write(b"\xff" * 4096)
    store.close()
    assert {sid(number) for number in range(EVENTS + 1)} <= kept(path)


@pytest.mark.usefixtures("seems_sound")
def test_a_database_too_large_for_a_quick_check_is_mended_once_a_part_of_it_could_not_be_read(
    path: Path, store: SqliteStore, troubles: list[str]
) -> None:
    for number in range(EVENTS):
        store.append(event(number, "ringing", Filling="x" * 1500))
    checkpoint(path)
    overwrite_a_quarter(path)
    with pytest.raises(StoreError):
        list(store.replay(since=None))
    store.append(event(EVENTS, "ringing"))
    assert "its content was overwritten" in troubles[0]
    assert {one.call_sid for one in store.replay(since=None)} == {sid(number) for number in range(EVENTS + 1)}


@pytest.mark.usefixtures("seems_sound")
def test_so_is_one_that_a_reader_finds_damaged_while_a_check_runs(
    path: Path, store: SqliteStore, troubles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(EVENTS):
        store.append(event(number, "ringing", Filling="x" * 1500))
    checkpoint(path)
    find_damage, is_read = FileChecks.find_damage, list[bool]()

    def slowly(checks: FileChecks, **how: Any) -> str | None:
        found = find_damage(checks, **how)
        if not is_read:
            is_read.append(True)
            overwrite_a_quarter(path)
            with pytest.raises(StoreError):
                list(store.replay(since=None))
        return found

    monkeypatch.setattr(FileChecks, "find_damage", slowly)
    store._writing.check()
    store.append(event(EVENTS, "ringing"))
    assert "its content was overwritten" in troubles[0]
    assert {one.call_sid for one in store.replay(since=None)} == {sid(number) for number in range(EVENTS + 1)}


def overwrite_a_quarter(path: Path) -> None:
    """Overwrite the third quarter of a database."""
    with path.open("r+b") as database:
        size = path.stat().st_size
        database.seek(size // 8192 * 4096)
        database.write(b"\xff" * (size // 4))
