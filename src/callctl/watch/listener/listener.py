"""The listener for status callbacks: verify, store, answer 204, and only then pass on.

By default Twilio repeats a callback only when the connection failed (docs/twilio.md, "Delivery"), so an event that is
not in the store when it is answered for is lost. Nothing slow stands before the answer but the store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from aiohttp import web

from callctl import __version__
from callctl.calls.event import FEATURES, TWIML_REQUEST, CallEvent, NotACallEventError
from callctl.calls.trouble import Cause, Trouble
from callctl.errors import StoreError
from callctl.support.server import TcpServer
from callctl.support.threads import AfterTurn, describe
from callctl.watch.listener.address import Address, gates
from callctl.watch.listener.received import Behind, NothingBehind, Received
from callctl.watch.listener.server import BodyRefusedError, Limits, not_allowed, path_of, receive, serve
from callctl.watch.listener.signature import SIGNATURE_HEADERS, Asked, Gate

_HEALTH_PATH = "/healthz"
# So many paths at most are told of to which signed requests came in vain: whoever captured one can choose more.
_PATHS_TOLD = 8
# So many events at most are remembered that were answered with 500: Twilio has long stopped sending the first of them.
_MOST_UNTOLD = 8192


class Store(Protocol):
    """Keeps events."""

    async def append_async(self, event: CallEvent) -> bool:
        """Return once the event is durable: False if it was there before. Raise StoreError if that fails."""


class Listener:
    """One listening address.

    Args: ``public_url`` is the callback URL as Twilio was given it, path included. ``keys`` are the tokens that may
    sign; None takes in everything and marks it unverified. ``other_keys`` only explain refusals. ``on_event`` is told
    of each stored event after its answer, and whether it is new; ``on_trouble``, once per cause, why requests are
    refused or can't be stored, and that they are stored again. Neither may be slow.

    The counters may be read at any time, the URLs and the port once it has started; ``features`` counts, by kind, what
    tells no status. ``health`` is what /healthz says, with 503 while the last event could not be stored.

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
        documents: Sequence[str] = (),
        behind: Behind | None = None,
        on_trouble: Callable[[Trouble], None] = lambda _text: None,
        limits: Limits | None = None,
    ) -> None:
        self._keys, self._other_keys, self._account_sid = keys, other_keys, account_sid
        self._world, self._store, self._now, self._limits = world, store, now, limits or Limits()
        self._behind, self._stored, self._on_trouble = behind or NothingBehind(), AfterTurn(on_event), on_trouble
        self.health: dict[str, object] = {"status": "ok", "nonce": nonce, "version": __version__}
        self._server: TcpServer | None = None
        self._store_works = True
        self.accepted = self.duplicates = self.ignored = self.refused = self.failed = self.misdirected = 0
        self._misdirected_to: set[str] = set()
        self._untold: dict[str, None] = {}  # keys of events that were answered with 500, the newest last
        self.features: Counter[str] = Counter()
        self.last_callback_at: datetime | None = None
        self.is_at(Address(host, port, path, public_url, tuple(documents)))

    def is_at(self, address: Address) -> None:
        """Take requests that are signed over an address: that of a tunnel, say, which is known only once it runs."""
        self.address, self.port, self.url = address, address.port, address.url
        self.callback_url, self.health_url = address.callback_url, address.url + _HEALTH_PATH
        self.health["callback_url"] = address.shown_url
        self._places = address.places
        self._gates = gates(address, keys=self._keys, other_keys=self._other_keys, account_sid=self._account_sid)

    async def start(self) -> None:
        """Listen; raise PortTakenError, or CallctlError if the address can't be bound for another reason."""
        at = self.address
        self._server = await serve(self._answer, host=at.host, port=at.port, limits=self._limits)
        self.is_at(replace(at, port=self._server.port))

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = path_of(request)
        if path == _HEALTH_PATH:
            if request.method != "GET":
                return not_allowed("GET")
            return web.json_response(self.health, status=200 if self._store_works else 503)
        place = self._places.get(path.rstrip("/"))  # a trailing slash too many is left to the signature
        if place is None and (request.method not in ("GET", "POST") or not _says_it_is_signed(request)):
            return web.Response(status=404)
        if request.method not in ("GET", "POST"):
            return not_allowed("GET, POST")
        try:
            if place is None:
                return self._lose(path, await receive(request, limits=self._limits))
            return await self._take(place, await receive(request, limits=self._limits))
        except BodyRefusedError as error:
            return error.answer()

    def _lose(self, path: str, received: Received) -> web.Response:
        """Answer what came to a path that is none of ours, and tell of it if Twilio sent it: it is lost."""
        if self._keys and Gate(self.address.urls_at(path), keys=self._keys).admits(received.signed):
            self.misdirected += 1
            path = path[:200]
            self.health["misdirected"] = {"count": self.misdirected, "path": path}
            if path not in self._misdirected_to and len(self._misdirected_to) < _PATHS_TOLD:
                self._misdirected_to.add(path)
                what = (
                    f"signed requests come to {path}, this watch listens at {self.address.path}: they are answered "
                    f"with 404, and what they tell is lost; the URL to give Twilio is {self.address.shown_url}"
                )
                self._on_trouble(Trouble(what, Cause.MISDIRECTED, url=path, status=404))
        return web.Response(status=404)

    async def _take(self, place: str, received: Received) -> web.Response:
        at, gate = self._now(), self._gates.get(place)
        if received.asks_who_is_here:
            return web.json_response(self.health)
        if gate is not None and not gate.admits(received.signed):
            self.refused += 1
            if text := gate.refusals.explain_once(received.signed, asked=Asked.read(received.headers), now=at):
                self._on_trouble(Trouble(text, Cause.REFUSED, url=self.callback_url, status=403))
            return web.Response(status=403)
        if received.is_probe:
            return web.json_response(self.health)
        try:
            event = CallEvent.from_form(
                received.pairs,
                received_at=at,
                world=self._world,
                verified=gate is not None,
                signed=received.signed.covered,
            )
        except NotACallEventError:
            self.ignored += 1  # in order, but nothing to show
            self._behind.passed(received)
            return web.Response(status=204)
        return await self._keep(event, place, received)

    async def _keep(self, event: CallEvent, place: str, received: Received) -> web.Response:
        limit = self._limits.store_seconds
        try:
            async with asyncio.timeout(limit):
                is_new = await self._store.append_async(event)
        except TimeoutError:
            return await self._not_kept(f"the event store takes longer than {limit:g} s", event, place, received)
        except StoreError as error:
            return await self._not_kept(error.message, event, place, received)
        except Exception as error:  # whatever it is, the caller is answered in time and somebody is told
            return await self._not_kept(f"can't keep an event: {describe(error)}", event, place, received)
        self._say_works()
        # The store may have kept it before, though it was answered with 500: then nobody was told of it.
        is_new |= self._untold.pop(event.key, False) is None
        if event.kind in FEATURES:
            self.features[event.kind] += is_new
        else:
            self.accepted += is_new
        self.duplicates += not is_new
        self.last_callback_at = event.received_at
        self._stored.put(event, is_new)  # told of once this task, which goes on to write the answer, has let go
        if event.kind == TWIML_REQUEST or (place != self.address.path and event.kind not in FEATURES):
            return await self._behind.twiml(place, received)
        self._behind.passed(received)
        return web.Response(status=204)

    async def _not_kept(self, why: str, event: CallEvent, place: str, received: Received) -> web.Response:
        self.failed += 1
        self._untold[event.key] = None
        if len(self._untold) > _MOST_UNTOLD:
            del self._untold[next(iter(self._untold))]
        if self._store_works:
            self._on_trouble(Trouble(f"{why}; callbacks are answered with 500", Cause.STORE, status=500))
        self._store_works = False
        self.health["status"] = "failing"  # not why: anybody may ask, and that names files of this machine
        if place == self.address.path or event.kind in FEATURES:
            return web.Response(status=500)
        return await self._behind.twiml(place, received)  # the call goes on, told of or not

    def _say_works(self) -> None:
        if not self._store_works:
            self._store_works = True
            self._on_trouble(Trouble("events are stored again", Cause.STORE, is_over=True))
            self.health["status"] = "ok"


def _says_it_is_signed(request: web.BaseRequest) -> bool:
    return any(name in request.headers for name in SIGNATURE_HEADERS)
