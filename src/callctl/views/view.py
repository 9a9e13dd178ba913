"""What a watch shows itself on: a live table, lines, JSON Lines, or a part of one of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change, Snapshot
    from callctl.calls.event import CallEvent
    from callctl.calls.trouble import Trouble
    from callctl.views.live.state import Header


class View(Protocol):
    """What a session shows itself on."""

    def begin(self, snapshot: Snapshot) -> None:
        """Take notice, once, of the board as it was known at the start, before anything new."""

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Take notice of one event and of what it changed on the board, if anything."""

    def action(self, action: ActionEvent) -> None:
        """Take notice of what a command or a rule asked of a call, and of the answer."""

    def note(self, text: str) -> None:
        """Tell something that is no event."""

    def trouble(self, trouble: Trouble) -> None:
        """Tell of something that went wrong, so that it is not overlooked; or that it is over."""

    def refresh(self, snapshot: Snapshot, header: Header) -> None:
        """Show the board as it is now."""

    def is_stale(self) -> bool:
        """Tell whether what is shown no longer fits, for example because the terminal has another size."""

    def close(self) -> None:
        """Leave the terminal as it was found."""
