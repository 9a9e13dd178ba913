"""`callctl simulator advance`, `requests`, `calls`, `reset`, `seed`: what they print, and what does not go together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api.scripted import Server, reply
from running import Callctl
from simulator.setup import ANSWERS, BUSY, FROM

from callctl.cli.simulator.client import SimulatorClient
from callctl.simulator import Simulator


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(manual_clock=True, seed=1) as simulator:
        yield simulator


def place(sim: Simulator, to: str = ANSWERS) -> str:
    survey = f"{sim.url}/simulator/survey"
    return str(sim.client.calls.create(from_=FROM, to=to, url=survey, status_callback=survey).sid)


def test_advance_says_how_far_it_came(callctl: Callctl, sim: Simulator) -> None:
    env = {"CALLCTL_API_URL": sim.url}
    place(sim, BUSY)
    assert callctl("simulator", "advance", "1s", env=env).out == "1 s: 1 s have passed\n"
    assert callctl("simulator", "advance", "--until-idle", env=env).out == "1.3 s: 0.3 s have passed\n"
    done = callctl("simulator", "advance", "--until-request", "/nothing", "--limit", "1m", env=env)
    assert (done.code, done.out) == (1, "")
    assert "within 60 s: every call has ended" in done.err
    weeks = callctl("simulator", "advance", "30d", env=env)
    assert weeks.out == "2592061.3 s: 2592000 s have passed\n"
    assert "code 20001, HTTP 409" in done.err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "advance by what is missing"),
        (("1s", "--until-idle"), "advance by one thing alone"),
        (("--until-idle", "--until-status", "busy"), "advance by one thing alone"),
        (("--until-idle", "--call", "CA0"), "--call goes with --until-status"),
        (("1s", "--limit", "2s"), "--limit does not go with DURATION"),
        (("90",), "DURATION needs a unit: 90"),
    ],
)
def test_what_does_not_go_together(callctl: Callctl, sim: Simulator, given: tuple[str, ...], message: str) -> None:
    done = callctl("simulator", "advance", *given, env={"CALLCTL_API_URL": sim.url})
    assert (done.code, done.out, message in done.err) == (2, "", True), done.err
    assert sim.simulated_seconds() == 0


def test_requests_are_a_line_each(callctl: Callctl, sim: Simulator) -> None:
    env = {"CALLCTL_API_URL": sim.url}
    sid = place(sim, BUSY)
    sim.client.calls.list(to=BUSY, limit=1)
    sim.advance(5)
    lines = callctl("simulator", "requests", env=env).out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("   1     0.0 s ")
    assert lines[0].endswith(f"<-- 201 POST /Calls.json {sid}")
    assert "Calls.json?To=+12025550102" in lines[1]
    request_line = next(line for line in lines if " --> " in line)
    assert request_line.endswith(f"--> 200 POST {sim.url}/simulator/survey busy {sid}")
    assert callctl("simulator", "requests", "--after", "3", env=env).out.splitlines() == lines[3:]
    about = json.loads(callctl("simulator", "requests", "--call", sid, "--json", env=env).out)
    assert [each["kind"] for each in about] == ["api", "callback"]


def test_who_follows_goes_on_and_begins_again_after_a_reset(callctl: Callctl, sim: Simulator) -> None:
    place(sim, BUSY)
    turns: list[Callable[[], object]] = [lambda: sim.advance(5), sim.reset, lambda: place(sim, BUSY)]

    def sleep(_seconds: float) -> None:
        if not turns:
            raise KeyboardInterrupt
        turns.pop(0)()

    done = callctl("simulator", "requests", "--follow", "--json", env={"CALLCTL_API_URL": sim.url}, back_off=sleep)
    assert done.code == 130
    seen = [json.loads(line) for line in done.out.splitlines()]
    kinds = [(each["number"], each["kind"]) for each in seen]
    assert kinds[0] == kinds[-1] == (1, "api")
    assert ("callback" in [kind for _, kind in kinds], len(kinds)) == (True, 4)


def test_who_follows_misses_none_of_many_after_a_reset(callctl: Callctl, sim: Simulator) -> None:
    place(sim, BUSY)

    def begin_again() -> None:
        sim.reset()
        for _ in range(3):
            place(sim, BUSY)

    turns: list[Callable[[], object]] = [begin_again, lambda: place(sim, BUSY)]

    def sleep(_seconds: float) -> None:
        if not turns:
            raise KeyboardInterrupt
        turns.pop(0)()

    done = callctl("simulator", "requests", "--follow", "--json", env={"CALLCTL_API_URL": sim.url}, back_off=sleep)
    assert [json.loads(line)["number"] for line in done.out.splitlines()] == [1, 1, 2, 3, 4]


def test_who_follows_after_a_number_to_come_sees_what_is_behind_it(callctl: Callctl, sim: Simulator) -> None:
    turns: list[Callable[[], object]] = [lambda: place(sim, BUSY)] * 3

    def sleep(_seconds: float) -> None:
        if not turns:
            raise KeyboardInterrupt
        turns.pop(0)()

    given = ("--follow", "--after", "2", "--json")
    done = callctl("simulator", "requests", *given, env={"CALLCTL_API_URL": sim.url}, back_off=sleep)
    assert [json.loads(line)["number"] for line in done.out.splitlines()] == [3]


def test_calls_are_a_line_each(callctl: Callctl, sim: Simulator) -> None:
    env = {"CALLCTL_API_URL": sim.url}
    assert callctl("simulator", "calls", env=env).out == ""
    sids = [place(sim, BUSY), place(sim)]
    sim.advance(3)
    assert callctl("simulator", "calls", env=env).out.splitlines() == [
        f"{sids[0]}  busy         outbound-api   {FROM} → {BUSY}",
        f"{sids[1]}  in-progress  outbound-api   {FROM} → {ANSWERS}",
    ]
    assert [call["sid"] for call in json.loads(callctl("simulator", "calls", "--json", env=env).out)] == sids


def test_reset_says_so(callctl: Callctl, sim: Simulator) -> None:
    place(sim)
    done = callctl("simulator", "reset", env={"CALLCTL_API_URL": sim.url})
    assert (done.code, done.out, sim.calls) == (0, "", ())
    assert done.err.endswith("callctl: the simulator has begun again\n")


def test_seed_prints_what_was_set(callctl: Callctl, sim: Simulator, home: Path) -> None:
    path = home / "seed.toml"
    path.write_text('[[numbers]]\nphone-number = "+12025550142"\n[[applications]]\nfriendly-name = "Menu"\n')
    done = callctl("simulator", "seed", "seed.toml", env={"CALLCTL_API_URL": sim.url})
    assert [line.split()[1] for line in done.out.splitlines()] == ["+12025550142", "Menu"]
    path.write_text("[[numbers]]\nphone_number = 1\n")
    done = callctl("simulator", "seed", "seed.toml", env={"CALLCTL_API_URL": sim.url})
    assert (done.code, "numbers 1: phone_number: unknown key" in done.err) == (2, True)


@pytest.mark.parametrize(
    "command", [("reset",), ("calls",), ("requests",), ("advance", "1s"), ("press", "1"), ("far-end",)], ids=" ".join
)
def test_where_none_answers(callctl: Callctl, command: tuple[str, ...]) -> None:
    done = callctl("simulator", *command, env={"CALLCTL_API_URL": "http://127.0.0.1:1"})
    assert (done.code, done.out) == (6, "")
    assert "no simulator answers at http://127.0.0.1:1" in done.err
    assert "is `callctl simulator` running?" in done.err


def test_from_another_machine_it_signs_in_as_the_simulator_does_by_itself(sim: Simulator) -> None:
    from callctl.cli.simulator.client import _credentials
    from callctl.settings import Settings

    assert _credentials(Settings(), "http://192.0.2.1:8766") == (sim.account_sid, sim.auth_token)
    assert _credentials(Settings(), sim.url) is None
    assert SimulatorClient(sim.url, None, 5).get("/health")["status"] == "ok"


def test_another_program_that_answers_with_json_is_named(callctl: Callctl) -> None:
    with Server(reply(200, {"status": "ok"})) as other:
        for command in (("advance", "1s"), ("calls",), ("requests",)):
            done = callctl("simulator", *command, "--url", other.url)
            assert (done.code, done.out) == (6, ""), done.err
            assert f"what answers at {other.url} is no simulator" in done.err
