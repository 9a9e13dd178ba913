"""What goes over the wire, byte by byte where it matters."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from api.conftest import ACCOUNT, TOKEN, StartApi
from api.scripted import call, reply
from hypothesis import given, settings
from hypothesis import strategies as st
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from callctl import __version__
from callctl.api.requests import PlaceRequest, RedirectRequest, list_parameters
from callctl.calls.call import Call
from callctl.calls.filter import CallFilter
from callctl.errors import SettingsError, UsageError

SID = "CA" + "1" * 32
UUID = "6f0b1c7e-52b3-4f0e-9d0a-0c2b7a3c9f11"
CALLS = f"/2010-04-01/Accounts/{ACCOUNT}/Calls"
FULL = PlaceRequest(
    to="+12025550100",
    from_="+15005550006",
    url="https://example.com/twiml?a=1&b=2",
    method="GET",
    fallback_url="https://example.com/fallback",
    fallback_method="GET",
    status_callback="https://example.com/status#rc=3&rp=5xx,ct,rt",
    status_callback_events=("initiated", "ringing", "answered", "completed"),
    timeout=20,
    time_limit=600,
    send_digits="ww12#",
    record=True,
    machine_detection="Enable",
    caller_id="+12025550142",
)


def test_place_sends_exactly_its_parameters(start_api: StartApi) -> None:
    api = start_api(reply(201, call()))
    placed = api.client.place(FULL)
    (sent,) = api.server.received
    assert (sent.method, sent.target) == ("POST", f"{CALLS}.json")
    assert sent.form == FULL.parameters()
    assert placed == Call.from_resource(call())


def test_the_sdk_would_send_the_same_names_and_values(start_api: StartApi) -> None:
    api = start_api(reply(201, call()))
    sdk = Client(ACCOUNT, TOKEN, http_client=TwilioHttpClient(timeout=5))
    sdk.api.base_url = api.server.url
    sdk.calls.create(
        to=FULL.to,
        from_=FULL.from_,
        url=FULL.url,
        method=FULL.method,
        fallback_url=FULL.fallback_url,
        fallback_method=FULL.fallback_method,
        status_callback=FULL.status_callback,
        status_callback_event=list(FULL.status_callback_events),
        timeout=FULL.timeout,
        time_limit=FULL.time_limit,
        send_digits=FULL.send_digits,
        record=FULL.record,
        machine_detection=FULL.machine_detection,
        caller_id=FULL.caller_id,
    )
    api.client.place(FULL)
    of_sdk, ours = api.server.received
    assert sorted(ours.form) == sorted(of_sdk.form)
    assert (ours.method, ours.target) == (of_sdk.method, of_sdk.target)
    sdk_adds = {"User-Agent", "Connection", "Accept-Encoding"}  # from Python 3.14 on it takes zstd as well
    assert ours.headers["Accept-Encoding"] == "gzip, deflate"
    assert {name: ours.headers[name] for name in of_sdk.headers if name not in sdk_adds} == {
        name: value for name, value in of_sdk.headers.items() if name not in sdk_adds
    }
    sdk.http_client.session.close()


def test_redirect_sends_exactly_its_parameters(start_api: StartApi) -> None:
    api = start_api(reply(200, call(status="in-progress")))
    request = RedirectRequest(
        url="https://example.com/survey",
        method="GET",
        fallback_url="https://example.com/fallback",
        fallback_method="POST",
        status_callback="https://example.com/status",
    )
    assert api.client.redirect(SID, request).status == "in-progress"
    (sent,) = api.server.received
    assert (sent.method, sent.target, sent.form) == ("POST", f"{CALLS}/{SID}.json", request.parameters())
    assert "Status" not in dict(sent.form)


@pytest.mark.parametrize(
    ("act", "form"),
    [
        (lambda client: client.hangup(SID), [("Status", "completed")]),
        (lambda client: client.cancel(SID), [("Status", "canceled")]),
        (lambda client: client.limit_time(SID, 90), [("TimeLimit", "90")]),
    ],
)
def test_updates_are_one_request_each(start_api: StartApi, act: Any, form: list[tuple[str, str]]) -> None:
    api = start_api(reply(200, call(status="completed")))
    assert act(api.client).status == "completed"
    (sent,) = api.server.received
    assert (sent.method, sent.target, sent.form) == ("POST", f"{CALLS}/{SID}.json", form)


def test_signs_in_with_the_token_and_says_who_asks(start_api: StartApi) -> None:
    api = start_api(reply(200, call()))
    api.client.fetch(SID)
    headers = api.server.received[0].headers
    assert headers["Authorization"] == "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    assert headers["User-Agent"].endswith(f" callctl/{__version__}")
    assert headers["User-Agent"].startswith("twilio-python/")
    assert headers["Accept"] == "application/json"


def test_an_api_key_signs_in_and_the_account_stays_in_the_path(start_api: StartApi) -> None:
    key = "SK" + "2" * 32
    api = start_api(reply(200, call()), auth_token=None, api_key=key, api_secret="fake-secret")
    api.client.fetch(SID)
    sent = api.server.received[0]
    assert sent.target == f"{CALLS}/{SID}.json"
    assert sent.headers["Authorization"] == "Basic " + base64.b64encode(f"{key}:fake-secret".encode()).decode()


def test_an_exported_region_does_not_change_the_host(start_api: StartApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    monkeypatch.setenv("TWILIO_EDGE", "dublin")
    api = start_api(reply(200, call()))
    api.client.fetch(SID)
    assert len(api.server.received) == 1


def test_a_base_address_with_a_path_and_sids_that_are_uuids(start_api: StartApi) -> None:
    account = "0a8b7c6d-1111-4222-8333-444455556666"
    api = start_api(reply(200, call(UUID)), path="/api/laml", account_sid=account)
    assert api.client.hangup(UUID).sid == UUID
    assert api.server.received[0].target == f"/api/laml/2010-04-01/Accounts/{account}/Calls/{UUID}.json"


@pytest.mark.parametrize(
    "sid", ["", ".", "..", "CAxxx", "CA" + "g" * 32, f"{SID}/../../x", f"{SID}?x=1", f"{SID}#", SID + "\n", "CA%2e%2e"]
)
def test_what_can_not_be_a_sid_goes_nowhere(start_api: StartApi, sid: str) -> None:
    api = start_api(reply(200, call()))
    with pytest.raises(UsageError):
        api.client.hangup(sid)
    assert api.server.received == []


def test_a_long_sid_with_a_colon_is_escaped(start_api: StartApi) -> None:
    api = start_api(reply(200, call("v3:0123456789abcdef0123456789")))
    api.client.fetch("v3:0123456789abcdef0123456789")
    assert api.server.received[0].path == f"{CALLS}/v3%3A0123456789abcdef0123456789.json"


@pytest.mark.parametrize(
    "missing",
    [
        {"account_sid": None},
        {"auth_token": None},
        {"account_sid": None, "auth_token": None},
        {"api_key": "SK" + "2" * 32},
    ],
)
def test_without_credentials_nothing_is_sent(start_api: StartApi, missing: dict[str, Any]) -> None:
    api = start_api(reply(200, call()), **missing)
    attempts: list[Callable[[], Any]] = [
        lambda: api.client.fetch(SID),
        lambda: api.client.hangup(SID),
        lambda: api.client.place(FULL),
        lambda: list(api.client.list(CallFilter(), limit=None)),
        lambda: api.client.notifications(SID),
    ]
    for attempt in attempts:
        with pytest.raises(SettingsError, match="missing credentials"):
            attempt()
    assert api.server.received == []


@pytest.mark.parametrize("token", ["tok\nen", "tok“en”", "tok\x00en"])
def test_a_token_with_odd_characters_is_refused_and_not_shown(start_api: StartApi, token: str) -> None:
    api = start_api(reply(200, call()), auth_token=token)
    with pytest.raises(SettingsError) as caught:
        api.client.fetch(SID)
    assert "tok" not in caught.value.message.replace("token", "")
    assert api.server.received == []


def test_text_goes_as_utf_8_and_what_is_no_text_does_not_go(start_api: StartApi) -> None:
    api = start_api(reply(201, call()))
    twiml = "<Response><Say>Grüße + 你好 & 50%</Say></Response>"
    api.client.place(PlaceRequest(to="+12025550100", from_="+15005550006", twiml=twiml))
    assert dict(api.server.received[0].form)["Twiml"] == twiml
    broken = PlaceRequest(to="+12025550100", from_="+15005550006", twiml=os.fsdecode(b"<Response>\xff</Response>"))
    with pytest.raises(UsageError, match="not text"):
        api.client.place(broken)
    assert len(api.server.received) == 1


def test_one_document_is_needed_and_only_one() -> None:
    cases: list[dict[str, Any]] = [{}, {"url": "https://example.com", "twiml": "<Response/>"}]
    for both in cases:
        with pytest.raises(UsageError, match="exactly one"):
            PlaceRequest(to="+12025550100", from_="+15005550006", **both)
        with pytest.raises(UsageError, match="exactly one"):
            RedirectRequest(**both)


def test_an_unknown_event_is_refused_since_twilio_would_then_send_none() -> None:
    with pytest.raises(UsageError, match="no such event: in-progress"):
        PlaceRequest(
            to="+12025550100", from_="+15005550006", twiml="<Response/>", status_callback_events=("in-progress",)
        )


def test_a_new_status_callback_needs_a_url() -> None:
    with pytest.raises(UsageError, match="needs a URL"):
        RedirectRequest(twiml="<Response/>", status_callback="https://example.com/status")


def test_false_is_sent_and_absent_is_not() -> None:
    request = PlaceRequest(to="+12025550100", from_="+15005550006", twiml="<Response/>", record=False)
    assert request.parameters() == [
        ("To", "+12025550100"),
        ("From", "+15005550006"),
        ("Twiml", "<Response/>"),
        ("Record", "false"),
    ]


def test_the_comparison_sign_belongs_to_the_name_and_times_go_in_utc(start_api: StartApi) -> None:
    zone = timezone(timedelta(hours=5))
    call_filter = CallFilter(
        to="+12025550100",
        from_="+15005550006",
        parent=SID,
        statuses=("ringing",),
        since=datetime(2026, 1, 5, 3, 4, 5, tzinfo=zone),
        until=datetime(2026, 1, 6, tzinfo=UTC),
    )
    api = start_api(reply(200, {"calls": [], "next_page_uri": None}))
    assert list(api.client.list(call_filter, limit=None)) == []
    (sent,) = api.server.received
    assert sent.query == [
        ("To", "+12025550100"),
        ("From", "+15005550006"),
        ("ParentCallSid", SID),
        ("Status", "ringing"),
        ("StartTime<", "2026-01-06T00:00:00Z"),
        ("StartTime>", "2026-01-04T22:04:05Z"),
        ("PageSize", "1000"),
    ]
    assert "StartTime%3E=2026-01-04T22%3A04%3A05Z" in sent.target


def test_calls_still_queued_are_not_asked_for_by_a_start_that_they_do_not_have() -> None:
    start = datetime(2026, 1, 5, 12, tzinfo=UTC)
    assert list_parameters(CallFilter(statuses=("queued",), since=start, until=start)) == [("Status", "queued")]


def test_of_several_statuses_rest_is_asked_for_none() -> None:
    assert list_parameters(CallFilter(statuses=("queued", "ringing"), parent=SID)) == [("ParentCallSid", SID)]


@settings(deadline=None)
@given(st.datetimes(timezones=st.timezones(), min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)))
def test_any_zone_comes_out_as_the_same_instant(moment: datetime) -> None:
    ((_, written),) = list_parameters(CallFilter(since=moment))
    assert datetime.fromisoformat(written) == moment.astimezone(UTC).replace(microsecond=0)
