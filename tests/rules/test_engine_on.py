"""Whom a rule acts on when it holds for a leg."""

from __future__ import annotations

import pytest
from playing import Play, seconds
from telling import sid

from callctl.calls.board import Leg
from callctl.rules.engine import passed_over
from callctl.rules.rule import Hangup, On, Redirect, Rule, When, after_dial_rule


def test_children_are_those_of_the_leg_that_live_and_not_their_own_children() -> None:
    when = When(statuses=frozenset({"in-progress"}), lasting=seconds(10), leg="parent")
    play = Play(Rule(name="free", when=when, then=Hangup(), on=On.CHILDREN))
    play.tell(1, "in-progress")
    play.tell(2, "ringing", parent=1)
    play.tell(3, "ringing", parent=2)
    play.tell(4, "busy", parent=1)
    play.wait(60)
    assert play.actions == [(11.0, "hangup", sid(2))]
    assert play.declined == []


def test_a_leg_without_a_parent_asks_for_nothing_on_its_parent() -> None:
    when = When(statuses=frozenset({"in-progress"}))
    play = Play(Rule(name="mine", when=when, then=Hangup(), on=On.PARENT))
    play.tell(1, "in-progress")
    play.tell(2, "in-progress", parent=1)
    play.wait(60)
    assert play.actions == [(0.0, "hangup", sid(1))]


AFTER = after_dial_rule(Redirect("survey", "https://example.com/survey"))


def legs_of_a_caller(*legs: tuple[float, float, str]) -> tuple[Play, Leg]:
    """Tell of a caller's legs, each with its beginning, end and final status; return the last one, too."""
    play = Play()
    play.tell(1, "in-progress")
    moments = [(began, number, "in-progress") for number, (began, _, _) in enumerate(legs, 2)]
    moments += [(ended, number, status) for number, (_, ended, status) in enumerate(legs, 2)]
    for play.seconds, number, status in sorted(moments):
        play.tell(number, status, parent=1)
    last = play.board.snapshot().leg(sid(len(legs) + 1))
    assert last is not None
    return play, last


@pytest.mark.parametrize(("gap", "is_found"), [(0, True), (4, True), (5, True), (6, False)])
def test_an_end_was_passed_over_for_a_leg_that_began_soon_enough(gap: int, is_found: bool) -> None:
    play, last = legs_of_a_caller((0, 10, "completed"), (10 + gap, 30, "busy"))
    found = passed_over(AFTER, last, play.board.snapshot(), tolerance=seconds(5))
    assert (found.call_sid if found else None) == (sid(2) if is_found else None)


def test_of_legs_that_overlap_the_one_that_began_first_counts() -> None:
    play, last = legs_of_a_caller((0, 4, "completed"), (5, 19, "busy"), (15, 18, "busy"), (20, 21, "busy"))
    found = passed_over(AFTER, last, play.board.snapshot(), tolerance=seconds(1))
    assert found is not None
    assert found.call_sid == sid(2)
