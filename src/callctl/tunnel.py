"""The listener's public address: a tunnel command that callctl runs, or an ngrok agent that runs already.

A tunnel command tells its address among other things on stdout or stderr, and most tell addresses of documentation,
of a dashboard or of the local target as well, often first. What is no public end of a tunnel is passed over here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from callctl.addresses import is_http_url, is_loopback_host, is_loopback_url
from callctl.errors import CallctlError, UsageError

SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "cloudflared": "cloudflared tunnel --no-autoupdate --url http://127.0.0.1:{port}",
        "ngrok": "ngrok http 127.0.0.1:{port} --log stdout --log-format logfmt",
    }
)
NGROK_AGENT: Final = "http://127.0.0.1:4040"
# How long a tunnel may take to tell its address, and how long after an http one an https one may follow; in seconds.
START_LIMIT = 30.0
PATIENCE = 1.5
_STOP_LIMIT = 0.5
_AGENT_LIMIT = 1.0

_URL = re.compile(r"https?://[A-Za-z0-9._\-\[\]:]+(?:/[^\s\"'|<>\x00-\x1f]*)?")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Hosts that tunnel commands name before, or instead of, the tunnel's own: manuals, terms, sign-in, their dashboards.
_TALK = frozenset(
    {
        "developers.cloudflare.com", "www.cloudflare.com", "cloudflare.com", "api.trycloudflare.com",
        "ngrok.com", "dashboard.ngrok.com", "github.com", "localhost.run", "admin.localhost.run", "twitter.com",
        "login.tailscale.com", "tailscale.com", "localtunnel.me", "localtunnel.github.io",
    }
)  # fmt: skip
# Some programs' addresses are known by their form; then nothing else that they print counts.
_KNOWN: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "cloudflared": re.compile(r"https://[a-z0-9-]+\.trycloudflare\.com"),
        "ngrok": re.compile(r"(?:\burl=|Forwarding\s+)\"?(https://[^\s\"]+)"),
    }
)


class AddressFinder:
    """Reads a tunnel command's output line by line, from both streams, and finds the tunnel's address in it."""

    def __init__(self, program: str, *, port: int) -> None:
        """``program`` is the command's first word, ``port`` where the tunnel leads to on this machine."""
        self._known = _KNOWN.get(PurePath(program).name)
        self._port = port
        self.https: str | None = None
        self.http: str | None = None

    def read(self, line: str) -> None:
        """Look through one line; what was found first stays."""
        text = _ESCAPE.sub("", line)
        if self._known is not None:
            if self.https is None and (match := self._known.search(text)):
                self.https = _tidy(match[match.lastindex or 0])
            return
        for url in map(_tidy, _URL.findall(text)):
            if not is_http_url(url) or (urlsplit(url).hostname or "") in _TALK:
                continue
            if url.startswith("https:"):
                self.https = self.https or url
            elif is_loopback_url(url) and urlsplit(url).port != self._port:  # ours is where the tunnel leads to
                self.http = self.http or url


def _tidy(url: str) -> str:
    return url.rstrip(".,;:)/")


class Tunnel:
    """A tunnel command that runs beside the listener, in a process group of its own."""

    def __init__(self, process: asyncio.subprocess.Process, command: str) -> None:
        self._process = process
        self.command = command
        self._said: deque[str] = deque(maxlen=3)
        self._readers: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()

    @classmethod
    async def start(cls, command: str, *, port: int) -> Tunnel:
        """Run a command for a port of this machine without reading what it says: its address is known.

        Raises:
            UsageError: The command is malformed.
            CallctlError: It can't be run.
        """
        return cls(await _run(_words(command, port=port), output=asyncio.subprocess.DEVNULL), command)

    @classmethod
    async def start_and_find(
        cls, command: str, *, port: int, limit: float = START_LIMIT, patience: float = PATIENCE
    ) -> tuple[Tunnel, str]:
        """Run a command and return it with the address that it tells: https, or http on loopback if it tells no other.

        Args:
            command: A command with ``{port}``, or one of the short names.
            port: Where the listener is on this machine.
            limit: How many seconds it may take to tell its address.
            patience: How many seconds after an http address an https one may follow.

        Raises:
            UsageError: The command is malformed.
            CallctlError: It can't be run, ends, or tells no address.
        """
        words = _words(command, port=port)
        tunnel = cls(await _run(words, output=asyncio.subprocess.PIPE), command)
        try:
            return tunnel, await tunnel._address(AddressFinder(words[0], port=port), limit=limit, patience=patience)
        except BaseException:
            await tunnel.stop()
            raise

    async def _address(self, finder: AddressFinder, *, limit: float, patience: float) -> str:
        for stream in filter(None, (self._process.stdout, self._process.stderr)):
            self._readers.append(asyncio.create_task(self._read(stream, finder)))
        ended = asyncio.create_task(self.ended())
        try:
            async with asyncio.timeout(limit):
                await self._until(lambda: finder.https or finder.http, ended)
            if not (finder.https or finder.http):
                raise self._failure(f"ended with code {ended.result()}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._until(lambda: finder.https, ended)
        except TimeoutError as error:
            raise self._failure(f"told no address within {limit:g} s") from error
        finally:
            ended.cancel()
        return finder.https or finder.http or ""

    async def _until(self, is_told: Callable[[], object], ended: asyncio.Task[int]) -> None:
        """Return when something is told, or can't be told any more."""
        while not is_told() and not ended.done():
            self._news.clear()
            line = asyncio.create_task(self._news.wait())
            try:
                await asyncio.wait({line, ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                line.cancel()

    async def _read(self, stream: asyncio.StreamReader, finder: AddressFinder) -> None:
        # It is read for as long as it talks: a full pipe would stop the tunnel.
        async for line in _lines(stream):
            if line.strip():
                self._said.append(line.strip())
            finder.read(line)
            self._news.set()

    def _failure(self, what: str) -> CallctlError:
        said = "; ".join(self._said)
        return CallctlError(
            f"the tunnel `{self.command}` {what}" + (f": {said}" if said else ""),
            hint="run the command by itself to see what it says, or give its address with --public-url",
        )

    async def ended(self) -> int:
        """Return its exit code once it has ended and all that it said was read."""
        code = await self._process.wait()
        if self._readers:
            # A child of its may hold the pipe open for ever.
            await asyncio.wait(self._readers, timeout=_STOP_LIMIT)
        return code

    @property
    def last_words(self) -> str:
        """What it said last."""
        return self._said[-1] if self._said else ""

    async def stop(self) -> None:
        """End it, with the processes that it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_LIMIT):
                    await self._process.wait()
                    break
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield lines, ended by newline or carriage return; what is longer than any line with an address is cut."""
    rest = ""
    while chunk := await stream.read(4096):
        *whole, rest = re.split(r"[\r\n]", rest + chunk.decode("utf-8", "replace"))
        for line in whole:
            yield line
        rest = rest[-4096:]
    yield rest


def _words(command: str, *, port: int) -> list[str]:
    try:
        words = shlex.split(SHORT_NAMES.get(command.strip(), command))
    except ValueError as error:
        raise UsageError(f"--tunnel is no command: {command}: {error}") from error
    if not words:
        raise UsageError("--tunnel names no command", hint="such as --tunnel cloudflared")
    return [word.replace("{port}", str(port)) for word in words]


async def _run(words: Sequence[str], *, output: int) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the watch, which then ends the tunnel
        )
    except OSError as error:
        raise CallctlError(
            f"can't run the tunnel {words[0]}: {error.strerror}", hint="is it installed? --tunnel takes any command"
        ) from error


async def find_agent(port: int, *, agent: str = NGROK_AGENT) -> str | None:
    """Return the public address of a running ngrok agent's tunnel to our port, https before http; else None.

    ``/api/tunnels`` of the agent's local API (ngrok.com/docs/agent/api) lists ``public_url`` and ``config.addr``.
    """
    limit = aiohttp.ClientTimeout(total=_AGENT_LIMIT)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as http,
            http.get(f"{agent}/api/tunnels", allow_redirects=False) as reply,
        ):
            listed = await reply.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    urls = sorted(_agent_urls(listed, port=port), key=lambda url: not url.startswith("https:"))
    return urls[0] if urls else None


def _agent_urls(listed: Any, *, port: int) -> list[str]:
    tunnels = listed.get("tunnels") if isinstance(listed, dict) else None
    found = []
    for tunnel in tunnels if isinstance(tunnels, list) else []:
        config = tunnel.get("config") if isinstance(tunnel, dict) else None
        address = config.get("addr") if isinstance(config, dict) else None
        url = str(tunnel.get("public_url", "")) if isinstance(tunnel, dict) else ""
        if is_http_url(url) and _leads_to(str(address or ""), port):
            found.append(url.rstrip("/"))
    return found


def _leads_to(address: str, port: int) -> bool:
    """Tell whether an agent's ``addr`` (``8765``, ``localhost:8765``, ``http://localhost:8765``) is our port."""
    if address.isdecimal():
        return int(address) == port
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        return parts.scheme in ("", "http") and parts.port == port and is_loopback_host(parts.hostname or "")
    except ValueError:
        return False
