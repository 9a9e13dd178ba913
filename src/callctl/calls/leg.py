"""Leg: one leg of a call as the board has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from callctl.calls.call import CallStatus, is_final
from callctl.calls.participation import Participation
from callctl.support.dates import format_date


@dataclass(slots=True)
class Leg:
    """One leg as we now believe it to be. Never changed, but replaced by another one: not frozen, as an event is not.

    ``*_at`` are the times of its steps, from the events' Timestamp or else from their arrival; None for a step that no
    event reported. ``first_received_at`` is when the first of its events arrived. ``source`` is the kind of the event
    that the status is from. ``duration`` is in seconds, as Twilio reports it. ``conference`` is the one that a live leg
    is in, and ``is_recorded`` whether it is being recorded, as far as callbacks of conferences and recordings say.
    """

    call_sid: str
    parent_call_sid: str | None
    status: str
    direction: str
    from_: str
    to: str
    first_at: datetime
    first_received_at: datetime
    last_event_at: datetime
    initiated_at: datetime | None
    ringing_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    duration: int | None
    sip_response_code: str | None
    answered_by: str | None
    caller_name: str | None
    source: str
    verified: bool
    conference: Participation | None = None
    is_recorded: bool = False

    @property
    def is_live(self) -> bool:
        """Whether the leg still exists; an unknown status counts as live, for no event reported its end."""
        return not is_final(self.status)

    @property
    def is_final(self) -> bool:
        """Whether the leg has ended."""
        return is_final(self.status)

    @property
    def status_since(self) -> datetime:
        """Since when the leg has its status."""
        steps = {
            CallStatus.RINGING.value: self.ringing_at,
            CallStatus.IN_PROGRESS.value: self.answered_at,
        }
        step = self.ended_at if self.is_final else steps.get(self.status, self.initiated_at)
        return step or self.first_at

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``watch --json`` writes for a leg that is live at the start."""
        return {
            "v": 1,
            "type": "snapshot",
            "source": self.source,
            "verified": self.verified,
            "call_sid": self.call_sid,
            "parent_call_sid": self.parent_call_sid,
            "status": self.status,
            "status_since": format_date(self.status_since),
            "direction": self.direction or None,
            "from": self.from_ or None,
            "to": self.to or None,
            "initiated_at": format_date(self.initiated_at),
            "ringing_at": format_date(self.ringing_at),
            "answered_at": format_date(self.answered_at),
            "answered_by": self.answered_by,
            "caller_name": self.caller_name,
            "conference": None if self.conference is None else self.conference.to_json(),
            "recording": self.is_recorded,
        }
