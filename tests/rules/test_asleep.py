"""A watch whose machine sleeps for an hour: what it then does about calls it has not heard of meanwhile."""

from __future__ import annotations

import pytest
from playing import seconds
from turning import TurnedStage

from callctl.calls.action import DECLINED, DONE, LATE
from callctl.rules.rule import (
    AFTER_DIAL,
    RING_LIMIT,
    Cancel,
    Redirect,
    after_dial_rule,
    max_duration_rules,
    ring_limit_rule,
)

PAUSE = "<Pause length='36000'/>"
NEVER = "+12025550103"  # rings until Twilio's own limit of a minute
LATE_ANSWER = "+12025550101"  # after 20 s

each_way = pytest.mark.parametrize("callbacks", ["wait", "are lost"])


@pytest.fixture
def stage(turned: TurnedStage) -> TurnedStage:
    turned.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    return turned.act(
        ring_limit_rule(seconds(25), cancel=Cancel()),
        after_dial_rule(Redirect("survey", f"{turned.site.url}/survey")),
        *max_duration_rules(seconds(1800)),
    )


def sleep(stage: TurnedStage, callbacks: str) -> None:
    """Let an hour go by without a look; what was told meanwhile comes then, or never."""
    stage.pause(3600)
    if callbacks == "are lost":
        stage.lose(lambda _: True)
    stage.look()
    stage.lose(lambda _: False)
    stage.settle(5)


@each_way
def test_calls_that_ring_no_more_are_left_alone(stage: TurnedStage, callbacks: str) -> None:
    never, late = stage.place(NEVER), stage.place(LATE_ANSWER)
    stage.settle(2)
    sleep(stage, callbacks)
    assert stage.sent("Status", "canceled") == []
    told = {event.call_sid: (event.result, event.outcome) for event in stage.events if event.rule == RING_LIMIT}
    if callbacks == "wait":
        assert told == {}
    else:
        assert told == {
            never: (LATE, "the call got there first: it is no-answer"),
            late: (LATE, "it was answered meanwhile and left alone"),
        }


@each_way
def test_a_talk_that_ended_meanwhile_is_old_news(stage: TurnedStage, callbacks: str) -> None:
    talk = stage.noun("Sip", "sip:hangs-up@example.com")
    parent = stage.place(twiml=f"<Response><Dial>{talk}</Dial>{PAUSE}</Response>")
    stage.until(lambda: any(leg.status == "in-progress" for leg in stage.legs_under(parent)))
    child = stage.only_child(parent)
    sleep(stage, callbacks)
    if callbacks == "are lost":
        stage.poll(child, missed=True)
        stage.settle(5)
    told = [event for event in stage.events if event.rule == AFTER_DIAL]
    assert [(event.result, event.outcome.partition(":")[0]) for event in told] == [(DECLINED, "too old")]
    assert stage.sent("Url", f"{stage.site.url}/survey") == []


@each_way
def test_a_call_that_went_on_all_the_time_is_ended_once(stage: TurnedStage, callbacks: str) -> None:
    sid = stage.place()
    stage.until(lambda: stage.status(sid) == "in-progress")
    sleep(stage, callbacks)
    assert stage.client.fetch(sid).status == "completed"
    assert any(event.result == DONE for event in stage.events)
    assert stage.sent("TimeLimit", "1800") == [sid]
    assert len(stage.sent("Status", "completed")) <= 1
