"""A view of a part: which events, actions and legs get through."""

from __future__ import annotations

from datetime import timedelta

import pytest
from events import START
from legs import BUSY_CHILD, CALLER, PARENT, SIP_CHILD, board_of, callback, family
from watches import RecordingView

from callctl.calls.action import ActionEvent
from callctl.calls.board import Board
from callctl.calls.filter import CallFilter
from callctl.views.filtered_view import FilteredView
from callctl.views.view import WatchState

OTHER = "CA00000000000000000000000000000009"
HEADER = WatchState(title="watch", listening="x", callback_url="", api_url=None)


def shown(call_filter: CallFilter) -> RecordingView:
    """Return what a filter lets through of a family and of another call, and of a hang-up of each leg."""
    seen = RecordingView()
    view = FilteredView(seen, call_filter)
    board = Board()
    for event in [*family(), callback(OTHER, "ringing", second=40, sequence=0, to="+12025550142")]:
        view.event(event, board.apply(event))
        view.refresh(board.snapshot(), HEADER)
    for sid in (PARENT, SIP_CHILD, BUSY_CHILD, OTHER):
        view.action(hangup(sid))
    return seen


def hangup(sid: str) -> ActionEvent:
    return ActionEvent(
        at=START + timedelta(seconds=50), call_sid=sid, action="hangup", request=(), result="ended", outcome=sid
    )


def sids(seen: RecordingView) -> list[str]:
    assert seen.snapshot is not None
    return [leg.call_sid for one in seen.snapshot.families for leg in one.legs]


@pytest.mark.parametrize("named", [PARENT, SIP_CHILD])
def test_a_call_stands_for_its_family(named: str) -> None:
    seen = shown(CallFilter(family_of=named))
    assert sids(seen) == [PARENT, SIP_CHILD, BUSY_CHILD]
    assert {event.call_sid for event in seen.events} >= {named, SIP_CHILD}
    assert OTHER not in {event.call_sid for event in seen.events}
    assert OTHER not in seen.notes
    assert {PARENT, SIP_CHILD} <= set(seen.notes)
    assert seen.header is not None
    assert seen.header.shown_only == named


def test_a_call_that_nobody_knows_yet_shows_nothing_until_it_is_there() -> None:
    assert sids(shown(CallFilter(family_of="CA" + "7" * 32))) == []


def test_a_family_known_from_before_is_whole_at_once() -> None:
    seen = RecordingView()
    view = FilteredView(seen, CallFilter(family_of=SIP_CHILD))
    view.refresh(board_of(family()).snapshot(), HEADER)
    event = callback(BUSY_CHILD, "completed", second=60, sequence=9, parent=PARENT)
    view.event(event, board_of(family()).apply(event))
    assert [one.call_sid for one in seen.events] == [BUSY_CHILD]


@pytest.mark.parametrize("to", ["sip:agent@example.com", "agent@example.com", "SIPS:agent@example.com"])
def test_a_parent_stays_above_the_leg_that_fits_with_its_scheme_or_without(to: str) -> None:
    seen = shown(CallFilter(to=to))
    assert sids(seen) == [PARENT, SIP_CHILD]
    assert {event.call_sid for event in seen.events} == {SIP_CHILD}
    assert seen.notes == [SIP_CHILD]


def test_statuses_are_alternatives_and_all_else_must_hold_together() -> None:
    assert sids(shown(CallFilter(statuses=("busy", "in-progress")))) == [PARENT, BUSY_CHILD]
    assert sids(shown(CallFilter(from_=CALLER, statuses=("ringing",)))) == [OTHER, PARENT, SIP_CHILD]
    assert sids(shown(CallFilter(from_="+12025550199", statuses=("ringing",)))) == []


def test_only_what_is_shown_is_counted() -> None:
    seen = shown(CallFilter(to="+12025550142"))
    assert seen.snapshot is not None
    assert (seen.snapshot.live, seen.snapshot.ended) == (1, 0)


def test_a_family_of_which_all_is_shown_stays_the_same_from_frame_to_frame() -> None:
    """The live table keeps what it knows of a family as long as that is the same one."""
    seen, board = RecordingView(), board_of(family())
    FilteredView(seen, CallFilter(family_of=PARENT)).refresh(board.snapshot(), HEADER)
    assert seen.snapshot is not None
    (whole,) = seen.snapshot.families
    assert whole is board.snapshot().families[0]
    assert {sid: family.sid for sid, family in seen.snapshot.family_of.items()} == dict.fromkeys(sids(seen), PARENT)
