"""WebSockets to applications, as the switch sees them: messages of text, in order, and why one could not be opened."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

# Twilio's codes for why there is no connection (docs/twilio.md, "Media streams").
TIMED_OUT, REFUSED, NO_TLS, BAD_HANDSHAKE, MALFORMED_URL = 31901, 31902, 31910, 31920, 31923


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """One WebSocket to open, for a call: `url` begins with `wss:`."""

    url: str
    call: str


class SocketEvents(Protocol):
    """What happens at a WebSocket. Nothing is called any more after it was closed from here, nor after the last two."""

    def opened(self) -> None:
        """It is open."""

    def received(self, text: str | None) -> None:
        """The application has sent a message; None is one that is no text."""

    def closed(self) -> None:
        """The application has closed it, or the connection is lost."""

    def failed(self, code: int, text: str) -> None:
        """It can't be opened; the code is Twilio's."""


class Socket(Protocol):
    """A WebSocket, which may still be opening."""

    @property
    def backlog(self) -> int:
        """How many messages have not been sent yet."""

    def send(self, text: str) -> None:
        """Send a message behind those before it; once it is closed, do nothing."""

    def close(self) -> None:
        """Send what is left, and close it; harmless when it is over."""


# Open a WebSocket; the events are called later.
Connect = Callable[[SocketRequest, SocketEvents], Socket]
