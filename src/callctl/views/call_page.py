"""All that is known of one call: for people, for pipes, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from callctl.api.resources import Notification
from callctl.calls.action import ActionEvent
from callctl.calls.call import Call, CallStatus
from callctl.calls.event import CALLBACK, CallEvent
from callctl.calls.features import FEATURES
from callctl.support.dates import format_date, local_time
from callctl.views import timeline
from callctl.views.lines import event_fields
from callctl.views.style import style
from callctl.views.table import Row, clock, plain_line, print_rows, shown_status
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from rich.console import Console

_LABEL_WIDTH = 14


@dataclass(frozen=True, slots=True)
class Page:
    """One call and what belongs to it.

    The calls have the latest status that REST or callbacks told; ``rest_status`` is what REST shows of ``call``.
    ``told`` are the events and requests of its family that the local store holds, by time. ``children`` and
    ``notes`` are None where the API could not tell them. ``api_url`` is None where the API is Twilio's own. ``now``
    counts where the API's reply does not say when it was made.
    """

    call: Call
    rest_status: str
    parent: Call | None
    children: Sequence[Call] | None
    told: Sequence[CallEvent | ActionEvent]
    notes: Sequence[Notification] | None
    api_url: str | None
    now: datetime

    @property
    def is_ahead(self) -> bool:
        """Whether callbacks told a later status of the call than REST shows yet."""
        return self.call.status != self.rest_status

    @property
    def status_since(self) -> datetime | None:
        """Since when a live call has its status, if a callback told that; REST does not.

        Source: docs/twilio.md, "Eventual consistency".
        """
        told = [item for item in self.told if isinstance(item, CallEvent) and item.kind == CALLBACK]
        moments = (item.moment for item in told if (item.call_sid, item.status) == (self.call.sid, self.call.status))
        return min(moments, default=None)

    @property
    def in_status(self) -> tuple[str, str] | None:
        """For how long a live call has had its status, in words; None of one that has ended."""
        call, since = self.call, self.status_since
        began = since or call.start_time or call.date_created
        if call.is_final or began is None:
            return None
        at_most = "" if since or call.status == CallStatus.QUEUED else " at most"
        seconds = ((call.as_of or self.now) - began).total_seconds()
        return call.status.replace("-", " "), f"for {clock(seconds)}{at_most}"

    @property
    def legs(self) -> list[Row]:
        """The call among its own: the parent first, then what that dialled."""
        if self.parent is not None:
            above = [Row(self.parent.sid, self.parent), Row(self.call.sid, self.call, depth=1)]
        else:
            above = [Row(self.call.sid, self.call)]
        return above + [Row(child.sid, child, depth=1 + (self.parent is not None)) for child in self.children or ()]


def to_json(page: Page) -> dict[str, Any]:
    """Return the call's own fields, and beside them parent, children, timeline and notifications."""
    return {
        **page.call.to_json(),
        **({"rest_status": page.rest_status} if page.is_ahead else {}),
        **({} if page.api_url is None else {"api_url": page.api_url}),
        "parent": None if page.parent is None else page.parent.to_json(),
        "children": None if page.children is None else [child.to_json() for child in page.children],
        "timeline": [item.to_json() for item in page.told],
        "notifications": None if page.notes is None else [_note_json(note) for note in page.notes],
    }


def _note_json(note: Notification) -> Mapping[str, Any]:
    return {
        "level": note.level,
        "error_code": note.code,
        "message": note.message,
        "more_info": note.more_info,
        "request_url": note.request_url,
        "message_date": format_date(note.date),
    }


def plain_lines(page: Page) -> Iterator[str]:
    """Yield tab-separated lines; the first field says of what.

    That is call, parent, child, event, action, notification; or amd, recording, conference, with time, SID, event and
    what it tells.
    """
    yield f"call\t{plain_line(page.call)}"
    if page.parent is not None:
        yield f"parent\t{plain_line(page.parent)}"
    for child in page.children or ():
        yield f"child\t{plain_line(child)}"
    for item in page.told:
        if isinstance(item, ActionEvent):
            yield _joined("action", format_date(item.at), item.call_sid, item.action, item.outcome, *_by(item))
        elif item.kind in FEATURES:
            yield _joined(item.kind, format_date(item.moment), item.call_sid, item.event, item.in_words)
        else:
            yield _joined("event", *event_fields(item))
    for note in page.notes or ():
        yield _joined("notification", format_date(note.date), note.level, note.code, note.message, note.more_info)


def _by(action: ActionEvent) -> tuple[str, ...]:
    return (f"by rule {action.rule}",) if action.rule else ()


def _joined(*fields: str | None) -> str:
    return "\t".join(printable(field or "") for field in fields)


def print_page(console: Console, page: Page) -> None:
    """Draw the page; lines that don't fit are wrapped, SIDs and links never cut."""
    from rich.text import Text

    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)

    line(f"{printable(page.call.sid)}  {shown_status(page.call.status)}", style(page.call.status))
    for label, value in _facts(page):
        line(f"  {label.ljust(_LABEL_WIDTH)}{printable(value)}")
    if len(page.legs) > 1:
        line("\nLEGS", "bold")
        print_rows(console, page.legs)
    line("\nTIMELINE", "bold")
    for told in timeline.lines(page.told, own=page.call.sid):
        line(told)
    if not page.told:
        line("  No callback of this call was recorded here. `callctl watch` records them.", "dim")
    if page.notes:
        line("\nERRORS AND WARNINGS", "bold")
        for note in page.notes:
            for told in _note_lines(note):
                line(told)


def _facts(page: Page) -> Iterator[tuple[str, str]]:
    call = page.call
    facts = {
        "REST": f"is behind the callbacks, and still shows it as {page.rest_status}" if page.is_ahead else None,
        "direction": call.direction,
        "from": call.from_,
        "to": call.to,
        "caller name": call.caller_name,
        "forwarded from": call.forwarded_from,
        "answered by": call.answered_by,
        "parent call": call.parent_call_sid,
        "created": local_time(call.date_created),
        "started": local_time(call.start_time),
        "ended": local_time(call.end_time),
        "queued for": f"{call.queue_time / 1000:.1f} s" if call.queue_time else None,
        **dict([page.in_status] if page.in_status else []),
        "duration": None if call.duration is None else clock(call.duration),
        "cost": _cost(page),
        "account": call.account_sid,
        "API": page.api_url,
    }
    return ((label, value) for label, value in facts.items() if value)


def _cost(page: Page) -> str | None:
    """Say what the call cost and, where it dialled others, what they cost together."""
    own = _amount(page.call)
    if own is None:
        own = "not rated yet" if page.call.status == CallStatus.COMPLETED else None
    rated = [leg for leg in (page.call, *(page.children or ())) if leg.price is not None]
    if not page.children or len({leg.price_unit for leg in rated}) != 1 or own is None:
        return own
    total = sum((-leg.price for leg in rated if leg.price is not None), Decimal())
    missing = 1 + len(page.children) - len(rated)
    yet = f", {missing} not rated yet" if missing else ""
    return f"{own}; with its child legs {total} {rated[0].price_unit or ''}".rstrip() + yet


def _amount(call: Call) -> str | None:
    # Charges are negative (OAS); people read a cost.
    return None if call.price is None else f"{-call.price} {call.price_unit or ''}".rstrip()


def _note_lines(note: Notification) -> Iterator[str]:
    moment = local_time(note.date)
    yield printable("  " + "  ".join(part for part in (moment, note.level, note.code, note.message) if part))
    for extra in (note.more_info, f"asked for {note.request_url}" if note.request_url else None):
        if extra:
            yield f"    {printable(extra)}"
