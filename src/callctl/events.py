"""CallEvent: one thing that was told about a call, by a status callback, a TwiML request or a poll.

An event keeps the whole form as it came; every other field is read from it. A record therefore holds the form alone,
and an event read back from an old store gains whatever this module has learnt to read since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Final

from callctl.calls import Call, CallStatus, format_date, is_final, parse_date, parse_int

Form = tuple[tuple[str, str], ...]

CALLBACK: Final = "callback"
TWIML_REQUEST: Final = "twiml-request"
POLLED: Final = "polled"  # found by asking REST
MISSED: Final = "missed"  # an end that no callback told, found by asking REST

_EVENT_NAMES: dict[str, str] = {
    CallStatus.INITIATED: "initiated",
    CallStatus.RINGING: "ringing",
    CallStatus.IN_PROGRESS: "answered",
    CallStatus.COMPLETED: "completed",
    CallStatus.BUSY: "completed",
    CallStatus.NO_ANSWER: "completed",
    CallStatus.FAILED: "completed",
    CallStatus.CANCELED: "completed",
}
# SignalWire sends ``answered`` beside ``in-progress`` for one and the same step (sheet section 11).
_SAME_STATUS = {"answered": CallStatus.IN_PROGRESS.value}

# The steps of a call's life; an unknown status ranks below all, so that it shows only where nothing better is known.
_RANKS: dict[str, int] = {
    CallStatus.QUEUED: 1,
    CallStatus.INITIATED: 2,
    CallStatus.RINGING: 3,
    CallStatus.IN_PROGRESS: 4,
    CallStatus.CANCELED: 5,
    CallStatus.FAILED: 5,
    CallStatus.NO_ANSWER: 5,
    CallStatus.BUSY: 5,
    CallStatus.COMPLETED: 5,
}
# Which of two ends told for one call counts when neither number nor time decides: the later in this row.
_FINAL_WEIGHTS: dict[str, int] = {
    CallStatus.CANCELED: 1,
    CallStatus.FAILED: 2,
    CallStatus.NO_ANSWER: 3,
    CallStatus.BUSY: 4,
    CallStatus.COMPLETED: 5,
}
# Callbacks count before requests for TwiML, and those before polls.
_TOLD = {CALLBACK: 2, TWIML_REQUEST: 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class NotACallEventError(ValueError):
    """A request that tells no call's status: a conference's or a recording's callback, or something else."""


@dataclass(frozen=True, slots=True)
class CallEvent:
    """What was told about one leg at one moment.

    ``kind`` says who told it: ``callback``, ``twiml-request``, ``polled`` or ``missed``. ``event`` is Twilio's event
    name, or the status where there is no name for it. ``timestamp`` is when the event fired, ``received_at`` when it
    got here; both are aware and in UTC. ``duration`` is in seconds: ``CallDuration``, never ``Duration``, which is in
    minutes (sheet section 5). ``form`` is all that came, in its order.
    """

    key: str
    kind: str
    received_at: datetime
    call_sid: str
    parent_call_sid: str | None
    account_sid: str
    event: str
    status: str
    direction: str
    from_: str
    to: str
    sequence_number: int | None
    timestamp: datetime | None
    duration: int | None
    sip_response_code: str | None
    answered_by: str | None
    caller_name: str | None
    verified: bool
    form: Form
    # A text by which events of one call sort: the greatest tells the status. The store and the board both ask for it.
    order: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", self._order())

    @classmethod
    def from_form(
        cls,
        pairs: Iterable[tuple[str, str]],
        *,
        received_at: datetime,
        world: str,
        verified: bool,
    ) -> CallEvent:
        """Read the form of a status callback or of a TwiML request (sheet section 5).

        Args:
            pairs: Names and values as they came, blanks included. Of a repeated name the first value counts.
            received_at: When the request arrived.
            world: The account and API address it belongs to; part of the key.
            verified: Whether the request's signature was found right.

        Raises:
            NotACallEventError: There is no CallSid or no CallStatus.
        """
        form, key = _form_and_key(pairs, world=world)
        return _read_form(form, key=key, received_at=received_at, verified=verified)

    @classmethod
    def from_call(cls, call: Call, *, received_at: datetime, world: str, kind: str = POLLED) -> CallEvent:
        """Make an event of a call that REST listed or fetched: ``polled``, or ``missed`` for an end not told before.

        Polling the same facts again gives the same key, so a store holds them once.
        """
        form, key = _form_and_key(_facts(call), world=world)
        return _read_call(form, key=key, received_at=received_at, kind=kind)

    @classmethod
    def from_record(cls, record: str) -> CallEvent:
        """Read back what :meth:`to_record` gave.

        Raises:
            ValueError: It is no record of an event, or of a version to come.
        """
        key, kind, received_at, verified, form = _read_lines(record) if record.startswith("2\n") else _read_json(record)
        if kind in (POLLED, MISSED):
            return _read_call(form, key=key, received_at=received_at, kind=kind)
        return _read_form(form, key=key, received_at=received_at, verified=verified)

    def to_record(self) -> str:
        """Return what a store keeps: a line for each name and each value, or JSON where one of them has lines itself.

        ``received_at`` is in microseconds since 1970.
        """
        at = microseconds(self.received_at)
        lines = "\n".join(chain(("2", self.key, self.kind, str(at), str(int(self.verified))), *self.form))
        if lines.count("\n") == 4 + 2 * len(self.form) and "\0" not in lines:
            return lines
        told = {"v": 1, "key": self.key, "kind": self.kind, "received_at": at, "verified": self.verified}
        return _encode(told | {"form": self.form})

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``watch --json`` writes: times in RFC 3339, a repeated name's values as an array."""
        return {
            "v": 1,
            "type": "event",
            "source": self.kind,
            "verified": self.verified,
            "received_at": format_date(self.received_at),
            "timestamp": format_date(self.timestamp),
            "event": self.event,
            "call_sid": self.call_sid,
            "parent_call_sid": self.parent_call_sid,
            "account_sid": self.account_sid or None,
            "status": self.status,
            "direction": self.direction or None,
            "from": self.from_ or None,
            "to": self.to or None,
            "sequence_number": self.sequence_number,
            "duration": self.duration,
            "sip_response_code": self.sip_response_code,
            "answered_by": self.answered_by,
            "caller_name": self.caller_name,
            "form": _as_object(self.form),
        }

    @property
    def moment(self) -> datetime:
        """When it happened: the event's own time stamp, else when it was received."""
        return self.timestamp or self.received_at

    @property
    def is_final(self) -> bool:
        """Whether it tells the end of the leg."""
        return is_final(self.status)

    @property
    def rank(self) -> int:
        """How far along a call's life the status is; 0 for one that nobody knows."""
        return rank_of(self.status)

    def _order(self) -> str:
        """Return the text by which events of one call sort.

        Life-cycle rank first; then SequenceNumber, Timestamp, and the order of ends; callbacks before polls; the key
        at last, so that no two events are equal and the outcome never hangs on the order of arrival.
        """
        number = self.sequence_number
        number = 0 if number is None else min(max(number + 1, 0), 10**10 - 1)
        moment = 0 if self.timestamp is None else max(microseconds(self.timestamp), 0)
        rank, weight = _RANKS.get(self.status, 0), _FINAL_WEIGHTS.get(self.status, 0)
        return f"{rank}{number:010d}{moment:018d}{weight}{_TOLD.get(self.kind, 0)}{self.key[:16]}"


def microseconds(moment: datetime) -> int:
    """Return a time as whole microseconds since 1970, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_microseconds(value: int) -> datetime:
    """Return the time, in UTC, that :func:`microseconds` wrote."""
    return _EPOCH + timedelta(microseconds=value)


def _read_lines(record: str) -> tuple[str, str, datetime, bool, Form]:
    try:
        _, key, kind, at, verified, *flat = record.split("\n")
        form = tuple(zip(flat[::2], flat[1::2], strict=True))
        return key, kind, from_microseconds(int(at)), verified == "1", form
    except (ValueError, OverflowError) as error:
        raise ValueError("not the record of an event") from error


def _read_json(record: str) -> tuple[str, str, datetime, bool, Form]:
    try:
        told = json.loads(record)
        if told["v"] != 1:
            raise ValueError(f"an event record of version {told['v']!r}")
        form = tuple((str(name), str(value)) for name, value in told["form"])
        at = from_microseconds(int(told["received_at"]))
        return str(told["key"]), str(told["kind"]), at, bool(told["verified"]), form
    except (KeyError, TypeError, OverflowError, json.JSONDecodeError) as error:
        raise ValueError("not the record of an event") from error


def _form_and_key(pairs: Iterable[tuple[str, str]], *, world: str) -> tuple[Form, str]:
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
        text = "\0" + _encode([world, sorted(form)])
    return hashlib.sha256(text.encode()).hexdigest()


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _read_form(form: Form, *, key: str, received_at: datetime, verified: bool) -> CallEvent:
    fields = dict(reversed(form))
    sid, told = fields.get("CallSid", "").strip(), fields.get("CallStatus", "").strip()
    if not sid or not told:
        raise NotACallEventError(f"no {'CallStatus' if sid else 'CallSid'} in the request")
    status = _SAME_STATUS.get(told, told)
    parent = fields.get("ParentCallSid", "").strip()
    is_request = _is_twiml_request(fields, status)
    return CallEvent(
        key=key,
        kind=TWIML_REQUEST if is_request else CALLBACK,
        received_at=received_at,
        call_sid=sid,
        parent_call_sid=parent if parent and parent != sid else None,
        account_sid=fields.get("AccountSid", ""),
        event=TWIML_REQUEST if is_request else event_name(status),
        status=status,
        direction=fields.get("Direction", ""),
        from_=fields.get("From") or fields.get("Caller", ""),
        to=fields.get("To") or fields.get("Called", ""),
        sequence_number=parse_int(fields.get("SequenceNumber")),
        timestamp=_moment(fields.get("Timestamp")),
        duration=parse_int(fields.get("CallDuration")),
        sip_response_code=fields.get("SipResponseCode") or None,
        answered_by=fields.get("AnsweredBy") or None,
        caller_name=fields.get("CallerName") or None,
        verified=verified,
        form=form,
    )


def _is_twiml_request(fields: Mapping[str, str], status: str) -> bool:
    # Twilio marks progress events with CallbackSource, SequenceNumber and Timestamp, and requests for TwiML with none
    # of them, but always with ApiVersion and Direction (samples, sheet section 5). Compatible services leave out the
    # marks too, so what has neither is taken for a callback.
    if any(name in fields for name in ("CallbackSource", "SequenceNumber", "Timestamp", "CallDuration")):
        return False
    if "ApiVersion" not in fields or "Direction" not in fields:
        return False
    return not is_final(status) or "DialCallStatus" in fields


def rank_of(status: str) -> int:
    """Return how far along a call's life a status is; 0 for one that nobody knows."""
    return _RANKS.get(status, 0)


def event_name(status: str) -> str:
    """Return Twilio's event name for a status (sheet section 4); the status itself where there is none."""
    return _EVENT_NAMES.get(status, status)


def _moment(text: str | None) -> datetime | None:
    """Read a Timestamp: Twilio's form, and the three other ones in the samples."""
    if not text:
        return None
    value = text.strip().removesuffix(" UTC")
    if value.isascii() and value.isdecimal() and len(value) <= 13:
        seconds = int(value) / (1000 if len(value) > 11 else 1)
        return _EPOCH + timedelta(seconds=seconds)
    return parse_date(value)


def _facts(call: Call) -> list[tuple[str, str]]:
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


def _read_call(form: Form, *, key: str, received_at: datetime, kind: str) -> CallEvent:
    call = Call.from_resource(dict(form))
    began = call.start_time or call.date_created
    parent = call.parent_call_sid
    return CallEvent(
        key=key,
        kind=kind,
        received_at=received_at,
        call_sid=call.sid,
        parent_call_sid=parent if parent != call.sid else None,
        account_sid=call.account_sid,
        event=event_name(call.status),
        status=call.status,
        direction=call.direction,
        from_=call.from_,
        to=call.to,
        sequence_number=None,
        timestamp=(call.end_time or began) if call.is_final else began,
        duration=call.duration,
        sip_response_code=None,
        answered_by=call.answered_by,
        caller_name=call.caller_name,
        verified=True,  # it came from the API itself
        form=form,
    )


def _as_object(form: Form) -> dict[str, str | list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in form:
        values.setdefault(name, []).append(value)
    return {name: several[0] if len(several) == 1 else several for name, several in values.items()}
