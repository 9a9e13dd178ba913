"""What the simulator knows of a call: plain data, without clocks or sockets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from callctl.simulator.http_requests import Moment

API_VERSION = "2010-04-01"
FINAL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
EVENTS = ("initiated", "ringing", "answered", "completed")
RING_TIMEOUT = 60  # seconds (OAS)
RECORDING_EVENTS = ("in-progress", "completed", "absent", "failed")
PARTICIPANT_RECORDING_EVENTS = (*RECORDING_EVENTS, "started", "paused", "resumed", "stopped")  # OAS
MESSAGE_END = "DetectMessageEnd"
DETECTION_MODES = ("Enable", MESSAGE_END)
OUTBOUND_API, OUTBOUND_DIAL, INBOUND = "outbound-api", "outbound-dial", "inbound"


@dataclass(frozen=True, slots=True)
class Subscription:
    """The status callback of a leg: its URL, and which events go there."""

    url: str
    method: str = "POST"
    events: frozenset[str] = frozenset({"completed"})  # OAS: the default is completed alone


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document comes from: `twiml` itself, or a URL and the one to request when that fails."""

    url: str = ""
    method: str = "POST"
    twiml: str | None = None
    fallback_url: str = ""
    fallback_method: str = "POST"

    @property
    def is_given(self) -> bool:
        """Whether it says where the document is at all."""
        return bool(self.url) or self.twiml is not None


@dataclass(frozen=True, slots=True)
class Detection:
    """Answering machine detection: whether TwiML waits for it, and the callback when it does not.

    It is given up after `timeout` seconds, or where nothing is heard for `silence_timeout`.
    """

    mode: str  # one of DETECTION_MODES
    asynchronous: bool = False
    callback_url: str = ""
    callback_method: str = "POST"
    timeout: float = 30.0
    silence_timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class RecordingRequest:
    """How to record: what starts it (Twilio's `source`), and who learns of it.

    `unknown_events` were requested and are none. It can be stopped by its `name`, if it has one.
    """

    source: str
    channels: int = 1
    track: str = "both"
    subscription: Subscription | None = None
    unknown_events: tuple[str, ...] = ()
    name: str = ""

    def reporting(
        self, url: str, method: str, events: str, *, known: Sequence[str] = RECORDING_EVENTS
    ) -> "RecordingRequest":
        """Return it with a status callback, none where the URL is empty; the events are separated by spaces."""
        words = events.split() or ["completed"]
        unknown = tuple(word for word in words if word not in known)
        subscription = Subscription(url, method, frozenset(words) - set(unknown)) if url else None
        return replace(self, subscription=subscription, unknown_events=unknown if url else ())


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call to place, or (without `timeout` mattering) one that comes in."""

    to: str
    from_: str
    source: Source
    subscription: Subscription | None = None
    unknown_events: tuple[str, ...] = ()
    timeout: float = RING_TIMEOUT
    time_limit: float | None = None
    detection: Detection | None = None
    recording: RecordingRequest | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)  # what the request for its document carries besides
    number_sid: str | None = None  # of the account's number that is called
    send_digits: str = ""  # that are sent once it is answered; w waits for half a second, W for one
    not_imitated: tuple[str, ...] = ()  # in words, what was requested that can't be done here


@dataclass(frozen=True, slots=True)
class CallUpdate:
    """An update of a call; `source` is the document to go to."""

    status: str = ""
    source: Source | None = None
    callback_url: str = ""
    callback_method: str = "POST"
    time_limit: float | None = None
    not_imitated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notification:
    """One entry of a call's Notifications: an error ("0") or a warning ("1") with the request it is about."""

    sid: str
    ordinal: int
    call_sid: str
    code: int
    text: str
    log: str
    at: float
    date: datetime
    url: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The part of a leg that changes as it lives; replaced as a whole, so that an old one can still be shown."""

    status: str
    updated: datetime
    started: datetime | None = None
    ended: datetime | None = None
    duration: int | None = None
    answered_by: str | None = None
    queue_time: int = 0  # milliseconds


@dataclass(slots=True, eq=False)
class Leg:
    """One call resource. `key` numbers it under its seed: "3" is the third call, "3.1" its first child."""

    sid: str
    key: str
    ordinal: int
    to: str
    from_: str
    direction: str
    created: datetime
    facts: Facts
    parent: "Leg | None" = None
    number_sid: str | None = None
    subscription: Subscription | None = None
    sequence: int = 0
    children: int = 0
    recordings: int = 0
    streams: int = 0
    recorded: dict[str, str] = field(default_factory=dict)  # what its last callback says of its recording
    notifications: list[Notification] = field(default_factory=list)
    earlier: list[tuple[float, Facts]] = field(default_factory=list)
    timeline: list[tuple[Moment, str]] = field(default_factory=list)  # each status that it had, since when
    room: str | None = None  # the conference that it joined last

    @property
    def status(self) -> str:
        """The REST status, which is never `initiated` (OAS)."""
        return self.facts.status

    @property
    def pair(self) -> str:
        """From and To, which share the cookies that applications set."""
        return f"{self.from_} {self.to}"

    @property
    def is_final(self) -> bool:
        """Whether the leg has ended."""
        return self.facts.status in FINAL

    def facts_at(self, moment: float) -> Facts:
        """Return the facts as they were at a simulated moment; `earlier` keeps only what the API may still show."""
        return _latest(self.earlier, moment) or self.facts


def _latest(earlier: Sequence[tuple[float, Facts]], moment: float) -> Facts | None:
    for since, facts in reversed(earlier):
        if since <= moment:
            return facts
    return earlier[0][1] if earlier else None
