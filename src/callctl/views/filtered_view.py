"""The legs that match a filter, and a view that passes on to another view what concerns these."""

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


class ShownPart:
    """The legs that a filter lets through, of a board as it was last, and the events and actions of these.

    A parent that doesn't match stays above a child that does. ``words`` say which they are; else the filter's own do.
    """

    def __init__(self, call_filter: CallFilter, *, words: str | None = None) -> None:
        self.words = call_filter.in_words if words is None else words
        self._filter = call_filter
        self._family = {call_filter.family_of} if call_filter.family_of else set()
        self._board = Snapshot()

    def of(self, snapshot: Snapshot) -> Snapshot:
        """Return the legs of a board that are shown."""
        self._board = snapshot
        families = tuple(self._matching(snapshot))
        legs = {leg.call_sid: leg for family in families for leg in family.legs}
        family_of = {leg.call_sid: family for family in families for leg in family.legs}
        live = sum(leg.is_live for leg in legs.values())
        return Snapshot(families, live, len(legs) - live, legs, family_of)

    def matches(self, leg: Leg) -> bool:
        """Return whether a leg is shown for itself, not only as the parent of one that is."""
        return self._is_in_family(leg.call_sid) and self._filter.matches_leg(leg)

    def has_event(self, event: CallEvent) -> bool:
        """Return whether an event is of a leg that matches."""
        related = {event.call_sid, event.parent_call_sid or event.call_sid}
        if self._family & related:
            self._family |= related
        # An event without a status has no numbers either.
        leg = event if event.status else self._board.leg(event.call_sid)
        matches = self._filter.matches_leg(leg) if leg else not self._filter.concerns_leg
        return self._is_in_family(event.call_sid) and matches

    def has_action(self, action: ActionEvent) -> bool:
        """Return whether a request is for a leg that matches."""
        leg = self._board.leg(action.call_sid)
        matches = self._filter.matches_leg(leg) if leg else action.call_sid == self._filter.family_of
        return self._is_in_family(action.call_sid) and matches

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


class FilteredView:
    """Passes on what concerns the legs that match: for lines, which say nothing of the others."""

    def __init__(self, view: View, call_filter: CallFilter) -> None:
        self._view, self._part = view, ShownPart(call_filter)

    def begin(self, snapshot: Snapshot) -> None:
        """Pass on the legs that match."""
        self._view.begin(self._part.of(snapshot))

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Pass on an event of a leg that matches."""
        if self._part.has_event(event):
            self._view.event(event, change)

    def action(self, action: ActionEvent) -> None:
        """Pass on a request for a leg that matches."""
        if self._part.has_action(action):
            self._view.action(action)

    def note(self, text: str) -> None:
        """Pass it on: it concerns the watch."""
        self._view.note(text)

    def trouble(self, trouble: Trouble) -> None:
        """Pass it on: it concerns the watch."""
        self._view.trouble(trouble)

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Have the legs that match drawn."""
        self._view.refresh(self._part.of(snapshot), replace(header, shown_only=self._part.words))

    def is_stale(self) -> bool:
        """Return what the other view does."""
        return self._view.is_stale()

    def close(self) -> None:
        """Close the other view."""
        self._view.close()
