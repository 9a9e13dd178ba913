"""What is wrong with a text that stands where the SID of a call belongs.

Services that speak Twilio's API have SIDs of other forms, so that little can be ruled out. Twilio's own can: a SID of
its other resources, or one in the wrong letters, would be sent, and the API could only answer that it finds nothing.
"""

from __future__ import annotations

import re
import shlex

from callctl.calls.call import is_endpoint, number_meant
from callctl.calls.sid import LEAST_START, LENGTH, is_call_sid, kind_of_sid
from callctl.cli.options.common import EMPTY
from callctl.errors import UsageError

_HEX = frozenset("0123456789abcdefABCDEF")


def check_sid(text: str) -> str:
    """Return a call SID if it can be one.

    Raises:
        UsageError: No service has SIDs of this form.
    """
    if is_call_sid(text) and why_no_call(text) is None:
        return text
    raise no_sid(text, wanted="give the whole SID: CA and 32 hexadecimal digits")


def no_sid(text: str, *, wanted: str) -> UsageError:
    """Return the error for a text that is no SID of a call, with the reason if that can be told."""
    reason = why_no_call(text)
    return UsageError(
        f"not a call SID: {text or EMPTY}{f' ({reason})' if reason else ''}", hint=what_was_meant(text) or wanted
    )


def why_no_call(text: str) -> str | None:
    """Say what of a text keeps it from being the SID of a call or a start of one, as far as that can be told."""
    kind = kind_of_sid(text)
    if kind is not None and text[:2] != "CA":
        return f"it is the SID of {kind}"
    if text[:2] != "CA" and text[:2].upper() == "CA" and set(text[2:]) <= _HEX and len(text) == LENGTH:
        return "it begins with CA in capitals, and here it does not"
    if len(text) == LENGTH - 2 and set(text) <= _HEX:
        return f"it lacks the CA before its 32 digits: CA{text}"
    if number_meant(text) is not None:
        return "it is a phone number"
    if any(char.isspace() for char in text):
        return "it has a blank in it"
    if text.startswith("CA"):
        return _why_not_twilios(text)
    return None


def _why_not_twilios(text: str) -> str | None:
    stray = next(((place, char) for place, char in enumerate(text[2:], 3) if char not in _HEX), None)
    if stray is not None:
        return f"its character {stray[0]}, {stray[1]!r}, is no hexadecimal digit"
    if text[2:] != text[2:].lower():
        return f"its letters are small in Twilio's: {text[:2]}{text[2:].lower()}"
    if len(text) > LENGTH:
        return f"it has {len(text)} characters, a call SID has {LENGTH}"
    return f"it has {len(text)} characters, a start of one at least {LEAST_START}" if len(text) < LEAST_START else None


def what_was_meant(text: str) -> str | None:
    """Return what would help who gave this; None if that is to be said in general."""
    if re.fullmatch(r"CA[xX]+|CA…", text):
        return "put a SID in its place: `callctl list` shows them, and @last is the call that was placed last"
    party = number_meant(text) or (text if is_endpoint(text) else None)
    if party is not None:
        return f"`callctl list --live --to {shlex.quote(party)}` shows the SIDs of the live calls to it"
    if re.fullmatch(r"[0-9.]+[a-z]+", text):
        return f"how long to wait is said by --wait-timeout {text}"
    return None
