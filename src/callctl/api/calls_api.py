"""Twilio's Calls API as commands, rules and a watch see it: what the client does, and what tests put in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, Self

from callctl.calls.call import Call

if TYPE_CHECKING:
    from callctl.api.requests import RedirectRequest
    from callctl.api.resources import Notification
    from callctl.calls.filter import CallFilter


class CallsApi(Protocol):
    """The calls of one account. Every method raises CallctlError, and may wait for as long as a request may take."""

    @property
    def server_time(self) -> datetime | None:
        """What the latest reply said that the time is; None before any. Raises nothing."""

    def fetch(self, sid: str) -> Call:
        """Return a call; right after a change the answer may be old (docs/twilio.md, "Eventual consistency").

        Raises:
            NotFoundError: There is no such call.
        """

    def list(self, call_filter: CallFilter, *, page_size: int = ..., limit: int | None) -> Iterator[Call]:
        """Yield the calls that match, the newest first."""

    def hangup(self, sid: str) -> Call:
        """Request that a call be ended, whatever it does."""

    def cancel(self, sid: str) -> Call:
        """Request that a call be ended unless it was answered."""

    def redirect(self, sid: str, request: RedirectRequest) -> Call:
        """Give a call in progress other TwiML.

        Raises:
            WrongCallStateError: It is not in progress.
            OutcomeUnknownError: No answer came; it may have been redirected.
        """

    def limit_time(self, sid: str, seconds: int) -> Call:
        """Limit a call's length, in seconds."""

    def while_wanted(self, wanted: Callable[[bool], bool]) -> Self:
        """Return the same API, which checks before each further try of a change whether it is still wanted.

        The pause before one may be long, and the call may have moved on. ``wanted`` gets whether an earlier try may
        have been carried out; if it returns False, NoLongerWantedError is raised.
        """

    def notifications(self, sid: str) -> Iterable[Notification]:
        """Return the errors and warnings that Twilio noted for a call, the newest first."""
