"""What is selected, typed and asked in the live table; and what a key changes of it: pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

from callctl.calls.board import Snapshot
from callctl.calls.call import CallStatus
from callctl.calls.leg import Leg
from callctl.settings.values import url_name
from callctl.support.urls import is_http_url, scheme_hint
from callctl.views.live.attention import failures_in_words
from callctl.views.live.filter import TextFilter
from callctl.views.live.keys import (
    BACKSPACE,
    CTRL_B,
    CTRL_F,
    CTRL_U,
    CTRL_Z,
    DOWN,
    END,
    ENTER,
    ESCAPE,
    HOME,
    PAGE_DOWN,
    PAGE_UP,
    PASTE,
    UP,
    Key,
)
from callctl.views.live.sorted_legs import FAILURES, Arrangement, Listing, Sort
from callctl.views.terminal_safe import printable

# Seconds: a confirmation counts only so long after its question was drawn, and for no longer than the second.
CONFIRM_AFTER = 0.3
CONFIRM_WITHIN = 10.0
# Seconds after a key in which no family changes its place.
ORDER_STAYS = 1.0
# Seconds in which a second Ctrl-Z suspends a watch that listens.
SUSPEND_WITHIN = 3.0
# Seconds that a message stays in the foot, unless a key comes before.
MESSAGE_STAYS = 8.0
# Seconds of silence after which text counts again that is typed while a question was refused, as if it stood there.
REFUSED_FOR = 1.0
# The letters of named URLs, and the one for typing another.
LETTERS = "abcdefghijklmnoprsuvwxyz"
TYPE_LETTER = "t"
SELECT_FIRST = "select a leg first: ↑ ↓"


@dataclass(frozen=True, slots=True)
class Target:
    """A leg that is to be changed, and the status in which it is meant: in any other it is left alone."""

    sid: str
    status: str


# What is to be done, by the program that shows the table.


@dataclass(frozen=True, slots=True)
class HangUp:
    """End these legs; ``is_family``: they are the live legs of one family."""

    targets: tuple[Target, ...]
    is_family: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """Give these legs the TwiML at a URL, or at a named one."""

    targets: tuple[Target, ...]
    url: str


@dataclass(frozen=True, slots=True)
class OpenPage:
    """Fetch what is known of a leg."""

    sid: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Put a text on the clipboard."""

    text: str


@dataclass(frozen=True, slots=True)
class Leave:
    """End the watch."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """Stop the process until the shell lets it go on."""


Intent: TypeAlias = HangUp | Redirect | OpenPage | Copy | Leave | Suspend


# What has the keys, where it is not the table itself.


@dataclass(frozen=True, slots=True)
class Filtering:
    """A filter is typed."""


@dataclass(frozen=True, slots=True)
class Confirming:
    """Something is to be confirmed, with ``y``, or with the number of legs where they are marked.

    ``drawn_at`` is when the question was first on the screen: keys from before do not count. ``typed_at`` is when a
    digit of the number was last typed.
    """

    intent: HangUp | Redirect | Leave
    are_marked: bool = False
    drawn_at: float | None = None
    typed: str = ""
    typed_at: float = float("-inf")

    @property
    def open_until(self) -> float:
        """When it is over, unless it is confirmed; it must have been drawn."""
        return max(self.drawn_at or 0.0, self.typed_at) + CONFIRM_WITHIN

    @property
    def targets(self) -> tuple[Target, ...]:
        """The legs that would be changed."""
        return () if isinstance(self.intent, Leave) else self.intent.targets

    @property
    def outlives_changes(self) -> bool:
        """Whether it stands though a leg changes: there are several, and each is looked at before it is changed."""
        return self.are_marked and len(self.targets) > 1

    @property
    def is_family(self) -> bool:
        """Whether the whole family is to be ended."""
        return isinstance(self.intent, HangUp) and self.intent.is_family


@dataclass(frozen=True, slots=True)
class ChoosingUrl:
    """The URL of a redirect is chosen by its letter, or typed; ``typed`` is None while it is chosen.

    ``are_marked`` and ``drawn_at`` are as those of a confirmation.
    """

    targets: tuple[Target, ...]
    are_marked: bool = False
    typed: str | None = None
    drawn_at: float | None = None


@dataclass(frozen=True, slots=True)
class LegPage:
    """The page of a leg is shown, from its line ``top`` on."""

    sid: str
    top: int = 0


@dataclass(frozen=True, slots=True)
class KeysPage:
    """The page about the keys is shown, from its line ``top`` on."""

    top: int = 0


@dataclass(frozen=True, slots=True)
class Dismissing:
    """It is to be confirmed, with ``y``, that these failures need nobody; ``drawn_at`` is as that of a confirmation."""

    failures: frozenset[tuple[str, datetime]]
    drawn_at: float | None = None

    @property
    def open_until(self) -> float:
        """When it is over, unless it is confirmed; it must have been drawn."""
        return (self.drawn_at or 0.0) + CONFIRM_WITHIN


# A question stands in the foot, and is closed by what happens to its legs; a page takes the place of the table.
Question: TypeAlias = Confirming | ChoosingUrl | Dismissing
Page: TypeAlias = LegPage | KeysPage
Mode: TypeAlias = Filtering | Question | Page


@dataclass(frozen=True, slots=True)
class Departure:
    """The selected row is about to leave its place because of a key, and ``rows`` are those before it does.

    ``is_dismissed``: at once, even while nothing else changes its place.
    """

    row: str
    rows: Sequence[str]
    is_dismissed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A redirect was refused, or its question is over: text that goes on as if it stood there is no key of the table.

    ``at`` is when that was, or text last typed that may be an answer, in seconds of elapsed time. ``keys`` are the
    characters that count all the same, as the first text after it.
    """

    at: float
    keys: str = ""


@dataclass(frozen=True, slots=True)
class ViewState:
    """What a person has made of the table; all of it is a value.

    ``selected`` is the SID of a leg, or ``FAILURES``; ``top`` the first row on the screen. ``row`` is where the
    selected one was when it was last on the screen, ``departure`` tells that it is about to go. ``marks`` have the
    status of each marked leg when it was marked. ``message`` stands in the foot since ``message_at``, ``key_at`` is
    when the last key came, ``closed_at`` when a question was last closed by something else than a key: all in seconds
    of elapsed time. ``is_held``: the picture stays as it is. ``selects_first``: if none is selected, the first leg is
    to be.
    """

    selected: str | None = None
    top: int = 0
    row: int | None = field(default=None, compare=False)
    departure: Departure | None = None
    filter: str = ""
    sort: Sort = Sort.ATTENTION
    marks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    mode: Mode | None = None
    message: str = ""
    message_at: float = 0.0
    dismissed: frozenset[tuple[str, datetime]] = frozenset()
    failures_open: bool = False
    is_held: bool = False
    selects_first: bool = False
    key_at: float = float("-inf")
    closed_at: float = float("-inf")
    suspend_asked_at: float = float("-inf")
    refusal: Refusal | None = None

    def arrangement(self, now: float) -> Arrangement:
        """Return how the legs are arranged at a time, in seconds of elapsed time."""
        return Arrangement(
            sort=self.sort,
            text_filter=TextFilter.read(self.filter),
            dismissed=self.dismissed,
            failures_open=self.failures_open,
            order_is_kept=self.order_is_kept(now),
        )

    def order_is_kept(self, now: float) -> bool:
        """Tell whether nothing changes its place at a time, in seconds of elapsed time."""
        is_asked = self.mode is not None and not isinstance(self.mode, Page)
        return is_asked or self.is_held or now - self.key_at < ORDER_STAYS

    def saying(self, message: str, at: float) -> ViewState:
        """Return the state with a message in the foot."""
        return replace(self, message=message, message_at=at)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a key meets: the rows on the screen, the board as it is now, and what may be done.

    ``room`` is how many rows the screen has or, while a page is open, how many of its ``page_lines``. ``listens``:
    callbacks come to this process. ``urls`` are the names of the named URLs.
    """

    listing: Listing
    latest: Snapshot
    room: int = 1
    page_lines: int = 0
    listens: bool = False
    may_act: bool = True
    urls: Sequence[str] = ()


def press(state: ViewState, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    """Return the state after a key, and what is to be done because of it.

    Ctrl-C is none of them: it must count even while nothing can be drawn.
    """
    state = _settled(state, around, now=key.at)
    asked = state.mode
    if isinstance(asked, Question) and (asked.drawn_at is None or key.at < asked.drawn_at):
        return state, None  # it was typed before the question could be read
    if key.at <= state.closed_at:
        return state, None  # it was meant for the question that is over
    if asked is None and _may_answer(key, state.refusal):
        return replace(state, key_at=key.at, refusal=Refusal(key.at)), None
    state = replace(state, key_at=key.at, message="", refusal=None)
    if key.name == CTRL_Z:
        return _suspend(state, key, around)
    state, intent = _pressed(state, asked, key, around)
    is_on_table = asked is None and not isinstance(state.mode, Page)
    return (scrolled(state, around) if is_on_table else state), intent


def _pressed(state: ViewState, asked: Mode | None, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    match asked:
        case Confirming():
            return _confirm(state, asked, key, around)
        case Dismissing():
            return _confirm_dismissal(state, asked, key, around), None
        case ChoosingUrl():
            return _choose_url(state, asked, key, around)
        case Filtering():
            return _type_filter(state, key, around), None
        case LegPage() | KeysPage():
            return _read_page(state, asked, key, around), None
        case None:
            return _on_table(state, key, around)


def settle(state: ViewState, around: Surroundings, *, now: float) -> ViewState:
    """Return the state as the legs allow it: what is gone is no longer selected or marked, and no question outlives
    the status that it names.
    """
    state = _settled(_departed(state, around, now=now), around, now=now)
    if not state.selects_first:
        return state
    selected = state.selected or next(around.listing.legs(), None)
    return scrolled(replace(state, selects_first=False, selected=selected), around)


def _settled(state: ViewState, around: Surroundings, *, now: float) -> ViewState:
    listing = around.listing
    selected = state.selected
    if selected is not None and selected not in listing.rows:
        selected = FAILURES if selected in listing.folded else None
    if selected != state.selected:
        state = replace(state, selected=selected)
    gone = [sid for sid in state.marks if around.latest.leg(sid) is None]
    if gone:
        marks = MappingProxyType({sid: status for sid, status in state.marks.items() if sid not in gone})
        state = replace(state, marks=marks)
    if state.message and now - state.message_at > MESSAGE_STAYS:
        state = replace(state, message="")
    if isinstance(state.mode, Question) and (why := _why_over(state.mode, around.latest, now=now)):
        state = _closed(state, why, at=now)
    if isinstance(state.mode, Page):
        top = min(state.mode.top, max(0, around.page_lines - around.room))
        return state if top == state.mode.top else replace(state, mode=replace(state.mode, top=top))
    return _still_scrolled(state, around)


def drawn(state: ViewState, *, at: float) -> ViewState:
    """Return the state after it was drawn: from now on a question may be answered."""
    if isinstance(state.mode, Question) and state.mode.drawn_at is None:
        return replace(state, mode=replace(state.mode, drawn_at=at))
    return state


def changed(state: ViewState, sid: str, what: str, *, at: float) -> ViewState:
    """Return the state after a leg was changed by something else: a question about it is over."""
    asked = state.mode
    if isinstance(asked, Confirming | ChoosingUrl) and sid in [target.sid for target in asked.targets]:
        if isinstance(asked, Confirming) and asked.outlives_changes:
            return state
        return _closed(state, f"{what} meanwhile", at=at)
    return state


def outlived(state: ViewState, sids: Collection[str]) -> ViewState:
    """Return the state after an action that did not change these legs: if one ends later, no key was the cause."""
    going = state.departure
    is_off = going is not None and going.row in sids and not going.is_dismissed
    return replace(state, departure=None) if is_off else state


def resumed(state: ViewState, *, at: float) -> ViewState:
    """Return the state after the process was stopped for a while: nobody has read a question meanwhile."""
    if isinstance(state.mode, Question):
        return _closed(state, "stopped meanwhile", at=at)
    return state


def _closed(state: ViewState, why: str, *, at: float) -> ViewState:
    """Return the state after a question was closed by something else than a key."""
    mode = state.mode
    sends_nothing = isinstance(mode, Dismissing) or (isinstance(mode, Confirming) and isinstance(mode.intent, Leave))
    refusal = Refusal(at) if isinstance(mode, ChoosingUrl) else None
    state = replace(state, mode=None, closed_at=at, refusal=refusal)
    return state.saying(why if sends_nothing else f"{why}: nothing was sent", at)


def _why_over(asked: Question, latest: Snapshot, *, now: float) -> str | None:
    """Return why a question is over; None if it still stands."""
    if isinstance(asked, Confirming | Dismissing) and asked.drawn_at is not None and now > asked.open_until:
        return f"not confirmed within {CONFIRM_WITHIN:.0f} s"
    if isinstance(asked, Dismissing) or (isinstance(asked, Confirming) and asked.outlives_changes):
        return None
    for target in asked.targets:
        leg = latest.leg(target.sid)
        if leg is None:
            return "the leg is gone"
        if leg.status != target.status and not (isinstance(asked, ChoosingUrl) and len(asked.targets) > 1):
            return _what_it_became(leg)
    return None


def _what_it_became(leg: Leg) -> str:
    return "answered meanwhile" if leg.status == CallStatus.IN_PROGRESS else f"{printable(leg.status)} meanwhile"


# The table


def _on_table(state: ViewState, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    moved = _moved(state, key, around)
    if moved is not None:
        return moved, None
    match key.name:
        case "enter":
            return _open(state, key)
        case "x":
            return _hang_up(state, key, around), None
        case "r":
            return _ask_url(state, key, around), None
        case " ":
            return _mark(state, key, around), None
        case "a":
            return _mark_all(state, key, around), None
        case "/":
            return replace(state, mode=Filtering()), None
        case "escape":
            return _clear(state), None
        case "s":
            sort = state.sort.next
            return replace(state, sort=sort, row=None).saying(f"sorted by {sort.value}", key.at), None
        case "c" | "C":
            return _copy(state, key, around)
        case "d":
            return _dismiss(state, key, around), None
        case "p":
            return replace(state, is_held=not state.is_held), None
        case "?":
            return replace(state, mode=KeysPage()), None
        case "q":
            if around.listens and around.latest.live:
                return replace(state, mode=Confirming(Leave())), None
            return state, Leave()
        case "paste":
            return state.saying("pasted text counts only in the filter and in a URL", key.at), None
    return state, None


def _moved(state: ViewState, key: Key, around: Surroundings) -> ViewState | None:
    """Return the state with another row selected; None if the key moves nothing."""
    rows = around.listing.rows
    page = max(1, around.room - 1)
    steps = {UP: -1, "k": -1, DOWN: 1, "j": 1, PAGE_UP: -page, CTRL_B: -page, PAGE_DOWN: page, CTRL_F: page}
    if key.name not in {*steps, "g", "G", HOME, END}:
        return None
    if not rows:
        return state
    if key.name in ("g", HOME):
        row = 0
    elif key.name in ("G", END):
        row = len(rows) - 1
    elif state.selected is None:
        step = steps[key.name]
        row = state.top + (0 if abs(step) == 1 else step)
    else:
        row = rows.index(state.selected) + steps[key.name]
    row = min(max(row, 0), len(rows) - 1)
    return scrolled(replace(state, selected=rows[row]), around)


def scrolled(state: ViewState, around: Surroundings) -> ViewState:
    """Return the state with the selected row on the screen, and no empty rows below the last."""
    rows, room = around.listing.rows, max(1, around.room)
    top, row = state.top, None
    if state.selected is not None and state.selected in rows:
        row = rows.index(state.selected)
        top = min(max(top, row - room + 1), row)
    top = max(0, min(top, len(rows) - room))
    return state if (top, row) == (state.top, state.row) else replace(state, top=top, row=row)


def _still_scrolled(state: ViewState, around: Surroundings) -> ViewState:
    """Return the state scrolled, but not after a leg that has ended and so moved away by itself."""
    listing, room = around.listing, max(1, around.room)
    leg = listing.leg(state.selected)
    if state.selected is None or state.row is None or leg is None or leg.is_live:
        return scrolled(state, around)
    top = max(0, min(state.top, len(listing.rows) - room))
    row = listing.rows.index(state.selected)
    if row == state.row or top <= row < top + room:
        return scrolled(state, around)
    return state if top == state.top else replace(state, top=top)


def _departing(state: ViewState, around: Surroundings, *, is_dismissed: bool = False) -> ViewState:
    """Return the state after a key that makes the selected row leave its place."""
    selected = state.selected
    rows = around.listing.rows
    if selected is None or selected not in rows:
        return state
    return replace(state, departure=Departure(selected, rows, is_dismissed))


def _departed(state: ViewState, around: Surroundings, *, now: float) -> ViewState:
    """Return the state with the row selected that takes the place of one that left it because of a key."""
    listing, going = around.listing, state.departure
    if going is None:
        return state
    if going.row != state.selected:
        return replace(state, departure=None)
    if _needs_its_place(going.row, listing) or not (going.is_dismissed or not state.order_is_kept(now)):
        keeps = going.is_dismissed or listing.rows == going.rows or going.row not in listing.rows
        return state if keeps else replace(state, departure=replace(going, rows=listing.rows))
    at = going.rows.index(going.row)
    others = [*going.rows[at + 1 :], *reversed(going.rows[:at])]
    shown = set(listing.rows)
    successor = next((row for row in others if row in shown and _needs_its_place(row, listing)), None)
    if successor is None and listing.rows:
        successor = listing.rows[min(at, len(listing.rows) - 1)]
    return replace(state, departure=None, selected=successor)


def _needs_its_place(row: str, listing: Listing) -> bool:
    """Tell whether a row stands above what has ended."""
    leg = listing.leg(row)
    if leg is None:
        return row == FAILURES and row in listing.rows
    return leg.is_live or row in listing.failures


def _open(state: ViewState, key: Key) -> tuple[ViewState, Intent | None]:
    if state.selected is None:
        return state.saying(SELECT_FIRST, key.at), None
    if state.selected == FAILURES:
        return replace(state, failures_open=not state.failures_open), None
    return replace(state, mode=LegPage(state.selected)), OpenPage(state.selected)


def _clear(state: ViewState) -> ViewState:
    """Clear the filter, else the marks, else the selection."""
    if state.filter:
        return _with_filter(state, "")
    if state.marks:
        return replace(state, marks=MappingProxyType({}))
    return replace(state, selected=None)


def _copy(state: ViewState, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    leg = around.listing.leg(state.selected)
    if leg is None:
        return state.saying(SELECT_FIRST, key.at), None
    sid = leg.call_sid if key.name == "c" else leg.parent_call_sid
    if sid is None:
        return state.saying("it has no parent", key.at), None
    message = f"copied {printable(sid)}, if the terminal takes OSC 52; else select it with the mouse"
    return state.saying(message, key.at), Copy(sid)


def _dismiss(state: ViewState, key: Key, around: Surroundings) -> ViewState:
    listing = around.listing
    sids = [state.selected or ""]
    if state.selected == FAILURES:
        sids = list(listing.failures) if state.failures_open else list(listing.folded)
    dismissed = frozenset((sid, listing.failures[sid].at) for sid in sids if sid in listing.failures)
    if state.selected is None:
        return state.saying(SELECT_FIRST, key.at)
    if not dismissed:
        return state.saying("no failure is selected", key.at)
    if state.selected == FAILURES:
        return replace(state, mode=Dismissing(dismissed))
    return _dismissed(state, dismissed, key, around)


def _confirm_dismissal(state: ViewState, asked: Dismissing, key: Key, around: Surroundings) -> ViewState:
    if key.name != "y":
        return replace(state, mode=None).saying("not confirmed: nothing was dismissed", key.at)
    if _is_too_soon(asked, key):
        return state
    return _dismissed(replace(state, mode=None), asked.failures, key, around)


def _dismissed(
    state: ViewState, failures: frozenset[tuple[str, datetime]], key: Key, around: Surroundings
) -> ViewState:
    leg = around.listing.leg(state.selected)
    if leg is None or not leg.is_live:
        state = _departing(state, around, is_dismissed=True)
    return replace(state, dismissed=state.dismissed | failures).saying(
        f"dismissed: {failures_in_words(len(failures))}", key.at
    )


# Marks


def _mark(state: ViewState, key: Key, around: Surroundings) -> ViewState:
    shown = around.listing.leg(state.selected)
    if shown is None:
        return state.saying(SELECT_FIRST, key.at)
    marks = dict(state.marks)
    if marks.pop(shown.call_sid, None) is None:
        if not _is_live(shown, around):
            return state.saying("it has ended: only live legs are marked", key.at)
        marks[shown.call_sid] = shown.status
    return replace(state, marks=MappingProxyType(marks))


def _mark_all(state: ViewState, key: Key, around: Surroundings) -> ViewState:
    text_filter = TextFilter.read(state.filter)
    if text_filter.unread:
        return state.saying(f"{printable(text_filter.unread[0])} is no time, such as >2m: nothing was marked", key.at)
    if text_filter.is_empty:
        return state.saying("type a filter first: /", key.at)
    shown = [leg for sid in around.listing.legs() if (leg := around.listing.leg(sid)) and _is_live(leg, around)]
    marks = {leg.call_sid: leg.status for leg in shown} | dict(state.marks)
    state = replace(state, marks=MappingProxyType(marks))
    return state.saying(f"{len(marks)} marked; what comes later is not", key.at)


def _is_live(shown: Leg, around: Surroundings) -> bool:
    """Tell whether a leg is live, in the picture and on the board, which may be newer."""
    latest = around.latest.leg(shown.call_sid)
    return shown.is_live and latest is not None and latest.is_live


# Changing calls


def _targets(state: ViewState, around: Surroundings) -> tuple[Target, ...] | str:
    """Return the marked legs, else the selected one; or why there are none."""
    if not around.may_act:
        return "--read-only: this table changes no call"
    if state.marks:
        return tuple(Target(sid, status) for sid, status in state.marks.items())
    leg = around.latest.leg(state.selected or "")
    shown = around.listing.leg(state.selected)
    if leg is None or shown is None:
        return SELECT_FIRST
    if shown.status != leg.status:  # the picture is older than the board
        return f"{_what_it_became(leg)}: p shows the table as it is now"
    return (Target(leg.call_sid, leg.status),)


def _may_answer(key: Key, refusal: Refusal | None) -> bool:
    """Tell whether a key goes on with the answer to what was refused."""
    is_text = bool(key.typed) or key.name in (ENTER, PASTE)
    return refusal is not None and is_text and key.name not in refusal.keys and key.at - refusal.at < REFUSED_FOR


def _moves_only(urls: Sequence[str]) -> str:
    """Return the letters that select a row, but for those that choose a URL or begin the name of one."""
    begin_names = {name[:1].lower() for name in urls}
    return "".join(key for key in "jkgG" if key not in LETTERS[: len(urls)] and key.lower() not in begin_names)


def _hang_up(state: ViewState, key: Key, around: Surroundings) -> ViewState:
    targets = _targets(state, around)
    if isinstance(targets, str):
        return state.saying(targets, key.at)
    if len(targets) == 1 and (leg := around.latest.leg(targets[0].sid)) is not None and leg.is_final:
        return state.saying(f"already over: it is {printable(leg.status)}", key.at)
    return replace(state, mode=Confirming(HangUp(targets), are_marked=bool(state.marks)))


def _ask_url(state: ViewState, key: Key, around: Surroundings) -> ViewState:
    targets = _targets(state, around)
    # What counts at once: to go to another leg, and what the refusal itself may ask for.
    refusal = Refusal(key.at, _moves_only(around.urls) + ("p" if state.is_held else ""))
    if isinstance(targets, str):
        return replace(state, refusal=refusal).saying(targets, key.at)
    others = [target.status for target in targets if target.status != CallStatus.IN_PROGRESS]
    if others:
        which = "it is" if len(targets) == 1 else f"of {len(targets)} marked legs {len(others)} are not: one is"
        why = f"only a call in progress can be redirected; {which} {printable(others[0])}"
        return replace(state, refusal=refusal).saying(why, key.at)
    return replace(state, mode=ChoosingUrl(targets, bool(state.marks), None if around.urls else ""))


def _choose_url(
    state: ViewState, asked: ChoosingUrl, key: Key, around: Surroundings
) -> tuple[ViewState, Intent | None]:
    if key.name == ESCAPE:
        return replace(state, mode=None), None
    if asked.typed is None and key.name != PASTE:
        named = dict(zip(LETTERS, around.urls, strict=False))
        if key.name in named:
            return _to_confirm(state, asked, named[key.name]), None
        if key.name == TYPE_LETTER:
            return replace(state, mode=replace(asked, typed="")), None
        is_typed = bool(key.typed) and key.name not in _moves_only(around.urls)
        state = replace(state, mode=None, refusal=Refusal(key.at) if is_typed else None)
        return state.saying("no URL was chosen: nothing was sent", key.at), None
    typed = asked.typed or ""
    if key.name == ENTER:
        url = typed.strip()
        if not url:
            return replace(state, mode=None), None
        if (why := _why_no_url(url, around.urls)) is not None:
            return state.saying(why, key.at), None
        return _to_confirm(state, asked, url), None
    return replace(state, mode=replace(asked, typed=_edited(typed, key))), None


def _why_no_url(text: str, names: Sequence[str]) -> str | None:
    """Say why a text can be no URL to redirect to; None if it can, or is the name of one."""
    if is_http_url(text) or url_name(text) in map(url_name, names):
        return None
    return f"no http or https URL, and no name of one; {scheme_hint(text, otherwise='such as https://example.com/a')}"


def _to_confirm(state: ViewState, asked: ChoosingUrl, url: str) -> ViewState:
    return replace(state, mode=Confirming(Redirect(asked.targets, url), are_marked=asked.are_marked))


def _confirm(state: ViewState, asked: Confirming, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    if asked.are_marked:
        return _confirm_number(state, asked, key, around)
    if key.name == "y":
        if _is_too_soon(asked, key):
            return state, None
        if isinstance(asked.intent, Leave):
            return replace(state, mode=None), asked.intent
        return _confirmed(state, asked, around), asked.intent
    if key.name == "f" and isinstance(asked.intent, HangUp) and not asked.is_family:
        return _ask_for_family(state, asked, key, around), None
    if isinstance(asked.intent, Leave):
        return replace(state, mode=None), None
    return replace(state, mode=None).saying("not confirmed: nothing was sent", key.at), None


def _confirmed(state: ViewState, asked: Confirming, around: Surroundings) -> ViewState:
    """Return the state after a change of calls was confirmed."""
    state = replace(state, mode=None, marks=MappingProxyType({}))
    ends_selected = isinstance(asked.intent, HangUp) and state.selected in [target.sid for target in asked.targets]
    return _departing(state, around) if ends_selected else state


def _confirm_number(
    state: ViewState, asked: Confirming, key: Key, around: Surroundings
) -> tuple[ViewState, Intent | None]:
    if key.name in (ENTER, BACKSPACE) or (key.typed.isdecimal() and key.name != PASTE):
        if _is_too_soon(asked, key):
            return state, None
        if key.name != ENTER:
            return replace(state, mode=replace(asked, typed=_edited(asked.typed, key), typed_at=key.at)), None
        if asked.typed == str(len(asked.targets)):
            return _confirmed(state, asked, around), asked.intent
    return replace(state, mode=None).saying("not confirmed: nothing was sent", key.at), None


def _is_too_soon(asked: Confirming | Dismissing, key: Key) -> bool:
    return asked.drawn_at is None or key.at < asked.drawn_at + CONFIRM_AFTER


def _ask_for_family(state: ViewState, asked: Confirming, key: Key, around: Surroundings) -> ViewState:
    live = live_family(asked.targets[0].sid, around.latest)
    if len(live) < 2:
        return replace(state, mode=None).saying("it has no other live leg: nothing was sent", key.at)
    targets = tuple(Target(leg.call_sid, leg.status) for leg in live)
    return replace(state, mode=Confirming(HangUp(targets, is_family=True)))


def live_family(sid: str, latest: Snapshot) -> Sequence[Leg]:
    """Return the live legs of the family that a leg belongs to."""
    family = latest.family_of.get(sid)
    return [] if family is None else [leg for leg in family.legs if leg.is_live]


def _suspend(state: ViewState, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    if isinstance(state.mode, Question):
        state = replace(state, mode=None)
    if not around.listens or key.at - state.suspend_asked_at <= SUSPEND_WITHIN:
        return replace(state, suspend_asked_at=float("-inf")), Suspend()
    state = replace(state, suspend_asked_at=key.at)
    return state.saying("while it is stopped callbacks are lost: Ctrl-Z once more stops it", key.at), None


# Typing


def _type_filter(state: ViewState, key: Key, around: Surroundings) -> ViewState:
    if key.name == ESCAPE:
        return replace(_with_filter(state, ""), mode=None)
    if key.name == ENTER:
        return replace(state, mode=None, selects_first=bool(state.filter.strip()))
    if key.name in (UP, DOWN, PAGE_UP, PAGE_DOWN):
        return _moved(state, key, around) or state
    return _with_filter(state, _edited(state.filter, key))


def _with_filter(state: ViewState, text: str) -> ViewState:
    """Return the state with another filter; the marks were for what the one before showed."""
    if text == state.filter:
        return state
    return replace(state, filter=text, marks=MappingProxyType({}), top=0, row=None)


def _edited(text: str, key: Key) -> str:
    if key.name == BACKSPACE:
        return text[:-1]
    return "" if key.name == CTRL_U else text + key.typed


# Pages


def _read_page(state: ViewState, page: Page, key: Key, around: Surroundings) -> ViewState:
    if key.name in ("q", ESCAPE) or (key.name == "?" and isinstance(page, KeysPage)):
        return replace(state, mode=None)
    if key.name in ("x", "r"):
        return state.saying("q first: keys act on the table", key.at)
    step = max(1, around.room - 1)
    steps = {UP: -1, "k": -1, DOWN: 1, "j": 1, ENTER: 1, " ": step}
    steps |= {PAGE_UP: -step, CTRL_B: -step, PAGE_DOWN: step, CTRL_F: step}
    last = max(0, around.page_lines - around.room)
    top = {"g": 0, HOME: 0, "G": last, END: last}.get(key.name, page.top + steps.get(key.name, 0))
    return replace(state, mode=replace(page, top=min(max(top, 0), last)))
