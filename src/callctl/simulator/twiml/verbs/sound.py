"""<Say>, <Play> and <Pause>: nothing is fetched to be played and nothing is spoken; each is worth its time."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from callctl.simulator.twiml.document import Document, Outcome, Verb
from callctl.simulator.twiml.elements import Element
from callctl.simulator.twiml.steps import Wait

NAMES = ("Say", "Play", "Pause")
SAY_SECONDS_PER_CHARACTER = 0.06
PLAY_SECONDS = 2.0
DIGIT_SECONDS = 0.25
TWILIOS_SOUNDS = frozenset({"com.twilio.sounds.music.s3.amazonaws.com", "com.twilio.music.classical.s3.amazonaws.com"})
HALF_SECOND = frozenset("wW")  # in the digits of <Play>


@dataclass(frozen=True, slots=True)
class Sound(Verb):
    """Say, Play or Pause: `seconds` of it; None sounds until the call ends (loop="0")."""

    name: str
    seconds: float | None

    @classmethod
    def read(cls, element: Element) -> "Sound":
        """Read one of the three."""
        if element.name == "Pause":
            return cls("Pause", element.number("length", 1.0))
        once = _speech_seconds(element) if element.name == "Say" else _play_seconds(element)
        loop = int(element.number("loop", 1.0))
        return cls(element.name, once * loop if loop > 0 else None)

    async def run(self, document: Document) -> Outcome:  # noqa: ARG002
        """Let its time pass."""
        await Wait(self.seconds)
        return None

    def leaves_ringing(self, *, is_first: bool) -> bool:
        """Return whether it is a Pause before anything else (docs/twilio.md, "TwiML")."""
        return is_first and self.name == "Pause"


def is_twilios_music(url: str) -> bool:
    """Return whether an address is one of Twilio's own, whose music many documents name; it is not requested."""
    host = (urlsplit(url).hostname or "").lower()
    return host == "twimlets.com" or host.endswith((".twimlets.com", ".twilio.com")) or host in TWILIOS_SOUNDS


def speech(text: str) -> Sound:
    """Return what a reply of plain text is: it is read out."""
    return Sound("Say", len(text) * SAY_SECONDS_PER_CHARACTER)


def played() -> Sound:
    """Return what a reply of audio is: it is played."""
    return Sound("Play", PLAY_SECONDS)


def _speech_seconds(element: Element) -> float:
    element.without_effect("voice", "language")
    element.without_effect_within()  # SSML
    return len(element.all_text) * SAY_SECONDS_PER_CHARACTER


def _play_seconds(element: Element) -> float:
    digits = element.get("digits").strip()
    if not digits:
        return PLAY_SECONDS
    return sum(0.5 if digit in HALF_SECOND else DIGIT_SECONDS for digit in digits)
