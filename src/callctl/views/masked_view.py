"""A view that masks numbers and names, and passes all on to another view."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from callctl.calls.board import Snapshot
from callctl.calls.family import Family
from callctl.calls.masked_numbers import masked_action, masked_event, masked_leg, masked_note, masked_trouble

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change
    from callctl.calls.event import CallEvent
    from callctl.calls.leg import Leg
    from callctl.calls.watch_trouble import Trouble
    from callctl.views.view import View, WatchState


class MaskedView:
    """Masks what a view of lines shows. The live table, whose keys need the true numbers, does so where it draws."""

    def __init__(self, view: View) -> None:
        self._view = view

    def begin(self, snapshot: Snapshot) -> None:
        """Pass the board on with its legs masked."""
        self._view.begin(masked_snapshot(snapshot))

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Pass on an event and what it changed."""
        shown = masked_event(event)
        if change is not None:
            before = None if change.before is None else masked_leg(change.before)
            change = replace(change, event=shown, before=before, after=masked_leg(change.after))
        self._view.event(shown, change)

    def action(self, action: ActionEvent) -> None:
        """Pass on a request."""
        self._view.action(masked_action(action))

    def note(self, text: str) -> None:
        """Pass on a sentence, which may be a ``Forwarded``."""
        self._view.note(masked_note(text))

    def trouble(self, trouble: Trouble) -> None:
        """Pass on what went wrong."""
        self._view.trouble(masked_trouble(trouble))

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Have the other view go on; lines show no board, so that none is masked."""
        self._view.refresh(snapshot, header)

    def is_stale(self) -> bool:
        """Return what the other view does."""
        return self._view.is_stale()

    def close(self) -> None:
        """Close the other view."""
        self._view.close()


def masked_snapshot(snapshot: Snapshot) -> Snapshot:
    """Return the board with all of its legs masked."""
    families = tuple(_masked_family(family) for family in snapshot.families)
    legs = {leg.call_sid: leg for family in families for leg in family.legs}
    family_of = {leg.call_sid: family for family in families for leg in family.legs}
    return Snapshot(families, snapshot.live, snapshot.ended, legs, family_of)


def _masked_family(family: Family[Leg]) -> Family[Leg]:
    parent = None if family.parent is None else masked_leg(family.parent)
    return Family(family.sid, parent, tuple(masked_leg(child) for child in family.children))
