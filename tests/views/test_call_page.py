"""A requested action stands before its effect, whichever of them was known first."""

from __future__ import annotations

import io

import pytest
from events import WORLD, clock_of, event, moment, sid
from legs import board_of
from rich.console import Console

from callctl.calls.action import DONE, LATE, ActionEvent
from callctl.calls.call import Call
from callctl.calls.event import MISSED, CallEvent
from callctl.views.call_page import timeline_lines, timeline_of
from callctl.views.live.screen import LiveView, TableOptions
from callctl.views.view import WatchState

ANSWERED = event(1, "in-progress", at=0, received=0.2, number=1)


def action_at(at: float, *, action: str = "hangup", result: str = DONE) -> ActionEvent:
    return ActionEvent(moment(at), sid(1), action, (), "hung up", result=result)


def ended(at: float, received: float, *, call: int = 1, parent: int | None = None) -> CallEvent:
    return event(call, "completed", at=at, received=received, number=2, parent=parent)


@pytest.mark.parametrize(
    "end",
    [
        ended(10, 10.6),  # in the same second
        ended(11, 11.1),
        ended(5, 10.6),  # this machine's clock is five seconds ahead
        ended(10, 10.6, call=2, parent=1),
        ended(5, 10.6, call=2, parent=1),
    ],
)
def test_an_end_comes_after_the_action(end: CallEvent) -> None:
    action = action_at(10.4)
    assert timeline_of([ANSWERED, end], [action]) == [ANSWERED, action, end]


def test_why_a_compatible_service_ended_it_is_shown() -> None:
    end = event(1, "failed", at=1, SipResultCode="403", ErrorCode="32011", ErrorMessage="no such number")
    (line,) = timeline_lines([end], own=sid(1))
    assert "(SIP 403, error 32011 no such number)" in line


def test_an_end_that_was_known_before_stays_before() -> None:
    end, action = ended(10, 10.2), action_at(10.4, result=LATE)
    assert timeline_of([ANSWERED, end], [action]) == [ANSWERED, end, action]
    assert timeline_of([ANSWERED, end], [action_at(10.4)]) == [ANSWERED, end, action_at(10.4)]
    other = ended(8, 10.6, call=3)
    assert timeline_of([ANSWERED, other], [action_at(10.4)]) == [ANSWERED, other, action_at(10.4)]


def test_an_end_that_a_callback_reported_after_all_stands_there_once() -> None:
    """REST was polled before the callback that had waited in the socket was processed."""
    polled = Call(sid(1), "completed", end_time=moment(10))
    missed = CallEvent.from_call(polled, received_at=moment(18), world=WORLD, kind=MISSED)
    assert timeline_of([ANSWERED, missed], []) == [ANSWERED, missed]
    end = ended(10, 19)
    assert timeline_of([ANSWERED, missed, end], []) == [ANSWERED, end]
    assert timeline_of([ANSWERED, missed, ended(10, 19, call=3)], [])[1] == missed


@pytest.mark.parametrize("more", [0, 3, 8])
def test_the_live_table_shows_the_cause_above_its_effect(more: int) -> None:
    """The callback of the end was shown before the request was answered."""
    screen = io.StringIO()
    view = LiveView(
        Console(file=screen, force_terminal=True, width=160, height=24),
        TableOptions(),
        clock=clock_of(lambda: moment(12)),
    )
    events = [ANSWERED, ended(10, 10.6)]
    for number in range(more):
        view.event(event(9, "ringing", at=9, received=9 + number / 100, number=number), None)
    for one in events:
        view.event(one, None)
    view.action(action_at(10.4))
    view.refresh(board_of(events).snapshot(), WatchState(title="watch", listening="", callback_url="", api_url=None))
    lines = [line for line in screen.getvalue().splitlines() if sid(1) in line and ":" in line]
    view.close()
    assert [any(word in line for line in lines) for word in ("hangup: hung up", "completed")] == [True, True]
    below = next(at for at, line in enumerate(lines) if "hangup: hung up" in line)
    assert "completed" in lines[below + 1]
