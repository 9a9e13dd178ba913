"""Both legs of a Dial are to be ended, and the parent's hang-up fails: the child is left alone with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from api.scripted import ReceivedRequest, Turn, drop, reply
from cli.dialled import CHILD, PARENT, REFUSED, Dialled
from cli.setup import CliSetup
from running import Callctl

EACH_WAY = [
    pytest.param((PARENT, "--family"), id="family of the parent"),
    pytest.param((CHILD, "--family"), id="family of the child"),
    pytest.param((CHILD, PARENT), id="named"),
    pytest.param(("--all", "--yes", "--max", "9"), id="all"),
]


@pytest.mark.parametrize("args", EACH_WAY)
@pytest.mark.parametrize(("turn", "how"), [(REFUSED, "failed"), (reply(409), "failed"), (drop(), "may have failed")])
def test_a_child_whose_parent_was_not_ended_is_left_alone(
    callctl: Callctl, args: tuple[str, ...], turn: Turn, how: str
) -> None:
    with Dialled({PARENT: turn}) as server:
        outcome = callctl("hangup", *args, "--json", env=server.env)
        changed = set(server.changed)
    assert (outcome.code, changed) == (8, {PARENT})
    left = next(record for record in map(json.loads, outcome.out.splitlines()) if record["call_sid"] == CHILD)
    assert left["result"] == "failed"
    assert left["error"]["message"] == (
        f"{CHILD} was left alone: the hang-up of its parent {PARENT} {how}, and without its child that would go on "
        "behind its Dial"
    )
    assert left["error"]["hint"] == f"`callctl hangup {CHILD}` ends it by itself"


@pytest.mark.parametrize("args", EACH_WAY)
def test_a_child_whose_parent_was_ended_is_ended_after_it(callctl: Callctl, args: tuple[str, ...]) -> None:
    with Dialled({}) as server:
        outcome = callctl("hangup", *args, env=server.env)
        assert server.changed == [PARENT, CHILD]
    assert outcome.code == 0


def test_the_child_by_itself_is_ended_as_ever(callctl: Callctl) -> None:
    with Dialled({PARENT: REFUSED}) as server:
        assert callctl("hangup", CHILD, env=server.env).code == 0
        assert server.changed == [CHILD]


def test_a_parent_that_is_ended_in_the_next_round_keeps_its_child_from_nothing(callctl: Callctl) -> None:
    class Once(Dialled):
        """Refuses the first change of the parent only."""

        def take(self, request: ReceivedRequest) -> Turn:
            self._changes = {} if PARENT in self.changed else {PARENT: REFUSED}
            return super().take(request)

    with Once({}) as server:
        outcome = callctl(
            "hangup", "--all", "--yes", "--max", "9", "--until-none", "--wait-timeout", "30s", env=server.env
        )
        changed = server.changed
    assert outcome.code == 0, outcome.err
    assert changed == [PARENT, PARENT, CHILD]


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_leg_further_up_counts_where_the_one_in_between_is_not_named(setup: CliSetup, is_refused: bool) -> None:
    between = "CA" + "3" * 32
    with Dialled({PARENT: REFUSED} if is_refused else {}) as server:
        env = {"CALLCTL_API_URL": server.url}
        for leg, parent in ((PARENT, None), (between, PARENT), (CHILD, between)):
            setup.add_callback(leg, "in-progress", at=datetime.now(UTC), parent=parent, env=env)
        outcome = setup.callctl("hangup", CHILD, PARENT, env=env)
        changed = server.changed
    assert (outcome.code, changed) == ((8, [PARENT]) if is_refused else (0, [PARENT, CHILD]))
