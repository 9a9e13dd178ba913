"""What is done with a call that has just been placed: it is noted, and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callctl.calls import Call
from callctl.cli.outcomes import show_new_call
from callctl.cli.runtime import Runtime
from callctl.cli.streams import OutputError, ReaderGoneError
from callctl.errors import StoreError

if TYPE_CHECKING:
    from callctl.gateway import PlaceRequest
    from callctl.settings import Settings


def remember_placed(
    runtime: Runtime, settings: Settings, call: Call, request: PlaceRequest, *, dial_action: str | None
) -> None:
    """Note the call for ``@last`` and for rules. It is placed by now: a store that fails is told of, no failure."""
    from callctl.masking import masked
    from callctl.silence import place_of
    from callctl.store.sqlite import SqliteStore

    callback = place_of(request.status_callback) if request.status_callback else None
    try:
        store = SqliteStore(settings.store, world=settings.world)
        try:
            store.remember_placed(
                call.sid,
                at=runtime.now(),
                callback=callback,
                events=request.status_callback_events,
                dial_action=None if dial_action is None else masked(dial_action),
            )
        finally:
            store.close()
    except StoreError as error:
        rules = "" if dial_action is None else ", and `watch --after-dial` may redirect it too"
        runtime.mention(error, before=f"placed, but @last will not stand for it{rules}: ")


def show_placed(runtime: Runtime, call: Call) -> None:
    """Write the call to stdout; where that can't be written to, say its SID at least."""
    try:
        show_new_call(runtime, call)
        runtime.stdout.flush()
    except (OutputError, ReaderGoneError):
        runtime.say(f"callctl: placed {call.sid}")  # nobody can hang up what has no name
        raise
