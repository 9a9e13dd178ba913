from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from events import WORLD, event, event_of, form, moment, samples, sid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callctl.calls.board import Board
from callctl.calls.event import CallEvent, NotACallEventError
from callctl.calls.event_record import pairs_key
from callctl.errors import StoreError
from callctl.store.records import PlacedCall
from callctl.store.sqlite.schema import MIGRATIONS
from callctl.store.sqlite.store import SqliteStore


def keys(events: object) -> list[str]:
    return [one.key for one in events]  # type: ignore[attr-defined]


def test_it_is_an_event_store(store: SqliteStore) -> None:
    as_protocol: SqliteStore = store
    assert as_protocol.append(event(1, "ringing"))


def test_events_come_back_whole_in_their_order_of_arrival(store: SqliteStore) -> None:
    events = [
        event(2, "ringing", at=5),
        event(1, "ringing", at=3),
        event(2, "busy", at=4, Tomorrow="ü\x00\x1b[2J"),
    ]
    assert [store.append(one) for one in events] == [True] * 3
    assert list(store.replay(since=None)) == events


def test_the_same_event_is_kept_once(store: SqliteStore) -> None:
    assert store.append(event(1, "ringing", received=1))
    assert not store.append(event(1, "ringing", received=2))
    assert [one.received_at for one in store.replay(since=None)] == [moment(1)]


def test_the_same_event_twice_in_one_commit_is_kept_once(store: SqliteStore) -> None:
    futures = [store.submit(event(1, "ringing")) for _ in range(50)]
    assert sum(future.result() for future in futures) == 1


def test_a_test_whether_it_can_be_written_leaves_no_trace(store: SqliteStore) -> None:
    store.append(event(1, "ringing"))
    before = list(store.replay(since=None))
    store.check_writable()
    store.check_writable()
    assert list(store.replay(since=None)) == before
    with store._reading.use("read") as connection:
        assert connection.execute("SELECT count(*) FROM intents").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM calls").fetchone() == (1,)
        assert connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone() == (1,)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE UNIQUE INDEX evil ON calls ((1))",
        "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'events'",
    ],
)
def test_a_test_whether_it_can_be_written_fails_where_no_event_can(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "events.db"
    with contextlib.closing(SqliteStore.open(path, world=WORLD)) as store:  # which repairs nothing
        store.append(event(1, "ringing"))
        store.check_writable()
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.executescript(statement)
        for attempt in (store.check_writable, lambda: store.append(event(2, "ringing"))):
            with pytest.raises(StoreError, match=r"UNIQUE constraint failed|database or disk is full"):
                attempt()


def test_a_test_whether_it_can_be_written_fails_where_another_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with (
        contextlib.closing(SqliteStore.open(path, world=WORLD, busy_timeout=0.1)) as store,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            store.check_writable()
        other.execute("ROLLBACK")
        store.check_writable()


@pytest.mark.parametrize(
    ("damage", "parent"),
    [
        ("UPDATE events SET record = substr(record, 1, 2) || '~' || substr(record, 4) WHERE id = 1", sid(3)),
        ("UPDATE calls SET parent_sid = x'ff' WHERE id = 1", None),
        ("UPDATE calls SET status = x'ff' WHERE id = 1", sid(3)),
    ],
)
def test_one_damaged_row_hides_no_other(tmp_path: Path, damage: str, parent: str | None) -> None:
    path = tmp_path / "events.db"
    with contextlib.closing(SqliteStore.open(path, world=WORLD)) as store:
        for number, status in enumerate(("initiated", "ringing")):
            child = event(1, status, number=number, ParentCallSid=sid(3), Direction="outbound-dial")
            store.append(child)
        store.append(event(2, "ringing"))
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.executescript(damage)
        known = store.call(sid(1))
        assert known is not None
        assert known.parent_call_sid == parent
        assert "ringing" in [one.event for one in store.family(sid(1))]
        board = Board()
        for one in store.replay(since=None):
            board.apply(one)
        assert {row.call_sid for row in store.live_calls()} == {sid(1), sid(2)}
        assert [row.call_sid for row in store.calls_starting(sid(2))] == [sid(2)]


def test_a_call_whose_sid_is_no_text_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with contextlib.closing(SqliteStore.open(path, world=WORLD)) as store:
        for number in (1, 2):
            store.append(event(number, "ringing"))
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.executescript("UPDATE calls SET sid = x'ff' WHERE id = 1")
        assert [row.call_sid for row in store.live_calls()] == [sid(2)]


def test_commits_are_observed_with_their_time_and_the_number_of_their_events(store: SqliteStore) -> None:
    commits: list[tuple[float, int]] = []
    store.observe_commits(lambda seconds, events: commits.append((seconds, events)))
    for future in [store.submit(event(call, "ringing")) for call in range(50)]:
        future.result()
    assert sum(events for _, events in commits) == 50
    assert all(seconds > 0 for seconds, _ in commits)


def test_all_samples_are_kept_and_come_back(store: SqliteStore) -> None:
    events = []
    for sample in samples("callbacks.jsonl"):
        try:
            events.append(event_of(sample["params"]))
        except NotACallEventError:
            continue
    for one in events:
        store.append(one)
    assert list(store.replay(since=None)) == events


def test_a_restart_shows_what_was_there(path: Path) -> None:
    first = SqliteStore.open_for_watch(path, world=WORLD)
    first.append(event(1, "in-progress", at=1))
    first.close()
    second = SqliteStore.open_for_watch(path, world=WORLD)
    assert list(second.replay(since=None)) == [event(1, "in-progress", at=1)]
    assert not second.append(event(1, "in-progress", at=1))
    second.close()


def test_since_counts_by_the_later_of_arrival_and_the_events_own_time(store: SqliteStore) -> None:
    store.append(event(1, "completed", at=100, received=0))  # the clock was behind
    store.append(event(2, "completed", at=0, received=100))
    store.append(event(3, "completed", at=0, received=0))
    assert {one.call_sid for one in store.replay(since=moment(50))} == {sid(1), sid(2)}


def test_since_leaves_out_what_is_over_and_untouched(store: SqliteStore) -> None:
    store.append(event(1, "in-progress", at=0))  # not over
    store.append(event(2, "completed", at=0))  # over, long ago
    store.append(event(3, "completed", at=100))  # over, touched since
    sids = {one.call_sid for one in store.replay(since=moment(50))}
    assert sids == {sid(1), sid(3)}


def test_a_family_comes_whole_however_old_its_first_events(store: SqliteStore) -> None:
    store.append(event(1, "completed", at=0))
    store.append(event(2, "busy", at=1, parent=1))
    store.append(event(3, "completed", at=100, parent=1))
    store.append(event(9, "completed", at=0))
    assert {one.call_sid for one in store.replay(since=moment(50))} == {sid(1), sid(2), sid(3)}
    for call in (1, 2, 3):
        assert {one.call_sid for one in store.family(sid(call))} == {sid(1), sid(2), sid(3)}
    assert list(store.family(sid(8))) == []


def test_a_long_replay_is_whole_and_in_order(store: SqliteStore) -> None:
    events = [event(number % 7, "in-progress", number=number) for number in range(2500)]
    for future in [store.submit(one) for one in events]:
        future.result()
    assert keys(store.replay(since=None)) == keys(events)


def test_worlds_are_kept_apart(path: Path, store: SqliteStore) -> None:
    other = SqliteStore.open_for_watch(path, world="other")
    theirs = CallEvent.from_form(form(1, "ringing").items(), received_at=moment(0), world="other", verified=True)
    assert store.append(event(1, "in-progress"))
    assert other.append(theirs)
    store.remember_placed(sid(1), at=moment(0))
    assert [one.status for one in store.replay(since=None)] == ["in-progress"]
    assert [one.status for one in other.replay(since=moment(0))] == ["ringing"]
    assert [one.key for _, one in other.after(0)] == [theirs.key]
    assert (other.call(sid(1)), other.last_placed()) != (store.call(sid(1)), store.last_placed())
    assert other.last_placed() is None
    assert other.delete_older_than(moment(99)) == 1
    assert len(list(store.replay(since=None))) == 1
    other.close()


def test_the_call_placed_last_is_remembered(path: Path, store: SqliteStore) -> None:
    assert store.last_placed() is None
    store.remember_placed(sid(1), at=moment(0))
    store.remember_placed(sid(2), at=moment(1))
    assert store.last_placed() == sid(2)
    with_nothing_else = SqliteStore.open_readonly(path, world=WORLD)
    assert with_nothing_else.last_placed() == sid(2)
    with_nothing_else.close()


def test_calls_are_found_by_the_start_of_their_sid(store: SqliteStore) -> None:
    for call in (11, 12, 2):
        store.append(event(call, "ringing", at=call))
    rows = store.calls_starting(sid(12)[:33])
    assert [row.call_sid for row in rows] == [sid(12), sid(11)]
    assert store.calls_starting("CA%") == []
    assert store.calls_starting("ca0000") == []
    assert len(store.calls_starting("CA", limit=2)) == 2


def test_live_calls_are_those_not_over(store: SqliteStore) -> None:
    store.append(event(1, "ringing", at=1))
    store.append(event(2, "completed", at=2))
    (row,) = store.live_calls()
    assert (row.call_sid, row.status, row.is_final, row.last_event_at) == (sid(1), "ringing", False, moment(1))


STATUSES = ["queued", "ringing", "in-progress", "completed", "busy", "failed", "canceled", "x"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STATUSES), st.none() | st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_a_calls_row_agrees_with_the_board(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int | None, int]]
) -> None:
    store = SqliteStore.open_for_watch(tmp_path_factory.mktemp("rows") / "events.db", world=WORLD)
    board = Board()
    for status, number, at in steps:
        one = event(1, status, number=number, at=at)
        assert store.append(one) is (board.apply(one) is not None)
    row, leg = store.call(sid(1)), board.snapshot().leg(sid(1))
    store.close()
    assert row is not None
    assert leg is not None
    assert (row.status, row.is_final, row.last_event_at) == (leg.status, leg.is_final, leg.last_event_at)


def test_a_follower_reads_what_is_written_meanwhile(path: Path, store: SqliteStore) -> None:
    store.append(event(1, "ringing"))
    follower = SqliteStore.open_readonly(path, world=WORLD)
    begin = follower.last_event_id()
    store.append(event(1, "in-progress"))
    store.append(event(2, "ringing"))
    (first, one), (second, two) = follower.after(begin)
    assert (one.status, two.call_sid) == ("in-progress", sid(2))
    assert [two.key] == [later.key for _, later in follower.after(first)]
    assert follower.after(second) == []
    assert len(follower.after(0, limit=2)) == 2
    follower.close()


def test_a_follower_can_not_write(path: Path, store: SqliteStore) -> None:
    store.append(event(1, "ringing"))
    follower = SqliteStore.open_readonly(path, world=WORLD)
    with pytest.raises(StoreError, match="readonly"):
        follower._rows("DELETE FROM events")
    follower.close()


def test_a_reader_of_nothing_says_so(path: Path) -> None:
    with pytest.raises(StoreError, match=r"can't read .*events\.db"):
        SqliteStore.open_readonly(path, world=WORLD)


def test_old_calls_are_deleted_in_small_steps(store: SqliteStore) -> None:
    for call in range(1, 6):
        store.append(event(call, "completed", at=call))
        store.append(event(call, "ringing", at=call))
    store.append(event(1, "in-progress", at=100))  # touched once more
    steps = []
    while deleted := store.delete_older_than(moment(50), limit=3):
        steps.append(deleted)
    assert steps == [3, 1]
    assert {one.call_sid for one in store.replay(since=None)} == {sid(1)}
    assert len(list(store.replay(since=None))) == 3
    assert store.call(sid(2)) is None
    assert store.append(event(2, "completed", at=2))  # a deleted event may come back


def test_the_directory_and_files_are_the_owners_alone(path: Path, store: SqliteStore) -> None:
    store.append(event(1, "ringing"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"events.db": 0o600, "events.db-wal": 0o600, "events.db-shm": 0o600}


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    path.chmod(0o644)
    SqliteStore.open_for_watch(path, world=WORLD).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_commits_reach_the_disk(store: SqliteStore) -> None:
    connection = store._writing.connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_full_disk_fails_what_waits_and_is_recovered_from(store: SqliteStore) -> None:
    store.append(event(1, "ringing"))
    connection = store._writing.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    big = [event(call, "ringing", Filler="x" * 20_000) for call in range(2, 10)]
    for future in [store.submit(one) for one in big]:
        with pytest.raises(StoreError, match="full") as caught:
            future.result()
        assert caught.value.hint is not None
        assert "disk" in caught.value.hint
    assert keys(store.replay(since=None)) == [event(1, "ringing").key]

    connection.execute("PRAGMA max_page_count = 1000000")
    assert [store.append(one) for one in big] == [True] * len(big)
    assert len(list(store.replay(since=None))) == 1 + len(big)


def test_a_locked_database_fails_what_waits_and_is_recovered_from(path: Path, store: SqliteStore) -> None:
    store._writing.connection.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked") as caught:
        store.append(event(1, "ringing"))
    assert caught.value.hint is not None
    with pytest.raises(StoreError, match="locked"):
        store.remember_placed(sid(1), at=moment(0))
    other.execute("ROLLBACK")
    other.close()
    assert store.append(event(1, "ringing"))


def test_nothing_is_taken_in_after_closing(path: Path) -> None:
    store = SqliteStore.open_for_watch(path, world=WORLD)
    waiting = [store.submit(event(call, "ringing")) for call in range(100)]
    store.close()
    assert all(future.result() for future in waiting)
    with pytest.raises(StoreError, match="closed"):
        store.append(event(1, "busy"))
    store.close()  # a second time is harmless


def test_what_is_no_database_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database, whatever its name says\n" * 100)
    with pytest.raises(StoreError, match=r"can't open .*events\.db: file is not a database") as caught:
        SqliteStore.open_for_watch(path, world=WORLD)
    assert caught.value.hint is not None


def test_a_directory_in_the_files_place_is_named(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match="irectory"):
        SqliteStore.open_for_watch(path, world=WORLD)


def test_a_store_of_a_newer_version_is_left_alone(path: Path) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(StoreError, match="newer callctl"):
        SqliteStore.open_for_watch(path, world=WORLD)
    with pytest.raises(StoreError, match="newer callctl"):
        SqliteStore.open_readonly(path, world=WORLD)


def test_a_migration_happens_wholly_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SqliteStore.open_for_watch(path, world=WORLD)
    first.append(event(1, "ringing"))
    first.close()
    broken = (*MIGRATIONS, "CREATE TABLE half (x); CREATE TABLE half (x)")
    monkeypatch.setattr("callctl.store.sqlite.schema.MIGRATIONS", broken)
    with pytest.raises(StoreError, match="already exists"):
        SqliteStore.open_for_watch(path, world=WORLD)

    monkeypatch.setattr(
        "callctl.store.sqlite.schema.MIGRATIONS", (*MIGRATIONS, "ALTER TABLE calls ADD COLUMN note TEXT")
    )
    migrated = SqliteStore.open_for_watch(path, world=WORLD)
    assert [one.call_sid for one in migrated.replay(since=None)] == [sid(1)]
    migrated.close()
    connection = sqlite3.connect(path)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert "half" not in tables


def test_several_processes_may_open_a_new_store_at_once(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from callctl.store.sqlite.store import SqliteStore\n"
        "from datetime import UTC, datetime\n"
        "store = SqliteStore.open_for_watch(Path(sys.argv[1]), world='w')\n"
        "store.remember_placed('CA1', at=datetime.now(UTC))\n"
        "store.close()"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(6)]
    assert [one.wait(timeout=120) for one in started] == [0] * 6


def test_a_restart_finds_recent_calls_by_index(store: SqliteStore) -> None:
    # The opening of a large store must not read all of it.
    from callctl.store.sqlite import store as store_module

    plan = store._writing.connection.execute(
        "EXPLAIN QUERY PLAN " + store_module._RECENT, {"world": WORLD, "since": 0}
    ).fetchall()
    assert [step for *_, step in plan if step.startswith(("SCAN calls", "SCAN events"))] == []


def test_placed_calls_are_known_with_where_their_callbacks_go(store: SqliteStore) -> None:
    url = "https://example.com/status"
    store.remember_placed(sid(1), at=moment(0), callback=url, events=("initiated", "completed"))
    store.remember_placed(sid(2), at=moment(5), callback=url)
    store.remember_placed(sid(3), at=moment(6), callback=url + "/")
    store.remember_placed(sid(4), at=moment(7))
    assert store.placed_since(moment(0), callback=url) == [
        PlacedCall(sid(1), moment(0), ("initiated", "completed")),
        PlacedCall(sid(2), moment(5), ()),
    ]
    assert [one.call_sid for one in store.placed_since(moment(1), callback=url)] == [sid(2)]


def test_a_store_from_before_callbacks_were_noted_is_brought_up_to_date(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("callctl.store.sqlite.schema.MIGRATIONS", MIGRATIONS[:2])
        SqliteStore.open_for_watch(path, world=WORLD).close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("INSERT INTO placed_calls (world, sid, at) VALUES (?, ?, 0)", (WORLD, sid(1)))
    connection.close()
    store = SqliteStore.open_for_watch(path, world=WORLD)
    store.remember_placed(sid(2), at=moment(0), callback="https://example.com", events=("completed",))
    assert [one.call_sid for one in store.placed_since(moment(-1), callback="https://example.com")] == [sid(2)]
    store.close()


def test_a_retry_across_the_update_of_a_store_of_0_1_0_counts_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_before(one: CallEvent) -> CallEvent:
        return dataclasses.replace(one, key=pairs_key(one.form, world=WORLD))

    known, other = event(1, "ringing", at=1), event(1, "in-progress", at=2)
    with monkeypatch.context() as before:
        before.setattr("callctl.store.sqlite.schema.MIGRATIONS", MIGRATIONS[:6])
        before.setattr("callctl.store.sqlite.rows._stored_before", lambda *_args, **_more: set())
        old = SqliteStore.open(path, world=WORLD)
        assert old.append(as_before(known))
        old.close()
    store = SqliteStore.open_for_watch(path, world=WORLD)
    assert [store.append(one) for one in (known, other, other, event(2, "ringing"), known)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    futures = [store.submit(one) for one in (known, event(1, "busy"), known, event(1, "busy"), other)]
    assert [future.result() for future in futures] == [False, True, False, False, False]
    statuses = [(one.call_sid, one.status) for one in store.replay(since=None)]
    assert statuses == [(sid(1), "ringing"), (sid(1), "in-progress"), (sid(2), "ringing"), (sid(1), "busy")]
    store.close()


@pytest.mark.parametrize("opened", [SqliteStore.open, SqliteStore.open_for_watch])
def test_another_program_that_has_locked_the_file_keeps_none_from_closing_it(
    path: Path, opened: Callable[..., SqliteStore]
) -> None:
    store = opened(path, world=WORLD, busy_timeout=1000.0)
    tries = [threading.Thread(target=lambda: suppressed(store.check_writable), daemon=True) for _ in range(2)]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for one in tries:
            one.start()
        while not store._writing._lock.locked():
            time.sleep(0.001)
        store.close(timeout=0.05)
        other.execute("ROLLBACK")
    for one in tries:
        one.join(60)
    store.close()


def suppressed(work: Callable[[], None]) -> None:
    with contextlib.suppress(StoreError, sqlite3.Error):
        work()
