"""A rule: when it holds for a leg, what it then asks for, and of which leg."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache

from callctl.calls.board import Leg
from callctl.calls.call import FINAL_STATUSES, LIVE_STATUSES, CallStatus

Form = tuple[tuple[str, str], ...]

PARENT_LEG = "parent"
CHILD_LEG = "child"
_RINGING = frozenset({CallStatus.QUEUED.value, CallStatus.INITIATED.value, CallStatus.RINGING.value})


class On(StrEnum):
    """Whom a rule acts on: the leg it looked at, that leg's parent, or its children."""

    THIS = "this"
    PARENT = "parent"
    CHILDREN = "children"


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the leg unless it was answered; with ``cut_answered`` hang it up where Twilio does not end it that way."""

    cut_answered: bool = False
    action = "cancel"

    def request(self) -> Form:
        """Return the form that goes over the wire."""
        return (("Status", "canceled"),)


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the leg, whatever it does."""

    action = "hangup"

    def request(self) -> Form:
        """Return the form that goes over the wire."""
        return (("Status", "completed"),)


@dataclass(frozen=True, slots=True)
class Redirect:
    """Give the leg other TwiML: ``name`` is what the user called it, ``url`` where it is."""

    name: str
    url: str
    method: str | None = None
    action = "redirect"

    def request(self) -> Form:
        """Return the form that goes over the wire."""
        return (("Url", self.url), *((("Method", self.method),) if self.method else ()))


@dataclass(frozen=True, slots=True)
class Limit:
    """Have Twilio itself end the leg so many seconds after its answer (OAS, ``TimeLimit``)."""

    seconds: int
    action = "limit"

    def request(self) -> Form:
        """Return the form that goes over the wire."""
        return (("TimeLimit", str(self.seconds)),)


Deed = Cancel | Hangup | Redirect | Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """What must hold for a leg. Empty sets and None ask for nothing.

    ``lasting`` is how long the leg must have had its status; None: the rule is for the moment in which it gets it.
    ``leg`` is parent or child; ``was_answered`` asks for a leg that was in progress once. In ``from_`` and ``to``
    a ``*`` stands for any text.
    """

    statuses: frozenset[str]
    lasting: timedelta | None = None
    leg: str | None = None
    was_answered: bool = False
    answered_by: frozenset[str] = frozenset()
    directions: frozenset[str] = frozenset()
    from_: str | None = None
    to: str | None = None

    def fits(self, leg: Leg) -> bool:
        """Tell whether a leg is as asked for, whatever the time."""
        return (
            leg.status in self.statuses
            and (self.leg is None or (self.leg == CHILD_LEG) == (leg.parent_call_sid is not None))
            and (not self.was_answered or was_answered(leg))
            and (not self.answered_by or leg.answered_by in self.answered_by)
            and (not self.directions or leg.direction in self.directions)
            and (self.from_ is None or _pattern(self.from_).fullmatch(leg.from_) is not None)
            and (self.to is None or _pattern(self.to).fullmatch(leg.to) is not None)
        )

    @property
    def is_end(self) -> bool:
        """Whether it speaks of legs that have ended."""
        return self.statuses <= FINAL_STATUSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. ``settle`` is how long its family must stay as it is before anything is done."""

    name: str
    when: When
    then: Deed
    on: On = On.THIS
    settle: timedelta = timedelta()

    @property
    def follows_dial(self) -> bool:
        """Whether it takes up a caller whose <Dial> is over: only where nobody else has, and no other leg lives."""
        return self.when.is_end and self.on is On.PARENT and isinstance(self.then, Redirect)

    @property
    def target_statuses(self) -> frozenset[str]:
        """What the leg that is acted on may be, in the words of callbacks and of REST."""
        if isinstance(self.then, Redirect):
            return frozenset({CallStatus.IN_PROGRESS.value})  # anything else is refused (21220)
        return self.seen_statuses if self.on is On.THIS else frozenset(LIVE_STATUSES)

    @property
    def seen_statuses(self) -> frozenset[str]:
        """What the leg that is looked at may be, likewise."""
        # REST has no ``initiated``: it shows such a leg as queued or ringing (docs/twilio.md, "Statuses").
        return self.when.statuses | _RINGING if self.when.statuses & _RINGING else self.when.statuses


def was_answered(leg: Leg) -> bool:
    """Tell whether a leg was ever in progress. ``completed`` says so too: it means connected.

    Source: docs/twilio.md, "Statuses".
    """
    return leg.answered_at is not None or leg.status in (CallStatus.IN_PROGRESS, CallStatus.COMPLETED)


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.IGNORECASE | re.DOTALL)
