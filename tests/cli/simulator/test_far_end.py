"""`callctl simulator far-end`: its options, and what it shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields

import pytest
from running import Callctl

from callctl.simulator import FarEnd, Simulator

ADDRESS = "+12025550150"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(manual_clock=True) as simulator:
        yield simulator


def test_every_key_has_an_option(callctl: Callctl, sim: Simulator) -> None:
    given = {
        "outcome": "answers", "after": "1s", "hang_up_after": "1m", "voicemail": None, "digits": "1",
        "digits_after": "2s", "sip_code": "503", "words": "Hello", "answered_by": "fax", "greeting": "3s",
        "answers": "yes", "confidence": "0.5",
    }  # fmt: skip
    assert set(given) == {field.name for field in fields(FarEnd)}
    options: list[str] = []
    for name, value in given.items():
        options += ["--answer" if name == "answers" else f"--{name.replace('_', '-')}"]
        options += [] if value is None else [value]
    done = callctl("simulator", "far-end", ADDRESS, *options, "--answer", "2", env={"CALLCTL_API_URL": sim.url})
    assert done.code == 0, done.err
    assert sim.far_ends[ADDRESS] == FarEnd(
        "answers", 1, 60, True, "1", 2, 503, "Hello", "fax", 3, answers=("yes", "2"), confidence=0.5
    )


def test_it_shows_what_is_not_as_usual(callctl: Callctl, sim: Simulator) -> None:
    env = {"CALLCTL_API_URL": sim.url}
    assert callctl("simulator", "far-end", env=env).out == ""
    done = callctl("simulator", "far-end", "(202) 555-0150", "--outcome", "busy", "--words", "no", env=env)
    assert done.out == f"{ADDRESS}  busy after 2 s  words no\n"
    assert callctl("simulator", "far-end", "default", env=env).out == "default  answers after 2 s\n"
    assert callctl("simulator", "far-end", env=env).out.splitlines() == [
        f"{ADDRESS}  busy after 2 s  words no",
        "default  answers after 2 s",
    ]
    shown = json.loads(callctl("simulator", "far-end", "--json", env=env).out)
    assert [(each["address"], each["outcome"]) for each in shown] == [(ADDRESS, "busy"), ("default", "answers")]


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (("--outcome", "busy"), 2, "who does so is missing: ADDRESS"),
        ((ADDRESS, "--after", "3"), 2, "--after needs a unit: 3"),
        ((ADDRESS, "--outcome", "sleeps"), 1, "outcome = 'sleeps': expected one of answers, busy"),
    ],
)
def test_what_makes_no_sense(callctl: Callctl, sim: Simulator, given: tuple[str, ...], code: int, message: str) -> None:
    done = callctl("simulator", "far-end", *given, env={"CALLCTL_API_URL": sim.url})
    assert (done.code, message in done.err) == (code, True), done.err
    assert sim.far_ends == {}
