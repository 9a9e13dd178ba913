from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import AF_INET
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from events import ACCOUNT, form, sid
from listeners import post, sign, twiml_form
from paths import TESTS
from watches import Application, running_watch, settings_in
from web_site import free_port

from callctl.calls.watch_trouble import Trouble
from callctl.doctor.numbers import Listeners
from callctl.errors import SettingsError
from callctl.support.server import TcpServer
from callctl.watch.forwarding import application as module
from callctl.watch.forwarding.forwarder import AT_ONCE, WAITING, Forwarder
from callctl.watch.forwarding.name_lookup import NameLookup
from callctl.watch.listener.server import ReceivedRequest
from callctl.watch.listener.signature import SignedRequest
from callctl.watch.listener.twiml_responder import Documents
from callctl.watch.options import WatchOptions

KEYS = TESTS / "api"
CERTIFICATE = KEYS / "certificate.pem"
DOCUMENT = "<Response><Say>Hello</Say></Response>"
KINDS = ("callback", "twiml-request")


async def test_a_verified_request_is_passed_on_unchanged(tmp_path: Path, application: Application) -> None:
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"{application.url}/app/status?key=1",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        url = watch.ready.callback_url
        fields = form(1, "ringing", number=1, CallerCity="", CalledCity="São Paulo", CallerName="A&B=C+D %")
        assert (await post(url, fields, **{"I-Twilio-Idempotency-Token": "a-token"}))[0] == 204
        (sent,) = await application.requests(1)
        headers = {name.lower(): value for name, value in sent.headers}
        assert (sent.method, sent.target) == ("POST", "/app/status?key=1")
        assert sent.body == urlencode(fields).encode()
        assert headers["x-twilio-signature"] == sign(url, fields)["X-Twilio-Signature"]
        assert headers["i-twilio-idempotency-token"] == "a-token"
        assert headers["host"] == f"127.0.0.1:{watch.ready.port}"
        note = await watch.view.until_noted(application.url)
        assert "  200 in " in note
        assert f"{sid(1)} ringing" in note


async def test_a_callback_by_get_keeps_its_query(tmp_path: Path, application: Application) -> None:
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"{application.url}/status",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        url = f"{watch.ready.callback_url}?CallSid=mine&{urlencode(form(1, 'busy', CalledCity='São Paulo'))}"
        async with aiohttp.ClientSession() as http, http.get(url, headers=sign(url)) as answer:
            assert answer.status == 204
        (sent,) = await application.requests(1)
        assert sent.target.partition("?")[2] == url.partition("?")[2]
        assert f"{sid(1)} busy" in await watch.view.until_noted(application.url)


async def test_a_parameter_of_a_request_comes_once_and_in_place_of_the_urls_own(
    tmp_path: Path, application: Application
) -> None:
    """A number's URL keeps the query of the application's, as ``doctor`` has it set, and so may --forward-to."""
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"{application.url}/voice?key=1&tenant=7",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        for call, query in enumerate(("?tenant=7", "?tenant=8", "?lang=de", ""), start=1):
            assert (await post(watch.ready.callback_url + query, form(call, "ringing")))[0] == 204
        sent = await application.requests(4)
        assert sorted(one.target.partition("?")[2] for one in sent) == [
            "key=1&tenant=7",
            "key=1&tenant=7",
            "key=1&tenant=7&lang=de",
            "key=1&tenant=8",
        ]


async def test_what_has_no_status_is_counted_in_the_header_and_passed_on(
    tmp_path: Path, application: Application
) -> None:
    options = WatchOptions("127.0.0.1", 0, forward_to=(application.url,))
    async with running_watch(settings_in(tmp_path), options) as watch:
        assert (await post(watch.ready.callback_url, {"CallSid": sid(1), "AnsweredBy": "fax"}))[0] == 204
        assert len(await application.requests(1)) == 1
        await watch.view.until(lambda view: view.header is not None and view.header.features == {"amd": 1})


async def test_a_slow_application_does_not_delay_the_acknowledgement(tmp_path: Path, application: Application) -> None:
    application.hold = asyncio.Event()
    options = WatchOptions("127.0.0.1", 0, forward_to=(application.url,))
    async with running_watch(settings_in(tmp_path), options) as watch:
        for call in range(3 * AT_ONCE):
            assert (await post(watch.ready.callback_url, form(call, "ringing")))[0] == 204
        assert len(await application.requests(AT_ONCE)) == AT_ONCE  # and not one of them is answered yet
        application.hold.set()
        await application.requests(3 * AT_ONCE)


async def test_neither_forged_requests_nor_self_tests_are_passed_on(tmp_path: Path, application: Application) -> None:
    options = WatchOptions("127.0.0.1", 0, forward_to=(application.url,))
    async with running_watch(settings_in(tmp_path), options) as watch:
        await watch.view.until(lambda view: view.header is not None and view.header.round_trip is not None)
        url = watch.ready.callback_url
        assert (await post(url, form(1, "ringing"), **{"X-Twilio-Signature": "forged"}))[0] == 403
        assert (await post(url, {"MessageSid": "SM1"}))[0] == 204  # no call's, but verified
        (sent,) = await application.requests(1)
        assert sent.body == b"MessageSid=SM1"


async def test_an_application_that_is_not_there_is_reported(tmp_path: Path, application: Application) -> None:
    await application.stop()
    options = WatchOptions("127.0.0.1", 0, forward_to=(application.url,))
    async with running_watch(settings_in(tmp_path), options) as watch:
        assert (await post(watch.ready.callback_url, form(1, "ringing")))[0] == 204
        assert "can't connect (Connection refused)" in await watch.view.until_noted(application.url)
        assert (await post(watch.ready.callback_url, twiml_form(2)))[0] == 502


async def test_the_applications_password_is_not_reported(tmp_path: Path) -> None:
    options = WatchOptions("127.0.0.1", 0, forward_to=("http://ann:secret@127.0.0.1:1/app",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        await post(watch.ready.callback_url, form(1, "ringing"))
        noted = await watch.view.until_noted("→ http://")
    assert "→ http://ann:***@127.0.0.1:1/app" in noted


async def test_who_signs_in_at_the_application_by_its_url_does_not_sign_in_as_twilio_did(
    tmp_path: Path, application: Application
) -> None:
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"http://ann:secret@127.0.0.1:{application.port}/app",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        for call in range(2 * AT_ONCE):
            assert (await post(watch.ready.callback_url, form(call, "ringing"), Authorization="Basic eDp5"))[0] == 204
        sent = await application.requests(2 * AT_ONCE)
    signed_in = [value for one in sent for name, value in one.headers if name == "Authorization"]
    assert signed_in == ["Basic YW5uOnNlY3JldA=="] * 2 * AT_ONCE


async def test_the_password_of_the_public_url_goes_to_no_application(tmp_path: Path, application: Application) -> None:
    """A proxy before the port asks for it, and passes it on."""
    public = "https://tw:secret@calls.example.com/status"
    options = WatchOptions("127.0.0.1", 0, public_url=public, forward_to=(application.url,))
    async with running_watch(settings_in(tmp_path), options) as watch:
        headers = {"authorization": "Basic dHc6c2VjcmV0", "X-Other": "kept"} | sign(public, form(1, "ringing"))
        local = f"http://127.0.0.1:{watch.ready.port}/status"
        async with (
            aiohttp.ClientSession() as http,
            http.post(local, data=form(1, "ringing"), headers=headers) as answer,
        ):
            assert answer.status == 204
        (sent,) = await application.requests(1)
    headers = {name.lower(): value for name, value in sent.headers}
    assert (headers["x-other"], "authorization" in headers) == ("kept", False)


async def test_the_application_answers_requests_for_twiml(tmp_path: Path, application: Application) -> None:
    application.text, application.content_type = DOCUMENT, "application/xml"
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"{application.url}/voice",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        assert await post(watch.ready.callback_url, twiml_form(1)) == (200, DOCUMENT)
        await watch.view.until(lambda view: bool(view.events))
        assert (watch.view.events[0].kind, watch.view.events[0].call_sid) == ("twiml-request", sid(1))


async def test_every_cookie_of_the_application_reaches_twilio(tmp_path: Path, application: Application) -> None:
    application.cookies = ("a=1; Path=/", "b=2")
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"{application.url}/voice",))
    async with running_watch(settings_in(tmp_path), options) as watch, aiohttp.ClientSession() as http:
        url, fields = watch.ready.callback_url, twiml_form(1)
        async with http.post(url, data=fields, headers=sign(url, fields)) as answer:
            assert answer.headers.getall("Set-Cookie") == ["a=1; Path=/", "b=2"]


@asynccontextmanager
async def an_application_that_answers(answer: bytes) -> AsyncIterator[str]:
    """Answer each connection's first request with these bytes; yield the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/voice"


@asynccontextmanager
async def an_application_that_closes_while_it_is_asked_again() -> AsyncIterator[str]:
    """Answer one request on each connection, and close it when a second one comes, as one does that was idle."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")
        )
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(DOCUMENT), DOCUMENT.encode()))
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/voice"


async def test_a_request_for_twiml_is_not_lost_with_a_connection_that_is_being_closed(tmp_path: Path) -> None:
    async with an_application_that_closes_while_it_is_asked_again() as url:
        options = WatchOptions("127.0.0.1", 0, forward_to=(url,))
        async with running_watch(settings_in(tmp_path), options) as watch:
            for call in range(3):
                assert await post(watch.ready.callback_url, twiml_form(call)) == (200, DOCUMENT)


async def test_a_connection_that_was_idle_is_not_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = [0.0]
    monkeypatch.setattr("aiohttp.connector.monotonic", lambda: time.monotonic() + ahead[0])
    async with an_application_that_closes_while_it_is_asked_again() as url:
        options = WatchOptions("127.0.0.1", 0, forward_to=(url,))
        async with running_watch(settings_in(tmp_path), options) as watch:
            for call in range(3):
                ahead[0] += 1.0  # sooner than any usual server closes it
                assert (await post(watch.ready.callback_url, form(call, "ringing")))[0] == 204
                assert "  200 in " in await watch.view.until_noted(f"{sid(call)} ringing")


async def test_a_header_that_can_not_be_sent_does_not_cost_twilio_the_answer(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\x1b\r\nSet-Cookie: a=\x01b\x7f\r\nContent-Length: %d\r\n\r\n"
    async with (
        an_application_that_answers(head % len(DOCUMENT) + DOCUMENT.encode()) as url,
        running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, forward_to=(url,))) as watch,
        aiohttp.ClientSession() as http,
    ):
        at, fields = watch.ready.callback_url, twiml_form(1)
        async with http.post(at, data=fields, headers=sign(at, fields)) as answer:
            assert (answer.status, answer.content_type, await answer.text()) == (200, "text/xml", DOCUMENT)
            assert answer.headers.getall("Set-Cookie") == ["a=b"]


async def test_an_application_that_changes_protocols_is_reported(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with (
        an_application_that_answers(answer) as url,
        running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, forward_to=(url,))) as watch,
    ):
        assert (await post(watch.ready.callback_url, twiml_form(1)))[0] == 502
        await watch.view.until_noted("no usable answer (HTTP 101) in ")


async def test_what_is_passed_on_and_comes_back_is_not_passed_on_again(tmp_path: Path) -> None:
    port = free_port()
    # To the watch itself, under a name that hides it.
    options = WatchOptions("127.0.0.1", port, forward_to=(f"http://0.0.0.0:{port}/status",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        url = watch.ready.callback_url
        assert (await post(url, form(1, "ringing")))[0] == 204
        await watch.view.until_noted("leads back to this watch")
        await watch.view.until_noted("204 in ")
        status, _ = await post(url, twiml_form(2))
        assert status == 508
        await watch.view.until_noted("508 in ")
        assert sum("leads back to this watch" in note for note in watch.view.notes) == 1
        assert watch.session.header().duplicates == 2


@asynccontextmanager
async def an_application_that_sends_back(back_to: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Send each request to an address, without its ``Via``, and answer as that does; yield the URL, and the bodies."""
    came: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        came.append(body.decode())
        headers = {name: value for name, value in request.headers.items() if name not in ("Via", "Host")}
        async with aiohttp.ClientSession() as http, http.post(back_to, data=body, headers=headers) as reply:
            return web.Response(status=reply.status, body=await reply.read())

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    server = await TcpServer.open(runner.server, cleanup=runner.cleanup, host="127.0.0.1", port=0)
    yield f"http://127.0.0.1:{server.port}/app", came
    await server.close()


async def test_what_an_application_sends_back_without_a_via_does_not_go_round_for_ever(tmp_path: Path) -> None:
    port = free_port()
    async with (
        an_application_that_sends_back(f"http://127.0.0.1:{port}/status") as (application, came),
        running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", port, forward_to=(application,))) as watch,
    ):
        url = watch.ready.callback_url
        assert (await post(url, form(1, "ringing")))[0] == 204
        await watch.view.until_noted("again and again")
        assert (await post(url, form(2, "ringing")))[0] == 204  # another is passed on as before
        await watch.view.until(lambda _view: watch.session.header().duplicates == 20)
        assert len(came) == 20
        assert (await post(url, twiml_form(3)))[0] == 508
        assert sum("again and again" in trouble for trouble in watch.view.troubles) == 1


async def test_a_call_may_ask_for_the_same_twiml_again_and_again(tmp_path: Path, application: Application) -> None:
    """As in a waiting loop of a short sound and a <Redirect/>: each time with the same signature."""
    application.text = DOCUMENT
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"{application.url}/voice",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        url, fields = watch.ready.callback_url, twiml_form(1)
        async with aiohttp.ClientSession() as http:
            for number in range(30):
                token = {"I-Twilio-Idempotency-Token": str(number)} if number < 15 else {}
                async with http.post(url, data=fields, headers=sign(url, fields) | token) as answer:
                    assert (answer.status, await answer.text()) == (200, DOCUMENT)
    assert len(application.sent) == 30
    assert not watch.view.troubles


async def test_many_callers_may_ask_at_once_and_many_callbacks_may_come_where_none_is_signed(
    tmp_path: Path, application: Application
) -> None:
    application.text = DOCUMENT
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"{application.url}/voice",), unverified=True)
    async with running_watch(settings_in(tmp_path), options) as watch, aiohttp.ClientSession() as http:

        async def ask(number: int) -> int:
            async with http.post(watch.ready.callback_url, data=twiml_form(number)) as answer:
                return answer.status

        application.hold = asyncio.Event()
        asking = [asyncio.create_task(ask(number)) for number in range(1, 31)]
        await watch.view.until(lambda _view: len(application.sent) == 30)
        application.hold.set()
        assert await asyncio.gather(*asking) == [200] * 30
        for number in range(31, 61):
            async with http.post(watch.ready.callback_url, data=form(number, "ringing")) as answer:
                assert answer.status == 204
        await watch.view.until(lambda _view: len(application.sent) == 60)
        assert not watch.view.troubles


async def test_no_more_requests_for_twiml_wait_than_leave_room_for_callbacks(application: Application) -> None:
    application.hold, application.text = asyncio.Event(), DOCUMENT
    troubles: list[Trouble] = []
    forwarder = Forwarder((application.url,), note=lambda _note: None, trouble=troubles.append, most_asking=2)
    forwarder.start()

    def ask(number: int) -> asyncio.Task[web.Response]:
        signed = SignedRequest("/status", signature=str(number))
        received = ReceivedRequest("POST", "/status", (), b"a=b", (("a", "b"),), signed)
        return asyncio.create_task(forwarder.answer(received))

    first = [ask(1), ask(2)]
    assert [(await ask(number)).status for number in (3, 4, 5)] == [503] * 3
    assert [str(one).partition(" answered")[0] for one in troubles] == [
        f"{application.url} is too slow: {count} for TwiML {verb}"
        for count, verb in (("1 request", "was"), ("2 requests", "were"))
    ]
    application.hold.set()
    assert [(await task).status for task in first] == [200, 200]
    assert (await ask(6)).status == 200
    await forwarder.stop()


async def test_what_comes_with_the_token_of_the_one_before_comes_back(application: Application) -> None:
    forwarder = Forwarder((application.url,), note=print, trouble=print)
    signed = SignedRequest("/status", signature="signed")

    def asks(token: bytes) -> ReceivedRequest:
        headers = ((b"i-twilio-idempotency-Token", token),)
        return ReceivedRequest("POST", "/status", headers, b"a=b", (("a", "b"),), signed)

    assert not any(forwarder.is_repeated(asks(b"%d" % number), asks_for_twiml=True) for number in range(50))
    again = [forwarder.is_repeated(asks(b"1"), asks_for_twiml=True, is_waited_for=True) for _ in range(11)]
    assert again == [False] * 9 + [True] * 2


async def test_a_served_document_may_be_asked_for_again_and_again(application: Application) -> None:
    at = [0.0]
    forwarder = Forwarder((application.url,), note=print, trouble=print, clock=lambda: at[0])
    asks = ReceivedRequest("POST", "/status", (), b"a=b", (("a", "b"),), SignedRequest("/status", signature="signed"))
    for _ in range(100):
        at[0] += 1.5
        assert not forwarder.is_repeated(asks, asks_for_twiml=True)
    assert [forwarder.is_repeated(asks, asks_for_twiml=True) for _ in range(10)] == [False] * 9 + [True]
    at[0] += 1.5
    assert not forwarder.is_repeated(asks, asks_for_twiml=True)


async def test_what_is_too_much_is_dropped_and_counted(application: Application) -> None:
    application.hold = asyncio.Event()
    dropped: list[Trouble] = []
    forwarder = Forwarder((application.url,), note=lambda _text: None, trouble=dropped.append)
    forwarder.start()
    for number in range(WAITING + 5):
        signed = SignedRequest("/status", signature=str(number))
        forwarder.put(ReceivedRequest("POST", "/status", (), b"a=b", (("a", "b"),), signed))
    said = ("1 request was", "2 requests were", "4 requests were")
    what = f"{application.url} is too slow: {{}} not passed on, and not kept"
    assert [str(text) for text in dropped] == [what.format(count) for count in said]
    await forwarder.stop()


async def test_a_request_that_fails_in_a_way_nobody_foresaw_ends_none_that_passes_on_the_next(
    tmp_path: Path, application: Application
) -> None:
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"{application.url}/status",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        forwarder = watch.session._forwarder
        assert forwarder is not None
        odd: Any = None
        for number in range(2 * AT_ONCE):
            forwarder.put(ReceivedRequest("POST", odd, (), b"", (), SignedRequest("/status", signature=str(number))))
        fields = form(1, "ringing")
        assert (await post(watch.ready.callback_url, fields))[0] == 204
        (sent,) = await application.requests(1)
        assert sent.body == urlencode(fields).encode()
        assert "not passed on" in await watch.view.until_noted("not passed on")


@asynccontextmanager
async def an_application_with_its_own_certificate() -> AsyncIterator[str]:
    """Serve one answer to everything over TLS, at ``localhost``."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEYS / "key.pem")
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}/app"


async def test_what_is_wrong_with_an_applications_certificate_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with (
        an_application_with_its_own_certificate() as url,
        running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, forward_to=(url,))) as watch,
    ):
        for call in (1, 2):
            assert (await post(watch.ready.callback_url, form(call, "ringing")))[0] == 204
        await watch.view.until_noted(f"{sid(1)} ringing")
        await watch.view.until_noted(f"{sid(2)} ringing")
        troubles = [text for text in watch.view.troubles if "→" in text]
        assert len(troubles) == 2
        assert all(text.startswith(f"→ {url}  its certificate is not accepted (self") for text in troubles)
        (hint,) = [text for text in watch.view.troubles if "SSL_CERT_FILE" in text]
        assert "--forward-insecure" in hint


@pytest.mark.parametrize("trusted", [CERTIFICATE, None])
async def test_a_certificate_counts_that_is_named_or_need_not_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: Path | None
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if trusted is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with an_application_with_its_own_certificate() as url:
        options = WatchOptions("127.0.0.1", 0, forward_to=(url,), forward_insecure=trusted is None)
        async with running_watch(settings_in(tmp_path), options) as watch:
            assert (await post(watch.ready.callback_url, form(1, "ringing")))[0] == 204
            assert "  200 in " in await watch.view.until_noted(f"{sid(1)} ringing")


async def test_an_application_that_speaks_no_tls_is_reported_in_words(tmp_path: Path, application: Application) -> None:
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"https://127.0.0.1:{application.port}/app",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        assert (await post(watch.ready.callback_url, form(1, "ringing")))[0] == 204
        line = await watch.view.until_noted(f"{sid(1)} ringing")
    assert "can't connect (" in line
    assert "not permitted" not in line


@pytest.mark.parametrize("name", ["nothing.pem", "empty.pem"])
async def test_certificates_that_can_not_be_read_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
    with pytest.raises(SettingsError, match=f"SSL_CERT_FILE names can't be read: .*{name}: "):
        Forwarder(("https://localhost/x",), note=print, trouble=print).start()


async def test_what_the_applications_documents_name_goes_to_its_paths(tmp_path: Path, application: Application) -> None:
    """Twilio resolves a relative URL in a document against the watch's URL, at which it got the document."""
    application.text, application.content_type = DOCUMENT, "text/xml"
    forward_to = (f"{application.url}/app/voice?key=1", f"{application.url}/audit")
    survey = tmp_path / "survey.xml"
    survey.write_text("<Response/>")
    documents = Documents({"survey": survey})
    async with running_watch(
        settings_in(tmp_path), WatchOptions("127.0.0.1", 0, forward_to=forward_to, documents=documents)
    ) as watch:
        base = watch.ready.callback_url.removesuffix("/status")
        answers = [
            await post(f"{base}/gather?step=2", twiml_form(1) | {"Digits": "1"}),
            await post(f"{base}/twiml/other", twiml_form(2)),  # below the documents' path, and none of them
            await post(f"{base}/S%C3%A3o//x", {"AccountSid": ACCOUNT, "ConferenceSid": "CF" + "0" * 32}),
        ]
        assert answers == [(200, DOCUMENT)] * 3
        assert (await post(f"{base}/call/status", form(3, "ringing")))[0] == 204
        assert (await post(f"{base}/call/status", form(3, "completed")))[0] == 204
        url = f"{base}/by-get?{urlencode(twiml_form(4))}"
        async with aiohttp.ClientSession() as http, http.get(url, headers=sign(url)) as answer:
            assert (answer.status, await answer.text()) == (200, DOCUMENT)
        sent = await application.requests(12)
        first = {one.target.partition("?")[0] for one in sent} - {"/audit"}
        assert first == {"/gather", "/twiml/other", "/S%C3%A3o//x", "/call/status", "/by-get"}
        assert "/gather?step=2" in {one.target for one in sent}  # not the key of the URL that was given
        assert sum(one.target.startswith("/audit") for one in sent) == 6  # the others get all at their own URL
        await watch.view.until_noted(f"{application.url}/call/status  200 in ")
        shown = {(sid(1), "twiml-request"), (sid(3), "callback"), (sid(4), "twiml-request")}
        await watch.view.until(lambda view: {(event.call_sid, event.kind) for event in view.events} >= shown)
        assert watch.view.troubles == []


async def test_where_an_application_redirects_to_its_own_answer_is_given(
    tmp_path: Path, application: Application
) -> None:
    """Twilio follows a 302 as a GET without the form, so without AccountSid, at which it is no event."""
    application.text, application.content_type = DOCUMENT, "text/xml"
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"{application.url}/voice", f"{application.url}/audit"))
    async with running_watch(settings_in(tmp_path), options) as watch:
        urls = [
            f"{watch.ready.callback_url.removesuffix('/status')}{target}"
            for target in ("/welcome", f"/next?CallSid={sid(1)}&CallStatus=completed", "/status?step=2")
        ]
        async with aiohttp.ClientSession() as http:
            for url in urls:
                async with http.get(url, headers=sign(url), allow_redirects=False) as answer:
                    assert (answer.status, await answer.text()) == (200, DOCUMENT)
        sent = await application.requests(6)
        first = [one.target for one in sent if not one.target.startswith("/audit")]
        assert first == ["/welcome", f"/next?CallSid={sid(1)}&CallStatus=completed", "/voice?step=2"]
        assert watch.session.header().ignored == 3
        assert watch.view.events == []


async def test_beside_a_public_url_of_another_path_status_is_the_applications(
    tmp_path: Path, application: Application
) -> None:
    public = "https://calls.example.com"
    options = WatchOptions("127.0.0.1", 0, public_url=f"{public}/voice", forward_to=(f"{application.url}/voice",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        local = f"http://127.0.0.1:{watch.ready.port}"
        sent = [
            ("/status", f"{public}/status", 204),  # the application's own
            ("/status", f"{public}/voice", 204),  # by a proxy that changes the path
            ("/voice", f"{public}/voice", 204),
            ("/status", f"{local}/status", 204),
            ("/status", "https://example.org/status", 403),
        ]
        async with aiohttp.ClientSession() as http:
            for number, (path, signed, status) in enumerate(sent):
                fields = form(number, "ringing")
                async with http.post(local + path, data=fields, headers=sign(signed, fields)) as answer:
                    assert (number, answer.status) == (number, status)
        requests = await application.requests(4)
        assert sorted(one.target for one in requests) == ["/status", "/voice", "/voice", "/voice"]
        application.text, other = DOCUMENT, {"AccountSid": ACCOUNT, "MessageSid": "SM" + "1" * 32}
        headers = sign(f"{public}/status", other)
        async with aiohttp.ClientSession() as http, http.post(f"{local}/status", data=other, headers=headers) as answer:
            assert (answer.status, await answer.text()) == (application.status, DOCUMENT)
        await watch.view.until(lambda view: {event.call_sid for event in view.events} == {sid(n) for n in range(4)})
        assert watch.session.header().refused == 1


@pytest.mark.parametrize(
    ("public_path", "own", "applications"),
    [
        ("/status", ["/status"], ["/status/", "/status//", "/healthz/", "/twiml/survey/"]),
        ("/voice", ["/voice"], ["/voice/", "/status", "/status/"]),
        ("/voice/", ["/voice/"], ["/voice", "/status", "/status/"]),
    ],
)
async def test_what_is_signed_over_an_own_path_with_a_slash_more_is_the_applications(
    tmp_path: Path, application: Application, public_path: str, own: list[str], applications: list[str]
) -> None:
    """An application's paths may all end with a slash, as Django's do; doctor calls those URLs well."""
    application.text, application.content_type = DOCUMENT, "text/xml"
    survey = tmp_path / "survey.xml"
    survey.write_text("<Response/>")
    public = f"https://calls.example.com{public_path}"
    options = WatchOptions(
        "127.0.0.1",
        0,
        public_url=public,
        forward_to=(f"{application.url}/given/",),
        documents=Documents({"survey": survey}),
    )
    listeners = Listeners([public], public, forwards=True)
    async with running_watch(settings_in(tmp_path), options) as watch, aiohttp.ClientSession() as http:
        local = f"http://127.0.0.1:{watch.ready.port}"
        for number, path in enumerate([*own, *applications]):
            url, target = f"https://calls.example.com{path}", path if path in applications else "/given/"
            assert listeners.has(url)
            room = {"AccountSid": ACCOUNT, "ConferenceSid": "CF" + "1" * 32, "StatusCallbackEvent": "conference-end"}
            action = twiml_form(number) | {"DialCallStatus": "completed"}
            for fields, status in ((form(number, "ringing"), 204), (room, 204), (action, 200)):
                async with http.post(local + path, data=fields, headers=sign(url, fields)) as answer:
                    assert (path, answer.status) == (path, status)
            by_get = f"{path}?{urlencode(action)}"
            headers = sign(f"https://calls.example.com{by_get}")
            async with http.get(local + by_get, headers=headers) as answer:
                assert (path, answer.status, await answer.text()) == (path, 200, DOCUMENT)
            sent = await application.requests(4 * (number + 1))
            assert [one.target.partition("?")[0] for one in sent[-4:]] == [target] * 4
            for signed in (f"https://example.org{path}", f"{url}x"):
                async with http.post(local + path, data=room, headers=sign(signed, room)) as answer:
                    assert (path, answer.status) in ((path, 403), (path, 404))
        expected = {(sid(number), kind) for number in range(len(own + applications)) for kind in KINDS}
        await watch.view.until(lambda view: {(event.call_sid, event.kind) for event in view.events} >= expected)
        assert len(application.sent) == 4 * len(own + applications)


@pytest.mark.parametrize(
    ("given", "path", "signed", "target"),
    [
        ("/voice", "/callctl/gather", "/callctl/gather", "/gather"),
        ("/voice", "/callctl/app/other", "/callctl/app/other", "/app/other"),
        ("/voice", "/callctl/status/", "/callctl/status/", "/status/"),
        ("/voice", "/callctl/twiml/survey/", "/callctl/twiml/survey/", "/twiml/survey/"),
        ("/voice", "/callctl/", "/callctl/", "/"),
        ("/voice", "/callctl/callctl/gather", "/callctl/callctl/gather", "/callctl/gather"),
        ("/voice", "/gather", "/gather", "/gather"),
        ("/voice", "/callctls/gather", "/callctls/gather", "/callctls/gather"),
        ("/voice", "/gather", "/callctl/gather", "/gather"),  # by a proxy that takes it away
        ("/voice", "/callctl/gather", "/callctl/callctl/gather", "/callctl/gather"),
        ("/callctl/voice", "/callctl/gather", "/callctl/gather", "/callctl/gather"),
        ("/callctl/voice", "/callctl/callctl/other", "/callctl/callctl/other", "/callctl/other"),
    ],
)
async def test_the_folder_of_the_public_url_is_none_of_the_application_whoever_takes_it_away(
    tmp_path: Path, application: Application, given: str, path: str, signed: str, target: str
) -> None:
    survey = tmp_path / "survey.xml"
    survey.write_text("<Response/>")
    options = WatchOptions(
        "127.0.0.1",
        0,
        public_url="https://calls.example.com/callctl/status",
        forward_to=(f"{application.url}{given}", f"{application.url}/audit"),
        documents=Documents({"survey": survey}),
    )
    async with running_watch(settings_in(tmp_path), options) as watch, aiohttp.ClientSession() as http:
        fields = form(1, "ringing")
        url = f"http://127.0.0.1:{watch.ready.port}{path}?step=2"
        headers = sign(f"https://calls.example.com{signed}?step=2", fields)
        async with http.post(url, data=fields, headers=headers) as answer:
            assert answer.status == 204
        sent = await application.requests(2)
        assert {one.target for one in sent} == {f"{target}?step=2", "/audit?step=2"}


async def test_a_path_that_begins_as_the_public_urls_folder_is_kept_where_it_was_signed_over_a_local_url(
    tmp_path: Path, application: Application
) -> None:
    public = "https://calls.example.com/callctl/status"
    options = WatchOptions("127.0.0.1", 0, public_url=public, forward_to=(f"{application.url}/voice",))
    async with running_watch(settings_in(tmp_path), options) as watch:
        url = f"http://127.0.0.1:{watch.ready.port}/callctl/gather"
        assert (await post(url, form(1, "ringing")))[0] == 204
        (sent,) = await application.requests(1)
        assert sent.target == "/callctl/gather"


async def test_a_slash_that_a_proxy_adds_makes_no_path_of_the_application(
    tmp_path: Path, application: Application
) -> None:
    options = WatchOptions(
        "127.0.0.1", 0, public_url="https://calls.example.com/status", forward_to=(f"{application.url}/given",)
    )
    async with running_watch(settings_in(tmp_path), options) as watch, aiohttp.ClientSession() as http:
        fields = form(1, "ringing")
        headers = sign("https://calls.example.com/status", fields)
        async with http.post(f"http://127.0.0.1:{watch.ready.port}/status/", data=fields, headers=headers) as answer:
            assert answer.status == 204
        (sent,) = await application.requests(1)
        assert sent.target == "/given"


@pytest.mark.parametrize("has_token", [True, False])
async def test_many_callers_may_wait_for_a_document_that_an_application_redirects_to(
    tmp_path: Path, application: Application, *, has_token: bool
) -> None:
    """Without a form the signature is the same for all."""
    application.hold = asyncio.Event()
    options = WatchOptions("127.0.0.1", 0, forward_to=(f"{application.url}/voice",))
    async with running_watch(settings_in(tmp_path), options) as watch, aiohttp.ClientSession() as http:
        url = f"{watch.ready.callback_url.removesuffix('/status')}/welcome"

        async def status(number: int) -> int:
            token = {"I-Twilio-Idempotency-Token": str(number)} if has_token else {}
            async with http.get(url, headers=sign(url) | token) as answer:
                return answer.status

        waiting = [asyncio.create_task(status(number)) for number in range(15)]
        await application.requests(15)
        application.hold.set()
        assert await asyncio.gather(*waiting) == [200] * 15
        assert watch.view.troubles == []


@pytest.mark.parametrize(
    ("public", "came", "there"),
    [
        ("https://calls.example.com/status", None, "https"),
        ("https://ann:secret@calls.example.com/status", None, "https"),
        ("https://calls.example.com/status", "http", "http"),
        ("https://other.example.com/status", None, None),  # as for a request of this machine's own
        ("http://calls.example.com/status", None, None),
    ],
)
async def test_an_application_learns_by_which_scheme_twilio_came(
    public: str, came: str | None, there: str | None, tmp_path: Path, application: Application
) -> None:
    options = WatchOptions("127.0.0.1", 0, public_url=public, forward_to=(application.url,))
    async with running_watch(settings_in(tmp_path), options) as watch:
        headers = {"Host": "calls.example.com"} | ({} if came is None else {"X-Forwarded-Proto": came})
        local = f"http://127.0.0.1:{watch.ready.port}/status"
        fields = form(1, "ringing")
        headers |= sign(public, fields)
        async with aiohttp.ClientSession() as http, http.post(local, data=fields, headers=headers) as answer:
            assert answer.status == 204
        (sent,) = await application.requests(1)
    assert {name.lower(): value for name, value in sent.headers}.get("x-forwarded-proto") == there


@pytest.mark.parametrize(
    ("name", "before", "host", "forwarded"),
    [
        ("127.0.0.1", None, "calls.example.com", None),
        ("localhost", None, "calls.example.com", None),
        ("app.example.org", None, "app.example.org", "calls.example.com"),
        ("app.example.org", "first.example.com", "app.example.org", "first.example.com"),
    ],
)
async def test_an_application_elsewhere_is_requested_by_its_own_name(
    name: str,
    before: str | None,
    host: str,
    forwarded: str | None,
    application: Application,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hosting platform finds it by that; on loopback, it verifies the signature by the name that Twilio used."""

    async def resolve(_self: object, _name: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        del family
        return [{"hostname": name, "host": "127.0.0.1", "port": port, "family": AF_INET, "proto": 0, "flags": 0}]

    monkeypatch.setattr(NameLookup, "resolve", resolve)
    there = module.Application(f"http://{name}:{application.port}/voice")
    sent = {"Host": "calls.example.com"} | ({} if before is None else {"X-Forwarded-Host": before})
    headers = tuple((one.encode(), value.encode()) for one, value in sent.items())
    there.open()
    answer = await there.pass_on(
        ReceivedRequest("POST", "/status", headers, b"", (), SignedRequest("/status")), via="x"
    )
    await there.close()
    assert answer.status == 200
    (arrived,) = application.sent
    names = {one.lower(): value for one, value in arrived.headers}
    assert [one.lower() for one, _ in arrived.headers].count("host") == 1
    assert names["host"].removesuffix(f":{application.port}") == host
    assert names.get("x-forwarded-host") == forwarded


@pytest.mark.parametrize("status", [404, 403, 500])
async def test_an_answer_that_is_no_twiml_is_trouble(tmp_path: Path, application: Application, status: int) -> None:
    application.status = status
    options = WatchOptions("127.0.0.1", 0, forward_to=(application.url,))
    async with running_watch(settings_in(tmp_path), options) as watch:
        assert (await post(watch.ready.callback_url, twiml_form(1)))[0] == status
        await watch.view.until_noted(application.url)
        (trouble,) = watch.view.troubles
        assert trouble.to_json()["reason"] == f"HTTP {status}"
        assert trouble.startswith(f"→ {application.url}  {status} in ")
