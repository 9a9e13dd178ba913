"""Run TwiML: what a document does to its leg, verb by verb.

A script is a coroutine, but not asyncio's: it awaits steps and nothing else. The runner hands each step to its leg,
which resumes the script when the step is over, or drops script and step together. So a script knows neither a clock nor
a socket, and a redirect in the middle of a verb needs no cooperation.
"""

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Generic, TypeVar
from urllib.parse import urljoin, urlsplit

from callctl.simulator.http_requests import Cancel, Reply
from callctl.simulator.models import Source
from callctl.simulator.twiml import parser

HTTP_FAILURE, UNKNOWN_VERB, INVALID_EVENTS = 11200, 12200, 21626
HTTP_SCHEMES = frozenset({"http", "https"})

T = TypeVar("T")


class Step(Generic[T]):
    """Something that a script does or waits for; awaiting it hands it to the runner and returns its result."""

    def __await__(self) -> Generator["Step[T]", T, T]:
        return (yield self)


@dataclass(frozen=True, slots=True)
class Answer(Step[None]):
    """Answer the leg, if it is not answered yet; done at once."""


@dataclass(frozen=True, slots=True)
class Note(Step[None]):
    """Add an error or a warning to the call's notifications; done at once."""

    code: int
    text: str
    url: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True)
class Prompt(Step[None]):
    """Have the far end press its digits, since a Gather begins; done at once."""


@dataclass(frozen=True, slots=True)
class Wait(Step[None]):
    """Let simulated seconds pass; None waits until the script is dropped."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Fetch(Step[Reply]):
    """Request a URL, with the leg's parameters and those given here."""

    url: str
    method: str
    params: dict[str, str]


@dataclass(frozen=True, slots=True)
class Listen(Step[str | None]):
    """Wait for the next digit; None when none came within the seconds. Without seconds it waits for ever."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class DialResult:
    """How a Dial went; without `duration` its `action` gets none (DIAL)."""

    status: str
    sid: str = ""
    duration: int | None = None
    bridged: bool = False


@dataclass(frozen=True, slots=True)
class Ring(Step[DialResult]):
    """Ring others until it is over; `base` is the URL that relative ones belong to."""

    dial: parser.Dial
    base: str


class ScriptEnd(Enum):
    """How a script ended."""

    DOCUMENT_END = "document ended"
    HANGUP = "hung up"
    REJECTED = "rejected"
    BUSY = "rejected as busy"
    FAILED = "no document to run"


class Runner:
    """Drives one script at a time, step by step.

    `begin` begins a step, calls the given function once, later, with the result, and returns how to stop the step. It
    returns None for a step that is done at once.
    """

    def __init__(self, begin: Callable[[object, Callable[[object], None]], Cancel | None]) -> None:
        self._begin = begin
        self._stop: Cancel | None = None
        self._script: Generator[object, object, ScriptEnd] | None = None

    def start(self, script: Awaitable[ScriptEnd], on_end: Callable[[ScriptEnd], None]) -> None:
        """Drop the script that runs and begin another; `on_end` gets how that one ended, unless it is dropped."""
        self.stop()
        driver = script.__await__()
        self._script = driver
        self._advance(driver, None, on_end)

    def stop(self) -> None:
        """Drop the script that runs, if one does."""
        stop, self._stop = self._stop, None
        script, self._script = self._script, None
        if stop is not None:
            stop()
        if script is not None:
            script.close()

    def _advance(
        self, script: Generator[object, object, ScriptEnd], value: object, on_end: Callable[[ScriptEnd], None]
    ) -> None:
        def resume(result: object) -> None:
            if self._script is script:
                self._stop = None
                self._advance(script, result, on_end)

        stop: Cancel | None = None
        while stop is None:
            try:
                step = script.send(value)
            except StopIteration as end:
                self._script = None
                on_end(end.value)
                return
            stop, value = self._begin(step, resume), None
        self._stop = stop


@dataclass(frozen=True, slots=True)
class _Next:
    """The next document to run, and what its request carries besides the leg's parameters."""

    source: Source
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Document:
    """A document that was read, and the URL it came from (empty when it came with the REST request)."""

    verbs: tuple[parser.Verb, ...]
    url: str
    method: str


async def run_script(source: Source, *, may_dial: bool = True) -> ScriptEnd:
    """Run documents, each leading to the next, until one ends."""
    following = _Next(source)
    while True:
        document = await _load(following)
        if document is None:
            return ScriptEnd.FAILED
        outcome = await _run(document, following.source, may_dial=may_dial)
        if isinstance(outcome, ScriptEnd):
            return outcome
        following = outcome


async def fetch(url: str, method: str, params: dict[str, str]) -> Reply:
    """Request a URL for the leg; note it when that fails."""
    reply = await Fetch(url, method, params)
    if not reply.ok:
        why = reply.error or f"answered {reply.status}"
        await Note(HTTP_FAILURE, f"HTTP retrieval failure: {why}", url=url, method=method)
    return reply


async def _load(following: _Next) -> _Document | None:
    source = following.source
    document, code, failed_url = await _load_one(source, following.params)
    if document is None and source.fallback_url:
        fallback = Source(source.fallback_url, source.fallback_method)
        params = following.params | {"ErrorCode": str(code), "ErrorUrl": failed_url}
        document, _, _ = await _load_one(fallback, params)
    return document


async def _load_one(source: Source, params: dict[str, str]) -> tuple[_Document | None, int, str]:
    """Return the document, or the code of why there is none; each failure is noted once."""
    try:
        if source.twiml is not None and not source.url:
            verbs = parser.parse(source.twiml)
        else:
            reply = await fetch(source.url, source.method, params)
            if not reply.ok:
                return None, HTTP_FAILURE, source.url
            verbs = parser.parse_reply(reply.body, reply.content_type)
    except parser.TwimlError as error:
        await Note(error.code, str(error), url=source.url, method=source.method)
        return None, error.code, source.url
    return _Document(verbs, source.url, source.method), 0, ""


async def _run(document: _Document, source: Source, *, may_dial: bool) -> _Next | ScriptEnd:
    for index, verb in enumerate(document.verbs):
        if not _leaves_ringing(verb, is_first=index == 0):
            await Answer()
        outcome = await _run_verb(verb, document, source, may_dial=may_dial)
        if outcome is not None:
            return outcome
    await Answer()  # an empty document answers and ends (inferred)
    return ScriptEnd.DOCUMENT_END


def _leaves_ringing(verb: parser.Verb, *, is_first: bool) -> bool:
    """Return whether a verb leaves a call unanswered: Reject, a first Pause, a first Dial that answers on bridge."""
    match verb:
        case parser.Reject():
            return True
        case parser.Sound(name="Pause"):
            return is_first
        case parser.Dial(answer_on_bridge=True):
            return is_first
    return False


async def _run_verb(
    verb: parser.Verb, document: _Document, source: Source, *, may_dial: bool
) -> _Next | ScriptEnd | None:
    match verb:
        case parser.Sound():
            await Wait(verb.seconds)
        case parser.Gather():
            return await _gather(verb, document, source)
        case parser.Dial() if may_dial:
            return await _dial(verb, document, source)
        case parser.Dial():
            await Note(UNKNOWN_VERB, "<Dial> is not allowed here; it was passed over")
        case parser.Redirect():
            return await _go_to(verb.url, verb.method, document, source)
        case parser.Hangup():
            return ScriptEnd.HANGUP
        case parser.Reject():
            return ScriptEnd.BUSY if verb.busy else ScriptEnd.REJECTED
        case parser.UnknownVerb():
            await Note(UNKNOWN_VERB, f"<{verb.name}> is not imitated; it was passed over")
    return None


async def _go_to(
    url: str, method: str, document: _Document, source: Source, params: dict[str, str] | None = None
) -> _Next | ScriptEnd:
    """Go to another document; an empty URL is the present one's. A failure falls back as the first would."""
    target = absolute(document.url, url)
    if not target:
        text = f"HTTP retrieval failure: {url or 'no address'!r} is no http or https URL"
        await Note(HTTP_FAILURE, text, url=url, method=method)
        if not source.fallback_url:
            return ScriptEnd.FAILED
        target, method = source.fallback_url, source.fallback_method
    return _Next(replace(source, url=target, method=method, twiml=None), params or {})


def absolute(base: str, url: str) -> str:
    """Return a document's URL as an absolute one; empty when it can't be requested."""
    try:
        joined = urljoin(base, url) if base else url
        parts = urlsplit(joined)
    except ValueError:
        return ""
    return joined if parts.scheme in HTTP_SCHEMES and parts.hostname else ""


async def _dial(dial: parser.Dial, document: _Document, source: Source) -> _Next | ScriptEnd | None:
    for name in dial.unknown:
        await Note(UNKNOWN_VERB, f"<Dial>: {name} is not imitated; it was passed over")
    for fault in dial.event_faults:
        await Note(INVALID_EVENTS, fault)
    if not dial.targets:
        return None
    result = await Ring(dial, document.url)
    if not dial.action:
        return None
    return await _go_to(dial.action, dial.method, document, source, action_parameters(result))


def action_parameters(result: DialResult) -> dict[str, str]:
    """Return what the request to the Dial's `action` carries besides (DIAL)."""
    params = {"DialCallStatus": result.status, "DialBridged": str(result.bridged).lower()}
    if result.sid:
        params["DialCallSid"] = result.sid
    if result.duration is not None:
        params["DialCallDuration"] = str(result.duration)
    return params


async def _gather(gather: parser.Gather, document: _Document, source: Source) -> _Next | ScriptEnd | None:
    for name in gather.unknown:
        await Note(UNKNOWN_VERB, f"<Gather>: <{name}> can't be in it; it was passed over")
    await Prompt()
    digits, finish = await _collect(gather)
    if not digits and not gather.action_on_empty:
        return None
    if not gather.action and not document.url:
        return None  # there is no URL to go to: the document came with the REST request (inferred)
    params = {"Digits": digits, "msg": "Gather End"}
    if finish:
        params["FinishedOnKey"] = finish
    return await _go_to(gather.action, gather.method, document, source, params)


async def _collect(gather: parser.Gather) -> tuple[str, str]:
    """Return the digits and the key that ended them; a digit cuts the prompts short."""
    digits = ""
    key = await _while_prompting(gather.prompts)
    if key is None:
        key = await Listen(gather.timeout)
    while key is not None:
        if key in gather.finish_on:
            return digits, key
        digits += key
        if gather.digits is not None and len(digits) >= gather.digits:
            break
        key = await Listen(gather.timeout)
    return digits, ""


async def _while_prompting(prompts: tuple[parser.Sound, ...]) -> str | None:
    for sound in prompts:
        key = await Listen(sound.seconds)
        if key is not None:
            return key
    return None
