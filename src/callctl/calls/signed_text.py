"""What a signature covers, read back: can it be cut into the fields of a callback in one way only?

Twilio signs names and values run together, behind the query of the URL (docs/twilio.md, "Signatures"). Where one ends
and the next begins is not signed, and callers choose some values: a name for themselves, a SIP address. So one signed
text may be cut into several forms. An event counts only where the call or conference that it is about, its parent and
its status can be nowhere else in the text.

Twilio sends other forms than those of calls, some with no CallSid at all: in a conference's, the only one may stand in
the name that somebody gave to the room. So it is not enough that a CallSid is there once. What stands before it must be
the beginning of a call's form, which Twilio's order of names shows: AccountSid comes first in all its forms, and what
follows on its value sorts before CallSid in a call's only.

A GET has its fields in the query, where Twilio escapes ``&`` and ``=``; what callers choose looks like no field there.
In the form of a POST nothing is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from urllib.parse import parse_qsl

from callctl.calls.call import CallStatus
from callctl.calls.sid import CALLBACK_SID, UUID

_SID = re.compile(CALLBACK_SID)
# Other names hold this one: ParentCallSid, DialCallSid, CallSidToCoach. In a query a "=" follows.
_CALL_SID = "CallSid(?![=&%]|CallStatus|EndingConference|ToCoach|Legacy)"
# One of these with a name behind it that sorts before them is none of them: a text before it ended so.
_CALL = re.compile(f"(?:(?<!Parent)(?<!Dial)(?<!Dequeing)|(?=CallSid(?:{CALLBACK_SID})Call)){_CALL_SID}")
_IN_FORM = re.compile("CallSid(?!=)")
_NOT_IN_QUERY = re.compile("CallSid(?![=&%]|(?:EndingConference|ToCoach|Legacy)=)")
_CONFERENCE = re.compile("ConferenceSid(?!=)")
_CALL_IN_QUERY = re.compile("[?&]CallSid=")
_NAMED_IN_QUERY = re.compile("[?&](?:CallSid|ConferenceSid)=")
_EVENT_IN_QUERY = re.compile("[?&](?:CallStatus|AnsweredBy|RecordingSid|StatusCallbackEvent)=")
_ACCOUNT_SID = f"(?:AC[0-9a-f]{{32}}|{UUID})"
_ACCOUNT = re.compile(f"AccountSid{_ACCOUNT_SID}")
_ACCOUNT_IN_QUERY = re.compile(f"[?&]AccountSid={_ACCOUNT_SID}")
# What comes before the CallSid in a form of Twilio's; no caller chooses anything of it.
_BEFORE_CALL = re.compile(
    rf"\??AccountSid(?:AC[0-9A-Za-z]{{32}}|{UUID})"
    "(?:AnsweredBy(?:human|fax|unknown|machine_(?:start|end_(?:beep|silence|other))))?"
    r"(?:ApiVersion\d{4}-\d\d-\d\d)?(?:CallDuration\d+)?" + _CALL_SID
)
# And before the ConferenceSid in a conference's, where no CallSid follows any more.
_BEFORE_CONFERENCE = re.compile(rf"\??{_ACCOUNT.pattern}(?:CallSidEndingConference(?:{CALLBACK_SID}))?ConferenceSid")
# Forms with what somebody wrote in a field that sorts before CallSid.
_OF_MESSAGE = re.compile("(?:Message|Sms|Conversation)Sid=?[A-Z]{2}[0-9a-f]{32}")
_STATUSES = (*CallStatus, "answered")  # SignalWire's word (docs/twilio.md, "Compatible services")
_STATUS = re.compile("|".join(sorted(_STATUSES, key=len, reverse=True)))
_USUAL = re.compile(f"{_BEFORE_CALL.pattern}({CALLBACK_SID})CallStatus({_STATUS.pattern})")
_NO_SID = re.compile("CallStatus|[&=%]")
_NEXT_NAME = re.compile("[A-Z][a-z]|$")
_NO_CHILD = ("inbound", "outbound-api", "trunking")  # directions of legs that have no parent
_MOST_SIDS = 4  # of a form, and of a query string, for which REST is queried
_GUARDED = ("CallSid", "CallStatus", "ParentCallSid", "ConferenceSid")

Fields = Mapping[str, str]


def is_ambiguous(fields: Fields, signed: str) -> bool:
    """Return whether the call, parent, status or conference of a callback may be others than Twilio signed.

    ``signed`` is what the signature covers after the path, of which the fields are one reading.
    """
    whole = _USUAL.match(signed)
    if whole is not None and whole[1] == fields.get("CallSid") and whole[2] == fields.get("CallStatus"):
        return _has_other_parent(fields, signed[whole.end() :])  # nearly all callbacks, in a fraction of the time
    usual = _BEFORE_CALL.match(signed)
    if usual is None and _is_query(signed):
        may_be_form = _NOT_IN_QUERY.search(signed) or _ACCOUNT.search(signed)
        return may_be_form is not None or _differ_from_query(fields, signed)
    start = _start_of_sid(fields, signed) if usual is None else usual.end()
    if start is None:
        return True
    sid, text = fields.get("CallSid", "") or ("" if usual else fields.get("ConferenceSid", "")), signed[start:]
    if not sid or not text.startswith(sid) or _is_cut(sid, text):
        return True
    text = text[len(sid) :]
    if fields.get("CallSid") and (
        _has_other_status(fields.get("CallStatus"), text) or _has_other_conference(fields, text)
    ):
        return True
    if not fields.get("CallStatus"):  # a conference's, a recording's or a detection's, which name no parent
        return bool(fields.get("ParentCallSid"))
    return _has_other_parent(fields, text)


def sender_in(fields: Fields, signed: str) -> str | None:
    """Return the SID of the call that sent a callback for certain, though other things are unclear; None if none did.

    The reading that came must name it too: a client chooses the names of its parameters, which may sort before Twilio's
    own and look like the beginning of another form.
    """
    sid = _only_call(signed)
    return sid if sid == fields.get("CallSid") else None


def _only_call(signed: str) -> str | None:
    accounts = [account.start() for account in _ACCOUNT.finditer(signed)]
    if not accounts:  # Twilio's forms have one
        sids = [value for name, value in parse_qsl(signed[1:]) if name == "CallSid"] if _may_be_get(signed) else []
        return sids[0] if len(sids) == 1 and _SID.fullmatch(sids[0]) else None
    if accounts[0] > 0 and (signed[0] != "?" or len(accounts) > 1 or _may_be_get(signed)):
        return None
    before = _BEFORE_CALL.match(signed, accounts[0])
    sid = before and _SID.match(signed, before.end())
    return sid[0] if sid and not signed.startswith("CallSid", sid.end()) else None


def sids_in(signed: str) -> list[str]:
    """Return the SIDs of the calls that a signed text may be about, each once, those of Twilio's form and UUIDs.

    Of many that a caller put there the right one is among the first: in a form what Twilio sends comes before that, and
    a query has no others.
    """
    if _BEFORE_CONFERENCE.match(signed):
        return []
    sids_found: list[str] = []
    for name in (_CALL, _CALL_IN_QUERY):
        sids = (_SID.match(signed, match.end()) for match in name.finditer(signed))
        sids_found += islice((match[0] for match in sids if match), _MOST_SIDS)
    return list(dict.fromkeys(sids_found))


def _is_query(signed: str) -> bool:
    return (
        signed.startswith("?")
        and " " not in signed
        and _NAMED_IN_QUERY.search(signed) is not None
        and _EVENT_IN_QUERY.search(signed) is not None
    )


def _differ_from_query(fields: Fields, signed: str) -> bool:
    # Of a repeated name the last value counts, as in the fields: what Twilio appends follows what the URL had.
    in_query = dict(parse_qsl(signed[1:], keep_blank_values=True))
    return any(fields.get(name, "") != in_query.get(name, "") for name in _GUARDED)


def _start_of_sid(fields: Fields, signed: str) -> int | None:
    """Return where the SID of the call stands, or of the conference without one; None if that is not clear."""
    calls = list(_CALL.finditer(signed))
    if fields.get("CallSid"):
        first = _IN_FORM.search(signed)  # the names that hold this one come after it
        if len(calls) != 1 or first is None or first.start() != calls[0].start():
            return None
        return None if _may_be_chosen("CallSid", first.start(), signed) else calls[0].end()
    if conference := _BEFORE_CONFERENCE.match(signed):
        return conference.end()
    conferences = list(_CONFERENCE.finditer(signed))
    if len(conferences) != 1 or calls or _may_be_chosen("ConferenceSid", conferences[0].start(), signed):
        return None
    return conferences[0].end()


def _may_be_chosen(name: str, start: int, signed: str) -> bool:
    """Return whether a form without this name may have been signed, and what reads like it at ``start`` be a value."""
    before = signed[:start]
    if _CONFERENCE.search(before) or _OF_MESSAGE.search(signed) or _may_be_get(signed):
        return True
    account = _ACCOUNT.search(before)
    return account is not None and before[account.end() :] > name  # then the next name sorts behind this one


def _may_be_get(signed: str) -> bool:
    return _ACCOUNT_IN_QUERY.search(signed) is not None


def _is_cut(sid: str, text: str) -> bool:
    """Return whether a SID with which a text begins may be longer or shorter than the one that was signed."""
    whole = _SID.match(text)
    return sid != whole[0] if whole else _NO_SID.search(sid) is not None


def _has_other_status(status: str | None, text: str) -> bool:
    """Return whether a text does not go on with this CallStatus, or with another one that is known."""
    if text.startswith("CallSidLegacy"):  # Telnyx's
        text = text[text.find("CallStatus") :]
    if not (status or "").strip():
        return text.startswith("CallStatus") and (status is None or _STATUS.match(text, len("CallStatus")) is not None)
    if not text.startswith(f"CallStatus{status}"):
        return True
    known = _STATUS.match(text, len("CallStatus"))
    return known is not None and known[0] != (status or "").strip()


def _has_other_conference(fields: Fields, text: str) -> bool:
    """Return whether a conference that is named may be another: what comes before Twilio's own is no room's name."""
    sid = fields.get("ConferenceSid")
    if not sid:
        return False
    match = _CONFERENCE.search(text)
    named = "" if match is None else text[match.end() :]
    return not named.startswith(sid) or _is_cut(sid, named)


def _has_other_parent(fields: Fields, text: str) -> bool:
    """Return whether the parent may be another than was signed, or none, or one where none was signed."""
    parent = fields.get("ParentCallSid", "")
    if "ParentCallSid" not in text:
        return bool(parent)
    before, _, value = text.partition("ParentCallSid")
    if "ParentCallSid" in value or before.count("Direction") + value.count("Direction") > 1:
        return True
    direction = text.partition("Direction")[2]
    if direction.startswith(_NO_CHILD):
        return bool(parent)
    whole = _SID.match(value)
    if whole is not None:
        return parent != whole[0]
    if _NO_SID.search(parent) is not None:
        return True
    return not value.startswith(parent) or _NEXT_NAME.match(value, len(parent)) is None
