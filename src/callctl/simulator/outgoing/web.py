"""Requests that the simulator makes, with Twilio's headers, signature, time limits and retries.

Nothing but loopback is contacted unless that was allowed, and no name but localhost is even looked up.
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit, urlunsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from callctl.simulator.http_requests import Cancel, Moment, OutgoingRequest, Reply, Sent
from callctl.simulator.outgoing.cookies import CookieJars
from callctl.simulator.outgoing.websocket import WebSockets
from callctl.simulator.records import Records
from callctl.simulator.sockets import Socket, SocketEvents, SocketRequest
from callctl.support.tasks import cancel_until_done
from callctl.support.urls import without_user_and_fragment

MAX_REPLY_BYTES = 256 * 1024
MAX_HOPS = 5
# As a browser would: these are repeated with method and form, the others by GET and without it.
REPEATED_AS_IT_WAS = frozenset({307, 308})
REDIRECTED = frozenset({301, 302, 303}) | REPEATED_AS_IT_WAS
# Open connections; the usual limit of file descriptors is 1024, and the API needs some. Documents have their own, so
# that no call waits for its next verb because a callback's receiver hangs.
CALLBACKS_AT_ONCE, DOCUMENTS_AT_ONCE = 300, 100


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine by its name alone; any other name would have to be looked up."""
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback and "%" not in name  # a zone makes it a name to look up
    except ValueError:
        return False


def wire_url(request: OutgoingRequest) -> str:
    """Return the URL as it is requested and signed: no fragment, a path, the parameters of a GET in the query."""
    params = urlencode(request.params) if request.method == "GET" else ""
    return _escaped(request.url, params)


def _escaped(url: str, params: str = "") -> str:
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, params) if part)
    whole = urlunsplit(parts._replace(path=parts.path or "/", query=query, fragment=""))
    return quote(whole, safe="!#$%&'()*+,/:;=?@[]~")  # what a header line can't hold is escaped


def without_query(url: str) -> str:
    """Return a URL without its query: a stream's is not sent (docs/twilio.md, "Media streams")."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


# Connection overrides: the fragment of a URL changes time limits and retries (CONN). By default there is one retry, and
# only when the connection failed; `#rc=2&rp=5xx` means two, and after a 5xx.


@dataclass(frozen=True, slots=True)
class Overrides:
    """The time limits of a request in seconds, and after which failures it is repeated (CONN)."""

    connect: float = 5.0
    read: float = 15.0
    total: float = 15.0
    retries: int = 1
    policy: frozenset[str] = frozenset({"ct"})

    def repeats(self, failure: str) -> bool:
        """Return whether a failure (`ct`, `rt`, `4xx`, `5xx`) is one to try again after."""
        return failure in self.policy or "all" in self.policy


_RANGES = {"ct": (100, 10000), "rt": (100, 15000), "tt": (100, 15000), "rc": (0, 5)}
_POLICIES = frozenset({"4xx", "5xx", "ct", "rt", "all"})


def overrides(url: str) -> Overrides:
    """Read a URL's fragment; what is out of range or not understood leaves the default (inferred)."""
    given = dict(parse_qsl(urlsplit(url).fragment))
    values = {key: _within(given.get(key, ""), *limits) for key, limits in _RANGES.items()}
    usual = Overrides()
    policy = frozenset(given.get("rp", "").replace(" ", "").split(",")) & _POLICIES
    return Overrides(
        connect=usual.connect if values["ct"] is None else values["ct"] / 1000,
        read=usual.read if values["rt"] is None else values["rt"] / 1000,
        total=usual.total if values["tt"] is None else values["tt"] / 1000,
        retries=usual.retries if values["rc"] is None else values["rc"],
        policy=policy or usual.policy,
    )


def _within(text: str, low: int, high: int) -> int | None:
    if not (text.isascii() and text.isdigit()) or len(text) > 6:
        return None
    return int(text) if low <= int(text) <= high else None


class LoopbackResolver(AbstractResolver):
    """Knows localhost and nothing else, so that no name leaves this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the loopback addresses for localhost; raise OSError for any other name."""
        if not is_loopback(host):
            raise OSError(f"{host} is not loopback")
        known = [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for address, kind in known
            if family in (kind, socket.AF_UNSPEC)
        ]

    async def close(self) -> None:
        """Nothing to close."""


class Web:
    """Makes requests by aiohttp."""

    def __init__(
        self,
        *,
        auth_token: str,
        allow_remote: bool,
        records: Records | None = None,
        jars: CookieJars | None = None,
    ) -> None:
        self._auth_token = auth_token
        self._allow_remote = allow_remote
        self._records = records or Records()
        self._jars = jars
        resolver = None if allow_remote else LoopbackResolver()
        connector = aiohttp.TCPConnector(limit=0, resolver=resolver, keepalive_timeout=5.0)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        self._callback_turns = asyncio.Semaphore(CALLBACKS_AT_ONCE)
        self._document_turns = asyncio.Semaphore(DOCUMENTS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets = WebSockets(self._begin, self._socket_answered, resolver)
        self._is_closed = False

    def send(self, request: OutgoingRequest, on_reply: Callable[[Reply], None]) -> Cancel:
        """Make a request in a task of its own; once cancelled, `on_reply` is not called. After the end none is made."""
        if self._is_closed:  # a timer of a call that was dropped
            return lambda: None
        return self._begin(self._deliver(request, on_reply, self._records.moment())).cancel

    def connect(self, request: SocketRequest, events: SocketEvents) -> Socket:
        """Open a WebSocket, whose handshake is signed for its `wss` URL."""
        url = without_query(_escaped(request.url))
        parts = urlsplit(url)
        headers = {"User-Agent": "Twilio.TmeWs/1.0", "X-Twilio-Signature": sign(self._auth_token, url, {})}
        if parts.username is not None:
            headers["Authorization"] = _basic(parts.username, parts.password or "")
        refusal = "the simulator ends" if self._is_closed else self._refusal(url, schemes=("wss",))
        return self._sockets.open(
            replace(request, url=url), events, headers, refusal=refusal, insecure=is_loopback(parts.hostname or "")
        )

    async def settled(self) -> None:
        """Wait until no request is under way and none has been begun by what came of one.

        What was sent to applications by WebSocket has been read by them by then.
        """
        while self._tasks or not self._sockets.is_settled:
            if self._tasks:
                await asyncio.wait(tuple(self._tasks))
            else:
                await self._sockets.settle()
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Give up what is under way and close the connections."""
        self._is_closed = True
        await cancel_until_done(self._tasks)
        await self._sockets.close()
        await self._session.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _socket_answered(self, request: SocketRequest, reply: Reply) -> None:
        url = without_user_and_fragment(request.url)
        when = self._records.moment()
        self._records.sent(Sent("GET", url, request.call, "stream", reply, "stream", when=when))

    async def _deliver(self, request: OutgoingRequest, on_reply: Callable[[Reply], None], when: Moment) -> None:
        async with self._document_turns if request.awaited else self._callback_turns:
            began = time.monotonic()
            reply = await self._request(request)
        milliseconds = round((time.monotonic() - began) * 1000)
        on_reply(reply)
        self._records.sent(Sent.of(request, reply, when, milliseconds=milliseconds))

    async def _request(self, request: OutgoingRequest) -> Reply:
        attempts = 0
        reply = Reply(None, error="not sent")
        try:
            limits = overrides(request.url)
            async with asyncio.timeout(limits.total):  # includes the retries (CONN)
                while attempts <= limits.retries:
                    attempts += 1
                    reply, failure = await self._try(request, limits)
                    if not failure or not limits.repeats(failure):
                        break
        except TimeoutError:
            reply = Reply(None, error=f"no reply within {limits.total:g} s")
        except ValueError:  # what was given, or redirected to, can't even be parsed
            reply = Reply(None, error="not a URL")  # Python's words hold it with user and password
        return replace(reply, attempts=attempts)

    async def _try(self, request: OutgoingRequest, limits: Overrides) -> tuple[Reply, str]:
        """Make one attempt, following redirects; return the reply and the kind of failure."""
        url, method, form = wire_url(request), request.method, dict(request.params)
        for _ in range(MAX_HOPS):
            refusal = self._refusal(url)
            if refusal:
                return Reply(None, error=refusal), ""
            try:
                reply, location = await self._send_once(request, url, method, form, limits)
            except aiohttp.ServerTimeoutError as error:
                # aiohttp has a class for each of the two time limits
                kind = "ct" if isinstance(error, aiohttp.ConnectionTimeoutError) else "rt"
                return Reply(None, error=str(error) or "timed out"), kind
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                return Reply(None, error=f"connection failed: {_reason(error)}"), "ct"
            except ValueError:  # InvalidURL and UnicodeError are such
                return Reply(None, error="not a URL"), ""
            except aiohttp.ClientError as error:
                return Reply(None, error=f"request failed: {error}"), ""
            if not location:
                return reply, _failure(reply.status or 0)
            url = _escaped(urljoin(url, location))
            if reply.status not in REPEATED_AS_IT_WAS:
                method, form = "GET", {}
        return Reply(None, error=f"redirected more than {MAX_HOPS} times"), ""

    def _refusal(self, url: str, schemes: tuple[str, ...] = ("http", "https")) -> str:
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            return "not a URL"
        if parts.scheme not in schemes or not host:
            return f"not an {' or '.join(schemes)} URL"
        if self._allow_remote or is_loopback(host):
            return ""
        return f"{host} is not on this machine, and the simulator was not allowed to contact others (--allow-remote)"

    async def _send_once(
        self, request: OutgoingRequest, url: str, method: str, form: dict[str, str], limits: Overrides
    ) -> tuple[Reply, str]:
        body = form if method == "POST" else {}
        headers = {
            "User-Agent": "TwilioProxy/1.1",
            "Accept": "*/*",
            "Accept-Encoding": "gzip",
            "I-Twilio-Idempotency-Token": request.token,
            "X-Twilio-Signature": sign(self._auth_token, url, body),
            "X-Home-Region": "us1",
        }
        parts = urlsplit(url)
        if parts.username is not None:
            headers["Authorization"] = _basic(parts.username, parts.password or "")
        jars = self._jars if request.pair else None
        if jars is not None and (cookies := jars.header(request.pair, url)):
            headers["Cookie"] = cookies
        data = None
        if method == "POST":
            data = urlencode(body).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect, sock_read=limits.read)
        async with self._session.request(
            method,
            URL(without_user_and_fragment(url), encoded=True),
            data=data,
            headers=headers,
            allow_redirects=False,
            timeout=timeout,
        ) as response:
            if jars is not None:
                jars.keep(request.pair, url, response.headers.getall("Set-Cookie", ()))
            if response.status in REDIRECTED and "Location" in response.headers:
                return Reply(response.status), response.headers["Location"]
            content = await response.content.read(MAX_REPLY_BYTES)
            while len(content) < MAX_REPLY_BYTES:
                more = await response.content.read(MAX_REPLY_BYTES - len(content))
                if not more:
                    break
                content += more
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return Reply(response.status, content, kind), ""


def _basic(user: str, password: str) -> str:
    pair = f"{unquote(user)}:{unquote(password)}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _reason(error: Exception) -> str:
    """Say why a connection failed; aiohttp's own words hold the address once more, and TLS settings."""
    number = error.errno or 0 if isinstance(error, OSError) else 0  # below 0 it is name resolution's own
    return os.strerror(number) if number > 0 else str(error)


def _failure(status: int) -> str:
    if 400 <= status < 500:
        return "4xx"
    return "5xx" if status >= 500 else ""


def sign(token: str, url: str, form: Mapping[str, str]) -> str:
    """Return X-Twilio-Signature, made from its description (SIG) and not by the library that checks it.

    It signs the URL without fragment and user, then each form parameter's name and value, sorted by name.

    For a GET the pairs are already in the URL, and `form` is empty.
    """
    text = without_user_and_fragment(url) + "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()
