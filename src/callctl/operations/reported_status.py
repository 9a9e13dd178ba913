"""What status callbacks reported of a call: often more recent than what REST shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from callctl.calls.call import Call, CallStatus, rank_of

if TYPE_CHECKING:
    from callctl.calls.event import CallEvent
    from callctl.calls.leg import Leg


def reported_leg(events: Iterable[CallEvent], sid: str) -> Leg | None:
    """Return a leg as the stored events of its family report it; None if none is about it."""
    return reported_legs(events).get(sid)


def reported_legs(events: Iterable[CallEvent]) -> Mapping[str, Leg]:
    """Return the legs of a family as its stored events report them, by SID."""
    from callctl.calls.board import Board

    board = Board()
    for event in events:
        board.apply(event)
    return board.snapshot().legs


def with_reported_status(call: Call, leg: Leg | None) -> Call:
    """Return a call with the status that callbacks reported, where that is a later step than the one REST shows.

    REST is eventually consistent (docs/twilio.md, "Eventual consistency"), and no call goes back a step. What is not
    verified counts for nothing, nor does ``initiated``, which REST has no word for.
    """
    if leg is None or not leg.verified:
        return call
    call = replace(call, parent_call_sid=call.parent_call_sid or leg.parent_call_sid)
    if leg.status == CallStatus.INITIATED or rank_of(leg.status) <= rank_of(call.status):
        return call
    return replace(call, status=leg.status)


def seconds_before_end(leg: Leg, call: Call, *, now: datetime) -> tuple[str, float] | None:
    """Return what a call did until it was ended, and for how many seconds; None if that is not known for certain.

    Callbacks have Twilio's time stamps, as the call's own dates are: they count before the ``Date`` of the reply, which
    may be a proxy's own, and that before ``now``, by this machine's clock.

    Args:
        leg: What callbacks reported of it.
        call: How it ended, just now: ``completed`` if it was answered, ``canceled`` if it was not.
        now: The time.
    """
    if call.status == CallStatus.COMPLETED:
        was, since = CallStatus.IN_PROGRESS, leg.answered_at
    elif call.status == CallStatus.CANCELED and leg.answered_at is None:
        was, since = CallStatus.RINGING, leg.ringing_at
    else:
        return None
    if since is None:
        return None
    changed = call.end_time or call.date_updated
    if changed is None or changed < since:  # that of a service that does not change it
        changed = call.as_of or now
    return was, max(0.0, ((leg.ended_at or changed) - since).total_seconds())
