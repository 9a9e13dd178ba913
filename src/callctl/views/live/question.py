"""What the foot of the live table asks or says, instead of how many legs there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from callctl.calls.call import CallStatus
from callctl.calls.sid import SHOWN_START
from callctl.errors import without_secrets
from callctl.views.live.asking import LETTERS, TYPE_LETTER
from callctl.views.live.attention import failures_in_words
from callctl.views.live.filter import TextFilter
from callctl.views.live.intents import HangUp, Leave, Redirect, Target
from callctl.views.live.rows import phone
from callctl.views.live.state import ChoosingUrl, Confirming, Dismissing, Filtering, ViewState
from callctl.views.table import clock, shown_status
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from callctl.calls.board import Snapshot
    from callctl.calls.leg import Leg
    from callctl.support.clock import Age


# How many names are shown while one is typed.
_NAMED = 8


def question(state: ViewState, latest: Snapshot, *, age: Age, urls: Sequence[str], effects: str) -> Sequence[str]:
    """Return the question, else the message, as lines; none if there is neither.

    ``effects`` say what becomes of the other legs. What decides stands first: a narrow terminal cuts the end.
    """
    match state.mode:
        case Confirming(intent=Leave()):
            return [f"stop listening? {_calls(latest.live)} here   y: yes   any other key: no"]
        case Dismissing(failures=failures):
            return [f"dismiss {failures_in_words(len(failures))}?   y: yes   any other key: no"]
        case Confirming() as mode if mode.are_marked:
            return _by_number(mode, latest, age=age, effects=effects)
        case Confirming() as mode:
            return _by_key(mode, latest, age=age, effects=effects)
        case ChoosingUrl() as mode:
            return _choice(mode, state.message, latest, age=age, urls=urls)
        case None | Filtering():
            return [state.message] if state.message else _unread(state)
        case _:
            return [state.message] if state.message else []


def _unread(state: ViewState) -> list[str]:
    """Say what of the filter is no time."""
    unread = TextFilter.read(state.filter).unread
    return [f"{unread[0]} is no time, such as >2m or <30s: it hides no leg"] if unread else []


def _calls(count: int) -> str:
    return "1 live call reports" if count == 1 else f"{count} live calls report"


def _by_number(mode: Confirming, latest: Snapshot, *, age: Age, effects: str) -> list[str]:
    count = len(mode.targets)
    which = _marked(mode.targets, latest, age=age)
    rings = _only_if_ringing(mode, latest) if count > 1 else ""
    lines = [f"type {count} and Enter to {_verb(mode)} {which}{_where(mode)}{rings}: {mode.typed}▏"]
    return [*lines, effects] if effects else lines


def _marked(targets: Sequence[Target], latest: Snapshot, *, age: Age) -> str:
    """Name a marked leg by its SID too: another one is selected, or none."""
    if len(targets) > 1:
        legs = [(target, latest.leg(target.sid)) for target in targets]
        ended = sum(leg is None or leg.is_final for _, leg in legs)
        has_ended = f", {ended} {'has' if ended == 1 else 'have'} ended" if ended else ""
        answered = sum(_was_answered(target, leg) for target, leg in legs)
        is_spared = f", {answered} answered meanwhile {'is' if answered == 1 else 'are'} left alone" if answered else ""
        return f"{len(targets)} marked legs{has_ended}{is_spared}"
    sid = targets[0].sid
    return f"the marked leg {printable(sid)[:SHOWN_START]} {_leg(sid, latest, age=age)}"


def _was_answered(target: Target, leg: Leg | None) -> bool:
    """Return whether a leg that was not in progress when it was marked is so now: it is not changed then."""
    return leg is not None and leg.status == CallStatus.IN_PROGRESS != target.status


def _only_if_ringing(mode: Confirming, latest: Snapshot) -> str:
    """Say of how many legs it depends that they still ring; of the others that is over."""
    legs = [(target, latest.leg(target.sid)) for target in mode.targets if target.status != CallStatus.IN_PROGRESS]
    count = sum(leg is not None and leg.status == target.status for target, leg in legs)
    return f" ({count} only if they still ring)" if count and isinstance(mode.intent, HangUp) else ""


def _by_key(mode: Confirming, latest: Snapshot, *, age: Age, effects: str) -> list[str]:
    if mode.is_family:
        what = f"the whole family, {len(mode.targets)} live legs: " + ", ".join(
            _leg(target.sid, latest, age=age) for target in mode.targets
        )
        return [f"{_verb(mode)} {what}?   y: yes   any other key: no"]
    target = mode.targets[0]
    has_family = isinstance(mode.intent, HangUp) and len(latest.live_family(target.sid)) > 1
    family = "   f: family" if has_family else ""
    lines = [f"{_verb(mode)} {_leg(target.sid, latest, age=age)}{_where(mode)}?   y: yes{family}   other: no"]
    return [*lines, effects] if effects else lines


def _verb(mode: Confirming) -> str:
    return "hang up" if isinstance(mode.intent, HangUp) else "redirect"


def _where(mode: Confirming) -> str:
    return f" to {printable(without_secrets(mode.intent.url))}" if isinstance(mode.intent, Redirect) else ""


def _leg(sid: str, latest: Snapshot, *, age: Age) -> str:
    leg = latest.leg(sid)
    if leg is None:
        return printable(sid)
    return f"{phone(leg)} {shown_status(leg.status)} {clock(age(leg.status_since).total_seconds())}"


def _choice(mode: ChoosingUrl, message: str, latest: Snapshot, *, age: Age, urls: Sequence[str]) -> list[str]:
    marked, sid = mode.are_marked, mode.targets[0].sid
    which = _marked(mode.targets, latest, age=age) if marked else _leg(sid, latest, age=age)
    if mode.typed is not None:
        return [
            f"redirect {which} to: {printable(without_secrets(mode.typed))}▏",
            message or f"Enter goes on, Esc leaves it{_names_that_begin(mode.typed, urls)}",
        ]
    named = [f"{letter}: {printable(name)}" for letter, name in zip(LETTERS, urls, strict=False)]
    rest = len(urls) - len(named)
    typing = f"{TYPE_LETTER}: type a URL" + (f", or a name: {rest} more have no letter" if rest else "")
    return [f"redirect {which} to   {'   '.join([typing, *named])}   Esc: no"]


def _names_that_begin(typed: str, urls: Sequence[str]) -> str:
    """Return the names of URLs that begin with what was typed: the first of them, and whether there are more."""
    names = [printable(name) for name in urls if name.lower().startswith(typed.strip().lower())]
    more = ["…"] if len(names) > _NAMED else []
    return f"   names: {'  '.join([*names[:_NAMED], *more])}" if names else ""
