"""What docs/simulator.md and the pages beside it show works as written."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from paths import ROOT
from processes import Piped
from pytest_runs import run_pytest
from running import run
from web_site import free_port

from callctl.simulator import DIALECTS, READINGS, Simulator, load_far_ends
from callctl.simulator.far_end import BY_NUMBER
from callctl.simulator.settings import Settings

TEXT = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
IMITATION = (ROOT / "docs" / "simulator-imitation.md").read_text(encoding="utf-8")
PROXY = (ROOT / "docs" / "simulator-proxy.md").read_text(encoding="utf-8")
PORT = "8766"

APPLICATION = """
import os
from twilio.rest import Client
client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
client.calls.create(to="+12025550100", from_="+15005550006", twiml="<Response/>")
"""
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = -W error -p no:cacheprovider
"""


def blocks(language: str, text: str = TEXT) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def passed(folder: Path, *code: str) -> str:
    """Run tests in a folder of their own, and return pytest's last line."""
    (folder / "test_shown.py").write_text("\n\n".join(code))
    (folder / "pytest.ini").write_text(SETTINGS)
    done = run_pytest(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def test_the_first_test_is_whole(tmp_path: Path) -> None:
    assert " 2 passed" in passed(tmp_path, blocks("python")[0])


def test_all_of_the_tests_shown(tmp_path: Path) -> None:
    code = [each.replace(PORT, str(free_port())) for each in blocks("python")]
    assert " 5 passed" in passed(tmp_path, *code)


def test_the_application_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)
    assert " 1 passed" in passed(tmp_path, *blocks("python", PROXY))


def test_what_is_shown_of_a_test_for_node_is_the_examples() -> None:
    example = (ROOT / "examples" / "node" / "hotline.test.js").read_text(encoding="utf-8")
    (shown,) = blocks("js")
    assert all(line.strip() in example for line in shown.splitlines())


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


class TestControls:
    """The table of what a test does, in three ways."""

    ROWS = re.findall(
        r"^\| ([^|]+) \| ([^|]*) \| ([^|]+) \| ([^|]*) \|$", TEXT.partition("`callctl simulator` |")[2], re.M
    )

    def test_python(self) -> None:
        named = {name for row in self.ROWS for name in re.findall(r"`(\w+)", row[1])}
        assert len(named) == 17
        assert [name for name in named if not hasattr(Simulator, name)] == []

    def test_http(self) -> None:
        text = (ROOT / "src/callctl/simulator/rest/control/openapi.json").read_text(encoding="utf-8")
        described = {
            (method.upper(), re.sub(r"\{\w+\}", "SID", path.removeprefix("/simulator")))
            for path, methods in json.loads(text)["paths"].items()
            for method in methods
        }
        named = {(method, path) for row in self.ROWS for method, path in re.findall(r"`(GET|POST) (/[\w/-]*)", row[2])}
        assert named - described == set()
        assert {(method, path) for method, path in described - named if method == "POST"} == set()
        bodies = [body for row in self.ROWS for body in re.findall(r"`(\{.*?\})`", row[2]) if "…, " not in body]
        assert all(json.loads(body) for body in bodies)

    def test_the_command_line(self, home: Path) -> None:
        named = {name for row in self.ROWS for name in re.findall(r"`([a-z-]+)", row[3])}
        assert len(named) == 12
        for name in named:
            assert run("simulator", name, "--help", home=home).code == 0, name

    def test_what_is_typed(self, home: Path) -> None:
        typed = [block for block in blocks("sh") if "callctl simulator call" in block]
        for block, digits in zip(typed, ([None], [None, "5"]), strict=True):
            with Simulator(manual_clock=True, seed=1) as sim:
                port = sim.url.rpartition(":")[2]
                for line in block.replace(PORT, port).splitlines():
                    outcome = run(*shlex.split(line)[1:], home=home, env={"CALLCTL_API_URL": sim.url})
                    assert outcome.code == 0, f"{line}: {outcome.err}"
                sim.advance(60)
                assert [sent.params.get("Digits") for sent in sim.sent] == digits

    def test_curl(self) -> None:
        if shutil.which("curl") is None:
            pytest.skip("there is no curl")
        (typed,) = [block for block in blocks("sh") if block.startswith("curl")]
        with Simulator(manual_clock=True) as sim:
            command = shlex.split(typed.replace(f"http://127.0.0.1:{PORT}", sim.url))
            done = subprocess.run([*command, "-s"], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == {"at": 0.0, "advanced": 0.0}


@pytest.mark.parametrize(
    "typed",
    [block for page in (TEXT, PROXY) for block in blocks("sh", page) if block.startswith("callctl simulator --")],
)
def test_it_starts_so(typed: str, home: Path) -> None:
    proxy = ["--proxy-port", "0"] if "--proxy" in typed else []
    with Piped(*shlex.split(typed)[1:], "--port", "0", *proxy, home=home) as simulator:
        simulator.until_said("Ctrl-C ends it")
        assert "CALLCTL_API_URL=http://127.0.0.1:" in (home / ".env.simulator").read_text()


@pytest.mark.parametrize("name", [*READINGS, *(name for name in DIALECTS if name != "twilio")])
def test_readings_and_dialects_are_named(name: str) -> None:
    assert name in IMITATION


@pytest.mark.parametrize("verb", ["Connect", "Start", "Stop", "Refer", "Pay"])
def test_what_is_not_imitated_is_named(verb: str) -> None:
    assert verb in IMITATION.partition("**Not imitated.**")[2]


def test_options_are_named() -> None:
    options = {*(Simulator.__init__.__kwdefaults__ or {}), *(each.name for each in fields(Settings))}
    assert [name for name in options if f"`{name}`" not in TEXT] == []
