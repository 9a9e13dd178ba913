"""What ``--mask-numbers`` hides and what it leaves: of numbers, names, sentences, resources and events."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from events import event, moment, sid
from hypothesis import given
from hypothesis import strategies as st
from legs import board_of
from paths import DATA

from callctl.calls.action import ActionEvent
from callctl.calls.call import Call
from callctl.calls.masked_numbers import (
    HIDDEN,
    masked,
    masked_action,
    masked_call,
    masked_event,
    masked_json,
    masked_leg,
    masked_name,
    masked_party,
    masked_trouble,
)
from callctl.calls.watch_trouble import Cause, Trouble

DIGITS = st.text("0123456789", min_size=7, max_size=15)
HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
WORDS = st.from_regex(r"[g-z]{1,8}[_.:-]?|[a-z]{2,8}_|[A-Z]{3}|\(|", fullmatch=True)
# How people write one number: its groups, and what stands between them.
_SEPARATORS = st.sampled_from([" ", "-", ".", "\u00a0", "\u202f", "\u2010", "\u2011", "\u2012", "\u2013", " - "])
_GROUPS = st.lists(st.text("0123456789", min_size=1, max_size=4), min_size=3, max_size=5)


@st.composite
def spelled_numbers(draw: st.DrawFn) -> str:
    """Draw a number of seven digits at least, in one of its spellings."""
    form, separator = (
        draw(st.sampled_from(["plain", "plus", "international", "national", "american"])),
        draw(_SEPARATORS),
    )
    if form in ("plain", "plus"):
        return f"{'+' if form == 'plus' else ''}{draw(DIGITS)}"
    if form == "american":
        area, office, line = (draw(st.text("0123456789", min_size=size, max_size=size)) for size in (3, 3, 4))
        separator = separator.strip(" ") or " "
        return draw(
            st.sampled_from([f"({area}) {office}{separator}{line}", f"{area}{separator}{office}{separator}{line}"])
        )
    groups = draw(_GROUPS.filter(lambda groups: 6 <= len("".join(groups)) <= 12))
    if form == "international":
        return f"+{draw(st.integers(1, 999))}{separator}{separator.join(groups)}"
    return f"0{draw(st.integers(10, 999))}{separator}{separator.join(groups)}"


# What foreign texts are made of, so that the forms meet each other in every order.
PIECES = st.lists(
    st.sampled_from(["sip:", "sips:", "client:", "sim:", "@", "+", "%2B", "%3A", "%40", "<Client>", "</", "***", " "])
    | st.sampled_from(['"', '"caller_name":"', '"from": "', '", "', '" <sip:', "Ann <tel:", ",", "\\", "<sip:"])
    | st.sampled_from(["-", " 0", "(", ")", ".", "_", "_CA", "a", "x", "\u2011", "202-555-", "01 55 ", "2026-01-05T"])
    | DIGITS
    | spelled_numbers()
    | st.text(max_size=4)
).map("".join)


@pytest.mark.parametrize(
    ("party", "shown"),
    [
        ("+12025550142", "+1202***42"),
        ("12025550142", "1202***42"),
        ("2025550142", "202***42"),
        ("(202) 555-0142", "202***42"),
        ("+1 202 555 0142", "+1202***42"),
        ("5550142", "***42"),
        ("+4930123456", "+493***56"),
        ("+12345", "+***45"),
        ("12345", "12345"),
        ("sip:agent@example.com", "sip:a***t@example.com"),
        ("SIPS:Ann@example.com:5061;transport=tls", "SIPS:A***@example.com:5061;transport=tls"),
        ("sip:+12025550142@example.com;x=12025550142", "sip:+1202***42@example.com;x=1202***42"),
        ("sip:ann:secret@example.com", "sip:a***@example.com"),
        ("sip:100@example.com", "sip:1***@example.com"),
        ("sip:example.com", "sip:example.com"),
        ("ann@example.com", "a***@example.com"),
        ("client:support-7", "client:s***7"),
        ("client:+12025550142", "client:+1202***42"),
        ("client:7", "client:***"),
        ("whatsapp:+12025550142", "whatsapp:+1202***42"),
        ("sim:DE00000000000000000000000000000001", "sim:DE00000000000000000000000000000001"),
        ("Ann", "A***"),
        ("anonymous", "anonymous"),
        ("", ""),
    ],
)
def test_one_end_of_a_call(party: str, shown: str) -> None:
    assert masked_party(party) == shown
    assert masked_party(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CA00000000000000000000000000000001 is +12025550142 → client:ann, ringing",
         "CA00000000000000000000000000000001 is +1202***42 → client:a***, ringing"),
        ("its child leg to sip:agent@example.com.", "its child leg to sip:a***t@example.com."),
        ("The number 12025550142, which is not valid (21211)", "The number 1202***42, which is not valid (21211)"),
        ("https://example.com/?To=%2B12025550142&From=client%3Aann&c=sip%3Aagent%40example.com&n=1",
         "https://example.com/?To=%2B1202***42&From=client%3Aa***&c=sip%3Aa***t%40example.com&n=1"),
        ("<Number>+12025550142</Number><Client>ann</Client><Client a='b'><Identity>bob-7</Identity></Client>",
         "<Number>+1202***42</Number><Client>a***</Client><Client a='b'><Identity>b***7</Identity></Client>"),
        ("tel:+12025550142", "tel:+1202***42"),
        ("https://example.com/?m=%2B1%20202%20555%200142&n=1", "https://example.com/?m=%2B1202***42&n=1"),
        ("m=%2B1+202+555+0142&n=%2b1-202-555-0142", "m=%2B1202***42&n=%2b1202***42"),
        ("m=%28202%29+555-0142&n=%28202%29%20555-0142", "m=202***42&n=202***42"),
        ("m=%2B1%20%28202%29%20555-0142 +1%20(202)%20555-0142", "m=%2B1202***42 +1202***42"),
        ("m=0171%204567890", "m=0171***90"),
        ("n=1+202+555+0142", "n=1+202+555+0142"),  # a sum, for all one knows
        ("my number is (202) 555-0142, or 202.555.0142.", "my number is 202***42, or 202***42."),
        ("call 1-202-555-0142 or +1 (202) 555-0142", "call 1202***42 or +1202***42"),
        ("call +44 20 7946 0018 now", "call +4420***18 now"),
        ("+33 1 55 57 73 12, 01 55 57 73 12, (020) 7946-0018", "+3315***12, 015***12, 0207***18"),
        ("+1\u2011202\u2011555\u20110142 and 202\u2013555\u20130142", "+1202***42 and 202***42"),
        ("+49 (0)30 5550142 and 030/5550142", "+4903***42 and 030***42"),
        ("support_12025550142, call12025550142, to_+12025550142", "support_1202***42, call1202***42, to_+1202***42"),
        ("a12025550142 UK442079460018 12025550142x9", "a1202***42 UK4420***18 1202***42x9"),
        ("tel%3A12025550142 to_sip:agent@example.com", "tel%3A1202***42 to_sip:a***t@example.com"),
        ("+12025550142 404 20429", "+1202***42 404 20429"),
        ('{"phone_number":"+12025550142", "caller_name" : {"caller_name":"ANN LEE","caller_type":"CONSUMER","n":1.50}}',
         '{"phone_number":"+1202***42", "caller_name" : {"caller_name":"A***E","caller_type":"CONSUMER","n":1.50}}'),
        ('{"CallerName":"", "toName":null, "identity":"ann", "client":\n"bob-7", "digits":"4000000000000002#1"}',
         '{"CallerName":"", "toName":null, "identity":"a***", "client":\n"b***7", "digits":"4000***02#1"}'),
        (r'{"caller_name":"Zo\u00eb \"Z\" Lee","from":"\u002b12025550142","x":"y"}',
         '{"caller_name":"***","from":"***","x":"y"}'),
        ('{"stirPassportToken":"eyJ.eyJ"}, {"from":"Ann <sip:ann@example.com>", "caller_name":"Ann Le',
         '{"stirPassportToken":"***"}, {"from":"A*** <sip:a***@example.com>", "caller_name":"A***e'),
        ('"Ann Lee" <sip:+12025550142@example.com>;tag=1', '"A***e" <sip:+1202***42@example.com>;tag=1'),
        ('Ann Lee <sips:ann@example.com>, Zoë  <tel:+12025550142>, "12025550142"<sip:bob-7@example.com>',
         'A***e <sips:a***@example.com>, Z***  <tel:+1202***42>, "1202***42"<sip:b***7@example.com>'),
    ],
)  # fmt: skip
def test_within_a_text(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-05T12:00:00Z",
        "10:41:02+01  12 of 4000 legs  202 of 300  10.0.0.127  +1 leg",
        "https://12345678.example.com/2026/status",
        "2026-01-05T12:00:00.1234567+02:00",
        "Mon, 05 Jan 2026 12:00:00 +0000",
        "20260105120000",
        "12:00:07    +12:03  ✓ completed  (00:41, SIP 486, error 32011)",
        "0.1234567",
        "12345678-1234-1234-1234-123456789012",
        "CA12345678",
        "PN" + "0" * 32,
        "HTTP 429, code 20429, request RQ00000000000000000000000000000001",
        "-0.01300",
        "0.012345678901",
        "user@example.com",
        "127.0.0.1:12345 10.100.100.127 192.168.001.001:5060 [2001:db8::1]:8765",
        "20260105T120000Z 20260105T120000.123456Z 2026-01-05 12:00:00 -0800",
        "1767614400000ms  1234567s",
        "call_CA00000000000000000000000000000001 the_12345678-1234-1234-1234-123456789012",
        "00-0af7651916cd43dd8448eb211c80319c-1234567890123456-01 0x12345678 12ab3456789",
        "For <Number>, <Sip> and <Client> inside <Dial>, the attributes:",
    ],
)
def test_what_is_no_number_of_a_person_stays(text: str) -> None:
    assert masked(text) == text


@given(DIGITS, st.sampled_from(["", "+"]), st.text("abc ,", max_size=3))
def test_at_least_five_digits_of_a_number_are_hidden(digits: str, plus: str, around: str) -> None:
    for shown in (masked_party(plus + digits), masked(f"{around} {plus}{digits} {around}")):
        assert len(re.findall("[0-9]", shown)) <= len(digits) - 5
        assert digits[-2:] in shown


@given(spelled_numbers(), WORDS, st.sampled_from(["", " ", ".", ", or", "_", ")"]))
def test_a_number_is_masked_however_it_is_spelled_and_whatever_stands_before_it(
    number: str, word: str, after: str
) -> None:
    digits = re.sub("[^0-9]", "", number)
    shown = masked(f"{word}{number}{after}")
    assert HIDDEN in shown
    assert len(re.findall("[0-9]", shown)) <= max(len(digits) - 5, 0)
    assert shown.startswith(word.rstrip("("))


@given(
    st.one_of(
        st.tuples(st.sampled_from(["CA", "AC", "CF", "RQ", "XE"]), HEX).map("".join),
        st.uuids().map(str),
        st.uuids().map(lambda one: str(one).upper()),
        st.binary(min_size=20, max_size=64).map(bytes.hex),
        st.datetimes().map(lambda at: f"{at.isoformat()}Z"),
        st.datetimes().map(lambda at: f"{at:%H:%M:%S}"),
        st.ip_addresses(v=4).flatmap(lambda at: st.integers(1, 65535).map(lambda port: f"{at}:{port}")),
        st.integers(1, 65535).map(lambda port: f"wss://12025550142.example.com:{port}/"),
        st.integers(10000, 65535).map(lambda code: f"error {code} after 00:{code % 60:02}, 0.{code:010}"),
    ),
    st.sampled_from(["", "the ", "call_", "(", "a-", "="]),
    st.sampled_from(["", " has", "_1", ")", ", 12"]),
)
def test_what_names_no_person_stays_within_a_text(kept: str, before: str, after: str) -> None:
    assert masked(f"{before}{kept}{after}") == f"{before}{kept}{after}"


@given(st.lists(DIGITS, min_size=2, max_size=2))
def test_the_same_number_has_the_same_mask_and_two_that_differ_where_it_shows_have_two(numbers: list[str]) -> None:
    first, second = numbers
    assert masked_party(first) == masked_party(first)
    if first[-2:] != second[-2:]:
        assert masked_party(first) != masked_party(second)


@given(HEX, st.sampled_from(["CA", "AC", "PN", "CF"]), st.integers(8, 34))
def test_no_sid_and_no_start_of_one_is_touched(digits: str, kind: str, length: int) -> None:
    text = f"the call {(kind + digits)[:length]} has ended"
    assert masked(text) == text


@given(st.datetimes(), st.integers(0, 10**6 - 1))
def test_no_time_and_no_short_number_is_touched(at: Any, number: int) -> None:
    text = f"{at.isoformat()} {at:%H:%M:%S} {number} s"
    assert masked(text) == text


@given(PIECES)
def test_masking_twice_is_masking_once(text: str) -> None:
    for mask in (masked, masked_party, masked_name):
        assert mask(mask(text)) == mask(text)


def test_a_long_text_is_no_trouble() -> None:
    assert masked("sip:" * 20_000)
    for piece in ('"', ",", '"a" <', ", a <", '"to":"', '"to":"\\', "\\"):
        assert masked(piece * 20_000)
    assert masked_party("a:" * 20_000 + "@")
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    assert masked_json(nested) is not None


def test_a_call_has_masks_in_each_field_of_its_resource() -> None:
    resource = json.loads((DATA / "live_call_resource.json").read_text())
    resource |= {"from": "+15005550006", "from_formatted": "(500) 555-0006", "to": "+12025550142"}
    resource |= {"to_formatted": "(202) 555-0142", "caller_name": "ANN LEE", "forwarded_from": "+12025550199"}
    call = Call.from_resource(resource)
    shown = masked_call(call).to_json()
    changed = {name for name, value in call.to_json().items() if shown[name] != value}
    assert changed == {"from", "to", "from_formatted", "to_formatted", "caller_name", "forwarded_from"}
    assert (shown["from"], shown["from_formatted"]) == ("+1500***06", "500***06")
    assert (shown["caller_name"], shown["forwarded_from"]) == ("A***E", "+1202***99")


def test_an_event_has_masks_in_its_form_too() -> None:
    reported = event(
        1, "completed", at=0, number=1, From="+12025550142", Caller="+12025550142", CallerName="Ann Lee",
        To="client:ann", Called="client:ann", FromCity="WASHINGTON", StirPassportToken="eyJ.eyJ",
        Digits="4000000000000002#1", ErrorCode="13224",
        ErrorMessage="no route to 12025550142",
        AddOns='{"results":{"twilio_caller_name":{"result":{"caller_name":{"caller_name":"Ann Lee"}}}}}',
    )  # fmt: skip
    shown = masked_event(reported)
    assert (shown.key, shown.order, shown.moment) == (reported.key, reported.order, reported.moment)
    text = json.dumps(shown.to_json())
    assert "2025550142" not in text
    assert "Ann Lee" not in text
    assert "client:ann" not in text
    fields = shown.fields
    assert (fields["From"], fields["To"], fields["CallerName"]) == ("+1202***42", "client:a***", "A***e")
    assert (fields["StirPassportToken"], fields["Digits"]) == (HIDDEN, "4000***02#1")
    kept = ("CallSid", "AccountSid", "Timestamp", "CallStatus", "ErrorCode", "FromCity", "SequenceNumber")
    assert [fields[name] for name in kept] == [reported.fields[name] for name in kept]


def test_a_leg_an_action_and_trouble() -> None:
    leg = board_of([event(1, "ringing", at=0, To="+12025550142", CallerName="Ann")]).snapshot().legs[sid(1)]
    shown = masked_leg(leg)
    assert (shown.to, shown.from_, shown.caller_name, shown.call_sid) == ("+1202***42", "+1500***06", "A***", sid(1))
    twiml = "<Response><Dial>+12025550142</Dial></Response>"
    action = masked_action(ActionEvent(moment(0), sid(1), "redirect", (("Twiml", twiml),), "to +12025550142", by="a@b"))
    assert action.request == (("Twiml", "<Response><Dial>+1202***42</Dial></Response>"),)
    assert (action.outcome, action.by, action.call_sid) == ("to +1202***42", "a@b", sid(1))
    trouble = masked_trouble(Trouble("no callback of +12025550142", Cause.NO_CALLBACK, call_sid=sid(1), is_over=True))
    assert trouble.to_json()["text"] == "no callback of +1202***42"
    assert (trouble.cause, trouble.call_sid, trouble.is_over) == (Cause.NO_CALLBACK, sid(1), True)


@pytest.mark.parametrize(
    "name",
    [
        "CandidatePhone",
        "update_number",
        "ContactUri",
        "SipHeader_X-Caller-Date",
        "PhoneKey",
        "Type",
        "zip_code",
        "OrderSid",
    ],
)
def test_a_field_of_an_applications_own_is_masked_whatever_its_name_ends_with(name: str) -> None:
    value = {name: "+12025550142", "form": {name: "12025550142"}}
    assert masked_json(value) == {name: "+1202***42", "form": {name: "1202***42"}}
