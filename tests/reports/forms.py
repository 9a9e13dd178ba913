"""Strategies for tests: forms of callbacks as they come, and as nobody should send them, and the events of one leg."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

from events import WORLD, moment, sid
from hypothesis import strategies as st

from callctl.calls.call import Call
from callctl.calls.event import CallEvent, NotACallEventError
from callctl.calls.event_record import Form
from callctl.support.dates import microseconds

STATUSES = (
    *("queued", "initiated", "ringing", "in-progress", "answered"),
    *("completed", "busy", "failed", "no-answer", "canceled", "teleporting", " ringing ", ""),
)
_SECONDS = st.sampled_from((0.0, 1.0, 2.0, 30.0, 59.0, 60.0, 3599.0, 86_400.0))


def _twilio(seconds: float) -> str:
    return f"{moment(seconds):%a, %d %b %Y %H:%M:%S} +0000"


_TIMESTAMPS = st.one_of(
    _SECONDS.map(_twilio),
    st.sampled_from(
        (
            *("", "never", "2026-11-23T10:00:07Z", "1795428007", "Mon, 23 Nov 2026 10:00:07 +0100"),
            *(
                "Mon, 23 Nov 2026 10:00:07 +0000 UTC",
                "Mon, 23 Nov 2026 10:00:61 +0000",
                "Mon, 23 Nov 1969 10:00:07 +0000",
            ),
            *("Xxx, 99 Nov 2026 10:00:07 +0000", "Mon, 23 Nov 2026 24:00:00 +0000"),
        )
    ),
)
_NUMBERS = st.sampled_from(("0", "1", "2", "3", "7", "", "-1", "1000", "9" * 20, "1_0", " 2 ", "x"))
_ENDS = st.sampled_from(("+12025550100", "+15005550006", "sip:ann@example.com", "client:ann", "", "a\nb", "To"))
# Fields of which some make another kind of event of a callback, and names of which some come twice.
_FIELDS: dict[str, st.SearchStrategy[str]] = {
    "CallSid": st.sampled_from((sid(1), sid(1), sid(1), f" {sid(1)}")),
    "CallStatus": st.sampled_from(STATUSES),
    "From": _ENDS,
    "To": _ENDS,
    "Caller": _ENDS,
    "Called": _ENDS,
    "Direction": st.sampled_from(("inbound", "outbound-api", "outbound-dial", "")),
    "ApiVersion": st.just("2010-04-01"),
    "CallbackSource": st.just("call-progress-events"),
    "SequenceNumber": _NUMBERS,
    "Timestamp": _TIMESTAMPS,
    "CallDuration": _NUMBERS,
    "SipResponseCode": st.sampled_from(("200", "486", "", "x", "99")),
    "SipResultCode": st.sampled_from(("200", "486", "")),
    "ParentCallSid": st.sampled_from((sid(1), sid(2), f"{sid(1)} ", " ", "")),
    "DialCallStatus": st.just("completed"),
    "AnsweredBy": st.just("human"),
    "RecordingSid": st.just("RE1"),
    "RecordingStatus": st.just("completed"),
    "TranscriptionSid": st.just("TR1"),
    "TranscriptionStatus": st.just("completed"),
    "CallerName": st.sampled_from(("Ann", "CallStatus", "\x85", "Timestamp", "é\u2028", "\0", "a\nTo\nb")),
}
_USUAL = (
    *("CallSid", "CallStatus", "From", "To", "Direction", "ApiVersion", "CallbackSource", "SequenceNumber"),
    *("Timestamp", "CallDuration", "SipResponseCode", "CallerName"),
)


@st.composite
def _forms(draw: st.DrawFn) -> Form:
    """Return a form: of the usual names in one order, or of any, some of them twice."""
    usual = list(_USUAL[: draw(st.integers(9, len(_USUAL)))])
    any_names = st.lists(st.sampled_from(sorted(_FIELDS)), max_size=8)
    names = draw(st.one_of(st.just(usual), st.just(usual), any_names.map(lambda more: [*usual[:4], *more])))
    if draw(st.booleans()):
        names.remove("CallSid")
        names.insert(draw(st.integers(0, len(names))), "CallSid")
    if draw(st.integers(0, 3)) == 0 and "CallbackSource" in names:
        names.remove("CallbackSource")
    return tuple((name, draw(_FIELDS[name])) for name in names)


# What Twilio sends: mostly the same of all events of a leg, but for what tells them apart.
_USUAL_FIELDS: dict[str, st.SearchStrategy[str]] = _FIELDS | {
    "CallSid": st.just(sid(1)),
    "CallStatus": st.sampled_from(STATUSES[:10]),
    "From": st.sampled_from(("+15005550006", "+15005550006", "client:ann")),
    "To": st.sampled_from(("+12025550100", "+12025550100", "sip:ann@example.com")),
    "Direction": st.sampled_from(("outbound-api", "outbound-dial")),
}


@st.composite
def _usual_forms(draw: st.DrawFn) -> Form:
    """Return a form as Twilio sends it, of a callback or a request for TwiML, with values that it may have."""
    names = [*_USUAL[: draw(st.sampled_from((9, 11, 12)))], *draw(st.sampled_from(((), ("ParentCallSid",))))]
    if draw(st.integers(0, 4)) == 0:
        names.remove("CallbackSource")
    return tuple((name, draw(_USUAL_FIELDS[name])) for name in names)


@st.composite
def _polled(draw: st.DrawFn) -> Call:
    resource = {
        "sid": sid(1),
        "status": draw(st.sampled_from(STATUSES[:10])),
        "to": draw(_ENDS),
        "from": draw(_ENDS),
        "direction": draw(st.sampled_from(("inbound", "outbound-api"))),
        "date_created": draw(_TIMESTAMPS),
        "end_time": draw(_TIMESTAMPS),
        "duration": draw(_NUMBERS),
    }
    return Call.from_resource(resource)


@st.composite
def events_of_a_leg(draw: st.DrawFn) -> list[CallEvent]:
    """Return what a store may hold of one leg: each event once."""
    events: dict[str, CallEvent] = {}
    forms = draw(st.sampled_from((_forms(), _usual_forms())))
    for _ in range(draw(st.integers(0, 6))):
        arrived = moment(draw(_SECONDS)) + timedelta(microseconds=draw(st.integers(0, 999_999)))
        if draw(st.integers(0, 4)) == 0:
            kind = draw(st.sampled_from(("polled", "missed")))
            one = CallEvent.from_call(draw(_polled()), received_at=arrived, world=WORLD, kind=kind)
        else:
            try:
                one = CallEvent.from_form(draw(forms), received_at=arrived, world=WORLD, verified=draw(st.booleans()))
            except NotACallEventError:
                continue
        events.setdefault(one.key, one)
    return list(events.values())


def records_of(events: Sequence[CallEvent], *, as_json: Sequence[bool]) -> list[str]:
    """Return the records of events, some of them as callctl 0.1.0 wrote them."""
    return [_json_record(one) if is_json else one.to_record() for one, is_json in zip(events, as_json, strict=True)]


def _json_record(event: CallEvent) -> str:
    record = {"v": 1, "key": event.key, "kind": event.kind, "received_at": microseconds(event.received_at)}
    return json.dumps({**record, "verified": event.verified, "form": event.form}, ensure_ascii=False)
