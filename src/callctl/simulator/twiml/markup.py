"""XML as the simulator reads it: elements, attributes, text, and nothing that can grow.

Expat itself would expand entities, so a document type declaration is refused before one can be declared.
"""

from dataclasses import dataclass, field
from xml.parsers import expat

MAX_BYTES = 64 * 1024  # a TwiML document is a few hundred bytes; more is a mistake or an attack
MAX_DEPTH = 32  # TwiML nests three deep, SSML inside <Say> a few more


class MarkupError(ValueError):
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


class _Builder:
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
            raise MarkupError(f"nested more than {MAX_DEPTH} deep")

    def end(self, _name: str) -> None:
        self.open.pop()

    def text(self, data: str) -> None:
        if self.open:
            self.open[-1].texts.append(data)


def _refuse_doctype(*_: object) -> None:
    raise MarkupError("a document type declaration is not allowed")


def read(document: str | bytes) -> Element:
    """Return the root element; raise MarkupError for what is not well-formed, too large, too deep or has a DTD."""
    data = document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document
    if len(data) > MAX_BYTES:
        raise MarkupError(f"longer than {MAX_BYTES} bytes")
    builder = _Builder()
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
        raise MarkupError(str(error)) from error
    if builder.root is None:
        raise MarkupError("no element found")
    return builder.root
