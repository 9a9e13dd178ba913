"""``hangup`` of one call: its outcome in words, what is recorded, and waiting for its end."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from api.scripted import Handler, Server, Turn, call, drop, hang, reply
from cli.setup import ANSWERS, BUSY, NEVER, CliSetup, messages, settled
from processes import LIMIT, OnTerminal, Piped
from running import Callctl

from callctl.api.client import ApiClient
from callctl.simulator import Simulator

COLOURS = {"NO_COLOR": "1"}


def test_one_request_ends_a_call(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("hangup", sid)
    assert (outcome.code, outcome.out) == (0, f"{sid}\tcompleted\tended\n")
    assert messages(outcome) == f"callctl: ended: {sid} is completed\n"
    assert [dict(one.form) for one in setup.sent()] == [{"Status": ("completed",)}]
    assert setup.sent("GET") == []


@pytest.mark.parametrize("after", [0.0, 3.0])
def test_queued_and_ringing_calls_end_as_well(setup: CliSetup, after: float) -> None:
    sid = setup.place(NEVER, after=after)
    assert setup.callctl("hangup", sid).out == f"{sid}\tcanceled\tended\n"


@pytest.mark.parametrize("env", [{}, COLOURS])
def test_on_a_terminal_it_is_a_sentence(setup: CliSetup, env: dict[str, str]) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("hangup", sid, terminal=True, env=env)
    assert (outcome.code, outcome.out, messages(outcome)) == (0, f"ended: {sid} is completed\n", "")


def test_json_is_one_object(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("hangup", sid, "--json")
    record = json.loads(outcome.out)
    resource = record.pop("call")
    assert record == {
        "v": 1,
        "type": "action",
        "action": "hangup",
        "call_sid": sid,
        "result": "ended",
        "outcome": f"ended: {sid} is completed",
        "request": {"Status": "completed"},
        "api_url": setup.simulator.url,
    }
    assert (resource["sid"], resource["status"], resource["parent_call_sid"]) == (sid, "completed", None)
    assert messages(outcome) == ""


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_call_that_is_over_is_no_error(setup: CliSetup, form: tuple[str, ...]) -> None:
    sid = setup.place(BUSY, after=5)
    outcome = setup.callctl("hangup", sid, *form)
    assert outcome.code == 0
    if form:
        assert json.loads(outcome.out)["result"] == "already-over"
    else:
        assert outcome.out == f"{sid}\tbusy\talready-over\n"
        assert messages(outcome) == f"callctl: already over: {sid} is busy\n"


def test_it_says_how_long_it_rang_when_callbacks_reported(setup: CliSetup) -> None:
    sid = setup.place(NEVER, after=3)
    setup.add_callback(sid, "ringing", at=datetime.now(UTC) - timedelta(seconds=3600))
    # By the date of the API's reply: this machine's clock is two hours ahead.
    said = messages(setup.callctl("hangup", sid, now=lambda: datetime.now(UTC) + timedelta(hours=2)))
    assert said.startswith(f"callctl: ended: {sid} is canceled, was ringing for 360")
    assert said.endswith(" s\n")


def test_it_says_how_long_the_call_lasted_when_callbacks_reported(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    setup.add_callback(sid, "in-progress", at=datetime.now(UTC) - timedelta(seconds=3600))
    assert f"ended: {sid} is completed, was in progress for 360" in messages(setup.callctl("hangup", sid))


def test_what_was_asked_is_written_down(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    setup.callctl("hangup", sid)
    shown = setup.callctl("show", sid).out
    assert "hangup" in shown
    assert "completed" in shown


def test_a_store_that_cannot_be_written_is_reported_and_no_failure(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("hangup", sid, env={"CALLCTL_STORE": str(setup.home)})
    assert outcome.code == 0
    assert "done, but not written down" in messages(outcome)


def test_of_a_child_it_says_nothing_of_a_parent_that_has_ended(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    setup.add_callback(parent, "completed", at=datetime.now(UTC))
    assert messages(setup.callctl("hangup", child)) == f"callctl: ended: {child} is completed\n"


def test_of_a_child_it_says_what_the_parent_does(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    outcome = setup.callctl("hangup", child)
    assert outcome.code == 0
    assert messages(outcome) == (
        f"callctl: ended: {child} is completed\n"
        f"callctl: its parent {parent}, if it is live, hangs up: its Dial has no action, and no verb behind it\n"
        f"hint: `callctl hangup {parent}` ends it as well; --family ends both at once\n"
    )


def test_only_ringing_sends_canceled(setup: CliSetup) -> None:
    sid = setup.place(NEVER, after=3)
    outcome = setup.callctl("hangup", sid, "--only-ringing", "--json")
    assert outcome.code == 0
    record = json.loads(outcome.out)
    assert (record["action"], record["result"], record["request"]) == ("cancel", "ended", {"Status": "canceled"})
    assert [dict(one.form) for one in setup.sent()] == [{"Status": ("canceled",)}]
    assert setup.sent("GET") == []


def test_only_ringing_leaves_an_answered_call_alone(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("hangup", sid, "--only-ringing")
    assert (outcome.code, outcome.out) == (5, f"{sid}\tin-progress\tnot-ended\n")
    assert messages(outcome) == (
        f"callctl: error: not ended: {sid} is in progress\nhint: `callctl hangup {sid}` ends it all the same\n"
    )
    assert len(setup.sent("GET")) == 1
    assert setup.status(sid) == "in-progress"


def test_only_ringing_where_the_api_refuses_it(lagging: CliSetup) -> None:
    """Whether the call was answered or had ended: what REST shows is no proof, and what callbacks reported is."""
    over, answered, known = settled(lagging), settled(lagging), settled(lagging)
    assert lagging.callctl("hangup", over).code == 0
    lagging.add_callback(known, "in-progress", at=datetime.now(UTC))
    outcome = lagging.callctl("hangup", over, answered, known, "--only-ringing", "--json")
    assert outcome.code == 8
    records = {record["call_sid"]: record for record in map(json.loads, outcome.out.splitlines())}
    assert {record["result"] for record in records.values()} == {"not-ended"}
    for sid in (over, answered):
        why = "was answered or is over (REST, which may be behind, shows it as in-progress)"
        assert (records[sid]["outcome"], records[sid]["call"]) == (f"not ended: {sid} {why}", None)
    assert records[known]["outcome"] == f"not ended: {known} is in progress"


def test_a_call_that_was_just_ended_is_over_whatever_rest_shows(lagging: CliSetup) -> None:
    sid = settled(lagging)
    assert lagging.callctl("hangup", sid).code == 0
    outcome = lagging.callctl("hangup", sid)
    assert (outcome.code, outcome.out) == (0, f"{sid}\t\talready-over\n")
    assert messages(outcome) == f"callctl: already over: {sid} (REST is behind and still shows it as in-progress)\n"
    record = json.loads(lagging.callctl("hangup", sid, "--json").out)
    assert (record["result"], record["call"]) == ("already-over", None)


def test_of_a_call_that_was_just_ended_callbacks_tell_how(lagging: CliSetup) -> None:
    sid = settled(lagging)
    lagging.callctl("hangup", sid)
    lagging.add_callback(sid, "completed", at=datetime.now(UTC))
    outcome = lagging.callctl("hangup", sid)
    assert (outcome.code, outcome.out) == (0, f"{sid}\tcompleted\talready-over\n")
    assert json.loads(lagging.callctl("hangup", sid, "--json").out)["call"]["status"] == "completed"


@pytest.mark.parametrize("readings", [[], ["cancel-refused-in-progress"]])
@pytest.mark.parametrize("has_callback", [False, True])
def test_an_answered_call_is_never_said_to_ring(
    callctl: Callctl, home: Path, readings: list[str], has_callback: bool
) -> None:
    with Simulator(port=0, manual_clock=True, lag=4.0, readings=readings) as simulator:
        setup = CliSetup(simulator, callctl, home)
        sid = setup.place(after=5)
        assert setup.status(sid) == "ringing"
        if has_callback:
            setup.add_callback(sid, "in-progress", at=datetime.now(UTC))
        outcome = setup.callctl("hangup", sid, "--only-ringing")
        known = has_callback or not readings  # the refusal says less than the reply
        assert (outcome.code, outcome.out) == (5, f"{sid}\t{'in-progress' if known else ''}\tnot-ended\n")
        why = "is in progress" if known else "was answered or is over (REST is behind and still shows it as ringing)"
        assert f"callctl: error: not ended: {sid} {why}\nhint: " in outcome.err


def test_a_call_that_ended_while_it_rang_is_not_canceled_and_callbacks_tell(lagging: CliSetup) -> None:
    sid = lagging.place(BUSY, after=4)
    assert lagging.status(sid) in ("queued", "ringing")
    lagging.add_callback(sid, "busy", at=datetime.now(UTC))
    outcome = lagging.callctl("hangup", sid, "--only-ringing")
    assert (outcome.code, outcome.out) == (0, f"{sid}\tbusy\talready-over\n")


def scripted(callctl: Callctl, server: Server, *args: str) -> tuple[int, str, str]:
    env = {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "fake-token",
        "CALLCTL_API_URL": server.url,
    }
    outcome = callctl("hangup", *args, env=env)
    return outcome.code, outcome.out, messages(outcome)


def test_what_is_accepted_is_said_to_be_accepted(callctl: Callctl) -> None:
    sid = "CA" + "1" * 32
    with Server(reply(200, call(status="ringing"))) as server:
        assert scripted(callctl, server, sid) == (
            0,
            f"{sid}\tringing\taccepted\n",
            f"callctl: hang-up accepted: {sid} is still ringing\n",
        )


def test_an_answer_without_a_status_is_not_reported_as_one(callctl: Callctl) -> None:
    sid = "CA" + "1" * 32
    with Server(reply(200, {"sid": sid})) as server:
        assert scripted(callctl, server, sid) == (
            0,
            f"{sid}\t\taccepted\n",
            f"callctl: hang-up accepted: {sid}; its status is not known\n",
        )
        waited = scripted(callctl, server, sid, "--wait", "--wait-timeout", "50ms")
    assert waited[0] == 9
    assert "but after 0.05 s it is not known to have ended\n" in waited[2]


def test_wait_polls_until_the_call_has_ended(callctl: Callctl) -> None:
    sid = "CA" + "1" * 32
    turns = [reply(200, call(status=status)) for status in ("ringing", "ringing", "canceled")]
    with Server(*turns) as server:
        code, out, _ = scripted(callctl, server, sid, "--wait")
        assert (code, out) == (0, f"{sid}\tcanceled\tended\n")
        assert [request.method for request in server.received] == ["POST", "GET", "GET"]


def test_what_is_waited_for_is_written_down_before(callctl: Callctl, home: Path) -> None:
    """Once, dated at the request: a rule that receives the end must find which command ended the call."""
    sid = "CA" + "1" * 32
    turns = [reply(200, call(status=status)) for status in ("in-progress", "in-progress", "completed")]
    with Server(*turns) as server:
        assert scripted(callctl, server, sid, "--wait")[0] == 0
    with sqlite3.connect(home / ".local/state/callctl/events.db") as store:
        ((record,),) = store.execute("SELECT record FROM actions").fetchall()
    store.close()
    action = json.loads(record)
    assert (action["call_sid"], action["action"], action["outcome"]) == (sid, "hangup", "accepted, still in-progress")


OVER = reply(400, {"code": 21220, "message": "Call is not in-progress.", "status": 400})


def actions_of(home: Path) -> list[tuple[str, str, str]]:
    """Return the action, the result and the outcome of what the store holds."""
    with sqlite3.connect(home / ".local/state/callctl/events.db") as store:
        records = [json.loads(record) for (record,) in store.execute("SELECT record FROM actions")]
    store.close()
    return [(record["action"], record["result"], record["outcome"]) for record in records]


def test_what_a_try_without_an_answer_ended_is_reported_as_ended(callctl: Callctl, home: Path) -> None:
    sid = "CA" + "1" * 32
    with Server(drop(), OVER, reply(200, call(status="completed"))) as server:
        code, out, said = scripted(callctl, server, sid)
    assert (code, out) == (0, f"{sid}\tcompleted\tended\n")
    assert f"callctl: ended: {sid} is completed\n" in said
    assert actions_of(home) == [("hangup", "done", "completed")]


@pytest.mark.parametrize("more", [(), ("CA" + "2" * 32,)], ids=["alone", "several"])
def test_a_call_that_may_have_been_ended_is_written_down_as_such(
    callctl: Callctl, home: Path, more: tuple[str, ...]
) -> None:
    """A rule that receives the end must find which command may have ended the call."""
    with Server(reply(502)) as server:
        assert scripted(callctl, server, "CA" + "1" * 32, *more)[0] == (8 if more else 1)
    outcome_text = f"outcome unknown: {server.url.removeprefix('http://')} answered HTTP 502 Bad Gateway"
    assert [(action, result) for action, result, _ in actions_of(home)] == [("hangup", "unknown")] * (1 + len(more))
    assert all(outcome.startswith(outcome_text) for _, _, outcome in actions_of(home))


@pytest.mark.parametrize("turn", [reply(200, b"<html>"), reply(500, b""), drop()])
@pytest.mark.parametrize("more", [(), ("CA" + "2" * 32,)], ids=["alone", "several"])
def test_a_call_that_may_have_been_ended_is_said_to_be(callctl: Callctl, turn: Turn, more: tuple[str, ...]) -> None:
    sid = "CA" + "1" * 32
    with Server(turn) as server:
        code, out, said = scripted(callctl, server, sid, *more)
    assert code != 0
    assert "\tended" not in out
    assert "; the call may have been ended\n" in said
    assert f"hint: look: `callctl show {sid}`" in said


def test_a_call_that_is_over_by_a_try_without_an_answer_is_written_down_too(callctl: Callctl, home: Path) -> None:
    with Server(drop(), OVER, reply(200, call(status="in-progress"))) as server:
        assert "already over" in scripted(callctl, server, "CA" + "1" * 32)[2]
    assert actions_of(home) == [("hangup", "unknown", "outcome unknown: the first request was not answered")]


def test_what_was_refused_is_not_written_down(callctl: Callctl, home: Path) -> None:
    with Server(OVER, reply(200, call(status="busy"))) as server:
        assert scripted(callctl, server, "CA" + "1" * 32)[0] == 0
    assert not (home / ".local/state/callctl/events.db").exists() or actions_of(home) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("more", [(), ("CA" + "2" * 32,)], ids=["alone", "several"])
def test_after_a_signal_it_says_what_may_have_been_ended(
    home: Path, more: tuple[str, ...], sent: signal.Signals
) -> None:
    sids = ["CA" + "1" * 32, *more]
    requests_received = threading.Semaphore(0)

    def wait(handler: Handler) -> None:
        if handler.command == "GET":  # of several it is asked which dialled which
            reply(404)(handler)
            return
        requests_received.release()
        hang()(handler)

    with Server(wait) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        with Piped("hangup", *sids, home=home, env=env) as command:
            for _ in sids:
                assert requests_received.acquire(timeout=LIMIT)
            assert command.interrupt(sent) == 130
            said = command.until_said("may have been ended: ")
    assert all(sid in said for sid in sids)
    why = "outcome unknown: the answer was not waited for"
    assert actions_of(home) == [("hangup", "unknown", why)] * len(sids)


def test_where_the_terminal_is_gone_too_it_records_what_may_have_been_ended(home: Path) -> None:
    received = threading.Event()

    def wait(handler: Handler) -> None:
        received.set()
        hang()(handler)

    with Server(wait) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        with OnTerminal("hangup", "CA" + "1" * 32, home=home, env=env) as terminal:
            assert received.wait(timeout=LIMIT)
            terminal.hang_up()
    assert actions_of(home) == [("hangup", "unknown", "outcome unknown: the answer was not waited for")]


@pytest.mark.parametrize("command", [("hangup",), ("redirect", "--url", "https://a.example/x")], ids=lambda one: one[0])
@pytest.mark.parametrize("count", [1, 2])
def test_what_waits_to_be_tried_again_at_ctrl_c_is_not_said_to_be_unknown(
    home: Path, command: tuple[str, ...], count: int
) -> None:
    busy = reply(429, {"code": 20429, "message": "Too Many Requests", "status": 429}, Retry_After="30")

    def answer(handler: Handler) -> None:
        sid = handler.path.split("/")[-1].removesuffix(".json")
        found = {"calls": []} if sid.startswith("Calls") else {**call(status="in-progress"), "sid": sid}
        (busy if handler.command == "POST" else reply(200, found))(handler)

    sids = [f"CA{number:032d}" for number in range(count)]
    with Server(answer) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        with Piped(command[0], *sids, *command[1:], home=home, env=env) as process:
            process.until(lambda: process.said.count("trying again in 30.0 s") == count)
            assert process.interrupt() == 130
            assert "may have been ended:" not in process.said
            assert "may have been redirected" not in process.said


def test_wait_gives_up_with_exit_9(callctl: Callctl) -> None:
    sid = "CA" + "1" * 32
    with Server(reply(200, call(status="ringing"))) as server:
        code, out, said = scripted(callctl, server, sid, "--wait", "--wait-timeout", "50ms")
        assert (code, out) == (9, f"{sid}\tringing\taccepted\n")
        assert f"the hang-up of {sid} was accepted, but after 0.05 s it is still ringing" in said


def test_all_hang_ups_are_sent_before_any_end_is_waited_for(callctl: Callctl) -> None:
    """With one request at a time as well: each call goes on until the other one is hung up, too."""
    sids = ["CA" + digit * 32 for digit in "123"]
    hung_up: list[str] = []

    def answer(handler: Handler) -> None:
        sid = handler.path.split("/")[-1].removesuffix(".json")
        if handler.command == "POST":
            hung_up.append(sid)
        status = "completed" if len(hung_up) == len(sids) and handler.command == "GET" else "in-progress"
        reply(200, {**call(status=status), "sid": sid})(handler)

    with Server(answer) as server:
        code, out, _ = scripted(callctl, server, *sids, "--parallel", "1", "--wait", "--wait-timeout", "5s")
        assert (code, sorted(out.splitlines())) == (0, [f"{sid}\tcompleted\tended" for sid in sids])
        methods = [request.method for request in server.received]
    last = len(methods) - methods[::-1].index("POST")
    assert methods[last - 3 : last] == ["POST"] * 3
    assert hung_up == sids


def test_calls_that_are_read_back_hold_no_other_up(callctl: Callctl) -> None:
    sids = ["CA" + digit * 32 for digit in "123"]
    canceled: list[str] = []

    def answer(handler: Handler) -> None:
        sid = handler.path.split("/")[-1].removesuffix(".json")
        if handler.command == "POST":
            canceled.append(sid)
        status = "canceled" if len(canceled) == len(sids) and handler.command == "GET" else "ringing"
        reply(200, {**call(status=status), "sid": sid})(handler)

    with Server(answer) as server:
        code, out, _ = scripted(callctl, server, *sids, "--parallel", "1", "--only-ringing")
    assert (code, sorted(out.splitlines())) == (0, [f"{sid}\tcanceled\tended" for sid in sids])


def test_waiting_in_vain_for_one_of_several_is_a_part_that_failed(callctl: Callctl) -> None:
    first, second = "CA" + "1" * 32, "CA" + "2" * 32
    with Server(reply(200, call(status="ringing"))) as server:
        assert scripted(callctl, server, first, second, "--wait", "--wait-timeout", "50ms")[0] == 8


def test_a_call_that_can_not_be_fetched_after_its_hang_up_was_accepted_is_not_said_to_go_on(callctl: Callctl) -> None:
    sids = ["CA" + digit * 32 for digit in "12"]
    hung_up: set[str] = set()

    def answer(handler: Handler) -> None:
        sid = handler.path.split("/")[-1].removesuffix(".json")
        if handler.command == "POST":
            hung_up.add(sid)
        if handler.command == "GET" and sid == sids[0] and sid in hung_up:
            reply(403, {"code": 20003, "message": "Forbidden"})(handler)
        else:
            status = "completed" if handler.command == "GET" and sid in hung_up else "in-progress"
            reply(200, {**call(status=status), "sid": sid})(handler)

    with Server(answer) as server:
        code, out, said = scripted(callctl, server, *sids, "--wait", "--wait-timeout", "50s")
    assert code == 8
    assert sorted(out.splitlines()) == [f"{sids[0]}\tin-progress\taccepted", f"{sids[1]}\tcompleted\tended"]
    assert f"callctl: {sids[0]}: its hang-up was accepted, and then: " in said
    assert "1 of 2 calls not known to have ended" in said


@pytest.mark.parametrize(
    ("command", "method"),
    [
        (["hangup"], "hangup"),
        (["hangup", "--only-ringing"], "cancel"),
        (["redirect", "--say", "x"], "redirect"),
        (["hangup", "--all", "--yes", "--max", "9"], "hangup"),
    ],
    ids=" ".join,
)
def test_what_was_asked_is_dated_before_its_request(
    setup: CliSetup, monkeypatch: pytest.MonkeyPatch, command: list[str], method: str
) -> None:
    """Its callbacks may arrive before the answer, and are not to stand before it."""
    name, *options = command
    sid = setup.place(NEVER if method == "cancel" else ANSWERS, after=5)
    setup.add_callback(sid, "ringing", at=datetime.now(UTC))
    sent: list[datetime] = []
    send = getattr(ApiClient, method)

    def noting(*args: Any) -> Any:
        sent.append(datetime.now(UTC))
        return send(*args)

    monkeypatch.setattr(ApiClient, method, noting)
    assert setup.callctl(name, *([] if "--all" in options else [sid]), *options).code == 0
    timeline = json.loads(setup.callctl("show", sid, "--json").out)["timeline"]
    (action,) = [item for item in timeline if item["type"] == "action"]
    assert len(sent) == 1
    assert datetime.fromisoformat(action["at"]) <= sent[0]
