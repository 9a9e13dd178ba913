"""``place --wait-for``: waiting for the call, and what is said where its status callbacks do not come."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.place.placed import say_sid_on_failure, show_placed
from callctl.errors import CallctlError, failure_reason
from callctl.support.clock import elapsed
from callctl.support.threads import run_with_time_limit

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.api.requests import PlaceRequest
    from callctl.calls.call import Call
    from callctl.cli.wait import WatchedStore
    from callctl.operations.missing_callbacks import Cause
    from callctl.operations.wait import Goal
    from callctl.settings import Settings
    from callctl.watch.registry.record import WatchRecord

# How long the fetch may take after which the call is shown at last, in seconds: the waiting is over.
_LATEST = 2.0


def wait_for_placed(
    runtime: Runtime,
    settings: Settings,
    client: ApiClient,
    call: Call,
    request: PlaceRequest,
    *,
    goal: Goal,
    limit: float | None,
) -> None:
    """Wait for the goal, for ``limit`` seconds at most. The SID is written at once; JSON once, at the end."""
    from callctl.cli.wait import WatchedStore, waiter_for

    try:
        if runtime.form is not Form.JSON:
            show_placed(runtime, call)
        is_complete = goal.event in request.status_callback_events
        with WatchedStore(runtime, settings, is_complete=is_complete) as store:
            look = _callback_check(runtime, settings, client, call, request, store=store)
            waiter_for(runtime, client, call.sid, store=store, placed=True, on_look=look).until(goal, limit=limit)
    except KeyboardInterrupt:
        runtime.say(f"callctl: the call goes on: `callctl hangup {shlex.quote(call.sid)}` ends it")
        raise
    finally:
        if runtime.form is Form.JSON:
            _show_latest(runtime, client, call)


def _show_latest(runtime: Runtime, client: ApiClient, call: Call) -> None:
    with say_sid_on_failure(runtime, call):
        try:
            call = run_with_time_limit(_LATEST, lambda: client.fetch(call.sid))
        except TimeoutError:
            runtime.say("callctl: shown as it was placed: the API has not answered")
        except Exception as error:
            runtime.say(f"callctl: shown as it was placed: {failure_reason(error)}")
    show_placed(runtime, call)


def _callback_check(
    runtime: Runtime, settings: Settings, client: ApiClient, call: Call, request: PlaceRequest, *, store: WatchedStore
) -> Callable[[str], None]:
    """Return what is called with the call's status now and then, and says why callbacks are missing, if they are."""
    from callctl.operations import missing_callbacks
    from callctl.operations.missing_callbacks import CallbackCheck, ExpectedCallbacks

    if request.status_callback is None:
        return lambda _status: None

    def say(cause: Cause) -> None:
        seconds = missing_callbacks.AFTER.seconds
        runtime.say(f"callctl: no status callback of {call.sid} in {seconds} s: {cause.sentence}\nhint: {cause.fix}")

    url = request.status_callback
    return CallbackCheck(
        ExpectedCallbacks(call.sid, url, request.status_callback_events),
        api=client,
        reported=store.statuses,
        is_ours=lambda: _watch(settings, url) is not None,
        unreachable=lambda: _unreachable(_watch(settings, url)),
        on_cause=say,
        now=elapsed,
    ).check


def _watch(settings: Settings, callback_url: str) -> WatchRecord | None:
    """Return the running watch to which the callbacks go."""
    from callctl.operations.missing_callbacks import comparable_url
    from callctl.watch.registry.registry import announced, running

    url = comparable_url(callback_url)
    with suppress(CallctlError):  # said before the call was placed
        records = chain(running(settings), announced(settings))
        return next((record for record in records if comparable_url(record.callback_url) == url), None)
    return None


def _unreachable(watch: WatchRecord | None) -> str | None:
    """Return why callbacks can't reach a watch, as far as it knows itself."""
    from callctl.watch.registry.health import trouble_of

    if watch is None or (why := trouble_of(watch)) is None:
        return None
    return f"the {watch.noun} says that {why}"
