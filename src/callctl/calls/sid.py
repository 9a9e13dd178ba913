"""SIDs: the kinds of resource that Twilio's name, and the forms of a call's SID at Twilio and compatible services."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# By the two letters that Twilio's SIDs begin with.
KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AC": "an account",
        "AP": "an application",
        "CA": "a call",
        "CF": "a conference",
        "MG": "a messaging service",
        "MM": "a message with media",
        "NO": "a notification",
        "OR": "an organization",
        "PN": "a phone number",
        "QU": "a queue",
        "RE": "a recording",
        "SK": "an API key",
        "SM": "a message",
        "TK": "a trunk",
        "US": "a user",
        "VA": "a Verify service",
    }
)
LENGTH: Final = 34  # characters of a SID of Twilio's (OAS)
LEAST_START: Final = 8  # characters of a SID that a command accepts for the whole
SHOWN_START: Final = 10  # and that are shown where the whole has no room

_HEX_DIGITS = "[0-9a-fA-F]{32}"
TWILIO_CALL_SID: Final = f"CA{_HEX_DIGITS}"
_TWILIO_SID = f"[A-Z]{{2}}{_HEX_DIGITS}"
# Compatible services use UUIDs and longer forms (docs/twilio.md, "Compatible services").
_OTHER_CALL_SID = r"[A-Za-z0-9][A-Za-z0-9:_.-]{15,95}"
# The SID of a call or a conference as callbacks hold it: Twilio's, or a UUID of compatible services.
UUID: Final = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
CALLBACK_SID: Final = f"C[AF][0-9a-f]{{32}}|{UUID}"


def is_twilio_sid(text: str) -> bool:
    """Return whether a text has the form of Twilio's SIDs, of whatever kind."""
    return re.fullmatch(_TWILIO_SID, text) is not None


def kind_of_sid(text: str) -> str | None:
    """Return which kind of Twilio's resources a whole SID names (``a call``); None if it is none that is known."""
    return KINDS.get(text[:2]) if is_twilio_sid(text) else None


def is_call_sid(text: str) -> bool:
    """Return whether a text could be a whole call SID, of Twilio or of a compatible service."""
    if text.startswith("CA"):
        return re.fullmatch(TWILIO_CALL_SID, text) is not None
    return re.fullmatch(_OTHER_CALL_SID, text) is not None and any(char.isdigit() for char in text)
