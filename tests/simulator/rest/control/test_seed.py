"""A seed: numbers, applications and far ends from a file, or over HTTP."""

import json
from pathlib import Path

import pytest
from simulator.setup import FROM, SimulatorSetup, simulator_setup

from callctl.simulator import FarEnd, SeedError, SeedRefusedError, Simulator, SimulatorError

FILE = """
[[applications]]
friendly-name = "Menu"
voice-url = "{url}/menu"
voice-method = "GET"

[[numbers]]
phone-number = "+12025550142"
friendly-name = "Support"
voice-application = "Menu"

[[numbers]]
phone-number = "(202) 555-0143"
voice-url = "{url}/voice"
status-callback = "{url}/status"

[far-ends."+12025550150"]
outcome = "busy"
after = "3s"
"""
URL = "http://127.0.0.1:9"
BODY = {
    "applications": [{"friendly_name": "Menu", "voice_url": f"{URL}/menu"}],
    "numbers": [{"phone_number": "+12025550142", "voice_application": "Menu", "voice_caller_id_lookup": False}],
    "far_ends": {"+12025550150": {"outcome": "busy", "after": 3}},
}


def written(folder: Path, text: str = FILE, name: str = "seed.toml") -> Path:
    path = folder / name
    path.write_text(text.replace("{url}", URL))
    return path


def owned(sim: Simulator) -> tuple[dict[str, str], dict[str, str]]:
    """The numbers, with who handles their calls, and the applications with their URLs."""
    applications = {each.sid: each for each in sim.client.applications.list()}
    numbers = sim.client.incoming_phone_numbers.list()
    handled = {
        each.phone_number: applications[each.voice_application_sid].friendly_name
        if each.voice_application_sid
        else each.voice_url
        for each in numbers
    }
    return handled, {each.friendly_name: each.voice_url for each in applications.values()}


EXPECTED = ({"+12025550142": "Menu", "+12025550143": f"{URL}/voice"}, {"Menu": f"{URL}/menu"})


def test_a_file_at_the_start_which_a_reset_applies_again(tmp_path: Path) -> None:
    with Simulator(manual_clock=True, seed=1, seed_file=written(tmp_path)) as sim:
        assert owned(sim) == EXPECTED
        assert sim.far_ends == {"+12025550150": FarEnd("busy", after=3)}
        sids = [each.sid for each in sim.client.incoming_phone_numbers.list()]
        sim.client.incoming_phone_numbers(sids[0]).delete()
        sim.set_far_end("default", FarEnd("never"))
        sim.reset()
        assert owned(sim) == EXPECTED
        assert [each.sid for each in sim.client.incoming_phone_numbers.list()] == sids
        assert sim.far_ends == {"+12025550150": FarEnd("busy", after=3)}


def test_a_file_later_and_once_more(tmp_path: Path) -> None:
    path = written(tmp_path)
    with Simulator(manual_clock=True) as sim:
        sim.client.incoming_phone_numbers.create(phone_number="+12025550142", voice_url=f"{URL}/old")
        sim.seed(path)
        assert owned(sim) == EXPECTED
        sim.seed(written(tmp_path, FILE.replace("/voice", "/new")))
        assert owned(sim)[0]["+12025550143"] == f"{URL}/new"
        assert len(sim.client.applications.list()) == 1


def test_a_call_to_a_number_of_it_is_handled_as_it_says(tmp_path: Path) -> None:
    with Simulator(manual_clock=True, seed_file=written(tmp_path)) as sim:
        sim.call(to="+12025550142", from_="+12025550199")
        sim.advance(1)
        assert [(each.method, each.url) for each in sim.sent] == [("GET", f"{URL}/menu")]


async def test_over_http(setup: SimulatorSetup) -> None:
    status, body = await setup.control("POST", "/seed", BODY)
    assert status == 200
    assert [each["phone_number"] for each in body["numbers"]] == ["+12025550142"]
    assert [each["friendly_name"] for each in body["applications"]] == ["Menu"]
    assert setup.sim.far_ends == {"+12025550150": FarEnd("busy", after=3)}
    assert (await setup.control("POST", "/calls", {"to": "+12025550142", "from": FROM}))[0] == 201
    await setup.advance(1)
    assert setup.sim.sent[0].url == f"{URL}/menu"


def test_a_mapping_and_a_json_file_are_written_as_over_http(tmp_path: Path) -> None:
    for source in (BODY, written(tmp_path, json.dumps(BODY), "seed.json")):
        with Simulator(manual_clock=True) as sim:
            sim.seed(source)
            assert owned(sim) == ({"+12025550142": "Menu"}, {"Menu": f"{URL}/menu"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("numbers = 1", "numbers must be a list of up to 1000 tables"),
        ("[numbers]\na = 1", "numbers must be a list"),
        ("[[numbers]]\nvoice-url = 'http://127.0.0.1/'", "numbers 1: phone-number is missing"),
        ("[[numbers]]\nphone-number = 12", "numbers 1: phone-number = 12: expected a text"),
        ("[[numbers]]\nphone_number = '+12025550142'", "numbers 1: phone_number: unknown key; known are phone-number"),
        ("[[applications]]\nvoice-url = 'http://127.0.0.1/'", "applications 1: friendly-name is missing"),
        ("[[number]]\na = 1", "a seed: number: unknown key; known are numbers, applications, far-ends"),
        ("[far-ends.x]\nafter = 3", """far-ends["x"] after = 3: expected a time with its unit"""),
        ("[far-ends.x]\nsleeps = true", """far-ends["x"] sleeps: unknown key"""),
        ("[[", "can't read "),
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SeedError) as refused:
        Simulator(seed_file=path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    with Simulator() as sim, pytest.raises(SimulatorError) as later:
        sim.seed(path)
    assert message in str(later.value)


def test_no_file() -> None:
    with pytest.raises(SeedError, match=r"can't read no/such.toml: No such file"):
        Simulator(seed_file="no/such.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[numbers]]\nphone-number = 'x'", "numbers 2: PhoneNumber is invalid: x"),
        ("[[numbers]]\nphone-number = '+12025550142'\nvoice-url = 'x'", "numbers 2: Invalid URL: VoiceUrl x"),
        (
            "[[numbers]]\nphone-number = '+12025550142'\nvoice-application = 'Menu'",
            "numbers 2: there is no application 'Menu'",
        ),
    ],
)
def test_what_is_refused_changes_nothing(tmp_path: Path, text: str, message: str) -> None:
    good = "[[numbers]]\nphone-number = '+12025550143'\n"
    far_end = "\n[far-ends.default]\noutcome = 'busy'"
    path = written(tmp_path, good + text + far_end)
    with pytest.raises(SeedRefusedError, match=message):
        Simulator(seed_file=path).__enter__()
    with Simulator(seed=1) as sim:
        before = sim.client.incoming_phone_numbers.create(phone_number="+12025550143", friendly_name="Old")
        with pytest.raises(SimulatorError, match=message):
            sim.seed(written(tmp_path, good + "friendly-name = 'New'\n" + text + far_end))
        (number,) = sim.client.incoming_phone_numbers.list()
        assert (number.sid, number.friendly_name) == (before.sid, "Old")
        assert sim.far_ends == {}


async def test_a_refused_one_leaves_the_sids_that_follow_as_they_would_be() -> None:
    made = []
    for seeds in ((), ({"numbers": [{"phone_number": "+12025550143"}, {"phone_number": "x"}]},)):
        async with simulator_setup() as setup:
            for seed in seeds:
                assert (await setup.control("POST", "/seed", seed))[0] == 400
            made.append((await setup.control("POST", "/seed", BODY))[1])
    assert made[0] == made[1]
