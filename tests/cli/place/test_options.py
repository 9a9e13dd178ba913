"""Every option of ``callctl place``: what goes over the wire, and what is refused before anything does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from api.scripted import Server, drop, reply
from cli.setup import BUSY, CliSetup, messages
from processes import Piped
from running import Callctl, env_for

from callctl.simulator import Simulator

TO = "+12025550103"
FRAGMENT = "#rc=5&rp=5xx,ct,rt&ct=2000&rt=3000"
SAY = ("--say", "Hello")
WITHOUT_CALLBACKS = "<Response><Dial><Number>+12025550100</Number><Client>ann</Client></Dial></Response>"


def form_of(simulator: Simulator) -> Mapping[str, tuple[str, ...]]:
    """Return the form of the last request to place a call."""
    return {
        name: tuple(values)
        for name, values in next(one for one in reversed(simulator.requests) if one.method == "POST").form.items()
    }


@pytest.mark.parametrize(
    ("args", "sent"),
    [
        (["--ring-timeout", "45s"], {"Timeout": ("45",)}),
        (["--ring-timeout", "20s"], {"Timeout": ("20",)}),
        (["--time-limit", "1h"], {"TimeLimit": ("3600",)}),
        (["--send-digits", "ww1234#"], {"SendDigits": ("ww1234#",)}),
        (["--record"], {"Record": ("true",)}),
        (["--machine-detection", "enable"], {"MachineDetection": ("Enable",)}),
        (["--machine-detection", "DetectMessageEnd"], {"MachineDetection": ("DetectMessageEnd",)}),
        (["--from", "+15005550006"], {"From": ("+15005550006",)}),
    ],
)
def test_each_option_goes_over_the_wire(setup: CliSetup, args: list[str], sent: dict[str, tuple[str, ...]]) -> None:
    assert setup.callctl("place", TO, *SAY, *args).code == 0
    form = form_of(setup.simulator)
    assert {name: form[name] for name in sent} == sent


def test_what_was_not_asked_for_is_left_to_twilio(setup: CliSetup) -> None:
    assert setup.callctl("place", TO, *SAY).code == 0
    assert set(form_of(setup.simulator)) == {"To", "From", "Twiml"}


def test_the_url_its_method_and_its_fallback(setup: CliSetup) -> None:
    env = {"CALLCTL_URL_SORRY": f"GET {setup.survey}"}
    args = ["--url", "survey", "--method", "get", "--fallback-url", "sorry"]
    assert setup.callctl("place", TO, *args, env=env).code == 0
    form = form_of(setup.simulator)
    assert form["Url"] == form["FallbackUrl"] == (setup.survey,)
    assert form["Method"] == form["FallbackMethod"] == ("GET",)


def test_numbers_stay_text(setup: CliSetup) -> None:
    assert setup.callctl("place", TO, *SAY, "--send-digits", "0012").code == 0
    assert form_of(setup.simulator)["SendDigits"] == ("0012",)


@pytest.mark.parametrize(
    ("given", "events"),
    [
        ([], ("initiated", "ringing", "answered", "completed")),
        (["--event", "completed,initiated"], ("initiated", "completed")),
        (["--event", "answered", "--event", "Ringing"], ("ringing", "answered")),
    ],
)
def test_events_are_a_repeated_name_here_and_one_attribute_in_twiml(
    setup: CliSetup, given: list[str], events: tuple[str, ...]
) -> None:
    callback = f"{setup.simulator.url}/simulator/ignored"
    args = ["--dial", "client:ann", "--status-callback", callback, *given]
    assert setup.callctl("place", TO, *args).code == 0
    form = form_of(setup.simulator)
    assert form["StatusCallbackEvent"] == events
    assert form["StatusCallback"] == (callback,)
    assert f'statusCallbackEvent="{" ".join(events)}"' in form["Twiml"][0]
    assert f'statusCallback="{callback}"' in form["Twiml"][0]


def test_the_dial_and_what_comes_after_the_conversation(setup: CliSetup) -> None:
    args = [
        *("--dial", "+12025550100", "--dial", "sip:agent@example.com", "--then", "survey", "--dial-timeout", "20s"),
        *("--caller-id", "+15005550006", "--sequential"),
    ]
    assert setup.callctl("place", TO, *args).code == 0
    assert form_of(setup.simulator)["Twiml"] == (
        f'<Response><Dial action="{setup.survey}" callerId="+15005550006" sequential="true" timeout="20">'
        "<Number>+12025550100</Number><Sip>sip:agent@example.com</Sip></Dial></Response>",
    )


def test_a_conference_and_what_comes_after_it(setup: CliSetup) -> None:
    args = ["--conference", "room <1>", "--then", "survey", "--status-callback", "http://127.0.0.1:9/status"]
    assert setup.callctl("place", TO, *args).code == 0
    assert form_of(setup.simulator)["Twiml"] == (
        f'<Response><Dial action="{setup.survey}"><Conference statusCallback="http://127.0.0.1:9/status" '
        'statusCallbackEvent="start end join leave mute hold modify" statusCallbackMethod="POST">room &lt;1&gt;'
        "</Conference></Dial></Response>",
    )


def test_the_survey_comes_after_the_conversation(setup: CliSetup) -> None:
    sid = setup.place("+12025550100", "--dial", "client:hangs-up", "--then", "survey", after=12)
    assert setup.status(sid) == "in-progress"  # the child has hung up, and the survey goes on
    assert setup.callctl("list", "--parent", sid, "--live", "-q").out == ""


def test_callctls_own_callback_urls_are_tried_again_and_others_are_left_alone(
    setup: CliSetup, callctl: Callctl, home: Path
) -> None:
    public = {"CALLCTL_PUBLIC_URL": "http://127.0.0.1:9"}
    outcome = setup.callctl("place", TO, "--dial", "client:ann", env=public)
    form = form_of(setup.simulator)
    assert form["StatusCallback"] == (f"http://127.0.0.1:9/status{FRAGMENT}",)
    assert FRAGMENT.replace("&", "&amp;") in form["Twiml"][0]
    assert "#" not in outcome.err
    own = {"CALLCTL_PUBLIC_URL": "http://127.0.0.1:9/mine#rc=1"}
    setup.callctl("place", TO, *SAY, env=own)
    assert form_of(setup.simulator)["StatusCallback"] == ("http://127.0.0.1:9/mine#rc=1",)
    setup.callctl("place", TO, *SAY, "--status-callback", "http://127.0.0.1:9/x")
    assert form_of(setup.simulator)["StatusCallback"] == ("http://127.0.0.1:9/x",)
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env_for(setup.simulator)) as watch:
        callback_url = json.loads(watch.line())["callback_url"]
        assert callctl("place", TO, *SAY, env=env_for(setup.simulator)).code == 0
        assert form_of(setup.simulator)["StatusCallback"] == (callback_url + FRAGMENT,)


def test_another_service_gets_no_fragment_that_it_would_not_understand(callctl: Callctl) -> None:
    env = {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "0" * 32,
        "CALLCTL_API_URL": "https://example.signalwire.com/api/laml",
        "CALLCTL_PUBLIC_URL": "https://example.com",
        "CALLCTL_FROM": "+15005550006",
    }
    outcome = callctl("place", TO, *SAY, "--dry-run", env=env)
    assert "StatusCallback=https://example.com/status\n" in outcome.out
    assert outcome.out.startswith("POST https://example.signalwire.com/api/laml/2010-04-01/Accounts/AC000")
    del env["CALLCTL_API_URL"]
    assert (
        f"StatusCallback=https://example.com/status{FRAGMENT}\n" in callctl("place", TO, *SAY, "--dry-run", env=env).out
    )


def test_legs_without_callbacks_are_warned_of(setup: CliSetup) -> None:
    outcome = setup.callctl("place", TO, "--twiml", WITHOUT_CALLBACKS)
    assert outcome.code == 0
    assert "warning: the TwiML dials 2 legs without statusCallback: no events will come of them" in outcome.err
    assert "hint: --add-callbacks adds it" in outcome.err
    assert form_of(setup.simulator)["Twiml"] == (WITHOUT_CALLBACKS,)
    one_with_callback = WITHOUT_CALLBACKS.replace("<Number>", '<Number statusCallback="http://127.0.0.1:9/x">')
    outcome = setup.callctl("place", TO, "--twiml", one_with_callback)
    assert "dials a leg without" in outcome.err
    assert "warning" not in setup.callctl("place", TO, "--twiml", "<Response><Say>Hi</Say></Response>").err


def test_add_callbacks_adds_them(setup: CliSetup) -> None:
    callback = f"{setup.simulator.url}/simulator/ignored"
    outcome = setup.callctl("place", TO, "--twiml", WITHOUT_CALLBACKS, "--add-callbacks", "--status-callback", callback)
    assert outcome.code == 0
    assert "warning" not in outcome.err
    sent = form_of(setup.simulator)["Twiml"][0]
    assert sent.count(f'statusCallback="{callback}"') == 2
    assert sent.count('statusCallbackEvent="initiated ringing answered completed"') == 2


def test_add_callbacks_adds_those_for_the_events_that_were_asked_for(setup: CliSetup) -> None:
    callback = f"{setup.simulator.url}/simulator/ignored"
    args = [
        "--twiml",
        WITHOUT_CALLBACKS,
        "--add-callbacks",
        "--status-callback",
        callback,
        "--event",
        "completed,ringing",
    ]
    assert setup.callctl("place", TO, *args).code == 0
    form = form_of(setup.simulator)
    assert form["Twiml"][0].count('statusCallbackEvent="ringing completed"') == 2
    assert form["StatusCallbackEvent"] == ("ringing", "completed")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--say", "x", "--then", "survey"], "--then goes with --dial, not with --say"),
        (["--conference", "x", "--dial-timeout", "5s"], "--dial-timeout goes with --dial, not with --conference"),
        (["--conference", "x", "--then", "nowhere"], "no URL is named 'nowhere'"),
        (["--say", "x", "--dial-timeout", "5s"], "--dial-timeout goes with --dial, not with --say"),
        (["--url", "survey", "--caller-id", "+15005550006"], "--caller-id goes with --dial, not with --url"),
        (["--twiml", "<Response/>", "--sequential"], "--sequential goes with --dial, not with --twiml"),
        (["--say", "x", "--add-callbacks"], "--add-callbacks goes with --twiml, not with --say"),
        (["--twiml", WITHOUT_CALLBACKS, "--add-callbacks"], "--add-callbacks has no URL to add"),
        (["--say", "x", "--method", "GET"], "--method goes with --url, not with --say"),
        (["--url", "survey", "--method", "PUT"], "--method is GET or POST, not PUT"),
        (["--say", "x", "--fallback-url", "nowhere"], "no URL is named 'nowhere'"),
        (["--dial", "client:ann", "--then", "nowhere"], "no URL is named 'nowhere'"),
        (["--dial", "+12025550100", "--caller-id", "ann"], "--caller-id is not a number in E.164 form: ann"),
        (["--dial", "client:ann", "--dial-timeout", "0s"], "--dial-timeout is out of range: 0s"),
        (["--dial", "client:ann", "--dial-timeout", "5"], "--dial-timeout needs a unit: 5"),
        (["--say", "x", "--time-limit", "60"], "hint: write 60s for seconds, 60m for minutes"),
        (["--say", "x", "--from", ""], "--from names no caller"),
        (["--dial", ""], "--dial: not a number, SIP address or client: (nothing)"),
        (["--say", "x", "--ring-timeout", "11m"], "--ring-timeout is out of range: 11m"),
        (["--say", "x", "--ring-timeout", "1500ms"], "--ring-timeout is out of range: 1500ms"),
        (["--say", "x", "--ring-timeout", "long"], "--ring-timeout is no duration: long"),
        (["--say", "x", "--time-limit", "0s"], "--time-limit is out of range: 0s"),
        (["--say", "x", "--send-digits", "12 34"], "--send-digits: not keys to press: 12 34"),
        (["--say", "x", "--machine-detection", "on"], "--machine-detection is Enable or DetectMessageEnd, not on"),
        (
            ["--say", "x", "--machine-detection", "Enable", "--send-digits", "1"],
            "--machine-detection and --send-digits exclude each other",
        ),
        (["--say", "x", "--event", "ringing,answerd"], "no such event: answerd"),
        (["--say", "x", "--event", ","], "--event names no event"),
        (
            ["--say", "x", "--event", "ringing", "--status-callback", "none"],
            "--event and --status-callback none exclude each other",
        ),
        (["--say", "x", "--wait-for", "soon"], "--wait-for: a call never is soon"),
        (["--say", "x", "--wait-for", "ended", "--watch"], "--wait-for and --watch exclude each other"),
        (["--say", "x", "--wait-timeout", "5s"], "--wait-timeout goes with --wait-for"),
        (["--say", "x", "--wait-for", "ended", "--wait-timeout", "soon"], "--wait-timeout is no duration: soon"),
    ],
)
def test_what_cannot_work_is_refused(setup: CliSetup, args: list[str], message: str) -> None:
    outcome = setup.callctl("place", TO, *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert setup.simulator.requests == ()


def test_a_name_may_stand_for_the_caller_where_nobody_is_called_by_number(setup: CliSetup) -> None:
    assert setup.callctl("place", TO, "--dial", "client:ann", "--caller-id", "bob").code == 0
    assert 'callerId="bob"' in form_of(setup.simulator)["Twiml"][0]


def test_help_names_twilios_ring_limits_and_warns_of_the_survey(
    callctl: Callctl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callctl("place", "--help", columns=200).code == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "--ring-timeout DURATION Twilio's ring limit for TO: 60s unless set." in words
    assert "--dial-timeout DURATION Twilio's ring limit for DEST: 30s unless set." in words
    assert "every DialCallStatus, busy and no-answer included" in words
    assert "To DialCallStatus=completed: <Response><Gather" in words
    assert "To any other: <Response><Hangup/></Response>" in words


DRY_ENV = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_API_KEY": "SK" + "0" * 32,
    "TWILIO_API_SECRET": "fake-secret",
    "CALLCTL_FROM": "+15005550006",
}


@pytest.mark.parametrize("form", ["terminal", "no-color", "pipe"])
def test_a_dry_run_shows_the_request_and_sends_nothing(callctl: Callctl, form: str) -> None:
    env = {**DRY_ENV, **({"NO_COLOR": "1"} if form == "no-color" else {})}
    twiml = '<Response><Dial><Sip password="fake-secret-2">sip:a@example.com</Sip></Dial></Response>'
    callback = "https://user:fake-word@example.com/x"
    outcome = callctl(
        *("place", TO, "--twiml", twiml, "--status-callback", callback, "--event", "completed", "--dry-run"),
        env=env,
        terminal=form != "pipe",
    )
    shown = '<Response><Dial><Sip password="***">sip:a@example.com</Sip></Dial></Response>'
    assert outcome.code == 0
    assert outcome.out == (
        f"POST https://api.twilio.com/2010-04-01/Accounts/AC{'0' * 32}/Calls.json\n"
        "Authorization: Basic ***:***\n"
        "\n"
        f"To={TO}\n"
        "From=+15005550006\n"
        f"Twiml={shown}\n"
        "StatusCallback=https://user:***@example.com/x\n"
        "StatusCallbackEvent=completed\n"
        "\n"
        f"{shown}\n"
    )
    assert "dry run: nothing was sent" in outcome.err
    assert not any(secret in outcome.out + outcome.err for secret in ("fake-secret", "fake-word", "SK0"))


def test_a_dry_run_as_json(setup: CliSetup) -> None:
    outcome = setup.callctl("place", TO, *SAY, "--dry-run", "--json", "--wait-for", "ended")
    assert json.loads(outcome.out) == {
        "v": 1,
        "type": "dry-run",
        "method": "POST",
        "url": f"{setup.simulator.url}/2010-04-01/Accounts/{setup.simulator.account_sid}/Calls.json",
        "user": setup.simulator.account_sid,
        "password": "***",
        "form": [
            ["To", TO],
            ["From", "+15005550006"],
            ["Twiml", "<Response><Say>Hello</Say></Response>"],
        ],
        "twiml": "<Response><Say>Hello</Say></Response>",
        "api_url": setup.simulator.url,
    }
    assert setup.callctl("place", TO, *SAY, "--dry-run", "--watch").code == 0
    assert setup.simulator.requests == ()


def test_a_dry_run_is_what_is_then_sent(setup: CliSetup) -> None:
    args = ["place", TO, "--dial", "client:ann", "--then", "survey", "--record", "--ring-timeout", "30s"]
    shown = json.loads(setup.callctl(*args, "--dry-run", "--json").out)["form"]
    assert setup.callctl(*args).code == 0
    assert dict(shown) == {name: values[0] for name, values in form_of(setup.simulator).items()}


@pytest.fixture
def quick(callctl: Callctl, home: Path) -> Iterator[CliSetup]:
    with Simulator(port=0, speed=20) as simulator:
        yield CliSetup(simulator, callctl, home)


@pytest.mark.parametrize(
    ("to", "goal", "code", "ends"),
    [
        ("+12025550100", "answered", 0, "in-progress"),
        ("+12025550105", "ended", 0, "completed"),
        (BUSY, "answered", 8, "busy"),
        (BUSY, "ended", 0, "busy"),
        ("+12025550103", "ringing", 0, "ringing"),
        (BUSY, "busy", 0, "busy"),
        (BUSY, "completed", 8, "busy"),
    ],
)
def test_wait_blocks_and_its_exit_code_tells(quick: CliSetup, to: str, goal: str, code: int, ends: str) -> None:
    outcome = quick.callctl("place", to, "--say", "Hello. " * 400, "--wait-for", goal)
    sid = outcome.out.strip()
    assert outcome.code == code
    assert outcome.out == f"{sid}\n"
    assert sid.startswith("CA")
    assert f"{sid} is {ends}" in outcome.err


def test_waiting_as_json_is_one_object_of_the_call_as_it_then_is(quick: CliSetup) -> None:
    outcome = quick.callctl("place", BUSY, *SAY, "--wait-for", "answered", "--json")
    assert outcome.code == 8
    assert json.loads(outcome.out)["status"] == "busy"
    assert json.loads(outcome.err.splitlines()[-1])["exit_code"] == 8


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_the_waiting_has_a_limit(setup: CliSetup, more: list[str]) -> None:
    outcome = setup.callctl("place", TO, *SAY, "--wait-for", "answered", "--wait-timeout", "300ms", *more)
    sid = setup.callctl("list", "-q").out.strip()
    assert outcome.code == 9
    assert sid in outcome.out
    assert f"{sid} is not in-progress after 0.3 s: it is queued" in outcome.err
    assert f"it goes on: `callctl show {sid}` looks at it, `callctl hangup {sid}` ends it" in outcome.err


def test_on_a_terminal_the_table_comes_before_the_waiting(quick: CliSetup) -> None:
    outcome = quick.callctl("place", BUSY, *SAY, "--wait-for", "ended", terminal=True)
    assert outcome.code == 0
    assert "queued" in outcome.out
    assert "is busy" in messages(outcome)


def test_ctrl_c_ends_the_waiting_and_not_the_call(setup: CliSetup) -> None:
    args = ("place", TO, *SAY, "--wait-for", "answered", "--status-callback", "none")
    with Piped(*args, home=setup.home, env=env_for(setup.simulator)) as waiting:
        sid = waiting.line()
        assert waiting.interrupt() == 130
    assert f"the call goes on: `callctl hangup {sid}` ends it" in (setup.home / "stderr-place").read_text()
    assert setup.callctl("list", "--live", "-q").out == f"{sid}\n"


def test_a_callback_that_meets_a_restarting_watch_is_tried_again(quick: CliSetup) -> None:
    with Server(drop(), reply(503), reply(204)) as restarting:
        env = {"CALLCTL_PUBLIC_URL": restarting.url}
        outcome = quick.callctl("place", BUSY, *SAY, "--event", "completed", "--wait-for", "ended", env=env)
        assert outcome.code == 0
        deadline = time.monotonic() + 60
        while len(restarting.received) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(restarting.received) == 3
    assert {dict(request.form)["CallStatus"] for request in restarting.received} == {"busy"}
    assert {request.target for request in restarting.received} == {"/status"}


def test_a_bad_caller_is_blamed_on_where_it_came_from(setup: CliSetup, home: Path) -> None:
    args = ("place", TO, "--say", "Hello")
    reason = "is not a number in E.164 form: 555"
    assert f"error: --from {reason}" in setup.callctl(*args, "--from", "555").err
    assert (
        f"error: CALLCTL_FROM (from the environment) {reason}" in setup.callctl(*args, env={"CALLCTL_FROM": "555"}).err
    )
    (home / "settings").write_text("CALLCTL_FROM=555\n")
    outcome = setup.callctl(*args, "--env-file", "settings")
    assert f"error: CALLCTL_FROM (in {home / 'settings'}) {reason}" in outcome.err
    assert setup.simulator.requests == ()
