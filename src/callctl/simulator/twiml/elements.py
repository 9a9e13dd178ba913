"""Read XML: elements with their attributes and text, and what an attribute says.

Expat itself would expand entities, so a document type declaration is refused.
"""

from dataclasses import dataclass, field
from xml.parsers import expat

MAX_BYTES = 64 * 1024  # a TwiML document is a few hundred bytes; more is a mistake or an attack
MAX_DEPTH = 32  # TwiML nests three deep, SSML inside <Say> a few more
MAX_NUMBER = 86400.0
MAX_SHOWN = 40  # characters of a value


class XmlError(ValueError):
    """The text is no XML document that the simulator reads."""


@dataclass(slots=True)
class Element:
    """One element: its name, attributes, children, and all the text inside it.

    What nobody reads is not imitated: `unread` are the attributes that nothing has read yet, and `is_read` is
    whether the element itself was taken by who reads the one around it. `refused` are attributes of which another
    value is imitated.
    """

    name: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    unread: set[str] = field(init=False)
    is_read: bool = False
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.unread = set(self.attributes)

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
        self.unread.discard(name)
        return self.attributes.get(name, default)

    def url(self, name: str) -> str:
        """Return an attribute that is an address, without white space around it; empty where it is not there."""
        return self.get(name).strip()

    def method(self, name: str = "method", default: str = "POST") -> str:
        """Return GET or POST; anything else counts as the default (inferred)."""
        given = self.get(name).strip().upper()
        return given if given in ("GET", "POST") else default

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return whether an attribute says true."""
        given = self.get(name).strip().lower()
        return given == "true" if given else default

    def number(self, name: str, default: float) -> float:
        """Return the number that an attribute is; what is none, or below zero, is the default (inferred)."""
        try:
            value = float(self.get(name, str(default)))
        except ValueError:
            return default
        return min(value, MAX_NUMBER) if value >= 0 else default

    def refuse(self, name: str) -> None:
        """Count an attribute as not imitated for the value that it has here, which is named then."""
        if name in self.attributes:
            self.unread.discard(name)
            self.refused.append(name)

    def take(self, *names: str, most: int | None = None) -> list["Element"]:
        """Return the children with these names, no more than so many; they count as read."""
        read = [child for child in self.children if child.name in names][:most]
        for child in read:
            child.is_read = True
        return read

    def not_imitated(self) -> list[str]:
        """Return in words which attributes and which children nobody has read."""
        names = [f"{name} of <{self.name}>" for name in self.attributes if name in self.unread]
        names += [f'{name}="{self.attributes[name][:MAX_SHOWN]}" of <{self.name}>' for name in self.refused]
        for child in self.children:
            names += child.not_imitated() if child.is_read else [f"<{child.name}> in <{self.name}>"]
        return names

    def without_effect_within(self) -> None:
        """Count all that is nested here as read."""
        for child in self.children:
            child.is_read = True
            child.unread.clear()
            child.without_effect_within()

    def without_effect(self, *names: str) -> None:
        """Count attributes as read: what they choose can't be heard here, such as a voice."""
        self.unread.difference_update(names)


class _TreeBuilder:
    """Expat's handlers, which build the tree of elements."""

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
            raise XmlError(f"nested more than {MAX_DEPTH} deep")

    def end(self, _name: str) -> None:
        self.open.pop()

    def text(self, data: str) -> None:
        if self.open:
            self.open[-1].texts.append(data)


def _refuse_doctype(*_: object) -> None:
    raise XmlError("a document type declaration is not allowed")


def read_xml(document: str | bytes) -> Element:
    """Return the root element; raise XmlError for what is not well-formed, too large, too deep or has a DTD."""
    data = document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document
    if len(data) > MAX_BYTES:
        raise XmlError(f"longer than {MAX_BYTES} bytes")
    builder = _TreeBuilder()
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
        raise XmlError(str(error)) from error
    if builder.root is None:
        raise XmlError("no element found")
    return builder.root
