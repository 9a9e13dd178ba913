"""A rule: when it matches a leg, what it does then and to which leg, and what it proposes.

A flag of ``watch`` and an entry of a rules file become the same :class:`Rule`; one engine decides for all.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from callctl.calls.call import FINAL_STATUSES, LIVE_STATUSES, CallStatus, Direction
from callctl.calls.leg import Leg

PARENT_LEG = "parent"
CHILD_LEG = "child"
_RINGING = frozenset({CallStatus.QUEUED.value, CallStatus.INITIATED.value, CallStatus.RINGING.value})

# The names of the rules that flags of ``watch`` stand for.
RING_LIMIT = "hangup-ringing-after"
AFTER_DIAL = "after-dial"
MAX_DURATION = "max-duration"
MAX_DURATION_HANGUP = "max-duration-hangup"
FLAG_NAMES = (RING_LIMIT, AFTER_DIAL, MAX_DURATION, MAX_DURATION_HANGUP)

# An event that happened longer ago is too old to act on: a callback that was delayed, or one that is sent again.
FRESH = timedelta(seconds=15)
# A Timestamp has whole seconds, rounded down, so a leg may be a second younger than it says.
RESOLUTION = timedelta(seconds=1)
# A poll reports what a call does, not since when. It may have rung for a minute, and the poll before was half a minute
# earlier; what began longer ago was, most likely, answered before anything could report it.
FOUND_SOON = timedelta(minutes=2)
# A second Dial begins within a moment of the first one's end, and its child's first callback takes another.
DEFAULT_SETTLE = timedelta(seconds=1)
# TimeLimit is set so late because set sooner it could lengthen a shorter one that the call was placed with.
LIMIT_LEAD = timedelta(seconds=30)
# What Twilio's own limit gets to show its effect before the call is hung up instead.
LIMIT_GRACE = timedelta(seconds=4)
# How long a child that is to be ended waits for its parent, which would go on without it. A parent that its child's
# answer answers (answerOnBridge) is so just after it, by Timestamps of whole seconds up to two later; one that sends no
# callbacks is known only after REST was queried.
FAMILY_LEAD = timedelta(seconds=5)

Form = tuple[tuple[str, str], ...]


class On(StrEnum):
    """Which leg a rule changes: the one that it matched, that leg's parent, or its children."""

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
    """Give the leg other TwiML: ``name`` is what the user called it, ``url`` its address."""

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


Operation = Cancel | Hangup | Redirect | Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The conditions of a rule. An empty set and None stand for no condition.

    ``lasting`` is how long the leg must have had its status; None: the rule is for the moment in which it gets it.
    ``leg`` is parent or child; ``was_answered`` requires a leg that was in progress once. In ``from_`` and ``to``
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

    def matches(self, leg: Leg) -> bool:
        """Return whether a leg meets the conditions, the time in its status left aside."""
        return leg.status in self.statuses and self.matches_apart_from_status(leg)

    def matches_apart_from_status(self, leg: Leg) -> bool:
        """Return whether a leg meets all conditions but that for its status."""
        return (
            (self.leg is None or (self.leg == CHILD_LEG) == (leg.parent_call_sid is not None))
            and (not self.was_answered or was_answered(leg))
            and (not self.answered_by or leg.answered_by in self.answered_by)
            and (not self.directions or leg.direction in self.directions)
            and (self.from_ is None or _pattern(self.from_).fullmatch(leg.from_) is not None)
            and (self.to is None or _pattern(self.to).fullmatch(leg.to) is not None)
        )

    @property
    def is_end(self) -> bool:
        """Whether it matches only legs that have ended."""
        return self.statuses <= FINAL_STATUSES


def was_answered(leg: Leg) -> bool:
    """Return whether a leg was ever in progress. ``completed`` says so too: it means connected.

    Source: docs/twilio.md, "Statuses".
    """
    return leg.answered_at is not None or leg.status in (CallStatus.IN_PROGRESS, CallStatus.COMPLETED)


def changed_meanwhile(sid: str, status: str) -> str:
    """Return the reason why another leg is left alone: the one that a rule looks at has gone on since."""
    return f"the leg that the rule looks at, {sid}, is {status} by now"


def another_answered(sid: str) -> str:
    """Return the reason why a parent is left alone: it talks to another leg than the one that a rule looks at."""
    return f"another leg of that parent, {sid}, was answered"


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    """Return the expression for a text in which ``*`` stands for any other.

    What stands between two ``*`` is looked for at its first place alone (an atomic group). To try the others too finds
    nothing more, and takes time by the power of the number of ``*``: a caller chooses the address to be matched.
    """
    first, *rest = (re.escape(part) for part in text.split("*"))
    between = "".join(f"(?>.*?{part})" for part in rest[:-1])
    last = f".*{rest[-1]}" if rest else ""
    return re.compile(f"{first}{between}{last}", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. ``settle`` is how long the leg's family must stay as it is before anything is done."""

    name: str
    when: When
    then: Operation
    on: On = On.THIS
    settle: timedelta = timedelta()

    @property
    def follows_dial(self) -> bool:
        """Whether it redirects a caller whose <Dial> is over: only if nothing else has, and no other leg is live."""
        return self.when.is_end and self.on is On.PARENT and isinstance(self.then, Redirect)

    @property
    def ends_calls(self) -> bool:
        """Whether it ends the legs that it changes, at once or by their time limit."""
        return not isinstance(self.then, Redirect)

    @property
    def is_before_answer(self) -> bool:
        """Whether it is for legs that ring, and not for those that were answered."""
        return bool(self.when.statuses & _RINGING) and CallStatus.IN_PROGRESS not in self.when.statuses

    @property
    def leaves_conversations_alone(self) -> bool:
        """Whether it changes a parent for a child that nobody talks to: never while another child is in progress.

        A rule that follows a <Dial> waits for the end of any other child instead.
        """
        return self.on is On.PARENT and not self.follows_dial and CallStatus.IN_PROGRESS not in self.when.statuses

    @property
    def target_statuses(self) -> frozenset[str]:
        """The statuses that the leg to be changed may have, in the words of callbacks and of REST."""
        if isinstance(self.then, Redirect):
            return frozenset({CallStatus.IN_PROGRESS.value})  # anything else is refused (21220)
        return self.matching_statuses if self.on is On.THIS else frozenset(LIVE_STATUSES)

    @property
    def matching_statuses(self) -> frozenset[str]:
        """The statuses that a matching leg may have, in the words of callbacks and of REST."""
        # REST has no ``initiated``: it shows such a leg as queued or ringing (docs/twilio.md, "Statuses"). One that was
        # queued is so no more.
        is_for_others = bool(self.when.statuses & _RINGING - {CallStatus.QUEUED.value})
        return self.when.statuses | _RINGING if is_for_others else self.when.statuses

    @property
    def leaves_ringing_alone(self) -> bool:
        """Whether a leg must have had a status before ringing for some time, so that one which rings is none of it."""
        return self.when.lasting is not None and CallStatus.RINGING not in self.when.statuses


def ring_limit_rule(after: timedelta, *, cancel: Cancel) -> Rule:
    """Return the rule that ends outbound legs that ring too long; inbound ones are left alone."""
    when = When(
        statuses=frozenset({CallStatus.INITIATED.value, CallStatus.RINGING.value}),
        lasting=after,
        directions=frozenset({Direction.OUTBOUND_API.value, Direction.OUTBOUND_DIAL.value}),
    )
    return Rule(name=RING_LIMIT, when=when, then=cancel)


def after_dial_rule(redirect: Redirect, *, settle: timedelta = DEFAULT_SETTLE) -> Rule:
    """Return the rule that redirects a caller when the leg that was dialled for it, and answered, ends."""
    when = When(statuses=frozenset({CallStatus.COMPLETED.value}), leg=CHILD_LEG, was_answered=True)
    return Rule(name=AFTER_DIAL, when=when, then=redirect, on=On.PARENT, settle=settle)


def max_duration_rules(longest: timedelta) -> tuple[Rule, Rule]:
    """Return the rule that has Twilio end long calls, and the one that hangs up those that Twilio did not end."""
    in_progress = frozenset({CallStatus.IN_PROGRESS.value})
    before = When(statuses=in_progress, lasting=max(longest - LIMIT_LEAD, timedelta()))
    after = When(statuses=in_progress, lasting=longest + LIMIT_GRACE)
    seconds = max(1, math.ceil(longest.total_seconds()))
    return (
        Rule(name=MAX_DURATION, when=before, then=Limit(seconds)),
        Rule(name=MAX_DURATION_HANGUP, when=after, then=Hangup()),
    )


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule and the leg that it proposes to change.

    ``call_sid`` is the leg to change, ``about`` the leg that the rule matched, ``family`` the SID of the family's
    parent leg. ``is_own``: a verified callback or request for TwiML named a leg of the family; else callctl must have
    placed it.
    """

    rule: Rule
    call_sid: str
    about: str
    family: str
    is_own: bool

    @property
    def operation(self) -> Operation:
        """The change that the rule makes."""
        return self.rule.then

    @property
    def key(self) -> tuple[str, str]:
        """The rule's name and the SID of the leg to change: such a pair is acted on once.

        To have declined it is no action: it was because of the leg ``about``, and another one may come.
        """
        return self.rule.name, self.call_sid


@dataclass(frozen=True, slots=True)
class Trigger:
    """The event by which a rule came to match: its Timestamp, and when that was seen, by the steady clock.

    Of what a poll found, the timestamp is the call's start. ``fresh`` is how long ago that may have been then.
    ``seems_old``: it was longer ago by this machine's clock, which may be ahead; only REST knows. ``is_news``: it is a
    callback that is fresh by this machine's clock, which callbacks show to be right, whatever REST's ``Date`` is.
    """

    timestamp: datetime
    observed_at: datetime
    fresh: timedelta = FRESH
    seems_old: bool = False
    is_news: bool = False


@dataclass(frozen=True, slots=True)
class LastRinging:
    """When callbacks last reported that a leg was not answered yet; each None where none did.

    ``timestamp`` is by Twilio's clock, ``received_at``, of a callback without a Timestamp, by the steady clock.
    """

    timestamp: datetime | None = None
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Action(Proposal):
    """A change that a rule proposes.

    ``needs_precheck``: the call is to be fetched first, since time has passed, or the store or a poll reported it.
    ``trigger`` is given where the rule is for the moment in which a leg comes to match. ``duration`` is for how many
    seconds the leg that the rule matched was connected, if it has ended and that was reported.

    Where the rule requires a time in a status, ``status`` is the matching leg's, ``status_timestamp`` the Timestamp of
    that, by Twilio's clock, and ``observed_since`` when this process first saw it, by its steady clock.
    ``last_ringing`` is when callbacks last had that leg ringing. ``clock_ahead`` is how far that clock is ahead of
    Twilio's, at most.

    ``ancestors`` are the legs above the one to be changed, its parent first. Before this one is ended, what rules
    propose for those has been done: the end of its child lets a parent go on, and dial the next number.

    ``turned_away_since`` is since when it could not be done for another reason than the call's, by the steady clock.
    """

    needs_precheck: bool
    trigger: Trigger | None = None
    duration: int | None = None
    status: str | None = None
    status_timestamp: datetime | None = None
    observed_since: datetime | None = None
    last_ringing: LastRinging = LastRinging()
    clock_ahead: timedelta = timedelta()
    ancestors: tuple[str, ...] = ()
    turned_away_since: datetime | None = None

    @property
    def must_be_soon(self) -> bool:
        """Whether it is for a moment, after which the caller is elsewhere; what ends the leg itself may be late."""
        return self.rule.when.lasting is None and (isinstance(self.operation, Redirect) or self.rule.when.is_end)

    @property
    def comes_after_ancestors(self) -> bool:
        """Whether it waits for the actions on the legs above."""
        return self.rule.ends_calls and bool(self.ancestors)

    @property
    def comes_before_descendants(self) -> bool:
        """Whether the legs below are ended only after it.

        The redirect of a caller whose Dial is over itself waits for the end of the other legs that he dialled.
        """
        return not self.rule.follows_dial


@dataclass(frozen=True, slots=True)
class Declined(Proposal):
    """A change that a rule would propose, and why it does not."""

    reason: str
