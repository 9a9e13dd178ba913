"""How the state of the live table follows the board from frame to frame: pure functions.

Times, ``now`` and ``at``, are in seconds of elapsed time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from types import MappingProxyType

from callctl.calls.board import Snapshot
from callctl.calls.call import CallStatus
from callctl.calls.leg import Leg
from callctl.views.live.intents import Leave
from callctl.views.live.sorted_legs import FAILURES, Listing
from callctl.views.live.state import (
    CONFIRM_WITHIN,
    ChoosingUrl,
    Confirming,
    Departure,
    Dismissing,
    Page,
    Question,
    Refusal,
    Surroundings,
    ViewState,
)
from callctl.views.terminal_safe import printable

# Seconds that a message stays in the foot, unless a key comes before.
MESSAGE_STAYS = 8.0


def settle(state: ViewState, around: Surroundings, *, now: float) -> ViewState:
    """Return the state as the legs allow it: what is gone is no longer selected or marked, and no question outlives
    the status that it names.
    """
    state = up_to_date(_departed(state, around, now=now), around, now=now)
    if not state.selects_first:
        return state
    selected = state.selected or next(around.listing.legs(), None)
    return scrolled(replace(state, selects_first=False, selected=selected), around)


def up_to_date(state: ViewState, around: Surroundings, *, now: float) -> ViewState:
    """Return the state without what is gone or over; a row that is about to go is still selected."""
    listing = around.listing
    selected = state.selected
    if selected is not None and selected not in listing.rows:
        selected = FAILURES if selected in listing.folded else None
    if selected != state.selected:
        state = replace(state, selected=selected)
    gone = [sid for sid in state.marks if around.latest.leg(sid) is None]
    if gone:
        marks = MappingProxyType({sid: status for sid, status in state.marks.items() if sid not in gone})
        state = replace(state, marks=marks)
    if state.message and now - state.message_at > MESSAGE_STAYS:
        state = replace(state, message="")
    if isinstance(state.mode, Question) and (why := _why_over(state.mode, around.latest, now=now)):
        state = _closed(state, why, at=now)
    if isinstance(state.mode, Page):
        top = min(state.mode.top, max(0, around.page_lines - around.room))
        return state if top == state.mode.top else replace(state, mode=replace(state.mode, top=top))
    return _still_scrolled(state, around)


def drawn(state: ViewState, *, at: float) -> ViewState:
    """Return the state after it was drawn: from now on a question may be answered."""
    if isinstance(state.mode, Question) and state.mode.drawn_at is None:
        return replace(state, mode=replace(state.mode, drawn_at=at))
    return state


def changed(state: ViewState, sid: str, what: str, *, at: float) -> ViewState:
    """Return the state after a leg was changed by something else: a question about it is over."""
    mode = state.mode
    if isinstance(mode, Confirming | ChoosingUrl) and sid in [target.sid for target in mode.targets]:
        if isinstance(mode, Confirming) and mode.outlives_changes:
            return state
        return _closed(state, f"{what} meanwhile", at=at)
    return state


def outlived(state: ViewState, sids: Collection[str]) -> ViewState:
    """Return the state after an action that did not change these legs: if one ends later, no key was the cause."""
    going = state.departure
    is_off = going is not None and going.row in sids and not going.is_dismissed
    return replace(state, departure=None) if is_off else state


def resumed(state: ViewState, *, at: float) -> ViewState:
    """Return the state after the process was stopped for a while: nobody has read a question meanwhile."""
    if isinstance(state.mode, Question):
        return _closed(state, "stopped meanwhile", at=at)
    return state


def _closed(state: ViewState, why: str, *, at: float) -> ViewState:
    """Return the state after a question was closed by something else than a key."""
    mode = state.mode
    sends_nothing = isinstance(mode, Dismissing) or (isinstance(mode, Confirming) and isinstance(mode.intent, Leave))
    refusal = Refusal(at) if isinstance(mode, ChoosingUrl) else None
    state = replace(state, mode=None, closed_at=at, refusal=refusal)
    return state.saying(why if sends_nothing else f"{why}: nothing was sent", at)


def _why_over(mode: Question, latest: Snapshot, *, now: float) -> str | None:
    """Return why a question is over; None if it still stands."""
    if isinstance(mode, Confirming | Dismissing) and mode.drawn_at is not None and now > mode.open_until:
        return f"not confirmed within {CONFIRM_WITHIN:.0f} s"
    if isinstance(mode, Dismissing) or (isinstance(mode, Confirming) and mode.outlives_changes):
        return None
    for target in mode.targets:
        leg = latest.leg(target.sid)
        if leg is None:
            return "the leg is gone"
        if leg.status != target.status and not (isinstance(mode, ChoosingUrl) and len(mode.targets) > 1):
            return what_it_became(leg)
    return None


def what_it_became(leg: Leg) -> str:
    """Say into which status a leg has come meanwhile."""
    return "answered meanwhile" if leg.status == CallStatus.IN_PROGRESS else f"{printable(leg.status)} meanwhile"


def scrolled(state: ViewState, around: Surroundings) -> ViewState:
    """Return the state with the selected row on the screen, and no empty rows below the last."""
    rows, room = around.listing.rows, max(1, around.room)
    top, row = state.top, None
    if state.selected is not None and state.selected in rows:
        row = rows.index(state.selected)
        top = min(max(top, row - room + 1), row)
    top = max(0, min(top, len(rows) - room))
    return state if (top, row) == (state.top, state.row) else replace(state, top=top, row=row)


def _still_scrolled(state: ViewState, around: Surroundings) -> ViewState:
    """Return the state scrolled, but not after a leg that has ended and so moved away by itself."""
    listing, room = around.listing, max(1, around.room)
    leg = listing.leg(state.selected)
    if state.selected is None or state.row is None or leg is None or leg.is_live:
        return scrolled(state, around)
    top = max(0, min(state.top, len(listing.rows) - room))
    row = listing.rows.index(state.selected)
    if row == state.row or top <= row < top + room:
        return scrolled(state, around)
    return state if top == state.top else replace(state, top=top)


def departing(state: ViewState, around: Surroundings, *, is_dismissed: bool = False) -> ViewState:
    """Return the state after a key that makes the selected row leave its place."""
    selected = state.selected
    rows = around.listing.rows
    if selected is None or selected not in rows:
        return state
    return replace(state, departure=Departure(selected, rows, is_dismissed))


def _departed(state: ViewState, around: Surroundings, *, now: float) -> ViewState:
    """Return the state with the row selected that takes the place of one that left it because of a key."""
    listing, going = around.listing, state.departure
    if going is None:
        return state
    if going.row != state.selected:
        return replace(state, departure=None)
    if _stands_above_ended(going.row, listing) or not (going.is_dismissed or not state.order_is_kept(now)):
        keeps = going.is_dismissed or listing.rows == going.rows or going.row not in listing.rows
        return state if keeps else replace(state, departure=replace(going, rows=listing.rows))
    at = going.rows.index(going.row)
    others = [*going.rows[at + 1 :], *reversed(going.rows[:at])]
    shown = set(listing.rows)
    successor = next((row for row in others if row in shown and _stands_above_ended(row, listing)), None)
    if successor is None and listing.rows:
        successor = listing.rows[min(at, len(listing.rows) - 1)]
    return replace(state, departure=None, selected=successor)


def _stands_above_ended(row: str, listing: Listing) -> bool:
    """Return whether a row stands above what has ended."""
    leg = listing.leg(row)
    if leg is None:
        return row == FAILURES and row in listing.rows
    return leg.is_live or row in listing.failures
