"""What a watch shows, and the protocol of what shows it: the live table, lines, JSON Lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change, Snapshot
    from callctl.calls.event import CallEvent
    from callctl.calls.watch_trouble import Trouble


@dataclass(frozen=True, slots=True)
class WatchState:
    """The state of a watch, as the header of the live table shows it.

    ``round_trip`` is that of the last self-test through the callback URL, in seconds; ``unreachable`` says why no
    callback can arrive, and is shown at any width. ``ignored`` counts requests that are about no call, ``features``
    callbacks of machine detection, recordings and conferences, by kind, and ``misdirected`` signed requests to a path
    that is not the watch's. ``shown_only`` says in words which legs are shown, if not all. ``unverified``: signatures
    are not checked. ``rules_stopped``: the rules reached their limit; ``rules`` says how many are at work, and how.
    ``nobody_polls``: it is known that nobody compares with REST. ``events_read`` counts the events read from the store
    so far, and is None once all are. ``clock_ahead`` is how far this process's steady clock is ahead of Twilio's.
    ``last_action`` is the store's id of the last action that was passed to the view; None where there is no store.
    """

    title: str
    listening: str
    callback_url: str
    api_url: str | None
    accepted: int = 0
    refused: int = 0
    duplicates: int = 0
    failed: int = 0
    ignored: int = 0
    features: Mapping[str, int] = field(default_factory=dict)
    misdirected: int = 0
    shown_only: str | None = None
    last_callback_at: datetime | None = None
    round_trip: float | None = None
    unreachable: str | None = None
    unverified: bool = False
    rules_stopped: bool = False
    rules: str | None = None
    nobody_polls: bool = False
    events_read: int | None = None
    clock_ahead: timedelta = timedelta()
    last_action: int | None = None


class View(Protocol):
    """What a watch is shown on."""

    def begin(self, snapshot: Snapshot) -> None:
        """Take the board as it is at the start, once, before any event."""

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Take one event and what it changed on the board, if anything."""

    def action(self, action: ActionEvent) -> None:
        """Take a request that a command or a rule sent for a call, with its outcome."""

    def note(self, text: str) -> None:
        """Show a sentence that is no event; what was passed on is a ``Forwarded`` (calls/watch_trouble.py)."""

    def trouble(self, trouble: Trouble) -> None:
        """Show that something went wrong, or that it is over."""

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Show the board as it is now."""

    def is_stale(self) -> bool:
        """Return whether what is shown no longer fits, for example because the terminal was resized."""

    def close(self) -> None:
        """Restore the terminal."""
