"""A simulator that runs: in a thread of its own, for the synchronous SDK, or in the caller's event loop.

Both are ready when entered and gone when left.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from callctl.simulator.callbacks import Callback
from callctl.simulator.errors import ApiError
from callctl.simulator.far_end import FarEnd
from callctl.simulator.http_requests import OnTraffic, Received, Sent, ignore
from callctl.simulator.records import Call
from callctl.simulator.rest.control.operations import LIMIT, Control
from callctl.simulator.rest.control.seed import Seed, SeedError, load
from callctl.simulator.server import ProxySettings, SimulatorError, SimulatorServer
from callctl.simulator.settings import DIALECTS, Settings
from callctl.simulator.switch.world import World

if TYPE_CHECKING:
    from twilio.rest import Client

T = TypeVar("T")

READY_SECONDS = 10.0
STOP_SECONDS = 10.0
MAX_PORT = 65535
# For pytest: where a test is refused something, its report ends at the test's own line.
__tracebackhide__ = methodcaller("errisinstance", SimulatorError)
ADVANCE_SECONDS = 120.0  # real time that one advance may take in the thread; a receiver has 15 s for each request


class Simulator:
    """Twilio's Calls API on a loopback port: `with` runs it in a thread, `async with` in the present event loop.

    Options, all by keyword: account_sid, auth_token, api_key, api_secret, account_name,
    account_status (active, suspended, closed), test_credentials, host, port (0: a free one), manual_clock,
    speed, seed, seed_file (a file for `seed`), far_end (address to FarEnd), readings, faults, latency, cps,
    concurrency, lag, keep_finished, keep_records, strict, cookies, allow_remote, base_path, dialect (twilio, somleng,
    signalwire), wall (returns what every time stamp is; without it they are the real time, with a manual clock that of
    the start and what was advanced since), on_traffic (is given each Received, Sent and Noted, in the simulator's own
    loop), proxy (True: be a proxy that stands for api.twilio.com, too), proxy_port (0: a free one), allow_hosts (where
    else the proxy leads).
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
        seed_file: str | Path | None = None,
        **options: Any,
    ) -> None:
        _check_names(options)
        _check_port("port", port)
        _check_port("proxy_port", proxy_port)
        if dialect not in DIALECTS:
            raise ValueError(f"unknown dialect {dialect!r}; known are {', '.join(DIALECTS)}")
        self.settings = Settings(dialect=DIALECTS[dialect], readings=frozenset(readings), **options)
        self._proxy = _proxy_settings(proxy, proxy_port, tuple(allow_hosts), self.settings)
        self._address = (host, port)
        self._manual = manual_clock
        self._wall = wall
        self._on_traffic = on_traffic
        self._seed = Seed() if seed_file is None else load(Path(seed_file))
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

    # What happened

    @property
    def requests(self) -> tuple[Received, ...]:
        """The API requests received, in the order in which they were answered; those at /simulator are none."""
        return self._read(lambda world: world.records.all_received())

    @property
    def sent(self) -> tuple[Sent, ...]:
        """The requests made, for documents and callbacks and to open streams, in the order of their answers."""
        return self._read(lambda world: world.records.all_sent())

    @property
    def callbacks(self) -> tuple[Callback, ...]:
        """The callbacks fired, in the order in which they were fired."""
        return self._read(lambda world: tuple(world.switch.callbacks.fired))

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls, the oldest first, each as it is now; those that ended long ago are not kept."""
        return self._read(lambda world: tuple(Call.of(leg) for leg in world.switch.register.oldest_first()))

    @property
    def far_ends(self) -> Mapping[str, FarEnd]:
        """What was set for addresses, at the start and since; +1 202 555 0100 to 0107 are not among them."""
        return self._read(lambda world: dict(world.switch.far_ends))

    def find(self, sid: str) -> Call:
        """Return the call with this SID as it is now; raise SimulatorError where there is none."""
        return self._do(lambda control: control.find(sid))

    def simulated_seconds(self) -> float:
        """Return how many simulated seconds have passed since the start or the last reset."""
        return self._running.world.clock.now()  # a number, which any thread may read

    @property
    def client(self) -> "Client":
        """Twilio's library, pointed at the simulator. It waits for each answer, so not in the loop of `async with`."""
        from twilio.http.http_client import TwilioHttpClient
        from twilio.rest import Client

        http = TwilioHttpClient()
        http.session.trust_env = False  # a proxy has no business between here and loopback
        client = Client(self.account_sid, self.auth_token, http_client=http)
        client.region = client.edge = None  # of the environment
        client.api.base_url = self.url
        return client

    # At the other end of calls

    def call(
        self,
        *,
        from_: str,
        to: str = "",
        url: str = "",
        method: str = "",
        twiml: str = "",
        fallback_url: str = "",
        status_callback: str = "",
        status_callback_event: Sequence[str] = (),
        application_sid: str = "",
        time_limit: int | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Call:
        """Let a call come in to a number, and return it; it rings, and its document is being requested.

        `url` (POST, unless `method` is GET) or `twiml` is its document; with neither the number `to`, which was
        created at the simulator, says where that is. With `application_sid` it is a client's call, `from_` such as
        client:ann, and `parameters` are what the client says besides. `time_limit` is in seconds.

        Raises:
            SimulatorError: It can't come in, and why.
        """
        return self._do(
            lambda control: control.call(
                from_=from_,
                to=to,
                url=url,
                method=method,
                twiml=twiml,
                fallback_url=fallback_url,
                status_callback=status_callback,
                status_callback_event=status_callback_event,
                application_sid=application_sid,
                time_limit=time_limit,
                parameters=parameters,
            )
        )

    def answer(self, sid: str) -> Call:
        """Answer a ringing call that goes out, and return it; raise SimulatorError for any other."""
        return self._do(lambda control: control.answer(sid))

    def hang_up(self, sid: str) -> Call:
        """Hang up at the far end, and return the call: one that rings is declined, or given up by its caller.

        Raises:
            SimulatorError: It is queued, or has ended.
        """
        return self._do(lambda control: control.hang_up(sid))

    def press(self, sid: str, digits: str) -> Call:
        """Press keys (0-9, A-D, # and *) at the far end of a call that is in progress, and return it.

        What they lead to begins at once; `advance(0)` waits for the requests that come of it. Keys that nothing listens
        for are lost.

        Raises:
            SimulatorError: The call is not in progress.
        """
        return self._do(lambda control: control.press(sid, digits))

    def say(self, sid: str, words: str) -> Call:
        """Say something at the far end of a call that is in progress, and return it; as with `press` it may be lost.

        Raises:
            SimulatorError: The call is not in progress.
        """
        return self._do(lambda control: control.say(sid, words))

    def answer_gathers(self, sid: str, answers: Sequence[str]) -> Call:
        """Have a call's far end answer so to the <Gather>s that begin from now on, in order, and return the call.

        An answer of keys alone is pressed, any other is said, and an empty one is silence.

        Raises:
            SimulatorError: The call has ended.
        """
        return self._do(lambda control: control.answer_gathers(sid, answers))

    def set_far_end(self, address: str, far_end: FarEnd) -> None:
        """Let an address (a number, `sip:name@host`, `client:name` or `default`) do this in calls from now on.

        Raises:
            SimulatorError: Something of the far end makes no sense.
        """
        self._do(lambda control: control.set_far_end(address, far_end))

    # Time, and all of it

    def advance(self, seconds: float) -> None:
        """Let simulated seconds pass; return when every fetch and callback due has been answered.

        Raises:
            SimulatorError: It has no manual clock, takes very long, or is called in a coroutine.
        """
        self._wait("advance", lambda control: control.advance(seconds))

    async def advance_async(self, seconds: float) -> None:
        """Do what advance() does, while the event loop goes on: that of `async with`, or any other under `with`.

        Raises:
            SimulatorError: It has no manual clock, or takes very long.
        """
        await self._wait_async(lambda control: control.advance(seconds))

    def advance_until(
        self,
        *,
        status: str | None = None,
        call: str | None = None,
        request: str | None = None,
        idle: bool = False,
        limit: float = LIMIT,
    ) -> float:
        """Let simulated time pass until something is so, and return how many seconds have passed.

        It is one of: `status`, which the call with the SID `call` has had, or any call has now or got since time was
        advanced the last time; `request`, a text in the method and URL, or the method and path, of a request made or
        received since then; `idle`, when every call has ended and nothing else is to come.

        Raises:
            SimulatorError: It was not so within `limit` simulated seconds, or can't be any more; and what is so.
        """
        return self._wait(
            "advance_until",
            lambda control: control.advance_until(status=status, call=call, request=request, is_idle=idle, limit=limit),
        )

    async def advance_until_async(
        self,
        *,
        status: str | None = None,
        call: str | None = None,
        request: str | None = None,
        idle: bool = False,
        limit: float = LIMIT,
    ) -> float:
        """Do what advance_until() does, while the event loop goes on; return the seconds and raise as that does."""
        return await self._wait_async(
            lambda control: control.advance_until(status=status, call=call, request=request, is_idle=idle, limit=limit),
        )

    def reset(self) -> None:
        """Begin again as at the start: no calls, resources or records, the far ends and choices of the start, time 0.

        Calls that go on are dropped without a callback.
        """
        self._wait("reset", lambda control: control.reset())

    async def reset_async(self) -> None:
        """Do what reset() does, while the event loop goes on."""
        await self._wait_async(lambda control: control.reset())

    def seed(self, source: str | Path | Mapping[str, object]) -> None:
        """Set numbers, applications and far ends as a file says (TOML or JSON), or a mapping of the same shape as JSON.

        A number that is there already, and an application of the same name, is changed. docs/simulator.md shows one.

        Raises:
            SimulatorError: It can't be read, or something of it can't be; then nothing of it was set.
        """
        if isinstance(source, Mapping):
            self._do(lambda control: control.seed(source))
            return
        try:
            seed = load(Path(source))
        except SeedError as error:
            raise SimulatorError(str(error)) from None
        self._do(lambda control: control.plant(seed))

    # Inside

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
            seed=self._seed,
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

    def _control(self) -> Control:
        server = self._running
        if server.control is None or not server.is_running:
            raise SimulatorError("the simulator is not running")
        return server.control

    def _read(self, read: Callable[[World], T]) -> T:
        """Read what happened, also after the end."""
        server = self._running
        return self._in_loop(lambda: read(server.world))

    def _do(self, act: Callable[[Control], T]) -> T:
        """Do something at once, in the simulator's loop."""
        control = self._control()
        return self._in_loop(lambda: act(control))

    def _in_loop(self, work: Callable[[], T]) -> T:
        server = self._running
        if not server.is_running or server.loop is None or server.loop is _running_loop():
            return _clear(work)

        async def do() -> T:
            return work()

        loop = server.loop
        return _clear(lambda: asyncio.run_coroutine_threadsafe(do(), loop).result(ADVANCE_SECONDS))

    def _wait(self, name: str, begin: Callable[[Control], Coroutine[Any, Any, T]]) -> T:
        """Do in the thread of `with` what takes a while, and wait for it."""
        control, server = self._control(), self._running
        if self._thread is None or server.loop is None:
            raise SimulatorError(f"{name}() belongs to `with`; under `async with`, await {name}_async()")
        if name != "reset" and _is_in_coroutine():  # an application in that loop could not answer what is waited for
            raise SimulatorError(f"{name}() would hold up the event loop that it is called in: await {name}_async()")
        future = asyncio.run_coroutine_threadsafe(begin(control), server.loop)
        try:
            return _clear(lambda: future.result(ADVANCE_SECONDS))
        except TimeoutError as error:
            future.cancel()
            raise SimulatorError(f"{name}() was not done within {ADVANCE_SECONDS:g} s") from error

    async def _wait_async(self, begin: Callable[[Control], Coroutine[Any, Any, T]]) -> T:
        control, loop = self._control(), self._running.loop
        try:
            if loop is None or loop is _running_loop():
                return await begin(control)
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(begin(control), loop))
        except ApiError as error:
            raise SimulatorError(error.message) from None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _is_in_coroutine() -> bool:
    # A loop may run without: Playwright's synchronous API runs one below its callers, who can't await anything.
    return _running_loop() is not None and asyncio.current_task() is not None


def _clear(work: Callable[[], T]) -> T:
    """Do something whose refusals are the library's own errors."""
    try:
        return work()
    except ApiError as error:
        raise SimulatorError(error.message) from None


def _check_names(options: Iterable[str]) -> None:
    """Raise TypeError, as Python does, for an option that there is not."""
    known = list(dict.fromkeys([*(Simulator.__init__.__kwdefaults__ or ()), *(each.name for each in fields(Settings))]))
    for name in options:
        if name not in known:
            raise TypeError(f"a Simulator has no option {name!r}, but {', '.join(known)}")


def _check_port(name: str, value: object) -> None:
    if not isinstance(value, int) or not 0 <= value <= MAX_PORT:
        raise ValueError(f"{name} must be a number from 0, a free one, to {MAX_PORT}, and not {value!r}")


def _proxy_settings(wanted: bool, port: int, allow_hosts: tuple[str, ...], settings: Settings) -> ProxySettings | None:
    if not wanted:
        if port or allow_hosts:
            raise ValueError(f"{'proxy_port' if port else 'allow_hosts'} goes with proxy=True")
        return None
    from callctl.simulator.proxy.server import check_allowed

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
