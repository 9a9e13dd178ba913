"""Each command's output to the letter, on both streams: on a terminal, on a pipe, without colour, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cli.frozen import NOON, Frozen
from cli.golden_files import ANSWERS, BUSY, FORMS, GOLDEN, RINGS, GoldenRun, check_golden
from cli.local_store import store_of
from cli.many_calls import fill_store
from running import Outcome

from callctl.calls.action import ActionEvent

TWIML = '<Response><Dial><Sip username="ann" password="fake-secret">sip:ann@example.com</Sip></Dial></Response>'
LOOKS = re.compile("␛\\[[0-9;]*m")
NO_CALLBACKS = ("--status-callback", "none")


def place(golden: GoldenRun) -> Outcome:
    return golden("place", RINGS, "--say", "Hello", *NO_CALLBACKS)


def place_dry_run(golden: GoldenRun) -> Outcome:
    return golden("place", RINGS, "--twiml", TWIML, "--ring-timeout", "20s", *NO_CALLBACKS, "--dry-run")


def place_and_wait(golden: GoldenRun) -> Outcome:
    return golden("place", RINGS, "--say", "Hello", *NO_CALLBACKS, "--wait-for", "ended", "--wait-timeout", "0s")


def place_refused(golden: GoldenRun) -> Outcome:
    return golden("place", RINGS, "--say", "Hello", *NO_CALLBACKS, "--from", "+15005550001")


def many_calls(golden: GoldenRun) -> None:
    """One call of each kind: the busy one an hour older, the queued one placed last."""
    golden.call(BUSY, after=5)
    golden.frozen.later(hours=1)
    parent = golden.call(ANSWERS, "--dial", "client:no-answer", "--dial", "sip:agent@example.com", after=5)
    golden.sids += golden.frozen.sids("--parent", parent)
    golden.call(RINGS, after=1)
    golden.call(ANSWERS)


def list_(golden: GoldenRun) -> Outcome:
    many_calls(golden)
    return golden("list", "--limit", "5")


def list_tree(golden: GoldenRun) -> Outcome:
    many_calls(golden)
    return golden("list", "--tree")


def list_columns(golden: GoldenRun) -> Outcome:
    many_calls(golden)
    return golden("list", "--columns", "sid,to", "--columns", "status,end_time,duration,price", "--limit", "5")


def list_masked(golden: GoldenRun) -> Outcome:
    many_calls(golden)
    return golden("list", "--mask-numbers", "--tree")


def list_csv(golden: GoldenRun) -> Outcome:
    many_calls(golden)
    return golden("list", "--csv")


def list_empty(golden: GoldenRun) -> Outcome:
    return golden("list", "--live")


def show(golden: GoldenRun) -> Outcome:
    parent, child = golden.dialled()
    golden.add_callback(parent, "ringing", seconds=1)
    golden.add_callback(parent, "in-progress", seconds=3, AnsweredBy="human")
    golden.add_callback(child, "ringing", seconds=4, ParentCallSid=parent, To="sip:agent@example.com")
    golden.add_callback(
        child, "busy", seconds=9, ParentCallSid=parent, To="sip:agent@example.com", SipResponseCode="486"
    )
    redirect = ActionEvent(
        NOON + timedelta(seconds=7), parent, "redirect", (("Url", "https://example.com"),), "to survey"
    )
    with store_of(golden.home, golden.frozen.simulator) as store:
        store.record_actions([redirect])
    return golden("show", parent)


def show_masked(golden: GoldenRun) -> Outcome:
    parent, child = golden.dialled()
    golden.add_callback(parent, "in-progress", seconds=3, CallerName="Ann Lee", To=ANSWERS)
    golden.add_callback(child, "ringing", seconds=4, ParentCallSid=parent, To="sip:agent@example.com")
    twiml = (("Twiml", f"<Response><Dial>{RINGS}</Dial></Response>"),)
    redirect = ActionEvent(NOON + timedelta(seconds=7), parent, "redirect", twiml, f"to {RINGS}")
    with store_of(golden.home, golden.frozen.simulator) as store:
        store.record_actions([redirect])
    return golden("show", parent, "--mask-numbers")


def show_several(golden: GoldenRun) -> Outcome:
    rings, busy = golden.call(RINGS), golden.call(BUSY, after=5)
    return golden("show", busy, "CA" + "0" * 32, rings)


def show_columns(golden: GoldenRun) -> Outcome:
    parent, child = golden.dialled()
    return golden("show", child, parent, "--columns", "sid,parent_call_sid,to,duration")


def show_csv(golden: GoldenRun) -> Outcome:
    parent, child = golden.dialled()
    return golden("show", "--csv", "-", stdin=f"{child}\n{parent}\tcompleted\n")


def show_an_error(golden: GoldenRun) -> Outcome:
    sid = golden.call(ANSWERS, "--url", f"{golden.frozen.simulator.url}/nowhere", after=20)
    return golden("show", sid)


def redirect(golden: GoldenRun) -> Outcome:
    parent, _ = golden.dialled()
    return golden("redirect", parent, "--say", "Goodbye")


def redirect_dry_run(golden: GoldenRun) -> Outcome:
    parent, _ = golden.dialled()
    return golden("redirect", parent, "--twiml", TWIML, "--dry-run")


def redirect_refused(golden: GoldenRun) -> Outcome:
    sid = golden.call(RINGS, after=3)
    golden.add_callback(sid, "ringing", seconds=1)
    golden.frozen.later(seconds=32)
    return golden("redirect", sid, "--say", "Goodbye")


def redirect_unknown(golden: GoldenRun) -> Outcome:
    return golden("redirect", "CA" + "0" * 32, "--say", "Goodbye")


def hangup(golden: GoldenRun) -> Outcome:
    sid = golden.call(RINGS, after=3)
    golden.add_callback(sid, "ringing", seconds=1)
    golden.frozen.later(seconds=32)
    return golden("hangup", sid)


def hangup_child(golden: GoldenRun) -> Outcome:
    _, child = golden.dialled()
    return golden("hangup", child)


def hangup_only_ringing(golden: GoldenRun) -> Outcome:
    return golden("hangup", golden.call(ANSWERS, after=5), "--only-ringing")


def hangup_several(golden: GoldenRun) -> Outcome:
    calls = [golden.call(RINGS), golden.call(BUSY, after=5)]
    return golden("hangup", *calls, "CA" + "0" * 32, "--parallel", "1")


def hangup_all_dry_run(golden: GoldenRun) -> Outcome:
    many_calls(golden)
    return golden("hangup", "--all", "--dry-run")


def wait(golden: GoldenRun) -> Outcome:
    return golden("wait", golden.call(BUSY, after=5), "--for", "ended")


def wait_in_vain(golden: GoldenRun) -> Outcome:
    return golden("wait", golden.call(RINGS, after=3), "--for", "answered", "--wait-timeout", "0s")


def stats(golden: GoldenRun) -> Outcome:
    fill_store(golden.home, golden.frozen.simulator)
    return golden("stats")


def stats_wide(golden: GoldenRun) -> Outcome:
    golden.columns = 140
    return stats(golden)


def stats_by_to(golden: GoldenRun) -> Outcome:
    fill_store(golden.home, golden.frozen.simulator)
    return golden("stats", "--by", "to", "--top", "2", "--since", "2026-01-05T11:00Z")


def stats_by_hour(golden: GoldenRun) -> Outcome:
    fill_store(golden.home, golden.frozen.simulator)
    return golden("stats", "--by", "hour", "--until", "2026-01-05T15:00Z")


def stats_masked(golden: GoldenRun) -> Outcome:
    fill_store(golden.home, golden.frozen.simulator)
    return golden("stats", "--by", "to", "--mask-numbers")


def stats_empty(golden: GoldenRun) -> Outcome:
    with store_of(golden.home, golden.frozen.simulator):
        return golden("stats")


def stats_csv(golden: GoldenRun) -> Outcome:
    fill_store(golden.home, golden.frozen.simulator)
    return golden("stats", "--csv")


def stats_by_status_csv(golden: GoldenRun) -> Outcome:
    fill_store(golden.home, golden.frozen.simulator)
    return golden("stats", "--csv", "--by", "status")


COMMANDS: list[Callable[[GoldenRun], Outcome]] = [
    place,
    place_dry_run,
    place_and_wait,
    place_refused,
    list_,
    list_tree,
    list_columns,
    list_masked,
    list_empty,
    show,
    show_masked,
    show_several,
    show_columns,
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
    stats,
    stats_wide,
    stats_by_to,
    stats_by_hour,
    stats_masked,
    stats_empty,
]

CSVS: list[Callable[[GoldenRun], Outcome]] = [list_csv, show_csv, stats_csv, stats_by_status_csv]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__.rstrip("_"))
def test_to_the_letter(frozen: Frozen, home: Path, command: Callable[[GoldenRun], Outcome], form: str) -> None:
    golden = GoldenRun(frozen, home, form)
    transcript = golden.transcript(command(golden))
    check_golden(transcript, name=command.__name__.rstrip("_"), form=form)


@pytest.mark.parametrize("command", CSVS, ids=lambda command: command.__name__)
def test_csv_to_the_letter(frozen: Frozen, home: Path, command: Callable[[GoldenRun], Outcome]) -> None:
    golden = GoldenRun(frozen, home, "pipe")
    check_golden(golden.transcript(command(golden)), name=command.__name__, form="pipe")


@pytest.mark.parametrize("file", sorted(GOLDEN.iterdir()), ids=lambda file: file.name)
def test_what_holds_for_all_of_them(file: Path) -> None:
    command, form, _ = file.name.split(".")
    others = ["watch", "watch_wide", "replay", "replay_dry_run"]
    assert command in [*others, *(one.__name__.rstrip("_") for one in [*COMMANDS, *CSVS])]
    text = file.read_text()
    out, _, err = text.partition("--- stderr")
    assert "fake-secret" not in text
    if command.endswith("_masked"):
        assert not re.search('[0-9]555[0-9]|Ann Lee|agent@|no-answer(?! +[0-9])[^"\t]', text)
    assert "␛" not in err
    if form in ("pipe", "json"):
        assert "␛" not in out
    if form == "no-color":
        assert re.search("␛\\[(?!([0127]|1;7)?m)", out) is None  # bold, dim and reverse are no colours
        coloured = file.with_name(f"{command}.terminal.txt").read_text()
        assert LOOKS.sub("", text) == LOOKS.sub("", coloured)
