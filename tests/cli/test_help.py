"""What help says: each page's opening, the topics, the generated page, and what a slip of the finger gets."""

from __future__ import annotations

import itertools
import os
import pty
import re
import shlex
import subprocess
from pathlib import Path

import commands
import pytest
from paths import ROOT
from processes import CALLCTL, environment
from running import Callctl

from callctl.cli import exits
from callctl.cli.commands import CATALOGUE, Entry, LazyCommand, every_command
from callctl.cli.help import ACCOUNT
from callctl.cli.help_pages import page
from callctl.settings import IDENTITY, PLAIN

COMMANDS = dict(every_command())
PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
PAGES = dict(re.findall(r"^## ([^\n]+)\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(("name", "entry"), COMMANDS.items(), ids=COMMANDS)
def test_a_page_opens_with_a_sentence_and_two_examples_that_are_understood(name: str, entry: Entry) -> None:
    text = [line.strip() for line in PAGES[name].splitlines() if line.strip()]
    opening = " ".join(text[1 : next(number for number, line in enumerate(text) if line == entry.examples[0])])
    assert text[0].startswith(f"Usage: callctl {name}")
    assert re.findall(r"[.!?]( |$)", opening) == [""], "one sentence"
    assert entry.examples[1] in text
    for example in entry.examples:
        assert len(example) <= 78  # whole on one line of 80 columns, so that it can be copied
        assert f"{example} ".startswith(f"callctl {name} ")
        # Parsed as the command parses it, and not run.
        args = shlex.split(example)[1 + len(name.split()) :]
        LazyCommand(entry).make_context(entry.name, args).close()


def test_the_page_of_all_commands_is_what_help_shows() -> None:
    assert commands.document() == PAGE, "`python scripts/commands.py` writes it anew"


@pytest.mark.parametrize("name", ["place", "watch", "simulator", "simulator call"])
def test_a_process_shows_the_page(home: Path, name: str) -> None:
    for line in ([*name.split(), "--help"], ["help", *name.split()]):
        shown = subprocess.run([*CALLCTL, *line], env=environment(home), capture_output=True, check=True)
        assert shown.stdout.decode() == PAGES[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_headings_one_line_an_option_and_room_on_a_screen(name: str) -> None:
    lines = PAGES[name].splitlines()
    assert len(lines) <= (80 if name in ("place", "watch") else 60)
    assert max(map(len, lines)) <= 80
    assert not set(PAGES[name]) & set("│╭╮╰╯─")
    options = [line for line in lines if re.match(r"  -", line)]
    command, context = commands.command(name)
    assert len(options) == sum(param.param_type_name == "option" for param in command.get_params(context))
    for line in options:
        assert re.fullmatch(r"  (-\w, )?--[a-z-]+( \S+)?  +\S.*[.\]…]", line), line
    after = {following for line, following in itertools.pairwise(lines) if line in options} - set(options)
    assert after <= {""}, "each option has one line"


ADVANCED = {
    "--parallel": "hangup",
    "--settle": "watch",
    "--accept-forgeries": "watch",
    "--forward-insecure": "watch",
    "--max-actions": "watch",
    "--request-timeout": "list",
    "--debug": "list",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_seldom_needed_stands_last(name: str) -> None:
    rest, _, advanced = PAGES[name].partition("\nAdvanced:\n")
    assert not re.search(rf"^  ({'|'.join(ADVANCED)}) ", rest, re.MULTILINE)
    assert not re.search(r"^\S", advanced, re.MULTILINE)
    for option, command in ADVANCED.items():
        assert name != command or f"  {option} " in advanced


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_page_has_no_room_for_stands_in_the_document(name: str) -> None:
    section = PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    command, context = commands.command(name)
    for param in command.get_params(context):
        assert " ".join(param.in_full.split()) in " ".join(section.split())


# What does it without callctl, and what else is to be said of an option that acts, the first first.
STORIES = {
    "--hangup-ringing-after": ("Without callctl: Timeout on the call, <Dial timeout>.", "unproven on live Twilio"),
    "--after-dial": (
        "Without callctl, and the proper way: <Dial action> (place --then). This can only catch parents whose TwiML "
        "keeps the caller after the Dial, and can't tell a redirect made by other software apart.",
        "redirect its parent",
    ),
    "--max-duration": ("Without callctl: TimeLimit on the call, <Dial timeLimit>.", "else by hanging up"),
    "--cut-answered": ("Hang up", "Risks cutting off who answers at that moment."),
}


def test_what_is_said_of_what_acts_begins_with_what_twilio_does_without_callctl() -> None:
    headings = re.findall(r"^(\w+):$", commands.shown("watch"), re.MULTILINE)
    assert headings == ["Listen", "Show", "Keep", "Act", "General", "Advanced"]
    said = dict(re.findall(r"^(--[a-z-]+).*\n((?:    .*\n?)+)", commands.explained("watch"), re.MULTILINE))
    for option, (first, *more) in STORIES.items():
        text_of_option = " ".join(said[option].split())
        assert text_of_option.startswith(first), option
        assert all(text in text_of_option for text in more), option
    assert "what Twilio does without callctl" in " ".join(commands.shown("watch").split())


@pytest.mark.parametrize(
    ("env", "painted"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)], ids=str
)
def test_a_page_is_painted_on_a_terminal(home: Path, env: dict[str, str], painted: bool) -> None:
    shown = on_terminal("demo", "--help", home=home, env=env)
    assert ("\x1b[1mOptions:\x1b[0m" in shown) is painted
    assert ("  \x1b[1;36m--keep\x1b[0m " in shown) is painted
    assert ("\x1b" in shown) is painted


@pytest.mark.parametrize("columns", ["9" * 30, "9" * 5000, "", "x", "0", "٣", "-1", "200"])
def test_an_odd_width_is_no_trouble(home: Path, columns: str) -> None:
    shown = on_terminal("wait", "--help", home=home, env={"COLUMNS": columns, "NO_COLOR": "1"})
    assert shown == PAGES["wait"]


def on_terminal(*args: str, home: Path, env: dict[str, str]) -> str:
    """Return what a command shows on a terminal that does not know how wide it is."""
    controller, terminal = pty.openpty()
    with os.fdopen(controller, "rb", buffering=0) as screen, os.fdopen(terminal, "wb") as stdout:
        subprocess.run([*CALLCTL, *args], env=environment(home, env), stdout=stdout, check=True)
        stdout.write(b"\x03")  # what was written comes in parts: this is the end of it
        stdout.flush()
        shown = b""
        while not shown.endswith(b"\x03"):
            shown += screen.read(10_000)
        return shown[:-1].decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 60])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_narrow_terminal_loses_no_word(name: str, columns: int) -> None:
    wide = commands.shown(name)
    narrow = page(*commands.command(name), width=columns)
    assert narrow.split() == wide.split()
    text = narrow.partition("\n\n")[2]  # Usage is Typer's
    for line in text.splitlines():
        is_long_word = len(re.split(r"  +", line.strip())[-1].split()) == 1  # an example of a value stays whole
        assert len(line) <= columns or line.strip() in COMMANDS[name].examples or is_long_word, line


def test_exit_codes(callctl: Callctl) -> None:
    output = callctl("help", "exit-codes").out
    assert output.splitlines() == [f"{code:>3}  {meaning}" for code, meaning in exits.MEANINGS.items()]
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert codes == set(exits.MEANINGS)
    page = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE) == [
        (str(code), meaning) for code, meaning in exits.MEANINGS.items()
    ]


def test_far_ends(callctl: Callctl) -> None:
    done = callctl("help", "far-ends")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert "  +12025550103  no-answer  never answers" in lines
    assert max(map(len, lines)) <= 80


def test_settings(callctl: Callctl) -> None:
    output = callctl("help", "settings").out
    named = re.findall(r"^  ([A-Z_]+) ", output, re.MULTILINE)
    assert set(named) >= {*IDENTITY, *PLAIN}
    assert {setting.name for setting in ACCOUNT} == set(IDENTITY)
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    mentioned = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert {name for name in mentioned if not name.startswith("CALLCTL_URL_")} <= set(named)
    assert max(map(len, output.splitlines())) <= 120


def test_settings_on_a_narrow_terminal(callctl: Callctl) -> None:
    wide, narrow = (callctl("help", "settings", terminal=True, columns=columns).out for columns in (160, 80))
    assert wide == callctl("help", "settings").out
    assert max(map(len, narrow.splitlines())) <= 80
    assert narrow.split() == wide.split()
    assert "\n" + " " * 25 + "callbacks\n" in narrow


@pytest.mark.parametrize("args", [("--help",), ("hangup", "--help"), ("help", "hangup")], ids=" ".join)
@pytest.mark.parametrize("variable", ["FORCE_COLOR", "GITHUB_ACTIONS"])
def test_no_colour_reaches_a_pipe(home: Path, args: tuple[str, ...], variable: str) -> None:
    shown = subprocess.run([*CALLCTL, *args], env=environment(home, {variable: "1"}), capture_output=True, check=True)
    assert b"Usage: callctl" in shown.stdout
    assert b"\x1b" not in shown.stdout


def test_without_a_command_the_overview_stands_alone(capsys: pytest.CaptureFixture[str], callctl: Callctl) -> None:
    outcome = callctl()
    assert (outcome.code, outcome.out, outcome.err) == (2, "", "")
    assert "Usage: callctl" in capsys.readouterr().out


def test_the_overview_shows_the_commands_in_parts(capsys: pytest.CaptureFixture[str], callctl: Callctl) -> None:
    callctl("help")
    shown = capsys.readouterr().out
    widest = max(len(entry.name) for entry in CATALOGUE)
    lines = []
    for entry in CATALOGUE:
        lines += ["", f"{entry.heading}:"] if entry.heading else []
        lines.append(f"  {entry.name:<{widest}}  {entry.summary}")
    assert "\n".join(lines[1:]) in shown
    assert len([line for line in lines if line.endswith(":")]) > 3


def test_help_of_a_command_is_its_page(capsys: pytest.CaptureFixture[str], callctl: Callctl) -> None:
    assert callctl("help", "hangup").code == 0
    by_topic = capsys.readouterr().out
    callctl("hangup", "--help")
    assert by_topic == capsys.readouterr().out
    assert "callctl hangup CAxxx" in by_topic


def test_help_alone_is_the_overview(capsys: pytest.CaptureFixture[str], callctl: Callctl) -> None:
    outcome = callctl("help")
    assert outcome.code == 0
    assert "hangup" in capsys.readouterr().out
    assert "exit-codes, settings" in outcome.out


@pytest.mark.parametrize(
    ("args", "near"),
    [
        (("hangpu",), "hangup"),
        (("list", "--statsu", "busy"), "--status"),
        (("help", "exit-code"), "exit-codes"),
        (("help", "wtach"), "watch"),
    ],
)
def test_a_slip_gets_the_nearest_name(callctl: Callctl, args: tuple[str, ...], near: str) -> None:
    outcome = callctl(*args)
    assert outcome.code == 2
    assert outcome.err.startswith("callctl: error: ")
    assert near in outcome.err
