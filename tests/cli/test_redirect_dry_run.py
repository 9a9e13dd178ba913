"""``redirect --dry-run``: what is shown, and that nothing is sent which would change a call."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cli.setup import ANSWERS, BUSY, NEVER, UNKNOWN, CliSetup, messages

DRY = ("--url", "survey", "--dry-run")
PASSWORD = '<Response><Dial><Sip username="ann" password="fake-secret">sip:ann@example.com</Sip></Dial></Response>'


def actions(setup: CliSetup, sid: str) -> list[object]:
    """Return what the store has of requests for a call."""
    timeline = json.loads(setup.callctl("show", sid, "--json").out)["timeline"]
    return [item for item in timeline if item["type"] == "action"]


def test_the_request_is_shown_and_what_the_other_leg_does(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    placed = setup.sent()
    outcome = setup.callctl("redirect", parent, *DRY)
    url = f"{setup.simulator.url}/2010-04-01/Accounts/{setup.simulator.account_sid}/Calls/{parent}.json"
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        f"POST {url}",
        f"Authorization: Basic {setup.simulator.account_sid}:***",
        "",
        f"Url={setup.survey}",
    ]
    assert messages(outcome).splitlines() == [
        f"callctl: {parent} is the phone that was called, {ANSWERS} (outbound-api)",
        f"callctl: its child leg {child}: talking to client:ann: drops, "
        "and the Dial's action, if it has one, is requested as well",
        "callctl: dry run: nothing was sent",
    ]
    assert setup.sent() == placed
    assert setup.status(parent) == setup.status(child) == "in-progress"
    assert actions(setup, parent) == []


def test_what_is_shown_is_what_is_sent_without_it(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    record = json.loads(setup.callctl("redirect", sid, *DRY, "--method", "GET", "--json").out)
    assert setup.callctl("redirect", sid, *DRY[:-1], "--method", "GET").code == 0
    sent = setup.sent()[-1]
    assert record["url"].endswith(sent.path)
    assert record["form"] == [[name, value] for name, values in sent.form.items() for value in values]


def test_json_is_one_object_with_the_other_legs(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    outcome = setup.callctl("redirect", child, *DRY, "--json")
    record = json.loads(outcome.out)
    assert (record["type"], record["call_sid"], record["status"]) == ("dry-run", child, "in-progress")
    assert [(leg["call_sid"], leg["relation"]) for leg in record["other_legs"]] == [(parent, "parent")]
    assert "dry run" not in outcome.err


def test_the_legs_named_by_on_are_shown(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    assert f"/Calls/{parent}.json" in setup.callctl("redirect", child, *DRY, "--on", "parent").out


def test_a_call_alone_is_said_to_be_alone(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    assert "callctl: it has no other leg\n" in messages(setup.callctl("redirect", sid, *DRY))


def test_passwords_are_masked(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("redirect", sid, "--twiml", PASSWORD, "--dry-run")
    assert 'password="***"' in outcome.out
    assert "fake-secret" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("to", "after", "options", "code", "said", "hint"),
    [
        (NEVER, 2.0, (), 5, "could not be redirected: it is ringing", "--when answered` waits until it can be"),
        (BUSY, 5.0, (), 5, "could not be redirected: it is busy", "it is over"),
        (BUSY, 5.0, ("--when", "answered"), 8, "could not be redirected: it is busy", "it is over"),
        (NEVER, 2.0, ("--when", "answered"), 0, "is ringing: it would be sent once the call is in progress", ""),
    ],
)
def test_what_would_be_refused_ends_as_it_would(
    setup: CliSetup, to: str, after: float, options: tuple[str, ...], code: int, said: str, hint: str
) -> None:
    sid = setup.place(to, after=after)
    placed = setup.sent()
    outcome = setup.callctl("redirect", sid, *DRY, *options)
    assert outcome.code == code
    assert f"/Calls/{sid}.json" in outcome.out
    assert f"{sid} {said}" in messages(outcome)
    assert hint in messages(outcome)
    assert setup.sent() == placed


def test_an_unknown_call_exits_3(setup: CliSetup) -> None:
    outcome = setup.callctl("redirect", UNKNOWN, *DRY)
    assert (outcome.code, outcome.out) == (3, "")


def test_of_several_each_is_shown_and_the_child_first(setup: CliSetup) -> None:
    parent, child = setup.talking()
    ringing = setup.place(NEVER, after=1)
    outcome = setup.callctl("redirect", parent, child, ringing, *DRY)
    shown = [line.rpartition("/")[2] for line in outcome.out.splitlines() if line.startswith("POST ")]
    assert shown == [f"{child}.json", f"{parent}.json", f"{ringing}.json"]
    assert outcome.code == 8
    assert "both legs of a <Dial> are named" in outcome.err
    assert f"1 of 3 calls could not be redirected: {ringing}" in outcome.err


def test_several_as_json_lines(setup: CliSetup) -> None:
    sids = [setup.place(after=4) for _ in range(2)]
    outcome = setup.callctl("redirect", "-", *DRY, "--json", stdin="\n".join(sids))
    assert [json.loads(line)["call_sid"] for line in outcome.out.splitlines()] == sids


def test_the_dry_run_of_a_redirect_believes_callbacks_as_well(lagging: CliSetup) -> None:
    sid = lagging.place(after=5)
    assert lagging.callctl("redirect", sid, "--url", "survey", "--dry-run").code == 5
    lagging.add_callback(sid, "in-progress", at=datetime.now(UTC))
    assert lagging.callctl("redirect", sid, "--url", "survey", "--dry-run").code == 0
    lagging.add_callback(sid, "completed", at=datetime.now(UTC))
    assert "it is completed" in lagging.callctl("redirect", sid, "--url", "survey", "--dry-run").err
    when = ("--when", "answered", "--dry-run")
    assert lagging.callctl("redirect", sid, "--url", "survey", *when).code == 5  # it was answered: the wait is over
