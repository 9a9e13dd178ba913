"""A simulator that runs: in a thread of its own, for the synchronous SDK, or in the caller's event loop.

Both are ready when entered and gone when left.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any, Self

from callctl.simulator.callbacks import Callback
from callctl.simulator.http_requests import OnTraffic, Received, Sent, ignore
from callctl.simulator.server import ProxySettings, SimulatorError, SimulatorServer
from callctl.simulator.settings import DIALECTS, Settings

READY_SECONDS = 10.0
STOP_SECONDS = 10.0
ADVANCE_SECONDS = 120.0  # real time that one advance may take in the thread; a receiver has 15 s for each request


class Simulator:
    """Twilio's Calls API on a loopback port: `with` runs it in a thread, `async with` in the present event loop.

    Options, all by keyword: account_sid, auth_token, api_key, api_secret, account_name,
    account_status (active, suspended, closed), test_credentials, host, port (0: a free one), manual_clock,
    speed, seed, far_end (address to FarEnd), readings, faults, latency, cps, concurrency, lag, keep_finished,
    keep_records, strict, cookies, allow_remote, base_path, dialect (twilio, somleng, signalwire), wall (returns what
    every time stamp is; without it they are the real time, with a manual clock that of the start and what was advanced
    since), on_traffic (is given each Received, Sent and Noted, in the simulator's event loop), proxy (True: be a proxy
    that stands for api.twilio.com, too), proxy_port (0: a free one), allow_hosts (where else the proxy leads).
    Raises ValueError for what makes no sense, and SimulatorError on entering when a port is taken or a library missing.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        manual_clock: bool = False,
        dialect: str = "twilio",
        readings: Iterable[str] = (),
        wall: Callable[[], datetime] | None = None,
        on_traffic: OnTraffic = ignore,
        proxy: bool = False,
        proxy_port: int = 0,
        allow_hosts: Iterable[str] = (),
        **options: Any,
    ) -> None:
        if dialect not in DIALECTS:
            raise ValueError(f"unknown dialect {dialect!r}; known are {', '.join(DIALECTS)}")
        self.settings = Settings(dialect=DIALECTS[dialect], readings=frozenset(readings), **options)
        self._proxy = _proxy_settings(proxy_port, allow_hosts, self.settings) if proxy else None
        self._address = (host, port)
        self._manual = manual_clock
        self._wall = wall
        self._on_traffic = on_traffic
        self._server: SimulatorServer | None = None
        self._thread: _ServerThread | None = None

    @property
    def account_sid(self) -> str:
        """The account's SID."""
        return self.settings.account_sid

    @property
    def auth_token(self) -> str:
        """The token that API requests need and callbacks are signed with."""
        return self.settings.auth_token

    @property
    def api_key(self) -> str:
        """The SID of the API key."""
        return self.settings.api_key

    @property
    def api_secret(self) -> str:
        """The API key's secret."""
        return self.settings.api_secret

    @property
    def url(self) -> str:
        """The address to use in place of https://api.twilio.com."""
        return self._running.url

    @property
    def proxy_url(self) -> str:
        """The address of the proxy that stands for api.twilio.com; raise SimulatorError without one."""
        if self._proxy is None:
            raise SimulatorError("there is no proxy: make the simulator with proxy=True")
        return self._running.proxy_url

    @property
    def proxy_env(self) -> Mapping[str, str]:
        """What the environment of another process needs so that it uses the proxy and trusts it.

        It names the proxy's address and the files of its certificate authority, which are gone when the simulator ends.
        Raises SimulatorError without a proxy.
        """
        if self._proxy is None:
            raise SimulatorError("there is no proxy: make the simulator with proxy=True")
        return dict(self._running.proxy_env)

    @property
    def requests(self) -> tuple[Received, ...]:
        """The API requests received, the oldest first."""
        return self._running.received

    @property
    def sent(self) -> tuple[Sent, ...]:
        """The requests made, for documents and callbacks and to open streams, in the order of their answers."""
        return self._running.sent

    @property
    def callbacks(self) -> tuple[Callback, ...]:
        """The status callbacks fired, in the order in which they were fired."""
        return self._running.fired

    def simulated_seconds(self) -> float:
        """Return how many simulated seconds have passed since the start."""
        return self._running.now()

    @property
    def _running(self) -> SimulatorServer:
        if self._server is None:
            raise SimulatorError("the simulator is not running")
        return self._server

    def _make_server(self) -> SimulatorServer:
        host, port = self._address
        return SimulatorServer(
            self.settings,
            host=host,
            port=port,
            manual=self._manual,
            wall=self._wall,
            on_traffic=self._on_traffic,
            proxy=self._proxy,
        )

    def __enter__(self) -> Self:
        server = self._make_server()
        self._thread = _ServerThread(server)
        self._thread.start()
        self._server = server
        return self

    def __exit__(self, *_error: object) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    async def __aenter__(self) -> Self:
        server = self._make_server()
        await server.start()
        self._server = server
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._running.stop()

    def advance(self, seconds: float) -> None:
        """Let simulated seconds pass; return when every fetch and callback due has been answered."""
        if self._thread is None:
            raise SimulatorError("advance() belongs to `with`; under `async with`, await advance_async()")
        self._thread.call(self._running.advance(seconds))

    async def advance_async(self, seconds: float) -> None:
        """Do what advance() does, in the event loop of `async with`."""
        if self._thread is not None:
            raise SimulatorError("advance_async() belongs to `async with`; under `with`, call advance()")
        await self._running.advance(seconds)


def _proxy_settings(port: int, allow_hosts: Iterable[str], settings: Settings) -> ProxySettings:
    from callctl.simulator.proxy import check_allowed

    if settings.base_path:
        raise ValueError("a proxy stands for api.twilio.com, which has no base path")
    return ProxySettings(port, check_allowed(allow_hosts))


class _ServerThread:
    """An event loop in a thread of its own, with a simulator running in it."""

    def __init__(self, server: SimulatorServer) -> None:
        self._server = server
        self._ready = threading.Event()
        self._failure: SimulatorError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="callctl-simulator", daemon=True)

    def start(self) -> None:
        """Return when it listens; raise SimulatorError when it can't."""
        self._thread.start()
        if not self._ready.wait(READY_SECONDS):
            raise SimulatorError(f"the simulator was not ready within {READY_SECONDS:g} s")
        if self._failure is not None or not self._server.url:
            self._thread.join(STOP_SECONDS)
            raise self._failure or SimulatorError("the simulator could not start")

    def stop(self) -> None:
        """Stop and return when the thread has ended; raise SimulatorError when it does not."""
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has stopped by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            raise SimulatorError(f"the simulator did not stop within {STOP_SECONDS:g} s")

    def call(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the loop and wait for it."""
        if self._loop is None:
            work.close()
            raise SimulatorError("the simulator is not running")
        asyncio.run_coroutine_threadsafe(work, self._loop).result(ADVANCE_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()  # start() returns, and raises where it failed

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            await self._server.start()
        except SimulatorError as error:
            self._failure = error
            return
        self._ready.set()
        try:
            await self._stopping.wait()
        finally:
            await self._server.stop()
