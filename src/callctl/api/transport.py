"""The SDK's HTTP client, made fit for a command that must not hang, and the SDK's client around it.

Only this module and ``failures`` know twilio and requests; the API client imports both late, so that a command that
sends nothing does not pay for them.
"""

from __future__ import annotations

import codecs
import http.client
import io
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
from requests import ConnectTimeout, ReadTimeout
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidProxyURL
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies

# The SDK's base client signs requests in, names itself and encodes; nothing of it knows the resources. The full
# client's Calls resource would load a hundred modules more, and parse replies into objects that lose the time zone of
# dates, the headers of errors and the code of list errors (docs/twilio.md, "The Python library").
from twilio.base.client_base import ClientBase
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from urllib3.exceptions import DecodeError

from callctl import __version__
from callctl.api.failures import TRANSPORT_ERRORS, TooLargeError
from callctl.api.replies import Reply
from callctl.errors import SettingsError
from callctl.support.clock import elapsed
from callctl.support.threads import start_in_thread

# Bytes of a reply, as sent and decompressed. The largest is a page of 1,000 calls, about 1.2 kB each and 4 kB with long
# addresses; twice that. What is allowed here is also decompressed and read as JSON, after the exchange's time limit.
MAX_BODY = 8 * 1024 * 1024
_CHUNK = 64 * 1024
# Bytes that are looked through for a SID where the reply is broken: one call takes about 1.5 kB.
_SALVAGED = 64 * 1024
# At least as many as threads may send requests at once: `show` for five parts of 21 calls. Beyond it urllib3 would
# throw connections away, and log that.
_POOL_SIZE = 128
# Seconds after which a connection that was not used is given up. An address translation on the way forgets one after
# some minutes, without a word; a redirect that is lost with it may not be sent again.
_KEPT_FOR = 60.0


class Exchange:
    """One request and its reply, which ends as a whole when its time is over.

    What is received has the time that is left. To connect may take longer, since the lookup of a name has no limit: it
    runs in a thread of its own then, and the caller can abandon it, so that nothing more is sent, and reading ends.
    ``may_connect`` is whether that is so. ``sent`` is whether anything of the request may have been sent; ``reply`` and
    ``body`` are what has come of the reply.
    """

    def __init__(self, *, timeout: float) -> None:
        self._until = time.monotonic() + timeout  # not counted in suspension: the reply may be there after it
        self._lock = threading.Lock()
        self._connection: Any = None
        self._socket: Any = None
        self._abandoned = False
        self.may_connect = False
        self.sent = False
        self.reply: Any = None
        self.body = bytearray()

    def on_connect(self, connection: Any) -> None:
        """Take notice of the connection that is about to be made.

        Raises:
            ConnectTimeout: The exchange was abandoned.
            _NoConnectionError: It may not connect.
        """
        if not self.may_connect:
            raise _NoConnectionError
        with self._lock:
            self._check_abandoned()
            self._connection = connection

    def on_send(self, connection: Any) -> None:
        """Take notice that the request is about to be sent; raise ConnectTimeout if it was abandoned."""
        connection.used_at = elapsed()
        with self._lock:
            self._check_abandoned()
            self._socket = connection.sock
            self.sent = True

    def limit(self, sock: Any) -> None:
        """Give what is received next the time that is left; raise TimeoutError where none is."""
        if (left := self._until - time.monotonic()) <= 0:
            raise TimeoutError
        sock.settimeout(left)

    def _check_abandoned(self) -> None:
        if self._abandoned:
            raise ConnectTimeout("the time was over before the request was sent")

    def abandon(self) -> None:
        """Let nothing more be sent, and end what is being read."""
        with self._lock:
            self._abandoned = True
            # While it is made, a proxy's answer alone can take for ever: each other step has a limit of its own.
            is_tunneling = getattr(self._connection, "_tunnel_host", None) is not None
            current = self._socket or (self._connection.sock if is_tunneling else None)
        # Of TLS within TLS the outer one. Not by the method of a TLS socket: the other thread is within it.
        current = getattr(current, "socket", current)
        if isinstance(current, socket.socket):
            with suppress(OSError):
                socket.socket.shutdown(current, socket.SHUT_RDWR)


_running = threading.local()  # .exchange: the one that runs in this thread


class _NoConnectionError(Exception):
    """No connection is left from an earlier exchange; nothing was sent."""


class _InTime(io.RawIOBase):
    """What comes from a socket, as long as the running exchange has time."""

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        super().__init__()
        self._raw, self._socket = raw, sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _running.exchange.limit(self._socket)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()


class _Response(http.client.HTTPResponse):
    """A response that is read in time, and passes over every interim one before it: the library's over 100 alone.

    What is where the size of a chunk should be is kept: it may be a body that was not cut into chunks. Source: RFC
    9110, 15.2.
    """

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_InTime(self.fp.detach(), sock))

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc] # not in the stubs
        is_interim = 100 <= status < 200 and status != HTTPStatus.SWITCHING_PROTOCOLS
        return version, HTTPStatus.CONTINUE if is_interim else status, reason

    def _read_next_chunk_size(self) -> int:
        ahead = self.fp.peek()
        try:
            return super()._read_next_chunk_size()  # type: ignore[misc, no-any-return] # likewise
        except ValueError:
            _running.exchange.body += ahead
            raise


class _Tracked:
    """A connection that reports to the running exchange."""

    response_class = _Response
    sock: Any
    used_at = 0.0  # when something was last sent over it, by ``elapsed``
    _is_connecting = False

    def connect(self) -> None:
        _running.exchange.on_connect(self)
        self._is_connecting = True
        try:
            super().connect()  # type: ignore[misc] # that of the class it is mixed with
        finally:
            self._is_connecting = False

    def _tunnel(self) -> None:
        super()._tunnel()  # type: ignore[misc]
        _running.exchange.on_connect(self)  # an answer that was broken off here reads like one that ended

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        if not self._is_connecting:  # else it goes to a proxy
            _running.exchange.on_send(self)
        super().send(data)  # type: ignore[misc]


class _TrackedPool:
    """A pool that gives up connections which were not used for long."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)  # type: ignore[misc] # that of the class it is mixed with
        if connection.sock is not None and elapsed() - connection.used_at > _KEPT_FOR:
            connection.close()  # as one is that the server has closed: it connects anew
        return connection


def _track(manager: Any) -> None:
    """Have a pool manager make connections that report to the running exchange."""
    manager.pool_classes_by_scheme = {
        scheme: type(
            f"Tracked{pool.__name__}",
            (_TrackedPool, pool),
            {"ConnectionCls": type("TrackedConnection", (_Tracked, pool.ConnectionCls), {})},
        )
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }


class _Adapter(HTTPAdapter):
    """requests' adapter with connections that report to the running exchange, and without its reading of headers.

    It would read the charset, cookies and the target of a redirection, none of which is used here, and fail on what
    can't be read.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _track(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            _track(manager)
        return manager

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_connection_with_tls_context(*args, **kwargs)
        except TypeError as error:  # of a proxy's address with a user and without a host
            raise InvalidProxyURL("a proxy's address has no host") from error

    def build_response(self, req: Any, resp: Any) -> Any:
        reply = requests.Response()
        reply.request, reply.url, reply.raw = req, req.url, resp
        reply.status_code = resp.status
        reply.headers = CaseInsensitiveDict(resp.headers)
        return reply


class ExchangeError(requests.RequestException):
    """No whole reply came. The cause is chained.

    ``sent`` is whether anything of the request may have been sent, ``partial`` is what came of the reply, if its
    head did.
    """

    def __init__(self, *, sent: bool, partial: Response | None) -> None:
        super().__init__("the reply broke off" if sent else "the request was not sent")
        self.sent = sent
        self.partial = partial


class TimeLimitedHttpClient(TwilioHttpClient):  # type: ignore[misc] # the library is untyped
    """The SDK's HTTP client with a time limit on whole exchanges, one pool, and the environment's certificates."""

    def __init__(self, *, timeout: float, loopback: bool, encrypted: bool) -> None:
        super().__init__(timeout=timeout)
        self._verify = _certificates(os.environ) if encrypted else True
        self._uses_proxies = not loopback  # they can't reach this machine's loopback
        self._adapter = _Adapter(pool_connections=4, pool_maxsize=_POOL_SIZE)
        self._idle = threading.Semaphore(0)  # connections that an exchange has left; some may have been closed

    def request(
        self,
        method: str,
        url: str,
        params: Any = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the SDK's signature; the limit is the client's
        allow_redirects: bool = False,  # noqa: ARG002 - likewise: the token goes to no other host
    ) -> Response:
        """Send one request and read its reply, all of it within the time limit.

        ``requests`` limits the wait for each piece alone, so that a server that sends a byte now and then, or a name
        with several addresses, would hold a command for ever. Where a connection must be made, all of it runs in
        another thread, which takes as much processor time as the rest of a request.

        Raises:
            ExchangeError: No whole reply came.
            NoThreadError: The system has no thread left; nothing was sent.
        """
        headers = {**(headers or {}), "Accept-Encoding": "gzip, deflate"}
        request_values = {"method": method.upper(), "url": url, "params": params, "headers": headers}
        self.log_request(request_values)
        exchange = Exchange(timeout=self.timeout)
        try:
            prepared = _prepared(method, url, params=params, data=data, headers=headers, auth=auth)
            if not self._is_done_without_connecting(exchange, prepared):
                exchange.may_connect = True
                self._in_time(exchange, lambda: self._exchange(exchange, prepared))
            response = _response(exchange, decompressed(exchange.body, exchange.reply.headers))
        except TRANSPORT_ERRORS as error:
            raise ExchangeError(sent=exchange.sent, partial=_partial(exchange)) from error
        self.log_response(response.status_code, response)
        return response

    def _is_done_without_connecting(self, exchange: Exchange, prepared: requests.PreparedRequest) -> bool:
        if not self._idle.acquire(blocking=False):
            return False
        try:
            self._exchange(exchange, prepared)
        except _NoConnectionError:  # it was closed, by the server or since it was not used for long
            return False
        return True

    def _in_time(self, exchange: Exchange, work: Callable[[], None]) -> None:
        future = start_in_thread(work)
        try:
            is_late = not wait([future], timeout=self.timeout).done
        except BaseException:  # Ctrl-C
            exchange.abandon()
            raise
        if is_late:
            exchange.abandon()
            raise ReadTimeout("the reply did not end")
        future.result()

    def _exchange(self, exchange: Exchange, prepared: requests.PreparedRequest) -> None:
        proxies = get_environ_proxies(prepared.url or "") if self._uses_proxies else {}
        _running.exchange = exchange
        with self._adapter.send(prepared, timeout=self.timeout, verify=self._verify, proxies=proxies) as reply:
            if reply.status_code < 200:  # 101: it goes on in another protocol
                raise requests.ConnectionError("the reply broke off")
            exchange.reply = reply
            _read(reply.raw, exchange.body)
        self._idle.release()


def _prepared(
    method: str, url: str, *, params: Any, data: Any, headers: dict[str, str], auth: tuple[str, str] | None
) -> requests.PreparedRequest:
    """Return a request as ``requests`` prepares it, without a session's defaults and cookies."""
    prepared = requests.PreparedRequest()
    prepared.prepare_method(method)
    prepared.prepare_url(url, params)
    prepared.prepare_headers(headers)
    prepared.prepare_body(data, files=None)
    prepared.prepare_auth(auth, url)
    return prepared


def _partial(exchange: Exchange) -> Response | None:
    """Return what came of a reply that broke off; None if not even its head did."""
    if exchange.reply is None:
        return None
    return _response(exchange, salvaged(exchange.body[:_SALVAGED], exchange.reply.headers))


def _response(exchange: Exchange, body: bytes | bytearray) -> Response:
    # JSON is UTF-8 whatever the header says; without a header the library would guess, and take long over it.
    return Response(exchange.reply.status_code, body.decode("utf-8-sig", "replace"), exchange.reply.headers)


def _read(raw: Any, body: bytearray) -> None:
    # What the socket has, not a full chunk: so is there what came, when the rest does not. Not in pieces to be joined:
    # for each page of a long list that takes new memory from the system, which is slow.
    read = getattr(raw, "read1", raw.read)
    while piece := read(_CHUNK, decode_content=False):
        body += piece
        if len(body) > MAX_BODY:
            raise TooLargeError


def decompressed(raw: bytes | bytearray, headers: Mapping[str, str]) -> bytes | bytearray:
    """Return a body as it was before it was compressed: it may be, and a few bytes may stand for gigabytes.

    Raises:
        DecodeError: It can't be decompressed.
        TooLargeError: It is larger than any reply.
    """
    if not _is_compressed(raw, headers):
        return raw
    body, is_whole = _decompress(raw, step=_CHUNK, most=MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise TooLargeError
    if not is_whole:
        raise DecodeError("the reply can't be decompressed")
    return body


def salvaged(raw: bytes | bytearray, headers: Mapping[str, str]) -> bytes | bytearray:
    """Return what can be read of the beginning of a broken body."""
    return _decompress(raw, step=1, most=_SALVAGED)[0] if _is_compressed(raw, headers) else raw


def _is_compressed(raw: bytes | bytearray, headers: Mapping[str, str]) -> bool:
    # What begins like JSON is not compressed, whatever its header says.
    has_encoding = headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")
    return has_encoding and raw[:1] not in (b"", b"{", b"[", b" ", b"\r", b"\n", codecs.BOM_UTF8[:1])


def _decompress(raw: bytes | bytearray, *, step: int, most: int) -> tuple[bytes, bool]:
    """Return what can be decompressed, ``most`` bytes of it, and whether that is all of it.

    It is decompressed ``step`` bytes at a time, so that what comes before an error is not lost. ``deflate`` means the
    form of zlib (RFC 9110, 8.4.1.2), and to some servers the bare one.
    """
    body, is_whole = _decompress_as(raw, zlib.MAX_WBITS | 32, step=step, most=most)  # gzip or zlib
    return (body, is_whole) if body else _decompress_as(raw, -zlib.MAX_WBITS, step=step, most=most)


def _decompress_as(raw: bytes | bytearray, form: int, *, step: int, most: int) -> tuple[bytes, bool]:
    inflate = zlib.decompressobj(form)
    body = bytearray()
    try:
        for start in range(0, len(raw), step):
            body += inflate.decompress(raw[start : start + step], most - len(body))
            # What comes after the end would be gathered, and copied each time: no server sends a second member.
            if inflate.eof or len(body) == most:
                break
    except zlib.error:
        return bytes(body), False
    return bytes(body), inflate.eof


def _certificates(environ: Mapping[str, str]) -> str | bool:
    """Return the file or folder of certificates to trust, or True for the usual ones.

    Raises:
        SettingsError: A variable names one that is not there.
    """
    # A session of requests honours the first two; OpenSSL and most tools honour the third.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if path := environ.get(name):
            if os.path.exists(path):  # noqa: PTH110 - Path's raises where one may not look
                return path
            raise SettingsError(f"{name} names a file that is not there: {path}", hint=f"correct or unset {name}")
    return True


class Client:
    """The SDK's client for one account at one API address. Safe for use from several threads.

    ``errors`` are the exceptions that mean that no whole reply came.
    """

    errors = TRANSPORT_ERRORS

    def __init__(self, *, username: str, secret: str, timeout: float, loopback: bool, encrypted: bool) -> None:
        self._sdk = ClientBase(
            username,
            secret,
            http_client=TimeLimitedHttpClient(timeout=timeout, loopback=loopback, encrypted=encrypted),
            # Not os.environ, which an empty mapping would mean: an exported region would mangle the address's host
            # (docs/twilio.md, "Regions and edges"). The settings have put region and edge into it.
            environment={"TWILIO_REGION": ""},
            user_agent_extensions=[f"callctl/{__version__}"],
        )

    def get(self, url: str) -> Reply:
        """Get a resource."""
        return _reply(self._sdk.request("GET", url), url=url)

    def post(self, url: str, form: Sequence[tuple[str, str]]) -> Reply:
        """Send a form, in which a name may be repeated."""
        return _reply(self._sdk.request("POST", url, data=urlencode(form)), url=url)


def partial_reply(error: Exception, *, url: str) -> Reply | None:
    """Return what came of the reply to a request that ended with this error; None if not even its head did."""
    partial = error.partial if isinstance(error, ExchangeError) else None
    return None if partial is None else _reply(partial, url=url)


def may_be_sent(error: Exception) -> bool:
    """Return whether anything of the request that ended with this error may have been sent."""
    return not isinstance(error, ExchangeError) or error.sent


def _reply(response: Response, *, url: str) -> Reply:
    return Reply(host=urlsplit(url).netloc, status=response.status_code, headers=response.headers, text=response.text)
