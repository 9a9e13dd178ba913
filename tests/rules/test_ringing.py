"""``--hangup-ringing-after`` under each reading of Twilio's text."""

from __future__ import annotations

import pytest
from engine_run import seconds
from rules_setup import ManualClockSetup, RulesSetup
from running import EACH_READING

from callctl.calls.action import DONE, LATE, NOT_ENDED
from callctl.rules.rule import Cancel, ring_limit_rule
from callctl.simulator.settings import CANCEL_REFUSED_IN_PROGRESS, CANCEL_SPARES_DIAL_LEGS

# Longer than a call rings that is answered.
LIMIT = seconds(10)
RING = ring_limit_rule(LIMIT, cancel=Cancel())
CUT = ring_limit_rule(LIMIT, cancel=Cancel(cut_answered=True))
NOUNS = (("Number", "+12025550103"), ("Sip", "sip:no-answer@example.com"), ("Client", "no-answer"))


# Twilio's text has a leg that rings inside Dial count as in-progress: then a cancel of it may be refused as well.
BOTH = (CANCEL_SPARES_DIAL_LEGS, CANCEL_REFUSED_IN_PROGRESS)


pytestmark = pytest.mark.parametrize("manual_clock", [*EACH_READING, BOTH], indirect=True, ids=str)


@pytest.fixture
def setup(manual_clock: ManualClockSetup) -> ManualClockSetup:
    return manual_clock


def spares(setup: RulesSetup) -> bool:
    return CANCEL_SPARES_DIAL_LEGS in setup.simulator.settings.readings


def dial(setup: RulesSetup, noun: str, address: str) -> str:
    """Place a call whose document rings another leg for a long time; return the parent."""
    ringing = f"<Dial timeout='3600'>{setup.noun(noun, address)}</Dial><Pause length='3600'/>"
    return setup.place(twiml=f"<Response>{ringing}</Response>")


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


def test_with_cut_answered_a_leg_that_twilio_did_not_end_is_hung_up(setup: RulesSetup) -> None:
    setup.act(CUT)
    parent = dial(setup, *NOUNS[1])
    setup.until(lambda: bool(setup.events))
    child = setup.only_child(parent)
    setup.until(lambda: setup.status(child) == "canceled")
    assert [(event.call_sid, event.result) for event in setup.events] == [(child, DONE)]
    assert setup.sent("Status", "completed") == ([child] if spares(setup) else [])


def test_a_call_that_was_answered_without_a_callback_is_looked_at_first_and_left_alone(setup: RulesSetup) -> None:
    """Only its ringing was reported: the callback of its answer is lost."""
    setup.act(RING)
    setup.lose(lambda form: form["CallStatus"] == "in-progress")
    sid = setup.place()
    setup.until(lambda: bool(setup.events))
    assert (setup.events[0].result, setup.events[0].outcome) == (LATE, "it was answered meanwhile and left alone")
    assert setup.client.fetch(sid).status == "in-progress"
    assert not setup.sent("Status", "canceled")
