"""`callctl simulator answer`, `press`, `say`, `answers`, `hangup`: which call they are about, and what they print."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from running import Callctl
from simulator.setup import ANSWERS, FROM, NEVER

from callctl.simulator import Simulator

CALLER = "+12025550199"
GATHER = "<Response><Gather input='dtmf speech' timeout='30'/><Pause length='60'/></Response>"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(manual_clock=True, seed=1) as simulator:
        yield simulator


def place(sim: Simulator, to: str = ANSWERS) -> str:
    sid = sim.client.calls.create(from_=FROM, to=to, twiml=GATHER).sid
    sim.advance(3)
    return str(sid)


def test_the_only_call_need_not_be_named(callctl: Callctl, sim: Simulator) -> None:
    sid, env = place(sim, NEVER), {"CALLCTL_API_URL": sim.url}
    for command in (("answer",), ("press", "1#"), ("say", "yes, please"), ("answers", "1", "2"), ("hangup",)):
        done = callctl("simulator", *command, env=env)
        assert (done.code, done.out.split()[0]) == (0, sid), done.err
    assert sim.find(sid).status == "completed"


def test_it_prints_the_call_as_it_is_now(callctl: Callctl, sim: Simulator) -> None:
    sid, env = place(sim), {"CALLCTL_API_URL": sim.url}
    done = callctl("simulator", "press", sid, "1", env=env)
    assert done.out == f"{sid}  in-progress  outbound-api   {FROM} → {ANSWERS}\n"
    call = json.loads(callctl("simulator", "hangup", sid, "--json", env=env).out)
    assert (call["sid"], call["status"], call["duration"], call["api_url"]) == (sid, "completed", 1, sim.url)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("answer",), "no call is ringing"),
        (("press", "1"), "2 calls are in progress: name one, such as CA"),
        (("hangup",), "2 calls are ringing or in progress: name one, such as CA"),
        (("press", "CA0", "1", "2"), "more than CALL and KEYS: 2"),
        (("say", "CA0", "yes", "please"), "more than CALL and WORDS: please"),
    ],
)
def test_which_call_is_meant_must_be_clear(
    callctl: Callctl, sim: Simulator, command: tuple[str, ...], message: str
) -> None:
    place(sim)
    place(sim)
    done = callctl("simulator", *command, env={"CALLCTL_API_URL": sim.url})
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "hint: " in done.err


def test_a_call_that_is_not_there_ends_with_3(callctl: Callctl, sim: Simulator) -> None:
    for sid in ("CA0", "../reset", "a b"):
        done = callctl("simulator", "hangup", sid, env={"CALLCTL_API_URL": sim.url})
        assert (done.code, f"there is no call {sid}" in done.err) == (3, True), done


@pytest.mark.parametrize("command", [("say", "yes", "please"), ("press", "1", "2")])
def test_words_without_quotes_are_told_of_them(callctl: Callctl, sim: Simulator, command: tuple[str, ...]) -> None:
    place(sim)
    done = callctl("simulator", *command, env={"CALLCTL_API_URL": sim.url})
    assert (done.code, f"there is no call {command[1]}" in done.err, "quotes keep" in done.err) == (3, True, True)


def test_no_call_is_live(callctl: Callctl, sim: Simulator) -> None:
    done = callctl("simulator", "answers", "1", env={"CALLCTL_API_URL": sim.url})
    assert (done.code, "no call is live" in done.err) == (2, True)


@pytest.mark.parametrize("command", [("press", "a\udcff", "1"), ("hangup", "a\udcff")])
def test_a_sid_that_is_no_text_is_no_calls(callctl: Callctl, sim: Simulator, command: tuple[str, ...]) -> None:
    done = callctl("simulator", *command, env={"CALLCTL_API_URL": sim.url})
    assert (done.code, done.out) == (3, "")
    assert "unexpected" not in done.err
    done = callctl("simulator", "requests", "--call", "a\udcff", env={"CALLCTL_API_URL": sim.url})
    assert (done.code, done.out) == (0, "")
