"""Whatever stands in a request's head, the listener answers it or hangs up, and goes on; nothing in it is raised."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest
from aiohttp.http_exceptions import HttpProcessingError
from events import START, form
from hypothesis import given
from hypothesis import strategies as st
from listeners import PUBLIC, Start, raw, sign

from callctl.watch.listener.signature import RequestedUrl, SignatureCheck, SignedRequest

_HOSTS = [
    "[", "]", "[::1", "[::1]:x", ":", "::", "a:b:c", "@", "a@[", "%", "\xff", "a b", "", ",", "//", "℀", "[v1.x]", "..",
    "-" * 5000,
]  # fmt: skip
_TARGETS = [
    "*", "[", "//[", "http://[", "http://[::1/status", "/%", "/%ff%00", "/\xff", "?", "/?", "/status?%",
    "/status?\xff=\xfe", "/status?bodySHA256=\xff", "http://", "://", "/status#x", "//status",
    "/status;x", "/./status", "/" + "x" * 7000,
]  # fmt: skip
_URL_HEADERS = ["X-Forwarded-Host", "X-Original-Uri", "Forwarded", "X-Original-Url"]
_HEADERS = [
    *_URL_HEADERS, "X-Twilio-Signature", "Content-Type", "X-Twilio-Webhooks-Signature-Settings", "Content-Length",
    "Transfer-Encoding", "Expect", "Cookie",
]  # fmt: skip

_texts = st.text(st.characters(max_codepoint=0xFF, exclude_characters="\r\n"), max_size=20) | st.sampled_from(_HOSTS)
_BODY = b"CallSid=CA1&CallStatus=ringing"


def head(method: bytes, target: str, *headers: tuple[str, str]) -> bytes:
    lines = [f"{name}: {value}".encode("utf-8", "replace") for name, value in headers]
    first = b"%s %s HTTP/1.1" % (method, target.encode("utf-8", "replace"))
    return b"\r\n".join([first, *lines, b"Connection: close", b"", _BODY])


async def test_absurd_heads_are_answered_and_nothing_is_raised(
    start: Start, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    listener = await start()
    host, length, signature = ("Host", "x"), ("Content-Length", str(len(_BODY))), ("X-Twilio-Signature", "AAAA")
    requests = [
        *(head(b"POST", path, ("Host", text), length, signature) for path in ("/status", "/other") for text in _HOSTS),
        *(head(b"POST", "/status", host, length, signature, (name, text)) for name in _URL_HEADERS for text in _HOSTS),
        *(head(b"POST", "/status", host, length, (name, text)) for name in _HEADERS for text in _HOSTS),
        *(head(method, target, host, length, signature) for method in (b"POST", b"GET") for target in _TARGETS),
    ]
    with caplog.at_level(logging.DEBUG):
        for begin in range(0, len(requests), 20):
            answers = await asyncio.gather(*(raw(listener, one) for one in requests[begin : begin + 20]))
            assert [answer[:12] for answer in answers if answer.startswith(b"HTTP/1.1 5")] == []
    raised = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [error for error in raised if not isinstance(error, HttpProcessingError)] == []  # that is answered with 400
    fields = form(1, "ringing")
    async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
        assert answer.status == 204


@given(
    st.lists(st.tuples(st.sampled_from(_HEADERS) | st.just("Host") | _texts, _texts), max_size=6),
    _texts,
    st.none() | st.binary(max_size=5),
)
def test_no_head_can_not_be_explained(headers: list[tuple[str, str]], query: str, body: bytes | None) -> None:
    check = SignatureCheck([PUBLIC, "http://[::1]:8765/status"], keys=["t"], account_sid="AC1")
    by_name = dict(headers)
    request = SignedRequest.read("/status?" + query, by_name, pairs=(("a", "b"),), json_body=body)
    assert not check.accepts(request)
    requested = RequestedUrl.read([(name.encode("latin-1", "replace"), value.encode()) for name, value in headers])
    text = check.refusals.explain(SignedRequest("/status?" + query, (), "AAAA", json_body=body), requested=requested)
    assert text.partition(":")[0] in {"unknown cause", "a JSON body without bodySHA256", "changed JSON body"}
    assert check.refusals.explain_once(request, requested=requested, now=START)
