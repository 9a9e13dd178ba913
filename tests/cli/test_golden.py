"""Each command's output to the letter, on both streams: on a terminal, on a pipe, without colour, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cli.letter import ANSWERS, BUSY, FORMS, GOLDEN, RINGS, Stage, hold_to_the_letter
from cli.still import NOON, Still
from cli.stored import store_of
from running import Outcome

from callctl.calls.action import ActionEvent

TWIML = '<Response><Dial><Sip username="ann" password="fake-secret">sip:ann@example.com</Sip></Dial></Response>'
LOOKS = re.compile("␛\\[[0-9;]*m")
SILENT = ("--status-callback", "none")


def place(stage: Stage) -> Outcome:
    return stage("place", RINGS, "--say", "Hello", *SILENT)


def place_dry_run(stage: Stage) -> Outcome:
    return stage("place", RINGS, "--twiml", TWIML, "--ring-timeout", "20s", *SILENT, "--dry-run")


def place_and_wait(stage: Stage) -> Outcome:
    return stage("place", RINGS, "--say", "Hello", *SILENT, "--wait-for", "ended", "--wait-timeout", "0s")


def place_refused(stage: Stage) -> Outcome:
    return stage("place", RINGS, "--say", "Hello", *SILENT, "--from", "+15005550001")


def many_calls(stage: Stage) -> None:
    """One call of each kind: the busy one an hour older, the queued one placed last."""
    stage.call(BUSY, after=5)
    stage.still.later(hours=1)
    parent = stage.call(ANSWERS, "--dial", "client:no-answer", "--dial", "sip:agent@example.com", after=5)
    stage.sids += stage.still.sids("--parent", parent)
    stage.call(RINGS, after=1)
    stage.call(ANSWERS)


def list_(stage: Stage) -> Outcome:
    many_calls(stage)
    return stage("list", "--limit", "5")


def list_tree(stage: Stage) -> Outcome:
    many_calls(stage)
    return stage("list", "--tree")


def list_empty(stage: Stage) -> Outcome:
    return stage("list", "--live")


def show(stage: Stage) -> Outcome:
    parent, child = stage.dialled()
    stage.tell(parent, "ringing", seconds=1)
    stage.tell(parent, "in-progress", seconds=3, AnsweredBy="human")
    stage.tell(child, "ringing", seconds=4, ParentCallSid=parent, To="sip:agent@example.com")
    stage.tell(child, "busy", seconds=9, ParentCallSid=parent, To="sip:agent@example.com", SipResponseCode="486")
    asked = ActionEvent(NOON + timedelta(seconds=7), parent, "redirect", (("Url", "https://example.com"),), "to survey")
    with store_of(stage.home, stage.still.simulator) as store:
        store.record_actions([asked])
    return stage("show", parent)


def show_an_error(stage: Stage) -> Outcome:
    sid = stage.call(ANSWERS, "--url", f"{stage.still.simulator.url}/nowhere", after=20)
    return stage("show", sid)


def redirect(stage: Stage) -> Outcome:
    parent, _ = stage.dialled()
    return stage("redirect", parent, "--say", "Goodbye")


def redirect_dry_run(stage: Stage) -> Outcome:
    parent, _ = stage.dialled()
    return stage("redirect", parent, "--twiml", TWIML, "--dry-run")


def redirect_refused(stage: Stage) -> Outcome:
    sid = stage.call(RINGS, after=3)
    stage.tell(sid, "ringing", seconds=1)
    stage.still.later(seconds=32)
    return stage("redirect", sid, "--say", "Goodbye")


def redirect_unknown(stage: Stage) -> Outcome:
    return stage("redirect", "CA" + "0" * 32, "--say", "Goodbye")


def hangup(stage: Stage) -> Outcome:
    sid = stage.call(RINGS, after=3)
    stage.tell(sid, "ringing", seconds=1)
    stage.still.later(seconds=32)
    return stage("hangup", sid)


def hangup_child(stage: Stage) -> Outcome:
    _, child = stage.dialled()
    return stage("hangup", child)


def hangup_only_ringing(stage: Stage) -> Outcome:
    return stage("hangup", stage.call(ANSWERS, after=5), "--only-ringing")


def hangup_several(stage: Stage) -> Outcome:
    calls = [stage.call(RINGS), stage.call(BUSY, after=5)]
    return stage("hangup", *calls, "CA" + "0" * 32, "--parallel", "1")


def hangup_all_dry_run(stage: Stage) -> Outcome:
    many_calls(stage)
    return stage("hangup", "--all", "--dry-run")


def wait(stage: Stage) -> Outcome:
    return stage("wait", stage.call(BUSY, after=5), "--for", "ended")


def wait_in_vain(stage: Stage) -> Outcome:
    return stage("wait", stage.call(RINGS, after=3), "--for", "answered", "--wait-timeout", "0s")


COMMANDS: list[Callable[[Stage], Outcome]] = [
    place,
    place_dry_run,
    place_and_wait,
    place_refused,
    list_,
    list_tree,
    list_empty,
    show,
    show_an_error,
    redirect,
    redirect_dry_run,
    redirect_refused,
    redirect_unknown,
    hangup,
    hangup_child,
    hangup_only_ringing,
    hangup_several,
    hangup_all_dry_run,
    wait,
    wait_in_vain,
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__.rstrip("_"))
def test_to_the_letter(still: Still, home: Path, command: Callable[[Stage], Outcome], form: str) -> None:
    stage = Stage(still, home, form)
    told = stage.told(command(stage))
    hold_to_the_letter(told, name=command.__name__.rstrip("_"), form=form)


@pytest.mark.parametrize("file", sorted(GOLDEN.iterdir()), ids=lambda file: file.name)
def test_what_holds_for_all_of_them(file: Path) -> None:
    command, form, _ = file.name.split(".")
    assert command in ["watch", "watch_wide", *(one.__name__.rstrip("_") for one in COMMANDS)]
    text = file.read_text()
    out, _, err = text.partition("--- stderr")
    assert "fake-secret" not in text
    assert "␛" not in err
    if form in ("pipe", "json"):
        assert "␛" not in out
    if form == "no-color":
        assert re.search("␛\\[(?!([0127]|1;7)?m)", out) is None  # bold, dim and reverse are no colours
        coloured = file.with_name(f"{command}.terminal.txt").read_text()
        assert LOOKS.sub("", text) == LOOKS.sub("", coloured)
