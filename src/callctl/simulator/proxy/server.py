"""An HTTP proxy that stands for api.twilio.com, so that an application in any language can be tried as it is.

For Twilio it ends TLS itself, and the simulator answers on the same connection. Other hosts are refused unless they
were allowed, and are then tunnelled untouched.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from callctl.simulator.errors import more_info
from callctl.simulator.http_requests import Reply
from callctl.simulator.proxy.authority import Authority
from callctl.support.connection_errors import reason_of
from callctl.support.server import OpenConnections, TcpServer

HEAD_SECONDS = 30.0  # real ones, as all here, until it is known what the client wants
TLS_SECONDS = 10.0  # for the handshake
CONNECT_SECONDS = 15.0  # to a host that is allowed
LINGER_SECONDS = 1.0  # how long what a refused client still sends is thrown away, so that it reads the refusal
GOODBYE_SECONDS = 1.0  # for a client's part of the end of TLS
MAX_HEAD = 16_384  # bytes
_TURNS = 4  # of the loop, until what was aborted is closed
# Twilio's API, also by its names with a region, or an edge and a region (docs/twilio.md, "Regions and edges").
_TWILIO = re.compile(r"api(\.[a-z0-9-]{1,63}){0,2}\.twilio\.com")
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}"
_AUTHORITY = rf"(?P<host>{_HOST})(:(?P<port>\d{{1,5}}))?"
_REQUEST_LINE = re.compile(r"([A-Z]{1,20}) (\S+) (HTTP/1\.[01])")
_ABSOLUTE = re.compile(rf"(?P<scheme>https?)://{_AUTHORITY}(?P<path>[/?][^#]*)?", re.IGNORECASE)
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[^\r\n\0]*")
# Of a plain request these concern the proxy alone, or are set anew.
_DROPPED = frozenset({"connection", "host", "keep-alive", "proxy-authorization", "proxy-connection"})
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

MakeConnection = Callable[[], asyncio.Protocol]
OnRefused = Callable[[str, str, Reply], None]  # method and target


def is_twilio(host: str) -> bool:
    """Return whether a host is Twilio's API, by any of its names."""
    return _TWILIO.fullmatch(host) is not None


def check_allowed(hosts: Iterable[str]) -> frozenset[str]:
    """Return names of hosts as they are compared; raise ValueError for what is none, and for Twilio's."""
    names = set()
    for host in hosts:
        if not re.fullmatch(_HOST, host):
            raise ValueError(f"not the name of a host: {host!r}; such as example.com, without scheme and port")
        names.add(_one_spelling(host))
        if is_twilio(_one_spelling(host)):
            raise ValueError(f"{host} is simulated, and nothing is let through to it")
    return frozenset(names)


def _one_spelling(host: str) -> str:
    return host.lower().rstrip(".")


class _RefusedError(Exception):
    """A client's request is not carried out: a status, and why in a sentence; for `host`, where that is known."""

    def __init__(self, status: HTTPStatus, sentence: str, *, host: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.host = host

    def reply(self) -> Reply:
        """Return the reply: for a host of Twilio's one of its errors, for its library for Node shows nothing else."""
        if self.host.endswith(".twilio.com"):
            facts = {"code": 20403, "message": str(self), "more_info": more_info(20403), "status": self.status.value}
            return Reply(self.status.value, json.dumps(facts).encode(), "application/json")
        return Reply(self.status.value, f"{self}\n".encode(), "text/plain")

    def wire(self) -> bytes:
        """Return the reply as it is sent. Many clients show the reason alone, not the body, of what refuses CONNECT."""
        reply = self.reply()
        head = f"HTTP/1.1 {self.status.value} {self}\r\nContent-Type: {reply.content_type}; charset=utf-8\r\n"
        head += f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n"
        return head.encode("ascii", "replace") + reply.body


@dataclass(frozen=True, slots=True)
class _Request:
    """What a client wants of the proxy: a tunnel, or that its request is passed on as `head` has it.

    `target` is what it requested, without a query.
    """

    method: str
    target: str
    scheme: str  # none for a tunnel
    host: str
    port: int
    head: bytes = b""


class Proxy:
    """Listens, until it is closed. Connections count among those of the simulator, and have the same limit."""

    def __init__(
        self,
        authority: Authority,
        *,
        make_connection: MakeConnection,
        connections: OpenConnections[Any],
        allowed: frozenset[str],
        on_refused: OnRefused,
    ) -> None:
        self.authority = authority
        self.make_connection = make_connection
        self.connections = connections
        self.allowed = allowed
        self.on_refused = on_refused
        self.transports: set[asyncio.Transport] = set()  # those of clients, below TLS, and of the hosts they reached
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: TcpServer | None = None
        self._host = ""
        self.url = ""

    async def open(self, host: str, port: int) -> None:
        """Listen; raise OSError where it can't."""
        self._server = await TcpServer.open(lambda: _Client(self), host=host, port=port, cleanup=self._abort)
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it listens there by request
        self.url = f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._server.port}"

    def environment(self) -> dict[str, str]:
        """Return the variables by which clients on this machine use the proxy and trust its authority.

        Some read the names of the proxy in upper case, some in lower case, and who reads both prefers either. Python's
        `requests` trusts what REQUESTS_CA_BUNDLE holds and nothing else, Node its own roots besides, and curl takes
        CURL_CA_BUNDLE first.
        """
        direct = ",".join(dict.fromkeys(("localhost", "127.0.0.1", "::1", self._host)))
        names = {"HTTPS_PROXY": self.url, "HTTP_PROXY": self.url, "NO_PROXY": direct}
        roots = str(self.authority.roots_file)
        return {
            **names,
            **{name.lower(): value for name, value in names.items()},
            "REQUESTS_CA_BUNDLE": roots,
            "SSL_CERT_FILE": roots,
            "CURL_CA_BUNDLE": roots,
            "NODE_EXTRA_CA_CERTS": str(self.authority.own_file),
        }

    async def close(self) -> None:
        """Stop listening, and drop what is under way."""
        if self._server is not None:
            await self._server.close()
        self.authority.close()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something for a client, until the proxy is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _abort(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        for transport in list(self.transports):
            transport.abort()
        for _ in range(_TURNS):
            await asyncio.sleep(0)


class _Client(asyncio.Protocol):
    """The connection of one client: what reads its request and then passes everything to what carries it out.

    With TLS it stands on both sides of it: first of the connection, then of what is decrypted.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._transport: asyncio.Transport
        self._came = bytearray()  # and nobody has taken it yet
        self._next: asyncio.Protocol | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"not a connection: {transport!r}")
        self._transport = transport
        self._limit = asyncio.get_running_loop().call_later(HEAD_SECONDS, transport.abort)
        if self._proxy.connections.add(self, transport):
            self._proxy.transports.add(transport)

    def data_received(self, data: bytes) -> None:
        if self._next is not None:
            self._next.data_received(data)
        elif not self._is_refused:
            self._proxy.connections.received(self)
            self._came += data
            if self._task is None:
                self._read_request()

    def eof_received(self) -> bool | None:
        return None if self._next is None else self._next.eof_received()

    def pause_writing(self) -> None:
        if self._next is not None:
            self._next.pause_writing()

    def resume_writing(self) -> None:
        if self._next is not None:
            self._next.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limit.cancel()
        if self._task is not None:
            self._task.cancel()
        self._proxy.connections.discard(self)
        self._proxy.transports.discard(self._transport)
        follower, self._next = self._next, None
        if follower is not None:
            follower.connection_lost(exc)

    def _read_request(self) -> None:
        try:
            end = self._came.find(b"\r\n\r\n")
            if end < 0:
                _check_beginning(self._came)
                return
            head = self._came[:end].decode("latin-1")
            del self._came[: end + 4]
            self._limit.cancel()
            self._carry_out(_read_head(head))
        except _RefusedError as refused:
            self._refuse(refused)

    def _carry_out(self, request: _Request) -> None:
        """Begin to do what is requested; raise _RefusedError where it is not to be done."""
        if not is_twilio(request.host):
            self._check_allowed(request)
            self._transport.pause_reading()
            self._task = self._proxy.start(self._tunnel(request))
        elif request.scheme:
            self._pass_to(self._proxy.make_connection(), self._transport, request.head)
        elif request.port != 443:
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, f"{request.host} is simulated at port 443, not at {request.port}."
            )
        elif self._came:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "A client waits for the answer to CONNECT before it goes on.")
        else:
            self._begin_tls(request.host)

    def _check_allowed(self, request: _Request) -> None:
        if request.host not in self._proxy.allowed:
            refused = _RefusedError(
                HTTPStatus.FORBIDDEN,
                f"callctl's simulator stands for api.twilio.com, and lets nothing through to {request.host}"
                f" without --allow-host {request.host}.",
                host=request.host,
            )
            self._proxy.on_refused(request.method, request.target, refused.reply())
            raise refused
        if request.scheme == "https":
            raise _RefusedError(HTTPStatus.BAD_REQUEST, f"For https, {request.host} takes CONNECT alone.")

    def _begin_tls(self, host: str) -> None:
        try:
            context = self._proxy.authority.context(host)
        except (OSError, UnicodeError) as error:  # UnicodeError: no host may have such a name
            reason = reason_of(error) if isinstance(error, OSError) else "no such name"
            why = f"A certificate for {host} can't be made: {reason}."
            raise _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, why) from error
        self._transport.pause_reading()  # until TLS reads
        self._transport.write(_ESTABLISHED)
        self._task = self._proxy.start(self._answer_by_tls(context))

    async def _answer_by_tls(self, context: Any) -> None:
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                self._transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=TLS_SECONDS,
                ssl_shutdown_timeout=GOODBYE_SECONDS,
            )
        except OSError:  # the client is gone, speaks no TLS, is too slow or does not trust the authority
            encrypted = None
        if encrypted is None:
            self._transport.abort()
            self.connection_lost(None)  # which nobody calls where the handshake was under way
        else:
            self._pass_to(self._proxy.make_connection(), encrypted)

    async def _tunnel(self, request: _Request) -> None:
        near, far = _End.pair(self._proxy)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                host = request.host.strip("[]")
                await asyncio.get_running_loop().create_connection(lambda: far, host, request.port)
        except TimeoutError:
            why = f"{request.host}:{request.port} did not answer within {CONNECT_SECONDS:g} s."
            self._refuse(_RefusedError(HTTPStatus.GATEWAY_TIMEOUT, why))
        except (OSError, UnicodeError) as error:  # UnicodeError: a part of the name is too long
            reason = reason_of(error) if isinstance(error, OSError) else "no such name"
            why = f"Can't connect to {request.host}:{request.port}: {reason}."
            self._refuse(_RefusedError(HTTPStatus.BAD_GATEWAY, why))
        else:
            if request.scheme:
                far.transport.write(request.head)
            else:
                self._transport.write(_ESTABLISHED)
            self._pass_to(near, self._transport)
            far.transport.resume_reading()
            near.transport.resume_reading()

    def _pass_to(self, follower: asyncio.Protocol, transport: asyncio.Transport, head: bytes = b"") -> None:
        """Let something else have this connection from now on, with what came already."""
        self._proxy.connections.discard(self)
        data, self._came = head + self._came, bytearray()
        self._next = follower
        follower.connection_made(transport)
        if data and not transport.is_closing():
            follower.data_received(bytes(data))

    def _refuse(self, refused: _RefusedError) -> None:
        self._is_refused = True
        self._came.clear()
        self._transport.write(refused.wire())
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._limit.cancel()
        self._limit = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)


class _End(asyncio.Protocol):
    """One end of a tunnel: what it receives goes to the other one, and no faster than that takes it."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._other: _End
        self._is_ended = False
        self.transport: asyncio.Transport

    @classmethod
    def pair(cls, proxy: Proxy) -> tuple[_End, _End]:
        """Return two ends of one tunnel. Neither reads before both are connected and its reading is resumed."""
        near, far = cls(proxy), cls(proxy)
        near._other, far._other = far, near
        return near, far

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"not a connection: {transport!r}")
        self.transport = transport
        transport.pause_reading()
        if self._proxy.connections.add(self, transport):
            self._proxy.transports.add(transport)

    def data_received(self, data: bytes) -> None:
        self._proxy.connections.received(self)
        self._other.transport.write(data)

    def eof_received(self) -> bool:
        self._is_ended = True
        other = self._other.transport
        if not other.is_closing():
            other.write_eof()
        return not self._other._is_ended  # the second one to end closes both

    def pause_writing(self) -> None:
        self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        self._other.transport.resume_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._proxy.connections.discard(self)
        self._proxy.transports.discard(self.transport)
        if hasattr(self._other, "transport"):
            self._other.transport.close()


def _check_beginning(data: bytearray) -> None:
    """Raise _RefusedError for the beginning of what can't become a request."""
    line, is_whole, _ = data.partition(b"\r\n")
    if is_whole:
        _request_line(line.decode("latin-1"))
    elif not re.match(rb"[A-Z]{1,20}( |$)", line):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "This is no HTTP request.")
    if len(data) > MAX_HEAD:
        raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The header is longer than {MAX_HEAD} bytes.")


def _request_line(line: str) -> tuple[str, str, str]:
    matched = _REQUEST_LINE.fullmatch(line)
    if matched is None:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "This is no HTTP request.")
    method, target, version = matched.groups()
    return method, target, version


def _read_head(head: str) -> _Request:
    """Read what is before the body; raise _RefusedError for what is no request to a proxy."""
    line, *fields = head.split("\r\n")
    if len(head) > MAX_HEAD:
        raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The header is longer than {MAX_HEAD} bytes.")
    method, target, version = _request_line(line)
    names = [_FIELD.fullmatch(field) for field in fields]
    pattern = re.compile(_AUTHORITY) if method == "CONNECT" else _ABSOLUTE
    matched = pattern.fullmatch(target)
    if matched is None:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "This is a proxy: it takes CONNECT, or a request for a whole URL.")
    host = _one_spelling(matched["host"])
    scheme = "" if method == "CONNECT" else matched["scheme"].lower()
    port = int(matched["port"] or (80 if scheme == "http" else 443))
    if not 0 < port < 65_536 or None in names:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "The request is malformed.")
    if not scheme:
        return _Request(method, f"{host}:{port}", scheme, host, port)
    kept = [field for field, name in zip(fields, names, strict=True) if name and name[1].lower() not in _DROPPED]
    path = matched["path"] or "/"
    authority = matched["host"] + (f":{matched['port']}" if matched["port"] else "")
    # Its next request may be for another host: each has a connection of its own.
    whole = [f"{method} {'/' * path.startswith('?')}{path} {version}", f"Host: {authority}", *kept, "Connection: close"]
    plain = f"{scheme}://{authority}{path.partition('?')[0]}"
    return _Request(method, plain, scheme, host, port, "\r\n".join([*whole, "", ""]).encode("latin-1"))
