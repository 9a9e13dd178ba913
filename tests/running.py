"""Runs the command line in this process, with streams and an environment made for the test."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from callctl.cli.io.runtime import Runtime
from callctl.cli.main import main
from callctl.simulator import READINGS, Simulator
from callctl.simulator.settings import (
    CANCEL_REFUSED_IN_PROGRESS,
    CANCEL_SPARES_DIAL_LEGS,
    EMPTY_RECORDING_FALLS_THROUGH,
)

# For tests of what changes calls: where Twilio's text is open, callctl must hold under each way of reading it. One is
# about what a document does, and no request.
EACH_READING = [(), *((name,) for name in READINGS if name != EMPTY_RECORDING_FALLS_THROUGH)]
# For tests of what cancels or redirects calls, and requests nothing else.
READINGS_OF_CANCEL = [(), (CANCEL_SPARES_DIAL_LEGS,), (CANCEL_REFUSED_IN_PROGRESS,)]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Meanwhile(Terminal):
    """A keyboard at which something happens before the answer is typed."""

    def __init__(self, answer: str, happens: Callable[[], object]) -> None:
        super().__init__(answer)
        self._happens = happens

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        self._happens()
        return super().readline(size)


Streams = tuple[io.StringIO, io.StringIO]


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def _now() -> datetime:
    return datetime.now(UTC)


class Callctl(Protocol):
    """Runs one command line in a home directory of the test's own."""

    def __call__(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        stdin: str | io.StringIO = "",
        terminal: bool = False,
        columns: int = 100,
        cwd: Path | None = None,
        keyboard: bool = False,
        back_off: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = _now,
        streams: Streams | None = None,
    ) -> Outcome: ...


def run(
    *args: str,
    home: Path,
    env: Mapping[str, str] | None = None,
    stdin: str | io.StringIO = "",
    terminal: bool = False,
    columns: int = 100,
    cwd: Path | None = None,
    keyboard: bool = False,
    back_off: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = _now,
    streams: Streams | None = None,
) -> Outcome:
    """Run one command line and return its exit code and what it wrote; with ``keyboard``, stdin is a terminal too.

    ``stdin`` is what is typed, or a stream that does something while it is read. ``back_off`` is what waits, for some
    seconds, before a request is sent again; ``now`` returns the time. ``streams`` are stdout and stderr, for tests that
    look at them while it runs.
    """
    out, err = streams or ((Terminal if terminal else io.StringIO)(), io.StringIO())
    environ = {"HOME": str(home), "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40", **(env or {})}
    typed = stdin if isinstance(stdin, io.StringIO) else (Terminal if keyboard else io.StringIO)(stdin)
    code = main(
        args,
        runtime=Runtime(
            environ, cwd or home, typed, out, err, back_off=back_off, now=now, elapsed=lambda: now().timestamp()
        ),
    )
    return Outcome(code, out.getvalue(), err.getvalue())


def env_for(simulator: Simulator) -> dict[str, str]:
    """Return the environment in which callctl uses this simulator."""
    return {
        "TWILIO_ACCOUNT_SID": simulator.account_sid,
        "TWILIO_AUTH_TOKEN": simulator.auth_token,
        "CALLCTL_API_URL": simulator.url,
        "CALLCTL_FROM": "+15005550006",
    }
