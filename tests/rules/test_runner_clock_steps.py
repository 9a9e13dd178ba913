"""This machine's clock is set while calls are young: no rule takes them for old ones, and none stops for that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from engine_run import seconds
from events import WORLD
from rules_setup import ManualClockSetup, manual_clock_setup

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
from callctl.store.sqlite.store import SqliteStore

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
def setup(tmp_path: Path) -> Iterator[ManualClockSetup]:
    with manual_clock_setup(tmp_path, ManualClockSetup) as setup:
        yield setup


def dial(setup: ManualClockSetup, who: str) -> str:
    """Place a call whose document rings another leg; return the parent."""
    return setup.place(twiml=f"<Response><Dial timeout='3600'>{setup.noun('Sip', who)}</Dial>{PAUSE}</Response>")


def answered(setup: ManualClockSetup) -> str:
    sid = setup.place()
    setup.until(lambda: setup.status(sid) == "in-progress")
    return sid


def ended(setup: ManualClockSetup) -> set[str]:
    return {event.call_sid for event in setup.events if event.result == DONE}


@stepped
def test_a_clock_that_is_set_ends_no_young_call(setup: ManualClockSetup, step: timedelta) -> None:
    setup.act(RING, PARENT, *LONG)
    talks, rings = answered(setup), setup.place(NEVER)
    parent = dial(setup, "sip:no-answer@example.com")
    setup.settle(4)
    setup.clock_step = step
    setup.settle(10)
    assert setup.events == []
    assert [setup.client.fetch(sid).status for sid in (talks, rings, parent)] == [
        "in-progress",
        "ringing",
        "in-progress",
    ]


@stepped
def test_a_rule_acts_in_its_time_all_the_same(setup: ManualClockSetup, step: timedelta) -> None:
    setup.act(RING, PARENT)
    rings = setup.place(NEVER)
    parent = dial(setup, "sip:no-answer@example.com")
    setup.settle(4)
    setup.clock_step = step
    setup.settle(45)
    assert setup.client.fetch(rings).status == "canceled"
    assert {rings, parent} <= ended(setup)


@stepped
def test_a_long_talk_is_ended_in_its_time_all_the_same(setup: ManualClockSetup, step: timedelta) -> None:
    setup.act(*max_duration_rules(seconds(60)))
    sid = answered(setup)
    setup.clock_step = step
    setup.settle(25)
    assert setup.events == []
    setup.settle(50)
    assert setup.client.fetch(sid).status == "completed"


@stepped
def test_the_parent_of_a_leg_is_given_its_time_to_settle(setup: ManualClockSetup, step: timedelta) -> None:
    setup.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    setup.act(after_dial_rule(Redirect("survey", f"{setup.site.url}/survey"), settle=seconds(20)))
    parent = dial(setup, "sip:hangs-up@example.com")
    setup.until(lambda: any(leg.is_final for leg in setup.legs_under(parent)))
    setup.clock_step = step
    setup.settle(15)
    assert setup.sent("Url", f"{setup.site.url}/survey") == []
    setup.settle(10)
    assert setup.sent("Url", f"{setup.site.url}/survey") == [parent]


@pytest.mark.parametrize("ahead", [timedelta(hours=2), -timedelta(hours=2)], ids=str)
def test_what_the_store_knew_counts_once_rest_agrees(setup: ManualClockSetup, ahead: timedelta) -> None:
    """The clock was set while no watch ran: all that the store knows seems to be hours older, or yet to come."""
    talks, rings = answered(setup), setup.place(NEVER)
    setup.until(lambda: setup.status(rings) == "ringing")
    setup.settle(4)
    setup.clock_step = ahead
    setup.clock = setup.make_clock()
    setup.act(RING, *max_duration_rules(seconds(120)))
    setup.settle(20)
    assert setup.events == []
    assert [setup.client.fetch(sid).status for sid in (talks, rings)] == ["in-progress", "ringing"]
    other = setup.place()  # from its callbacks on, it is known how wrong the clock is
    setup.settle(25)
    assert setup.client.fetch(rings).status == "canceled"
    setup.settle(130)
    assert [setup.client.fetch(sid).status for sid in (talks, other)] == ["completed", "completed"]


@pytest.mark.parametrize("hours", [5, -3])
@pytest.mark.parametrize("settle", [0, 2])
def test_news_is_news_though_this_machines_clock_was_never_right(
    setup: ManualClockSetup, hours: int, settle: int
) -> None:
    setup.clock_step = timedelta(hours=hours)
    setup.clock = setup.make_clock()
    setup.act(Rule(name="at-once", when=TALKING, then=Hangup(), settle=seconds(settle)))
    calls = [setup.place() for _ in range(3)]
    setup.settle(10)
    assert [setup.client.fetch(sid).status for sid in calls] == ["completed"] * 3


@pytest.mark.parametrize("wrong", [5.0 * 3600, -3.0 * 3600, 4.0, -4.0])
def test_a_leg_is_given_its_time_though_this_machines_clock_was_never_right(
    setup: ManualClockSetup, wrong: float
) -> None:
    setup.clock_step = seconds(wrong)
    setup.clock = setup.make_clock()
    setup.act(Rule(name="short", when=TALKING, then=Hangup()), RING)
    first = setup.place(NEVER)
    setup.until(lambda: setup.status(first) == "ringing")
    setup.settle(39)
    assert setup.client.fetch(first).status == "ringing"
    setup.settle(4)
    assert setup.client.fetch(first).status == "canceled"


def survey_after(setup: ManualClockSetup, *, seconds_later: float) -> list[str]:
    """Let a Dial's leg end, then start a watch by whose clock that was three seconds ago; return who is redirected."""
    setup.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    parent = dial(setup, "sip:hangs-up@example.com")
    setup.until(lambda: any(leg.is_final for leg in setup.legs_under(parent)))
    setup.settle(seconds_later)
    setup.clock_step = -seconds(seconds_later - 3)
    setup.clock = setup.make_clock()
    survey = Redirect("survey", f"{setup.site.url}/survey")
    setup.act(after_dial_rule(survey), Rule(name="at-once", when=TALKING, then=survey))
    setup.settle(20)
    return setup.sent("Url", survey.url)


def test_after_a_start_with_a_clock_that_is_behind_no_rule_acts_on_old_news(setup: ManualClockSetup) -> None:
    assert survey_after(setup, seconds_later=600) == []
    assert {event.rule for event in setup.events} == {"after-dial", "at-once"}
    assert all(event.outcome.startswith("too old: it happened 60") for event in setup.events)


def test_after_a_start_with_a_right_clock_rules_act_on_fresh_news_of_the_store(setup: ManualClockSetup) -> None:
    assert len(survey_after(setup, seconds_later=3)) == 1


def test_a_call_that_rang_for_long_before_its_answer_is_given_all_its_time(setup: ManualClockSetup) -> None:
    """REST shows when a call began to be dialled, a Timestamp when it was answered."""
    sid = setup.place("+12025550101")  # answers after 20 s
    setup.until(lambda: setup.status(sid) == "in-progress")
    setup.clock_step = timedelta(hours=2)
    setup.clock = setup.make_clock()
    hangup = Rule(name="short", when=When(statuses=TALKING.statuses, lasting=seconds(15)), then=Hangup())
    setup.act(hangup)
    setup.settle(10)
    assert setup.events == []
    setup.settle(10)
    assert setup.client.fetch(sid).status == "completed"


@stepped
def test_the_rate_limit_counts_actions_of_a_minute_that_has_really_gone_by(
    setup: ManualClockSetup, step: timedelta
) -> None:
    setup.act(Rule(name="end-all", when=TALKING, then=Hangup()), rate_limit=RateLimit(per_minute=2))
    sids = [setup.place() for _ in range(2)]
    setup.until(lambda: ended(setup) == set(sids))
    setup.clock_step = step
    third = setup.place()
    setup.until(lambda: bool(setup.notes))
    assert setup.notes[0].startswith("the rules have stopped: 2 actions in a minute")
    assert setup.client.fetch(third).status == "in-progress"


@stepped
def test_a_claim_is_taken_over_when_its_lease_is_really_over(setup: ManualClockSetup, step: timedelta) -> None:
    rule = Rule(name="end-all", when=TALKING, then=Hangup())
    sid = answered(setup)
    setup.act(rule)
    claim = OpenClaim(rule.name, sid, sid, "hangup")
    now = setup.clock.wall()
    assert setup.claims.claim(claim, now=now, until=now + timedelta(seconds=90))
    setup.clock_step = step
    setup.settle(70)
    assert setup.events == []
    assert setup.client.fetch(sid).status == "in-progress"
    setup.settle(60)
    assert [event.result for event in setup.events] == [DONE]
    assert setup.client.fetch(sid).status == "completed"


@pytest.mark.parametrize("wrong", [-timedelta(hours=3), timedelta(hours=5)], ids=str)
def test_the_lease_of_another_watch_that_runs_is_not_over_by_its_wrong_clock(
    setup: ManualClockSetup, wrong: timedelta
) -> None:
    rule = Rule(name="end-all", when=TALKING, then=Hangup())
    setup.act(rule)
    setup.settle(1)
    now = setup.clock.wall() + wrong
    sid = setup.place()
    assert setup.claims.claim(OpenClaim(rule.name, sid, sid, "hangup"), now=now, until=now + timedelta(seconds=90))
    setup.until(lambda: setup.status(sid) == "in-progress")
    setup.settle(80)
    assert setup.client.fetch(sid).status == "in-progress"
    setup.settle(60)
    assert setup.client.fetch(sid).status == "completed"


def test_a_claim_whose_lease_is_over_at_the_start_is_taken_over_at_once(setup: ManualClockSetup) -> None:
    rule = Rule(name="end-all", when=TALKING, then=Hangup())
    sid = answered(setup)
    now = setup.clock.wall()
    assert setup.claims.claim(OpenClaim(rule.name, sid, sid, "hangup"), now=now, until=now - timedelta(seconds=1))
    setup.act(rule)
    setup.settle(20)
    assert setup.client.fetch(sid).status == "completed"


def test_a_claim_whose_lease_seems_to_end_in_hours_is_taken_over_all_the_same(setup: ManualClockSetup) -> None:
    """The clock was set back while no watch ran."""
    rule = Rule(name="end-all", when=TALKING, then=Hangup())
    sid = answered(setup)
    later = setup.clock.wall() + timedelta(hours=2)
    assert setup.claims.claim(OpenClaim(rule.name, sid, sid, "hangup"), now=later, until=later)
    setup.act(rule)
    setup.settle(70)
    assert setup.client.fetch(sid).status == "in-progress"
    setup.settle(60)
    assert setup.client.fetch(sid).status == "completed"


@pytest.mark.parametrize("step", STEPS[:2], ids=str)
def test_a_command_that_changes_a_call_just_now_is_left_its_time(
    setup: ManualClockSetup, step: timedelta, tmp_path: Path
) -> None:
    setup.site.documents["/survey"] = f"<Response>{PAUSE}</Response>"
    setup.act(after_dial_rule(Redirect("survey", f"{setup.site.url}/survey"), settle=seconds(5)))
    parent = dial(setup, "sip:hangs-up@example.com")
    setup.until(lambda: any(leg.is_final for leg in setup.legs_under(parent)))
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)
    store.add_intents([parent], now=setup.clock.wall(), until=setup.clock.wall() + timedelta(seconds=60))
    setup.clock_step = step
    setup.settle(30)
    assert setup.sent("Url", f"{setup.site.url}/survey") == []
    store.record_actions([ActionEvent(setup.clock.wall(), parent, "hangup", (), "hung up")])
    store.close()
