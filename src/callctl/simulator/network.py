"""What the parts of a call need of HTTP: to ask an address, and to be told what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to make: `params` travel as a form or, for GET, in the query; `token` names it across retries.

    `awaited` tells that a call waits for what comes of it.
    """

    url: str
    method: str
    params: Mapping[str, str]
    token: str = ""
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of it: a status and a body, or why there is none; and in how many attempts."""

    status: int | None
    body: bytes = b""
    content_type: str = ""  # without its parameters, in lower case
    error: str = ""
    attempts: int = 1

    @property
    def ok(self) -> bool:
        """Whether it was answered with success."""
        return self.status is not None and 200 <= self.status < 300


class Cancel(Protocol):
    """Stops something under way."""

    def __call__(self) -> object:
        """Stop it; harmless when it is over."""


class Network(Protocol):
    """What the switch needs of HTTP: ask, and be told."""

    def ask(self, request: Ask, then: Callable[[Reply], None]) -> Cancel:
        """Make a request; `then` gets what came of it, unless it was cancelled."""
