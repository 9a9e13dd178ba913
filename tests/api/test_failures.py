"""When no whole reply comes: what is said, what is hinted at, and that nothing waits for ever."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from api.conftest import StartApi, client_at
from api.raw import RawServer
from api.scripted import Handler, Server, call, cut, drop, hang, reply, trickle

from callctl.api.requests import PlaceRequest
from callctl.api.retries import TRIES
from callctl.errors import NetworkError, OutcomeUnknownError, SettingsError

SID = "CA" + "1" * 32
FOLDER = Path(__file__).parent
DONE = reply(200, call())
REQUEST = PlaceRequest(to="+12025550100", from_="+15005550006", url="https://example.com/twiml")


@pytest.fixture
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "certificate.pem", FOLDER / "key.pem")
    return context


@pytest.mark.parametrize("ask", ["fetch", "hangup", "cancel"])
def test_an_answer_about_another_call_is_none(start_api: StartApi, ask: str) -> None:
    other = "CA" + "9" * 32
    with pytest.raises(NetworkError, match=f"answered, but not with call {SID}: it answered with {other}"):
        getattr(start_api(reply(200, call(sid=other))).client, ask)(SID)


def test_silence_is_bounded(start_api: StartApi) -> None:
    with pytest.raises(NetworkError, match=r"no whole answer from 127\.0\.0\.1:\d+ within 0\.2 s"):
        start_api(hang(), timeout=0.2).client.fetch(SID)


def test_so_is_a_reply_that_trickles(start_api: StartApi) -> None:
    with pytest.raises(NetworkError, match=r"within 0\.3 s"):
        start_api(trickle(), timeout=0.3).client.fetch(SID)


def test_a_reply_without_end_is_not_kept(start_api: StartApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callctl.api.transport.MAX_BODY", 1000)
    with pytest.raises(NetworkError, match="is larger than any of the API"):
        start_api(reply(200, b" " * 200_000)).client.fetch(SID)


@pytest.mark.parametrize("turn", [drop(), cut(b'{"sid"')])
def test_a_connection_that_breaks(start_api: StartApi, turn: object) -> None:
    with pytest.raises(NetworkError, match="broke before the whole answer came"):
        start_api(turn).client.fetch(SID)


def test_a_body_that_can_not_be_decoded(start_api: StartApi) -> None:
    with pytest.raises(NetworkError, match="could not be decoded"):
        start_api(reply(200, b"not gzip", Content_Encoding="gzip")).client.fetch(SID)


def test_something_that_does_not_speak_http(start_api: StartApi) -> None:
    def turn(handler: Handler) -> None:
        handler.wfile.write(b"220 mail.example.com ESMTP\r\n")
        handler.hang_up()

    with pytest.raises(NetworkError, match="broke"):
        start_api(turn).client.fetch(SID)


def test_connections_are_kept_and_replies_need_no_content_type(start_api: StartApi) -> None:
    peers = []

    def turn(handler: Handler) -> None:
        peers.append(handler.client_address)
        handler.answer(200, f'{{"sid": "{SID}", "status": "queued", "caller_name": "Jürgen"}}'.encode(), {})

    api = start_api(turn)
    assert api.client.fetch(SID).caller_name == "Jürgen"
    assert api.client.hangup(SID).caller_name == "Jürgen"
    assert len(set(peers)) == 1


def test_a_certificate_of_ones_own_is_named_by_ssl_cert_file(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(DONE, context=tls) as server:
        with pytest.raises(NetworkError, match=r"certificate of .* was not accepted") as caught:
            client_at(server.url).fetch(SID)
        assert "SSL_CERT_FILE; REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, where set, count" in (caught.value.hint or "")
        assert server.received == []
        monkeypatch.setenv("SSL_CERT_FILE", str(FOLDER / "certificate.pem"))
        assert client_at(server.url).fetch(SID).sid == SID
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(FOLDER / "key.pem"))
        with pytest.raises(NetworkError, match="certificate file can't be read"):
            client_at(server.url).fetch(SID)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_certificate_file_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch, start_api: StartApi) -> None:
    monkeypatch.setenv(name, "/nowhere/ca.pem")
    with pytest.raises(SettingsError, match=f"{name} names a file that is not there: /nowhere/ca.pem"):
        client_at("https://127.0.0.1:9").fetch(SID)
    assert start_api(DONE).client.fetch(SID).sid == SID  # plain http to loopback needs none


def test_https_to_a_server_without(start_api: StartApi) -> None:
    api = start_api(DONE)
    with pytest.raises(NetworkError, match="does not speak TLS"):
        client_at(api.server.url.replace("http:", "https:")).fetch(SID)
    assert api.server.received == []


@pytest.mark.parametrize("pieces", [[], [bytes.fromhex("15030300020250")]], ids=["closed", "internal error"])
def test_what_breaks_within_the_handshake_was_not_sent(pieces: list[bytes]) -> None:
    with RawServer(lambda: iter(pieces), speaks_first=True) as server:
        with pytest.raises(NetworkError, match="broke before the request was sent") as caught:
            client_at(server.url.replace("http:", "https:")).place(REQUEST)
        for _ in range(TRIES):
            assert server.ended.acquire(timeout=10)
    assert not isinstance(caught.value, OutcomeUnknownError)


@pytest.mark.parametrize("came", [b"", b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"])
def test_a_tls_record_that_is_none_may_follow_a_call_that_was_placed(
    came: bytes, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn(handler: Handler) -> None:
        handler.wfile.write(came)
        handler.wfile.flush()
        socket.socket.send(handler.connection, b"no record of TLS")  # past the encryption
        handler.hang_up()

    monkeypatch.setenv("SSL_CERT_FILE", str(FOLDER / "certificate.pem"))
    with Server(turn, context=tls) as server:
        with pytest.raises(OutcomeUnknownError, match="may have been placed"):
            client_at(server.url).place(REQUEST)
        assert len(server.received) == 1


def test_the_sid_is_read_before_a_tls_record_that_is_none(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def turn(handler: Handler) -> None:
        handler.wfile.write(b'HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"sid": "%s", ' % SID.encode())
        handler.wfile.flush()
        socket.socket.send(handler.connection, b"no record of TLS")
        handler.hang_up()

    monkeypatch.setenv("SSL_CERT_FILE", str(FOLDER / "certificate.pem"))
    with Server(turn, context=tls) as server:
        assert client_at(server.url).place(REQUEST).sid == SID


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"])
def test_loopback_is_never_asked_for_through_a_proxy(
    start_api: StartApi, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = start_api(reply(500))
    monkeypatch.setenv(name, proxy.server.url)
    assert start_api(DONE).client.fetch(SID).sid == SID
    assert proxy.server.received == []


def test_the_world_is_asked_for_through_the_proxy(start_api: StartApi, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = start_api(reply(407, b"who are you"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.server.url.replace("//", "//user:fake-password@"))
    with pytest.raises(
        NetworkError, match=r"the proxy did not let the connection to api\.example\.com through"
    ) as caught:
        client_at("https://api.example.com").hangup(SID)
    (request,) = proxy.server.received
    assert (request.method, request.target) == ("CONNECT", "api.example.com:443")
    assert "HTTPS_PROXY" in (caught.value.hint or "")
    assert_secret_is_hidden(caught.value, "fake-password")


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:fake-password@127.0.0.1:1",
        "foo://user:fake-password@host",
        "http://user:fake-password@h:port",
        "http://user:fake-password[@host",
        "http://user:fake-password@",  # as http://$USER:$PASSWORD@$HOST gives where HOST is not set
        "socks5h://user:fake-password@",
    ],
)
def test_a_proxy_that_is_none_does_not_spill_its_password(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(NetworkError, match="proxy") as caught:
        client_at("https://api.example.com").fetch(SID)
    assert_secret_is_hidden(caught.value, "fake-password")


def assert_secret_is_hidden(error: BaseException, secret: str) -> None:
    current: BaseException | None = error
    while current is not None:
        assert secret not in f"{current!r}{current}"
        current = current.__cause__ or current.__context__
