"""What keys ask before a call is changed or a failure dismissed, and which keys answer that: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from callctl.calls.call import CallStatus
from callctl.settings.values import url_name
from callctl.support.urls import is_http_url, scheme_hint
from callctl.views.live.attention import failures_in_words
from callctl.views.live.intents import HangUp, Intent, Leave, Redirect, Target
from callctl.views.live.keys import BACKSPACE, ENTER, ESCAPE, PASTE, Key, edited
from callctl.views.live.settle import departing, what_it_became
from callctl.views.live.sorted_legs import FAILURES
from callctl.views.live.state import ChoosingUrl, Confirming, Dismissing, Refusal, Surroundings, ViewState
from callctl.views.terminal_safe import printable

# Seconds after its question was drawn from which on a confirmation counts.
CONFIRM_AFTER = 0.3
# Seconds of silence after which text counts again that is typed while a question was refused, as if it stood there.
REFUSED_FOR = 1.0
# The letters of named URLs, and the one for typing another.
LETTERS = "abcdefghijklmnoprsuvwxyz"
TYPE_LETTER = "t"
SELECT_FIRST = "select a leg first: ↑ ↓"
READ_ONLY = "--read-only: this table changes no call"


# Hanging up


def ask_to_hang_up(state: ViewState, key: Key, around: Surroundings) -> ViewState:
    """Return the state after the key that asks to end the marked legs, else the selected one."""
    targets = _targets(state, around)
    if isinstance(targets, str):
        return state.saying(targets, key.at)
    if len(targets) == 1 and (leg := around.latest.leg(targets[0].sid)) is not None and leg.is_final:
        return state.saying(f"already over: it is {printable(leg.status)}", key.at)
    return replace(state, mode=Confirming(HangUp(targets), are_marked=bool(state.marks)))


def _targets(state: ViewState, around: Surroundings) -> tuple[Target, ...] | str:
    """Return the marked legs, else the selected one; or why there are none."""
    if not around.may_act:
        return READ_ONLY
    if state.marks:
        return tuple(_target(sid, status, around) for sid, status in state.marks.items())
    leg = around.latest.leg(state.selected or "")
    shown = around.listing.leg(state.selected)
    if leg is None or shown is None:
        return SELECT_FIRST
    if shown.status != leg.status:  # the picture is older than the board
        return f"{what_it_became(leg)}: p shows the table as it is now"
    return (_target(leg.call_sid, leg.status, around),)


def _target(sid: str, status: str, around: Surroundings) -> Target:
    leg = around.latest.leg(sid)
    return Target(sid, status, None if leg is None else leg.parent_call_sid)


def confirm(state: ViewState, mode: Confirming, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    """Return the state after a key that answers what is to be confirmed, and what is confirmed by it."""
    if mode.are_marked:
        return _confirm_number(state, mode, key, around)
    if key.name == "y":
        if _is_too_soon(mode, key):
            return state, None
        if isinstance(mode.intent, Leave):
            return replace(state, mode=None), mode.intent
        return _confirmed(state, mode, around), mode.intent
    if key.name == "f" and isinstance(mode.intent, HangUp) and not mode.is_family:
        return _ask_for_family(state, mode, key, around), None
    if isinstance(mode.intent, Leave):
        # Who types on at once takes the table for left: that text is for the shell, unless it is another q.
        refusal = Refusal(key.at, "q") if _is_text(key) and _is_too_soon(mode, key) else None
        return replace(state, mode=None, refusal=refusal), None
    return replace(state, mode=None).saying("not confirmed: nothing was sent", key.at), None


def _confirmed(state: ViewState, mode: Confirming, around: Surroundings) -> ViewState:
    """Return the state after a change of calls was confirmed."""
    state = replace(state, mode=None, marks=MappingProxyType({}))
    ends_selected = isinstance(mode.intent, HangUp) and state.selected in [target.sid for target in mode.targets]
    return departing(state, around) if ends_selected else state


def _confirm_number(
    state: ViewState, mode: Confirming, key: Key, around: Surroundings
) -> tuple[ViewState, Intent | None]:
    if key.name in (ENTER, BACKSPACE) or (key.typed.isdecimal() and key.name != PASTE):
        if _is_too_soon(mode, key):
            return state, None
        if key.name != ENTER:
            return replace(state, mode=replace(mode, typed=edited(mode.typed, key), typed_at=key.at)), None
        if mode.typed == str(len(mode.targets)):
            return _confirmed(state, mode, around), mode.intent
    return replace(state, mode=None).saying("not confirmed: nothing was sent", key.at), None


def _is_too_soon(mode: Confirming | Dismissing, key: Key) -> bool:
    return mode.drawn_at is None or key.at < mode.drawn_at + CONFIRM_AFTER


def _ask_for_family(state: ViewState, mode: Confirming, key: Key, around: Surroundings) -> ViewState:
    live = around.latest.live_family(mode.targets[0].sid)
    if len(live) < 2:
        return replace(state, mode=None).saying("it has no other live leg: nothing was sent", key.at)
    targets = tuple(_target(leg.call_sid, leg.status, around) for leg in live)
    return replace(state, mode=Confirming(HangUp(targets, is_family=True)))


# Redirecting


def ask_url(state: ViewState, key: Key, around: Surroundings) -> ViewState:
    """Return the state after the key that asks where to redirect the marked legs, else the selected one."""
    targets = _targets(state, around)
    # What counts at once: to go to another leg, and what the refusal itself may ask for.
    refusal = Refusal(key.at, _moves_only(around.urls) + ("p" if state.is_held else ""))
    if isinstance(targets, str):
        return replace(state, refusal=refusal).saying(targets, key.at)
    others = [target for target in targets if target.status != CallStatus.IN_PROGRESS]
    if others:
        which = "it" if len(targets) == 1 else f"of {len(targets)} marked legs {len(others)} are not: one"
        leg = around.latest.leg(others[0].sid)
        has_changed = leg is not None and leg.status != others[0].status
        when = f"was {others[0].status} when it was marked" if has_changed else f"is {others[0].status}"
        why = f"only a call in progress can be redirected; {which} {printable(when)}"
        return replace(state, refusal=refusal).saying(why, key.at)
    return replace(state, mode=ChoosingUrl(targets, bool(state.marks), None if around.urls else ""))


def choose_url(state: ViewState, mode: ChoosingUrl, key: Key, around: Surroundings) -> tuple[ViewState, Intent | None]:
    """Return the state after a key that chooses a URL, or is typed as a part of one."""
    if key.name == ESCAPE:
        return replace(state, mode=None), None
    if mode.typed is None and key.name != PASTE:
        named = dict(zip(LETTERS, around.urls, strict=False))
        if key.name in named:
            return _to_confirm(state, mode, named[key.name]), None
        if key.name == TYPE_LETTER:
            return replace(state, mode=replace(mode, typed="")), None
        is_typed = bool(key.typed) and key.name not in _moves_only(around.urls)
        state = replace(state, mode=None, refusal=Refusal(key.at) if is_typed else None)
        return state.saying("no URL was chosen: nothing was sent", key.at), None
    typed = mode.typed or ""
    if key.name == ENTER:
        url = typed.strip()
        if not url:
            return replace(state, mode=None), None
        if (why := _why_no_url(url, around.urls)) is not None:
            return state.saying(why, key.at), None
        return _to_confirm(state, mode, url), None
    return replace(state, mode=replace(mode, typed=edited(typed, key))), None


def _why_no_url(text: str, names: Sequence[str]) -> str | None:
    """Say why a text can be no URL to redirect to; None if it can, or is the name of one."""
    if is_http_url(text) or url_name(text) in map(url_name, names):
        return None
    return f"no http or https URL, and no name of one; {scheme_hint(text, otherwise='such as https://example.com/a')}"


def _to_confirm(state: ViewState, mode: ChoosingUrl, url: str) -> ViewState:
    return replace(state, mode=Confirming(Redirect(mode.targets, url), are_marked=mode.are_marked))


def may_answer(key: Key, refusal: Refusal | None) -> bool:
    """Return whether a key goes on with the answer to what was refused."""
    is_recent = refusal is not None and key.at - refusal.at < REFUSED_FOR and key.name not in refusal.keys
    return is_recent and _is_text(key)


def _is_text(key: Key) -> bool:
    return bool(key.typed) or key.name in (ENTER, PASTE)


def _moves_only(urls: Sequence[str]) -> str:
    """Return the letters that select a row, but for those that choose a URL or begin the name of one."""
    begin_names = {name[:1].lower() for name in urls}
    return "".join(key for key in "jkgG" if key not in LETTERS[: len(urls)] and key.lower() not in begin_names)


# Dismissing


def ask_to_dismiss(state: ViewState, key: Key, around: Surroundings) -> ViewState:
    """Return the state after the key that dismisses the selected failure, or asks about all in a row."""
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


def confirm_dismissal(state: ViewState, mode: Dismissing, key: Key, around: Surroundings) -> ViewState:
    """Return the state after a key that answers whether failures are to be dismissed."""
    if key.name != "y":
        return replace(state, mode=None).saying("not confirmed: nothing was dismissed", key.at)
    if _is_too_soon(mode, key):
        return state
    return _dismissed(replace(state, mode=None), mode.failures, key, around)


def _dismissed(
    state: ViewState, failures: frozenset[tuple[str, datetime]], key: Key, around: Surroundings
) -> ViewState:
    leg = around.listing.leg(state.selected)
    if leg is None or not leg.is_live:
        state = departing(state, around, is_dismissed=True)
    return replace(state, dismissed=state.dismissed | failures).saying(
        f"dismissed: {failures_in_words(len(failures))}", key.at
    )
