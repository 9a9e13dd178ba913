"""A server is stopped at the very moment when connections come in: each must be closed."""

import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import Callable, Coroutine

import pytest
from aiohttp import web
from events import ACCOUNT

from callctl.simulator import Simulator
from callctl.support.server import TcpServer

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
