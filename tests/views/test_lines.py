"""Marks of an unusual event in each view: that it came late, was polled, or has no valid signature."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from events import START, age_at
from legs import PARENT, board_of, callback
from rich.text import Text

from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import MISSED, CallEvent
from callctl.views.jsonl import JsonLinesView
from callctl.views.lines import LineView, event_fields, short_line
from callctl.views.live.rows import WIDE, LegRow, Style, leg_lines
from callctl.views.view import View

ANSWERED = callback(PARENT, "in-progress", second=3, sequence=2)
RINGING = callback(PARENT, "ringing", second=1, sequence=1)


def row_of(board: Board, now: datetime, *, width: int) -> list[Text]:
    """Return the lines of the only leg of a board, two of them where there is no room for columns."""
    (leg,) = board.snapshot().legs.values()
    return leg_lines(LegRow(leg), Style(width, is_two_lines=width < WIDE), age=age_at(now))


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


def test_where_a_line_is_too_wide_the_sid_gives_way_and_not_what_happened() -> None:
    polled = replace(ANSWERED, kind="polled", verified=False)
    whole = short_line(polled, width=200)
    assert short_line(polled, width=len(whole)) == whole
    narrow = short_line(polled, width=len(whole) - 1)
    assert (narrow, len(narrow)) == (whole.replace(PARENT, f"{PARENT[:10]}…"), len(whole) - 23)


def test_where_that_is_too_wide_still_the_sid_gives_way_to_the_number() -> None:
    time, rest = short_line(RINGING).split("  ", 1)
    without = f"{time}  {rest.removeprefix(f'{PARENT}  ')}"
    assert without.endswith("  ◔ ringing  +12025550100")
    assert short_line(RINGING, width=len(without)) == without
    assert short_line(RINGING, width=len(without) - 1) == f"{time}  {PARENT[:10]}…  ◔ ringing  +12025550100"


def test_marks_stand_side_by_side() -> None:
    missed = CallEvent.from_call(Call(PARENT, "completed"), received_at=START, world="test", kind=MISSED)
    assert event_fields(missed)[7:] == ("missed",)
    assert event_fields(replace(RINGING, verified=False), is_late=True)[7:] == ("late,unverified",)
    assert event_fields(ANSWERED)[7:] == ("-",)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 170])
@pytest.mark.parametrize("far", ["inbound", "outbound-api"])
@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize("kind", ["callback", "polled"])
def test_one_s_own_number_gives_way_to_the_other_end(width: int, far: str, is_folded: bool, kind: str) -> None:
    called, own = "+12025550100", "+15005550006"
    from_, to = (called, own) if far == "inbound" else (own, called)
    facts = {"Direction": far, "From": from_, "AnsweredBy": "machine_end_beep", "CallDuration": "3600"}
    one = replace(
        callback(PARENT, "no-answer" if is_folded else "in-progress", second=0, sequence=0, to=to, **facts), kind=kind
    )
    later = START + timedelta(seconds=3700)
    line = row_of(board_of([one]), later, width=width)[0]
    line.truncate(width, overflow="ellipsis")
    assert called in line.plain, line.plain
    assert (own in line.plain) or width < 100


def test_a_mark_stands_before_an_end_behind_which_it_would_be_cut() -> None:
    own = callback(PARENT, "ringing", second=0, sequence=0, to="+12025550100", From="+15005550006")
    line = row_of(board_of([replace(own, kind="polled")]), START, width=47)[0]
    assert line.plain == " ◔ ringing 00:00        (polled) → +12025550100"


@pytest.mark.parametrize("width", [60, 80, 100, 140, 170])
def test_a_row_keeps_its_marks_where_its_ends_have_no_room(width: int) -> None:
    far = "sip:somebody-with-a-long-name@a-long-name.example.com"
    board = Board()
    for second, status in enumerate(("ringing", "busy")):
        event = callback(PARENT, status, second=second, sequence=second, to=far, From=far, SipResponseCode="486")
        board.apply(replace(event, verified=False))
    line = row_of(board, START + timedelta(seconds=30), width=width)[0]
    line.truncate(width)
    assert "(unverified)" in line.plain
