"""Rules of a file at work: on whom they act beside the leg they look at, and for whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from events import WORLD
from rules_setup import ALL_EVENTS, ManualClockSetup, manual_clock_setup

from callctl.api.requests import PlaceRequest
from callctl.calls.action import DONE
from callctl.calls.event import CallEvent
from callctl.rules.file import load
from callctl.rules.rule import Cancel
from callctl.settings import NamedUrl

PAUSE = "<Pause length='36000'/>"
PERSON, MACHINE = "+12025550100", "+12025550106"


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[ManualClockSetup]:
    with manual_clock_setup(tmp_path, ManualClockSetup) as setup:
        yield setup


def act(setup: ManualClockSetup, text: str) -> None:
    """Set the rules of a file to work; a name in it is that of a document of the site."""
    path = setup.home / "rules.toml"
    path.write_text(text)
    setup.act(*load(path, resolve=lambda name: NamedUrl(f"{setup.site.url}/{name}", None), cancel=Cancel()))


def dial(setup: ManualClockSetup, *addresses: str) -> str:
    """Place a call that rings some SIP addresses at once, and goes on when they are gone."""
    nouns = "".join(setup.noun("Sip", address) for address in addresses)
    return setup.place(twiml=f"<Response><Dial timeout='60'>{nouns}</Dial>{PAUSE}</Response>")


def done(setup: ManualClockSetup) -> set[tuple[str, str | None, str, str | None]]:
    """Return what was done: to which leg, because of which other one, and what came of it."""
    return {(event.call_sid, event.about, event.action, event.result) for event in setup.events}


def test_each_child_that_lives_is_acted_on_and_its_parent_is_not(setup: ManualClockSetup) -> None:
    act(setup, '[rule.free]\nwhen = "in-progress"\nfor = "10s"\nleg = "parent"\nthen = "hangup"\non = "children"')
    parent = dial(setup, "sip:no-answer@example.com", "sip:no-answer@example.org", "sip:busy@example.com")
    without = setup.place()
    setup.until(lambda: len(setup.events) == 2)
    setup.settle(10)
    ringing = [leg.call_sid for leg in setup.legs_under(parent) if leg.to != "sip:busy@example.com"]
    assert len(ringing) == 2
    assert done(setup) == {(child, parent, "hangup", DONE) for child in ringing}
    assert sorted(setup.sent("Status", "completed")) == sorted(ringing)
    assert (setup.status(parent), setup.status(without)) == ("in-progress", "in-progress")


def test_the_parent_of_a_leg_that_rings_too_long_is_redirected(setup: ManualClockSetup) -> None:
    setup.site.documents["/sorry"] = f"<Response>{PAUSE}</Response>"
    act(setup, '[rule.sorry]\nwhen = "ringing"\nfor = "5s"\nleg = "child"\nthen.redirect = "sorry"\non = "parent"')
    parent, answered = dial(setup, "sip:no-answer@example.com"), dial(setup, "sip:answers@example.com")
    setup.until(lambda: bool(setup.events))
    setup.settle(10)
    assert done(setup) == {(parent, setup.only_child(parent), "redirect", DONE)}
    assert setup.sent("Url", f"{setup.site.url}/sorry") == [parent]
    assert setup.status(setup.only_child(answered)) == "in-progress"


def test_the_parent_of_a_leg_that_nobody_took_is_hung_up(setup: ManualClockSetup) -> None:
    act(setup, '[rule.nobody]\nwhen = ["busy", "no-answer"]\nleg = "child"\nthen = "hangup"\non = "parent"')
    parent, answered = dial(setup, "sip:busy@example.com"), dial(setup, "sip:hangs-up@example.com")
    setup.until(lambda: setup.status(parent) == "completed")
    setup.until(lambda: all(leg.is_final for leg in setup.legs_under(answered)))
    setup.settle(5)
    assert done(setup) == {(parent, setup.only_child(parent), "hangup", DONE)}
    assert setup.status(answered) == "in-progress"


def test_who_answered_counts_once_it_is_reported(setup: ManualClockSetup) -> None:
    act(setup, '[rule.no-machines]\nwhen = "answered"\nanswered_by = ["machine_start", "fax"]\nthen = "hangup"')
    machine, person = (
        setup.client.place(
            PlaceRequest(
                to=to,
                from_="+15005550006",
                twiml=f"<Response>{PAUSE}</Response>",
                status_callback=f"{setup.site.url}/status",
                status_callback_events=tuple(ALL_EVENTS.split()),
                machine_detection="Enable",
            )
        ).sid
        for to in (MACHINE, PERSON)
    )
    setup.until(lambda: all(setup.client.fetch(sid).answered_by for sid in (machine, person)))
    assert setup.events == []  # callbacks report it with the end alone
    setup.poll(machine)
    setup.poll(person)
    setup.until(lambda: setup.status(machine) == "completed")
    setup.settle(5)
    assert done(setup) == {(machine, None, "hangup", DONE)}
    assert setup.status(person) == "in-progress"


def test_the_callback_of_a_machine_detection_reports_who_answered(setup: ManualClockSetup) -> None:
    act(setup, '[rule.no-machines]\nwhen = "answered"\nanswered_by = "machine_start"\nthen = "hangup"')
    machine, person = (setup.place() for _ in range(2))
    setup.until(
        lambda: all(
            (leg := setup.board.snapshot().leg(sid)) and leg.status == "in-progress" for sid in (machine, person)
        )
    )
    for sid, who in ((machine, "machine_start"), (person, "human")):
        form = {"CallSid": sid, "AnsweredBy": who, "MachineDetectionDuration": "3400"}
        event = CallEvent.from_form(form.items(), received_at=setup.clock.wall(), world=WORLD, verified=True)
        setup.take([event, event])
    setup.until(lambda: setup.status(machine) == "completed")
    setup.settle(5)
    assert done(setup) == {(machine, None, "hangup", DONE)}
    assert setup.status(person) == "in-progress"
