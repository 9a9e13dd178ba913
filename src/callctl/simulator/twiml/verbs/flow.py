"""<Redirect>, <Hangup> and <Reject>: what ends a document."""

from dataclasses import dataclass

from callctl.simulator.twiml.document import Document, Outcome, Verb
from callctl.simulator.twiml.elements import Element
from callctl.simulator.twiml.steps import ScriptEnd


@dataclass(frozen=True, slots=True)
class Redirect(Verb):
    """Go on with another document; an empty address means this one again."""

    url: str
    method: str

    @classmethod
    def read(cls, element: Element) -> "Redirect":
        """Read it."""
        return cls(element.text, element.method())

    async def run(self, document: Document) -> Outcome:
        """Go there."""
        return await document.go_to(self.url, self.method)


@dataclass(frozen=True, slots=True)
class Hangup(Verb):
    """End the call."""

    @classmethod
    def read(cls, _element: Element) -> "Hangup":
        """Read it."""
        return cls()

    async def run(self, document: Document) -> Outcome:  # noqa: ARG002
        """End the script, and so the call."""
        return ScriptEnd.HANGUP


@dataclass(frozen=True, slots=True)
class Reject(Verb):
    """Refuse an incoming call that has not been answered."""

    busy: bool

    @classmethod
    def read(cls, element: Element) -> "Reject":
        """Read it."""
        return cls(element.get("reason") == "busy")

    async def run(self, document: Document) -> Outcome:  # noqa: ARG002
        """End the script without an answer."""
        return ScriptEnd.BUSY if self.busy else ScriptEnd.REJECTED

    def leaves_ringing(self, *, is_first: bool) -> bool:  # noqa: ARG002
        """Return True: it refuses what rings."""
        return True
