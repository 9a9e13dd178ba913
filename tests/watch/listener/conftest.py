from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from events import ACCOUNT, WORLD
from listeners import PUBLIC, TOKEN, VOICE_DOCUMENT, FailingStore, Reports, Start
from watches import Application

from callctl.store.sqlite.store import SqliteStore
from callctl.watch.forwarding.forwarder import Forwarder
from callctl.watch.listener.address import Address
from callctl.watch.listener.listener import Listener, ListenerConfig
from callctl.watch.listener.server import Limits
from callctl.watch.listener.twiml_responder import Documents, TwimlResponder


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD, busy_timeout=0.05)
    yield store
    store.close()


@pytest.fixture
async def start(store: SqliteStore, reports: Reports) -> AsyncIterator[Start]:
    """Start listeners on free ports, and stop them in the end."""
    started: list[Listener] = []

    async def start(
        *,
        public_url: str | None = PUBLIC,
        keys: tuple[str, ...] | None = (TOKEN,),
        other_keys: tuple[str, ...] = (),
        kept_by: SqliteStore | FailingStore = store,
        port: int = 0,
        limits: Limits | None = None,
        documents: tuple[str, ...] = (),
        responder: TwimlResponder | None = None,
        forwarder: Forwarder | None = None,
    ) -> Listener:
        config = ListenerConfig(
            address=Address("127.0.0.1", port, "/status", public_url, documents),
            keys=keys,
            other_keys=other_keys,
            world=WORLD,
            nonce="a-nonce",
            account_sid=ACCOUNT,
            limits=limits or Limits(),
        )
        listener = Listener(
            config,
            append=kept_by.append_async,
            on_event=reports.take,
            on_trouble=reports.troubles.append,
            on_ambiguous=lambda call_sids, sender: reports.ambiguous.append((list(call_sids), sender)),
            now=reports.now,
            responder=responder,
            forwarder=forwarder,
        )
        await listener.start()
        started.append(listener)
        return listener

    yield start
    for listener in started:
        await listener.stop()


@pytest.fixture
async def voice(application: Application, reports: Reports) -> AsyncIterator[TwimlResponder]:
    """Answer requests for TwiML with what the application answers."""
    application.text, application.content_type = VOICE_DOCUMENT, "text/xml"
    forwarder = Forwarder((application.url,), note=lambda _note: None, trouble=reports.troubles.append)
    forwarder.start()
    yield TwimlResponder(Documents(), forwarder=forwarder, trouble=reports.troubles.append)
    await forwarder.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session
