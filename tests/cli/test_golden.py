"""Each command's output to the letter, on both streams: on a terminal, on a pipe, without colour, and as JSON.

``CALLCTL_WRITE_GOLDEN=1 pytest tests/cli/test_golden.py`` writes the files anew; look at what has changed in them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from cli.still import NOON, Still
from cli.telling import store_of, tell
from running import Outcome

from callctl.actions import ActionEvent

GOLDEN = Path(__file__).parent / "golden"
ANSWERS, BUSY, RINGS = "+12025550100", "+12025550102", "+12025550103"
TWIML = '<Response><Dial><Sip username="ann" password="fake-secret">sip:ann@example.com</Sip></Dial></Response>'
LOOKS = re.compile("␛\\[[0-9;]*m")
SILENT = ("--status-callback", "none")


@dataclass
class Stage:
    """A world at noon in which nothing moves, the command line in one form, and names for the SIDs in it."""

    still: Still
    home: Path
    form: str
    sids: list[str] = field(default_factory=list)

    def __call__(self, *args: str, stdin: str = "") -> Outcome:
        more = ["--json"] if self.form == "json" else []
        return self.still(
            *args,
            *more,
            terminal=self.form in ("terminal", "no-color"),
            columns=80,
            stdin=stdin,
            now=lambda: self.still.calendar.now,
            env={"NO_COLOR": "1"} if self.form == "no-color" else {},
        )

    def call(self, to: str = ANSWERS, *what: str, after: float = 0.0) -> str:
        """Place a call, let simulated seconds pass, and remember its SID."""
        sid = self.still.place(to, *what)
        self.still.simulator.advance(after)
        self.sids.append(sid)
        return sid

    def dialled(self) -> tuple[str, str]:
        """Place a call that talks to a SIP phone; return the SIDs of parent and child."""
        parent = self.call(ANSWERS, "--dial", "sip:agent@example.com", after=5)
        child = self.still.sids("--parent", parent)[0]
        self.sids.append(child)
        return parent, child

    def tell(self, sid: str, status: str, *, seconds: int, **fields: str) -> None:
        """Put a callback's event into the local store, as a watch would."""
        with store_of(self.home, self.still.simulator) as store:
            tell(store, sid, status, at=NOON + timedelta(seconds=seconds), **fields)

    def told(self, outcome: Outcome) -> str:
        """Return what was written and said, without what is another with each run."""
        err = "".join(
            line for line in outcome.err.splitlines(keepends=True) if not line.startswith("callctl: the API is")
        )
        text = f"{outcome.out}--- stderr, exit code {outcome.code}\n{err}".replace("\x1b", "␛")
        for number, sid in enumerate(self.sids, 1):
            text = text.replace(sid, f"CA{number:032}")
        # What is left is the SID of the call that the command itself placed.
        text = re.sub(r"\bCA(?!0{20})[0-9a-f]{32}\b", f"CA{99:032}", text)
        # Of a resource's dozen addresses the commands use none.
        text = re.sub(r'"subresource_uris": \{[^}]*\}', '"subresource_uris": {}', text)
        text = re.sub(r'"seconds": [0-9.]+', '"seconds": 0.0', re.sub(r"\bRQ[0-9a-f]{32}\b", "RQ" + "0" * 32, text))
        return text.replace(self.still.simulator.url, "http://127.0.0.1:9876")


def place(stage: Stage) -> Outcome:
    return stage("place", RINGS, "--say", "Hello", *SILENT)


def place_dry_run(stage: Stage) -> Outcome:
    return stage("place", RINGS, "--twiml", TWIML, "--timeout", "20s", *SILENT, "--dry-run")


def place_and_wait(stage: Stage) -> Outcome:
    return stage("place", RINGS, "--say", "Hello", *SILENT, "--wait", "ended", "--wait-timeout", "0s")


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
        store.record_action(asked)
    return stage("show", parent)


def show_an_error(stage: Stage) -> Outcome:
    sid = stage.call(ANSWERS, "--url", f"{stage.still.simulator.url}/nowhere", after=20)
    return stage("show", sid)


def redirect(stage: Stage) -> Outcome:
    parent, _ = stage.dialled()
    return stage("redirect", parent, "--say", "Goodbye")


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
    return stage("wait", stage.call(RINGS, after=3), "--for", "answered", "--timeout", "0s")


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
FORMS = ("terminal", "no-color", "pipe", "json")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__.rstrip("_"))
def test_to_the_letter(still: Still, home: Path, command: Callable[[Stage], Outcome], form: str) -> None:
    stage = Stage(still, home, form)
    told = stage.told(command(stage))
    golden = GOLDEN / f"{command.__name__.rstrip('_')}.{form}.txt"
    if os.environ.get("CALLCTL_WRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(told)
    assert told == golden.read_text()


@pytest.mark.parametrize("file", sorted(GOLDEN.iterdir()), ids=lambda file: file.name)
def test_what_holds_for_all_of_them(file: Path) -> None:
    command, form, _ = file.name.split(".")
    assert command in [one.__name__.rstrip("_") for one in COMMANDS]
    text = file.read_text()
    out, _, err = text.partition("--- stderr")
    assert "fake-secret" not in text
    assert "␛" not in err
    if form in ("pipe", "json"):
        assert "␛" not in out
    if form == "no-color":
        assert re.search("␛\\[(?![012]?m)", out) is None  # bold and dim are no colours
        coloured = file.with_name(f"{command}.terminal.txt").read_text()
        assert LOOKS.sub("", text) == LOOKS.sub("", coloured)
