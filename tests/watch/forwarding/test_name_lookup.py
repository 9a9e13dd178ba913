"""Names are looked up where nothing waits for them at the end."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from multidict import CIMultiDict
from watches import LIMIT
from watches import Application as Web

from callctl.errors import NoThreadError
from callctl.support.threads import run_in_thread
from callctl.watch import selftest
from callctl.watch.forwarding import name_lookup
from callctl.watch.forwarding.application import Answer, Application
from callctl.watch.forwarding.name_lookup import NameLookup


async def send(url: str = "http://app.example.net/status") -> Answer:
    application = Application(url)
    application.open()
    try:
        return await application.send("POST", application.url, headers=CIMultiDict(), body=b"")
    finally:
        await application.close()


async def ask() -> None:
    await selftest._ask("http://app.example.net/status", "GET", limit=LIMIT)


@pytest.mark.parametrize("work", [send, ask])
def test_the_end_does_not_wait_for_a_name_server(
    work: Callable[[], Coroutine[Any, Any, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def never(*_args: object, **_more: object) -> list[object]:
        asked.set()
        answered.wait(LIMIT / 4)  # or a loop that waits for it would never end
        answered.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)

    async def interrupted() -> None:
        task = asyncio.create_task(work())
        assert await run_in_thread(lambda: asked.wait(LIMIT))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    assert not answered.is_set()
    answered.set()


async def test_a_name_is_looked_up_as_the_system_does(application: Web) -> None:
    assert (await send(f"http://localhost:{application.port}/")).status == 200
    found = await NameLookup().resolve("localhost", 80, socket.AF_UNSPEC)
    assert ("localhost", "127.0.0.1", 80) in [(one["hostname"], one["host"], one["port"]) for one in found]


async def test_why_a_name_has_no_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_more: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert (await send()).failure == "can't connect (Name or service not known)"


async def test_a_system_without_threads_looks_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_work: object) -> None:
        raise NoThreadError

    monkeypatch.setattr(name_lookup, "run_in_thread", fail)
    assert "can't connect" in ((await send()).failure or "")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (("192.0.2.1", 80), "192.0.2.1"),
        (("fe80::1", 80, 0, 3), "fe80::1%3"),
        (("fe80::1%3", 80, 0, 3), "fe80::1%3"),
        (("2001:db8::1", 80, 0, 0), "2001:db8::1"),
    ],
)
def test_the_scope_of_a_link_local_address_is_kept(address: tuple[object, ...], host: str) -> None:
    assert name_lookup._numeric(address) == host
