"""A stage for the pictures and examples of the documentation: a simulator, a home directory, and somebody who types."""

from __future__ import annotations

import io
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from callctl.cli.app import main as callctl
from callctl.cli.runtime import Runtime
from callctl.simulator import Simulator

BEGIN = datetime(2026, 11, 24, 9, 41, tzinfo=UTC)
CALLER = "+15005550006"
# The simulator's far ends, told by number.
ANSWERS, BUSY, NEVER, HANGS_UP = "+12025550100", "+12025550102", "+12025550103", "+12025550105"
LONG = "Thank you for calling. " * 100  # takes more than two minutes to say


class Screen(io.StringIO):
    """A terminal: what goes to stdout and stderr stands in one order on it."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


def no_answer() -> Screen:
    """Return a terminal on which nobody types."""
    return Screen()


@dataclass
class Stage:
    """Somebody who types, with a home directory, before a simulator whose time is ``now``."""

    simulator: Simulator
    home: Path
    now: Callable[[], datetime]
    variables: dict[str, str] = field(default_factory=dict)
    code: int = 0  # of the last command, as $? gives it

    @property
    def environ(self) -> dict[str, str]:
        """What every command finds in its environment."""
        return {
            "HOME": str(self.home),
            "TERM": "xterm-256color",
            "NO_COLOR": "1",
            "COLUMNS": "120",
            "LINES": "40",
            "TWILIO_ACCOUNT_SID": self.simulator.account_sid,
            "TWILIO_AUTH_TOKEN": self.simulator.auth_token,
            "CALLCTL_API_URL": self.simulator.url,
            "CALLCTL_FROM": CALLER,
            "CALLCTL_URL_SURVEY": f"{self.simulator.url}/survey.xml",
        }

    def type(self, line: str) -> str:
        """Carry out one line as a shell would and return what it leaves on the terminal.

        Of a shell it knows `;`, `|`, `NAME=$(…)`, `$NAME` and `$?`.

        Raises:
            ValueError: The line holds a command that is neither callctl nor echo.
        """
        screen = Screen()
        for part in line.split("; "):
            if assigned := re.fullmatch(r"(\w+)=\$\((.*)\)", part):
                self.variables[assigned[1]] = self._pipe(assigned[2], screen, last=io.StringIO()).strip()
            else:
                self._pipe(part, screen, last=screen)
        return self._as_shown(screen.getvalue())

    def _pipe(self, line: str, screen: io.StringIO, *, last: io.StringIO) -> str:
        """Run commands that hand their stdout on, and return what the last one wrote to its own."""
        commands = line.split(" | ")
        handed = ""
        for number, command in enumerate(commands):
            out = last if number == len(commands) - 1 else io.StringIO()
            self._run(command, stdin=io.StringIO(handed) if number else no_answer(), out=out, err=screen)
            handed = out.getvalue()
        return handed

    def _run(self, command: str, *, stdin: io.StringIO, out: io.StringIO, err: io.StringIO) -> None:
        for name, value in {**self.variables, "?": str(self.code)}.items():
            command = command.replace(f"${name}", value)
        name, *args = shlex.split(command)
        if name == "echo":
            out.write(" ".join(args) + "\n")
        elif name == "callctl":
            runtime = Runtime(self.environ, self.home, stdin, out, err, now=self.now)
            self.code = callctl(args, runtime=runtime)
        else:
            raise ValueError(f"nobody here can type this: {command}")

    def _as_shown(self, text: str) -> str:
        """Return what is on the screen without colours, and without what only the simulator's address adds."""
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
        kept = [line.rstrip() for line in lines if not line.startswith("callctl: the API is ")]
        return "\n".join(kept).replace(self.simulator.url, "https://api.twilio.com")


@contextmanager
def local_time_is_utc() -> Iterator[None]:
    """Have times shown alike on every machine."""
    before = os.environ.get("TZ")
    try:
        os.environ["TZ"] = "UTC"
        time.tzset()
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@contextmanager
def standing_still(*, seed: int = 1) -> Iterator[Stage]:
    """A stage whose time moves only when the simulator is told to advance."""
    passed: list[Callable[[], float]] = [lambda: 0.0]

    def now() -> datetime:
        return BEGIN + timedelta(seconds=passed[0]())

    with tempfile.TemporaryDirectory() as home, Simulator(port=0, seed=seed, manual_clock=True, wall=now) as simulator:
        passed[0] = simulator.simulated_seconds
        yield Stage(simulator, Path(home), now)


@contextmanager
def in_a_hurry() -> Iterator[Stage]:
    """A stage whose calls live ten times as fast as real ones."""
    with tempfile.TemporaryDirectory() as home, Simulator(port=0, seed=1, speed=10) as simulator:
        yield Stage(simulator, Path(home), lambda: datetime.now(UTC))
