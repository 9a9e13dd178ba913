"""The form of an event: how it is told apart from every other one, and what kind of request it came with.

A callback's key is made of what its signature covers, so that nobody can make two events of one signed request: Twilio
signs the query and then the set of pairs, names and values run together, whatever their order and repetition
(docs/twilio.md, "Signatures").
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain

from callctl.calls.call import Call, is_final
from callctl.support.dates import format_date

Form = tuple[tuple[str, str], ...]

as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


# As a form is signed; in a query a "=" would follow the names. A SID is Twilio's, or a UUID of compatible services.
_SID = "(C[AF][0-9a-f]{32}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"
_SIGNED_SID = {name: re.compile(f"{name}{_SID}") for name in ("CallSid", "ConferenceSid")}
_LONGER_NAMES = ("Ending", "ToCoach")  # of a conference: CallSidEndingConference, CallSidToCoach
_SIGNED_CALL = re.compile("CallSid(?!=).*CallStatus(?!=)", re.DOTALL)


def kept(pairs: Iterable[tuple[str, str]]) -> Form:
    """Return a form as it is kept."""
    form = tuple(pairs)
    try:
        "".join(chain.from_iterable(form)).encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON may hold and no database or terminal takes
        return tuple((_encodable(name), _encodable(value)) for name, value in form)
    return form


def signed_form(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a form as Twilio signs it: by name, of each name all its values, each once, all run together."""
    return "".join(chain.from_iterable(sorted(set(pairs))))


def signed_key(signed: str, *, world: str) -> str:
    """Return the key of what a signature covers behind the path: query and form."""
    return hashlib.sha256(f"{world}\0{signed}".encode("utf-8", "surrogatepass")).hexdigest()


def is_cut_elsewhere(signed: str, sid: str, *, name: str = "CallSid") -> bool:
    """Tell whether the SID in a field is another one than Twilio signed under that name.

    What is signed does not say where a value ends, and a caller may choose a name for himself that reads like a CallSid
    and a CallStatus. Those that Twilio sent come before anything that a caller chooses.
    """
    if "=" in sid or "&" in sid:  # a query that was sent again as a form
        return True
    before, found, _ = signed.partition(f"{name}{sid}")
    if not found:  # a query, which can't be cut otherwise
        return False
    if sid.startswith(_LONGER_NAMES):
        return True
    first = _SIGNED_SID[name].search(signed)
    if first is not None and first.start() <= len(before):
        return first[1] != sid
    return "CallStatus" in sid or _SIGNED_CALL.search(before) is not None


def pairs_key(form: Form, *, world: str) -> str:
    """Return the key of a form's pairs: the same in any order, but not for pairs that are repeated.

    Polled events have it, which nobody signs, and all events of callctl 0.1.0.
    """
    text = "\0".join((world, *sorted(map("\0".join, form))))
    if text.count("\0") != 2 * len(form):  # a NUL within: as JSON, so that no two forms run together
        text = "\0" + as_json([world, sorted(form)])
    return hashlib.sha256(text.encode()).hexdigest()


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def is_twiml_request(fields: Mapping[str, str], status: str) -> bool:
    """Tell a request for TwiML from a status callback."""
    # Twilio marks progress events with CallbackSource, SequenceNumber and Timestamp, and requests for TwiML with none
    # of them, but always with ApiVersion and Direction (samples, docs/twilio.md, "Callback parameters"). Compatible
    # services leave out the marks too, so what has neither is taken for a callback.
    if any(name in fields for name in ("CallbackSource", "SequenceNumber", "Timestamp", "CallDuration")):
        return False
    if "ApiVersion" not in fields or "Direction" not in fields:
        return False
    return not is_final(status) or "DialCallStatus" in fields


def facts_of(call: Call) -> list[tuple[str, str]]:
    """Return what REST tells of a call and events show, as pairs."""
    facts = {
        "sid": call.sid,
        "parent_call_sid": call.parent_call_sid,
        "account_sid": call.account_sid,
        "status": call.status,
        "direction": call.direction,
        "from": call.from_,
        "to": call.to,
        "date_created": format_date(call.date_created),
        "start_time": format_date(call.start_time),
        "end_time": format_date(call.end_time),
        "duration": None if call.duration is None else str(call.duration),
        "answered_by": call.answered_by,
        "caller_name": call.caller_name,
    }
    return [(name, value) for name, value in facts.items() if value]


def as_object(form: Form) -> dict[str, str | list[str]]:
    """Return a form as a JSON object: the values of a repeated name are an array."""
    values: dict[str, list[str]] = {}
    for name, value in form:
        values.setdefault(name, []).append(value)
    return {name: several[0] if len(several) == 1 else several for name, several in values.items()}
