"""``--hangup-ringing-after`` under each reading of Twilio's text."""

from __future__ import annotations

import pytest
from playing import seconds
from running import EACH_READING
from staging import Stage
from turning import TurnedStage

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


pytestmark = pytest.mark.parametrize("turned", [*EACH_READING, BOTH], indirect=True, ids=str)


@pytest.fixture
def stage(turned: TurnedStage) -> TurnedStage:
    return turned


def spares(stage: Stage) -> bool:
    return CANCEL_SPARES_DIAL_LEGS in stage.simulator.settings.readings


def dial(stage: Stage, noun: str, address: str) -> str:
    """Place a call whose document rings another leg for a long time; return the parent."""
    ringing = f"<Dial timeout='3600'>{stage.noun(noun, address)}</Dial><Pause length='3600'/>"
    return stage.place(twiml=f"<Response>{ringing}</Response>")


def test_legs_that_ring_too_long(stage: Stage) -> None:
    """What ``canceled`` does to a leg inside Dial Twilio's text leaves open: what came of it is told as it is."""
    stage.act(RING)
    alone = stage.place("+12025550103")
    parents = [dial(stage, *noun) for noun in NOUNS]
    stage.until(lambda: len(stage.events) == 4)
    stage.settle(5)
    told = {event.call_sid: event for event in stage.events}
    children = [stage.only_child(parent) for parent in parents]
    assert sorted(told) == sorted([alone, *children])
    assert {(event.rule, event.action, event.request) for event in stage.events} == {
        ("hangup-ringing-after", "cancel", (("Status", "canceled"),))
    }
    assert told[alone].result == DONE
    assert stage.status(alone) == "canceled"
    for parent, child in zip(parents, children, strict=True):
        assert told[child].result == (NOT_ENDED if spares(stage) else DONE)
        if spares(stage):
            assert told[child].outcome == "Twilio did not end it"
            assert stage.client.fetch(child).status == "ringing"
        assert stage.client.fetch(parent).status == "in-progress"
    assert not stage.sent("Status", "completed")


def test_with_cut_answered_a_leg_that_twilio_did_not_end_is_hung_up(stage: Stage) -> None:
    stage.act(CUT)
    parent = dial(stage, *NOUNS[1])
    stage.until(lambda: bool(stage.events))
    child = stage.only_child(parent)
    stage.until(lambda: stage.status(child) == "canceled")
    assert [(event.call_sid, event.result) for event in stage.events] == [(child, DONE)]
    assert stage.sent("Status", "completed") == ([child] if spares(stage) else [])


def test_a_call_that_was_answered_unheard_is_looked_at_first_and_left_alone(stage: Stage) -> None:
    """Only its ringing was told: the callback of its answer is lost."""
    stage.act(RING)
    stage.lose(lambda form: form["CallStatus"] == "in-progress")
    sid = stage.place()
    stage.until(lambda: bool(stage.events))
    assert (stage.events[0].result, stage.events[0].outcome) == (LATE, "it was answered meanwhile and left alone")
    assert stage.client.fetch(sid).status == "in-progress"
    assert not stage.sent("Status", "canceled")
