"""The TwiML that callctl sends: Say, and Dial with legs or a conference that report; and checks on others' documents.

The library's builders are imported inside the functions, so that a command that sends no TwiML does not pay for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from callctl.calls.call import EVENT_NAMES, is_e164, is_endpoint
from callctl.errors import UsageError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_LENGTH = 4000  # characters, of the Twiml parameter (OAS)
MAX_LEGS = 10  # that one Dial rings (docs/twilio.md, "Dial legs")
# The nouns that take a statusCallback. Queue and Sim take none, and a Conference's reports other things
# (docs/twilio.md, "Dial legs").
REPORTING_NOUNS = ("Number", "Sip", "Client", "Application", "WhatsApp")
NOUNS = (*REPORTING_NOUNS, "Conference", "Queue", "Sim")
# What a Conference's own callbacks report (docs/twilio.md, "Conferences").
CONFERENCE_EVENTS = ("start", "end", "join", "leave", "mute", "hold", "modify", "speaker", "announcement")
# Those that a conference of callctl's reports: who is in it, and how. Of who speaks there would be one every moment.
REPORTED_CONFERENCE_EVENTS = ("start", "end", "join", "leave", "mute", "hold", "modify")
MAX_ROOM = 128  # characters of a conference's name (docs/twilio.md, "Conferences")
# Verbs that go on with the next one, whatever comes.
_ALWAYS_GO_ON = frozenset(("Say", "Play", "Pause"))
# Verbs that request the document they stand in, unless they name another.
_REQUESTING = ("Gather", "Record", "Pay")
_ABSOLUTE_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]")
_ABSOLUTE = "write the whole URL, such as https://example.com/next; or serve the TwiML, and give its --url"
_DESTINATIONS = "a number as +12025550100, sip:agent@example.com, or client:ann"
_WELL_FORMED = "each element needs its end tag; write & as &amp; and < as &lt; in texts and URLs"
# What XML 1.0 leaves no way to write, escaped or not.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def say(text: str) -> str:
    """Return a document that reads a text out.

    Raises:
        UsageError: The text is empty, or holds characters that XML can't.
    """
    from twilio.twiml.voice_response import VoiceResponse

    if not text.strip():
        raise UsageError("there is nothing to say: the text is empty", hint="give some words")
    if _NOT_XML.search(text):
        raise UsageError("the text to say holds control characters, which TwiML can't carry", hint="leave them out")
    response = VoiceResponse()
    response.say(text)
    return str(response.to_xml(xml_declaration=False))


def dial(
    destinations: Sequence[str],
    *,
    status_callback: str | None,
    events: Sequence[str] = EVENT_NAMES,
    action: str | None = None,
    method: str | None = None,
    timeout: int | None = None,
    caller_id: str | None = None,
    sequential: bool | None = None,
) -> str:
    """Return a document that connects the call to the first of some destinations that answers.

    Each leg gets a status callback of its own, since the call's covers only its own leg (docs/twilio.md, "Dial legs").

    Args:
        destinations: Numbers in E.164 form, ``sip:…``, ``client:…``; at most ten.
        status_callback: Where the legs report, or None for silent ones.
        events: What they report; in TwiML one attribute, separated by spaces (docs/twilio.md, "Dial legs").
        action: The URL requested when the Dial is over, whatever its outcome.
        method: The method for ``action``.
        timeout: How long the destinations ring, in seconds.
        caller_id: What the destinations see.
        sequential: Whether they ring in turn instead of together.

    Raises:
        UsageError: No destination, too many, or one that can't be dialled; an unknown event.
    """
    from twilio.twiml.voice_response import VoiceResponse

    if not destinations:
        raise UsageError("there is nobody to dial", hint=_DESTINATIONS)
    if len(destinations) > MAX_LEGS:
        raise UsageError(
            f"too many destinations: one Dial rings at most {MAX_LEGS}, and {len(destinations)} are given",
            hint="write TwiML with several <Dial>, one after the other",
        )
    options = {"action": action, "method": method, "timeout": timeout, "caller_id": caller_id, "sequential": sequential}
    callbacks = _callback_options(status_callback, events)
    response = VoiceResponse()
    verb = response.dial(**options)
    for destination in destinations:
        if is_e164(destination):
            verb.number(destination, **callbacks)
        elif not is_endpoint(destination):
            raise UsageError(f"can't dial {destination}", hint=_DESTINATIONS)
        elif destination.lower().startswith("client:"):
            verb.client(destination.partition(":")[2], **callbacks)
        else:
            verb.sip(destination, **callbacks)
    return str(response.to_xml(xml_declaration=False))


def conference(room: str, *, status_callback: str | None, action: str | None = None, method: str | None = None) -> str:
    """Return a document that puts the call into a conference, which begins with the second to come.

    Args:
        room: The conference's name.
        status_callback: Where the conference reports, or None for a silent one; the first to come decides
            (docs/twilio.md, "Conferences").
        action: The URL requested when the call has left it.
        method: The method for ``action``.

    Raises:
        UsageError: The name is empty, too long, or holds characters that a name can't.
    """
    from twilio.twiml.voice_response import VoiceResponse

    if not room.strip():
        raise UsageError("the conference has no name", hint="such as --conference support-7")
    if len(room) > MAX_ROOM:
        raise UsageError(
            f"the conference's name is too long: {len(room)} characters, and Twilio takes at most {MAX_ROOM}",
            hint="give a shorter one",
        )
    if room != room.strip() or not room.isprintable() or _NOT_XML.search(room):
        raise UsageError(
            "the conference's name has blanks around it, or control characters in it", hint="leave them out"
        )
    callbacks: dict[str, str] = {}
    if status_callback is not None:
        callbacks = {
            "status_callback": status_callback,
            "status_callback_event": " ".join(REPORTED_CONFERENCE_EVENTS),
            "status_callback_method": "POST",
        }
    response = VoiceResponse()
    response.dial(action=action, method=method).conference(room, **callbacks)
    return str(response.to_xml(xml_declaration=False))


def _callback_options(status_callback: str | None, events: Sequence[str]) -> dict[str, str]:
    unknown = [event for event in events if event not in EVENT_NAMES]
    if unknown:
        raise UsageError(f"no such event: {unknown[0]}", hint=f"the events are {', '.join(EVENT_NAMES)}")
    if status_callback is None:
        return {}
    return {
        "status_callback": status_callback,
        "status_callback_event": " ".join(events),
        "status_callback_method": "POST",
    }


def stripped(text: str) -> str:
    """Return somebody's document without the white space and the byte order mark around it.

    An XML declaration may have nothing before it, and Twilio refuses such a document (12100).
    """
    return text.strip("\ufeff \t\r\n")


def check(text: str) -> None:
    """Make sure that Twilio can take a document as a Twiml parameter, just as it is.

    Raises:
        UsageError: It is too long, not well-formed, declares a document type, or its root is not Response.
    """
    if len(text) > MAX_LENGTH:
        raise UsageError(
            f"the TwiML is too long: {len(text)} characters, and Twilio takes at most {MAX_LENGTH}",
            hint="serve it from a URL, and give that with --url",
        )
    check_document(text)


def check_document(text: str) -> None:
    """Make sure that Twilio can take a document from a URL, where it may be longer than a parameter.

    Raises:
        UsageError: It is not well-formed, declares a document type, or its root is not Response.
    """
    root = _root_name(text)
    if root != "Response":
        raise UsageError(
            f"the TwiML's root element is <{root}>, not <Response>", hint="wrap the verbs in <Response>…</Response>"
        )


def _root_name(text: str) -> str:
    from xml.parsers import expat

    names: list[str] = []

    def start(name: str, _attributes: dict[str, str]) -> None:
        if not names:
            names.append(name)

    def refuse(*_declaration: object) -> None:
        # Entities can make a small document huge, or read files; TwiML has no use for either.
        raise UsageError("the TwiML declares a document type", hint="remove <!DOCTYPE …>; TwiML needs no entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise UsageError(f"the TwiML is not well-formed: {_where(error)}", hint=_WELL_FORMED) from error
    return names[0]


def _where(error: Exception) -> str:
    from xml.parsers import expat

    if not isinstance(error, expat.ExpatError):
        return "it holds characters that are not text"
    return f"{expat.ErrorString(error.code)}, line {error.lineno}, column {error.offset + 1}"


def check_inline(text: str) -> None:
    """Make sure that a document works where it goes along with a request: it has no address of its own.

    Hence there is nothing that a relative URL could be relative to, and no document that Gather, Record and Pay could
    request by default (docs/twilio.md, "TwiML sent with a request"): Twilio ends the call with 11100 there.

    Raises:
        UsageError: As ``check``; or a URL is relative or missing; or as ``check_events``.
    """
    root = _parse(text)
    for element in _elements(root):
        if element.tag in _REQUESTING and not element.get("action"):
            raise UsageError(f"<{element.tag}> has no action in TwiML that is given inline", hint=_ABSOLUTE)
        for what, url in _urls(element):
            if (url or element.tag == "Redirect") and not _ABSOLUTE_URL.match(url):
                raise UsageError(f"{what} is no absolute URL in TwiML that is given inline: {url!r}", hint=_ABSOLUTE)
    _check_events(root)


def check_events(text: str) -> None:
    """Make sure that the events which a document's nouns report are events, separated by spaces.

    Twilio takes such a document, and sends no callbacks (21626), or not those that were meant.

    Raises:
        UsageError: As ``check_document``; or they are not.
    """
    check_document(text)
    _check_events(_tree(text))


def _check_events(root: Element) -> None:
    for noun in _elements(root):
        known = CONFERENCE_EVENTS if noun.tag == "Conference" else EVENT_NAMES
        text = noun.get("statusCallbackEvent")
        if text is None or noun.tag not in (*REPORTING_NOUNS, "Conference"):
            continue
        wrong = next((word for word in text.split() if word not in known), None)
        if wrong is not None or not text.split():
            raise UsageError(
                f'<{noun.tag} statusCallbackEvent="{text}">: no such event: {wrong or "(nothing)"}',
                hint=f"the events are {', '.join(known)}; in TwiML they are separated by spaces",
            )


def relative_urls(text: str) -> list[tuple[str, str]]:
    """Return the relative URLs of a document, each behind what it is in it, such as "the action of <Gather>".

    Twilio resolves them against the document's own URL.

    Raises:
        UsageError: As ``check_document``.
    """
    check_document(text)
    found = (named for element in _elements(_tree(text)) for named in _urls(element))
    return [(what, url) for what, url in found if url and not _ABSOLUTE_URL.match(url)]


def _elements(root: Element) -> Iterator[Element]:
    # The tag of a comment is a function.
    return (element for element in root.iter() if isinstance(element.tag, str))  # type: ignore[redundant-expr]


def _urls(element: Element) -> Iterator[tuple[str, str]]:
    """Yield what Twilio takes for a URL in an element, with its name; nothing for one that is empty."""
    for name, value in element.attrib.items():
        if name == "action" or name.endswith(("url", "Url", "Callback")):
            yield f"the {name} of <{element.tag}>", value.strip()
    if element.tag in ("Redirect", "Play"):
        yield f"the URL in <{element.tag}>", (element.text or "").strip()


def legs_without_callbacks(text: str) -> int:
    """Count the legs that a document's Dials make and that would send no events.

    Raises:
        UsageError: As ``check``.
    """
    return sum(1 for _ in _silent_legs(_parse(text)))


def hangs_up_after_dial(text: str) -> bool:
    """Return whether a call that is in the ``<Dial>`` of a document hangs up once that is over.

    It has neither an action nor a verb behind it (docs/twilio.md, "Redirects and the other leg"). False where the
    document does not decide it: it can't be read, has more than one Dial, or a verb that may lead to another document.
    """
    try:
        verbs = [verb for verb in _parse(text) if isinstance(verb.tag, str)]  # type: ignore[redundant-expr]
    except UsageError:
        return False
    *before, last = [verb.tag for verb in verbs] or [""]
    return last == "Dial" and "action" not in verbs[-1].attrib and _ALWAYS_GO_ON.issuperset(before)


def add_callbacks(text: str, status_callback: str, *, events: Sequence[str] = EVENT_NAMES) -> str:
    """Return a document whose Dials' legs report some events; those that report already are left alone.

    Raises:
        UsageError: As ``check``, also of what comes out.
    """
    from xml.etree.ElementTree import tostring

    root = _parse(text)
    for leg in list(_silent_legs(root)):
        noun = _number_of_text(leg) if leg.tag == "Dial" else leg
        noun.set("statusCallback", status_callback)
        noun.set("statusCallbackEvent", " ".join(events))
        noun.set("statusCallbackMethod", "POST")
    changed = tostring(root, encoding="unicode")
    check(changed)
    return changed


def _parse(text: str) -> Element:
    check(text)
    return _tree(text)


def _tree(text: str) -> Element:
    from xml.etree.ElementTree import TreeBuilder, XMLParser, fromstring

    # Safe from entities: check refuses documents that declare any. Comments are kept: somebody else's document comes
    # back as it was but for the attributes.
    parser = XMLParser(target=TreeBuilder(insert_comments=True, insert_pis=True))
    return fromstring(text, parser=parser)


def _silent_legs(root: Element) -> Iterator[Element]:
    for verb in root.iter("Dial"):
        nouns = [child for child in verb if child.tag in NOUNS]
        if not nouns and (verb.text or "").strip():
            yield verb  # the number stands in the Dial itself, which takes no callbacks
        yield from (noun for noun in nouns if noun.tag in REPORTING_NOUNS and not noun.get("statusCallback"))


def _number_of_text(verb: Element) -> Element:
    from xml.etree.ElementTree import SubElement

    noun = SubElement(verb, "Number")
    noun.text, verb.text = (verb.text or "").strip(), None
    return noun


def noun_attributes(status_callback: str) -> str:
    """Return the attributes to paste into one's own ``<Number>``, ``<Sip>`` or ``<Client>``, escaped."""
    from xml.sax.saxutils import quoteattr

    events = " ".join(EVENT_NAMES)
    return f'statusCallback={quoteattr(status_callback)} statusCallbackEvent="{events}" statusCallbackMethod="POST"'
