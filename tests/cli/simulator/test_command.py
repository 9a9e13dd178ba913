"""`callctl simulator` and `callctl simulator call`, as processes of their own."""

import os
import re
import resource
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import typer
from api.scripted import Server, Turn, drop, hang, reply
from dotenv import dotenv_values
from processes import CALLCTL, CALLCTL_ANEW, Piped
from twilio.rest import Client

from callctl.cli.help import FAR_ENDS
from callctl.cli.io.runtime import Runtime
from callctl.cli.simulator import command as simulator_command
from callctl.cli.simulator.call import simulator_call
from callctl.cli.simulator.command import _far_ends, _share, _span, simulator
from callctl.cli.simulator.env_file import write_settings
from callctl.errors import CallctlError, NetworkError, OutcomeUnknownError, UsageError
from callctl.simulator import DIALECTS, READINGS, FarEnd, Faults, Settings, Simulator
from callctl.simulator.far_end import BY_NUMBER

PATIENCE = 30.0
SETTINGS = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32}


@contextmanager
def started(folder: Path, *options: str, program: Sequence[str] = CALLCTL) -> Iterator[tuple[Piped, dict[str, str]]]:
    """Start the command on a free port; give the process and the settings that it wrote."""
    path = folder / ".env.simulator"
    arguments = ("simulator", "--port", "0", "--write-env", str(path), *options)
    with Piped(*arguments, home=folder, program=program) as process:
        process.until(path.exists)
        yield process, dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def run(command: object, *arguments: str, cwd: Path, environ: dict[str, str] | None = None) -> Runtime:
    """Run one command's function with a runtime of its own; its stdout is a file in `cwd`."""
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    with (cwd / "stdout").open("w") as out, (cwd / "stderr").open("w") as err, Path(os.devnull).open() as nothing:
        runtime = Runtime(environ or {}, cwd, nothing, out, err)
        app(list(arguments), obj=runtime, standalone_mode=False)
    return runtime


def test_it_prints_its_settings_serves_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    with started(tmp_path, "--speed", "20") as (process, settings):
        path = tmp_path / ".env.simulator"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        account, url = settings["TWILIO_ACCOUNT_SID"], settings["CALLCTL_API_URL"]
        assert account == "AC" + "0" * 32
        assert "TWILIO_API_KEY" not in settings  # callctl would sign in with it, unlike what the README shows
        pair = (account, settings["TWILIO_AUTH_TOKEN"])
        reply = requests.get(f"{url}/2010-04-01/Accounts/{account}/Calls.json", auth=pair, timeout=PATIENCE)
        assert reply.json()["calls"] == []
        assert "<Response>" in requests.post(settings["CALLCTL_URL_SURVEY"], timeout=PATIENCE).text
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=PATIENCE) as junk:
            junk.sendall(b"GET /\xff HTTP/1.1\r\n\r\n")
            assert b" 400 " in junk.recv(1000)

        given = ("--to", "+12025550199", "--from", "+12025550105", "--voice-url", "survey", "--env-file", str(path))
        run(simulator_call, *given, cwd=tmp_path)
        sid = (tmp_path / "stdout").read_text().strip()
        fetched = requests.get(f"{url}/2010-04-01/Accounts/{account}/Calls/{sid}.json", auth=pair, timeout=PATIENCE)
        assert (fetched.json()["direction"], fetched.json()["to"]) == ("inbound", "+12025550199")

        assert process.interrupt() == 130
        assert list(process.lines()) == [f"{name}={value}" for name, value in settings.items()]
        err = process.said
        assert "SIMULATED: no calls are placed" in err
        assert "stands still" not in err
        assert f" {url}/simulator/\n" in err
        assert "Traceback" not in err


def test_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    with started(tmp_path) as (process, _):
        assert process.terminate() == 0


def test_credentials_can_be_chosen(tmp_path: Path) -> None:
    chosen = (
        "--account-sid",
        "AC" + "1" * 32,
        "--auth-token",
        "mine",
        "--api-key",
        "SK" + "1" * 32,
        "--api-secret",
        "s",
    )
    with started(tmp_path, *chosen) as (_, settings):
        names = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_API_KEY", "TWILIO_API_SECRET")
        assert tuple(settings[name] for name in names) == chosen[1::2]


def test_many_connections_leave_room_for_more(tmp_path: Path) -> None:
    few = 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))  # what the command starts with
    try:
        with started(tmp_path, program=CALLCTL_ANEW) as (process, settings), ExitStack() as open_ones:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            port = int(settings["CALLCTL_API_URL"].rpartition(":")[2])
            for _ in range(2 * few):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            assert requests.get(settings["CALLCTL_URL_SURVEY"], timeout=PATIENCE).ok
            process.interrupt()
            assert "Traceback" not in process.said
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_port_that_is_taken_ends_in_one_line(tmp_path: Path) -> None:
    with started(tmp_path) as (_, settings):
        port = settings["CALLCTL_API_URL"].rpartition(":")[2]
        with pytest.raises(CallctlError, match=f"can't listen on 127.0.0.1:{port}"):
            run(simulator, "--port", port, cwd=tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--reading", "no-such"],
        ["--drop", "200%"],
        ["--duplicate", "x"],
        ["--delay", "3s-1s"],
        ["--delay", "0-3s"],
        ["--delay", "3s-"],
        ["--lag", "0.5x"],
        ["--lag", "4"],
        ["--latency", "0"],
        ["--cps", "inf"],
        ["--log", "sometimes"],
        ["--latency", "soon"],
        ["--dialect", "other"],
        ["--base-path", "api"],
        ["--speed", "inf"],
        ["--far-end", "none.toml"],
        ["--seed-file", "none.toml"],
        ["--clock", "stopped"],
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        run(simulator, *arguments, cwd=tmp_path)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        ([], {}),
        (["--speed", "20"], {"speed": 20.0}),
        (["--seed", "7"], {"seed": 7}),
        (
            ["--reading", "hang-up-twice", "--reading", "time-limit-alone"],
            {"readings": {"hang-up-twice", "time-limit-alone"}},
        ),
        (["--shuffle"], {"faults": Faults(shuffle=True)}),
        (["--duplicate", "10%"], {"faults": Faults(duplicate=0.1)}),
        (["--drop", "5%"], {"faults": Faults(drop=0.05)}),
        (["--delay", "0s-3s"], {"faults": Faults(delay=(0.0, 3.0))}),
        (["--latency", "100ms"], {"latency": 0.1}),
        (["--lag", "500ms"], {"lag": 0.5}),
        (["--cps", "1"], {"cps": 1.0}),
        (["--concurrency", "5"], {"concurrency": 5}),
        (["--keep-finished", "3"], {"keep_finished": 3}),
        (["--dialect", "somleng"], {"dialect": DIALECTS["somleng"]}),
        (["--base-path", "/api/laml/"], {"base_path": "/api/laml"}),
        (["--allow-remote"], {"allow_remote": True}),
        (["--far-end", "far.toml"], {"far_end": {"default": FarEnd("never")}}),
        (["--account-sid", "AC1"], {"account_sid": "AC1"}),
        (["--auth-token", "mine"], {"auth_token": "mine"}),
        (["--api-key", "SK1"], {"api_key": "SK1"}),
        (["--api-secret", "mine"], {"api_secret": "mine"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_option_is_the_setting_of_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], chosen: dict[str, Any]
) -> None:
    served: list[Simulator] = []

    async def serve(_runtime: Runtime, made: Simulator, **_options: object) -> None:
        served.append(made)

    monkeypatch.setattr(simulator_command, "_serve", serve)
    (tmp_path / "far.toml").write_text('["default"]\noutcome = "never"\n')
    run(simulator, *arguments, cwd=tmp_path)
    assert [made.settings for made in served] == [Settings(keep_records=2000, **chosen)]


def test_a_process_of_its_own_does_as_its_options_say(tmp_path: Path) -> None:
    (tmp_path / "far.toml").write_text('["+12025550150"]\noutcome = "busy"\nafter = "0s"\n')
    options = (
        "--far-end",
        str(tmp_path / "far.toml"),
        "--reading",
        "hang-up-twice",
        "--speed",
        "50",
        "--base-path",
        "/api",
    )
    with started(tmp_path, *options) as (_, settings):
        client = Client(settings["TWILIO_ACCOUNT_SID"], settings["TWILIO_AUTH_TOKEN"])
        client.api.base_url = settings["CALLCTL_API_URL"]
        call = client.calls.create(to="+12025550150", from_=settings["CALLCTL_FROM"], twiml="<Response/>")
        until = time.monotonic() + PATIENCE
        while call.fetch().status != "busy" and time.monotonic() < until:
            time.sleep(0.05)
        assert client.calls(call.sid).update(status="completed").status == "busy"


def test_a_process_with_a_manual_clock_and_a_seed(tmp_path: Path) -> None:
    (tmp_path / "seed.toml").write_text('[[numbers]]\nphone-number = "+12025550142"\n')
    with started(tmp_path, "--clock", "manual", "--seed-file", str(tmp_path / "seed.toml")) as (process, settings):
        client = Client(settings["TWILIO_ACCOUNT_SID"], settings["TWILIO_AUTH_TOKEN"])
        client.api.base_url = settings["CALLCTL_API_URL"]
        assert [each.phone_number for each in client.incoming_phone_numbers.list()] == ["+12025550142"]
        call = client.calls.create(to="+12025550102", from_=settings["CALLCTL_FROM"], twiml="<Response/>")
        advanced = requests.post(
            f"{settings['CALLCTL_API_URL']}/simulator/advance", json={"seconds": "10m"}, timeout=60
        )
        assert advanced.json() == {"at": 600, "advanced": 600}
        assert call.fetch().status == "busy"
        process.terminate()
        assert "stands still until it is advanced: callctl simulator advance 10s" in process.said


def test_a_seed_that_is_refused_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "seed.toml").write_text('[[numbers]]\nphone-number = "x"\n')
    with pytest.raises(UsageError, match=r"seed.toml: numbers 1: PhoneNumber is invalid: x"):
        run(simulator, "--port", "0", "--seed-file", "seed.toml", cwd=tmp_path)


def test_help_has_the_far_ends_and_the_readings() -> None:
    assert "callctl help far-ends" in (simulator.__doc__ or "")
    assert all(name in FAR_ENDS for name in READINGS)
    for number, name in BY_NUMBER.items():
        assert re.search(rf"^ *{re.escape(number)} +{name} +[a-z]", FAR_ENDS, flags=re.MULTILINE), number


class TestWriteEnv:
    def test_an_existing_file_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "env"
        path.write_text("mine")
        with pytest.raises(UsageError, match="was kept"):
            write_settings(path, SETTINGS, force=False)
        assert path.read_text() == "mine"

    @pytest.mark.parametrize("force", [False, True])
    def test_what_is_no_regular_file_is_left_alone(self, tmp_path: Path, *, force: bool) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)  # as /dev/null and /dev/stdout, which root could replace
        with pytest.raises(UsageError, match="no regular file"):
            write_settings(path, SETTINGS, force=force)
        assert path.is_fifo()
        assert [each.name for each in tmp_path.iterdir()] == ["pipe"]

    def test_unless_it_says_the_same_or_is_forced(self, tmp_path: Path) -> None:
        path = tmp_path / "env"
        write_settings(path, SETTINGS, force=False)
        write_settings(path, SETTINGS, force=False)
        path.write_text("mine")
        path.chmod(0o644)
        write_settings(path, SETTINGS, force=True)
        assert path.read_text().endswith(f"TWILIO_ACCOUNT_SID=AC{'0' * 32}\n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [each.name for each in tmp_path.iterdir()] == ["env"]

    def test_one_that_an_earlier_start_has_left_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "env"
        write_settings(path, SETTINGS, force=False)
        write_settings(path, {"CALLCTL_API_URL": "http://127.0.0.1:1234"}, force=False)
        assert path.read_text().splitlines()[1:] == ["CALLCTL_API_URL=http://127.0.0.1:1234"]

    @pytest.mark.parametrize("add", ["CALLCTL_URL_MENU=http://127.0.0.1:5000/menu\n", "\n", "# mine"])
    def test_unless_somebody_has_added_to_it(self, tmp_path: Path, add: str) -> None:
        path = tmp_path / "env"
        write_settings(path, SETTINGS, force=False)
        changed = path.read_text() + add
        path.write_text(changed)
        with pytest.raises(UsageError, match="was kept"):
            write_settings(path, SETTINGS, force=False)
        assert path.read_text() == changed

    @pytest.mark.parametrize("value", ["/a/a b/roots.pem", "/a/a;b", "/a/$HOME/`x`", "/a/a#b", '/a/"a"'])
    def test_a_shell_and_callctl_read_what_was_written(self, tmp_path: Path, value: str) -> None:
        write_settings(tmp_path / "env", {"CALLCTL_FROM": value}, force=False)
        sourced = ["sh", "-c", "set -a; . ./env; exec printenv CALLCTL_FROM"]
        done = subprocess.run(sourced, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout == f"{value}\n"
        assert dotenv_values(tmp_path / "env", interpolate=False) == {"CALLCTL_FROM": value}

    def test_where_nothing_can_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(CallctlError, match="can't write"):
            write_settings(tmp_path / "none" / "env", SETTINGS, force=False)


def test_spans_and_shares() -> None:
    spans = [("0s-3s", (0.0, 3.0)), ("2s", (2.0, 2.0)), ("100ms-1s", (0.1, 1.0)), ("1m30s-2m", (90.0, 120.0))]
    assert [_span("-", text) for text, _ in spans] == [span for _, span in spans]
    assert [_share("-", text) for text in ("10%", "0.1", "0", "100%")] == [0.1, 0.1, 0.0, 1.0]


def test_a_far_end_file_is_read_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "far.toml").write_text('["+12025550150"]\noutcome = "busy"\n')
    runtime = Runtime({}, tmp_path, sys.stdin, sys.stdout, sys.stderr)
    assert set(_far_ends(runtime, Path("far.toml"))) == {"+12025550150"}


class TestSimulatorCall:
    GIVEN = ("--to", "+12025550199", "--from", "+12025550100", "--voice-url", "http://127.0.0.1:9/")

    def test_says_when_none_answers(self, tmp_path: Path) -> None:
        environ = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "x", "HOME": str(tmp_path)}
        environ["CALLCTL_API_URL"] = "http://127.0.0.1:1"
        with pytest.raises(NetworkError, match="no simulator answers"):
            run(simulator_call, *self.GIVEN, cwd=tmp_path, environ=environ)

    @pytest.mark.parametrize(
        ("turn", "why"),
        [
            (hang(), "did not answer within 0.2 s"),
            (drop(), "broke off before its whole answer came"),
            (reply(201, b"<html>"), "sent an answer that can't be read"),
        ],
        ids=["late", "broken", "unreadable"],
    )
    def test_one_that_does_not_answer_as_it_should_may_have_made_the_call(
        self, tmp_path: Path, turn: Turn, why: str
    ) -> None:
        environ = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "x", "HOME": str(tmp_path)}
        with Server(turn) as server:
            environ["CALLCTL_API_URL"] = server.url
            with pytest.raises(OutcomeUnknownError) as raised:
                run(simulator_call, *self.GIVEN, "--request-timeout", "0.2s", cwd=tmp_path, environ=environ)
        assert raised.value.message == f"the simulator at {server.url} {why}: the call may have come in"

    def test_what_is_no_simulator_made_no_call(self, tmp_path: Path) -> None:
        environ = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "x", "HOME": str(tmp_path)}
        with Server(reply(404, b"<html>")) as server, pytest.raises(NetworkError, match="no simulator answers"):
            run(simulator_call, *self.GIVEN, cwd=tmp_path, environ={**environ, "CALLCTL_API_URL": server.url})

    def test_a_number_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="--to: not a number, SIP address or client: x"):
            run(simulator_call, "--to", "x", *self.GIVEN[2:], cwd=tmp_path)
