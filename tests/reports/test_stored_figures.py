from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from events import WORLD, event, moment, sid

from callctl.calls.action import ActionEvent
from callctl.calls.event import CallEvent
from callctl.calls.filter import CallFilter
from callctl.reports.figures import Done, Figures
from callctl.reports.leg_facts import facts_of_events
from callctl.reports.stored_figures import read_figures
from callctl.store.event_store import EventStore
from callctl.store.postgresql.store import PostgresStore
from callctl.store.sqlite.store import SqliteStore

TO = ("+12025550100", "+12025550101", "sip:ann@example.com")


def life(call: int) -> list[CallEvent]:
    at, to = call * 60, TO[call % 3]
    steps = [("initiated", 0), ("ringing", 1), ("busy", 3)] if call % 4 else [("initiated", 0), ("completed", 50)]
    return [event(call, status, number=number, at=at + after, To=to) for number, (status, after) in enumerate(steps)]


LIVES = [life(call) for call in range(120)]
ACTIONS = [
    ActionEvent(moment(call * 60), sid(call), "hangup", (), "ended", by="ann@desk") for call in (0, 1, 2, 3, 500)
]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    opened: EventStore
    if request.param == "sqlite":
        opened = SqliteStore.open(tmp_path / "events.db", world=WORLD)
    else:
        opened = PostgresStore.open(request.getfixturevalue("shared_store"), world=WORLD)
    for outcome in [opened.submit(one) for events in LIVES for one in events]:
        outcome.result(timeout=60)
    opened.record_actions(ACTIONS)
    yield opened
    opened.close()


def plainly(lives: Iterable[list[CallEvent]]) -> Figures:
    figures = Figures()
    for events in lives:
        leg = facts_of_events(events)
        assert leg is not None
        figures.add(leg)
    return figures


def hangups(figures: Figures) -> int:
    return figures.actions[Done(None, "ann@desk", "hangup", "done")]


def test_they_are_those_of_the_events(store: EventStore) -> None:
    figures = read_figures(store, CallFilter())
    assert figures.all.to_json() == plainly(LIVES).all.to_json()
    assert hangups(figures) == 5


@pytest.mark.parametrize("by", ["to", "from", "status", "hour"])
def test_parts_merged_are_the_whole(store: EventStore, by: str) -> None:
    whole = read_figures(store, CallFilter(), by=by)
    merged, *others = (read_figures(store, CallFilter(), by=by, part=part, of=3) for part in range(3))
    for other in others:
        merged.merge(other)
    assert merged.all.to_json() == whole.all.to_json()
    assert merged.actions == whole.actions
    assert whole.groups is not None
    assert merged.groups is not None
    groups = {key: tally.to_json() for key, tally in whole.groups.tallies.items()}
    assert {key: tally.to_json() for key, tally in merged.groups.tallies.items()} == groups
    assert sum(group["legs"] for group in groups.values()) == 120


def test_a_leg_must_have_begun_in_the_span(store: EventStore) -> None:
    chosen = CallFilter(since=moment(60), until=moment(60) + timedelta(minutes=2))
    figures = read_figures(store, chosen)
    assert figures.all.to_json() == plainly(LIVES[1:3]).all.to_json()
    assert hangups(figures) == 2


def test_only_legs_that_match_count_and_what_was_done_to_them(store: EventStore) -> None:
    figures = read_figures(store, CallFilter(to="ann@example.com"))
    assert figures.all.to_json() == plainly(LIVES[2::3]).all.to_json()
    assert hangups(figures) == 1
    busy = read_figures(store, CallFilter(statuses=("busy",)))
    assert busy.all.ended_with == {"busy": 90}
    assert hangups(busy) == 3


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # a database takes no record that can't be read
def test_what_is_unreadable_and_what_has_no_status_is_counted_apart(store: SqliteStore) -> None:
    recording = {"CallSid": sid(900), "RecordingSid": "RE1", "RecordingStatus": "completed"}
    store.append(CallEvent.from_form(recording.items(), received_at=moment(0), world=WORLD, verified=True))
    with store._writing.transaction() as connection:
        connection.execute("UPDATE events SET record = '{}' WHERE id = 1")
    figures = read_figures(store, CallFilter())
    assert (figures.unreadable, figures.unreported, figures.all.legs) == (1, 1, 120)
