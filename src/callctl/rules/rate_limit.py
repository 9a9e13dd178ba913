"""The rate limit of rules: a rule that goes wild must not end every call of an account."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from datetime import datetime, timedelta
from enum import Enum

PER_SECOND = 10
PER_MINUTE = 100


class Admission(Enum):
    """Whether the next action may begin."""

    ALLOWED = "allowed"
    WAIT = "wait"
    STOPPED = "stopped"


class RateLimit:
    """Allows so many actions to begin in any second, and none any more after so many in a minute.

    In the minute an action counts for which something was sent. As long as that is open, further ones wait for it.
    """

    def __init__(self, *, per_second: int = PER_SECOND, per_minute: int = PER_MINUTE) -> None:
        """Set the two limits."""
        self.per_minute = per_minute
        self._begun: deque[datetime] = deque(maxlen=per_second)
        self._counted: dict[Hashable, datetime] = {}  # the oldest first
        self._undecided: set[Hashable] = set()  # of these
        self.per_second = per_second
        self.is_exceeded = False

    def admit(self, now: datetime, action: Hashable) -> Admission:
        """Return whether one more action may begin at this time; only ``ALLOWED`` counts it, by its key."""
        while self._counted and now - next(iter(self._counted.values())) >= timedelta(minutes=1):
            self.refund(next(iter(self._counted)))
        if self.is_exceeded or len(self._counted) - len(self._undecided) >= self.per_minute:
            self.is_exceeded = True
            return Admission.STOPPED
        if len(self._counted) >= self.per_minute:
            return Admission.WAIT
        if len(self._begun) == self.per_second and now - self._begun[0] < timedelta(seconds=1):
            return Admission.WAIT
        self._begun.append(now)
        self.refund(action)  # so that it is the newest
        self._counted[action] = now
        self._undecided.add(action)
        return Admission.ALLOWED

    def exceed(self) -> None:
        """Allow nothing any more: all watches that share a store have done so many in a minute together."""
        self.is_exceeded = True

    def decide(self, action: Hashable) -> None:
        """Count an action for good, as long as its minute lasts: it is over."""
        self._undecided.discard(action)

    def cancel(self, action: Hashable) -> None:
        """Uncount the action that was admitted last, since it did not begin."""
        self._begun.pop()
        self.refund(action)

    def refund(self, action: Hashable) -> None:
        """Uncount an action in the minute, since nothing was sent for it. It may have read: its second keeps it."""
        self._counted.pop(action, None)
        self._undecided.discard(action)
