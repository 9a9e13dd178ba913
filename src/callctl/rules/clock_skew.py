"""How far a machine's steady clock is ahead of Twilio's, as the delays of callbacks show: none arrives early.

Each delay is the difference of the two clocks and the time that the callback took, so the least one of late is the
best. It is not that of all times: a steady clock runs fast or slow, by seconds in a day, and may jump where a machine
is moved. And one call's alone may be wrong, so that one far below the others counts once another call agrees.

A reply of REST has a ``Date``, which was right when it was sent. That takes a second or two, where a callback may take
a minute: so a reply also shows whether the clock is ahead. It does not show that the clock is far behind while
callbacks come in time by this clock: then the ``Date`` is a proxy's own, which is wrong.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from callctl.rules.rule import FRESH

# By how much a clock may differ from a time of Twilio's that has just come: that has whole seconds, and was on its way.
EXACT: Final = timedelta(seconds=3)
# A steady clock gains one second in so many at most: quartz in some 20,000, a bad one in 5,000.
DRIFT: Final = 4000
# A delay counts for one or two periods, and longer where few calls come.
PERIOD: Final = timedelta(hours=1)
_FEWEST_CALLS = 3  # in a period
_MOST_ODD = 8  # calls whose delay is far below the others'
_REPLIES = 3  # of REST, of which the least delay counts
# For how long a reply of REST shows that the steady clock has not jumped.
_REPLY_COUNTS = timedelta(minutes=1)


class ClockSkew:
    """What the delays of callbacks show of the steady clock; all times are its own."""

    def __init__(self) -> None:
        self._least = _RecentLeast()
        self._bound = _RecentLeast()  # of what each delay would be at the first one's time, if the clock ran fast
        self._reply_bound = _RecentLeast()  # the same of replies
        self._came_in_time: datetime | None = None  # when a callback last did, by the clock as it is
        self._began: datetime | None = None
        self._odd: dict[str, timedelta] = {}  # by call, the newest last
        self._newest: dict[str, timedelta] = {}  # the least delays of the last few calls, the newest last
        self._replies: deque[timedelta] = deque(maxlen=_REPLIES)  # the delays of REST's
        self._replied_at: datetime | None = None

    def __bool__(self) -> bool:
        """Return whether a delay counts."""
        return self._least.value is not None or bool(self._replies)

    def add(self, call_sid: str, delay: timedelta, *, at: datetime, now: datetime) -> None:
        """Take in the delay of a callback that arrived at ``at``."""
        began = self._begin(now)
        if abs(delay) <= EXACT:
            self._came_in_time = at
        least = self._agreed(call_sid, delay, lowest=min(self.correction(now=at), timedelta()) - FRESH)
        if least is not None:
            self._least.add(call_sid, least, at=at)
            self._bound.add(call_sid, least - (at - began) // DRIFT, at=at)
        self._newest[call_sid] = min(delay, self._newest.pop(call_sid, delay))
        if len(self._newest) > _FEWEST_CALLS:
            del self._newest[next(iter(self._newest))]

    def add_reply(self, delay: timedelta, *, now: datetime) -> None:
        """Take in by how much the ``Date`` of REST's latest reply is behind the steady clock, just after it came."""
        began = self._begin(now)
        if delay - self.correction(now=now) > EXACT:  # the wall clock was not right, or this one has jumped
            self._bound, self._reply_bound = _RecentLeast(), _RecentLeast()
        self._reply_bound.add("", delay - (now - began) // DRIFT, at=now)
        self._replies.append(delay)
        self._replied_at = now

    @property
    def skew(self) -> timedelta:
        """How far the clock is ahead at most; nothing where no delay counts.

        Replies count until a callback does: a ``Date`` may be a proxy's own.
        """
        least = self._least.value
        return self.by_replies or timedelta() if least is None else least

    @property
    def by_replies(self) -> timedelta | None:
        """How far the clock is ahead by REST's last few replies, where no callback's delay counts; None without any."""
        return min(self._replies, default=None) if self._least.value is None else None

    def is_confirmed(self, *, now: datetime) -> bool:
        """Return whether the last few callbacks, or a reply of REST, show that the correction is about right."""
        if self._replied_at is not None and now - self._replied_at <= _REPLY_COUNTS:
            return True
        correction = self.correction(now=now)
        return any(abs(delay - correction) <= FRESH for delay in self._newest.values())

    def correction(self, *, now: datetime) -> timedelta:
        """Return what to take off the age of an event: the skew, as far as a clock that runs fast explains it.

        A few callbacks may all take long, so a clock that seems to be ahead is believed only so far, and wholly once
        that has gone on for some periods.
        """
        known, by_replies = self._bound.value, self._reply_bound.value
        if known is None or (by_replies is not None and by_replies < known and not self._contradicts(by_replies)):
            known = by_replies
        return timedelta() if self._began is None or known is None else known + (now - self._began) // DRIFT

    def is_in_time(self, *, now: datetime) -> bool:
        """Return whether a callback has just come in time by the clock as it is, so that this is about right."""
        return self._came_in_time is not None and now - self._came_in_time <= _REPLY_COUNTS

    def _contradicts(self, by_replies: timedelta) -> bool:
        """Return whether a callback came in time by the clock as it is, where REST's replies have it far behind."""
        if self._came_in_time is None or self._replied_at is None or by_replies >= -FRESH:
            return False
        return self._came_in_time >= self._replied_at - _REPLY_COUNTS

    def _begin(self, now: datetime) -> datetime:
        """Return when the steady clock was first looked at. It begins with the wall clock, which is taken for right."""
        if self._began is None:
            self._began = now
            self._bound.add("", timedelta(), at=now)
        return self._began

    def _agreed(self, call_sid: str, delay: timedelta, *, lowest: timedelta) -> timedelta | None:
        """Return a delay that counts: one that is not below the lowest, or that another call's agrees with."""
        if delay >= lowest:
            return delay
        agreeing = [odd for sid, odd in self._odd.items() if sid != call_sid and abs(odd - delay) <= FRESH]
        if agreeing:
            return min(delay, *agreeing)
        self._odd[call_sid] = min(delay, self._odd.pop(call_sid, delay))
        if len(self._odd) > _MOST_ODD:
            del self._odd[next(iter(self._odd))]
        return None


class _RecentLeast:
    """The least of what was added of late, in this period and the one before."""

    def __init__(self) -> None:
        self.value: timedelta | None = None  # the least; None if nothing was added
        self._before: timedelta | None = None
        self._least: timedelta | None = None
        self._until: datetime | None = None
        self._calls: set[str] = set()  # of this period, as many as it needs

    def add(self, call_sid: str, value: timedelta, *, at: datetime) -> None:
        """Take in what a call's callback shows; begin a period if this one is over and had calls enough."""
        if self._until is None:
            self._until = at + PERIOD
        elif at >= self._until and len(self._calls) >= _FEWEST_CALLS:
            self._before, self._least, self._until = self._least, None, at + PERIOD
            self._calls.clear()
        self._least = value if self._least is None else min(value, self._least)
        self.value = self._least if self._before is None else min(self._before, self._least)
        if len(self._calls) < _FEWEST_CALLS:
            self._calls.add(call_sid)
