"""One running simulator: its parts put together and served, in the event loop that started it.

A client that connects and never finishes a request costs a file, and the process has only so many. No call may fail to
fetch its document, and no callback be lost, for want of one: hence the limit of connections.
"""

import asyncio
import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import OnTraffic, Received, Reply, logging_failures
from callctl.simulator.rest.api import Api
from callctl.simulator.rest.control.operations import Control
from callctl.simulator.rest.control.seed import Seed
from callctl.simulator.rest.routing import Endpoint
from callctl.simulator.settings import Settings
from callctl.simulator.switch.world import World, utc_now
from callctl.support.connection_errors import reason_of
from callctl.support.server import OpenConnections, TcpServer, room_for_connections

if TYPE_CHECKING:
    from callctl.simulator.proxy.server import Proxy

IDLE_SECONDS = 75.0  # real ones, without a request or in the midst of its header
LINGER_SECONDS = 1.0  # how long what a refused client still sends is thrown away, so that it reads the refusal
OWN_FILES = 700  # documents, callbacks and streams take up to 600 (web.py), and the rest of the program some
_log = logging.getLogger("callctl.simulator")
_log.addHandler(logging.NullHandler())  # without one, Python would write to the terminal what no HTTP client says


class SimulatorError(Exception):
    """The simulator could not start, or can't do this in its present state."""


class PortInUseError(SimulatorError):
    """Something else listens there."""


class SeedRefusedError(SimulatorError):
    """The seed file describes what can't be."""


class MissingLibraryError(SimulatorError):
    """A library that is an extra of callctl's is not installed; `hint` says how to install it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}: {hint}")
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """At which port the proxy listens, and to which hosts besides Twilio it leads."""

    port: int
    allowed: frozenset[str]


class SimulatorServer:
    """One simulator; its records stay readable after it has stopped."""

    def __init__(
        self,
        settings: Settings,
        *,
        host: str,
        port: int,
        manual: bool,
        wall: Callable[[], datetime] | None,
        on_traffic: OnTraffic,
        seed: Seed,
        proxy: ProxySettings | None = None,
    ) -> None:
        self._settings = settings
        self._proxy_settings = proxy
        self._host = host
        self._port = port
        self._wall = wall
        self._on_traffic = logging_failures(on_traffic)
        self._is_manual = manual
        self._seed = seed
        self._endpoint: Endpoint | None = None
        self.control: Control | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.is_running = False
        self._server: TcpServer | None = None
        self._proxy: Proxy | None = None
        self.url = ""
        self.proxy_url = ""
        self.proxy_env: dict[str, str] = {}

    @property
    def world(self) -> World:
        """What has happened since the start or the last reset; it stays readable after the end.

        Raises:
            SimulatorError: The simulator was not started.
        """
        if self._endpoint is None:
            raise SimulatorError("the simulator is not running")
        return self._endpoint.world

    async def start(self) -> None:
        """Listen; raise PortInUseError when the port is taken, SimulatorError when it can't listen there at all."""
        settings, chance = self._settings, Chance(self._settings.seed)

        def make_world() -> World:
            return World(
                settings, is_manual=self._is_manual, wall=self._wall, chance=chance, on_traffic=self._on_traffic
            )

        self.loop = asyncio.get_running_loop()
        endpoint = self._endpoint = Endpoint(settings, make_world)
        try:
            control = self.control = Control(endpoint, self._seed)
        except ApiError as error:
            await self.stop()
            raise SeedRefusedError(error.message) from error
        application = Api(endpoint, control, chance=chance, wall=self._wall or utc_now).application()
        runner = web.AppRunner(
            application,
            access_log=None,
            logger=_log,
            shutdown_timeout=0.5,
            handle_signals=False,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
        )
        await runner.setup()
        connections = OpenConnections[Any](most_connections())
        make_connection = _limited(runner.server, connections)
        try:
            self._server = await TcpServer.open(
                make_connection,
                host=self._host,
                port=self._port,
                cleanup=runner.cleanup,
            )
        except OSError as error:
            await self.stop()
            raise _refusal(error, f"{self._host}:{self._port}") from error
        host = f"[{self._host}]" if ":" in self._host else self._host
        origin = f"http://{host}:{self._server.port}"
        self.url = f"{origin}{settings.base_path}"
        endpoint.listens_at(origin)
        if self._proxy_settings is not None:
            await self._open_proxy(self._proxy_settings, make_connection, connections)
        self.is_running = True

    async def _open_proxy(
        self,
        settings: ProxySettings,
        make_connection: Callable[[], asyncio.Protocol],
        connections: OpenConnections[Any],
    ) -> None:
        from callctl.simulator.proxy.authority import Authority
        from callctl.simulator.proxy.server import Proxy

        try:
            authority = Authority()
        except ImportError as error:
            await self.stop()
            hint = "pip install 'callctl[proxy]'"
            raise MissingLibraryError("the proxy needs trustme, which is not installed", hint) from error
        except OSError as error:
            await self.stop()
            raise SimulatorError(f"can't write the proxy's certificates: {reason_of(error)}") from error
        self._proxy = Proxy(
            authority,
            make_connection=make_connection,
            connections=connections,
            allowed=settings.allowed,
            on_refused=self._record_refused,
        )
        try:
            await self._proxy.open(self._host, settings.port)
        except OSError as error:
            await self.stop()
            raise _refusal(error, f"{self._host}:{settings.port}") from error
        self.proxy_url, self.proxy_env = self._proxy.url, self._proxy.environment()

    def _record_refused(self, method: str, target: str, reply: Reply) -> None:
        records = self.world.records
        records.received(Received(method, target, {}, {}, {}, reply, when=records.moment()))

    async def stop(self) -> None:
        """Stop listening and drop what is under way."""
        self.is_running = False
        if self._endpoint is not None:
            await self._endpoint.world.close()
        if self._server is not None:
            await self._server.close()
        if self._proxy is not None:
            await self._proxy.close()


def _refusal(error: OSError, address: str) -> SimulatorError:
    """Say why it can't listen."""
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(f"can't listen on {address}: the port is taken")
    return SimulatorError(f"can't listen on {address}: {reason_of(error)}")


def most_connections() -> int:
    """Return how many connections the process's limit of open files leaves room for."""
    return room_for_connections(2**31, reserve=OWN_FILES)


def _limited(server: web.Server | None, connections: OpenConnections[Any]) -> Callable[[], asyncio.Protocol]:
    """Return what makes the protocol of each connection of aiohttp's server, as one of the connections."""
    if server is None:
        raise ValueError("the runner was not set up")
    answer = server.request_handler

    async def limited_answer(request: web.BaseRequest) -> web.StreamResponse:
        return await connections.answering(request.protocol, answer(request), on_whole=request.content.on_eof)

    server.request_handler = limited_answer
    return lambda: _Connection(server(), connections)


class _Connection(asyncio.Protocol):
    """One connection: aiohttp's handler answers it, unless there is no room for it."""

    def __init__(self, handler: web.RequestHandler, connections: OpenConnections[Any]) -> None:
        self._handler = handler
        self._connections = connections
        self._admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"not a connection: {transport!r}")
        self._admitted = self._connections.add(self._handler, transport)
        if self._admitted:
            self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._connections.received(self._handler)
        self._handler.data_received(data)

    def eof_received(self) -> None:
        self._handler.eof_received()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self._handler)
        if self._admitted:
            self._handler.connection_lost(exc)
