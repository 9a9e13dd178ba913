"""What one leg adds to the figures: a fold over its events, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from callctl.calls.call import FINAL_STATUSES, CallStatus, Direction, rank_of
from callctl.calls.event import CALLBACK, FINAL_WEIGHTS, KIND_WEIGHTS, MISSED, TWIML_REQUEST, CallEvent
from callctl.support.dates import microseconds

# What a leg's figures rest on, the best first.
CALLBACKS: Final = "callbacks"  # a verified one at least
REQUESTS: Final = "twiml-requests"  # verified ones, of which no callback came
UNVERIFIED: Final = "unverified"  # callbacks or requests for TwiML, none of them verified
REST: Final = "rest"  # replies of REST, and nothing that Twilio sent
EVIDENCE: Final = (CALLBACKS, REQUESTS, UNVERIFIED, REST)
_BY_WEIGHT = EVIDENCE[::-1]

# Numbers from here on are made up: a call sends a handful of callbacks.
_LEAST_ABSURD_NUMBER = 1000
_MOST_NUMBER = 10**10 - 1
NEWEST = 2**63 - 1  # later than any time, in microseconds since 1970
_OUTGOING = (Direction.OUTBOUND_API, Direction.OUTBOUND_DIAL, Direction.TRUNKING_TERMINATING)
_FINAL = frozenset(map(str, FINAL_STATUSES))
_RINGING, _ANSWERED, _COMPLETED = (
    str(status) for status in (CallStatus.RINGING, CallStatus.IN_PROGRESS, CallStatus.COMPLETED)
)
_INITIATED = (str(CallStatus.QUEUED), str(CallStatus.INITIATED))
# Replaces unknown statuses and SIP codes: senders may make up any number of them.
OTHER: Final = "other"
_KNOWN_STATUSES = frozenset(map(str, CallStatus))
_KNOWN_CODES = frozenset(("", *map(str, range(100, 700))))


class Reported(NamedTuple):
    """One event as the facts of its leg need it. ``order`` sorts as ``CallEvent.order`` does.

    ``received_at`` and ``timestamp`` are in microseconds since 1970, ``duration`` in seconds; a text is empty where the
    event has none.
    """

    order: tuple[int, int, int, int, int, str]
    call_sid: str
    status: str
    kind: str
    verified: bool
    received_at: int
    timestamp: int | None
    sequence_number: int | None
    duration: int | None
    sip_response_code: str
    is_child: bool
    direction: str
    from_: str
    to: str

    @classmethod
    def of(cls, event: CallEvent) -> Reported:
        """Read an event. One without a status comes before all others."""
        timestamp = None if event.timestamp is None else microseconds(event.timestamp)
        return cls(
            order=(
                rank_of(event.status) if event.status else -1,
                rank_of_number(event.sequence_number),
                timestamp or 0,
                FINAL_WEIGHTS.get(event.status, 0),
                KIND_WEIGHTS.get(event.kind, 0),
                event.key,
            ),
            call_sid=event.call_sid,
            status=event.status,
            kind=event.kind,
            verified=event.verified,
            received_at=microseconds(event.received_at),
            timestamp=timestamp,
            sequence_number=event.sequence_number,
            duration=event.duration,
            sip_response_code=event.sip_response_code or "",
            is_child=event.parent_call_sid is not None,
            direction=event.direction,
            from_=event.from_,
            to=event.to,
        )


def rank_of_number(number: int | None) -> int:
    """Return the rank of a SequenceNumber among those of a call; no number is before all."""
    return 0 if number is None else min(max(number + 1, 0), _MOST_NUMBER)


class LegKind(NamedTuple):
    """What many legs have in common. ``evidence`` is one of EVIDENCE."""

    status: str
    has_ended: bool
    sip_response_code: str
    is_answered: bool
    is_outgoing: bool
    is_child: bool
    evidence: str


class LegFacts(NamedTuple):
    """One leg. ``started_at`` is in microseconds since 1970; the times and delays that follow are in milliseconds.

    ``post_dial_delay``, ``ring_time`` and ``talk_time`` are None unless callbacks reported both ends. ``delays``
    has an element for each callback with a Timestamp: how much later it arrived, which is less than 0 if this
    machine's clock is behind. ``missing`` is how many callbacks must have been sent that did not arrive, by their
    SequenceNumber; ``end_missed``: REST reported the end and no callback did.
    """

    call_sid: str
    kind: LegKind
    from_: str
    to: str
    started_at: int
    post_dial_delay: int | None
    ring_time: int | None
    talk_time: int | None
    delays: Sequence[int]
    missing: int
    end_missed: bool

    @property
    def status(self) -> str:
        """Its status."""
        return self.kind.status


def facts_of_events(events: Iterable[CallEvent]) -> LegFacts | None:
    """Return the facts of a leg, from its events, in any order and any number of times; None if none has a status."""
    return facts_of([Reported.of(event) for event in {event.key: event for event in events}.values()])


def facts_of(reported: list[Reported]) -> LegFacts | None:
    """Return the facts of a leg, from what was reported of it, each once; None if nothing has a status. Sorts the list.

    Each fact is that of the last event that has it. Times are those of callbacks alone: a poll reports when a call
    began, not when it got to its status.
    """
    reported.sort()
    if not reported or not reported[-1][2]:  # by its index: what was read from a record is a plain tuple
        return None
    initiated: int | None = None
    ringing: int | None = None
    answered: int | None = None
    duration: int | None = None
    sid = status = kind = sip_code = direction = from_ = to = ""
    is_child = is_answered = end_reported = end_missed = False
    first = at = NEWEST
    evidence = 0
    delays: list[int] = []
    numbers: list[int] = []
    # A million times: one unpacking costs less than attributes, one by one.
    for report in reported:
        _, sid, status, kind, verified, received, fired, number, seconds, code, child, its_direction, near, far = report
        at = received if fired is None else fired
        if at < first:
            first = at
        if near:
            from_ = near
        if far:
            to = far
        if its_direction:
            direction = its_direction
        if code:
            sip_code = code
        if child:
            is_child = True
        if seconds is not None:
            duration = seconds
        if status == _ANSWERED:
            is_answered = True
        if kind != CALLBACK:
            end_missed = end_missed or kind == MISSED
            if kind == TWIML_REQUEST:
                evidence = max(evidence, 2 if verified else 1)
            continue
        if evidence != 3:
            evidence = 3 if verified else max(evidence, 1)
        if fired is not None:
            delays.append((received - fired) // 1000)
        if number is not None:
            numbers.append(number)
        if status == _RINGING:
            ringing = at if ringing is None else min(at, ringing)
        elif status == _ANSWERED:
            answered = at if answered is None else min(at, answered)
        elif status in _INITIATED:
            initiated = at if initiated is None else min(at, initiated)
        elif status in _FINAL:
            end_reported = True
    return folded(
        call_sid=sid,
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
        ended=at if kind == CALLBACK else None,
        is_answered=is_answered,
        duration=duration,
        delays=delays,
        numbers=numbers,
        end_missed=end_missed and not end_reported,
        evidence=evidence,
    )


def folded(
    *,
    call_sid: str,
    status: str,
    sip_code: str,
    direction: str,
    from_: str,
    to: str,
    is_child: bool,
    first: int,
    initiated: int | None,
    ringing: int | None,
    answered: int | None,
    ended: int | None,
    is_answered: bool,
    duration: int | None,
    delays: Sequence[int],
    numbers: Sequence[int],
    end_missed: bool,
    evidence: int,
) -> LegFacts:
    """Return the facts of a leg from the sums over its events.

    ``first`` is the time of the first, ``initiated``, ``ringing`` and ``answered`` are those of the steps, ``ended``
    that of the last event if it is a callback, all in microseconds since 1970; ``duration`` is in seconds, ``numbers``
    are those of callbacks, and ``evidence`` is the weight of the best.
    """
    has_ended = status in _FINAL
    is_answered = is_answered or status == _COMPLETED
    kind = LegKind(
        status if status in _KNOWN_STATUSES else OTHER,
        has_ended,
        sip_code if sip_code in _KNOWN_CODES else OTHER,
        is_answered,
        direction in _OUTGOING,
        is_child,
        _BY_WEIGHT[evidence],
    )
    return LegFacts(
        call_sid,
        kind,
        from_,
        to,
        first if initiated is None else initiated,
        _between(initiated, ringing),
        _between(ringing, answered if is_answered else ended if has_ended else None),
        _talk_time(duration, answered, ended) if is_answered and has_ended else None,
        delays,
        _missing_in(numbers),
        end_missed,
    )


def _missing_in(numbers: Sequence[int]) -> int:
    """Return how many numbers ``missing_numbers`` returns."""
    known = _counted(numbers)
    return max(known) + 1 - len(known) if known else 0


def missing_numbers(numbers: Iterable[int]) -> tuple[int, ...]:
    """Return the numbers of the callbacks that are missing among those with these numbers.

    They count the callbacks of a call, from 0 (docs/twilio.md, "Callback parameters"). Whether more were sent after the
    last one is not known. Some senders number nothing, or everything 0.
    """
    known = _counted(numbers)
    return tuple(number for number in range(max(known, default=0)) if number not in known)


def _counted(numbers: Iterable[int]) -> set[int]:
    return {number for number in numbers if 0 <= number < _LEAST_ABSURD_NUMBER}


def _between(start: int | None, end: int | None) -> int | None:
    """Return the milliseconds between two times in microseconds; None if one is unknown or the second is earlier."""
    return None if start is None or end is None or end < start else (end - start) // 1000


def _talk_time(duration: int | None, answered: int | None, ended: int | None) -> int | None:
    """Return the milliseconds of talk: Twilio's duration, in seconds, else from answer to end, in microseconds."""
    return duration * 1000 if duration is not None and duration >= 0 else _between(answered, ended)
