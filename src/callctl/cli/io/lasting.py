"""Since when calls have had their status: for ``--for-longer-than``, by what callbacks told, else by REST's dates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from callctl.calls.call import Call
from callctl.calls.event import CALLBACK, rank_of

if TYPE_CHECKING:
    from callctl.calls.board import Leg


class StatusSince:
    """Tells since when calls have had their status; ``by_rest`` are the SIDs of those of which no callback told."""

    def __init__(self, told: Callable[[str], Leg | None]) -> None:
        """``told`` returns what callbacks told of a call, or None."""
        self._told = told
        self.by_rest: set[str] = set()

    def __call__(self, call: Call) -> datetime | None:
        """Return since when, as far as can be told; rather too late than too early, for calls are ended by it.

        REST tells when a call was created, when it was dialled and when it was last changed, but not when it was
        answered. The latest of the three is what its status has lasted for at least.
        """
        leg = self._told(call.sid)
        # A step that callbacks told and REST does not show yet began later than REST's.
        is_told = leg is not None and leg.verified and leg.source == CALLBACK
        if leg is not None and is_told and rank_of(leg.status) >= rank_of(call.status):
            self.by_rest.discard(call.sid)
            return leg.status_since
        self.by_rest.add(call.sid)
        return max(filter(None, (call.date_created, call.start_time, call.date_updated)), default=None)

    def in_words(self, sids: Iterable[str]) -> str | None:
        """Return what is to be said of calls that match, where no callback told of some; None if there is nothing."""
        count = sum(sid in self.by_rest for sid in sids)
        if not count:
            return None
        which = "1 call" if count == 1 else f"{count} calls"
        return f"of {which} no callback told since when: the latest of REST's dates counts, so it is so long at least"
