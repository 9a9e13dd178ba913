"""What the API client's requests say, in exactly the form that goes over the wire.

The same lists of names and values are sent and shown by ``--dry-run``, so that the one can't differ from the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from callctl.calls.call import EVENT_NAMES, CallStatus
from callctl.errors import UsageError

if TYPE_CHECKING:
    from callctl.calls.filter import CallFilter

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


def list_parameters(call_filter: CallFilter) -> Parameters:
    """Return the query's names and values, as far as REST can filter. The comparison sign belongs to the name.

    REST takes one status. Calls still queued have no start time, so that a filter by it would lose them.

    Source: docs/twilio.md, "Listing calls".
    """
    status = call_filter.statuses[0] if len(call_filter.statuses) == 1 else None
    is_timed = status != CallStatus.QUEUED
    return _without_none(
        ("To", call_filter.to),
        ("From", call_filter.from_),
        ("ParentCallSid", call_filter.parent),
        ("Status", status),
        ("StartTime<", _time_value(call_filter.until) if is_timed else None),
        ("StartTime>", _time_value(call_filter.since) if is_timed else None),
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
        raise UsageError(
            "exactly one of a URL and TwiML is needed", hint="give --url, --twiml, --say, --dial or --conference"
        )


def _without_none(*pairs: tuple[str, str | int | None]) -> Parameters:
    return [(name, str(value)) for name, value in pairs if value is not None]


def _time_value(moment: datetime | None) -> str | None:
    # The library would write the local time and call it UTC (docs/twilio.md, "The Python library").
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
