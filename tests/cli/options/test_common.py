"""The options that all commands of calls share, tried with each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from api.scripted import Server, call, hang, reply
from running import Callctl, Outcome, env_for

from callctl.simulator import Simulator

SID = "CA" + "1" * 32
KEYS = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake-token", "CALLCTL_FROM": "+15005550006"}
COMMANDS = {
    "place": ("place", "+12025550103", "--say", "Hello", "--status-callback", "none"),
    "list": ("list",),
    "show": ("show", SID),
    "redirect": ("redirect", SID, "--say", "Hello"),
    "hangup": ("hangup", SID),
    "wait": ("wait", SID, "--for", "ended"),
}
every_command = pytest.mark.parametrize("args", COMMANDS.values(), ids=COMMANDS)


def ask(callctl: Callctl, url: str, *args: str) -> Outcome:
    return callctl(*args, env={**KEYS, "CALLCTL_API_URL": url}, back_off=lambda _seconds: None)


@every_command
def test_env_file_goes_before_the_environment(
    callctl: Callctl, simulator: Simulator, home: Path, args: tuple[str, ...]
) -> None:
    (home / "other.env").write_text("\n".join(f"{name}={value}" for name, value in env_for(simulator).items()))
    ask(callctl, "http://127.0.0.1:9", *args, "--env-file", "other.env")
    assert simulator.requests != ()


@every_command
def test_account_sid_is_the_account_that_is_acted_on(callctl: Callctl, args: tuple[str, ...]) -> None:
    sub = "AC" + "1" * 32
    with Server(reply(404, {"code": 20404, "message": "not there", "status": 404})) as server:
        assert ask(callctl, server.url, *args, "--account-sid", sub).code == 3
        assert {request.path.split("/")[3] for request in server.received} == {sub}


@every_command
def test_request_timeout_limits_each_request(callctl: Callctl, args: tuple[str, ...]) -> None:
    with Server(hang()) as server:
        outcome = ask(callctl, server.url, *args, "--request-timeout", "100ms")
    assert outcome.code == 6
    assert " within 0.1 s" in outcome.err


@every_command
def test_debug_shows_where_it_went_wrong(callctl: Callctl, args: tuple[str, ...]) -> None:
    with Server(reply(200, {**call(SID), "sid": None})) as server:
        assert "Traceback" not in ask(callctl, server.url, *args).err
        debugged = ask(callctl, server.url, *args, "--debug")
    assert debugged.code == 6
    assert "Traceback" in debugged.err
    assert "fake-token" not in debugged.err


def test_a_malformed_account_is_blamed_on_where_it_came_from(callctl: Callctl) -> None:
    env = {"TWILIO_ACCOUNT_SID": "AC/0", "TWILIO_AUTH_TOKEN": "fake"}
    assert "error: TWILIO_ACCOUNT_SID is malformed" in callctl("list", env=env).err
    env["TWILIO_ACCOUNT_SID"] = "AC" + "0" * 32
    assert "error: --account-sid is malformed" in callctl("list", "--account-sid", "AC/0", env=env).err
