"""The rules that the flags of ``watch`` stand for."""

from __future__ import annotations

import math
from datetime import timedelta

from callctl.calls.call import CallStatus, Direction
from callctl.rules.rule import CHILD_LEG, Cancel, Hangup, Limit, On, Redirect, Rule, When

RING_LIMIT = "hangup-ringing-after"
AFTER_DIAL = "after-dial"
MAX_DURATION = "max-duration"
MAX_DURATION_HANGUP = "max-duration-hangup"
NAMES = (RING_LIMIT, AFTER_DIAL, MAX_DURATION, MAX_DURATION_HANGUP)

# A second Dial begins within a moment of the first one's end, and its child's first callback takes another.
SETTLE = timedelta(seconds=1)
# TimeLimit is set so late because set sooner it could lengthen a shorter one that the call was placed with.
LIMIT_LEAD = timedelta(seconds=30)
# What Twilio's own limit gets to show its effect before the call is hung up instead.
LIMIT_GRACE = timedelta(seconds=4)


def ring_limit(after: timedelta, *, cancel: Cancel) -> Rule:
    """Return the rule that ends legs that ring too long: those that call somebody, never those that call in."""
    when = When(
        statuses=frozenset({CallStatus.INITIATED.value, CallStatus.RINGING.value}),
        lasting=after,
        directions=frozenset({Direction.OUTBOUND_API.value, Direction.OUTBOUND_DIAL.value}),
    )
    return Rule(name=RING_LIMIT, when=when, then=cancel)


def after_dial(redirect: Redirect, *, settle: timedelta = SETTLE) -> Rule:
    """Return the rule that redirects a caller when the leg that was dialled for it, and answered, ends."""
    when = When(statuses=frozenset({CallStatus.COMPLETED.value}), leg=CHILD_LEG, was_answered=True)
    return Rule(name=AFTER_DIAL, when=when, then=redirect, on=On.PARENT, settle=settle)


def max_duration(longest: timedelta) -> tuple[Rule, Rule]:
    """Return the rule that has Twilio end long calls, and the one that hangs up those that Twilio did not end."""
    in_progress = frozenset({CallStatus.IN_PROGRESS.value})
    soon = When(statuses=in_progress, lasting=max(longest - LIMIT_LEAD, timedelta()))
    late = When(statuses=in_progress, lasting=longest + LIMIT_GRACE)
    seconds = max(1, math.ceil(longest.total_seconds()))
    return (
        Rule(name=MAX_DURATION, when=soon, then=Limit(seconds)),
        Rule(name=MAX_DURATION_HANGUP, when=late, then=Hangup()),
    )
