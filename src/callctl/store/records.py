"""What a store returns of calls and of claims."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
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

    ``lease`` is until when its owner may be at work, by the store's clock, where it was read from the store. ``fence``
    is the number that it was given when it was claimed, and another one whenever it is taken over: only who names the
    present one may renew, settle or release it. It is 0 before that.
    """

    rule: str
    call_sid: str
    about: str
    action: str
    lease: datetime | None = field(default=None, compare=False)
    fence: int = field(default=0, compare=False)


class Refusal(Enum):
    """Why an action can't be claimed. It is false, so that what ``claim`` returns is true where that was done."""

    CLAIMED_BEFORE = "claimed-before"  # it is done, or in progress
    OTHER_IN_PROGRESS = "other-in-progress"  # another rule's action on the same leg
    SECOND_IS_FULL = "second-is-full"  # as many actions as are allowed in a second
    MINUTE_IS_FULL = "minute-is-full"

    def __bool__(self) -> bool:
        return False


class ActionLimit(NamedTuple):
    """How many actions may be claimed in a world, by all that share the store, in a second and in a minute."""

    per_second: int
    per_minute: int
