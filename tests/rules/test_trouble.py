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
class Doer:
    """Notes what it is to do."""

    asked: list[Action | Declined] = field(default_factory=list)

    def perform(self, action: Action) -> ActionEvent | None:
        self.asked.append(action)
        return None

    def decline(self, declined: Declined) -> ActionEvent | None:
        self.asked.append(declined)
        return None

    def recover(self, _claim: Any, _action: Action | None, /) -> ActionEvent | None:
        return None


@dataclass
class Shelf:
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
        self, *, failures: int = 0, doer: Doer | None = None, run_in_thread: RunInThread = lambda work: work()
    ) -> None:
        self.board, self.doer, self.seconds = Board(), doer or Doer(), 0.0
        shelf: Any = Shelf(failures)
        self.acting = RuleRunner(
            Engine([END_ALL]),
            make_performer=lambda _applies, _trouble: self.doer,
            claims=shelf,
            rate_limit=RateLimit(),
            clock=clock_of(lambda: moment(self.seconds)),
            run_in_thread=run_in_thread,
        )

    def look(self, *events: CallEvent) -> None:
        changes = [change for one in events if (change := self.board.apply(one)) is not None]
        self.acting.update(changes, self.board.snapshot())


@pytest.mark.parametrize("ahead", [16, 42, 3600])
def test_a_clock_that_is_ahead_is_told_of_once(ahead: int) -> None:
    scene = Scene()
    scene.seconds = 1000
    for call in (1, 2):
        scene.look(event(call, "in-progress", at=1000 - ahead, received=1000))
    assert [type(one) for one in scene.doer.asked] == [Declined, Declined]
    (told,) = scene.acting.take_reports()
    assert f"no callback took less than {ahead} s by this machine's clock" in str(told)


@pytest.mark.parametrize("ahead", [-3600, -16, 0, 14])
def test_a_clock_that_is_behind_or_nearly_right_lets_rules_act(ahead: int) -> None:
    scene = Scene()
    scene.seconds = 5000
    scene.look(event(1, "in-progress", at=5000 - ahead, received=5000))
    assert [(type(one), one.call_sid) for one in scene.doer.asked] == [(Action, sid(1))]
    assert scene.acting.take_reports() == []


def test_one_late_callback_among_others_says_nothing_of_the_clock() -> None:
    scene = Scene()
    scene.seconds = 1000
    scene.look(event(1, "ringing", at=1000, received=1000))
    scene.look(event(2, "in-progress", at=900, received=1000))
    assert [type(one) for one in scene.doer.asked] == [Declined]
    assert scene.acting.take_reports() == []


def test_a_request_that_hangs_keeps_nothing_waiting() -> None:
    """Neither the next look nor another action: what holds the first one up is let go only when all that is done."""
    go_on, second = threading.Event(), threading.Event()

    class Slow(Doer):
        def perform(self, action: Action) -> ActionEvent | None:
            if action.call_sid == sid(1):
                go_on.wait()
            else:
                second.set()
            return super().perform(action)

    scene = Scene(doer=Slow(), run_in_thread=start_in_thread)
    scene.look(event(1, "in-progress", at=0))
    scene.look(event(2, "in-progress", at=0))
    assert second.wait(timeout=120)
    go_on.set()


def test_where_the_store_can_not_tell_whose_call_it_is_the_rule_waits() -> None:
    scene = Scene(failures=3)
    # A poll told of it, and no callback: the store must say whether callctl placed it.
    listed = Call.from_resource({"sid": sid(1), "status": "in-progress", "direction": "outbound-api"})
    scene.look(CallEvent.from_call(listed, received_at=moment(0), world=WORLD))
    for _ in range(2):
        assert scene.doer.asked == []
        scene.look()
    scene.look()
    assert [one.call_sid for one in scene.doer.asked] == [sid(1)]
    assert scene.acting.take_reports() == ["rule end-all waits, it can't tell whose call it is: the database is locked"]
    scene.look()
    assert len(scene.doer.asked) == 1


class Clumsy(Doer):
    def perform(self, action: Action) -> ActionEvent | None:
        super().perform(action)
        raise KeyError("a mistake of ours")


def test_a_rule_that_fails_in_a_way_nobody_foresaw_says_so() -> None:
    scene = Scene(doer=Clumsy())
    scene.look(event(1, "in-progress", at=0))
    assert scene.acting.take_reports() == ["a rule could not act: KeyError: 'a mistake of ours'"]
