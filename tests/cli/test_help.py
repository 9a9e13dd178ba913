"""What help says: each page's opening, the topics, the generated page, and what a slip of the finger gets."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import commands
import pytest
from processes import CALLCTL, environment
from running import Callctl

from callctl.cli import exits, help_settings
from callctl.cli.lazy import Entry, LazyCommand, every_command
from callctl.settings import IDENTITY, PLAIN

ROOT = Path(__file__).parent.parent.parent
COMMANDS = dict(every_command())
PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
PAGES = dict(re.findall(r"^## ([^\n]+)\n\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(("name", "entry"), COMMANDS.items(), ids=COMMANDS)
def test_a_page_opens_with_a_sentence_and_two_examples_that_are_understood(name: str, entry: Entry) -> None:
    page = PAGES[name].splitlines()
    text = [line.strip() for line in page if line.strip()]
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


def words(text: str) -> list[str]:
    """Return what is said, without the lines and the wrapping around it."""
    return re.findall(r"[^\s│╭╮╰╯─]+", text)


def test_the_page_of_all_commands_is_what_help_shows() -> None:
    assert words(PAGE) == words(commands.page()), "`python scripts/commands.py` writes it anew"


# What does it without callctl, and what else the help of an option that acts must say, the first first.
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


def test_help_of_what_acts_begins_with_what_twilio_does_without_callctl() -> None:
    page = commands.shown("watch")
    groups = re.findall(r"^╭─ (\w+) ─", page, re.MULTILINE)
    assert groups == ["Options", "Listen", "Show", "Keep", "Act"]
    act = " ".join(words(page.partition("╭─ Act ─")[2]))
    for option, (first, *more) in STORIES.items():
        told = re.split(r" --[a-z-]+ (?=[A-Z])", act.partition(f"{option} ")[2])[0]
        told = re.sub(r"^[A-Z|=]+ ", "", told)  # the metavar, if it takes a value
        assert told.startswith(first), option
        assert all(text in told for text in more), option


def test_exit_codes(callctl: Callctl) -> None:
    told = callctl("help", "exit-codes").out
    assert told.splitlines() == [f"{code:>3}  {meaning}" for code, meaning in exits.MEANINGS.items()]
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert codes == set(exits.MEANINGS)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \| (.+) \|$", readme, re.MULTILINE) == [
        (str(code), meaning) for code, meaning in exits.MEANINGS.items()
    ]


def test_settings(callctl: Callctl) -> None:
    told = callctl("help", "settings").out
    named = re.findall(r"^  ([A-Z_]+) ", told, re.MULTILINE)
    assert set(named) >= {*IDENTITY, *PLAIN}
    assert {setting.name for setting in help_settings.ACCOUNT} == set(IDENTITY)
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    mentioned = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert {name for name in mentioned if not name.startswith("CALLCTL_URL_")} <= set(named)
    assert max(map(len, told.splitlines())) <= 120


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
