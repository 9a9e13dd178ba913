"""The index of a log, compared with the log: what SQLite does is never taken for damage, and damage is mended."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from events import START, WORLD, event, sid
from store_damage import INDEX_DAMAGES, QUIET_INDEX_DAMAGES, index_of, raise_index, write_into_index

from callctl.errors import StoreError
from callctl.store.records import OpenClaim
from callctl.store.sqlite.files import Files, Log
from callctl.store.sqlite.log_index import LogIndex, _handles
from callctl.store.sqlite.repair import RepairingConnection
from callctl.store.sqlite.store import SqliteStore

EVENTS = 30


def after_a_crash(path: Path) -> set[str]:
    """Return the calls of which a store has events that is opened anew, from a copy of what lies on the disk."""
    copy = path.parent.with_name("after-a-crash")
    shutil.copytree(path.parent, copy)
    index_of(copy / path.name).unlink()
    with closing(SqliteStore.open_for_watch(copy / path.name, world=WORLD)) as reopened:
        assert reopened._writing.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {one.call_sid for one in reopened.replay(since=None)}


def is_right(path: Path) -> bool:
    """Compare an index with its log, as one who sees both for the first time."""
    index = LogIndex(str(path))
    try:
        return index.matches(Log.read(str(path), None, upto=index.end))
    finally:
        index.close()


@pytest.mark.parametrize("damage", INDEX_DAMAGES, ids=lambda damage: damage.__name__)
def test_an_index_that_was_written_into_loses_no_event(path: Path, damage: Callable[[Path], None]) -> None:
    troubles: list[str] = []
    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as store:
        for number in range(EVENTS):
            store.append(event(number, "ringing"))
        damage(path)
        for number in range(EVENTS, 2 * EVENTS):
            assert store.append(event(number, "ringing"))
        assert is_right(path)
        assert after_a_crash(path) == {sid(number) for number in range(2 * EVENTS)}
    expected = [] if damage in QUIET_INDEX_DAMAGES else ["its index (-shm) was overwritten; it was made anew"]
    assert len(troubles) == len(expected)
    assert all(part in text for part, text in zip(expected, troubles, strict=True))
    assert not list(path.parent.glob("*.damaged-*"))


@pytest.mark.parametrize("damage", INDEX_DAMAGES, ids=lambda damage: damage.__name__)
def test_what_others_wrote_where_a_damaged_index_led_them_hurts_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    monkeypatch.setattr("callctl.store.sqlite.rescue.recent_rows._REFRESH_PAUSE", 0)
    claim = OpenClaim("rule", sid(2), sid(2), "hangup")
    with (
        closing(SqliteStore.open_for_watch(path, world=WORLD)) as store,
        closing(SqliteStore.open(path, world=WORLD)) as claims,
    ):
        for number in range(EVENTS):
            store.append(event(number, "ringing"))
        claims.claim(claim, now=START, until=START)
        store.append(event(EVENTS, "ringing"))  # sees the claim
        damage(path)
        with suppress(StoreError):
            claims.claim(OpenClaim("rule", sid(3), sid(3), "hangup"), now=START, until=START)
        for number in range(EVENTS + 1, 2 * EVENTS):
            with suppress(StoreError):
                store.append(event(number, "ringing"))
        assert store.append(event(2 * EVENTS, "ringing"))
        assert {sid(number) for number in (*range(EVENTS + 1), 2 * EVENTS)} <= after_a_crash(path)
        assert not claims.claim(claim, now=START, until=START)


def test_it_is_found_where_nothing_is_written(path: Path) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        for number in range(EVENTS):
            store.append(event(number, "ringing"))
        raise_index(path)
        store._writing.check()
        assert is_right(path)


def test_nothing_that_sqlite_does_is_taken_for_damage(path: Path) -> None:
    troubles: list[str] = []
    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as store:
        number = 0

        def write() -> None:
            nonlocal number
            for _ in range(3):
                number += 1
                assert store.append(event(number, "ringing"))
                assert is_right(path)

        write()
        for statement in (
            "PRAGMA wal_checkpoint(PASSIVE)",
            "PRAGMA wal_checkpoint(RESTART)",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "VACUUM",
            "REINDEX",
            "UPDATE calls SET last_at = last_at",
        ):
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute(statement).fetchall()
            write()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA cache_size = 5")  # so that it writes to the log before it commits
            for end in ("ROLLBACK", "COMMIT"):
                other.execute("BEGIN IMMEDIATE")
                other.execute("CREATE TABLE notes (text)")
                other.executemany("INSERT INTO notes VALUES (?)", [("x" * 3000,)] * 200)
                other.execute(end)
                write()
        with closing(sqlite3.connect(path, isolation_level=None)) as reading:  # no log is begun anew meanwhile
            reading.execute("BEGIN")
            reading.execute("SELECT * FROM calls").fetchall()
            store._writing.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            write()
        write()
    assert troubles == []


def test_a_log_of_several_blocks_is_compared_whole(path: Path) -> None:
    troubles: list[str] = []
    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as store:
        for number in range(45):
            store.append(event(number, "ringing", Filling="x" * 800_000))
        keeper = store._writing
        assert isinstance(keeper, RepairingConnection)
        assert keeper._checks._log is not None
        assert keeper._checks._log.frames > 4062 + 4096
        assert is_right(path)
        for at in (140, 32768 + 4, 32768 + 16384 + 2 * (5 * 383), 2 * 32768):
            before = index_of(path).read_bytes()[at : at + 4]
            write_into_index(path, at, bytes(byte ^ 1 for byte in before))
            assert not is_right(path)
            assert store.append(event(at, "ringing"))
            assert is_right(path)
        assert len(troubles) == 4


def test_what_a_process_wrote_that_was_killed_before_it_noted_it_in_the_index_is_no_damage(path: Path) -> None:
    troubles: list[str] = []
    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as store:
        store.append(event(1, "ringing"))
        header = index_of(path).read_bytes()[:96]
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("CREATE TABLE notes (text)")
            other.executemany("INSERT INTO notes VALUES (?)", [("x" * 3000,)] * 20)
            write_into_index(path, 0, header)  # as it was before that: what is written next is written over it
            for number in range(2, 10):
                assert store.append(event(number, "ringing"))
                assert is_right(path)
        assert after_a_crash(path) == {sid(number) for number in range(1, 10)}
    assert troubles == []


def test_a_transaction_that_rewrites_its_frames_at_its_end_is_no_damage(
    path: Path,
) -> None:
    troubles: list[str] = []
    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as store:
        store.append(event(1, "ringing"))
        log = path.with_name(f"{path.name}-wal")
        with log.open("r+b") as stream:  # a frame as another process writes it before it knows its checksum
            stream.seek(0)
            salts, size = stream.read(32)[16:24], log.stat().st_size
            stream.seek(size)
            stream.write(bytes(3) + b"\1" + bytes(3) + b"\1" + salts + b"interim!" + bytes(4096))
        with suppress(StoreError):
            store._writing.check()
        with log.open("r+b") as stream:
            stream.seek(size + 16)
            stream.write(b"final...")
        assert store.append(event(2, "ringing"))
    assert troubles == []


def test_a_log_that_a_checkpoint_empties_between_a_look_at_its_size_and_one_at_its_header_is_no_damage(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles: list[str] = []
    look, looks = Files.at, 0

    def look_and_empty(name: Path) -> Files:
        nonlocal looks
        files, looks = look(name), looks + 1
        if looks == 1:
            with closing(sqlite3.connect(path)) as other:
                assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        return files

    with closing(SqliteStore.open_for_watch(path, world=WORLD, on_trouble=troubles.append)) as store:
        store.append(event(1, "ringing"))
        monkeypatch.setattr("callctl.store.sqlite.file_checks.Files.at", look_and_empty)
        assert store.append(event(2, "ringing"))
    assert looks > 1
    assert troubles == []


def test_a_handle_is_closed_once_no_connection_can_use_the_file(path: Path) -> None:
    before = set(_handles)
    SqliteStore.open_for_watch(path, world=WORLD).close()
    assert set(_handles) <= before
    store, claims = SqliteStore.open_for_watch(path, world=WORLD), SqliteStore.open(path, world=WORLD)
    store.close()
    (kept,) = set(_handles) - before  # closing it would drop the locks of the other connection
    claims.close()
    SqliteStore.open_for_watch(path.with_name("other.db"), world=WORLD).close()
    assert kept not in _handles
