"""<Conference> in <Dial>: the leg takes part in a conference until it leaves, or that is over."""

from dataclasses import dataclass, replace

from callctl.simulator.models import RecordingRequest, Subscription
from callctl.simulator.twiml.document import Document
from callctl.simulator.twiml.elements import Element
from callctl.simulator.twiml.steps import Step
from callctl.simulator.twiml.verbs import record
from callctl.simulator.twiml.verbs.noun import DialTerms, Noun

NEVER, FROM_START = "do-not-record", "record-from-start"
MAX_PARTICIPANTS = 250  # docs/twilio.md, "Conferences"
# The events of a conference's own callbacks.
EVENTS = ("start", "end", "join", "leave", "mute", "hold", "modify", "speaker", "announcement")
# What a document may hold that a participant hears, be it music or an announcement (docs/twilio.md, "Conferences").
HEARD_VERBS = ("Play", "Say", "Pause", "Redirect")
# The parameters for a Dial's action, whatever happened in the conference.
TOOK_PART = {"DialCallStatus": "answered"}


@dataclass(frozen=True, slots=True)
class Entrance:
    """How a participant enters: into which conference, and what holds of it there.

    `wait_url` is empty for silence and for Twilio's own music, which can't be heard here.
    """

    name: str
    label: str = ""
    muted: bool = False
    coach: str = ""
    starts: bool = True
    ends: bool = False
    wait_url: str = ""
    wait_method: str = "POST"
    most: int = MAX_PARTICIPANTS
    region: str = ""
    subscription: Subscription | None = None
    recording: RecordingRequest | None = None


@dataclass(frozen=True, slots=True)
class Join(Step[bool]):
    """Take part in a conference until that is over; the result is False where the leg could not.

    Who was dialled by the API takes part without a Dial, and so without its `terms`.
    """

    entrance: Entrance
    terms: DialTerms | None = None


@dataclass(frozen=True, slots=True)
class Conference(Noun):
    """One <Conference>, its addresses as the document has them."""

    entrance: Entrance
    callback_url: str
    callback_method: str
    callback_events: tuple[str, ...]

    @classmethod
    def read(cls, element: Element) -> "Conference":
        """Read it."""
        element.without_effect("beep", "jitterBufferSize", "trim")
        entrance = Entrance(
            name=element.text,
            label=element.get("participantLabel").strip(),
            muted=element.flag("muted"),
            coach=element.get("coach").strip(),
            starts=element.flag("startConferenceOnEnter", default=True),
            ends=element.flag("endConferenceOnExit"),
            wait_url=element.url("waitUrl"),
            wait_method=element.method("waitMethod"),
            most=most_participants(element.number("maxParticipants", MAX_PARTICIPANTS)),
            region=element.get("region").strip(),
            recording=_recording(element),
        )
        return cls(
            entrance,
            callback_url=element.url("statusCallback"),
            callback_method=element.method("statusCallbackMethod"),
            callback_events=tuple(element.get("statusCallbackEvent").split()),
        )

    async def connect(self, document: Document, terms: DialTerms) -> dict[str, str]:
        """Take part until that is over; return its DialCallStatus, the only thing that is said of it."""
        entrance = replace(
            self.entrance,
            wait_url=await document.link(self.entrance.wait_url, "waitUrl"),
            subscription=await self._subscription(document),
            recording=await self._linked_recording(document),
        )
        joined = await Join(entrance, terms)
        return TOOK_PART if joined else {"DialCallStatus": "failed"}

    async def _linked_recording(self, document: Document) -> RecordingRequest | None:
        recording = self.entrance.recording
        return None if recording is None else await record.linked(recording, document)

    async def _subscription(self, document: Document) -> Subscription | None:
        url = await document.link(self.callback_url, "statusCallback")
        return Subscription(url, self.callback_method, frozenset(self.callback_events)) if url else None


def _recording(element: Element) -> RecordingRequest | None:
    """Return how the conference is recorded, None if it is not; another wish is refused."""
    wish = element.attributes.get("record", NEVER).strip().lower()
    recording = record.recording(element, "Conference")
    if wish in (NEVER, FROM_START):
        element.without_effect("record")
    else:
        element.refuse("record")
    return recording if wish == FROM_START else None


def most_participants(number: float) -> int:
    """Return how many may be in it: 2 to 250, which is what anything else counts as."""
    return int(number) if 2 <= number <= MAX_PARTICIPANTS else MAX_PARTICIPANTS
