"""Read TwiML: which verbs a document has, and how long each of them takes.

Nothing is fetched to be played and nothing is spoken; a verb is worth its time and its effect on the call.
Defaults are those of the verbs' pages (docs/twilio.md, "Dial legs" and "TwiML").
"""

from dataclasses import dataclass, field
from xml.parsers import expat

from callctl.simulator.models import EVENTS

SAY_SECONDS_PER_CHARACTER = 0.06
PLAY_SECONDS = 2.0
DIAL_TIMEOUT_SECONDS = 30.0  # DIAL
DIAL_TIME_LIMIT_SECONDS = 14400.0  # DIAL
GATHER_TIMEOUT_SECONDS = 5.0
MAX_BYTES = 64 * 1024  # a TwiML document is a few hundred bytes; more is a mistake or an attack
MAX_DEPTH = 32  # TwiML nests three deep, SSML inside <Say> a few more
MAX_DIALLED = 10  # CLIENT: up to ten nouns at once
# The events of a Conference's own callbacks (its page, "statusCallbackEvent").
CONFERENCE_EVENTS = ("start", "end", "join", "leave", "mute", "hold", "modify", "speaker", "announcement")
SPOKEN = ("Say", "Play", "Pause")
DIALLED = ("Number", "Sip", "Client")


# What Twilio takes for a document; it plays sounds, speaks plain text, and hangs up after either (its page "Your
# response" and ERR 12300).
DOCUMENT_TYPES = frozenset({"text/xml", "application/xml", "text/html"})
PARSE_FAILURE, UNKNOWN_TYPE = 12100, 12300


class TwimlError(ValueError):
    """The document can't be run; `code` is Twilio's for why."""

    def __init__(self, text: str, *, code: int = PARSE_FAILURE) -> None:
        super().__init__(text)
        self.code = code


class XmlError(ValueError):
    """The text is no XML document that the simulator reads."""


@dataclass(slots=True)
class Element:
    """One element: its name, attributes, children, and all the text inside it."""

    name: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The element's own text, without the white space around it."""
        return "".join(self.texts).strip()

    @property
    def all_text(self) -> str:
        """The text of the element and of what is nested in it."""
        inner = [child.all_text for child in self.children]
        return " ".join(part for part in [self.text, *inner] if part)

    def get(self, name: str, default: str = "") -> str:
        """Return an attribute, or the default."""
        return self.attributes.get(name, default)


@dataclass(frozen=True, slots=True)
class Sound:
    """Say, Play or Pause: `seconds` of it; None sounds until the call ends (loop="0")."""

    name: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Gather:
    """Wait for digits; `prompts` are played meanwhile and a digit cuts them short."""

    action: str
    method: str
    timeout: float
    finish_on: str
    digits: int | None
    action_on_empty: bool
    prompts: tuple[Sound, ...]
    unknown: tuple[str, ...]


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
    machine_detection: str


@dataclass(frozen=True, slots=True)
class Dial:
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
    unknown: tuple[str, ...]
    event_faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go on with another document; an empty address means this one again."""

    url: str
    method: str


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the call."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse an incoming call that has not been answered."""

    busy: bool


@dataclass(frozen=True, slots=True)
class UnknownVerb:
    """A verb that the simulator does not imitate: it is noted and passed over."""

    name: str


Verb = Sound | Gather | Dial | Redirect | Hangup | Reject | UnknownVerb


def parse(document: str | bytes) -> tuple[Verb, ...]:
    """Return the verbs in order; raise TwimlError when it is no TwiML document."""
    try:
        root = read_xml(document)
    except XmlError as error:
        raise TwimlError(f"Document parse failure: {error}") from error
    if root.name != "Response":
        raise TwimlError(f"Document parse failure: the root is <{root.name}>, not <Response>")
    return tuple(_verb(element) for element in root.children)


def parse_reply(body: bytes, content_type: str) -> tuple[Verb, ...]:
    """Return the verbs of a reply to a request for TwiML; raise TwimlError where it has none."""
    if content_type in DOCUMENT_TYPES or not body:
        return parse(body)
    if content_type.startswith("audio/"):
        return (Sound("Play", PLAY_SECONDS),)
    if content_type == "text/plain":
        return (_speech(body.decode(errors="replace").strip()),)
    raise TwimlError(f"Invalid Content-Type: {content_type or 'none'}", code=UNKNOWN_TYPE)


def _speech(text: str) -> Sound:
    return Sound("Say", len(text) * SAY_SECONDS_PER_CHARACTER)


def _verb(element: Element) -> Verb:
    match element.name:
        case "Say" | "Play" | "Pause":
            return _sound(element)
        case "Gather":
            return _gather(element)
        case "Dial":
            return _dial(element)
        case "Redirect":
            return Redirect(element.text, _method(element))
        case "Hangup":
            return Hangup()
        case "Reject":
            return Reject(busy=element.get("reason") == "busy")
        case name:
            return UnknownVerb(name)


def _sound(element: Element) -> Sound:
    match element.name:
        case "Say":
            once = len(element.all_text) * SAY_SECONDS_PER_CHARACTER
        case "Play":
            once = PLAY_SECONDS
        case _:
            return Sound("Pause", _number(element, "length", 1.0))
    loop = int(_number(element, "loop", 1.0))
    return Sound(element.name, once * loop if loop > 0 else None)


def _gather(element: Element) -> Gather:
    limit = int(_number(element, "numDigits", 0.0))
    return Gather(
        action=element.get("action").strip(),
        method=_method(element),
        timeout=_number(element, "timeout", GATHER_TIMEOUT_SECONDS),
        finish_on=element.get("finishOnKey", "#"),
        digits=limit or None,
        action_on_empty=_flag(element, "actionOnEmptyResult"),
        prompts=tuple(_sound(child) for child in element.children if child.name in SPOKEN),
        unknown=tuple(child.name for child in element.children if child.name not in SPOKEN),
    )


def _dial(element: Element) -> Dial:
    nouns = [child for child in element.children if child.name in DIALLED]
    targets = [_target(child) for child in nouns]
    if not element.children and element.text:
        # Bare text is a number, and only when there is no noun (docs/twilio.md, "Other implementations").
        targets = [_target(Element("Number", {}, texts=[element.text]))]
    unknown = [child.name for child in element.children if child.name not in DIALLED]
    unknown += [f"noun {noun.kind} beyond the tenth" for noun in targets[MAX_DIALLED:]]
    return Dial(
        targets=tuple(targets[:MAX_DIALLED]),
        action=element.get("action").strip(),
        method=_method(element),
        timeout=_number(element, "timeout", DIAL_TIMEOUT_SECONDS),
        time_limit=_number(element, "timeLimit", DIAL_TIME_LIMIT_SECONDS),
        caller_id=element.get("callerId").strip(),
        sequential=_flag(element, "sequential"),
        answer_on_bridge=_flag(element, "answerOnBridge"),
        hangup_on_star=_flag(element, "hangupOnStar"),
        unknown=tuple(unknown),
        event_faults=tuple(fault for child in element.children if (fault := _event_fault(child))),
    )


def _event_fault(noun: Element) -> str:
    """Return what is wrong with the events that a noun reports; empty if nothing is, or it says none."""
    if "statusCallbackEvent" not in noun.attributes:
        return ""
    known = CONFERENCE_EVENTS if noun.name == "Conference" else EVENTS
    words = noun.get("statusCallbackEvent").split() or [""]
    unknown = next((word for word in words if word not in known), None)
    if unknown is None:
        return ""
    return f"<{noun.name}>: statusCallbackEvent: {unknown!r} is no event; they are {' '.join(known)}"


def _target(element: Element) -> Target:
    # In TwiML the events are separated by spaces in one attribute (CLIENT), the reverse of the REST call.
    events = element.get("statusCallbackEvent", "completed").split()
    return Target(
        kind=element.name,
        address=element.text,
        whisper_url=element.get("url").strip(),
        whisper_method=_method(element),
        callback_url=element.get("statusCallback").strip(),
        callback_method=_method(element, "statusCallbackMethod"),
        callback_events=tuple(events),
        machine_detection=element.get("machineDetection"),
    )


def _method(element: Element, name: str = "method") -> str:
    return "GET" if element.get(name).strip().upper() == "GET" else "POST"


def _flag(element: Element, name: str) -> bool:
    return element.get(name).strip().lower() == "true"


def _number(element: Element, name: str, default: float) -> float:
    """Return a number of an attribute; what is no number, or below zero, counts as the default (inferred)."""
    try:
        value = float(element.get(name, str(default)))
    except ValueError:
        return default
    return min(value, 86400.0) if value >= 0 else default


# XML: elements, attributes and text. Expat itself would expand entities, so a document type declaration is refused.


class _TreeBuilder:
    """Expat's handlers, which build the tree of elements."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self.open: list[Element] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        element = Element(name, attributes)
        if self.open:
            self.open[-1].children.append(element)
        elif self.root is None:
            self.root = element
        self.open.append(element)
        if len(self.open) > MAX_DEPTH:
            raise XmlError(f"nested more than {MAX_DEPTH} deep")

    def end(self, _name: str) -> None:
        self.open.pop()

    def text(self, data: str) -> None:
        if self.open:
            self.open[-1].texts.append(data)


def _refuse_doctype(*_: object) -> None:
    raise XmlError("a document type declaration is not allowed")


def read_xml(document: str | bytes) -> Element:
    """Return the root element; raise XmlError for what is not well-formed, too large, too deep or has a DTD."""
    data = document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document
    if len(data) > MAX_BYTES:
        raise XmlError(f"longer than {MAX_BYTES} bytes")
    builder = _TreeBuilder()
    # Text that came as characters is UTF-8 now, whatever its declaration says.
    parser = expat.ParserCreate("utf-8" if isinstance(document, str) else None)
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    try:
        parser.Parse(data, True)  # white space before a declaration is an error for Twilio too (ERR 12100)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise XmlError(str(error)) from error
    if builder.root is None:
        raise XmlError("no element found")
    return builder.root
