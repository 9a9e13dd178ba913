"""What a watch reports beside events: what went wrong, and what was passed on.

Each is a sentence for people, with the facts that programs read beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from callctl.errors import without_secrets


class Cause(StrEnum):
    """What kind of thing went wrong. Words may be added; none changes its meaning."""

    UNREACHABLE = "unreachable"
    """No self-test comes back through the callback URL."""
    TUNNEL_ENDED = "tunnel-ended"
    """The tunnel command has ended."""
    TUNNEL_MOVED = "tunnel-moved"
    """The tunnel has another address now; what is sent to the one before is lost."""
    REFUSED = "refused"
    """A request was answered with 403: its signature does not fit. Or a connection was closed: there are too many."""
    AMBIGUOUS = "ambiguous"
    """What a signed callback covers can be read in more than one way, so it is no event."""
    MISDIRECTED = "misdirected"
    """Signed requests come to another path than the watch's, or have lost their form in a redirect."""
    STORE = "store"
    """The event store can't be read or written."""
    API = "api"
    """The API gives no answer."""
    NO_CALLBACK = "no-callback"
    """A call should have sent status callbacks and did not."""
    FORWARD = "forward"
    """An application behind --forward-to failed, is too slow, or sends back what it is given."""
    TWIML = "twiml"
    """A request for TwiML could not be answered with any, or a media stream not be opened."""
    RULE = "rule"
    """A rule could not act."""
    CLOCK = "clock"
    """This machine's clock was set."""
    WATCH_GONE = "watch-gone"
    """The listener or the watch that this one follows is gone."""
    RECORD = "record"
    """The record by which ``place`` finds the watch can't be written."""
    OUTPUT = "output"
    """The output was not read, or could not be written, so that lines were left out."""
    INTERNAL = "internal"
    """A fault in callctl."""


class Trouble(str):
    """A sentence, and the kind of thing that went wrong.

    ``url`` is the address that it is about, without a password; ``status`` the HTTP status that was answered, by us or
    to us; ``call_sid`` the call. Each is None where there is none. ``details`` are further fields of the record. With
    ``is_over``, trouble of this cause is over.
    """

    __slots__ = ("call_sid", "cause", "details", "is_over", "status", "url")

    cause: Cause
    url: str | None
    status: int | None
    call_sid: str | None
    is_over: bool
    details: Mapping[str, Any]

    def __new__(
        cls,
        text: str,
        cause: Cause,
        *,
        url: str | None = None,
        status: int | None = None,
        call_sid: str | None = None,
        is_over: bool = False,
        details: Mapping[str, Any] = MappingProxyType({}),
    ) -> Trouble:
        """Return the sentence without passwords."""
        made = super().__new__(cls, without_secrets(text))
        made.cause, made.status, made.call_sid, made.is_over = cause, status, call_sid, is_over
        made.url = None if url is None else without_secrets(url)
        made.details = details
        return made

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``watch --json`` writes."""
        return {
            "v": 1,
            "type": "resolved" if self.is_over else "trouble",
            "cause": self.cause.value,
            "text": str(self),
            "url": self.url,
            "status": self.status,
            "call_sid": self.call_sid,
            **self.details,
        }


class Forwarded(str):
    """A sentence about a request that was passed on, and taken.

    ``url`` is where it went, without a password; ``status`` the HTTP status that was answered; ``attempt`` how often it
    was sent. ``call_sid`` and ``event`` are those of its form, if it is a call's. ``seconds`` is how long the answer
    took. A request that is not taken is a :class:`Trouble`.
    """

    __slots__ = ("attempt", "call_sid", "event", "seconds", "status", "url")

    attempt: int
    call_sid: str | None
    event: str | None
    seconds: float | None
    status: int | None
    url: str

    def __new__(
        cls,
        text: str,
        *,
        url: str,
        call_sid: str | None,
        event: str | None,
        status: int | None,
        seconds: float | None,
        attempt: int,
    ) -> Forwarded:
        """Return the sentence without passwords."""
        made = super().__new__(cls, without_secrets(text))
        made.url, made.call_sid, made.event, made.status = without_secrets(url), call_sid, event, status
        made.seconds, made.attempt = seconds, attempt
        return made

    @property
    def ends_trouble(self) -> bool:
        """Whether it was reported before that the request was not taken."""
        return self.attempt > 1

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``watch --json`` writes."""
        return {
            "v": 1,
            "type": "forwarded",
            "text": str(self),
            "url": self.url,
            "call_sid": self.call_sid,
            "event": self.event,
            "status": self.status,
            "seconds": self.seconds,
            "attempt": self.attempt,
        }
