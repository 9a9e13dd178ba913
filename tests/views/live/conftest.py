"""Tables that the tests of keys begin with."""

from __future__ import annotations

import pytest
from live_table import LiveTable


@pytest.fixture
def table() -> LiveTable:
    """Return a table of twelve calls in progress, 1 the longest, with room for five rows."""
    table = LiveTable(room=5)
    for number in range(1, 13):
        table.event(number, "in-progress", ago=100 - number)
    table.draw()
    return table


@pytest.fixture
def family() -> LiveTable:
    """Return a table of a parent 1 in progress with a child 2 that rings and one that was busy, and a call 4."""
    table = LiveTable(urls=("music", "queue"))
    table.event(1, "in-progress", ago=50)
    table.event(2, "ringing", ago=20, parent=1)
    table.event(3, "busy", ago=9, parent=1)
    table.event(4, "in-progress", ago=40)
    table.draw()
    return table
