"""``redirect``, ``hangup`` and ``list`` against the simulator."""

import json
import time
from collections.abc import Callable

import pytest
from running import EACH_READING, Callctl, env_for

from callctl.simulator import Simulator

Env = dict[str, str]
Place = Callable[..., str]
pytestmark = pytest.mark.parametrize("fast_simulator", EACH_READING, indirect=True, ids="+".join)
UNKNOWN = "CA" + "0" * 32


@pytest.fixture
def env(fast_simulator: Simulator) -> Env:
    return env_for(fast_simulator)


@pytest.fixture
def place(callctl: Callctl, env: Env) -> Place:
    def place(to: str = "+12025550100", *args: str) -> str:
        what = args or ("--say", "A sentence that takes a good while to say. " * 50)
        return callctl("place", to, *what, "--status-callback", "none", env=env).out.strip()

    return place


def until(callctl: Callctl, env: Env, sid: str, status: str) -> None:
    """Wait, with a limit, until REST shows a status: the simulator runs in real time here."""
    for _ in range(200):
        calls = json.loads(callctl("list", "--json", env=env).out)
        if any(call["sid"] == sid and call["status"] == status for call in calls):
            return
        time.sleep(0.05)
    raise AssertionError(f"{sid} never was {status}: {calls}")


def test_hang_up_ends_a_call_in_progress(callctl: Callctl, env: Env, place: Place) -> None:
    sid = place()
    until(callctl, env, sid, "in-progress")
    outcome = callctl("hangup", sid, env=env)
    assert (outcome.code, outcome.out) == (0, f"{sid}\tcompleted\tended\n")


def test_hanging_up_again_is_no_error_and_says_so(callctl: Callctl, env: Env, place: Place) -> None:
    sid = place("+12025550102")
    until(callctl, env, sid, "busy")
    outcome = callctl("hangup", sid, env=env)
    assert outcome.code == 0
    assert f"already over: {sid} is busy" in outcome.err


def test_several_are_hung_up_and_one_unknown_makes_it_partly_failed(callctl: Callctl, env: Env, place: Place) -> None:
    first, second = place("+12025550103"), place("+12025550103")
    outcome = callctl("hangup", first, UNKNOWN, second, env=env)
    assert outcome.code == 8
    assert UNKNOWN in outcome.err
    assert first in outcome.out
    assert second in outcome.out


def test_an_unknown_sid_exits_3(callctl: Callctl, env: Env) -> None:
    outcome = callctl("hangup", UNKNOWN, env=env)
    assert outcome.code == 3
    assert "20404" in outcome.err


def test_what_cannot_be_a_sid_exits_2(callctl: Callctl, env: Env) -> None:
    for command in (["hangup", "CAxxx"], ["redirect", "CAxxx", "--say", "x"], ["list", "--parent", "CAxxx"]):
        outcome = callctl(*command, env=env)
        assert outcome.code == 2
        assert "not a call SID: CAxxx" in outcome.err


def test_redirect_gives_a_call_other_twiml(callctl: Callctl, env: Env, place: Place) -> None:
    sid = place()
    until(callctl, env, sid, "in-progress")
    outcome = callctl("redirect", sid, "--say", "Goodbye", env=env)
    assert (outcome.code, outcome.out) == (0, f"{sid}\tin-progress\tredirected\n")
    until(callctl, env, sid, "completed")


def test_redirecting_a_call_that_is_over_exits_5(callctl: Callctl, env: Env, place: Place) -> None:
    sid = place("+12025550102")
    until(callctl, env, sid, "busy")
    outcome = callctl("redirect", sid, "--say", "Goodbye", env=env)
    assert outcome.code == 5
    assert "21220" in outcome.err


def test_the_named_url_brings_its_method(callctl: Callctl, env: Env, place: Place, fast_simulator: Simulator) -> None:
    sid = place()
    until(callctl, env, sid, "in-progress")
    named = {**env, "CALLCTL_URL_AFTER_HOURS": f"GET {fast_simulator.url}/nothing"}
    assert callctl("redirect", sid, "--url", "after-hours", env=named).code == 0
    sent = next(request for request in reversed(fast_simulator.requests) if "Url" in request.form)
    assert sent.form["Method"] == ("GET",)


def test_list_filters_and_limits(callctl: Callctl, env: Env, place: Place) -> None:
    busy, ringing = place("+12025550102"), place("+12025550103")
    until(callctl, env, busy, "busy")
    until(callctl, env, ringing, "ringing")
    assert callctl("list", "--status", "busy", env=env).out.split("\t")[0] == busy
    limited = callctl("list", "--limit", "1", env=env)
    assert limited.out.count("\n") == 1
    assert "there is more than 1 call" in limited.err


def test_list_shows_the_child_legs_of_a_parent(callctl: Callctl, env: Env, place: Place) -> None:
    sid = place("+12025550100", "--dial", "client:no-answer")
    for _ in range(200):
        rows = callctl("list", "--parent", sid, env=env).out.splitlines()
        if rows:
            break
        time.sleep(0.05)
    assert [row.split("\t")[7] for row in rows] == [sid]


def test_an_empty_list_is_an_empty_array(callctl: Callctl, env: Env) -> None:
    assert callctl("list", "--json", env=env).out == "[]\n"
    assert callctl("list", env=env).out == ""
