"""``callctl show`` against the simulator, with a store that a watch might have left."""

import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api.scripted import Handler, Server, Turn, call, drop, reply
from cli.frozen import LONG, NOON, Frozen
from cli.local_store import add_callback, store_of
from running import Callctl, Outcome
from twilio.rest import Client

from callctl.calls.action import ActionEvent
from callctl.calls.event import CallEvent
from callctl.settings import load
from callctl.store.sqlite.store import SqliteStore

ANSWERS = "+12025550100"
ACCOUNT = "AC" + "0" * 32


@pytest.fixture
def family(frozen: Frozen) -> tuple[str, str]:
    """Return a parent that talks to an agent, and the agent's leg."""
    parent = frozen.place(ANSWERS, "--dial", "sip:agent@example.com")
    frozen.simulator.advance(5)
    return parent, frozen.sids("--parent", parent)[0]


@pytest.fixture
def store(frozen: Frozen, home: Path) -> Iterator[SqliteStore]:
    with store_of(home, frozen.simulator) as store:
        yield store


@pytest.fixture
def recorded_family(store: SqliteStore, family: tuple[str, str]) -> tuple[str, str]:
    """Return the family, of which the store knows some events and a redirect."""
    parent, child = family
    add_callback(store, parent, "ringing", at=NOON + timedelta(seconds=1))
    add_callback(store, parent, "in-progress", at=NOON + timedelta(seconds=3), AnsweredBy="human")
    add_callback(
        store, child, "ringing", at=NOON + timedelta(seconds=4), ParentCallSid=parent, To="sip:agent@example.com"
    )
    add_callback(
        store,
        child,
        "busy",
        at=NOON + timedelta(seconds=9),
        ParentCallSid=parent,
        To="sip:agent@example.com",
        SipResponseCode="486",
    )
    request = (("Url", "https://example.com"),)
    store.record_actions([ActionEvent(NOON + timedelta(seconds=7), parent, "redirect", request, "to survey")])
    return parent, child


def plain(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def test_of_a_child_it_shows_the_parent(frozen: Frozen, recorded_family: tuple[str, str]) -> None:
    parent, child = recorded_family
    shown_call = json.loads(frozen("show", child, "--json").out)
    assert shown_call["parent"]["sid"] == parent
    assert shown_call["children"] == []
    shown = plain(frozen("show", child, terminal=True, columns=160).out)
    assert f"  parent call   {parent}\n" in shown
    assert f"└ {child}" in shown
    assert "● in-progress  parent +12025550100  (human)" in shown


def test_where_rest_is_behind_the_callbacks_these_count_and_it_is_said(
    frozen: Frozen, recorded_family: tuple[str, str], store: SqliteStore
) -> None:
    parent, child = recorded_family
    ahead = json.loads(frozen("show", parent, "--json").out)
    assert (ahead["status"], "rest_status" in ahead) == ("in-progress", False)
    assert [leg["status"] for leg in ahead["children"]] == ["busy"]
    add_callback(store, parent, "completed", at=NOON + timedelta(seconds=12))
    page = json.loads(frozen("show", parent, "--json").out)
    assert (page["status"], page["rest_status"]) == ("completed", "in-progress")
    lines = plain(frozen("show", parent, terminal=True).out).splitlines()
    assert lines[0] == f"{parent}  ✓ completed"
    assert "  REST          is behind the callbacks, and still shows it as in-progress" in lines
    assert not any(line.startswith("  in progress") for line in lines)
    assert frozen("show", child).out.splitlines()[1].split("\t")[:3] == ["parent", parent, "completed"]


def test_without_a_store_it_says_that_nothing_was_recorded(frozen: Frozen, family: tuple[str, str]) -> None:
    outcome = frozen("show", family[0], terminal=True, columns=100)
    assert "No callback of this call was recorded here." in outcome.out
    assert json.loads(frozen("show", family[0], "--json").out)["timeline"] == []


def test_a_store_that_cannot_be_read_is_reported_and_the_rest_shown(
    frozen: Frozen, family: tuple[str, str], home: Path
) -> None:
    broken = home / "events.db"
    broken.write_text("this is no database, however long it is " * 100)
    outcome = frozen("show", family[0], env={"CALLCTL_STORE": str(broken)})
    assert outcome.code == 0
    assert outcome.out.startswith(f"call\t{family[0]}")
    assert f"the event store {broken}" in outcome.err


def test_errors_and_warnings_come_with_links(frozen: Frozen) -> None:
    sid = frozen.place(ANSWERS, "--url", f"{frozen.simulator.url}/nowhere")
    frozen.simulator.advance(20)
    note = json.loads(frozen("show", sid, "--json").out)["notifications"][0]
    assert (note["level"], note["error_code"]) == ("error", "11200")
    assert note["more_info"].startswith("https://")
    shown = frozen("show", sid, terminal=True, columns=160).out
    assert "error  11200" in shown
    assert note["more_info"] in shown
    assert f"requested {frozen.simulator.url}/nowhere" in shown
    assert "\terror\t11200\t" in frozen("show", sid).out


def page_of(callctl: Callctl, parent: dict[str, object], child: dict[str, object], *, notes: int = 200) -> str:
    """Return what is shown of a call with one child, from a server that says exactly this."""

    def turn(handler: Handler) -> None:
        if "Notifications" in handler.path:
            reply(notes, {"notifications": []} if notes == 200 else b"")(handler)
        elif "Calls.json" in handler.path:
            reply(200, {"calls": [child]})(handler)
        else:
            reply(200, parent)(handler)

    with Server(turn) as server:
        env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        outcome = callctl("show", str(parent["sid"]), terminal=True, columns=100, env=env)
    assert outcome.code == 0, outcome.err
    return plain(outcome.out) + outcome.err


def test_cost_is_reported_with_that_of_the_legs(callctl: Callctl) -> None:
    over = {"status": "completed", "duration": "41", "price_unit": "USD"}
    parent = call("CA" + "1" * 32, price="-0.01300", **over)
    child = call("CA" + "2" * 32, price="-0.00850", parent_call_sid="CA" + "1" * 32, **over)
    shown = page_of(callctl, parent, child)
    assert "  duration      00:41\n" in shown
    assert "  cost          0.01300 USD; with its child legs 0.02150 USD\n" in shown
    assert "1 not rated yet" in page_of(callctl, parent, {**child, "price": None})
    unrated = page_of(callctl, {**parent, "price": None}, child)
    assert "  cost          not rated yet; with its child legs 0.00850 USD, 1 not rated yet\n" in unrated


def test_a_service_without_notifications_costs_only_those(callctl: Callctl) -> None:
    parent = call("CA" + "1" * 32, status="completed")
    child = call("CA" + "2" * 32, parent_call_sid="CA" + "1" * 32)
    shown = page_of(callctl, parent, child, notes=404)
    assert "shown without its errors and warnings: " in shown
    assert "HTTP 404" in shown


REFUSED = {"code": 20403, "message": "Not for you"}
PARTS = {"parent": "the parent call CA" + "9" * 32, "children": "its child legs", "notifications": "its errors and"}


@pytest.mark.parametrize("turn", [drop(), reply(403, REFUSED), reply(429, b""), reply(500, b"oops"), reply(200, {})])
@pytest.mark.parametrize("lacking", list(PARTS))
def test_what_can_not_be_had_is_said_and_the_rest_shown(callctl: Callctl, lacking: str, turn: Turn) -> None:
    sid, parent = "CA" + "1" * 32, "CA" + "9" * 32
    there = {
        "parent": reply(200, call(parent)),
        "children": reply(200, {"calls": [call("CA" + "2" * 32, parent_call_sid=sid)]}),
        "notifications": reply(200, {"notifications": []}),
    } | {lacking: turn}

    def answer(handler: Handler) -> None:
        paths = {"Notifications": "notifications", "Calls.json": "children", parent: "parent"}
        part = next((part for path, part in paths.items() if path in handler.path), None)
        (there[part] if part else reply(200, call(sid, parent_call_sid=parent)))(handler)

    with Server(answer) as server:
        env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        outcome = callctl("show", sid, "--json", env=env, back_off=lambda _seconds: None)
    assert outcome.code == 0, outcome.err
    shown = json.loads(outcome.out)
    assert {part: shown[part] is None for part in PARTS} == {part: part == lacking for part in PARTS}
    assert f"warning: shown without {PARTS[lacking]}" in outcome.err


def test_a_parent_that_is_not_there_any_more_is_no_warning(callctl: Callctl) -> None:
    sid, parent = "CA" + "1" * 32, "CA" + "9" * 32

    def answer(handler: Handler) -> None:
        if parent in handler.path:
            reply(404, {"code": 20404, "message": "Not found"})(handler)
        elif handler.path.partition("?")[0].endswith(f"/{sid}.json"):
            reply(200, call(sid, parent_call_sid=parent))(handler)
        else:
            reply(200, {"calls": [], "notifications": []})(handler)

    with Server(answer) as server:
        env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        outcome = callctl("show", sid, "--json", env=env)
    assert (outcome.code, json.loads(outcome.out)["parent"]) == (0, None)
    assert f"callctl: the parent call {parent} is not there any more\n" in outcome.err
    assert "shown without" not in outcome.err


def test_an_unknown_call_exits_3_with_one_error(frozen: Frozen) -> None:
    outcome = frozen("show", "CA" + "0" * 32)
    assert (outcome.code, outcome.out) == (3, "")
    assert "20404" in outcome.err
    assert "errors and warnings" not in outcome.err


def test_what_a_watch_received_is_shown(frozen: Frozen, recorded_family: tuple[str, str], store: SqliteStore) -> None:
    now = datetime(2026, 1, 5, 12, 1, tzinfo=UTC)
    event = CallEvent.from_form(
        [("CallSid", recorded_family[0]), ("CallStatus", "completed"), ("CallDuration", "62")],
        received_at=now,
        world="w",
        verified=False,
    )
    store.append(event)
    assert "✓ completed    (01:02, not verified)" in frozen("show", recorded_family[0], terminal=True, columns=100).out


@pytest.fixture
def recorded(store: SqliteStore, recorded_family: tuple[str, str]) -> str:
    """Return the call of a family of which also a detection, a recording and a conference were reported."""
    parent, _ = recorded_family
    for second, fields in enumerate(
        [
            {"CallSid": parent, "AnsweredBy": "human", "MachineDetectionDuration": "1400"},
            {"CallSid": parent, "ConferenceSid": "CF1", "StatusCallbackEvent": "participant-join"},
            {"ConferenceSid": "CF1", "FriendlyName": "room\x1b[2J", "StatusCallbackEvent": "conference-start"},
            {"CallSid": parent, "RecordingSid": "RE1", "RecordingStatus": "completed", "RecordingDuration": "25"},
            {"CallSid": "CA" + "9" * 32, "RecordingSid": "RE9", "RecordingStatus": "completed"},
        ]
    ):
        at = NOON + timedelta(seconds=10 + second)
        store.append(CallEvent.from_form(fields.items(), received_at=at, world="w", verified=True))
    return parent


def test_the_timeline_has_detections_recordings_and_conferences(frozen: Frozen, recorded: str) -> None:
    page = plain(frozen("show", recorded, terminal=True, columns=120).out)
    lines = [line.split("  ")[-1] for line in page.splitlines()]
    assert [line for line in lines if line.startswith(("answered by", "recording", "conference"))] == [
        "answered by human after 1.4 s",
        "conference CF1: participant-join",
        "conference room�[2J: conference-start",
        "recording completed 25 s RE1",
    ]
    piped = [line.split("\t") for line in frozen("show", recorded).out.splitlines()]
    assert [line[3:] for line in piped if line[0] in ("amd", "recording", "conference")] == [
        ["amd", "answered by human after 1.4 s"],
        ["participant-join", "conference CF1: participant-join"],
        ["conference-start", "conference room�[2J: conference-start"],
        ["recording-completed", "recording completed 25 s RE1"],
    ]
    timeline = json.loads(frozen("show", recorded, "--json").out)["timeline"]
    assert [one["type"] for one in timeline[-4:]] == ["amd", "conference", "conference", "recording"]


@pytest.mark.parametrize(
    ("number", "after", "reported_at", "words"),
    [
        ("+12025550103", 20, 12, "ringing       for 00:08"),
        ("+12025550103", 20, None, "ringing       for 00:20 at most"),
        (ANSWERS, 95, 35, "in progress   for 01:00"),
        (ANSWERS, 95, None, "in progress   for 01:35 at most"),
    ],
)
def test_a_live_calls_page_says_for_how_long_it_is_as_it_is(
    frozen: Frozen, store: SqliteStore, number: str, after: int, reported_at: int | None, words: str
) -> None:
    """By the API's clock, and as callbacks reported it: REST has when a call was dialled, not when it was answered."""
    sid = frozen.place(number, "--twiml", "<Response><Pause length='600'/></Response>")
    frozen.simulator.advance(5)
    if reported_at is not None:
        status = words.partition("  ")[0].replace(" ", "-")
        add_callback(store, sid, status, at=NOON + timedelta(seconds=reported_at))
    frozen.later(seconds=after)
    shown = plain(frozen("show", sid, terminal=True, columns=120).out)
    assert f"  {words}\n" in shown
    frozen("hangup", sid)
    assert "  for 0" not in plain(frozen("show", sid, terminal=True, columns=120).out)


@pytest.fixture
def in_conference(frozen: Frozen, store: SqliteStore) -> list[str]:
    """Return two calls that the simulator has in a conference, the first on hold, as its callbacks reported them."""
    to = f"{frozen.simulator.url}/simulator/ignored"
    calls = []
    for number in (ANSWERS, "client:ann"):
        placed = frozen("place", number, "--conference", "support 7", "--status-callback", to)
        assert placed.code == 0, placed.err
        calls.append(placed.out.strip())
    frozen.simulator.advance(9)
    (conference,) = {one.params["ConferenceSid"] for one in frozen.simulator.callbacks if "ConferenceSid" in one.params}
    client = Client(frozen.simulator.account_sid, frozen.simulator.auth_token)
    client.api.base_url = frozen.simulator.url
    client.conferences(conference).participants(calls[0]).update(hold=True)
    frozen.simulator.advance(1)
    receive_all(frozen, store)
    return calls


def receive_all(frozen: Frozen, store: SqliteStore) -> None:
    """Store the callbacks that the simulator sent."""
    for one in frozen.simulator.callbacks:
        store.append(CallEvent.from_form(one.params.items(), received_at=NOON, world="w", verified=True))


def test_who_is_in_the_conference_of_a_call_is_shown(frozen: Frozen, in_conference: list[str]) -> None:
    held, other = in_conference
    outcome = frozen("show", held, "--json")
    record = json.loads(outcome.out)
    conference = record["conference"]
    assert outcome.code == 0, outcome.err
    participants = conference.pop("participants")
    assert {one["call_sid"]: one["hold"] for one in participants} == {held: True, other: False}
    sid = conference.pop("conference_sid")
    assert conference == {
        "friendly_name": "support 7",
        "participant_label": None,
        "since": "2026-01-05T12:00:00Z",
        "muted": False,
        "hold": True,
        "coaching": False,
    }
    assert record["recording"] is False
    page = plain(frozen("show", held, terminal=True, columns=120).out)
    assert f"  conference    support 7  {sid}, since 2026-01-05 12:00:00Z, on hold\n" in page
    section = page.partition("IN THE CONFERENCE\n")[2].partition("\n\n")[0].splitlines()
    assert sorted(section) == sorted([f"  {held}  on hold", f"  {other}"])
    assert "conference support 7: participant-join" in page
    piped = [line.split("\t") for line in frozen("show", other).out.splitlines()]
    rows = [line for line in piped if line[0] == "participant"]
    assert sorted(rows) == sorted(
        [["participant", held, "", "on hold", sid, "support 7"], ["participant", other, "", "", sid, "support 7"]]
    )


def test_where_the_api_can_not_say_who_is_in_a_conference_the_rest_is_shown(
    frozen: Frozen, store: SqliteStore, family: tuple[str, str]
) -> None:
    add_callback(store, family[0], "in-progress", at=NOON)
    joined = {
        "CallSid": family[0],
        "ConferenceSid": "CF" + "9" * 32,
        "FriendlyName": "elsewhere",
        "StatusCallbackEvent": "participant-join",
        "Muted": "true",
    }
    store.append(CallEvent.from_form(joined.items(), received_at=NOON, world="w", verified=True))
    outcome = frozen("show", family[0])
    assert outcome.code == 0
    assert "shown without who is in the conference elsewhere: " in outcome.err
    assert f"\nparticipant\t{family[0]}\t\tmuted\tCF{'9' * 32}\telsewhere\n" in outcome.out


def test_a_call_that_has_left_is_in_no_conference(frozen: Frozen, store: SqliteStore, in_conference: list[str]) -> None:
    gone = in_conference[0]
    assert frozen("redirect", gone, "--say", LONG).code == 0
    frozen.simulator.advance(1)
    receive_all(frozen, store)
    record = json.loads(frozen("show", gone, "--json").out)
    assert (record["status"], record["conference"]) == ("in-progress", None)
    assert json.loads(frozen("show", in_conference[1], "--json").out)["conference"]["friendly_name"] == "support 7"


SEVERAL = [f"CA{number:032d}" for number in range(1, 21)]


def answer(handler: Handler) -> None:
    """Answer for any call: that it has ended, dialled nobody, and went well."""
    path = handler.path.partition("?")[0]
    if "Notifications" in path:
        reply(200, {"notifications": []})(handler)
    elif path.endswith("Calls.json"):
        reply(200, {"calls": []})(handler)
    else:
        reply(200, call(path.rpartition("/")[2].removesuffix(".json"), status="completed"))(handler)


def show_of(callctl: Callctl, server: Server, *args: str, back_off: Callable[[float], None] = time.sleep) -> Outcome:
    env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
    return callctl("show", *args, env=env, back_off=back_off)


@pytest.mark.parametrize(("more", "requests"), [((), 60), (("--columns", "sid,status"), 20)])
def test_of_twenty_calls_all_is_asked_at_once_and_shown_in_their_order(
    callctl: Callctl, more: tuple[str, ...], requests: int
) -> None:
    all_asked = threading.Barrier(requests)

    def turn(handler: Handler) -> None:
        all_asked.wait(20)  # passes only when so many requests are waiting together
        answer(handler)

    with Server(turn) as server:
        outcome = show_of(callctl, server, *SEVERAL, *more)
    assert outcome.code == 0, outcome.err
    assert re.findall("CA[0-9]{32}", outcome.out) == SEVERAL
    assert len(server.received) == requests


def test_no_more_is_asked_at_once_than_it_is_allowed(callctl: Callctl) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def turn(handler: Handler) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)  # lets others come meanwhile
        with lock:
            running -= 1  # before the answer, after which the next may come
        answer(handler)

    with Server(turn) as server:
        assert show_of(callctl, server, *SEVERAL, "--parallel", "6", "--json").code == 0
        assert most <= 6
        most = 0
        assert show_of(callctl, server, *SEVERAL, "--parallel", "1", "--csv").code == 0
        assert most == 1


def test_where_there_are_too_many_requests_a_call_gets_its_turn_again_and_nothing_is_left_out(callctl: Callctl) -> None:
    refused = {f"{sid}/Notifications": 6 for sid in SEVERAL[2:5]}  # so often; a request is tried five times
    lock = threading.Lock()

    def turn(handler: Handler) -> None:
        part = "/".join(handler.path.partition(".json")[0].split("/")[-2:])
        with lock:
            is_refused = refused.get(part, 0) > 0
            refused[part] = refused.get(part, 0) - 1
        (reply(429, {"code": 20429, "message": "Too Many Requests"}) if is_refused else answer)(handler)

    with Server(turn) as server:
        outcome = show_of(callctl, server, *SEVERAL, "--json", back_off=lambda _seconds: None)
    assert outcome.code == 0, outcome.err
    pages = [json.loads(line) for line in outcome.out.splitlines()]
    assert [page["sid"] for page in pages] == SEVERAL
    assert all((page["children"], page["notifications"]) == ([], []) for page in pages)
    assert "shown without" not in outcome.err
    assert "trying again" in outcome.err


def test_of_several_calls_those_that_are_there_are_shown_and_the_others_said(callctl: Callctl) -> None:
    def turn(handler: Handler) -> None:
        if f"{SEVERAL[1]}.json" in handler.path:
            reply(404, {"code": 20404, "message": "was not found"})(handler)
        elif f"{SEVERAL[2]}/Notifications" in handler.path:
            reply(404, b"")(handler)
        else:
            answer(handler)

    with Server(turn) as server:
        for more in ((), ("--columns", "sid")):
            outcome = show_of(callctl, server, *SEVERAL[:3], *more)
            assert outcome.code == 8
            assert re.findall("CA[0-9]{32}", outcome.out) == [SEVERAL[0], SEVERAL[2]]
            assert f"callctl: error: {SEVERAL[1]}: was not found\n" in outcome.err
            assert f"callctl: error: 1 of 3 calls not shown: {SEVERAL[1]}\n" in outcome.err
            is_page = not more
            assert (f"warning: {SEVERAL[2]} is shown without its errors and warnings" in outcome.err) is is_page
        assert show_of(callctl, server, SEVERAL[1]).code == 3
        assert show_of(callctl, server, SEVERAL[1], "--csv").code == 3
        refused = show_of(callctl, server, *SEVERAL[:2], "--json").err.splitlines()
    assert [json.loads(line).get("call_sid") for line in refused if line.startswith("{")][-2:] == [SEVERAL[1], None]


def test_sids_come_from_stdin_once_each_and_none_is_no_error(frozen: Frozen, family: tuple[str, str]) -> None:
    parent, child = family
    listed = f"{child}\tin-progress\n\n{parent}\n{child}\n"
    assert frozen("show", "-", "--columns", "sid", stdin=listed).out == f"{child}\n{parent}\n"
    outcome = frozen("show", "-", "--json")
    assert (outcome.code, outcome.out) == (0, "")
    assert "no calls on stdin: nothing to show" in outcome.err


def test_for_several_starts_the_newest_calls_are_listed_once(frozen: Frozen, family: tuple[str, str]) -> None:
    before = len(frozen.simulator.requests)
    outcome = frozen("show", family[0][:12], family[1][:12], "--columns", "sid")
    assert outcome.out.split() == list(family)
    paths = [request.path for request in frozen.simulator.requests[before:]]
    assert sum(path.endswith("/Calls.json") for path in paths) == 1


def test_a_row_has_the_status_that_callbacks_reported(
    frozen: Frozen, recorded_family: tuple[str, str], store: SqliteStore
) -> None:
    parent, child = recorded_family
    add_callback(store, parent, "completed", at=NOON + timedelta(seconds=12))
    assert frozen("show", parent, child, "--columns", "status").out.split() == ["completed", "busy"]


def test_what_is_masked_on_a_page_is_so_in_each_form(frozen: Frozen, recorded_family: tuple[str, str]) -> None:
    parent, child = recorded_family
    for more in ((), ("--json",), ("--csv",), ("--columns", "to,from_formatted")):
        for is_terminal in (False, True):
            outcome = frozen("show", child, parent, "--mask-numbers", *more, terminal=is_terminal, columns=160)
            assert outcome.code == 0
            assert "+1202***00" in outcome.out
            assert "sip:a***t@example.com" in outcome.out
            assert not re.search("agent@|555-?0", outcome.out + outcome.err)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--columns", "cost"], "a call has no field cost"),
        (["--csv", "--json"], "--csv and --json exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(frozen: Frozen, args: list[str], message: str) -> None:
    outcome = frozen("show", SEVERAL[0], *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert frozen.simulator.requests == ()


def test_parents_are_asked_for_at_once_where_they_are_named_or_callbacks_reported_them(
    callctl: Callctl, home: Path
) -> None:
    """Of ten children with a parent each: the parents are named too, or the store has who dialled whom."""
    parents, children = SEVERAL[:10], SEVERAL[10:]
    parent_of = dict(zip(children, parents, strict=True))
    all_asked: threading.Barrier | None = None

    def turn(handler: Handler) -> None:
        if all_asked is not None:
            all_asked.wait(20)  # passes only when so many requests are waiting together
        sid = handler.path.partition("?")[0].rpartition("/")[2].removesuffix(".json")
        if "Notifications" in handler.path or sid not in SEVERAL:
            answer(handler)
        else:
            reply(200, call(sid, status="completed", parent_call_sid=parent_of.get(sid)))(handler)

    with Server(turn) as server:
        all_asked = threading.Barrier(60)
        outcome = show_of(callctl, server, *SEVERAL, "--json")
        assert len(server.received) == 60
        all_asked = None
        assert show_of(callctl, server, *children, "--json").out.count("\n") == 10
        assert len(server.received) == 60 + 40
        env = {"HOME": str(home), "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "0" * 32}
        settings = load({**env, "CALLCTL_API_URL": server.url}, cwd=home)
        settings.store.parent.mkdir(parents=True, exist_ok=True)
        with closing(SqliteStore.open_for_watch(settings.store, world=settings.world)) as store:
            for child, parent in parent_of.items():
                add_callback(store, child, "completed", at=NOON, ParentCallSid=parent)
        all_asked = threading.Barrier(40)
        shown = show_of(callctl, server, *children, "--json").out.splitlines()
        assert [json.loads(line)["parent"]["sid"] for line in shown] == parents
    pages = [json.loads(line) for line in outcome.out.splitlines()]
    assert [page["sid"] for page in pages] == SEVERAL
    assert [page["parent"] and page["parent"]["sid"] for page in pages] == [None] * 10 + parents


def test_how_many_calls_are_there_is_said_while_it_takes_long_and_of_one_nothing_is(
    callctl: Callctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.cli.io.progress.AFTER", 0.01)
    monkeypatch.setattr("callctl.cli.io.progress._EVERY_IN_LOG", 0.01)
    err = io.StringIO()
    is_said = threading.Event()

    def turn(handler: Handler) -> None:
        if is_awaited:
            while "0 of 3 calls are there" not in err.getvalue():
                is_said.wait(0.01)
        answer(handler)

    with Server(turn) as server:
        env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        is_awaited = True
        assert callctl("show", *SEVERAL[:3], env=env, streams=(io.StringIO(), err)).code == 0
        is_awaited = False
        assert "calls are there" not in callctl("show", SEVERAL[0], env=env).err
