"""CallEvent: one report about a call: by a status callback, a TwiML request, a poll, or another callback.

An event keeps the whole form as it came, but for passwords in URLs; every other field is read from it. So a record
holds the form alone, and an event read back from an old store gains the fields that this module reads by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from callctl.calls.call import Call, CallStatus, is_final, rank_of
from callctl.calls.event_record import (
    Form,
    encodable_form,
    pairs_key,
    read_record,
    signed_form,
    signed_key,
    write_record,
)
from callctl.calls.other_callbacks import (
    CONFERENCE,
    FEATURES,
    RECORDING,
    event_of,
    feature_of,
    in_words,
    json_of,
    owner_of,
)
from callctl.calls.signed_text import is_ambiguous, sender_in, sids_in
from callctl.errors import without_url_passwords
from callctl.support.dates import format_date, microseconds, parse_timestamp
from callctl.support.parsing import parse_int

CALLBACK: Final = "callback"
TWIML_REQUEST: Final = "twiml-request"
POLLED: Final = "polled"  # REST reported it
MISSED: Final = "missed"  # an end that REST reported and no callback

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
# SignalWire sends ``answered`` beside ``in-progress`` for the same step (docs/twilio.md, "Compatible
# services").
_SAME_STATUS = {"answered": CallStatus.IN_PROGRESS.value}

# Which of two ends reported for one call counts when neither number nor time decides: the greater here.
FINAL_WEIGHTS: dict[str, int] = {
    CallStatus.CANCELED: 1,
    CallStatus.FAILED: 2,
    CallStatus.NO_ANSWER: 3,
    CallStatus.BUSY: 4,
    CallStatus.COMPLETED: 5,
}
# In the form of what REST reported of a call whose callback could be read in more than one way.
_SENT_CALLBACK = ("callback", "ambiguous")
# What of Twilio's own only status callbacks have.
_MARKS = frozenset(("SequenceNumber", "Timestamp", "CallDuration"))
# Callbacks count before requests for TwiML, and those before polls.
KIND_WEIGHTS = {CALLBACK: 2, TWIML_REQUEST: 1}


class NotACallEventError(ValueError):
    """A request that reports nothing about a call."""


class AmbiguousEventError(NotACallEventError):
    """What was signed can be read as reports about several calls; ``call_sids`` are those that it may be about.

    ``sender`` is the one that it is about for certain, None if that is not clear; then only its parent or status are
    not. ``key`` is the same for all its readings. ``asks_for_twiml`` is whether this one is a request for TwiML.
    """

    def __init__(self, key: str, call_sids: Sequence[str], *, sender: str | None, asks_for_twiml: bool) -> None:
        super().__init__("CallSid, CallStatus or ParentCallSid may be elsewhere in what was signed")
        self.key, self.call_sids, self.sender, self.asks_for_twiml = key, call_sids, sender, asks_for_twiml


@dataclass(slots=True)
class CallEvent:
    """What was reported about one leg at one moment.

    ``kind`` is its source: ``callback``, ``twiml-request``, ``polled`` or ``missed``; or its subject: ``amd``,
    ``recording`` or ``conference``, which have no ``status`` (calls/other_callbacks.py), and where they are about
    a conference alone, its SID for a ``call_sid``. ``event`` is Twilio's event name, or the status where there is none.
    ``timestamp`` is when the event fired, ``received_at`` when it arrived; both are aware and in UTC. ``duration`` is
    in seconds: ``CallDuration``, never ``Duration``, which is in minutes (docs/twilio.md, "Callback parameters").
    ``error_code`` and ``error_message`` are those of compatible services, for Twilio sends none. ``form`` is all that
    came, in its order. Nothing of it is changed once it is made: it is not frozen because making a frozen object of so
    many fields takes three times as long.
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
    error_code: str | None
    error_message: str | None
    answered_by: str | None
    caller_name: str | None
    verified: bool
    form: Form
    # A text by which events of one call sort: the greatest decides the status. The store and the board both use it.
    order: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.order = _order_of(self)

    @classmethod
    def from_form(
        cls,
        pairs: Iterable[tuple[str, str]],
        *,
        received_at: datetime,
        world: str,
        verified: bool,
        signed: str | None = None,
        covered: str | None = None,
    ) -> CallEvent:
        """Read the form of a status callback or of a TwiML request (docs/twilio.md, "Callback parameters").

        Args:
            pairs: Names and values as they came, blanks included. Of a repeated name the last value counts: what Twilio
                appends to the URL of a GET follows what the URL had.
            received_at: When the request arrived.
            world: The account and API address it belongs to; part of the key.
            verified: Whether the request's signature is valid.
            signed: What a signature of the request covers after the path, the query and form that the pairs were read
                from; the form alone if None.
            covered: What it covers from the path of the URL on, of which the key is made; ``signed`` if None.

        Raises:
            NotACallEventError: It is no call's status, machine detection, recording or conference.
            AmbiguousEventError: It is verified, and what was signed can also be read as a report about another call, or
                of another status.
        """
        is_ascii = signed is not None and signed.isascii()  # then so is what was read from it, or was escaped
        form = tuple(pairs) if is_ascii else encodable_form(pairs)
        text = signed_form(form) if signed is None else signed
        if "@" in text or "%" in text:  # ErrorUrl is the address of the document that failed, as it was given
            form = tuple((name, without_url_passwords(value)) for name, value in form)
        fields = dict(form)  # of a repeated name the last
        key = signed_key(text if covered is None else covered, world=world)
        event = _read_form(form, fields, key=key, received_at=received_at, verified=verified)
        if verified and (
            _hides_status(event, fields, text) or _may_be_of_conference(event, text) or is_ambiguous(fields, text)
        ):
            sender = sender_in(fields, text)
            sids = [sender] if sender else sids_in(text)
            raise AmbiguousEventError(key, sids, sender=sender, asks_for_twiml=event.kind == TWIML_REQUEST)
        return event

    @classmethod
    def from_call(
        cls, call: Call, *, received_at: datetime, world: str, kind: str = POLLED, sent_callback: bool = False
    ) -> CallEvent:
        """Make an event of a call from REST: ``polled``, or ``missed`` for an end that no callback reported.

        Polling the same facts again gives the same key, so a store holds them once. ``sent_callback``: the call sent a
        callback that was no event, since it could be read in more than one way.
        """
        form = encodable_form(_facts_of(call) + ([_SENT_CALLBACK] if sent_callback else []))
        return _read_call(form, key=pairs_key(form, world=world), received_at=received_at, kind=kind)

    @classmethod
    def from_record(cls, record: str) -> CallEvent:
        """Read back what :meth:`to_record` gave.

        Raises:
            ValueError: It is no record of an event, or of a version to come.
        """
        return cls.from_parts(*read_record(record))

    @staticmethod
    def from_parts(key: str, kind: str, received_at: datetime, verified: bool, form: Form) -> CallEvent:
        """Make an event of what a store keeps of it; all else is read from the form.

        Raises:
            ValueError: The form is none of an event.
        """
        if kind in (POLLED, MISSED):
            return _read_call(form, key=key, received_at=received_at, kind=kind)
        return _read_form(form, dict(form), key=key, received_at=received_at, verified=verified)

    def to_record(self) -> str:
        """Return what a store keeps."""
        return write_record(self.key, self.kind, self.received_at, self.verified, self.form)

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``watch --json`` writes: times in RFC 3339, a repeated name's values as an array."""
        if self.kind in FEATURES:
            return self._feature_json()
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
            "error_code": self.error_code,
            "error_message": self.error_message,
            "answered_by": self.answered_by,
            "caller_name": self.caller_name,
            "form": _as_object(self.form),
        }

    def _feature_json(self) -> dict[str, Any]:
        return {
            "v": 1,
            "type": self.kind,
            "verified": self.verified,
            "received_at": format_date(self.received_at),
            "timestamp": format_date(self.timestamp),
            "event": self.event,
            "call_sid": self.fields.get("CallSid") or None,
            "account_sid": self.account_sid or None,
            **json_of(self.kind, self.fields),
            "form": _as_object(self.form),
        }

    @property
    def fields(self) -> dict[str, str]:
        """The form, of a repeated name the last value."""
        return dict(self.form)

    @property
    def in_words(self) -> str:
        """What it reports, for people; empty for an event with a status."""
        return in_words(self.kind, self.fields) if self.kind in FEATURES else ""

    @property
    def conference_sid(self) -> str | None:
        """The conference that it is about, if it is."""
        return self.fields.get("ConferenceSid") or None if self.kind in (CONFERENCE, RECORDING) else None

    @property
    def shows_callback(self) -> bool:
        """Whether a verified callback reported the call, if only that it sent one."""
        return (self.kind == CALLBACK and self.verified) or (self.kind == POLLED and _SENT_CALLBACK in self.form)

    @property
    def moment(self) -> datetime:
        """When it happened: the event's own time stamp, else when it was received."""
        return self.timestamp or self.received_at

    @property
    def is_final(self) -> bool:
        """Whether it reports the end of the leg."""
        return is_final(self.status)

    @property
    def rank(self) -> int:
        """How far along a call's life the status is; 0 for an unknown one."""
        return rank_of(self.status)


def _read_form(form: Form, fields: Mapping[str, str], *, key: str, received_at: datetime, verified: bool) -> CallEvent:
    sid, sent_status = fields.get("CallSid", "").strip(), fields.get("CallStatus", "").strip()
    feature = feature_of(fields)
    if feature is not None:
        sid, sent_status = owner_of(fields), ""
    if not sid or not (sent_status or feature):
        raise NotACallEventError(f"no {'CallStatus' if sid else 'CallSid'} in the request")
    status = _SAME_STATUS.get(sent_status, sent_status)
    parent = fields.get("ParentCallSid", "").strip()
    kind = feature or (TWIML_REQUEST if _is_twiml_request(fields, status) else CALLBACK)
    marks = {} if kind == TWIML_REQUEST else fields  # in a request for TwiML these are the client's own, if any
    # In the order of the fields above: by their names it would take nearly twice as long to make one.
    return CallEvent(
        key,
        kind,
        received_at,
        sid,
        parent if parent and parent != sid else None,
        fields.get("AccountSid", ""),
        event_of(feature, fields) if feature else TWIML_REQUEST if kind == TWIML_REQUEST else event_name(status),
        status,
        fields.get("Direction", ""),
        fields.get("From") or fields.get("Caller", ""),
        fields.get("To") or fields.get("Called", ""),
        parse_int(marks.get("SequenceNumber")),
        parse_timestamp(marks.get("Timestamp")),
        parse_int(marks.get("CallDuration")),
        # SignalWire calls it otherwise.
        fields.get("SipResponseCode") or fields.get("SipResultCode") or None,
        fields.get("ErrorCode") or None,
        fields.get("ErrorMessage") or None,
        fields.get("AnsweredBy") or None,
        fields.get("CallerName") or None,
        verified,
        form,
    )


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
        error_code=None,
        error_message=None,
        answered_by=call.answered_by,
        caller_name=call.caller_name,
        verified=True,  # it came from the API itself
        form=form,
    )


def _is_twiml_request(fields: Mapping[str, str], status: str) -> bool:
    """Return whether it is a request for TwiML, and no status callback."""
    # Twilio marks progress events with CallbackSource, and requests for TwiML with none, but always with ApiVersion and
    # Direction (samples, docs/twilio.md, "Callback parameters"). Compatible services leave out the mark too, so what
    # has none of these is taken for a callback. A Voice SDK client may send the other marks, as parameters of its own.
    if "CallbackSource" in fields or "ApiVersion" not in fields or "Direction" not in fields:
        return False
    return not is_final(status) or ("DialCallStatus" in fields and _MARKS.isdisjoint(fields))


def _hides_status(event: CallEvent, fields: Mapping[str, str], text: str) -> bool:
    """Return whether what is read as something else may have been signed as a status callback."""
    # Transcriptions and requests for TwiML have a CallStatus too, but not what status callbacks have beside it.
    return event.kind != CALLBACK and "CallStatus" in fields and "CallbackSource" in text


def _may_be_of_conference(event: CallEvent, text: str) -> bool:
    """Return whether what is read as a recording may have been signed as a conference's callback, by a room's name."""
    return event.kind == RECORDING and "StatusCallbackEvent" in text


def _facts_of(call: Call) -> list[tuple[str, str]]:
    """Return the fields of a REST call that events show, as pairs."""
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


def _as_object(form: Form) -> dict[str, str | list[str]]:
    """Return a form as a JSON object: the values of a repeated name are an array."""
    values: dict[str, list[str]] = {}
    for name, value in form:
        values.setdefault(name, []).append(value)
    return {name: several[0] if len(several) == 1 else several for name, several in values.items()}


def event_name(status: str) -> str:
    """Return Twilio's event name for a status (docs/twilio.md, "Statuses"); the status itself where there is none."""
    return _EVENT_NAMES.get(status, status)


def _order_of(event: CallEvent) -> str:
    """Return the text by which events of one call sort; the greatest decides the status.

    Life-cycle rank first; then SequenceNumber, Timestamp, and the order of ends; callbacks before polls; the key at
    last, so that no two events are equal and the outcome never depends on the order of arrival. Events without a status
    sort below all others.
    """
    return _order_but_for_key(event.status, event.sequence_number, event.timestamp, event.kind) + event.key[:16]


# Timestamps have whole seconds, and many calls may be under way in each.
@lru_cache(maxsize=64)
def _order_but_for_key(status: str, number: int | None, timestamp: datetime | None, kind: str) -> str:
    number = 0 if number is None else min(max(number + 1, 0), 10**10 - 1)
    moment = 0 if timestamp is None else max(microseconds(timestamp), 0)
    rank, weight = rank_of(status) if status else "-", FINAL_WEIGHTS.get(status, 0)
    return f"{rank}{number:010d}{moment:018d}{weight}{KIND_WEIGHTS.get(kind, 0)}"
