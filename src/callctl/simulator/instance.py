"""The parts of one simulator put together, listening, in the event loop that started them."""

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from callctl.simulator import door
from callctl.simulator.callbacks import Callback
from callctl.simulator.clock import Clock, ManualClock, RealClock
from callctl.simulator.faults import Chance
from callctl.simulator.rest.api import Api
from callctl.simulator.settings import Settings
from callctl.simulator.switch.switch import Switch
from callctl.simulator.traffic import Received, Witness, harmless
from callctl.simulator.web import Web

BACKLOG = 128  # connections that may wait to be accepted
_log = logging.getLogger("callctl.simulator")
_log.addHandler(logging.NullHandler())  # without one, Python would write to the terminal what no HTTP client says


class SimulatorError(Exception):
    """The simulator could not start, or was asked for what it can't do in its present state."""


class PortInUseError(SimulatorError):
    """Something else listens there."""


class Instance:
    """One simulator; its records stay readable after it has stopped."""

    def __init__(
        self,
        settings: Settings,
        *,
        host: str,
        port: int,
        manual: bool,
        wall: Callable[[], datetime],
        witness: Witness,
    ) -> None:
        self._settings = settings
        self._host = host
        self._port = port
        self._wall = wall
        self._witness = harmless(witness)
        self._manual = ManualClock() if manual else None
        self._clock: Clock | None = self._manual
        self._web: Web | None = None
        self._switch: Switch | None = None
        self._api: Api | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self.url = ""

    @property
    def received(self) -> tuple[Received, ...]:
        """The API requests received, the oldest first."""
        return () if self._api is None else tuple(self._api.received)

    @property
    def fired(self) -> tuple[Callback, ...]:
        """The status callbacks fired, the oldest first."""
        return () if self._switch is None else tuple(self._switch.callbacks.fired)

    def now(self) -> float:
        """Return the simulated seconds since the start."""
        return 0.0 if self._clock is None else self._clock.now()

    async def start(self) -> None:
        """Listen; raise PortInUseError when the port is taken, SimulatorError when it can't listen there at all."""
        settings = self._settings
        clock: Clock = self._manual or RealClock(settings.speed)
        self._clock = clock
        chance = Chance(settings.seed)
        witness, wall = self._witness, self._wall
        self._web = Web(auth_token=settings.auth_token, allow_remote=settings.allow_remote, witness=witness)
        self._switch = Switch(settings, clock=clock, wall=wall, network=self._web, chance=chance, witness=witness)
        self._api = Api(settings, self._switch, chance=chance, wall=wall, witness=witness)
        application = self._api.application()
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=_log,
            shutdown_timeout=0.5,
            handle_signals=False,
            keepalive_timeout=door.IDLE_SECONDS,
            lingering_time=door.LINGER_SECONDS,
        )
        await self._runner.setup()
        server: Any = self._runner.server
        try:
            self._server = await asyncio.get_running_loop().create_server(
                door.Door(server, room=door.room()), self._host, self._port, backlog=BACKLOG
            )
        except OSError as error:
            await self.stop()
            raise _refused(error, f"{self._host}:{self._port}") from error
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{host}:{port}{settings.base_path}"

    async def stop(self) -> None:
        """Stop listening and drop what is under way."""
        if self._switch is not None:
            self._switch.close()
        if self._web is not None:
            await self._web.close()
        if self._server is not None:
            await _accept_no_more(self._server)
        if self._runner is not None:
            await self._runner.cleanup()

    async def advance(self, seconds: float) -> None:
        """Let simulated seconds pass and wait for every fetch and callback that was due."""
        if self._manual is None or self._web is None:
            raise SimulatorError("advancing needs a simulator that was made with manual_clock=True")
        await self._manual.advance(seconds, settled=self._web.settled)


async def _accept_no_more(server: asyncio.Server) -> None:
    """Close a server whose runner then knows every connection.

    One that comes in needs three turns of the loop until then, and Python 3.11 loses hold of its socket where the
    server is closed before.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening)
    for _ in range(4):
        await asyncio.sleep(0)
    server.close()


def _refused(error: OSError, address: str) -> SimulatorError:
    """Say why it can't listen; asyncio's own words hold the address once more."""
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(f"can't listen on {address}: the port is taken")
    # Below 0 it is name resolution's own. From Python 3.13 on asyncio gives none for an address of another machine.
    number = errno.EADDRNOTAVAIL if error.errno is None else error.errno
    reason = os.strerror(number) if number > 0 else error.strerror or str(error)
    return SimulatorError(f"can't listen on {address}: {reason}")
