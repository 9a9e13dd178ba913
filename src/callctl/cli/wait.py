"""``callctl wait``: block until a call has a status; the exit code says whether it got there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options import common, completion
from callctl.cli.options.another_store import warn_of_another_store
from callctl.cli.options.calls import one_call, open_store_to_read, was_just_placed
from callctl.cli.options.common import WAITING
from callctl.errors import CallctlError, StoreError
from callctl.settings import Settings
from callctl.support.clock import elapsed
from callctl.support.dates import read_duration

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.operations.wait import Goal, Reported, Waited, Waiter
    from callctl.store.event_store import EventStore

# How long a watch that answered is taken to be running, in seconds: a check is a request on loopback.
_RUNNING_FOR = 5.0
# How long a reading of the store that is under way at the end is waited for, in seconds.
_LEAVING = 0.5
# How long REST may not find a call that was placed just now, in seconds.
_NOT_FOUND_FOR = 5.0


def wait(
    ctx: typer.Context,
    call: Annotated[
        str,
        typer.Argument(
            metavar="CALL", autocompletion=completion.call_sids, help="The call: its SID, a start of it, or @last."
        ),
    ],
    goal: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="STATUS",
            autocompletion=completion.goals,
            help=f"answered, ended, ringing, busy, failed, …\n\n{common.GOALS}.",
            rich_help_panel=WAITING,
        ),
    ],
    wait_timeout: common.WaitTimeout = None,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Wait until a call gets to a status.

    A status already passed counts; completed means that end alone.

    Exit code 0: it got there. 8: it ended another way. 9: it did not get there in time.
    """
    from callctl.operations.wait import Goal

    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    wanted = Goal.read(goal, option="--for")
    limit = None if wait_timeout is None else read_duration(wait_timeout, option="--wait-timeout")
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid}, requires_dotenv=False)
    client = runtime.client(settings)
    warn_of_another_store(runtime, settings)
    sid = one_call(runtime, settings, client, call)
    started = elapsed()
    with WatchedStore(runtime, settings) as store:
        waiter = waiter_for(runtime, client, sid, store=store, placed=False)
        try:
            waiter.until(wanted, limit=limit)
        except CallctlError:
            _show(runtime, waiter.last, wanted, reached=False, seconds=elapsed() - started)
            _note_end(runtime, settings, waiter.last)
            raise
    _show(runtime, waiter.last, wanted, reached=True, seconds=elapsed() - started)
    _note_end(runtime, settings, waiter.last)


def waiter_for(
    runtime: Runtime,
    client: ApiClient,
    sid: str,
    *,
    store: WatchedStore,
    placed: bool,
    on_look: Callable[[str], None] = lambda _status: None,
) -> Waiter:
    """Return what waits for a call and says each new status on stderr; ``placed``: REST may not know it yet."""
    from callctl.operations.wait import Waiter

    return Waiter(
        sid,
        api=client.expecting(lambda _sid: False),  # what callbacks report meanwhile counts
        reported=store.reported,
        sleep=time.sleep,
        now=elapsed,
        on_status=lambda status: runtime.say(f"callctl: {sid} is {status}"),
        missing_for=_NOT_FOUND_FOR if placed else 0.0,
        was_just_placed=partial(was_just_placed, runtime, store.settings),
        on_look=on_look,
        on_outage=runtime.report_outage,
    )


class WatchedStore:
    """What callbacks reported to a running watch, from its store; one that can't be read is mentioned on stderr.

    The watch must run for the same account at the same API address. It is checked now and then whether it runs, and
    whether callbacks arrive. ``reported`` may be called in several threads.
    """

    def __init__(self, runtime: Runtime, settings: Settings, *, is_complete: bool = True) -> None:
        """Prepare; ``is_complete`` is False where it is known that no callback will report what is waited for."""
        self._runtime = runtime
        self.settings = settings
        self._reader: EventStore | None = None
        self._next_check = float("-inf")
        self._is_running = False
        self._is_complete = is_complete
        self._may_lose = False  # callbacks, as the watch says itself
        self._is_closed = False
        self._reading = threading.Lock()

    def __enter__(self) -> WatchedStore:
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_closed = True
        if not self._reading.acquire(timeout=_LEAVING):
            return
        try:
            if self._reader is not None:
                self._reader.close()
        finally:
            self._reading.release()

    def statuses(self, sid: str) -> Sequence[str]:
        """Return the statuses that callbacks reported of a call, the present one last; as ``reported`` does."""
        return self.reported(sid).statuses

    def reported(self, sid: str) -> Reported:
        """Return what callbacks reported of a call; nothing while no watch is running.

        If one of its events is not verified, anybody may have sent it, and none of them counts.
        """
        from callctl.operations.wait import Reported

        with self._reading:
            return Reported() if self._is_closed or not self._has_watch() else self._read(sid)

    def _read(self, sid: str) -> Reported:
        from callctl.calls.event import CALLBACK
        from callctl.operations.wait import Reported

        try:
            reader = self._open()
            events = [event for event in reader.family(sid) if event.call_sid == sid] if reader else []
            # After the events: what is stored between the two reads is in the row, so its status is the present one.
            row = reader.call(sid) if reader and events else None
            if row is None:
                return Reported()
        except StoreError as error:
            self._runtime.warn(error)
            return Reported()
        if not any(event.kind == CALLBACK for event in events) or not all(event.verified for event in events):
            return Reported()
        statuses = [*(event.status for event in events if event.status not in ("", row.status)), row.status]
        arrived_at = max(event.received_at for event in events)
        age = (self._runtime.now() - arrived_at).total_seconds()
        return Reported(statuses, age, is_complete=self._is_complete and not self._may_lose)

    def _open(self) -> EventStore | None:
        if self._reader is None:
            self._reader = open_store_to_read(self._runtime, self.settings)
        return self._reader

    def _has_watch(self) -> bool:
        from callctl.cli.options.callback_url import look_for_watch
        from callctl.watch.registry.health import trouble_of
        from callctl.watch.registry.registry import keeps_another_store

        if elapsed() >= self._next_check:
            record, _ = look_for_watch(self._runtime, self.settings)
            # One that keeps another store writes nothing that is read here.
            self._is_running = record is not None and not keeps_another_store(self.settings, record)
            self._may_lose = record is not None and trouble_of(record) is not None
            self._next_check = elapsed() + _RUNNING_FOR
        return self._is_running


def _note_end(runtime: Runtime, settings: Settings, last: Waited | None) -> None:
    """Note an end that REST reported, for a store that takes the call for live."""
    if last is None or last.call is None or not last.call.is_final:
        return
    from callctl.cli.options.history import History

    with History(runtime, settings) as history:
        history.note_call(last.call)


def _show(runtime: Runtime, last: Waited | None, goal: Goal, *, reached: bool, seconds: float) -> None:
    """Write the status of the call: a sentence on a terminal, SID and status on a pipe, or one JSON object."""
    from callctl.views.terminal_safe import printable

    if last is None:
        return
    sid, status = printable(last.sid), printable(last.status)
    if runtime.form is Form.JSON:
        runtime.write_json(
            {
                "v": 1,
                "type": "wait",
                "call_sid": last.sid,
                "for": goal.name,
                "reached": reached,
                "status": last.status,
                "source": last.source,
                "seconds": round(seconds, 1),
            }
        )
    elif runtime.form is Form.PLAIN:
        runtime.write(f"{sid}\t{status}")
    else:
        runtime.write(f"{sid} is {status}")
