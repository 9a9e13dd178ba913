"""Text that would steer the terminal, in every field of an event, wherever that is drawn; and in what the API said."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from events import START, event_of, form
from frames import draw_in, frame_of
from legs import board_of
from rich.console import Console

from callctl.api.resources import Notification
from callctl.calls.action import ActionEvent
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.views.call_page import CallPage, plain_lines, print_page, to_json
from callctl.views.jsonl import JsonLinesView
from callctl.views.lines import LineView, short_line
from callctl.views.terminal_safe import json_text
from callctl.views.view import WatchState

# Clears the screen, sets a title, moves with C1 controls, turns the reading direction, hides, begins lines and columns.
HOSTILE = "a\x1b[2J\x1b]0;t\x07\x9b2J\x7f\u202e\u2066\u200b\ufeff\r\n\t\u2028\u2029\x85b"
STEERS = set(HOSTILE) - set("a[2J]0;tb")
# What a view draws instead of it; where it stands, the field is drawn at all.
HARMLESS = "".join("�" if char in STEERS else char for char in HOSTILE)

FIELDS = {
    "CallSid": "sid",
    "ParentCallSid": "parent_call_sid",
    "From": "from",
    "To": "to",
    "CallStatus": "status",
    "Direction": "direction",
    "AnsweredBy": "answered_by",
    "SipResponseCode": None,
    "Timestamp": None,
}
HEADER = WatchState(title="watch", listening="x", callback_url="", api_url=None)


def hostile(field: str) -> list[CallEvent]:
    """Return events of two legs of which one field would steer, unsigned; one of the legs has a parent."""
    alone, child = form(1, "busy", at=1), form(2, "busy", at=1, parent=3)
    forms = [fields | {field: f"{HOSTILE}{number}"} for number, fields in enumerate((alone, child))]
    return [event_of(fields, verified=False) for fields in forms]


def frame(events: Sequence[CallEvent], *, width: int, seconds: float = 2, recent: Sequence[CallEvent] = ()) -> str:
    """Draw a frame some seconds after the start; the end of a line of it is the only thing that moves the cursor."""
    foot, now = [short_line(event) for event in recent], START + timedelta(seconds=seconds)
    lines = draw_in(frame_of(board_of([*events]), header=HEADER, recent=foot, now=now), width=width, height=40)
    assert not any("\n" in line.plain for line in lines)
    return "\n".join(line.plain for line in lines)


def in_wide_rows(events: Sequence[CallEvent]) -> str:
    return frame(events, width=400)


def in_narrow_rows(events: Sequence[CallEvent]) -> str:
    return frame(events, width=139)


def in_short_rows(events: Sequence[CallEvent]) -> str:
    """Draw the rows of one line that a terminal of 80 columns has where two lines a leg do not fit."""
    others = [event_of(form(call, "busy", at=1, From="+1", To="+1")) for call in range(10, 30)]
    return frame([*events, *others], width=139)


def in_narrow_short_rows(events: Sequence[CallEvent]) -> str:
    others = [event_of(form(call, "busy", at=1, From="+1", To="+1")) for call in range(10, 50)]
    return frame([*events, *others], width=59)


def among_the_latest_events(events: Sequence[CallEvent]) -> str:
    return frame((), width=400, recent=events)


def on_a_pipe(events: Sequence[CallEvent]) -> str:
    out = io.StringIO()
    view = LineView(out, say=print)
    for event in events:
        view.event(event, None)
    lines = out.getvalue().removesuffix("\n").split("\n")
    assert [line.count("\t") for line in lines] == [7] * len(events)
    return "\n".join(line.replace("\t", "|") for line in lines)


WIDE = {"CallSid", "ParentCallSid", "From", "To", "CallStatus", "Direction", "AnsweredBy", "SipResponseCode"}
PLACES: dict[Callable[[Sequence[CallEvent]], str], set[str]] = {
    in_wide_rows: WIDE,
    in_narrow_rows: WIDE - {"Direction"},
    # A row of one line has the start of the SID alone.
    in_short_rows: WIDE - {"Direction", "ParentCallSid", "CallSid"},
    in_narrow_short_rows: {"To", "CallStatus"},
    among_the_latest_events: {"CallSid", "To", "CallStatus"},
    on_a_pipe: {"CallSid", "ParentCallSid", "From", "To", "CallStatus"},
}


def steering(shown: str) -> set[str]:
    return (STEERS - {"\n"}) & set(shown)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("drawn", PLACES, ids=lambda place: place.__name__)
def test_a_field_of_an_event_steers_nothing(drawn: Callable[[Sequence[CallEvent]], str], field: str) -> None:
    shown = drawn(hostile(field))
    assert steering(shown) == set()
    assert (HARMLESS in shown) == (field in PLACES[drawn])


def page(field: str) -> CallPage:
    """Return the page of a call with a child leg: one field of REST's resources and of the callbacks steers."""
    resources = [
        {"sid": "CA1", "status": "busy", "direction": "inbound", "from": "+12025550142", "to": "+12025550100"},
        {"sid": "CA2", "status": "busy", "direction": "outbound-dial", "parent_call_sid": "CA1"},
    ]
    name = FIELDS[field]
    steers = {} if name is None else {name: HOSTILE}
    call, child = (Call.from_resource(resource | steers) for resource in resources)
    return CallPage(
        call=call,
        rest_status=call.status,
        parent=None,
        children=[child],
        timeline=hostile(field),
        notifications=(),
        api_url=None,
        now=START,
    )


def on_a_terminal(page: CallPage, *, width: int) -> str:
    out = io.StringIO()
    print_page(Console(file=out, width=width, color_system=None, highlight=False, markup=False, emoji=False), page)
    return out.getvalue()


@pytest.mark.parametrize("field", FIELDS)
def test_show_lets_nothing_through(field: str) -> None:
    call_page = page(field)
    plain = list(plain_lines(call_page))
    assert not any("\n" in line for line in plain)
    assert {line.partition("\t")[0]: line.count("\t") for line in plain} == {"call": 8, "child": 8, "event": 8}
    wide, narrow = (on_a_terminal(call_page, width=width) for width in (400, 60))
    usual = on_a_terminal(page("Timestamp"), width=400)
    assert wide.count("\n") - usual.count("\n") in (0, 1)  # a fact that a usual call has not may have a line
    for shown in (wide, narrow, "\n".join(plain).replace("\t", "|"), json_text(to_json(call_page))):
        assert steering(shown) == set()
    if field != "Timestamp":
        assert HARMLESS in wide


@pytest.mark.parametrize("field", FIELDS)
def test_a_record_says_what_was_sent_and_steers_nothing(field: str) -> None:
    out = io.StringIO()
    view = JsonLinesView(out, extra={}, say=print)
    for event in hostile(field):
        view.event(event, None)
    lines = out.getvalue().splitlines()
    assert steering("\n".join(lines)) == set()
    assert [json.loads(line)["form"][field] for line in lines] == [f"{HOSTILE}{number}" for number in (0, 1)]


def test_what_the_api_said_steers_nothing() -> None:
    action = ActionEvent(START, "CA1", "hangup", (), f"refused: {HOSTILE}", rule=HOSTILE)
    note = Notification("NO1", HOSTILE, "error", HOSTILE, f"https://{HOSTILE}", f"https://{HOSTILE}", START)
    call_page = replace(page("Timestamp"), timeline=[action], notifications=[note])
    plain = list(plain_lines(call_page))
    assert not any("\n" in line for line in plain)
    wide = on_a_terminal(call_page, width=400)
    for shown in (wide, "\n".join(plain).replace("\t", "|"), json_text(to_json(call_page))):
        assert steering(shown) == set()
    assert [line.count(HARMLESS) for line in wide.splitlines() if HARMLESS in line] == [2, 2, 1, 1]


@pytest.mark.parametrize("part", ["title", "callback_url", "api_url", "shown_only", "unreachable"])
def test_the_header_steers_nothing(part: str) -> None:
    changed: dict[str, Any] = {part: HOSTILE}
    header = replace(HEADER, **changed)
    (line, *_) = draw_in(frame_of(board_of([]), header=header, now=START), width=400, height=9)
    assert not STEERS & set(line.plain)
    assert HARMLESS in line.plain
