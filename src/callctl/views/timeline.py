"""The timeline of a call and its legs, as callbacks told it, with what was asked of them in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from callctl.calls.action import ActionEvent
from callctl.calls.event import CALLBACK, MISSED, POLLED, CallEvent
from callctl.support.dates import time_of_day
from callctl.views.lines import action_words
from callctl.views.style import glyph
from callctl.views.table import BRANCH, clock
from callctl.views.terminal_safe import printable

_SOURCES = {CALLBACK: "", POLLED: "found by polling", MISSED: "no callback told it"}
_STATUS_WIDTH = 13


def in_order(events: Iterable[CallEvent], actions: Iterable[ActionEvent]) -> list[CallEvent | ActionEvent]:
    """Return both by the time at which they happened; what happened in one second, as it arrived.

    What ended a leg stands before the end that came of it, also where this machine's clock is ahead of Twilio's.
    """
    told = _without_superseded(events)
    return sorted([*told, *actions], key=lambda item: _key(item) if isinstance(item, CallEvent) else _place(item, told))


def _without_superseded(events: Iterable[CallEvent]) -> list[CallEvent]:
    """Leave out an end that no callback had told when REST did, if one told it after all, however late."""
    told = list(events)
    ended = {event.call_sid for event in told if event.kind == CALLBACK and event.verified and event.is_final}
    return [event for event in told if event.kind != MISSED or event.call_sid not in ended]


def may_result_from(event: CallEvent, action: ActionEvent) -> bool:
    """Tell whether an event may be what came of an action: the end of the leg or of its child, and it came later."""
    ends = action.action != "redirect" and action.may_have_changed_it
    is_related = action.call_sid in (event.call_sid, event.parent_call_sid)
    return ends and event.is_final and is_related and event.received_at >= action.at


def _place(action: ActionEvent, told: Iterable[CallEvent]) -> tuple[datetime, datetime]:
    ends = [_key(event) for event in told if may_result_from(event, action)]
    return min([_key(action), *((second, action.at) for second, _ in ends)])


def _key(item: CallEvent | ActionEvent) -> tuple[datetime, datetime]:
    moment, arrival = (item.at, item.at) if isinstance(item, ActionEvent) else (item.moment, item.received_at)
    return moment.replace(microsecond=0), arrival  # Twilio's time stamps have no fractions


def lines(told: Sequence[CallEvent | ActionEvent], *, own: str) -> Iterator[str]:
    """Yield one line each: local time, time since the first, what happened, and to which leg if not to ``own``."""
    begin = _key(told[0])[0] if told else None
    legs = _names(told)
    for item in told:
        moment = _key(item)[0]
        after = "" if begin is None else f"+{clock((moment - begin).total_seconds())}"
        leg = "" if item.call_sid in (own, _conference(item)) else legs.get(item.call_sid, item.call_sid)
        what = _asked(item, leg=leg) if isinstance(item, ActionEvent) else _happened(item, leg=leg)
        yield f"  {time_of_day(moment)}  {after:>8}  {what}".rstrip()


def _conference(item: CallEvent | ActionEvent) -> str | None:
    return item.conference_sid if isinstance(item, CallEvent) else None


def _names(told: Iterable[CallEvent | ActionEvent]) -> dict[str, str]:
    """Name each leg by whom it calls, and by its SID where that would not tell two of them apart."""
    told_of = {item.call_sid: item for item in told if isinstance(item, CallEvent) and item.status}
    called = Counter(event.to for event in told_of.values())
    return {
        sid: (BRANCH if event.parent_call_sid else "parent ") + (event.to if called[event.to] == 1 else sid)
        for sid, event in told_of.items()
    }


def _asked(action: ActionEvent, *, leg: str) -> str:
    return printable("  ".join(part for part in (action_words(action), leg) if part))


def _happened(event: CallEvent, *, leg: str) -> str:
    if not event.status:
        told = (event.in_words, leg, "" if event.verified else "(not verified)")
        return printable("  ".join(part for part in told if part))
    status = f"{glyph(event.status)} {event.status}".ljust(_STATUS_WIDTH)
    facts = ", ".join(fact for fact in _facts(event) if fact)
    return printable("  ".join(part for part in (status, leg, f"({facts})" if facts else "") if part))


def _facts(event: CallEvent) -> Iterator[str]:
    if event.is_final and event.duration:
        yield clock(event.duration)
    if event.is_final and event.sip_response_code not in (None, "200"):
        yield f"SIP {event.sip_response_code}"
    if event.is_final:
        yield " ".join(filter(None, ("error" if event.error_code else "", event.error_code, event.error_message)))
    yield event.answered_by or ""
    yield _SOURCES.get(event.kind, event.kind)
    yield "" if event.verified else "not verified"
