"""Events as JSON Lines: one object per event, versioned, each with its type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from callctl.calls.watch_trouble import Forwarded, Trouble
from callctl.views.terminal_safe import json_text

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change, Snapshot
    from callctl.calls.event import CallEvent
    from callctl.views.view import WatchState


class JsonLinesView:
    """One JSON object per event on a stream, each flushed; ``extra`` goes into every record."""

    def __init__(self, stream: TextIO, *, extra: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self._stream = stream
        self._say = say
        self._extra = extra

    def ready(self, record: Mapping[str, Any]) -> None:
        """Write the record that says that the watch listens."""
        self._write({"v": 1, "type": "ready", **record})

    def begin(self, snapshot: Snapshot) -> None:
        """Write a record for each leg that is live: later events need not mention it."""
        for leg in (leg for family in snapshot.families for leg in family.legs if leg.is_live):
            self._write(leg.to_json())

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Write an event. ``late``: one that reports a later step came before."""
        late = {"late": change is not None and change.late} if event.status else {}
        self._write({**event.to_json(), **late})

    def action(self, action: ActionEvent) -> None:
        """Write a request for a call, with its outcome."""
        self._write(action.to_json())

    def note(self, text: str) -> None:
        """Write what was passed on as a record, and say all else on stderr."""
        if isinstance(text, Forwarded):
            self._write(text.to_json())
        else:
            self._say(text)

    def trouble(self, trouble: Trouble) -> None:
        """Write it as a record: a reader of these must know when no more can come."""
        self._write(trouble.to_json())

    def refresh(self, _snapshot: Snapshot, _header: WatchState) -> None:
        """Have the stream write what it could not before; what was written stays."""
        self._stream.flush()

    def is_stale(self) -> bool:
        """Return False: what was written stays as it is."""
        return False

    def close(self) -> None:
        """Have the stream write what it could not before."""
        self._stream.flush()

    def _write(self, record: Mapping[str, Any]) -> None:
        self._stream.write(json_text({**record, **self._extra}) + "\n")
        self._stream.flush()
