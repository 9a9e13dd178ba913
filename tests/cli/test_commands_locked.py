"""What another program's lock on the store keeps from an operator: nothing that is shown, and few seconds."""

from __future__ import annotations

import io
import math
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from cli.local_store import store_of
from cli.setup import NEVER, CliSetup

from callctl.calls.action import ActionEvent
from callctl.errors import StoreError
from callctl.store.sqlite.store import SqliteStore


class LockEndsWithText(io.StringIO):
    """A stream with whose first text another program lets go of the store."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._other.execute("BEGIN IMMEDIATE")

    def write(self, text: str) -> int:
        self._other.close()
        return super().write(text)


COMMANDS = [("hangup",), ("hangup", "--parallel", "1"), ("redirect", "--say", "Good-bye")]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("count", [1, 2])
def test_an_outcome_is_shown_before_its_note_waits_for_a_lock(
    setup: CliSetup, home: Path, command: tuple[str, ...], count: int
) -> None:
    sids = [setup.place(NEVER) if command[0] == "hangup" else setup.place() for _ in range(count)]
    setup.simulator.advance(10)
    with store_of(home, setup.simulator):
        out, err = LockEndsWithText(next(home.rglob("events.db"))), io.StringIO()
        outcome = setup.callctl(command[0], *sids, *command[1:], streams=(out, err))
    assert outcome.code == 0, outcome.err
    assert "not written down" not in outcome.err
    with store_of(home, setup.simulator) as store:
        assert [[action.result for action in store.actions(sid)] for sid in sids] == [["done"]] * count


def test_the_sid_of_a_call_is_shown_before_its_note_waits_for_a_lock(setup: CliSetup, home: Path) -> None:
    setup.place()
    out, err = LockEndsWithText(next(home.rglob("events.db"))), io.StringIO()
    placed = setup.callctl("place", "+12025550100", "--say", "Hello", streams=(out, err))
    assert placed.code == 0
    assert "@last" not in placed.err
    assert f"@last is {placed.out.strip()}" in setup.callctl("show", "@last").err


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Return what has a store refuse so many notes; it returns a list that gets the number of actions in each."""
    record = SqliteStore.record_actions
    monkeypatch.setattr("callctl.cli.options.history._TRY_AGAIN", math.inf)

    def refuse(times: int) -> list[int]:
        tried: list[int] = []

        def record_or_refuse(store: SqliteStore, actions: Iterable[ActionEvent]) -> None:
            events = list(actions)
            tried.append(len(events))
            if len(tried) <= times:
                raise StoreError("can't write to the event store: database is locked")
            record(store, events)

        monkeypatch.setattr(SqliteStore, "record_actions", record_or_refuse)
        return tried

    return refuse


def test_notes_that_can_not_be_written_at_once_are_written_together_at_the_end(
    setup: CliSetup, home: Path, refused: Callable[[int], list[int]]
) -> None:
    sids = [setup.place(NEVER) for _ in range(5)]
    with store_of(home, setup.simulator) as store:
        tried = refused(1)
        outcome = setup.callctl("hangup", *sids, "--parallel", "1")
        assert outcome.code == 0
        assert "not written down" not in outcome.err
        assert tried == [1, 5]
        assert [[action.result for action in store.actions(sid)] for sid in sids] == [["done"]] * 5
        assert not any(store.had_intent(sid) for sid in sids)


def test_the_lock_is_waited_for_twice_however_many_calls_are_ended(
    setup: CliSetup, home: Path, refused: Callable[[int], list[int]]
) -> None:
    sids = [setup.place(NEVER) for _ in range(5)]
    with store_of(home, setup.simulator) as store:
        tried = refused(99)
        outcome = setup.callctl("hangup", *sids, "--parallel", "1")
        assert outcome.code == 0
        assert outcome.out.count("ended") == 5
        assert outcome.err.count("done, but not written down: can't write to the event store") == 1
        assert tried == [1, 5]
        assert all(store.had_intent(sid) for sid in sids)  # or a rule would take them for unchanged
