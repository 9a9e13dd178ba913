"""A server that answers as scripted, one turn after another, for what no well-behaved server would do."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

HANG_SECONDS = 20.0


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as it came in."""

    method: str
    target: str
    headers: Mapping[str, str]
    form: list[tuple[str, str]]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._turn()

    def do_POST(self) -> None:
        self._turn()

    def log_message(self, *_args: Any) -> None:
        pass

    def _turn(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        is_form = bool(body) and self.headers.get("Content-Type", "") != "application/json"
        form = parse_qsl(body, keep_blank_values=True, strict_parsing=is_form)
        turn = self.server.take(ReceivedRequest(self.command, self.path, dict(self.headers), form))
        turn(self)

    def do_CONNECT(self) -> None:
        self._turn()

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


Turn = Callable[[Handler], None]


class Server(ThreadingHTTPServer):
    """Answers with its turns, one after another; a request too many gets the last turn once more."""

    daemon_threads = True

    def __init__(self, *turns: Turn, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[ReceivedRequest] = []
        self.released = threading.Event()
        self._turns = list(turns)
        self._scheme = "http" if context is None else "https"
        self._lock = threading.Condition()  # notified of each request
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.server_port}"

    def take(self, request: ReceivedRequest) -> Turn:
        with self._lock:
            self.received.append(request)
            self._lock.notify_all()
            return self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]

    def wait_for(self, number: int) -> None:
        """Return once so many requests have come."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.received) >= number, timeout=30)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what many of these tests are about."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


def reply(status: int, body: object = b"", **headers: str) -> Turn:
    """Answer; ``body`` is JSON unless it is bytes; an underscore in a header's name is a hyphen."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {} if isinstance(body, bytes) else {"Content-Type": "application/json"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(status, raw, kind | named)


def drop() -> Turn:
    """Read the request and close the connection."""
    return Handler.hang_up


def hang() -> Turn:
    """Read the request and say nothing until the test is over."""

    def turn(handler: Handler) -> None:
        handler.server.released.wait(HANG_SECONDS)
        handler.hang_up()

    return turn


def cut(body: bytes) -> Turn:
    """Promise more than comes."""

    def turn(handler: Handler) -> None:
        handler.answer(200, body, {"Content-Length": str(len(body) + 100)})
        handler.hang_up()

    return turn


def trickle() -> Turn:
    """Send a byte now and then, and never come to an end."""

    def turn(handler: Handler) -> None:
        handler.answer(200, b"", {"Content-Length": "1000000"})
        while not handler.server.released.wait(0.05):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    return turn


def call(sid: str = "CA" + "1" * 32, **fields: object) -> dict[str, object]:
    """Return a Call resource."""
    return {"sid": sid, "status": "queued", "to": "+12025550100", "from": "+15005550006", **fields}
