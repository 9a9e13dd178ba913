"""An end that a command or a key finds in REST, of a call that the store takes for live, reaches the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue

import pytest
from cli.setup import BUSY, NEVER, CliSetup
from events import form
from running import Callctl, Outcome, env_for

from callctl.calls.call import Call
from callctl.calls.event import CALLBACK, MISSED, POLLED, CallEvent
from callctl.cli.io.runtime import Runtime
from callctl.cli.watch.operator import TableOperator
from callctl.settings import Settings, load
from callctl.simulator import Simulator
from callctl.store.event_store import EventStore
from callctl.store.opening import open_store
from callctl.views.live.intents import ActionOutcome, HangUp, Target

LONG_AGO = timedelta(minutes=5)


@dataclass
class Outage:
    """Calls that ended while no callback was stored, in a file or in a database."""

    setup: CliSetup
    settings: Settings
    store: EventStore
    calendar: list[datetime]

    def call(self, to: str = BUSY, *, after: float = 5, ended: timedelta = LONG_AGO) -> str:
        """Place a call that was over, or got where it is, so long ago; return its SID."""
        self.calendar[0] = datetime.now(UTC) - ended
        sid = self.setup.place(to, after=after)
        self.calendar[0] = datetime.now(UTC)
        return sid

    def known(
        self, sid: str, status: str = "ringing", *, before: timedelta = LONG_AGO, parent: str | None = None
    ) -> str:
        """Have the store take a call for live, by a callback that came so long ago."""
        fields, at = form(sid, status, parent=parent), datetime.now(UTC) - before
        world = self.settings.world
        self.store.append(CallEvent.from_form(fields.items(), received_at=at, world=world, verified=True))
        return sid

    def callctl(self, *args: str) -> Outcome:
        return self.setup.callctl(*args, env={"CALLCTL_STORE": self.settings.store_url or str(self.settings.store)})

    def kinds(self, sid: str) -> list[tuple[str, str]]:
        return [(event.kind, event.status) for event in self.store.family(sid) if event.call_sid == sid]


@pytest.fixture(params=["sqlite", "postgresql"])
def outage(request: pytest.FixtureRequest, callctl: Callctl, home: Path) -> Iterator[Outage]:
    calendar = [datetime.now(UTC)]
    url = request.getfixturevalue("shared_store") if request.param == "postgresql" else str(home / "events.db")
    with Simulator(port=0, seed=1, manual_clock=True, wall=lambda: calendar[0]) as simulator:
        setup = CliSetup(simulator, callctl, home)
        settings = load({"HOME": str(home), **env_for(simulator), "CALLCTL_STORE": url}, cwd=home)
        with closing(open_store(settings)) as store:
            yield Outage(setup, settings, store, calendar)


@pytest.mark.parametrize(
    "command",
    [
        ("hangup", "{}"),
        ("hangup", "{}", "--only-ringing"),
        ("hangup", "{}", "--wait"),
        ("hangup", "{}", "--family"),
        ("redirect", "{}", "--url", "survey"),
        ("show", "{}"),
        ("wait", "{}", "--for", "ended"),
        ("wait", "{}", "--for", "answered"),
    ],
)
def test_an_end_that_a_command_comes_across_is_stored(outage: Outage, command: tuple[str, ...]) -> None:
    sid = outage.known(outage.call())
    outcome = outage.callctl(*(word.format(sid) for word in command))
    assert "busy" in outcome.out + outcome.err
    assert outage.kinds(sid) == [(CALLBACK, "ringing"), (MISSED, "busy")]
    assert outage.store.live_calls() == []
    outage.callctl(*(word.format(sid) for word in command))
    assert len(outage.kinds(sid)) == 2


def test_the_ends_of_several_calls_are_stored(outage: Outage) -> None:
    sids = [outage.known(outage.call()) for _ in range(3)]
    assert outage.callctl("hangup", *sids).code == 0
    assert outage.store.live_calls() == []


def test_the_page_of_a_call_tells_of_its_children_too(outage: Outage) -> None:
    parent, child = outage.setup.dialled()
    outage.known(child, parent=parent)
    outage.calendar[0] -= LONG_AGO
    assert outage.callctl("hangup", "--family", parent).code == 0
    outage.calendar[0] = datetime.now(UTC)
    assert outage.callctl("show", parent).code == 0
    assert outage.kinds(child)[-1] == (MISSED, "completed")


def test_an_end_whose_callback_may_still_come_is_left_to_it(outage: Outage) -> None:
    just_ended = outage.known(outage.call(ended=timedelta()))
    rang_just_now = outage.known(outage.call(), before=timedelta(seconds=3))
    ended_by_this = outage.known(outage.call(NEVER))
    for sid in (just_ended, rang_just_now, ended_by_this):
        assert outage.callctl("hangup", sid).code == 0
        assert outage.callctl("show", sid).code == 0
        assert outage.kinds(sid) == [(CALLBACK, "ringing")]


def test_the_end_of_a_call_that_sends_no_callbacks_is_stored_at_once(outage: Outage) -> None:
    sid, at = outage.call(NEVER), datetime.now(UTC) - LONG_AGO
    outage.store.append(CallEvent.from_call(Call(sid, "ringing"), received_at=at, world=outage.settings.world))
    assert outage.callctl("hangup", sid).code == 0
    assert outage.kinds(sid) == [(POLLED, "ringing"), (MISSED, "canceled")]


def test_of_a_call_that_the_store_does_not_know_nothing_is_stored(outage: Outage) -> None:
    sid = outage.call()
    assert outage.callctl("hangup", sid).code == 0
    assert outage.callctl("show", sid).code == 0
    assert outage.store.call(sid) is None


def test_what_a_callback_has_reported_meanwhile_is_all_that_counts(outage: Outage) -> None:
    sid = outage.known(outage.known(outage.call()), "busy")
    assert outage.callctl("hangup", sid).code == 0
    assert outage.kinds(sid) == [(CALLBACK, "ringing"), (CALLBACK, "busy")]


def test_a_dry_run_stores_nothing(outage: Outage) -> None:
    sid = outage.known(outage.call())
    assert "busy" in outage.callctl("hangup", sid, "--dry-run").out
    assert outage.kinds(sid) == [(CALLBACK, "ringing")]


@pytest.mark.parametrize("status", ["ringing", "in-progress"])
def test_an_end_that_a_key_comes_across_is_stored_before_the_outcome_is_said(outage: Outage, status: str) -> None:
    sid, outcomes = outage.known(outage.call(), status), SimpleQueue[ActionOutcome]()
    environ = {"HOME": str(outage.setup.home), **env_for(outage.setup.simulator)}
    streams = [(outage.setup.home / name).open("w+") for name in ("in", "out", "err")]
    operator = TableOperator(
        Runtime(environ, outage.setup.home, *streams),
        lambda: outage.settings,
        listens=False,
        may_act=True,
        stop=lambda: None,
    )
    operator.act(HangUp((Target(sid, status),), is_family=False), question_at=datetime.now(UTC), report=outcomes.put)
    assert outcomes.get(timeout=60).sentence == f"already over: {sid} is busy"
    assert outage.kinds(sid) == [(CALLBACK, status), (MISSED, "busy")]
    for stream in streams:
        stream.close()
