"""A view that passes on to another view what concerns the legs that match a filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from callctl.calls.board import Snapshot
from callctl.calls.family import Family
from callctl.calls.leg import Leg

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change
    from callctl.calls.event import CallEvent
    from callctl.calls.filter import CallFilter
    from callctl.calls.watch_trouble import Trouble
    from callctl.views.view import View, WatchState


class FilteredView:
    """Passes on what concerns the legs that match. A parent that doesn't match stays above a child that does.

    ``words`` say which they are; else the filter's own do.
    """

    def __init__(self, view: View, call_filter: CallFilter, *, words: str | None = None) -> None:
        self._view, self._filter = view, call_filter
        self._words = call_filter.in_words if words is None else words
        self._family = {call_filter.family_of} if call_filter.family_of else set()
        self._board = Snapshot()

    def begin(self, snapshot: Snapshot) -> None:
        """Pass on the legs that match."""
        self._board = snapshot
        self._view.begin(self._part_of(snapshot))

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Pass on an event of a leg that matches."""
        related = {event.call_sid, event.parent_call_sid or event.call_sid}
        if self._family & related:
            self._family |= related
        # An event without a status has no numbers either.
        leg = event if event.status else self._board.leg(event.call_sid)
        matches = self._filter.matches_leg(leg) if leg else not self._filter.concerns_leg
        if self._is_in_family(event.call_sid) and matches:
            self._view.event(event, change)

    def action(self, action: ActionEvent) -> None:
        """Pass on a request for a leg that matches."""
        leg = self._board.leg(action.call_sid)
        matches = self._filter.matches_leg(leg) if leg else action.call_sid == self._filter.family_of
        if self._is_in_family(action.call_sid) and matches:
            self._view.action(action)

    def note(self, text: str) -> None:
        """Pass it on: it concerns the watch."""
        self._view.note(text)

    def trouble(self, trouble: Trouble) -> None:
        """Pass it on: it concerns the watch."""
        self._view.trouble(trouble)

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Have the legs that match drawn."""
        self._board = snapshot
        self._view.refresh(self._part_of(snapshot), replace(header, shown_only=self._words))

    def is_stale(self) -> bool:
        """Return what the other view does."""
        return self._view.is_stale()

    def close(self) -> None:
        """Close the other view."""
        self._view.close()

    def _part_of(self, snapshot: Snapshot) -> Snapshot:
        families = tuple(self._matching(snapshot))
        legs = {leg.call_sid: leg for family in families for leg in family.legs}
        family_of = {leg.call_sid: family for family in families for leg in family.legs}
        live = sum(leg.is_live for leg in legs.values())
        return Snapshot(families, live, len(legs) - live, legs, family_of)

    def _matching(self, snapshot: Snapshot) -> Iterator[Family[Leg]]:
        for family in snapshot.families:
            if self._family:
                sids = {family.sid, *(leg.call_sid for leg in family.legs)}
                if not self._family & sids:
                    continue
                self._family |= sids
            children = tuple(leg for leg in family.children if self._filter.matches_leg(leg))
            if children or (family.parent is not None and self._filter.matches_leg(family.parent)):
                # The same where all match: the live table looks anew only at the families that are new to it.
                is_whole = len(children) == len(family.children)
                yield family if is_whole else Family(family.sid, family.parent, children)

    def _is_in_family(self, sid: str) -> bool:
        return not self._family or sid in self._family
