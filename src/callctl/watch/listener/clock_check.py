"""Finds out whether this machine's clock is wrong, by the times of callbacks that came to it and of REST's replies.

None comes before it was sent: two that seem to show that the clock is behind. One may take long to come: only if, for a
minute, all seem to, the clock is ahead.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from callctl.rules.clock_skew import EXACT, ClockSkew
from callctl.support.clock import Clock

WATCHED: Final = timedelta(minutes=1)
_FEWEST_SENDERS = 3


class ClockCheck:
    """Compares this machine's wall clock with Twilio's; reports once."""

    def __init__(self, *, whose: str = "Twilio's") -> None:
        """Prepare; ``whose`` is the other clock, for the report."""
        self._whose = whose
        self._is_reported = False
        self._began: datetime | None = None
        self._least: dict[str, timedelta] = {}  # the least delays, of a few senders

    def restart(self) -> None:
        """Note that the clock was set just now."""
        self._is_reported, self._began = False, None
        self._least.clear()

    def add(self, sender: str, sent_at: datetime, *, now: datetime) -> str | None:
        """Take in when something was sent that came just now; return a sentence the first time that the clock is off.

        ``sender`` is a call, or the API: the times of one alone may be wrong.
        """
        if self._is_reported:
            return None
        self._began = self._began or now
        if not self._is_less(sender, now - sent_at) and now - self._began < WATCHED:
            return None
        delays = sorted(self._least.values())
        if len(delays) > 1 and delays[1] < -EXACT:
            return self._report(f"is about {_seconds(-delays[1])} behind {self._whose}")
        if len(delays) == _FEWEST_SENDERS and now - self._began >= WATCHED:
            if delays[0] > EXACT:
                least = _seconds(delays[0])
                return self._report(
                    f"is probably about {least} ahead of {self._whose}: for a minute no callback took less"
                )
            self.restart()
        return None

    def _is_less(self, sender: str, delay: timedelta) -> bool:
        """Take in a delay; return whether it is one of the least."""
        known = self._least.get(sender)
        if known is not None:
            is_less = delay < known
        else:
            is_less = len(self._least) < _FEWEST_SENDERS or delay < max(self._least.values())
        if is_less:
            self._least[sender] = delay
            if len(self._least) > _FEWEST_SENDERS:
                del self._least[max(self._least, key=self._least.__getitem__)]
        return is_less

    def _report(self, what: str) -> str:
        self._is_reported = True
        return (
            f"this machine's clock {what}. The times of what is stored and shown here are wrong by that; rules, and "
            f"ages in the live table, go by {self._whose}. `callctl doctor` measures it, and says how to set it"
        )


class ClockOffset:
    """How far this process's steady clock is ahead of Twilio's: for ages that are shown, and by which keys act.

    It is the least delay of late, so that in doubt a call is younger: of callbacks, and of replies only until one has
    come. What the way of a callback or of a reply may be does not count: with a clock that is right, ages are exact.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._skew = clock, ClockSkew()

    def add_callback(self, call_sid: str, fired_at: datetime, *, received_at: datetime) -> None:
        """Take in when a callback fired that came at ``received_at``, by the wall clock."""
        came = self._clock.steady(received_at)
        self._skew.add(call_sid, came - fired_at, at=came, now=came)

    def add_reply(self, date: datetime) -> None:
        """Take in the ``Date`` of REST's latest reply, just after it came."""
        now = self._clock.now()
        self._skew.add_reply(now - date, now=now)

    @property
    def ahead(self) -> timedelta:
        """How far the clock is ahead; less than zero where it is behind."""
        skew = self._skew.skew
        return skew if abs(skew) > EXACT else timedelta()


def _seconds(delay: timedelta) -> str:
    return f"{delay.total_seconds():.0f} s"
