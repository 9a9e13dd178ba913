"""What a rule asks for, and what it would ask for but does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from callctl.rules.rule import Deed, Rule


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a rule has come to.

    ``call_sid`` is the leg to act on, ``about`` the leg that the rule looked at, ``family`` the SID of the family's
    parent leg. ``is_own``: a verified callback told of the family; else callctl must have placed it.
    """

    rule: Rule
    call_sid: str
    about: str
    family: str
    is_own: bool

    @property
    def deed(self) -> Deed:
        """What the rule is for."""
        return self.rule.then

    @property
    def key(self) -> tuple[str, str]:
        """What happens once: a rule for a leg."""
        return self.rule.name, self.call_sid


@dataclass(frozen=True, slots=True)
class Action(Proposal):
    """What a rule asks for.

    ``look_first``: the call is to be fetched before, since time went by or a poll told of it. ``lasted`` is for how
    many seconds the leg that the rule looked at was connected, if it has ended and that was told.

    Where the rule asks for a time: ``told_at`` is the Timestamp of the status that the leg has had for so long, by
    Twilio's clock, and ``watched_since`` when this process itself took notice of that, by its steady clock.
    """

    look_first: bool
    lasted: int | None = None
    told_at: datetime | None = None
    watched_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Declined(Proposal):
    """What a rule would have asked for, and why it does not."""

    reason: str
