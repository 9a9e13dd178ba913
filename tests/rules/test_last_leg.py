"""A caller with more than one leg: redirected when the last of them has ended, once."""

from __future__ import annotations

import pytest
from engine_run import seconds
from rules_setup import ManualClockSetup

from callctl.calls.action import DONE
from callctl.rules.rule import Redirect, after_dial_rule
from callctl.rules.runner import RETRY_PAUSES

PAUSE = "<Pause length='36000'/>"


@pytest.fixture
def setup(manual_clock: ManualClockSetup) -> ManualClockSetup:
    manual_clock.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    manual_clock.act(after_dial_rule(Redirect("survey", f"{manual_clock.site.url}/survey"), settle=seconds(1)))
    return manual_clock


def place(setup: ManualClockSetup, *legs: str) -> str:
    dials = "".join(f"<Dial timeout='20'>{leg}</Dial>" for leg in legs)
    return setup.place(twiml=f"<Response>{dials}{PAUSE}</Response>")


def unreporting(address: str) -> str:
    return f"<Sip>{address}</Sip>"


def surveyed(setup: ManualClockSetup) -> list[str]:
    return setup.sent("Url", f"{setup.site.url}/survey")


@pytest.mark.parametrize("second", ["talks", "busy", "no-answer"])
def test_a_second_leg_that_tells_of_itself(setup: ManualClockSetup, second: str) -> None:
    first = setup.noun("Sip", "sip:hangs-up@example.com")
    parent = place(setup, first, setup.noun("Sip", f"sip:{second}@example.com"))
    setup.until(lambda: len(setup.legs_under(parent)) == 2)
    if second != "busy":  # which is over before the caller could be redirected
        setup.settle(5)
        assert surveyed(setup) == []
    setup.until(lambda: bool(surveyed(setup)))
    assert all(call.is_final for call in setup.children(parent))
    setup.settle(60)
    assert [(event.call_sid, event.result) for event in setup.events] == [(parent, DONE)]
    assert surveyed(setup) == [parent]


def test_a_second_leg_that_tells_nothing_is_asked_for_by_and_by(setup: ManualClockSetup) -> None:
    parent = place(setup, setup.noun("Sip", "sip:hangs-up@example.com"), unreporting("sip:talks@example.com"))
    setup.until(lambda: any(call.is_live and call.status == "in-progress" for call in setup.children(parent)[-1:]))
    setup.settle(60)
    assert surveyed(setup) == []
    before = len(setup.simulator.requests)
    setup.settle(30)
    assert len(setup.simulator.requests) - before <= 4  # two for each look
    setup.until(lambda: all(call.is_final for call in setup.children(parent)))
    setup.settle(RETRY_PAUSES.longest)
    assert surveyed(setup) == [parent]
    assert [(event.call_sid, event.result) for event in setup.events] == [(parent, DONE)]


def test_a_caller_who_hangs_up_meanwhile_is_not_asked_for_any_more(setup: ManualClockSetup) -> None:
    parent = place(setup, setup.noun("Sip", "sip:hangs-up@example.com"), unreporting("sip:talks@example.com"))
    setup.until(lambda: any(leg.is_final for leg in setup.legs_under(parent)))
    setup.settle(5)
    setup.client.hangup(parent)
    setup.settle(1)
    before = len(setup.simulator.requests)
    setup.settle(100)
    assert len(setup.simulator.requests) == before
    assert setup.events == []
