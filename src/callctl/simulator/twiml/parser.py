"""Read TwiML: which verbs a document has, and what of it is not imitated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from callctl.simulator.twiml.document import Verb
from callctl.simulator.twiml.elements import Element, XmlError, read_xml
from callctl.simulator.twiml.verbs import dial, flow, gather, queue, record, sound, start, stream

READERS: Mapping[str, Callable[[Element], Verb]] = {
    "Say": sound.Sound.read,
    "Play": sound.Sound.read,
    "Pause": sound.Sound.read,
    "Record": record.Record.read,
    "Gather": gather.Gather.read,
    "Dial": dial.Dial.read,
    "Enqueue": queue.Enqueue.read,
    "Leave": queue.Leave.read,
    "Connect": stream.Connect.read,
    "Start": start.Start.read,
    "Stop": start.Stop.read,
    "Redirect": flow.Redirect.read,
    "Hangup": flow.Hangup.read,
    "Reject": flow.Reject.read,
}
# What Twilio takes for a document; it plays sounds, speaks plain text, and hangs up after either (its page "Your
# response" and ERR 12300).
DOCUMENT_TYPES = frozenset({"text/xml", "application/xml", "text/html"})
PARSE_FAILURE, UNKNOWN_TYPE = 12100, 12300


class TwimlError(ValueError):
    """The document can't be run; `code` is Twilio's for why."""

    def __init__(self, text: str, *, code: int = PARSE_FAILURE) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Item:
    """One verb of a document by its name, and in words what of it is not imitated; `verb` is None if all of it is."""

    name: str
    verb: Verb | None
    not_imitated: tuple[str, ...]


def parse(document: str | bytes) -> tuple[Item, ...]:
    """Return the verbs in order; raise TwimlError when it is no TwiML document."""
    try:
        root = read_xml(document)
    except XmlError as error:
        raise TwimlError(f"Document parse failure: {error}") from error
    if root.name != "Response":
        raise TwimlError(f"Document parse failure: the root is <{root.name}>, not <Response>")
    return tuple(map(_item, root.children))


def parse_reply(body: bytes, content_type: str) -> tuple[Item, ...]:
    """Return the verbs of a reply to a request for TwiML; raise TwimlError where it has none."""
    if content_type in DOCUMENT_TYPES or not body:
        return parse(body)
    if content_type.startswith("audio/"):
        return (Item("Play", sound.played(), ()),)
    if content_type == "text/plain":
        return (Item("Say", sound.speech(body.decode(errors="replace").strip()), ()),)
    raise TwimlError(f"Invalid Content-Type: {content_type or 'none'}", code=UNKNOWN_TYPE)


def _item(element: Element) -> Item:
    read = READERS.get(element.name)
    if read is None:
        return Item(element.name, None, (f"<{element.name}>",))
    verb = read(element)
    return Item(element.name, verb, tuple(element.not_imitated()))
