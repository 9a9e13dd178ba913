"""Records and shows a call that has just been placed.

Whatever fails by then, its SID is shown: without it the call can't be hung up.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from callctl.calls.call import Call
from callctl.cli.io.results import show_new_call
from callctl.cli.io.runtime import Runtime
from callctl.errors import CallctlError, StoreError
from callctl.support.threads import failure_reason

if TYPE_CHECKING:
    from callctl.api.requests import PlaceRequest
    from callctl.settings import Settings


def remember_placed(
    runtime: Runtime, settings: Settings, call: Call, request: PlaceRequest, *, dial_action: str | None
) -> None:
    """Note the call for ``@last`` and for rules. It is placed by now, so what fails is said and is no failure."""
    with say_sid_on_failure(runtime, call):
        if getattr(runtime.stdout, "leads_nowhere", False):  # what is written there is lost without an error
            runtime.say(f"callctl: placed {call.sid}")
        try:
            _remember(runtime, settings, call, request, dial_action=dial_action)
        except Exception as error:
            rules = "" if dial_action is None else ", and `watch --after-dial` may redirect it too"
            failure = (
                error
                if isinstance(error, CallctlError)
                else StoreError(failure_reason(error), hint="`callctl doctor` looks at the store")
            )
            runtime.warn(failure, before=f"placed, but @last will not stand for it{rules}: ")
        if not call.resource:
            runtime.say(
                "callctl: warning: the answer could not be read whole; the call is placed: "
                f"`callctl show {shlex.quote(call.sid)}`"
            )


@contextmanager
def forget_last_on_failure(runtime: Runtime, settings: Settings) -> Iterator[None]:
    """Have ``@last`` stand for no call if one may be placed in the block of which nothing is known.

    It would stand for the call before, and a command that is meant for the new one would change that.
    """
    try:
        yield
    except BaseException as error:  # Ctrl-C too
        if not isinstance(error, CallctlError) or error.may_be_done:
            with suppress(Exception):  # that no answer came is what counts
                _forget_last(settings, at=runtime.now())
        raise


def _forget_last(settings: Settings, *, at: datetime) -> None:
    from callctl.store.opening import has_store, open_store

    if has_store(settings):
        with closing(open_store(settings)) as store:
            store.forget_last_placed(at=at)


def _remember(
    runtime: Runtime, settings: Settings, call: Call, request: PlaceRequest, *, dial_action: str | None
) -> None:
    from callctl.errors import without_secrets
    from callctl.operations.missing_callbacks import comparable_url
    from callctl.store.opening import open_store

    callback = comparable_url(request.status_callback) if request.status_callback else None
    store = open_store(settings)
    try:
        store.remember_placed(
            call.sid,
            at=runtime.now(),
            callback=callback,
            events=request.status_callback_events,
            dial_action=None if dial_action is None else without_secrets(dial_action),
        )
    finally:
        store.close()


def show_placed(runtime: Runtime, call: Call) -> None:
    """Write the call to stdout; where that can't be done, say its SID at least."""
    with say_sid_on_failure(runtime, call):
        show_new_call(runtime, call)
        runtime.stdout.flush()


@contextmanager
def say_sid_on_failure(runtime: Runtime, call: Call) -> Iterator[None]:
    """Say the SID of a call that was placed, if what is done before it is shown fails, or is interrupted."""
    try:
        yield
    except BaseException:
        runtime.say(f"callctl: placed {call.sid}")
        raise
