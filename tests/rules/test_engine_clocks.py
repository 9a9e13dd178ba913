"""Machines whose clocks are wrong share a store, or one watch follows another in a file: no rule acts before its time.

Each has the rules. What one receives it dates by its own clock, and the others read that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest
from calls_api import UnexpectedRequest
from engine_run import seconds
from events import clock_of, event, moment, sid
from hypothesis import given, settings
from hypothesis import strategies as st

from callctl.calls.board import Arrival, Board
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.rules.engine import Engine
from callctl.rules.outcome import Outcome, Postponed
from callctl.rules.precheck import precheck
from callctl.rules.rule import Action, Declined, Hangup, Rule, When

HOUR = 3600
LASTING = 8.0
STEP = 0.25
END = 60.0
SOON = 3.0  # seconds after its time: a rule rounds up by one, and so does REST
SLOWEST = 3.0  # seconds from an event until a listener has it
LONG = Rule(name="long", when=When(statuses=frozenset({"ringing"}), lasting=seconds(LASTING)), then=Hangup())
AT_ONCE = Rule(name="at-once", when=When(statuses=frozenset({"ringing"})), then=Hangup())


@dataclass(frozen=True)
class Callback:
    """A call that rings from ``at`` on; the listener with number ``by`` has that ``delay`` seconds later.

    It was dialled some seconds before it rang: that is when it began, for REST.
    """

    at: float
    delay: float = 0.25
    by: int = 0
    has_timestamp: bool = True
    dialled: float = 5.0

    @property
    def arrives(self) -> float:
        return self.at + self.delay


@dataclass
class Machine(UnexpectedRequest):
    """A machine with rules; ``ahead`` is how far its clock is. REST is asked as the runner asks it."""

    number: int
    ahead: float
    calls: Sequence[Callback]
    rules: tuple[Rule, ...] = (LONG,)
    is_shared: bool = True
    has_dates: bool = True
    true: float = 0.0
    read_at: float = 0.0
    ended: dict[str, float] = field(default_factory=dict)
    declined: dict[str, str] = field(default_factory=dict)
    waiting: list[tuple[float, Action]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start the rules with an empty board."""
        self.board, self.engine = Board(), Engine(self.rules)
        self.waiting.clear()

    @property
    def now(self) -> datetime:
        """The time by its own clock."""
        return moment(self.true + self.ahead)

    def restore(self, stored: Sequence[CallEvent]) -> None:
        for one in stored:
            change = self.board.apply(one)
            assert change is not None
            self.engine.restore(change, now=self.now)
        self._do(self.engine.restored_actions(self.board.snapshot(), now=self.now))

    def read(self, events: Sequence[tuple[int, CallEvent]]) -> None:
        """Take in what listeners have stored, each event with the number of the one that did."""
        for by, one in events:
            change = self.board.apply(one)
            assert change is not None
            if self.is_shared or by != self.number:
                change.arrival = Arrival(moment(self.read_at + self.ahead), self.now)
            self._do(self.engine.observe(change, self.board.snapshot(), now=self.now))
        self.read_at = self.true
        self._do(self.engine.due(self.board.snapshot(), now=self.now))
        due = [action for at, action in self.waiting if at <= self.true]
        self.waiting = [(at, action) for at, action in self.waiting if at > self.true]
        self._do(due)

    def fetch(self, sid: str) -> Call:
        call = self.calls[int(sid[2:])]
        date = moment(math.floor(self.true))
        if self.has_dates:
            self.engine.take_reply(date, now=self.now)
        return Call(
            sid,
            "ringing",
            start_time=moment(math.floor(call.at - call.dialled)),
            as_of=date if self.has_dates else None,
        )

    def _do(self, proposals: Sequence[Action | Declined]) -> None:
        store: Any = None
        for one in proposals:
            if isinstance(one, Declined):
                self.declined[one.call_sid] = one.reason
                continue
            outcome = precheck(self, store, one, clock=clock_of(lambda: self.now))
            if isinstance(outcome, Postponed):
                checked = replace(one, needs_precheck=True)
                self.waiting.append((self.true + max(1.0, outcome.not_before.total_seconds()), checked))
            elif isinstance(outcome, Outcome):
                self.declined[one.call_sid] = outcome.text
            else:
                self.ended.setdefault(one.call_sid, self.true)


@dataclass
class Fleet:
    """The machines and the calls; ``restarts`` are when each starts its rules anew."""

    machines: Sequence[Machine]
    restarts: float | None = None
    steps: int = 0
    stored: list[tuple[int, CallEvent]] = field(default_factory=list)

    @property
    def calls(self) -> Sequence[Callback]:
        return self.machines[0].calls

    def run(self) -> None:
        for true in times(END):
            arrived = [
                (one.by, self._received(number, one))
                for number, one in enumerate(self.calls)
                if true - STEP < one.arrives <= true
            ]
            is_restart = self.restarts is not None and true - STEP < self.restarts <= true
            for machine in self.machines:
                machine.true = true
                if is_restart:
                    machine.restart()
                    machine.restore([one for _, one in self.stored])
                machine.read(arrived)
            self.stored += arrived

    def _received(self, number: int, callback: Callback) -> CallEvent:
        at = callback.at if callback.has_timestamp else None
        received = callback.arrives + self.machines[callback.by].ahead
        return event(number, "ringing", at=at, received=received)


def times(end: float) -> Iterator[float]:
    return (number * STEP for number in range(int(end / STEP)))


def fleet(*ahead: float, calls: Sequence[Callback], restarts: float | None = None, **options: Any) -> Fleet:
    return Fleet([Machine(number, one, calls, **options) for number, one in enumerate(ahead)], restarts)


offsets = st.sampled_from([-3.0 * HOUR, -42.0, -4.0, -1.5, 0.0, 1.5, 4.0, 42.0, 5.0 * HOUR]) | st.floats(-1e5, 1e5)
callbacks = st.builds(
    Callback,
    at=st.floats(0, 15),
    delay=st.floats(0.01, SLOWEST),
    by=st.integers(0, 1),
    has_timestamp=st.booleans() | st.just(value=True),
    dialled=st.floats(0, 10),
)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(offsets, offsets),
    st.lists(callbacks, min_size=1, max_size=6),
    st.none() | st.floats(1, 30),
    st.booleans(),
    st.booleans(),
)
def test_no_rule_acts_before_its_time_and_each_acts_soon_after(
    ahead: tuple[float, float], calls: list[Callback], restarts: float | None, is_shared: bool, has_dates: bool
) -> None:
    run = fleet(*ahead, calls=calls, restarts=restarts, is_shared=is_shared, has_dates=has_dates)
    run.run()
    for machine in run.machines:
        for number, call in enumerate(calls):
            acted = machine.ended[sid(number)] - call.at
            assert acted >= LASTING
            # At the latest it is as if the call had begun when the rules were started, or had it reported.
            seen = max(call.arrives, restarts or 0.0) - call.at
            assert acted <= seen + LASTING + SOON


@pytest.mark.parametrize("bad", [5.0 * HOUR, -3.0 * HOUR, 4.0, -4.0, 14.0, 30.0])
@pytest.mark.parametrize("restarts", [None, 10.0])
def test_a_machine_whose_clock_is_wrong_does_what_the_other_does(bad: float, restarts: float | None) -> None:
    calls = [Callback(at=number * 0.7, delay=0.4, by=number % 2) for number in range(10)]
    run = fleet(0.0, bad, calls=calls, restarts=restarts)
    run.run()
    good, wrong = run.machines
    for number, call in enumerate(calls):
        for machine in (good, wrong):
            # One whose clock is behind does not know by how much, after a start, until a callback arrives.
            unknown = 0.0 if restarts is None or machine is good else restarts - call.at
            assert LASTING <= machine.ended[sid(number)] - call.at <= LASTING + SOON + max(0.0, unknown)
    assert good.declined == wrong.declined == {}


@pytest.mark.parametrize("bad", [5.0 * HOUR, -3.0 * HOUR, 4.0, -4.0, 14.0, 30.0])
@pytest.mark.parametrize("delay", [0.5, 30.0])
def test_a_machine_whose_clock_is_wrong_takes_the_same_for_news(bad: float, delay: float) -> None:
    """What it declines is recorded for all: the others would do nothing either."""
    calls = [Callback(at=number * 2.0, delay=delay, by=number % 2) for number in range(5)]
    run = fleet(0.0, bad, calls=calls, rules=(AT_ONCE,))
    run.run()
    for machine in run.machines:
        acted, declined = (set(machine.ended), set(machine.declined))
        every = {sid(number) for number in range(5)}
        assert (acted, declined) == ((every, set()) if delay < 15 else (set(), every))


def test_an_event_without_a_timestamp_that_was_read_after_a_gap_is_no_news() -> None:
    machine = Machine(0, 0.0, [Callback(0.0)], rules=(AT_ONCE,))
    machine.true = 30.0
    machine.read([(1, event(0, "ringing", received=30))])
    assert machine.declined == {sid(0): "too old: it happened 30 s ago"}
    assert machine.ended == {}
