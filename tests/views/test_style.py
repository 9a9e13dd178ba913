"""The glyph and colour of each status."""

from __future__ import annotations

import pytest
from rich.text import Text

from callctl.calls.call import CallStatus
from callctl.views.style import append_status, glyph, style
from callctl.views.table import cells, shown_status


@pytest.mark.parametrize("status", list(CallStatus))
def test_every_status_has_a_glyph_of_one_cell_and_a_colour(status: CallStatus) -> None:
    assert cells(glyph(status)) == 1
    assert glyph(status) != "?"
    assert style(status)


def test_an_unknown_status_has_its_own() -> None:
    assert (glyph("no-such-status"), style("no-such-status")) == ("?", "bold")


@pytest.mark.parametrize("status", [*CallStatus, "no-such-status"])
def test_a_word_has_no_colour_that_a_white_or_a_black_ground_hides(status: str) -> None:
    line = append_status(Text("  "), f"{shown_status(status)} 00:12", style(status))
    assert line.plain == f"  {shown_status(status)} 00:12"
    looks = [{str(span.style) for span in line.spans if span.start <= at < span.end} for at in range(len(line))]
    assert looks[2] == {style(status)}
    assert set().union(*looks[3:]) <= {"", "dim", "bold", "red"}
