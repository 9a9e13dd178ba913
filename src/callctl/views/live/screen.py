"""The live table on a terminal: the alternate screen while it runs, the last frame left behind."""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from callctl.calls.event import CallEvent
from callctl.support.dates import time_of_day
from callctl.views.lines import action_line, short_line
from callctl.views.live.frame import EVENT_LINES, PLAIN, TROUBLE, Frame, Line, draw
from callctl.views.view import WatchState

if TYPE_CHECKING:
    from rich.console import Console, ConsoleDimensions, ConsoleOptions
    from rich.segment import Segment
    from rich.text import Text

    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change, Snapshot
    from callctl.calls.watch_trouble import Trouble
    from callctl.support.clock import Clock

# The last frame stays in the scrollback, so it need not fit the screen; but neither may it bury what was there.
LAST_FRAME_LINES = 64
# The least time that trouble is shown, however many events come after it.
TROUBLE_STAYS = timedelta(seconds=60)


class LiveView:
    """Draws the board when :meth:`refresh` is called, and only then."""

    def __init__(self, console: Console, *, idle: Sequence[str], clock: Clock) -> None:
        from rich.live import Live

        self._console = console
        self._idle = idle
        self._foot: Sequence[str] = ()
        self._clock = clock
        self._recent: deque[tuple[CallEvent, bool] | ActionEvent | Line] = deque(maxlen=EVENT_LINES)
        self._trouble: tuple[Line, datetime] | None = None
        self._last: Frame | None = None
        self._drawn_at: ConsoleDimensions | None = None
        self._live = Live(console=console, screen=True, auto_refresh=False, transient=True)
        self._live.start()

    def begin(self, snapshot: Snapshot) -> None:
        """Do nothing: the table shows the board."""

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Remember an event, and whether it came late, for the foot of the table."""
        self._recent.append((event, change is not None and change.late))

    def action(self, action: ActionEvent) -> None:
        """Show a request for a call among the latest events, before the end that it caused.

        The callback of that end may arrive before the answer to the request.
        """
        recent = list(self._recent)[1 - EVENT_LINES :]
        at = next((at for at, item in enumerate(recent) if _may_result_from(item, action)), len(recent))
        self._recent.clear()
        self._recent.extend([*recent[:at], action, *recent[at:]])

    def note(self, text: str) -> None:
        """Show a sentence among the latest events, on as many lines as it needs."""
        self._say(text, look=PLAIN)

    def trouble(self, trouble: Trouble) -> None:
        """Show it likewise, in red unless it is over."""
        self._say(trouble, look=PLAIN if trouble.is_over else TROUBLE)

    def _say(self, text: str, *, look: str) -> None:
        line = _wrapped(f"{time_of_day(self._clock.wall())}  ", text, look, width=self._console.width)
        self._recent.append(line)
        if look == TROUBLE:
            self._trouble = line, self._clock.now() + TROUBLE_STAYS

    def put_below(self, lines: Sequence[str]) -> None:
        """Have these lines stand below all else from the next frame on, instead of those that stood there."""
        self._foot = lines

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Draw the board as it is now, in the size the terminal has now."""
        # Of a storm of events only those that are drawn are put into words.
        width = self._console.width
        recent = [*self._pushed_out(), *(_line(item, width=width) for item in self._recent)]
        self._last = Frame(header, snapshot, recent, self._idle, self._foot, self._clock.age)
        self._drawn_at = self._console.size
        self._live.update(self._drawn(self._last, height=self._console.height), refresh=True)

    def _pushed_out(self) -> list[Line]:
        """Return the last trouble if newer events have pushed it out too soon."""
        if self._trouble is None or self._trouble[0] in self._recent or self._clock.now() > self._trouble[1]:
            return []
        return [self._trouble[0]]

    def is_stale(self) -> bool:
        """Return whether the terminal has another size than the frame on it."""
        return self._console.size != self._drawn_at

    def close(self) -> None:
        """Give the terminal back and leave the last frame on it, as it was."""
        self._live.stop()
        if self._last is not None and self._last.snapshot.families:
            last = replace(self._last, foot=(), is_last=True)
            self._console.print(self._drawn(last, height=max(self._console.height, LAST_FRAME_LINES)))

    def _drawn(self, frame: Frame, *, height: int) -> _Lines:
        return _Lines(draw(frame, width=self._console.width, height=height))


def _may_result_from(item: tuple[CallEvent, bool] | ActionEvent | Line, action: ActionEvent) -> bool:
    return isinstance(item, tuple) and action.may_have_caused(item[0])


class _Lines:
    """Lines that fit, for rich to paint as they are: wrapping them anew would take most of a frame's time."""

    def __init__(self, lines: Sequence[Text]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, _options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for line in self._lines:
            if line.spans:
                yield from line.render(console)
            else:  # rich's own rendering would leave the style of the whole line out
                yield Segment(line.plain, console.get_style(line.style))
            yield Segment.line()


def _wrapped(head: str, text: str, look: str, *, width: int) -> Line:
    """Return a sentence on as many lines as it needs, all of them after its time."""
    first, *rest = textwrap.wrap(text, width=max(20, width - len(head) - 2)) or [""]
    return Line(head + first, look, tuple(" " * len(head) + line for line in rest))


def _line(item: tuple[CallEvent, bool] | ActionEvent | Line, *, width: int) -> Line:
    if isinstance(item, Line):
        return item
    if isinstance(item, tuple):
        event, is_late = item
        text = short_line(event, is_late=is_late, width=width - 1 if event.status else None)
        if event.status:
            return Line(text, PLAIN)
    else:
        text = action_line(item)
    time, _, words = text.partition("  ")
    return _wrapped(f"{time}  ", words, PLAIN, width=width)
