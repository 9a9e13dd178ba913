"""WebSockets by aiohttp. Each is opened once; to this machine without TLS first, as few applications here have any."""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from callctl.simulator.http_requests import Reply
from callctl.simulator.sockets import (
    BAD_HANDSHAKE,
    MALFORMED_URL,
    NO_TLS,
    REFUSED,
    TIMED_OUT,
    Socket,
    SocketEvents,
    SocketRequest,
)
from callctl.support.tasks import cancel_until_done
from callctl.support.urls import without_user_and_fragment

# All in real seconds.
OPENS_WITHIN = 5.0
CLOSES_WITHIN = 2.0  # for the application to answer the close
ANSWERS_WITHIN = 2.0  # for it to answer a ping, where simulated time waits for it
MAX_MESSAGE = 1024 * 1024  # two minutes of sound in one message of the application; more breaks the connection
AT_ONCE = 200  # each is an open file (server.OWN_FILES)
PINGS = 2  # some servers answer a ping before the application has read what came before; by the second one it has
_log = logging.getLogger("callctl.simulator")

Begin = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
OnAnswer = Callable[[SocketRequest, Reply], None]


class FailureError(Exception):
    """A WebSocket can't be opened; `code` is Twilio's, `status` is HTTP's, where there was an answer."""

    def __init__(self, code: int, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class WebSockets:
    """All that are open. `begin` runs what simulated time waits for; `on_answer` gets the outcome of each handshake."""

    def __init__(self, begin: Begin, on_answer: OnAnswer, resolver: AbstractResolver | None) -> None:
        self._begin = begin
        self._on_answer = on_answer
        self._resolver = resolver
        self._connections: set[_Connection] = set()
        self._session: aiohttp.ClientSession | None = None

    def open(
        self, request: SocketRequest, events: SocketEvents, headers: Mapping[str, str], *, refusal: str, insecure: bool
    ) -> Socket:
        """Open one, unless there is a reason to refuse it; `insecure` tries it without TLS first."""
        connection = _Connection(events, self._begin)
        if not refusal and len(self._connections) >= AT_ONCE:
            refusal = f"the simulator opens no more than {AT_ONCE} streams at once"
        self._connections.add(connection)
        connection.opening = self._begin(self._open(connection, request, headers, refusal, insecure))
        return connection

    @property
    def is_settled(self) -> bool:
        """Whether every application has read what was sent to it."""
        return all(connection.is_settled for connection in self._connections)

    async def settle(self) -> None:
        """Wait until it has, and until what it sent meanwhile has arrived."""
        waiting = [connection for connection in self._connections if not connection.is_settled]
        await asyncio.gather(*(connection.settle() for connection in waiting))

    async def close(self) -> None:
        """Close all connections; an application is given its time to answer."""
        await asyncio.gather(*(connection.drop() for connection in tuple(self._connections)))
        if self._session is not None:
            await self._session.close()

    async def _open(
        self,
        connection: "_Connection",
        request: SocketRequest,
        headers: Mapping[str, str],
        refusal: str,
        insecure: bool,
    ) -> None:
        websocket = None
        try:
            if refusal:
                raise FailureError(TIMED_OUT, refusal)
            websocket = await self._handshake(request.url, headers, insecure)
        except FailureError as error:
            self._on_answer(request, Reply(error.status, error=str(error)))
            connection.fail(error)
        finally:
            if websocket is None:
                self._connections.discard(connection)
        if websocket is not None:
            self._on_answer(request, Reply(101))
            connection.start(websocket, lambda: self._connections.discard(connection))

    async def _handshake(self, url: str, headers: Mapping[str, str], insecure: bool) -> aiohttp.ClientWebSocketResponse:
        secure = without_user_and_fragment(url)
        if not insecure:
            return await self._connect(secure, headers)
        try:
            return await self._connect(f"ws{secure.removeprefix('wss')}", headers)
        except FailureError as error:
            # A server with TLS closes a connection without it, or answers 400.
            if error.code != BAD_HANDSHAKE or error.status not in (None, 400):
                raise
            try:
                return await self._connect(secure, headers)
            except FailureError as secure_error:
                spoke_tls = isinstance(secure_error.__cause__, aiohttp.ClientConnectorCertificateError)
                raise (secure_error if spoke_tls else error) from None

    async def _connect(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientWebSocketResponse:
        if self._session is None:
            self._session = self._make_session()
        try:
            async with asyncio.timeout(OPENS_WITHIN):
                return await self._session.ws_connect(
                    URL(url, encoded=True),
                    headers=headers,
                    autoping=False,  # so that pongs are seen
                    max_msg_size=MAX_MESSAGE,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSES_WITHIN),
                )
        except TimeoutError as error:
            raise FailureError(TIMED_OUT, f"no reply within {OPENS_WITHIN:g} s") from error
        except aiohttp.WSServerHandshakeError as error:
            text = f"answered {error.status}, not 101" if error.status != 101 else "answered with no WebSocket upgrade"
            raise FailureError(BAD_HANDSHAKE, text, error.status) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise FailureError(NO_TLS, "its certificate is not valid here") from error
        except aiohttp.ClientSSLError as error:
            raise FailureError(NO_TLS, "no TLS connection") from error
        except aiohttp.ClientOSError as error:
            number = error.errno or 0  # below 0 it is name resolution's own
            code = {errno.ECONNREFUSED: REFUSED, errno.ECONNRESET: BAD_HANDSHAKE}.get(number, TIMED_OUT)
            text = os.strerror(number) if number > 0 else "no such host"
            raise FailureError(code, f"connection failed: {text}") from error
        except ValueError as error:  # InvalidURL is one
            raise FailureError(MALFORMED_URL, "not a URL") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise FailureError(BAD_HANDSHAKE, "closed without an answer") from error

    def _make_session(self) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_refuse_redirect)
        connector = aiohttp.TCPConnector(limit=0, resolver=self._resolver)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[trace])


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _context: object, params: aiohttp.TraceRequestRedirectParams
) -> None:
    """Take no other address for it: that one was not checked."""
    response = params.response
    response.close()
    raise aiohttp.WSServerHandshakeError(response.request_info, response.history, status=response.status)


class _Connection:
    """One WebSocket: a task reads it, another one writes, each in order."""

    def __init__(self, events: SocketEvents, begin: Begin) -> None:
        self._events = events
        self._begin = begin
        self.opening: asyncio.Task[None] | None = None
        self.is_settled = True
        self._is_over = False
        self._answers = True  # pings
        self._outgoing: asyncio.Queue[str | int | None] = asyncio.Queue()  # messages, pings by number, the end
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._ping_count = 0
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._writing: asyncio.Task[None] | None = None
        self._websocket: aiohttp.ClientWebSocketResponse | None = None

    @property
    def backlog(self) -> int:
        """How many messages have not been sent yet."""
        return self._outgoing.qsize()

    def send(self, text: str) -> None:
        """Send a message behind those before it; once it is closed, do nothing."""
        if not self._is_over:
            self._outgoing.put_nowait(text)
            self.is_settled = False

    def close(self) -> None:
        """Send what is left, and close it; harmless when it is over."""
        if self._is_over:
            return
        self._is_over = True
        if self._writing is not None:
            self._outgoing.put_nowait(None)
            self._begin(self._written(self._writing))
        elif self.opening is not None:
            self.opening.cancel()

    def fail(self, error: FailureError) -> None:
        """Report that it can't be opened."""
        if not self._is_over:
            self._is_over = True
            self._events.failed(error.code, str(error))

    def start(self, websocket: aiohttp.ClientWebSocketResponse, on_end: Callable[[], None]) -> None:
        """Read and write."""
        loop = asyncio.get_running_loop()
        self._websocket = websocket
        self._writing = loop.create_task(self._write(websocket))
        self._tasks = (self._writing, loop.create_task(self._read(websocket, on_end)))
        self._events.opened()

    async def settle(self) -> None:
        """Wait until the application has answered pings, and so has read what came before."""
        self.is_settled = True
        for _ in range(PINGS):
            self._ping_count += 1
            number, answer = self._ping_count, asyncio.get_running_loop().create_future()
            if self._is_over:
                return
            if not self._answers:
                await asyncio.sleep(0)  # the writer's turn
                return
            self._pings[number] = answer
            self._outgoing.put_nowait(number)
            try:
                async with asyncio.timeout(ANSWERS_WITHIN):
                    await answer
            except TimeoutError:  # it is not waited for until it has answered
                self._answers = False
            finally:
                self._pings.pop(number, None)

    async def drop(self) -> None:
        """Close it, whatever was to be sent."""
        self._is_over = True
        await cancel_until_done(self._tasks)
        if self._websocket is not None:
            with suppress(TimeoutError, ConnectionError, aiohttp.ClientError):
                async with asyncio.timeout(CLOSES_WITHIN):  # it has a limit of its own for the answer alone
                    await self._websocket.close(code=aiohttp.WSCloseCode.GOING_AWAY)

    async def _written(self, writing: asyncio.Task[None]) -> None:
        """Wait until it is closed; an application that does not read what is left is given up."""
        _, unfinished = await asyncio.wait((writing,), timeout=2 * CLOSES_WITHIN)
        if unfinished:
            await self.drop()

    async def _write(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        with suppress(ConnectionError, aiohttp.ClientError):  # the reader learns of it, too
            while (message := await self._outgoing.get()) is not None:
                if isinstance(message, int):
                    await websocket.ping(str(message).encode())
                else:
                    await websocket.send_str(message)
        with suppress(ConnectionError, aiohttp.ClientError):
            await websocket.close()

    async def _read(self, websocket: aiohttp.ClientWebSocketResponse, on_end: Callable[[], None]) -> None:
        try:
            while await self._read_one(websocket):
                pass
        except (ConnectionError, aiohttp.ClientError):
            pass
        except Exception:
            _log.exception("a message of an application could not be taken")
        finally:
            on_end()
            self._end()

    async def _read_one(self, websocket: aiohttp.ClientWebSocketResponse) -> bool:
        message = await websocket.receive()
        match message.type:
            case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                if not self._is_over:
                    self._events.received(message.data if message.type is aiohttp.WSMsgType.TEXT else None)
            case aiohttp.WSMsgType.PING:
                await websocket.pong(message.data)
            case aiohttp.WSMsgType.PONG:
                self._answered(bytes(message.data))
            case _:
                return False
        return True

    def _answered(self, number: bytes) -> None:
        self._answers = True
        answer = self._pings.get(int(number)) if number.isdigit() else None
        if answer is not None and not answer.done():
            answer.set_result(None)

    def _end(self) -> None:
        for answer in self._pings.values():
            if not answer.done():
                answer.set_result(None)
        if not self._is_over:
            self._is_over = True
            self._outgoing.put_nowait(None)
            self._events.closed()
