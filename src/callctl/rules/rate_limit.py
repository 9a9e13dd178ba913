"""The rate limit of rules: a rule that goes wild must not end every call of an account."""

from __future__ import annotations

from collections import deque
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
    """Allows so many actions in any second, and none any more after so many in a minute."""

    def __init__(self, *, per_second: int = PER_SECOND, per_minute: int = PER_MINUTE) -> None:
        """Set the two limits."""
        self.per_minute = per_minute
        self.per_second = per_second
        self._latest: deque[datetime] = deque()
        self.is_exceeded = False

    def admit(self, now: datetime) -> Admission:
        """Return whether one more action may begin at this time; only ``ALLOWED`` counts it."""
        while self._latest and now - self._latest[0] >= timedelta(minutes=1):
            self._latest.popleft()
        if self.is_exceeded or len(self._latest) >= self.per_minute:
            self.is_exceeded = True
            return Admission.STOPPED
        if len(self._latest) >= self.per_second and now - self._latest[-self.per_second] < timedelta(seconds=1):
            return Admission.WAIT
        self._latest.append(now)
        return Admission.ALLOWED

    def exceed(self) -> None:
        """Allow nothing any more: all watches that share a store have done so many in a minute together."""
        self.is_exceeded = True

    def refund(self) -> None:
        """Uncount the latest action, since nothing was sent for it."""
        if self._latest:
            self._latest.pop()
