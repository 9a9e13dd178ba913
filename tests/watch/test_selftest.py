from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from aiohttp import web
from aiohttp.abc import ResolveResult
from api.scripted import Server, reply
from events import form
from listeners import TOKEN, sign
from watches import Application, running_watch, settings_in
from web_site import free_port

from callctl.store.sqlite.store import SqliteStore
from callctl.support.server import TcpServer
from callctl.support.threads import run_in_thread
from callctl.watch.forwarding.name_lookup import NameLookup
from callctl.watch.options import WatchOptions
from callctl.watch.selftest import selftest, why_not_ours


def ticks() -> float:
    ticks.now += 0.042  # type: ignore[attr-defined]
    return float(ticks.now)  # type: ignore[attr-defined]


ticks.now = 0.0  # type: ignore[attr-defined]


async def test_a_watch_that_can_be_reached_shows_the_round_trip(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running_watch(settings, WatchOptions("127.0.0.1", 0)) as watch:
        await watch.view.until(lambda view: view.header is not None and view.header.round_trip is not None)
        header = watch.session.header()
        assert (header.unreachable, header.accepted, header.refused, header.last_callback_at) == (None, 0, 0, None)
        reader = SqliteStore.open_readonly(settings.store, world=settings.world)
        assert list(reader.replay(since=None)) == []  # a self-test is no event
        reader.close()


@pytest.mark.parametrize("target", ["/status?key=a%2Fb%7E%c3%bc", "/a%7Eb%3A/status", "/a/../b"])
async def test_a_public_url_is_requested_as_it_is_spelled(tmp_path: Path, target: str) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}{target}"
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", port, public_url=url)) as watch:
        nonce = watch.session.listener_config.nonce
        assert (await selftest(url, keys=(TOKEN,), nonce=nonce)).failure is None


async def test_the_probe_measures_and_reports_what_is_wrong(tmp_path: Path, application: Application) -> None:
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0)) as watch:
        url, nonce = watch.ready.callback_url, watch.session.listener_config.nonce
        outcome = await selftest(url, keys=(TOKEN,), nonce=nonce, clock=ticks)
        assert outcome.round_trip == pytest.approx(0.042)
        assert (await selftest(url, keys=(TOKEN,), nonce="other")).failure == "another watch answers there"
        taken_by_another = await selftest(url, keys=(TOKEN,), nonce="other", others=lambda: {nonce}, clock=ticks)
        assert taken_by_another.round_trip is not None
        refused = await selftest(url, keys=("wrong",), nonce=nonce)
        assert "refused (HTTP 403)" in str(refused.failure)
    gone = await selftest(url, keys=(TOKEN,), nonce=nonce, clock=ticks)
    assert "can't connect" in str(gone.failure)
    for status, text in ((301, "it redirects (HTTP 301), which loses the form"), (200, "something else answers")):
        application.status = status
        assert text in str((await selftest(application.url, keys=(TOKEN,), nonce=nonce)).failure)


@asynccontextmanager
async def answering(head: str, pieces: Iterable[bytes]) -> AsyncIterator[str]:
    """Answer each request with these pieces, one after the other; yield the URL."""

    under_way: list[asyncio.Task[None] | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                for _ in range(20):  # who asks runs in this loop, and sees what was sent so far
                    await asyncio.sleep(0)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await asyncio.gather(*filter(None, under_way))


@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        ("Content-Length: 14", [b'{"nonc', b'e": "n"', b"}"]),
        ("Transfer-Encoding: chunked", [b'6\r\n{"nonc\r\n', b'8\r\ne": "n"}\r\n', b"0\r\n\r\n"]),
    ],
)
async def test_an_answer_that_comes_in_pieces_is_read_to_its_end(head: str, pieces: list[bytes]) -> None:
    async with answering(head, pieces) as url:
        assert await why_not_ours(url, nonce="n") is None
        assert (await selftest(url, keys=(TOKEN,), nonce="n")).failure is None


async def test_an_answer_without_an_end_is_no_watchs() -> None:
    async with answering("Connection: close", itertools.repeat(b"x" * 8192)) as url:
        assert await why_not_ours(url, nonce="n") == "something else answers there (HTTP 200)"


async def test_who_is_here_is_asked_without_a_signature_and_answered_by_this_watch_alone(
    tmp_path: Path, application: Application
) -> None:
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0)) as watch:
        url, nonce = watch.ready.callback_url, watch.session.listener_config.nonce
        assert await why_not_ours(url, nonce=nonce) is None
        assert await why_not_ours(url, nonce="other") == "another watch answers there"
        assert watch.session.header().refused == 0
        unsigned = await selftest(url, keys=None, nonce=nonce)
        assert "refused (HTTP 403)" in str(unsigned.failure)  # only the question goes without a signature
    assert await why_not_ours(application.url, nonce=nonce) == "something else answers there (HTTP 200)"
    assert await why_not_ours("https://a..b", nonce=nonce) is not None


async def test_who_answers_with_the_health_report_of_a_watch_is_not_that_watch(
    tmp_path: Path, application: Application
) -> None:
    async with (
        running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0)) as watch,
        aiohttp.ClientSession() as http,
    ):
        url, nonce = watch.ready.callback_url, watch.session.listener_config.nonce
        async with http.get(watch.ready.health_url) as answer:
            application.text = await answer.text()
        assert json.loads(application.text)["nonce"] == nonce
        assert watch.session._listener is not None
        awaited = watch.session._listener.awaited_selftests
        for address, why in ((url, None), (application.url, "passes no self-test on to it")):
            failures = (
                await why_not_ours(address, nonce=nonce, awaited=awaited),
                (await selftest(address, keys=(TOKEN,), nonce=nonce, awaited=awaited)).failure,
            )
            assert all(failure is None if why is None else why in str(failure) for failure in failures)


BASIC, DIGEST = 'Basic realm="front"', 'Digest realm="front", nonce="once", qop="auth"'
USER, WORD = "tw@lio", "fäke:w/rd"
USER_INFO = "tw%40lio:f%C3%A4ke%3Aw%2Frd"


def has_signed_in(request: web.BaseRequest) -> bool:
    """Return whether a request has the user and the password, by Basic or by Digest (RFC 7616)."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Basic":
        return base64.b64decode(rest).decode() == f"{USER}:{WORD}"
    given = {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', rest)}

    def digest(*texts: str) -> str:
        return hashlib.md5(":".join(texts).encode()).hexdigest()

    first, second = digest(USER, "front", WORD), digest(request.method, request.raw_path)
    numbers = (given.get("nc", ""), given.get("cnonce", ""))
    return given.get("response") == digest(first, "once", *numbers, "auth", second)


@asynccontextmanager
async def front(port: int, challenge: str) -> AsyncIterator[tuple[str, list[web.BaseRequest]]]:
    """Pass requests on to a port, once they have signed in; yield the address, and what comes."""
    came: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        came.append(request)
        if not has_signed_in(request):
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        url = f"http://127.0.0.1:{port}{request.raw_path}"
        async with (
            aiohttp.ClientSession() as http,
            http.request(request.method, url, data=await request.read(), headers=request.headers) as passed_on,
        ):
            return web.Response(status=passed_on.status, body=await passed_on.read())

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    server = await TcpServer.open(runner.server, cleanup=runner.cleanup, host="127.0.0.1", port=0)
    try:
        yield f"127.0.0.1:{server.port}", came
    finally:
        await server.close()


@pytest.mark.parametrize("challenge", [BASIC, "basic", f"Bearer, {BASIC}", f"{DIGEST}, {BASIC}", DIGEST])
async def test_a_self_test_signs_in_with_the_user_and_the_password_of_the_public_url(
    tmp_path: Path, challenge: str
) -> None:
    port = free_port()
    async with front(port, challenge) as (address, came):
        public_url = f"http://{USER_INFO}@{address}/status"
        async with running_watch(
            settings_in(tmp_path), WatchOptions("127.0.0.1", port, public_url=public_url)
        ) as watch:
            await watch.view.until(lambda view: view.header is not None and view.header.round_trip is not None)
            assert watch.session.header().unreachable is None
        assert ["Authorization" in request.headers for request in came] == [False, True]


@pytest.mark.parametrize("challenge", [BASIC, DIGEST])
async def test_a_wrong_password_of_the_public_url_is_named_and_not_shown(tmp_path: Path, challenge: str) -> None:
    port = free_port()
    async with front(port, challenge) as (address, _came):
        public_url = f"http://tw%40lio:fake-word@{address}/status"
        async with running_watch(
            settings_in(tmp_path), WatchOptions("127.0.0.1", port, public_url=public_url)
        ) as watch:
            await watch.view.until(lambda view: view.header is not None and view.header.unreachable is not None)
            header = watch.session.header()
        assert header.unreachable == "it does not take the user and password of the URL (HTTP 401)"
        bare = await selftest(f"http://{address}/status", keys=(TOKEN,), nonce="x")
        assert bare.failure == "it asks for a user and a password (HTTP 401)"


async def test_the_password_of_a_url_goes_nowhere_where_it_is_not_asked_for(application: Application) -> None:
    asks = reply(401, **{"WWW-Authenticate": BASIC})
    turns = (reply(200), reply(403), reply(401), reply(401, **{"WWW-Authenticate": 'Bearer realm="not, basic"'}))
    for url in ("http://ann:fake-word@{host}/status", "http://{host}/status"):
        for turn in turns:
            with Server(turn) as server:
                host = server.url.partition("//")[2]
                assert (await selftest(url.format(host=host), keys=(TOKEN,), nonce="x")).failure is not None
                assert not any("Authorization" in request.headers for request in server.received)
        with Server(asks) as server:  # neither where only who answers is asked
            host = server.url.partition("//")[2]
            assert await why_not_ours(url.format(host=host), nonce="x") is not None
            assert not any("Authorization" in request.headers for request in server.received)
    with Server(asks, reply(307, Location=f"{application.url}/status")) as server:
        host = server.url.partition("//")[2]
        assert "redirects" in str((await selftest(f"http://ann:fake-word@{host}", keys=(TOKEN,), nonce="x")).failure)
        assert ["Authorization" in request.headers for request in server.received] == [False, True]
    assert application.sent == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http_proxy", "http://{host}"),
        ("HTTP_PROXY", "{host}"),
        ("ALL_PROXY", "http://{host}"),
        ("all_proxy", "{host}"),
    ],
)
async def test_a_self_test_takes_the_proxy_that_requests_take_and_no_password_with_it(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    netrc.chmod(0o600)
    without_proxies(monkeypatch)
    monkeypatch.setenv(name, value.format(host=f"127.0.0.1:{application.port}"))
    application.text = json.dumps({"nonce": "this"})
    url = "http://tunnel.example.com/status"
    assert (await run_in_thread(lambda: requests.get(url, timeout=10))).json() == {"nonce": "this"}
    monkeypatch.setenv("NETRC", str(netrc))
    assert await why_not_ours(url, nonce="this") is None
    assert (await selftest(url, keys=(TOKEN,), nonce="this")).failure is None
    assert [sent.target.partition("?")[0] for sent in application.sent] == [url] * 3
    assert not any(name.lower() == "authorization" for sent in application.sent for name, _ in sent.headers)


@pytest.mark.parametrize(
    ("name", "value"), [("no_proxy", "example.com:{port}"), ("ALL_PROXY", "socks5h://127.0.0.1:1"), ("http_proxy", "")]
)
async def test_a_self_test_goes_without_a_proxy_that_is_not_for_it(
    application: Application, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    without_proxies(monkeypatch)
    if name == "no_proxy":
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value.format(port=application.port))
    resolve = NameLookup.resolve

    async def resolve_here(self: NameLookup, _host: str, *where: Any, **more: Any) -> list[ResolveResult]:
        return await resolve(self, "127.0.0.1", *where, **more)

    monkeypatch.setattr(NameLookup, "resolve", resolve_here)
    application.text = json.dumps({"nonce": "this"})
    url = f"http://tunnel.example.com:{application.port}/status"
    assert (await selftest(url, keys=(TOKEN,), nonce="this")).failure is None
    assert [sent.target for sent in application.sent] == ["/status"]


def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        ("http://ann:fake-word@{host}", "the proxy did not let the connection through (HTTP 407)"),
        ("ann:fake-word@{host}", "its address or the proxy's is malformed"),
        ("http://ann:fake-word@", "it can't be requested"),
        ("http://ann:fake-word@127.0.0.1:1", "can't connect to the proxy: Connection refused"),
    ],
)
async def test_a_proxy_in_the_way_does_not_spill_its_password(
    proxy: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(reply(407)) as server:
        monkeypatch.setenv("https_proxy", proxy.format(host=server.url.partition("//")[2]))
        monkeypatch.delenv("no_proxy", raising=False)
        assert (await selftest("https://tunnel.example.com", keys=(TOKEN,), nonce="x")).failure == why


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_nothing_goes_to_where_an_answer_points(application: Application, status: int) -> None:
    with Server(reply(status, Location=f"{application.url}/status")) as server:
        assert (await selftest(server.url, keys=(TOKEN,), nonce="x")).failure is not None
        assert await why_not_ours(server.url, nonce="x") is not None
    assert application.sent == []


async def test_signed_requests_to_another_path_are_counted_in_the_header(tmp_path: Path) -> None:
    fields = form(1, "ringing")
    async with (
        running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0)) as watch,
        aiohttp.ClientSession() as http,
    ):
        url = watch.ready.callback_url.replace("/status", "/voice")
        async with http.post(url, data=fields, headers=sign(url, fields)) as answer:
            assert answer.status == 404
        assert watch.session.header().misdirected == 1
        await watch.view.until_noted("signed requests come to /voice")
