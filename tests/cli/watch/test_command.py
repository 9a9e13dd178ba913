"""``callctl watch`` as a process of its own, with the simulator's signed callbacks."""

import json
import socket
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from api.scripted import Handler, Server
from processes import CALLCTL, LIMIT, OnTerminal, Piped
from running import Callctl, env_for
from services import get

from callctl.simulator import Simulator
from callctl.watch.listener.signature import signature_of


def post(url: str, body: bytes, **headers: str) -> int:
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def place(callctl: Callctl, env: dict[str, str], *args: str) -> str:
    outcome = callctl("place", *args, env=env)
    assert outcome.code == 0, outcome.err
    assert "running watch" in outcome.err
    return outcome.out.strip()


def test_events_arrive_as_json_with_both_sids(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
        ready = json.loads(watch.line())
        assert ready["type"] == "ready"
        assert ready["api_url"] == simulator.url
        sid = place(callctl, env, "+12025550100", "--dial", "sip:busy@example.com")
        events = [json.loads(watch.line()) for _ in range(3)]
        assert [event["event"] for event in events] == ["initiated", "ringing", "answered"]
        assert {event["call_sid"] for event in events} == {sid}
        child = json.loads(watch.line())
        assert child["parent_call_sid"] == sid
        assert child["to"] == "sip:busy@example.com"
        assert watch.interrupt() == 130


def test_a_running_call_becomes_a_conference_and_each_leg_says_so(
    callctl: Callctl, home: Path, simulator: Simulator
) -> None:
    """From the Dial to the conference, and one leg out of it; a watch that is started later knows it too."""
    env = env_for(simulator) | {"CALLCTL_URL_AFTER": f"{simulator.url}/simulator/survey"}

    def until(watch: Piped, **wanted: str) -> dict[str, Any]:
        while True:
            record = json.loads(watch.line())
            if wanted.items() <= record.items():
                return dict(record)

    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
        until(watch, type="ready")
        parent = place(callctl, env, "+12025550100", "--dial", "client:ann", "--then", "after")
        child = until(watch, event="answered", parent_call_sid=parent)["call_sid"]
        moved = callctl("redirect", parent, "--family", "--conference", "support 7", env=env)
        assert moved.code == 0, moved.err
        assert f"{child} goes into the conference support 7 first, then {parent}" in moved.err
        assert until(watch, event="participant-join")["call_sid"] == child
        assert until(watch, event="participant-join")["call_sid"] == parent
        assert until(watch, type="conference")["event"] == "conference-start"
        shown = json.loads(callctl("show", child, "--json", env=env).out)["conference"]
        assert {one["call_sid"] for one in shown["participants"]} == {parent, child}
        assert callctl("hangup", child, env=env).code == 0
        records: dict[str, dict[str, Any]] = {}
        while not {"participant-leave", "completed"} <= records.keys():
            record = until(watch, call_sid=child)
            records[record.get("event", "")] = record
        assert records["participant-leave"]["reason_participant_left"] == "participant_hung_up"
        assert watch.interrupt() == 130
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
        snapshot = until(watch, type="snapshot")
        assert (snapshot["call_sid"], snapshot["status"]) == (parent, "in-progress")
        assert snapshot["conference"]["friendly_name"] == "support 7"
        assert watch.interrupt() == 130
    with OnTerminal("watch", "--port", "0", "--no-poll", home=home, env=env) as terminal:
        rows = terminal.until(lambda rows: any("(in support 7 00:" in row for row in rows))
        assert sum("(in support 7" in row for row in rows) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("json_option", [(), ("--json",)])
def test_rules_go_on_where_the_output_goes_to_a_full_disk(
    json_option: tuple[str, ...], callctl: Callctl, home: Path, simulator: Simulator
) -> None:
    env = env_for(simulator)
    program = ("/bin/sh", "-c", 'exec "$@" >/dev/full', "sh", *CALLCTL)
    options = ("--port", "0", "--no-poll", "--max-duration", "1s", *json_option)
    with Piped("watch", *options, home=home, env=env, program=program) as watch:
        watch.until_said("listening on")
        sid = place(callctl, env, "+12025550100", "--twiml", "<Response><Pause length='600'/></Response>")
        watch.until(lambda: any(each.method == "POST" and sid in each.path for each in simulator.requests))
        assert watch.terminate() == 1
        said = watch.until_said("error")
    assert said.count("can't write to stdout: No space left on device; lines are left out until that is over") == 1
    assert said.count("can't write to stdout: No space left on device") == 2
    assert "Traceback" not in said


def test_a_forged_callback_is_refused_and_only_counted(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with OnTerminal("watch", "--port", "0", "--no-poll", home=home, env=env) as watch:
        rows = watch.until(lambda rows: any("StatusCallback=" in row for row in rows))
        url = next(row for row in rows if "StatusCallback=" in row).partition("=")[2].partition("#")[0]
        forged = f"CallSid=CA{'6' * 32}&CallStatus=ringing".encode()
        assert post(url, forged, **{"X-Twilio-Signature": "L/OH5YylLD5NRKLltdqwSvS0BnU="}) == 403
        assert post(url, forged) == 403
        rows = watch.until(lambda rows: "2 refused" in rows[0])
        assert not any("CA666" in row for row in rows)
    assert callctl("list", env=env).out == ""


def test_the_live_table_shows_parent_and_child_whole_at_80_columns(
    callctl: Callctl, home: Path, simulator: Simulator
) -> None:
    env = env_for(simulator)
    with OnTerminal("watch", "--port", "0", "--no-poll", home=home, env=env) as watch:
        watch.until(lambda rows: any("No calls yet" in row for row in rows))
        sid = place(callctl, env, "+12025550100", "--dial", "sip:agent@example.com")
        watch.until(lambda rows: any(row.endswith(f" of {sid}") for row in rows))
        rows = watch.until(lambda rows: sum("in-progress" in row and "→" in row for row in rows) == 2)
        assert f"   {sid}" in rows
        callctl("redirect", sid, "--say", "Goodbye. " * 40, env=env)
        watch.until(lambda rows: any(f"{sid}  ▸ redirect: to other TwiML" in row for row in rows))
        watch.until(lambda rows: any("completed ended" in row and "sip:" in row for row in rows))
        callctl("hangup", sid, env=env)
        watch.until(lambda rows: any(f"{sid}  ▸ hangup" in row for row in rows))
        watch.until(lambda rows: any("completed ended" in row and "+12025550100" in row for row in rows))


def test_the_table_follows_the_windows_size_and_gives_the_terminal_back(
    callctl: Callctl, home: Path, simulator: Simulator
) -> None:
    env = env_for(simulator)
    with OnTerminal("watch", "--port", "0", "--no-poll", home=home, env=env) as watch:
        watch.until(lambda rows: any("No calls yet" in row for row in rows))
        place(callctl, env, "+12025550103", "--say", "Hello")
        watch.until(lambda rows: any("ringing" in row and "→" in row for row in rows))
        watch.resize(160, 30)
        watch.until(lambda rows: any("PARENT CALL SID" in row for row in rows))
        watch.resize(20, 4)
        watch.until(lambda rows: not any("PARENT CALL SID" in row for row in rows))
        watch.type("\x03")
        assert watch.ended() == 130
    assert b"\x1b[?1049h" in watch.raw
    assert watch.raw.rindex(b"\x1b[?1049l") > watch.raw.rindex(b"\x1b[?1049h")
    assert watch.raw.rindex(b"\x1b[?25h") > watch.raw.rindex(b"\x1b[?25l")
    assert watch.raw.rindex(b"\x1b[?7h") > watch.raw.rindex(b"\x1b[?7l")


def test_a_restarted_watch_shows_what_the_stopped_one_showed(
    callctl: Callctl, home: Path, simulator: Simulator
) -> None:
    env = env_for(simulator)
    with OnTerminal("watch", "--port", "0", "--no-poll", home=home, env=env) as watch:
        watch.until(lambda rows: any("No calls yet" in row for row in rows))
        sid = place(callctl, env, "+12025550102", "--say", "Hello")
        watch.until(lambda rows: any("busy ended" in row for row in rows))
        watch.type("\x03")
        watch.ended()
    with OnTerminal("watch", "--port", "0", "--no-poll", home=home, env=env) as watch:
        rows = watch.until(lambda rows: any("busy ended" in row for row in rows))
        assert any(sid in row for row in rows)


def test_after_a_watch_has_stopped_place_finds_none(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
        watch.line()
        assert watch.interrupt() == 130
    assert "no watch or listener is running" in callctl("place", "+12025550100", "--say", "Hello", env=env).err


def test_a_watch_of_another_account_is_not_found(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    other = {**env, "TWILIO_ACCOUNT_SID": "AC" + "1" * 32}
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=other) as watch:
        watch.line()
        assert "no watch or listener is running" in callctl("place", "+12025550100", "--say", "Hello", env=env).err


def test_a_taken_port_names_the_option(callctl: Callctl, simulator: Simulator) -> None:
    port = simulator.url.rpartition(":")[2]
    outcome = callctl("watch", "--port", port, env=env_for(simulator))
    assert outcome.code == 1
    assert "--port" in outcome.err


@pytest.mark.parametrize(
    ("env", "missing"),
    [
        ({}, "TWILIO_ACCOUNT_SID"),
        (
            {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_API_KEY": "SK" + "0" * 32, "TWILIO_API_SECRET": "0" * 32},
            "TWILIO_AUTH_TOKEN",
        ),
    ],
)
def test_without_a_token_nothing_could_be_verified(callctl: Callctl, env: dict[str, str], missing: str) -> None:
    outcome = callctl("watch", "--port", "0", env=env)
    assert outcome.code == 2
    assert missing in outcome.err


def test_lines_on_a_pipe_are_tab_separated(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Piped("watch", "--port", "0", "--no-poll", home=home, env=env) as watch:
        watch.until_said("listening on")
        sid = place(callctl, env, "+12025550102", "--say", "Hello")
        fields = watch.line().split("\t")
        assert fields[1:5] == [sid, "-", "initiated", "initiated"]


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_lines_have_masks_where_they_are_asked_for(
    callctl: Callctl, home: Path, simulator: Simulator, more: tuple[str, ...]
) -> None:
    env = env_for(simulator)
    args = ("watch", "--port", "0", "--no-poll", "--mask-numbers", "--to", "+12025550102", *more)
    with Piped(*args, home=home, env=env) as watch:
        watch.until_said("showing only to +1202***02")
        if more:
            watch.line()  # ready
        sid = place(callctl, env, "+12025550102", "--say", "Hello")
        line = watch.line()
        assert sid in line
        assert "+1202***02" in line
        assert "5550" not in line.replace(sid, "")


def test_the_table_has_masks_and_so_has_the_page_of_a_leg(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    args = ("watch", "--port", "0", "--no-poll", "--mask-numbers", "--from", "+15005550006")
    with OnTerminal(*args, home=home, env=env, columns=120) as watch:
        watch.until(lambda rows: any("No calls yet" in row for row in rows))
        sid = place(callctl, env, "+12025550100", "--dial", "sip:agent@example.com")
        rows = watch.until(lambda rows: any("→ sip:a***t@example.com" in row for row in rows))
        assert any("only from +1500***06" in row for row in rows)
        watch.type("g")
        watch.until(lambda rows: any(row.startswith("▌") for row in rows))
        watch.type("\r")
        watch.until(lambda rows: any(row.strip().startswith("to ") and row.endswith("+1202***00") for row in rows))
        assert any(sid in row for row in watch.rows)
        assert b"2025550100" not in watch.raw
        assert b"agent@" not in watch.raw


def test_a_call_that_sends_no_callbacks_is_found_by_polling(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    sid = callctl("place", "+12025550103", "--say", "Hello", env=env).out.strip()
    with Piped("watch", "--port", "0", "--json", home=home, env=env) as watch:
        assert json.loads(watch.line())["type"] == "ready"
        event = json.loads(watch.line())
        assert (event["source"], event["call_sid"]) == ("polled", sid)
    with OnTerminal("watch", "--port", "0", "--no-poll", home=home / "..", env=env) as watch:
        watch.until(lambda rows: any("No calls yet" in row for row in rows))


def test_of_a_subaccount_the_missing_token_is_its_own(callctl: Callctl) -> None:
    sub = "AC" + "1" * 32
    env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake"}
    outcome = callctl("watch", "--account-sid", sub, env=env)
    assert outcome.code == 2
    assert f"missing credentials: the auth token of the subaccount {sub}, without which" in outcome.err
    assert "set CALLCTL_SIGNING_TOKEN to it" in outcome.err
    assert "API key" not in outcome.err


@pytest.mark.parametrize("name", ["CALLCTL_SIGNING_TOKEN", "TWILIO_AUTH_TOKEN"])
def test_the_sid_of_a_key_verifies_no_callback(callctl: Callctl, name: str) -> None:
    key = {"TWILIO_API_KEY": "SK" + "0" * 32, "TWILIO_API_SECRET": "fake"}
    outcome = callctl("watch", env={"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, **key, name: "SK" + "1" * 32})
    assert outcome.code == 2
    assert f"{name} (from the environment) is the SID of an API key (SK…), no token" in outcome.err


def test_beside_an_api_key_the_auth_token_is_missing(callctl: Callctl) -> None:
    env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_API_KEY": "SK" + "0" * 32, "TWILIO_API_SECRET": "fake"}
    for more in ([], ["--account-sid", "AC" + "1" * 32]):
        outcome = callctl("watch", *more, env=env)
        assert outcome.code == 2
        assert "missing credentials: TWILIO_AUTH_TOKEN, without which no callback can be verified" in outcome.err
        assert "CALLCTL_SIGNING_TOKEN beside an API key" in outcome.err


def test_while_a_token_is_rotated_callbacks_signed_with_either_count(
    callctl: Callctl, home: Path, simulator: Simulator
) -> None:
    env = env_for(simulator)
    rotated = {**env, "CALLCTL_SIGNING_TOKEN": f"{'5' * 32},{simulator.auth_token}"}
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=rotated) as watch:
        url = watch.record()["callback_url"]
        sid = place(callctl, env, "+12025550102", "--say", "Hello")
        assert watch.record()["call_sid"] == sid
        other = "CA" + "6" * 32
        form = {"AccountSid": simulator.account_sid, "CallSid": other, "CallStatus": "ringing"}
        for token, code in (("5" * 32, 204), ("7" * 32, 403)):
            signature = signature_of(url, list(form.items()), key=token)
            assert post(url, urlencode(form).encode(), **{"X-Twilio-Signature": signature}) == code


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_terminal_that_is_held_keeps_no_callback_waiting(
    home: Path, simulator: Simulator, form: tuple[str, ...]
) -> None:
    with OnTerminal("watch", "--port", "0", "--no-poll", *form, home=home, env=env_for(simulator)) as watch:
        rows = watch.until(lambda rows: any("StatusCallback=" in row for row in rows))
        url = next(row for row in rows if "StatusCallback=" in row).partition("=")[2].partition("#")[0]
        # No output is read from this point on: far more than the terminal's buffer takes.
        for number in range(100):
            fields = (("CallSid", f"CA{number:032}"), ("CallStatus", "ringing"), ("To", "x" * 1000))
            signature = signature_of(url, fields, key=simulator.auth_token)
            assert post(url, urlencode(fields).encode(), **{"X-Twilio-Signature": signature}) == 204
        if not form:
            watch.until(lambda rows: any("100 callbacks" in row for row in rows))
            watch.type("G")
        watch.until(lambda rows: f"CA{99:032}" in "".join(rows))  # a row of the screen may end within it


@pytest.mark.parametrize(("zone", "no_date"), [("EST+5", "0001-01-01T00:00:00Z"), ("JST-9", "9999-12-31T23:59:59Z")])
def test_a_time_that_no_clock_here_can_show_ends_no_watch(
    home: Path, simulator: Simulator, zone: str, no_date: str
) -> None:
    env = {**env_for(simulator), "TZ": zone}
    with OnTerminal("watch", "--port", "0", "--no-poll", "--max-duration", "1h", home=home, env=env) as watch:
        rows = watch.until(lambda rows: any("StatusCallback=" in row for row in rows))
        url = next(row for row in rows if "StatusCallback=" in row).partition("=")[2].partition("#")[0]
        for number, time in enumerate([no_date, "2026-11-23T10:00:00Z"]):
            fields = (("CallSid", f"CA{number:032}"), ("CallStatus", "in-progress"), ("Timestamp", time))
            signature = signature_of(url, fields, key=simulator.auth_token)
            assert post(url, urlencode(fields).encode(), **{"X-Twilio-Signature": signature}) == 204
        watch.until(lambda rows: any(f"CA{1:032}" in row for row in rows))
        watch.type("\x03")
        assert watch.ended() == 130


def test_idle_connections_beyond_the_limit_of_files_keep_no_callback_out(home: Path, simulator: Simulator) -> None:
    few = ("/bin/sh", "-c", 'ulimit -n 128; exec "$0" -m callctl "$@"', sys.executable)
    env = env_for(simulator)
    with (
        Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env, program=few) as watch,
        ExitStack() as idle,
    ):
        url = str(watch.record()["callback_url"])
        port = urllib.parse.urlsplit(url).port
        for _ in range(200):
            opened = idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        form = {"CallSid": f"CA{'6' * 32}", "CallStatus": "ringing", "AccountSid": simulator.account_sid}
        signature = signature_of(url, list(form.items()), key=simulator.auth_token)
        assert post(url, urlencode(form).encode(), **{"X-Twilio-Signature": signature}) == 204
        assert watch.record()["status"] == "ringing"
        assert "Traceback" not in watch.until_said("")


def test_sigterm_lets_a_call_that_waits_for_the_application_have_its_twiml(home: Path, simulator: Simulator) -> None:
    received = threading.Semaphore(0)

    def turn(handler: Handler) -> None:
        received.release()
        handler.server.released.wait(2)  # a slow application
        handler.answer(200, b"<Response/>", {"Content-Type": "text/xml"})

    answers: list[tuple[int, str]] = []
    fields = {
        "CallSid": "CA" + "1" * 32,
        "AccountSid": simulator.account_sid,
        "CallStatus": "ringing",
        "ApiVersion": "2010-04-01",
        "Direction": "inbound",
        "From": "+12025550100",
        "To": "+15005550006",
    }
    with Server(turn) as application:
        options = ("--json", "--port", "0", "--forward-to", application.url)
        with Piped("watch", *options, home=home, env=env_for(simulator)) as watch:
            url = f"http://127.0.0.1:{watch.record()['port']}/status"
            signature = signature_of(url, list(fields.items()), key=simulator.auth_token)
            headers = {"X-Twilio-Signature": signature}
            body = urlencode(fields).encode()
            caller = threading.Thread(target=lambda: answers.append(get(url, data=body, headers=headers)))
            caller.start()
            assert received.acquire(timeout=LIMIT)
            assert watch.terminate() == 0
            caller.join()
    assert answers == [(200, "<Response/>")]
