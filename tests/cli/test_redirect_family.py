"""``redirect --family --conference``: a running call becomes a conference, whichever of its legs is named."""

from __future__ import annotations

import json
import shutil
import urllib.request
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from cli.dialled import CHILD, PARENT, REFUSED, Dialled
from cli.local_store import store_of
from cli.setup import ANSWERS, LONG, NEVER, UNKNOWN, CliSetup, messages
from legs import in_conference
from processes import LIMIT
from running import Callctl

from callctl.simulator import Received

MOVE = ("--family", "--conference", "room 1")
BARE = "<Response><Say>Hello</Say><Dial><Client>ann</Client></Dial></Response>"
DOCUMENT = "<Response><Dial><Conference>room 1</Conference></Dial></Response>"


def redirects(setup: CliSetup) -> list[Received]:
    return [one for one in setup.sent() if one.path.rpartition("/")[2] != "Calls.json"]


def redirected(setup: CliSetup) -> list[str]:
    """Return the SIDs of the calls that were redirected, in their order."""
    return [one.path.rpartition("/")[2].removesuffix(".json") for one in redirects(setup)]


def in_room(setup: CliSetup) -> set[str]:
    """Return the calls that are in the conference, as the API has it."""
    base = f"{setup.simulator.url}/2010-04-01/Accounts/{setup.simulator.account_sid}/Conferences"
    (conference,) = fetched(setup, f"{base}.json?Status=in-progress&FriendlyName=room+1")["conferences"]
    listed = fetched(setup, f"{base}/{conference['sid']}/Participants.json")["participants"]
    return {str(one["call_sid"]) for one in listed}


def fetched(setup: CliSetup, url: str) -> dict[str, Any]:
    """Return what the API answers."""
    user = f"{setup.simulator.account_sid}:{setup.simulator.auth_token}".encode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {b64encode(user).decode()}"})
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        return dict(json.load(answer))


@pytest.mark.parametrize("named", [0, 1])
def test_both_legs_go_the_child_first_and_it_is_said_before(setup: CliSetup, named: int) -> None:
    legs = setup.talking()
    parent, child = legs
    outcome = setup.callctl("redirect", legs[named], *MOVE)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{child}\tin-progress\tredirected\n{parent}\tin-progress\tredirected\n"
    assert messages(outcome).splitlines()[-5:] == [
        f"callctl: {child} is the phone that <Dial> called, client:ann (outbound-dial)",
        f"callctl: {parent} is the phone that was called, {ANSWERS} (outbound-api)",
        f"callctl: {child} goes into the conference room 1 first, then {parent}",
        f"callctl: the Dial of {parent} ends with the first, and its action, if it has one, is requested as well",
        f"callctl: without an action or a verb behind that Dial, {parent} hangs up before its turn, and {child} is "
        "alone in room 1",
    ]
    assert redirected(setup) == [child, parent]
    assert {form["Twiml"][0] for form in (one.form for one in redirects(setup))} == {DOCUMENT}
    setup.simulator.advance(2)
    assert in_room(setup) == {parent, child}


def forget(setup: CliSetup) -> None:
    """Remove the store, so that callctl no longer knows what it placed."""
    shutil.rmtree(setup.home / ".local" / "state" / "callctl")


def test_a_parent_without_anything_behind_its_dial_is_gone_and_the_child_said_to_be_alone(setup: CliSetup) -> None:
    parent, child = setup.talking(then="")
    forget(setup)
    outcome = setup.callctl("redirect", parent, *MOVE)
    assert outcome.code == 8
    assert outcome.out == f"{child}\tin-progress\tredirected\n{parent}\t\tfailed\n"
    assert f"{parent} can't be redirected: it is completed" in outcome.err
    assert messages(outcome).splitlines()[-2:] == [
        f"callctl: error: 1 of 2 calls not redirected: {parent}",
        f"hint: {child} is alone in the conference room 1: `callctl place TO --conference 'room 1'` brings somebody "
        f"in, `callctl hangup {child}` ends it",
    ]


@pytest.mark.parametrize("placed", [("--dial", "client:ann"), ("--twiml", BARE), ("--say", LONG)])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_parent_that_is_known_to_hang_up_before_its_turn_is_not_moved_and_nothing_is_sent(
    setup: CliSetup, placed: tuple[str, str], more: tuple[str, ...]
) -> None:
    parent = setup.place(ANSWERS, *placed, after=5.0)
    if placed[0] == "--say":  # it comes into its Dial later
        assert setup.callctl("redirect", parent, "--dial", "client:ann").code == 0
        setup.simulator.advance(5)
    child = setup.callctl("list", "--parent", parent, "-q").out.strip()
    before = setup.sent()
    for named in ((child, *MOVE), (parent, *MOVE), (parent, child, "--conference", "room 1")):
        outcome = setup.callctl("redirect", *named, *more)
        assert (outcome.code, outcome.out) == (8, "")
        assert f"callctl: error: {parent} would hang up before its turn, and {child} be alone" in outcome.err
        assert "hint: nothing was sent. Place such a call with --then URL" in outcome.err
        assert f"`callctl redirect {child} --conference 'room 1'` moves the child" in outcome.err
    assert setup.sent() == before
    assert {setup.status(parent), setup.status(child)} == {"in-progress"}
    alone = setup.callctl("redirect", child, "--conference", "room 1", "--dry-run").err
    assert f"its parent leg {parent}: if it is live, hangs up: its Dial has no action, and no verb behind it" in alone
    assert "hangs up: its Dial has no action" in setup.callctl("hangup", child).err


def test_a_parent_whose_dial_has_an_action_goes_into_the_conference(setup: CliSetup) -> None:
    parent = setup.place(ANSWERS, "--dial", "client:ann", "--then", "survey", after=5.0)
    child = setup.callctl("list", "--parent", parent, "-q").out.strip()
    outcome = setup.callctl("redirect", parent, *MOVE)
    assert outcome.code == 0
    assert f"the Dial of {parent} ends with the first, and its action, survey, is requested as well" in outcome.err
    assert "hangs up before its turn" not in outcome.err
    setup.simulator.advance(2)
    assert in_room(setup) == {parent, child}


def test_a_parent_that_was_given_another_document_is_moved(setup: CliSetup) -> None:
    parent, _ = setup.talking(then="")
    then = "<Response><Dial><Client>bob</Client></Dial><Pause length='60'/></Response>"
    assert setup.callctl("redirect", parent, "--twiml", then).code == 0
    setup.simulator.advance(5)
    assert setup.callctl("redirect", parent, *MOVE).code == 0


def test_a_child_that_is_not_moved_keeps_its_parent(callctl: Callctl) -> None:
    parent, child = PARENT, CHILD
    with Dialled({child: REFUSED}) as server:
        outcome = callctl("redirect", child, *MOVE, env=server.env)
        changed = server.changed
    assert (outcome.code, changed) == (8, [child])
    assert f"{parent} was left alone: its child leg {child} was not redirected, and would be dropped" in outcome.err
    assert f"2 of 2 calls not redirected: {child}, {parent}\n" in outcome.err
    assert "alone in the conference" not in outcome.err.partition("error:")[2]


def test_the_dry_run_shows_both_requests_in_their_order(setup: CliSetup) -> None:
    parent, child = setup.talking()
    before = setup.sent()
    outcome = setup.callctl("redirect", parent, *MOVE, "--dry-run")
    assert outcome.code == 0
    shown = [line.rpartition("/")[2] for line in outcome.out.splitlines() if line.startswith("POST ")]
    assert shown == [f"{child}.json", f"{parent}.json"]
    assert f"callctl: {child} goes into the conference room 1 first, then {parent}\n" in outcome.err
    assert messages(outcome).endswith("callctl: dry run: nothing was sent\n")
    assert setup.sent() == before
    records = [
        json.loads(line) for line in setup.callctl("redirect", child, *MOVE, "--dry-run", "--json").out.splitlines()
    ]
    assert [(record["call_sid"], record["other_legs"]) for record in records] == [
        (
            child,
            [
                {
                    "call_sid": parent,
                    "relation": "parent",
                    "effect": "goes into the conference room 1 after it, unless it has hung up by then",
                }
            ],
        ),
        (
            parent,
            [{"call_sid": child, "relation": "child", "effect": "goes into the conference room 1 before it"}],
        ),
    ]


def test_of_legs_that_are_out_of_their_dial_nothing_is_said_of_it(setup: CliSetup) -> None:
    parent, child = setup.talking()
    assert setup.callctl("redirect", parent, *MOVE).code == 0
    setup.simulator.advance(2)
    outcome = setup.callctl("redirect", child, "--family", "--conference", "room 2")
    assert outcome.code == 0
    assert f"{child} goes into the conference room 2 first, then {parent}" in outcome.err
    assert "hangs up before its turn" not in outcome.err


def test_a_child_that_another_application_has_in_a_conference_is_not_said_to_drop(setup: CliSetup) -> None:
    parent, child = setup.talking()
    setup.add_callback(parent, "in-progress", at=datetime.now(UTC))
    setup.add_callback(child, "in-progress", at=datetime.now(UTC))
    dry = ("--say", "x", "--dry-run")
    assert f"its child leg {child}: talking to client:ann: drops" in setup.callctl("redirect", parent, *dry).err
    with store_of(setup.home, setup.simulator) as store:
        store.append(in_conference(child, "room", second=5))
    assert f"its child leg {child}: goes on: it was redirected out of" in setup.callctl("redirect", parent, *dry).err
    assert f"its parent leg {parent}: goes on: this leg was redirect" in setup.callctl("redirect", child, *dry).err
    assert f"its parent {parent} goes on: this leg was redirected" in setup.callctl("hangup", child).err


def test_a_child_that_has_left_the_dial_before_stays_where_it_is(setup: CliSetup) -> None:
    dials = "".join(f"<Dial><Client>{name}</Client></Dial>" for name in ("ann", "bob"))
    parent = setup.place(ANSWERS, "--twiml", f"<Response>{dials}<Say>{LONG}</Say></Response>", after=5.0)
    ann = setup.callctl("list", "--parent", parent, "-q").out.strip()
    assert setup.callctl("redirect", ann, "--conference", "other").code == 0
    setup.simulator.advance(5)
    (bob,) = {*setup.callctl("list", "--live", "--parent", parent, "-q").out.split()} - {ann}
    dry = setup.callctl("redirect", parent, *MOVE, "--dry-run", "--json")
    legs = {record["call_sid"]: record["other_legs"] for record in map(json.loads, dry.out.splitlines())}
    assert list(legs) == [bob, parent]
    stays = "stays where it is: it was redirected out of the Dial at "
    assert [(leg["call_sid"], leg["effect"][: len(stays)]) for leg in legs[parent]][1:] == [(ann, stays)]
    outcome = setup.callctl("redirect", parent, *MOVE)
    assert outcome.out == f"{bob}\tin-progress\tredirected\n{parent}\tin-progress\tredirected\n"
    assert f"callctl: {bob} goes into the conference room 1 first, then {parent}\n" in outcome.err
    (said,) = [line for line in messages(outcome).splitlines() if ann in line]
    assert said.startswith(f"callctl: {ann} {stays}")
    assert said.endswith(f"; `callctl redirect {ann} --conference 'room 1'` moves it there as well")
    setup.simulator.advance(2)
    assert in_room(setup) == {parent, bob}
    named = setup.callctl("redirect", parent, ann, "--family", "--conference", "room 2")
    assert [line.split("\t")[0] for line in named.out.splitlines()] == [ann, parent]


def test_a_call_alone_or_without_answer_moves_nobody(setup: CliSetup) -> None:
    alone = setup.place(after=4)
    outcome = setup.callctl("redirect", alone, *MOVE)
    assert (outcome.code, outcome.out) == (3, "")
    assert f"{alone} has no other leg" in outcome.err
    parent = setup.place(ANSWERS, "--dial", NEVER, after=5)
    child = setup.callctl("list", "--parent", parent, "-q").out.strip()
    outcome = setup.callctl("redirect", parent, *MOVE)
    assert outcome.code == 5
    assert f"{parent} talks to nobody yet: its child leg {child} is ringing" in outcome.err
    assert setup.callctl("redirect", UNKNOWN, *MOVE).code == 3
    assert redirected(setup) == []


def test_where_a_watch_runs_the_conference_reports_to_it(setup: CliSetup) -> None:
    parent, _ = setup.talking()
    env = {"CALLCTL_PUBLIC_URL": "http://127.0.0.1:9/status"}
    assert setup.callctl("redirect", parent, *MOVE, env=env).code == 0
    (document,) = {one.form["Twiml"][0] for one in redirects(setup)}
    assert 'statusCallback="http://127.0.0.1:9/status' in document
    assert 'statusCallbackEvent="start end join leave mute hold modify"' in document
