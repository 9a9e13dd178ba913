"""A Call: statuses, the forms of addresses, the resource as it is read and as it is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import DATA

from callctl.calls.call import (
    FINAL_STATUSES,
    LIVE_STATUSES,
    REST_STATUSES,
    Call,
    CallStatus,
    is_e164,
    is_endpoint,
    is_final,
    is_live,
    is_party,
    is_party_pattern,
    number_meant,
)

MOMENT = datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_every_status_is_either_live_or_final() -> None:
    assert frozenset(CallStatus) == LIVE_STATUSES | FINAL_STATUSES
    assert not LIVE_STATUSES & FINAL_STATUSES


def test_an_unknown_status_is_neither() -> None:
    assert not is_live("paused")
    assert not is_final("paused")
    assert is_live("in-progress")
    assert is_final("no-answer")


def test_initiated_is_known_from_callbacks_only() -> None:
    assert set(CallStatus) - set(REST_STATUSES) == {CallStatus.INITIATED}


@pytest.mark.parametrize(
    ("text", "number", "endpoint"),
    [
        ("+12025550100", True, True),
        ("+123456789012345", True, True),
        ("+1234567890123456", False, False),
        ("+02025550100", False, False),
        ("12025550100", False, False),
        ("+1202555010\u0660", False, False),
        ("+12025550100\n", False, False),
        ("+1 202 555 0100", False, False),
        ("sip:agent@example.com", False, True),
        ("SIPS:agent@example.com;transport=tls", False, True),
        ("sip:", False, False),
        ("sip:a b@example.com", False, False),
        ("client:ann", False, True),
        ("client:" + "x" * 257, False, False),
        ("client:", False, False),
        ("ann", False, False),
    ],
)
def test_who_can_be_called(text: str, number: bool, endpoint: bool) -> None:
    assert is_e164(text) is number
    assert is_endpoint(text) is endpoint


@pytest.mark.parametrize(
    ("text", "possible", "meant"),
    [
        ("+12025550103", True, "+12025550103"),
        ("12025550103", False, "+12025550103"),
        ("+1 202 555 0103", False, "+12025550103"),
        ("+1 (202) 555-0103", False, "+12025550103"),
        ("0012025550103", False, "+12025550103"),
        ("2025550103", False, None),  # of which country?
        ("+02025550103", False, None),
        ("+1202555O103", False, None),  # the letter
        ("+1_202", False, None),
        ("tel:+12025550103", False, None),
        ("", False, None),
        (" ", False, None),
        ("ann smith", False, None),
        ("sip:agent@example.com", True, None),
        ("agent@example.com", True, None),  # as REST writes it
        ("client:ann", True, None),
        ("sim:HS0123", True, None),
        ("anonymous", True, None),
        ("1001", True, None),
        ("911", True, None),
    ],
)
def test_who_can_be_at_one_end_of_a_call(text: str, possible: bool, meant: str | None) -> None:
    assert is_party(text) is possible
    assert number_meant(text) == meant
    assert is_party_pattern(text) is possible


@pytest.mark.parametrize(
    ("pattern", "possible"),
    [
        ("*", True),
        ("+1900*", True),
        ("+*", True),
        ("+1*0142", True),
        ("*0103", True),
        ("sip:*@example.com", True),
        ("1900*", True),  # a short code, an extension
        ("12025550*", False),
        ("+1 202*", False),
        ("+0*", False),
        ("+1202555O*", False),
    ],
)
def test_what_a_pattern_may_match(pattern: str, possible: bool) -> None:
    assert is_party_pattern(pattern) is possible


@given(
    st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True), st.sampled_from(["-", " ", ".", ") ", "/"]), st.integers(2, 7)
)
def test_a_number_is_known_in_any_spelling(number: str, sign: str, place: int) -> None:
    spelled = number[:place] + sign + number[place:]
    assert number_meant(spelled) == number_meant(number) == number
    assert is_party(number)
    assert not is_party(spelled)


def live_resource() -> dict[str, Any]:
    resource: dict[str, Any] = json.loads((DATA / "live_call_resource.json").read_text())
    return resource


def test_a_resource_as_live_twilio_sent_it() -> None:
    resource = live_resource()
    call = Call.from_resource(resource)
    assert (call.sid, call.status, call.direction) == (resource["sid"], "completed", "inbound")
    assert call.from_ == resource["from"]
    assert (call.duration, call.queue_time) == (1, 0)
    assert call.price == Decimal("-0.00400")
    assert call.start_time == datetime(2026, 6, 9, 14, 51, 33, tzinfo=UTC)
    assert call.parent_call_sid is None
    assert call.is_final
    assert not call.is_live


def test_json_has_rests_own_names_and_every_field() -> None:
    resource = live_resource()
    record = Call.from_resource(resource).to_json()
    assert set(record) == set(resource)
    assert (record["duration"], record["price"], record["queue_time"]) == (1, -0.004, 0)
    assert record["date_created"] == "2026-06-09T14:51:33Z"
    assert record["subresource_uris"] == resource["subresource_uris"]
    json.dumps(record, allow_nan=False)


def test_each_field_is_read_from_its_own() -> None:
    texts = {
        "account_sid": "AC1",
        "answered_by": "human",
        "caller_name": "Ann",
        "direction": "inbound",
        "forwarded_from": "+12025550101",
        "from": "+12025550102",
        "parent_call_sid": "CA2",
        "price_unit": "USD",
        "sid": "CA1",
        "status": "completed",
        "to": "+12025550103",
    }
    numbers = {"duration": 7, "queue_time": 8, "price": -0.25}
    days = {"date_created": 1, "date_updated": 4, "end_time": 3, "start_time": 2}
    dates = {name: f"2026-01-0{day}T10:00:00Z" for name, day in days.items()}
    call = Call.from_resource(texts | numbers | dates, as_of=MOMENT)
    names = {name: "from_" if name == "from" else name for name in texts}
    assert {name: getattr(call, field) for name, field in names.items()} == texts
    assert {name: float(getattr(call, name)) for name in numbers} == numbers
    assert {name: getattr(call, name).day for name in dates} == days
    assert call.as_of == MOMENT
    assert Call.from_resource(call.to_json()).to_json() == texts | numbers | dates


def test_the_dialects_of_compatible_services() -> None:
    call = Call.from_resource(
        {
            "sid": "6f0b1c7e-52b3-4f0e-9d0a-0c2b7a3c9f11",
            "status": "paused",
            "duration": 12,
            "price": -0.01,
            "date_created": "2026-01-05T10:00:00Z",
            "parent_call_sid": "",
            "to": None,
        }
    )
    assert (call.status, call.duration, call.price) == ("paused", 12, Decimal("-0.01"))
    assert (call.date_created, call.parent_call_sid, call.to) == (MOMENT, None, "")
    assert not call.is_live
    assert not call.is_final


@pytest.mark.parametrize("resource", [{}, {"sid": ""}, {"sid": None}, {"sid": 5}])
def test_without_a_sid_it_is_no_call(resource: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sid"):
        Call.from_resource(resource)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["status", "to", "from", "duration", "price", "start_time", "queue_time", "x"]), JSON
    )
)
def test_no_resource_with_a_sid_breaks_anything(resource: dict[str, Any]) -> None:
    call = Call.from_resource({"sid": "CA" + "0" * 32, **resource})
    assert call.sid == "CA" + "0" * 32
    assert set(resource) <= set(call.to_json())


def test_a_line_break_in_a_field_begins_no_line_of_ours() -> None:
    call = Call.from_resource({"sid": "CA1", "status": "queued\ncallctl: ended", "from": "a\nb"})
    assert (call.status, call.from_) == ("queued\ufffdcallctl: ended", "a\ufffdb")
