"""``--after-dial`` with documents that people write, several legs, and other people at the same calls."""

from __future__ import annotations

from datetime import timedelta

import pytest
from engine_run import seconds
from events import WORLD
from rules_setup import ManualClockSetup, RulesSetup, each_reading

from callctl.calls.action import DECLINED, DONE, ActionEvent
from callctl.rules.rule import Redirect, after_dial_rule
from callctl.rules.runner import RETRY_PAUSES
from callctl.store.sqlite.store import SqliteStore

PAUSE = "<Pause length='36000'/>"
SETTLE = seconds(0.3)
NOUNS = (("Number", "+12025550105"), ("Sip", "sip:hangs-up@example.com"), ("Client", "hangs-up"))


@pytest.fixture
def setup(manual_clock: ManualClockSetup) -> ManualClockSetup:
    return manual_clock


def survey(setup: RulesSetup, *, settle: timedelta = SETTLE) -> RulesSetup:
    setup.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    return setup.act(after_dial_rule(Redirect("survey", f"{setup.site.url}/survey"), settle=settle))


def dial(setup: RulesSetup, *, attributes: str = "", after: str = "", who: str = "", noun: str = "") -> str:
    inner = noun or setup.noun("Sip", who or "sip:hangs-up@example.com")
    return setup.place(twiml=f"<Response><Dial {attributes}>{inner}</Dial>{after}</Response>")


@pytest.mark.parametrize("noun", NOUNS, ids=str)
def test_each_kind_of_leg(setup: RulesSetup, noun: tuple[str, str]) -> None:
    survey(setup)
    parent = dial(setup, noun=setup.noun(*noun), after=PAUSE)
    setup.until(lambda: bool(setup.events))
    assert [(event.call_sid, event.result) for event in setup.events] == [(parent, DONE)]
    assert setup.site.requested_paths == ["/survey"]


# What the rule requests, a redirect, is answered alike by all readings; so the other tests are played by the first.
@each_reading
def test_each_document_gets_what_it_allows(setup: RulesSetup) -> None:
    survey(setup)
    site = setup.site
    site.documents["/thanks"] = f"<Response>{PAUSE}</Response>"
    second = setup.noun("Client", "answers")
    # A callee who declines answers a document first.
    site.documents["/whisper"] = "<Response><Hangup/></Response>"
    keeps = dial(setup, after=PAUSE)
    keeps_by_action = dial(setup, attributes=f"action='{site.url}/thanks'")
    ends = dial(setup)
    dials_another = dial(setup, after=f"<Dial>{second}</Dial>{PAUSE}")
    unanswered = dial(setup, who="sip:busy@example.com", after=PAUSE)
    declined = dial(setup, noun=setup.noun("Number", "+12025550100", url=f"{site.url}/whisper"), after=PAUSE)
    setup.until(lambda: {event.call_sid for event in setup.events} >= {keeps, keeps_by_action, ends, declined})
    setup.settle(0.5)
    events = {event.call_sid: event for event in setup.events}
    assert events[keeps].result == events[keeps_by_action].result == DONE
    assert (events[ends].result, events[ends].outcome) == (DECLINED, "it has ended already: completed")
    assert events[declined].result == DONE  # it was answered: a whisper that declines looks the same
    assert dials_another not in events
    assert unanswered not in events
    assert sorted(setup.sent("Url", f"{site.url}/survey")) == sorted([keeps, keeps_by_action, declined])
    assert site.requested_paths.count("/survey") == 3


def test_a_survey_that_itself_dials_is_not_repeated(setup: RulesSetup) -> None:
    survey(setup)
    noun = setup.noun("Sip", "sip:hangs-up@example.com")
    setup.site.documents["/survey"] = f"<Response><Dial>{noun}</Dial>{PAUSE}</Response>"
    parent = dial(setup, after=PAUSE)
    setup.until(lambda: sum(leg.is_final for leg in setup.legs_under(parent)) == 2)
    setup.settle(0.5)
    assert setup.sent("Url", f"{setup.site.url}/survey") == [parent]


@pytest.mark.parametrize("whose", ["parent", "child"])
def test_after_a_redirect_by_hand_nothing_is_done(setup: RulesSetup, whose: str) -> None:
    survey(setup)
    parent = dial(setup, who="sip:answers@example.com", after=PAUSE)
    setup.until(lambda: any(leg.status == "in-progress" for leg in setup.legs_under(parent)))
    chosen = parent if whose == "parent" else setup.only_child(parent)
    request = (("Twiml", "<Response><Hangup/></Response>" if whose == "child" else f"<Response>{PAUSE}</Response>"),)
    setup.redirect_by_hand(chosen, request[0][1])
    store = SqliteStore.open_for_watch(setup.home / "events.db", world=WORLD)
    store.record_actions([ActionEvent(setup.now(), chosen, "redirect", request, "to other TwiML", "in-progress")])
    store.close()
    setup.until(lambda: bool(setup.events))
    (event,) = setup.events
    assert (event.result, event.call_sid) == (DECLINED, parent)
    changed = "it" if whose == "parent" else "the leg that ended"
    assert event.outcome == f"callctl itself changed {changed} before (redirect)"
    assert not setup.sent("Url", f"{setup.site.url}/survey")
    assert setup.client.fetch(parent).status == "in-progress"


@pytest.mark.parametrize("faults", [{"shuffle": True}, {"duplicate": 1.0}], ids=str)
def test_shuffled_and_doubled_callbacks_change_nothing(setup: RulesSetup, faults: dict[str, float]) -> None:
    survey(setup)
    parent = dial(setup, after=PAUSE)
    setup.wait_for_rest_status(setup.child_of_rest(parent), "completed")
    setup.mix(shuffle="shuffle" in faults, copies=2 if "duplicate" in faults else 1)
    setup.until(lambda: bool(setup.events))
    setup.settle(0.5)
    assert [(event.call_sid, event.result) for event in setup.events] == [(parent, DONE)]


LOST = {
    "the answer of the leg": lambda form: "ParentCallSid" in form and form["CallStatus"] == "in-progress",
    "all of the leg but its end": lambda form: "ParentCallSid" in form and form["CallStatus"] != "completed",
    "the parent's answer": lambda form: "ParentCallSid" not in form and form["CallStatus"] == "in-progress",
    "all of the parent": lambda form: "ParentCallSid" not in form,
}


@pytest.mark.parametrize("what", LOST)
def test_dropped_callbacks_change_nothing_while_the_end_of_the_leg_is_reported(setup: RulesSetup, what: str) -> None:
    survey(setup)
    setup.lose(LOST[what])
    parent = dial(setup, after=PAUSE)
    setup.until(lambda: bool(setup.events))
    setup.settle(0.5)
    assert [(event.call_sid, event.result) for event in setup.events] == [(parent, DONE)]
    assert setup.sent("Url", f"{setup.site.url}/survey") == [parent]


def test_an_end_whose_callback_was_dropped_is_found_by_a_poll(setup: RulesSetup) -> None:
    survey(setup)
    setup.lose(lambda form: "ParentCallSid" in form and form["CallStatus"] == "completed")
    parent = dial(setup, after=PAUSE)
    child = setup.child_of_rest(parent)
    setup.wait_for_rest_status(child, "completed")
    setup.settle(0.5)
    assert setup.events == []
    setup.poll(child)
    setup.until(lambda: bool(setup.events))
    assert [(event.call_sid, event.result) for event in setup.events] == [(parent, DONE)]


@pytest.mark.parametrize("is_done", [True, False])
def test_a_command_whose_answer_is_late_is_waited_for(setup: RulesSetup, is_done: bool) -> None:
    """The callbacks of what a command does may arrive before its answer."""
    survey(setup)
    parent = dial(setup, who="sip:answers@example.com", after=PAUSE)
    setup.until(lambda: any(leg.status == "in-progress" for leg in setup.legs_under(parent)))
    child = setup.only_child(parent)
    store = SqliteStore.open_for_watch(setup.home / "events.db", world=WORLD)
    store.add_intents([child], now=setup.clock.wall(), until=setup.now() + timedelta(hours=1))
    setup.client.hangup(child)
    setup.until(lambda: setup.status(child) == "completed")
    setup.settle(5)
    assert setup.events == []
    if is_done:
        store.record_actions([ActionEvent(setup.now(), child, "hangup", (("Status", "completed"),), "completed")])
    store.remove_intents([child])
    setup.until(lambda: bool(setup.events))
    (event,) = setup.events
    assert (event.call_sid, event.result) == (parent, DECLINED if is_done else DONE)
    assert setup.sent("Url", f"{setup.site.url}/survey") == ([] if is_done else [parent])
    store.close()


@pytest.mark.parametrize("named", ["parent", "child"])
def test_what_a_command_that_was_killed_may_have_done_is_taken_for_done(setup: ManualClockSetup, named: str) -> None:
    """It wrote down what it was about to do, and could write no outcome: its terminal was closed, say."""
    survey(setup)
    parent = dial(setup, who="sip:answers@example.com", after=PAUSE)
    setup.until(lambda: any(leg.status == "in-progress" for leg in setup.legs_under(parent)))
    child = setup.only_child(parent)
    setup.claims.add_intents(
        [parent if named == "parent" else child], now=setup.clock.wall(), until=setup.clock.wall() + seconds(60)
    )
    setup.client.hangup(child)
    setup.settle(50)
    assert setup.events == []
    setup.until(lambda: bool(setup.events))
    leg = "it" if named == "parent" else "the leg that ended"
    assert [(event.call_sid, event.result, event.outcome) for event in setup.events] == [
        (parent, DECLINED, f"a command that was cut off may have changed {leg}")
    ]
    assert surveyed(setup) == []


def place_with_several_legs(setup: ManualClockSetup, *legs: str) -> str:
    """Place a call whose document dials one leg after the other, and redirect it to a survey after these."""
    survey(setup, settle=seconds(1))
    dials = "".join(f"<Dial timeout='20'>{leg}</Dial>" for leg in legs)
    return setup.place(twiml=f"<Response>{dials}{PAUSE}</Response>")


def unreporting(address: str) -> str:
    return f"<Sip>{address}</Sip>"


def surveyed(setup: ManualClockSetup) -> list[str]:
    return setup.sent("Url", f"{setup.site.url}/survey")


@pytest.mark.parametrize("second", ["talks", "busy", "no-answer"])
def test_a_second_leg_that_tells_of_itself(setup: ManualClockSetup, second: str) -> None:
    first = setup.noun("Sip", "sip:hangs-up@example.com")
    parent = place_with_several_legs(setup, first, setup.noun("Sip", f"sip:{second}@example.com"))
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
    parent = place_with_several_legs(
        setup, setup.noun("Sip", "sip:hangs-up@example.com"), unreporting("sip:talks@example.com")
    )
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
    parent = place_with_several_legs(
        setup, setup.noun("Sip", "sip:hangs-up@example.com"), unreporting("sip:talks@example.com")
    )
    setup.until(lambda: any(leg.is_final for leg in setup.legs_under(parent)))
    setup.settle(5)
    setup.client.hangup(parent)
    setup.settle(1)
    before = len(setup.simulator.requests)
    setup.settle(100)
    assert len(setup.simulator.requests) == before
    assert setup.events == []
