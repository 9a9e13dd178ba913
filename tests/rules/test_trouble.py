"""What keeps rules from acting is told, once, and does not lose what they asked for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from telling import WORLD, clock_of, event, moment, sid

from callctl.calls.action import ActionEvent
from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.errors import StoreError
from callctl.rules.engine import Engine
from callctl.rules.rate_limit import RateLimit
from callctl.rules.rule import Action, Declined, Hangup, Rule, When
from callctl.rules.runner import RuleRunner, RunInThread
from callctl.support.threads import start_in_thread

END_ALL = Rule(name="end-all", when=When(statuses=frozenset({"in-progress"})), then=Hangup())


@dataclass
class RecordingExecutor:
    """Records the proposals that it gets."""

    proposals: list[Action | Declined] = field(default_factory=list)

    def execute(self, action: Action) -> ActionEvent | None:
        self.proposals.append(action)
        return None

    def decline(self, declined: Declined) -> ActionEvent | None:
        self.proposals.append(declined)
        return None

    def recover(self, _claim: Any, _action: Action | None, /) -> ActionEvent | None:
        return None


@dataclass
class FailingStore:
    """A store of which some reads fail."""

    failures: int = 0

    def claim_keys(self) -> set[tuple[str, str]]:
        return set()

    def expired_claims(self, **_: Any) -> list[Any]:
        return []

    def was_placed(self, _sid: str) -> bool:
        if self.failures:
            self.failures -= 1
            raise StoreError("the database is locked")
        return True


class Scene:
    def __init__(
        self,
        *,
        failures: int = 0,
        executor: RecordingExecutor | None = None,
        run_in_thread: RunInThread = lambda work: work(),
    ) -> None:
        self.board, self.executor, self.seconds = Board(), executor or RecordingExecutor(), 0.0
        recording: Any = self.executor
        store: Any = FailingStore(failures)
        self.runner = RuleRunner(
            Engine([END_ALL]),
            make_executor=lambda _applies, _report: recording,
            store=store,
            rate_limit=RateLimit(),
            clock=clock_of(lambda: moment(self.seconds)),
            run_in_thread=run_in_thread,
        )

    def update(self, *events: CallEvent) -> None:
        changes = [change for one in events if (change := self.board.apply(one)) is not None]
        self.runner.update(changes, self.board.snapshot())


@pytest.mark.parametrize("ahead", [16, 42, 3600])
def test_a_clock_that_is_ahead_is_told_of_once(ahead: int) -> None:
    scene = Scene()
    scene.seconds = 1000
    for call in (1, 2):
        scene.update(event(call, "in-progress", at=1000 - ahead, received=1000))
    assert [type(one) for one in scene.executor.proposals] == [Declined, Declined]
    (told,) = scene.runner.take_reports()
    assert f"no callback took less than {ahead} s by this machine's clock" in str(told)


@pytest.mark.parametrize("ahead", [-3600, -16, 0, 14])
def test_a_clock_that_is_behind_or_nearly_right_lets_rules_act(ahead: int) -> None:
    scene = Scene()
    scene.seconds = 5000
    scene.update(event(1, "in-progress", at=5000 - ahead, received=5000))
    assert [(type(one), one.call_sid) for one in scene.executor.proposals] == [(Action, sid(1))]
    assert scene.runner.take_reports() == []


def test_one_late_callback_among_others_says_nothing_of_the_clock() -> None:
    scene = Scene()
    scene.seconds = 1000
    scene.update(event(1, "ringing", at=1000, received=1000))
    scene.update(event(2, "in-progress", at=900, received=1000))
    assert [type(one) for one in scene.executor.proposals] == [Declined]
    assert scene.runner.take_reports() == []


def test_a_request_that_hangs_keeps_nothing_waiting() -> None:
    """Neither the next look nor another action: what holds the first one up is let go only when all that is done."""
    go_on, second = threading.Event(), threading.Event()

    class Slow(RecordingExecutor):
        def execute(self, action: Action) -> ActionEvent | None:
            if action.call_sid == sid(1):
                go_on.wait()
            else:
                second.set()
            return super().execute(action)

    scene = Scene(executor=Slow(), run_in_thread=start_in_thread)
    scene.update(event(1, "in-progress", at=0))
    scene.update(event(2, "in-progress", at=0))
    assert second.wait(timeout=120)
    go_on.set()


def test_where_the_store_can_not_tell_whose_call_it_is_the_rule_waits() -> None:
    scene = Scene(failures=3)
    # A poll told of it, and no callback: the store must say whether callctl placed it.
    listed = Call.from_resource({"sid": sid(1), "status": "in-progress", "direction": "outbound-api"})
    scene.update(CallEvent.from_call(listed, received_at=moment(0), world=WORLD))
    for _ in range(2):
        assert scene.executor.proposals == []
        scene.update()
    scene.update()
    assert [one.call_sid for one in scene.executor.proposals] == [sid(1)]
    assert scene.runner.take_reports() == ["rule end-all waits, it can't tell whose call it is: the database is locked"]
    scene.update()
    assert len(scene.executor.proposals) == 1


class Clumsy(RecordingExecutor):
    def execute(self, action: Action) -> ActionEvent | None:
        super().execute(action)
        raise KeyError("a mistake of ours")


def test_a_rule_that_fails_in_a_way_nobody_foresaw_says_so() -> None:
    scene = Scene(executor=Clumsy())
    scene.update(event(1, "in-progress", at=0))
    assert scene.runner.take_reports() == ["a rule could not act: KeyError: 'a mistake of ours'"]
