"""A caller with more than one leg: taken up when the last of them has ended, once."""

from __future__ import annotations

import pytest
from playing import seconds
from turning import TurnedStage

from callctl.calls.action import DONE
from callctl.rules.rule import Redirect, after_dial_rule
from callctl.rules.runner import RETRY_PAUSES

PAUSE = "<Pause length='36000'/>"


@pytest.fixture
def stage(turned: TurnedStage) -> TurnedStage:
    turned.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    turned.act(after_dial_rule(Redirect("survey", f"{turned.site.url}/survey"), settle=seconds(1)))
    return turned


def place(stage: TurnedStage, *legs: str) -> str:
    dials = "".join(f"<Dial timeout='20'>{leg}</Dial>" for leg in legs)
    return stage.place(twiml=f"<Response>{dials}{PAUSE}</Response>")


def silent(address: str) -> str:
    return f"<Sip>{address}</Sip>"


def surveyed(stage: TurnedStage) -> list[str]:
    return stage.sent("Url", f"{stage.site.url}/survey")


@pytest.mark.parametrize("second", ["talks", "busy", "no-answer"])
def test_a_second_leg_that_tells_of_itself(stage: TurnedStage, second: str) -> None:
    first = stage.noun("Sip", "sip:hangs-up@example.com")
    parent = place(stage, first, stage.noun("Sip", f"sip:{second}@example.com"))
    stage.until(lambda: len(stage.legs_under(parent)) == 2)
    if second != "busy":  # which is over before the caller could be taken up
        stage.settle(5)
        assert surveyed(stage) == []
    stage.until(lambda: bool(surveyed(stage)))
    assert all(call.is_final for call in stage.children(parent))
    stage.settle(60)
    assert [(event.call_sid, event.result) for event in stage.events] == [(parent, DONE)]
    assert surveyed(stage) == [parent]


def test_a_second_leg_that_tells_nothing_is_asked_for_by_and_by(stage: TurnedStage) -> None:
    parent = place(stage, stage.noun("Sip", "sip:hangs-up@example.com"), silent("sip:talks@example.com"))
    stage.until(lambda: any(call.is_live and call.status == "in-progress" for call in stage.children(parent)[-1:]))
    stage.settle(60)
    assert surveyed(stage) == []
    asked = len(stage.simulator.requests)
    stage.settle(30)
    assert len(stage.simulator.requests) - asked <= 4  # two for each look
    stage.until(lambda: all(call.is_final for call in stage.children(parent)))
    stage.settle(RETRY_PAUSES.longest)
    assert surveyed(stage) == [parent]
    assert [(event.call_sid, event.result) for event in stage.events] == [(parent, DONE)]


def test_a_caller_who_hangs_up_meanwhile_is_not_asked_for_any_more(stage: TurnedStage) -> None:
    parent = place(stage, stage.noun("Sip", "sip:hangs-up@example.com"), silent("sip:talks@example.com"))
    stage.until(lambda: any(leg.is_final for leg in stage.legs_under(parent)))
    stage.settle(5)
    stage.client.hangup(parent)
    stage.settle(1)
    asked = len(stage.simulator.requests)
    stage.settle(100)
    assert len(stage.simulator.requests) == asked
    assert stage.events == []
