"""What docs/simulator.md shows works as written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from callctl.simulator import DIALECTS, READINGS, Simulator, load_far_ends
from callctl.simulator.far_end import BY_NUMBER

DOC = ROOT / "docs" / "simulator.md"
TEXT = DOC.read_text(encoding="utf-8")


APPLICATION = """
import os
from twilio.rest import Client
client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
client.calls.create(to="+12025550100", from_="+15005550006", twiml="<Response/>")
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_fixture_and_its_test(tmp_path: Path) -> None:
    module = tmp_path / "test_shown.py"
    module.write_text("\n\n".join(blocks("python")))
    (tmp_path / "application.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(module)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_fixture_is_short() -> None:
    fixture = blocks("python")[0].partition("@pytest.fixture")[2]
    assert len(fixture.strip().splitlines()) <= 10


def test_the_seed_file(tmp_path: Path) -> None:
    path = tmp_path / "seed.toml"
    path.write_text(blocks("toml")[1])
    with Simulator(seed_file=path) as sim:
        (number,) = sim.client.incoming_phone_numbers.list()
        assert sim.client.applications(number.voice_application_sid).fetch().friendly_name == "Menu"


def test_the_far_end_file(tmp_path: Path) -> None:
    path = tmp_path / "far.toml"
    path.write_text(blocks("toml")[0])
    assert set(load_far_ends(path)) == {"+12025550150", "default"}


@pytest.mark.parametrize(("number", "name"), BY_NUMBER.items())
def test_the_table_of_far_ends(number: str, name: str) -> None:
    assert re.search(rf"^\| `{re.escape(number)}`.*`{name}`", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize("name", [*READINGS, *(name for name in DIALECTS if name != "twilio")])
def test_readings_and_dialects_are_named(name: str) -> None:
    assert name in TEXT


@pytest.mark.parametrize("verb", ["Connect", "Start", "Stop", "Refer", "Pay"])
def test_what_is_not_imitated_is_named(verb: str) -> None:
    assert verb in TEXT.partition("**Not imitated.**")[2]
