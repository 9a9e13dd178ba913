"""What ``place`` and ``redirect`` refuse of the options that say what a call hears, before anything is sent."""

from __future__ import annotations

import pytest
from cli.setup import CliSetup, messages

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
def test_place_complains_of_its_options_and_says_nothing_else(
    setup: CliSetup, args: list[str], more: list[str]
) -> None:
    outcome = setup.callctl("place", TO, *args, *more)
    assert (outcome.code, outcome.out) == (2, "")
    assert messages(outcome).startswith("callctl: error: ")
    assert setup.simulator.requests == ()


@pytest.mark.parametrize("args", BROKEN)
def test_so_does_redirect(setup: CliSetup, args: list[str]) -> None:
    outcome = setup.callctl("redirect", SID, *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert messages(outcome).startswith("callctl: error: ")
    assert setup.simulator.requests == ()
