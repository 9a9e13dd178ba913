"""A stage for the pictures and examples of the documentation: a simulator, a home directory, and somebody who types."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shlex
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from callctl.cli.io.runtime import Runtime
from callctl.cli.main import main as callctl
from callctl.simulator import Simulator
from callctl.support.identity import user_at_host

BEGIN = datetime(2026, 11, 24, 9, 41, tzinfo=UTC)
CALLER = "+15005550006"
# The simulator's far ends, chosen by number.
ANSWERS, BUSY, NEVER, HANGS_UP = "+12025550100", "+12025550102", "+12025550103", "+12025550105"
NOT_FOUND = "+12025550104"
SURVEY = "https://example.com/survey.xml"  # what the reader sees for the address of the one served here
APPLICATION = "http://127.0.0.1:5000"  # an application of the reader's: the survey's server answers for it
OPERATOR = "ann@ops"  # what the reader sees for the user and the machine here
FIRST_FRAME = "No calls yet."
LIMIT = 90.0  # seconds, for what comes within a few


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
    survey: str  # its address
    port: int = field(default_factory=lambda: free_port())  # of the watch; the reader sees 8765
    story: Callable[[Stage, io.StringIO], None] | None = None  # what happens while a watch runs, given what it prints
    is_watch_wrong: bool = False  # a watch ends by itself then, with an error, and has no story
    variables: dict[str, str] = field(default_factory=dict)
    is_still: bool = False  # no time passes by itself
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
            "CALLCTL_URL_SURVEY": self.survey,
            "CALLCTL_PORT": str(self.port),
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
            if self.is_still:
                self.simulator.advance(0)  # callbacks that left have arrived
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
        command = command.replace(APPLICATION, self._application)
        name, *args = shlex.split(command)
        if name == "echo":
            out.write(" ".join(args) + "\n")
        elif name == "cat":
            out.write(stdin.read())
        elif command.startswith("callctl watch") and not self.is_watch_wrong:
            with self._happening(out):
                self.code = callctl(args, runtime=self._runtime(stdin, out, err))
        elif name == "callctl":
            self.code = callctl(args, runtime=self._runtime(stdin, out, err))
        else:
            raise ValueError(f"nobody here can type this: {command}")

    def _runtime(self, stdin: io.StringIO, out: io.StringIO, err: io.StringIO) -> Runtime:
        return Runtime(self.environ, self.home, stdin, out, err, now=self.now, elapsed=lambda: self.now().timestamp())

    @contextmanager
    def _happening(self, out: io.StringIO) -> Iterator[None]:
        """While a watch runs, let the story happen beside it, then press Ctrl-C."""
        if self.story is None:
            raise ValueError("a watch runs until somebody stops it: its scene needs a story")
        story, troubles = self.story, list[Exception]()

        def happen() -> None:
            try:
                wait_until(lambda: FIRST_FRAME in out.getvalue())
                story(self, out)
            except Exception as trouble:
                troubles.append(trouble)
            finally:
                os.kill(os.getpid(), signal.SIGINT)

        beside = threading.Thread(target=happen)
        beside.start()
        with handlers_kept():
            yield
        beside.join()
        if troubles:
            raise troubles[0]

    def _as_shown(self, text: str) -> str:
        """Return what is left on the screen, without colours, and without what only the simulator's address adds."""
        text = re.sub(r"\x1b\[\?1049h.*?\x1b\[\?1049l", "", text, flags=re.DOTALL)
        lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).splitlines()
        kept = [line.rstrip() for line in lines if not line.startswith("callctl: the API is ")]
        shown = "\n".join(kept).replace(self.simulator.url, "http://127.0.0.1:8766").replace(self.survey, SURVEY)
        shown = shown.replace(self._application, APPLICATION).replace(user_at_host(), OPERATOR)
        return shown.replace(str(self.home), "~").replace(str(self.port), "8765")

    @property
    def _application(self) -> str:
        return self.survey.removesuffix("/survey.xml")


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put the handlers of signals back: a command that was interrupted keeps its own, and ends its process with them.

    Here the process goes on.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def free_port() -> int:
    """Return a free port, out of those that the system does not hand out by itself."""
    while True:
        port = random.randint(20000, 30000)
        with contextlib.closing(socket.socket()) as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when something is so; it is a matter of moments.

    Raises:
        TimeoutError: It does not come to be so.
    """
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.01)


class _Survey(BaseHTTPRequestHandler):
    """Answers every request with a survey."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.end_headers()
        self.wfile.write(b"<Response><Gather><Say>How was it, from 1 to 5?</Say></Gather></Response>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def survey() -> Iterator[str]:
    """Serve a survey and give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Survey) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/survey.xml"
        finally:
            server.shutdown()
            serving.join()


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
    """A stage whose time moves only when the simulator advances."""
    passed: list[Callable[[], float]] = [lambda: 0.0]

    def now() -> datetime:
        return BEGIN + timedelta(seconds=passed[0]())

    with (
        tempfile.TemporaryDirectory() as home,
        survey() as address,
        Simulator(port=0, seed=seed, manual_clock=True, wall=now) as simulator,
    ):
        passed[0] = simulator.simulated_seconds
        yield Stage(simulator, Path(home), now, address, is_still=True)


@contextmanager
def in_a_hurry() -> Iterator[Stage]:
    """A stage whose calls live ten times as fast as real ones."""
    with (
        tempfile.TemporaryDirectory() as home,
        survey() as address,
        Simulator(port=0, seed=1, speed=10) as simulator,
    ):
        yield Stage(simulator, Path(home), lambda: datetime.now(UTC), address)
