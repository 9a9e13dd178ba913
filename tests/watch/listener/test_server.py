"""Requests as they arrive: bodies with a limit, what is no HTTP, clients that never finish, forms."""

from __future__ import annotations

import asyncio
import gzip
import re
from typing import cast
from urllib.parse import parse_qsl, urlencode

import aiohttp
import pytest
from aiohttp import web
from events import form
from hypothesis import given
from hypothesis import strategies as st
from listeners import PUBLIC, FailingStore, Reports, Start, raw, sign

from callctl.calls.event import CallEvent
from callctl.watch.listener.server import BodyRefusedError, Limits, _pairs, serve

PIECES = st.sampled_from(["&", "=", "%", "+", "%2B", "%41", "%ff", "%C3%A9", "%00", ";", "a", "é", " ", "\0", "\ufffd"])


@given(st.lists(PIECES, max_size=60).map("".join))
def test_a_form_is_read_as_by_the_standard_library(text: str) -> None:
    assert _pairs(text) == tuple(parse_qsl(text, keep_blank_values=True))


@pytest.mark.parametrize("value", ["%2B" * 21, "%2B" * 22, "a+" * 400, "%e9" * 3000])
def test_long_values_are_unescaped_too(value: str) -> None:
    assert _pairs(f"To={value}") == tuple(parse_qsl(f"To={value}"))


def test_a_form_of_more_fields_than_anybody_sends_is_refused() -> None:
    assert len(_pairs("&".join(["a=1"] * 2000))) == 2000
    with pytest.raises(BodyRefusedError) as caught:
        _pairs("&".join(["a=1"] * 2001))
    assert caught.value.status == 400


FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


async def test_the_answer_that_is_prepared_is_the_one_that_aiohttp_makes(start: Start) -> None:
    listener = await start()
    fields = form(1, "ringing")
    body = urlencode(fields)

    def request(version: str, *more: str) -> bytes:
        lines = [f"POST /status HTTP/{version}", "Host: x", *(": ".join(item) for item in sign(PUBLIC, fields).items())]
        lines += [*(": ".join(item) for item in FORM_TYPE.items()), f"Content-Length: {len(body)}", *more]
        return "\r\n".join([*lines, "", body]).encode()

    def undated(answer: bytes) -> bytes:
        return re.sub(rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", b"Date\r\n", answer)

    usual, again, last = undated(await raw(listener, request("1.1") * 2 + request("1.1", "Connection: close"))).split(
        b"\r\n\r\n"
    )[:3]
    assert usual == again
    assert last == usual + b"\r\nConnection: close"
    assert usual.startswith(b"HTTP/1.1 204 No Content\r\nDate\r\nServer: ")
    old = undated(await raw(listener, request("1.0", "Connection: keep-alive") + request("1.0")))
    kept, closed = old.split(b"\r\n\r\n")[:2]
    assert closed == usual.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert kept == closed + b"\r\nConnection: keep-alive"


async def test_a_body_of_64_kib_is_taken_and_a_longer_one_is_not(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start()
    short = form(1, "ringing")
    room = 64 * 1024 - len("&".join(f"{name}={value}" for name, value in short.items())) - 200
    for filler, status in ((room, 204), (64 * 1024, 413), (900_000, 413)):
        fields = short | {"Filler": "x" * filler}
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            assert answer.status == status


async def test_a_long_body_in_chunks_is_cut_off(start: Start) -> None:
    listener = await start()
    head = b"POST /status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await raw(listener, head + b"10000\r\n" + b"x" * 0x10000 + b"\r\n1000\r\n" + b"x" * 0x1000 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_packed_body_is_not_unpacked(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start()
    fields = form(1, "ringing")
    packed = gzip.compress(b"x=" + b"0" * 50_000_000)
    assert len(packed) < 64 * 1024
    headers = sign(PUBLIC, fields) | FORM_TYPE | {"Content-Encoding": "gzip"}
    async with http.post(listener.url + "/status", data=packed, headers=headers) as answer:
        assert answer.status == 403


async def test_a_form_of_thousands_of_fields_is_refused(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start()
    async with http.post(listener.url + "/status", data=b"a&" * 5000, headers=FORM_TYPE) as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\x16\x03\x01 binary \r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /status HTTP/1.1\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_without_a_word_on_the_terminal(
    start: Start, capfd: pytest.CaptureFixture[str], http: aiohttp.ClientSession, sent: bytes
) -> None:
    listener = await start()
    answer = await raw(listener, sent)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    async with http.get(listener.health_url) as health:
        assert health.status == 200
    assert capfd.readouterr() == ("", "")


async def test_stalled_clients_are_cut_and_slow_nobody(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start(limits=Limits(header_seconds=0.2, body_seconds=0.2))
    head = b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    stalled = [
        asyncio.ensure_future(raw(listener, sent))
        for sent in (b"", b"POST /sta", b"POST /status HTTP/1.1\r\nHost: x\r\n", head, head + b"CallSid=")
    ]
    fields = form(1, "ringing")
    async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
        assert answer.status == 204
    answers = await asyncio.gather(*stalled)
    assert answers[:3] == [b""] * 3
    assert [answer.partition(b"\r\n")[0] for answer in answers[3:]] == [b"HTTP/1.1 408 Request Timeout"] * 2


async def test_a_client_that_breaks_off_harms_nobody(
    start: Start, capfd: pytest.CaptureFixture[str], http: aiohttp.ClientSession
) -> None:
    listener = await start()
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nCallSid=")
        await writer.drain()
        writer.transport.abort()
    fields = form(1, "ringing")
    async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
        assert answer.status == 204
    assert capfd.readouterr() == ("", "")


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_HEALTH = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


async def test_beyond_the_limit_of_connections_the_longest_quiet_one_gives_way(start: Start) -> None:
    listener = await start(limits=Limits(connections=3))
    quiet, earlier, later = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(3)]
    for one in (earlier, later):  # kept alive after their answers
        one[1].write(HEALTH)
        assert (await one[0].readline()).startswith(b"HTTP/1.1 200 ")
    newest = await asyncio.open_connection("127.0.0.1", listener.port)
    assert await quiet[0].read() == b""
    assert (await raw(listener, LAST_HEALTH)).startswith(b"HTTP/1.1 200 ")
    assert (await earlier[0].read()).endswith(b"}")  # the rest of its answer, and then the end
    for _, writer in (quiet, earlier, later, newest):
        writer.close()


async def test_clients_that_never_finish_their_body_give_way_to_others(
    start: Start, http: aiohttp.ClientSession
) -> None:
    listener = await start(limits=Limits(connections=3))
    head = b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nCallSid="
    stalled = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(3)]
    for _, writer in stalled:
        writer.write(head)
    assert (await raw(listener, LAST_HEALTH)).startswith(b"HTTP/1.1 200 ")  # by now their headers have been read
    for call in range(5):
        fields = form(call, "ringing")
        signed = sign(PUBLIC, fields) | {"Connection": "close"}
        async with http.post(listener.url + "/status", data=fields, headers=signed) as answer:
            assert answer.status == 204
    assert await stalled[0][0].read() == b""
    for _, writer in stalled:
        writer.close()


async def test_who_finishes_a_body_after_its_answer_gives_way_too(start: Start) -> None:
    listener = await start(limits=Limits(connections=3))
    late = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(3)]
    for reader, writer in late:
        writer.write(b"POST /elsewhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
        writer.write(b"x")
        await writer.drain()
    for _ in range(3):
        assert (await raw(listener, LAST_HEALTH)).startswith(b"HTTP/1.1 200 ")
    for _, writer in late:
        writer.close()


async def test_connections_that_are_refused_are_counted_and_reported(start: Start, reports: Reports) -> None:
    class Never:
        async def append_async(self, _event: CallEvent) -> bool:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    begun = asyncio.Event()
    listener = await start(limits=Limits(connections=1, stop_seconds=0.0), kept_by=cast(FailingStore, Never()))
    fields = form(1, "ringing")
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    head = {"Host": "x", "Content-Length": str(len(urlencode(fields)))} | FORM_TYPE | sign(PUBLIC, fields)
    lines = ["POST /status HTTP/1.1", *(": ".join(item) for item in head.items()), "", urlencode(fields)]
    writer.write("\r\n".join(lines).encode())
    await begun.wait()
    for _ in range(5):
        assert await raw(listener, LAST_HEALTH) == b""
    assert listener.counts.refusals["connections"] == 5
    said = [str(one) for one in reports.troubles if "closed at once" in one]
    assert [words.partition(" closed")[0] for words in said] == [
        "1 connection was", "2 connections were", "4 connections were"
    ]  # fmt: skip
    writer.close()


async def test_where_all_connections_are_being_answered_a_new_one_is_refused() -> None:
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def answer(_request: web.BaseRequest) -> web.Response:
        begun.release()
        await go_on.wait()
        return web.Response(status=204)

    refused: list[str] = []
    server = await serve(
        answer, host="127.0.0.1", port=0, limits=Limits(connections=3), on_refused=lambda: refused.append("one")
    )
    busy = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
    for _, writer in busy:
        writer.write(LAST_HEALTH)
        await begun.acquire()
    assert await raw(server, LAST_HEALTH) == b""
    assert refused == ["one"]
    go_on.set()
    for reader, writer in busy:
        assert (await reader.read()).startswith(b"HTTP/1.1 204 ")
        writer.close()
    for _ in range(500):  # until the server has seen that they are gone
        if causes := await raw(server, LAST_HEALTH):
            break
        await asyncio.sleep(0.01)
    assert causes.startswith(b"HTTP/1.1 204 ")
    await server.close()


@pytest.mark.parametrize("answer_seconds", [0.0, 3600.0])
async def test_who_does_not_read_an_answer_gives_way_after_a_while(answer_seconds: float) -> None:
    """Else a client without a token could keep all connections for good."""
    bodies = iter([b"x" * 10_000_000] * 3)

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=next(bodies, b"short"))

    limits = Limits(connections=3, answer_seconds=answer_seconds)
    server = await serve(answer, host="127.0.0.1", port=0, limits=limits)
    silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
    for reader, writer in silent:
        writer.write(HEALTH)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")  # and it reads no more than fits its buffer
    answered = [await raw(server, LAST_HEALTH) for _ in range(2)]
    assert [one.endswith(b"short") for one in answered] == [answer_seconds == 0.0] * 2
    for _, writer in silent:
        writer.transport.abort()
    await server.close()
