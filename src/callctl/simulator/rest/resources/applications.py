"""Applications: create, list, fetch, update, delete."""

from collections.abc import Callable

from callctl.simulator.rest import listing
from callctl.simulator.rest.requests import Form
from callctl.simulator.rest.resources import fields
from callctl.simulator.rest.resources.owned import OwnedResource
from callctl.simulator.switch.owned import Owned, Shelf


class Applications(OwnedResource):
    """Twilio's operations on applications: URLs under one SID, which numbers and calls may name."""

    name = "Applications"
    key = "applications"
    parameters = fields.OF_APPLICATIONS

    @property
    def shelf(self) -> Shelf:
        """Where they are kept."""
        return self._possessions.applications

    def fields_of_new(self, form: Form) -> dict[str, object]:  # noqa: ARG002
        """Return the fields of one of which nothing was said."""
        return fields.unset(self.parameters)

    def check(self, form: Form, changed: dict[str, object]) -> dict[str, object]:  # noqa: ARG002
        """Return what a form sets: nothing follows from it."""
        return changed

    def filters(self, query: listing.Query) -> list[Callable[[Owned], bool]]:
        """Return the check of FriendlyName, which is the whole name."""
        name = query.get("FriendlyName", "")
        return [lambda owned: owned.fields["friendly_name"] == name] if name else []

    def remove(self, owned: Owned) -> None:
        """Own it no longer, nor have numbers that are its own."""
        self._possessions.remove_application(owned)
