"""The live table on a terminal: the alternate screen while it runs, operated by keys, the last frame left behind."""

from __future__ import annotations

import base64
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TextIO, TypeAlias

from callctl.calls.board import Snapshot
from callctl.calls.event import CallEvent
from callctl.calls.masked_numbers import masked, masked_action, masked_event, masked_leg
from callctl.errors import NoThreadError
from callctl.support.clock import Clock, elapsed
from callctl.support.dates import time_of_day
from callctl.support.threads import run_with_time_limit
from callctl.views.lines import action_line, by_whom, short_line
from callctl.views.live.attention import RINGS_TOO_LONG, failed_action
from callctl.views.live.frame import EVENT_LINES, PLAIN, TROUBLE, Frame, Layout, Line, draw, lay_out, wrap, wrapped_page
from callctl.views.live.intents import (
    ActionOutcome,
    Copy,
    HangUp,
    Intent,
    Leave,
    OpenPage,
    Operator,
    Redirect,
    Suspend,
)
from callctl.views.live.keyboard import Keyboard
from callctl.views.live.keys import CTRL_C, Key
from callctl.views.live.keys_page import keys_page
from callctl.views.live.press import press
from callctl.views.live.question import question
from callctl.views.live.settle import changed, drawn, outlived, resumed, settle
from callctl.views.live.sorted_legs import Listing, SortedLegs
from callctl.views.live.state import ChoosingUrl, Confirming, KeysPage, LegPage, Surroundings, ViewState
from callctl.views.style import GLYPHS
from callctl.views.table import cells
from callctl.views.terminal_safe import CUT_LINES, WRAP_LINES
from callctl.views.view import WatchState

if TYPE_CHECKING:
    from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
    from rich.live import Live
    from rich.segment import Segment
    from rich.text import Text

    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Change
    from callctl.calls.watch_trouble import Cause, Trouble
    from callctl.views.filtered_view import ShownPart

# The last frame stays in the scrollback, so it need not fit the screen; but neither may it bury what was there.
LAST_FRAME_LINES = 64
# Seconds that giving the terminal back may take: it may not be read, or only slowly.
GIVE_BACK_LIMIT = 1.0
# The least time that trouble is shown, however many events come after it.
TROUBLE_STAYS = timedelta(seconds=60)
# What is known of Twilio's clock becomes better by parts of a second; for less than this no row is looked at anew.
_CLOCK_STEP = timedelta(seconds=1)
_LOADING = "… loading what REST knows of it"
# What every terminal draws in one cell each: the letters of Western languages, and signs of callctl's own.
_SURE = frozenset([*map(chr, range(0x20, 0x300)), *GLYPHS, *"…→↑↓⏎└▸▌◆▏✓�"])


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How the table behaves.

    ``idle`` is shown while there are no calls, ``paste_guide`` on the page about the keys. ``bell`` rings when a leg
    starts to need attention: after ``rings_too_long``, or when it fails. With ``masks_numbers`` numbers and names are
    masked as they are drawn: filters and keys go by the true ones. ``part`` has the legs that are shown, if not all:
    what keys do goes by the whole board.
    """

    idle: Sequence[str] = ()
    paste_guide: Sequence[str] = ()
    rings_too_long: timedelta = RINGS_TOO_LONG
    bell: bool = False
    masks_numbers: bool = False
    part: ShownPart | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Sentence:
    """What is said among the events; ``head`` is its time. It is wrapped when it is drawn: a window may be resized."""

    head: str
    text: str
    look: str


_Recent: TypeAlias = "tuple[CallEvent, bool] | ActionEvent | _Sentence"  # an event, and whether it came late


class _LegClock(Clock):
    """The steady time of legs, to which Twilio's times are converted. That of rows stands still while they are held."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(wall=clock.wall)
        self._clock = clock
        self._held_at: datetime | None = None
        self.ahead = timedelta()  # how far it is ahead of Twilio's

    def hold(self) -> None:
        """Stand still."""
        self._held_at = self._clock.now()

    def go_on(self) -> None:
        """Go with the other clock again."""
        self._held_at = None

    def now(self) -> datetime:
        """Return the steady time, or that at which it was held."""
        return self._held_at or self._clock.now()

    def steady(self, moment: datetime) -> datetime:
        """Return the steady time of a moment by Twilio's clock or, of when something came, by the wall clock.

        Of a leg's times only Twilio's have whole seconds (RFC 2822).
        """
        if self.ahead and not moment.microsecond:
            return moment + self.ahead
        return self._clock.steady(moment)


@dataclass(frozen=True, slots=True)
class _InFlight:
    """An action that was begun ``since`` some moment of elapsed time, in seconds, and has no outcome yet."""

    intent: HangUp | Redirect
    since: float

    def in_words(self, *, at: float) -> str:
        """Return what is being done, and for how long."""
        verb, targets = "ending" if isinstance(self.intent, HangUp) else "redirecting", self.intent.targets
        which = targets[0].sid if len(targets) == 1 else f"{len(targets)} legs"
        return f"{verb} {which} … {max(0, int(at - self.since))} s"


@dataclass(frozen=True, slots=True)
class _Effects:
    """What a question says of the other legs, and the family of which it says that: SIDs, parents and statuses."""

    intent: HangUp | Redirect
    legs: Sequence[tuple[str, str | None, str]]
    text: str


class LiveView:
    """Draws the board when :meth:`refresh` is called, and after each key.

    All methods may be called in one thread after the other, but not in two at once; ``key`` and ``redraw_soon`` may be
    called in any. With an ``operator`` it is operated by keys, which are read from ``stdin``, a terminal. ``on_unread``
    is called at the end where nobody reads what is written to the terminal: nothing more can be said there.
    """

    def __init__(
        self,
        console: Console,
        options: TableOptions,
        *,
        clock: Clock,
        operator: Operator | None = None,
        stdin: TextIO | None = None,
        on_unread: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_unread, self._part = on_unread, options.part
        self._console, self._options, self._clock, self._operator = console, options, clock, operator
        self._keyboard = None if operator is None or stdin is None else Keyboard(stdin, console.file, on_key=self.key)
        self._below: Sequence[str] = ()
        self._recent: deque[_Recent] = deque(maxlen=EVENT_LINES)
        self._troubles: dict[Cause, tuple[_Sentence, datetime]] = {}  # the last of each cause, and until when it stays
        self._leg_clock, self._row_clock = _LegClock(clock), _LegClock(clock)
        self._legs = SortedLegs(self._row_clock, rings_too_long=options.rings_too_long)
        self._failures_while_held: list[ActionEvent] = []  # they show when the picture goes on
        self._held_since = ""
        self._state = ViewState()
        self._latest = self._latest_part = Snapshot()  # the board, and the part of it that is to be seen
        self._shown = Snapshot()  # that part, or an older one while the picture is held
        self._waiting = 0  # events since then
        self._header: WatchState | None = None
        self._frame: Frame | None = None
        self._layout: Layout | None = None
        self._page: Sequence[str] = ()
        self._effects: _Effects | None = None
        self._in_flight: list[_InFlight] = []
        self._has_begun = False
        self._drawn_at: ConsoleDimensions | None = None
        self._keys: SimpleQueue[Key] = SimpleQueue()
        self._news: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._wake: Callable[[], None] = lambda: None
        self._drawing = threading.RLock()  # the terminal is taken away, for a while or for good, in another thread
        self._is_given_back = False
        self._live: Live | None = self._open()

    # What a watch shows

    def begin(self, snapshot: Snapshot) -> None:
        """Note that from now on what needs attention is new."""
        self._latest, self._has_begun = snapshot, True

    def event(self, event: CallEvent, change: Change | None) -> None:
        """Remember an event, and whether it came late, for the foot of the table."""
        if self._part is not None and not self._part.has_event(event):
            return
        self._recent.append((event, change is not None and change.late))
        self._waiting += self._state.is_held

    def action(self, action: ActionEvent) -> None:
        """Show a request for a call among the latest events, before the end that it caused.

        The callback of that end may arrive before the answer to the request.
        """
        if self._shows(action):
            self._show_action(action)
        if action.may_have_changed_it:
            done = "redirected" if action.action == "redirect" else "hung up"
            self._state = changed(self._state, action.call_sid, f"{done} {by_whom(action)}".rstrip(), at=elapsed())

    def _shows(self, action: ActionEvent) -> bool:
        """Return whether a request is for a leg that matches or has a row."""
        part = self._part
        return part is None or part.has_action(action) or self._latest_part.leg(action.call_sid) is not None

    def _show_action(self, action: ActionEvent) -> None:
        recent = list(self._recent)[1 - EVENT_LINES :]
        at = next((at for at, item in enumerate(recent) if _may_result_from(item, action)), len(recent))
        self._recent.clear()
        self._recent.extend([*recent[:at], action, *recent[at:]])
        if self._state.is_held:
            self._failures_while_held.append(action)
        else:
            self._add_failure(action)

    def _add_failure(self, action: ActionEvent) -> None:
        failure = failed_action(action)
        if failure is not None:
            self._legs.add_failure(action.call_sid, failure)

    def note(self, text: str) -> None:
        """Show a sentence among the latest events, on as many lines as it needs."""
        self._say(text, look=PLAIN)

    def trouble(self, trouble: Trouble) -> None:
        """Show it likewise, in red unless it is over."""
        said = self._say(trouble, look=PLAIN if trouble.is_over else TROUBLE)
        self._troubles.pop(trouble.cause, None)
        if not trouble.is_over:
            self._troubles[trouble.cause] = said, self._clock.now() + TROUBLE_STAYS  # the newest of them last

    def _say(self, text: str, *, look: str) -> _Sentence:
        said = _Sentence(f"{time_of_day(self._clock.wall())}  ", text, look)
        self._recent.append(said)
        return said

    def put_below(self, lines: Sequence[str]) -> None:
        """Have these lines stand below all else from the next frame on, instead of those that stood there."""
        self._below = lines

    def refresh(self, snapshot: Snapshot, header: WatchState) -> None:
        """Draw the board as it is now, in the size the terminal has now."""
        self._latest = self._latest_part = snapshot
        self._header = header
        if self._part is not None:
            self._latest_part = self._part.of(snapshot)
            self._header = replace(header, shown_only=self._part.words)
        self._leg_clock.ahead = header.clock_ahead
        if not self._state.is_held:
            self._shown, self._waiting = self._latest_part, 0
            self._set_row_clock()
        self._draw()

    def is_stale(self) -> bool:
        """Return whether the terminal has another size than the frame on it."""
        return self._console.size != self._drawn_at

    def close(self) -> None:
        """Give the terminal back and leave the last frame on it, as it was; of one that is not read, its settings."""
        if not self._do_in_time(self._close):
            self._on_unread()
        if self._operator is not None:
            self._operator.close()

    def _close(self) -> None:
        with self._drawing:
            if self._live is None:
                return
            live, self._live = self._live, None
            self._stop(live)
            if self._frame is not None and self._latest_part.families:
                self._print_last(self._frame)

    # The terminal

    def _let_go_on(self) -> None:
        """Let a terminal that is held go on, since the thread that draws on it is not done before."""
        if self._keyboard is not None:
            self._keyboard.resume_output()

    def _open(self) -> Live:
        live = _whole_screen()(console=self._console, screen=True, auto_refresh=False, transient=True)
        live.start()
        self._steer(CUT_LINES)
        if self._keyboard is not None:
            self._keyboard.start()
        return live

    def _stop(self, live: Live) -> None:
        if self._keyboard is not None:
            self._keyboard.stop()
        if live.is_started:
            self._steer(WRAP_LINES)
        live.stop()

    def give_back(self) -> None:
        """Give the terminal back for a while, until ``take_again``."""
        self._is_given_back = True
        self._do_in_time(self._give_back)

    def _give_back(self) -> None:
        with self._drawing:
            if self._live is not None:
                self._stop(self._live)

    def take_again(self) -> None:
        """Have the terminal taken again, and drawn anew, by the thread that draws: another one may wait for it."""
        self._is_given_back = False
        self._news.put(self._take_again)
        self._wake()

    def _take_again(self) -> None:
        with self._drawing:
            if self._live is None or self._is_given_back:
                return
            self._stop(self._live)
            self._live = self._open()
        self._state = resumed(self._state, at=elapsed())

    def _do_in_time(self, work: Callable[[], None]) -> bool:
        """Give the terminal back, as far as it takes what that writes; return whether it took all of it.

        A thread that draws on a terminal that nobody reads waits for ever, and so would another one.
        """
        self._let_go_on()
        try:
            run_with_time_limit(GIVE_BACK_LIMIT, work)
        except NoThreadError:
            work()
        except TimeoutError:
            if self._keyboard is not None:
                self._keyboard.release()
            return False
        return True

    # Keys

    def connect(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called for each key and other news, so that ``take_news`` is called where frames are drawn."""
        self._wake = wake

    def key(self, key: Key) -> None:
        """Take a key; its effect shows with the next frame. May be called in any thread.

        Ctrl-C counts at once, also while a terminal that is held lets nothing be drawn.
        """
        if key.name == CTRL_C and self._operator is not None:
            self._let_go_on()
            self._operator.interrupt()
        self._keys.put(key)
        self._wake()

    def redraw_soon(self) -> None:
        """Have a frame drawn; may be called in any thread."""
        self._wake()

    def take_news(self) -> None:
        """Do what keys request, take in what was fetched, and draw."""
        with suppress(Empty):
            while True:
                self._news.get_nowait()()
        is_drawn = True
        with suppress(Empty):
            while True:
                key = self._keys.get_nowait()
                if not is_drawn:
                    self._draw()  # the next key is for what is on the screen then
                is_drawn = not self._press(key)
        self._draw()

    def _press(self, key: Key) -> bool:
        """Do what a key requests; return whether that is to be drawn before the next key."""
        before = self._state
        self._state, intent = press(before, key, self._surroundings())
        if intent is not None:
            drawn_at = before.mode.drawn_at if isinstance(before.mode, Confirming) else None
            self._carry_out(intent, question_seconds=0.0 if drawn_at is None else elapsed() - drawn_at)
        if self._state.is_held is not before.is_held:
            self._shown, self._waiting = self._latest_part, 0
            self._hold() if self._state.is_held else self._go_on()
        return self._state.mode is not before.mode or intent is not None

    def _set_row_clock(self) -> None:
        """Have rows, and what they are sorted and filtered by, follow what is known of Twilio's clock."""
        ahead = self._leg_clock.ahead
        if abs(ahead - self._row_clock.ahead) >= _CLOCK_STEP or (self._row_clock.ahead and not ahead):
            self._row_clock.ahead = ahead
            self._legs.find_times_anew()

    def _hold(self) -> None:
        self._row_clock.hold()
        self._held_since = time_of_day(self._clock.wall())

    def _go_on(self) -> None:
        self._row_clock.go_on()
        self._set_row_clock()
        for action in self._failures_while_held:
            self._add_failure(action)
        self._failures_while_held.clear()

    def _carry_out(self, intent: Intent, *, question_seconds: float) -> None:
        """Have an intent carried out, whose question stood on the screen for so many seconds."""
        operator = self._operator
        if operator is None:
            return
        match intent:
            case HangUp() | Redirect():
                action = _InFlight(intent, since=elapsed())
                self._in_flight.append(action)
                operator.act(
                    intent,
                    question_at=self._clock.wall() - timedelta(seconds=question_seconds),
                    report=lambda outcome: self._take_outcome(action, outcome),
                )
            case OpenPage(sid):
                self._page = [_LOADING]
                operator.load_page(sid, self._console.width - 2, lambda lines: self._take_page(sid, lines))
            case Copy(text):
                self._write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")
            case Leave():
                operator.leave()
            case Suspend():
                operator.suspend()

    def _take_outcome(self, action: _InFlight, outcome: ActionOutcome) -> None:
        """Show in the foot what came of an action, and among the latest events what the store has no record of.

        May be called in any thread.
        """

        def show() -> None:
            self._in_flight.remove(action)
            self._state = outlived(self._state, outcome.unchanged).saying(outcome.sentence, elapsed())
            for sentence in outcome.unrecorded:
                self._say(sentence, look=PLAIN)

        self._news.put(show)
        self._wake()

    def _take_page(self, sid: str, lines: Sequence[str]) -> None:
        """Show the lines of a leg's page, if it is still open; may be called in any thread."""

        def show() -> None:
            if isinstance(self._state.mode, LegPage) and self._state.mode.sid == sid:
                self._page = lines

        self._news.put(show)
        self._wake()

    # Drawing

    def _surroundings(self) -> Surroundings:
        operator, frame = self._operator, self._frame
        return Surroundings(
            listing=frame.listing if frame else Listing(self._shown),
            latest=self._latest,
            room=1 if self._layout is None else self._layout.room,
            page_lines=len(frame.page) if frame else 0,
            listens=operator is not None and operator.listens,
            may_act=self._may_act,
            urls=() if operator is None else operator.urls,
            matches=(lambda _leg: True) if self._part is None else self._part.matches,
        )

    @property
    def _may_act(self) -> bool:
        return self._operator is not None and self._operator.may_act

    def _draw(self) -> None:
        with self._drawing:
            if self._live is None or self._header is None:
                return
            size = self._console.size
            listing = self._legs.update(self._shown, self._state.arrangement(elapsed()))
            self._frame = frame = self._frame_of(listing, self._header, width=size.width)
            self._layout = layout = lay_out(frame, width=size.width, height=size.height)
            state = settle(self._state, self._surroundings(), now=elapsed())
            if state is not self._state:
                self._state = state
                # A question may be over, or a SID no longer selected: that changes how much room there is.
                self._frame = frame = self._frame_of(listing, self._header, width=size.width)
                self._layout = layout = lay_out(frame, width=size.width, height=size.height)
            self._drawn_at = size
            self._live.update(_ScreenLines(draw(frame, layout)), refresh=True)
            self._state = drawn(self._state, at=elapsed())
            if listing.has_news and self._has_begun and self._options.bell:
                self._console.bell()

    def _frame_of(self, listing: Listing, header: WatchState, *, width: int) -> Frame:
        # Of a storm of events only those that are drawn are put into words.
        recent = [_line(self._as_shown(item), width=width) for item in (*self._pushed_out(), *self._recent)]
        return Frame(
            header,
            listing,
            self._state,
            recent,
            self._options.idle,
            self._below,
            self._clock.age,
            question=self._question(),
            page=wrapped_page(self._open_page(), width=width - 2),
            has_keys=self._operator is not None,
            may_act=self._may_act,
            masks_numbers=self._options.masks_numbers,
            waiting=self._waiting,
            held_since=self._held_since,
            row_age=self._row_clock.age,
            in_flight=[action.in_words(at=elapsed()) for action in self._in_flight],
        )

    def _as_shown(self, item: _Recent) -> _Recent:
        """Return one of the latest events, with numbers masked if they are to be."""
        if not self._options.masks_numbers:
            return item
        if isinstance(item, _Sentence):
            return replace(item, text=masked(item.text))
        return (masked_event(item[0]), item[1]) if isinstance(item, tuple) else masked_action(item)

    def _open_page(self) -> Sequence[str]:
        if isinstance(self._state.mode, KeysPage):
            return keys_page(self._options.paste_guide, may_act=self._may_act)
        return self._page if isinstance(self._state.mode, LegPage) else ()

    def _question(self) -> Sequence[str]:
        operator, mode = self._operator, self._state.mode
        if operator is None:
            return ()
        effects = ""
        if isinstance(mode, Confirming) and not isinstance(mode.intent, Leave):
            effects = self._effects_of(mode, mode.intent, operator)
        shown = self._latest
        if self._options.masks_numbers and isinstance(mode, Confirming | ChoosingUrl):
            known = (shown.leg(target.sid) for target in mode.targets)
            shown = replace(shown, legs={leg.call_sid: masked_leg(leg) for leg in known if leg is not None})
        lines = question(self._state, shown, age=self._leg_clock.age, urls=operator.urls, effects=effects)
        # A URL that is being typed must be read by who types it.
        is_typed = isinstance(mode, ChoosingUrl) and mode.typed is not None
        return [masked(line) for line in lines] if self._options.masks_numbers and not is_typed else lines

    def _effects_of(self, mode: Confirming, intent: HangUp | Redirect, operator: Operator) -> str:
        """Return what a question says of the other legs. Where that changes, keys from before do not answer it."""
        family = self._latest.live_family(intent.targets[0].sid) if len(intent.targets) == 1 else ()
        legs = [(leg.call_sid, leg.parent_call_sid, leg.status) for leg in family]
        before = self._effects
        if before is not None and before.intent is intent and before.legs == legs:
            return before.text
        is_new = before is None or before.intent is not intent
        if is_new:
            header = self._header
            operator.put_question(intent, last_action=None if header is None else header.last_action)
        self._effects = after = _Effects(intent, legs, operator.effects(intent, self._latest))
        if before is not None and not is_new and after.text != before.text:
            self._state = replace(self._state, mode=replace(mode, drawn_at=None))
        return after.text

    def _pushed_out(self) -> list[_Sentence]:
        """Return the troubles that newer events have pushed out too soon."""
        now = self._clock.now()
        return [said for said, until in self._troubles.values() if said not in self._recent and now <= until]

    def _print_last(self, frame: Frame) -> None:
        self._go_on()
        listing = self._legs.update(self._latest_part, ViewState().arrangement(elapsed()))
        last = replace(frame, listing=listing, state=ViewState(), below=(), question=(), in_flight=(), is_last=True)
        size = self._console.size
        layout = lay_out(last, width=size.width, height=max(size.height, LAST_FRAME_LINES))
        self._console.print(_Lines(draw(last, layout)))

    def _steer(self, sequence: str) -> None:
        if not self._console.is_dumb_terminal:  # to which rich sends none either
            self._write(sequence)

    def _write(self, sequence: str) -> None:
        self._console.file.write(sequence)
        self._console.file.flush()


def _may_result_from(item: _Recent, action: ActionEvent) -> bool:
    return isinstance(item, tuple) and action.may_have_caused(item[0])


class _Lines:
    """Lines that fit, for rich to paint as they are: wrapping them anew would take most of a frame's time."""

    def __init__(self, lines: Sequence[Text]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, _options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for line in self._lines:
            yield from _painted(line, console)
            yield Segment.line()


class _ScreenLines(_Lines):
    """Lines that take the place of all that stands on the screen, however wide the terminal draws them.

    Blanks fill each of them. One that the terminal may draw wider or narrower than callctl counts is erased before it
    is drawn instead: something of what stood there would be left, or blanks would hide its end.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import ControlType, Segment

        width, height = options.size
        for line in self._lines:
            if _SURE.issuperset(line.plain):
                yield from _painted(line, console)
                yield Segment(" " * max(0, width - cells(line.plain)))
            else:
                yield Segment("\x1b[K", None, [(ControlType.ERASE_IN_LINE, 0)])
                yield from _painted(line, console)
            yield Segment.line()
        for _ in range(height - len(self._lines)):
            yield Segment(" " * width)
            yield Segment.line()


def _painted(line: Text, console: Console) -> Iterator[Segment]:
    from rich.segment import Segment

    if line.spans:
        yield from line.render(console)
    else:  # rich's own rendering would leave the style of the whole line out
        yield Segment(line.plain, console.get_style(line.style))


@cache
def _whole_screen() -> type[Live]:
    from rich.live import Live

    class WholeScreen(Live):
        """Draws lines as they are; rich would fill each with blanks by its own count of cells."""

        @property
        def renderable(self) -> RenderableType:
            """Return what is drawn."""
            return self.get_renderable()

    return WholeScreen


def _wrapped(said: _Sentence, *, width: int) -> Line:
    """Return a sentence on as many lines as it needs, all of them after its time."""
    first, *rest = wrap(said.text, max(20, width - len(said.head) - 2)) or [""]
    return Line(said.head + first, said.look, tuple(" " * len(said.head) + line for line in rest))


def _line(item: _Recent, *, width: int) -> Line:
    if isinstance(item, _Sentence):
        return _wrapped(item, width=width)
    if isinstance(item, tuple):
        event, is_late = item
        text = short_line(event, is_late=is_late, width=width - 1 if event.status else None)
        if event.status:
            return Line(text, PLAIN)
    else:
        text = action_line(item)
    time, _, words = text.partition("  ")
    return _wrapped(_Sentence(f"{time}  ", words, PLAIN), width=width)
