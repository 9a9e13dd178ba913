"""Redirects of both legs of a Dial of which one fails: nobody is dropped for it, and no doubt is stated as a fact."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from api.scripted import Turn, drop, reply
from cli.dialled import CHILD, PARENT, REFUSED, Dialled
from running import Callctl, Outcome

ROOM = ("--conference", "room 1")
NOT_IN_PROGRESS = reply(400, {"code": 21220, "message": "Call is not in-progress. Cannot redirect.", "status": 400})
UNKNOWN = reply(404, {"code": 20404, "message": "not found", "status": 404})
LEFT_ALONE = f"{PARENT} was left alone: its child leg {CHILD}"

Redirect = Callable[..., tuple[Outcome, list[str]]]


@pytest.fixture
def redirect(callctl: Callctl) -> Redirect:
    def run(*args: str, child: str = "in-progress", **changes: Turn) -> tuple[Outcome, list[str]]:
        """Redirect, and return the outcome and the calls that were to be changed; ``changes`` are by ``_SID``."""
        with Dialled({sid.removeprefix("_"): turn for sid, turn in changes.items()}, child=child) as server:
            return callctl("redirect", *args, env=server.env), server.changed

    return run


@pytest.mark.parametrize("named", [(PARENT, CHILD), (CHILD, PARENT)])
@pytest.mark.parametrize("when", [(), ("--when", "answered")])
@pytest.mark.parametrize("turn", [REFUSED, NOT_IN_PROGRESS, UNKNOWN])
def test_a_parent_whose_child_was_not_redirected_is_left_alone(
    redirect: Redirect, named: tuple[str, str], when: tuple[str, ...], turn: Turn
) -> None:
    outcome, sent = redirect(*named, *ROOM, *when, **{f"_{CHILD}": turn})
    assert (outcome.code, set(sent)) == (8, {CHILD})
    assert f"{LEFT_ALONE} was not redirected, and would be dropped" in outcome.err


@pytest.mark.parametrize("more", [(), ("--when", "answered"), ("--family",)])
@pytest.mark.parametrize("turn", [drop(), reply(303, Location="/elsewhere")])
def test_so_is_one_whose_child_may_not_have_been(redirect: Redirect, more: tuple[str, ...], turn: Turn) -> None:
    named = (PARENT,) if more == ("--family",) else (PARENT, CHILD)
    outcome, sent = redirect(*named, *ROOM, *more, **{f"_{CHILD}": turn})
    assert (outcome.code, set(sent)) == (8, {CHILD})
    assert f"{LEFT_ALONE} may not have been redirected, and would be dropped then" in outcome.err
    assert f"hint: `callctl show {CHILD}` shows what became of the child" in outcome.err
    assert "was not redirected" not in outcome.err


def test_a_parent_whose_child_is_over_is_redirected(redirect: Redirect) -> None:
    outcome, sent = redirect(PARENT, CHILD, *ROOM, child="completed", **{f"_{CHILD}": NOT_IN_PROGRESS})
    assert (outcome.code, sent[-1]) == (8, PARENT)
    assert "1 of 2 calls not redirected" in outcome.err


PLACE = "`callctl place TO --conference 'room 1'` brings somebody in"
MOVE = f"`callctl redirect {PARENT} --conference 'room 1'` brings the other leg in where it is live"


@pytest.mark.parametrize("turn", [reply(403), REFUSED])
def test_a_child_whose_parent_was_refused_is_alone_and_the_parent_may_still_come(
    redirect: Redirect, turn: Turn
) -> None:
    outcome, sent = redirect(PARENT, "--family", *ROOM, **{f"_{PARENT}": turn})
    assert (outcome.code, sent) == (8, [CHILD, PARENT])
    alone = f"hint: {CHILD} is alone in the conference room 1: {MOVE}, {PLACE}, `callctl hangup {CHILD}` ends it"
    assert outcome.err.splitlines()[-1] == alone


@pytest.mark.parametrize("lost", [PARENT, CHILD])
def test_who_may_be_alone_is_not_to_be_ended_unseen(redirect: Redirect, lost: str) -> None:
    outcome, _ = redirect(PARENT, "--family", *ROOM, **{f"_{lost}": drop()})
    assert outcome.code == 8
    shown = f"`callctl show {CHILD} {PARENT}` shows what became of both legs"
    assert outcome.err.splitlines()[-1] == (
        f"hint: {CHILD} may be alone in the conference room 1: {shown}; if so, {MOVE}, {PLACE}"
    )
    assert "hangup" not in outcome.err
