"""The form of an event: how it is told apart from every other one, and what kind of request it came with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from callctl.calls import Call, is_final
from callctl.notation import format_date

Form = tuple[tuple[str, str], ...]

as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def form_and_key(pairs: Iterable[tuple[str, str]], *, world: str) -> tuple[Form, str]:
    """Return a form as it is kept, and its key: the same for the same pairs in any order, in one world."""
    form = tuple(pairs)
    try:
        return form, _key(form, world)
    except UnicodeEncodeError:  # a lone surrogate, which JSON may hold and no database or terminal takes
        form = tuple((_encodable(name), _encodable(value)) for name, value in form)
        return form, _key(form, world)


def _key(form: Form, world: str) -> str:
    # The sorted form, because some senders number nothing or everything 0.
    text = "\0".join((world, *sorted(map("\0".join, form))))
    if text.count("\0") != 2 * len(form):  # a NUL within: as JSON, so that no two forms run together
        text = "\0" + as_json([world, sorted(form)])
    return hashlib.sha256(text.encode()).hexdigest()


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def is_twiml_request(fields: Mapping[str, str], status: str) -> bool:
    """Tell a request for TwiML from a status callback."""
    # Twilio marks progress events with CallbackSource, SequenceNumber and Timestamp, and requests for TwiML with none
    # of them, but always with ApiVersion and Direction (samples, sheet section 5). Compatible services leave out the
    # marks too, so what has neither is taken for a callback.
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
