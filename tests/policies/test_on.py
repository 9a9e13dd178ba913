"""Whom a rule acts on when it holds for a leg."""

from __future__ import annotations

from playing import Play, seconds
from telling import sid

from callctl.policies import Hangup, On, Rule, When


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
