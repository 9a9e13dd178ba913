"""<Gather>: digits of the far end."""

from dataclasses import dataclass

from callctl.simulator.twiml.document import Document, Outcome, Verb
from callctl.simulator.twiml.elements import Element
from callctl.simulator.twiml.steps import Step
from callctl.simulator.twiml.verbs import sound

TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Prompt(Step[None]):
    """Have the far end press its digits, since a Gather begins; done at once."""


@dataclass(frozen=True, slots=True)
class Listen(Step[str | None]):
    """Wait for the next digit; None when none came within the seconds. Without seconds it waits for ever."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Gather(Verb):
    """Wait for digits; `prompts` are played meanwhile and a digit cuts them short."""

    action: str
    method: str
    timeout: float
    finish_on: str
    digits: int | None
    action_on_empty: bool
    prompts: tuple[sound.Sound, ...]

    @classmethod
    def read(cls, element: Element) -> "Gather":
        """Read it."""
        limit = int(element.number("numDigits", 0.0))
        return cls(
            action=element.url("action"),
            method=element.method(),
            timeout=element.number("timeout", TIMEOUT_SECONDS),
            finish_on=element.get("finishOnKey", "#"),
            digits=limit or None,
            action_on_empty=element.flag("actionOnEmptyResult"),
            prompts=tuple(map(sound.Sound.read, element.take(*sound.NAMES))),
        )

    async def run(self, document: Document) -> Outcome:
        """Collect digits, and go to the action with them."""
        await Prompt()
        digits, finish = await self._collect()
        if not digits and not self.action_on_empty:
            return None
        if not self.action and not document.url:
            return None  # there is no URL to go to: the document came with the REST request (inferred)
        params = {"Digits": digits, "msg": "Gather End"}
        if finish:
            params["FinishedOnKey"] = finish
        return await document.go_to(self.action, self.method, params)

    async def _collect(self) -> tuple[str, str]:
        """Return the digits and the key that ended them; a digit cuts the prompts short."""
        digits = ""
        key = await self._while_prompting()
        if key is None:
            key = await Listen(self.timeout)
        while key is not None:
            if key in self.finish_on:
                return digits, key
            digits += key
            if self.digits is not None and len(digits) >= self.digits:
                break
            key = await Listen(self.timeout)
        return digits, ""

    async def _while_prompting(self) -> str | None:
        for prompt in self.prompts:
            key = await Listen(prompt.seconds)
            if key is not None:
                return key
        return None
