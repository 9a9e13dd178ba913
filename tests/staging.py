"""Rules at work against a real simulator: callbacks arrive over HTTP, and so do the requests that the rules send."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from running import env_for
from web_site import Site

from callctl.api.client import ApiClient
from callctl.api.protocol import CallsApi
from callctl.api.requests import CallQuery, PlaceRequest, RedirectRequest
from callctl.calls.action import ActionEvent
from callctl.calls.board import Board, Change, Leg
from callctl.calls.call import Call
from callctl.calls.event import MISSED, POLLED, CallEvent
from callctl.rules.engine import Engine, Scope
from callctl.rules.executor import Executor
from callctl.rules.rate_limit import RateLimit
from callctl.rules.rule import Rule
from callctl.rules.runner import RuleRunner
from callctl.settings import load
from callctl.simulator import Simulator
from callctl.store.sqlite.store import EventStore
from callctl.support.clock import Clock
from callctl.support.threads import start_in_thread

EVENTS = ("initiated", "ringing", "answered", "completed")
ALL_EVENTS = "initiated ringing answered completed"
WORLD = "stage"
# Longer than any test may take: a call that ended by itself meanwhile would be none of those that a test looks at.
LONG = "<Response><Pause length='36000'/></Response>"


def now() -> datetime:
    return datetime.now(UTC)


def client_for(simulator: Simulator, home: Path) -> ApiClient:
    settings = load({**env_for(simulator), "HOME": str(home)}, cwd=home)
    return ApiClient(settings, sleep=time.sleep, random=random.random)


class Stage:
    """A simulator, a site, and rules that act on what the site is told.

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
        self.claims = EventStore.open(home / "events.db", world=WORLD)
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

    def begin_work(self, work: Callable[[], None]) -> None:
        start_in_thread(work)

    def api(self) -> CallsApi:
        return self.client

    def act(self, *rules: Rule, scope: Scope = Scope.OWN, rate_limit: RateLimit | None = None) -> Self:
        """Set rules to work; what was heard so far they know from the store."""
        door = self.api()
        self.runner = RuleRunner(
            Engine(rules, scope=scope, steady_time=self.clock.steady),
            make_executor=lambda applies, report: Executor(
                door, self.claims, clock=self.clock, sleep=self.pause, applies=applies, report=report
            ),
            store=self.claims,
            rate_limit=rate_limit or RateLimit(),
            clock=self.clock,
            run_in_thread=self.begin_work,
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
        """Tell the rules what REST shows of a call, as a poll does; ``missed``: an end that no callback told."""
        kind = MISSED if missed else POLLED
        self.take([CallEvent.from_call(self.client.fetch(sid), received_at=self.clock.wall(), world=WORLD, kind=kind)])

    def noun(self, name: str, address: str, **attributes: str) -> str:
        """Return a noun of Dial that tells of its leg."""
        more = "".join(f" {key}='{value}'" for key, value in attributes.items())
        told = f"statusCallback='{self.site.url}/status' statusCallbackEvent='{ALL_EVENTS}'"
        return f"<{name} {told}{more}>{address}</{name}>"

    def children(self, parent: str) -> list[Call]:
        return list(self.client.list(CallQuery(parent_call_sid=parent), limit=None))

    def look(self) -> None:
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
            assert self.now() < deadline, self.never_so()
            self.look()
            self.pause(self.step)

    def until_unheard(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, without taking in what arrives meanwhile."""
        deadline = self.now() + timedelta(seconds=self.limit)
        while not condition():
            assert self.now() < deadline, self.never_so()
            self.pause(self.step)

    def never_so(self) -> str:
        """Say in what state the stage is, in a few lines however much happened on it."""
        legs = Counter(leg.status for leg in self.board.snapshot().legs.values())
        last = [f"{event.call_sid} {event.action}: {event.outcome}" for event in self.events[-5:]]
        return "\n".join(["never so", f"legs: {dict(legs)}", f"actions: {len(self.events)}", *last, *self.notes[-5:]])

    def until_of_rest(self, sid: str, status: str) -> None:
        """Wait until REST shows a status, without taking in what arrives meanwhile."""
        self.until_unheard(lambda: self.client.fetch(sid).status == status)

    def lose(self, chosen: Callable[[dict[str, str]], bool]) -> None:
        """Lose some of the callbacks that arrive."""
        self._lost = chosen

    def sent(self, name: str, value: str) -> list[str]:
        """Return the calls of which this was asked."""
        asked = (one for one in self.simulator.requests if value in one.form.get(name, ()))
        return [one.path.rpartition("/")[2].removesuffix(".json") for one in asked]

    def settle(self, seconds: float) -> None:
        """Go on for a while, to see that nothing more is done."""
        end = self.now() + timedelta(seconds=seconds)
        while self.now() < end:
            self.look()
            self.pause(self.step)
        self.look()

    def legs_under(self, parent: str) -> Sequence[Leg]:
        """Return the child legs that callbacks told of."""
        return [leg for leg in self.board.snapshot().legs.values() if leg.parent_call_sid == parent]

    def redirect_by_hand(self, sid: str, twiml: str) -> None:
        """Do what ``callctl redirect`` does, at the same time as the rules."""
        self.client.redirect(sid, RedirectRequest(twiml=twiml))

    def child_of_rest(self, parent: str) -> str:
        """Wait for a child leg in REST, without taking in what arrives meanwhile."""
        self.until_unheard(lambda: bool(self.children(parent)))
        return self.children(parent)[0].sid

    def mix(self, *, shuffle: bool, copies: int) -> None:
        """Shuffle or multiply what has arrived and was not taken in."""
        forms = []
        while not self.site.forms.empty():
            forms.append(self.site.forms.get())
        forms *= copies
        if shuffle:
            random.Random(1).shuffle(forms)
        for form in forms:
            self.site.forms.put(form)

    def status(self, sid: str) -> str:
        """Return what callbacks told of a leg."""
        leg = self.board.snapshot().leg(sid)
        return leg.status if leg else ""

    def only_child(self, parent: str) -> str:
        """Return the SID of the child leg, as callbacks tell it."""
        (family,) = [family for family in self.board.snapshot().families if family.sid == parent]
        (child,) = family.children
        return child.call_sid


@contextmanager
def a_stage(home: Path, **options: Any) -> Iterator[Stage]:
    """Return a stage with a simulator twenty times as fast as life; options are the simulator's."""
    site = Site()
    with Simulator(**({"speed": 20.0, "seed": 1} | options)) as simulator:
        stage = Stage(simulator, site, home)
        try:
            yield stage
        finally:
            stage.claims.close()
            site.close()
