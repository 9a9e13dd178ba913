"""A tunnel command that callctl runs, and that ends with the watch, however that ends.

The command runs under a guard, a small program that is the watch's child and the command's parent: nothing that dies
by kill -9 can tidy up, and neither Linux nor macOS lets a process end with its grandparent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path, PurePath
from types import MappingProxyType
from urllib.parse import urlsplit

from callctl.errors import CallctlError, UsageError
from callctl.settings import environ_for_others
from callctl.support.tasks import cancel_until_done
from callctl.watch.tunnel.address import AddressFinder

SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "cloudflared": "cloudflared tunnel --no-autoupdate --url http://127.0.0.1:{port}",
        "ngrok": "ngrok http 127.0.0.1:{port} --log stdout --log-format logfmt",
    }
)
# Seconds of silence after which what was printed of a line is read: no line end may follow.
SILENCE = 1.0
# How long a tunnel may take to print an address, and until one of those it printed leads here; in seconds.
PRINT_LIMIT = 30.0
ANSWER_LIMIT = 60.0
# How long after the first address nothing is tried yet: a better one may follow, and a host name that is looked up
# before it is known counts as unknown for minutes with some resolvers.
SETTLE = 2.0
# Seconds between two rounds through the addresses.
ROUND_INTERVAL = 1.0
# How long what a tunnel said may take to be read once it has ended, and how long the guard may take to end it.
_READ_LIMIT = 0.5
_CHECK_INTERVAL = 0.1  # seconds between two checks whether it has ended
_STOP_LIMIT = 0.8
# Without site packages and the user's settings for Python: it starts sooner and finds nothing that it does not need.
_GUARD = (sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")))


class Tunnel:
    """A tunnel command that runs beside the listener, under its guard."""

    def __init__(self, guard: asyncio.subprocess.Process, command: str, *, connection: socket.socket) -> None:
        """``connection`` is the socket to the guard, whose closing ends the tunnel."""
        self._guard, self._connection = guard, connection
        self.name = name_of(command)
        self._output: deque[str] = deque(maxlen=3)
        self._readers: list[asyncio.Task[None]] = []
        self._printed = asyncio.Event()
        self._finder: AddressFinder | None = None
        self._gone = asyncio.ensure_future(guard.wait())

    @classmethod
    async def start(cls, command: str, *, port: int) -> Tunnel:
        """Run a command for a port of this machine without reading what it says: its address is known.

        Raises:
            UsageError: The command is malformed.
            CallctlError: It can't be run.
        """
        return await cls._run(command, _words(command, port=port), output=asyncio.subprocess.DEVNULL)

    @classmethod
    async def start_and_find(
        cls, command: str, *, port: int, check_address: Callable[[str], Awaitable[str | None]]
    ) -> tuple[Tunnel, str]:
        """Run a command and return it with the first address among those it prints that leads to the listener.

        Args:
            command: A command with ``{port}``, or one of the short names.
            port: Where the listener is on this machine.
            check_address: Returns why an address does not lead to the listener; None if it does.

        Raises:
            UsageError: The command is malformed.
            CallctlError: It can't be run, ends, or prints no address that leads here within the limits.
        """
        words = _words(command, port=port)
        tunnel = await cls._run(command, words, output=asyncio.subprocess.PIPE)
        try:
            tunnel._finder = finder = AddressFinder(words[0], port=port)
            return tunnel, await tunnel._address(finder, check_address)
        except BaseException:
            await tunnel.stop()
            raise

    @classmethod
    async def _run(cls, command: str, words: Sequence[str], *, output: int) -> Tunnel:
        connection, guards_end = socket.socketpair()
        connection.setblocking(False)
        with guards_end:
            starting = asyncio.create_task(
                asyncio.create_subprocess_exec(
                    *_GUARD,
                    *words,
                    stdin=guards_end.fileno(),
                    stdout=output,
                    stderr=output,
                    env=environ_for_others(os.environ),
                    start_new_session=True,  # Ctrl-C is for the watch, which then ends the tunnel
                )
            )
            # It is let finish: cancelled before its pipes are connected, asyncio waits for ever for the process's end.
            try:
                guard = await asyncio.shield(starting)
            except asyncio.CancelledError:
                await asyncio.wait({starting})
                if starting.exception() is None:
                    await cls(starting.result(), command, connection=connection).stop()
                raise
        tunnel = cls(guard, command, connection=connection)
        try:
            failure = await tunnel._start_failure()
        except BaseException:
            await tunnel.stop()
            raise
        if failure:
            await tunnel.stop()
            hint = "is it installed? --tunnel takes any command"
            raise CallctlError(f"can't run the tunnel {words[0]}: {failure}", hint=hint)
        return tunnel

    async def _start_failure(self) -> str:
        """Return why the guard can't run the command; empty if it runs."""
        said = b""
        while not said.endswith(b"\n"):
            chunk = await asyncio.get_running_loop().sock_recv(self._connection, 1024)
            if not chunk:
                return "its guard has ended"
            said += chunk
        return said.decode("utf-8", "replace").strip()

    async def _address(self, finder: AddressFinder, check_address: Callable[[str], Awaitable[str | None]]) -> str:
        for stream in filter(None, (self._guard.stdout, self._guard.stderr)):
            self._readers.append(asyncio.create_task(self._read(stream, finder)))
        ended = asyncio.create_task(self.ended())
        failures: dict[str, str] = {}
        try:
            await self._until(lambda: finder.candidates, ended, limit=PRINT_LIMIT)
            if not finder.candidates:
                raise self._failure(_end_of(ended) or f"printed no address within {PRINT_LIMIT:g} s")
            await self._until(lambda: False, ended, limit=SETTLE)
            async with asyncio.timeout(ANSWER_LIMIT):
                return await self._first_working_address(finder, check_address, ended, failures)
        except TimeoutError as error:
            raise self._failure(f"printed no address that leads here within {ANSWER_LIMIT:g} s", failures) from error
        finally:
            ended.cancel()

    async def _first_working_address(
        self,
        finder: AddressFinder,
        check_address: Callable[[str], Awaitable[str | None]],
        ended: asyncio.Task[int],
        failures: dict[str, str],
    ) -> str:
        """Try the addresses in turn, repeatedly: one may work only after some seconds, and others may follow."""
        while True:
            how = _end_of(ended)  # by then all that it printed is known, and may go on working: one more round
            tried = finder.candidates
            for url in tried:
                why = await check_address(url)
                if why is None:
                    finder.prove(url)
                    return url
                failures[url] = why
            if how:
                raise self._failure(how, failures)
            await self._until(lambda: len(finder.candidates) > len(tried), ended, limit=ROUND_INTERVAL)  # noqa: B023

    async def _until(self, is_done: Callable[[], object], ended: asyncio.Task[int], *, limit: float) -> None:
        """Return once a condition holds, the tunnel has ended, or ``limit`` seconds are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not is_done() and not ended.done():
                    self._printed.clear()
                    line = asyncio.create_task(self._printed.wait())
                    try:
                        await asyncio.wait({line, ended}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        line.cancel()

    async def _read(self, stream: asyncio.StreamReader, finder: AddressFinder) -> None:
        # It is read for as long as it talks: a full pipe would stop the tunnel.
        async for line, is_whole in _lines(stream):
            if is_whole and line.strip():
                self._output.append(line.strip())
            finder.read(line)
            self._printed.set()

    def _failure(self, what: str, failures: Mapping[str, str] = MappingProxyType({})) -> CallctlError:
        """Return what is raised: with what was wrong with each address, or with what it said last."""
        said = "; ".join(f"{url}: {why}" for url, why in failures.items()) or "; ".join(self._output)
        return CallctlError(
            f"the tunnel `{self.name}` {what}" + (f": {said}" if said else ""),
            hint="run the command by itself to see what it says, or give its address with --public-url",
        )

    async def ended(self) -> int:
        """Return its exit code once it has ended and all that it said was read; 128 and more mean a signal."""
        # On some Pythons (3.11) ``wait`` lasts until the pipes are closed too, and what the tunnel left running may
        # hold them open.
        while (code := self._guard.returncode) is None:
            await asyncio.wait({self._gone}, timeout=_CHECK_INTERVAL)
        if self._readers:
            # A process that left its group may hold the pipe open for ever.
            await asyncio.wait(self._readers, timeout=_READ_LIMIT)
        return code

    def later_addresses(self, *, since: int = 0) -> list[str]:
        """Return what it has printed, or printed again, that may be its address now, the newest first.

        Nothing where that is not read. ``since`` is how much had been printed before, by ``printed_count``.
        """
        return [] if self._finder is None else self._finder.newest(since=since)

    @property
    def printed_count(self) -> int:
        """How many addresses it has printed, those counted that it had printed before."""
        return 0 if self._finder is None else self._finder.count

    @property
    def other_provider(self) -> str | None:
        """An address that it printed since its first one, and that is not followed; None if there is none."""
        return None if self._finder is None else self._finder.other_provider

    async def prints_another(self, host: str, *, since: int) -> None:
        """Return once it has printed an address at another host, with its port, than this; again counts as well."""
        while all(urlsplit(url).netloc == host for url in self.later_addresses(since=since)):
            self._printed.clear()
            await self._printed.wait()

    @property
    def last_line(self) -> str:
        """What it printed last."""
        return self._output[-1] if self._output else ""

    async def stop(self) -> None:
        """Have the guard end it, with the processes that it started; a guard that takes longer is left to it."""
        self._connection.close()
        await asyncio.wait({self._gone}, timeout=_STOP_LIMIT)
        await cancel_until_done((self._gone, *self._readers))
        if self._guard.returncode is not None:
            # What it left running may hold the pipes open; asyncio has no public way to let go of them. While the guard
            # is at work this would kill it.
            self._guard._transport.close()  # type: ignore[attr-defined]


def _end_of(ended: asyncio.Task[int]) -> str | None:
    """Return how a tunnel has ended, in words; None while it runs."""
    return f"ended with code {ended.result()}" if ended.done() else None


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[tuple[str, bool]]:
    """Yield lines, ended by newline or carriage return, and True; what is longer than any line with an address is cut.

    The beginning of one that goes on only after a silence, if at all, comes with False before.
    """
    rest, is_yielded = "", True
    while True:
        try:
            async with asyncio.timeout(None if is_yielded else SILENCE):
                chunk = await stream.read(4096)
        except TimeoutError:
            is_yielded = True
            yield rest, False
            continue
        if not chunk:
            break
        *whole, rest = re.split(r"[\r\n]", rest + chunk.decode("utf-8", "replace"))
        for line in whole:
            yield line, True
        rest = rest[-4096:]
        is_yielded = not rest
    yield rest, True


def name_of(command: str) -> str:
    """Return the program that a command runs, as it may be shown: what follows it may hold a token."""
    return PurePath((command.split() or [""])[0].partition("=")[0]).name


def _words(command: str, *, port: int) -> list[str]:
    try:
        words = shlex.split(SHORT_NAMES.get(command.strip(), command))
    except ValueError as error:
        raise UsageError(
            f"--tunnel is no command: {error}",
            hint='write it as in a shell, and in quotes as a whole: --tunnel "ssh -R 80:127.0.0.1:{port} example.com"',
        ) from error
    if not words:
        raise UsageError("--tunnel names no command", hint="such as --tunnel cloudflared")
    if "=" in words[0]:
        raise UsageError(
            f"--tunnel begins with a variable, {name_of(command)}, and not with a command",
            hint='set it in the environment, or put env before it: --tunnel "env NAME=value COMMAND {port}"',
        )
    return [word.replace("{port}", str(port)) for word in words]
