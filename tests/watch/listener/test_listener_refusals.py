from __future__ import annotations

from urllib.parse import urlencode

import aiohttp
import pytest
from events import ACCOUNT, form, sid
from listeners import PUBLIC, TOKEN, Reports, Start, raw, sign
from watches import Application
from yarl import URL

from callctl.calls.event_record import signed_form
from callctl.store.sqlite.store import SqliteStore
from callctl.watch.forwarding.forwarder import Forwarder
from callctl.watch.listener.server import SELFTEST_FIELD
from callctl.watch.listener.twiml_responder import NOT_FOR_TWIML

FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


def trouble(cause: str, *, url: str | None, status: int) -> dict[str, object]:
    """Return a trouble record without its words."""
    return {"v": 1, "type": "trouble", "cause": cause, "text": "", "url": url, "status": status, "call_sid": None}


@pytest.mark.parametrize("signature", [None, "", "AAAA", "\xfc\xfc", "=" * 5000])
async def test_a_wrong_signature_leaves_nothing_but_a_count(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession, signature: str | None
) -> None:
    listener = await start()
    headers = {} if signature is None else {"X-Twilio-Signature": signature}
    async with http.post(listener.url + "/status", data=form(1, "ringing"), headers=headers) as answer:
        assert (answer.status, await answer.read()) == (403, b"")
    async with http.get(listener.url + "/status?CallSid=CA1&CallStatus=busy", headers=headers) as answer:
        assert answer.status == 403
    assert (listener.refused, listener.accepted, reports.events) == (2, 0, [])
    assert list(store.replay(since=None)) == []


async def test_a_form_changed_on_the_way_is_refused(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start()
    headers = sign(PUBLIC, form(1, "ringing"))
    for changed in (form(1, "busy"), form(2, "ringing"), form(1, "ringing") | {"More": ""}):
        async with http.post(listener.url + "/status", data=changed, headers=headers) as answer:
            assert answer.status == 403


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("http://example.com/status", "wrong scheme"),
        ("https://example.com/status/", "trailing slash"),
        ("https://old.example.com/status", "wrong host"),
        ("https://example.com:8443/status", "wrong port"),
        ("http://old.example.com/status", "wrong host and scheme"),
        ("https://EXAMPLE.com/status", "capitals in the host"),
        ("https://eXample.com/status", "capitals in the host"),
        ("http://Example.com/status", "capitals in the host and scheme"),
        ("https://Example.com/status/", "capitals in the host"),
        ("https://Example.com.:8443/status", "wrong port"),
        ("https://example.com./status", "dot after the host"),
        ("https://Example.com./status", "dot after the host"),
        ("http://example.com:443/status", "wrong scheme"),  # the port is that of the listener's URL
        ("http://Example.com:443/status", "capitals in the host and scheme"),
        ("HTTPS://example.com/status", "capitals in the scheme"),
        ("HTTPS://example.com/status/", "capitals in the scheme"),
    ],
)
async def test_a_refusal_is_explained_once_per_cause(
    start: Start, reports: Reports, http: aiohttp.ClientSession, url: str, cause: str
) -> None:
    listener = await start()
    host = url.partition("://")[2].partition("/")[0]
    fields = form(1, "ringing")
    for _ in range(3):
        headers = sign(url, fields) | {"Host": host}
        async with http.post(listener.url + "/status", data=fields, headers=headers) as answer:
            assert answer.status == 403
    (text,) = reports.troubles
    assert text.to_json() | {"text": ""} == trouble("refused", url=PUBLIC, status=403)
    assert text.startswith(f"refused a request: {cause}:")
    assert url in text
    assert PUBLIC in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("https://EXAMPLE.COM/status", "capitals in the host"),
        ("https://Example.com/status/", "capitals in the host"),
        ("https://Example.Com/status", "capitals in the host"),
        ("https://example.com./status", "dot after the host"),
    ],
)
async def test_the_usual_spellings_of_the_host_are_tried_where_its_header_has_the_listeners(
    start: Start, reports: Reports, http: aiohttp.ClientSession, url: str, cause: str
) -> None:
    listener = await start()
    fields = form(1, "ringing")
    headers = sign(url, fields) | {"Host": "example.com"}
    async with http.post(listener.url + "/status", data=fields, headers=headers) as answer:
        assert answer.status == 403
    (text,) = reports.troubles
    assert text == f"refused a request: {cause}: signed over {url}, while this listener expects {PUBLIC}"


async def test_another_url_with_the_same_fault_is_explained_too_up_to_a_number(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = form(1, "ringing")
    hosts = ["Example.com", "EXAMPLE.com", "Example.com", *(f"host{number}.example.com" for number in range(40))]
    for host in [*hosts, *hosts, "example.com."]:
        headers = sign(f"https://{host}/status", fields) | {"Host": host}
        async with http.post(listener.url + "/status", data=fields, headers=headers) as answer:
            assert answer.status == 403
    said = [text.partition("signed over ")[2].partition(",")[0] for text in reports.troubles]
    # The last one has a cause of its own.
    assert said == [f"https://{host}/status" for host in [*hosts[:2], *hosts[3:17], "example.com."]]


async def test_a_path_that_was_signed_otherwise_is_explained(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start(public_url="https://example.com/hooks/calls")
    fields = form(1, "ringing")
    headers = sign("https://example.com/status", fields)
    async with http.post(listener.url + "/status", data=fields, headers=headers) as answer:
        assert answer.status == 403
    (text,) = reports.troubles
    assert "wrong path: signed over https://example.com/status" in text


@pytest.mark.parametrize(
    ("url", "headers", "cause"),
    [
        ("https://old.example.com/status", {"X-Forwarded-Host": "old.example.com"}, "wrong host"),
        ("https://old.example.com/status", {"X-Forwarded-Host": "inner, old.example.com"}, "wrong host"),
        ("http://old.example.com:81/status", {"X-Original-Host": "old.example.com:81"}, "wrong host and scheme"),
        ("https://old.example.com/status", {"Forwarded": 'for=192.0.2.1;host="old.example.com"'}, "wrong host"),
        ("https://example.com/voice/status", {"X-Original-Uri": "/voice/status?a=b"}, "wrong path"),
        ("https://example.com/v", {"X-Original-Url": "http://inner/v"}, "wrong path"),
        (
            "https://old.example.com/v",
            {"X-Forwarded-Host": "old.example.com", "X-Forwarded-Uri": "/v"},
            "wrong host",
        ),
    ],
)
async def test_what_a_proxy_changed_is_found_where_it_says_so(
    start: Start, reports: Reports, http: aiohttp.ClientSession, url: str, headers: dict[str, str], cause: str
) -> None:
    listener = await start()
    fields = form(1, "ringing")
    async with http.post(listener.url + "/status", data=fields, headers=sign(url, fields) | headers) as answer:
        assert answer.status == 403  # it is believed nowhere else
    (text,) = reports.troubles
    assert text.startswith(f"refused a request: {cause}: signed over {url} (by {next(iter(headers))})")


async def test_a_query_that_was_added_on_the_way_is_named(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = form(1, "ringing")
    async with http.post(listener.url + "/status?from=proxy", data=fields, headers=sign(PUBLIC, fields)) as answer:
        assert answer.status == 403
    assert [text.split(": ")[1] for text in reports.troubles] == ["query added"]


async def test_json_that_nobody_vouches_for_is_named(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    body = b'{"CallSid": "CA1", "CallStatus": "ringing"}'
    for query in ("", "?bodySHA256=" + "0" * 64):
        headers = sign(PUBLIC + query) | {"Content-Type": "application/json"}
        async with http.post(listener.url + "/status" + query, data=body, headers=headers) as answer:
            assert answer.status == 403
    causes = [text.split(": ")[1] for text in reports.troubles]
    assert causes == ["a JSON body without bodySHA256", "changed JSON body"]


async def test_other_tokens_and_accounts_are_explained(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start(other_keys=("the-auth-token",))
    fields = form(1, "ringing")
    subaccount = fields | {"AccountSid": "AC" + "1" * 32}
    tried = [
        (fields, sign(PUBLIC, fields, token="the-auth-token")),
        (subaccount, sign(PUBLIC, subaccount, token="its own")),
        (fields, sign(PUBLIC, fields, token="unheard of")),
        (fields, {}),
    ]
    for sent, headers in tried:
        async with http.post(listener.url + "/status", data=sent, headers=headers) as answer:
            assert answer.status == 403
    causes = [text.removeprefix("refused a request: ").partition(":")[0] for text in reports.troubles]
    assert causes == ["other token", "other account", "unknown cause", "no signature"]


async def test_the_hosts_word_is_not_taken(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start()
    fields = form(1, "ringing")
    forwarded = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    headers = sign("https://evil.example/status", fields) | forwarded
    async with http.post(listener.url + "/status", data=fields, headers=headers) as answer:
        assert answer.status == 403


async def test_signed_requests_to_another_path_are_reported_once_and_counted(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start(public_url="https://example.com/hooks/status")
    fields = form(1, "ringing")
    sent = [
        ("/voice/status", sign("https://example.com/voice/status", fields)),
        ("/voice/status", sign("https://example.com/voice/status", fields)),
        ("/voice/status?a=b", sign("https://example.com/voice/status?a=b", fields)),
        ("/voice/status", sign("https://example.com/hooks/voice/status", fields)),  # a proxy that cuts off the front
        ("/changed", sign("https://example.com/hooks/status", fields)),  # one that changes the path
        ("/", sign("https://example.com", fields)),
        ("/", sign(listener.url + "/", fields)),
    ]
    for path, headers in sent:
        async with http.post(listener.url + path, data=fields, headers=headers) as answer:
            assert (path, answer.status) == (path, 404)
    signed = sign("https://example.com/polled?CallSid=CA1&CallStatus=busy")
    async with http.get(listener.url + "/polled?CallSid=CA1&CallStatus=busy", headers=signed) as answer:
        assert answer.status == 404
    causes = [text.partition(": ")[0] for text in reports.troubles]
    assert causes == [
        f"signed requests come to {path}, this watch listens at /status"
        for path in ("/voice/status", "/changed", "/", "/polled")
    ]
    assert "https://example.com/hooks/status" in reports.troubles[0]
    assert reports.troubles[0].to_json() | {"text": ""} == trouble("misdirected", url="/voice/status", status=404)
    assert (listener.misdirected, listener.refused, reports.events) == (8, 0, [])
    assert listener.health["misdirected"] == {"count": 8, "path": "/polled"}
    for number in range(20):
        url = f"/{number}" + "x" * 300
        headers = sign(f"https://example.com{url}", fields)
        async with http.post(listener.url + url, data=fields, headers=headers) as answer:
            assert answer.status == 404
    assert (len(reports.troubles), listener.misdirected) == (8, 28)
    assert max(map(len, reports.troubles)) < 500


async def test_a_form_that_a_redirect_has_lost_is_reported(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    for _ in range(2):
        async with http.get(listener.url + "/status", headers=sign(PUBLIC)) as answer:
            assert answer.status == 204
    async with http.get(listener.url + "/status?step=2", headers=sign(PUBLIC + "?step=2")) as answer:
        assert answer.status == 204  # an application that redirects to itself
    anybody = await start(keys=None)
    async with http.get(anybody.url + "/status") as answer:
        assert answer.status == 204  # nothing is signed
    (lost,) = reports.troubles
    assert lost.startswith(
        "a signed GET without a form came to the callback URL: a redirect on the way, as from http to"
    )
    assert PUBLIC in lost
    assert (lost.cause, listener.ignored) == ("misdirected", 3)


async def test_a_media_stream_that_is_to_be_opened_here_is_reported(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    opening = {"Connection": "Upgrade", "Upgrade": "WebSocket"}
    wss = PUBLIC.replace("https", "wss").removesuffix("/status")
    for url in (wss, wss, listener.url.replace("http", "wss")):
        for path, headers in (("/media", opening), ("/other", {})):  # the latter behind a proxy
            async with http.get(listener.url + path, headers=headers | sign(url + path)) as answer:
                assert answer.status == 404
    async with http.get(listener.url + "/x", headers=opening | sign("wss://example.org/x")) as answer:
        assert answer.status == 404  # not signed over an address of ours
    assert [text.partition(",")[0] for text in reports.troubles] == [
        "a media stream was to be opened at /media",
        "a media stream was to be opened at /other",
    ]
    assert reports.troubles[0].to_json() | {"text": ""} == trouble("twiml", url="/media", status=404)
    assert (listener.counts.refusals["stream"], listener.misdirected) == (6, 0)


async def test_nobody_can_fill_the_screen_with_paths_of_his_own(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = form(1, "ringing")
    for headers in ({}, {"X-Twilio-Signature": "AAAA"}, sign("https://example.org/other", fields)):
        async with http.post(listener.url + "/other", data=fields, headers=headers) as answer:
            assert answer.status == 404
    anybody = await start(keys=None)  # where nothing is verified, the sender is unknown
    async with http.post(anybody.url + "/other", data=fields, headers=sign(anybody.url + "/other", fields)) as answer:
        assert answer.status == 404
    assert (listener.misdirected, anybody.misdirected, reports.troubles) == (0, 0, [])
    assert "misdirected" not in listener.health


async def test_an_application_gets_no_request_that_was_not_signed_over_its_path(
    start: Start, http: aiohttp.ClientSession, application: Application
) -> None:
    forwarder = Forwarder([application.url], note=lambda _line: None, trouble=lambda _trouble: None)
    forwarder.start()
    listener, anybody = await start(forwarder=forwarder), await start(keys=None, forwarder=forwarder)
    fields = form(1, "ringing")
    text = signed_form(tuple(fields.items()))
    cut = text.index("CallSid")
    rest = {name: value for name, value in fields.items() if name >= "CallSid"}
    longer = {f"/status{name}" if name == "AccountSid" else name: value for name, value in fields.items()}
    at_root = PUBLIC.removesuffix("/status") + "/"
    tried = [
        ("/gather", fields, {}),
        ("/gather", fields, {"X-Twilio-Signature": "AAAA"}),
        ("/gather", fields, sign(PUBLIC, fields)),  # by a proxy that changes the path
        ("/gather", fields, sign("https://example.org/gather", fields)),
        ("/status" + text[:cut], rest, sign(PUBLIC, fields)),  # a callback to the watch, cut again
        ("/", longer, sign(PUBLIC, fields)),
        ("/", fields, sign(at_root.rstrip("/"), fields)),
        ("/stat", {f"us{text}": ""}, sign(PUBLIC, fields)),
        ("/gather" + text[:cut], rest, sign(PUBLIC.replace("/status", "/gather"), fields)),
    ]
    for path, sent, headers in tried:
        async with http.post(listener.url + path, data=sent, headers=headers) as answer:
            assert (path, answer.status) == (path, 404)
    as_target = "/status" + text[:cut] + "?" + text[cut:]
    for path, headers in [
        ("/status" + text, sign(PUBLIC, fields)),  # the same cut again as a GET
        (as_target, sign(PUBLIC, fields)),
        ("/gather", sign("https://example.org/gather")),
        (f"/status{SELFTEST_FIELD}{'a' * 32}", sign(PUBLIC, {SELFTEST_FIELD: "a" * 32})),
        ("/gather?AccountSi%64=x", sign(PUBLIC.replace("/status", "/gather?AccountSid=x"))),
    ]:
        async with http.get(listener.url + path, headers=headers) as answer:
            assert (path, answer.status) == (path, 404)
    async with http.post(anybody.url + "/gather", data=fields, headers=sign(anybody.url + "/gather", fields)) as answer:
        assert answer.status == 404  # where nothing is verified
    async with http.post(listener.url + "/", data=fields, headers=sign(at_root, fields)) as answer:
        assert answer.status == 204
    for url in (listener.url, PUBLIC.removesuffix("/status")):
        async with http.post(listener.url + "/gather", data=fields, headers=sign(url + "/gather", fields)) as answer:
            assert answer.status == 204
    await forwarder.stop()
    assert [one.target for one in application.sent] == ["/", "/gather", "/gather"]


async def test_other_paths_and_methods(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start()
    fields = form(1, "ringing")
    for method, path, status, allow in [
        ("POST", "/", 404, None),
        ("POST", "/statuses", 404, None),
        ("POST", "//status", 404, None),
        ("PUT", "/statuses", 404, None),
        ("GET", "/status/../healthz/x", 404, None),
        ("PUT", "/status", 405, "GET, POST"),
        ("DELETE", "/status", 405, "GET, POST"),
        ("POST", "/healthz", 405, "GET"),
    ]:
        url = listener.url + path
        async with http.request(method, url, data=fields, headers=sign(PUBLIC, fields)) as answer:
            assert (method, path, answer.status, answer.headers.get("Allow")) == (method, path, status, allow)
    assert (listener.accepted, listener.refused) == (0, 0)


async def test_a_slash_too_many_at_the_end_of_the_path_is_left_to_the_signature(
    start: Start, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = form(1, "ringing")
    for token, status in ((TOKEN, 204), ("another", 403)):
        headers = sign(PUBLIC, fields, token=token)
        async with http.post(f"{listener.url}/status/", data=fields, headers=headers) as answer:
            assert answer.status == status
    assert (listener.accepted, listener.refused) == (1, 1)


async def test_a_signed_request_that_is_no_calls_is_let_pass(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = {"MessageSid": "SM1", "MessageStatus": "sent"}
    async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
        assert answer.status == 204
    assert (listener.ignored, listener.accepted, reports.events) == (1, 0, [])


async def test_bytes_that_are_no_text_are_refused_like_any_forgery(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start()
    headers = sign(PUBLIC, form(1, "ringing")) | FORM_TYPE
    async with http.post(listener.url + "/status", data=bytes(range(256)), headers=headers) as answer:
        assert answer.status == 403
    answer_to_get = await raw(
        listener, b"GET /status?a=\xff\xfe HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: \xff\r\nConnection: close\r\n\r\n"
    )
    assert answer_to_get.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))


async def test_a_signed_form_that_is_no_utf8_is_taken_or_refused_but_never_fatal(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = form(1, "ringing") | {"CallerName": "\ufffd"}
    body = b"&".join(
        name.encode() + b"=" + (b"%FF" if name == "CallerName" else value.replace("+", "%2B").encode())
        for name, value in fields.items()
    )
    async with http.post(listener.url + "/status", data=body, headers=sign(PUBLIC, fields) | FORM_TYPE) as answer:
        assert answer.status == 204
    (event,) = await reports.of(1)
    assert event.caller_name == "\ufffd"


async def test_the_event_is_reported_whole_even_with_escapes_in_every_field(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = {name: "\x1b[2J\x00\r\n" + value for name, value in form(1, "ringing").items()}
    async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
        assert answer.status == 204
    (event,) = await reports.of(1)
    assert event.call_sid == "\x1b[2J\x00\r\n" + sid(1)
    assert dict(event.form) == fields


async def test_a_callback_that_can_be_read_in_several_ways_is_no_event_and_said_once(
    start: Start, reports: Reports, http: aiohttp.ClientSession, store: SqliteStore
) -> None:
    listener = await start()
    query = urlencode(form(1, "ringing", CallerName=f"CallSid{sid(9)}CallStatuscompletedZ"))
    for _ in range(2):
        url = URL(f"{listener.url}/status?{query}", encoded=True)
        async with http.get(url, headers=sign(f"{PUBLIC}?{query}")) as reply:
            assert reply.status == 204
    assert (listener.accepted, listener.ignored, list(store.replay(since=None))) == (0, 2, [])
    (trouble,) = reports.troubles
    assert (trouble.cause, trouble.call_sid) == ("ambiguous", sid(1))
    assert f"signed, of {sid(1)} can be read" in trouble
    assert reports.ambiguous == [([sid(1)], sid(1))]


async def test_no_reading_of_what_was_ambiguous_once_is_an_event(
    start: Start, reports: Reports, http: aiohttp.ClientSession, store: SqliteStore
) -> None:
    listener = await start()
    genuine = form(1, "ringing", parent=2)
    cut = {name: value for name, value in genuine.items() if name != "ParentCallSid"}
    cut["From"] += f"ParentCallSid{sid(2)}"  # without its parent, but with one signature
    for fields in (cut, genuine):
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, genuine)) as reply:
            assert reply.status == 204
    assert (listener.accepted, listener.ignored, list(store.replay(since=None))) == (0, 2, [])
    assert reports.ambiguous == [([sid(1)], sid(1))]


async def test_of_what_names_two_calls_before_its_own_none_sent_it(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = form(1, "ringing", AddOns=f"CallSid{sid(9)}CallStatuscompletedZ", ApiVersion="2010-04-01")
    async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as reply:
        assert reply.status == 204
    assert reports.ambiguous == [([sid(9), sid(1)], None)]
    (trouble,) = reports.troubles
    assert f"{sid(9)}, {sid(1)}" in trouble
    assert listener.accepted == 0


async def test_a_call_that_only_the_name_of_a_room_names_is_not_the_sender(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    room = {"AccountSid": ACCOUNT, "ConferenceSid": "CF" + "0" * 32, "StatusCallbackEvent": "conference-start"}
    fields = room | {"FriendlyName": f"CallSid{sid(9)}CallStatuscompletedZ"}
    async with http.post(
        listener.url + "/status?room=7", data=fields, headers=sign(f"{PUBLIC}?room=7", fields)
    ) as reply:
        assert reply.status == 204
    assert reports.ambiguous == [([sid(9)], None)]
    (trouble,) = reports.troubles
    assert (trouble.cause, trouble.call_sid, listener.accepted) == ("ambiguous", None, 0)


async def test_who_calls_himself_like_a_callback_gets_his_document(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start(documents=("d",))
    query = urlencode(form(1, "ringing", CallerName=f"CallSid{sid(9)}CallStatuscompletedZ"))
    url, signed = f"{listener.url}/twiml/d?{query}", f"{PUBLIC.removesuffix('/status')}/twiml/d?{query}"
    async with http.get(URL(url, encoded=True), headers=sign(signed)) as reply:
        assert reply.status == 404  # what answers with documents is not there in this test
        assert await reply.text() == NOT_FOR_TWIML
    assert reports.ambiguous == [([sid(1)], sid(1))]


async def test_where_nothing_is_verified_a_callback_is_an_event_as_it_is_read(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start(keys=None)
    query = urlencode(form(1, "ringing", CallerName=f"CallSid{sid(9)}CallStatuscompletedZ"))
    async with http.get(URL(f"{listener.url}/status?{query}", encoded=True)) as reply:
        assert reply.status == 204
    (event,) = await reports.of(1)
    assert (event.call_sid, event.status, event.verified) == (sid(1), "ringing", False)
    assert (listener.ignored, reports.troubles) == (0, [])
