"""What Twilio's requests tell about a leg: those for TwiML and those to its status callback.

Source: docs/twilio.md, "Callback parameters".
"""

import math
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

from callctl.simulator.models import API_VERSION, INBOUND, Leg

STATUS_OF_EVENT: Mapping[str, str] = {
    "initiated": "initiated",  # only here, never in REST (CALL-b)
    "ringing": "ringing",
    "answered": "in-progress",
}


def rfc2822(moment: datetime) -> str:
    """Write a time as Twilio does: `Fri, 18 Oct 2019 17:00:00 +0000` (OAS)."""
    return format_datetime(moment)


def of_leg(leg: Leg, account_sid: str) -> dict[str, str]:
    """Return what every request about a leg carries, the empty places of a number included (captures)."""
    form = {
        "ApiVersion": API_VERSION,
        "AccountSid": account_sid,
        "CallSid": leg.sid,
        "From": leg.from_,
        "Caller": leg.from_,
        "To": leg.to,
        "Called": leg.to,
        "CallStatus": leg.status,
        "Direction": leg.direction,
    }
    if leg.parent is not None:
        form["ParentCallSid"] = leg.parent.sid
    form |= _places(("Caller", "From"), leg.from_) | _places(("Called", "To"), leg.to)
    if leg.facts.answered_by:
        form["AnsweredBy"] = leg.facts.answered_by
    return form


def of_event(leg: Leg, account_sid: str, event: str, *, sequence: int, at: datetime, sip: int) -> dict[str, str]:
    """Return the parameters of a status callback; the last event tells duration and SIP code too."""
    form = of_leg(leg, account_sid)
    form |= {
        "CallStatus": STATUS_OF_EVENT.get(event, leg.status),
        "Timestamp": rfc2822(at),
        "CallbackSource": "call-progress-events",
        "SequenceNumber": str(sequence),
    }
    if event == "completed":
        seconds = leg.facts.duration or 0
        form["CallDuration"] = str(seconds)
        form["Duration"] = str(math.ceil(seconds / 60))  # minutes, rounded up (CALL-a)
        if leg.direction != INBOUND:  # absent there (a capture)
            form["SipResponseCode"] = str(sip)
    return form


def _places(names: tuple[str, str], number: str) -> dict[str, str]:
    if not number.startswith("+"):
        return {}
    country = "US" if number.startswith("+1") else ""
    return {
        name + part: country if part == "Country" else ""
        for name in names
        for part in ("City", "State", "Zip", "Country")
    }
