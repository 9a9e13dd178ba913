"""A store that another one writes: what ``callctl watch`` shows while ``callctl listen`` or another watch listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from datetime import datetime
from math import ceil
from pathlib import Path
from urllib.parse import urlsplit

from callctl.calls.event import CALLBACK, MISSED, POLLED, CallEvent
from callctl.calls.other_callbacks import FEATURES
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import CallctlError, NoThreadError, StoreAwayError, StoreError, type_and_message
from callctl.rules.clock_skew import EXACT
from callctl.settings import Settings
from callctl.store.event_store import EventStore
from callctl.store.opening import open_file_readonly, open_store
from callctl.support.clock import Clock
from callctl.support.threads import run_in_thread
from callctl.views.view import View, WatchState
from callctl.watch.background_tasks import background_tasks, repeat
from callctl.watch.board_feed import BoardFeed
from callctl.watch.listener.clock_check import ClockOffset
from callctl.watch.options import Ready, WatchOptions
from callctl.watch.registry import registry
from callctl.watch.registry.health import health_of, trouble_of, why_callbacks_may_be_lost
from callctl.watch.registry.process import has_stopped_process, resume_hint, stopped_in_words
from callctl.watch.registry.record import WatchRecord

# Seconds from one read of the store to the next, and from one check of the other watch to the next.
READ_INTERVAL = 0.25
HEALTH_INTERVAL = 2.0
# How many times one that listens must have been due to announce itself in a shared store that was away to be gone.
AWAITED_PERIODS = 2


class Follower:
    """Shows what another watch, or ``callctl listen``, of the same account and API address stores.

    It neither listens nor writes nor acts.
    """

    def __init__(self, settings: Settings, options: WatchOptions, record: WatchRecord, *, clock: Clock) -> None:
        """Prepare; nothing is opened yet. ``record`` is that of the one that listens."""
        self._settings, self._options, self._record = settings, options, record
        self._clock, self._now = clock, clock.wall
        self._clock_offset = ClockOffset(self._clock)
        self._read_up_to: datetime | None = None  # a steady time: all that was stored by then has been read
        self._feed = BoardFeed(header=self.header)
        self._path = self._path_of(record)
        self._reader: EventStore | None = None
        self._view: View | None = None
        self._last_event = 0
        self._callbacks = 0
        self._features: Counter[str] = Counter()
        self._last_at: datetime | None = None
        self._search_trouble: str | None = None
        self._gone: str | None = None  # why nothing new can come
        self._checks_awaited = 0  # until who listens has had time to announce it again in a store that was away
        self._impairment: str | None = None  # why callbacks to the one that listens may be lost, as it says itself
        self._nobody_polls = False
        self._alive_at = clock.wall()  # when the other watch was last there

    @property
    def settings(self) -> Settings:
        """The settings, with the store that is followed."""
        path = self._path
        return self._settings if path is None else replace(self._settings, store=path, store_url=None)

    async def start_up(self) -> Ready:
        """Open the other watch's store; ``run`` reads what it has shown so far.

        Raises:
            StoreError: It can't be read.
        """
        self._path = self._path_of(self._record)
        self._reader = reader = await self._opened(self._path)
        since, self._read_up_to = self._now() - self._options.since, self._clock.now()
        self._last_event = await run_in_thread(lambda: self._feed.load(reader, since=since))
        where = urlsplit(self._record.health_url)
        return Ready(
            host=where.hostname or "",
            port=where.port or 0,
            callback_url=self._record.callback_url,
            health_url=self._record.health_url,
            api_url=self._record.api_url,
            account_sid=self._record.account_sid,
            is_twilio=self._settings.is_twilio,
            follows=self._record.pid,
            follows_service=self._record.is_service,
            machine=self._record.host,
        )

    async def run(self, view: View) -> None:
        """Show events as they are stored until ``stop`` is called."""
        self._view = view
        async with background_tasks(repeat(self._read), repeat(self._check_watch)):
            await self._feed.run(view)

    def stop(self) -> None:
        """Let ``run`` return; may be called more than once."""
        self._feed.stop()

    async def _read(self) -> float:
        """Show the events that were stored since; return the seconds until it is due again."""
        if self._reader is None:
            return READ_INTERVAL
        began = self._clock.now()
        while events := await self._new_events(self._reader):
            # What lay in the store for longer doesn't show how long its callback took.
            is_fresh = self._read_up_to is not None and self._clock.now() - self._read_up_to <= EXACT
            for number, event in events:
                self._last_event = number
                self._show(event, is_fresh=is_fresh)
            await asyncio.sleep(0)
            began = self._clock.now()
        if events is not None:
            self._read_up_to = began
        return READ_INTERVAL

    async def _new_events(self, reader: EventStore) -> list[tuple[int, CallEvent]] | None:
        """Return the events that were stored since; None where they can't be read."""
        if not reader.is_shared:
            return self._events(reader)
        try:
            return await run_in_thread(lambda: self._events(reader))  # which may take a while, or get no answer
        except NoThreadError as error:
            self._feed.note_reading(error.message)
            return None

    def _events(self, reader: EventStore) -> list[tuple[int, CallEvent]] | None:
        try:
            events = reader.after(self._last_event)
        except StoreAwayError:
            return None  # the store says so itself, and it is read when it is there again
        except Exception as error:  # whatever it is, it is reported, and tried again
            self._feed.note_reading(error.message if isinstance(error, StoreError) else type_and_message(error))
            return None
        self._feed.note_reading(None)
        return events

    def _show(self, event: CallEvent, *, is_fresh: bool) -> None:
        """Pass an event on. ``is_fresh``: it was stored just now."""
        if event.kind not in (POLLED, MISSED):
            self._last_at = event.received_at
            if event.kind in FEATURES:
                self._features[event.kind] += 1
            else:
                self._callbacks += 1
        if is_fresh and event.kind == CALLBACK and event.verified and event.timestamp is not None:
            # Who received it may have another clock: here it came a little later.
            self._clock_offset.add_callback(event.call_sid, event.timestamp, received_at=self._now())
        self._feed.event(event)

    async def _check_watch(self) -> float:
        """Report when the one that listens is gone, for then nothing new can come; follow the next one."""
        try:
            record, why = await run_in_thread(self._listening)
            self._checks_awaited = max(0, self._checks_awaited - 1)
            if record is None:
                if not self._checks_awaited:
                    self._report_gone()
            elif record.nonce != self._record.nonce:
                await self._follow(record)
            else:
                self._stay_with(record)
            if record is not None:
                self._report_impairment(why)
            await self._look_who_polls()
            self._report_search_trouble(None)
        except StoreAwayError:  # which is reported where events are read
            self._checks_awaited = ceil(AWAITED_PERIODS * registry.ANNOUNCE_EVERY / HEALTH_INTERVAL)
        except Exception as error:  # whatever it is, it is reported, and tried again
            self._report_search_trouble(error.message if isinstance(error, CallctlError) else type_and_message(error))
        return HEALTH_INTERVAL

    async def _look_who_polls(self) -> None:
        """Find out whether anybody compares with REST, which this does not; note it where nobody does."""
        reader, record = self._reader, self._record
        if reader is None:
            return
        before = self._nobody_polls
        with contextlib.suppress(StoreError):  # reported where its events are read
            self._nobody_polls = await run_in_thread(lambda: registry.nobody_polls(self._settings, reader, record))
        if self._nobody_polls and not before:
            self._feed.note(
                "nothing polls REST: calls that send no callbacks don't show, nor ends whose callbacks are lost; "
                "`callctl listen --poll` does"
            )

    def _listening(self) -> tuple[WatchRecord | None, str | None]:
        """Return the record of the one that listens, and why callbacks to it may be lost, as it says itself."""
        if not self._record.host and (health := health_of(self._record)) is not None:
            return self._record, why_callbacks_may_be_lost(health)
        record = self._next_listening()
        return record, None if record is None else trouble_of(record)

    def _next_listening(self) -> WatchRecord | None:
        """Return the record of another one that may be followed.

        It is at the same port; but a service may be at any when it is started again, and several may store the same.
        """
        records = [record for record in registry.running(self._settings) if self._may_follow(record)]
        if not records and self._reader is not None and self._reader.is_shared:
            elsewhere = registry.announced_in(self._settings, self._reader)
            same = (record for record in elsewhere if record.nonce == self._record.nonce)
            return next(same, None) or next((record for record in elsewhere if self._may_follow(record)), None)
        return min(records, key=lambda record: record.port != self._record.port, default=None)

    @property
    def _noun(self) -> str:
        return "listener" if self._record.is_service else "watch that listens"

    def _may_follow(self, record: WatchRecord) -> bool:
        return record.port == self._record.port or (record.is_service and self._record.is_service)

    def _report_gone(self) -> None:
        if self._gone:
            return
        noun = self._noun
        if not self._record.host and has_stopped_process(self._record):
            self._gone = f"the {noun} is stopped"
            what = f"{stopped_in_words(self._record)}; {resume_hint(self._record)}"
        else:
            self._gone = f"the {noun} is gone"
            hint = f"start `callctl {self._record.command}` again to listen"
            what = f"the {noun} (process {self._record.pid}{_at(self._record)}) is gone; {hint}"
        self._feed.trouble(Trouble(what, Cause.WATCH_GONE, url=self._record.health_url))

    def _stay_with(self, record: WatchRecord) -> None:
        if self._gone:
            what = f"the {self._noun} (process {record.pid}{_at(record)}) is there again"
            self._feed.trouble(Trouble(what, Cause.WATCH_GONE, url=record.health_url, is_over=True))
        self._gone, self._alive_at = None, self._now()

    def _report_impairment(self, why: str | None) -> None:
        """Report why callbacks to the one that listens may be lost, when that is another reason than before."""
        before, self._impairment = self._impairment, why
        if why == before:
            return
        who = f"the {self._noun} (process {self._record.pid}{_at(self._record)})"
        what = f"{who} says: {why or 'callbacks arrive and are stored again'}"
        url = self._record.callback_url
        self._feed.trouble(Trouble(what, Cause.UNREACHABLE, url=url, is_over=why is None))

    async def _follow(self, record: WatchRecord) -> None:
        """Follow another watch, in its store if that is another one.

        Raises:
            StoreError: Its store can't be read.
        """
        path = self._path_of(record)
        if path != self._path:
            await self._feed.is_loaded.wait()  # until then the other store is being read
            await self._read_from(path)
        self._record, self._gone, self._alive_at = record, None, self._now()
        what = f"following process {record.pid} now, which listens {'on' if record.host else 'at'} {record.where}"
        self._feed.trouble(Trouble(what, Cause.WATCH_GONE, url=record.health_url, is_over=True))

    def _path_of(self, record: WatchRecord) -> Path | None:
        """Return the file that the one that listens keeps; None where that is the database of these settings."""
        if record.store:
            return Path(record.store)
        return None if self._settings.store_url else self._settings.store

    async def _opened(self, path: Path | None) -> EventStore:
        if path is not None:
            return await run_in_thread(lambda: open_file_readonly(path, world=self._settings.world))
        on_trouble, on_recovery = self._feed.store_reporter(), self._feed.store_reporter(is_over=True)
        return await run_in_thread(
            lambda: open_store(self._settings, stays_open=True, on_trouble=on_trouble, on_recovery=on_recovery)
        )

    async def _read_from(self, path: Path | None) -> None:
        reader = await self._opened(path)
        try:
            last, missed = await run_in_thread(lambda: self._missed(reader))
        except BaseException:
            reader.close()
            raise
        former, self._reader, self._path, self._last_event = self._reader, reader, path, last
        self._read_up_to = None
        if former is not None:
            former.close()
        for event in missed:
            self._show(event, is_fresh=False)

    def _missed(self, reader: EventStore) -> tuple[int, list[CallEvent]]:
        """Return the last event's id in another store, and what it took in since the one that listened was gone.

        Its actions are passed on from now on.

        Raises:
            StoreError: It can't be read.
        """
        last = reader.last_event_id()
        missed = list(reader.replay(since=self._alive_at, up_to=last))
        self._feed.read_actions_from(reader)
        return last, missed

    def _report_search_trouble(self, text: str | None) -> None:
        if text is not None and text != self._search_trouble:
            self._feed.trouble(Trouble(f"can't look for the {self._noun}: {text}", Cause.WATCH_GONE))
        elif text is None and self._search_trouble is not None:
            what = f"the {self._noun} can be looked for again"
            self._feed.trouble(Trouble(what, Cause.WATCH_GONE, is_over=True))
        self._search_trouble = text

    def note(self, text: str) -> None:
        """Have the view show a line that is no event."""
        self._feed.note(text)

    def header(self) -> WatchState:
        """Return what the first line of the table says now."""
        return WatchState(
            title=f"following process {self._record.pid}",
            listening=self._record.where,
            callback_url=self._record.callback_url,
            api_url=None if self._settings.is_twilio else self._settings.api_url,
            accepted=self._callbacks,
            features=dict(self._features),
            last_callback_at=self._last_at,
            unreachable=self._gone or self._store_in_short() or self._impairment,
            nobody_polls=self._nobody_polls,
            events_read=self._feed.events_read,
            clock_ahead=self._clock_offset.ahead,
            last_action=self._feed.last_action,
        )

    def _store_in_short(self) -> str | None:
        """Return what is wrong with the store, in so few words that the header has room for them."""
        if self._reader is not None and self._reader.away is not None:
            return "the event store is away"
        return None if self._feed.is_readable else "the event store can't be read"

    async def shut_down(self) -> None:
        """Close the view and the store."""
        with contextlib.ExitStack() as stack:
            if self._reader is not None:
                stack.callback(self._reader.close)
            if self._view is not None:
                stack.callback(self._view.close)


def _at(record: WatchRecord) -> str:
    """Say on which machine a process is, where it may be on another one."""
    return f" at {record.host}" if record.host else ""
