"""What a key does in the live table: a pure function of the state, the key and what it meets."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from callctl.calls.leg import Leg
from callctl.views.live.asking import (
    READ_ONLY,
    SELECT_FIRST,
    ask_to_dismiss,
    ask_to_hang_up,
    ask_url,
    choose_url,
    confirm,
    confirm_dismissal,
    may_answer,
)
from callctl.views.live.filter import TextFilter
from callctl.views.live.intents import Copy, Intent, Leave, OpenPage, Suspend
from callctl.views.live.keys import (
    CTRL_B,
    CTRL_C,
    CTRL_F,
    CTRL_Z,
    DOWN,
    END,
    ENTER,
    ESCAPE,
    HOME,
    PAGE_DOWN,
    PAGE_UP,
    UP,
    Key,
    edited,
)
from callctl.views.live.settle import scrolled, up_to_date
from callctl.views.live.sorted_legs import FAILURES
from callctl.views.live.state import (
    ChoosingUrl,
    Confirming,
    Dismissing,
    Filtering,
    KeysPage,
    LegPage,
    Mode,
    Page,
    Question,
    Refusal,
    Surroundings,
    ViewState,
)
from callctl.views.terminal_safe import printable

# Seconds in which a second Ctrl-Z suspends a watch that listens.
SUSPEND_WITHIN = 3.0


def press(state: ViewState, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    """Return the state after a key, and what is to be done because of it.

    Ctrl-C does nothing here: the screen has it count even while nothing can be drawn.
    """
    state = up_to_date(state, around, now=key.at)
    if state.is_ending or key.name == CTRL_C:
        return replace(state, is_ending=True), None  # it is ending: what is typed from now on is for the shell
    mode = state.mode
    if isinstance(mode, Question) and (mode.drawn_at is None or key.at < mode.drawn_at):
        return state, None  # it was typed before the question could be read
    if key.at <= state.closed_at:
        return state, None  # it was meant for the question that is over, or read together with the answer
    if mode is None and may_answer(key, state.refusal):
        return replace(state, key_at=key.at, refusal=Refusal(key.at)), None
    state = replace(state, key_at=key.at, message="", refusal=None)
    is_suspending = key.name == CTRL_Z
    state, intent = _suspend(state, key, around) if is_suspending else _pressed(state, mode, key, around)
    if isinstance(mode, Question) and not isinstance(state.mode, Question):
        state = replace(state, closed_at=key.at)
    if isinstance(intent, Leave):
        state = replace(state, is_ending=True)
    if is_suspending:
        return state, intent
    is_on_table = mode is None and not isinstance(state.mode, Page)
    return (scrolled(state, around) if is_on_table else state), intent


def _pressed(state: ViewState, mode: Mode | None, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    match mode:
        case Confirming():
            return confirm(state, mode, key, around)
        case Dismissing():
            return confirm_dismissal(state, mode, key, around), None
        case ChoosingUrl():
            return choose_url(state, mode, key, around)
        case Filtering():
            return _type_filter(state, mode, key, around), None
        case LegPage() | KeysPage():
            return _read_page(state, mode, key, around), None
        case None:
            return _on_table(state, key, around)


# The table


def _on_table(state: ViewState, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    moved = _moved(state, key, around)
    if moved is not None:
        return moved, None
    match key.name:
        case "enter":
            return _open(state, key)
        case "x":
            return ask_to_hang_up(state, key, around), None
        case "r":
            return ask_url(state, key, around), None
        case " " | "a" if not around.may_act:  # marks are for changing calls
            return state.saying(READ_ONLY, key.at), None
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
            return ask_to_dismiss(state, key, around), None
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


def _suspend(state: ViewState, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    if isinstance(state.mode, Question):
        state = replace(state, mode=None)
    if not around.listens or key.at - state.suspend_key_at <= SUSPEND_WITHIN:
        return replace(state, suspend_key_at=float("-inf")), Suspend()
    state = replace(state, suspend_key_at=key.at)
    return state.saying("while it is stopped callbacks are lost: Ctrl-Z once more stops it", key.at), None


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
    marks = {leg.call_sid: leg.status for leg in shown if around.matches(leg)} | dict(state.marks)
    state = replace(state, marks=MappingProxyType(marks))
    return state.saying(f"{len(marks)} marked; what comes later is not", key.at)


def _is_live(shown: Leg, around: Surroundings) -> bool:
    """Return whether a leg is live, in the picture and on the board, which may be newer."""
    latest = around.latest.leg(shown.call_sid)
    return shown.is_live and latest is not None and latest.is_live


# Typing


def _type_filter(state: ViewState, mode: Filtering, key: Key, around: Surroundings) -> ViewState:
    if key.name == ESCAPE:
        return replace(_with_filter(state, ""), mode=None)
    if key.name == ENTER:
        selected = None if mode.is_typed else state.selected
        return replace(state, mode=None, selected=selected, selects_first=bool(state.filter.strip()))
    if key.name in (UP, DOWN, PAGE_UP, PAGE_DOWN):
        return replace(_moved(state, key, around) or state, mode=Filtering())
    filtered = _with_filter(state, edited(state.filter, key))
    return state if filtered is state else replace(filtered, mode=Filtering(is_typed=True))


def _with_filter(state: ViewState, text: str) -> ViewState:
    """Return the state with another filter; the marks were for what the one before showed."""
    if text == state.filter:
        return state
    return replace(state, filter=text, marks=MappingProxyType({}), top=0, row=None)


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
