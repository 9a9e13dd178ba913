"""The pytest plugin in runs of pytest as its users start them: in a folder of their own, with their own settings."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from once import once
from pytest_runs import run_pytest
from web_site import free_port

from callctl.simulator import Simulator
from callctl.simulator.summary import MOST_REQUESTS

USUAL = """
from callctl.simulator import FarEnd, SimulatorError
import pytest

SEEN = []

def test_it_stands_still_is_strict_and_has_a_client(twilio_simulator):
    SEEN.append(twilio_simulator)
    call = twilio_simulator.client.calls.create(to="+12025550102", from_="+15005550006", twiml="<Response/>")
    twilio_simulator.set_far_end("+12025550102", FarEnd("busy"))
    twilio_simulator.advance(10)
    assert call.fetch().status == "busy"
    strict = twilio_simulator.call(to="+15005550006", from_="+12025550199", twiml="<Response><Pay/></Response>")
    twilio_simulator.advance_until(idle=True)
    assert twilio_simulator.find(strict.sid).status == "failed"

def test_nothing_of_another_test_is_left(twilio_simulator):
    assert twilio_simulator is SEEN[0]
    assert (twilio_simulator.calls, twilio_simulator.requests, twilio_simulator.sent) == ((), (), ())
    assert (twilio_simulator.simulated_seconds(), twilio_simulator.far_ends) == (0, {})

@pytest.mark.twilio_simulator(strict=False, far_end={"+12025550150": FarEnd("busy")})
class TestMarked:
    @pytest.mark.twilio_simulator(manual_clock=False)
    def test_options_for_one_test(self, twilio_simulator):
        assert not twilio_simulator.settings.strict and twilio_simulator.far_ends
        with pytest.raises(SimulatorError, match="--clock manual"):
            twilio_simulator.advance(1)
        twilio_simulator.call(to="+15005550006", from_="+12025550199", twiml="<Response><Pause/></Response>")

    def test_options_for_a_class(self, twilio_simulator):
        twilio_simulator.advance(1)
        assert not twilio_simulator.settings.strict and twilio_simulator.calls == ()

def test_what_a_marker_said_is_forgotten(twilio_simulator):
    assert twilio_simulator.settings.strict and not twilio_simulator.far_ends
    twilio_simulator.advance(1)

def test_it_is_stopped_as_if_twilio_were_gone(twilio_simulator):
    twilio_simulator.__exit__()
    with pytest.raises(OSError):
        twilio_simulator.client.calls.list()

def test_and_is_there_again(twilio_simulator):
    assert twilio_simulator.client.calls.list() == []

@pytest.mark.usefixtures("twilio_simulator")
class TestByName:
    def test_used_by_name(self):
        pass
"""

AT_A_PORT = """
import pytest

@pytest.fixture(scope="session")
def twilio_simulator_options():
    return {"port": PORT, "strict": False}

def test_options_for_all(twilio_simulator):
    assert twilio_simulator.url == "http://127.0.0.1:PORT"
    assert not twilio_simulator.settings.strict

@pytest.mark.twilio_simulator(strict=True)
def test_and_others_for_one_at_the_same_port(twilio_simulator):
    assert twilio_simulator.url == "http://127.0.0.1:PORT"
    assert twilio_simulator.settings.strict
"""

FAILING = """
import pytest

VOICE = "<Response><Say>Hello.</Say><Pay/></Response>"

def call(twilio_simulator, **parameters):
    twilio_simulator.call(to="+15005550006", from_="+12025550199", **parameters)
    twilio_simulator.advance(60)

def test_it_fails(twilio_simulator):
    call(twilio_simulator, twiml=VOICE)
    twilio_simulator.client.calls.create(to="+12025550100", from_="+15005550006", url="http://127.0.0.1:1/")
    twilio_simulator.advance(10)
    with pytest.raises(Exception):
        twilio_simulator.client.calls.create(to="nobody", from_="+15005550006", twiml=VOICE)
    assert False

def test_it_succeeds(twilio_simulator):
    call(twilio_simulator, url=f"{twilio_simulator.url}/simulator/survey")

def test_it_has_asked_for_much(twilio_simulator):
    for _ in range(40):
        call(twilio_simulator, url=f"{twilio_simulator.url}/simulator/survey")
    assert False

@pytest.fixture
def application(twilio_simulator):
    yield
    assert twilio_simulator.find(twilio_simulator.calls[0].sid).status == "failed to end"

def test_its_teardown_fails(application, twilio_simulator):
    call(twilio_simulator, twiml="<Response/>")

@pytest.fixture
def broken(twilio_simulator):
    call(twilio_simulator, twiml="<Response><Hangup/></Response>")
    raise ValueError

def test_its_setup_fails(broken):
    pass

def test_it_is_refused(twilio_simulator):
    call = twilio_simulator.call(to="+15005550006", from_="+12025550199", twiml="<Response><Pause/></Response>")
    twilio_simulator.advance_until(status="busy", call=call.sid)

def test_it_is_refused_at_once(twilio_simulator):
    twilio_simulator.press("CA0", "1")

def test_a_file_is_missing(twilio_simulator):
    twilio_simulator.seed("none.toml")

@pytest.mark.twilio_simulator(speeed=5)
def test_no_such_option(twilio_simulator):
    pass

@pytest.mark.twilio_simulator("strict")
def test_no_keyword(twilio_simulator):
    pass

def test_what_happened_is_not_to_be_had(twilio_simulator, monkeypatch):
    monkeypatch.setattr("callctl.simulator.summary.Summary.text", lambda _: 1 / 0)
    assert False

def test_without_it():
    assert False
"""

# It is in the environment of the whole run, so it must cost nothing where it is not used.
UNUSED = """
import sys

def test_nothing_of_the_simulator_is_loaded():
    loaded = {name for name in sys.modules if name.partition(".")[0] in ("aiohttp", "callctl", "twilio", "typer")}
    assert loaded == {"callctl", "callctl.pytest_plugin"}
"""

IN_A_COROUTINE = """
import pytest
from aiohttp import web
from callctl.simulator import SimulatorError

@pytest.fixture
async def voice_url():
    async def voice(_request):
        return web.Response(text="<Response><Say>Hello.</Say></Response>", content_type="text/xml")

    application = web.Application()
    application.router.add_post("/voice", voice)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/voice"
    await runner.cleanup()

async def test_an_application_in_the_same_loop(twilio_simulator, voice_url):
    call = twilio_simulator.client.calls.create(to="+12025550100", from_="+15005550006", url=voice_url)
    with pytest.raises(SimulatorError, match="await advance_async"):
        twilio_simulator.advance(10)
    await twilio_simulator.advance_async(10)
    assert twilio_simulator.find(call.sid).status == "completed"
    assert [sent.reply.status for sent in twilio_simulator.sent] == [200]
"""


SETTINGS = """
[pytest]
addopts = -W error --strict-markers -p no:cacheprovider
asyncio_default_fixture_loop_scope = function
"""


def pytest_in(folder: Path, code: str, *arguments: str) -> str:
    """Run pytest with what is installed here in a folder with one module, and return what it printed."""
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "test_shown.py").write_text(code)
    done = run_pytest(folder, *arguments)
    return done.stdout + done.stderr


def test_it_is_registered() -> None:
    (point,) = entry_points(group="pytest11", name="callctl")
    assert point.value == "callctl.pytest_plugin"


def test_each_test_has_a_simulator_in_which_nothing_has_happened(tmp_path: Path) -> None:
    assert "8 passed" in pytest_in(tmp_path, USUAL)


def test_each_worker_has_one(tmp_path: Path) -> None:
    output = pytest_in(tmp_path, USUAL, "-n", "2", "--dist", "loadfile")
    assert "8 passed" in output
    assert "2 workers" in output


def test_a_port_may_be_fixed(tmp_path: Path) -> None:
    assert "2 passed" in pytest_in(tmp_path, AT_A_PORT.replace("PORT", str(free_port())))


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with Simulator() as other:
        port = other.url.rpartition(":")[2]
        output = pytest_in(tmp_path, AT_A_PORT.replace("PORT", port))
    assert f"\ntwilio_simulator can't start: can't listen on 127.0.0.1:{port}: the port is taken\n" in output
    assert "Traceback" not in output


def test_a_coroutine_awaits_what_an_application_in_its_loop_answers(tmp_path: Path) -> None:
    assert "1 passed" in pytest_in(tmp_path, IN_A_COROUTINE, "-o", "asyncio_mode=auto")


def test_a_run_that_does_not_use_it_loads_nothing(tmp_path: Path) -> None:
    assert "1 passed" in pytest_in(tmp_path, UNUSED)


def test_to_import_callctl_loads_nothing_either() -> None:
    code = "import sys; before = set(sys.modules); import callctl; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['callctl']\n"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    return once(tmp_path_factory, "failing", lambda: pytest_in(tmp_path_factory.mktemp("failing"), FAILING))


class TestFailures:
    def section(self, output: str, test: str) -> str:
        """Return what stands below the simulator's heading in the report of one test's failure."""
        part = re.split(rf"^_+ (?:ERROR at \w+ of )?{test} _+$", output, flags=re.MULTILINE)[1]
        part = re.split(r"^[_=]{3,} .* [_=]{3,}$", part, flags=re.MULTILINE)[0]
        return part.partition("- twilio_simulator -")[2].partition("\n")[2]

    def test_a_failure_shows_what_happened(self, output: str) -> None:
        shown = self.section(output, "test_it_fails").splitlines()
        assert shown[0] == "at 70 s: 2 calls, 2 requests received, 1 made"
        course = "ringing at 0, in-progress at 0, failed at 0.36"
        assert re.fullmatch(rf"CA\w{{32}} inbound \+12025550199 -> \+15005550006: {course}", shown[1])
        assert shown[2].startswith("    warning 12200 at 0.36: <Pay> is not imitated")
        sid = shown[4].split()[0]
        assert f"   60.0 <- 201 POST /Calls.json {sid}" in shown
        assert f"   62.3 -> failed POST http://127.0.0.1:1/ document in-progress {sid}" in shown
        assert "   70.0 <- 400 21211 POST /Calls.json" in shown
        assert "           Invalid 'To' Phone Number: nobody" in shown

    def test_a_success_shows_nothing(self, output: str) -> None:
        assert "test_it_succeeds" not in output

    def test_of_much_the_latest_is_shown(self, output: str) -> None:
        shown = self.section(output, "test_it_has_asked_for_much")
        assert "(30 earlier calls are left out)" in shown
        assert len(re.findall("^ +[0-9.]+ (?:<-|->)", shown, re.MULTILINE)) == MOST_REQUESTS

    def test_so_does_one_at_the_setup_or_behind_the_test(self, output: str) -> None:
        assert "1 call" in self.section(output, "test_its_teardown_fails")
        assert "1 call" in self.section(output, "test_its_setup_fails")

    @pytest.mark.parametrize(
        ("test", "line", "message"),
        [
            (
                "test_it_is_refused",
                'twilio_simulator.advance_until(status="busy", call=call.sid)',
                r"call CA\w+ can't be busy any more: it ended as completed, at 1 s",
            ),
            (
                "test_a_file_is_missing",
                'twilio_simulator.seed("none.toml")',
                "can't read none.toml: No such file or directory",
            ),
            ("test_it_is_refused_at_once", 'twilio_simulator.press("CA0", "1")', "there is no call CA0"),
        ],
    )
    def test_what_is_refused_is_said_at_the_tests_own_line(
        self, output: str, test: str, line: str, message: str
    ) -> None:
        (report,) = re.findall(rf"^_+ {test} _+$(.*?)^-+ twilio_simulator -+$", output, re.MULTILINE | re.DOTALL)
        assert re.search(
            rf"^>       {re.escape(line)}\n(.*\n)?E +[\w.]*SimulatorError: {message}$", report, re.MULTILINE
        )
        assert not [
            name for name in ("operations.py", "simulator.py", "seed.py", "above exception") if name in report
        ], report

    def test_what_can_not_start_is_said_without_a_traceback(self, output: str) -> None:
        # Where CI is set, pytest's summary has the whole sentence once more.
        (reason,) = re.findall(r"^twilio_simulator can't start: (.*speeed'.*)$", output, re.MULTILINE)
        assert reason.startswith("a Simulator has no option 'speeed', but host, port, ")
        assert "\nthe marker twilio_simulator takes options by keyword, such as strict=False\n" in output

    def test_the_failure_is_reported_whatever_becomes_of_what_happened(self, output: str) -> None:
        shown = self.section(output, "test_what_happened_is_not_to_be_had")
        assert shown == "can't say what happened: ZeroDivisionError('division by zero')\n"

    def test_tests_without_it_show_nothing(self, output: str) -> None:
        assert self.section(output, "test_without_it") == ""
        assert output.count("- twilio_simulator -") == 8
