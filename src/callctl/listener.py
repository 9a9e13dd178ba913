"""The listener for status callbacks: verify, store, answer 204, and only then pass on.

By default Twilio repeats a callback only when the connection failed (sheet section 5), so an event that is not in the
store when it is answered for is lost. Nothing slow stands before the answer but the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from aiohttp import web

from callctl import __version__
from callctl.errors import StoreError
from callctl.events import TWIML_REQUEST, CallEvent, NotACallEventError
from callctl.intake import Address, BodyRefusedError, Limits, not_allowed, read_form, serve, target_of
from callctl.signatures import Gate

_HEALTH_PATH = "/healthz"
_NOT_FOR_TWIML = "this URL is for status callbacks; it has no TwiML to give\n"


class Store(Protocol):
    """Keeps events."""

    async def append_async(self, event: CallEvent) -> bool:
        """Return once the event is durable: False if it was there before. Raise StoreError if that fails."""


class Listener:
    """One listening address.

    Args: ``public_url`` is the callback URL as Twilio was given it, path included. ``keys`` are the tokens that may
    sign; None takes in everything and marks it unverified. ``other_keys`` only explain refusals. ``on_event`` is told
    of each stored event after its answer, and whether it is new; ``on_trouble``, once per cause, why requests are
    refused or can't be stored. Neither may be slow.

    The counters may be read at any time, the URLs and the port once it has started.

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
        self._keys, self._other_keys, self._account_sid = keys, other_keys, account_sid
        self._world, self._store, self._now, self._limits = world, store, now, limits or Limits()
        self._on_event, self._on_trouble = on_event, on_trouble
        self._health = {"status": "ok", "nonce": nonce, "version": __version__}
        self._gate: Gate | None = None
        self._runner: web.ServerRunner | None = None
        self._store_works = True
        self.accepted = self.duplicates = self.ignored = self.refused = self.failed = 0
        self.last_callback_at: datetime | None = None
        self._is_at(Address(host, port, path, public_url))

    def _is_at(self, address: Address) -> None:
        self._address, self.port, self.url = address, address.port, address.url
        self.callback_url, self.health_url = address.callback_url, address.url + _HEALTH_PATH
        if self._keys is not None:
            self._gate = Gate(
                address.signed_urls, keys=self._keys, other_keys=self._other_keys, account_sid=self._account_sid
            )

    async def start(self) -> None:
        """Listen; raise PortTakenError, or CallctlError if the address can't be bound for another reason."""
        at = self._address
        self._runner, port = await serve(self._answer, host=at.host, port=at.port, limits=self._limits)
        self._is_at(replace(at, port=port))

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = target_of(request).partition("?")[0]
        if path == _HEALTH_PATH:
            return web.json_response(self._health) if request.method == "GET" else not_allowed("GET")
        if not self._address.is_callback(path):
            return web.Response(status=404)
        if request.method not in ("GET", "POST"):
            return not_allowed("GET, POST")
        try:
            return await self._take(request)
        except BodyRefusedError as error:
            response = web.Response(status=error.status)
            response.force_close()
            return response

    async def _take(self, request: web.BaseRequest) -> web.Response:
        pairs, signed = await read_form(request, limits=self._limits)
        received_at = self._now()
        if self._gate is not None and not self._gate.admits(signed):
            self.refused += 1
            text = self._gate.explain_once(signed, host=request.headers.get("Host"), now=received_at)
            if text is not None and self._on_trouble is not None:
                self._on_trouble(text)
            return web.Response(status=403)
        verified = self._gate is not None
        try:
            event = CallEvent.from_form(pairs, received_at=received_at, world=self._world, verified=verified)
        except NotACallEventError:
            self.ignored += 1  # a conference's or a recording's callback, say: in order, but nothing to show
            return web.Response(status=204)
        return await self._keep(event)

    async def _keep(self, event: CallEvent) -> web.Response:
        try:
            is_new = await self._store.append_async(event)
        except StoreError as error:
            self.failed += 1
            if self._store_works and self._on_trouble is not None:
                self._on_trouble(f"{error.message}; callbacks are answered with 500")
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
