"""`callctl simulator-call`: what it asks of a simulator, what it prints, and what it says when it is refused."""

import json

from gateway.scripted import Server, hang, reply
from running import Callctl, env_for
from simulator.world import HANGS_UP

from callctl.simulator import Simulator

GIVEN = ("simulator-call", "--to", "+12025550199", "--from", HANGS_UP)
URL = "http://127.0.0.1:9/in"


def test_it_asks_for_what_was_given(callctl: Callctl, simulator: Simulator) -> None:
    env = env_for(simulator) | {"CALLCTL_URL_WELCOME": f"GET {URL}"}
    done = callctl(*GIVEN, "--url", "welcome", "--status-callback", "http://127.0.0.1:9/status", env=env)
    (asked,) = simulator.requests
    assert asked.form == {
        "To": ("+12025550199",),
        "From": (HANGS_UP,),
        "Url": (URL,),
        "Method": ("GET",),
        "StatusCallback": ("http://127.0.0.1:9/status",),
    }
    assert (done.code, len(done.out.strip())) == (0, 34)
    assert done.out.startswith("CA")


def test_json_is_the_call(callctl: Callctl, simulator: Simulator) -> None:
    done = callctl(*GIVEN, "--url", URL, "--json", env=env_for(simulator))
    call = json.loads(done.out)
    told = (call["direction"], call["status"], call["to"], call["from"], call["api_url"])
    assert told == ("inbound", "ringing", "+12025550199", HANGS_UP, simulator.url)


def test_it_may_use_the_api_key(callctl: Callctl, simulator: Simulator) -> None:
    env = env_for(simulator) | {"TWILIO_API_KEY": simulator.api_key, "TWILIO_API_SECRET": simulator.api_secret}
    del env["TWILIO_AUTH_TOKEN"]
    assert callctl(*GIVEN, "--url", URL, env=env).code == 0


def test_wrong_credentials_end_with_4(callctl: Callctl, simulator: Simulator) -> None:
    done = callctl(*GIVEN, "--url", URL, env=env_for(simulator) | {"TWILIO_AUTH_TOKEN": "fake"})
    assert (done.code, done.out) == (4, "")
    assert "Authenticate" in done.err


def test_what_the_simulator_refuses_ends_with_its_words(callctl: Callctl, simulator: Simulator) -> None:
    done = callctl(*GIVEN, "--url", URL, "--status-callback", "status", env=env_for(simulator))
    assert (done.code, done.out) == (1, "")
    assert "code 21609, HTTP 400" in done.err


def test_what_is_no_simulator_is_not_taken_for_one(callctl: Callctl, simulator: Simulator) -> None:
    for turn, code in ((reply(200, {}), 1), (hang(), 6)):
        with Server(turn) as server:
            env = env_for(simulator) | {"CALLCTL_API_URL": server.url}
            done = callctl(*GIVEN, "--url", URL, "--request-timeout", "300ms", env=env)
        assert (done.code, done.out) == (code, "")
        assert "Traceback" not in done.err
    assert simulator.requests == ()
