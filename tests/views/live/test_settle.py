"""What is selected, and on the screen, as legs come, change and go."""

from __future__ import annotations

import pytest
from events import moment, sid
from live_table import LiveTable, asked

from callctl.views.live.intents import Copy
from callctl.views.live.keys import DOWN, ENTER, ESCAPE, Key
from callctl.views.live.settle import MESSAGE_STAYS, outlived
from callctl.views.live.sorted_legs import FAILURES
from callctl.views.live.state import ORDER_STAYS

SELECT_FIRST = "select a leg first: ↑ ↓"


def test_the_selected_leg_stays_selected_wherever_it_goes(table: LiveTable) -> None:
    table.type(*["j"] * 7)
    assert table.state.selected == sid(7)
    table.event(7, "failed")
    table.wait(ORDER_STAYS)
    assert (table.rows[0], table.state.selected, table.state.top) == (sid(7), sid(7), 2)
    table.wait(301)
    assert (table.rows[-1], table.state.selected, table.state.top) == (sid(7), sid(7), 2)
    table.type("c")
    assert (table.state.selected, table.state.top) == (sid(7), 7)


def test_the_view_follows_a_live_leg(table: LiveTable) -> None:
    table.type("g")
    for number in range(20, 30):
        table.event(number, "in-progress", ago=200)
    table.wait(ORDER_STAYS)
    assert (table.rows.index(sid(1)), table.state.selected, table.state.top) == (10, sid(1), 6)


@pytest.mark.parametrize("is_last", [False, True])
def test_after_a_hang_up_the_next_row_is_selected_where_the_leg_stood(table: LiveTable, is_last: bool) -> None:
    table.type("G" if is_last else "g")
    ended, following = (sid(12), sid(11)) if is_last else (sid(1), sid(2))
    top = table.state.top
    asked(table, "x")
    assert table.type("y") is not None
    table.event(12 if is_last else 1, "completed")
    table.draw()
    assert table.state.selected == ended
    table.wait(ORDER_STAYS)
    assert (table.rows[-1], table.state.selected, table.state.top) == (ended, following, top)


def test_a_leg_that_ends_long_after_the_key_leaves_its_place_in_one_frame(table: LiveTable) -> None:
    table.type("g", " ")
    asked(table, "x")
    assert table.type("1", ENTER) is not None
    table.wait(5)
    table.event(1, "completed")
    table.draw()
    assert (table.rows[-1], table.state.selected, table.state.top) == (sid(1), sid(2), 0)


@pytest.mark.parametrize("is_changed", [True, False])
def test_a_leg_that_was_not_hung_up_and_ends_later_stays_selected(table: LiveTable, is_changed: bool) -> None:
    table.type("g")
    asked(table, "x")
    table.type("y")
    table.state = outlived(table.state, [sid(2)] if is_changed else [sid(1)])
    table.wait(60)
    table.event(1, "completed")
    table.draw()
    assert (table.rows[-1], table.state.selected) == (sid(1), sid(2) if is_changed else sid(1))


def test_after_the_hang_up_of_a_family_another_live_leg_is_selected(family: LiveTable) -> None:
    family.select(1)
    asked(family, "x", "f")
    family.type("y")
    family.event(1, "completed")
    family.event(2, "canceled")
    family.wait(ORDER_STAYS)
    assert (family.rows[0], family.state.selected) == (sid(4), sid(4))


def test_no_key_acts_on_a_row_that_is_not_shown_as_selected_yet(table: LiveTable) -> None:
    table.type("g")
    asked(table, "x")
    table.type("y")
    table.event(1, "completed")
    table.draw()
    table.now += ORDER_STAYS  # and no frame
    assert table.take(Key("c", table.now)) == Copy(sid(1))


def test_another_leg_that_is_selected_meanwhile_stays_so(table: LiveTable) -> None:
    table.type("g")
    asked(table, "x")
    table.type("y", "j", "j")
    table.event(1, "completed")
    table.wait(ORDER_STAYS)
    assert table.state.selected == sid(3)


def test_a_smaller_screen_keeps_an_ended_leg_on_it(table: LiveTable) -> None:
    table.event(12, "completed")
    table.wait(ORDER_STAYS)
    table.type("G")
    table.room = 3
    table.draw()
    assert (table.state.selected, table.state.top) == (sid(12), 9)


def test_a_leg_that_is_gone_is_not_selected(table: LiveTable) -> None:
    table.type("j", " ")
    table.event(1, "completed")
    table.board.forget(before=moment(table.now + 1), now=moment(table.now + 1))
    table.draw()
    assert (table.state.selected, table.state.marks) == (None, {})


def test_a_leg_that_folds_leaves_the_row_of_failures_selected(table: LiveTable) -> None:
    table.select(3)
    for number in range(1, 5):
        table.event(number, "failed")
    table.wait(ORDER_STAYS)
    assert (table.rows[0], table.state.selected) == (FAILURES, FAILURES)


def test_fewer_rows_leave_no_room_empty(table: LiveTable) -> None:
    table.type("G", ESCAPE)
    assert table.state.top == 7
    for number in range(1, 6):
        table.event(number, "completed")
    table.board.forget(before=moment(table.now + 1), now=moment(table.now + 1))
    table.wait(ORDER_STAYS)
    assert (len(table.rows), table.state.top) == (7, 2)
    table.room = 9
    table.draw()
    assert table.state.top == 0


def test_a_message_goes_after_a_while_or_with_the_next_key(table: LiveTable) -> None:
    table.type("x")
    assert table.state.message == SELECT_FIRST
    table.wait(MESSAGE_STAYS - 0.1)
    assert table.state.message == SELECT_FIRST
    table.wait(0.2)
    assert table.state.message == ""
    table.type("x", DOWN)
    assert table.state.message == ""
