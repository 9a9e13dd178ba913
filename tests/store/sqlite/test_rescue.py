"""What is read of damaged files, and what is kept in memory beside them: as much as there is, and whole by itself."""

from __future__ import annotations

import errno
import itertools
import os
import sqlite3
import time
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from claims import claimed
from events import START, WORLD, event, sid
from store_damage import empty_log, log_of, other_database, remove_index, remove_log, zero_log

from callctl.calls.action import ActionEvent
from callctl.errors import StoreError
from callctl.store.records import OpenClaim
from callctl.store.sqlite.file_checks import NewestEvent
from callctl.store.sqlite.files import Files
from callctl.store.sqlite.rescue import recent_rows
from callctl.store.sqlite.rescue.copying import copy_to_new_file, data_version
from callctl.store.sqlite.rescue.recent_rows import RecentRows
from callctl.store.sqlite.rescue.set_aside import is_set_aside, set_aside
from callctl.store.sqlite.store import SqliteStore

CLAIM = OpenClaim("rule", sid(2), sid(2), "hangup")
UNTIL = START + timedelta(minutes=1)
EVENTS = 300
PAGE = 4096  # bytes, the default of SQLite


def filled(path: Path, *, filling: int) -> None:
    """Make a store with an event of each of some calls, and one thing of each other kind, all of it in the database."""
    with (
        closing(SqliteStore.open_for_watch(path, world=WORLD)) as store,
        closing(SqliteStore.open(path, world=WORLD)) as claims,
    ):
        for number in range(EVENTS):
            store.append(event(number, "ringing", Filling=f"<{number}>" + "x" * filling))
        store.record_actions([ActionEvent(START, sid(1), "hangup", (), "by a command")])
        store.remember_placed(sid(7), at=START)
        store.add_intents([sid(8)], now=START, until=UNTIL)
        claims.claim(CLAIM, now=START, until=UNTIL)
        store._writing.connection.execute("INSERT INTO keyed_by_pairs VALUES (5)")
    assert not log_of(path).exists()


def spoil_page_with(path: Path, text: str) -> None:
    """Overwrite the first page that holds a text."""
    page = path.read_bytes().index(text.encode()) // PAGE
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(bytes(PAGE))


def rescued(path: Path, *, newest: NewestEvent | None = None) -> bool:
    """Copy what can be read of a store to a new file, which takes its name; return whether it is all."""

    def aside() -> None:
        set_aside(path)

    with closing(sqlite3.connect(path, isolation_level=None)) as source:
        return copy_to_new_file(source, path, newest=newest, move_away=aside)


def counted(path: Path) -> dict[str, int]:
    tables = ("calls", "events", "actions", "claims", "placed_calls", "placed", "intents", "keyed_by_pairs")
    with closing(sqlite3.connect(path)) as database:
        return {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def test_what_lies_before_and_behind_an_unreadable_page_is_copied_with_all_else(path: Path) -> None:
    filled(path, filling=1500)
    before = counted(path)
    spoil_page_with(path, f"<{EVENTS // 2}>")
    assert not rescued(path)
    after = counted(path)
    assert EVENTS - 4 <= after.pop("events") < before.pop("events") == EVENTS
    assert after == before
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        sids = {one.call_sid for one in store.replay(since=None)}
        assert {sid(0), sid(EVENTS - 1)} <= sids
        assert [one.outcome for one in store.actions(sid(1))] == ["by a command"]


def test_an_event_whose_call_is_lost_is_not_in_the_way_when_it_is_reported_again(path: Path) -> None:
    filled(path, filling=0)
    # The table of calls holds no other text that ends so.
    spoil_page_with(path, f"{sid(EVENTS // 2)}ringing")
    assert not rescued(path)
    kept = counted(path)
    assert 0 < kept["calls"] < EVENTS
    assert kept["events"] <= kept["calls"]
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        are_new = [store.append(event(one, "ringing", Filling=f"<{one}>")) for one in range(EVENTS)]
        assert are_new.count(True) == EVENTS - kept["events"]
        assert {one.call_sid for one in store.replay(since=None)} == {sid(one) for one in range(EVENTS)}


@pytest.mark.parametrize("is_claim_in_database", [False, True])
def test_what_others_wrote_of_rules_and_commands_is_held_in_memory(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, is_claim_in_database: bool
) -> None:
    monkeypatch.setattr("callctl.store.sqlite.rescue.recent_rows._REFRESH_PAUSE", 0)
    with closing(SqliteStore.open(path, world=WORLD)) as claims:
        held = claimed(claims, CLAIM, now=START, until=UNTIL)
        if is_claim_in_database:  # open in the database
            with closing(sqlite3.connect(path)) as other:
                assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        claims.settle(held, ActionEvent(START, sid(2), "hangup", (), "done", rule="rule"))
        with closing(SqliteStore.open(path, world=WORLD)) as command:
            command.remember_placed(sid(7), at=START, dial_action="survey")
            command.add_intents([sid(8)], now=START, until=UNTIL)
        store.append(event(1, "ringing"))  # a look
        store._writing.connection.execute("PRAGMA shrink_memory")
        empty_log(path)
        for number in (2, 3):
            with suppress(Exception):
                store.append(event(number, "ringing"))
        assert not claims.claim(CLAIM, now=START, until=UNTIL)
        assert claims.expired_claims(is_over=lambda _: True) == []
        assert [one.outcome for one in store.actions(sid(2))] == ["done"]
        assert (claims.was_placed(sid(7)), claims.dial_action(sid(7))) == (True, "survey")
        assert claims.has_intent(sid(8), is_over=lambda _: False)


@pytest.mark.parametrize("name", ["events.db", "notes[1].db", "notes[", "n*tes?.db", "**"])
def test_what_was_set_aside_is_found_whatever_the_store_is_called(path: Path, name: str) -> None:
    named = path.with_name(name)
    SqliteStore.open_for_watch(named, world=WORLD).close()
    files = Files.at(named)
    assert not is_set_aside(named, files)
    set_aside(named)
    assert is_set_aside(named, files)
    SqliteStore.open_for_watch(path.with_name("notes1.db"), world=WORLD).close()
    assert not is_set_aside(path.with_name("notes1.db"), Files.at(path.with_name("notes1.db")))


def test_where_the_old_files_are_is_said_though_the_new_one_could_not_be_named_at_first(
    path: Path, store: SqliteStore, troubles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        store.append(event(number, "ringing"))
    remove_log(path)

    def fail(made: Path, _path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(made))

    with monkeypatch.context() as full:
        full.setattr("callctl.store.sqlite.rescue.copying.link_or_copy", fail)
        for _ in range(2):
            with pytest.raises(Exception, match="No space left"):
                store.append(event(98, "ringing"))
    assert not path.exists()
    assert store.append(event(99, "ringing"))
    (trouble,) = troubles
    assert f"{path.name}.damaged-1*" in trouble
    assert {one.call_sid for one in store.replay(since=None)} == {sid(number) for number in (*range(10), 99)}


def test_files_that_are_removed_one_after_the_other_are_a_purge(
    path: Path, store: SqliteStore, troubles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(event(1, "ringing"))
    path.unlink()

    def settle(_seconds: float) -> None:
        remove_log(path)
        remove_index(path)

    monkeypatch.setattr(store._writing, "_pause", settle)
    assert store.append(event(2, "ringing"))
    assert [one.call_sid for one in store.replay(since=None)] == [sid(2)]
    (trouble,) = troubles
    assert "removed, and is begun anew" in trouble
    assert {file.name for file in path.parent.iterdir()} == {"events.db", "events.db-wal", "events.db-shm"}


def test_a_copy_without_the_newest_event_that_was_seen_is_not_whole(path: Path) -> None:
    filled(path, filling=0)
    with closing(sqlite3.connect(path)) as connection:
        newest = NewestEvent.of(connection)
    assert newest is not None
    assert newest.id == EVENTS
    assert rescued(path, newest=newest)
    assert not rescued(path, newest=NewestEvent(EVENTS + 1, newest.key))
    assert not rescued(path, newest=NewestEvent(EVENTS, "another key"))


def test_a_copy_that_is_damaged_too_takes_no_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path, filling=0)
    before = path.read_bytes()
    monkeypatch.setattr("callctl.store.sqlite.rescue.copying.is_whole", lambda _: False)
    with pytest.raises(StoreError, match="does not make a whole database"):
        rescued(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_another_programs_database_in_the_place_of_all_files_is_no_store(
    path: Path, store: SqliteStore, troubles: list[str]
) -> None:
    store.append(event(1, "ringing"))
    other = other_database(path)
    for file in (path, log_of(path), path.with_name(f"{path.name}-shm")):
        file.unlink()
    other.rename(path)
    for number in (2, 3):
        with suppress(StoreError):
            store.append(event(number, "ringing"))
    assert {one.call_sid for one in store.replay(since=None)} >= {sid(1), sid(3)}
    (trouble,) = troubles
    assert f"{path.name}.damaged-1*" in trouble
    with closing(sqlite3.connect(path.with_name(f"{path.name}.damaged-1"))) as kept:
        assert kept.execute("SELECT count(*) FROM notes").fetchone() == (50,)


def test_what_the_watch_itself_wrote_of_rules_is_held_in_memory(path: Path, store: SqliteStore) -> None:
    released, opened = (OpenClaim("rule", sid(number), sid(number), "hangup") for number in (3, 4))
    with closing(SqliteStore.open(path, world=WORLD)) as other:
        other.remember_placed(sid(7), at=START)
    store.append(event(1, "ringing"))
    held = [claimed(store, claim, now=START, until=UNTIL) for claim in (CLAIM, released, opened)]
    store.settle(held[0], ActionEvent(START, sid(2), "hangup", (), "done", rule="rule"))
    store.release(held[1])
    store._writing.connection.execute("PRAGMA shrink_memory")
    empty_log(path)
    for number in (2, 3):
        with suppress(StoreError):
            store.append(event(number, "ringing"))
    assert store.claim_keys() == {("rule", sid(2)), ("rule", sid(4))}
    assert [claim.call_sid for claim in store.expired_claims(is_over=lambda _: True)] == [sid(4)]
    assert [one.outcome for one in store.actions(sid(2))] == ["done"]


def test_what_the_watch_has_deleted_of_rules_does_not_come_back_with_damage(path: Path, store: SqliteStore) -> None:
    held = claimed(store, CLAIM, now=START, until=UNTIL)
    store.settle(held, ActionEvent(START, sid(2), "hangup", (), "done", rule="rule"))
    store.delete_older_than(UNTIL)
    store.append(event(1, "ringing"))  # a look
    empty_log(path)
    for number in (2, 3):
        with suppress(StoreError):
            store.append(event(number, "ringing"))
    assert store.claim_keys() == set()
    assert store.actions(sid(2)) == []


def test_what_was_purged_does_not_come_back_with_the_next_damage(path: Path, store: SqliteStore) -> None:
    store.append(event(1, "ringing"))
    for file in path.parent.iterdir():
        file.unlink()
    store.append(event(2, "ringing"))
    zero_log(path)
    for number in (3, 4):
        with suppress(StoreError):
            store.append(event(number, "ringing"))
    sids = {one.call_sid for one in store.replay(since=None)}
    assert sids >= {sid(2), sid(4)}
    assert sid(1) not in sids


def test_an_answer_that_one_watch_has_seen_closes_the_claim_that_another_brought_back(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.store.sqlite.rescue.recent_rows._REFRESH_PAUSE", 0)
    with (
        closing(SqliteStore.open_for_watch(path, world="other")) as other,
        closing(SqliteStore.open(path, world=WORLD)) as claims,
    ):
        held = claimed(claims, CLAIM, now=START, until=UNTIL)
        other.append(event(1, "ringing"))
        claims.settle(held, ActionEvent(START, sid(2), "hangup", (), "done", rule="rule"))
        store.append(event(1, "ringing"))
        other._writing.connection.execute("PRAGMA shrink_memory")
        empty_log(path)
        for number in (2, 3):
            with suppress(StoreError):
                other.append(event(number, "ringing"))
        assert len(claims.expired_claims(is_over=lambda _: True)) == 1
        store.append(event(2, "ringing"))
        assert claims.expired_claims(is_over=lambda _: True) == []
        assert [one.outcome for one in store.actions(sid(2))] == ["done"]


def test_a_look_at_what_others_wrote_that_had_to_wait_puts_off_the_next_one_no_longer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is busy, so that each step takes a second, and little of that is the look's own work."""
    elapsed = itertools.count()
    monkeypatch.setattr(recent_rows, "time", SimpleNamespace(monotonic=elapsed.__next__, thread_time=time.thread_time))
    recent = RecentRows()
    with (
        closing(SqliteStore.open(path, world=WORLD)) as claims,
        closing(sqlite3.connect(path)) as connection,
    ):
        for number in range(3):
            claim = OpenClaim("rule", sid(number), sid(number), "hangup")
            claimed(claims, claim, now=START, until=UNTIL)
            recent.refresh(connection, data_version(connection))
            assert recent.version == data_version(connection)
