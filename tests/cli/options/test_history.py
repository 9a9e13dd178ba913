"""Since when a call has had its status: callbacks before REST, and rather too late than too early."""

from __future__ import annotations

import pytest
from events import event, moment, sid

from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.leg import Leg
from callctl.cli.options.history import StatusSince

CREATED, DIALLED, CHANGED = moment(0), moment(2), moment(9)


def call(status: str) -> Call:
    return Call(sid(1), status, date_created=CREATED, start_time=DIALLED, date_updated=CHANGED)


def leg(*events: CallEvent) -> Leg | None:
    board = Board()
    for one in events:
        board.apply(one)
    return board.snapshot().leg(sid(1))


def test_what_callbacks_reported_counts() -> None:
    recorded_leg = leg(event(1, "ringing", number=1, at=3), event(1, "in-progress", number=2, at=20))
    since = StatusSince(lambda _: recorded_leg)
    assert since(call("in-progress")) == moment(20)
    assert since.in_words([sid(1)]) is None


def test_a_step_that_rest_does_not_show_yet_counts_as_well() -> None:
    """A call that was answered just now has not rung for longer than it did."""
    recorded_leg = leg(event(1, "in-progress", number=2, at=20))
    assert StatusSince(lambda _: recorded_leg)(call("ringing")) == moment(20)


@pytest.mark.parametrize(
    "recorded_leg", [None, leg(event(1, "ringing", number=1, at=3))], ids=["nothing", "an earlier step"]
)
def test_else_the_latest_of_rests_dates_counts_and_that_is_said(recorded_leg: Leg | None) -> None:
    since = StatusSince(lambda _: recorded_leg)
    assert since(call("in-progress")) == CHANGED
    assert "of 1 call no callback told since when" in (since.in_words([sid(1)]) or "")
    assert since.in_words([sid(2)]) is None


def test_what_a_poll_reported_is_rests_word() -> None:
    polled = CallEvent.from_call(call("in-progress"), received_at=moment(5), world="w")
    since = StatusSince(lambda _: leg(polled))
    assert since(call("in-progress")) == CHANGED
    assert since.by_rest == {sid(1)}


def test_without_any_date_nothing_is_known() -> None:
    assert StatusSince(lambda _: None)(Call(sid(1), "ringing")) is None
