"""The brake: a rule that goes wild must not end every call of an account."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from enum import Enum

PER_SECOND = 10
PER_MINUTE = 100


class Turn(Enum):
    """Whether the next action may be done."""

    GO = "go"
    WAIT = "wait"
    STOP = "stop"


class Brake:
    """Lets so many actions through in any second, and none any more after so many in a minute."""

    def __init__(self, *, per_second: int = PER_SECOND, per_minute: int = PER_MINUTE) -> None:
        """Set the two limits."""
        self.per_minute = per_minute
        self._per_second = per_second
        self._latest: deque[datetime] = deque()
        self.is_pulled = False

    def turn(self, now: datetime) -> Turn:
        """Return what becomes of one more action at this time; only ``GO`` counts it."""
        while self._latest and now - self._latest[0] >= timedelta(minutes=1):
            self._latest.popleft()
        if self.is_pulled or len(self._latest) >= self.per_minute:
            self.is_pulled = True
            return Turn.STOP
        if len(self._latest) >= self._per_second and now - self._latest[-self._per_second] < timedelta(seconds=1):
            return Turn.WAIT
        self._latest.append(now)
        return Turn.GO

    def give_back(self) -> None:
        """Take back one turn: nothing was done with it."""
        if self._latest:
            self._latest.pop()
