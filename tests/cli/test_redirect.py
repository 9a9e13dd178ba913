"""``redirect``: which document, what is said of the other leg before, and what is said when it is refused."""

from __future__ import annotations

import json
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api.scripted import ReceivedRequest, Server, Turn, call, cut, drop, hang, reply
from cli.dialled import CHILD, PARENT, Dialled
from cli.setup import ANSWERS, BUSY, LONG, NEVER, UNKNOWN, CliSetup, messages, settled
from processes import LIMIT, Piped
from running import Callctl, env_for

from callctl.simulator import Simulator

SID = "CA" + "1" * 32


def form(setup: CliSetup) -> dict[str, str]:
    """Return the form of the last request that changed a call."""
    return {name: " ".join(values) for name, values in setup.sent()[-1].form.items()}


def test_to_a_named_url(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("redirect", sid, "--url", "survey")
    assert (outcome.code, outcome.out) == (0, f"{sid}\tin-progress\tredirected\n")
    assert messages(outcome) == f"callctl: redirected to survey: {sid} is in-progress\n"
    assert form(setup) == {"Url": setup.survey}


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_on_a_terminal_it_is_a_sentence(setup: CliSetup, env: dict[str, str]) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("redirect", sid, "--url", "survey", terminal=True, env=env)
    assert (outcome.code, outcome.out) == (0, f"redirected to survey: {sid} is in-progress\n")
    assert messages(outcome) == ""


def test_json_is_one_object(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    record = json.loads(setup.callctl("redirect", parent, "--url", "survey", "--json").out)
    resource = record.pop("call")
    assert record == {
        "v": 1,
        "type": "action",
        "action": "redirect",
        "call_sid": parent,
        "result": "redirected",
        "outcome": f"redirected to survey: {parent} is in-progress",
        "request": {"Url": setup.survey},
        "api_url": setup.simulator.url,
        "other_legs": [
            {
                "call_sid": child,
                "relation": "child",
                "effect": "talking to client:ann: drops, and the Dial's action, if it has one, is requested as well",
            }
        ],
    }
    assert (resource["sid"], resource["status"]) == (parent, "in-progress")


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (("--url", "https://example.com/x", "--method", "get"), {"Url": "https://example.com/x", "Method": "GET"}),
        (("--url", "after-hours"), {"Url": "https://example.com/late", "Method": "GET"}),
        (
            ("--url", "https://example.com/x", "--fallback-url", "after-hours"),
            {"Url": "https://example.com/x", "FallbackUrl": "https://example.com/late", "FallbackMethod": "GET"},
        ),
        (("--twiml", "<Response><Hangup/></Response>"), {"Twiml": "<Response><Hangup/></Response>"}),
        (("--say", "Goodbye"), {"Twiml": "<Response><Say>Goodbye</Say></Response>"}),
        (
            ("--conference", "room 1"),
            {"Twiml": "<Response><Dial><Conference>room 1</Conference></Dial></Response>"},
        ),
        (
            ("--dial", "client:bob", "--dial", "+12025550101"),
            {"Twiml": "<Response><Dial><Client>bob</Client><Number>+12025550101</Number></Dial></Response>"},
        ),
    ],
)
def test_every_kind_of_document(setup: CliSetup, options: tuple[str, ...], sent: dict[str, str]) -> None:
    sid = setup.place(after=4)
    named = {"CALLCTL_URL_AFTER_HOURS": "GET https://example.com/late"}
    assert setup.callctl("redirect", sid, *options, env=named).code == 0
    assert form(setup) == sent


def test_twiml_from_stdin_and_from_a_file(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    document = "<Response><Pause length='60'/></Response>"
    (setup.home / "pause.xml").write_text(document)
    for option, stdin in (("-", document), ("@pause.xml", "")):
        assert setup.callctl("redirect", sid, "--twiml", option, stdin=stdin).code == 0
        assert form(setup) == {"Twiml": document}


def test_add_callbacks_has_the_legs_report(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    document = "<Response><Dial><Client>bob</Client></Dial></Response>"
    warned = setup.callctl("redirect", sid, "--twiml", document)
    assert "no events will come of it" in warned.err
    env = {"CALLCTL_PUBLIC_URL": "http://127.0.0.1:9/status"}
    assert setup.callctl("redirect", sid, "--twiml", document, "--add-callbacks", env=env).code == 0
    assert 'statusCallback="http://127.0.0.1:9/status' in form(setup)["Twiml"]


def test_no_status_is_ever_sent_and_help_says_why(setup: CliSetup, capsys: pytest.CaptureFixture[str]) -> None:
    sid = setup.place(after=4)
    setup.callctl("redirect", sid, "--url", "survey")
    assert "Status" not in form(setup)
    setup.callctl("redirect", "--help")
    assert "No Status is ever sent with it: Twilio leaves open which" in " ".join(capsys.readouterr().out.split())


def test_what_was_asked_is_written_down(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    setup.callctl("redirect", sid, "--url", "survey")
    assert "to survey" in setup.callctl("show", sid).out


def test_of_a_parent_it_says_that_the_child_drops(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    outcome = setup.callctl("redirect", parent, "--url", "survey")
    assert outcome.code == 0
    assert messages(outcome) == (
        f"callctl: {parent} is the phone that was called, {ANSWERS} (outbound-api)\n"
        f"callctl: its child leg {child}: talking to client:ann: drops, and the Dial's action, if it has one, "
        "is requested as well\n"
        f"callctl: redirected to survey: {parent} is in-progress\n"
    )
    setup.simulator.advance(2)
    assert setup.status(child) == "completed"


def test_of_a_child_it_says_whose_phone_it_is_and_what_the_parent_does(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    outcome = setup.callctl("redirect", child, "--say", "Goodbye, and thank you")
    assert outcome.code == 0
    assert messages(outcome) == (
        f"callctl: {child} is the phone that <Dial> called, client:ann (outbound-dial)\n"
        f"callctl: its parent leg {parent}: if it is live, hangs up: its Dial has no action, and no verb behind it\n"
        f"callctl: redirected to other TwiML: {child} is in-progress\n"
    )
    setup.simulator.advance(2)
    assert setup.status(parent) == "completed"


def test_a_parent_that_callbacks_reported_as_live_is_said_to_go_on(setup: CliSetup) -> None:
    parent, child = setup.talking()
    setup.add_callback(parent, "in-progress", at=datetime.now(UTC))
    outcome = setup.callctl("redirect", child, "--url", "survey")
    assert f"its parent leg {parent}: goes on with the Dial's action, else" in outcome.err
    ended = setup.callctl("hangup", child)
    assert f"its parent {parent} goes on" in ended.err


def test_a_child_that_was_redirected_out_of_the_dial_is_not_said_to_drop(setup: CliSetup) -> None:
    parent = setup.place(ANSWERS, "--dial", "client:ann", "--then", "survey", after=5)
    child = setup.callctl("list", "--parent", parent, "-q").out.strip()
    setup.callctl("redirect", child, "--say", LONG)
    setup.simulator.advance(1)
    outcome = setup.callctl("redirect", parent, "--say", LONG)
    assert outcome.code == 0
    assert f"its child leg {child}: goes on: it was redirected out of the Dial at " in outcome.err
    assert "drops" not in outcome.err
    setup.simulator.advance(2)
    assert (setup.status(parent), setup.status(child)) == ("in-progress", "in-progress")
    second = setup.callctl("redirect", child, "--say", LONG)
    assert f"its parent leg {parent}: if it is live, goes on: this leg was redirected out of its Dial at " in second.err
    both = setup.callctl("redirect", parent, child, "--say", LONG)
    assert both.code == 0
    assert "both legs of a <Dial> are named" not in both.err
    ended = setup.callctl("hangup", child)
    assert f"its parent {parent}, if it is live, goes on: this leg was redirected out of its Dial at " in ended.err
    setup.simulator.advance(2)
    assert setup.status(parent) == "in-progress"


def test_it_is_said_before_it_is_done(callctl: Callctl) -> None:
    # The server refuses the redirect; what was to happen to the other leg has been said by then.
    child = call("CA" + "2" * 32, status="in-progress", parent_call_sid=SID)

    class Family(Server):
        def take(self, request):  # type: ignore[no-untyped-def]
            super().take(request)
            if request.method == "POST":
                return reply(400, {"code": 20001, "message": "no", "status": 400})
            if request.path.endswith("/Calls.json"):
                return reply(200, {"calls": [child], "next_page_uri": None})
            return reply(200, call(status="in-progress"))

    with Family(reply(500)) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        outcome = callctl("redirect", SID, "--say", "x", env=env)
    assert outcome.code == 1
    assert (
        "drops, and the Dial's action, if it has one, is requested as well" in outcome.err.split("callctl: error:")[0]
    )


def test_a_look_that_is_not_allowed_does_not_keep_it_from_acting(callctl: Callctl) -> None:
    class NoReading(Server):
        def take(self, request):  # type: ignore[no-untyped-def]
            super().take(request)
            if request.method == "POST":
                return reply(200, call(status="in-progress"))
            return reply(403, {"code": 70051, "message": "may not read", "status": 403})

    with NoReading(reply(500)) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        outcome = callctl("redirect", SID, "--say", "x", env=env)
    assert (outcome.code, outcome.out) == (0, f"{SID}\tin-progress\tredirected\n")
    assert f"can't tell what happens to the other leg of {SID}: may not read" in outcome.err


def test_an_answer_that_breaks_off_is_not_reported_as_a_status(callctl: Callctl) -> None:
    class BreakingOff(Server):
        def take(self, request):  # type: ignore[no-untyped-def]
            super().take(request)
            if request.method == "POST":
                return cut(b'{"sid": "%s", "sta' % SID.encode())
            if request.path.endswith("/Calls.json"):
                return reply(200, {"calls": [], "next_page_uri": None})
            return reply(200, call(status="in-progress"))

    with BreakingOff(reply(500)) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        outcome = callctl("redirect", SID, "--say", "x", env=env)
        record = json.loads(callctl("redirect", SID, "--say", "x", "--json", env=env).out)
    assert (outcome.code, outcome.out) == (0, f"{SID}\t\tredirected\n")
    assert f"redirected to other TwiML: {SID}; the answer could not be read whole\n" in outcome.err
    assert (record["result"], record["call"]) == ("redirected", None)


@pytest.mark.parametrize(("turn", "code"), [(drop(), 6), (reply(502), 1)], ids=["broken", "502"])
def test_what_may_have_been_redirected_is_written_down_as_such(callctl: Callctl, turn: Turn, code: int) -> None:
    """A rule that receives the child's end must find that it may have been redirected."""

    class NotAnswering(Server):
        def take(self, request):  # type: ignore[no-untyped-def]
            super().take(request)
            return turn if request.method == "POST" else reply(200, call(status="in-progress") | {"calls": []})

    with NotAnswering(reply(500)) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        assert callctl("redirect", SID, "--say", "x", env=env).code == code
        shown = callctl("show", SID, env=env).out
    assert f"\t{SID}\tredirect\toutcome unknown: " in shown


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_after_a_signal_it_says_and_records_what_may_have_been_redirected(
    callctl: Callctl, home: Path, sent: signal.Signals
) -> None:
    received = threading.Event()

    class NotAnswering(Server):
        def take(self, request):  # type: ignore[no-untyped-def]
            super().take(request)
            if request.method == "GET":
                return reply(200, call(status="in-progress") | {"calls": []})
            received.set()
            return hang()

    with NotAnswering(reply(500)) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        with Piped("redirect", SID, "--say", "x", home=home, env=env) as command:
            assert received.wait(timeout=LIMIT)
            assert command.interrupt(sent) == 130
            command.until_said(f"may have been redirected: {SID}")
        shown = callctl("show", SID, env=env).out
    assert f"\t{SID}\tredirect\toutcome unknown: the answer was not waited for" in shown


def test_one_named_call_is_never_asked_about(setup: CliSetup) -> None:
    parent, _ = setup.dialled()
    outcome = setup.callctl("redirect", parent, "--url", "survey", terminal=True, keyboard=True)
    assert (outcome.code, outcome.out) == (0, f"redirected to survey: {parent} is in-progress\n")


def test_on_parent_and_on_children_act_on_the_other_legs(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    assert setup.callctl("redirect", parent, "--on", "children", "--say", "x").out.split("\t")[0] == child
    parent, child = setup.dialled()
    assert setup.callctl("redirect", child, "--on", "parent", "--url", "survey").out.split("\t")[0] == parent


@pytest.mark.parametrize(("on", "said"), [("parent", "has no parent leg"), ("children", "has no live child leg")])
def test_without_another_leg_it_exits_3(setup: CliSetup, on: str, said: str) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("redirect", sid, "--on", on, "--url", "survey")
    assert outcome.code == 3
    assert said in outcome.err
    assert setup.sent() == []


def test_several_at_once(setup: CliSetup) -> None:
    first, second = setup.place(), setup.place()
    setup.simulator.advance(4)
    outcome = setup.callctl("redirect", first, UNKNOWN, second, "--url", "survey")
    assert outcome.code == 8
    assert sorted(outcome.out.splitlines()) == sorted(
        [f"{first}\tin-progress\tredirected", f"{second}\tin-progress\tredirected", f"{UNKNOWN}\t\tfailed"]
    )
    assert f"1 of 3 calls not redirected: {UNKNOWN}" in outcome.err
    assert "\n  code 20404, HTTP 404, https://www.twilio.com/docs/errors/20404, request RQ" in outcome.err


def test_the_sid_of_one_of_several_is_said_once(setup: CliSetup) -> None:
    ringing, talking = setup.place(NEVER), setup.place()
    setup.simulator.advance(4)
    outcome = setup.callctl("redirect", ringing, talking, "--url", "survey")
    assert f"callctl: error: {ringing} can't be redirected: it is ringing" in outcome.err


def test_several_as_json_lines_and_from_stdin(setup: CliSetup) -> None:
    sids = [setup.place(), setup.place()]
    setup.simulator.advance(4)
    outcome = setup.callctl("redirect", "-", "--url", "survey", "--json", stdin="\n".join(sids))
    assert outcome.code == 0
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert sorted(record["call_sid"] for record in records) == sorted(sids)
    assert {record["result"] for record in records} == {"redirected"}


def test_an_empty_pipe_is_nothing_to_do(setup: CliSetup) -> None:
    outcome = setup.callctl("redirect", "-", "--url", "survey", "--json", stdin="\n")
    assert (outcome.code, outcome.out) == (0, "")
    assert messages(outcome) == "callctl: no calls on stdin: nothing to do\n"


def test_of_both_legs_the_child_goes_first_with_a_warning(setup: CliSetup) -> None:
    parent, child = setup.talking()
    outcome = setup.callctl("redirect", parent, child, "--url", "survey")
    assert "both legs of a <Dial> are named" in outcome.err
    assert [one.path.rpartition("/")[2] for one in setup.sent()] == [f"{child}.json", f"{parent}.json"]


def test_of_both_legs_the_child_goes_first_also_when_answered(callctl: Callctl) -> None:
    """Its redirect takes longer than the parent's would."""
    parent, child = "CA" + "1" * 32, "CA" + "2" * 32
    begun: list[str] = []

    class Slow(Server):
        def take(self, request: ReceivedRequest) -> Turn:
            super().take(request)
            asked = request.path.partition("?")[0].rpartition("/")[2].removesuffix(".json")
            if asked == "Calls":
                return reply(200, {"calls": []})
            if request.method == "POST":
                begun.append(asked)
                until = time.monotonic() + (1 if asked == child else 0)
                while begun == [child] and time.monotonic() < until:  # the parent's must not come meanwhile
                    time.sleep(0.01)
                begun.append(f"{asked} done")
            return reply(200, call(asked, status="in-progress", parent_call_sid=parent if asked == child else None))

    with Slow(reply(404)) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        outcome = callctl("redirect", parent, child, "--say", "Hello", "--when", "answered", env=env)
    assert outcome.code == 0
    assert begun == [child, f"{child} done", parent, f"{parent} done"]
    assert "both legs of a <Dial> are named" in outcome.err


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_parent_that_is_known_to_hang_up_before_its_turn_is_refused_also_when_answered(
    setup: CliSetup, more: tuple[str, ...]
) -> None:
    parent = setup.place(ANSWERS, "--dial", "client:ann", after=5.0)
    child = setup.callctl("list", "--parent", parent, "-q").out.strip()
    outcome = setup.callctl("redirect", parent, child, "--url", "survey", "--when", "answered", *more)
    assert (outcome.code, outcome.out) == (8, "")
    assert f"callctl: error: {parent} would hang up before its turn, and {child} be alone" in outcome.err
    assert setup.sent() == []


def test_a_parent_is_left_alone_while_its_child_rings_and_goes_once_that_is_over(setup: CliSetup) -> None:
    parent = setup.place(ANSWERS, "--dial", NEVER, "--then", "survey", after=5.0)
    child = setup.callctl("list", "--parent", parent, "-q").out.strip()
    args = (parent, child, "--say", "Hello", "--when", "answered", "--wait-timeout")
    outcome = setup.callctl("redirect", *args, "300ms")
    assert outcome.code == 8
    assert f"{child} is not in-progress after 0.3 s: it is ringing" in outcome.err
    assert f"{parent} was left alone: its child leg {child} was not redirected, and would be dropped" in outcome.err
    assert setup.sent() == []
    setup.simulator.advance(35)
    assert setup.status(child) == "no-answer"
    outcome = setup.callctl("redirect", *args, "300ms")
    assert f"{child} did not get to in-progress: it ended no-answer" in outcome.err
    assert [one.path.rpartition("/")[2] for one in setup.sent()] == [f"{parent}.json"]


def test_legs_that_are_each_others_parents_do_not_wait_for_each_other(callctl: Callctl) -> None:
    one, two = "CA" + "1" * 32, "CA" + "2" * 32

    class Nonsense(Server):
        def take(self, request: ReceivedRequest) -> Turn:
            super().take(request)
            asked = request.path.partition("?")[0].rpartition("/")[2].removesuffix(".json")
            if asked == "Calls":
                return reply(200, {"calls": []})
            return reply(200, call(asked, status="in-progress", parent_call_sid=two if asked == one else one))

    with Nonsense(reply(404)) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        outcome = callctl("redirect", one, two, "--say", "Hello", "--when", "answered", env=env)
    assert (outcome.code, sorted(outcome.out.split()[::3])) == (0, [one, two])


def test_a_ringing_call_is_refused_with_the_command_that_would_work(setup: CliSetup) -> None:
    sid = setup.place(NEVER, after=3)
    setup.add_callback(sid, "ringing", at=datetime.now(UTC) - timedelta(seconds=3600))
    outcome = setup.callctl("redirect", sid, "--url", "survey")
    assert (outcome.code, outcome.out) == (5, "")
    said = messages(outcome)
    assert f"callctl: error: {sid} can't be redirected: it is ringing, since " in said
    assert "code 21220, HTTP 400" in said
    assert (
        f"hint: `callctl redirect {sid} --url survey --when answered` waits until it can be; "
        f"`callctl hangup {sid}` ends it\n" in said
    )


def test_a_call_that_is_over_is_refused(setup: CliSetup) -> None:
    sid = setup.place(BUSY, after=5)
    outcome = setup.callctl("redirect", sid, "--url", "survey", "--json")
    assert outcome.code == 5
    error = json.loads(outcome.err.splitlines()[-1])
    assert error["message"] == f"{sid} can't be redirected: it is busy"
    assert "callctl list --live" in error["hint"]


def test_what_callbacks_say_is_in_progress_is_tried_again(setup: CliSetup) -> None:
    refused = reply(400, {"code": 21220, "message": "Call is not in-progress. Cannot redirect.", "status": 400})

    class Late(Server):
        refusals = 3

        def take(self, request):  # type: ignore[no-untyped-def]
            super().take(request)
            if request.method == "POST":
                self.refusals -= 1
                return refused if self.refusals >= 0 else reply(200, call(status="in-progress"))
            if request.path.endswith("/Calls.json"):
                return reply(200, {"calls": [], "next_page_uri": None})
            return reply(200, call(status="ringing"))

    with Late(reply(500)) as server:
        env = {"CALLCTL_API_URL": server.url}
        setup.add_callback(SID, "in-progress", at=datetime.now(UTC), env=env)
        outcome = setup.callctl("redirect", SID, "--say", "x", env=env)
        assert (outcome.code, outcome.out) == (0, f"{SID}\tin-progress\tredirected\n")
        assert [request.method for request in server.received].count("POST") == 4


@pytest.mark.parametrize("over", ["parent", "child"])
def test_nothing_is_said_of_another_leg_that_has_ended_by_its_callback(setup: CliSetup, over: str) -> None:
    """REST may be behind: here it shows both as live."""
    parent, child = setup.talking()
    ended, named = (parent, child) if over == "parent" else (child, parent)
    setup.add_callback(ended, "completed", at=datetime.now(UTC), parent=parent if over == "child" else None)
    outcome = setup.callctl("redirect", named, "--url", "survey")
    assert outcome.code == 0
    assert ended not in outcome.err


@pytest.mark.parametrize("when", [(), ("--when", "answered")], ids=["now", "when"])
def test_a_call_whose_end_was_reported_before_is_not_said_to_be_redirected(
    setup: CliSetup, when: tuple[str, ...]
) -> None:
    """REST is behind, and takes the form."""
    sid, other = setup.place(after=4), setup.place(after=4)
    setup.add_callback(sid, "completed", at=datetime.now(UTC))
    named = setup.callctl("redirect", sid, "--url", "survey", *when)
    assert (named.code, named.out) == (5, "")
    assert f"{sid} can't be redirected: it is completed" in named.err
    as_json = setup.callctl("redirect", sid, "--url", "survey", "--json", *when)
    assert (as_json.code, as_json.out) == (5, "")
    assert json.loads(as_json.err.splitlines()[-1])["exit_code"] == 5
    many = setup.callctl("redirect", sid, other, "--url", "survey", *when)
    assert many.code == 8
    assert sorted(many.out.splitlines()) == sorted([f"{other}\tin-progress\tredirected", f"{sid}\t\tfailed"])
    assert f"1 of 2 calls not redirected: {sid}" in many.err
    timeline = json.loads(setup.callctl("show", sid, "--json").out)["timeline"]
    assert {one["result"] for one in timeline if one["type"] == "action"} == {"too-late"}


def test_nothing_is_said_of_the_other_legs_of_a_call_that_is_over(setup: CliSetup) -> None:
    """The child was redirected out of the Dial, and goes on by itself."""
    parent, child = setup.talking()
    setup.add_callback(parent, "completed", at=datetime.now(UTC))
    outcome = setup.callctl("redirect", parent, "--url", "survey", "--dry-run")
    assert outcome.code == 5
    assert child not in outcome.err
    assert "it has no other leg" not in outcome.err


@pytest.mark.parametrize("status", ["answered", "in-progress"])
def test_when_answered_waits_for_the_answer(callctl: Callctl, setup: CliSetup, status: str) -> None:
    with Simulator(port=0, speed=20) as simulator:
        other = CliSetup(simulator, callctl, setup.home)
        sid = callctl_place(other)
        outcome = other.callctl("redirect", sid, "--url", "survey", "--when", status)
        assert (outcome.code, outcome.out) == (0, f"{sid}\tin-progress\tredirected\n")


def callctl_place(setup: CliSetup) -> str:
    return setup.callctl("place", ANSWERS, "--say", "x " * 900, "--status-callback", "none").out.strip()


def test_when_answered_gives_up_when_nobody_answers(setup: CliSetup) -> None:
    sid = setup.place(BUSY)

    def let_it_be_busy() -> None:
        while not setup.sent("GET"):  # until it was found waiting
            time.sleep(0.01)
        setup.simulator.advance(5)

    busy = threading.Thread(target=let_it_be_busy)
    busy.start()
    outcome = setup.callctl("redirect", sid, "--url", "survey", "--when", "answered")
    busy.join()
    assert (outcome.code, outcome.out) == (8, "")
    assert "busy" in outcome.err
    assert setup.sent() == []


def test_when_answered_has_a_limit(setup: CliSetup) -> None:
    sid = setup.place(NEVER, after=3)
    args = ("--url", "survey", "--when", "answered", "--wait-timeout", "300ms")
    outcome = setup.callctl("redirect", sid, *args)
    assert (outcome.code, outcome.out) == (9, "")
    assert f"{sid} is not in-progress after 0.3 s: it is ringing" in outcome.err
    talking = setup.place()
    setup.simulator.advance(4)
    outcome = setup.callctl("redirect", sid, talking, *args)
    assert outcome.code == 8
    assert sorted(outcome.out.splitlines()) == sorted([f"{talking}\tin-progress\tredirected", f"{sid}\t\tfailed"])
    assert len(setup.sent()) == 1


def test_of_several_none_waits_for_another(setup: CliSetup) -> None:
    talking, ringing = setup.place(), setup.place(NEVER)
    setup.simulator.advance(4)

    def end_the_other() -> None:
        while not setup.sent():  # until the one that talks has been redirected
            time.sleep(0.01)
        setup.callctl("hangup", ringing)

    ending = threading.Thread(target=end_the_other)
    ending.start()
    outcome = setup.callctl("redirect", ringing, talking, "--url", "survey", "--when", "answered")
    ending.join()
    assert outcome.code == 8
    assert sorted(outcome.out.splitlines()) == sorted([f"{talking}\tin-progress\tredirected", f"{ringing}\t\tfailed"])


def test_of_many_that_ring_none_keeps_one_that_talks_waiting(setup: CliSetup) -> None:
    """More than there are requests at once: each is followed from the beginning."""
    ringing = [setup.place(NEVER) for _ in range(22)]
    talking = setup.place(after=4)
    redirected_while_they_rang: list[bool] = []

    def end_the_others() -> None:
        until = time.monotonic() + LIMIT
        while not setup.sent() and time.monotonic() < until:
            time.sleep(0.01)
        redirected_while_they_rang.append(bool(setup.sent()))
        setup.callctl("hangup", *ringing)

    ending = threading.Thread(target=end_the_others)
    ending.start()
    outcome = setup.callctl("redirect", *ringing, talking, "--url", "survey", "--when", "answered")
    ending.join()
    assert redirected_while_they_rang == [True]
    assert outcome.code == 8
    assert f"{talking}\tin-progress\tredirected\n" in outcome.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([SID], "nothing says what the call is to do"),
        ([SID, "--say", "x", "--url", "survey"], "exclude each other"),
        ([SID, "--url", "survy"], "no URL is named 'survy'"),
        ([SID, "--say", "x", "--method", "GET"], "--method goes with --url"),
        ([SID, "--url", "survey", "--method", "PUT"], "--method is GET or POST"),
        ([SID, "--url", "survey", "--on", "others"], "--on is parent or children, not others"),
        ([SID, "--url", "survey", "--when", "ringing"], "only a call in progress can be redirected"),
        ([SID, "--url", "survey", "--when", "ended"], "--when is in-progress or answered, not ended"),
        ([SID, "--url", "survey", "--when", "later"], "--when: a call never is later"),
        ([SID, "--say", "x", "--wait-timeout", "5s"], "--wait-timeout goes with --when"),
        ([SID, "--say", "x", "--when", "answered", "--wait-timeout", "x"], "--wait-timeout is no duration: x"),
        ([SID, "--say", "x", "--add-callbacks"], "--add-callbacks goes with --twiml"),
        ([SID, "--say", "x", "--conference", "room"], "--say and --conference exclude each other"),
        ([SID, "--conference", " "], "the conference has no name"),
        ([SID, "--conference", "x" * 129], "the conference's name is too long: 129 characters"),
        ([SID, "--conference", "a\tb"], "control characters in it"),
        ([SID, "--say", "x", "--family"], "--family goes with --conference"),
        ([SID, "--conference", "room", "--family", "--on", "parent"], "--family and --on exclude each other"),
        ([SID, "--conference", "room", "--family", "--when", "answered"], "--family and --when exclude each other"),
        (["-", "--twiml", "-"], "stdin can't hold both"),
        ([], "Missing argument"),
        (["CAxxx", "--url", "survey"], "not a call SID: CAxxx"),
    ],
)
def test_what_makes_no_sense_exits_2_and_sends_nothing(setup: CliSetup, args: list[str], message: str) -> None:
    outcome = setup.callctl("redirect", *args)
    assert outcome.code == 2
    assert message in outcome.err
    assert setup.simulator.requests == ()


def test_a_service_with_uuids_and_codes_as_words(callctl: Callctl, setup: CliSetup) -> None:
    with Simulator(port=0, manual_clock=True, dialect="somleng", base_path="/api/laml") as simulator:
        other = CliSetup(simulator, callctl, setup.home)
        sid = other.place(after=4)
        assert other.callctl("redirect", sid, "--url", "survey").out == f"{sid}\tin-progress\tredirected\n"
        ringing = other.place(NEVER, after=3)
        refused = other.callctl("redirect", ringing, "--url", "survey")
        assert refused.code == 5
        assert f"{ringing} can't be redirected: it is ringing" in refused.err
        assert other.callctl("hangup", ringing).out == f"{ringing}\tcanceled\tended\n"
        assert other.callctl("hangup", ringing).out == f"{ringing}\tcanceled\talready-over\n"


def test_a_call_in_progress_can_be_made_to_report(setup: CliSetup) -> None:
    """It was placed without callbacks, and from the redirect on its end is reported."""
    sid = setup.place(after=4)
    callback_url = f"{setup.simulator.url}/simulator/survey"  # any URL that answers
    outcome = setup.callctl("redirect", sid, "--url", "survey", "--status-callback", callback_url)
    assert outcome.code == 0
    assert form(setup) == {"Url": setup.survey, "StatusCallback": callback_url}
    assert list(setup.simulator.callbacks) == []
    setup.callctl("hangup", sid)
    setup.simulator.advance(1)
    assert [(one.url, one.params["CallStatus"]) for one in setup.simulator.callbacks] == [(callback_url, "completed")]


@pytest.mark.parametrize("given", [(), ("--status-callback", "none")])
def test_unless_asked_a_redirect_changes_nothing_about_callbacks(setup: CliSetup, given: tuple[str, ...]) -> None:
    sid = setup.place(after=4)
    env = {"CALLCTL_PUBLIC_URL": "https://example.com/status"}
    assert setup.callctl("redirect", sid, "--url", "survey", *given, env=env).code == 0
    assert form(setup) == {"Url": setup.survey}


def test_a_call_in_progress_can_be_made_to_report_to_the_watch(setup: CliSetup) -> None:
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=setup.home, env=env_for(setup.simulator)) as watch:
        ready = watch.record()
        sid = setup.place(after=4)
        outcome = setup.callctl("redirect", sid, "--url", "survey", "--status-callback", "watch")
        assert outcome.code == 0
        assert f"status callbacks go to the running watch, {ready['callback_url']}" in outcome.err
        assert form(setup)["StatusCallback"].partition("#")[0] == ready["callback_url"]


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (("--twiml", "<Response/>", "--status-callback", "https://example.com/s"), "beside TwiML", "watch --serve"),
        (("--say", "x", "--status-callback", "watch"), "--status-callback goes with --url", "give --url"),
        (
            ("--url", "survey", "--status-callback", "watch"),
            "no watch or listener is running",
            "start `callctl watch` or `callctl listen` first",
        ),
        (("--url", "survey", "--status-callback", "example.com"), "neither a URL nor", "https:// is missing"),
    ],
)
def test_a_status_callback_that_would_be_ignored_is_refused(
    setup: CliSetup, args: tuple[str, ...], message: str, hint: str
) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("redirect", sid, *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert hint in outcome.err
    assert len(setup.sent()) == 0


def test_the_dry_run_shows_it_and_the_command_for_the_other_leg_repeats_it(setup: CliSetup) -> None:
    parent, child = setup.dialled("--then", "survey")
    callback_url = "https://example.com/status"
    args = ("redirect", parent, "--url", "survey", "--status-callback", callback_url)
    assert f"StatusCallback={callback_url}" in setup.callctl(*args, "--dry-run").out
    said = messages(setup.callctl("redirect", child, *args[2:], "--dry-run"))
    assert f"callctl redirect {parent} --url survey --status-callback {callback_url}" in said


def test_redirect_looks_for_the_call_before_it_looks_for_a_watch(setup: CliSetup) -> None:
    outcome = setup.callctl("redirect", "CAxxx", "--dial", "client:ann")
    assert messages(outcome).startswith("callctl: error: not a call SID: CAxxx (")


def test_a_redirect_of_a_call_that_was_just_ended_does_not_contradict_itself(lagging: CliSetup) -> None:
    sid = settled(lagging)
    lagging.callctl("hangup", sid)
    outcome = lagging.callctl("redirect", sid, "--url", "survey")
    assert outcome.code == 5
    assert "Twilio says that it is not in progress, though REST still shows it as in-progress" in outcome.err


def test_a_parent_that_is_forbidden_after_its_child_was_redirected_is_named(callctl: Callctl) -> None:
    parent, child = PARENT, CHILD
    with Dialled({parent: reply(403)}) as server:
        outcome = callctl("redirect", parent, child, "--url", "https://example.com/survey", env=server.env)
    assert (outcome.code, outcome.out.split("\t")[0]) == (8, child)
    assert f"1 of 2 calls not redirected: {parent}" in outcome.err
