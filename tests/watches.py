"""What a test of a watch sets up: an application to forward to, a view that records, a running session."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from events import ACCOUNT
from listeners import TOKEN

from callctl.calls.action import ActionEvent
from callctl.calls.board import Change, Snapshot
from callctl.calls.event import CallEvent
from callctl.calls.watch_trouble import Trouble
from callctl.settings import Settings
from callctl.support.clock import Clock
from callctl.support.server import TcpServer
from callctl.views.view import WatchState
from callctl.watch.follower import Follower
from callctl.watch.options import Ready, WatchOptions
from callctl.watch.registry.record import WatchRecord
from callctl.watch.session import Session

LIMIT = 60.0


@dataclass
class Sent:
    """One request as an application saw it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Application:
    """A web server on a free loopback port: notes what it is sent and answers as the test decides."""

    status: int = 200
    text: str = ""
    content_type: str = "text/plain"
    cookies: tuple[str, ...] = ()
    hold: asyncio.Event | None = None
    answer: Callable[[Sent], Awaitable[str]] | None = None  # instead of the text
    sent: list[Sent] = field(default_factory=list)
    port: int = 0

    async def start(self) -> None:
        self._arrived = asyncio.Event()
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await runner.setup()
        self._server = await TcpServer.open(runner.server, cleanup=runner.cleanup, host="127.0.0.1", port=0)
        self.port = self._server.port

    async def stop(self) -> None:
        if self.hold is not None:
            self.hold.set()
        await self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        sent = Sent(request.method, request.raw_path, list(request.headers.items()), body)
        self.sent.append(sent)
        self._arrived.set()
        if self.hold is not None:
            await self.hold.wait()
        text = self.text if self.answer is None else await self.answer(sent)
        response = web.Response(status=self.status, text=text, content_type=self.content_type)
        for cookie in self.cookies:
            response.headers.add("Set-Cookie", cookie)
        return response

    async def requests(self, number: int) -> list[Sent]:
        """Return what was sent once there is so much."""
        async with asyncio.timeout(LIMIT):
            while len(self.sent) < number:
                self._arrived.clear()
                await self._arrived.wait()
        return self.sent


class RecordingView:
    """A view that remembers what it was given."""

    def __init__(self) -> None:
        self.events: list[CallEvent] = []
        self.notes: list[str] = []
        self.troubles: list[Trouble] = []
        self.resolved: list[Trouble] = []
        self.header: WatchState | None = None
        self.snapshot: Snapshot | None = None
        self.began: Snapshot | None = None
        self._news = asyncio.Event()

    def begin(self, snapshot: Snapshot) -> None:
        self.began = snapshot

    def event(self, event: CallEvent, change: Change | None) -> None:
        if change is not None:
            self.events.append(event)

    def action(self, action: ActionEvent) -> None:
        self.notes.append(action.outcome)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def trouble(self, trouble: Trouble) -> None:
        (self.resolved if trouble.is_over else self.troubles).append(trouble)
        self.notes.append(trouble)

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        self.snapshot, self.header = snapshot, header
        self._news.set()

    def is_stale(self) -> bool:
        return False

    def close(self) -> None:
        self._news.set()

    async def until(self, condition: Callable[[RecordingView], bool]) -> None:
        """Return once what was given fulfils a condition."""
        try:
            async with asyncio.timeout(LIMIT):
                while not condition(self):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise AssertionError(f"never reported; so far {self.notes} {self.header}") from error

    async def until_noted(self, text: str) -> str:
        """Return the first line that holds a text, once there is one."""
        await self.until(lambda view: any(text in note for note in view.notes))
        return next(note for note in self.notes if text in note)


@dataclass
class RunningWatch:
    """A session that runs, and what it shows."""

    session: Session
    ready: Ready
    view: RecordingView
    settings: Settings


def settings_in(folder: Path, *, api_url: str = "http://127.0.0.1:9") -> Settings:
    return Settings(
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        api_url=api_url,
        state_dir=folder / "callctl",
        store=folder / "callctl" / "events.db",
    )


@asynccontextmanager
async def running_watch(
    settings: Settings, options: WatchOptions, rules: Any = None, **more: Any
) -> AsyncIterator[RunningWatch]:
    """Run a session in this event loop, with options of its own; ``rules`` stand in for the runner of rules."""
    more.setdefault("clock", Clock(wall=lambda: datetime.now(UTC)))
    if rules is not None:
        more["make_rules"] = lambda _store: rules
    session, view = Session(settings, options, **more), RecordingView()
    task: asyncio.Task[None] | None = None
    try:
        ready = await session.start_up()
        task = asyncio.create_task(session.run(view))
        yield RunningWatch(session, ready, view, settings)
    finally:
        session.stop()
        if task is not None:
            await task
        await session.shut_down()


@asynccontextmanager
async def running_follower(
    settings: Settings, options: WatchOptions, record: WatchRecord, *, now: Callable[[], datetime] | None = None
) -> AsyncIterator[RecordingView]:
    """Follow the watch of a record in this event loop; yield what is shown."""
    follower, view = Follower(settings, options, record, clock=Clock(wall=now or ago)), RecordingView()
    await follower.start_up()
    running = asyncio.create_task(follower.run(view))
    try:
        yield view
    finally:
        follower.stop()
        await running
        await follower.shut_down()


def ago(**parts: float) -> datetime:
    return datetime.now(UTC) - timedelta(**parts)


async def until(condition: Callable[[], bool]) -> None:
    """Return once a condition holds that sets no event."""
    async with asyncio.timeout(LIMIT):
        for _ in iter(condition, True):
            await asyncio.sleep(0.01)


class Suspension:
    """A machine that is suspended now and then: elapsed time goes on meanwhile, and the event loop's does not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real, self._slept = time.clock_gettime, 0.0
        monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + self._slept)

    async def of(self, seconds: float, *, done: Callable[[], bool]) -> None:
        """Be suspended for so long, repeatedly until a condition holds: a pause may begin just afterwards."""
        async with asyncio.timeout(LIMIT):
            while not done():
                self._slept += seconds
                for _ in range(130):
                    if done():
                        break
                    await asyncio.sleep(0.01)


def tunnel_program(folder: Path, text: str) -> str:
    """Write a Python program that a watch takes for its tunnel; return the command for ``--tunnel``."""
    path = folder / "tunnel.py"
    path.write_text(f"import sys, time\n{text}\n")
    return f"{sys.executable} -u {path} {{port}}"
