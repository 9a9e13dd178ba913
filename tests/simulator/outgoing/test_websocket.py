"""WebSockets to applications: how they are opened, why they can't be, and what is waited for."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from simulator.setup import served
from twilio.request_validator import RequestValidator

from callctl.simulator.http_requests import Sent, Traffic
from callctl.simulator.outgoing import websocket
from callctl.simulator.outgoing.web import Web
from callctl.simulator.records import Records
from callctl.simulator.sockets import SocketRequest

OPENSSL = shutil.which("openssl")
TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass
class Events:
    """What happened at a WebSocket."""

    happened: list[object] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def opened(self) -> None:
        self.happened.append("opened")

    def received(self, text: str | None) -> None:
        self.happened.append(("received", text))

    def closed(self) -> None:
        self.happened.append("closed")
        self.over.set()

    def failed(self, code: int, text: str) -> None:
        self.happened.append((code, text))
        self.codes.append(code)


@asynccontextmanager
async def client(traffic: list[Traffic] | None = None) -> AsyncIterator[Web]:
    records = Records(on_traffic=([] if traffic is None else traffic).append)
    made = Web(auth_token=TOKEN, allow_remote=False, records=records)
    try:
        yield made
    finally:
        await made.close()


def echo(handshakes: list[web.Request], *, first: str = "") -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        handshakes.append(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if first:
            await socket.send_str(first)
        async for frame in socket:
            if frame.data == "close":
                await socket.close()
                break
            await socket.send_str(f"you said {frame.data}")
        return socket

    return handle


async def test_messages_go_both_ways_and_what_was_answered_has_come() -> None:
    handshakes: list[web.Request] = []
    traffic: list[Traffic] = []
    events = Events()
    async with served(echo(handshakes)) as url, client(traffic) as made:
        wss = url.replace("http", "wss")
        socket = made.connect(SocketRequest(f"{wss}/media?lost=1#too", "CA1"), events)
        await made.settled()
        assert events.happened == ["opened"]
        for word in ("one", "two"):
            socket.send(word)
        await made.settled()
        assert events.happened[1:] == [("received", f"you said {word}") for word in ("one", "two")]
        (handshake,) = handshakes
        assert handshake.path_qs == "/media"
        signature = handshake.headers["X-Twilio-Signature"]
        assert RequestValidator(TOKEN).validate(f"{wss}/media", {}, signature)
        (sent,) = traffic
        assert isinstance(sent, Sent)
        assert sent.reply is not None
        assert (sent.method, sent.url, sent.call, sent.about) == ("GET", f"{wss}/media", "CA1", "stream")
        assert sent.reply.status == 101
        socket.send("close")
        await made.settled()
        assert events.happened[-1] == "closed"
        socket.send("lost")
        socket.close()
        await made.settled()
        assert events.happened[-1] == "closed"


async def test_what_was_sent_before_the_close_arrives_and_nothing_is_told_after_it() -> None:
    heard: list[object] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            heard.append(frame.data)
            await socket.send_str("too late")
        heard.append(socket.close_code)
        return socket

    events = Events()
    async with served(handle) as url, client() as made:
        socket = made.connect(SocketRequest(url.replace("http", "wss"), "CA1"), events)
        await made.settled()
        for number in range(100):
            socket.send(str(number))
        socket.close()
        socket.close()
        await made.settled()
    assert heard == [*map(str, range(100)), 1000]
    assert events.happened == ["opened"]


async def test_one_that_is_closed_while_it_opens_tells_nothing() -> None:
    async def handle(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    events = Events()
    async with served(handle) as url, client() as made:
        socket = made.connect(SocketRequest(url.replace("http", "wss"), "CA1"), events)
        await asyncio.sleep(0)
        socket.close()
        await made.settled()
    assert events.happened == []


@pytest.mark.parametrize("status", [200, 302, 404, 500])
async def test_another_answer_than_101_is_no_handshake(status: int) -> None:
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    events = Events()
    async with served(handle) as url, client() as made:
        made.connect(SocketRequest(f"{url.replace('http', 'wss')}/media", "CA1"), events)
        await made.settled()
    assert events.happened == [(31920, f"answered {status}, not 101")]
    assert asked == ["/media"]  # no redirect is followed


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("wss://127.0.0.1:1/", 31902),
        ("wss://example.com/", 31901),
        ("wss://192.0.2.1/", 31901),
        ("wss://nobody.localhost:1/", 31902),
    ],
)
async def test_one_that_can_not_be_reached(url: str, code: int) -> None:
    events = Events()
    async with client() as made:
        made.connect(SocketRequest(url, "CA1"), events)
        await made.settled()
    assert events.codes == [code]


async def test_one_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "OPENS_WITHIN", 0.01)

    async def handle(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    events = Events()
    async with served(handle) as url, client() as made:
        made.connect(SocketRequest(url.replace("http", "wss"), "CA1"), events)
        await made.settled()
    assert events.happened == [(31901, "no reply within 0.01 s")]


async def test_no_more_than_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "AT_ONCE", 1)
    first, second, third = Events(), Events(), Events()
    async with served(echo([])) as url, client() as made:
        request = SocketRequest(url.replace("http", "wss"), "CA1")
        socket = made.connect(request, first)
        made.connect(request, second)
        await made.settled()
        assert first.happened == ["opened"]
        assert second.codes == [31901]
        socket.close()
        await made.settled()
        made.connect(request, third)
        await made.settled()
        assert third.happened == ["opened"]


async def test_an_application_that_reads_nothing_is_not_waited_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "ANSWERS_WITHIN", 0.01)
    reads = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await reads.wait()
        async for _ in socket:
            pass
        return socket

    events = Events()
    async with served(handle) as url, client() as made:
        socket = made.connect(SocketRequest(url.replace("http", "wss"), "CA1"), events)
        await made.settled()
        for _ in range(50):
            socket.send("anybody?")
            await made.settled()
        reads.set()
        socket.close()
        await made.settled()


async def test_the_end_closes_connections() -> None:
    codes: list[int | None] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        codes.append(socket.close_code)
        return socket

    events, late = Events(), Events()
    async with served(handle) as url:
        async with client() as made:
            request = SocketRequest(url.replace("http", "wss"), "CA1")
            made.connect(request, events)
            await made.settled()
        made.connect(request, late)
        await made.settled()
    assert events.happened == ["opened"]
    assert late.happened == [(31901, "the simulator ends")]
    assert codes == [1001]


async def test_bytes_are_no_text() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_bytes(b"x")
        await socket.close()
        return socket

    events = Events()
    async with served(handle) as url, client() as made:
        made.connect(SocketRequest(url.replace("http", "wss"), "CA1"), events)
        await events.over.wait()
    assert events.happened == ["opened", ("received", None), "closed"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context, with a certificate that nobody else has signed."""
    if OPENSSL is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    files = ("-keyout", "key.pem", "-out", "certificate.pem")
    command = (OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "certificate.pem")
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


@asynccontextmanager
async def served_with_tls(context: ssl.SSLContext) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", echo([]))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"wss://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_an_application_with_tls_needs_a_certificate_that_is_valid(certificate: ssl.SSLContext) -> None:
    events = Events()
    async with served_with_tls(certificate) as url, client() as made:
        made.connect(SocketRequest(url, "CA1"), events)
        await made.settled()
    assert events.happened == [(31910, "its certificate is not valid here")]


async def test_an_application_with_tls(certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting = ssl.create_default_context()
    trusting.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(certificate.get_ca_certs(binary_form=True)[0]))
    connector = aiohttp.TCPConnector
    monkeypatch.setattr(aiohttp, "TCPConnector", lambda **options: connector(ssl=trusting, **options))
    events = Events()
    async with served_with_tls(certificate) as url, client() as made:
        socket = made.connect(SocketRequest(url, "CA1"), events)
        await made.settled()
        socket.send("hello")
        await made.settled()
        socket.close()
        await made.settled()
    assert events.happened == ["opened", ("received", "you said hello")]
