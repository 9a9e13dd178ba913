"""Rules that run against a real simulator, in real time or by a manual clock.

Callbacks arrive over HTTP, and so do the requests that the rules send. A manual clock is shared by simulator, rules and
requests: hours pass in milliseconds, and everything happens in one thread, so that a run is the same on any machine,
however busy it is.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from events import START, WORLD, clock_of
from running import EACH_READING, env_for
from web_site import Site

from callctl.api.calls_api import CallsApi
from callctl.api.client import ApiClient
from callctl.api.requests import PlaceRequest, RedirectRequest
from callctl.calls.action import ActionEvent
from callctl.calls.board import Board, Change
from callctl.calls.call import Call
from callctl.calls.event import MISSED, POLLED, CallEvent
from callctl.calls.filter import CallFilter
from callctl.calls.leg import Leg
from callctl.rules.engine import Engine, Scope
from callctl.rules.executor import Executor
from callctl.rules.rate_limit import RateLimit
from callctl.rules.rule import Rule
from callctl.rules.runner import RuleRunner
from callctl.settings import load
from callctl.simulator import Simulator, SimulatorError
from callctl.store.sqlite.store import SqliteStore
from callctl.support.clock import Clock
from callctl.support.threads import start_in_thread

EVENTS = ("initiated", "ringing", "answered", "completed")
ALL_EVENTS = "initiated ringing answered completed"
# For tests whose rules have something requested that is answered by a reading of Twilio's text.
each_reading = pytest.mark.parametrize("manual_clock", EACH_READING, indirect=True, ids=str)
# Longer than any test may take: a call that ended by itself meanwhile would be none of those that a test looks at.
LONG = "<Response><Pause length='36000'/></Response>"


def now() -> datetime:
    return datetime.now(UTC)


def client_for(simulator: Simulator, home: Path) -> ApiClient:
    settings = load({**env_for(simulator), "HOME": str(home)}, cwd=home)
    return ApiClient(settings, sleep=time.sleep, random=random.random)


class RulesSetup:
    """A simulator, a site, and rules that act on the callbacks that the site gets.

    ``limit`` is how many seconds anything may take, ``step`` how many pass between two looks.
    """

    limit = 60.0
    step = 0.02

    def __init__(self, simulator: Simulator, site: Site, home: Path) -> None:
        self.simulator = simulator
        self.site = site
        self.home = home
        self.client = client_for(simulator, home)
        self.board = Board()
        self.claims = SqliteStore.open(home / "events.db", world=WORLD)
        self.runner: RuleRunner | None = None
        self.clock = self.make_clock()
        self._lost: Callable[[dict[str, str]], bool] = lambda _: False
        self._changes: list[Change] = []
        self.events: list[ActionEvent] = []
        self.notes: list[str] = []

    def now(self) -> datetime:
        return now()

    def make_clock(self) -> Clock:
        return Clock(wall=self.now)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def run_in_thread(self, work: Callable[[], None]) -> None:
        start_in_thread(work)

    def api(self) -> CallsApi:
        return self.client

    def act(self, *rules: Rule, scope: Scope = Scope.OWN, rate_limit: RateLimit | None = None) -> Self:
        """Start these rules; what was reported before counts as restored from the store."""
        api = self.api()
        self.runner = RuleRunner(
            Engine(rules, scope=scope, steady_time=self.clock.steady),
            make_executor=lambda applies, report: Executor(
                api, self.claims, clock=self.clock, sleep=self.pause, applies=applies, report=report
            ),
            store=self.claims,
            rate_limit=rate_limit or RateLimit(),
            clock=self.clock,
            run_in_thread=self.run_in_thread,
            rest_time=lambda: self.client.server_time,
        )
        for change in self._changes:
            self.runner.restore(change)
        self.runner.start(self.board.snapshot())
        return self

    def place(self, to: str = "+12025550100", *, twiml: str | None = None, callbacks: bool = True) -> str:
        request = PlaceRequest(
            to=to,
            from_="+15005550006",
            twiml=twiml or LONG,
            status_callback=f"{self.site.url}/status" if callbacks else None,
            status_callback_events=EVENTS if callbacks else (),
        )
        return self.client.place(request).sid

    def poll(self, sid: str, *, missed: bool = False) -> None:
        """Report to the rules what REST shows of a call, as a poll does; ``missed``: an end without a callback."""
        kind = MISSED if missed else POLLED
        self.take([CallEvent.from_call(self.client.fetch(sid), received_at=self.clock.wall(), world=WORLD, kind=kind)])

    def noun(self, name: str, address: str, **attributes: str) -> str:
        """Return a noun of Dial whose leg is reported."""
        more = "".join(f" {key}='{value}'" for key, value in attributes.items())
        reporting = f"statusCallback='{self.site.url}/status' statusCallbackEvent='{ALL_EVENTS}'"
        return f"<{name} {reporting}{more}>{address}</{name}>"

    def children(self, parent: str) -> list[Call]:
        return list(self.client.list(CallFilter(parent=parent), limit=None))

    def update(self) -> None:
        """Take in what arrived, and let the rules look."""
        events = []
        while not self.site.forms.empty():
            form = self.site.forms.get()
            if self._lost(dict(form)):
                continue
            events.append(CallEvent.from_form(form, received_at=self.clock.wall(), world=WORLD, verified=True))
        self.take(events)

    def take(self, events: Sequence[CallEvent]) -> None:
        """Take in some events, and let the rules look."""
        changes = [change for event in events if (change := self.board.apply(event)) is not None]
        self._changes += changes
        if self.runner is not None:
            self.runner.update(changes, self.board.snapshot())
            for one in self.runner.take_reports():
                if isinstance(one, ActionEvent):
                    self.events.append(one)
                else:
                    self.notes.append(one)

    def until(self, condition: Callable[[], bool]) -> None:
        """Go on until a condition holds."""
        deadline = self.now() + timedelta(seconds=self.limit)
        while not condition():
            assert self.now() < deadline, self.describe()
            self.update()
            self.pause(self.step)

    def wait_without_updates(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, without taking in what arrives meanwhile."""
        deadline = self.now() + timedelta(seconds=self.limit)
        while not condition():
            assert self.now() < deadline, self.describe()
            self.pause(self.step)

    def describe(self) -> str:
        """Describe the state in a few lines, however much has happened."""
        legs = Counter(leg.status for leg in self.board.snapshot().legs.values())
        last = [f"{event.call_sid} {event.action}: {event.outcome}" for event in self.events[-5:]]
        return "\n".join(["never so", f"legs: {dict(legs)}", f"actions: {len(self.events)}", *last, *self.notes[-5:]])

    def wait_for_rest_status(self, sid: str, status: str) -> None:
        """Wait until REST shows a status, without taking in what arrives meanwhile."""
        self.wait_without_updates(lambda: self.client.fetch(sid).status == status)

    def lose(self, chosen: Callable[[dict[str, str]], bool]) -> None:
        """Lose some of the callbacks that arrive."""
        self._lost = chosen

    def sent(self, name: str, value: str) -> list[str]:
        """Return the calls whose requests had this field with this value."""
        requests = (one for one in self.simulator.requests if value in one.form.get(name, ()))
        return [one.path.rpartition("/")[2].removesuffix(".json") for one in requests]

    def settle(self, seconds: float) -> None:
        """Go on for a while, to see that nothing more is done."""
        end = self.now() + timedelta(seconds=seconds)
        while self.now() < end:
            self.update()
            self.pause(self.step)
        self.update()

    def legs_under(self, parent: str) -> Sequence[Leg]:
        """Return the child legs that callbacks reported."""
        return [leg for leg in self.board.snapshot().legs.values() if leg.parent_call_sid == parent]

    def redirect_by_hand(self, sid: str, twiml: str) -> None:
        """Do what ``callctl redirect`` does, at the same time as the rules."""
        self.client.redirect(sid, RedirectRequest(twiml=twiml))

    def child_of_rest(self, parent: str) -> str:
        """Wait for a child leg in REST, without taking in what arrives meanwhile."""
        self.wait_without_updates(lambda: bool(self.children(parent)))
        return self.children(parent)[0].sid

    def mix(self, *, shuffle: bool, copies: int) -> None:
        """Shuffle or multiply what has arrived and was not processed."""
        forms = []
        while not self.site.forms.empty():
            forms.append(self.site.forms.get())
        forms *= copies
        if shuffle:
            random.Random(1).shuffle(forms)
        for form in forms:
            self.site.forms.put(form)

    def status(self, sid: str) -> str:
        """Return what callbacks reported of a leg."""
        leg = self.board.snapshot().leg(sid)
        return leg.status if leg else ""

    def only_child(self, parent: str) -> str:
        """Return the SID of the child leg, as callbacks report it."""
        (family,) = [family for family in self.board.snapshot().families if family.sid == parent]
        (child,) = family.children
        return child.call_sid


@contextmanager
def rules_setup(home: Path, **options: Any) -> Iterator[RulesSetup]:
    """Return a setup whose simulator is twenty times as fast as life; options are the simulator's."""
    site = Site()
    with Simulator(**({"speed": 20.0, "seed": 1} | options)) as simulator:
        setup = RulesSetup(simulator, site, home)
        try:
            yield setup
        finally:
            setup.claims.close()
            site.close()


class SlowApi:
    """An API client whose requests take a random time each."""

    def __init__(self, inner: Any, wait: Callable[[], None]) -> None:
        self._inner = inner
        self._wait = wait

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            self._wait()
            return method(*args, **kwargs)

        return called


class ManualClockSetup(RulesSetup):
    """A setup whose time advances when something waits. ``latency`` is how long a request takes at most."""

    limit = 200.0
    step = 0.25
    latency = 0.0
    # How far the wall clock of the rules was set forward; the simulator's goes on as if it were Twilio's.
    clock_step = timedelta()

    def __init__(self, simulator: Simulator, site: Site, home: Path) -> None:
        super().__init__(simulator, site, home)
        self._chance = random.Random(7)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.simulator.simulated_seconds())

    def make_clock(self) -> Clock:
        return clock_of(lambda: self.now() + self.clock_step, elapsed=self.now)

    def pause(self, seconds: float) -> None:
        self.simulator.advance(seconds)

    def run_in_thread(self, work: Callable[[], None]) -> None:
        work()

    def api(self) -> CallsApi:
        slow: Any = SlowApi(self.client, lambda: self.pause(self._chance.uniform(0, self.latency)))
        return slow  # type: ignore[no-any-return]

    def update(self) -> None:
        self.pause(0)  # until what was fired has arrived
        super().update()

    def advance(self, seconds: float) -> None:
        """Let time go by in one step, then look."""
        self.pause(seconds)
        self.update()


Kind = TypeVar("Kind", bound=ManualClockSetup)


@contextmanager
def manual_clock_setup(home: Path, kind: type[Kind], **options: Any) -> Iterator[Kind]:
    """Return a setup whose clock stops until it is advanced; options are the simulator's."""
    site = Site()

    def wall() -> datetime:
        seconds = 0.0
        with suppress(SimulatorError):  # it asks for the time while it starts
            seconds = simulator.simulated_seconds()
        return START + timedelta(seconds=seconds)

    simulator = Simulator(manual_clock=True, seed=1, wall=wall, **options)
    with simulator:
        setup = kind(simulator, site, home)
        try:
            yield setup
        finally:
            setup.claims.close()
            site.close()
