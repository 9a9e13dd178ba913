"""``--hangup-ringing-after`` under each reading of Twilio's text, and with answers at the very limit."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from engine_run import seconds
from rules_setup import LONG, ManualClockSetup, RulesSetup, manual_clock_setup, rules_setup
from running import EACH_READING

from callctl.calls.action import DONE, LATE, NOT_ENDED
from callctl.rules.rate_limit import RateLimit
from callctl.rules.rule import Cancel, ring_limit_rule
from callctl.simulator import READINGS
from callctl.simulator.far_end import FarEnd
from callctl.simulator.settings import CANCEL_REFUSED_IN_PROGRESS, CANCEL_SPARES_DIAL_LEGS

# For each reading, by chances of its own.
RUNS = 250
# How a cancel may be answered that comes too late for a call of its own, and all else that is open.
ANSWERS_TO_CANCEL = [(), (CANCEL_REFUSED_IN_PROGRESS,), tuple(READINGS)]
UNLIMITED = 10**6


class Dialler:
    """Places calls over one connection, without all that the API client checks: hundreds of them are needed."""

    def __init__(self, setup: RulesSetup) -> None:
        simulator = setup.simulator
        self._path = f"/2010-04-01/Accounts/{simulator.account_sid}/Calls.json"
        self._connection = HTTPConnection(urlsplit(simulator.url).netloc)
        word = b64encode(f"{simulator.account_sid}:{simulator.auth_token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {word}", "Content-Type": "application/x-www-form-urlencoded"}
        events = [("StatusCallbackEvent", event) for event in ("ringing", "answered", "completed")]
        self._form = [
            ("From", "+15005550006"),
            ("Twiml", LONG),
            ("StatusCallback", f"{setup.site.url}/status"),
            *events,
        ]

    def place(self, to: str) -> str:
        self._connection.request("POST", self._path, urlencode([*self._form, ("To", to)]), self._headers)
        return str(json.loads(self._connection.getresponse().read())["sid"])

    def close(self) -> None:
        self._connection.close()


def far_ends(count: int, *, earliest: float, latest: float, seed: int = 7) -> dict[str, FarEnd]:
    chance = random.Random(seed)
    return {f"+1202555{number:04d}": FarEnd(after=chance.uniform(earliest, latest)) for number in range(count)}


def check(setup: RulesSetup, sids: Sequence[str]) -> None:
    """See that each call was answered or ended, none of them both, and that both happened."""
    answered = {callback.leg for callback in setup.simulator.callbacks if callback.event == "answered"}
    ended = {callback.leg for callback in setup.simulator.callbacks if callback.event == "completed"}
    assert answered | ended == set(sids)
    assert not answered & ended
    assert answered
    assert ended
    assert {setup.client.fetch(sid).status for sid in sorted(answered)[:10]} == {"in-progress"}
    assert {event.result for event in setup.events} <= {DONE, LATE}
    assert setup.sent("Status", "completed") == []


@pytest.mark.parametrize(("seed", "readings"), list(enumerate(ANSWERS_TO_CANCEL)), ids=str)
def test_no_call_that_was_answered_is_ended(tmp_path: Path, readings: Sequence[str], seed: int) -> None:
    """Answers and requests take a while, by chance, so that many answers come between the look and the request."""
    numbers = far_ends(RUNS, earliest=1.8, latest=3.2, seed=seed)
    with manual_clock_setup(tmp_path, ManualClockSetup, far_end=numbers, readings=readings) as setup:
        setup.latency = 0.3
        setup.act(
            ring_limit_rule(seconds(2), cancel=Cancel()),
            rate_limit=RateLimit(per_second=UNLIMITED, per_minute=UNLIMITED),
        )
        dialler = Dialler(setup)
        sids = []
        for number in numbers:
            sids.append(dialler.place(number))
            setup.advance(0.5)
        dialler.close()
        setup.settle(5)
        check(setup, sids)
        requested = set(setup.sent("Status", "canceled"))
        answered = {sid for sid in sids if setup.status(sid) == "in-progress"}
        assert {event.result for event in setup.events} == {DONE, LATE}
        assert len(requested & answered) > RUNS / 50  # they were requested just when they had been answered


def test_no_call_that_was_answered_is_ended_by_many_threads_at_once(tmp_path: Path) -> None:
    # Ringing begins 20 ms after the call; the limit, rounded up by the resolution of a Timestamp, is a second.
    numbers = far_ends(150, earliest=20 * 0.7, latest=20 * 1.6)
    with rules_setup(tmp_path, far_end=numbers) as setup:
        setup.act(
            ring_limit_rule(seconds(0), cancel=Cancel()),
            rate_limit=RateLimit(per_second=UNLIMITED, per_minute=UNLIMITED),
        )
        sids = []
        for number in numbers:
            sids.append(setup.place(number))
            setup.update()
        setup.until(lambda: all(setup.status(sid) in ("in-progress", "canceled") for sid in sids))
        setup.settle(1.0)
        check(setup, sids)
        assert setup.events


# Longer than a call rings that is answered.
LIMIT = seconds(10)
RING = ring_limit_rule(LIMIT, cancel=Cancel())
CUT = ring_limit_rule(LIMIT, cancel=Cancel(cut_answered=True))
NOUNS = (("Number", "+12025550103"), ("Sip", "sip:no-answer@example.com"), ("Client", "no-answer"))
# Twilio's text has a leg that rings inside Dial count as in-progress: then a cancel of it may be refused as well.
BOTH = (CANCEL_SPARES_DIAL_LEGS, CANCEL_REFUSED_IN_PROGRESS)
each_reading_and_both = pytest.mark.parametrize("manual_clock", [*EACH_READING, BOTH], indirect=True, ids=str)


@pytest.fixture
def setup(manual_clock: ManualClockSetup) -> ManualClockSetup:
    return manual_clock


def spares(setup: RulesSetup) -> bool:
    return CANCEL_SPARES_DIAL_LEGS in setup.simulator.settings.readings


def dial(setup: RulesSetup, noun: str, address: str) -> str:
    """Place a call whose document rings another leg for a long time; return the parent."""
    ringing = f"<Dial timeout='3600'>{setup.noun(noun, address)}</Dial><Pause length='3600'/>"
    return setup.place(twiml=f"<Response>{ringing}</Response>")


@each_reading_and_both
def test_legs_that_ring_too_long(setup: RulesSetup) -> None:
    """What ``canceled`` does to a leg inside Dial Twilio's text leaves open: the outcome is reported as it is."""
    setup.act(RING)
    alone = setup.place("+12025550103")
    parents = [dial(setup, *noun) for noun in NOUNS]
    setup.until(lambda: len(setup.events) == 4)
    setup.settle(5)
    actions = {event.call_sid: event for event in setup.events}
    children = [setup.only_child(parent) for parent in parents]
    assert sorted(actions) == sorted([alone, *children])
    assert {(event.rule, event.action, event.request) for event in setup.events} == {
        ("hangup-ringing-after", "cancel", (("Status", "canceled"),))
    }
    assert actions[alone].result == DONE
    assert setup.status(alone) == "canceled"
    for parent, child in zip(parents, children, strict=True):
        assert actions[child].result == (NOT_ENDED if spares(setup) else DONE)
        if spares(setup):
            assert actions[child].outcome == "Twilio did not end it"
            assert setup.client.fetch(child).status == "ringing"
        assert setup.client.fetch(parent).status == "in-progress"
    assert not setup.sent("Status", "completed")


@each_reading_and_both
def test_with_cut_answered_a_leg_that_twilio_did_not_end_is_hung_up(setup: RulesSetup) -> None:
    setup.act(CUT)
    parent = dial(setup, *NOUNS[1])
    setup.until(lambda: bool(setup.events))
    child = setup.only_child(parent)
    setup.until(lambda: setup.status(child) == "canceled")
    assert [(event.call_sid, event.result) for event in setup.events] == [(child, DONE)]
    assert setup.sent("Status", "completed") == ([child] if spares(setup) else [])


@each_reading_and_both
def test_a_call_that_was_answered_without_a_callback_is_looked_at_first_and_left_alone(setup: RulesSetup) -> None:
    """Only its ringing was reported: the callback of its answer is lost."""
    setup.act(RING)
    setup.lose(lambda form: form["CallStatus"] == "in-progress")
    sid = setup.place()
    setup.until(lambda: bool(setup.events))
    assert (setup.events[0].result, setup.events[0].outcome) == (LATE, "it was answered meanwhile and left alone")
    assert setup.client.fetch(sid).status == "in-progress"
    assert not setup.sent("Status", "canceled")
