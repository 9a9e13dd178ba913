"""The proxy for api.twilio.com, asked by hand: whom it answers, whom it refuses, and clients that misbehave."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from simulator.setup import ANSWERS, SimulatorSetup, simulator_setup
from watches import until

from callctl.simulator import PortInUseError, Simulator, SimulatorError, server
from callctl.simulator.proxy import server as proxy
from callctl.simulator.proxy.server import _read_head, _RefusedError, is_twilio

PATIENCE = 30.0
CONNECT = b"CONNECT api.twilio.com:443 HTTP/1.1\r\nHost: api.twilio.com:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
TWILIO = "https://api.twilio.com"

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@asynccontextmanager
async def connected(setup: SimulatorSetup, sent: bytes) -> AsyncIterator[Stream]:
    """Connect to the proxy, send something, and stay."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(setup.sim.proxy_url))
    writer.write(sent)
    await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.close()


async def nothing_is_left(setup: SimulatorSetup) -> None:
    """Wait until the proxy holds no connection any more, neither open nor counted."""
    held = held_by(setup)
    counted = held.connections._transports
    await until(lambda: not held.transports and not any(type(each).__module__ == proxy.__name__ for each in counted))


def held_by(setup: SimulatorSetup) -> proxy.Proxy:
    held = setup.sim._running._proxy
    assert held is not None
    return held


async def read_all(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), PATIENCE)


async def answer_to(setup: SimulatorSetup, sent: bytes) -> bytes:
    async with connected(setup, sent) as (reader, _):
        return await read_all(reader)


async def start_tls(stream: Stream, context: ssl.SSLContext, name: str) -> None:
    assert await asyncio.wait_for(stream[0].readuntil(b"\r\n\r\n"), PATIENCE) == ESTABLISHED
    await stream[1].start_tls(context, server_hostname=name)


def trusting(setup: SimulatorSetup, *, own: bool = False) -> ssl.SSLContext:
    """Return a client's context that trusts what the variables for the environment name, and nothing else."""
    return ssl.create_default_context(cafile=setup.sim.proxy_env["NODE_EXTRA_CA_CERTS" if own else "SSL_CERT_FILE"])


@asynccontextmanager
async def served(answer: Callable[[Stream], Awaitable[None]], context: ssl.SSLContext | None = None) -> Any:
    """Serve one more host, at a free port; gives the port."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await answer((reader, writer))
        writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


async def echo(stream: Stream) -> None:
    while data := await stream[0].read(65_536):
        stream[1].write(data)
        await stream[1].drain()
    stream[1].write(b" and goodbye")


FIELD = st.text("Host:Connection keep-aliveProxy-AuthorizationX\r\n\0\x85\xff ", max_size=30)
TARGET = st.text("api.twilio.com:/?#@[]http443 \x85", max_size=30) | st.sampled_from(
    ["api.twilio.com:443", "http://api.twilio.com/a?b", "https://[::1]:8443", "http://a?b#c"]
)


@given(method=st.sampled_from(["GET", "CONNECT", "POST", "get", ""]), target=TARGET, fields=st.lists(FIELD, max_size=4))
def test_whatever_a_head_has_it_is_refused_or_one_request_to_one_host(
    method: str, target: str, fields: list[str]
) -> None:
    try:
        request = _read_head("\r\n".join([f"{method} {target} HTTP/1.1", *fields]))
    except _RefusedError as refused:
        assert refused.wire().startswith(f"HTTP/1.1 {refused.status.value} ".encode())
        return
    assert 0 < request.port < 65_536
    assert re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", request.host)
    if not request.scheme:
        assert (method, request.head) == ("CONNECT", b"")
        return
    line, *kept = request.head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert line.startswith(f"{method} /".encode())
    assert line.count(b" ") == 2
    names = [each.partition(b":")[0].lower() for each in kept]
    assert (names[0], kept[-1], names.count(b"host")) == (b"host", b"Connection: close", 1)
    assert not {b"proxy-authorization", b"keep-alive"} & set(names)
    assert not re.search(rb"[\r\n\0]", b"".join([line, *kept]))


def test_the_names_of_twilio() -> None:
    names = ("api.twilio.com", "api.us1.twilio.com", "api.dublin.ie1.twilio.com")
    others = (
        *("twilio.com", "messaging.twilio.com", "api.a.b.c.twilio.com", "api.twilio.com.example.com"),
        *("xapi.twilio.com", "api.twilio.org", "api..twilio.com", "api.twilio.com:443", ""),
    )
    assert [name for name in (*names, *others) if is_twilio(name)] == list(names)


@pytest.mark.parametrize("name", ["api.twilio.com", "api.us1.twilio.com", "api.dublin.ie1.twilio.com"])
@pytest.mark.parametrize("own", [True, False], ids=["the authority alone", "with the system's roots"])
async def test_twilios_names_are_answered_with_certificates_that_verify(name: str, own: bool) -> None:
    async with simulator_setup(proxy=True) as setup:
        request = setup.session.get(
            f"https://{name}{setup.account}/Calls.json",
            headers=setup.headers,
            proxy=setup.sim.proxy_url,
            ssl=trusting(setup, own=own),
        )
        async with request as reply:
            assert (reply.status, (await reply.json())["calls"]) == (200, [])
        seen = [(each.method, each.path, each.headers["Host"], each.status) for each in setup.sim.requests]
        assert seen == [("GET", f"{setup.account}/Calls.json", name, 200)]


async def test_who_does_not_trust_the_authority_gets_no_further() -> None:
    async with simulator_setup(proxy=True) as setup:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await setup.session.get(TWILIO, proxy=setup.sim.proxy_url)
        assert setup.sim.requests == ()


async def test_many_clients_and_many_requests_of_each() -> None:
    async with simulator_setup(proxy=True) as setup:
        context, connector = trusting(setup), aiohttp.TCPConnector(limit=50)
        url = f"{TWILIO}{setup.account}/Calls.json"
        form = {"To": ANSWERS, "From": "+15005550006", "Twiml": "<Response/>"}

        async def place(_: int) -> int:
            posted = session.post(url, data=form, headers=setup.headers, proxy=setup.sim.proxy_url, ssl=context)
            async with posted as reply:
                return reply.status

        async with aiohttp.ClientSession(connector=connector) as session:
            assert set(await asyncio.gather(*map(place, range(200)))) == {201}
        assert len(setup.sim.requests) == 200


async def test_one_connection_serves_several_requests() -> None:
    async with simulator_setup(proxy=True) as setup, connected(setup, CONNECT) as stream:
        await start_tls(stream, trusting(setup), "api.twilio.com")
        for _ in range(3):
            stream[1].write(b"GET /simulator/survey HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n")
            assert await asyncio.wait_for(stream[0].readline(), PATIENCE) == b"HTTP/1.1 200 OK\r\n"
            await asyncio.wait_for(stream[0].readuntil(b"</Response>"), PATIENCE)


@pytest.mark.parametrize(("host", "status"), [(b"api.twilio.com", b"401"), (b"127.0.0.1", b"200")])
async def test_who_controls_the_simulator_by_the_proxy_is_who_connected_to_it(host: bytes, status: bytes) -> None:
    async with simulator_setup(proxy=True) as setup, connected(setup, CONNECT) as stream:
        await start_tls(stream, trusting(setup), "api.twilio.com")
        stream[1].write(b"GET /simulator/calls HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
        assert (await asyncio.wait_for(stream[0].readline(), PATIENCE)).startswith(b"HTTP/1.1 " + status)
        stream[1].write(b"GET /simulator/calls HTTP/1.1\r\nHost: 127.0.0.1\r\nForwarded: for=a\r\n\r\n")
        await asyncio.wait_for(stream[0].readuntil(b"HTTP/1.1 401 "), PATIENCE)


async def test_http_2_is_not_offered() -> None:
    async with simulator_setup(proxy=True) as setup, connected(setup, CONNECT) as stream:
        context = trusting(setup)
        context.set_alpn_protocols(["h2", "http/1.1"])
        await start_tls(stream, context, "api.twilio.com")
        assert stream[1].get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


async def test_a_plain_request_for_the_whole_url_is_answered_too() -> None:
    async with simulator_setup(proxy=True) as setup:
        survey = (
            b"GET https://api.twilio.com/simulator/survey?a=b HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic YTpi"
        )
        whole = await answer_to(setup, survey + b"\r\nConnection: keep-alive\r\n\r\n")
        assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
        (seen,) = setup.sim.requests
        assert (seen.path, seen.query, seen.headers) == (
            "/simulator/survey",
            {"a": ("b",)},
            {"Host": "api.twilio.com", "Connection": "close"},
        )
        status, _ = await setup.request(
            "POST",
            f"http://api.twilio.com{setup.account}/Calls.json",
            {"To": ANSWERS, "From": "+15005550006", "Twiml": "<Response/>"},
            proxy=setup.sim.proxy_url,
        )
        assert status == 201


async def test_other_hosts_are_refused_in_a_sentence() -> None:
    async with simulator_setup(proxy=True) as setup:
        sentence = "lets nothing through to example.com without --allow-host example.com."
        asked = [
            b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n",
            b"GET http://example.com/?token=secret HTTP/1.1\r\nHost: example.com\r\n\r\n",
        ]
        for each in asked:
            head, _, body = (await answer_to(setup, each)).decode().partition("\r\n\r\n")
            assert head.startswith("HTTP/1.1 403 ")
            assert sentence in head.splitlines()[0]  # what requests and others show
            assert body.endswith(f"{sentence}\n")
        refused = [(each.method, each.path, each.status, each.parameters, each.headers) for each in setup.sim.requests]
        assert refused == [
            ("CONNECT", "example.com:443", 403, {}, {}),
            ("GET", "http://example.com/", 403, {}, {}),
        ]
        assert sentence in setup.sim.requests[0].reply.text


@pytest.mark.parametrize(
    "target", ["api.twilio.com:80", "api.twilio.com:8443", "127.0.0.1:22", "[::1]:443", "messaging.twilio.com:443"]
)
async def test_no_other_port_nor_this_machine_is_reached(target: str) -> None:
    async with simulator_setup(proxy=True) as setup:
        assert (await answer_to(setup, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())).startswith(b"HTTP/1.1 403 ")


async def test_an_allowed_host_is_tunnelled_untouched() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    own = ssl.create_default_context()
    authority.configure_trust(own)
    async with (
        served(echo, context) as port,
        simulator_setup(proxy=True, allow_hosts=["LocalHost"]) as setup,
        connected(setup, f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode()) as stream,
    ):
        await start_tls(stream, own, "localhost")  # the host's own certificate, not the proxy's
        stream[1].write(b"hello")
        assert await asyncio.wait_for(stream[0].readexactly(5), PATIENCE) == b"hello"


async def test_a_tunnel_passes_on_much_and_the_end_of_either_side() -> None:
    async with served(echo) as port, simulator_setup(proxy=True, allow_hosts=["127.0.0.1"]) as setup:
        early = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\nbefore the answer " % port
        async with connected(setup, early) as (reader, writer):
            much = b"0123456789" * 500_000
            writer.write(much)
            writer.write_eof()
            assert await read_all(reader) == ESTABLISHED + b"before the answer " + much + b" and goodbye"
            await nothing_is_left(setup)  # both sides have ended, and neither has closed


async def test_a_tunnel_takes_no_more_than_the_other_side_does() -> None:
    may_read = asyncio.Event()

    async def read_late(stream: Stream) -> None:
        await may_read.wait()
        await echo(stream)

    async with served(read_late) as port, simulator_setup(proxy=True, allow_hosts=["127.0.0.1"]) as setup:  # noqa: SIM117
        async with connected(setup, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port) as (reader, writer):
            assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE) == ESTABLISHED
            much = b"0123456789" * 2_000_000  # more than the system takes for who does not read
            writer.write(much)
            writer.write_eof()
            held = held_by(setup)
            await until(lambda: not all(each.is_reading() for each in held.transports))
            may_read.set()
            assert await read_all(reader) == much + b" and goodbye"


async def test_a_client_that_goes_takes_its_tunnel_with_it() -> None:
    gone = asyncio.Event()

    async def wait(stream: Stream) -> None:
        stream[1].write(b"hello")
        with suppress(ConnectionError):
            await stream[0].read()
        gone.set()

    async with served(wait) as port, simulator_setup(proxy=True, allow_hosts=["127.0.0.1"]) as setup:
        async with connected(setup, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port) as (reader, writer):
            await asyncio.wait_for(reader.readuntil(b"hello"), PATIENCE)
            writer.transport.abort()
        await asyncio.wait_for(gone.wait(), PATIENCE)
        await nothing_is_left(setup)


async def test_a_plain_request_to_an_allowed_host_goes_there_as_to_itself() -> None:
    async def answer(stream: Stream) -> None:
        head = await stream[0].readuntil(b"\r\n\r\n")
        body = await stream[0].readexactly(4)
        stream[1].write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head + body)

    async with served(answer) as port, simulator_setup(proxy=True, allow_hosts=["127.0.0.1"]) as setup:
        host = b"127.0.0.1:%d" % port
        head = b"POST http://%b?a=b HTTP/1.1\r\nHost: other\r\nA: b\r\nProxy-Connection: keep-alive\r\n\r\n" % host
        _, _, seen = (await answer_to(setup, head + b"body")).partition(b"\r\n\r\n")
        assert seen == b"POST /?a=b HTTP/1.1\r\nHost: %b\r\nA: b\r\nConnection: close\r\n\r\nbody" % host


async def test_an_allowed_host_that_can_not_be_reached() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        async with simulator_setup(proxy=True, allow_hosts=["127.0.0.1", "a" * 70]) as setup:
            answer = await answer_to(setup, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port)
            assert answer.startswith(b"HTTP/1.1 502 Can't connect to 127.0.0.1:%d: Connection refused." % port)
            answer = await answer_to(setup, b"CONNECT %b:443 HTTP/1.1\r\n\r\n" % (b"a" * 70))
            assert b": no such name.\r\n" in answer.split(b"Content-Type")[0]
            plain = await answer_to(setup, b"GET https://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % port)
            assert plain.startswith(b"HTTP/1.1 400 For https, 127.0.0.1 takes CONNECT alone.")


@pytest.mark.parametrize("host", ["api.-x.twilio.com", "api.xn--a.twilio.com"])
async def test_a_name_that_no_certificate_can_have_is_refused(host: str) -> None:
    async with simulator_setup(proxy=True) as setup:
        answer = await answer_to(setup, f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 500 A certificate for {host} can't be made: no such name.".encode())


JUNK = {
    "bytes": (b"\x00\x01\x02", b"400"),
    "TLS at once": (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
    "another protocol": (b"SSH-2.0-x\r\n", b"400"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
    "no proxy's request": (b"GET / HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n", b"400"),
    "no port": (b"CONNECT api.twilio.com:99999 HTTP/1.1\r\n\r\n", b"400"),
    "no host": (b"CONNECT :443 HTTP/1.1\r\n\r\n", b"400"),
    "a user in the URL": (b"GET http://api.twilio.com@example.com/ HTTP/1.1\r\n\r\n", b"400"),
    "a folded field": (b"GET http://api.twilio.com/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n", b"400"),
    "a huge field": (b"CONNECT api.twilio.com:443 HTTP/1.1\r\nX: " + b"y" * 100_000, b"431"),
    "a huge target": (b"CONNECT " + b"a" * 100_000, b"431"),
    "a huge header, whole": (b"CONNECT a:443 HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
    "impatience": (CONNECT + b"\x16\x03\x01", b"400"),
}


@pytest.mark.parametrize(("sent", "status"), JUNK.values(), ids=JUNK)
async def test_what_is_no_request_to_a_proxy(sent: bytes, status: bytes) -> None:
    async with simulator_setup(proxy=True) as setup:
        sid = await setup.running_call()
        with suppress(ConnectionError):
            assert (await answer_to(setup, sent)).startswith(b"HTTP/1.1 " + status + b" ")
        await setup.check_goes_on(sid)


@pytest.mark.parametrize("sent", [b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n"], ids=["bytes", "no TLS"])
async def test_what_is_no_tls_within_the_tunnel(sent: bytes) -> None:
    async with simulator_setup(proxy=True) as setup:
        sid = await setup.running_call()
        async with connected(setup, CONNECT) as (reader, writer):
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            writer.write(sent)
            with suppress(ConnectionError):
                await read_all(reader)
        await setup.check_goes_on(sid)


@pytest.mark.parametrize("sent", [b"", b"CONN", CONNECT[:40], CONNECT], ids=["nothing", "a bit", "half", "no TLS"])
async def test_who_says_no_more_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(proxy, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(proxy, "TLS_SECONDS", 0.2)
    async with simulator_setup(proxy=True) as setup, connected(setup, sent) as (reader, _):
        with suppress(ConnectionError):
            assert await read_all(reader) == (ESTABLISHED if sent == CONNECT else b"")
        await nothing_is_left(setup)  # though this client has not closed its side


async def test_who_has_said_what_it_wants_may_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "HEAD_SECONDS", 0.5)
    until_then = asyncio.get_running_loop().time() + 1.0
    async with simulator_setup(proxy=True) as setup, connected(setup, CONNECT) as stream:
        await start_tls(stream, trusting(setup), "api.twilio.com")
        while asyncio.get_running_loop().time() < until_then:
            stream[1].write(b"GET /simulator/survey HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n")
            await asyncio.wait_for(stream[0].readuntil(b"</Response>"), PATIENCE)


async def test_within_tls_who_says_no_more_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)
    async with simulator_setup(proxy=True) as setup, connected(setup, CONNECT) as stream:
        await start_tls(stream, trusting(setup), "api.twilio.com")
        assert await read_all(stream[0]) == b""


async def test_clients_that_close_in_the_middle_leave_nothing() -> None:
    async with simulator_setup(proxy=True) as setup:
        sid = await setup.running_call()
        for sent in (b"", CONNECT[:40], CONNECT, CONNECT + b"\x16"):
            async with connected(setup, sent) as (_, writer):
                writer.transport.abort()
        async with connected(setup, CONNECT) as stream:
            await start_tls(stream, trusting(setup), "api.twilio.com")
            stream[1].write(b"POST /2010-04-01/Accounts HTTP/1.1\r\nContent-Length: 100\r\n\r\nTo=")
            await stream[1].drain()
            stream[1].transport.abort()
        await nothing_is_left(setup)
        await setup.check_goes_on(sid)


async def test_a_tunnel_that_makes_its_own_client_give_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 1)
    async with served(echo) as port, simulator_setup(proxy=True, allow_hosts=["127.0.0.1"]) as setup:
        with suppress(ConnectionError):
            assert await answer_to(setup, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port) == b""
        await nothing_is_left(setup)


async def test_a_client_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 2)
    async with simulator_setup(proxy=True) as setup, connected(setup, CONNECT) as encrypted:
        await start_tls(encrypted, trusting(setup), "api.twilio.com")
        async with connected(setup, b"GET http://api.twilio.com/simulator/survey HTTP/1.1\r\n") as (reader, writer):
            encrypted[1].write(b"GET /simulator/survey HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n")
            assert await asyncio.wait_for(encrypted[0].readline(), PATIENCE) == b"HTTP/1.1 200 OK\r\n"
            writer.write(b"\r\n")
            assert (await read_all(reader)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_connections_of_the_proxy_have_the_simulators_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 4)
    async with served(echo) as port, simulator_setup(proxy=True, allow_hosts=["127.0.0.1"]) as setup:
        tunnel = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port  # two connections
        async with connected(setup, CONNECT[:40]) as (unfinished, _), connected(setup, CONNECT) as encrypted:
            await start_tls(encrypted, trusting(setup), "api.twilio.com")
            async with connected(setup, tunnel) as (reader, _):
                assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE) == ESTABLISHED
                sid = (await setup.place(ANSWERS))["sid"]  # the fifth
                with suppress(ConnectionError):
                    assert await read_all(unfinished) == b""
                async with connected(setup, b""):
                    with suppress(ConnectionError):
                        assert await read_all(encrypted[0]) == b""
                    assert (await setup.fetch(sid))["status"] == "queued"


async def test_the_end_closes_everything_and_removes_the_files() -> None:
    async with served(echo) as port:
        sim = Simulator(proxy=True, allow_hosts=["127.0.0.1"])
        async with sim:
            env = sim.proxy_env
            folder = Path(env["SSL_CERT_FILE"]).parent
            assert folder.stat().st_mode & 0o777 == 0o700
            assert {path.name for path in folder.iterdir()} == {"authority.pem", "roots.pem"}
            open_ones = []
            for sent in (b"", CONNECT[:40], CONNECT, CONNECT, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port):
                open_ones.append(await asyncio.open_connection("127.0.0.1", port_of(sim.proxy_url)))
                open_ones[-1][1].write(sent)
            context = ssl.create_default_context(cafile=env["SSL_CERT_FILE"])
            await start_tls(open_ones[3], context, "api.twilio.com")
            await asyncio.wait_for(open_ones[4][0].readuntil(b"\r\n\r\n"), PATIENCE)
        for reader, writer in open_ones:
            with suppress(ConnectionError):
                await read_all(reader)
            writer.close()
        assert not folder.exists()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port_of(env["HTTPS_PROXY"]))


def test_under_with_it_is_the_same() -> None:
    with Simulator(proxy=True) as sim:
        env = sim.proxy_env
        assert env["HTTPS_PROXY"] == env["HTTP_PROXY"] == env["https_proxy"] == env["http_proxy"] == sim.proxy_url
        assert env["NO_PROXY"] == env["no_proxy"] == "localhost,127.0.0.1,::1"
        assert Path(env["SSL_CERT_FILE"]).exists()
    assert not Path(env["SSL_CERT_FILE"]).exists()


def test_a_proxy_on_every_address_is_used_by_loopback_and_on_one_address_directly() -> None:
    with Simulator(proxy=True, host="0.0.0.0") as sim:  # noqa: S104
        assert sim.proxy_url.startswith("http://127.0.0.1:")
    with Simulator(proxy=True, host="127.0.0.5") as sim:
        assert sim.proxy_env["NO_PROXY"] == "localhost,127.0.0.1,::1,127.0.0.5"


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sim = Simulator(proxy=True, proxy_port=port)
        with pytest.raises(PortInUseError, match=f"{port}: the port is taken"), sim:
            pass


def test_what_makes_no_sense() -> None:
    for host in ("https://example.com", "example.com:443", "", "a b", "api.twilio.com", "API.us1.Twilio.com."):
        with pytest.raises(ValueError, match=r"not the name of a host|is simulated"):
            Simulator(proxy=True, allow_hosts=[host])
    with pytest.raises(ValueError, match="no base path"):
        Simulator(proxy=True, base_path="/api/laml")
    with pytest.raises(SimulatorError, match="proxy=True"), Simulator() as sim:
        _ = sim.proxy_env
