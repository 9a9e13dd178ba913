"""Whether a call was over before a request that was to change it was sent.

A service may take a request for a call that is over, and answer with 200 (docs/twilio.md, "REST: updating a call").
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from callctl.calls.call import Call

if TYPE_CHECKING:
    from callctl.calls.leg import Leg
    from callctl.support.clock import Clock

# A call that ended longer than this before the request was sent was over before; less may be the rounding to seconds,
# or a difference between clocks.
_BEFORE = timedelta(seconds=5)


class SentRequest:
    """A request that is about to be sent, and when that was."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent_at = clock.now()

    def came_after_end(self, call: Call, leg: Leg | None, *, at_least: timedelta = timedelta()) -> bool:
        """Return whether a call had ended before the request, ``at_least`` so long before the reply about it.

        How long ago the request was sent is measured. When that was by Twilio's dates is known by the reply's ``Date``,
        which may be a proxy's own, and by this machine's clock, which may be wrong. So in doubt an end that was then by
        either of them was not before.
        """
        if not call.is_final or call.as_of is None:
            return False
        reported = leg.ended_at if leg is not None and leg.verified else None
        since = max(self._clock.now() - self._sent_at + _BEFORE, at_least)
        wall = self._clock.wall()

        def is_before(end: datetime, by: datetime) -> bool:
            is_by_this_clock = wall - since <= end <= wall + _BEFORE
            return end < by - since and not is_by_this_clock

        return any(end is not None and is_before(end, call.as_of) for end in (call.end_time, reported))
