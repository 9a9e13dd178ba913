"""<Dial>: addresses to ring, or one noun of another kind, which has a file of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from callctl.simulator.models import DETECTION_MODES, EVENTS, Detection, RecordingRequest
from callctl.simulator.twiml.document import Document, Outcome, Verb, absolute
from callctl.simulator.twiml.elements import Element
from callctl.simulator.twiml.steps import Note, Step
from callctl.simulator.twiml.verbs import conference, queue, record
from callctl.simulator.twiml.verbs.application import ApplicationNoun
from callctl.simulator.twiml.verbs.noun import DialTerms, Noun

TIMEOUT_SECONDS = 30.0  # DIAL
TIME_LIMIT_SECONDS = 14400.0  # DIAL
MAX_DIALLED = 10  # CLIENT: up to ten nouns at once
INVALID_RECORD, INVALID_EVENTS = 13217, 21626
# When a Dial begins to record, as its `record` says it, each also with "-dual" behind it (DIAL).
AS_USUAL = RecordingRequest("DialVerb")
NEVER, RINGING, ANSWER = "do-not-record", "record-from-ringing", "record-from-answer"
DIALLED = ("Number", "Sip", "Client")
APPLICATION = "Application"  # is dialled by itself, or not at all (APPN)
# Nouns that connect the leg with something else than legs of its own; of those in one Dial the first counts.
NOUNS: Mapping[str, Callable[[Element], Noun]] = {"Conference": conference.Conference.read, "Queue": queue.Queue.read}


@dataclass(frozen=True, slots=True)
class Target:
    """One noun of Dial: the address to ring, its whisper, and its status callback."""

    kind: str
    address: str
    whisper_url: str
    whisper_method: str
    callback_url: str
    callback_method: str
    callback_events: tuple[str, ...]
    detection: Detection | None
    send_digits: str = ""
    application: ApplicationNoun | None = None

    @classmethod
    def read(cls, element: Element) -> "Target":
        """Read a noun. Its events are separated by spaces in one attribute, the reverse of the REST call (CLIENT)."""
        if element.name == APPLICATION:
            return cls.read_application(element)
        return cls(
            kind=element.name,
            address=_address(element),
            whisper_url=element.url("url"),
            whisper_method=element.method(),
            callback_url=element.url("statusCallback"),
            callback_method=element.method("statusCallbackMethod"),
            callback_events=tuple(element.get("statusCallbackEvent", "completed").split()),
            detection=_detection(element),
            send_digits=element.get("sendDigits").strip() if element.name == "Number" else "",
        )

    @classmethod
    def read_application(cls, element: Element) -> "Target":
        """Read an Application, which has no whisper here."""
        application = ApplicationNoun.read(element)
        return cls(
            kind=element.name,
            address=f"app:{application.sid}",
            whisper_url="",
            whisper_method="POST",
            callback_url=element.url("statusCallback"),
            callback_method=element.method("statusCallbackMethod"),
            callback_events=tuple(element.get("statusCallbackEvent", "completed").split()),
            detection=None,
            application=application,
        )


@dataclass(frozen=True, slots=True)
class DialResult:
    """How a Dial went; without `duration` its `action` gets none (DIAL)."""

    status: str
    sid: str = ""
    duration: int | None = None
    bridged: bool = False
    recorded: dict[str, str] = field(default_factory=dict)

    def parameters(self) -> dict[str, str]:
        """Return what the request to the Dial's `action` carries besides (DIAL)."""
        params = {"DialCallStatus": self.status, "DialBridged": str(self.bridged).lower()}
        if self.sid:
            params["DialCallSid"] = self.sid
        if self.duration is not None:
            params["DialCallDuration"] = str(self.duration)
        return params | self.recorded


@dataclass(frozen=True, slots=True)
class DialRecording:
    """How a Dial is recorded: when that begins, RINGING or ANSWER, empty for never; or what is wrong with its wish."""

    begins: str = ""
    request: RecordingRequest = AS_USUAL
    fault: str = ""

    @classmethod
    def read(cls, element: Element) -> "DialRecording":
        """Read what a Dial says of it."""
        given = element.get("record").strip().lower()
        wish = {"true": ANSWER, "false": NEVER, "": NEVER}.get(given, given)
        begins = wish.removesuffix("-dual")
        request = record.recording(element, "DialVerb", channels=1 if wish == begins else 2)
        if begins in (RINGING, ANSWER):
            return cls(begins, request)
        return cls(fault="" if wish == NEVER else f"<Dial>: record: {given!r} is none of its values")


@dataclass(frozen=True, slots=True)
class Dial(Verb):
    """Ring others and connect the first that answers."""

    targets: tuple[Target, ...]
    action: str
    method: str
    timeout: float
    time_limit: float
    caller_id: str
    sequential: bool
    answer_on_bridge: bool
    hangup_on_star: bool
    event_faults: tuple[str, ...]
    recording: DialRecording
    noun: Noun | None = None

    @classmethod
    def read(cls, element: Element) -> "Dial":
        """Read it with its nouns; of what it says of recording nothing where a noun of another kind is one of them."""
        targets = [Target.read(child) for child in _dialled(element)]
        if not element.children and element.text:
            # Bare text is a number, and only when there is no noun (docs/twilio.md, "Other implementations").
            targets = [Target.read(Element("Number", {}, texts=[element.text]))]
        noun = next((NOUNS[child.name](child) for child in element.take(*NOUNS, most=1)), None)
        # Nobody hears or sees these here, and nobody knows whether those who are connected are silent.
        element.without_effect("ringTone", "callReason", "trim")
        return cls(
            targets=tuple(targets),
            action=element.url("action"),
            method=element.method(),
            timeout=element.number("timeout", TIMEOUT_SECONDS),
            time_limit=element.number("timeLimit", TIME_LIMIT_SECONDS),
            caller_id=element.url("callerId"),
            sequential=element.flag("sequential"),
            answer_on_bridge=element.flag("answerOnBridge"),
            hangup_on_star=element.flag("hangupOnStar"),
            event_faults=tuple(fault for child in element.children if (fault := _event_fault(child))),
            recording=DialRecording.read(element) if noun is None else DialRecording(),
            noun=noun,
        )

    async def run(self, document: Document) -> Outcome:
        """Ring the nouns until it is over, and go to the action with the result."""
        for fault in self.event_faults:
            await Note(INVALID_EVENTS, fault)
        if self.recording.fault:
            await Note(INVALID_RECORD, self.recording.fault)
        if self.noun is not None:
            action = absolute(document.url, self.action) if self.action else ""
            terms = DialTerms(self.timeout, self.time_limit, self.hangup_on_star, action, self.method)
            params = await self.noun.connect(document, terms)
        elif self.targets:
            params = (await Ring(self, document.url)).parameters()
        else:
            return None
        if not self.action:
            return None
        return await document.go_to(self.action, self.method, params)

    def leaves_ringing(self, *, is_first: bool) -> bool:
        """Return whether the call is answered by who is dialled; what is no leg of its own answers it at once."""
        return is_first and self.answer_on_bridge and self.noun is None


@dataclass(frozen=True, slots=True)
class Ring(Step[DialResult]):
    """Ring others until it is over; `base` is the URL that relative ones belong to."""

    dial: Dial
    base: str


def _dialled(element: Element) -> list[Element]:
    """Return the nouns to ring: an Application alone, where it comes first, else all the others."""
    first = next((child.name for child in element.children if child.name in (*DIALLED, APPLICATION)), "")
    return element.take(APPLICATION, most=1) if first == APPLICATION else element.take(*DIALLED, most=MAX_DIALLED)


def _address(noun: Element) -> str:
    """Return whom a noun names. A Client's parameters are for its own program, so nothing here hears them (CLIENT)."""
    identity = noun.take("Identity", most=1) if noun.name == "Client" else []
    for parameter in noun.take("Parameter") if noun.name == "Client" else []:
        parameter.without_effect("name", "value")
    return identity[0].text if identity else noun.text


def _detection(noun: Element) -> Detection | None:
    """Return how a noun detects machines, beside its connection (inferred); a mode that is none stays unread."""
    if noun.attributes.get("machineDetection") not in DETECTION_MODES:
        return None
    noun.without_effect("machineDetectionSpeechThreshold", "machineDetectionSpeechEndThreshold")
    usual = Detection(noun.get("machineDetection"), asynchronous=True)
    return replace(
        usual,
        callback_url=noun.url("amdStatusCallback"),
        callback_method=noun.method("amdStatusCallbackMethod"),
        timeout=noun.number("machineDetectionTimeout", usual.timeout),
        silence_timeout=noun.number("machineDetectionSilenceTimeout", usual.silence_timeout * 1000) / 1000,
    )


def _event_fault(noun: Element) -> str:
    """Return what is wrong with the events that a noun reports; empty if nothing is, or it says none."""
    if "statusCallbackEvent" not in noun.attributes:
        return ""
    known = conference.EVENTS if noun.name == "Conference" else EVENTS
    words = noun.get("statusCallbackEvent").split() or [""]
    unknown = next((word for word in words if word not in known), None)
    if unknown is None:
        return ""
    return f"<{noun.name}>: statusCallbackEvent: {unknown!r} is no event; they are {' '.join(known)}"
