"""The facts of legs, read from the records of their events as a store keeps them, a million within seconds.

To make a CallEvent of each record would take ten times as long. Nearly all records are lines of status callbacks or of
requests for TwiML whose names come in a handful of orders; each order has a pattern that finds just the values that
count. All other records are read as events: the facts are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar, cast

from callctl.calls.call import CallStatus, is_final, rank_of
from callctl.calls.event import CALLBACK, FINAL_WEIGHTS, KIND_WEIGHTS, TWIML_REQUEST, CallEvent
from callctl.reports.leg_facts import LegFacts, Reported, facts_of, place_of
from callctl.support.dates import microseconds, parse_int, parse_timestamp

T = TypeVar("T")

# What a pattern finds after key, arrival and whether it is verified, in this order.
_NAMES: Final = (
    "CallStatus",
    "From",
    "To",
    "CallSid",
    "ParentCallSid",
    "Direction",
    "SipResponseCode",
    "Timestamp",
    "SequenceNumber",
    "CallDuration",
)
_NEEDED: Final = _NAMES[:4]
# With one of these it is no event of a kind that is read here, or may be none, or has a value that is read elsewhere.
_UNUSUAL: Final = {"TranscriptionSid", "UnstableSpeechResult", "StableSpeechResult", "SipResultCode"}
_MOST_PATTERNS = 64
_MOST_REMEMBERED = 4096
_LINE = ".*+"
# A SID that is no blank; else it is no event.
_VALUES = dict.fromkeys(_NAMES, f"({_LINE})") | {"CallSid": rf"(\S{_LINE})"}
# Twilio's form of a Timestamp up to the minute, and the rest of it.
_MINUTE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} (?:[01]\d|2[0-3]):[0-5]\d", re.ASCII)
_MINUTE_LENGTH = 22
_SECONDS = {f":{second:02} +0000": second * 1_000_000 for second in range(60)}


class _Remembered(dict[str, T]):
    """What a function returned for texts that come again and again."""

    def __init__(self, read: Callable[[str], T]) -> None:
        self._read = read

    def __missing__(self, text: str) -> T:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        value = self[text] = self._read(text)
        return value


class _Status(NamedTuple):
    status: str
    rank: int
    final_weight: int
    is_final: bool


# SignalWire's word for a step is among them (docs/twilio.md, "Compatible services").
_STATUSES = {
    word: _Status(str(status), rank_of(status), FINAL_WEIGHTS.get(status, 0), is_final(status))
    for word, status in [*((str(status), status) for status in CallStatus), ("answered", CallStatus.IN_PROGRESS)]
}


class _Pattern(NamedTuple):
    """Finds the values in records whose names come in one order; ``values`` puts them in that of _NAMES."""

    match: Callable[[str], re.Match[str] | None]
    values: Callable[[tuple[str, ...]], tuple[str, ...]]
    kind: str
    kind_weight: int
    is_request: bool


class RecordReader:
    """Reads the facts of legs. Remembers what it needs again: texts of dates and numbers, and the orders of names.

    ``unreadable`` counts the records that can't be read; they are left out.
    """

    def __init__(self) -> None:
        self.unreadable = 0
        self._patterns: dict[int, list[_Pattern]] = {}  # by the number of line breaks in a record
        self._learned: set[tuple[str, ...]] = set()
        self._minutes = _Remembered(_minute)
        self._numbers = _Remembered(_number)
        self._durations = _Remembered(parse_int)

    def facts(self, records: Iterable[str]) -> LegFacts | None:
        """Return the facts of one leg, from the records of its events, each once; None if no event has a status."""
        reported = []
        for record in records:
            one = self._usual(record)
            if one is None:
                event = self._event(record)
                if event is None:
                    continue
                one = Reported.of(event)
                self._learn(record, event)
            reported.append(one)
        return facts_of(reported)

    def _event(self, record: str) -> CallEvent | None:
        try:
            return CallEvent.from_record(record)
        except Exception:  # whatever damage left there: one record must not hide all others
            self.unreadable += 1
            return None

    def _usual(self, record: str) -> Reported | None:
        """Return what a record of a usual event says; None for any other."""
        for pattern in self._patterns.get(record.count("\n"), ()):
            if (found := pattern.match(record)) is not None:
                break
        else:
            return None
        key, arrival, is_verified, word, from_, to, sid, parent, way, code, time, number, seconds = pattern.values(
            found.groups()
        )
        status = _STATUSES.get(word)
        if status is None or not from_ or not to or (pattern.is_request and status.is_final):
            return None
        sid = sid.strip()
        if pattern.is_request:  # the rest would be the client's own
            timestamp = sequence_number = duration = None
            place = 0
        else:
            # Twilio writes one of some dozen minutes in nearly all Timestamps; they all end in whole seconds.
            minute, second = self._minutes[time[:_MINUTE_LENGTH]], _SECONDS.get(time[_MINUTE_LENGTH:])
            timestamp = _moment(time) if minute is None or second is None else minute + second
            sequence_number, place = self._numbers[number]
            duration = self._durations[seconds]
        order = (status.rank, place, timestamp or 0, status.final_weight, pattern.kind_weight, key)
        is_child = parent != "" and parent.strip() not in ("", sid)
        one = (
            *(order, sid, status.status, pattern.kind, is_verified == "1", int(arrival), timestamp, sequence_number),
            *(duration, code, is_child, way, from_, to),
        )
        return cast(Reported, one)  # a tuple of the same: to make it one would take as long again

    def _learn(self, record: str, event: CallEvent) -> None:
        """Make a pattern for records with the names of this one, unless it is unusual or there are enough."""
        names = tuple(name for name, _ in event.form)
        if len(self._learned) >= _MOST_PATTERNS or names in self._learned or not record.startswith("2\n"):
            return
        is_usual = len(names) == len(set(names)) and set(_NEEDED).issubset(names) and _UNUSUAL.isdisjoint(names)
        is_callback = "CallbackSource" in names or "ApiVersion" not in names or "Direction" not in names
        kind = CALLBACK if is_callback else TWIML_REQUEST
        if is_usual and event.kind == kind:
            self._learned.add(names)
            self._patterns.setdefault(record.count("\n"), []).append(_pattern(kind, names))


def _pattern(kind: str, names: Sequence[str]) -> _Pattern:
    found = [name for name in names if name in _NAMES]
    # Of what no value was looked for, an empty group at the end is found.
    wanted = (0, 1, 2, *(found.index(name) + 3 if name in found else len(found) + 3 for name in _NAMES))
    forms = (f"\n{re.escape(name)}\n{_VALUES.get(name, _LINE)}" for name in names)
    pattern = f"2\n({_LINE})\n{kind}\n([0-9]{{1,16}})\n({_LINE}){''.join(forms)}()"
    is_request = kind == TWIML_REQUEST
    return _Pattern(re.compile(pattern).fullmatch, itemgetter(*wanted), kind, KIND_WEIGHTS[kind], is_request)


def _number(text: str) -> tuple[int | None, int]:
    number = parse_int(text)
    return number, place_of(number)


def _minute(text: str) -> int | None:
    return _moment(f"{text}:00 +0000") if _MINUTE.fullmatch(text) else None


def _moment(text: str) -> int | None:
    moment = parse_timestamp(text)
    return None if moment is None else microseconds(moment)
