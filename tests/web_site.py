"""A web site on loopback: takes status callbacks, and serves documents by path. And ports, free or closed."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl

Form = list[tuple[str, str]]
Answer = Callable[[str, bytes], tuple[int, bytes]]


class Site:
    """Forms posted to ``/status`` wait in ``forms``; any other path is served from ``documents``, and noted.

    One thread serves all, over connections that stay open: a thousand calls have three thousand callbacks.
    """

    def __init__(self) -> None:
        self.forms: queue.SimpleQueue[Form] = queue.SimpleQueue()
        self.requested_paths: list[str] = []
        self.documents: dict[str, str] = {}
        self._open: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self._answer, self._open), "127.0.0.1", 0, backlog=256)
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="site")
        self._thread.start()

    def _answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        if path == "/status":
            self.forms.put(parse_qsl(body.decode(), keep_blank_values=True))
            return 204, b""
        self.requested_paths.append(path)
        return 200, self.documents.get(path, "<Response/>").encode()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        for transport in tuple(self._open):
            transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))  # transports let go of their sockets in the next turn
        self._loop.close()


class _Connection(asyncio.Protocol):
    """Answers the requests of one connection, one after another; ``open`` holds the transports of all."""

    def __init__(self, answer: Answer, open: set[asyncio.Transport]) -> None:
        self._answer = answer
        self._open = open
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, rest = self._received.partition(b"\r\n\r\n")
            size = _length(head)
            if len(rest) < size:
                return
            self._received = rest[size:]
            status, body = self._answer(head.split(b" ", 2)[1].decode(), rest[:size])
            self._reply(status, body)

    def _reply(self, status: int, body: bytes) -> None:
        fields = f"HTTP/1.1 {status} -\r\nContent-Type: text/xml\r\n"
        # A 204 has no body, and says nothing of its length (RFC 9110, section 8.6).
        size = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
        self._transport.write(f"{fields}{size}\r\n".encode() + body)


def _length(head: bytes) -> int:
    fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return next((int(value) for name, _, value in fields if name.strip().lower() == b"content-length"), 0)


# Below what Linux gives to a program that asks for any port, or connects: nobody gets one of these by chance.
# None of them is a part of a number of the tests, for ports are put in place of others in what commands print.
_NUMBERS = ("12025550100", "15005550006")
_FREE_PORTS = [port for port in range(12000, 32000) if not any(str(port) in number for number in _NUMBERS)]
_RANDOM = random.SystemRandom()  # whatever seed a test has set, other processes begin elsewhere
_given: set[int] = set()


def free_port() -> int:
    """Return a port at which nothing listens, and which this process has not returned before.

    Tests run in several processes, so each begins somewhere else and leaves out what it can't bind.
    """
    while True:
        port = _RANDOM.choice(_FREE_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


@contextmanager
def closed_port() -> Iterator[int]:
    """Return a port that refuses every connection until the block ends, and is given to no other program."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])
