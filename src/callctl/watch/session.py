"""One watch: start up, run, shut down. It joins the listener, the store, the board, a view, and background work.

Events go one way: the listener stores them and answers, and only then are they queued here for the board. The view is
given each event and the board as it then is; it draws, and requests nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from callctl import __version__
from callctl.api.calls_api import CallsApi
from callctl.calls.board import Arrival, Snapshot
from callctl.calls.call import rank_of
from callctl.calls.event import CALLBACK, MISSED, CallEvent
from callctl.calls.leg import Leg
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import CallctlError, NoThreadError, PortTakenError, StoreAwayError, StoreError, type_and_message
from callctl.settings import Settings
from callctl.store.event_store import EventStore
from callctl.store.opening import open_for_watch
from callctl.support.clock import Clock
from callctl.support.threads import run_in_thread
from callctl.views.view import View, WatchState
from callctl.watch.ambiguous_callbacks import AmbiguousCallbacks
from callctl.watch.background_tasks import background_tasks, repeat
from callctl.watch.board_feed import BoardFeed
from callctl.watch.forwarding.forwarder import Forwarder
from callctl.watch.leadership import Leadership
from callctl.watch.listener.address import Address
from callctl.watch.listener.clock_check import ClockCheck, ClockOffset
from callctl.watch.listener.listener import Listener, ListenerConfig
from callctl.watch.listener.server import Limits, most_connections
from callctl.watch.listener.twiml_responder import TwimlResponder
from callctl.watch.metrics import Exposition, Figures, exposition
from callctl.watch.monitoring import Monitoring, StoreTest, open_claims
from callctl.watch.options import Ready, WatchAtPortError, WatchOptions
from callctl.watch.poll import Poller, PollLoop, is_news
from callctl.watch.reachability import Reachability
from callctl.watch.registry import registry
from callctl.watch.registry.health import (
    HEALTH_LIMIT,
    STARTING,
    is_starting,
    starting_in_words,
    why_callbacks_may_be_lost,
)
from callctl.watch.registry.process import is_here, process_space, resume_hint, stopped_in_words
from callctl.watch.registry.record import NO, YES, WatchRecord
from callctl.watch.retention import Retention
from callctl.watch.silent_calls import SilentCalls

T = TypeVar("T")

if TYPE_CHECKING:
    from callctl.rules.runner import RuleRunner

# Seconds that a listener at the port may take to answer as a watch: it may be a busy one.
BUSY_LIMIT = 10.0
# Seconds that a listener at the port may take to answer whether it is a watch that is still starting.
STARTING_LIMIT = 3.0
# Seconds to wait for such a watch, and between two tries to listen. A tunnel may take a minute.
PATIENCE = 120.0
TRY_INTERVAL = 0.25
# Seconds from one check of the record for ``place`` to the next.
RECORD_INTERVAL = 5.0
# Seconds from one read of a shared store to the next.
READ_INTERVAL = 0.25
# Seconds from one look for the ends that commands stored in a file to the next.
MISSED_INTERVAL = 1.0
# From one look for others that store in the same file to the next, as long as there are some.
COMPANY_INTERVAL = timedelta(seconds=1)
COMPANY_LASTS = timedelta(seconds=10)  # twice the time from one announcement to the next
_READ_AT_ONCE = 1000  # events
# Seconds from one test of a store that can't be written to the next.
STORE_TEST_INTERVAL = 5.0
# Seconds from one check of the clock to the next, and the least step of it that is reported.
CLOCK_INTERVAL = 1.0
REPORTED_STEP = timedelta(seconds=2)
# Seconds before work that failed is begun again.
RESTART_AFTER = 5.0
# For gc.set_threshold: new objects until the youngest generation is searched, such searches until the middle one is,
# and those until the oldest is. The cycles that a failed request leaves behind are found in the youngest.
_GC_THRESHOLDS = (20_000, 5, 1000)
# Ctrl-C tidies up within a second.
SHUT_DOWN_LIMIT = 0.9
# A shared store gets so many of these seconds, for all that it is still to do.
SHARED_STORE_LIMIT = 0.5
# Seconds for which what is under way may be answered on SIGTERM, by a service or where TwiML is requested from an
# application: as long as an event may take to be stored.
DRAIN_LIMIT = 10.0
# A file has the time of one commit, in which it waits for another program's lock, and at least the rest.
FILE_LIMIT = 5.0
_LEAST_FOR_FILE = 0.3

Work = Callable[[], Coroutine[Any, Any, None]]
MakeRules: TypeAlias = "Callable[[EventStore], RuleRunner]"


class Session:
    """One watch, from start-up to shut-down."""

    def __init__(
        self,
        settings: Settings,
        options: WatchOptions,
        *,
        clock: Clock,
        api: CallsApi | None = None,
        make_rules: MakeRules | None = None,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Prepare; nothing is opened yet.

        ``api`` is queried for calls that send no callbacks, and for why they send none; with None nothing is queried.
        ``make_rules`` makes the runner of rules, which uses the session's store. ``say`` is called with what is waited
        for before there is a view.
        """
        self._settings, self._options, self._clock = settings, options, clock
        self._api = api
        self._clock_check = ClockCheck(whose="Twilio's" if settings.is_twilio else "the API's")
        self._clock_offset = ClockOffset(clock)
        self._api_time: datetime | None = None  # of its latest reply, as far as that was looked at
        address = Address(options.host, options.port, options.path, options.public_url, tuple(options.documents.files))
        config = ListenerConfig.of(settings, address, unverified=options.unverified)
        limits = Limits(stop_seconds=DRAIN_LIMIT) if options.drains else config.limits
        self.listener_config = replace(config, limits=limits)
        self._feed = BoardFeed(header=self.header)
        self._make_rules = make_rules
        self._say = say
        self._forwarder: Forwarder | None = None
        if options.forward_to:
            self._forwarder = Forwarder(
                options.forward_to,
                note=self._feed.note,
                trouble=self._feed.trouble,
                verify=not options.forward_insecure,
                most_asking=max(most_connections(limits) // 2, 1),  # the rest is for callbacks
                now=clock.wall,
            )
        self._ambiguous: AmbiguousCallbacks | None = None
        if self._api is not None:
            self._ambiguous = AmbiguousCallbacks(
                self._api,
                snapshot=self._feed.board.snapshot,
                store=self._store_event,
                world=settings.world,
                clock=self._clock,
            )
        self._starting: asyncio.Task[object] | None = None
        self._store: EventStore | None = None
        self._last_event = 0  # as far as the store was read
        self._read_at = clock.now()  # when nothing more was in it
        # Whether others listen, too, and store in the same file, and when that was seen last. It is taken for so until
        # the first look, and for a while after the last: in a file that was put there they have yet to say so.
        self._has_company = True
        self._company_at: datetime | None = None
        self._own_ends: set[str] = set()  # keys of the ends that were found here and not read back yet
        self._listener: Listener | None = None
        self._reachability: Reachability | None = None
        self._retention: Retention | None = None
        self._work: dict[str, Work] = {}  # background work, by what it does
        self._record_failure: str | None = None
        self._written: WatchRecord | None = None  # the record as it was written last
        self._has_moved = asyncio.Event()  # so that it is to be written again
        self._view: View | None = None
        self._monitoring: Monitoring | None = None
        self._monitoring_url: str | None = None
        self._store_test: StoreTest | None = None
        self._store_is_back = asyncio.Event()

    async def start_up(self) -> Ready:
        """Open the store, listen, make it reachable for Twilio, write the record for ``place``.

        The store's events are loaded by ``run``: they may be many, and callbacks are stored meanwhile.

        Raises:
            WatchAtPortError: A watch that can be followed holds the port. One that is still starting is waited for.
            CallctlError: The store can't be opened, the port is taken, the tunnel does not come up.
        """
        self._starting = asyncio.current_task()
        try:
            return await self._start_up()
        finally:
            self._starting = None

    async def _start_up(self) -> Ready:
        await self._check_for_watch()  # before the store is opened: what follows a watch writes nothing
        self._store = open_for_watch(
            self._settings,
            on_trouble=self._feed.store_reporter(),
            on_recovery=self._on_store_recovery(),
        )
        if not self._store.is_shared:  # before it listens: `--keep-days 0` of another one is to delete nothing then
            await self._announce(self._store)
        if self._make_rules is not None:
            self._feed.rules = self._make_rules(self._store)
        since, self._read_at = self._clock.wall() - self._options.since, self._clock.now()
        self._last_event = await self._once_mended(self._store, lambda store: self._feed.load(store, since=since))
        listener = self._make_listener(self._store)
        await self._listen(listener)
        self._listener = listener
        await self._start_monitoring(self._store, listener)
        if self._forwarder is not None:
            # With 0 days nothing is kept beyond the run.
            self._forwarder.start(self._store if self._options.keep_days else None)
        self._reachability = self._make_reachability(listener)
        await self._reachability.open()
        ready = self._ready(listener, self._reachability)
        await self._register(self._record(ready))
        del listener.health[STARTING]  # not before: where it is gone, the record is there
        self._retention = self._make_retention(self._store)
        self._work = self._make_work(self._store, listener, self._reachability, self._retention)
        return ready

    async def _once_mended(self, store: EventStore, read: Callable[[EventStore], T]) -> T:
        """Read a store; where a file is damaged, have it repaired, which may take minutes, and read it anew.

        Raises:
            StoreError: It can't be read, and is no file that could be repaired.
        """
        while True:
            try:
                return read(store)
            except StoreError:
                if store.is_shared or not await run_in_thread(store.mend):
                    raise

    def _on_store_recovery(self) -> Callable[[str], None]:
        loop, say = asyncio.get_running_loop(), self._feed.store_reporter(is_over=True)

        def report(text: str) -> None:
            say(text)
            with contextlib.suppress(RuntimeError):  # the loop is closed: the watch has ended
                loop.call_soon_threadsafe(self._store_is_back.set)  # so that it is tested whether it can be written

        return report

    async def _listen(self, listener: Listener) -> None:
        """Listen; while another watch of this world is still starting at the port, wait for it to be there or gone."""
        listener.health[STARTING] = self._settings.world
        elapsed = asyncio.get_running_loop().time
        end, is_waiting, has_gone = elapsed() + PATIENCE, False, False
        while True:
            try:
                return await listener.start()
            except PortTakenError:
                # In this order: it writes its record before it says that it has started.
                is_starting = await self._is_starting(listener.health_url)
                await self._check_for_watch(patience=BUSY_LIMIT)
                if not is_starting and (has_gone or not is_waiting):
                    self._check_for_stopped_watch()
                    await self._check_for_announced_watch()
                    raise
                if not is_starting:  # that for which this waited may just have let go of the port
                    has_gone = True
                    continue
                has_gone = False
                if self._options.acts or elapsed() >= end:
                    raise PortTakenError(
                        f"the port {self._options.port} is taken: {starting_in_words(self._options.port)}",
                        hint="wait until that one listens or stop it, or start another with --port",
                    ) from None
            if not is_waiting:
                self._say(f"callctl: {starting_in_words(self._options.port)}; waiting to follow it")
                is_waiting = True
            await asyncio.sleep(TRY_INTERVAL)

    async def _is_starting(self, health_url: str) -> bool:
        world = self._settings.world
        return await run_in_thread(lambda: is_starting(health_url, world, timeout=STARTING_LIMIT))

    def _check_for_stopped_watch(self) -> None:
        stopped = registry.stopped(self._settings)
        if stopped is not None and stopped.port == self._options.port:
            raise PortTakenError(
                f"the port {self._options.port} is taken: {stopped_in_words(stopped)}",
                hint=resume_hint(stopped),
            ) from None

    async def _check_for_watch(self, *, patience: float = HEALTH_LIMIT) -> None:
        # In a thread: Ctrl-C does not wait for a watch that is slow to answer.
        port, running = self._options.port, registry.running(self._settings, timeout=patience)
        record = await run_in_thread(lambda: next((record for record in running if record.port == port), None))
        if record is not None:
            raise WatchAtPortError(record, port=port)

    async def _check_for_announced_watch(self) -> None:
        """Look for another user's watch on this machine, which says in the shared store that it is at the port."""
        port, others = self._options.port, []
        with contextlib.suppress(CallctlError):  # that the port is taken is known
            others = await run_in_thread(partial(registry.announced, self._settings))
        record = next((record for record in others if is_here(record) and record.port == port), None)
        if record is not None:
            raise WatchAtPortError(record, port=port)

    def _make_listener(self, store: EventStore) -> Listener:
        return Listener(
            self.listener_config,
            append=store.append_async,
            now=self._clock.wall,
            on_event=self._on_callback,
            on_trouble=self._feed.trouble,
            on_ambiguous=self._on_ambiguous,
            forwarder=self._forwarder,
            responder=TwimlResponder(self._options.documents, forwarder=self._forwarder, trouble=self._feed.trouble),
        )

    async def _start_monitoring(self, store: EventStore, listener: Listener) -> None:
        """Serve health checks and metrics at a port of its own, where one is set.

        Raises:
            CallctlError: The port is taken, or the address can't be bound.
        """
        if self._options.monitoring is None:
            return
        test, counts = StoreTest(store.check_writable, now=self._clock.wall), listener.counts

        def observe(seconds: float, events: int) -> None:
            counts.commit(seconds, events)
            test.committed()

        store.observe_commits(observe)
        self._store_test = test
        self._monitoring = Monitoring(
            self._options.monitoring,
            is_listening=lambda: listener.is_listening,
            store_test=test,
            metrics=lambda accept: self._metrics(store, listener, accept),
        )
        self._monitoring_url = await self._monitoring.start()
        stored_at = await self._last_stored_at(store)
        test.last_commit_at = test.last_commit_at or stored_at  # one that came meanwhile is newer

    async def _last_stored_at(self, store: EventStore) -> datetime | None:
        """Return when the last event came that was in the store at the start; None if there is none, or in doubt."""
        last = self._last_event
        with contextlib.suppress(StoreError, NoThreadError):
            newest = await run_in_thread(lambda: store.after(last - 1, limit=1))
            return newest[0][1].received_at if newest else None
        return None

    async def _metrics(self, store: EventStore, listener: Listener, accept: str) -> Exposition | None:
        claims = await open_claims(store.open_claims)
        figures = Figures(
            counts=listener.counts,
            duplicates=listener.duplicates,
            ignored=listener.ignored,
            live_legs=self._feed.board.snapshot().live,
            open_claims=claims,
            is_reachable=self._reachability is None or self._reachability.unreachable is None,
            last_commit_at=None if self._store_test is None else self._store_test.last_commit_at,
            forwarded=None if self._forwarder is None else self._forwarder.counts,
            forward_waiting=0 if self._forwarder is None else self._forwarder.waiting,
        )
        return exposition(figures, accept=accept)

    def _make_reachability(self, listener: Listener) -> Reachability:
        return Reachability(
            self._options,
            listener,
            api_is_local=self._settings.is_loopback,
            trouble=self._feed.trouble,
            moved=self._has_moved.set,
            others=self._others,
        )

    def _others(self) -> Collection[str]:
        """Return the nonces of others that store the same and may answer at this callback URL: a proxy chooses."""
        if self._listener is None or self._reachability is None:
            return ()
        record = self._record(self._ready(self._listener, self._reachability))
        return registry.others(self._settings, record)()

    def _make_retention(self, store: EventStore) -> Retention:
        return Retention(
            store,
            self._feed.board,
            days=self._options.keep_days,
            since=self._options.since,
            trouble=self._feed.trouble,
            clock=self._clock,
            twilio_time=self._twilio_time,
            others=lambda: registry.keepers(store, other_than=self.listener_config.nonce),
            note=self._feed.note,
        )

    def _twilio_time(self) -> datetime | None:
        """Return the later of the times that the last callback and the last reply of REST had; None before any."""
        times = (self._feed.last_timestamp, None if self._api is None else self._api.server_time)
        return max(filter(None, times), default=None)

    def _make_work(
        self, store: EventStore, listener: Listener, reachability: Reachability, retention: Retention
    ) -> dict[str, Work]:
        work: dict[str, Work] = {
            "looking at the clock": lambda: repeat(self._look_at_clock),
            "keeping the record": lambda: repeat(self._keep_record, wait=partial(_until, self._has_moved)),
            "looking after the tunnel": reachability.watch_tunnel,
            "the self-test": reachability.keep_testing,
            "testing the store": lambda: repeat(
                partial(self._test_store, store, listener), wait=partial(_until, self._store_is_back)
            ),
            "telling others that this one listens": lambda: repeat(partial(self._announce, store)),
        }
        if store.is_shared:
            work["reading what others store"] = lambda: repeat(partial(self._read_shared, store))
        # These compare with the board, so they begin when it is loaded.
        on_board: dict[str, Work] = {"deleting what is old": retention.run}
        if not store.is_shared:
            on_board["reading what others store"] = lambda: repeat(partial(self._read_others, store))
        if self._api is not None:
            poll_loop = PollLoop(
                Poller(self._api, world=self._settings.world, clock=self._clock),
                unreachable=lambda: reachability.unreachable,
                snapshot=self._feed.board.snapshot,
                is_pending=self._feed.is_pending,
                store=self._store_event,
                trouble=self._feed.trouble,
                clock=self._clock,
            )
            silent_calls = SilentCalls(
                store,
                self._api,
                callback_url=lambda: listener.callback_url,
                unreachable=lambda: reachability.unreachable,
                snapshot=self._feed.board.snapshot,
                store=self._store_event,
                world=self._settings.world,
                trouble=self._feed.trouble,
                clock=self._clock,
            )
            self._feed.on_end = poll_loop.expect_end
            polling: dict[str, Work] = {
                "comparing with REST": poll_loop.run,
                "looking for silent calls": silent_calls.run,
            }
            if store.is_shared:  # of those that may poll REST one does
                leadership = Leadership(store, self.listener_config.nonce)
                work["electing who polls REST"] = lambda: repeat(leadership.renew)
                polling = {what: partial(leadership.run, run) for what, run in polling.items()}
            on_board |= polling
        if self._ambiguous is not None:
            on_board["querying REST about ambiguous callbacks"] = self._ambiguous.run
        return work | {what: partial(self._once_loaded, run) for what, run in on_board.items()}

    async def _once_loaded(self, run: Work) -> None:
        await self._feed.is_loaded.wait()
        await run()

    async def _read_shared(self, store: EventStore) -> float:
        """Put on the board what was stored since, here or by others; return the seconds until it is due again."""
        try:
            await self._read_on(store)
        except StoreAwayError:  # reported by the store itself, and it is read when it is there again
            return READ_INTERVAL
        except StoreError as error:
            self._feed.note_reading(error.message)
            return READ_INTERVAL
        self._feed.note_reading(None)
        return READ_INTERVAL

    async def _read_others(self, store: EventStore) -> float:
        """Put on the board what others stored in a file; return the seconds until it is due again.

        As long as nobody else listens and stores there, that is the ends that commands and keys found in REST.
        """
        with contextlib.suppress(StoreError, NoThreadError):  # what can't be read now is read the next time
            began = self._clock.now()
            is_sure = self._company_at is not None and began - self._company_at < COMPANY_INTERVAL
            if self._has_company and is_sure:
                await self._read_on(store)
                return READ_INTERVAL
            newest, missed, has_others = await run_in_thread(
                partial(self._look_for_others, store, is_alone=not self._has_company)
            )
            if has_others:
                self._company_at = began
            if self._has_company or has_others:
                await self._read_on(store)
                self._has_company = self._company_at is not None and began - self._company_at <= COMPANY_LASTS
                return READ_INTERVAL
            self._last_event = newest
            arrival, self._read_at = Arrival(self._read_at, self._clock.now()), began
            for event in missed:
                leg = self._feed.board.snapshot().leg(event.call_sid)
                if event.key not in self._own_ends and leg is not None and leg.is_live:
                    self._feed.event(event, arrival)
                self._own_ends.discard(event.key)
        return MISSED_INTERVAL

    def _look_for_others(self, store: EventStore, *, is_alone: bool) -> tuple[int, list[CallEvent], bool]:
        """Return, if it is alone, the id of the newest event and the ends stored since; and whether others listen.

        Raises:
            StoreError: It can't be read.
        """
        newest, missed = store.missed_after(self._last_event) if is_alone else (0, [])
        # Looked at in this order: who listens announces that before the first event is stored.
        return newest, missed, registry.has_others(store, other_than=self.listener_config.nonce)

    async def _read_on(self, store: EventStore) -> None:
        """Put on the board what was stored after what was read last, and is not there yet.

        Raises:
            StoreError: It can't be read.
        """
        is_more = True
        while is_more:
            began = self._clock.now()
            events = await run_in_thread(partial(store.after, self._last_event, limit=_READ_AT_ONCE))
            arrival = Arrival(self._read_at, self._clock.now())
            for number, event in events:
                self._last_event = number
                # In a file there is what this one stored too, and has put on its board.
                if store.is_shared or not self._feed.has(event):
                    self._feed.event(event, arrival)
                self._own_ends.discard(event.key)
            is_more = len(events) == _READ_AT_ONCE
            if not is_more:
                self._read_at = began
            await asyncio.sleep(0)  # callbacks are answered meanwhile

    async def _announce(self, store: EventStore) -> float:
        """Say in the store that this one keeps events there, and where it listens; return the seconds until it is due.

        Of a file others only have to know the former, and to write there is left to callbacks.
        """
        record = self._record(None)
        if store.is_shared and self._listener is not None and self._reachability is not None:
            trouble = why_callbacks_may_be_lost(self._listener.health) or ""
            record = replace(self._record(self._ready(self._listener, self._reachability)), trouble=trouble)
        try:
            await run_in_thread(partial(registry.announce, store, record))
        except StoreError:  # reported by a shared store itself; in a file that can't be written nothing new is kept
            return registry.ANNOUNCE_RETRY if store.is_shared else registry.ANNOUNCE_EVERY
        return registry.ANNOUNCE_EVERY

    async def _withdraw(self, store: EventStore) -> None:
        with contextlib.suppress(StoreError):
            await run_in_thread(partial(store.withdraw, self.listener_config.nonce))

    async def _store_event(self, event: CallEvent) -> None:
        if self._store is None:
            raise RuntimeError("the session has not started")
        if not (self._store.is_shared or event.shows_callback):
            leg = self._feed.board.snapshot().leg(event.call_sid)  # here: the board is not for several threads
            known = await run_in_thread(partial(self._stored_by_others, self._store, event, leg))
            if known is not None:
                for stored in known:
                    if not self._feed.has(stored):
                        self._feed.event(stored, Arrival(None, self._clock.now()))
                return
        if event.kind == MISSED:
            self._own_ends.add(event.key)
        # Whether it is new to the store says nothing: another watch may have put it there, or a failed write.
        await self._store.append_async(event)
        self._show_own(self._store, event)

    def _stored_by_others(self, store: EventStore, event: CallEvent, leg: Leg | None) -> list[CallEvent] | None:
        """Return what a file has of a call that the board lacks; None where REST's word on the call is news to both.

        ``leg`` is what the board has. Another listener that stores in the same file may have taken in the call's
        callbacks, which say more.

        Raises:
            StoreError: It can't be read.
        """
        row = store.call(event.call_sid)
        if row is None or rank_of(row.status) < event.rank:
            return None
        own = (stored for stored in store.family(event.call_sid) if stored.call_sid == event.call_sid)
        return [stored for stored in own if is_news(stored.status, leg)]

    def _on_callback(self, event: CallEvent, is_new: bool) -> None:
        if event.kind == CALLBACK and event.verified and event.timestamp is not None:
            self._check_clock(event.call_sid, event.timestamp, now=event.received_at)
            if is_new:  # one that is sent once more may be as old as one likes
                self._clock_offset.add_callback(event.call_sid, event.timestamp, received_at=event.received_at)
        if is_new and self._store is not None:
            self._show_own(self._store, event)
        self._feed.wake()

    def _show_own(self, store: EventStore, event: CallEvent) -> None:
        """Put on the board what this one stored.

        What is in a shared store is read there, with what others put into it: each event once, in one order. Where
        others store in a file as well, it may have been read there before its commit was reported here.
        """
        if not (store.is_shared or self._feed.has(event)):
            self._feed.event(event)

    def _on_ambiguous(self, call_sids: Sequence[str], sender: str | None) -> None:
        if self._ambiguous is not None:
            self._ambiguous.add(call_sids, sender=sender)

    def _ready(self, listener: Listener, reachability: Reachability) -> Ready:
        return Ready(
            host=self._options.host,
            port=listener.port,
            callback_url=listener.callback_url,
            health_url=listener.health_url,
            api_url=self._settings.api_url,
            account_sid=self._settings.account_sid or "",
            is_twilio=self._settings.is_twilio,
            is_reachable=reachability.is_reachable,
            documents={name: listener.address.document_url(name) for name in self._options.documents.files},
            monitoring_url=self._monitoring_url,
        )

    async def _register(self, record: WatchRecord) -> None:
        await run_in_thread(partial(registry.write_record, self._settings, record))
        self._written = record

    async def _look_at_clock(self) -> float:
        """Report steps of this machine's clock, and compare it with a reply of the API that has just come."""
        for step in self._clock.new_steps():
            self._clock_check.restart()
            if abs(step) >= REPORTED_STEP:
                self._feed.trouble(Trouble(step_in_words(step), Cause.CLOCK))
        time = None if self._api is None else self._api.server_time
        if time is not None and time != self._api_time:
            self._check_clock("", time, now=self._clock.wall())
            self._clock_offset.add_reply(time)
        self._api_time = time
        return CLOCK_INTERVAL

    def _check_clock(self, sender: str, sent_at: datetime, *, now: datetime) -> None:
        if (text := self._clock_check.add(sender, sent_at, now=now)) is not None:
            self._feed.trouble(Trouble(text, Cause.CLOCK))

    async def _test_store(self, store: EventStore, listener: Listener) -> float:
        """Find out whether events can be stored again where they could not: maybe no callback comes to show it."""
        if not listener.store_works:
            try:
                await run_in_thread(store.check_writable)
            except StoreError:
                listener.store_tested(passed=False)
            else:
                listener.store_tested(passed=True)
        return STORE_TEST_INTERVAL

    async def _keep_record(self) -> float:
        """Write the record for ``place`` again where it is another one now, or is gone, as with the state folder.

        In threads: that folder may be on a disk that does not answer, while callbacks are kept elsewhere.
        """
        if self._listener is None or self._reachability is None:
            return RECORD_INTERVAL
        record = self._record(self._ready(self._listener, self._reachability))
        with contextlib.suppress(NoThreadError):  # what can't be done now is done the next time
            has_record = await run_in_thread(partial(registry.has_record, self._settings, record.nonce))
            is_lost = not has_record or self._record_failure is not None
            if (is_lost or record != self._written) and await self._write_record(record) and is_lost:
                what = "the record by which `place` finds this watch was gone, and is written again"
                self._feed.trouble(Trouble(what, Cause.RECORD, is_over=True))
            await run_in_thread(partial(registry.renew_record, self._settings, record.nonce))
        return RECORD_INTERVAL

    async def _write_record(self, record: WatchRecord) -> bool:
        """Write the record; report why if that fails, once."""
        try:
            await self._register(record)
        except NoThreadError:
            raise
        except CallctlError as error:
            if error.message != self._record_failure:
                self._record_failure = error.message
                self._feed.trouble(Trouble(f"`place` does not find this watch: {error.message}", Cause.RECORD))
            return False
        self._record_failure = None
        return True

    async def _remove_record(self) -> None:
        with contextlib.suppress(NoThreadError):  # it stays: that nobody answers there is found out
            await run_in_thread(partial(registry.remove_record, self._settings, self.listener_config.nonce))

    def _record(self, ready: Ready | None) -> WatchRecord:
        """Return the record of this one; while it starts it is nowhere."""
        return WatchRecord(
            callback_url="" if ready is None else ready.callback_url,
            health_url="" if ready is None else ready.health_url,
            account_sid=self._settings.account_sid or "",
            api_url=self._settings.api_url,
            pid=os.getpid(),
            nonce=self.listener_config.nonce,
            version=__version__,
            # Of a database only the settings know how to get there: a URL may hold a password.
            store="" if self._settings.store_url else str(self._settings.store.absolute()),
            command="listen" if self._options.is_service else "watch",
            processes=process_space(),
            polls=NO if self._api is None else YES,
            forwards=YES if self._options.forward_to else NO,
            verifies=NO if self._options.unverified else YES,
            keep_days=str(self._options.keep_days),
        )

    async def run(self, view: View) -> None:
        """Show the store's events, and new ones as they come, until ``stop`` is called.

        Raises:
            StoreError: The store can't be read.
        """
        self._view = view
        self._api_time = None if self._api is None else self._api.server_time  # it may be some minutes old
        work = (keep_running(run, what=what, trouble=self._feed.trouble) for what, run in self._work.items())
        async with background_tasks(*work):
            await self._feed.run(view)

    def stop(self) -> None:
        """Let ``run`` return, or give up starting; may be called more than once."""
        if self._starting is not None:
            self._starting.cancel()
        self._feed.stop()

    def header(self) -> WatchState:
        """Return what the first line of the table says now."""
        listener, reachability, rules = self._listener, self._reachability, self._feed.rules
        if listener is None or reachability is None:
            raise RuntimeError("the session has not started")
        return WatchState(
            title=self._options.title,
            listening=f"{self._options.host}:{listener.port}",
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
            round_trip=reachability.round_trip,
            unreachable=self._store_away() or reachability.unreachable,
            unverified=self._options.unverified,
            rules_stopped=rules is not None and rules.is_stopped,
            rules=None if rules is None else rules.in_words,
            events_read=self._feed.events_read,
            clock_ahead=self._clock_offset.ahead,
            last_action=self._feed.last_action,
        )

    def _store_away(self) -> str | None:
        if self._store is not None and self._store.away is not None:
            return "the event store is away"
        return None if self._feed.is_readable else "the event store can't be read"

    def note(self, text: str) -> None:
        """Have the view show a line that is no event."""
        self._feed.note(text)

    def snapshot(self) -> Snapshot:
        """Return the board as it is now."""
        return self._feed.board.snapshot()

    @property
    def drains(self) -> bool:
        """Whether SIGTERM lets what is under way be answered."""
        return self._options.drains

    async def shut_down(self, *, limit: float = SHUT_DOWN_LIMIT) -> None:
        """Remove the record, stop listening, close the view and the store; each step even if one before fails.

        What is under way may be answered for ``limit`` seconds at most; for half a second where no TwiML is requested
        from an application. What is beyond the usual limit is also for what waits to be forwarded. A shared store may
        hang: all requests to it have a part of the usual limit. Another program may have locked a file: it is waited
        for as long as one commit may take.
        """
        store, time_left = self._store, TimeLeft(SHARED_STORE_LIMIT)
        (file_time_left := TimeLeft(min(limit, FILE_LIMIT)))()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._say_what_became_of_the_store)
            if self._view is not None:
                stack.callback(self._view.close)  # last: it may wait for a terminal that nobody reads
            if store is not None:
                stack.callback(
                    lambda: store.close(
                        timeout=time_left() if store.is_shared else max(file_time_left(), _LEAST_FOR_FILE)
                    )
                )
            if self._monitoring is not None:
                stack.push_async_callback(_in_time, self._monitoring.stop)
            if self._retention is not None:
                stack.callback(self._retention.end)
            if self._view is not None:
                stack.push_async_callback(self._show_last_events, self._view, time_left)
            if self._forwarder is not None:
                stack.push_async_callback(self._forwarder.stop, limit - SHUT_DOWN_LIMIT)
            if self._reachability is not None:
                stack.push_async_callback(_in_time, self._reachability.close)
            if store is not None:
                stack.push_async_callback(
                    lambda: _in_time(
                        partial(self._withdraw, store), time_left() if store.is_shared else SHUT_DOWN_LIMIT
                    )
                )
            if self._listener is not None:
                stack.push_async_callback(_in_time, self._listener.stop, limit)
            stack.push_async_callback(_in_time, self._remove_record)

    async def _say_what_became_of_the_store(self) -> None:
        """Say what no view could show: a repair in a start that failed then, or when the store was closed."""
        await asyncio.sleep(0)  # what a thread reported comes with the next turn
        for trouble in self._feed.take_troubles():
            if trouble.cause is Cause.STORE:
                self._say(f"callctl: {trouble}")

    async def _show_last_events(self, view: View, time_left: Callable[[], float]) -> None:
        """Show what was acknowledged while the listener stopped: programs that read the view find it nowhere else."""
        await asyncio.sleep(0)  # what was answered in this turn is passed on in the next
        if self._store is not None and self._store.is_shared:
            await _in_time(partial(self._read_shared, self._store), time_left())
        await self._feed.finish(view, limit=time_left())


class TimeLeft:
    """How much is left of some seconds, which begin with the first call."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end: float | None = None

    def __call__(self) -> float:
        """Return the seconds that are left; 0 from the end on."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._seconds
        return max(0.0, self._end - now)


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until an event is set; clear it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()


async def _in_time(step: Callable[[], Awaitable[object]], limit: float = SHUT_DOWN_LIMIT) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            await step()


async def keep_running(run: Work, *, what: str, trouble: Callable[[Trouble], None]) -> None:
    """Run some work until it is done; an unexpected error is reported, each one once, and it is run again later."""
    reported: set[str] = set()
    while True:
        try:
            return await run()
        except Exception as error:
            if (why := type_and_message(error)) not in reported:
                reported.add(why)
                trouble(Trouble(f"{what} failed, and is begun anew: {why}", Cause.INTERNAL))
        await asyncio.sleep(RESTART_AFTER)


def step_in_words(step: timedelta) -> str:
    """Say by how much this machine's clock was set, and what that means."""
    seconds = step.total_seconds()
    return (
        f"this machine's clock was set {'forward' if seconds > 0 else 'back'} by {abs(seconds):.0f} s; "
        "waits, ages in the table and rules count elapsed time, which that does not change"
    )


def prepare_to_serve() -> None:
    """Have the interpreter answer callbacks soon, whatever else it does: for a process that listens or draws.

    It searches for reference cycles once, leaves what is there now out of later searches, and searches all seldom. A
    full search looks at every object: with ten thousand legs it stops the program, and every answer to Twilio, for a
    tenth of a second and longer, and busy callbacks set it off again and again. It finds nothing there: legs, families
    and events refer to each other in one direction only, and go as soon as they are no longer needed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
