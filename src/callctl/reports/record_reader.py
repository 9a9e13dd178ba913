"""The facts of legs, read from the records of their events as a store keeps them, a million within seconds.

Making a CallEvent of each record would take ten times as long. Nearly all records are lines, with names that come in
one of a handful of orders; each order has a regular expression that finds just the values that count. A leg that has
only such records is folded as they are read; for any other, events are made. The facts are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

from callctl.calls.call import CallStatus, rank_of
from callctl.calls.event import CALLBACK, FINAL_WEIGHTS, KIND_WEIGHTS, MISSED, POLLED, TWIML_REQUEST, CallEvent
from callctl.reports.leg_facts import NEWEST, LegFacts, Reported, facts_of, folded, rank_of_number
from callctl.support.dates import microseconds, parse_date, parse_timestamp
from callctl.support.parsing import parse_int

T = TypeVar("T")

# What a pattern finds after key, arrival and whether it is verified, in this order: of callbacks and requests for
# TwiML, and of what REST reported.
_SENT: Final = (
    *("CallStatus", "From", "To", "CallSid", "ParentCallSid", "Direction", "SipResponseCode"),
    *("Timestamp", "SequenceNumber", "CallDuration"),
)
_FETCHED: Final = (
    *("status", "from", "to", "sid", "parent_call_sid", "direction"),
    *("date_created", "start_time", "end_time", "duration"),
)
_NAMES = {CALLBACK: _SENT, TWIML_REQUEST: _SENT, POLLED: _FETCHED, MISSED: _FETCHED}
_SENT_KINDS = frozenset((CALLBACK, TWIML_REQUEST))
_SID = 3  # index of the call's SID among them; it and those before are never missing
# With one of these names it may be an event of another kind, or its values are read differently.
_UNUSUAL: Final = {"TranscriptionSid", "UnstableSpeechResult", "StableSpeechResult", "SipResultCode"}
_MOST_PATTERNS = 64
_MOST_REMEMBERED = 4096
_LINE = ".*+"
# Twilio's form of a Timestamp up to the minute, and the rest of it.
_MINUTE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} (?:[01]\d|2[0-3]):[0-5]\d", re.ASCII)
_MINUTE_LENGTH = 22
_SECONDS = {f":{second:02} +0000": second * 1_000_000 for second in range(60)}
_LEAST = (-1, 0, 0, 0, 0, "")


class _Remembered(dict[str, T]):
    """What a function returned for texts that come again and again."""

    def __init__(self, read: Callable[[str], T]) -> None:
        self._read = read

    def __missing__(self, text: str) -> T:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        value = self[text] = self._read(text)
        return value


_SIGNALWIRES = "answered"  # its word for a step, in callbacks (docs/twilio.md, "Compatible services")
# Status, rank and weight by word.
_STATUSES = {
    word: (str(status), rank_of(status), FINAL_WEIGHTS.get(status, 0))
    for word, status in [*((str(status), status) for status in CallStatus), (_SIGNALWIRES, CallStatus.IN_PROGRESS)]
}
_RINGING, _ANSWERED, _FINAL = (
    rank_of(status) for status in (CallStatus.RINGING, CallStatus.IN_PROGRESS, CallStatus.COMPLETED)
)


class _Pattern(NamedTuple):
    """Finds the values in records whose names come in one order; ``values`` puts them in that of _NAMES."""

    match: Callable[[str], re.Match[str] | None]
    values: Callable[[tuple[str, ...]], tuple[str, ...]]
    kind: str
    kind_weight: int


class RecordReader:
    """Reads the facts of legs. Remembers texts of dates and numbers, and the orders of names.

    ``unreadable`` counts the records that can't be read; they are left out.
    """

    def __init__(self) -> None:
        self.unreadable = 0
        self._patterns: list[_Pattern] = []
        self._learned: set[tuple[str, tuple[str, ...]]] = set()
        self._minutes = _Remembered(_minute)
        self._dates = _Remembered(_date)
        self._numbers = _Remembered(_number)
        self._durations = _Remembered(parse_int)

    def facts(self, records: Sequence[str]) -> LegFacts | None:
        """Return the facts of one leg, from the records of its events, each once; None if no event has a status."""
        leg = self._usual(records)
        if leg is not None:
            return leg
        reported = []
        for record in records:
            try:
                event = CallEvent.from_record(record)
            except Exception:  # whatever damage left there: one record must not hide all others
                self.unreadable += 1
            else:
                self._learn(record, event)
                reported.append(Reported.of(event))
        return facts_of(reported)

    def _usual(self, records: Sequence[str]) -> LegFacts | None:
        """Return what ``facts_of`` does, if all records are of usual events; else None.

        They come in any order: what counts is the greatest, by the order of events. This runs a million times, hence
        one loop, without functions or objects.
        """
        patterns, minutes, dates = self._patterns, self._minutes, self._dates
        numbers, durations = self._numbers, self._durations
        top = code_top = duration_top = _LEAST
        status = kind = sip_code = direction = from_ = to = sid = ""
        initiated: int | None = None
        ringing: int | None = None
        answered: int | None = None
        duration: int | None = None
        timestamp: int | None
        is_child = is_answered = end_reported = end_missed = has_direction = lacks_direction = False
        first, moment, evidence = NEWEST, 0, 0
        delays: list[int] = []
        counted: list[int] = []
        for record in records:
            for pattern in patterns:
                if (found := pattern[0](record)) is not None:
                    break
            else:
                return None
            _, values, source, weight = pattern
            if source in _SENT_KINDS:
                key, arrival, verified, word, near, far, sid, parent, its_direction, code, time, number, length = (
                    values(found.groups())
                )
                if parent and parent.strip() not in ("", sid.strip()):
                    is_child = True
            else:
                key, arrival, _, word, near, far, sid, parent, its_direction, created, started, ended, length = values(
                    found.groups()
                )
                if word == _SIGNALWIRES:
                    return None
                if parent and parent != sid:
                    is_child = True
                code = ""
            meaning = _STATUSES.get(word)
            if meaning is None or not near or not far:
                return None
            step, rank, final_weight = meaning
            received, number_rank, seconds = int(arrival), 0, None
            if source == CALLBACK:
                # In nearly all Timestamps there is a minute that was there before, and whole seconds.
                minute, second = minutes[time[:_MINUTE_LENGTH]], _SECONDS.get(time[_MINUTE_LENGTH:])
                timestamp = _moment(time) if minute is None or second is None else minute + second
                seconds = durations[length]
                sequence_number, number_rank = numbers[number]
                if sequence_number is not None:
                    counted.append(sequence_number)
                at = received
                if timestamp is not None:
                    at = timestamp
                    delays.append((received - timestamp) // 1000)
                if verified == "1":
                    evidence = 3
                elif not evidence:
                    evidence = 1
                if rank == _RINGING:
                    ringing = at if ringing is None or at < ringing else ringing
                elif rank == _ANSWERED:
                    is_answered = True
                    answered = at if answered is None or at < answered else answered
                elif rank == _FINAL:
                    end_reported = True
                else:
                    initiated = at if initiated is None or at < initiated else initiated
            elif source == TWIML_REQUEST:
                if rank == _FINAL:
                    return None  # it may be the callback of a service that leaves out its marks
                timestamp, at = None, received
                is_answered = is_answered or rank == _ANSWERED
                evidence = max(evidence, 2 if verified == "1" else 1)
            else:
                began = dates[started]
                began = dates[created] if began is None else began
                timestamp = dates[ended] if rank == _FINAL else began
                timestamp = began if timestamp is None else timestamp
                at = received if timestamp is None else timestamp
                seconds = durations[length]
                is_answered = is_answered or rank == _ANSWERED
                end_missed = end_missed or source == MISSED
            if at < first:
                first = at
            order = (rank, number_rank, timestamp or 0, final_weight, weight, key)
            if order > top:
                top, status, kind, from_, to, direction, moment = order, step, source, near, far, its_direction, at
            if its_direction:
                has_direction = True
            else:
                lacks_direction = True
            if code and order > code_top:
                code_top, sip_code = order, code
            if seconds is not None and order > duration_top:
                duration_top, duration = order, seconds
        if not status or (has_direction and lacks_direction):
            return None
        return folded(
            call_sid=sid if kind in (POLLED, MISSED) else sid.strip(),
            status=status,
            sip_code=sip_code,
            direction=direction,
            from_=from_,
            to=to,
            is_child=is_child,
            first=first,
            initiated=initiated,
            ringing=ringing,
            answered=answered,
            ended=moment if kind == CALLBACK else None,
            is_answered=is_answered,
            duration=duration,
            delays=delays,
            numbers=counted,
            end_missed=end_missed and not end_reported,
            evidence=evidence,
        )

    def _learn(self, record: str, event: CallEvent) -> None:
        """Make a pattern for records with the names of this one, unless it is unusual or there are enough."""
        names = tuple(name for name, _ in event.form)
        if len(self._learned) >= _MOST_PATTERNS or event.kind not in _NAMES or not record.startswith("2\n"):
            return
        wanted = _NAMES[event.kind]
        is_usual = (
            len(names) == len(set(names)) and set(wanted[: _SID + 1]).issubset(names) and _UNUSUAL.isdisjoint(names)
        )
        if wanted is _SENT:
            is_callback = "CallbackSource" in names or "ApiVersion" not in names or "Direction" not in names
            is_usual = is_usual and is_callback == (event.kind == CALLBACK)
        if is_usual and (event.kind, names) not in self._learned:
            self._learned.add((event.kind, names))
            self._patterns.append(_pattern(event.kind, names))


def _pattern(kind: str, names: Sequence[str]) -> _Pattern:
    wanted = _NAMES[kind]
    found = [name for name in names if name in wanted]
    values = dict.fromkeys(found, f"({_LINE})") | {wanted[_SID]: rf"(\S{_LINE})"}  # without one it is no event
    forms = (f"\n{re.escape(name)}\n{values.get(name, _LINE)}" for name in names)
    pattern = f"2\n({_LINE})\n{kind}\n([0-9]{{1,16}})\n({_LINE}){''.join(forms)}()"
    # A name that is not there gets the empty group at the end.
    groups = (0, 1, 2, *(found.index(name) + 3 if name in found else len(found) + 3 for name in wanted))
    return _Pattern(re.compile(pattern).fullmatch, itemgetter(*groups), kind, KIND_WEIGHTS.get(kind, 0))


def _number(text: str) -> tuple[int | None, int]:
    number = parse_int(text)
    return number, rank_of_number(number)


def _minute(text: str) -> int | None:
    return _moment(f"{text}:00 +0000") if _MINUTE.fullmatch(text) else None


def _moment(text: str) -> int | None:
    moment = parse_timestamp(text)
    return None if moment is None else microseconds(moment)


def _date(text: str) -> int | None:
    moment = parse_date(text)
    return None if moment is None else microseconds(moment)
