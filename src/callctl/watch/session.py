"""One watch: start up, run, shut down. It joins the listener, the store, the board and a view.

Events go one way: the listener stores them and answers, and only then are they queued here for the board. The view
is told of each event and of the board as it then is; it draws, and asks nobody for anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from callctl import __version__
from callctl.api.protocol import CallsApi
from callctl.calls.board import Snapshot
from callctl.calls.event import CallEvent
from callctl.calls.trouble import Cause, Trouble
from callctl.errors import CallctlError, PortTakenError
from callctl.settings import Settings
from callctl.store.sqlite.store import EventStore
from callctl.support.clock import Clock
from callctl.support.threads import background_tasks, run_in_thread
from callctl.views.view import View, WatchState
from callctl.watch import registry
from callctl.watch.board_feed import Picture, Rules
from callctl.watch.listener.address import Address
from callctl.watch.listener.forward import Forwarder
from callctl.watch.listener.listener import Listener, ListenerConfig
from callctl.watch.listener.twiml_responder import TwimlResponder
from callctl.watch.plan import Plan, PortHeldError, Ready
from callctl.watch.reachability import Reach
from callctl.watch.upkeep import Upkeep, kept_going

# How long whoever holds the port may take to say that it is a watch: it may be a busy one.
HOLDER_LIMIT = 10.0
# How long whoever holds the port may take to say whether it is a watch that is still starting.
STARTING_LIMIT = 3.0
# How long to wait for such a watch, and between two looks at it. A tunnel may take a minute.
PATIENCE = 120.0
LOOK_INTERVAL = 0.25
# Seconds between two looks whether the record for ``place`` is still there.
RECORD_INTERVAL = 5.0
# Ctrl-C tidies up within a second.
SHUT_DOWN_LIMIT = 0.9


class Session:
    """One watch, from start-up to shut-down."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        *,
        clock: Clock,
        api: CallsApi | None = None,
        rules: Rules | None = None,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Prepare; nothing is opened yet.

        ``api`` is asked for calls that send no callbacks, and why one that should is silent; None asks nobody.
        ``rules`` act on what the board shows. ``say`` is told what is waited for before there is a view.
        """
        self._settings, self._plan, self._clock = settings, plan, clock
        self._api = api
        address = Address(plan.host, plan.port, plan.path, plan.public_url, tuple(plan.documents.files))
        self._listener_config = ListenerConfig.of(settings, address, unverified=plan.unverified)
        self.nonce = self._listener_config.nonce
        self._picture = Picture(header=self.header, rules=rules)
        self._rules = rules
        self._say = say
        self._forwarder: Forwarder | None = None
        if plan.forward_to is not None:
            self._forwarder = Forwarder(
                plan.forward_to,
                note=self._picture.note,
                trouble=self._picture.trouble,
                verify=not plan.forward_insecure,
            )
        self._starting: asyncio.Task[object] | None = None
        self._store: EventStore | None = None
        self._listener: Listener | None = None
        self._reach: Reach | None = None
        self._upkeep: Upkeep | None = None
        self._record_failure: str | None = None
        self._view: View | None = None

    async def start_up(self) -> Ready:
        """Open the store, listen, open the way from Twilio, leave the record for ``place``.

        What the store knows is read by ``run``: it may be much, and callbacks are taken in meanwhile.

        Raises:
            PortHeldError: The port is held by a watch that can be followed. One that is still starting is waited for.
            CallctlError: The store can't be opened, the port is taken, the tunnel does not come up.
        """
        self._starting = asyncio.current_task()
        try:
            return await self._start_up()
        finally:
            self._starting = None

    async def _start_up(self) -> Ready:
        await self._yield_to_holder()  # before the store is opened: who follows writes nothing
        self._store = EventStore.open_for_watch(
            self._settings.store, world=self._settings.world, on_trouble=self._store_trouble_in_any_thread()
        )
        self._picture.know(self._store, since=self._clock.wall() - self._plan.since)
        listener = self._make_listener(self._store)
        await self._listen(listener)
        self._listener = listener
        if self._forwarder is not None:
            self._forwarder.start()
        self._reach = self._make_reach(listener)
        await self._reach.open()
        ready = self._ready(listener, self._reach)
        self._announce(ready)
        del listener.health[registry.STARTING]  # not before: who sees it gone finds the record
        self._upkeep = self._make_upkeep(self._store, listener, self._reach)
        return ready

    def _store_trouble_in_any_thread(self) -> Callable[[str], None]:
        loop = asyncio.get_running_loop()

        def tell(text: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the watch has ended
                loop.call_soon_threadsafe(self._picture.trouble, Trouble(text, Cause.STORE))

        return tell

    async def _listen(self, listener: Listener) -> None:
        """Listen; while another watch of this world is still starting at the port, wait for it to be there or gone."""
        listener.health[registry.STARTING] = self._settings.world
        elapsed = asyncio.get_running_loop().time
        end, is_waiting, has_gone = elapsed() + PATIENCE, False, False
        while True:
            try:
                return await listener.start()
            except PortTakenError:
                # In this order: it writes its record before it says that it has started.
                is_starting = await self._holder_is_starting(listener.health_url)
                await self._yield_to_holder(patience=HOLDER_LIMIT)
                if not is_starting and (has_gone or not is_waiting):
                    self._complain_of_stopped()
                    raise
                if not is_starting:  # that for which this waited may just have let go of the port
                    has_gone = True
                    continue
                has_gone = False
                if self._plan.acts or elapsed() >= end:
                    raise PortTakenError(
                        f"the port {self._plan.port} is taken: {registry.starting_in_words(self._plan.port)}",
                        hint="wait until that one listens or stop it, or start another with --port",
                    ) from None
            if not is_waiting:
                self._say(f"callctl: {registry.starting_in_words(self._plan.port)}; waiting to follow it")
                is_waiting = True
            await asyncio.sleep(LOOK_INTERVAL)

    async def _holder_is_starting(self, health_url: str) -> bool:
        world = self._settings.world
        return await run_in_thread(lambda: registry.is_starting(health_url, world, timeout=STARTING_LIMIT))

    def _complain_of_stopped(self) -> None:
        stopped = registry.stopped(self._settings)
        if stopped is not None and stopped.port == self._plan.port:
            raise PortTakenError(
                f"the port {self._plan.port} is taken: {registry.stopped_in_words(stopped)}",
                hint=registry.how_to_go_on(stopped),
            ) from None

    async def _yield_to_holder(self, *, patience: float = registry.HEALTH_LIMIT) -> None:
        # In a thread: Ctrl-C does not wait for a watch that is slow to answer.
        port, running = self._plan.port, registry.running(self._settings, timeout=patience)
        record = await run_in_thread(lambda: next((one for one in running if one.port == port), None))
        if record is not None:
            raise PortHeldError(record, port=port)

    def _make_listener(self, store: EventStore) -> Listener:
        return Listener(
            self._listener_config,
            append=store.append_async,
            now=self._clock.wall,
            on_event=self._take,
            on_trouble=self._picture.trouble,
            forwarder=self._forwarder,
            responder=TwimlResponder(self._plan.documents, forwarder=self._forwarder, trouble=self._picture.trouble),
        )

    def _make_reach(self, listener: Listener) -> Reach:
        return Reach(
            self._plan,
            listener,
            api_is_local=self._settings.is_loopback,
            trouble=self._picture.trouble,
            moved=self._write_record,
        )

    def _make_upkeep(self, store: EventStore, listener: Listener, reach: Reach) -> Upkeep:
        return Upkeep(
            self._plan,
            world=self._settings.world,
            store=store,
            listener=listener,
            reach=reach,
            picture=self._picture,
            api=self._api,
            clock=self._clock,
        )

    def _take(self, event: CallEvent, is_new: bool) -> None:
        if is_new:
            self._picture.event(event)
        else:
            self._picture.wake()

    def _ready(self, listener: Listener, reach: Reach) -> Ready:
        return Ready(
            host=self._plan.host,
            port=listener.port,
            callback_url=listener.callback_url,
            health_url=listener.health_url,
            api_url=self._settings.api_url,
            account_sid=self._settings.account_sid or "",
            is_twilio=self._settings.is_twilio,
            is_reachable=reach.is_reachable,
            documents={name: listener.address.document_url(name) for name in self._plan.documents.files},
        )

    def _announce(self, ready: Ready) -> None:
        registry.announce(self._settings.state_dir, self._settings.world, self._record(ready))

    async def _keep_record(self) -> None:
        """Write the record for ``place`` again where it is gone, as with the state folder, until cancelled."""
        while True:
            await asyncio.sleep(RECORD_INTERVAL)
            is_there = registry.is_announced(self._settings.state_dir, self._settings.world, self.nonce)
            if not (is_there and self._record_failure is None) and self._write_record():
                what = "the record by which `place` finds this watch was gone, and is written again"
                self._picture.trouble(Trouble(what, Cause.RECORD, is_over=True))

    def _write_record(self) -> bool:
        """Write the record as it is now; tell why if that fails, once."""
        if self._listener is None or self._reach is None:
            return False
        try:
            self._announce(self._ready(self._listener, self._reach))
        except CallctlError as error:
            if error.message != self._record_failure:
                self._record_failure = error.message
                self._picture.trouble(Trouble(f"`place` does not find this watch: {error.message}", Cause.RECORD))
            return False
        self._record_failure = None
        return True

    def _record(self, ready: Ready) -> registry.WatchRecord:
        return registry.WatchRecord(
            callback_url=ready.callback_url,
            health_url=ready.health_url,
            account_sid=ready.account_sid,
            api_url=ready.api_url,
            pid=os.getpid(),
            nonce=self.nonce,
            version=__version__,
            store=str(self._settings.store.absolute()),
        )

    async def run(self, view: View) -> None:
        """Show what the store knows, and events as they come, until ``stop`` is called.

        Raises:
            StoreError: The store can't be read.
        """
        self._view = view
        parts: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        if self._upkeep is not None:
            parts |= {"the watch's upkeep": self._upkeep.run, "looking at the clock": self._upkeep.tell_steps}
            parts["keeping the record"] = self._keep_record
        if self._reach is not None:
            parts |= {"looking after the tunnel": self._reach.watch_tunnel, "the self-test": self._reach.keep_probing}
        trouble = self._picture.trouble
        begun = (kept_going(part, what=what, trouble=trouble) for what, part in parts.items())
        async with background_tasks(*begun):
            await self._picture.run(view)

    def stop(self) -> None:
        """Let ``run`` return, or give up starting; may be called more than once."""
        if self._starting is not None:
            self._starting.cancel()
        self._picture.stop()

    def header(self) -> WatchState:
        """Return what the first line of the table says now."""
        listener, reach = self._listener, self._reach
        if listener is None or reach is None:
            raise RuntimeError("the session has not started")
        return WatchState(
            title=self._plan.title,
            listening=f"{self._plan.host}:{listener.port}",
            callback_url=listener.callback_url,
            api_url=None if self._settings.is_twilio else self._settings.api_url,
            accepted=listener.accepted,
            refused=listener.refused,
            duplicates=listener.duplicates,
            failed=listener.failed,
            ignored=listener.ignored,
            misdirected=listener.misdirected,
            features=dict(listener.features),
            last_callback_at=listener.last_callback_at,
            round_trip=reach.round_trip,
            unreachable=reach.deaf,
            unverified=self._plan.unverified,
            rules_stopped=self._rules is not None and self._rules.is_stopped,
            rules=None if self._rules is None else self._rules.in_words,
            events_read=self._picture.recalled,
        )

    def note(self, text: str) -> None:
        """Have the view tell something that is no event."""
        self._picture.note(text)

    def snapshot(self) -> Snapshot:
        """Return the board as it is now."""
        return self._picture.board.snapshot()

    async def shut_down(self) -> None:
        """Withdraw the record, stop listening, close the view and the store; each step even if one before fails."""
        async with contextlib.AsyncExitStack() as stack:
            if self._store is not None:
                stack.callback(self._store.close)
            if self._upkeep is not None:
                stack.callback(self._upkeep.end)
            if self._view is not None:
                stack.callback(self._view.close)
                stack.push_async_callback(self._show_the_last, self._view)
            if self._forwarder is not None:
                stack.push_async_callback(self._forwarder.stop)
            if self._reach is not None:
                stack.push_async_callback(_in_time, self._reach.close)
            if self._listener is not None:
                stack.push_async_callback(_in_time, self._listener.stop)
                stack.callback(registry.withdraw, self._settings.state_dir, self._settings.world, self.nonce)

    async def _show_the_last(self, view: View) -> None:
        """Show what was acknowledged while the listener stopped: programs that read the view learn it nowhere else."""
        await asyncio.sleep(0)  # what was answered in this turn is handed on in the next
        self._picture.finish(view)


async def _in_time(step: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SHUT_DOWN_LIMIT):
            await step()
