"""What a store returns of calls and of claims."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


class CallRow(NamedTuple):
    """What a store knows of one call without reading its events. ``status`` is empty where no event had one."""

    call_sid: str
    parent_call_sid: str | None
    status: str
    is_final: bool
    last_event_at: datetime


class PlacedCall(NamedTuple):
    """A call that callctl placed, when, and of which events it was to send callbacks."""

    call_sid: str
    at: datetime
    events: tuple[str, ...]


@dataclass(frozen=True)
class OpenClaim:
    """A claim whose answer was never recorded: the rule, the leg it acts on, the leg it looked at, and its action.

    ``lease`` is until when its owner may be at work, by the owner's wall clock, where it was read from the store.
    """

    rule: str
    call_sid: str
    about: str
    action: str
    lease: datetime | None = field(default=None, compare=False)
