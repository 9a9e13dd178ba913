"""The live table of a part of the board: it shows that part, and what keys do goes by all legs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from events import START
from legs import BUSY_CHILD, PARENT, SIP_CHILD, board_of, callback, family
from live_screen import HEADER, Screen

from callctl.calls.action import DONE, REFUSED, ActionEvent
from callctl.calls.filter import CallFilter
from callctl.views.filtered_view import ShownPart
from callctl.views.live.keys import ENTER, Key
from callctl.views.live.screen import TableOptions

OTHER = "CA00000000000000000000000000000009"
RINGING = CallFilter(statuses=("ringing",))
TALKING = CallFilter(statuses=("in-progress",))
NOBODY = CallFilter(to="+12025550199")


def screen_of(monkeypatch: pytest.MonkeyPatch, call_filter: CallFilter) -> Screen:
    """Return a table of a parent in progress with a child that rings and one that was busy, and of another call."""
    other = callback(OTHER, "in-progress", second=40, sequence=0, to="+12025550142")
    screen = Screen(monkeypatch, board_of([*family(), other]), TableOptions(part=ShownPart(call_filter)))
    screen.view.begin(screen.board.snapshot())
    return screen


def hangup(sid: str, *, result: str) -> ActionEvent:
    at = START + timedelta(seconds=50)
    return ActionEvent(at=at, call_sid=sid, action="hangup", request=(), result=result, outcome=f"outcome of {sid}")


def test_only_the_part_is_shown_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch, CallFilter(to="+12025550142"))
    event = callback(SIP_CHILD, "in-progress", second=45, sequence=2, parent=PARENT)
    screen.view.event(event, screen.board.apply(event))
    screen.view.action(hangup(SIP_CHILD, result=REFUSED))
    drawn = screen.drawn()
    assert OTHER in drawn
    assert PARENT not in drawn
    assert SIP_CHILD not in drawn
    assert "only to +12025550142" in drawn
    assert "1 of" not in drawn
    assert "1 leg " in drawn
    screen.view.close()
    assert PARENT not in screen.taken()


@pytest.mark.parametrize("call_filter", [NOBODY, RINGING, CallFilter(family_of=OTHER)])
def test_q_asks_while_any_call_is_live_whatever_is_shown(
    monkeypatch: pytest.MonkeyPatch, call_filter: CallFilter
) -> None:
    screen = screen_of(monkeypatch, call_filter)
    screen.drawn()
    assert "stop listening? 3 live calls report here" in screen.press("q")
    screen.view.close()


@pytest.mark.parametrize("call_filter", [RINGING, TALKING, CallFilter(to="+12025550100")])
def test_a_hang_up_reaches_the_whole_family(monkeypatch: pytest.MonkeyPatch, call_filter: CallFilter) -> None:
    screen = screen_of(monkeypatch, call_filter)
    screen.drawn()
    while "hang up +12025550100" not in (asked := screen.press("j", "x")):
        screen.press("n")
    assert "f: family" in asked
    assert screen.operator.asked_of == screen.board.snapshot()
    assert "the whole family, 2 live legs" in screen.press("f")
    screen.press("y")
    (intent,) = screen.operator.acted
    assert [target.sid for target in intent.targets] == [PARENT, SIP_CHILD]
    assert screen.operator.questions[-1] is intent  # put once, when it was drawn
    assert screen.operator.last_actions[-1] == 7  # by what was shown then
    assert len(set(map(id, screen.operator.questions))) == len(screen.operator.questions)
    screen.view.close()


def test_a_redirect_says_what_becomes_of_legs_that_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch, CallFilter(to="+12025550100"))
    screen.drawn()
    screen.press("g", "r")
    screen.view.key(Key("paste", screen.now + 1, "https://example.com/a"))
    screen.view.take_news()
    screen.press(ENTER)
    assert screen.operator.asked_of == screen.board.snapshot()
    screen.view.close()


def test_a_question_is_over_when_a_command_ends_a_leg_of_the_family_that_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = screen_of(monkeypatch, CallFilter(to="+12025550100"))
    screen.drawn()
    assert "the whole family" in screen.press("g", "x", "f")
    screen.view.action(hangup(SIP_CHILD, result=DONE))
    drawn = screen.drawn()
    assert "hung up meanwhile: nothing was sent" in drawn
    assert f"outcome of {SIP_CHILD}" not in drawn
    screen.press("y")
    assert not screen.operator.acted
    screen.view.close()


def test_a_question_names_what_a_leg_became_that_no_longer_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch, RINGING)
    screen.drawn()
    assert "hang up sip:agent@example.com ◔ ringing" in screen.press("G", "x")
    screen.board.apply(callback(SIP_CHILD, "in-progress", second=45, sequence=2, parent=PARENT))
    assert "answered meanwhile: nothing was sent" in screen.drawn()
    screen.view.close()


def test_a_parent_above_what_matches_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is marked by hand alone; what the API refuses of it shows, for it has a row."""
    screen = screen_of(monkeypatch, RINGING)
    screen.drawn()
    assert "1 marked" in screen.press("/", *"live", ENTER, "a")
    assert "the marked leg" in screen.press("x")
    screen.press("1", ENTER)
    (intent,) = screen.operator.acted
    assert [target.sid for target in intent.targets] == [SIP_CHILD]
    screen.view.action(hangup(PARENT, result=REFUSED))
    screen.view.refresh(screen.board.snapshot(), HEADER)
    assert f"outcome of {PARENT}" in (drawn := screen.taken())
    assert "1 failed in 5 min" in drawn
    assert BUSY_CHILD not in drawn
    screen.view.close()


def test_a_held_picture_stays_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch, RINGING)
    screen.drawn()
    screen.press("p")
    screen.board.apply(callback(SIP_CHILD, "in-progress", second=45, sequence=2, parent=PARENT))
    held = screen.drawn()
    assert SIP_CHILD in held
    assert OTHER not in held
    assert "No calls yet" not in screen.press("p")
    screen.view.close()
    assert OTHER not in screen.taken()
