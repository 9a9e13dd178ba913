"""The frames of the live table: golden frames at several sizes, and what must hold at every size."""

import re
import textwrap
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unicodedata import category

import pytest
from events import START, event_of
from frames import HEADER, age_of, draw_in, frame_of, text_of
from hypothesis import given
from hypothesis import strategies as st
from legs import BUSY_CHILD, PARENT, SIP_CHILD, board_of, callback, family, in_conference
from rich.text import Text

from callctl.calls.board import Board
from callctl.calls.call import Call, CallStatus
from callctl.calls.event import CallEvent
from callctl.views.lines import short_line
from callctl.views.live import rows
from callctl.views.live.frame import PLAIN, TROUBLE, Line, wrap, wrapped_page
from callctl.views.live.intents import HangUp, Target
from callctl.views.live.keys_page import keys_page
from callctl.views.live.state import ChoosingUrl, Confirming, Filtering, ViewState
from callctl.views.table import cells
from callctl.views.terminal_safe import printable
from callctl.views.view import WatchState


def test_two_lines_a_leg_below_140_columns() -> None:
    assert (
        text_of(frame_of(board_of(family())), width=80, height=24)
        == f"""\
 watch  1 ringing  1 in-progress  https://example.ngrok.app/status  7 callbacks
        3 refused  1 twice  127.0.0.1:8765  last 2 s ago
 ● in-progress 00:41    +15005550006 → +12025550100
   {PARENT}
 └ ◔ ringing 00:12      → sip:agent@example.com
   {SIP_CHILD} of {PARENT}
 └ ○ busy ended         → client:ann  (SIP 486)
   {BUSY_CHILD} of {PARENT}"""
    )


def test_one_line_a_leg_from_140_columns_on() -> None:
    shown = text_of(frame_of(board_of(family())), width=160, height=24)
    assert (
        shown
        == f"""\
 watch  1 ringing  1 in-progress  https://example.ngrok.app/status  7 callbacks\
  3 refused  1 twice  127.0.0.1:8765  last 2 s ago
 CALL SID                             PARENT CALL SID                     STATUS          FOR  FROM → TO
 {PARENT}   -                                   ● in-progress 00:41  +15005550006 → +12025550100
 └ {SIP_CHILD} {PARENT}  ◔ ringing     00:12  +15005550006 → sip:agent@example.com
 └ {BUSY_CHILD} {PARENT}  ○ busy        ended  +15005550006 → client:ann  (SIP 486)"""
    )


CHILD = callback(SIP_CHILD, "in-progress", second=6, sequence=2, parent=PARENT, to="+12025550101")
IN_ROOM = [
    callback(PARENT, "in-progress", second=3, sequence=2),
    CHILD,
    in_conference(PARENT, "support-7", second=9, Hold="true", Muted="true"),
    in_conference(SIP_CHILD, "support-7", second=8),
    event_of({"CallSid": SIP_CHILD, "RecordingSid": "RE1", "RecordingStatus": "in-progress"}),
]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (
            160,
            f"""\
 {PARENT}   -                                   ● in-progress 00:41\
  +15005550006 → +12025550100  (in support-7 00:35, on hold, muted)
 └ {SIP_CHILD} {PARENT}  ● in-progress 00:38\
  +15005550006 → +12025550101  (in support-7 00:36, recorded)""",
        ),
        (
            80,
            f"""\
 ● in-progress 00:41    → +12025550100  (in support-7 00:35, on hold, muted)
   {PARENT}
 └ ● in-progress 00:38  → +12025550101  (in support-7 00:36, recorded)
   {SIP_CHILD} of {PARENT}""",
        ),
        (
            59,
            f"""\
 ● in-progress 00:41    → +12025550100  (in support-7 00:3…
   {PARENT}
 └ ● in-progress 00:38  → +12025550101  (in support-7 00:3…
   {SIP_CHILD} of {PARENT[:17]}…""",
        ),
    ],
)
def test_a_leg_in_a_conference_says_in_which_and_how(width: int, shown: str) -> None:
    drawn = text_of(frame_of(board_of(IN_ROOM)), width=width, height=24)
    assert shown in drawn


def test_the_latest_events_stand_below_while_there_is_room() -> None:
    recent = tuple(short_line(event) for event in family())
    board = board_of(family())
    assert short_line(family()[-1]) in text_of(frame_of(board, recent=recent), width=80, height=24)
    assert BUSY_CHILD in text_of(frame_of(board, recent=recent), width=80, height=10)


def latest(*recent: Line) -> list[str]:
    """Return what stands under fifty legs, where there is little room."""
    calls = [callback(f"CA{number:032}", "ringing", second=1, sequence=0) for number in range(50)]
    lines = text_of(replace(frame_of(board_of(calls)), recent=recent), width=80, height=24).splitlines()
    return [line.strip() for line in lines[-2:]]


@pytest.mark.parametrize("selected", [None, f"CA{9:032}"])
@pytest.mark.parametrize("count", range(10, 22))
def test_events_take_the_room_that_rows_of_one_line_leave(count: int, selected: str | None) -> None:
    calls = [callback(f"CA{number:032}", "ringing", second=1, sequence=0) for number in range(count)]
    frame = frame_of(board_of(calls), state=ViewState(selected=selected), has_keys=True)
    trouble = Line("gone", TROUBLE, ("for", "good"))
    lines = text_of(replace(frame, recent=[trouble]), width=80, height=24).splitlines()
    free = 21 - (selected is not None)  # beside a header of two lines, the last line and the selected SID
    assert sum("◔ ringing" in line for line in lines) == min(count, free - 3)
    assert ("good" in " ".join(lines)) == (count <= free - 4)


def test_a_sentence_is_not_cut_off_at_its_beginning() -> None:
    long = Line("one", PLAIN, ("two", "three"))
    assert latest(Line("before", PLAIN), long, Line("after", PLAIN))[-1] == "after"
    assert "three" not in latest(Line("before", PLAIN), long, Line("after", PLAIN))
    assert latest(Line("before", PLAIN), long) == ["one", "two"]


def test_the_last_trouble_stays_beside_the_newest_event() -> None:
    trouble = Line("gone", TROUBLE, ("for good",))
    assert latest(Line("lost", TROUBLE), trouble, *(Line(f"event {number}", PLAIN) for number in range(4))) == [
        "gone",
        "event 3",
    ]
    assert latest(Line("event", PLAIN), trouble) == ["gone", "for good"]
    assert latest(trouble, Line("a long", PLAIN, ("event",))) == ["gone", "a long"]


def test_no_calls_shows_what_to_do() -> None:
    assert "No calls yet." in text_of(frame_of(Board()), width=80, height=24)


def test_the_header_has_a_second_line_where_the_first_has_no_room() -> None:
    header = replace(HEADER, api_url="http://127.0.0.1:8766", refused=0, duplicates=0)
    frame = frame_of(Board(), header=header)
    assert text_of(frame, width=80, height=24).splitlines()[:2] == [
        " watch  https://example.ngrok.app/status  7 callbacks  API http://127.0.0.1:8766",
        "        127.0.0.1:8765  last 2 s ago",
    ]
    # In a wide window one line will do, and in a low one the legs go first.
    for width, height in ((120, 24), (80, 15)):
        assert "No calls yet" in text_of(frame, width=width, height=height).splitlines()[2]
    long = replace(header, callback_url=f"https://{'long.' * 20}example.com/status")
    assert draw_in(frame_of(Board(), header=long), width=80, height=24)[1].plain.rstrip().endswith("long.lon…")


def test_another_api_address_is_in_the_header() -> None:
    header = WatchState(title="watch", listening="x", callback_url="", api_url="http://127.0.0.1:8080")
    assert "API http://127.0.0.1:8080" in text_of(frame_of(Board(), header=header), width=80, height=5)


def test_hidden_legs_are_counted() -> None:
    calls = [callback(f"CA{number:032}", "ringing", second=1, sequence=0) for number in range(50)]
    lines = text_of(frame_of(board_of(calls)), width=80, height=24).splitlines()
    shown = sum(line.strip().startswith("CA") for line in lines)
    assert f"… {50 - shown} more legs: make the window higher" in lines[-1]
    last_frame = text_of(replace(frame_of(board_of(calls)), is_last=True), width=80, height=24).splitlines()
    assert last_frame[-1].endswith(f"… {50 - shown} more legs")


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J\x1b[31mred", "a\u202eb", "[bold]x[/bold]", ":smile:", "two\nlines", "\x9b2J"]
)
def test_text_of_others_neither_paints_nor_moves(hostile: str) -> None:
    event = callback(PARENT, "ringing", second=1, sequence=0, to=hostile)
    lines = draw_in(frame_of(board_of([event]), recent=(short_line(event),)), width=80, height=24)
    for line in lines:
        assert not set("\x1b\x9b\n\r\u202e") & set(line.plain)


@given(width=st.integers(1, 200), height=st.integers(1, 60), legs=st.integers(0, 40))
def test_a_frame_never_exceeds_the_terminal(width: int, height: int, legs: int) -> None:
    calls = [callback(f"CA{number:032}", "ringing", second=1, sequence=0) for number in range(legs)]
    lines = draw_in(frame_of(board_of(calls), recent=("an event",) * 9), width=width, height=height)
    assert len(lines) <= height
    assert all(line.cell_len <= width for line in lines)


@pytest.mark.parametrize("width", [80, 100, 139, 140, 200])
def test_sids_are_whole_and_on_one_line(width: int) -> None:
    lines = text_of(frame_of(board_of(family())), width=width, height=24).splitlines()
    assert any(SIP_CHILD in line and PARENT in line for line in lines)
    assert any(BUSY_CHILD in line and PARENT in line for line in lines)


def test_with_still_more_room_ring_time_talk_time_and_direction_show() -> None:
    shown = text_of(frame_of(board_of(family())), width=180, height=24).splitlines()
    assert "FOR  RING   TALK  DIRECTION      FROM → TO" in shown[1]
    assert "● in-progress 00:41 00:02  00:41  outbound-api " in shown[2]
    assert "◔ ringing     00:12 00:12         outbound-dial" in shown[3]


def test_who_reported_a_leg_shows_where_it_was_no_callback() -> None:
    polled = CallEvent.from_call(Call(PARENT, "ringing"), received_at=START, world="test")
    assert "(polled)" in text_of(frame_of(board_of([polled])), width=80, height=24)


def test_only_what_is_visible_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    real = rows.text

    def text(content: str = "", look: str = "") -> Text:
        drawn.append(content)
        return real(content, look)

    monkeypatch.setattr(rows, "text", text)
    calls = [callback(f"CA{number:032}", "ringing", second=1, sequence=0) for number in range(5000)]
    draw_in(frame_of(board_of(calls)), width=80, height=24)
    assert len(drawn) < 100


def test_the_self_tests_round_trip_stands_behind_the_callback_url() -> None:
    header = replace(HEADER, round_trip=0.084)
    assert "https://example.ngrok.app/status ✓ 84 ms" in text_of(frame_of(Board(), header=header), width=160, height=5)


@pytest.mark.parametrize(
    ("alarm", "shown"),
    [
        ({"unreachable": "the tunnel has ended"}, "unreachable: the tunnel has ended"),
        ({"unverified": True}, "unverified"),
        ({"rules_stopped": True}, "rules stopped"),
    ],
)
@pytest.mark.parametrize("width", [40, 80, 160])
def test_an_alarm_is_seen_at_any_width(alarm: dict[str, Any], shown: str, width: int) -> None:
    line = draw_in(frame_of(Board(), header=replace(HEADER, **alarm)), width=width, height=5)[0]
    (red,) = (line.plain[span.start : span.end] for span in line.spans if "red" in str(span.style))
    assert red.strip() == shown
    assert "rules" not in draw_in(frame_of(Board()), width=width, height=5)[0].plain


def test_while_the_store_is_read_it_is_said_how_far_that_is() -> None:
    text = text_of(frame_of(Board(), header=replace(HEADER, events_read=120_000)), width=80, height=9)
    assert "reading the store: 120,000 events" in text
    assert "Reading what the store knows" in text
    assert "No calls yet" not in text


def test_what_came_to_another_path_is_counted() -> None:
    text = text_of(frame_of(Board(), header=replace(HEADER, misdirected=2)), width=140, height=24)
    assert "  7 callbacks  3 refused  1 twice  2 to another path  127.0.0.1:8765  last" in text


@pytest.mark.parametrize("width", [60, 80, 140])
def test_that_nothing_polls_rest_is_shown_before_what_takes_more_room(width: int) -> None:
    header = replace(HEADER, nobody_polls=True, title="following process 12345")
    assert "  nothing polls REST" in text_of(frame_of(Board(), header=header), width=width, height=24)
    assert "REST" not in text_of(frame_of(Board(), header=HEADER), width=width, height=24)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 24), (100, 10)])
def test_the_password_of_the_callback_url_is_not_shown(width: int, height: int) -> None:
    header = replace(HEADER, callback_url="https://ann:secret@a.example/status")
    shown = text_of(frame_of(board_of(family()), header=header), width=width, height=height)
    assert "https://ann:***@a.example/status" in shown
    assert "secret" not in shown


STATUSES = ["queued", "initiated", "ringing", "in-progress", "completed", "busy", "no-answer", "canceled", "failed"]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("after", [7, 3600 * 5, 3600 * 23])
@pytest.mark.parametrize("is_urgent", [False, True])
def test_a_number_is_whole_at_40_columns_in_every_status(status: str, after: int, is_urgent: bool) -> None:
    leg = next(leg for leg in board_of([callback(PARENT, status, second=0, sequence=1)]).snapshot().legs.values())
    row = rows.LegRow(leg, failure="cancel refused" if is_urgent else None)
    now = START + timedelta(seconds=after)
    (line,) = rows.leg_lines(row, rows.Style(40, is_two_lines=False), age=age_of(now))
    line.truncate(40, overflow="ellipsis")
    assert re.search(r"[ +]\+?\d{11}( |$)", line.plain), line.plain
    assert ("!" in line.plain) is is_urgent


def test_failures_are_counted_in_the_header_at_40_columns() -> None:
    events = [
        callback(f"CA{number:032}", status, second=40, sequence=1)
        for number, status in enumerate(["ringing"] * 12 + ["in-progress"] * 34 + ["queued"] * 5 + ["failed"] * 5)
    ]
    first = text_of(frame_of(board_of(events)), width=40, height=12).splitlines()[0]
    assert "5 failed" in first
    assert "12 ringing" in first


@pytest.mark.parametrize("width", [40, 80, 120, 160, 200])
def test_of_the_statuses_only_glyphs_are_in_colours_that_some_ground_hides(width: int) -> None:
    statuses = [status for status in CallStatus if status != CallStatus.FAILED]
    legs = [callback(f"CA{number:032}", status, second=40, sequence=1) for number, status in enumerate(statuses)]
    coloured = [
        line.plain[span.start : span.end]
        for line in draw_in(frame_of(board_of(legs)), width=width, height=40)
        for span in line.spans
        if str(span.style) in {"cyan", "yellow", "green", "magenta"}
    ]
    assert sorted(coloured) == sorted("◌◌◔●○○")


# The foot


def foot_of(*, width: int, height: int = 24, message: str = "", **state: Any) -> list[str]:
    """Return the last lines of a table that is operated."""
    question = [message] if message else []
    frame = frame_of(board_of(family()), state=ViewState(**state), has_keys=True, question=question)
    return text_of(frame, width=width, height=height).splitlines()[-4:]


def test_a_message_stands_beside_the_figures() -> None:
    last = foot_of(width=80, message="sorted by start")[-1]
    assert last.startswith(" sorted by start  ")
    assert last.endswith("  3 legs")
    long = foot_of(width=80, message="ended: CA is canceled " * 5)
    assert long[-2].lstrip().startswith("ended:") or long[-3].lstrip().startswith("ended:")
    assert long[-1].startswith(" 3 legs")
    assert "x hang up" in long[-1]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (47, [" redirect +12025550100 to   t: type a URL", " a: music   b: survey   Esc: no"]),
        (31, [" redirect +12025550100 to", " t: type a URL   a: music", " b: survey   Esc: no"]),
    ],
)
def test_a_key_and_what_it_does_are_not_parted_in_a_question(width: int, lines: list[str]) -> None:
    asks = ChoosingUrl((Target(PARENT, "in-progress"),))
    question = "redirect +12025550100 to   t: type a URL   a: music   b: survey   Esc: no"
    assert foot_of(width=width, message=question, mode=asks)[-len(lines) :] == lines


def test_a_question_is_whole_at_40_columns_and_what_is_cut_ends_in_dots() -> None:
    asks = Confirming(HangUp((Target(SIP_CHILD, "in-progress"),)))
    asked = "hang up sip:agent@example.com ● in-progress 00:05?   y: yes   f: family   other: no"
    effect = "its parent goes on with the Dial's action, else with its next verb, else hangs up"
    frame = frame_of(board_of(family()), state=ViewState(mode=asks), has_keys=True, question=[asked, effect])
    foot = [line.strip() for line in text_of(frame, width=40, height=12).splitlines()[-6:]]
    assert " ".join(foot).split() == f"{asked} {effect}".split()
    assert text_of(frame, width=40, height=8).splitlines()[-1].endswith(" …")
    long = frame_of(board_of(family()), has_keys=True, question=["ended: CA is canceled " * 30])
    assert text_of(long, width=40, height=12).splitlines()[-2].endswith(" …")


@given(
    st.text(st.sampled_from("ab  -#क\u093e\u0301\u1161\ufe0f漢가\u302e\U0001f3fb")),
    st.integers(8, 40),
    st.integers(0, 3),
)
def test_a_wrapped_text_fits_by_its_cells_and_nothing_of_it_is_lost(text: str, width: int, indent: int) -> None:
    text = printable(text)
    lines = wrap(text, width, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))
    for line in lines:
        assert line.strip(" ")
        letters = len(line.strip(" ")) - sum(category(char).startswith("M") for char in line)
        assert cells(line) <= width or letters <= 1
    assert "".join("".join(lines).split(" ")) == "".join(text.split(" "))


@pytest.mark.parametrize("width", [21, 38, 39, 79])
def test_a_name_is_wrapped_that_is_narrower_in_pieces_than_as_a_whole(width: int) -> None:
    """Its lines end between a sign and a vowel without width, which with the mark after it takes a cell only there."""
    name = "#\u1161\ufe0f" * 100 * width
    lines = wrap(f"sip:{name} rings", width)
    assert "".join(lines).replace(" ", "") == f"sip:{name}rings"
    assert all(cells(line) <= width for line in lines)


@pytest.mark.parametrize("width", [10, 24, 38, 77])
def test_plain_words_are_wrapped_as_textwrap_does(width: int) -> None:
    text = "hang up sip:agent@example.com ● in-progress  00:05?   y: yes   " + "x" * 50 + " its parent goes on"
    assert wrap(text, width) == textwrap.wrap(text, width, break_on_hyphens=False)


def test_while_a_filter_is_typed_a_message_does_not_hide_it() -> None:
    lines = foot_of(width=80, message="not ended", filter="ringing", mode=Filtering())
    assert "not ended" in lines[-2]
    assert "/ringing▏" in lines[-1]


def test_of_a_long_filter_the_end_is_shown_where_it_is_typed() -> None:
    last = foot_of(width=40, filter="a" * 60 + "end", mode=Filtering())[-1]
    assert last.endswith("aend▏")
    assert "/…aaa" in last


def test_redirect_is_among_the_keys_of_the_foot_and_esc_where_it_clears_something() -> None:
    assert "r redirect" in foot_of(width=80)[-1]
    assert "Esc" not in foot_of(width=80)[-1]
    assert "Esc clears" in foot_of(width=80, filter="ringing")[-1]
    assert "Esc clears" in foot_of(width=80, marks={PARENT: "ringing"})[-1]


@pytest.mark.parametrize("may_act", [True, False])
@pytest.mark.parametrize("typed", ["", "ringing"])
def test_while_a_filter_is_typed_the_foot_names_only_keys_that_are_no_part_of_it(may_act: bool, typed: str) -> None:
    state = ViewState(filter=typed, mode=Filtering())
    frame = frame_of(board_of(family()), state=state, has_keys=True, may_act=may_act)
    figures, _, foot = text_of(frame, width=100, height=24).splitlines()[-1].partition("▏")
    assert (figures.split("/")[-1], foot.strip()) == (typed, "↑↓ select  ⏎ done  Esc clears")
    assert (
        text_of(frame, width=40, height=12)
        .splitlines()[-1]
        .split("▏")[1]
        .strip()
        .endswith("⏎ done" if typed else "Esc clears")
    )


# Pages


@given(lines=st.lists(st.text(alphabet="ab  -+", max_size=90), max_size=5), width=st.integers(22, 100))
def test_a_page_is_wrapped_rather_than_cut(lines: list[str], width: int) -> None:
    wrapped = wrapped_page(lines, width=width)
    assert all(len(line) <= width for line in wrapped)
    assert "".join("".join(wrapped).split()) == "".join("".join(lines).split())


@pytest.mark.parametrize("may_act", [True, False])
def test_the_page_of_the_keys_stands_in_two_columns_at_80(may_act: bool) -> None:
    lines = keys_page([], may_act=may_act)
    assert wrapped_page(lines, width=78) == lines


def test_the_page_of_the_keys_says_all_of_it_at_40_columns() -> None:
    page = wrapped_page(keys_page(()), width=38)
    assert max(map(len, page)) <= 38
    assert "filter:" in " ".join(page)
    at = next(number for number, line in enumerate(page) if line.startswith("x  "))
    assert page[at + 1].startswith("  ")
    assert wrapped_page(keys_page(()), width=98) == keys_page(())


@pytest.mark.parametrize(("may_act", "shown"), [(True, True), (False, False)])
def test_keys_that_change_calls_are_in_the_foot_only_where_they_do(may_act: bool, shown: bool) -> None:
    foot = text_of(frame_of(board_of(family()), has_keys=True, may_act=may_act), width=120, height=24).splitlines()[-1]
    assert ("x hang up" in foot, "r redirect" in foot, "? keys" in foot) == (shown, shown, True)
