"""`callctl simulator call`: what it asks of a simulator, what it prints, and what it says when it is refused."""

import json
import time
from collections.abc import Callable
from typing import TypeVar

import pytest
from api.scripted import Server, hang, reply, trickle
from running import Callctl, env_for
from simulator.setup import HANGS_UP
from twilio.rest import Client

from callctl.cli.simulator import client as simulator_client
from callctl.simulator import Simulator

GIVEN = ("simulator", "call", "--to", "+12025550199", "--from", HANGS_UP)
URL = "http://127.0.0.1:9/in"
T = TypeVar("T")


def until(what: Callable[[], T | None]) -> T:
    """Return something as soon as it is there."""
    end = time.monotonic() + 30
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def test_it_asks_for_what_was_given(callctl: Callctl, simulator: Simulator) -> None:
    env = env_for(simulator) | {"CALLCTL_URL_WELCOME": f"GET {URL}"}
    done = callctl(*GIVEN, "--voice-url", "welcome", "--status-callback", "http://127.0.0.1:9/status", env=env)
    (call,) = until(lambda: simulator.calls if simulator.calls[0].has_ended else None)
    assert (call.to, call.from_) == ("+12025550199", HANGS_UP)
    document, callback = sorted(simulator.sent, key=lambda each: each.kind, reverse=True)
    assert (document.method, document.url) == ("GET", URL)
    assert (callback.method, callback.url) == ("POST", "http://127.0.0.1:9/status")
    assert (done.code, len(done.out.strip())) == (0, 34)
    assert done.out.startswith("CA")


def test_method_beats_that_of_the_name(callctl: Callctl, simulator: Simulator) -> None:
    env = env_for(simulator) | {"CALLCTL_URL_WELCOME": f"GET {URL}"}
    assert callctl(*GIVEN, "--voice-url", "welcome", "--method", "post", env=env).code == 0
    assert until(lambda: simulator.sent)[0].method == "POST"


def test_without_a_url_the_number_says_where_its_calls_go(callctl: Callctl, simulator: Simulator) -> None:
    done = callctl(*GIVEN, env=env_for(simulator))
    assert (done.code, done.out) == (1, "")
    assert "+12025550199 is no number of this account" in done.err
    assert "hint: give --voice-url NAME|URL, where the TwiML is; or create the number at the simulator" in done.err
    assert "--url names another simulator" in done.err
    client = Client(simulator.account_sid, simulator.auth_token)
    client.api.base_url = simulator.url
    client.incoming_phone_numbers.create(phone_number="+12025550199", voice_url=URL)
    done = callctl(*GIVEN, "--json", env=env_for(simulator))
    assert json.loads(done.out)["status"] == "ringing"
    assert until(lambda: simulator.sent)[0].url == URL


def test_a_client_calls_an_application(callctl: Callctl, simulator: Simulator) -> None:
    client = Client(simulator.account_sid, simulator.auth_token)
    client.api.base_url = simulator.url
    app = client.applications.create(friendly_name="Menu", voice_url=URL).sid
    of_client = ("simulator", "call", "--from", "client:ann", "--application", app)
    done = callctl(*of_client, "--parameter", "room=7", "--parameter", "note=", "--json", env=env_for(simulator))
    call = json.loads(done.out)
    assert (call["from"], call["to"], call["direction"]) == ("client:ann", f"app:{app}", "inbound")
    (document,) = until(lambda: simulator.sent)
    assert (document.params["room"], document.params["note"]) == ("7", "")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((), "who is called is missing: --to"),
        (("--application", "AP1", "--voice-url", URL), "--voice-url does not go with --application"),
        (("--to", HANGS_UP, "--parameter", "a=b"), "--parameter goes with --application"),
        (("--application", "AP1", "--parameter", "a"), "--parameter is not NAME=VALUE: a"),
        (("--to", HANGS_UP, "--method", "GET"), "--method goes with --voice-url"),
        (("--to", HANGS_UP, "--voice-url", URL, "--method", "PUT"), "--method is GET or POST, not PUT"),
    ],
)
def test_what_does_not_go_together(callctl: Callctl, simulator: Simulator, given: tuple[str, ...], why: str) -> None:
    done = callctl("simulator", "call", "--from", HANGS_UP, *given, env=env_for(simulator))
    assert (done.code, done.out) == (2, "")
    assert why in done.err
    assert simulator.calls == ()


def test_json_is_the_call(callctl: Callctl, simulator: Simulator) -> None:
    done = callctl(*GIVEN, "--voice-url", URL, "--json", env=env_for(simulator))
    call = json.loads(done.out)
    fields = (call["direction"], call["status"], call["to"], call["from"], call["api_url"])
    assert fields == ("inbound", "ringing", "+12025550199", HANGS_UP, simulator.url)


def test_it_may_use_the_api_key(callctl: Callctl, simulator: Simulator) -> None:
    env = env_for(simulator) | {"TWILIO_API_KEY": simulator.api_key, "TWILIO_API_SECRET": simulator.api_secret}
    del env["TWILIO_AUTH_TOKEN"]
    assert callctl(*GIVEN, "--voice-url", URL, env=env).code == 0


def test_wrong_credentials_end_with_4(callctl: Callctl, simulator: Simulator) -> None:
    done = callctl(*GIVEN, "--voice-url", URL, env=env_for(simulator) | {"TWILIO_AUTH_TOKEN": "fake"})
    assert (done.code, done.out) == (4, "")
    assert "Authenticate" in done.err


def test_what_the_simulator_refuses_ends_with_its_words(callctl: Callctl, simulator: Simulator) -> None:
    done = callctl(*GIVEN, "--voice-url", URL, "--status-callback", "status", env=env_for(simulator))
    assert (done.code, done.out) == (1, "")
    assert "code 21609, HTTP 400" in done.err


def test_what_is_no_simulator_is_not_taken_for_one(callctl: Callctl, simulator: Simulator) -> None:
    for turn, code in ((reply(200, {}), 1), (reply(200, b"{"), 6), (hang(), 6), (trickle(), 6)):
        with Server(turn) as server:
            env = env_for(simulator) | {"CALLCTL_API_URL": server.url}
            done = callctl(*GIVEN, "--voice-url", URL, "--request-timeout", "300ms", env=env)
        assert (done.code, done.out) == (code, "")
        assert "Traceback" not in done.err
    assert simulator.calls == ()


REAL = {"TWILIO_ACCOUNT_SID": "AC" + "1" * 32, "TWILIO_AUTH_TOKEN": "real"}


@pytest.mark.parametrize("env", [{}, REAL], ids=["no settings", "Twilio's settings"])
def test_url_finds_a_simulator_that_no_setting_names(
    callctl: Callctl, simulator: Simulator, env: dict[str, str]
) -> None:
    done = callctl(*GIVEN, "--voice-url", URL, "--url", simulator.url, "--json", env=env)
    assert done.code == 0, done.err
    assert [call.sid for call in simulator.calls] == [json.loads(done.out)["sid"]]
    assert json.loads(done.out)["api_url"] == simulator.url


def test_an_address_in_the_settings_is_enough(callctl: Callctl, simulator: Simulator) -> None:
    done = callctl(*GIVEN, "--voice-url", URL, env={"CALLCTL_API_URL": simulator.url})
    assert (done.code, len(done.out.strip())) == (0, 34)


def test_url_counts_before_the_settings_whose_credentials_go_to_their_own_address_alone(
    callctl: Callctl, simulator: Simulator
) -> None:
    env = env_for(simulator) | {"TWILIO_AUTH_TOKEN": "another"}
    assert callctl(*GIVEN, "--voice-url", URL, "--url", simulator.url, env=env).code == 4
    env["CALLCTL_API_URL"] = "https://api.example.com"
    assert callctl(*GIVEN, "--voice-url", URL, "--url", simulator.url, env=env).code == 0
    with Server(reply(200, {"calls": []})) as other:
        assert callctl("simulator", "calls", "--url", other.url, env=env).code == 0
        assert callctl("simulator", "calls", env=env | {"CALLCTL_API_URL": other.url}).code == 0
    assert ["Authorization" in request.headers for request in other.received] == [False, True]


@pytest.mark.parametrize("env", [{}, REAL], ids=["no settings", "Twilio's settings"])
def test_else_it_is_at_the_port_where_it_listens_by_itself(
    callctl: Callctl, simulator: Simulator, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator_client, "DEFAULT_PORT", int(simulator.url.rpartition(":")[2]))
    done = callctl(*GIVEN, "--voice-url", URL, env=env)
    assert done.code == 0, done.err
    assert done.err == f"callctl: the simulator is {simulator.url}\n"


@pytest.mark.parametrize(
    "url", ["survey", "", "http://example.com", "http://u:secret@127.0.0.1:1", "http//u:secret@x:1"]
)
def test_what_is_no_address_of_a_simulator(callctl: Callctl, simulator: Simulator, url: str) -> None:
    done = callctl(*GIVEN, "--voice-url", URL, "--url", url, env=env_for(simulator))
    assert (done.code, done.out) == (2, "")
    assert "--url is not the address of a simulator" in done.err
    assert "where the TwiML is, --voice-url says" in done.err
    assert "secret" not in done.err
    assert simulator.calls == ()


@pytest.mark.parametrize("before", [("--port", "0"), ("--debug",), ("--speed", "1.0")], ids=" ".join)
def test_an_option_before_the_subcommand_is_refused(
    callctl: Callctl, simulator: Simulator, before: tuple[str, ...]
) -> None:
    done = callctl("simulator", *before, *GIVEN[1:], "--voice-url", URL, env=env_for(simulator))
    assert (done.code, done.out) == (2, "")
    assert f"{before[0]} comes before call, where it would not count" in done.err
    assert simulator.calls == ()


@pytest.mark.parametrize("option", ["--to", "--from"])
def test_a_number_is_spelt_as_everywhere(callctl: Callctl, simulator: Simulator, option: str) -> None:
    given = [*GIVEN, "--voice-url", URL]
    given[given.index(option) + 1] = "12025550103"
    done = callctl(*given, env=env_for(simulator))
    assert (done.code, done.out) == (2, "")
    assert f"{option}: not a number, SIP address or client: 12025550103" in done.err
    assert "did you mean +12025550103?" in done.err
    assert simulator.calls == ()
