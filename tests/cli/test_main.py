"""The application as a whole: the catalogue of commands, and how their options are read."""

from pathlib import Path

import pytest
from cli.frozen import frozen_simulator
from running import Callctl

from callctl.cli.commands import CATALOGUE, every_command, load

NAMES = [name for name, _ in every_command()]


def test_every_command_is_there_and_said_in_one_line(callctl: Callctl, capsys: pytest.CaptureFixture[str]) -> None:
    assert callctl("--help").code == 0
    shown = capsys.readouterr().out
    for _, entry in every_command():
        assert callable(load(entry))
        assert entry.summary.endswith(".")
        assert len(entry.summary) <= 75
    for entry in CATALOGUE:
        assert f" {entry.name} " in shown


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str], callctl: Callctl) -> None:
    for flag in ("--help", "-h"):
        outcome = callctl(*name.split(), flag)
        assert outcome.code == 0
        assert f"Usage: callctl {name}" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "calls"), [("redirect", "{CALL}..."), ("hangup", "[CALL]..."), ("show", "{CALL}...")])
def test_usage_says_how_many_calls_may_be_named(
    callctl: Callctl, capsys: pytest.CaptureFixture[str], name: str, calls: str
) -> None:
    callctl(name, "--help")
    assert f"Usage: callctl {name} [OPTIONS] {calls}\n" in capsys.readouterr().out


def test_an_unknown_command_or_option_is_refused_with_the_right_hint(callctl: Callctl) -> None:
    outcome = callctl("lst")
    assert outcome.code == 2
    assert "No such command 'lst'" in outcome.err
    outcome = callctl("list", "--lve")
    assert outcome.code == 2
    assert "hint: see `callctl list --help`" in outcome.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["list", "--limit", "many"], "Invalid value for '--limit'"),
        (["list", "--limit", "0"], "greater than or equal to 1"),
        (["list", "--request-timeout", "5"], "--request-timeout needs a unit: 5"),
        (["list", "--request-timeout", "0s"], "--request-timeout is too short: 0s"),
        (["list", "--since", "2"], "hint: write 2s for so many seconds ago, 2h for hours, or a date"),
        (["hangup", "--all", "--until", "2"], "--until needs a unit, or is a date: 2"),
        (["list", "--older-than", "2"], "hint: write 2s for seconds, 2m for minutes, 2h for hours"),
        (["watch", "--since", "2"], "--since needs a unit, or is a date: 2"),
        (["simulator", "--lag", "4"], "--lag needs a unit: 4"),
        (["list", "--limit"], "requires an argument"),
        (["show"], "Missing argument 'CALL'"),
    ],
)
def test_values_that_need_reading_are_still_read(callctl: Callctl, args: list[str], message: str) -> None:
    outcome = callctl(*args)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err


def test_values_of_every_kind_arrive(callctl: Callctl, home: Path) -> None:
    with frozen_simulator(callctl) as frozen:
        sid = frozen.place("+12025550103", "--say", "x")
        (home / "file.env").write_text("CALLCTL_FROM=+15005550006\n")
        outcome = frozen(
            "list", "--limit", "1", "--status", "queued", "--status", "busy", "--request-timeout", "2500ms",
            "--env-file", "file.env", "--quiet",
        )  # fmt: skip
    assert outcome.out == f"{sid}\n"
