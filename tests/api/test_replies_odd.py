"""Replies with contents that no API sends: what can't be read counts as absent, and no call loses its SID."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api.conftest import ACCOUNT, TOKEN, StartApi, client_at
from api.raw import RawServer, whole
from api.scripted import Turn, call, cut, drop, reply
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from callctl.api.client import ApiClient
from callctl.api.replies import Reply
from callctl.api.requests import PlaceRequest, RedirectRequest
from callctl.api.resources import Account, Notification
from callctl.api.retries import pause_before_retry
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.filter import CallFilter
from callctl.errors import ApiError, CallctlError, OutcomeUnknownError
from callctl.settings import Settings
from callctl.support.dates import parse_date
from callctl.support.parsing import parse_int, parse_price, read_json
from callctl.views.terminal_safe import json_text

SID = "CA" + "1" * 32
FAR = b"Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
REQUEST = PlaceRequest(to="+12025550100", from_="+15005550006", url="https://example.com/twiml")
BODY = json.dumps(call()).encode()

odd_json: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -(10**300), 1e300, float("nan"), float("inf"), -float("inf")])
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(
        [
            "\ud800",
            "http://[::1",
            "//[",
            FAR.decode(),
            "9" * 5000,
            "1e999999999",
            "10E999999",
            "1E-999999",
            "0E999999",
            "sNaN",
            "\x1b[2J",
            "-0000",
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
CALL_FIELDS = [*call(), "price", "duration", "queue_time", "start_time", "end_time", "date_created", "caller_name", "x"]
odd_fields = st.dictionaries(st.sampled_from([name for name in CALL_FIELDS if name != "sid"]), odd_json)
header_values = st.one_of(
    st.sampled_from([FAR, b"\xff\xfe", b"application/json; charset", b"http://[::1", b"-1", b"9" * 40, b""]),
    st.binary(max_size=30).map(lambda raw: raw.translate(None, b"\r\n\0")),
)
HEADERS = ["Date", "Content-Type", "Set-Cookie", "Retry-After", "Twilio-Request-Id", "Location", "Link", "X-\x80"]
odd_headers = st.dictionaries(st.sampled_from(HEADERS[:-1]), header_values)
quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer(whole(500, b"")) as server:
        yield server


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()  # NaN and halves of surrogate pairs included


@quick
@given(headers=odd_headers, fields=odd_fields)
@example(headers={"Date": FAR}, fields={})
@example(headers={"Content-Type": b"application/json; charset"}, fields={})
@example(headers={}, fields={"price": "10E999999"})
@example(headers={}, fields={"price": "-1E-999999"})
@example(headers={}, fields={"price": "1e999", "x": float("nan"), "to": "\ud800"})
def test_a_placed_call_has_its_sid_whatever_else_is_reported(
    server: RawServer, headers: dict[str, bytes], fields: dict[str, Any]
) -> None:
    server.answer = whole(201, as_json(call() | fields), headers)
    placed = client_at(server.url).place(REQUEST)
    assert placed.sid == SID
    text = json_text(placed.to_json())
    assert json.loads(text, parse_constant=pytest.fail)["sid"] == SID
    text.encode()


@quick
@given(status=st.integers(300, 599), headers=odd_headers, body=odd_json)
@example(status=302, headers={"Location": b"http://[::1"}, body=None)
@example(status=429, headers={"Retry-After": FAR, "Date": FAR}, body=None)
def test_every_refusal_is_one(server: RawServer, status: int, headers: dict[str, bytes], body: Any) -> None:
    server.answer = whole(status, as_json(body), headers)
    with pytest.raises(ApiError) as caught:
        client_at(server.url).place(REQUEST)
    assert caught.value.message.isprintable()


@quick
@given(page=odd_json, uri=odd_json, row=odd_fields)
@example(page=None, uri="http://[::1", row={})
@example(page=None, uri="//[", row={})
def test_a_list_has_the_rows_that_can_be_read(server: RawServer, page: Any, uri: Any, row: dict[str, Any]) -> None:
    answers = [{"calls": [page, call() | row], "next_page_uri": uri}, {"calls": [], "next_page_uri": None}]
    remaining = iter(answers)
    server.answer = lambda: whole(200, as_json(next(remaining, answers[-1])))()
    calls = list(client_at(server.url).list(CallFilter(), limit=None))
    assert SID in [one.sid for one in calls]
    for one in calls:
        CallEvent.from_call(one, received_at=parse_date("2026-01-05"), world="w").to_record()  # type: ignore[arg-type]


@pytest.mark.parametrize("uri", ["http://[::1", "//[", "http://a\u2100/", 1, True, [], {"uri": "/Calls.json?Page=1"}])
def test_a_list_that_may_go_on_is_said_to(uri: object, server: RawServer) -> None:
    server.answer = whole(200, as_json({"calls": [call()], "next_page_uri": uri}))
    said: list[str] = []
    at = ApiClient(
        Settings(account_sid=ACCOUNT, auth_token=TOKEN, api_url=server.url),
        sleep=lambda _seconds: None,
        random=lambda: 0.5,
        on_warning=said.append,
    )
    assert [one.sid for one in at.list(CallFilter(), limit=None)] == [SID]
    assert said == ["the list may be incomplete: the address of its next page can't be read"]


@settings(deadline=None)
@given(value=odd_json, resource=st.dictionaries(st.sampled_from([*CALL_FIELDS, "message_text", "log"]), odd_json))
def test_every_reader_of_a_field_takes_everything(value: Any, resource: dict[str, Any]) -> None:
    for read in (parse_date, parse_int, parse_price):
        read(value)
    Notification.from_resource(resource)
    for kind in (Call, Account):
        try:
            kind.from_resource(resource)
        except ValueError:
            assert not resource.get("sid") or not isinstance(resource["sid"], str)


@settings(deadline=None)
@given(text=st.text() | st.sampled_from([FAR.decode(), "Mon, 01 Jan 2024 00:00:00 +99999999999"]))
def test_every_date_is_read_or_absent(text: str) -> None:
    answer = Reply("host", 429, {"Date": text, "Retry-After": text}, "")
    assert answer.date is None or answer.date.tzinfo is not None
    assert 0 <= pause_before_retry(0.1, answer) <= 30


@settings(deadline=None)
@given(text=st.text() | odd_json.map(json.dumps))
def test_json_is_read_and_can_be_written_again(text: str) -> None:
    try:
        value = read_json(text)
    except ValueError:
        return
    written = json_text(value)
    json.loads(written, parse_constant=pytest.fail)
    written.encode()


def test_what_json_can_not_hold_is_written_as_null() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert json_text({"a": float("inf"), "b": "\ud800"}) == '{"a": null, "b": "\ufffd"}'
    assert json.loads(json_text(deep), parse_constant=pytest.fail)
    with pytest.raises(ValueError, match="deep"):
        read_json("[" * 500_000)


COMPRESSED = gzip.compress(BODY, mtime=0)
BOMB = gzip.compress(BODY[:-1] + b', "x": "' + b" " * 80_000_000 + b'"}', compresslevel=1, mtime=0)


@pytest.mark.parametrize(
    ("body", "headers"),
    ids=lambda _value: "",
    argvalues=[
        (COMPRESSED, {"Content-Encoding": b"gzip"}),
        (zlib.compress(BODY), {"Content-Encoding": b"deflate"}),
        (zlib.compress(BODY, wbits=-15), {"Content-Encoding": b"deflate"}),
        (BODY, {"Content-Encoding": b"gzip"}),  # it is not
        (BODY, {"Content-Encoding": b"br"}),
        (codecs.BOM_UTF8 + BODY, {"Content-Encoding": b"gzip"}),
        (BODY, {"Transfer-Encoding": b"chunked"}),  # it is not
        (COMPRESSED, {"Transfer-Encoding": b"chunked", "Content-Encoding": b"gzip"}),
        (COMPRESSED[:-6], {"Content-Encoding": b"gzip"}),  # without its end
        (COMPRESSED[:-6] + b"\0" * 6, {"Content-Encoding": b"gzip"}),
        (BOMB, {"Content-Encoding": b"gzip"}),
        (BODY, {"Content-Length": str(len(BODY) + 100).encode()}),
        (BODY[:60], {"Content-Length": b"5000"}),  # cut off after the SID
        (BODY[:60], {"Content-Length": b"60"}),
        (BODY[:-1], {}),
        (b"\xff\xfe" + BODY, {}),
        (BODY, {"Content-Type": b"text/html; charset=utf-7"}),
        (BODY, {"Transfer-Encoding": b"gzip, odd"}),
        (b'{"call": ' + BODY + b"}", {}),
        (as_json({"sid": 5, "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{SID}.json"}), {}),
        (b'{"sid": "' + SID.encode() + b'", "x": ' + b"[" * 100_000, {}),
        (b'{"x": ' + b"9" * 5000 + b', "sid": "' + SID.encode() + b'"}', {}),
    ],
)
def test_a_body_of_any_kind_gives_the_sid(server: RawServer, body: bytes, headers: dict[str, bytes]) -> None:
    server.answer = whole(201, body, headers)
    assert client_at(server.url).place(REQUEST).sid == SID


def test_a_mark_of_the_byte_order_is_no_part_of_a_body(server: RawServer) -> None:
    server.answer = whole(201, codecs.BOM_UTF8 + BODY, {"Content-Encoding": b"gzip"})
    assert client_at(server.url).place(REQUEST).status == json.loads(BODY)["status"] != ""


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"sid": null}', BODY[:20], b"{" * 100_000])
def test_a_placed_call_without_a_sid_is_reported(server: RawServer, body: bytes) -> None:
    server.answer = whole(201, body)
    with pytest.raises(OutcomeUnknownError, match="may have been placed, but its SID can't be read") as caught:
        client_at(server.url).place(REQUEST)
    assert caught.value.hint == "before you place it again, look: `callctl list --live --to +12025550100`"


def test_a_redirect_whose_answer_breaks_off_was_done(start_api: StartApi) -> None:
    api = start_api(cut(BODY[:60]))
    assert api.client.redirect(SID, RedirectRequest(url="https://example.com/x")).sid == SID
    assert len(api.server.received) == 1


@pytest.mark.parametrize("turn", [cut, lambda body: reply(200, body)])
def test_a_redirect_whose_answer_names_another_call_may_have_been_done(
    start_api: StartApi, turn: Callable[[bytes], Turn]
) -> None:
    api = start_api(turn(json.dumps(call("CA" + "2" * 32)).encode()))
    with pytest.raises(OutcomeUnknownError, match="may have been redirected"):
        api.client.redirect(SID, RedirectRequest(url="https://example.com/x"))
    assert len(api.server.received) == 1


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        (lambda client: client.hangup(SID), "the call may have been ended"),
        (lambda client: client.cancel(SID), "the call may have been ended"),
        (lambda client: client.limit_time(SID, 60), "the call's length may have been limited"),
    ],
    ids=["hangup", "cancel", "limit"],
)
@pytest.mark.parametrize(
    ("turn", "is_done"),
    [
        (reply(200, b"<html>"), True),
        (reply(200, call("CA" + "2" * 32)), True),
        (cut(BODY), True),
        (drop(), True),
        (reply(502), True),
        (reply(302), True),
        (reply(403), False),
        (reply(404), False),
        (reply(429), False),
    ],
    ids=["page", "other", "cut", "drop", "502", "302", "403", "404", "429"],
)
def test_a_change_whose_answer_can_not_be_read_is_said_to_be_in_doubt(
    start_api: StartApi, change: Callable[[ApiClient], Call], doubt: str, turn: Turn, is_done: bool
) -> None:
    api = start_api(turn)
    with pytest.raises(CallctlError) as caught:
        change(api.client)
    assert caught.value.may_be_done is is_done
    assert caught.value.message.endswith(f"; {doubt}") is is_done
    assert (caught.value.hint or "").startswith(f"look: `callctl show {SID}`") is is_done
    assert str(caught.value) == caught.value.message


def test_a_broken_answer_to_a_question_is_asked_for_again(start_api: StartApi) -> None:
    api = start_api(cut(BODY), reply(200, BODY))
    assert api.client.fetch(SID).status == "queued"
    assert len(api.server.received) == 2


@quick
@given(head=st.binary(max_size=60))
def test_a_head_that_is_none_is_an_error_of_ours(server: RawServer, head: bytes) -> None:
    server.answer = lambda: iter([head + b"\r\n\r\n"])
    with pytest.raises(CallctlError):
        client_at(server.url).fetch(SID)
