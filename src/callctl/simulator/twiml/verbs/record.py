"""<Record>: a message of the far end, and where it goes on with it."""

from dataclasses import dataclass, replace

from callctl.simulator.models import RecordingRequest
from callctl.simulator.twiml.document import Document, Outcome, Verb, absolute
from callctl.simulator.twiml.elements import Element
from callctl.simulator.twiml.steps import Step

TIMEOUT_SECONDS = 5.0  # REC, as the others here
MAX_SECONDS = 3600.0
MAX_TRANSCRIBED_SECONDS = 120.0
ANY_KEY = "1234567890*#"
INVALID_URL = 11100


@dataclass(frozen=True, slots=True)
class TakeMessage(Step[dict[str, str] | None]):
    """Record the far end until it is silent or presses a key; return what the request to `action` carries besides.

    None means that there is nothing to go on with. Where the far end hangs up, the step itself requests the action.
    Addresses are absolute; seconds are simulated ones, and a `timeout` of 0 waits for ever.
    """

    action: str
    method: str
    timeout: float
    max_length: float
    finish_on: str
    trims: bool
    recording: RecordingRequest
    transcribe_callback: str


@dataclass(frozen=True, slots=True)
class Record(Verb):
    """Record a message, and go to the action with it."""

    message: TakeMessage

    @classmethod
    def read(cls, element: Element) -> "Record":
        """Read it."""
        transcribes = element.flag("transcribe")
        callback = element.url("transcribeCallback")
        usual = MAX_TRANSCRIBED_SECONDS if transcribes else MAX_SECONDS
        element.without_effect("playBeep")
        return cls(
            TakeMessage(
                action=element.url("action"),
                method=element.method(),
                timeout=element.number("timeout", TIMEOUT_SECONDS),
                max_length=element.number("maxLength", usual) or usual,
                finish_on=element.get("finishOnKey", ANY_KEY),
                trims=trims(element),
                recording=recording(element, "RecordVerb"),
                transcribe_callback=callback if transcribes else "",
            )
        )

    async def run(self, document: Document) -> Outcome:
        """Record, and go to the action, which is this document where none is given (REC)."""
        message = self.message
        action = absolute(document.url, message.action)
        if not action:
            return await document.go_to(message.action, message.method, code=INVALID_URL)
        step = replace(
            message,
            action=action,
            recording=await linked(message.recording, document),
            transcribe_callback=await document.link(message.transcribe_callback, "transcribeCallback"),
        )
        params = await step
        return None if params is None else await document.go_to(action, message.method, params)


def trims(element: Element) -> bool:
    """Return whether silence is cut off at both ends."""
    return element.get("trim").strip() != "do-not-trim"


def recording(element: Element, source: str, *, channels: int = 1) -> RecordingRequest:
    """Read how an element wants to be recorded, whose callback's address may be relative."""
    wanted = RecordingRequest(source, channels, element.get("recordingTrack") or "both")
    events = element.get("recordingStatusCallbackEvent")
    return wanted.reporting(
        element.url("recordingStatusCallback"), element.method("recordingStatusCallbackMethod"), events
    )


async def linked(recording: RecordingRequest, document: Document) -> RecordingRequest:
    """Return it with the absolute address of its callback; without one, and noted, where there is none."""
    if recording.subscription is None:
        return recording
    url = await document.link(recording.subscription.url, "recordingStatusCallback")
    return to_url(recording, url)


def to_url(recording: RecordingRequest, url: str) -> RecordingRequest:
    """Return it with another address of its callback, empty for none."""
    subscription = recording.subscription
    if subscription is None:
        return recording
    return replace(recording, subscription=replace(subscription, url=url) if url else None)
