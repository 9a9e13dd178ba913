"""The listener for status callbacks: verify, store, answer 204, and only then pass on.

By default Twilio repeats a callback only when the connection failed (sheet section 5), so an event that is not in the
store when it is answered for is lost. Nothing slow stands before the answer but the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import web

from callctl import __version__
from callctl.addresses import is_loopback_host
from callctl.errors import SettingsError, StoreError
from callctl.events import TWIML_REQUEST, CallEvent, NotACallEventError
from callctl.intake import BodyRefusedError, Limits, read_form, serve, target_of
from callctl.signatures import Refusals, Verifier

_HEALTH_PATH = "/healthz"
_NOT_FOR_TWIML = "this URL is for status callbacks; it has no TwiML to give\n"
_ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


class Store(Protocol):
    """Keeps events. The future is settled when the event is durable, with False if it was there before."""

    def submit(self, event: CallEvent) -> Future[bool]:
        """Keep an event; the future raises StoreError if that fails."""


class Listener:
    """One listening address. Its counters may be read at any time.

    ``public_url`` is the callback URL as Twilio was given it, path included. ``keys`` are the tokens that may sign;
    None takes in everything and marks it unverified. ``other_keys`` only explain refusals. ``on_event`` is told of
    each stored event after its answer, and whether it is new; ``on_trouble``, once per cause, why requests are
    refused or can't be stored. Neither may be slow.

    Raises:
        SettingsError: ``keys`` is empty.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        path: str = "/status",
        public_url: str | None,
        keys: Sequence[str] | None,
        world: str,
        store: Store,
        on_event: Callable[[CallEvent, bool], None],
        nonce: str,
        now: Callable[[], datetime],
        account_sid: str | None = None,
        other_keys: Sequence[str] = (),
        on_trouble: Callable[[str], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        if keys is not None and not keys:
            raise SettingsError(
                "nothing to verify callbacks with: an API key can place calls, but does not sign callbacks",
                hint="set TWILIO_AUTH_TOKEN beside it, or CALLCTL_SIGNING_TOKEN",
            )
        self._host, self.port, self._path, self._public_url = host, port, path, public_url
        self._paths = {path.rstrip("/"), urlsplit(public_url or path).path.rstrip("/")}
        self._keys, self._other_keys, self._account_sid = keys, other_keys, account_sid
        self._world, self._store, self._now = world, store, now
        self._on_event, self._on_trouble = on_event, on_trouble
        self._limits = limits or Limits()
        self._health = {"status": "ok", "nonce": nonce, "version": __version__}
        self._verifier: Verifier | None = None
        self._refusals: Refusals | None = None
        self._runner: web.ServerRunner | None = None
        self._store_works = True
        self.accepted = self.duplicates = self.ignored = self.failed = 0
        self.last_callback_at: datetime | None = None

    @property
    def url(self) -> str:
        """The address on this machine, without a path."""
        host = _ANY_ADDRESS.get(self._host, self._host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def callback_url(self) -> str:
        """What to give Twilio: the public URL, or the local one where there is none."""
        return self._public_url or self.url + self._path

    @property
    def health_url(self) -> str:
        """Where this watch says that it is there."""
        return self.url + _HEALTH_PATH

    @property
    def refused(self) -> int:
        """How many requests had no or a wrong signature."""
        return self._refusals.total if self._refusals else 0

    async def start(self) -> None:
        """Listen.

        Raises:
            PortTakenError: Another process listens there.
            CallctlError: The address can't be bound.
        """
        self._runner, self.port = await serve(self._answer, host=self._host, port=self.port, limits=self._limits)
        if self._keys is not None:
            self._verifier = Verifier(self._signed_urls(), keys=self._keys, other_keys=self._other_keys)
            self._refusals = Refusals(self._verifier, account_sid=self._account_sid)

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _signed_urls(self) -> list[str]:
        local = [self.url, *([f"http://localhost:{self.port}"] if is_loopback_host(self._host) else [])]
        return [*filter(None, [self._public_url]), *(url + self._path for url in local)]

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = target_of(request).partition("?")[0]
        if path == _HEALTH_PATH:
            return web.json_response(self._health) if request.method == "GET" else _not_allowed("GET")
        if path.rstrip("/") not in self._paths:
            return web.Response(status=404)
        if request.method not in ("GET", "POST"):
            return _not_allowed("GET, POST")
        try:
            return await self._take(request)
        except BodyRefusedError as error:
            response = web.Response(status=error.status)
            response.force_close()
            return response

    async def _take(self, request: web.BaseRequest) -> web.Response:
        pairs, signed = await read_form(request, limits=self._limits)
        received_at = self._now()
        verified = self._verifier is not None and self._verifier.is_signed(signed)
        if self._keys is not None and not verified:
            if self._refusals is not None:
                self._trouble(self._refusals.add(signed, host=request.headers.get("Host"), now=received_at))
            return web.Response(status=403)
        try:
            event = CallEvent.from_form(pairs, received_at=received_at, world=self._world, verified=verified)
        except NotACallEventError:
            self.ignored += 1  # a conference's or a recording's callback, say: in order, but nothing to show
            return web.Response(status=204)
        return await self._keep(event)

    async def _keep(self, event: CallEvent) -> web.Response:
        try:
            is_new = await asyncio.wrap_future(self._store.submit(event))
        except StoreError as error:
            self.failed += 1
            self._trouble(f"{error.message}; callbacks are answered with 500" if self._store_works else None)
            self._store_works = False
            return web.Response(status=500)
        self._store_works = True
        self.accepted += is_new
        self.duplicates += not is_new
        self.last_callback_at = event.received_at
        # Called once this task, which goes on to write the answer, has let go.
        asyncio.get_running_loop().call_soon(self._on_event, event, is_new)
        if event.kind == TWIML_REQUEST:
            return web.Response(status=404, text=_NOT_FOR_TWIML)
        return web.Response(status=204)

    def _trouble(self, text: str | None) -> None:
        if text is not None and self._on_trouble is not None:
            self._on_trouble(text)


def _not_allowed(methods: str) -> web.Response:
    return web.Response(status=405, headers={"Allow": methods})
