"""``--after-dial`` with the documents that people write, and with somebody else at the same calls."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playing import seconds
from staging import WORLD, Stage
from turning import TurnedStage

from callctl.calls.action import DECLINED, DONE, ActionEvent
from callctl.rules.rule import Redirect, after_dial_rule
from callctl.store.sqlite.store import EventStore

PAUSE = "<Pause length='36000'/>"
NOUNS = (("Number", "+12025550105"), ("Sip", "sip:hangs-up@example.com"), ("Client", "hangs-up"))


@pytest.fixture
def stage(turned: TurnedStage) -> TurnedStage:
    return turned


def survey(stage: Stage) -> Stage:
    stage.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    return stage.act(after_dial_rule(Redirect("survey", f"{stage.site.url}/survey"), settle=seconds(0.3)))


def dial(stage: Stage, *, attributes: str = "", after: str = "", who: str = "", noun: str = "") -> str:
    inner = noun or stage.noun("Sip", who or "sip:hangs-up@example.com")
    return stage.place(twiml=f"<Response><Dial {attributes}>{inner}</Dial>{after}</Response>")


@pytest.mark.parametrize("noun", NOUNS, ids=str)
def test_each_kind_of_leg(stage: Stage, noun: tuple[str, str]) -> None:
    survey(stage)
    parent = dial(stage, noun=stage.noun(*noun), after=PAUSE)
    stage.until(lambda: bool(stage.events))
    assert [(event.call_sid, event.result) for event in stage.events] == [(parent, DONE)]
    assert stage.site.asked == ["/survey"]


def test_each_document_gets_what_it_allows(stage: Stage) -> None:
    survey(stage)
    site = stage.site
    site.documents["/thanks"] = f"<Response>{PAUSE}</Response>"
    second = stage.noun("Client", "answers")
    # A callee who declines is asked first, in a document of his own.
    site.documents["/whisper"] = "<Response><Hangup/></Response>"
    keeps = dial(stage, after=PAUSE)
    keeps_by_action = dial(stage, attributes=f"action='{site.url}/thanks'")
    ends = dial(stage)
    dials_again = dial(stage, after=f"<Dial>{second}</Dial>{PAUSE}")
    nobody = dial(stage, who="sip:busy@example.com", after=PAUSE)
    declined = dial(stage, noun=stage.noun("Number", "+12025550100", url=f"{site.url}/whisper"), after=PAUSE)
    stage.until(lambda: {event.call_sid for event in stage.events} >= {keeps, keeps_by_action, ends, declined})
    stage.settle(0.5)
    told = {event.call_sid: event for event in stage.events}
    assert told[keeps].result == told[keeps_by_action].result == DONE
    assert (told[ends].result, told[ends].outcome) == (DECLINED, "it has ended already: completed")
    assert told[declined].result == DONE  # it was answered: a whisper that declines can't be told apart
    assert dials_again not in told
    assert nobody not in told
    assert sorted(stage.sent("Url", f"{site.url}/survey")) == sorted([keeps, keeps_by_action, declined])
    assert site.asked.count("/survey") == 3


def test_a_survey_that_itself_dials_is_not_repeated(stage: Stage) -> None:
    survey(stage)
    again = stage.noun("Sip", "sip:hangs-up@example.com")
    stage.site.documents["/survey"] = f"<Response><Dial>{again}</Dial>{PAUSE}</Response>"
    parent = dial(stage, after=PAUSE)
    stage.until(lambda: sum(leg.is_final for leg in stage.legs_under(parent)) == 2)
    stage.settle(0.5)
    assert stage.sent("Url", f"{stage.site.url}/survey") == [parent]


@pytest.mark.parametrize("whose", ["parent", "child"])
def test_after_a_redirect_by_hand_nothing_is_done(stage: Stage, whose: str) -> None:
    survey(stage)
    parent = dial(stage, who="sip:answers@example.com", after=PAUSE)
    stage.until(lambda: any(leg.status == "in-progress" for leg in stage.legs_under(parent)))
    chosen = parent if whose == "parent" else stage.only_child(parent)
    request = (("Twiml", "<Response><Hangup/></Response>" if whose == "child" else f"<Response>{PAUSE}</Response>"),)
    stage.redirect_by_hand(chosen, request[0][1])
    store = EventStore.open_for_watch(stage.home / "events.db", world=WORLD)
    store.record_actions([ActionEvent(stage.now(), chosen, "redirect", request, "to other TwiML", "in-progress")])
    store.close()
    stage.until(lambda: bool(stage.events))
    (event,) = stage.events
    assert (event.result, event.call_sid) == (DECLINED, parent)
    changed = "it" if whose == "parent" else "the leg that ended"
    assert event.outcome == f"callctl itself changed {changed} before (redirect)"
    assert not stage.sent("Url", f"{stage.site.url}/survey")
    assert stage.client.fetch(parent).status == "in-progress"


@pytest.mark.parametrize("faults", [{"shuffle": True}, {"duplicate": 1.0}], ids=str)
def test_shuffled_and_doubled_callbacks_change_nothing(stage: Stage, faults: dict[str, float]) -> None:
    survey(stage)
    parent = dial(stage, after=PAUSE)
    stage.until_of_rest(stage.child_of_rest(parent), "completed")
    stage.mix(shuffle="shuffle" in faults, copies=2 if "duplicate" in faults else 1)
    stage.until(lambda: bool(stage.events))
    stage.settle(0.5)
    assert [(event.call_sid, event.result) for event in stage.events] == [(parent, DONE)]


LOST = {
    "the answer of the leg": lambda form: "ParentCallSid" in form and form["CallStatus"] == "in-progress",
    "all of the leg but its end": lambda form: "ParentCallSid" in form and form["CallStatus"] != "completed",
    "the parent's answer": lambda form: "ParentCallSid" not in form and form["CallStatus"] == "in-progress",
    "all of the parent": lambda form: "ParentCallSid" not in form,
}


@pytest.mark.parametrize("what", LOST)
def test_dropped_callbacks_change_nothing_while_the_end_of_the_leg_is_told(stage: Stage, what: str) -> None:
    survey(stage)
    stage.lose(LOST[what])
    parent = dial(stage, after=PAUSE)
    stage.until(lambda: bool(stage.events))
    stage.settle(0.5)
    assert [(event.call_sid, event.result) for event in stage.events] == [(parent, DONE)]
    assert stage.sent("Url", f"{stage.site.url}/survey") == [parent]


def test_an_end_whose_callback_was_dropped_is_found_by_a_poll(stage: Stage) -> None:
    survey(stage)
    stage.lose(lambda form: "ParentCallSid" in form and form["CallStatus"] == "completed")
    parent = dial(stage, after=PAUSE)
    child = stage.child_of_rest(parent)
    stage.until_of_rest(child, "completed")
    stage.settle(0.5)
    assert stage.events == []
    stage.poll(child)
    stage.until(lambda: bool(stage.events))
    assert [(event.call_sid, event.result) for event in stage.events] == [(parent, DONE)]


@pytest.mark.parametrize("is_done", [True, False])
def test_a_command_whose_answer_is_late_is_waited_for(stage: Stage, is_done: bool) -> None:
    """The callbacks of what a command does may be here before its answer."""
    survey(stage)
    parent = dial(stage, who="sip:answers@example.com", after=PAUSE)
    stage.until(lambda: any(leg.status == "in-progress" for leg in stage.legs_under(parent)))
    child = stage.only_child(parent)
    store = EventStore.open_for_watch(stage.home / "events.db", world=WORLD)
    store.add_intents([child], until=stage.now() + timedelta(hours=1))
    stage.client.hangup(child)
    stage.until(lambda: stage.status(child) == "completed")
    stage.settle(5)
    assert stage.events == []
    if is_done:
        store.record_actions([ActionEvent(stage.now(), child, "hangup", (("Status", "completed"),), "completed")])
    store.remove_intents([child])
    stage.until(lambda: bool(stage.events))
    (event,) = stage.events
    assert (event.call_sid, event.result) == (parent, DECLINED if is_done else DONE)
    assert stage.sent("Url", f"{stage.site.url}/survey") == ([] if is_done else [parent])
    store.close()
