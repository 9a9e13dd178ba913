"""Frames of the live table for tests, drawn in some size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from events import START, clock_of
from rich.text import Text

from callctl.calls.board import Board, Snapshot
from callctl.views.live.frame import PLAIN, Frame, Line, draw, lay_out
from callctl.views.live.sorted_legs import SortedLegs
from callctl.views.live.state import ViewState
from callctl.views.view import WatchState

HEADER = WatchState(
    title="watch",
    listening="127.0.0.1:8765",
    callback_url="https://example.ngrok.app/status",
    api_url=None,
    accepted=7,
    refused=3,
    duplicates=1,
    last_callback_at=START + timedelta(seconds=42),
)


def frame_of(
    board: Board | Snapshot,
    *,
    recent: Sequence[str] = (),
    header: WatchState = HEADER,
    now: datetime = START + timedelta(seconds=44),
    state: ViewState | None = None,
    **more: Any,
) -> Frame:
    """Return a frame of a board as it is ``now``, without keys unless ``has_keys`` is among ``more``."""
    snapshot = board if isinstance(board, Snapshot) else board.snapshot()
    state, clock = state or ViewState(), clock_of(lambda: now)
    listing = SortedLegs(clock).update(snapshot, state.arrangement(0.0))
    lines = [Line(text, PLAIN) for text in recent]
    return Frame(header, listing, state, lines, ("No calls yet.",), (), age_of(now), **more)


def age_of(now: datetime) -> Callable[[datetime], timedelta]:
    """Return what tells how long before ``now`` a moment was."""
    return lambda moment: now - moment


def draw_in(frame: Frame, *, width: int, height: int) -> list[Text]:
    """Return the lines of a frame in a terminal of some size."""
    return draw(frame, lay_out(frame, width=width, height=height))


def text_of(frame: Frame, *, width: int, height: int) -> str:
    """Return a frame as text, without the blanks at the ends of its lines."""
    return "\n".join(line.plain.rstrip() for line in draw_in(frame, width=width, height=height))
