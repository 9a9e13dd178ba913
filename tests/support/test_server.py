"""A server is stopped at the very moment when connections come in: each must be closed. Which of many gives way."""

import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import cast

import pytest
from aiohttp import web
from events import ACCOUNT

from callctl.simulator import Simulator
from callctl.support import server as server_module
from callctl.support.server import OpenConnections, TcpServer

CLIENTS = 5
# After so many turns of the loop it stops: before the connections are accepted, while they are, and after.
TURNS = range(8)


def clients(port: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port)) for _ in range(CLIENTS)]


async def stop_a_server(turns: int) -> list[socket.socket]:
    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response()

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    server = await TcpServer.open(runner.server, cleanup=runner.cleanup, host="127.0.0.1", port=0)
    coming = clients(server.port)
    for _ in range(turns):
        await asyncio.sleep(0)
    await server.close()
    return coming


async def stop_a_simulator(turns: int) -> list[socket.socket]:
    async with Simulator(account_sid=ACCOUNT, port=0) as simulator:
        coming = clients(int(simulator.url.rpartition(":")[2]))
        for _ in range(turns):
            await asyncio.sleep(0)
    return coming


@pytest.mark.parametrize("stop", [stop_a_server, stop_a_simulator])
def test_every_connection_is_closed(
    stop: Callable[[int], Coroutine[None, None, list[socket.socket]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []
    gc.collect()
    monkeypatch.setattr(sys, "unraisablehook", lambda failure: lost.append(str(failure.exc_value)))
    for turns in TURNS:
        for client in asyncio.run(stop(turns)):
            client.settimeout(10)
            with client, contextlib.suppress(ConnectionResetError):  # one that was not even accepted is reset
                assert client.recv(1) == b"", turns
    gc.collect()
    assert lost == []


class Transport:
    """The connection to a client, for which so many bytes wait to be sent."""

    def __init__(self, waiting: int = 0) -> None:
        self.waiting, self.is_aborted = waiting, False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.is_aborted = True


def test_who_reads_no_answer_gives_way_however_often_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has had its time since the first answer that it did not take; one that takes them has it anew."""
    clock = [0.0]
    monkeypatch.setattr(server_module, "monotonic", lambda: clock[-1])
    connections = OpenConnections[str](2, answer_seconds=50.0)
    transports = {name: Transport() for name in ("silent", "slow", "first", "second")}

    def add(name: str) -> bool:
        return connections.add(name, cast(asyncio.Transport, transports[name]))

    assert add("silent")
    assert add("slow")
    for now in (10.0, 30.0, 55.0):
        clock.append(now)
        transports["slow"].waiting = 0
        for name in ("slow", "silent"):
            connections.received(name)
            transports[name].waiting = 150
    assert not add("first")
    assert transports["first"].is_aborted
    clock.append(81.0)
    connections.received("silent")
    assert add("second")
    assert [name for name, transport in transports.items() if transport.is_aborted] == ["silent", "first"]
