"""The glyph and colour of each status."""

from __future__ import annotations

import pytest

from callctl.calls.call import CallStatus
from callctl.views.style import glyph, style
from callctl.views.table import cells


@pytest.mark.parametrize("status", list(CallStatus))
def test_every_status_has_a_glyph_of_one_cell_and_a_colour(status: CallStatus) -> None:
    assert cells(glyph(status)) == 1
    assert glyph(status) != "?"
    assert style(status)


def test_an_unknown_status_has_its_own() -> None:
    assert (glyph("no-such-status"), style("no-such-status")) == ("?", "bold")
