"""All that is known of one call, with its timeline: for people, for pipes, and as JSON."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from callctl.calls.action import ActionEvent
from callctl.calls.call import Call, CallStatus
from callctl.calls.event import CALLBACK, MISSED, POLLED, CallEvent
from callctl.calls.other_callbacks import FEATURES
from callctl.calls.participation import states_in_words
from callctl.support.dates import format_date, local_time, time_of_day
from callctl.views.lines import action_words, by_whom, event_fields
from callctl.views.style import append_status, glyph, style
from callctl.views.table import BRANCH, LONGEST_STATUS, Row, call_row, clock, plain_line, print_rows, shown_status
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from rich.console import Console

    from callctl.api.resources import Notification, Participant
    from callctl.calls.leg import Leg
    from callctl.calls.participation import Participation

_LABEL_WIDTH = 14
_SOURCES = {CALLBACK: "", POLLED: "found by polling", MISSED: "no callback reported it"}


@dataclass(frozen=True, slots=True)
class CallPage:
    """One call and what belongs to it.

    The calls have the latest status that REST or callbacks reported; ``rest_status`` is what REST shows of ``call``.
    ``timeline`` are the events and requests of its family that the local store holds, as :func:`timeline_of` orders
    them. ``children`` and ``notifications`` are None where the API could not return them. ``api_url`` is None where the
    API is Twilio's own. ``now`` counts where the API's reply has no date. ``leg`` is the call as callbacks reported it,
    and ``participants`` are who the API has in the conference that it is in by these: None where it is in none, or
    where the API could not return them.
    """

    call: Call
    rest_status: str
    parent: Call | None
    children: Sequence[Call] | None
    timeline: Sequence[CallEvent | ActionEvent]
    notifications: Sequence[Notification] | None
    api_url: str | None
    now: datetime
    leg: Leg | None = None
    participants: Sequence[Participant] | None = None

    @property
    def conference(self) -> Participation | None:
        """The conference that the call is in by its callbacks, unless it has ended."""
        return None if self.leg is None or self.call.is_final else self.leg.conference

    @property
    def is_recorded(self) -> bool:
        """Whether it is being recorded by its callbacks."""
        return self.leg is not None and self.leg.is_recorded and not self.call.is_final

    @property
    def is_ahead(self) -> bool:
        """Whether callbacks reported a later status of the call than REST shows yet."""
        return self.call.status != self.rest_status

    @property
    def status_since(self) -> datetime | None:
        """Since when a live call has its status, if a callback reported that; REST does not.

        Source: docs/twilio.md, "Eventual consistency".
        """
        callbacks = [item for item in self.timeline if isinstance(item, CallEvent) and item.kind == CALLBACK]
        status = (self.call.sid, self.call.status)
        return min((event.moment for event in callbacks if (event.call_sid, event.status) == status), default=None)

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
        above = [] if self.parent is None else [call_row(self.parent)]
        own = call_row(self.call, is_child=self.parent is not None)
        return [*above, own, *(call_row(child, is_child=True) for child in self.children or ())]


def masked_page(page: CallPage) -> CallPage:
    """Return the page with the numbers and names on it masked."""
    from callctl.calls.masked_numbers import masked, masked_call, masked_leg

    notes, children, others = page.notifications, page.children, page.participants
    return replace(
        page,
        call=masked_call(page.call),
        parent=None if page.parent is None else masked_call(page.parent),
        children=None if children is None else [masked_call(child) for child in children],
        timeline=masked_timeline(page.timeline),
        notifications=None if notes is None else [note.masked() for note in notes],
        leg=None if page.leg is None else masked_leg(page.leg),
        participants=None if others is None else [replace(other, label=masked(other.label)) for other in others],
    )


def masked_timeline(timeline: Iterable[CallEvent | ActionEvent]) -> list[CallEvent | ActionEvent]:
    """Return a timeline with the numbers and names in it masked."""
    from callctl.calls.masked_numbers import masked_action, masked_event

    return [masked_action(item) if isinstance(item, ActionEvent) else masked_event(item) for item in timeline]


def to_json(page: CallPage) -> dict[str, Any]:
    """Return the call's own fields, and beside them parent, children, timeline and notifications."""
    return {
        **page.call.to_json(),
        **({"rest_status": page.rest_status} if page.is_ahead else {}),
        **({} if page.api_url is None else {"api_url": page.api_url}),
        "parent": None if page.parent is None else page.parent.to_json(),
        "children": None if page.children is None else [child.to_json() for child in page.children],
        "conference": _conference_json(page),
        "recording": page.is_recorded,
        "timeline": [item.to_json() for item in page.timeline],
        "notifications": None if page.notifications is None else [note_json(note) for note in page.notifications],
    }


def _conference_json(page: CallPage) -> dict[str, Any] | None:
    """Return the conference that a call is in, with who else is, as the API has it; None if it is in none."""
    if page.conference is None:
        return None
    participants = page.participants
    others = None if participants is None else [_participant_json(participant) for participant in participants]
    return {**page.conference.to_json(), "participants": others}


def _participant_json(participant: Participant) -> dict[str, Any]:
    return {
        "call_sid": participant.call_sid,
        "participant_label": participant.label or None,
        "muted": participant.is_muted,
        "hold": participant.is_on_hold,
        "coaching": participant.is_coaching,
    }


def note_json(note: Notification) -> Mapping[str, Any]:
    """Return the JSON object of an error or a warning that Twilio noted."""
    return {
        "level": note.level,
        "error_code": note.code,
        "message": note.message,
        "more_info": note.more_info,
        "request_url": note.request_url,
        "message_date": format_date(note.date),
    }


def plain_lines(page: CallPage) -> Iterator[str]:
    """Yield tab-separated lines; the first field says of what.

    That is call, parent, child, event, action, notification; amd, recording, conference, with time, SID, event and
    details; or participant, with SID, label, what it is (on hold, muted, coaching), and the conference's SID and name.
    """
    yield f"call\t{plain_line(page.call)}"
    if page.parent is not None:
        yield f"parent\t{plain_line(page.parent)}"
    for child in page.children or ():
        yield f"child\t{plain_line(child)}"
    if page.conference is not None:
        conference = (page.conference.conference_sid, page.conference.name)
        for leg in _in_conference(page):
            yield _joined("participant", leg.call_sid, leg.label, ",".join(_states(leg)), *conference)
    for item in page.timeline:
        if isinstance(item, ActionEvent):
            yield _joined("action", format_date(item.at), item.call_sid, item.action, item.outcome, *_by(item))
        elif item.kind in FEATURES:
            yield _joined(item.kind, format_date(item.moment), item.call_sid, item.event, item.in_words)
        else:
            yield _joined("event", *event_fields(item))
    for note in page.notifications or ():
        yield _joined("notification", format_date(note.date), note.level, note.code, note.message, note.more_info)


def _in_conference(page: CallPage) -> Sequence[Participant]:
    """Return who is in the call's conference as the API has it; where it could not say, the call alone."""
    if page.participants is not None or page.conference is None:
        return page.participants or ()
    from callctl.api.resources import Participant

    own = page.conference
    return [Participant(page.call.sid, own.label or "", own.is_muted, own.is_on_hold, own.is_coaching)]


def _states(participant: Participant) -> tuple[str, ...]:
    return states_in_words(on_hold=participant.is_on_hold, muted=participant.is_muted, coaching=participant.is_coaching)


def _by(action: ActionEvent) -> tuple[str, ...]:
    by = by_whom(action)
    return (by,) if by else ()


def _joined(*fields: str | None) -> str:
    return "\t".join(printable(field or "") for field in fields)


def print_page(console: Console, page: CallPage) -> None:
    """Draw the page; lines that don't fit are wrapped, SIDs and links never cut."""
    from rich.text import Text

    def line(text: str | Text, style: str = "") -> None:
        text = Text(text, style=style) if isinstance(text, str) else text
        console.print(text, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)

    status = page.call.status
    line(append_status(Text(f"{printable(page.call.sid)}  "), shown_status(status), style(status)))
    for label, value in _facts(page):
        line(f"  {label.ljust(_LABEL_WIDTH)}{printable(value)}")
    if len(page.legs) > 1:
        line("\nLEGS", "bold")
        print_rows(console, page.legs)
    if page.participants:
        line("\nIN THE CONFERENCE", "bold")
        for participant in page.participants:
            parts = (participant.call_sid, participant.label, ", ".join(_states(participant)))
            line(f"  {printable('  '.join(part for part in parts if part))}")
    line("\nTIMELINE", "bold")
    for text in timeline_lines(page.timeline, own=page.call.sid):
        line(text)
    if not page.timeline:
        line("  No callback of this call was recorded here. `callctl watch` records them.", "dim")
    if page.notifications:
        line("\nERRORS AND WARNINGS", "bold")
        for note in page.notifications:
            for text in _note_lines(note):
                line(text)


def _facts(page: CallPage) -> Iterator[tuple[str, str]]:
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
        "conference": _conference_in_words(page),
        "recording": "goes on" if page.is_recorded else None,
        "cost": _cost(page),
        "account": call.account_sid,
        "API": page.api_url,
    }
    return ((label, value) for label, value in facts.items() if value)


def _conference_in_words(page: CallPage) -> str | None:
    conference = page.conference
    if conference is None:
        return None
    since = "" if conference.since is None else f"since {local_time(conference.since)}"
    named = f"{conference.name}  {conference.conference_sid}".strip()
    return ", ".join(filter(None, (named, since, *conference.states)))


def _cost(page: CallPage) -> str | None:
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
    for extra in (note.more_info, f"requested {note.request_url}" if note.request_url else None):
        if extra:
            yield f"    {printable(extra)}"


def timeline_of(events: Iterable[CallEvent], actions: Iterable[ActionEvent]) -> list[CallEvent | ActionEvent]:
    """Return both by the time at which they happened; what happened in one second, as it arrived.

    What ended a leg stands before the end that came of it, also where this machine's clock is ahead of Twilio's.
    """
    kept = _without_superseded(events)
    ends = _Ends(kept)

    def key(item: CallEvent | ActionEvent) -> tuple[datetime, datetime]:
        return _key(item) if isinstance(item, CallEvent) else ends.action_key(item)

    return sorted([*kept, *actions], key=key)


def _without_superseded(events: Iterable[CallEvent]) -> list[CallEvent]:
    """Leave out an end that was found by querying REST, if a callback reported it after all, however late."""
    known = list(events)
    ended = {event.call_sid for event in known if event.kind == CALLBACK and event.verified and event.is_final}
    return [event for event in known if event.kind != MISSED or event.call_sid not in ended]


class _Ends:
    """The ends of legs, by what may have caused them: a request to the leg, or to its parent."""

    def __init__(self, events: Iterable[CallEvent]) -> None:
        self._seconds: dict[str, list[tuple[datetime, datetime]]] = {}  # when each arrived, and its second
        for event in events:
            for sid in {event.call_sid, event.parent_call_sid or event.call_sid} if event.is_final else ():
                self._seconds.setdefault(sid, []).append((event.received_at, _key(event)[0]))
        for seconds in self._seconds.values():
            seconds.sort()
            # From the last one on, the earliest second of those that arrived then or later.
            earliest = accumulate((second for _, second in reversed(seconds)), min)
            seconds[:] = zip((at for at, _ in seconds), reversed(list(earliest)), strict=True)

    def action_key(self, action: ActionEvent) -> tuple[datetime, datetime]:
        seconds = self._seconds.get(action.call_sid, ()) if action.may_have_ended_it else ()
        first = bisect_left(seconds, action.at, key=itemgetter(0))
        return min([_key(action), *((second, action.at) for _, second in seconds[first : first + 1])])


def _key(item: CallEvent | ActionEvent) -> tuple[datetime, datetime]:
    moment, arrival = (item.at, item.at) if isinstance(item, ActionEvent) else (item.moment, item.received_at)
    return moment.replace(microsecond=0), arrival  # Twilio's time stamps have no fractions


def timeline_lines(timeline: Sequence[CallEvent | ActionEvent], *, own: str) -> Iterator[str]:
    """Yield one line each: local time, time since the first, what happened, and to which leg if not to ``own``."""
    begin = _key(timeline[0])[0] if timeline else None
    legs = _leg_names(timeline)
    for item in timeline:
        moment = _key(item)[0]
        after = "" if begin is None else f"+{clock((moment - begin).total_seconds())}"
        leg = "" if item.call_sid in (own, _conference(item)) else legs.get(item.call_sid, item.call_sid)
        what = _action_text(item, leg=leg) if isinstance(item, ActionEvent) else _event_text(item, leg=leg)
        yield f"  {time_of_day(moment)}  {after:>8}  {what}".rstrip()


def _conference(item: CallEvent | ActionEvent) -> str | None:
    return item.conference_sid if isinstance(item, CallEvent) else None


def _leg_names(timeline: Iterable[CallEvent | ActionEvent]) -> dict[str, str]:
    """Name each leg by whom it calls, and by its SID where two of them call the same one."""
    latest = {item.call_sid: item for item in timeline if isinstance(item, CallEvent) and item.status}
    called = Counter(event.to for event in latest.values())
    return {
        sid: (BRANCH if event.parent_call_sid else "parent ") + (event.to if called[event.to] == 1 else sid)
        for sid, event in latest.items()
    }


def _action_text(action: ActionEvent, *, leg: str) -> str:
    return printable("  ".join(part for part in (action_words(action), leg) if part))


def _event_text(event: CallEvent, *, leg: str) -> str:
    if not event.status:
        parts = (event.in_words, leg, "" if event.verified else "(not verified)")
        return printable("  ".join(part for part in parts if part))
    status = f"{glyph(event.status)} {event.status}".ljust(LONGEST_STATUS)
    facts = ", ".join(fact for fact in _event_facts(event) if fact)
    return printable("  ".join(part for part in (status, leg, f"({facts})" if facts else "") if part))


def _event_facts(event: CallEvent) -> Iterator[str]:
    if event.is_final and event.duration:
        yield clock(event.duration)
    if event.is_final and event.sip_response_code not in (None, "200"):
        yield f"SIP {event.sip_response_code}"
    if event.is_final:
        yield " ".join(filter(None, ("error" if event.error_code else "", event.error_code, event.error_message)))
    yield event.answered_by or ""
    yield _SOURCES.get(event.kind, event.kind)
    yield "" if event.verified else "not verified"
