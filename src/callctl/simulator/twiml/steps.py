"""What a script does or waits for. A script is a coroutine, but not asyncio's: it awaits steps and nothing else.

So a script knows neither a clock nor a socket, and a redirect in the middle of a verb needs no cooperation. A verb that
needs more than these has a step of its own, beside it.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from callctl.simulator.http_requests import Reply

T = TypeVar("T")


class Step(Generic[T]):
    """Something that a script does or waits for; awaiting it hands it to the runner and returns its result."""

    def __await__(self) -> Generator["Step[T]", T, T]:
        return (yield self)


@dataclass(frozen=True, slots=True)
class Answer(Step[None]):
    """Answer the leg, if it is not answered yet; done at once."""


@dataclass(frozen=True, slots=True)
class Note(Step[None]):
    """Add an error or a warning to the call's notifications; done at once."""

    code: int
    text: str
    url: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True)
class NotImitated(Step[None]):
    """Say, once in a call, that something of its documents is not imitated; done at once."""

    text: str


@dataclass(frozen=True, slots=True)
class Wait(Step[None]):
    """Let simulated seconds pass; None waits until the script is dropped."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Fetch(Step[Reply]):
    """Request a URL, with the leg's parameters and those given here."""

    url: str
    method: str
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report(Step[None]):
    """Request a URL with the leg's parameters and those given here, whose reply nobody waits for; done at once."""

    event: str
    url: str
    method: str
    params: dict[str, str] = field(default_factory=dict)


class ScriptEnd(Enum):
    """How a script ended."""

    DOCUMENT_END = "document ended"
    HANGUP = "hung up"
    REJECTED = "rejected"
    BUSY = "rejected as busy"
    FAILED = "no document to run"
    LEFT = "left the queue"
