"""This machine's clock is set while calls are young: no rule takes them for old ones, and none stops for that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playing import seconds
from staging import WORLD
from turning import TurnedStage, a_turned_stage

from callctl.calls.action import DONE, ActionEvent
from callctl.rules.rate_limit import RateLimit
from callctl.rules.rule import (
    Cancel,
    Hangup,
    On,
    Redirect,
    Rule,
    When,
    after_dial_rule,
    max_duration_rules,
    ring_limit_rule,
)
from callctl.store.records import OpenClaim
from callctl.store.sqlite.store import EventStore

NEVER = "+12025550103"  # rings until Twilio's own limit of a minute
PAUSE = "<Pause length='36000'/>"
TALKING = When(statuses=frozenset({"in-progress"}))
# Rules with a time: for a leg, or for the parent of one that rings.
RING = ring_limit_rule(seconds(40), cancel=Cancel())
LONG = max_duration_rules(seconds(3600))
PARENT = Rule(
    name="rings-in-vain",
    when=When(statuses=frozenset({"ringing"}), leg="child", lasting=seconds(30)),
    then=Hangup(),
    on=On.PARENT,
)
STEPS = [timedelta(hours=2), timedelta(seconds=45), -timedelta(hours=2), -timedelta(seconds=45)]

stepped = pytest.mark.parametrize("step", STEPS, ids=str)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[TurnedStage]:
    with a_turned_stage(tmp_path, TurnedStage) as stage:
        yield stage


def dial(stage: TurnedStage, who: str) -> str:
    """Place a call whose document rings another leg; return the parent."""
    return stage.place(twiml=f"<Response><Dial timeout='3600'>{stage.noun('Sip', who)}</Dial>{PAUSE}</Response>")


def answered(stage: TurnedStage) -> str:
    sid = stage.place()
    stage.until(lambda: stage.status(sid) == "in-progress")
    return sid


def ended(stage: TurnedStage) -> set[str]:
    return {event.call_sid for event in stage.events if event.result == DONE}


@stepped
def test_a_clock_that_is_set_ends_no_young_call(stage: TurnedStage, step: timedelta) -> None:
    stage.act(RING, PARENT, *LONG)
    talks, rings = answered(stage), stage.place(NEVER)
    parent = dial(stage, "sip:no-answer@example.com")
    stage.settle(4)
    stage.step_of_clock = step
    stage.settle(10)
    assert stage.events == []
    assert [stage.client.fetch(sid).status for sid in (talks, rings, parent)] == [
        "in-progress",
        "ringing",
        "in-progress",
    ]


@stepped
def test_a_rule_acts_in_its_time_all_the_same(stage: TurnedStage, step: timedelta) -> None:
    stage.act(RING, PARENT)
    rings = stage.place(NEVER)
    parent = dial(stage, "sip:no-answer@example.com")
    stage.settle(4)
    stage.step_of_clock = step
    stage.settle(45)
    assert stage.client.fetch(rings).status == "canceled"
    assert {rings, parent} <= ended(stage)


@stepped
def test_a_long_talk_is_ended_in_its_time_all_the_same(stage: TurnedStage, step: timedelta) -> None:
    stage.act(*max_duration_rules(seconds(60)))
    sid = answered(stage)
    stage.step_of_clock = step
    stage.settle(25)
    assert stage.events == []
    stage.settle(50)
    assert stage.client.fetch(sid).status == "completed"


@stepped
def test_the_parent_of_a_leg_is_given_its_time_to_settle(stage: TurnedStage, step: timedelta) -> None:
    stage.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    stage.act(after_dial_rule(Redirect("survey", f"{stage.site.url}/survey"), settle=seconds(20)))
    parent = dial(stage, "sip:hangs-up@example.com")
    stage.until(lambda: any(leg.is_final for leg in stage.legs_under(parent)))
    stage.step_of_clock = step
    stage.settle(15)
    assert stage.sent("Url", f"{stage.site.url}/survey") == []
    stage.settle(10)
    assert stage.sent("Url", f"{stage.site.url}/survey") == [parent]


@pytest.mark.parametrize("ahead", [timedelta(hours=2), -timedelta(hours=2)], ids=str)
def test_what_the_store_knew_counts_once_rest_agrees(stage: TurnedStage, ahead: timedelta) -> None:
    """The clock was set while no watch ran: all that the store knows seems to be hours older, or yet to come."""
    talks, rings = answered(stage), stage.place(NEVER)
    stage.until(lambda: stage.status(rings) == "ringing")
    stage.settle(4)
    stage.step_of_clock = ahead
    stage.clock = stage.make_clock()
    stage.act(RING, *max_duration_rules(seconds(120)))
    stage.settle(20)
    assert stage.events == []
    assert [stage.client.fetch(sid).status for sid in (talks, rings)] == ["in-progress", "ringing"]
    other = stage.place()  # from its callbacks on, it is known how wrong the clock is
    stage.settle(25)
    assert stage.client.fetch(rings).status == "canceled"
    stage.settle(130)
    assert [stage.client.fetch(sid).status for sid in (talks, other)] == ["completed", "completed"]


def test_a_call_that_rang_for_long_before_its_answer_is_given_all_its_time(stage: TurnedStage) -> None:
    """REST tells when a call began to be dialled, a Timestamp when it was answered."""
    sid = stage.place("+12025550101")  # answers after 20 s
    stage.until(lambda: stage.status(sid) == "in-progress")
    stage.step_of_clock = timedelta(hours=2)
    stage.clock = stage.make_clock()
    hangup = Rule(name="short", when=When(statuses=TALKING.statuses, lasting=seconds(15)), then=Hangup())
    stage.act(hangup)
    stage.settle(10)
    assert stage.events == []
    stage.settle(10)
    assert stage.client.fetch(sid).status == "completed"


@stepped
def test_the_rate_limit_counts_actions_of_a_minute_that_has_really_gone_by(stage: TurnedStage, step: timedelta) -> None:
    stage.act(Rule(name="end-all", when=TALKING, then=Hangup()), rate_limit=RateLimit(per_minute=2))
    sids = [stage.place() for _ in range(2)]
    stage.until(lambda: ended(stage) == set(sids))
    stage.step_of_clock = step
    third = stage.place()
    stage.until(lambda: bool(stage.notes))
    assert stage.notes[0].startswith("the rules have stopped: 2 actions in a minute")
    assert stage.client.fetch(third).status == "in-progress"


@stepped
def test_a_claim_is_taken_over_when_its_lease_is_really_over(stage: TurnedStage, step: timedelta) -> None:
    rule = Rule(name="end-all", when=TALKING, then=Hangup())
    sid = answered(stage)
    stage.act(rule)
    claim = OpenClaim(rule.name, sid, sid, "hangup")
    now = stage.clock.wall()
    assert stage.claims.claim(claim, now=now, until=now + timedelta(seconds=90))
    stage.step_of_clock = step
    stage.settle(70)
    assert stage.events == []
    assert stage.client.fetch(sid).status == "in-progress"
    stage.settle(60)
    assert [event.result for event in stage.events] == [DONE]
    assert stage.client.fetch(sid).status == "completed"


def test_a_claim_whose_lease_is_over_at_the_start_is_taken_over_at_once(stage: TurnedStage) -> None:
    rule = Rule(name="end-all", when=TALKING, then=Hangup())
    sid = answered(stage)
    now = stage.clock.wall()
    assert stage.claims.claim(OpenClaim(rule.name, sid, sid, "hangup"), now=now, until=now - timedelta(seconds=1))
    stage.act(rule)
    stage.settle(20)
    assert stage.client.fetch(sid).status == "completed"


def test_a_claim_whose_lease_seems_to_end_in_hours_is_taken_over_all_the_same(stage: TurnedStage) -> None:
    """The clock was set back while no watch ran."""
    rule = Rule(name="end-all", when=TALKING, then=Hangup())
    sid = answered(stage)
    later = stage.clock.wall() + timedelta(hours=2)
    assert stage.claims.claim(OpenClaim(rule.name, sid, sid, "hangup"), now=later, until=later)
    stage.act(rule)
    stage.settle(70)
    assert stage.client.fetch(sid).status == "in-progress"
    stage.settle(60)
    assert stage.client.fetch(sid).status == "completed"


@pytest.mark.parametrize("step", STEPS[:2], ids=str)
def test_a_command_that_changes_a_call_just_now_is_left_its_time(
    stage: TurnedStage, step: timedelta, tmp_path: Path
) -> None:
    stage.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    stage.act(after_dial_rule(Redirect("survey", f"{stage.site.url}/survey"), settle=seconds(5)))
    parent = dial(stage, "sip:hangs-up@example.com")
    stage.until(lambda: any(leg.is_final for leg in stage.legs_under(parent)))
    store = EventStore.open_for_watch(tmp_path / "events.db", world=WORLD)
    store.add_intents([parent], until=stage.clock.wall() + timedelta(seconds=60))
    stage.step_of_clock = step
    stage.settle(30)
    assert stage.sent("Url", f"{stage.site.url}/survey") == []
    store.record_actions([ActionEvent(stage.clock.wall(), parent, "hangup", (), "hung up")])
    store.close()
