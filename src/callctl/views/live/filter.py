"""The filter that is typed in the live table: several words, all of which a leg must match."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from callctl.calls.call import CallStatus
from callctl.calls.masked_numbers import masked_party
from callctl.errors import UsageError
from callctl.support.dates import read_duration

if TYPE_CHECKING:
    from callctl.calls.leg import Leg

LIVE = "live"


@dataclass(frozen=True, slots=True)
class TextFilter:
    """``words`` stand in the text of a leg; it is ``is_live`` if mode for, and live for between two times.

    A word is a part of a SID, a number, a caller's name or a status, in any case; ``live``; or ``>2m`` and ``<30s``,
    for the time that a live leg has had its status. ``unread`` is what begins like such a time and is none.
    """

    words: tuple[str, ...] = ()
    is_live: bool = False
    longer_than: timedelta | None = None
    shorter_than: timedelta | None = None
    unread: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> TextFilter:
        """Read what is typed. A time that is not finished yet, such as ``>2``, lets every leg through."""
        words: list[str] = []
        unread: list[str] = []
        is_live = False
        longer: timedelta | None = None
        shorter: timedelta | None = None
        for word in text.casefold().split():
            if word == LIVE:
                is_live = True
            elif word[0] not in "<>":
                words.append(word)
            elif (time := _duration(word[1:])) is None:
                unread.append(word)
            elif word[0] == ">":
                longer = time if longer is None else max(longer, time)
            else:
                shorter = time if shorter is None else min(shorter, time)
        return cls(tuple(words), is_live, longer, shorter, tuple(unread))

    @property
    def is_empty(self) -> bool:
        """Whether every leg matches."""
        return not (self.words or self.is_live or self.concerns_time)

    @property
    def concerns_time(self) -> bool:
        """Whether what matches changes as time goes by."""
        return self.longer_than is not None or self.shorter_than is not None

    def matches(self, leg: Leg, text: str) -> bool:
        """Return whether a leg, with its text from :func:`text_of`, has all the words, and is live if that is wanted.

        How long it has had its status is for :meth:`matches_time` to say.
        """
        for word in self.words:  # called for ten thousand legs at a time: without a generator it takes half as long
            if word not in text:
                return False
        return not (self.is_live or self.concerns_time) or leg.is_live

    def matches_time(self, since: datetime, *, now: datetime) -> bool:
        """Return whether what is so since some moment has been so for as long as is wanted, by one clock."""
        return (self.longer_than is None or since <= now - self.longer_than) and (
            self.shorter_than is None or since > now - self.shorter_than
        )


EVERY_LEG = TextFilter()

_SID_START = r"(?i)(CA|CF|AC)[0-9a-f]+"
_DIRECTIONS = ("inbound", "outbound-api", "outbound-dial")


def masked_filter_text(text: str) -> str:
    """Return a filter as typed, with each word masked that may be a part of a number or a name."""
    return " ".join(word if _names_nobody(word.casefold()) else masked_party(word) for word in text.split())


def _names_nobody(word: str) -> bool:
    is_known = any(word in known for known in (LIVE, *CallStatus, *_DIRECTIONS))
    return is_known or word[0] in "<>" or re.fullmatch(_SID_START, word) is not None


def text_of(leg: Leg) -> str:
    """Return the text of a leg in which the words of a filter are looked for."""
    parts = (leg.call_sid, leg.parent_call_sid, leg.status, leg.from_, leg.to, leg.caller_name, leg.direction)
    room = leg.conference
    conference = () if room is None else (room.name, room.label, *room.states)
    return "\n".join(part for part in (*parts, *conference) if part).casefold()


def _duration(text: str) -> timedelta | None:
    try:
        return timedelta(seconds=read_duration(text, option="the filter"))
    except (UsageError, OverflowError):
        return None
