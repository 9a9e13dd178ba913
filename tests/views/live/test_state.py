"""What the state of the live table says of itself."""

from __future__ import annotations

import pytest
from events import sid
from live_table import LiveTable

from callctl.views.live.intents import Leave
from callctl.views.live.keys import ESCAPE
from callctl.views.live.state import ORDER_STAYS, ChoosingUrl, Confirming, Filtering, KeysPage, LegPage, ViewState

# Selecting


def test_nothing_is_selected_at_the_start(table: LiveTable) -> None:
    assert table.state == ViewState()


# The order


@pytest.mark.parametrize(
    ("state", "is_kept"),
    [
        (ViewState(), False),
        (ViewState(key_at=9.5), True),
        (ViewState(key_at=9.0), False),
        (ViewState(mode=Filtering()), True),
        (ViewState(mode=Confirming(Leave())), True),
        (ViewState(mode=ChoosingUrl(())), True),
        (ViewState(mode=LegPage("CA")), False),
        (ViewState(mode=KeysPage()), False),
        (ViewState(is_held=True), True),
    ],
)
def test_when_the_order_is_kept(state: ViewState, is_kept: bool) -> None:
    assert state.arrangement(10.0).order_is_kept is is_kept


@pytest.mark.parametrize("keys", [["j"], ["/"], ["j", "x"], ["j", "r"]])
def test_the_order_stays_after_a_key_and_longer_while_something_is_asked(table: LiveTable, keys: list[str]) -> None:
    rows = table.rows
    table.type(*keys)
    table.event(9, "failed")
    table.wait(ORDER_STAYS - 0.01)
    assert table.rows == rows
    table.wait(0.01)
    assert (table.rows == rows) is (len(keys) > 1 or keys == ["/"])
    table.type(ESCAPE)
    table.wait(ORDER_STAYS)
    assert table.rows[0] == sid(9)
