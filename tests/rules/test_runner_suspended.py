"""A watch whose machine is suspended for an hour: what rules then do about calls whose callbacks it missed."""

from __future__ import annotations

import pytest
from engine_run import seconds
from rules_setup import ManualClockSetup, each_reading

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

pytestmark = each_reading
late_or_lost = pytest.mark.parametrize("callbacks", ["wait", "are lost"])


@pytest.fixture
def setup(manual_clock: ManualClockSetup) -> ManualClockSetup:
    manual_clock.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    return manual_clock.act(
        ring_limit_rule(seconds(25), cancel=Cancel()),
        after_dial_rule(Redirect("survey", f"{manual_clock.site.url}/survey")),
        *max_duration_rules(seconds(1800)),
    )


def sleep(setup: ManualClockSetup, callbacks: str) -> None:
    """Let an hour pass without an update; the callbacks of that time come then, or never."""
    setup.pause(3600)
    if callbacks == "are lost":
        setup.lose(lambda _: True)
    setup.update()
    setup.lose(lambda _: False)
    setup.settle(5)


@late_or_lost
def test_calls_that_ring_no_more_are_left_alone(setup: ManualClockSetup, callbacks: str) -> None:
    never, late = setup.place(NEVER), setup.place(LATE_ANSWER)
    setup.settle(2)
    sleep(setup, callbacks)
    assert setup.sent("Status", "canceled") == []
    outcomes = {event.call_sid: (event.result, event.outcome) for event in setup.events if event.rule == RING_LIMIT}
    if callbacks == "wait":
        assert outcomes == {}
    else:
        assert outcomes == {
            never: (LATE, "the call got there first: it is no-answer"),
            late: (LATE, "it was answered meanwhile and left alone"),
        }


@late_or_lost
def test_a_talk_that_ended_meanwhile_is_old_news(setup: ManualClockSetup, callbacks: str) -> None:
    talk = setup.noun("Sip", "sip:hangs-up@example.com")
    parent = setup.place(twiml=f"<Response><Dial>{talk}</Dial>{PAUSE}</Response>")
    setup.until(lambda: any(leg.status == "in-progress" for leg in setup.legs_under(parent)))
    child = setup.only_child(parent)
    sleep(setup, callbacks)
    if callbacks == "are lost":
        setup.poll(child, missed=True)
        setup.settle(5)
    outcomes = [event for event in setup.events if event.rule == AFTER_DIAL]
    assert [(event.result, event.outcome.partition(":")[0]) for event in outcomes] == [(DECLINED, "too old")]
    assert setup.sent("Url", f"{setup.site.url}/survey") == []


@late_or_lost
def test_a_call_that_went_on_all_the_time_is_ended_once(setup: ManualClockSetup, callbacks: str) -> None:
    sid = setup.place()
    setup.until(lambda: setup.status(sid) == "in-progress")
    sleep(setup, callbacks)
    assert setup.client.fetch(sid).status == "completed"
    assert any(event.result == DONE for event in setup.events)
    assert setup.sent("TimeLimit", "1800") == [sid]
    assert len(setup.sent("Status", "completed")) <= 1
