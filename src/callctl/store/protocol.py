"""What a watch remembers: the protocol of an event store, and what is kept in it.

This package's front room is light on purpose; the database itself is in ``callctl.store.sqlite.store``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from callctl.calls.event import CallEvent


@dataclass(frozen=True, slots=True)
class CallRow:
    """What a store knows of one call without reading its events. ``status`` is empty where nobody told one."""

    call_sid: str
    parent_call_sid: str | None
    status: str
    is_final: bool
    last_event_at: datetime


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call that callctl placed, when, and of which events it was to send callbacks."""

    call_sid: str
    at: datetime
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """A claim whose answer was never recorded: the rule, the leg it acts on, the leg it looked at, and what it did.

    ``lease`` is until when it was held by the wall clock of whoever claimed it, where it was read from the store.
    """

    rule: str
    call_sid: str
    about: str
    action: str
    lease: datetime | None = field(default=None, compare=False)


class EventStore(Protocol):
    """Keeps events, each once, those of one account at one API address."""

    def append(self, event: CallEvent) -> bool:
        """Keep an event; it is durable when this returns. False if it was there before.

        Raises:
            StoreError: It could not be kept.
        """

    async def append_async(self, event: CallEvent) -> bool:
        """Do what ``append`` does, without blocking the event loop.

        Raises:
            StoreError: It could not be kept.
        """

    def replay(self, *, since: datetime | None) -> Iterator[CallEvent]:
        """Return the events of the families that are not over or were touched since; of all, if None."""

    def call(self, call_sid: str) -> CallRow | None:
        """Return what is known of one call."""

    def close(self) -> None:
        """Finish what was submitted and let go of the files."""
