"""Running TwiML: what a document does to its leg, verb by verb.

A script is a coroutine that awaits nothing but steps: wait, ask an address, listen for digits, ring others. Whoever
runs it (the leg's runner) decides when each is over, and may drop the script at any of them. So no script knows a
clock or a socket, and a redirect in mid-verb needs no cooperation.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from callctl.simulator.models import Source
from callctl.simulator.network import Ask, Reply
from callctl.simulator.twiml import parser
from callctl.simulator.twiml.steps import DialResult, Fetch, Listen, Over, Ring, Wait

HTTP_FAILURE, STRANGE_VERB, INVALID_EVENTS = 11200, 12200, 21626


class Line(Protocol):
    """The leg, as far as a document can see and touch it."""

    @property
    def is_answered(self) -> bool:
        """Whether it is past ringing."""

    def answer(self) -> None:
        """Answer an incoming call."""

    def parameters(self) -> dict[str, str]:
        """Return what a request for TwiML tells about the leg."""

    def notify(self, code: int, text: str, *, url: str = "", method: str = "") -> None:
        """Note a failure or a warning among the call's notifications."""

    def prompt(self) -> None:
        """Let the far end know that digits are listened for."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The next document to run, and what its request carries besides."""

    source: Source
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """A document that was read, and the address it came from (empty when it came with the REST request)."""

    verbs: tuple[parser.Verb, ...]
    url: str
    method: str


Outcome = Turn | Over | None
ELSEWHERE = frozenset({"http", "https"})


async def play(line: Line, source: Source, *, may_dial: bool = True) -> Over:
    """Run documents, each leading to the next, until one ends."""
    turn = Turn(source)
    while True:
        page = await _load(line, turn)
        if page is None:
            return Over.FAILED
        outcome = await _run(line, page, turn.source, may_dial=may_dial)
        if isinstance(outcome, Over):
            return outcome
        turn = outcome


async def ask(line: Line, url: str, method: str, extra: dict[str, str]) -> Reply:
    """Ask an address about the leg; note it when that fails."""
    reply = await Fetch(Ask(url, method, line.parameters() | extra, awaited=True))
    if not reply.ok:
        why = reply.error or f"answered {reply.status}"
        line.notify(HTTP_FAILURE, f"HTTP retrieval failure: {why}", url=url, method=method)
    return reply


async def _load(line: Line, turn: Turn) -> Page | None:
    source = turn.source
    page, code, failed_url = await _load_one(line, source, turn.extra)
    if page is None and source.fallback_url:
        second = Source(source.fallback_url, source.fallback_method)
        extra = turn.extra | {"ErrorCode": str(code), "ErrorUrl": failed_url}
        page, _, _ = await _load_one(line, second, extra)
    return page


async def _load_one(line: Line, source: Source, extra: dict[str, str]) -> tuple[Page | None, int, str]:
    """Return the document, or the code of why there is none; each failure is noted once."""
    try:
        if source.twiml is not None and not source.url:
            verbs = parser.parse(source.twiml)
        else:
            reply = await ask(line, source.url, source.method, extra)
            if not reply.ok:
                return None, HTTP_FAILURE, source.url
            verbs = parser.parse_reply(reply.body, reply.content_type)
    except parser.TwimlError as error:
        line.notify(error.code, str(error), url=source.url, method=source.method)
        return None, error.code, source.url
    return Page(verbs, source.url, source.method), 0, ""


async def _run(line: Line, page: Page, source: Source, *, may_dial: bool) -> Turn | Over:
    for index, verb in enumerate(page.verbs):
        if not line.is_answered and not _leaves_ringing(verb, first=index == 0):
            line.answer()
        outcome = await _perform(line, verb, page, source, may_dial=may_dial)
        if outcome is not None:
            return outcome
    if not line.is_answered:
        line.answer()  # an empty document answers and ends (inferred)
    return Over.DOCUMENT_END


def _leaves_ringing(verb: parser.Verb, *, first: bool) -> bool:
    """Tell whether a verb leaves a call unanswered: Reject, a first Pause, a first Dial that answers on bridge."""
    match verb:
        case parser.Reject():
            return True
        case parser.Sound(name="Pause"):
            return first
        case parser.Dial(answer_on_bridge=True):
            return first
    return False


async def _perform(line: Line, verb: parser.Verb, page: Page, source: Source, *, may_dial: bool) -> Outcome:
    match verb:
        case parser.Sound():
            await Wait(verb.seconds)
        case parser.Gather():
            return await _gather(line, verb, page, source)
        case parser.Dial() if may_dial:
            return await _dial(line, verb, page, source)
        case parser.Dial():
            line.notify(STRANGE_VERB, "<Dial> is not allowed here; it was passed over")
        case parser.Redirect():
            return _turn(line, verb.url, verb.method, page, source)
        case parser.Hangup():
            return Over.HANGUP
        case parser.Reject():
            if line.is_answered:
                return Over.HANGUP
            return Over.BUSY if verb.busy else Over.REJECTED
        case parser.Stranger():
            line.notify(STRANGE_VERB, f"<{verb.name}> is not imitated; it was passed over")
    return None


def _turn(
    line: Line,
    url: str,
    method: str,
    page: Page,
    source: Source,
    extra: dict[str, str] | None = None,
) -> Turn | Over:
    """Go to another document; an empty address is the present one's. A failure falls back as the first would."""
    target = absolute(page.url, url)
    if not target:
        text = f"HTTP retrieval failure: {url or 'no address'!r} is no http or https URL"
        line.notify(HTTP_FAILURE, text, url=url, method=method)
        if not source.fallback_url:
            return Over.FAILED
        target, method = source.fallback_url, source.fallback_method
    return Turn(replace(source, url=target, method=method, twiml=None), extra or {})


def absolute(base: str, url: str) -> str:
    """Return an address as seen from a document's; empty when it is none that can be asked."""
    try:
        joined = urljoin(base, url) if base else url
        parts = urlsplit(joined)
    except ValueError:
        return ""
    return joined if parts.scheme in ELSEWHERE and parts.hostname else ""


async def _dial(line: Line, dial: parser.Dial, page: Page, source: Source) -> Outcome:
    for name in dial.strangers:
        line.notify(STRANGE_VERB, f"<Dial>: {name} is not imitated; it was passed over")
    for fault in dial.event_faults:
        line.notify(INVALID_EVENTS, fault)
    if not dial.targets:
        return None
    result = await Ring(dial, page.url)
    if not dial.action:
        return None
    return _turn(line, dial.action, dial.method, page, source, dial_form(result))


def dial_form(result: DialResult) -> dict[str, str]:
    """Return what the Dial's `action` is told (DIAL)."""
    form = {"DialCallStatus": result.status, "DialBridged": str(result.bridged).lower()}
    if result.sid:
        form["DialCallSid"] = result.sid
    if result.duration is not None:
        form["DialCallDuration"] = str(result.duration)
    return form


async def _gather(line: Line, gather: parser.Gather, page: Page, source: Source) -> Outcome:
    for name in gather.strangers:
        line.notify(STRANGE_VERB, f"<Gather>: <{name}> can't be in it; it was passed over")
    line.prompt()
    digits, finish = await _collect(gather)
    if not digits and not gather.action_on_empty:
        return None
    if not gather.action and not page.url:
        return None  # no address to ask: the document came with the REST request (inferred)
    extra = {"Digits": digits, "msg": "Gather End"}
    if finish:
        extra["FinishedOnKey"] = finish
    return _turn(line, gather.action, gather.method, page, source, extra)


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
