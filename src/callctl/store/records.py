"""What a store returns of calls and of claims."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple


class CallRow(NamedTuple):
    """What a store knows of one call without reading its events. ``status`` is empty where no event had one."""

    call_sid: str
    parent_call_sid: str | None
    status: str
    is_final: bool
    last_event_at: datetime


# The most requests that were not taken that a store keeps for an account; the newest are kept.
MOST_UNDELIVERED = 10_000


class PlacedCall(NamedTuple):
    """A call that callctl placed, when, and of which events it was to send callbacks."""

    call_sid: str
    at: datetime
    events: tuple[str, ...]


class Forgotten(NamedTuple):
    """What was recorded before a call that is about to be placed: the one that was placed last, and this one's turn.

    ``former`` is None where none was placed before, and empty where it was not known. Each turn is later than those
    before it, whatever the clocks say.
    """

    former: str | None
    turn: datetime


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


def declined_rule(rule: str, call_sid: str, *, about: str) -> str:
    """Return the rule under which it is stored that an action on a leg was declined because of the leg ``about``.

    Where that is another leg, it is none that acts: the rule may still act once because of a third one.
    """
    return rule if about == call_sid else f"{rule}, declined about {about}"


class Refusal(Enum):
    """Why an action can't be claimed. It is false, so that what ``claim`` returns is true where that was done."""

    CLAIMED_BEFORE = "claimed-before"  # it is done, in progress, or was declined because of the same leg
    OTHER_IN_PROGRESS = "other-in-progress"  # another rule's action on the same leg
    SECOND_IS_FULL = "second-is-full"  # as many actions as are allowed in a second
    MINUTE_IS_FULL = "minute-is-full"

    def __bool__(self) -> bool:
        return False


class ActionLimit(NamedTuple):
    """How many actions may be claimed in a world, by all that share the store, in a second and in a minute."""

    per_second: int
    per_minute: int


class Undelivered(NamedTuple):
    """A request that an application did not take: the event that it reports, and the URL to which it was to go.

    ``key`` is that of the event, or its beginning; ``url`` has no password; ``at`` is when the event arrived. ``why``
    says why it was not taken. ``tried_for`` is how much longer a listener tries to pass it on, zero if it has given up.
    """

    call_sid: str
    key: str
    url: str
    at: datetime
    why: str
    tried_for: timedelta

    @property
    def key_of_row(self) -> tuple[str, str, str]:
        """What identifies it: the event, and the URL."""
        return self.call_sid, self.key, self.url
