"""What can't be done yet and is looked at again, by growing pauses: a caller who still has another leg."""

from __future__ import annotations

from collections.abc import Container, Iterator
from datetime import datetime, timedelta

from callctl.rules.rule import Action
from callctl.support.backoff import Backoff

# Two requests each time; the end of a leg that callbacks report is acted on at once all the same.
PAUSES = Backoff(first=1.0, factor=2, longest=30.0)


class Again:
    """Actions that wait for their next look, one for each rule and leg. Not for several threads."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], tuple[datetime, Action]] = {}
        self._pauses: dict[tuple[str, str], Iterator[float]] = {}

    def put(self, action: Action, *, now: datetime, not_before: timedelta = timedelta()) -> None:
        """Have an action come back, each time after twice as long, and after ``not_before`` at least."""
        pauses = self._pauses.setdefault(action.key, PAUSES.pauses())
        self._waiting[action.key] = (now + max(timedelta(seconds=next(pauses)), not_before), action)

    def due(self, *, now: datetime) -> list[Action]:
        """Return those whose pause is over."""
        found = [action for until, action in self._waiting.values() if until <= now]
        for action in found:
            del self._waiting[action.key]
        return found

    def keep(self, legs: Container[str]) -> None:
        """Drop what is asked of other legs than these."""
        self._waiting = {key: one for key, one in self._waiting.items() if key[1] in legs}
        self._pauses = {key: pauses for key, pauses in self._pauses.items() if key[1] in legs}
