"""A database that is put back to an earlier state under those who read it, and a server's clock that is set back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from events import START, WORLD, event, moment, sid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from callctl.calls.action import ActionEvent
from callctl.store.postgresql import cursor
from callctl.store.postgresql.store import PostgresStore
from callctl.store.records import ActionLimit, OpenClaim, Refusal

LEASE = timedelta(seconds=90)
_worlds = itertools.count(1)


class Shared:
    """A database, and what a restored backup does to it: it has the rows of then, and gives their positions on anew."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.troubles: list[str] = []
        self._stack = ExitStack()
        self._sql = self._stack.enter_context(closing(psycopg.connect(url, autocommit=True)))

    def __enter__(self) -> Shared:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self) -> PostgresStore:
        return self._stack.enter_context(
            closing(PostgresStore.open(self.url, world=WORLD, on_trouble=self.troubles.append))
        )

    def put_back(self, *, events: int = 0, actions: int = 0, world: str = WORLD) -> None:
        values: dict[str, Any] = {"world": world, "events": events, "actions": actions}
        for statement in (
            "UPDATE callctl.worlds SET last_event = %(events)s, last_action = %(actions)s WHERE world = %(world)s",
            "DELETE FROM callctl.stored_events WHERE world = %(world)s AND position > %(events)s",
            "DELETE FROM callctl.actions WHERE world = %(world)s AND position > %(actions)s",
        ):
            self._sql.execute(statement, values)

    def backup(self, *, world: str = WORLD) -> Callable[[], None]:
        """Return what puts the events of now back in the place of those of then."""
        rows = self._sql.execute("SELECT * FROM callctl.stored_events WHERE world = %s", [world]).fetchall()
        events = [(*row[:-1], Jsonb(row[-1])) for row in rows]
        (last,) = self._sql.execute("SELECT last_event FROM callctl.worlds WHERE world = %s", [world]).fetchone() or (
            0,
        )

        def restore() -> None:
            self.put_back(world=world)
            with self._sql.cursor() as cursor:
                cursor.executemany("INSERT INTO callctl.stored_events VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", events)
            self._sql.execute("UPDATE callctl.worlds SET last_event = %s WHERE world = %s", [last, world])

        return restore

    def execute(self, sql: str) -> None:
        self._sql.execute(sql.encode())


@pytest.fixture
def shared(own_shared_store: str) -> Iterator[Shared]:
    with Shared(own_shared_store) as found:
        yield found


def append(store: PostgresStore, *calls: int) -> None:
    for call in calls:
        assert store.append(event(call, "ringing", number=0, at=call))


def read_on(store: PostgresStore, last: int) -> tuple[int, list[str]]:
    """Return the position of the last new event, and the calls of the new ones."""
    found: list[str] = []
    while page := store.after(last, limit=3):
        last = page[-1][0]
        found += [one.call_sid for _, one in page]
    return last, found


def action(call: int) -> ActionEvent:
    return ActionEvent(START, sid(call), "hangup", (("Status", "completed"),), "ended")


def sids(*calls: int) -> list[str]:
    return [sid(call) for call in calls]


@pytest.mark.parametrize("lost", [1, 3, 5])
@pytest.mark.parametrize("more", [1, 4, 9])
def test_what_comes_after_the_database_was_put_back_is_new_to_who_reads_on(
    shared: Shared, lost: int, more: int
) -> None:
    """Whether fewer, as many or more events come than it lost."""
    reader, writer = shared.open(), shared.open()
    append(writer, *range(5))
    last, found = read_on(reader, 0)
    assert found == sids(*range(5))
    shared.put_back(events=5 - lost)
    append(writer, *range(10, 10 + more))
    last, found = read_on(reader, last)
    assert found == sids(*range(10, 10 + more))
    (trouble,) = shared.troubles
    assert "put back to an earlier state" in trouble
    append(writer, 30)
    assert read_on(reader, last)[1] == sids(30)
    assert len(shared.troubles) == 1


def test_what_the_reader_itself_writes_is_new_too(shared: Shared) -> None:
    store = shared.open()
    append(store, *range(5))
    last, _ = read_on(store, 0)
    append(store, 5, 6)  # kept to be read, and gone
    shared.put_back(events=5)
    append(store, 7, 8, 9)
    last, found = read_on(store, last)
    assert set(found) >= set(sids(7, 8, 9))
    assert read_on(store, last)[1] == []


def test_nothing_is_new_where_nothing_came_since(shared: Shared) -> None:
    reader, writer = shared.open(), shared.open()
    append(writer, *range(5))
    last, _ = read_on(reader, 0)
    shared.put_back(events=2)
    assert [read_on(reader, last)[1] for _ in range(3)] == [[], [], []]
    append(writer, 9)
    assert read_on(reader, last)[1] == sids(9)


def test_of_a_much_older_state_is_new_what_came_since_the_last_that_was_read(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursor, "_MOST_KNOWN", 2)
    monkeypatch.setattr(cursor, "_KNOWN_AT_FIRST", 2)
    reader, writer = shared.open(), shared.open()
    append(writer, *range(0, 10_000, 1000))  # a quarter of an hour apart
    last, _ = read_on(reader, 0)
    shared.put_back(events=4)
    append(writer, 9500, 9600)
    assert read_on(reader, last)[1] == sids(9500, 9600)


def test_what_is_there_again_in_a_later_backup_is_not_new(shared: Shared) -> None:
    reader, writer = shared.open(), shared.open()
    append(writer, *range(10))
    last, _ = read_on(reader, 0)
    later = shared.backup()
    shared.put_back(events=5)
    append(writer, 20)
    last, found = read_on(reader, last)
    assert found == sids(20)
    later()
    append(writer, 30)
    assert read_on(reader, last)[1] == sids(30)


def test_a_second_yet_older_backup_is_noticed_though_nothing_came_in_between(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursor, "_MOST_KNOWN", 2)
    reader, writer = shared.open(), shared.open()
    append(writer, *range(0, 10_000, 1000))
    last, _ = read_on(reader, 0)
    shared.put_back(events=5)
    assert read_on(reader, last)[1] == []
    shared.put_back(events=3)
    assert read_on(reader, last)[1] == []
    append(writer, 9500)
    assert read_on(reader, last)[1] == sids(9500)


def test_one_that_comes_before_the_first_look_is_noticed(shared: Shared) -> None:
    reader, writer = shared.open(), shared.open()
    append(writer, *range(5))
    last = reader.last_event_id()
    shared.put_back(events=2)
    append(writer, 7)
    assert read_on(reader, last)[1] == sids(7)


def test_who_has_a_position_of_before_gets_what_comes(shared: Shared) -> None:
    reader, writer = shared.open(), shared.open()
    append(writer, *range(5))
    shared.put_back(events=2)
    assert read_on(reader, 5)[1] == []
    append(writer, 7)
    assert read_on(reader, 5)[1] == sids(7)


def test_a_database_that_was_emptied_is_read_from_its_beginning(shared: Shared) -> None:
    reader, writer = shared.open(), shared.open()
    append(writer, 1, 2, 3)
    last, _ = read_on(reader, 0)
    shared.execute("TRUNCATE callctl.stored_events, callctl.stored_calls, callctl.worlds")
    assert read_on(reader, last)[1] == []
    append(writer, 1001)
    assert read_on(reader, last)[1] == sids(1001)


def test_what_retention_deletes_does_not_look_put_back(shared: Shared) -> None:
    reader, writer = shared.open(), shared.open()
    append(writer, 1, 2, 3)
    last, _ = read_on(reader, 0)
    assert writer.delete_older_than(moment(100)) == 3
    assert read_on(reader, last)[1] == []
    append(writer, 4)
    assert read_on(reader, last)[1] == sids(4)
    assert shared.troubles == []


def test_actions_are_new_likewise(shared: Shared) -> None:
    reader, writer = shared.open(), shared.open()
    writer.record_actions([action(call) for call in range(5)])
    last = reader.actions_after(0)[-1][0]
    shared.put_back(actions=3)
    writer.record_actions([action(call) for call in (7, 8, 9)])
    found = reader.actions_after(last)
    assert [one.call_sid for _, one in found] == sids(7, 8, 9)
    assert reader.actions_after(found[-1][0]) == []


# What is done in turn: so many events come, the database loses so many of its newest, it is read, a backup of it is
# made, or put in its place.
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 6)),
        st.tuples(st.just("put back"), st.integers(1, 6)),
        st.sampled_from([("read", 0), ("read", 0), ("back up", 0), ("restore", 0)]),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
def test_whatever_is_there_at_a_look_is_read_once(shared: Shared, steps: list[tuple[str, int]]) -> None:
    there: list[int] = []  # the calls in the database
    read: list[str] = []
    calls, last, world = itertools.count(1), 0, f"{next(_worlds):016x}"
    kept: tuple[list[int], Callable[[], None]] = [], shared.backup(world=world)
    with ExitStack() as stack:
        reader, writer = (stack.enter_context(closing(PostgresStore.open(shared.url, world=world))) for _ in range(2))
        for step, count in [*steps, ("read", 0)]:
            match step:
                case "append":
                    new = list(itertools.islice(calls, count))
                    append(writer, *new)
                    there = [*there, *new]
                case "put back":
                    there = there[: max(0, len(there) - count)]
                    shared.put_back(events=len(there), world=world)
                case "back up":
                    kept = there, shared.backup(world=world)
                case "restore":
                    there, restore = kept
                    restore()
                case _:
                    last, found = read_on(reader, last)
                    read += found
                    assert set(sids(*there)) <= set(read)
    assert len(read) == len(set(read))


def test_the_limit_of_actions_does_not_count_those_of_before_the_clock_was_set_back(shared: Shared) -> None:
    store, limit = shared.open(), ActionLimit(per_second=2, per_minute=3)

    def claim(number: int) -> OpenClaim | Refusal:
        wanted = OpenClaim("rule", sid(number), sid(number), "hangup")
        return store.claim(wanted, now=START, until=START + LEASE, limit=limit)

    assert all(isinstance(claim(number), OpenClaim) for number in range(2))
    shared.execute("UPDATE callctl.claims SET at = at + interval '1 hour'")
    assert all(isinstance(claim(number), OpenClaim) for number in range(10, 12))
    assert claim(12) is Refusal.SECOND_IS_FULL


def test_nobody_leads_or_listens_for_an_hour_because_the_clock_was_set_back(shared: Shared) -> None:
    store = shared.open()
    assert store.lead("gone", lasting=LEASE)
    store.announce("gone", {"port": 1}, lasting=LEASE)
    store.announce("here", {"port": 2}, lasting=LEASE)
    for table in ("leaders", "listeners"):
        shared.execute(f"UPDATE callctl.{table} SET until = until + interval '1 hour'")
    store.announce("here", {"port": 2}, lasting=LEASE)
    assert store.announced() == {"here": {"port": 2}}
    assert store.lead("here", lasting=LEASE)
    assert not store.lead("gone", lasting=LEASE)
