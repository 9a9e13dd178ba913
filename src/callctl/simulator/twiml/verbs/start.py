"""<Start> and <Stop>: a <Stream> or a <Recording> that goes on beside the call."""

from dataclasses import dataclass, replace

from callctl.simulator.models import RecordingRequest
from callctl.simulator.twiml.document import HTTP_FAILURE, Document, Outcome, Verb, absolute
from callctl.simulator.twiml.elements import Element
from callctl.simulator.twiml.steps import Note, Step
from callctl.simulator.twiml.verbs import record
from callctl.simulator.twiml.verbs.stream import TRACKS, StartStream, StopStream, Stream

KINDS = ("Stream", "Recording")
SOURCE = "StartCallRecordingTwiML"  # docs/twilio.md, "Recordings"


@dataclass(frozen=True, slots=True)
class StartRecording(Step[None]):
    """Record the call from now on, until it ends; done at once."""

    recording: RecordingRequest


@dataclass(frozen=True, slots=True)
class StopRecording(Step[None]):
    """Stop the recording of this name; done at once."""

    name: str


@dataclass(frozen=True, slots=True)
class Start(Verb):
    """Start it, while the call goes on."""

    what: Stream | RecordingRequest | None

    @classmethod
    def read(cls, element: Element) -> "Start":
        """Read it; what else it may start stays unread."""
        for kind in element.take(*KINDS, most=1):
            return cls(Stream.read(kind) if kind.name == "Stream" else _recording(kind))
        return cls(None)

    async def run(self, document: Document) -> Outcome:
        """Start it, and go on at once."""
        match self.what:
            case Stream() as stream:
                await StartStream(await stream.request(document, tracks=tuple(TRACKS)))
            case RecordingRequest() as recording:
                await StartRecording(await _linked(recording))
        return None


@dataclass(frozen=True, slots=True)
class Stop(Verb):
    """Stop it."""

    steps: tuple[StopStream | StopRecording, ...]

    @classmethod
    def read(cls, element: Element) -> "Stop":
        """Read it; what else it may stop stays unread."""
        return cls(tuple(_stop(kind) for kind in element.take(*KINDS, most=1)))

    async def run(self, document: Document) -> Outcome:  # noqa: ARG002
        """Stop it, and go on at once."""
        for step in self.steps:
            await step
        return None


def _stop(element: Element) -> StopStream | StopRecording:
    name = element.get("name").strip()
    return StopStream(name) if element.name == "Stream" else StopRecording(name)


def _recording(element: Element) -> RecordingRequest:
    """Read a <Recording>; which track and whether silence is cut off have no effect."""
    element.without_effect("trim", "track")
    channels = 1 if element.get("channels").strip() == "mono" else 2
    recording = record.recording(element, SOURCE, channels=channels)
    return replace(recording, name=element.get("name").strip())


async def _linked(recording: RecordingRequest) -> RecordingRequest:
    """Return it without its callback where that is a relative address, which live Twilio does not complete."""
    if recording.subscription is None or absolute("", recording.subscription.url):
        return recording
    url = recording.subscription.url
    text = f"HTTP retrieval failure: recordingStatusCallback {url!r} of <Recording> must be a whole address"
    await Note(HTTP_FAILURE, text, url=url)
    return record.to_url(recording, "")
