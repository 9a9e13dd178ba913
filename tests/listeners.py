"""What a test of the listener sets up around it: a signature, a store that fails, what it reported, a raw request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import aiohttp
from events import START, form
from twilio.request_validator import RequestValidator

from callctl.calls.event import CallEvent
from callctl.calls.watch_trouble import Trouble
from callctl.errors import StoreError
from callctl.store.sqlite.store import SqliteStore
from callctl.support.server import TcpServer
from callctl.watch.listener.listener import Listener

TOKEN = "12345"
PUBLIC = "https://example.com/status"
VOICE_DOCUMENT = "<Response><Say>What the application answers</Say></Response>"


def sign(url: str, form: Mapping[str, str] | None = None, *, token: str = TOKEN) -> dict[str, str]:
    """Return the header that Twilio would send, by its own library."""
    return {"X-Twilio-Signature": RequestValidator(token).compute_signature(url, dict(form or {}))}


class FailingStore:
    """A store that can't keep anything while ``fails`` is set, and else is the real one."""

    def __init__(self, store: SqliteStore, failure: Exception | None = None) -> None:
        self._store = store
        self._failure = failure or StoreError("can't write to the event store: database or disk is full")
        self.fails = True

    async def append_async(self, event: CallEvent) -> bool:
        if self.fails:
            raise self._failure
        return await self._store.append_async(event)


@dataclass
class Reports:
    """What a listener reported."""

    events: list[tuple[CallEvent, bool]] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    ambiguous: list[tuple[list[str], str | None]] = field(default_factory=list)  # SIDs, and which one sent it
    looks: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, event: CallEvent, is_new: bool) -> None:
        self.events.append((event, is_new))
        self._arrived.set()

    def now(self) -> datetime:
        """Return the time of a clock that advances two seconds a call, so that each refusal is looked into."""
        self.looks += 1
        return START + timedelta(seconds=2 * self.looks)

    async def of(self, number: int) -> list[CallEvent]:
        """Return the events once there are so many; they are reported after their answer."""
        async with asyncio.timeout(10):
            while len(self.events) < number:
                self._arrived.clear()
                await self._arrived.wait()
        return [event for event, _ in self.events]


Start = Callable[..., Awaitable[Listener]]


async def raw(listener: Listener | TcpServer, request: bytes) -> bytes:
    """Send bytes as they are and return all that comes back until the listener hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def post(url: str, fields: dict[str, str], *, signed_url: str = "", **headers: str) -> tuple[int, str]:
    """Send a form signed over this URL, or another; return the status and the text of the answer."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
        http.post(url, data=fields, headers={**sign(signed_url or url, fields), **headers}) as answer,
    ):
        return answer.status, await answer.text()


def twiml_form(call: int) -> dict[str, str]:
    """Return what Twilio sends when it asks for TwiML: no event's marks (docs/twilio.md, "Callback parameters")."""
    fields = form(call, "ringing") | {"ApiVersion": "2010-04-01", "Direction": "inbound"}
    del fields["CallbackSource"]
    return fields
