"""The terminal of the live table: taken in raw mode, and given back after every way out, in a shell's own terminal."""

from __future__ import annotations

import asyncio
import io
import os
import re
import select
import shlex
import signal
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from events import START, clock_of
from processes import LIMIT, OnTerminal
from rich.console import Console
from switchboard import (
    ANSWERS,
    CTRL_C,
    CTRL_S,
    CTRL_Z,
    NEVER,
    WATCH,
    LiveTerminal,
    Switchboard,
    switchboard,
)

from callctl.cli.watch.table import OpenTable
from callctl.views.live.screen import LiveView, TableOptions
from callctl.views.threaded_view import ThreadedView

PROMPT = "prompt>"
CALLCTL = shlex.join([sys.executable, "-m", "callctl"])
# Draws no more once there is such a file.
FAILING = """
import os
from callctl.views.live import screen
real = screen.draw
def draw(*args):
    if os.path.exists("fail"):
        raise RuntimeError("the drawing fails")
    return real(*args)
screen.draw = draw
from callctl.__main__ import main
main()
"""

# Takes long to end once its terminal is given back.
LINGERING = """
import asyncio
import os
import time
run = asyncio.run
def lingering(*args, **more):
    try:
        return run(*args, **more)
    finally:
        os.write(1, b"almost over")
        while not os.path.exists("typed"):
            time.sleep(0.01)
asyncio.run = lingering
from callctl.__main__ import main
main()
"""


@pytest.fixture
def board(home: Path) -> Iterator[Switchboard]:
    with switchboard(home) as board:
        yield board


class Shell(LiveTerminal):
    """A shell with job control, as a person has it, that runs callctl."""

    def __init__(self, board: Switchboard, home: Path) -> None:
        (home / "inputrc").write_text("set enable-bracketed-paste off\n")
        env = {**board.env, "PS1": f"{PROMPT} ", "INPUTRC": "inputrc", "HISTFILE": "/dev/null"}
        args = ("--norc", "--noprofile", "-i")
        super().__init__(*args, home=home, env=env, columns=100, lines=30, program=("/bin/bash",))
        self._asked = self.mark = 0
        self.prompted()
        self.attributes = self.ask("stty -g")

    def prompted(self) -> None:
        """Wait until the shell has the terminal."""
        self.until(lambda _rows: self.raw.rstrip().endswith(PROMPT.encode()))

    def ask(self, command: str) -> str:
        """Run a command, and return what it prints; whatever was typed ahead would be a part of the command."""
        self._asked += 1
        begin = len(self.raw)
        self.type(f"echo answer-$(({self._asked}+0)):$({command}):end\r")
        pattern = re.compile(rf"answer-{self._asked}:(.*?):end\r\n".encode(), re.DOTALL)
        self.until(lambda _rows: pattern.search(self.raw, begin) is not None)
        found = pattern.search(self.raw, begin)
        assert found is not None
        self.prompted()
        return found[1].decode().replace("\r\n", "\n")

    def start(self, *args: str, program: str = CALLCTL) -> None:
        """Run callctl in the foreground, and wait for its table."""
        self._began = len(self.raw)
        self.type(f"{program} {shlex.join(args)}\r")
        # With the first frame it reads keys; the screen may still show another.
        self.until(lambda _rows: b"? keys" in self.raw[self._began :])

    @property
    def pid(self) -> int | None:
        """The process that the shell runs, if any."""
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        return int(children[-1]) if children else None

    def sends(self, number: signal.Signals) -> None:
        """Send a signal to that process, from outside."""
        assert self.pid is not None
        os.kill(self.pid, number)

    def is_given_back(self) -> None:
        """Assert that the terminal is as it was before the table took it, and that the shell's line is empty."""
        written = self.raw[self._began :]
        for on, off in (
            (b"\x1b[?1049h", b"\x1b[?1049l"),
            (b"\x1b[?2004h", b"\x1b[?2004l"),
            (b"\x1b[?25l", b"\x1b[?25h"),
            (b"\x1b[?7l", b"\x1b[?7h"),
        ):
            assert written.rfind(off) > written.rfind(on) > 0
        assert self.ask("stty -g") == self.attributes


def test_after_each_way_out_the_terminal_is_as_before_and_nothing_typed_reaches_the_shell(
    home: Path, board: Switchboard
) -> None:
    with Shell(board, home) as shell:

        def begin(*, program: str = CALLCTL) -> None:
            shell.start(*WATCH, program=program)

        def left(code: int) -> None:
            shell.prompted()
            assert shell.ask("echo $?") == str(code)
            shell.is_given_back()

        begin()
        shell.type("jjjqjkjk")  # no call is live: it leaves at once
        left(0)
        begin()
        board.place(NEVER)
        shell.shows("1 ringing")
        shell.type("jq")
        shell.shows("stop listening?")
        shell.confirm()
        left(0)
        begin()
        shell.type("jj" + CTRL_C + "jj")
        left(130)
        begin()
        shell.type(CTRL_C + CTRL_C + "jj")
        left(130)
        for number, code in ((signal.SIGTERM, 0), (signal.SIGHUP, 130)):
            begin()
            shell.type("jjk?")
            shell.shows("KEYS")
            shell.sends(number)
            left(code)
        (home / "failing.py").write_text(FAILING)
        begin(program=f"{sys.executable} failing.py")
        shell.type("jjkk")
        (home / "fail").touch()
        left(1)
        assert b"the drawing fails" in shell.raw


def test_what_is_typed_while_it_ends_reaches_nobody(home: Path, board: Switchboard) -> None:
    with Shell(board, home) as shell:
        (home / "lingering.py").write_text(LINGERING)
        shell.start(*WATCH, program=f"{sys.executable} lingering.py")
        shell.type("q")
        shell.until(lambda _rows: b"almost over" in shell.raw)
        shell.type("jjkk")
        shell.until(lambda _rows: b"jjkk" in shell.raw)  # the terminal echoes again
        (home / "typed").touch()
        shell.prompted()
        assert shell.ask("echo $?") == "0"


def test_ctrl_z_gives_the_terminal_back_until_fg(home: Path, board: Switchboard) -> None:
    with Shell(board, home) as shell:
        shell.start(*WATCH)
        board.place(NEVER)
        shell.shows("1 ringing")

        def stopped() -> None:
            shell.until(lambda _rows: b"Stopped" in shell.raw[shell.mark :])
            shell.prompted()
            shell.is_given_back()

        def goes_on(command: str = "fg") -> None:
            shell.mark = len(shell.raw)
            shell.type(f"{command}\r")
            shell.until(lambda _rows: b"\x1b[?1049h" in shell.raw[shell.mark :])
            shell.shows("1 ringing")
            shell.insists("s", "sorted by")
            shell.mark = len(shell.raw)

        # A watch that listens wants it twice.
        shell.mark = len(shell.raw)
        shell.type(CTRL_Z)
        shell.shows("Ctrl-Z once more stops it")
        assert b"Stopped" not in shell.raw
        shell.type(CTRL_Z)
        stopped()
        goes_on()

        # A question does not outlive it.
        shell.moves("j")
        shell.type("x")
        shell.shows("y: yes")
        shell.sends(signal.SIGTSTP)
        stopped()
        goes_on()
        shell.lacks("y: yes")

        # SIGSTOP can't be taken: the shell has what it makes of it; with `fg` the table takes the terminal anew.
        shell.sends(signal.SIGSTOP)
        shell.until(lambda _rows: b"Stopped" in shell.raw[shell.mark :])
        shell.prompted()
        goes_on()
        shell.sends(signal.SIGCONT)
        shell.until(lambda _rows: b"\x1b[?1049h" in shell.raw[shell.mark :])

        # In the background it goes on without a picture, and can be ended.
        shell.mark = len(shell.raw)
        shell.sends(signal.SIGTSTP)
        stopped()
        shell.type("bg\r")
        shell.until(lambda _rows: b" &" in shell.raw[shell.mark :])
        shell.prompted()
        board.place(ANSWERS)
        shell.is_given_back()
        goes_on()
        shell.shows("1 in-progress")
        shell.sends(signal.SIGTSTP)
        stopped()
        shell.type("kill %1\r")
        shell.insists("\r", "Done")  # said before a prompt
        shell.prompted()
        shell.is_given_back()
        assert board.changes == []


def test_ctrl_z_stops_a_follower_at_once(home: Path, board: Switchboard) -> None:
    with LiveTerminal(*WATCH, home=home, env=board.env) as watch:
        watch.shows("No calls yet")
        port = board.callback_url.rpartition(":")[2].partition("/")[0]
        with Shell(board, home) as shell:
            shell.start("watch", "--port", port)
            shell.type(CTRL_Z)
            shell.until(lambda _rows: b"Stopped" in shell.raw)
            shell.prompted()
            shell.is_given_back()
            shell.type("fg\r")
            board.place(NEVER)
            shell.shows("1 ringing", "? keys")
            shell.type("q")
            shell.prompted()
            assert shell.ask("echo $?") == "0"
            shell.is_given_back()


@pytest.mark.parametrize(("how", "code"), [("key", 130), (signal.SIGTERM, 0), (signal.SIGHUP, 130)])
def test_a_terminal_held_by_ctrl_s_holds_nobody_else_and_what_ends_a_watch_still_does(
    home: Path, board: Switchboard, how: str | signal.Signals, code: int
) -> None:
    with LiveTerminal(*WATCH, home=home, env=board.env) as watch:
        before = termios.tcgetattr(watch.descriptor)
        watch.shows("? keys")
        watch.type(CTRL_S)
        for number in range(20):
            board.report(f"CA{number:032}", "ringing")  # each is answered
        watch.type("j")
        watch.type(CTRL_C) if isinstance(how, str) else watch.send(how)
        assert watch.ended() == code
        assert f"CA{7:032}".encode() in watch.raw  # the last picture
        assert termios.tcgetattr(watch.descriptor) == before


class NotRead(LiveTerminal):
    """A terminal that takes no more: full, and nobody reads it."""

    def fill(self) -> None:
        """Write until it takes nothing more."""
        other = os.open(f"/proc/{self._pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        while select.select([], [other], [], 0.3)[1]:  # its driver makes room once more, a little later
            for text in (b"x" * 100, b"x"):
                with suppress(BlockingIOError):
                    while True:
                        os.write(other, text)
        os.close(other)

    def waited_for(self) -> int:
        """Return the exit code, without a word read."""
        deadline = time.monotonic() + LIMIT
        while (done := os.waitpid(self._pid, os.WNOHANG)) == (0, 0):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return os.waitstatus_to_exitcode(done[1])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 130)])
@pytest.mark.parametrize("is_drawing", [False, True])
def test_a_watch_on_a_terminal_that_nobody_reads_ends_and_leaves_its_settings_as_they_were(
    home: Path, board: Switchboard, number: signal.Signals, code: int, is_drawing: bool
) -> None:
    with NotRead(*WATCH, home=home, env=board.env) as watch:
        before = termios.tcgetattr(watch.descriptor)
        watch.shows("? keys")
        if is_drawing:
            for call in range(200):  # of which pictures are drawn until one has no room
                board.report(f"CA{call:032}", "ringing")
        watch.fill()
        watch.send(number)
        assert watch.waited_for() == code
        assert termios.tcgetattr(watch.descriptor) == before


def test_a_watch_that_is_continued_on_a_terminal_that_nobody_reads_takes_callbacks(
    home: Path, board: Switchboard
) -> None:
    with NotRead(*WATCH, home=home, env=board.env) as watch:
        watch.shows("? keys")
        watch.fill()
        watch.send(signal.SIGCONT)
        for call in range(20):
            board.report(f"CA{call:032}", "ringing")  # each is answered
        watch.send(signal.SIGTERM)
        assert watch.waited_for() == 0


# Does not come to its end.
STUCK = """
import time
from callctl.watch import session
async def shut_down(self, **limits):
    open("shutting-down", "w").close()
    while True:
        time.sleep(0.01)
session.Session.shut_down = shut_down
from callctl.__main__ import main
main()
"""


def test_a_second_signal_ends_a_watch_whose_terminal_nobody_reads(home: Path, board: Switchboard) -> None:
    program = (sys.executable, "-c", STUCK)
    with NotRead(*WATCH, home=home, env=board.env, program=program) as watch:
        before = termios.tcgetattr(watch.descriptor)
        watch.shows("? keys")
        watch.fill()
        watch.send(signal.SIGTERM)
        deadline = time.monotonic() + LIMIT
        while not (home / "shutting-down").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        watch.send(signal.SIGTERM)
        assert watch.waited_for() == 130
        assert termios.tcgetattr(watch.descriptor) == before


# Says something without end once it has been stopped.
TALKING = """
import asyncio
import sys
from callctl.cli.io import ending
ending.END_LIMIT = 0.1
run = asyncio.run
def talking(*args, **more):
    run(*args, **more)
    while True:
        sys.stderr.write("still here ")
asyncio.run = talking
from callctl.__main__ import main
main()
"""


def test_what_is_said_last_on_a_terminal_that_nobody_reads_keeps_no_command_from_ending(
    home: Path, board: Switchboard
) -> None:
    with NotRead(*WATCH, home=home, env=board.env, program=(sys.executable, "-c", TALKING)) as watch:
        watch.shows("? keys")
        watch.send(signal.SIGTERM)
        assert watch.waited_for() == 0


def test_an_interrupted_prompt_on_a_terminal_that_nobody_reads_ends(home: Path, board: Switchboard) -> None:
    board.place_silent(ANSWERS)
    with NotRead("hangup", "--all", home=home, env=board.env) as command:
        command.shows("to end")
        command.fill()
        command.send(signal.SIGTERM)
        assert command.waited_for() == 130


@pytest.mark.parametrize(("args", "env"), [((), {"TERM": "dumb"}), (("--json",), {})])
def test_without_a_picture_no_keys_are_read(
    home: Path, board: Switchboard, args: tuple[str, ...], env: dict[str, str]
) -> None:
    with OnTerminal(*WATCH, *args, home=home, env={**board.env, **env}, columns=200) as watch:
        before = termios.tcgetattr(watch.descriptor)
        watch.until(lambda rows: "listening" in "".join(rows) or "ready" in "".join(rows))
        sid = board.place(NEVER)
        deadline = time.monotonic() + LIMIT
        while len(replied := [one for one in board.simulator.callbacks if one.replies]) < 2:
            assert time.monotonic() < deadline, replied
            time.sleep(0.02)
        watch.type("gxyq")
        board.report(f"CA{7:032}", "ringing")
        assert termios.tcgetattr(watch.descriptor) == before
        watch.type(CTRL_C)
        assert watch.ended() == 130
        assert sid in "".join(watch.rows)
        assert f"CA{7:032}" in "".join(watch.rows)
        assert b"\x1b[?2004h" not in watch.raw
    assert board.changes == []


def test_on_a_pipe_no_keys_are_read(home: Path, board: Switchboard) -> None:
    command = f"{CALLCTL} {shlex.join(WATCH)} | cat"
    with OnTerminal("-c", command, home=home, env=board.env, columns=200, program=("/bin/bash",)) as watch:
        watch.until(lambda rows: "listening on" in "".join(rows))
        sid = board.place(NEVER)
        watch.until(lambda rows: any(sid in row and "ringing" in row for row in rows))
        watch.type("gxyq")
        board.report(f"CA{7:032}", "ringing")
        watch.until(lambda rows: any(f"CA{7:032}" in row for row in rows))
        assert b"\x1b[?" not in watch.raw
        watch.type(CTRL_C)
        watch.ended()
    assert board.changes == []


def test_a_resize_is_drawn_at_once_and_afterwards_nobody_waits_for_one() -> None:
    resized = asyncio.Event()
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    table = LiveView(console, TableOptions(), clock=clock_of(lambda: START))
    table.connect(resized.set)

    async def resize() -> None:
        with OpenTable(ThreadedView(table), table).suspendable():
            os.kill(os.getpid(), signal.SIGWINCH)
            await asyncio.wait_for(resized.wait(), LIMIT)

    asyncio.run(resize())
    table.close()
    assert signal.getsignal(signal.SIGWINCH) in (signal.SIG_DFL, None)
