"""Rules of a file at work: on whom they act beside the leg they look at, and for whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from staging import ALL_EVENTS
from telling import WORLD
from turning import TurnedStage, a_turned_stage

from callctl.api.requests import PlaceRequest
from callctl.calls.action import DONE
from callctl.calls.event import CallEvent
from callctl.rules.file import load
from callctl.rules.rule import Cancel
from callctl.settings import NamedUrl

PAUSE = "<Pause length='36000'/>"
PERSON, MACHINE = "+12025550100", "+12025550106"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[TurnedStage]:
    with a_turned_stage(tmp_path, TurnedStage) as stage:
        yield stage


def act(stage: TurnedStage, text: str) -> None:
    """Set the rules of a file to work; a name in it is that of a document of the site."""
    path = stage.home / "rules.toml"
    path.write_text(text)
    stage.act(*load(path, resolve=lambda name: NamedUrl(f"{stage.site.url}/{name}", None), cancel=Cancel()))


def dial(stage: TurnedStage, *addresses: str) -> str:
    """Place a call that rings some SIP addresses at once, and goes on when they are gone."""
    nouns = "".join(stage.noun("Sip", address) for address in addresses)
    return stage.place(twiml=f"<Response><Dial timeout='60'>{nouns}</Dial>{PAUSE}</Response>")


def done(stage: TurnedStage) -> set[tuple[str, str | None, str, str | None]]:
    """Return what was done: to which leg, because of which other one, and what came of it."""
    return {(event.call_sid, event.about, event.action, event.result) for event in stage.events}


def test_each_child_that_lives_is_acted_on_and_its_parent_is_not(stage: TurnedStage) -> None:
    act(stage, '[rule.free]\nwhen = "in-progress"\nfor = "10s"\nleg = "parent"\nthen = "hangup"\non = "children"')
    parent = dial(stage, "sip:no-answer@example.com", "sip:no-answer@example.org", "sip:busy@example.com")
    without = stage.place()
    stage.until(lambda: len(stage.events) == 2)
    stage.settle(10)
    ringing = [leg.call_sid for leg in stage.legs_under(parent) if leg.to != "sip:busy@example.com"]
    assert len(ringing) == 2
    assert done(stage) == {(child, parent, "hangup", DONE) for child in ringing}
    assert sorted(stage.sent("Status", "completed")) == sorted(ringing)
    assert (stage.status(parent), stage.status(without)) == ("in-progress", "in-progress")


def test_the_parent_of_a_leg_that_rings_too_long_is_redirected(stage: TurnedStage) -> None:
    stage.site.documents["/sorry"] = f"<Response>{PAUSE}</Response>"
    act(stage, '[rule.sorry]\nwhen = "ringing"\nfor = "5s"\nleg = "child"\nthen.redirect = "sorry"\non = "parent"')
    parent, answered = dial(stage, "sip:no-answer@example.com"), dial(stage, "sip:answers@example.com")
    stage.until(lambda: bool(stage.events))
    stage.settle(10)
    assert done(stage) == {(parent, stage.only_child(parent), "redirect", DONE)}
    assert stage.sent("Url", f"{stage.site.url}/sorry") == [parent]
    assert stage.status(stage.only_child(answered)) == "in-progress"


def test_the_parent_of_a_leg_that_nobody_took_is_hung_up(stage: TurnedStage) -> None:
    act(stage, '[rule.nobody]\nwhen = ["busy", "no-answer"]\nleg = "child"\nthen = "hangup"\non = "parent"')
    parent, answered = dial(stage, "sip:busy@example.com"), dial(stage, "sip:hangs-up@example.com")
    stage.until(lambda: stage.status(parent) == "completed")
    stage.until(lambda: all(leg.is_final for leg in stage.legs_under(answered)))
    stage.settle(5)
    assert done(stage) == {(parent, stage.only_child(parent), "hangup", DONE)}
    assert stage.status(answered) == "in-progress"


def test_who_answered_counts_once_it_is_told(stage: TurnedStage) -> None:
    act(stage, '[rule.no-machines]\nwhen = "answered"\nanswered_by = ["machine_start", "fax"]\nthen = "hangup"')
    machine, person = (
        stage.client.place(
            PlaceRequest(
                to=to,
                from_="+15005550006",
                twiml=f"<Response>{PAUSE}</Response>",
                status_callback=f"{stage.site.url}/status",
                status_callback_events=tuple(ALL_EVENTS.split()),
                machine_detection="Enable",
            )
        ).sid
        for to in (MACHINE, PERSON)
    )
    stage.until(lambda: all(stage.client.fetch(sid).answered_by for sid in (machine, person)))
    assert stage.events == []  # callbacks tell it with the end alone
    stage.poll(machine)
    stage.poll(person)
    stage.until(lambda: stage.status(machine) == "completed")
    stage.settle(5)
    assert done(stage) == {(machine, None, "hangup", DONE)}
    assert stage.status(person) == "in-progress"


def test_the_callback_of_a_machine_detection_tells_who_answered(stage: TurnedStage) -> None:
    act(stage, '[rule.no-machines]\nwhen = "answered"\nanswered_by = "machine_start"\nthen = "hangup"')
    machine, person = (stage.place() for _ in range(2))
    stage.until(
        lambda: all(
            (leg := stage.board.snapshot().leg(sid)) and leg.status == "in-progress" for sid in (machine, person)
        )
    )
    for sid, who in ((machine, "machine_start"), (person, "human")):
        form = {"CallSid": sid, "AnsweredBy": who, "MachineDetectionDuration": "3400"}
        heard = CallEvent.from_form(form.items(), received_at=stage.clock.wall(), world=WORLD, verified=True)
        stage.take([heard, heard])
    stage.until(lambda: stage.status(machine) == "completed")
    stage.settle(5)
    assert done(stage) == {(machine, None, "hangup", DONE)}
    assert stage.status(person) == "in-progress"
