"""Watching one call and its legs, with a store, an API and a view that say what the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from calls_api import UnexpectedRequest
from events import WORLD, event, event_of, moment

from callctl.calls.action import ActionEvent
from callctl.calls.board import Change, Snapshot
from callctl.calls.call import Call
from callctl.calls.event import CALLBACK, MISSED, POLLED, CallEvent
from callctl.calls.filter import CallFilter
from callctl.errors import NetworkError, NotFoundError, StoreError
from callctl.operations.follow import FamilyFollower
from callctl.store.sqlite.store import SqliteStore

PARENT, CHILD = "CA" + "1" * 32, "CA" + "2" * 32


class Fake(UnexpectedRequest):
    """A store, an API and a view in one: what each says is decided by the test."""

    def __init__(self, rounds: list[list[Call] | Exception], *, broken_store: bool = False) -> None:
        self._rounds = rounds
        self._broken_store = broken_store
        self._calls: list[Call] = []
        self.shown: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.drawn: list[Snapshot] = []
        self.stored: list[CallEvent] = []
        self.recorded: list[ActionEvent] = []
        self.recorded_at_once = 1  # between two reads
        self.actions_shown: list[ActionEvent] = []

    @property
    def remaining_rounds(self) -> int:
        return len(self._rounds)

    def fetch(self, _sid: str) -> Call:
        answer = self._rounds.pop(0) if len(self._rounds) > 1 else self._rounds[0]
        if isinstance(answer, Exception):
            raise answer
        self._calls = answer
        return answer[0]

    def family(self, _sid: str) -> Iterator[CallEvent]:
        if self._broken_store:
            raise StoreError("the store can't be read")
        return iter(self.stored)

    def actions(self, sid: str) -> list[ActionEvent]:
        return self.recorded[: len(self.actions_shown) + self.recorded_at_once] if sid == PARENT else []

    def event(self, event: CallEvent, change: Change | None) -> None:
        assert change is not None
        self.shown.append((event.call_sid, event.status))

    def action(self, action: ActionEvent) -> None:
        self.actions_shown.append(action)

    def trouble(self, text: str) -> None:
        self.notes.append(text)

    def refresh(self, snapshot: Snapshot) -> None:
        self.drawn.append(snapshot)

    def list(self, _query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:  # noqa: ARG002
        return iter(self._calls[1:])


def parent(status: str) -> Call:
    return Call(PARENT, status)


def child(status: str) -> Call:
    return Call(CHILD, status, parent_call_sid=PARENT)


def watched(
    rounds: list[list[Call] | Exception], *, broken_store: bool = False, stored: Iterable[CallEvent] = ()
) -> tuple[Fake, Snapshot]:
    fake = Fake(rounds, broken_store=broken_store)
    fake.stored = list(stored)
    return fake, follow(fake)


def follow(fake: Fake, *, store: SqliteStore | None = None) -> Snapshot:
    """Follow a call; ``store`` is one that a listener in this process fills, and nothing when this returns."""

    async def run() -> Snapshot:
        return await FamilyFollower(
            parent("queued"),
            world=WORLD,
            store=cast(SqliteStore, fake) if store is None else store,
            listens=store is not None,
            api=fake,
            view=fake,
            now=lambda: datetime(2026, 1, 5, tzinfo=UTC),
            sleep=lambda seconds: asyncio.sleep(seconds / 50),
        ).run()

    return asyncio.run(run())


def test_it_ends_only_when_the_last_leg_has_ended() -> None:
    fake, last = watched([[parent("completed"), child("in-progress")], [parent("completed"), child("completed")]])
    assert [status for sid, status in fake.shown if sid == CHILD] == ["in-progress", "completed"]
    assert (last.live, last.ended) == (0, 2)
    assert fake.drawn[-1].ended == 2


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (NetworkError("nothing answers"), "nothing answers"),
        (OverflowError("date value out of range"), "OverflowError: date value out of range"),
    ],
)
def test_trouble_with_the_api_is_reported_once_and_outlived(trouble: Exception, why: str) -> None:
    fake, last = watched([trouble, trouble, [parent("busy")]])
    assert fake.notes == [f"can't query REST: {why}"]
    assert last.ended == 1


def test_what_a_machine_detection_reported_is_shown() -> None:
    detected = event_of({"CallSid": PARENT, "AnsweredBy": "fax"})
    fake, _ = watched([[parent("in-progress")], [parent("completed")]], stored=[detected])
    assert (PARENT, "") in fake.shown


@pytest.mark.parametrize(("verified", "fetches"), [(False, 4), (True, 1)])
def test_an_end_that_anybody_could_have_reported_does_not_end_it(verified: bool, fetches: int) -> None:
    ended = event_of({"CallSid": PARENT, "CallStatus": "completed"}, verified=verified)
    rounds: list[list[Call] | Exception] = [[parent("in-progress")] for _ in range(3)]
    fake, last = watched([*rounds, [parent("completed")], [parent("completed")]], stored=[ended])
    assert last.ended == 1
    assert 5 - fake.remaining_rounds == fetches


def test_a_call_that_rest_does_not_know_yet_is_no_trouble() -> None:
    fake, _ = watched([NotFoundError("no such call", status=404), [parent("busy")]])
    assert fake.notes == []


def test_a_store_that_cannot_be_read_leaves_asking() -> None:
    _, last = watched([[parent("busy")]], broken_store=True)
    assert last.ended == 1


@pytest.mark.parametrize("at_once", [1, 2])
def test_each_request_is_shown_once_in_the_stores_order_whatever_its_time(at_once: int) -> None:
    fake = Fake([[parent("in-progress")], [parent("completed")]])
    # The answer to the later one came first, or the clock of who sent it is behind.
    fake.recorded = [
        ActionEvent(moment(2), PARENT, "hangup", (), ""),
        ActionEvent(moment(1), PARENT, "redirect", (), ""),
    ]
    fake.recorded_at_once = at_once
    follow(fake)
    assert [action.action for action in fake.actions_shown] == ["hangup", "redirect"]


def ended_at(seconds: float, *, as_of: float) -> list[Call]:
    return [replace(parent("completed"), end_time=moment(seconds), as_of=moment(as_of))]


@pytest.mark.parametrize("comes", [True, False])
def test_a_listener_here_waits_for_the_callback_of_an_end_and_stores_what_it_would_have_reported(
    tmp_path: Path, comes: bool
) -> None:
    with closing(SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)) as store:
        store.append(event(PARENT, "in-progress", number=2, at=1))

        class LateCallback(Fake):
            def fetch(self, sid: str) -> Call:
                if comes and self.remaining_rounds == 1:
                    store.append(event(PARENT, "completed", number=3, at=20))
                return super().fetch(sid)

        # REST shows the end before its callback is here, and then time goes on.
        fake = LateCallback([ended_at(20, as_of=21), ended_at(20, as_of=22), ended_at(20, as_of=22 if comes else 26)])
        last = follow(fake, store=store)
        leg, row, kinds = last.leg(PARENT), store.call(PARENT), [one.kind for one in store.family(PARENT)]
    assert fake.remaining_rounds == 1
    assert leg is not None
    assert leg.source == (CALLBACK if comes else POLLED)
    assert row is not None
    assert row.status == "completed"
    assert kinds == [CALLBACK, CALLBACK if comes else MISSED]


def test_a_listener_here_stores_no_end_of_a_leg_that_sent_no_callback(tmp_path: Path) -> None:
    with closing(SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)) as store:
        store.append(event(PARENT, "completed", number=3, at=20))
        follow(Fake([[parent("completed"), child("completed")]]), store=store)
        assert [one.call_sid for one in store.family(PARENT)] == [PARENT]
