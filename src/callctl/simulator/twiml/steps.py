"""What a script may wait for, and the runner that drives it.

A script is a coroutine, but not asyncio's: it awaits steps and nothing else. The runner hands each step to its host,
which resumes the script when the step is over, or drops script and step together.
"""

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from callctl.simulator.network import Ask, Reply
from callctl.simulator.twiml import parser

T = TypeVar("T")


class Step(Generic[T]):
    """Something a script waits for; awaiting it hands it to the runner and returns what came of it."""

    def __await__(self) -> Generator["Step[T]", T, T]:
        return (yield self)


@dataclass(frozen=True, slots=True)
class Wait(Step[None]):
    """Let simulated seconds pass; None waits until the script is dropped."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Fetch(Step[Reply]):
    """Ask an address."""

    request: Ask


@dataclass(frozen=True, slots=True)
class Listen(Step[str | None]):
    """Wait for the next digit; None when none came within the seconds, or never (None)."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class DialResult:
    """How a Dial went; `duration` is None when there is nothing to tell (DIAL)."""

    status: str
    sid: str = ""
    duration: int | None = None
    bridged: bool = False


@dataclass(frozen=True, slots=True)
class Ring(Step[DialResult]):
    """Ring others until it is over; `base` is the address that relative ones belong to."""

    dial: parser.Dial
    base: str


class Over(Enum):
    """How a script ended."""

    DOCUMENT_END = "document ended"
    HANGUP = "hung up"
    REJECTED = "rejected"
    BUSY = "rejected as busy"
    FAILED = "no document to run"


class Host(Protocol):
    """What carries steps out for a runner; each returns how to stop it."""

    def begin(self, step: object, resume: Callable[[object], None]) -> Callable[[], object]:
        """Begin a step; call `resume` once, later, with what came of it."""


class Runner:
    """Drives one script at a time, step by step."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stop: Callable[[], object] | None = None
        self._script: Generator[object, object, Over] | None = None

    def start(self, script: Awaitable[Over], done: Callable[[Over], None]) -> None:
        """Drop whatever runs and begin a script; `done` gets how it ended, unless it is dropped in turn."""
        self.stop()
        driver = script.__await__()
        self._script = driver
        self._advance(driver, None, done)

    def stop(self) -> None:
        """Drop the script that runs, if one does."""
        stop, self._stop = self._stop, None
        script, self._script = self._script, None
        if stop is not None:
            stop()
        if script is not None:
            script.close()

    def _advance(self, script: Generator[object, object, Over], value: object, done: Callable[[Over], None]) -> None:
        try:
            step = script.send(value)
        except StopIteration as end:
            self._script = None
            done(end.value)
            return

        def resume(result: object) -> None:
            if self._script is script:
                self._stop = None
                self._advance(script, result, done)

        self._stop = self._host.begin(step, resume)
