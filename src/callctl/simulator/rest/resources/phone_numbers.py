"""IncomingPhoneNumbers: create (which is to buy one, and costs nothing here), list, fetch, update, delete."""

import re
from collections.abc import Callable, Iterator

from callctl.simulator.errors import ApiError
from callctl.simulator.rest import listing
from callctl.simulator.rest.requests import Form, text_of
from callctl.simulator.rest.resources import fields
from callctl.simulator.rest.resources.owned import OwnedResource
from callctl.simulator.rest.serializers import formatted
from callctl.simulator.switch import numbers
from callctl.simulator.switch.owned import APPLICATION_OF_NUMBER, Owned, Shelf

AREA_CODE = re.compile(r"[2-9][0-9]{2}")
FICTIONAL = range(100, 200)  # of each area code +1 … 555 0100 to 0199 are reserved for fiction
# Of Twilio's test credentials (docs/twilio.md, "Test credentials and magic numbers").
MAGIC_AREA, MAGIC_INVALID = "500", "+15005550001"
# What a number has that no request sets.
FIXED: dict[str, object] = {
    "address_requirements": "none",
    "beta": False,
    "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
    "emergency_address_status": "unregistered",
    "origin": "twilio",
    "status": "in-use",
    "type": "local",
}


class PhoneNumbers(OwnedResource):
    """Twilio's operations on the account's phone numbers."""

    name = "IncomingPhoneNumbers"
    key = "incoming_phone_numbers"
    parameters = fields.OF_NUMBERS

    @property
    def shelf(self) -> Shelf:
        """Where they are kept."""
        return self._possessions.numbers

    def fields_of_new(self, form: Form) -> dict[str, object]:
        """Return the fields of a new number, which is chosen by itself or by its area code."""
        number = self._new_number(form)
        name = {"phone_number": number, "friendly_name": formatted(number)}
        return fields.unset(self.parameters) | FIXED | name

    def check(self, form: Form, changed: dict[str, object]) -> dict[str, object]:
        """Return what a form sets; a trunk and an application for calls rule each other out (OAS)."""
        for name in APPLICATION_OF_NUMBER:
            sid = changed.get(name)
            if isinstance(sid, str) and self._possessions.applications.find(sid) is None:
                raise ApiError(21420, sid)
        account = text_of(form, "AccountSid")
        if account and account != self._endpoint.settings.account_sid:
            raise ApiError(21471, account)  # there is no other to give it to
        if changed.get("friendly_name") == "":
            del changed["friendly_name"]  # a number always has one (inferred)
        if changed.get("voice_application_sid"):
            return changed | {"trunk_sid": None}
        return changed | {"voice_application_sid": None} if changed.get("trunk_sid") else changed

    def filters(self, query: listing.Query) -> list[Callable[[Owned], bool]]:
        """Return the checks of FriendlyName, Origin and PhoneNumber, of which a part is enough; none here is Beta."""
        checks: list[Callable[[Owned], bool]] = []
        for parameter, key in (("FriendlyName", "friendly_name"), ("Origin", "origin")):
            if wanted := query.get(parameter):
                checks.append(lambda owned, key=key, wanted=wanted: owned.fields[key] == wanted)  # type: ignore[misc]
        if partial := query.get("PhoneNumber", "").strip():
            pattern = re.compile("[0-9]".join(re.escape(part) for part in numbers.normal(partial).split("*")))
            checks.append(lambda owned: pattern.search(owned.text("phone_number")) is not None)
        return checks

    def _new_number(self, form: Form) -> str:
        if self._endpoint.settings.test_credentials:
            return _tried(form)
        number = numbers.normal(text_of(form, "PhoneNumber"))
        if number:
            if not numbers.is_number(number):
                raise ApiError(21421, number)
            if self._possessions.number(number) is not None:
                raise ApiError(21422, number)
            return number
        area = text_of(form, "AreaCode")
        if not area:
            raise ApiError(21421, "PhoneNumber or AreaCode is required")
        if not AREA_CODE.fullmatch(area):
            raise ApiError(21451, area)
        free = next((each for each in _of_area(area) if self._possessions.number(each) is None), None)
        if free is None:
            raise ApiError(21452, area)
        return free


def _tried(form: Form) -> str:
    """Return the number that test credentials get; raise ApiError for any other than the magic one."""
    number, area = numbers.normal(text_of(form, "PhoneNumber")), text_of(form, "AreaCode")
    if number == numbers.OWNED or (not number and area == MAGIC_AREA):
        return numbers.OWNED
    if not number and area:
        raise ApiError(21452, area)
    raise ApiError(21421 if number in ("", MAGIC_INVALID) else 21422, number)


def _of_area(code: str) -> Iterator[str]:
    return (f"+1{code}5550{last}" for last in FICTIONAL)
