"""What services have really sent, in every view: nothing of it stops one, and its SID can be copied."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from events import START, event_of, samples
from frames import draw_in, frame_of
from legs import board_of

from callctl.calls.board import Board
from callctl.calls.event import CallEvent, NotACallEventError
from callctl.views.jsonl import JsonLinesView
from callctl.views.lines import LineView, short_line
from callctl.views.view import WatchState

HEADER = WatchState(title="watch", listening="x", callback_url="", api_url=None)
SOON = timedelta(seconds=1)
WIDTHS = (80, 160)


def events() -> Iterator[CallEvent]:
    """Yield the events of the samples, which all arrive at once."""
    for sample in samples("callbacks.jsonl"):
        try:
            yield event_of(sample["params"])
        except NotACallEventError:
            assert "CallSid" not in sample["params"]


def table_of(board: Board, *recent: CallEvent, width: int, after: timedelta) -> list[str]:
    """Return the lines above the latest events, some time after the samples came."""
    foot = [short_line(event) for event in recent]
    frame = frame_of(board, header=HEADER, recent=foot, now=START + after)
    lines = draw_in(frame, width=width, height=300)
    return "\n".join(line.plain for line in lines).partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("after", [SOON, timedelta(minutes=10)], ids=["at once", "a while after"])
def test_each_sample_is_drawn_with_its_sid_whole(width: int, after: timedelta) -> None:
    for event in events():
        lines = table_of(board_of([event]), event, width=width, after=after)
        assert any(event.call_sid in line for line in lines), event.form


@pytest.mark.parametrize("width", WIDTHS)
def test_all_samples_stand_on_one_board(width: int) -> None:
    samples = list(events())
    lines = table_of(board_of(samples), width=width, after=SOON)
    missing = {event.call_sid for event in samples if not any(event.call_sid in line for line in lines)}
    assert missing == set()


def test_each_sample_is_a_line_and_a_record() -> None:
    plain, records, board = io.StringIO(), io.StringIO(), Board()
    views = (LineView(plain, say=print), JsonLinesView(records, extra={}, say=print))
    samples = list(events())
    for event in samples:
        change = board.apply(event)
        for view in views:
            view.event(event, change)
    fields = [line.split("\t") for line in plain.getvalue().splitlines()]
    read = [json.loads(line) for line in records.getvalue().splitlines()]
    sids = [event.call_sid for event in samples]
    assert [line[1] for line in fields] == sids
    assert {len(line) for line in fields} == {8}
    assert [record["call_sid"] for record in read] == sids
    assert [record["form"] for record in read] == [dict(event.form) for event in samples]
