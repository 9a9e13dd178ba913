"""A server of bare bytes, for what no HTTP server would send."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Self

HEAD = b"HTTP/1.1 %d X\r\n"
Send = Callable[[bytes], None]
# What is sent in answer to a request, piece by piece; between two pieces the server pauses.
Answer = Callable[[], Iterator[bytes]]


class RawServer:
    """Answers a request on each connection with some bytes. ``speaks_first`` does so without waiting for one.

    With ``first`` that is the second one, and those are the answer to the first.
    """

    PAUSE = 0.02

    def __init__(self, answer: Answer, *, first: bytes = b"", speaks_first: bool = False) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.ended = threading.Semaphore(0)  # one for each connection that is over
        self._first, self._speaks_first = first, speaks_first
        self._stopped = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if not self._speaks_first and not self._read(connection):
                return
            if self._first:
                connection.sendall(self._first)
                if not self._read(connection):
                    return
            for piece in self.answer():
                connection.sendall(piece)
                if self._stopped.wait(self.PAUSE):
                    break
        self.ended.release()

    def _read(self, connection: socket.socket) -> bool:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = connection.recv(65536)
            if not piece:
                return False
            request += piece
        head, _, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        while length is not None and len(body) < int(length[1]):
            piece = connection.recv(65536)
            if not piece:
                return False
            body += piece
        self.requests.append(head + b"\r\n\r\n" + body)
        return True


def whole(status: int, body: bytes, headers: Mapping[str, bytes] | None = None) -> Answer:
    """Return an answer with these header values, as they are, after which the connection ends."""
    named = {"Content-Length": str(len(body)).encode(), "Connection": b"close", **(headers or {})}
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in named.items())
    return lambda: iter([HEAD % status + lines + b"\r\n" + body])


def drip(piece: bytes, *, after: bytes = b"") -> Answer:
    """Return an answer that begins with some bytes and goes on with others for ever."""
    return lambda: itertools.chain([after] if after else [], itertools.repeat(piece))
