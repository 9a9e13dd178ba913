"""Clients that never finish a request, and more of them than there are files: the running calls go on."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest
from aiohttp import web
from simulator.setup import ANSWERS, BUSY, FROM, SimulatorSetup, simulator_setup

from callctl.simulator import server
from callctl.simulator.rest import requests
from callctl.simulator.rest.resources.survey import Survey

PATIENCE = 30.0
HEADER = b"POST /simulator/survey HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n"
QUESTION = b"GET /simulator/survey HTTP/1.1\r\nHost: a\r\n\r\n"
UNFINISHED = [b"", b"P", b"POST /simulator/survey HTTP/1.1\r\nHos", HEADER]


@asynccontextmanager
async def connected(setup: SimulatorSetup, sent: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """Connect, send something, and stay."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(setup.sim.url.rpartition(":")[2]))
    writer.write(sent)
    await writer.drain()
    try:
        yield reader
    finally:
        writer.close()


@pytest.mark.parametrize("sent", UNFINISHED, ids=range(len(UNFINISHED)))
async def test_a_request_that_is_never_asked_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)
    async with simulator_setup() as setup, connected(setup, sent) as reader:
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""  # it ends
        assert (await setup.place(BUSY))["status"] == "queued"


@pytest.mark.parametrize("encoded", [b"Content-Length: 100\r\n\r\nTo=", b"Transfer-Encoding: chunked\r\n\r\n3\r\nTo="])
async def test_a_body_that_never_ends_is_refused_and_holds_no_place(
    monkeypatch: pytest.MonkeyPatch, encoded: bytes
) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.2)
    async with simulator_setup(concurrency=1) as setup:
        call = await setup.place(ANSWERS)
        await setup.advance(5)
        header = f"POST {setup.account}/Calls.json HTTP/1.1\r\nHost: a\r\n"
        header += f"Authorization: {setup.headers['Authorization']}\r\n"
        async with connected(setup, header.encode() + encoded) as reader:
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b'"code": 20001' in answer
            assert (await setup.fetch(call["sid"]))["status"] == "in-progress"  # 429 where it kept its place


async def test_beyond_the_limit_the_longest_quiet_connections_are_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 4)
    async with simulator_setup() as setup:
        call = await setup.place(ANSWERS)  # over a connection that is kept
        async with connected(setup, b"") as first, connected(setup, b"") as second, connected(setup, b""):
            await setup.fetch(call["sid"])  # which makes it the one that spoke last
            async with connected(setup, b""):
                assert await asyncio.wait_for(first.read(), PATIENCE) == b""
                await setup.fetch(call["sid"])
                async with connected(setup, b""):
                    assert await asyncio.wait_for(second.read(), PATIENCE) == b""
                    assert (await setup.fetch(call["sid"]))["status"] == "queued"


class Slow:
    """In place of the survey: answers every request alike, once ``answered`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requested = asyncio.Semaphore(0)
        self.answered = asyncio.Event()
        self.body = "an answer"

        async def survey(_survey: Survey, _request: web.Request) -> web.Response:
            self.requested.release()
            await self.answered.wait()
            return web.Response(text=self.body)

        monkeypatch.setattr(Survey, "_answer", survey)


async def test_a_connection_that_waits_for_an_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 2)
    slow = Slow(monkeypatch)
    async with simulator_setup() as setup, connected(setup, QUESTION) as longest:
        await asyncio.wait_for(slow.requested.acquire(), PATIENCE)
        async with connected(setup, b"") as idle, connected(setup, QUESTION):
            assert await asyncio.wait_for(idle.read(), PATIENCE) == b""
            await asyncio.wait_for(slow.requested.acquire(), PATIENCE)
            async with connected(setup, b"") as refused:  # now both wait
                assert await asyncio.wait_for(refused.read(), PATIENCE) == b""
            slow.answered.set()
            assert await asyncio.wait_for(longest.readline(), PATIENCE) == b"HTTP/1.1 200 OK\r\n"
            assert (await setup.place(BUSY))["status"] == "queued"  # an answered connection makes room for the next


async def test_a_connection_that_still_sends_a_request_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 1)
    slow = Slow(monkeypatch)
    async with simulator_setup() as setup, connected(setup, HEADER + b"\r\nTo=") as unfinished:
        await asyncio.wait_for(slow.requested.acquire(), PATIENCE)
        async with connected(setup, QUESTION):
            assert await asyncio.wait_for(unfinished.read(), PATIENCE) == b""
            await asyncio.wait_for(slow.requested.acquire(), PATIENCE)  # by the new one
        slow.answered.set()


async def test_a_body_that_goes_on_after_the_answer_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 1)
    slow = Slow(monkeypatch)
    slow.answered.set()
    async with simulator_setup() as setup:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(setup.sim.url.rpartition(":")[2]))
        writer.write(HEADER + b"\r\nTo=")
        await asyncio.wait_for(reader.readuntil(slow.body.encode()), PATIENCE)
        writer.write(b"1" * 97)
        await writer.drain()
        async with connected(setup, QUESTION) as other:
            assert await asyncio.wait_for(other.readline(), PATIENCE) == b"HTTP/1.1 200 OK\r\n"
        writer.close()


async def test_a_connection_that_has_not_taken_all_of_its_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 1)
    slow = Slow(monkeypatch)
    slow.body = "x" * 20_000_000  # more than the system takes for a client that does not read
    slow.answered.set()
    async with simulator_setup() as setup, connected(setup, QUESTION) as slowly:
        await asyncio.wait_for(slowly.readline(), PATIENCE)
        async with connected(setup, b"") as refused:
            assert await asyncio.wait_for(refused.read(), PATIENCE) == b""
        await asyncio.wait_for(slowly.readuntil(b"\r\n\r\n"), PATIENCE)
        assert await asyncio.wait_for(slowly.readexactly(len(slow.body)), PATIENCE) == slow.body.encode()


def test_the_limit_is_what_the_limit_of_files_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, limit in ((8192, 8192 - server.OWN_FILES), (256, 64), (64, 16)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert server.most_connections() == limit


def test_more_connections_than_files_leave_the_calls_alone() -> None:
    """In a process that may have 700 files: 900 idle connections, and the document is fetched, the callback sent."""
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (700, 700))
from callctl.simulator import Simulator
with Simulator(manual_clock=True, seed=1) as sim:
    print(sim.url, flush=True)
    sys.stdin.readline()
    from twilio.rest import Client
    client = Client(sim.account_sid, sim.auth_token)
    client.api.base_url = sim.url
    survey = f"{sim.url}/simulator/survey"
    call = client.calls.create(to="%s", from_="%s", url=survey, status_callback=survey)
    sim.advance(60)
    print(call.fetch().status, [reply.status for each in sim.callbacks for reply in each.replies], flush=True)
    sys.stdin.readline()
""" % (ANSWERS, FROM)  # noqa: UP031 - it has braces of its own
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1100:
        pytest.skip("this process may not open as many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1100), hard))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
    )
    try:
        with ExitStack() as open_ones:
            assert process.stdin is not None and process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            for _ in range(900):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "completed [200]\n"
            _, err = process.communicate("\n", timeout=PATIENCE)
            assert (process.returncode, err) == (0, "")
    finally:
        process.kill()
        process.wait(PATIENCE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /2010-04-01 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http(setup: SimulatorSetup, junk: bytes) -> None:
    sid = await setup.running_call()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(setup.sim.url.rpartition(":")[2]))
    writer.write(junk)
    writer.write_eof()
    with suppress(ConnectionError):
        answer = await asyncio.wait_for(reader.read(), 20)
        assert not answer or b" 4" in answer.split(b"\r\n")[0]
    writer.close()
    await setup.check_goes_on(sid)
