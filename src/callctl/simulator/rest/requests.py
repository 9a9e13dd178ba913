"""Requests to the Calls resource: the form in the body, and what it says, checked in Twilio's order."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.models import (
    DETECTION_MODES,
    EVENTS,
    RECORDING_EVENTS,
    RING_TIMEOUT,
    CallRequest,
    CallUpdate,
    Detection,
    RecordingRequest,
    Source,
    Subscription,
)
from callctl.simulator.switch import numbers
from callctl.simulator.switch.owned import Handling, Owned, Possessions
from callctl.simulator.twiml import parser

Form = Mapping[str, tuple[str, ...]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY = 64 * 1024  # over it 413 (docs/twilio.md, "Errors")
MAX_PARAMETERS = 1000
BODY_SECONDS = 15.0  # real ones; a client that never finishes holds a place among the requests at once until then
MAX_TWIML = 4000  # characters (OAS)
MAX_URL = 4000  # characters (ERR 21609)
MAX_TIMEOUT = 600  # seconds (OAS)
# What an incoming call is described by; of a client's call anything else is a parameter of its own.
INCOMING = frozenset(
    {
        "To", "From", "Url", "Method", "Twiml", "FallbackUrl", "FallbackMethod", "ApplicationSid", "TimeLimit",
        "StatusCallback", "StatusCallbackMethod", "StatusCallbackEvent",
    }
)  # fmt: skip
# What has a meaning here when a call is placed, or can't be seen at all, such as CallReason on the far end's telephone.
CALLBACK = frozenset({"StatusCallback", "StatusCallbackMethod", "StatusCallbackEvent"})
RECORDED = frozenset(
    {
        "Record", "RecordingChannels", "RecordingTrack", "Trim", "RecordingStatusCallback",
        "RecordingStatusCallbackMethod", "RecordingStatusCallbackEvent",
    }
)  # fmt: skip
DETECTED = frozenset(
    {
        "MachineDetection", "MachineDetectionTimeout", "MachineDetectionSpeechThreshold",
        "MachineDetectionSpeechEndThreshold", "MachineDetectionSilenceTimeout",
    }
)  # fmt: skip
ASYNCHRONOUS = frozenset({"AsyncAmd", "AsyncAmdStatusCallback", "AsyncAmdStatusCallbackMethod"})
PLACED = INCOMING | RECORDED | DETECTED | ASYNCHRONOUS | {"Timeout", "SendDigits", "CallReason"}
UPDATED = frozenset(
    {
        "Url", "Method", "Twiml", "FallbackUrl", "FallbackMethod", "Status", "StatusCallback", "StatusCallbackMethod",
        "TimeLimit",
    }
)  # fmt: skip
MAX_SHOWN = 64  # characters of a parameter's name
SEND_DIGITS = re.compile(r"[0-9A-D#*wW]{0,32}", re.IGNORECASE)  # OAS


async def read_form(request: web.Request) -> Form:
    """Return the body's parameters, repeated and empty ones included; raise ApiError for a body that is no form."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
    except TimeoutError as error:
        raise ApiError(20001, f"the body did not come within {BODY_SECONDS:g} s", status=408) from error
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError as error:
        raise ApiError(20001, "the body is no form of reasonable size") from error
    form: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        form[name] = (*form.get(name, ()), value)
    if "\x00" in "".join(form) or any("\x00" in value for _, value in pairs):
        raise ApiError(20001, "a NUL character")
    return form


def read_call(form: Form, possessions: Possessions) -> CallRequest:
    """Read a create request. Live Twilio looks at To first, then at Url, then at From.

    An application's URLs replace all that the request itself says of URLs and callbacks.

    Source: docs/twilio.md, "Creating a call".
    """
    to = to_of(form)
    application = _application(form, possessions)
    source = _source(form) if application is None else application.source
    if source is None:
        raise ApiError(
            21205, "Url parameter is required." if application is None else "The application has no VoiceUrl."
        )
    from_ = from_of(form, to)
    refuse_magic(to, from_)
    subscription, unknown = subscription_of(form) if application is None else (application.subscription, ())
    detection = detection_of(form, "AsyncAmdStatusCallback", text_of(form, "AsyncAmdStatusCallback"))
    send_digits = text_of(form, "SendDigits")
    if not SEND_DIGITS.fullmatch(send_digits):
        raise ApiError(20001, "SendDigits")
    return CallRequest(
        to=to,
        from_=from_,
        source=source,
        subscription=subscription,
        unknown_events=unknown,
        timeout=min(whole_of(form, "Timeout", RING_TIMEOUT, least=1), MAX_TIMEOUT),
        time_limit=time_limit_of(form),
        detection=detection and replace(detection, asynchronous=bool(flag_of(form, "AsyncAmd"))),
        recording=recording_of(form, "OutboundAPI") if flag_of(form, "Record") else None,
        send_digits=send_digits,
        not_imitated=not_imitated(form, PLACED),
    )


def read_incoming(form: Form, possessions: Possessions, *, parameters: Mapping[str, str] | None = None) -> CallRequest:
    """Read an incoming call: like a create request, but anyone may call and magic numbers have no effect.

    With ApplicationSid it is a client's call, and `parameters` are the client's own. With
    neither that nor Url nor Twiml the number that is called says where its document is.
    """
    application = _application(form, possessions)
    to, from_ = numbers.normal(text_of(form, "To")), numbers.normal(text_of(form, "From"))
    if not to and application is not None:
        to = f"app:{text_of(form, 'ApplicationSid')}"
    if not to:
        raise ApiError(21201)
    if not from_:
        raise ApiError(21213)
    for address, code in ((to, 21211), (from_, 21212)):
        if not (numbers.is_number(address) or numbers.is_caller(address)) and not address.startswith("app:"):
            raise ApiError(code, address)
    number = possessions.number(to)
    subscription, unknown = subscription_of(form)
    given = _source(form)
    handling = application or (_handling(to, number, possessions) if given is None else Handling(given, None))
    return CallRequest(
        to,
        from_,
        handling.source or Source(),
        subscription or handling.subscription,
        unknown,
        time_limit=time_limit_of(form),
        parameters=parameters or {},
        number_sid=None if number is None else number.sid,
        not_imitated=(*handling.not_imitated, *(() if application else not_imitated(form, INCOMING))),
    )


def _handling(to: str, number: Owned | None, possessions: Possessions) -> Handling:
    """Return who handles the calls to a number; raise ApiError where that is not for the account to say."""
    if number is None:
        raise ApiError(21205, f"Url parameter is required, since {to} is no number of this account.")
    if number.text("trunk_sid"):
        raise ApiError(21205, f"Url parameter is required, since calls to {to} go to a trunk, which is not imitated.")
    return possessions.handling_of(number)


def _application(form: Form, possessions: Possessions) -> Handling | None:
    """Return what the application says that a form names, if it names one; raise ApiError where there is none."""
    sid = text_of(form, "ApplicationSid")
    if not sid:
        return None
    application = possessions.applications.find(sid)
    if application is None:
        raise ApiError(21218, f"ApplicationSid {sid[:64]}")
    return application.handling


def read_update(form: Form, *, enough: Sequence[str] = ("StatusCallback",)) -> CallUpdate:
    """Read an update request: one of Url, Twiml and Status, or none and one of ``enough``; else 21218 (inferred)."""
    given = [name for name in ("Url", "Twiml", "Status") if text_of(form, name)]
    callback = text_of(form, "StatusCallback")
    if len(given) > 1:
        raise ApiError(21218, f"only one of {', '.join(given)} may be given")
    if not given and not any(text_of(form, name) for name in enough):
        raise ApiError(21218, f"one of Url, Twiml, Status or {' or '.join(enough)} is required")
    check_choice(form, "Status", ("canceled", "completed"))
    if callback:
        check_callback_url(callback)
    return CallUpdate(
        status=text_of(form, "Status"),
        source=_source(form),
        callback_url=callback,
        callback_method=method_of(form, "StatusCallbackMethod"),
        time_limit=time_limit_of(form),
        not_imitated=not_imitated(form, UPDATED),
    )


def to_of(form: Form) -> str:
    """Return the address to call; raise ApiError where there is none that can be called."""
    to = numbers.normal(text_of(form, "To"))
    if not to:
        raise ApiError(21201)
    if not (numbers.is_number(to) or numbers.is_sip(to) or numbers.is_client(to)):
        raise ApiError(21211, to)
    return to


def from_of(form: Form, to: str) -> str:
    """Return who calls; raise ApiError where that one can't call the address."""
    from_ = numbers.normal(text_of(form, "From"))
    if not from_:
        raise ApiError(21213)
    # It must be a phone number when To is one (OAS).
    good = numbers.is_number if numbers.is_number(to) else _any_caller
    if not good(from_):
        raise ApiError(21212, from_)
    return from_


def _any_caller(address: str) -> bool:
    return numbers.is_number(address) or numbers.is_caller(address)


def refuse_magic(to: str, from_: str) -> None:
    """Raise ApiError for the numbers that Twilio keeps for its test credentials, and for a call to itself."""
    checks: tuple[tuple[Callable[[str], int | None], str], ...] = (
        (numbers.from_error, from_),
        (numbers.to_error, to),
    )
    for check, address in checks:
        code = check(address)
        if code is not None:
            raise ApiError(code, address)
    if to == from_:
        raise ApiError(21211, to)  # ERR 21211


def _source(form: Form) -> Source | None:
    """Return where the document comes from; Url beats Twiml (OAS)."""
    url, text = text_of(form, "Url"), text_of(form, "Twiml")
    fallback = text_of(form, "FallbackUrl")
    method, fallback_method = method_of(form, "Method"), method_of(form, "FallbackMethod")
    for address in filter(None, (url, fallback)):
        if not is_url(address):
            raise ApiError(21205, f"Url is not a valid URL: {address}")
    if url:
        return Source(url, method, None, fallback, fallback_method)
    if text:
        _check_twiml(text)
        return Source("", method, text, fallback, fallback_method)
    return None


def _check_twiml(text: str) -> None:
    if len(text) > MAX_TWIML:
        raise ApiError(12100)
    try:
        parser.parse(text)
    except parser.TwimlError as error:
        raise ApiError(12100) from error


def subscription_of(
    form: Form,
    name: str = "StatusCallback",
    *,
    known: Collection[str] = EVENTS,
    default: Collection[str] = ("completed",),
) -> tuple[Subscription | None, tuple[str, ...]]:
    """Return the subscription; unknown events, too: with one, Twilio places the call and sends no callback (21626)."""
    method = method_of(form, f"{name}Method")
    url = text_of(form, name)
    if not url:
        return None, ()
    check_callback_url(url)
    events = [event for event in form.get(f"{name}Event", ()) if event.strip()]
    unknown = tuple(event for event in events if event not in known)
    if unknown:
        return None, unknown
    return Subscription(url, method, frozenset(events or default)), ()


def recording_of(
    form: Form, source: str, *, prefix: str = "", known: Sequence[str] = RECORDING_EVENTS
) -> RecordingRequest:
    """Return how to record; the callback's events may be repeated, or separated by spaces (OAS).

    ``prefix`` comes before the names of the callback's parameters, ``known`` are its events.
    """
    check_choice(form, "RecordingChannels", ("mono", "dual"))
    check_choice(form, "RecordingTrack", ("inbound", "outbound", "both"))
    check_choice(form, "Trim", ("trim-silence", "do-not-trim"))
    name = f"{prefix}RecordingStatusCallback"
    url, method = text_of(form, name), method_of(form, f"{name}Method")
    if url:
        check_callback_url(url)
    channels = 2 if text_of(form, "RecordingChannels") == "dual" else 1
    recording = RecordingRequest(source, channels, text_of(form, "RecordingTrack") or "both")
    return recording.reporting(url, method, " ".join(form.get(f"{name}Event", ())), known=known)


def check_callback_url(url: str) -> None:
    """Raise ApiError for what can't be a callback's URL."""
    host = urlsplit(url).hostname if is_url(url) else None
    if host is None or len(url) > MAX_URL or "_" in host:
        raise ApiError(21609, url[:200])


def detection_of(form: Form, callback: str, url: str) -> Detection | None:
    """Return how to detect machines, beside the call's document; None for not at all, as with SendDigits (OAS).

    The speech thresholds are checked and have no effect, since nothing is heard. ``callback`` is the name of the
    callback's parameter. What is out of range is refused (inferred).
    """
    check_choice(form, "MachineDetection", DETECTION_MODES)
    timeout = _within(form, "MachineDetectionTimeout", 30, least=3, most=60)
    _within(form, "MachineDetectionSpeechThreshold", 2400, least=1000, most=6000)
    _within(form, "MachineDetectionSpeechEndThreshold", 1200, least=500, most=5000)
    silence_ms = _within(form, "MachineDetectionSilenceTimeout", 5000, least=2000, most=10000)
    method = method_of(form, f"{callback}Method")
    mode = text_of(form, "MachineDetection")
    if not mode or text_of(form, "SendDigits"):
        return None
    return Detection(
        mode,
        asynchronous=True,
        callback_url=url,
        callback_method=method,
        timeout=timeout,
        silence_timeout=silence_ms / 1000,
    )


def _within(form: Form, name: str, default: int, *, least: int, most: int) -> int:
    value = whole_of(form, name, default, least=least)
    if value > most:
        raise ApiError(20001, f"{name} must be at most {most}")
    return value


def not_imitated(form: Form, known: Collection[str]) -> tuple[str, ...]:
    """Return in words which parameters are none of those that are known; one that is empty requests nothing."""
    return tuple(f"{name[:MAX_SHOWN]} of the request" for name in form if name not in known and text_of(form, name))


def is_url(text: str) -> bool:
    """Return whether it is an absolute http or https URL."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # raises ValueError for a port that is none
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def text_of(form: Form, name: str) -> str:
    """Return a parameter's value, the last one when it is repeated; empty when it is not there."""
    values = form.get(name, ())
    return values[-1].strip() if values else ""


def url_of(form: Form, name: str) -> str:
    """Return a parameter that is a URL, empty when it is not there; raise ApiError for anything else."""
    url = text_of(form, name)
    if url and not is_url(url):
        raise ApiError(20001, f"{name} is not a valid URL")
    return url


def flag_of(form: Form, name: str, default: bool | None = None) -> bool | None:
    """Return whether a parameter says true; anything else that is there counts as false (OAS, of Muted)."""
    value = text_of(form, name).lower()
    return value == "true" if value else default


def method_of(form: Form, name: str, default: str = "POST") -> str:
    """Return GET or POST; raise ApiError for any other method."""
    method = text_of(form, name).upper() or default
    if method not in ("GET", "POST"):
        raise ApiError(21200, f"{name} must be GET or POST")
    return method


def check_choice(form: Form, name: str, known: Sequence[str]) -> None:
    """Raise ApiError where a parameter is there, and none of what it may be."""
    value = text_of(form, name)
    if value and value not in known:
        raise ApiError(20001, f"{name} must be one of {', '.join(known)}")


def whole_of(form: Form, name: str, default: int, *, least: int) -> int:
    """Return a whole number; raise ApiError for what is none, or is less."""
    text = text_of(form, name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < least:
        raise ApiError(20001, f"{name} must be a whole number of at least {least}")
    return int(text)


def time_limit_of(form: Form) -> float | None:
    """Return after how many seconds the call ends; None where nothing is said."""
    return float(whole_of(form, "TimeLimit", 0, least=1)) or None
