"""Content that SQLite replaces under an open store, as its shell's ``.restore`` does: the files stay the same."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from claims import claimed
from events import START, WORLD, event, sid

from callctl.calls.action import ActionEvent
from callctl.errors import StoreError
from callctl.store.records import OpenClaim, Undelivered
from callctl.store.sqlite.schema import TABLES
from callctl.store.sqlite.store import SqliteStore

CLAIM = OpenClaim("rule", sid(2), sid(2), "hangup")
UNTIL = START + timedelta(minutes=1)
EVENTS = 20
URL = "http://127.0.0.1:5000/"

Restore = Callable[[Path], None]  # puts what was in the store when it was made back into it, whatever has come since


def run(path: Path, *statements: str) -> None:
    """Do what the owner of a store may do in a shell of SQLite's."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as shell:
        for statement in statements:
            shell.execute(statement)


def _copy_back(backup: Path, path: Path) -> None:
    with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(path, timeout=30)) as target:
        source.backup(target)


def by_backup(path: Path) -> Restore:
    backup = path.parent.with_name("backup.db")
    _copy_back(path, backup)
    return lambda path: _copy_back(backup, path)


def by_vacuum_into(path: Path) -> Restore:
    backup = path.parent.with_name("backup.db")
    run(path, f"VACUUM INTO '{backup}'")
    return lambda path: _copy_back(backup, path)


def by_dump(path: Path) -> Restore:
    with closing(sqlite3.connect(path)) as source:
        dump = list(source.iterdump())

    def restore(path: Path) -> None:
        with closing(sqlite3.connect(path, timeout=30)) as target:
            drops = ";".join(f"DROP TABLE {table}" for table in reversed(TABLES))
            target.executescript(f"BEGIN IMMEDIATE; {drops};" + "\n".join(dump[1:]))

    return restore


def kept(path: Path) -> list[str]:
    """Return the calls of the events that a crash would leave: of the files, as they lie on the disk now."""
    copy = path.parent.with_name("after-a-crash")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path.parent, copy)
    with closing(SqliteStore.open_for_watch(copy / path.name, world=WORLD)) as reopened:
        assert reopened._writing.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [one.call_sid for one in reopened.replay(since=None)]


def fill(store: SqliteStore, first: int = 0) -> list[str]:
    for number in range(first, first + EVENTS):
        store.append(event(number, "ringing"))
    return [sid(number) for number in range(first, first + EVENTS)]


@pytest.mark.parametrize("make", [by_backup, by_vacuum_into, by_dump])
def test_what_came_since_a_backup_is_there_after_that_was_restored(
    path: Path, store: SqliteStore, troubles: list[str], make: Callable[[Path], Restore]
) -> None:
    claims = SqliteStore.open(path, world=WORLD)
    calls = fill(store)
    claims.remember_placed(sid(5), at=START)
    held = claimed(claims, CLAIM, now=START, until=UNTIL)
    restore = make(path)
    calls += fill(store, EVENTS)
    claims.settle(held, ActionEvent(START, sid(2), "hangup", (), "done", rule="rule"))
    claims.claim(OpenClaim("rule", sid(3), sid(3), "hangup"), now=START, until=UNTIL)
    claims.remember_placed(sid(7), at=UNTIL)
    assert store.append(event(3 * EVENTS, "ringing"))
    restore(path)
    assert store.append(event(3 * EVENTS + 1, "ringing"))  # none that is acknowledged from now on is lost either
    assert kept(path) == [*calls, sid(3 * EVENTS), sid(3 * EVENTS + 1)]
    (trouble,) = troubles
    assert "an older state was restored into it" in trouble
    assert f"{path.name}.damaged-1*" in trouble
    assert "could not" not in trouble
    assert [one.outcome for one in store.actions(sid(2))] == ["done"]
    assert store.expired_claims(is_over=lambda _claim: True) == [OpenClaim("rule", sid(3), sid(3), "hangup")]
    assert store.last_placed() == sid(7)
    with suppress(StoreError):  # it finds other files first
        claims.last_placed()
    assert all(
        not claims.claim(OpenClaim("rule", leg, leg, "hangup"), now=START, until=UNTIL) for leg in map(sid, (2, 3))
    )
    claims.close()


@pytest.mark.parametrize("more", [1, 2 * EVENTS])
def test_a_restore_between_two_commits_that_follow_each_other_is_noticed_before_the_second_is_acknowledged(
    path: Path, store: SqliteStore, troubles: list[str], more: int
) -> None:
    acknowledged = set(fill(store))
    restore = by_backup(path)
    acknowledged.update(fill(store, EVENTS))
    restored: list[Path] = []

    def restore_once(_: Future[bool]) -> None:  # in the writer's thread
        if not restored:
            restored.append(path)
            restore(path)

    with store._writing._lock:
        waiting = {sid(number): store.submit(event(number, "ringing")) for number in range(1000, 1256 + more)}
        for future in waiting.values():
            future.add_done_callback(restore_once)
    for call, future in waiting.items():
        with suppress(StoreError):
            future.result()
            acknowledged.add(call)
    assert restored == [path]
    assert acknowledged <= set(kept(path))
    assert len(troubles) == 1


def test_a_restore_is_noticed_where_nothing_is_written(path: Path, store: SqliteStore, troubles: list[str]) -> None:
    fill(store)
    restore = by_backup(path)
    calls = fill(store, EVENTS)
    restore(path)
    store._writing.check()  # as it is made once a second
    assert set(calls) <= set(kept(path))
    assert len(troubles) == 1


def test_a_claim_that_a_restore_took_away_is_written_once_more(
    path: Path, store: SqliteStore, troubles: list[str]
) -> None:
    fill(store)
    restore = by_backup(path)
    assert store.claim(CLAIM, now=START, until=UNTIL)
    restore(path)
    assert not store.claim(CLAIM, now=START, until=UNTIL)
    assert len(troubles) == 1


def test_what_an_application_has_not_taken_is_kept_once_more_after_a_restore(
    path: Path, store: SqliteStore, troubles: list[str]
) -> None:
    restore = by_backup(path)
    events = [event(number, "ringing") for number in range(5)]
    for one in events:
        store.append(one)
    requests = [Undelivered(one.call_sid, one.key, URL, START, "HTTP 503", timedelta()) for one in events]
    store.keep_undelivered(requests[:4], now=START)
    store.keep_undelivered([requests[0]._replace(why="no answer")], now=START)
    store.forget_undelivered([requests[1]])
    with closing(SqliteStore.open(path, world=WORLD)) as other:
        other.forget_undelivered([requests[2]])
        other.keep_undelivered([requests[4]], now=START)
    store.append(event(99, "ringing"))  # at which it sees what others wrote
    restore(path)
    store.append(event(100, "ringing"))
    found = {(one.call_sid, one.why) for one, _ in store.undelivered(now=START)}
    assert found == {(sid(0), "no answer"), (sid(3), "HTTP 503"), (sid(4), "HTTP 503")}
    (trouble,) = troubles
    assert "lost" not in trouble


@pytest.mark.parametrize("is_own", [True, False])
def test_what_the_owner_deletes_stays_deleted(
    path: Path, store: SqliteStore, troubles: list[str], is_own: bool
) -> None:
    fill(store)
    half = f"DELETE FROM events WHERE id > {EVENTS // 2}"
    run(path, half if is_own else "DELETE FROM events", "VACUUM", "CREATE INDEX mine ON calls (sid)")
    left = [sid(number) for number in range(EVENTS // 2)] if is_own else []
    store.append(event(99, "ringing"))
    store.append(event(98, "ringing"))
    assert kept(path) == [*left, sid(99), sid(98)]
    assert troubles == []


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_dropped_is_made_anew(path: Path, store: SqliteStore, troubles: list[str], table: str) -> None:
    calls = fill(store)
    store.claim(CLAIM, now=START, until=UNTIL)
    with closing(SqliteStore.open(path, world=WORLD)) as command:
        command.remember_placed(sid(7), at=START)
    store.append(event(99, "ringing"))
    run(path, "PRAGMA foreign_keys = OFF", f"DROP TABLE {table}")
    store.append(event(98, "ringing"))
    assert set(kept(path)) == {*calls, sid(99), sid(98)}
    assert not store.claim(CLAIM, now=START, until=UNTIL)
    assert store.last_placed() == sid(7)
    (trouble,) = troubles
    assert "tables were dropped" in trouble


@pytest.mark.parametrize("number", [0, 1])
def test_a_version_number_that_is_changed_under_an_open_store_loses_nothing(
    path: Path, store: SqliteStore, troubles: list[str], number: int
) -> None:
    """It is noticed once the schema has changed as well; none of its tables could be brought up to date."""
    calls = fill(store)
    run(path, f"PRAGMA user_version = {number}")
    store.append(event(99, "ringing"))
    run(path, "CREATE TABLE mine (x)")
    store.append(event(98, "ringing"))
    assert set(kept(path)) == {*calls, sid(99), sid(98)}
    (trouble,) = troubles
    assert "its version number (user_version) is" in trouble
    assert "copied to a new file" in trouble


def test_what_is_in_no_memory_is_said_to_be_lost(
    path: Path, troubles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.store.sqlite.writer._MOST_RECENT", 5)
    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as store:
        fill(store)
        restore = by_backup(path)
        for number in range(EVENTS, 2 * EVENTS):
            store.append(one := event(number, "ringing"))
            store.keep_undelivered(
                [Undelivered(one.call_sid, one.key, URL, START, "no answer", timedelta())], now=START
            )
        restore(path)
        store.append(event(99, "ringing"))
        assert [one.call_sid for one, _ in store.undelivered(now=START)] == list(map(sid, range(35, 40)))
    assert f"up to {EVENTS - 5} events that came since could not be written once more" in troubles[0]
    assert f"; of requests that an application has not taken, {EVENTS - 5} are lost with their events" in troubles[0]


def test_two_watches_on_one_store_each_write_their_own_events_once_more(
    path: Path, store: SqliteStore, troubles: list[str]
) -> None:
    with closing(SqliteStore.open_for_watch(path, world="other")) as other:
        restore = by_backup(path)
        mine, theirs = fill(store), fill(other, EVENTS)
        restore(path)
        for one in (store, other, store):
            with suppress(StoreError):
                one.append(event(99, "ringing"))
        assert {*mine, sid(99)} == set(kept(path))
        assert {one.call_sid for one in other.replay(since=None)} == {*theirs, sid(99)}
    assert len(troubles) == 1


@pytest.mark.parametrize("has_watch", [True, False])
def test_who_reads_on_gets_each_row_once_after_a_restore(
    path: Path, store: SqliteStore, has_watch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.store.sqlite.cursor._MOST_KNOWN", 2 * EVENTS)

    def hang_up(call: int) -> None:
        writer.record_actions([ActionEvent(START, sid(call), "hangup", (), "done")])

    def read_on() -> tuple[list[str], list[str]]:
        for _ in range(3):
            with suppress(StoreError):  # it finds other files first
                events, actions = reader.after(at["event"]), reader.actions_after(at["action"])
                break
        at["event"] = max((number for number, _ in events), default=at["event"])
        at["action"] = max((number for number, _ in actions), default=at["action"])
        return [one.call_sid for _, one in events], [one.call_sid for _, one in actions]

    writer = store
    calls = fill(store)
    hang_up(0)
    restore = by_backup(path)
    with closing(SqliteStore.open_readonly(path, world=WORLD)) as reader:
        at = {"event": reader.last_event_id(), "action": reader.last_action_id()}
        calls = fill(store, EVENTS)
        hang_up(1)
        assert read_on() == (calls, [sid(1)])
        if not has_watch:  # and another one is started only after the restore
            store.close()
        restore(path)
        assert read_on() == ([], [])
        if not has_watch:
            writer = SqliteStore.open_for_watch(path, world=WORLD)
        writer.append(event(98, "ringing"))
        hang_up(2)
        assert read_on() == ([sid(98)], [sid(2)])
        assert read_on() == ([], [])
        writer.append(event(99, "ringing"))
        hang_up(3)
        assert read_on() == ([sid(99)], [sid(3)])
        writer.close()
