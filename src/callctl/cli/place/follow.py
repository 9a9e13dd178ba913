"""``place --watch``: the live view of one call and its legs, beside a running watch or with a listener of its own."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from callctl.calls.watch_trouble import Cause, Trouble
from callctl.cli.io.event_loop import run_loop
from callctl.cli.io.results import say_it_may_be_placed
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.io.signals import stop_on_signals
from callctl.cli.options.callback_url import (
    STATUS_PATH,
    find_callback,
    idle_watch,
    look_for_watch,
    why_none,
    with_retries,
    with_status_path,
)
from callctl.cli.options.checks import check_reachable, signing_trouble
from callctl.cli.place.placed import placing_in_threads, remember_placed_in_thread, say_sid_on_failure
from callctl.errors import NoThreadError, StoreError, without_secrets
from callctl.operations.follow import FamilyFollower
from callctl.store.event_store import EventStore
from callctl.store.opening import open_for_watch
from callctl.views.view import WatchState

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.api.requests import PlaceRequest
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change, Snapshot
    from callctl.calls.call import Call
    from callctl.calls.event import CallEvent
    from callctl.settings import Settings
    from callctl.views.view import View
    from callctl.watch.listener.listener import Listener

TITLE = "place"
# Seconds that the store may hold up the end.
WITHDRAW_LIMIT = 0.9


@dataclass(frozen=True, slots=True)
class CallToPlace:
    """A call that is to be placed.

    ``request_to`` returns the request whose callbacks go to a URL; ``status_callback`` is what ``--status-callback``
    says of it, ``dial_action`` what ``--then`` says.
    """

    request_to: Callable[[str | None], PlaceRequest]
    status_callback: str | None
    dial_action: str | None


def place_and_watch(runtime: Runtime, settings: Settings, client: ApiClient, planned: CallToPlace) -> None:
    """Place a call and show it and its legs until all have ended.

    Raises:
        CallctlError: The call could not be placed, or nothing could be set up to watch it.
        KeyboardInterrupt: Ctrl-C; the call goes on.
    """
    call, snapshot = run_loop(runtime, _place_and_watch(runtime, settings, client, planned))
    live = [leg.call_sid for leg in snapshot.legs.values() if not leg.is_final]
    if live:
        runtime.say(f"callctl: the call goes on: `callctl hangup {shlex.quote(call.sid)}` ends it")
        raise KeyboardInterrupt
    legs = [leg for family in snapshot.families for leg in family.legs]
    # A terminal still shows the last frame, with every leg in it.
    ends = [] if runtime.form is Form.TABLE else [f"  {leg.call_sid} {leg.status}" for leg in legs]
    runtime.say("\n".join([f"callctl: {'all have' if len(legs) > 1 else 'it has'} ended", *ends]))


async def _place_and_watch(
    runtime: Runtime, settings: Settings, client: ApiClient, planned: CallToPlace
) -> tuple[Call, Snapshot]:
    from callctl.support.threads import run_in_thread

    loop = asyncio.get_running_loop()

    def report(trouble: Trouble) -> None:
        runtime.say(f"callctl: {trouble}")

    def report_from_thread(text: str) -> None:
        with suppress(RuntimeError):  # the loop is closed: the command has ended
            loop.call_soon_threadsafe(lambda: report(Trouble(text, Cause.STORE)))

    async with AsyncExitStack() as stack:
        store = open_for_watch(settings, on_trouble=report_from_thread)
        stack.enter_context(closing(store))
        target = await _callback_target(runtime, settings, store, stack, status_callback=planned.status_callback)
        request = planned.request_to(target.callback)
        async with placing_in_threads(runtime, settings) as placed:  # callbacks may come to a listener in this process
            try:
                call = await run_in_thread(lambda: client.seen_by(placed.attempt).place(request))
            except (asyncio.CancelledError, KeyboardInterrupt):  # Ctrl-C, or SIGTERM where that is ignored
                if placed.attempt.abandon():
                    say_it_may_be_placed(runtime, request.to)
                raise
        await remember_placed_in_thread(runtime, placed.last, call, request, dial_action=planned.dial_action)
        watch: FamilyFollower | None = None

        def stop() -> None:
            if watch is not None:
                watch.stop()

        with say_sid_on_failure(runtime, call), _open_view(runtime, settings, target, call, stop=stop) as view:
            report = view.trouble
            watch = FamilyFollower(
                call,
                world=settings.world,
                store=store,
                api=client,
                view=view,
                now=runtime.now,
                sleep=asyncio.sleep,
                listens=target.listens,
            )
            with stop_on_signals(watch.stop):
                return call, await watch.run()


@dataclass(frozen=True, slots=True)
class CallbackTarget:
    """Where the call's callbacks go, and how the table's header says it; ``listens``: to this process."""

    callback: str | None
    header: str
    listens: bool = False


async def _callback_target(
    runtime: Runtime, settings: Settings, store: EventStore, stack: AsyncExitStack, *, status_callback: str | None
) -> CallbackTarget:
    """Return where callbacks go: where the user said, to a running watch, to a listener started here, or nowhere."""
    if status_callback is not None:
        return CallbackTarget(find_callback(runtime, settings, status_callback), "polling REST")
    record, is_known = look_for_watch(runtime, settings)
    if record is not None:
        return CallbackTarget(find_callback(runtime, settings, None), f"beside the running {record.noun}")
    idle = idle_watch(settings)
    if missing := _missing_setting(settings):
        why, start = why_none(settings, is_known=is_known)
        hint = missing if idle is None else start
        runtime.say(
            f"callctl: no status callbacks: {why}, and none can be received here; polling REST instead\nhint: {hint}"
        )
        return CallbackTarget(None, "polling REST")
    if idle is not None:
        runtime.say(f"callctl: {idle[0]}\nhint: {idle[1]}")
    listener = _listener(runtime, settings, store)
    if not store.is_shared:  # a database is read by all anyway, and what is announced there may be sent callbacks
        await stack.enter_async_context(_announced(settings, store, nonce=listener.config.nonce))
    stack.push_async_callback(listener.stop)
    await listener.start()
    check_reachable(settings, listener.callback_url, what="CALLCTL_PUBLIC_URL")
    runtime.say(f"callctl: status callbacks go to this command, {without_secrets(listener.callback_url)}")
    return CallbackTarget(with_retries(settings, listener.callback_url), f"127.0.0.1:{listener.port}", listens=True)


def _missing_setting(settings: Settings) -> str | None:
    """Return which settings callbacks would need to be received here; None if none is missing."""
    if not (settings.public_url or settings.is_loopback):
        return "CALLCTL_PUBLIC_URL says where Twilio reaches this machine, TWILIO_AUTH_TOKEN verifies callbacks"
    trouble = signing_trouble(settings)
    return trouble.hint if trouble else None


def _listener(runtime: Runtime, settings: Settings, store: EventStore) -> Listener:
    """Return a listener like a watch's; it has no record for ``place``, for it ends with this call.

    It reports no events: they are read from the store.
    """
    from callctl.watch.listener.address import Address
    from callctl.watch.listener.listener import Listener, ListenerConfig
    from callctl.watch.registry.health import PLACING

    # A tunnel leads to the port that is set; without one, any port will do.
    port = settings.port if settings.public_url else 0
    public_url = with_status_path(settings.public_url) if settings.public_url else None
    config = ListenerConfig.of(settings, Address("127.0.0.1", port, STATUS_PATH, public_url))
    listener = Listener(config, append=store.append_async, now=runtime.now)
    listener.health[PLACING] = settings.world
    return listener


@asynccontextmanager
async def _announced(settings: Settings, store: EventStore, *, nonce: str) -> AsyncIterator[None]:
    """Announce in a file, until the block is left, that events are stored there.

    A watch that starts meanwhile reads them there for its table and its rules, and deletes none of them.
    """
    from callctl import __version__
    from callctl.support.threads import run_in_thread
    from callctl.watch.background_tasks import background_tasks, repeat
    from callctl.watch.registry import registry
    from callctl.watch.registry.record import NO, WatchRecord

    record = WatchRecord(
        callback_url="",
        health_url="",
        account_sid=settings.account_sid or "",
        api_url=settings.api_url,
        pid=os.getpid(),
        nonce=nonce,
        version=__version__,
        store=str(settings.store.absolute()),
        command="place",
        polls=NO,
        keep_days="0",
    )

    async def announce() -> float:
        with suppress(StoreError, NoThreadError):  # in a file that can't be written no event is kept either
            await run_in_thread(lambda: registry.announce(store, record))
        return registry.ANNOUNCE_EVERY

    await announce()  # before the first event comes
    try:
        async with background_tasks(repeat(announce)):
            yield
    finally:
        with suppress(StoreError, NoThreadError, TimeoutError):
            async with asyncio.timeout(WITHDRAW_LIMIT):
                await run_in_thread(lambda: store.withdraw(nonce))


@contextmanager
def _open_view(
    runtime: Runtime, settings: Settings, target: CallbackTarget, call: Call, *, stop: Callable[[], None]
) -> Iterator[CountingView]:
    """Open the view that suits stdout; it gives the terminal back when the block is left."""
    from callctl.views.threaded_view import ThreadedView

    api_url = None if settings.is_twilio else settings.api_url
    callback_url = without_secrets(target.callback or "").partition("#")[0]
    header = WatchState(TITLE, target.header, callback_url, api_url)
    with ExitStack() as stack:
        if runtime.form is Form.TABLE:
            from callctl.cli.watch.table import open_table
            from callctl.views.live.screen import TableOptions

            opened = open_table(
                runtime, lambda: settings, TableOptions(), clock=runtime.clock(), listens=target.listens, stop=stop
            )
            stack.enter_context(opened.suspendable())
            view = opened.view
        else:
            view = ThreadedView(_lines(runtime, settings, call))  # callbacks may come to a listener in this process
        stack.callback(view.close)
        stack.enter_context(runtime.beside_table(view.note))
        yield CountingView(view, header)


def _lines(runtime: Runtime, settings: Settings, call: Call) -> View:
    from callctl.cli.watch.banner import json_lines_view, line_view

    if runtime.form is not Form.JSON:
        return line_view(runtime)
    extra = {} if settings.is_twilio else {"api_url": settings.api_url}
    runtime.write_json({"v": 1, "type": "placed", "call": call.to_json(), **extra})
    return json_lines_view(runtime, runtime.stdout, api_url=None if settings.is_twilio else settings.api_url)


class CountingView:
    """Passes on to a view, and counts the callbacks for its header."""

    def __init__(self, view: View, header: WatchState) -> None:
        self._view = view
        self._header = header

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Count it and pass it on."""
        from callctl.calls.event import CALLBACK

        if event.kind == CALLBACK:
            latest = max(self._header.last_callback_at or event.received_at, event.received_at)
            self._header = replace(self._header, accepted=self._header.accepted + 1, last_callback_at=latest)
        self._view.event(event, change)

    def action(self, action: ActionEvent) -> None:
        """Pass it on."""
        self._view.action(action)

    def trouble(self, trouble: Trouble) -> None:
        """Pass it on."""
        self._view.trouble(trouble)

    def refresh(self, snapshot: Snapshot) -> None:
        """Draw the legs, with the header as it is now."""
        self._view.refresh(snapshot, self._header)
