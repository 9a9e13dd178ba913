"""<Gather>: what the far end presses or says.

Source: docs/twilio.md, "Gather".
"""

from dataclasses import dataclass

from callctl.simulator.twiml.document import UNKNOWN_VERB, Document, Outcome, Verb
from callctl.simulator.twiml.elements import Element
from callctl.simulator.twiml.steps import Note, Report, Step
from callctl.simulator.twiml.verbs import sound

INVALID_URL = 11100
TIMEOUT_SECONDS = 5.0
DTMF, SPEECH = "dtmf", "speech"
AUTO = "auto"
AUTO_PAUSE_SECONDS = 1.0  # the pause that ends speech, where Twilio is to find it by itself (inferred)
MAX_SPEECH_SECONDS = 60.0  # GATH
PARTIAL_SECONDS = 1.0  # between two partial results (inferred)


@dataclass(frozen=True, slots=True)
class Speech:
    """Words that the far end begins to say, as fast as <Say> speaks; `confidence` is how well they are understood."""

    words: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Prompt(Step[None]):
    """Have the far end answer, since a Gather begins; done at once."""


@dataclass(frozen=True, slots=True)
class Listen(Step[str | Speech | None]):
    """Wait for the next key, or for speech to begin; None when none came within the seconds.

    Without seconds it waits for ever. What it does not listen for is lost.
    """

    seconds: float | None
    keys: bool = True
    speech: bool = False


@dataclass(frozen=True, slots=True)
class Gather(Verb):
    """Wait for keys, for speech, or for what comes first; `prompts` are played meanwhile; input cuts them short."""

    action: str
    method: str
    timeout: float
    finish_on: str
    digits: int | None
    action_on_empty: bool
    prompts: tuple[sound.Sound, ...]
    kinds: frozenset[str]
    pause: float
    partial_url: str
    partial_method: str
    faults: tuple[str, ...]

    @classmethod
    def read(cls, element: Element) -> "Gather":
        """Read it. What tunes the recognition has no effect, since nothing is heard."""
        limit = int(element.number("numDigits", 0.0))
        timeout = element.number("timeout", TIMEOUT_SECONDS)
        kinds, faults = _kinds(element)
        pause, pause_faults = _pause(element, timeout)
        element.without_effect("language", "hints", "profanityFilter", "enhanced", "speechModel")
        if element.attributes.get("bargeIn", "").strip().lower() == "true":
            element.without_effect("bargeIn")  # it is so by default
        else:
            element.refuse("bargeIn")
        return cls(
            action=element.url("action"),
            method=element.method(),
            timeout=timeout,
            finish_on=element.get("finishOnKey", "#"),
            digits=limit or None,
            action_on_empty=element.flag("actionOnEmptyResult"),
            prompts=tuple(map(sound.Sound.read, element.take(*sound.NAMES))),
            kinds=kinds,
            pause=pause,
            partial_url=element.url("partialResultCallback"),
            partial_method=element.method("partialResultCallbackMethod"),
            faults=(*faults, *pause_faults),
        )

    async def run(self, document: Document) -> Outcome:
        """Take the input, and go to the action with it."""
        for fault in self.faults:
            await Note(UNKNOWN_VERB, fault)
        await Prompt()
        first = await self._first()
        params = await self._hear_out(first, document) if isinstance(first, Speech) else await self._collect(first)
        if params is None:
            return None
        if not self.action and not document.url:
            # There is no URL to go to: the document came with the REST request (that the call goes on is inferred).
            await Note(INVALID_URL, "<Gather>: it has no action, and its document has no address: the input is lost")
            return None
        return await document.go_to(self.action, self.method, params)

    async def _first(self) -> str | Speech | None:
        """Return what comes first, while the prompts are played or within the timeout behind them."""
        for seconds in (*(prompt.seconds for prompt in self.prompts), self.timeout):
            given = await Listen(seconds, keys=DTMF in self.kinds, speech=SPEECH in self.kinds)
            if given is not None:
                return given
        return None

    async def _collect(self, key: str | Speech | None) -> dict[str, str] | None:
        """Collect digits from the first key on; return what goes to the action, or None where there are none."""
        digits, finish = "", ""
        while isinstance(key, str):
            if key in self.finish_on:
                finish = key
                break
            digits += key
            if self.digits is not None and len(digits) >= self.digits:
                break
            key = await Listen(self.timeout)
        if not digits and not self.action_on_empty:
            return None
        if DTMF not in self.kinds:
            return {"SpeechResult": ""}
        params = {"Digits": digits, "msg": "Gather End"}
        return params | {"FinishedOnKey": finish} if finish else params

    async def _hear_out(self, first: Speech, document: Document) -> dict[str, str]:
        """Listen until a pause ends the speech; keys have no meaning any more."""
        partial_url = await document.link(self.partial_url, "partialResultCallback")
        words, passed, partials = first.words, 0.0, 0
        while True:
            remaining = min(_seconds(words), MAX_SPEECH_SECONDS) - passed
            is_pause = remaining <= 0
            if is_pause and passed >= MAX_SPEECH_SECONDS:
                break
            span = self.pause if is_pause else min(remaining, PARTIAL_SECONDS) if partial_url else remaining
            more = await Listen(span, keys=False, speech=True)
            if isinstance(more, Speech):
                words = f"{words} {more.words}"
                continue
            if is_pause:
                break
            passed = _seconds(words) if span == remaining else passed + span
            heard = _heard(words, passed)
            if partial_url and heard:
                params = {"UnstableSpeechResult": heard, "SequenceNumber": str(partials)}
                await Report("partial-result", partial_url, self.partial_method, params)
                partials += 1
        result = {"SpeechResult": words[: round(MAX_SPEECH_SECONDS / sound.SAY_SECONDS_PER_CHARACTER)]}
        return result if first.confidence is None else result | {"Confidence": f"{first.confidence:g}"}


def _seconds(words: str) -> float:
    return len(words) * sound.SAY_SECONDS_PER_CHARACTER


def _heard(words: str, seconds: float) -> str:
    """Return the words that have been said whole after so many seconds."""
    if seconds >= _seconds(words):
        return words
    return words[: int(seconds / sound.SAY_SECONDS_PER_CHARACTER)].rpartition(" ")[0]


def _kinds(element: Element) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return what a Gather listens for, and what is wrong with what it says of it."""
    given = element.get("input", DTMF).lower().split()
    kinds = frozenset(given) & {DTMF, SPEECH}
    faults = tuple(f"<Gather>: input: {word!r} is neither dtmf nor speech" for word in given if word not in kinds)
    return kinds or frozenset({DTMF}), faults


def _pause(element: Element, timeout: float) -> tuple[float, tuple[str, ...]]:
    """Return the pause that ends speech, and what is wrong with it: a model needs it in seconds (GATH)."""
    if element.get("speechTimeout").strip().lower() != AUTO:
        return element.number("speechTimeout", timeout), ()
    model = element.get("speechModel").strip()
    if model in ("", "default"):
        return AUTO_PAUSE_SECONDS, ()
    return timeout, (f"<Gather>: speechTimeout: auto does not go with the speechModel {model!r}",)
