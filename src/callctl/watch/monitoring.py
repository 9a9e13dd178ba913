"""What watches over a listener: whether it lives, whether it is ready, its metrics; on a port of their own.

The port is not that of the callbacks, which the whole internet may reach: what is said here is for the people who run
it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from callctl import __version__
from callctl.errors import CallctlError, NoThreadError, PortTakenError, StoreError, failure_reason
from callctl.support.dates import format_date
from callctl.support.server import TcpServer
from callctl.support.threads import run_in_thread
from callctl.watch.listener.address import Address
from callctl.watch.listener.server import Limits, not_allowed, serve, target_of
from callctl.watch.metrics import Exposition

# Seconds that a test of the store may take, and for which what it found counts: each one writes to the disk.
TEST_LIMIT = 2.0
TEST_COUNTS_FOR = 1.0
NO_LIBRARY = "metrics need the library prometheus_client: pip install 'callctl[metrics]'\n"


@dataclass(frozen=True, slots=True)
class MonitoringAddress:
    """Where the answers to those who watch over a listener are; at a free port for 0."""

    host: str
    port: int


class StoreTest:
    """Tests whether the store can be written, by writing to it, unless it was written or tested within a second."""

    def __init__(
        self,
        check_writable: Callable[[], None],
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            check_writable: Raises StoreError if nothing can be written; called in a thread.
            now: The time.
            clock: Seconds that only go on.
        """
        self._check_writable, self._now, self._clock = check_writable, now, clock
        self._running: asyncio.Future[None] | None = None
        self._known_at: float | None = None  # when it was written or tested last
        self._failure: str | None = None
        self.last_commit_at: datetime | None = None

    def committed(self) -> None:
        """Take note, in any thread, that events were stored just now."""
        self.last_commit_at, self._failure, self._known_at = self._now(), None, self._clock()

    async def failure(self) -> str | None:
        """Return why the store can't be written; None if it can."""
        if self._running is None:
            if self._known_at is not None and self._clock() - self._known_at < TEST_COUNTS_FOR:
                return self._failure
            self._running = asyncio.ensure_future(run_in_thread(self._check_writable))
            self._running.add_done_callback(self._take_result)
        running = self._running
        await asyncio.wait({running}, timeout=TEST_LIMIT)
        return self._failure if running.done() else f"the event store takes longer than {TEST_LIMIT:g} s"

    def _take_result(self, tested: asyncio.Future[None]) -> None:
        self._running = None
        if not tested.cancelled():
            error = tested.exception()
            self._failure = failure_reason(error) if isinstance(error, Exception) else None
            self._known_at = self._clock()


class Monitoring:
    """Answers ``/healthz``, ``/readyz`` and ``/metrics``."""

    def __init__(
        self,
        address: MonitoringAddress,
        *,
        is_listening: Callable[[], bool],
        store_test: StoreTest,
        metrics: Callable[[str], Awaitable[Exposition | None]],
    ) -> None:
        """Prepare.

        Args:
            address: Where to answer.
            is_listening: Whether callbacks are taken in.
            store_test: Whether they can be stored.
            metrics: Returns the metrics in a form that an Accept header allows; None where the library is missing.
        """
        self._address, self._is_listening, self._store_test, self._metrics = address, is_listening, store_test, metrics
        self._server: TcpServer | None = None

    async def start(self) -> str:
        """Listen, and return the URL without a path.

        Raises:
            PortTakenError: Another program listens there.
            CallctlError: The address can't be bound.
        """
        host, port = self._address.host, self._address.port
        try:
            self._server = await serve(self._answer, host=host, port=port, limits=Limits(connections=64))
        except PortTakenError as error:
            raise PortTakenError(
                f"the port for health checks is taken: {host}:{port}",
                hint="choose another with --health-port, or 0 for any",
            ) from error
        except CallctlError as error:
            raise CallctlError(
                error.message, hint="--health-host says where health checks are answered, --health-port at which port"
            ) from error
        return Address(host, self._server.port, "", None).url

    async def stop(self) -> None:
        """Stop answering."""
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        answers = {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._metrics_text}
        answer = answers.get(target_of(request).partition("?")[0])
        if answer is None:
            return web.Response(status=404, text="there are /healthz, /readyz and /metrics here\n")
        if request.method not in ("GET", "HEAD"):
            return not_allowed("GET, HEAD")
        return await answer(request)

    async def _health(self, _request: web.BaseRequest) -> web.Response:
        return web.json_response({"status": "ok", "version": __version__})

    async def _readiness(self, _request: web.BaseRequest) -> web.Response:
        why = await self._store_test.failure() if self._is_listening() else "callbacks are not taken in"
        said = {
            "status": "ready" if why is None else "not ready",
            "why": why,
            "listening": self._is_listening(),
            "last_commit_at": format_date(self._store_test.last_commit_at),
        }
        return web.json_response(said, status=200 if why is None else 503)

    async def _metrics_text(self, request: web.BaseRequest) -> web.Response:
        page = await self._metrics(request.headers.get("Accept", ""))
        if page is None:
            return web.Response(status=404, text=NO_LIBRARY)
        return web.Response(body=page.body, headers={"Content-Type": page.content_type})


async def open_claims(count: Callable[[], int]) -> int | None:
    """Return how many claims are open, as ``count`` does in a thread; None where the store can't be read in time."""
    with suppress(StoreError, TimeoutError, NoThreadError):
        async with asyncio.timeout(TEST_LIMIT):
            return await run_in_thread(count)
    return None
