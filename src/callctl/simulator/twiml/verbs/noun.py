"""What <Dial> may connect a leg with, other than legs of its own: a conference, or a queue."""

from abc import ABC, abstractmethod

from callctl.simulator.twiml.document import Document


class Noun(ABC):
    """One noun, read and ready to connect with."""

    @abstractmethod
    async def connect(
        self, document: Document, *, give_up_after: float, time_limit: float, hangup_on_star: bool
    ) -> dict[str, str]:
        """Connect the leg with it until that is over; return what the request to the Dial's `action` carries besides.

        The rest is what the Dial says: simulated seconds, and whether `*` ends it.
        """
