"""What `watch` and `shared` measure with: signed callbacks, a load generator, a bare handler, a watch and a listener.

Each of them is a process of its own, so that none takes another's time. The generator's requests are made before the
clock starts, and it reads no more of an answer than it must.
"""

import asyncio
import base64
import fcntl
import hashlib
import hmac
import multiprocessing
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self, cast
from urllib.parse import urlencode

ACCOUNT, TOKEN = "AC" + "0" * 32, "0" * 32
_KEPT = 200_000  # bytes of what was drawn
STATUSES = ("initiated", "ringing", "in-progress", "completed")


@dataclass(frozen=True)
class Load:
    """Callbacks ``first`` to ``first + count``, at ``rate`` a second or, where it is None, as fast as answers come.

    Calls come ``width`` at a time, ``depth`` events each. Of every hundred requests ``twice`` are sent again.
    """

    port: int
    first: int
    count: int
    width: int = 64
    depth: int = 4
    rate: float | None = None
    connections: int = 64
    twice: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a load: which answers, how long it took, and how long each answer took, in seconds."""

    answers: Counter[int]
    seconds: float
    waits: list[float] = field(repr=False)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return sum(self.answers.values()) / self.seconds


def position(load: Load, number: int) -> tuple[int, int]:
    """Return which call a callback reports on, and which of its events it is."""
    block, within = divmod(number, load.width * load.depth)
    sequence, call = divmod(within, load.width)
    return block * load.width + call, sequence


def form(call: int, sequence: int, *, depth: int, ago: float = 0.0) -> list[tuple[str, str]]:
    """Return a callback's form of ``ago`` seconds ago, with all that Twilio sends of a call between two numbers of the
    USA.
    """
    is_last = sequence == depth - 1
    status = STATUSES[-1] if is_last else STATUSES[min(sequence, 2)]
    pairs = [
        ("ApiVersion", "2010-04-01"),
        ("AccountSid", ACCOUNT),
        ("CallSid", f"CA{call:032x}"),
        ("From", "+15005550006"),
        ("Caller", "+15005550006"),
        ("To", f"+1202555{100 + call % 100:04d}"),
        ("Called", f"+1202555{100 + call % 100:04d}"),
        ("CallStatus", status),
        ("Direction", "outbound-api"),
        ("Timestamp", time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(time.time() - ago))),
        ("CallbackSource", "call-progress-events"),
        ("SequenceNumber", str(sequence)),
    ]
    for side in ("Caller", "From", "Called", "To"):
        pairs += [(f"{side}Country", "US"), (f"{side}State", "NC"), (f"{side}City", ""), (f"{side}Zip", "")]
    return pairs + ([("SipResponseCode", "200"), ("Duration", "1"), ("CallDuration", "42")] if is_last else [])


def request(load: Load, number: int) -> bytes:
    """Return a callback as it goes over the wire, signed as Twilio signs."""
    call, sequence = position(load, number)
    pairs = form(call, sequence, depth=load.depth)
    signed = f"http://127.0.0.1:{load.port}/status" + "".join(name + value for name, value in sorted(pairs))
    signature = base64.b64encode(hmac.digest(TOKEN.encode(), signed.encode(), hashlib.sha1)).decode()
    body = urlencode(pairs).encode()
    head = (
        f"POST /status HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nX-Twilio-Signature: {signature}\r\n"
        "I-Twilio-Idempotency-Token: 00000000-0000-4000-8000-000000000000\r\nAccept: */*\r\n"
        "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\nUser-Agent: TwilioProxy/1.1\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Line(asyncio.Protocol):
    """One connection: sends a request, waits for its answer, and asks for the next."""

    def __init__(self, sender: "_Sender") -> None:
        self._sender = sender
        self._due = 0.0
        self._response = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, due: float, data: bytes) -> None:
        self._due, self._response = due, b""
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._response += data
        if b"\r\n\r\n" in self._response:
            self._sender.answered(self, int(self._response[9:12]), self._due)

    def connection_lost(self, _error: Exception | None) -> None:
        self._sender.lost()


class _Sender:
    """Sends the requests, each when it is due and a connection is free."""

    def __init__(self, load: Load, requests: list[bytes]) -> None:
        self._load, self._requests = load, iter(requests)
        self._unanswered = len(requests)
        self._free: deque[_Line] = deque()
        self._due: deque[float] = deque()
        self._done = asyncio.get_running_loop().create_future()
        self.answers: Counter[int] = Counter()
        self.waits: list[float] = []

    async def run(self) -> float:
        loop = asyncio.get_running_loop()
        lines = []
        for _ in range(self._load.connections):
            lines.append((await loop.create_connection(lambda: _Line(self), "127.0.0.1", self._load.port))[1])
        self._free = deque(lines)
        began = time.perf_counter()
        if self._load.rate is None:
            while self._free:
                self._next(self._free.popleft(), time.perf_counter())
        else:
            await self._paced(self._load.rate, began)
        await self._done
        seconds = time.perf_counter() - began
        for line in lines:
            line.transport.abort()
        return seconds

    async def _paced(self, rate: float, began: float) -> None:
        # What is due while no connection is free waits, and its wait counts from when it was due.
        for number in range(self._unanswered):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if self._free:
                self._next(self._free.popleft(), due)
            else:
                self._due.append(due)

    def _next(self, line: _Line, due: float) -> None:
        data = next(self._requests, None)
        if data is not None:
            line.send(due, data)

    def answered(self, line: _Line, status: int, due: float) -> None:
        now = time.perf_counter()
        self.answers[status] += 1
        self.waits.append(now - due)
        self._unanswered -= 1
        if not self._unanswered:
            self._done.set_result(None)
        elif self._load.rate is None:
            self._next(line, now)
        elif self._due:
            self._next(line, self._due.popleft())
        else:
            self._free.append(line)

    def lost(self) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError("the connection was closed under load"))


def _requests(load: Load) -> Iterator[bytes]:
    for number in range(load.first, load.first + load.count):
        made = request(load, number)
        yield made
        if number % 100 < load.twice:
            yield made


def generate(pipe: Connection) -> None:
    """Run one load after another, in a process of its own, until the command to end comes."""

    async def run(load: Load) -> Outcome:
        sender = _Sender(load, list(_requests(load)))
        seconds = await sender.run()
        return Outcome(sender.answers, seconds, sorted(sender.waits))

    while (load := pipe.recv()) is not None:
        pipe.send(asyncio.run(run(load)))


def bare(pipe: Connection) -> None:
    """Serve what callctl is measured against: an aiohttp handler that parses the form and answers 204."""
    from aiohttp import web

    async def take(request: web.Request) -> web.Response:
        await request.post()
        return web.Response(status=204)

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/status", take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


class Process:
    """A function in a process of its own, and the pipe to it."""

    def __init__(self, target: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self._process = context.Process(target=target, args=(far,), daemon=True)  # type: ignore[arg-type]
        self._process.start()

    def ask(self, load: Load) -> Outcome:
        """Run a load; raise RuntimeError if anything but 204 was answered."""
        self.begin(load)
        return self.outcome()

    def begin(self, load: Load) -> None:
        """Have a load run, and do not wait for it."""
        self.pipe.send(load)

    def outcome(self) -> Outcome:
        """Wait for the load that was begun; raise RuntimeError if anything but 204 was answered."""
        outcome: Outcome = self.pipe.recv()
        if set(outcome.answers) != {204}:
            raise RuntimeError(f"not only 204: {dict(outcome.answers)}")
        return outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.send(None)
        self._process.join(10)


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_environment(folder: Path, store: Path | str) -> dict[str, str]:
    """Return an environment with a home and a store of its own, in which no settings of the user count."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("TWILIO_", "CALLCTL_"))}
    return own | {
        "HOME": str(folder),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "CALLCTL_STORE": str(store),
    }


def await_health(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens for callbacks; raise RuntimeError if it does not within 30 s."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("callctl did not start to listen; it needs a free port, and `watch` a terminal")


class Watch:
    """`callctl watch` on a pseudo-terminal of 160 x 50, whose picture is read, and the last of it kept for a while."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.store = folder / "events.db"
        folder.mkdir(parents=True, exist_ok=True)
        environment = own_environment(folder, self.store)
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        command = [sys.executable, "-m", "callctl", "watch", "--port", str(self.port), "--no-poll"]
        self._process = subprocess.Popen(command, cwd=folder, env=environment, stdin=inner, stdout=inner, stderr=inner)
        os.close(inner)
        self._drawn, self._more = b"", threading.Condition()
        threading.Thread(target=self._drain, daemon=True).start()
        await_health(self.port, self._process)

    def _drain(self) -> None:
        try:
            while piece := os.read(self._terminal, 65536):
                with self._more:
                    self._drawn = (self._drawn + piece)[-_KEPT:]
                    self._more.notify_all()
        except OSError:  # the other end is closed
            return

    def type(self, keys: str) -> None:
        """Press some keys."""
        os.write(self._terminal, keys.encode())

    def effect(self, keys: str, shown: str) -> float:
        """Press some keys and return the seconds until a text is drawn that they bring."""
        with self._more:
            self._drawn = b""
        began = time.perf_counter()
        self.type(keys)
        self.wait_for(shown, 10)
        return time.perf_counter() - began

    def wait_for(self, shown: str, seconds: float) -> None:
        """Wait until a text is drawn.

        Raises:
            RuntimeError: It is not, within so many seconds.
        """
        with self._more:
            if not self._more.wait_for(lambda: shown.encode() in self._drawn, seconds):
                raise RuntimeError(f"never drawn: {shown}")

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def resident(self) -> float:
        """Return how much memory it holds now, in MB."""
        listed = subprocess.run(["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, text=True, check=True)
        return int(listed.stdout) / 1024

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)


class Service:
    """`callctl listen`, whose log goes to a file in its folder."""

    def __init__(self, folder: Path, store: Path | str) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "callctl", "listen", "--port", str(self.port)]
        with (folder / f"log-{self.port}").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=own_environment(folder, store),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            await_health(self.port, self._process)
        except BaseException:
            self._process.kill()
            raise

    def processor_time(self) -> float:
        """Return the seconds of a processor that it has used so far, in all threads."""
        after_name = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, after_name[11:13])) / os.sysconf("SC_CLK_TCK")  # of the program and of the kernel for it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
