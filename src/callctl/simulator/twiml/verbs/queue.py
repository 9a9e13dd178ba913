"""<Enqueue>, <Leave>, and <Queue> in <Dial>: wait in a queue, leave it, or take the next call of one."""

from dataclasses import dataclass

from callctl.simulator.twiml.document import UNKNOWN_VERB, Document, Outcome, Verb, absolute, why_none
from callctl.simulator.twiml.elements import Element
from callctl.simulator.twiml.steps import Note, ScriptEnd, Step
from callctl.simulator.twiml.verbs.noun import DialTerms, Noun

# What a document may hold that is heard in a queue, and just before the two are connected (docs/twilio.md, "Queues").
WAITING_VERBS = ("Play", "Say", "Pause", "Hangup", "Redirect", "Leave", "Gather")
CONNECTING_VERBS = ("Play", "Say", "Pause", "Redirect")
MAX_NAME = 64  # ENQ
INVALID_WAIT_URL, NAME_TOO_SHORT, NAME_TOO_LONG = 14202, 14204, 14205
INVALID_DIALLED_URL, DIALLED_NAME_TOO_SHORT, DIALLED_NAME_TOO_LONG = 14211, 14212, 14213
ERROR = {"QueueResult": "error"}
NO_QUEUE = {"DialCallStatus": "failed", "DialBridged": "false"}


@dataclass(frozen=True, slots=True)
class WaitInQueue(Step[dict[str, str]]):
    """Wait in a queue, and for the end of the talk with the leg that takes it; return the parameters for its action.

    `wait_url` and `action` are absolute; the former is empty for silence, the latter where it can't be requested. Where
    the call ends or is redirected, the step itself requests the action.
    """

    name: str
    wait_url: str
    wait_method: str
    action: str
    method: str


@dataclass(frozen=True, slots=True)
class TakeNext(Step[dict[str, str]]):
    """Be connected with the first in a queue, until that is over; return the parameters for the Dial's action.

    `url` is of the document that the other one hears before; it is absolute, or empty.
    """

    name: str
    url: str
    method: str
    terms: DialTerms


@dataclass(frozen=True, slots=True)
class Enqueue(Verb):
    """Wait in a queue, which is made if there is none, and go to the action with the result."""

    name: str
    action: str
    method: str
    wait_url: str
    wait_method: str

    @classmethod
    def read(cls, element: Element) -> "Enqueue":
        """Read it; `workflowSid` and the <Task> of TaskRouter stay unread."""
        return cls(
            name=element.text,
            action=element.url("action"),
            method=element.method(),
            wait_url=element.url("waitUrl"),
            wait_method=element.method("waitUrlMethod"),
        )

    async def run(self, document: Document) -> Outcome:
        """Wait, and go on."""
        params = await self._wait(document)
        return await document.go_to(self.action, self.method, params) if self.action else None

    async def _wait(self, document: Document) -> dict[str, str]:
        if not await _may_name_a_queue(self.name, "<Enqueue>", NAME_TOO_SHORT, NAME_TOO_LONG):
            return ERROR
        wait_url = absolute(document.url, self.wait_url) if self.wait_url else ""
        if self.wait_url and not wait_url:
            await Note(INVALID_WAIT_URL, f"<Enqueue>: waitUrl {why_none(document.url, self.wait_url)}")
            return ERROR
        action = absolute(document.url, self.action) if self.action else ""
        return await WaitInQueue(self.name, wait_url, self.wait_method, action, self.method)


@dataclass(frozen=True, slots=True)
class Leave(Verb):
    """Leave the queue, in a document that is heard there."""

    @classmethod
    def read(cls, _element: Element) -> "Leave":
        """Read it."""
        return cls()

    async def run(self, document: Document) -> Outcome:
        """End what is heard in the queue; elsewhere it does nothing (inferred)."""
        if document.allowed is not None:
            return ScriptEnd.LEFT
        await Note(UNKNOWN_VERB, "<Leave>: the call is in no queue; it was passed over")
        return None


@dataclass(frozen=True, slots=True)
class Queue(Noun):
    """One <Queue>, whose URL is as the document has it."""

    name: str
    url: str
    method: str

    @classmethod
    def read(cls, element: Element) -> "Queue":
        """Read it; what belongs to TaskRouter stays unread."""
        return cls(element.text, element.url("url"), element.method())

    async def connect(self, document: Document, terms: DialTerms) -> dict[str, str]:
        """Take the next, and talk until that is over."""
        if not await _may_name_a_queue(self.name, "<Queue>", DIALLED_NAME_TOO_SHORT, DIALLED_NAME_TOO_LONG):
            return NO_QUEUE
        url = absolute(document.url, self.url) if self.url else ""
        if self.url and not url:  # they are connected all the same, as with one that can't be had (inferred)
            await Note(INVALID_DIALLED_URL, f"<Queue>: url {why_none(document.url, self.url)}")
        return await TakeNext(self.name, url, self.method, terms)


async def _may_name_a_queue(name: str, element: str, too_short: int, too_long: int) -> bool:
    """Return whether a name may be that of a queue; note the code for one that may not."""
    if not name:
        await Note(too_short, f"{element}: the queue has no name")
    elif len(name) > MAX_NAME:
        await Note(too_long, f"{element}: the name of the queue has more than {MAX_NAME} characters")
    return 0 < len(name) <= MAX_NAME
