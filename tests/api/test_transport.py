"""One limit for a whole exchange: from looking the name up to the last byte of the reply."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import ssl
import threading
import zlib
from pathlib import Path

import pytest
from api.conftest import client_at
from api.raw import Answer, RawServer, drip, whole
from api.scripted import Handler, Server, call, reply
from thread_limit import ThreadLimit

from callctl.api.client import ApiClient
from callctl.api.requests import PlaceRequest, RedirectRequest
from callctl.errors import CallctlError, NetworkError, OutcomeUnknownError

SID = "CA" + "1" * 32
REQUEST = PlaceRequest(to="+12025550100", from_="+15005550006", url="https://example.com/twiml")
FOLDER = Path(__file__).parent
OK = b"HTTP/1.1 200 OK\r\n"
BODY = b'{"sid": "' + SID.encode() + b'"}'
FIRST = OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY  # whole; the connection goes on

DRIPS = [
    pytest.param(drip(b"1", after=b"HTTP/1.1 20"), id="status line"),
    pytest.param(drip(b"x", after=OK + b"X-Odd: "), id="header"),
    pytest.param(drip(b"HTTP/1.1 100 Continue\r\n\r\n"), id="100 Continue"),
    pytest.param(drip(b" ", after=OK + b"Content-Length: 100000\r\n\r\n"), id="body"),
    pytest.param(drip(b"1\r\n \r\n", after=OK + b"Transfer-Encoding: chunked\r\n\r\n"), id="chunks"),
    pytest.param(drip(b"0", after=OK + b"Transfer-Encoding: chunked\r\n\r\n"), id="chunk size"),
    pytest.param(drip(b" ", after=OK + b"\r\n"), id="body without length"),
]


def client(url: str, *, timeout: float = 0.3) -> ApiClient:
    return client_at(url, timeout=timeout)


class Stubborn(RawServer):
    """Answers the first request on each connection, and reads no further one."""

    def __init__(self, first: bytes) -> None:
        super().__init__(lambda: iter([]), first=first)

    def _read(self, connection: socket.socket) -> bool:
        if self.requests:
            return self._stopped.wait(10)
        return super()._read(connection)


def let_them_end() -> None:
    """Wait until no exchange runs any more, those included that were given up."""
    for thread in threading.enumerate():
        if thread.name == "callctl-request":
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("answer", DRIPS)
def test_a_reply_that_drips_is_given_up_and_its_connection_ended(answer: object) -> None:
    with RawServer(answer) as server:  # type: ignore[arg-type]
        with pytest.raises(NetworkError, match=r"no whole answer from 127\.0\.0\.1:\d+ within 0\.3 s"):
            client(server.url).fetch(SID)
        tries = len(server.requests)
        assert 1 < tries <= 5  # on a busy machine the time of one may be over before the server has read it
        for _ in range(tries):  # no thread is left that reads on
            assert server.ended.acquire(timeout=10)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("answer", DRIPS)
def test_so_is_one_on_a_connection_that_is_used_again(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can be given up there: each piece has the time that is left."""
    with RawServer(answer, first=FIRST) as server:
        at = client(server.url, timeout=1)
        assert at.fetch(SID).sid == SID
        ThreadLimit(monkeypatch, left=0)
        with pytest.raises(OutcomeUnknownError, match=r"within 1 s; the call may have been placed"):
            at.place(REQUEST)
        assert server.ended.acquire(timeout=10)


@pytest.mark.parametrize(("kept_for", "connections"), [(60, 1), (-1, 3)])
def test_a_connection_that_was_not_used_for_long_is_given_up(
    monkeypatch: pytest.MonkeyPatch, kept_for: float, connections: int
) -> None:
    """What is between may have forgotten it: a redirect would be lost with it, and may not be sent again."""
    monkeypatch.setattr("callctl.api.transport._KEPT_FOR", kept_for)
    peers = []

    def turn(handler: Handler) -> None:
        peers.append(handler.client_address)
        reply(200, call())(handler)

    with Server(turn) as server:
        at = client(server.url, timeout=10)
        for _ in range(2):
            at.fetch(SID)
        at.redirect(SID, RedirectRequest(url="https://example.com/twiml"))
    assert (len(peers), len(set(peers))) == (3, connections)


def test_so_are_those_of_several_requests_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.api.transport._KEPT_FOR", -1)
    peers, all_here = [], threading.Barrier(3, timeout=10)

    def turn(handler: Handler) -> None:
        peers.append(handler.client_address)
        all_here.wait()
        reply(200, call())(handler)

    with Server(turn) as server:
        at = client(server.url, timeout=10)
        for _ in range(3):
            threads = [threading.Thread(target=at.fetch, args=(SID,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert len(set(peers)) == len(peers) == 9


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    with RawServer(whole(201, BODY, {"Connection": b"keep-alive"})) as server:
        at = client(server.url, timeout=10)
        assert at.place(REQUEST).sid == SID
        assert server.ended.acquire(timeout=10)
        assert at.place(REQUEST).sid == SID


@pytest.mark.timeout(20)
def test_a_server_that_reads_no_further_is_given_up() -> None:
    large = PlaceRequest(to=REQUEST.to, from_=REQUEST.from_, url="https://example.com/" + "x" * 20_000_000)
    with Stubborn(FIRST) as server:
        at = client(server.url, timeout=1)
        assert at.fetch(SID).sid == SID
        with pytest.raises(OutcomeUnknownError, match=r"within 1 s"):
            at.place(large)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("answer", DRIPS)
def test_a_call_may_have_been_placed_then_and_is_not_placed_again(answer: object) -> None:
    with RawServer(answer) as server:  # type: ignore[arg-type]
        with pytest.raises(OutcomeUnknownError, match=r"within 0\.3 s; the call may have been placed"):
            client(server.url).place(REQUEST)
        let_them_end()
        assert (
            len(server.requests) <= 1
        )  # none where the time is over before the server has read it, as on a busy machine


@pytest.mark.timeout(20)
def test_a_call_whose_reply_never_ends_has_its_sid() -> None:
    body = b'{"sid": "' + SID.encode() + b'", "status": "queued"}'
    with RawServer(drip(b" ", after=b"HTTP/1.1 201 Created\r\n\r\n" + body)) as server:
        assert client(server.url).place(REQUEST).sid == SID


@pytest.mark.timeout(20)
def test_a_handshake_that_drips_sent_nothing() -> None:
    # The beginning of a TLS record, and never its end.
    with RawServer(drip(b"\x02", after=b"\x16\x03\x03\x40\x00"), speaks_first=True) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(NetworkError, match=r"no connection to 127\.0\.0\.1:\d+ within 0\.3 s") as caught:
            client(url).place(REQUEST)
        let_them_end()
    assert not isinstance(caught.value, OutcomeUnknownError)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("answer", [drip(b"1", after=b"HTTP/1.1 20"), drip(b"x", after=OK + b"X-Odd: ")])
def test_a_proxy_that_drips_sent_nothing(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answer) as proxy:  # type: ignore[arg-type]
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(NetworkError, match=r"no connection to .* within 0\.3 s") as caught:
            client("https://api.example.com").place(REQUEST)
        let_them_end()
        assert not isinstance(caught.value, OutcomeUnknownError)
        assert all(request.startswith(b"CONNECT api.example.com:443") for request in proxy.requests)


@pytest.mark.timeout(20)
def test_a_redirection_with_a_body_that_drips_is_bounded_too() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"
    with RawServer(drip(b" ", after=head)) as server, pytest.raises(NetworkError, match="within"):
        client(server.url).fetch(SID)


@pytest.mark.timeout(20)
def test_nothing_is_sent_by_a_connection_that_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name resolves late: by then, the caller of ``place`` has its error."""
    requested, known, looked_up = threading.Event(), threading.Event(), threading.Semaphore(0)
    real = socket.getaddrinfo

    def slow(*args: object, **more: object) -> object:
        requested.set()
        known.wait(10)
        try:
            return real(*args, **more)  # type: ignore[arg-type]
        finally:
            looked_up.release()

    with Server(reply(201, call())) as server:
        at = client(server.url)
        monkeypatch.setattr("socket.getaddrinfo", slow)
        with pytest.raises(NetworkError, match="no connection") as caught:
            at.place(REQUEST)
        assert requested.is_set()
        assert not isinstance(caught.value, OutcomeUnknownError)
        known.set()
        let_them_end()
        assert server.received == []


@pytest.mark.timeout(20)
def test_several_addresses_share_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address may take its time to say nothing; together they may not take longer."""
    tried = []

    def unresponsive(address: tuple[str, int], timeout: float, *_rest: object, **_more: object) -> socket.socket:
        tried.append(address)
        if len(tried) % 2:
            threading.Event().wait(timeout / 2)
        raise TimeoutError

    monkeypatch.setattr("urllib3.util.connection.create_connection", unresponsive)
    with pytest.raises(NetworkError, match="no connection"):
        client("http://127.0.0.1:9").fetch(SID)
    assert len(tried) == 5


def test_a_connection_is_used_again_after_an_exchange_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "certificate.pem", FOLDER / "key.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(FOLDER / "certificate.pem"))
    peers = []

    def turn(handler: Handler) -> None:
        peers.append(handler.client_address)
        reply(200, call())(handler)

    with Server(turn, context=context) as server:
        at = client(server.url, timeout=10)
        assert at.fetch(SID).sid == at.fetch(SID).sid == SID
    assert len(set(peers)) == 1


@pytest.mark.timeout(20)
def test_an_answer_in_time_is_not_disturbed_by_the_limit() -> None:
    with RawServer(whole(200, b'{"sid": "' + SID.encode() + b'"}')) as server:
        assert client(server.url, timeout=10).fetch(SID).sid == SID


@pytest.mark.parametrize("status", [102, 103, 199])
def test_an_interim_reply_alone_refuses_nothing(status: int) -> None:
    answer = b"HTTP/1.1 %d Wait\r\n\r\n" % status
    with RawServer(lambda: iter([answer])) as server, pytest.raises(OutcomeUnknownError, match="may have been placed"):
        client(server.url, timeout=10).place(REQUEST)


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_interim_replies_before_the_answer_are_passed_over(status: int) -> None:
    interim = b"HTTP/1.1 %d Wait\r\nLink: </x>\r\n\r\n" % status
    answer = whole(201, json.dumps(call()).encode())
    with RawServer(lambda: itertools.chain([interim] * 3, answer())) as server:
        assert client(server.url, timeout=10).place(REQUEST).sid == SID


GZIP = {"Content-Encoding": b"gzip"}
CHUNK = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
# Each is larger than any reply, as sent or as decompressed, and each would take long to read as JSON.
LARGE = [
    pytest.param(whole(200, gzip.compress(BODY[:-1] + b" " * 30_000_000 + b"}", 1), GZIP), id="gzip of blanks"),
    pytest.param(whole(200, gzip.compress(BODY) * 400_000, GZIP), id="many members"),
    pytest.param(whole(200, BODY[:-1] + b', "x": [' + b"0," * 5_000_000 + b"0]}"), id="many numbers"),
    pytest.param(whole(200, BODY[:-1] + b', "x": ' + b"9" * 10_000_000 + b"}"), id="a long number"),
    pytest.param(whole(200, BODY[:-1] + b', "x": ' + b"[" * 10_000_000), id="deep"),
    pytest.param(lambda: itertools.chain([OK + b"Transfer-Encoding: chunked\r\n\r\n"], [CHUNK] * 50), id="chunks"),
]


@pytest.mark.parametrize("answer", LARGE)
def test_a_reply_larger_than_any_is_neither_read_on_nor_asked_for_again(answer: Answer) -> None:
    with RawServer(answer) as server:
        with pytest.raises(NetworkError, match=r"the answer of 127\.0\.0\.1:\d+ is larger than any of the API$"):
            client(server.url, timeout=30).fetch(SID)
        assert len(server.requests) == 1


@pytest.mark.parametrize("answer", LARGE[:1] + LARGE[2:5])
def test_a_call_has_its_sid_from_the_beginning_of_such_a_reply(answer: Answer) -> None:
    with RawServer(answer) as server:
        assert client(server.url, timeout=30).place(REQUEST).sid == SID
        assert len(server.requests) == 1


def test_nothing_is_decompressed_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python gathers what follows, and copies it with each piece: seconds and more, after the time limit too."""
    real = zlib.decompressobj

    class Watched:
        def __init__(self, form: int) -> None:
            self.inflate = real(form)

        def decompress(self, piece: bytes, most: int) -> bytes:
            assert not self.inflate.eof
            return self.inflate.decompress(piece, most)

        @property
        def eof(self) -> bool:
            return self.inflate.eof

    monkeypatch.setattr("callctl.api.transport.zlib.decompressobj", Watched)
    members = gzip.compress(BODY) * 5000
    with RawServer(whole(200, members, GZIP)) as server:
        assert client(server.url, timeout=30).fetch(SID).sid == SID
    cut = {"Content-Length": str(len(members) + 1).encode(), **GZIP}
    with RawServer(whole(201, members, cut)) as server:
        assert client(server.url, timeout=30).place(REQUEST).sid == SID


@pytest.mark.parametrize("coding", [b"gzip, gzip", b"gzip,deflate,br"])
def test_an_encoding_within_an_encoding_is_no_answer(coding: bytes) -> None:
    nested = gzip.compress(gzip.compress(b" " * 30_000_000))
    with (
        RawServer(whole(200, nested, {"Content-Encoding": coding})) as server,
        pytest.raises(CallctlError, match="not as the API does"),
    ):
        client(server.url, timeout=30).fetch(SID)
