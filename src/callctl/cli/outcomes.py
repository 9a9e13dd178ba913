"""How a command tells what a call is like after it was changed."""

from __future__ import annotations

from datetime import UTC, datetime

from callctl.actions import ActionEvent
from callctl.calls import Call
from callctl.cli.runtime import Form, Runtime
from callctl.errors import StoreError
from callctl.settings import Settings
from callctl.views.foreign import printable


def show_changed(runtime: Runtime, call: Call, *, action: str, told: str) -> None:
    """Write one changed call: a sentence on a terminal, SID and status on a pipe, or one JSON object on a line."""
    if runtime.form is Form.JSON:
        runtime.write_json({"v": 1, "type": "action", "action": action, "outcome": told, "call": call.to_json()})
    elif runtime.form is Form.PLAIN:
        runtime.write(f"{printable(call.sid)}\t{printable(call.status)}")
        runtime.say(f"callctl: {told}")
    else:
        runtime.write(printable(told))


def remember(
    runtime: Runtime, settings: Settings, call: Call, *, action: str, request: list[tuple[str, str]], outcome: str
) -> None:
    """Keep what was asked of a call in the store, where a running watch and ``show`` find it.

    It has been done by now, so a store that can't be written is told of and is no failure.
    """
    from callctl.store.sqlite import SqliteStore

    event = ActionEvent(datetime.now(UTC), call.sid, action, tuple(request), outcome, call.status)
    try:
        store = SqliteStore(settings.store, world=settings.world)
        try:
            store.record_action(event)
        finally:
            store.close()
    except StoreError as error:
        runtime.say(f"callctl: done, but not written down: {error.message}")
