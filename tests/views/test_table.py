"""The table of calls at each width: what stays, what goes first, and when a call takes two lines."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from callctl.calls.call import Call
from callctl.views.table import Row, call_row, cells, fitted, print_rows
from callctl.views.terminal_safe import plain_console

SID, PARENT = "CA" + "1" * 32, "CA" + "2" * 32
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
LIVE = Call(SID, "in-progress", "outbound-api", "+15005550006", "+12025550100", start_time=START)
ENDED = replace(LIVE, status="completed", duration=67)
CHILD = replace(LIVE, direction="outbound-dial", to="sip:agent@example.com", parent_call_sid=PARENT)


def shown(*rows: Row, width: int, timed: bool = False) -> list[str]:
    """Return the lines of a table without their looks."""
    stream = io.StringIO()
    print_rows(plain_console(stream, environ={"COLUMNS": str(width), "LINES": "40", "TERM": "dumb"}), rows, timed=timed)
    return re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue()).splitlines()


def test_live_calls_between_numbers_take_one_line_in_80_columns() -> None:
    assert shown(call_row(LIVE), width=80) == [
        "CALL SID                            STATUS         FROM          TO",
        f"{SID}  ● in-progress  +15005550006  +12025550100",
    ]


def test_starts_are_shown_rather_than_durations_that_no_call_has() -> None:
    heading, _ = shown(call_row(LIVE), width=103)
    assert heading.split()[-2:] == ["TO", "START"]
    assert shown(call_row(ENDED), width=103)[0].split()[-2:] == ["TO", "DURATION"]


def test_sorted_or_chosen_by_time_they_take_two_and_their_start_is_shown() -> None:
    first, second = shown(call_row(LIVE), width=80, timed=True)
    assert first == " ● in-progress          +15005550006 → +12025550100"
    assert second.startswith(f"   {SID}  2026-01-05 ")
    far_first, far_second = shown(call_row(replace(CHILD, to="client:ann")), width=80, timed=True)
    assert far_first.startswith(" ● in-progress          +15005550006 → client:ann  2026-01-05 ")
    assert far_second == f"   {SID} of {PARENT}"
    sip_first, _ = shown(call_row(CHILD), width=80, timed=True)
    assert sip_first.startswith(" ● in-progress          → sip:agent@example.com  2026-01-05 ")


def test_in_40_columns_the_called_end_begins_sooner_and_is_whole() -> None:
    assert shown(call_row(CHILD), width=40)[0] == " ● in-progress   → sip:agent@example.com"


def test_with_a_duration_they_take_two_and_nothing_is_cut() -> None:
    first, second = shown(call_row(ENDED), width=80)
    assert first == " ✓ completed 01:07      +15005550006 → +12025550100"
    assert second.startswith(f"   {SID}  2026-01-05 ")


def test_a_child_leg_names_its_parent_unless_that_stands_above_it() -> None:
    assert shown(call_row(CHILD), width=80) == [
        " ● in-progress          +15005550006 → sip:agent@example.com",
        f"   {SID} of {PARENT}",
    ]
    first, second = shown(call_row(CHILD, is_child=True), width=80)
    assert first == " └ ● in-progress        +15005550006 → sip:agent@example.com"
    assert second.startswith(f"   {SID}  2026-01-05 ")


def test_with_room_each_takes_one_line_again() -> None:
    head, *lines = shown(call_row(ENDED), call_row(CHILD), width=120)
    assert head.split() == ["CALL", "SID", "STATUS", "FROM", "TO", "START", "DURATION"]
    assert [line.split()[0] for line in lines] == [SID, SID]
    assert lines[0].endswith("  01:07")


@pytest.mark.parametrize("width", range(38, 200, 3))
def test_at_any_width_sids_are_whole_and_no_line_is_too_long(width: int) -> None:
    lines = shown(call_row(replace(ENDED, sid=PARENT)), call_row(CHILD, is_child=True), Row(SID), width=width)
    assert max(map(cell_len, lines)) <= width
    sids = [sid for line in lines for sid in re.findall("CA[0-9]{32}", line)]
    assert sids.count(SID) == 2
    assert PARENT in sids
    words = " ".join(lines)
    assert "✓ completed" in words
    assert "● in-progress" in words
    assert "01:07" in words


def test_marks_with_room_of_their_own_count_as_many_terminals_draw_them() -> None:
    """Rich counts them as none."""
    assert [cells(name) for name in ("का", "தமிழ்", "가\u302e", "k\U00016ff0", "\U0001f3fb")] == [2, 4, 4, 3, 2]
    assert [cells(name) for name in ("é", "e\u0301", "กำนัน", "漢字", "●→")] == [1, 1, 4, 4, 2]


@given(st.text(st.sampled_from("aक\u093e\u0301漢가\u302e\U0001f3fb❤\ufe0f")), st.integers(1, 20))
def test_what_is_cut_fits_and_fills_the_room_there_is(text: str, width: int) -> None:
    shown = fitted(text, width)
    assert cells(shown) <= width
    if cells(text) > width:
        assert cells(shown) == width
        assert text.startswith(shown.removesuffix("…").rstrip())
    else:
        assert shown == text


@pytest.mark.parametrize("width", range(38, 200, 3))
@pytest.mark.parametrize("name", ["का" * 30, "\U0001f3fb" * 40, "가\u302e" * 30, "漢" * 40])
def test_no_line_is_too_long_whatever_is_written_in_it(width: int, name: str) -> None:
    lines = shown(call_row(replace(ENDED, from_=name, to=name)), call_row(replace(CHILD, to=name)), width=width)
    assert max(map(cells, lines)) <= width
    assert sum(SID in line for line in lines) == 2
