"""Families out of a store: which there are, and all that is there of one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from events import WORLD, event, event_of, moment, sid
from legs import in_conference
from reports.evening import StoredCalls, dials, talk

from callctl.calls.leg import Leg
from callctl.reports.stories.stored_family import families_since, find_family, read_family
from callctl.store.event_store import EventStore
from callctl.store.postgresql.store import PostgresStore
from callctl.store.sqlite.store import SqliteStore

ROOM = "0" * 31 + "7"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    store: EventStore
    if request.param == "sqlite":
        store = SqliteStore.open(tmp_path / "events.db", world=WORLD)
    else:
        store = PostgresStore.open(request.getfixturevalue("shared_store"), world=WORLD)
    yield store
    store.close()


def put(store: EventStore, stored: StoredCalls) -> None:
    for one in stored.events:
        store.append(one)
    store.record_actions(stored.actions)


def every(_leg: Leg) -> bool:
    return True


def test_families_come_as_they_began_with_their_parents_first(store: EventStore) -> None:
    stored = StoredCalls()
    later, first = dials(stored, 100), talk(stored, 0, 10)
    put(store, stored)
    assert list(families_since(store, None, matches=every)) == [
        (sid(first),),
        (sid(later), sid(later + 1), sid(later + 2)),
    ]
    assert [legs[0] for legs in families_since(store, moment(60), matches=every)] == [sid(later)]


def test_a_family_is_there_if_one_leg_matches(store: EventStore) -> None:
    stored = StoredCalls()
    parent = dials(stored, 0)
    talk(stored, 0, 10)
    put(store, stored)
    (legs,) = families_since(store, None, matches=lambda leg: leg.to == "client:ben")
    assert legs[0] == sid(parent)


def test_all_of_it_is_read_whichever_leg_is_named(store: EventStore) -> None:
    stored = StoredCalls()
    parent = dials(stored, 0)
    grandchild = stored.leg(("ringing", 9), ("completed", 30), to="client:cy", parent=parent + 1)
    stored.events.append(in_conference(sid(parent), ROOM, second=4))
    talk(stored, 0, 10)
    put(store, stored)
    store.append(event_of({"ConferenceSid": f"CF{ROOM}", "StatusCallbackEvent": "conference-end"}, received=20))
    (legs,) = (legs for legs in families_since(store, None, matches=every) if len(legs) > 1)
    whole = read_family(store, legs)
    assert {one.call_sid for one in whole.events} == {*map(sid, range(parent, grandchild + 1)), f"CF{ROOM}"}
    assert len(whole.actions) == 1
    for number in range(parent, grandchild + 1):
        found = find_family(store, sid(number))
        assert {one.key for one in found.events} == {one.key for one in whole.events}
        assert found.actions == whole.actions


def test_legs_that_are_each_others_parents_are_read_once(store: EventStore) -> None:
    store.append(event(1, "ringing", at=0, parent=2))
    store.append(event(2, "ringing", at=0, parent=1))
    assert len(find_family(store, sid(1)).events) == 2


def test_of_a_call_that_is_not_there_nothing_is_read(store: EventStore) -> None:
    assert find_family(store, sid(1)).events == ()
    assert list(families_since(store, None, matches=every)) == []
