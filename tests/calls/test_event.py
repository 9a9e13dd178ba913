from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import chain
from urllib.parse import urlencode

import pytest
from events import ACCOUNT, START, WORLD, event, event_of, form, moment, samples, sid
from hypothesis import given
from hypothesis import strategies as st

from callctl.calls.call import Call
from callctl.calls.event import AmbiguousEventError, CallEvent, NotACallEventError
from callctl.support.dates import from_microseconds, microseconds


def test_a_callback_is_read_field_by_field() -> None:
    fields = form(2, "completed", number=3, at=61.0, parent=1, CallDuration="49", Duration="1", SipResponseCode="200")
    read = event_of(fields | {"AnsweredBy": "human", "CallerName": "ANN", "StirStatus": ""}, received=62)

    assert read.kind == "callback"
    assert (read.call_sid, read.parent_call_sid, read.account_sid) == (sid(2), sid(1), ACCOUNT)
    assert (read.event, read.status, read.direction) == ("completed", "completed", "outbound-dial")
    assert (read.from_, read.to) == ("+15005550006", "+12025550100")
    assert (read.sequence_number, read.duration, read.sip_response_code) == (3, 49, "200")
    assert (read.timestamp, read.received_at) == (moment(61), moment(62))
    assert (read.answered_by, read.caller_name, read.verified) == ("human", "ANN", True)
    assert ("StirStatus", "") in read.form


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("initiated", "initiated"),
        ("ringing", "ringing"),
        ("in-progress", "answered"),
        ("completed", "completed"),
        ("busy", "completed"),
        ("no-answer", "completed"),
        ("failed", "completed"),
        ("canceled", "completed"),
        ("parked", "parked"),
    ],
)
def test_the_event_is_named_as_twilio_names_it(status: str, name: str) -> None:
    assert event(1, status).event == name


def test_answered_for_a_status_means_in_progress() -> None:
    assert (event(1, "answered").status, event(1, "answered").event) == ("in-progress", "answered")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Mon, 23 Nov 2026 10:00:00 +0000", START),
        ("Mon, 23 Nov 2026 10:00:00 -0000", START),
        ("Mon, 23 Nov 2026 11:00:00 +0100", START),
        ("Mon, 23 Nov 2026 10:00:00 Etc/UTC", START),
        ("2026-11-23 10:00:00 UTC", START),
        ("2026-11-23T10:00:00Z", START),
        (str(int(START.timestamp())), START),
        (f"{int(START.timestamp())}500", START.replace(microsecond=500_000)),
        ("", None),
        ("yesterday", None),
        ("99999999999999999999", None),
        ("99999999999", None),
        ("0001-01-01T00:00:00Z", None),  # no date in .NET, and in New York a time before all times
        ("Fri, 31 Dec 9999 23:59:59 +0000", None),
    ],
)
def test_timestamps_in_every_form_that_was_seen(text: str, moment: datetime | None) -> None:
    assert event_of(form(1, "ringing") | {"Timestamp": text}).timestamp == moment


@pytest.mark.parametrize("missing", ["CallSid", "CallStatus"])
def test_what_tells_no_calls_status_is_no_event(missing: str) -> None:
    fields = form(1, "ringing") | {"ParentCallSid": sid(2)}
    del fields[missing]
    with pytest.raises(NotACallEventError, match=missing):
        event_of(fields)


def test_fields_beyond_all_expectation_are_kept_and_do_no_harm() -> None:
    odd = {"SequenceNumber": "many", "CallDuration": "[FILTERED]", "Tomorrow": "yes", "CallStatus": "teleported"}
    read = event_of(form(1, "ringing", at=1) | odd)
    assert (read.sequence_number, read.duration, read.status) == (None, None, "teleported")
    assert ("Tomorrow", "yes") in read.form


def test_of_a_repeated_name_the_last_value_counts_for_twilio_appends_its_own() -> None:
    own = {"CallSid": "CA9", "CallStatus": "busy", "From": "me", "ParentCallSid": "CA8"}
    pairs = [*own.items(), *form(2, "ringing", parent=1).items()]
    query = f"?{urlencode(pairs)}"
    read = CallEvent.from_form(pairs, received_at=START, world=WORLD, verified=True, signed=query)
    assert (read.call_sid, read.status, read.from_, read.parent_call_sid) == (sid(2), "ringing", "+15005550006", sid(1))
    assert read.to_json()["form"]["CallSid"] == ["CA9", sid(2)]
    assert CallEvent.from_record(read.to_record()) == read


def test_what_compatible_services_call_otherwise_is_read() -> None:
    assert event_of(form(1, "busy", SipResultCode="486")).sip_response_code == "486"
    assert event_of(form(1, "busy", SipResultCode="1", SipResponseCode="486")).sip_response_code == "486"
    read = event_of(form(1, "failed", ErrorCode="32011", ErrorMessage="invalid phone number"))
    assert (read.error_code, read.error_message) == ("32011", "invalid phone number")
    assert read.to_json()["error_code"] == "32011"


def test_a_leg_is_not_its_own_parent() -> None:
    assert event(1, "ringing", parent=1).parent_call_sid is None


def test_the_key_depends_on_the_fields_and_the_world_but_not_on_their_order_or_arrival() -> None:
    fields = form(1, "ringing", number=1)
    backwards = dict(reversed(fields.items()))
    other_world = CallEvent.from_form(fields.items(), received_at=START, world="other", verified=True)

    assert event_of(fields).key == event_of(backwards, received=9).key
    assert event_of(fields).key != event_of(fields | {"SequenceNumber": "2"}).key
    assert event_of(fields).key != other_world.key


def test_a_request_for_twiml_is_told_from_a_callback() -> None:
    fields = form(1, "in-progress") | {"ApiVersion": "2010-04-01"}
    del fields["CallbackSource"]
    assert (event_of(fields).kind, event_of(fields).event) == ("twiml-request", "twiml-request")
    assert event_of(fields | {"CallStatus": "completed"}).kind == "callback"
    assert event_of(fields | {"CallStatus": "completed", "DialCallStatus": "busy"}).kind == "twiml-request"
    assert event_of(fields | {"CallbackSource": "call-progress-events"}).kind == "callback"
    transferred = fields | {"CallStatus": "completed", "DialCallStatus": "busy", "CallDuration": "7"}
    assert event_of(transferred).kind == "callback"


@pytest.mark.parametrize("status", ["ringing", "in-progress"])
def test_what_a_voice_sdk_client_sends_of_its_own_makes_its_call_no_callback(status: str) -> None:
    own = {"Timestamp": format_datetime(moment(3600)), "SequenceNumber": "9", "CallDuration": "5", "Duration": "1"}
    fields = form(1, status, From="client:ann") | {"ApiVersion": "2010-04-01", "Direction": "inbound"} | own
    del fields["CallbackSource"]
    for name in own:
        alone = {key: value for key, value in fields.items() if key == name or key not in own}
        assert event_of(alone).kind == "twiml-request"
    read = event_of(fields)
    assert (read.kind, read.timestamp, read.sequence_number, read.duration) == ("twiml-request", None, None, None)
    assert dict(read.form) == fields
    assert read.order < event(1, status, at=1, number=0).order


def test_a_status_callback_that_is_cut_like_a_request_for_twiml_is_no_event() -> None:
    fields = form(1, "ringing", number=1, at=1) | {"ApiVersion": "2010-04-01"}
    source = fields.pop("CallbackSource")
    with pytest.raises(AmbiguousEventError) as raised:
        event_of(fields | {f"CallbackSource{source}": ""})
    assert raised.value.asks_for_twiml


def test_a_poll_reports_what_rest_showed() -> None:
    resource = {
        "sid": sid(2),
        "parent_call_sid": sid(1),
        "account_sid": ACCOUNT,
        "status": "completed",
        "direction": "outbound-dial",
        "from": "+15005550006",
        "to": "client:ann",
        "start_time": "Mon, 23 Nov 2026 10:00:00 +0000",
        "end_time": "Mon, 23 Nov 2026 10:00:42 +0000",
        "duration": "42",
        "price": None,
    }
    read = CallEvent.from_call(Call.from_resource(resource), received_at=moment(60), world=WORLD, kind="missed")
    assert (read.kind, read.event, read.status) == ("missed", "completed", "completed")
    assert (read.call_sid, read.parent_call_sid, read.to) == (sid(2), sid(1), "client:ann")
    assert (read.duration, read.timestamp, read.sequence_number) == (42, moment(42), None)
    later = CallEvent.from_call(Call.from_resource(resource | {"price": "-0.01"}), received_at=moment(90), world=WORLD)
    assert later.key == read.key  # the price came late, the call did not change


def test_a_live_call_found_by_polling_began_when_it_was_dialled() -> None:
    call = Call(sid(1), "in-progress", start_time=moment(5))
    assert CallEvent.from_call(call, received_at=moment(60), world=WORLD).timestamp == moment(5)


def test_a_record_gives_the_event_back() -> None:
    call = Call(sid(1), "busy", from_="a", to="b", end_time=moment(5), duration=0)
    polled = CallEvent.from_call(call, received_at=moment(7), world=WORLD)
    unverified = event_of(form(1, "ringing", at=1), received=1.000001, verified=False)
    for one in (polled, unverified, event(2, "completed", number=3, CallDuration="5")):
        assert CallEvent.from_record(one.to_record()) == one


@given(st.text() | st.sampled_from([sid(9), f"{sid(9)}CallStatuscompleted"]), st.booleans())
def test_what_was_stored_is_read_even_if_what_was_signed_could_be_read_otherwise(parent: str, verified: bool) -> None:
    one = event_of(form(1, "ringing", ParentCallSid=parent, CallerName=f"CallSid{sid(9)}Z"), verified=False)
    assert one.call_sid == sid(1)
    stored = CallEvent.from_parts(one.key, one.kind, one.received_at, verified, one.form)  # 0.1.0 verified such
    assert stored == dataclasses.replace(one, verified=verified)
    assert CallEvent.from_record(stored.to_record()) == stored


@pytest.mark.parametrize(
    "record",
    [
        "",
        "{}",
        '{"v": 2}',
        '{"v": 1, "form": 3}',
        '{"v": 1, "key": "k", "kind": "callback"}',
        "2\nk\ncallback",
        "2\nk\ncallback\nnow\n1",
        "2\nk\ncallback\n1\n1\na name without a value",
    ],
)
def test_what_is_no_record_is_refused(record: str) -> None:
    with pytest.raises(ValueError, match="record"):
        CallEvent.from_record(record)


def test_a_record_whose_key_was_damaged_is_refused() -> None:
    """What knows events again by parts of their keys could not go on."""
    one = event(2, "completed", number=3)
    as_json = {"v": 1, "kind": one.kind, "received_at": 0, "verified": True, "form": one.form}
    for key in (f"g{one.key[1:]}", one.key[:-1], "", f" {one.key[1:]}"):
        for record in (one.to_record().replace(one.key, key), json.dumps(as_json | {"key": key})):
            with pytest.raises(ValueError, match="its key is no SHA-256"):
                CallEvent.from_record(record)


def test_a_record_of_the_first_form_is_still_read() -> None:
    one = event(2, "completed", number=3)
    record = {"v": 1, "key": one.key, "kind": one.kind, "received_at": microseconds(one.received_at), "verified": True}
    assert CallEvent.from_record(json.dumps(record | {"form": one.form})) == one


def test_a_value_of_several_lines_is_kept() -> None:
    one = event(2, "completed", number=3, CallerName="Ann\nOther\x00")
    assert CallEvent.from_record(one.to_record()) == one


def test_json_has_the_promised_fields() -> None:
    fields = list(form(1, "in-progress", number=2, at=3).items())
    read = CallEvent.from_form(
        [*fields, ("Tag", "a"), ("Tag", "b")], received_at=moment(3.5), world=WORLD, verified=True
    )
    record = json.loads(json.dumps(read.to_json()))
    assert record["form"] == dict(fields) | {"Tag": ["a", "b"]}
    del record["form"]
    assert record == {
        "v": 1,
        "type": "event",
        "source": "callback",
        "verified": True,
        "received_at": "2026-11-23T10:00:03.500000Z",
        "timestamp": "2026-11-23T10:00:03Z",
        "event": "answered",
        "call_sid": sid(1),
        "parent_call_sid": None,
        "account_sid": ACCOUNT,
        "status": "in-progress",
        "direction": "outbound-api",
        "from": "+15005550006",
        "to": "+12025550100",
        "sequence_number": 2,
        "duration": None,
        "sip_response_code": None,
        "error_code": None,
        "error_message": None,
        "answered_by": None,
        "caller_name": None,
    }


def test_every_sample_is_read_or_refused_by_name() -> None:
    refused = []
    for sample in samples("callbacks.jsonl"):
        try:
            read = event_of(sample["params"])
        except NotACallEventError:
            refused.append(sample["id"])
            continue
        assert dict(read.form) == sample["params"]
        assert CallEvent.from_record(read.to_record()) == read
    assert refused == [51]  # the one without a CallSid


def test_the_samples_requests_for_twiml_are_seen_as_such() -> None:
    kinds = {
        sample["id"]: event_of(sample["params"]).kind for sample in samples("callbacks.jsonl") if sample["id"] != 51
    }
    recorded = {2, 3, 10, 22, 26, 29, 60, 61, 62}
    assert {number for number, kind in kinds.items() if kind == "twiml-request"} == recorded | {50}


@given(pairs=st.lists(st.tuples(st.text(), st.text())), sequence=st.text(), timestamp=st.text())
def test_any_form_is_an_event_or_refused_and_can_be_kept(
    pairs: list[tuple[str, str]], sequence: str, timestamp: str
) -> None:
    known = [("CallSid", "x"), ("CallStatus", "y"), ("SequenceNumber", sequence), ("Timestamp", timestamp)]
    try:
        read = CallEvent.from_form([*known, *pairs], received_at=START, world=WORLD, verified=True)
    except NotACallEventError:  # only where what was drawn speaks of a call too
        assert "Call" in "".join([sequence, timestamp, *chain.from_iterable(pairs)])
        return
    assert read.form == (*known, *pairs)
    assert CallEvent.from_record(read.to_record()) == read
    json.dumps(read.to_json(), ensure_ascii=False).encode()


def test_a_password_in_a_url_is_not_kept() -> None:
    fields = form(1, "ringing", ErrorUrl="https://ann:fake-word@example.com/x?y=@", From="sip:ann:word@example.com")
    read = event_of(fields)
    assert read.fields["ErrorUrl"] == "https://ann:***@example.com/x?y=@"
    assert read.from_ == "sip:ann:word@example.com"  # it is who calls: views show it without
    assert "fake-word" not in read.to_record()
    within = event_of(
        fields | {"ErrorUrl": "https://example.com/?u=https%3A%2F%2Fann%3Afake-word%40example.com", "From": ""}
    )
    assert within.fields["ErrorUrl"] == "https://example.com/?u=https%3A%2F%2Fann%3A***%40example.com"
    unlike = event_of(fields | {"ErrorUrl": "https://ann:other-word@example.com/x?y=@"})
    assert read.key != unlike.key


def test_a_lone_surrogate_is_replaced() -> None:
    call = Call.from_resource({"sid": "CA\ud800", "status": "ringing"})
    read = CallEvent.from_call(call, received_at=START, world=WORLD)
    assert read.call_sid == "CA?"


@given(st.datetimes(datetime(1970, 1, 1), datetime(2999, 12, 31), timezones=st.just(UTC)))
def test_microseconds_lose_nothing(moment: datetime) -> None:
    assert from_microseconds(microseconds(moment)) == moment


def test_the_order_is_rank_then_number_then_time_then_the_order_of_ends() -> None:
    rising = [
        event(1, "parked", number=9),
        event(1, "queued"),
        event(1, "initiated"),
        event(1, "ringing", at=900),
        event(1, "in-progress"),
        event(1, "canceled", number=0, at=1),
        event(1, "failed", number=0, at=1),
        event(1, "no-answer", number=0, at=1),
        event(1, "busy", number=0, at=1),
        event(1, "completed", number=0, at=1),
        event(1, "busy", number=0, at=2),
        event(1, "canceled", number=1, at=0),
        event(1, "failed", number=10),
    ]
    orders = [one.order for one in rising]
    assert orders == sorted(orders)
    assert all(dataclasses.replace(one, received_at=moment(99)).order == one.order for one in rising)


@given(st.lists(st.tuples(st.text("a\0", max_size=3), st.text("a\0", max_size=3)), max_size=4), st.data())
def test_the_key_tells_apart_what_is_signed(more: list[tuple[str, str]], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.tuples(st.text("a\0", max_size=3), st.text("a\0", max_size=3)), max_size=4))
    common = [("CallSid", sid(1)), ("CallStatus", "ringing")]
    first, second = (
        CallEvent.from_form(common + fields, received_at=moment(0), world=WORLD, verified=True)
        for fields in (more, other)
    )
    signed = [sorted({*common, *fields}) for fields in (more, other)]
    assert (first.key == second.key) == ("".join(map("".join, signed[0])) == "".join(map("".join, signed[1])))
