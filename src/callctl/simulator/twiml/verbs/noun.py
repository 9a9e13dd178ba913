"""What <Dial> may connect a leg with, other than legs of its own: a conference, or a queue."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from callctl.simulator.twiml.document import Document


@dataclass(frozen=True, slots=True)
class DialTerms:
    """What the Dial around a noun says, in simulated seconds; `action` is absolute, empty where it can't be requested.

    The Dial itself goes to its action; a noun requests it only where the leg's own end leaves nobody to do so.
    """

    give_up_after: float
    time_limit: float
    hangup_on_star: bool
    action: str
    method: str


class Noun(ABC):
    """One noun, read and ready to connect with."""

    @abstractmethod
    async def connect(self, document: Document, terms: DialTerms) -> dict[str, str]:
        """Connect the leg with it until that is over; return what the request to the Dial's `action` carries too."""
