"""Showing a part: a view that passes on to another one what concerns the chosen legs. Nothing else is changed by it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from callctl.calls.board import Family, Leg, Snapshot
from callctl.calls.call import is_same_party

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change
    from callctl.calls.event import CallEvent
    from callctl.calls.trouble import Trouble
    from callctl.views.view import View, WatchState


@dataclass(frozen=True, slots=True)
class Choice:
    """Which legs are shown: those of one call's family, and of these, or of all, those that match in all that is given.

    ``call`` is a SID, ``to`` and ``from_`` are as Twilio writes them, ``statuses`` alternatives; nothing given means
    everything.
    """

    call: str | None = None
    to: str | None = None
    from_: str | None = None
    statuses: Collection[str] = ()

    @property
    def in_words(self) -> str:
        """What is shown, for a header; empty if that is everything."""
        parts = [
            self.call or "",
            f"to {self.to}" if self.to else "",
            f"from {self.from_}" if self.from_ else "",
            "/".join(self.statuses),
        ]
        return ", ".join(part for part in parts if part)

    @property
    def narrows(self) -> bool:
        """Whether it depends on the leg itself."""
        return bool(self.to or self.from_ or self.statuses)

    def fits(self, leg: Leg | CallEvent) -> bool:
        """Tell whether a leg, or what an event says of one, matches; of its family nothing is known here."""
        return (
            (self.to is None or is_same_party(self.to, leg.to))
            and (self.from_ is None or is_same_party(self.from_, leg.from_))
            and (not self.statuses or leg.status in self.statuses)
        )


class ChosenView:
    """Passes on what concerns the chosen legs. A parent that does not fit stays above a child that does."""

    def __init__(self, view: View, choice: Choice) -> None:
        self._view, self._choice = view, choice
        self._family = {choice.call} if choice.call else set()
        self._board = Snapshot()

    def begin(self, snapshot: Snapshot) -> None:
        """Pass on the chosen legs."""
        self._board = snapshot
        self._view.begin(self._part_of(snapshot))

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Pass on an event of a chosen leg."""
        related = {event.call_sid, event.parent_call_sid or event.call_sid}
        if self._family & related:
            self._family |= related
        # What tells no status says nothing of numbers either.
        told = event if event.status else self._board.leg(event.call_sid)
        if self._is_in_family(event.call_sid) and (self._choice.fits(told) if told else not self._choice.narrows):
            self._view.event(event, change)

    def action(self, action: ActionEvent) -> None:
        """Pass on what was asked of a chosen leg."""
        leg = self._board.leg(action.call_sid)
        is_shown = self._choice.fits(leg) if leg else action.call_sid == self._choice.call
        if self._is_in_family(action.call_sid) and is_shown:
            self._view.action(action)

    def note(self, text: str) -> None:
        """Pass it on: it concerns the watch."""
        self._view.note(text)

    def trouble(self, trouble: Trouble) -> None:
        """Pass it on likewise."""
        self._view.trouble(trouble)

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Have the chosen legs drawn."""
        self._board = snapshot
        self._view.refresh(self._part_of(snapshot), replace(header, shown_only=self._choice.in_words))

    def _part_of(self, snapshot: Snapshot) -> Snapshot:
        families = tuple(self._chosen(snapshot))
        legs = [leg for family in families for leg in family.legs]
        live = sum(leg.is_live for leg in legs)
        return Snapshot(families, live, len(legs) - live, {leg.call_sid: leg for leg in legs})

    def is_stale(self) -> bool:
        """Tell whether what is shown no longer fits."""
        return self._view.is_stale()

    def close(self) -> None:
        """Close it."""
        self._view.close()

    def _is_in_family(self, sid: str) -> bool:
        return not self._family or sid in self._family

    def _chosen(self, snapshot: Snapshot) -> Iterator[Family]:
        for family in snapshot.families:
            if self._family:
                sids = {family.sid, *(leg.call_sid for leg in family.legs)}
                if not self._family & sids:
                    continue
                self._family |= sids
            children = tuple(leg for leg in family.children if self._choice.fits(leg))
            if children or (family.parent is not None and self._choice.fits(family.parent)):
                yield Family(family.sid, family.parent, children)
