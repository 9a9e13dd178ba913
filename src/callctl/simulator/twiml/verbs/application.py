"""<Application> in <Dial>: one of the account's applications answers, and gets parameters of the document's own."""

from collections.abc import Container
from dataclasses import dataclass

from callctl.simulator.twiml.elements import Element


@dataclass(frozen=True, slots=True)
class ApplicationNoun:
    """Which application, and what the request for its document carries besides."""

    sid: str
    customer: str
    copies_to: bool
    parameters: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, element: Element) -> "ApplicationNoun":
        """Read it. The SID is the text of an element of its own, or of this one (APPN)."""
        named = element.take("ApplicationSid", most=1)
        return cls(
            sid=named[0].text if named else element.text,
            customer=element.get("customerId"),
            copies_to=element.flag("copyParentTo"),
            parameters=tuple((each.get("name"), each.get("value")) for each in element.take("Parameter")),
        )

    def request_parameters(self, *, account_sid: str, parent_to: str, own: Container[str]) -> dict[str, str]:
        """Return what the first request carries besides, where the call that dials is to `parent_to`.

        What Twilio says of each call, with the names `own`, no parameter says otherwise.
        """
        given = {name: value for name, value in self.parameters if name and name not in own}
        given["CustomerId"] = self.customer or account_sid
        return given | ({"To": parent_to, "Called": parent_to} if self.copies_to else {})
