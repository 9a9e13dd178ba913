"""What ``place`` and ``redirect`` check before they look for a watch, and which option or setting they blame."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.world import World, talk
from running import Callctl

TO = "+12025550103"
SID = "CA" + "1" * 32
BROKEN = [
    ["--url", "nowhere"],
    ["--url", "https://a b/"],
    ["--url", "survey", "--method", "PUT"],
    ["--url", "survey", "--fallback-url", "nowhere"],
    ["--twiml", "<Response>"],
    ["--twiml", "<Response>", "--add-callbacks"],
    ["--twiml", "@missing.xml", "--add-callbacks"],
    ["--say", " "],
    ["--dial", "bob"],
    [word for _ in range(11) for word in ("--dial", "client:ann")],
]
BROKEN_DIALS = [
    ["--then", "nowhere"],
    ["--dial-timeout", "0s"],
    ["--caller-id", "?"],
    ["--ring-timeout", "long"],
    ["--event", "ring"],
    ["--send-digits", "x"],
]


@pytest.mark.parametrize("more", [[], ["--watch"]])
@pytest.mark.parametrize("args", [*BROKEN, *(["--dial", "client:ann", *options] for options in BROKEN_DIALS)])
def test_place_complains_of_its_options_and_says_nothing_else(world: World, args: list[str], more: list[str]) -> None:
    outcome = world.callctl("place", TO, *args, *more)
    assert (outcome.code, outcome.out) == (2, "")
    assert talk(outcome).startswith("callctl: error: ")
    assert world.simulator.requests == ()


@pytest.mark.parametrize("args", BROKEN)
def test_so_does_redirect(world: World, args: list[str]) -> None:
    outcome = world.callctl("redirect", SID, *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert talk(outcome).startswith("callctl: error: ")
    assert world.simulator.requests == ()


def test_redirect_looks_for_the_call_before_it_looks_for_a_watch(world: World) -> None:
    outcome = world.callctl("redirect", "CAxxx", "--dial", "client:ann")
    assert talk(outcome).startswith("callctl: error: not a call SID: CAxxx (")


def test_a_warning_comes_only_when_all_options_will_do(world: World) -> None:
    twiml = "<Response><Dial>+12025550100</Dial></Response>"
    outcome = world.callctl("place", TO, "--twiml", twiml, "--status-callback", "somewhere")
    said = "callctl: error: --status-callback is neither a URL nor none: somewhere\nhint: an absolute http or https URL"
    assert talk(outcome).startswith(said)


# --- whose fault it is


def test_a_bad_caller_is_blamed_on_where_it_came_from(world: World, home: Path) -> None:
    args = ("place", TO, "--say", "Hello")
    reason = "is not a number in E.164 form: 555"
    assert f"error: --from {reason}" in world.callctl(*args, "--from", "555").err
    assert (
        f"error: CALLCTL_FROM (from the environment) {reason}" in world.callctl(*args, env={"CALLCTL_FROM": "555"}).err
    )
    (home / "settings").write_text("CALLCTL_FROM=555\n")
    outcome = world.callctl(*args, "--env-file", "settings")
    assert f"error: CALLCTL_FROM (in {home / 'settings'}) {reason}" in outcome.err
    assert world.simulator.requests == ()


def test_a_malformed_account_is_blamed_on_where_it_came_from(callctl: Callctl) -> None:
    env = {"TWILIO_ACCOUNT_SID": "AC/0", "TWILIO_AUTH_TOKEN": "fake"}
    assert "error: TWILIO_ACCOUNT_SID is malformed" in callctl("list", env=env).err
    env["TWILIO_ACCOUNT_SID"] = "AC" + "0" * 32
    assert "error: --account-sid is malformed" in callctl("list", "--account-sid", "AC/0", env=env).err
