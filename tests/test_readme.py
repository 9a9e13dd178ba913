"""The README can't go stale: each command that it shows is typed here, and what it shows is played in test_pages.py."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT
from processes import OnTerminal, Piped
from running import env_for, run
from switchboard import LiveTerminal
from web_site import free_port

from callctl.cli.commands import CATALOGUE
from callctl.simulator import Simulator

README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 250


def section(title: str) -> str:
    match = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^## |^\1 |\Z)", README, re.MULTILINE | re.DOTALL)
    assert match, f"no section {title}"
    return match[2]


def blocks(text: str) -> list[list[str]]:
    return [block.strip().splitlines() for block in re.findall(r"^ *```sh\n(.*?)```", text, re.MULTILINE | re.DOTALL)]


def words(line: str) -> list[str]:
    name, *args = shlex.split(line)
    assert name == "callctl"
    return args


@pytest.fixture
def terminals(home: Path) -> Iterator[tuple[OnTerminal, LiveTerminal]]:
    """Return the first two of the three terminals, as the README starts them."""
    first, second, _ = blocks(section("Three terminals"))
    # Free ports, since something else may run on this machine; nothing else differs.
    with OnTerminal(*words(first[0]), "--port", "0", home=home, columns=100) as simulator:
        simulator.until(lambda rows: any("Ctrl-C" in row for row in rows))
        with LiveTerminal(*words(second[0]), "--port", "0", home=home, columns=100) as watch:
            watch.until(lambda rows: any("No calls yet" in row for row in rows))
            yield simulator, watch


def test_it_is_read_in_one_go() -> None:
    assert len(README.splitlines()) <= MOST_LINES


def test_each_block_of_commands_is_tried_somewhere_here() -> None:
    tried = [
        *blocks(section("callctl"))[:1],
        *blocks(section("Try it without an account")),
        *blocks(section("Your account")),
        *blocks(section("Contributing")),
    ]
    assert blocks(README) == tried


def test_the_commands_are_those_of_help_in_its_order() -> None:
    rows = re.findall(r"^\| (?:\*\*(.+)\*\*)? ?\| `(callctl [^`]+)` \| (.+) \|$", section("Commands"), re.MULTILINE)
    shown = [(entry.heading, entry.name, entry.summary) for entry in CATALOGUE]
    assert [(heading, line.split()[1], text) for heading, line, text in rows] == shown
    for (_, line, _), entry in zip(rows, CATALOGUE, strict=True):
        assert line in (f"callctl {entry.name}", *entry.examples, *(sub.examples[0] for sub in entry.subcommands))


def test_the_two_lines_and_the_command_of_the_picture(simulator: Simulator, home: Path) -> None:
    hang_up, redirect = blocks(README)[0]
    (watch,) = re.findall(r"`(callctl watch)` shows each call", README)
    env = {**env_for(simulator), "CALLCTL_URL_SURVEY": "https://example.com/survey.xml"}
    placed = run("place", "+12025550100", "--say", "Hello " * 99, "--wait-for", "answered", home=home, env=env)
    sid = placed.out.split("\t")[0].strip()
    for line in (redirect, hang_up):
        outcome = run(*(sid if word == "CAxxx" else word for word in words(line)), home=home, env=env)
        assert outcome.code == 0, outcome.err
    with OnTerminal(*words(watch), "--port", "0", home=home, env=env) as terminal:
        terminal.until(lambda rows: any("No calls yet" in row for row in rows))


def test_first_steps_with_an_account(simulator: Simulator, home: Path) -> None:
    watch, place, hang_up = re.findall(
        r"`(callctl (?:watch --public-url|place|hangup) [^`]+)`", section("Your account")
    )
    env = env_for(simulator)
    with OnTerminal(*words(watch), "--port", "0", home=home, env=env, columns=120) as terminal:
        terminal.until(lambda rows: any("https://example.ngrok.app/status" in row for row in rows))
    sid = run(*words(place), "--status-callback", "none", home=home, env=env).out.strip()
    assert sid in run(*words(hang_up), home=home, env=env).out


def test_a_listener_and_a_watch_that_follows_it(simulator: Simulator, home: Path) -> None:
    listen, watch = re.findall(r"`(callctl [^`]+)`", section("A team"))[:2]
    env, free = env_for(simulator), str(free_port())
    args = [*words(listen)[:-1], free]  # free ports, since something else may run on this machine
    with Piped(*args, "--port", "0", home=home, env=env) as service:
        said = service.until_said("statusCallbackMethod")
        assert f"/metrics are at http://127.0.0.1:{free}" in said
        assert "StatusCallback=https://calls.example.com/status" in said
        with OnTerminal(*words(watch), home=home, env=env, columns=120) as terminal:
            terminal.until(lambda rows: any("following process" in row for row in rows))


def test_three_terminals(terminals: tuple[OnTerminal, OnTerminal], home: Path) -> None:
    _, watch = terminals
    lines = blocks(section("Three terminals"))[2]
    export, *commands = lines
    env = dict([export.removeprefix("export ").split("=", 1)])
    placed: list[str] = []
    for line in commands:
        args = words(line)
        if "redirect" in args:
            watch.until(lambda rows: any("in-progress" in row and "→ sip:" in row for row in rows))
        outcome = run(*args, home=home, env=env)
        assert outcome.code == 0, f"{line}: {outcome.err}"
        if args[0] == "place":
            placed.append(outcome.out.strip())
    assert len(placed) == 2
    watch.until(lambda rows: any(f"{placed[1]}  ▸ hangup" in row for row in rows))
    watch.until(lambda rows: any(f" of {placed[1]}" in row for row in rows))


def test_a_leg_is_ended_by_the_keys_that_are_named(terminals: tuple[OnTerminal, LiveTerminal], home: Path) -> None:
    _, watch = terminals
    ((select, hang_up, yes),) = re.findall(r"select it with `(.)`, press `(.)`, then `(.)`", section("Three terminals"))
    place = words(blocks(section("Three terminals"))[2][1])
    sid = run(*place, home=home, env={"CALLCTL_ENV_FILE": ".env.simulator"}).out.strip()
    watch.shows("● in-progress")
    watch.type({"↓": "\x1b[B"}[select])
    watch.selects(sid)
    watch.type(hang_up)
    watch.shows("hang up +12025550100", f"{yes}: yes")
    watch.confirm(yes)
    watch.shows(f"{sid}  ▸ hangup")


def test_the_settings_to_set_up_are_settings(home: Path) -> None:
    from callctl.settings import load

    settings_block = blocks(section("Your account"))[0]
    (home / ".env").write_text("\n".join(settings_block))
    settings = load({"HOME": str(home)}, cwd=home)
    assert settings.credentials().account_sid == "AC" + "0" * 32
    assert settings.named_url("survey").url == "https://example.com/survey.xml"


def test_the_example_settings_load(home: Path) -> None:
    from callctl.settings import load

    example = re.sub(r"(?m)^(TWILIO_AUTH_TOKEN=)$", r"\1x", (ROOT / ".env.example").read_text())
    (home / ".env").write_text(example)
    assert load({"HOME": str(home)}, cwd=home).credentials().username == "AC" + "0" * 32


def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = [line for block in blocks(README) for line in block if "pytest" in line and "venv" in line]
    assert commands[0].startswith("python3 -m venv .venv && ")
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
