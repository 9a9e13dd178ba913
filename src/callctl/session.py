"""One watch: start up, run, shut down. It joins the listener, the store, the board and a view.

Events go one way: the listener stores them and answers, and only then are they queued here for the board. The view
is told of each event and of the board as it then is; it draws, and asks nobody for anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from callctl import __version__, presence
from callctl.actions import ActionEvent
from callctl.background import in_daemon_thread
from callctl.board import Board, Change, Snapshot
from callctl.errors import CallctlError, PortTakenError, StoreError
from callctl.events import CallEvent
from callctl.listener import Listener
from callctl.poller import Poller, Source
from callctl.settings import Settings
from callctl.store.sqlite import SqliteStore
from callctl.views.header import Header

# Four frames a second at most; one a second while a clock in the picture counts.
SHORTEST_FRAME = 0.25
COUNTING_FRAME = 1.0
# Seconds between two looks at REST: three requests each, and one for each leg that is gone from the lists.
POLL_INTERVAL = 30.0
# Ctrl-C tidies up within a second.
SHUT_DOWN_LIMIT = 0.9


class View(Protocol):
    """What a session shows itself on."""

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Take notice of one event and of what it changed on the board, if anything."""

    def action(self, action: ActionEvent) -> None:
        """Take notice of what a command or a rule asked of a call, and of the answer."""

    def note(self, text: str) -> None:
        """Tell something that is no event."""

    def refresh(self, snapshot: Snapshot, header: Header) -> None:
        """Show the board as it is now."""

    def is_stale(self) -> bool:
        """Tell whether what is shown no longer fits, for example because the terminal has another size."""

    def close(self) -> None:
        """Leave the terminal as it was found."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a watch is asked to do. ``public_url`` is where Twilio reaches it, path included."""

    host: str
    port: int
    path: str = "/status"
    public_url: str | None = None
    title: str = "watch"
    since: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a watch listens, as data."""

    host: str
    port: int
    callback_url: str
    api_url: str
    account_sid: str
    is_twilio: bool

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the ``ready`` record."""
        return {
            "host": self.host,
            "port": self.port,
            "callback_url": self.callback_url,
            "api_url": self.api_url,
            "account_sid": self.account_sid,
        }


class Session:
    """One watch, from start-up to shut-down."""

    def __init__(
        self, settings: Settings, plan: Plan, *, now: Callable[[], datetime], source: Source | None = None
    ) -> None:
        """Prepare; nothing is opened yet. ``source`` is asked for calls that send no callbacks; None asks nobody."""
        self._settings = settings
        self._poller = Poller(source, world=settings.world, now=now) if source else None
        self._plan = plan
        self._now = now
        self._nonce = secrets.token_hex(16)
        self._board = Board()
        self._queue: deque[CallEvent] = deque()
        self._troubles: deque[str] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._store: SqliteStore | None = None
        self._listener: Listener | None = None
        self._view: View | None = None
        self._drawn: Header | None = None
        self._last_action = 0

    async def start_up(self) -> Ready:
        """Open the store and replay what it knows, listen, and leave the record for ``place``.

        Raises:
            CallctlError: The store can't be opened, or the port is taken.
        """
        self._store = SqliteStore(self._settings.store, world=self._settings.world)
        # Before it listens: what came in meanwhile would be told twice, or keep callbacks waiting.
        self._last_action = self._store.reader.last_action_id()
        for event in self._store.replay(since=self._now() - self._plan.since):
            self._board.apply(event)
        self._listener = self._make_listener(self._store)
        await self._listen(self._listener)
        ready = self._ready(self._listener)
        presence.announce(self._settings.state_dir, self._settings.world, self._record(ready, self._listener))
        return ready

    async def _listen(self, listener: Listener) -> None:
        try:
            await listener.start()
        except PortTakenError as error:
            there = (record for record in presence.running(self._settings) if record.port == self._plan.port)
            running = next(there, None)
            if running is None:
                raise
            raise PortTakenError(
                f"the port {self._plan.port} is taken by a watch of the same account (process {running.pid})",
                hint="look at that one, or start another with --port",
            ) from error

    def _make_listener(self, store: SqliteStore) -> Listener:
        return Listener(
            host=self._plan.host,
            port=self._plan.port,
            path=self._plan.path,
            public_url=self._plan.public_url,
            keys=self._settings.signing_keys,
            world=self._settings.world,
            store=store,
            on_event=self._take,
            nonce=self._nonce,
            now=self._now,
            account_sid=self._settings.account_sid,
            on_trouble=self._take_trouble,
        )

    def _take_trouble(self, text: str) -> None:
        self._troubles.append(text)
        self._wake.set()

    def _take(self, event: CallEvent, is_new: bool) -> None:
        if is_new:
            self._queue.append(event)
        self._wake.set()

    def _ready(self, listener: Listener) -> Ready:
        return Ready(
            host=self._plan.host,
            port=listener.port,
            callback_url=listener.callback_url,
            api_url=self._settings.api_url,
            account_sid=self._settings.account_sid or "",
            is_twilio=self._settings.is_twilio,
        )

    def _record(self, ready: Ready, listener: Listener) -> presence.WatchRecord:
        return presence.WatchRecord(
            callback_url=ready.callback_url,
            health_url=listener.health_url,
            account_sid=ready.account_sid,
            api_url=ready.api_url,
            pid=os.getpid(),
            nonce=self._nonce,
            version=__version__,
        )

    async def run(self, view: View) -> None:
        """Show events as they come until ``stop`` is called."""
        self._view = view
        self._draw(view)
        polling = asyncio.create_task(self._poll())
        try:
            while not self._stopping:
                await self._next_frame()
                self._show_news(view)
        finally:
            polling.cancel()
        self._draw(view)

    def stop(self) -> None:
        """Let ``run`` return; may be called more than once."""
        self._stopping = True
        self._wake.set()

    async def _poll(self) -> None:
        """Ask REST now and then for what no callback told, until cancelled. An API that fails is told of once."""
        told: set[str] = set()
        while self._poller is not None:
            try:
                for event in await in_daemon_thread(self._poll_round(self._poller)):
                    await self._keep(event)
                told.clear()
            except CallctlError as error:
                if error.message not in told:
                    told.add(error.message)
                    self._take_trouble(f"can't compare with REST: {error.message}")
            await asyncio.sleep(POLL_INTERVAL)

    def _poll_round(self, poller: Poller) -> Callable[[], list[CallEvent]]:
        snapshot = self._board.snapshot()
        return lambda: list(poller.round(snapshot))

    async def _keep(self, event: CallEvent) -> None:
        if self._store is not None:
            self._take(event, await asyncio.wrap_future(self._store.submit(event)))

    def note(self, text: str) -> None:
        """Have the view tell something that is no event."""
        self._take_trouble(text)

    async def _next_frame(self) -> None:
        """Return when something happened or a second went by, but not before the shortest frame is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COUNTING_FRAME - SHORTEST_FRAME):
                await self._wake.wait()
        if not self._stopping:
            self._wake.clear()
            await asyncio.sleep(SHORTEST_FRAME)

    def _show_news(self, view: View) -> None:
        """Tell the view what came, and have it draw if there is anything new to see."""
        actions = self._new_actions()
        news = bool(self._queue or self._troubles or actions)
        for action in actions:
            view.action(action)
        while self._troubles:
            view.note(self._troubles.popleft())
        while self._queue:
            event = self._queue.popleft()
            view.event(event, self._board.apply(event))
        if news or self._is_aging() or self.header() != self._drawn or view.is_stale():
            self._draw(view)

    def _is_aging(self) -> bool:
        """Whether the picture tells of times that go on: of live legs, or since the last callback."""
        header = self._drawn
        return self._board.snapshot().live > 0 or (header is not None and header.last_callback_at is not None)

    def _new_actions(self) -> list[ActionEvent]:
        """Return what commands have asked of calls since the last look; they write it to the store."""
        if self._store is None:
            return []
        try:
            found = self._store.reader.actions_after(self._last_action)
        except StoreError:
            return []  # told when the next event can't be kept; a watch that can't read goes on listening
        self._last_action = found[-1][0] if found else self._last_action
        return [action for _, action in found]

    def _draw(self, view: View) -> None:
        self._drawn = self.header()
        view.refresh(self._board.snapshot(), self._drawn)

    def header(self) -> Header:
        """Return what the first line of the table says now."""
        listener = self._listener
        if listener is None:
            raise RuntimeError("the session has not started")
        return Header(
            title=self._plan.title,
            listening=f"{self._plan.host}:{listener.port}",
            callback_url=listener.callback_url,
            api_url=None if self._settings.is_twilio else self._settings.api_url,
            accepted=listener.accepted,
            refused=listener.refused,
            duplicates=listener.duplicates,
            failed=listener.failed,
            last_callback_at=listener.last_callback_at,
        )

    def snapshot(self) -> Snapshot:
        """Return the board as it is now."""
        return self._board.snapshot()

    async def shut_down(self) -> None:
        """Withdraw the record, stop listening, close the view and the store; each step even if one before fails."""
        async with contextlib.AsyncExitStack() as stack:
            if self._store is not None:
                stack.callback(self._store.close)
            if self._view is not None:
                stack.callback(self._view.close)
            if self._listener is not None:
                stack.push_async_callback(self._stop_listening, self._listener)
                stack.callback(presence.withdraw, self._settings.state_dir, self._settings.world, self._nonce)

    async def _stop_listening(self, listener: Listener) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHUT_DOWN_LIMIT):
                await listener.stop()
