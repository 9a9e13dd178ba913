"""What the API client's requests say, in exactly the form that goes over the wire.

The same lists of names and values are sent and shown by ``--dry-run``, so that the one can't differ from the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from callctl.calls.call import EVENT_NAMES, Call, is_same_party
from callctl.errors import UsageError

Parameters = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRequest:
    """A call to place (OAS, CreateCall). ``timeout`` and ``time_limit`` are in seconds; None leaves a name out.

    Raises:
        UsageError: Not exactly one of ``url`` and ``twiml`` is given (Twilio would silently prefer the URL), or an
            event is unknown (Twilio would place the call and send no callbacks at all, docs/twilio.md, "Errors",
            21626).
    """

    to: str
    from_: str
    url: str | None = None
    twiml: str | None = None
    method: str | None = None
    fallback_url: str | None = None
    fallback_method: str | None = None
    status_callback: str | None = None
    status_callback_events: tuple[str, ...] = ()
    timeout: int | None = None
    time_limit: int | None = None
    send_digits: str | None = None
    record: bool | None = None
    machine_detection: str | None = None
    caller_id: str | None = None

    def __post_init__(self) -> None:
        _check_one_document(self.url, self.twiml)
        unknown = [event for event in self.status_callback_events if event not in EVENT_NAMES]
        if unknown:
            raise UsageError(f"no such event: {unknown[0]}", hint=f"the events are {', '.join(EVENT_NAMES)}")

    def parameters(self) -> Parameters:
        """Return the form's names and values; the events as a repeated name (OAS), which TwiML writes otherwise."""
        return _without_none(
            ("To", self.to),
            ("From", self.from_),
            *_instructions(self),
            *(("StatusCallbackEvent", event) for event in self.status_callback_events),
            ("Timeout", self.timeout),
            ("TimeLimit", self.time_limit),
            ("SendDigits", self.send_digits),
            ("Record", None if self.record is None else str(self.record).lower()),
            ("MachineDetection", self.machine_detection),
            ("CallerId", self.caller_id),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedirectRequest:
    """Other TwiML for a call in progress (OAS, UpdateCall). No Status: sent with a Url, one of them is dropped.

    Raises:
        UsageError: Not exactly one of ``url`` and ``twiml`` is given, or a status callback without a URL, which
            Twilio would ignore (docs/twilio.md, "REST: updating a call").
    """

    url: str | None = None
    twiml: str | None = None
    method: str | None = None
    fallback_url: str | None = None
    fallback_method: str | None = None
    status_callback: str | None = None

    def __post_init__(self) -> None:
        _check_one_document(self.url, self.twiml)
        if self.status_callback and not self.url:
            raise UsageError(
                "a new status callback needs a URL: with TwiML alone, Twilio ignores it", hint="give --url as well"
            )

    def parameters(self) -> Parameters:
        """Return the form's names and values."""
        return _without_none(*_instructions(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallQuery:
    """Which calls to list (OAS, ListCall): all that match everything given.

    A date stands for a day in UTC; a time without a zone is local.
    """

    to: str | None = None
    from_: str | None = None
    parent_call_sid: str | None = None
    status: str | None = None
    start_time: date | None = None
    start_time_before: date | datetime | None = None
    start_time_after: date | datetime | None = None

    def parameters(self) -> Parameters:
        """Return the query's names and values. The comparison sign belongs to the name.

        Source: docs/twilio.md, "Listing calls".
        """
        return _without_none(
            ("To", self.to),
            ("From", self.from_),
            ("ParentCallSid", self.parent_call_sid),
            ("Status", self.status),
            ("StartTime", _time_value(self.start_time)),
            ("StartTime<", _time_value(self.start_time_before)),
            ("StartTime>", _time_value(self.start_time_after)),
        )

    def matches(self, call: Call) -> bool:
        """Tell whether a call matches the query.

        Compatible services ignore filters that they don't know, some of them all (docs/twilio.md, "Compatible
        services"), and Twilio those whose names it doesn't know. A command that ends whatever matches can't rely on the
        server alone.
        """
        return (
            (self.to is None or is_same_party(self.to, call.to))
            and (self.from_ is None or is_same_party(self.from_, call.from_))
            and self.parent_call_sid in (None, call.parent_call_sid)
            and self.status in (None, call.status)
            and self._matches_time(call.start_time or call.date_created)
        )

    def _matches_time(self, started: datetime | None) -> bool:
        # A queued call has not started; its creation stands for the start. Without either it is kept.
        if started is None:
            return True
        return (
            (self.start_time is None or started.date() == self.start_time)
            and (self.start_time_before is None or started < _instant(self.start_time_before))
            and (self.start_time_after is None or started >= _instant(self.start_time_after))
        )


def _instructions(request: PlaceRequest | RedirectRequest) -> tuple[tuple[str, str | None], ...]:
    """Return what a new call and a redirected one have in common: the document, and where to report."""
    return (
        ("Url", request.url),
        ("Twiml", request.twiml),
        ("Method", request.method),
        ("FallbackUrl", request.fallback_url),
        ("FallbackMethod", request.fallback_method),
        ("StatusCallback", request.status_callback),
    )


def _check_one_document(url: str | None, twiml: str | None) -> None:
    if (url is None) == (twiml is None):
        raise UsageError("exactly one of a URL and TwiML is needed", hint="give --url, --twiml, --say or --dial")


def _without_none(*pairs: tuple[str, str | int | None]) -> Parameters:
    return [(name, str(value)) for name, value in pairs if value is not None]


def _time_value(moment: date | datetime | None) -> str | None:
    # The library would write the local time and call it UTC (docs/twilio.md, "The Python library").
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return None if moment is None else moment.isoformat()


def _instant(moment: date | datetime) -> datetime:
    if isinstance(moment, datetime):
        return moment.astimezone(UTC)
    return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
