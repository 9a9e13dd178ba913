"""Records and shows a call that has just been placed.

Whatever fails by then, its SID is shown: without it the call can't be hung up.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callctl.calls.call import Call
from callctl.cli.io.results import show_new_call
from callctl.cli.io.runtime import Runtime
from callctl.errors import CallctlError, StoreError, failure_reason
from callctl.store.last_placed import LastPlaced
from callctl.support.threads import run_in_thread

if TYPE_CHECKING:
    from callctl.api.requests import PlaceRequest
    from callctl.api.retries import Attempt
    from callctl.settings import Settings


@dataclass(frozen=True)
class Placing:
    """One call that is being placed: what became of the request, and what ``@last`` stands for."""

    attempt: Attempt
    last: LastPlaced


def remember_placed(
    runtime: Runtime, last: LastPlaced, call: Call, request: PlaceRequest, *, dial_action: str | None
) -> None:
    """Note the call for ``@last`` and for rules. It is placed by now, so what fails is said and is no failure."""
    with _noting(runtime, call, dial_action=dial_action):
        _remember(runtime, last, call, request, dial_action=dial_action)


async def remember_placed_in_thread(
    runtime: Runtime, last: LastPlaced, call: Call, request: PlaceRequest, *, dial_action: str | None
) -> None:
    """Do what ``remember_placed`` does, without holding up an event loop."""
    with _noting(runtime, call, dial_action=dial_action):
        await run_in_thread(lambda: _remember(runtime, last, call, request, dial_action=dial_action))


@contextmanager
def _noting(runtime: Runtime, call: Call, *, dial_action: str | None) -> Iterator[None]:
    with say_sid_on_failure(runtime, call):
        if getattr(runtime.stdout, "leads_nowhere", False):  # what is written there is lost without an error
            runtime.say(f"callctl: placed {call.sid}")
        try:
            yield
        except Exception as error:
            rules = "" if dial_action is None else ", and `watch --after-dial` may redirect it too"
            runtime.warn(_as_store_error(error), before=f"placed, but @last will not stand for it{rules}: ")
        if not call.resource:
            runtime.say(
                "callctl: warning: the answer could not be read whole; the call is placed: "
                f"`callctl show {shlex.quote(call.sid)}`"
            )


@contextmanager
def placing(runtime: Runtime, settings: Settings) -> Iterator[Placing]:
    """Have ``@last`` stand for no call before one is placed in the block, until it is remembered.

    It would stand for the call before, and a command that is meant for the new one would change that: also where this
    process is killed before the answer. If the call was certainly not placed, the call before is the last one again.
    """
    from callctl.api.retries import Attempt

    last, attempt = LastPlaced(settings), Attempt()
    with _warning(runtime):
        last.forget(at=runtime.now())
    try:
        yield Placing(attempt, last)
    except BaseException as error:  # Ctrl-C too
        with suppress(Exception):  # what became of the request is what counts
            _after_failure(runtime, last, error, attempt)
        raise


@asynccontextmanager
async def placing_in_threads(runtime: Runtime, settings: Settings) -> AsyncIterator[Placing]:
    """Do what ``placing`` does, without holding up an event loop."""
    from callctl.api.retries import Attempt

    last, attempt = LastPlaced(settings), Attempt()
    with _warning(runtime):
        await run_in_thread(lambda: last.forget(at=runtime.now()))
    try:
        yield Placing(attempt, last)
    except BaseException as error:
        failure = error
        with suppress(Exception):
            await run_in_thread(lambda: _after_failure(runtime, last, failure, attempt))
        raise


@contextmanager
def _warning(runtime: Runtime) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the call is placed all the same
        runtime.warn(_as_store_error(error), before="@last may go on standing for the call before this one: ")


def _after_failure(runtime: Runtime, last: LastPlaced, error: BaseException, attempt: Attempt) -> None:
    may_be_placed = error.may_be_done if isinstance(error, CallctlError) else attempt.abandon()
    if not may_be_placed:
        last.restore()
    else:  # another command may have placed a call meanwhile: which came last is not known
        last.forget(at=runtime.now())


def _remember(
    runtime: Runtime, last: LastPlaced, call: Call, request: PlaceRequest, *, dial_action: str | None
) -> None:
    from callctl.calls.twiml import hangs_up_after_dial
    from callctl.errors import without_secrets
    from callctl.operations.missing_callbacks import comparable_url

    if dial_action is None and request.twiml and hangs_up_after_dial(request.twiml):
        dial_action = ""
    callback = comparable_url(request.status_callback) if request.status_callback else None
    last.remember(
        call.sid,
        at=runtime.now(),
        callback=callback,
        events=request.status_callback_events,
        dial_action=None if dial_action is None else without_secrets(dial_action),
    )


def _as_store_error(error: Exception) -> CallctlError:
    if isinstance(error, CallctlError):
        return error
    return StoreError(failure_reason(error), hint="`callctl doctor` looks at the store")


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
