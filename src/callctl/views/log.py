"""What a service writes: what goes wrong, and what rules did. Events are in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callctl.calls.watch_trouble import Forwarded

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change, Snapshot
    from callctl.calls.event import CallEvent
    from callctl.calls.watch_trouble import Trouble
    from callctl.views.view import View, WatchState


class LogView:
    """Passes on to another view what belongs in a log, and leaves out the calls."""

    def __init__(self, view: View) -> None:
        self._view = view

    def begin(self, snapshot: Snapshot) -> None:
        """Do nothing: calls are not shown."""

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Do nothing: calls are not shown."""

    def action(self, action: ActionEvent) -> None:
        """Pass on what a rule did: nobody else says so. Commands say themselves what they did."""
        if action.rule:
            self._view.action(action)

    def note(self, text: str) -> None:
        """Pass on that a request was taken which an application had not taken before; of others nothing is said."""
        if isinstance(text, Forwarded) and text.ends_trouble:
            self._view.note(text)

    def trouble(self, trouble: Trouble) -> None:
        """Pass it on."""
        self._view.trouble(trouble)

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Pass it on: what could not be written may be written now."""
        self._view.refresh(snapshot, header)

    def is_stale(self) -> bool:
        """Return False: nothing is drawn."""
        return False

    def close(self) -> None:
        """Close the other view."""
        self._view.close()
