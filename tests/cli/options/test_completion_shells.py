"""Completion in real shells on a pseudo-terminal, installed as the README says, from the first Tab on."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from processes import OnTerminal

from callctl.calls.event import CallEvent
from callctl.settings import load
from callctl.store.sqlite.store import SqliteStore

BIN = Path(sys.executable).parent
LIVE, OTHER, OVER = "CA" + "1" * 32, "CB" + "1" * 32, "CA" + "2" * 32
CALLED = "+12025550103"
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")
PROMPT = "shell> "
SETTINGS = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "0" * 32,
    "CALLCTL_URL_SURVEY": "https://example.com/survey",
    "CALLCTL_URL_AFTER_HOURS": "https://example.com/late?a=1&b=(2)",
}


class Shell:
    """An interactive shell in which completion is installed."""

    def __init__(self, terminal: OnTerminal) -> None:
        self._terminal = terminal
        self.until(lambda rows: rows[0] == PROMPT.rstrip())

    def until(self, condition: Callable[[list[str]], bool]) -> list[str]:
        return self._terminal.until(condition)

    def tab(self, line: str, becomes: str) -> None:
        """Type a line and Tab; see what becomes of it, and clear it away."""
        self._terminal.type(f"{line}\t")
        self.until(lambda rows: rows[0] == f"{PROMPT}{becomes}")
        self.clear()

    def offered(self, line: str, *expected: str) -> str:
        """Type a line and Tab twice, of which bash needs both; return the screen once it shows all that is expected."""
        self._terminal.type(f"{line}\t\t")
        rows = self.until(lambda rows: all(any(one in row for row in rows[1:]) for one in expected))
        self.clear()
        return "\n".join(rows[1:])

    def clear(self) -> None:
        self._terminal.type("\x15\x0c")  # Ctrl-U, Ctrl-L
        self.until(lambda rows: rows[0] == PROMPT.rstrip() and not any(rows[1:]))


def start(name: str, home: Path) -> OnTerminal:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"there is no {name} here")
    env = {**SETTINGS, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "SHELL": program}
    return OnTerminal("-i", home=home, env=env, columns=120, program=(program,))


@pytest.fixture(params=["bash", "bash with bash-completion", "zsh"])
def shell(request: pytest.FixtureRequest, home: Path) -> Iterator[Shell]:
    name, _, extra = request.param.partition(" with ")
    if extra and not BASH_COMPLETION.exists():
        pytest.skip(f"there is no {extra} here")
    (home / ".bashrc").write_text(f"PS1='{PROMPT}'\n" + (f"source {BASH_COMPLETION}\n" if extra else ""))
    (home / ".zshrc").write_text(f"PS1='{PROMPT}'\n")
    with start(name, home) as terminal:
        terminal.type("callctl --install-completion && exit\r")
        assert terminal.ended() == 0
    with start(name, home) as terminal:
        yield Shell(terminal)


@pytest.fixture
def known(home: Path) -> None:
    """Let the store know live calls and one that is over."""
    settings = load({"HOME": str(home), **SETTINGS}, cwd=home)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    now = datetime.now(UTC)
    for sid, status, to in ((LIVE, "ringing", CALLED), (OTHER, "in-progress", "client:ann"), (OVER, "busy", CALLED)):
        form = [("CallSid", sid), ("CallStatus", status), ("To", to), ("Direction", "outbound-api")]
        store.append(CallEvent.from_form(form, received_at=now, world=settings.world, verified=True))
    store.close()


@pytest.mark.usefixtures("known")
def test_what_the_readme_promises(shell: Shell) -> None:
    shell.tab("callctl red", "callctl redirect")
    shell.tab("callctl redirect CA", f"callctl redirect {LIVE}")
    listed = shell.offered("callctl redirect C", LIVE, OTHER, f"{CALLED}, ringing for ", "client:ann, in-progress for ")
    assert OVER not in listed
    shell.tab("callctl redirect C", "callctl redirect C")  # of what is shown beside a SID, nothing is inserted
    shell.offered(f"callctl redirect {LIVE} --url ", "after-hours", "survey")
    shell.tab(f"callctl redirect {LIVE} --url s", f"callctl redirect {LIVE} --url survey")
    shell.tab("callctl list --sta", "callctl list --status")
    shell.tab("callctl show @", "callctl show @last")
    shell.tab("callctl place +12025550100 --event ringing,c", "callctl place +12025550100 --event ringing,completed")


def test_a_settings_file_of_others_runs_nothing(shell: Shell, home: Path) -> None:
    trap = "\\$(:>{0})\nCALLCTL_URL_ODD=https://example.com/\\`:>{0}`\nCALLCTL_URL_$(:>{0})=https://example.com/"
    (home / ".env").write_text("CALLCTL_URL_TRAP=https://example.com/" + trap.format(home / "run"))
    shell.offered("callctl redirect CAx --url ", "odd", "survey", "trap")
    shell.tab("callctl redirect CAx --url trap", "callctl redirect CAx --url trap")
    assert not (home / "run").exists()


@pytest.mark.parametrize(("name", "written"), [("zsh", ".zfunc/_callctl"), ("bash", ".bash_completions/callctl.sh")])
def test_installing_twice_changes_nothing(home: Path, name: str, written: str) -> None:
    files = []
    for _ in range(2):
        with start(name, home) as terminal:
            terminal.type("callctl --install-completion && exit\r")
            assert terminal.ended() == 0
        files.append((home / written).read_text())
    assert files[0] == files[1]


@pytest.mark.usefixtures("known")
def test_bash_inserts_no_description_in_a_menu(home: Path) -> None:
    (home / ".bashrc").write_text(f"PS1='{PROMPT}'\nbind 'TAB:menu-complete'\n")
    with start("bash", home) as terminal:
        terminal.type("callctl --install-completion && exit\r")
        assert terminal.ended() == 0
    with start("bash", home) as terminal:
        shell = Shell(terminal)
        shell.tab("callctl redirect C", f"callctl redirect {LIVE}")
