"""What is not as usual about an event is told in each form: that it came late, was polled, or that nobody vouches."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from legs import PARENT, callback
from telling import START

from callctl.board import Board
from callctl.calls import Call
from callctl.events import MISSED, CallEvent
from callctl.views.jsonl import JsonLinesView
from callctl.views.lines import LineView, event_fields, short_line
from callctl.views.rows import family_rows
from callctl.views.view import View

ANSWERED = callback(PARENT, "in-progress", second=3, sequence=2)
RINGING = callback(PARENT, "ringing", second=1, sequence=1)


def test_a_late_one_is_marked_in_each_form() -> None:
    out, lines = io.StringIO(), io.StringIO()
    views: list[View] = [JsonLinesView(out, extra={}, say=print), LineView(lines, say=print)]
    board = Board()
    for event in (ANSWERED, RINGING):
        change = board.apply(event)
        for view in views:
            view.event(event, change)
    assert [json.loads(line)["late"] for line in out.getvalue().splitlines()] == [False, True]
    assert [line.split("\t")[7:] for line in lines.getvalue().splitlines()] == [["-"], ["late"]]
    assert short_line(RINGING, is_late=True).endswith("◔ ringing  late  +12025550100")


def test_marks_stand_side_by_side() -> None:
    missed = CallEvent.from_call(Call(PARENT, "completed"), received_at=START, world="test", kind=MISSED)
    assert event_fields(missed)[7:] == ("missed",)
    assert event_fields(replace(RINGING, verified=False), is_late=True)[7:] == ("late,unverified",)
    assert event_fields(ANSWERED)[7:] == ("-",)


@pytest.mark.parametrize("width", [60, 80, 100, 140, 170])
@pytest.mark.parametrize("later", [timedelta(seconds=30), timedelta(hours=1)], ids=["unfolded", "folded"])
def test_a_row_keeps_its_marks_where_its_ends_have_no_room(width: int, later: timedelta) -> None:
    far = "sip:somebody-with-a-long-name@a-long-name.example.com"
    board = Board()
    for second, status in enumerate(("ringing", "busy")):
        told = callback(PARENT, status, second=second, sequence=second, to=far, From=far, SipResponseCode="486")
        board.apply(replace(told, verified=False))
    (row,) = family_rows(board.snapshot().families[0], now=START + later, width=width)
    for line in row.lines:
        line.truncate(width)
    assert "(unverified)" in row.lines[0].plain
