"""One leg as the board has it."""

from __future__ import annotations

import pytest
from events import moment
from legs import PARENT, callback

from callctl.calls.board import Board
from callctl.calls.leg import Leg

STEPS = [("initiated", 0), ("ringing", 1), ("in-progress", 3), ("completed", 9)]


def leg_after(*steps: tuple[str, int]) -> Leg:
    board = Board()
    for number, (status, second) in enumerate(steps):
        board.apply(callback(PARENT, status, second=second, sequence=number))
    leg = board.snapshot().leg(PARENT)
    assert leg is not None
    return leg


@pytest.mark.parametrize("steps", [STEPS[:count] for count in range(1, 5)], ids=lambda steps: str(steps[-1][0]))
def test_a_leg_has_its_status_since_the_step_that_led_to_it(steps: list[tuple[str, int]]) -> None:
    assert leg_after(*steps).status_since == moment(steps[-1][1])


def test_a_status_whose_step_was_not_reported_counts_from_the_first_event() -> None:
    assert leg_after(("ringing", 1), ("no-such-status", 5)).status_since == moment(1)


@pytest.mark.parametrize(("status", "is_live"), [("ringing", True), ("no-such-status", True), ("busy", False)])
def test_an_unknown_status_counts_as_live(status: str, is_live: bool) -> None:
    leg = leg_after((status, 1))
    assert (leg.is_live, leg.is_final) == (is_live, not is_live)


def test_what_is_not_known_is_null_in_json() -> None:
    record = leg_after(("ringing", 1)).to_json()
    assert (record["v"], record["type"], record["call_sid"], record["status"]) == (1, "snapshot", PARENT, "ringing")
    assert (record["answered_at"], record["parent_call_sid"], record["caller_name"]) == (None, None, None)
    assert record["status_since"] == record["ringing_at"] == "2026-11-23T10:00:01Z"
