"""Each control of a simulator from Python, over HTTP and from the command line: the same effect, and clear errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from running import run
from simulator.setup import ANSWERS, BUSY, FROM, NEVER, Json, check_control

from callctl.simulator import FarEnd, FarEndError, Received, Sent, Simulator, SimulatorError, load_seed
from callctl.simulator.far_end import parse
from callctl.simulator.rest.control import shown

CALLER = "+12025550199"
GATHER = "<Response><Gather input='dtmf speech' timeout='30'/><Pause length='60'/></Response>"
SEED = '[[numbers]]\nphone-number = "+12025550142"\n[far-ends.default]\noutcome = "busy"\nafter = "1s"\n'
WAYS = ("python", "http", "command line")


class RefusedError(Exception):
    """A control was refused, with these words."""


class Python:
    """The methods of `Simulator`."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim

    def _done(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except (SimulatorError, FarEndError) as error:
            raise RefusedError(str(error)) from error

    def call(self, to: str, url: str) -> Json:
        return shown.call(self._done(lambda: self.sim.call(to=to, from_=CALLER, url=url)))

    def act(self, sid: str, name: str, *given: str) -> Json:
        acts: dict[str, Callable[..., Any]] = {
            "answer": self.sim.answer,
            "hangup": self.sim.hang_up,
            "press": self.sim.press,
            "say": self.sim.say,
            "answers": lambda sid, *answers: self.sim.answer_gathers(sid, answers),
        }
        return shown.call(self._done(lambda: acts[name](sid, *given)))

    def set_far_end(self, address: str, **keys: Any) -> None:
        self._done(lambda: self.sim.set_far_end(address, parse({address: keys}, as_json=True)[address]))

    def advance(self, seconds: float) -> None:
        self._done(lambda: self.sim.advance(seconds))

    def advance_until(self, *, limit: float = 3600, **until: Any) -> float:
        passed: float = self._done(lambda: self.sim.advance_until(**until, limit=limit))
        return passed

    def reset(self) -> None:
        self._done(self.sim.reset)

    def seed(self, path: Path) -> None:
        self._done(lambda: self.sim.seed(path))

    def calls(self) -> list[Json]:
        return [shown.call(call) for call in self.sim.calls]

    def requests(self) -> list[Json]:
        records: list[Received | Sent] = [*self.sim.requests, *self.sim.sent]
        records.sort(key=lambda each: each.number)
        return [shown.record(record) for record in records]


class Http:
    """Requests to /simulator, each answer as it is described."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim

    def _ask(self, method: str, path: str, body: object = None) -> Json:
        reply = requests.request(method, f"{self.sim.url}/simulator{path}", json=body, timeout=60)
        answer: Json = reply.json()
        check_control(method, f"/simulator{path}", reply.status_code, answer)
        if not reply.ok:
            raise RefusedError(answer["message"])
        return answer

    def call(self, to: str, url: str) -> Json:
        return self._ask("POST", "/calls", {"to": to, "from": CALLER, "url": url})

    def act(self, sid: str, name: str, *given: str) -> Json:
        bodies: dict[str, Callable[..., object]] = {
            "press": lambda digits: {"digits": digits},
            "say": lambda words: {"words": words},
            "answers": lambda *answers: {"answers": answers},
        }
        return self._ask("POST", f"/calls/{sid}/{name}", bodies.get(name, dict)(*given))

    def set_far_end(self, address: str, **keys: Any) -> None:
        self._ask("POST", "/far-ends", {"address": address, **keys})

    def advance(self, seconds: float) -> None:
        self._ask("POST", "/advance", {"seconds": seconds})

    def advance_until(self, *, limit: float = 3600, **until: Any) -> float:
        return float(self._ask("POST", "/advance", {"until": until, "limit": limit})["advanced"])

    def reset(self) -> None:
        self._ask("POST", "/reset")

    def seed(self, path: Path) -> None:
        self._ask("POST", "/seed", load_seed(path))

    def calls(self) -> list[Json]:
        found: list[Json] = self._ask("GET", "/calls")["calls"]
        return found

    def requests(self) -> list[Json]:
        found: list[Json] = self._ask("GET", "/requests")["requests"]
        return found


class CommandLine:
    """`callctl simulator …`, with no setting but the address."""

    def __init__(self, sim: Simulator, home: Path) -> None:
        self.sim = sim
        self._home = home

    def _run(self, *arguments: str) -> Any:
        done = run("simulator", *arguments, "--json", home=self._home, env={"CALLCTL_API_URL": self.sim.url})
        if done.code:
            raise RefusedError(json.loads(done.err.splitlines()[-1])["message"])
        answer = json.loads(done.out)
        if isinstance(answer, dict):
            answer.pop("api_url")
        return answer

    def call(self, to: str, url: str) -> Json:
        call: Json = self._run("call", "--to", to, "--from", CALLER, *(("--voice-url", url) if url else ()))
        return call

    def act(self, sid: str, name: str, *given: str) -> Json:
        call: Json = self._run(name, *(("--call", sid) if name == "answers" else (sid,)), *given)
        return call

    def set_far_end(self, address: str, **keys: Any) -> None:
        given: list[str] = []
        for name, value in keys.items():
            text = f"{value}s" if isinstance(value, int | float) else str(value)
            given += [f"--{name.replace('_', '-')}", text]
        self._run("far-end", address, *given)

    def advance(self, seconds: float) -> None:
        self._run("advance", f"{seconds}s")

    def advance_until(self, *, limit: float = 3600, **until: Any) -> float:
        given = ["--limit", f"{limit}s"]
        for name, value in until.items():
            option = "--call" if name == "call" else f"--until-{name}"
            given += [option] if value is True else [option, str(value)]
        return float(self._run("advance", *given)["advanced"])

    def reset(self) -> None:
        assert self._run("reset") == {"at": 0}

    def seed(self, path: Path) -> None:
        self._run("seed", str(path))

    def calls(self) -> list[Json]:
        found: list[Json] = self._run("calls")
        return found

    def requests(self) -> list[Json]:
        found: list[Json] = self._run("requests")
        return found


Way = Python | Http | CommandLine


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    with Simulator(manual_clock=True, seed=1) as sim:
        match request.param:
            case "python":
                yield Python(sim)
            case "http":
                yield Http(sim)
            case _:
                yield CommandLine(sim, tmp_path)


def place(way: Way, to: str = ANSWERS, twiml: str = GATHER) -> str:
    return str(way.sim.client.calls.create(from_=FROM, to=to, twiml=twiml).sid)


def test_a_call_comes_in_and_a_key_is_pressed(way: Way) -> None:
    call = way.call(FROM, f"{way.sim.url}/simulator/survey")
    assert (call["status"], call["direction"], call["from"], call["to"]) == ("ringing", "inbound", CALLER, FROM)
    assert way.advance_until(status="in-progress", call=call["sid"]) == 0.1
    assert way.act(call["sid"], "press", "5")["status"] == "in-progress"
    assert way.advance_until(idle=True) > 1
    (done,) = way.calls()
    assert (done["sid"], done["status"]) == (call["sid"], "completed")
    asked = [each for each in way.requests() if each["kind"] == "document"]
    assert [each["parameters"].get("Digits") for each in asked] == [None, ["5"]]
    assert "<Gather" in asked[0]["reply"]["body"]


def test_the_far_end_answers_speaks_and_hangs_up(way: Way) -> None:
    sid = place(way, NEVER)
    way.advance(1)
    assert way.act(sid, "answer")["status"] == "in-progress"
    assert way.act(sid, "say", "yes, please")["sid"] == sid
    assert way.act(sid, "hangup")["status"] == "completed"


def test_it_answers_gathers(way: Way) -> None:
    gather = "<Response><Gather numDigits='1' action='{url}'/></Response>"
    sid = place(way, twiml=gather.replace("{url}", f"{way.sim.url}/simulator/survey"))
    way.act(sid, "answers", "7", "")
    way.advance_until(request="/simulator/survey")
    assert [each["parameters"]["Digits"] for each in way.requests() if each["kind"] == "document"] == [["7"]]


def test_an_address_is_set(way: Way) -> None:
    way.set_far_end("+12025550150", outcome="busy", after=5.0, words="Hello", answered_by="fax")
    assert way.sim.far_ends == {"+12025550150": FarEnd("busy", after=5.0, words="Hello", answered_by="fax")}
    place(way, "+12025550150")
    assert way.advance_until(status="busy") == 5.3


def test_it_begins_again_and_is_seeded(way: Way, tmp_path: Path) -> None:
    place(way)
    way.advance(10)
    way.reset()
    assert (way.calls(), way.requests(), way.sim.simulated_seconds()) == ([], [], 0)
    path = tmp_path / "seed.toml"
    path.write_text(SEED)
    way.seed(path)
    assert [each.phone_number for each in way.sim.client.incoming_phone_numbers.list()] == ["+12025550142"]
    assert way.sim.far_ends == {"default": FarEnd("busy", after=1.0)}


def test_what_is_known_is_the_same(way: Way) -> None:
    survey = f"{way.sim.url}/simulator/survey"
    way.sim.client.calls.create(from_=FROM, to=ANSWERS, url=survey, status_callback=survey)
    way.advance(20)
    assert way.calls() == Python(way.sim).calls()
    assert way.requests() == Python(way.sim).requests()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda way, _: way.call("+12025550149", ""), "Url parameter is required, since +12025550149 is no number of"),
        (lambda way, _: way.act("CA0", "press", "1"), "there is no call CA0"),
        (lambda way, sid: way.act(sid, "press", "1"), "call {sid} is queued: only one that is in-progress takes keys"),
        (lambda way, sid: way.act(sid, "press", "x"), "digits must be 1 to 64 of 0-9, A-D, # and *, and not 'x'"),
        (lambda way, sid: way.act(sid, "say", "x"), "call {sid} is queued: only one that is in-progress takes words"),
        (lambda way, sid: way.act(sid, "say", ""), "words must be 1 to 4000 characters"),
        (lambda way, sid: way.act(sid, "answer"), "call {sid} is queued: only one that is ringing can be answered"),
        (lambda way, sid: way.act(sid, "hangup"), "call {sid} is queued: there is no one to hang up"),
        (
            lambda way, _: way.set_far_end("+12025550150", outcome="busy", answered_by="cat"),
            "[\"+12025550150\"] answered_by = 'cat': expected one of human, fax",
        ),
        (lambda way, _: way.advance_until(status="done"), "status must be one of queued, ringing, in-progress"),
        (lambda way, _: way.advance_until(status="busy", call="CA0"), "there is no call CA0"),
        (
            lambda way, _: way.advance_until(idle=True, limit=5),
            "it did not become idle within 5 s: {sid} is in-progress, since 2.3 s",
        ),
        (
            lambda way, _: way.advance_until(request="/nothing", limit=5),
            "no request was made or received with '/nothing' in its method and URL within 5 s: {sid} is in-progress",
        ),
    ],
)
def test_what_can_not_be_done_is_said_alike(way: Way, act: Callable[[Way, str], object], message: str) -> None:
    sid = place(way)
    with pytest.raises(RefusedError) as refused:
        act(way, sid)
    assert message.format(sid=sid) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("answer", (), "is busy: only one that is ringing can be answered"),
        ("hangup", (), "is busy: there is no one to hang up"),
        ("press", ("1",), "is busy: only one that is in-progress takes keys"),
        ("say", ("yes",), "is busy: only one that is in-progress takes words"),
        ("answers", ("1",), "is busy: nobody is there to answer"),
    ],
)
def test_a_call_that_has_ended_takes_nothing(way: Way, name: str, given: tuple[str, ...], message: str) -> None:
    sid = place(way, BUSY)
    way.advance_until(idle=True)
    with pytest.raises(RefusedError, match=f"^call {sid} {message}$"):
        way.act(sid, name, *given)


def test_nothing_is_set_of_a_seed_that_is_refused(way: Way, tmp_path: Path) -> None:
    path = tmp_path / "seed.toml"
    path.write_text(f'{SEED}[[numbers]]\nphone-number = "x"\n')
    with pytest.raises(RefusedError, match="numbers 2: PhoneNumber is invalid: x"):
        way.seed(path)
    assert (way.sim.client.incoming_phone_numbers.list(), way.sim.far_ends) == ([], {})


@pytest.mark.parametrize("name", WAYS)
def test_time_that_runs_by_itself_is_not_advanced(name: str, tmp_path: Path) -> None:
    with Simulator() as sim:
        ways: dict[str, Way] = {"python": Python(sim), "http": Http(sim), "command line": CommandLine(sim, tmp_path)}
        with pytest.raises(RefusedError, match=r"start the simulator with manual_clock=True .*--clock manual"):
            ways[name].advance(1)
