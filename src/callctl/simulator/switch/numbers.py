"""Addresses that can be called: phone numbers, SIP addresses, client names; and Twilio's magic numbers."""

import re
from collections.abc import Mapping

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
SIP = re.compile(r"sips?:[^\s@<>]+(@[^\s@<>]+)?", re.IGNORECASE)
CLIENT = re.compile(r"client:[^\s]{1,256}", re.IGNORECASE)  # CLIENT: an id of up to 256 characters
CALLER = re.compile(r"[A-Za-z0-9+\-_.]{1,256}")  # DIAL: what a SIP caller id may hold

# The numbers of Twilio's test credentials (docs/twilio.md, "Test credentials and magic numbers"): which code a call
# gets.
MAGIC_FROM: Mapping[str, int] = {"+15005550001": 21212}
MAGIC_TO: Mapping[str, int] = {
    "+15005550001": 21217,
    "+15005550002": 21214,
    "+15005550003": 21215,
    "+15005550004": 21216,
}
OWNED = "+15005550006"


def normal(address: str) -> str:
    """Return an address in the form that replies show: spaces and signs dropped from a number, a US one completed."""
    text = address.strip()
    if is_sip(text) or is_client(text):
        return text
    digits = re.sub(r"[\s().\-]", "", text)
    if re.fullmatch(r"[2-9][0-9]{9}", digits):  # US local forms are taken too (OAS)
        return "+1" + digits
    if re.fullmatch(r"1[2-9][0-9]{9}", digits):  # also what is left of "+1…" when a client forgot to escape the "+"
        return "+" + digits
    return digits if is_number(digits) else text


def is_number(address: str) -> bool:
    """Return whether it is a phone number in E.164."""
    return E164.fullmatch(address) is not None


def is_sip(address: str) -> bool:
    """Return whether it is a SIP address."""
    return SIP.fullmatch(address) is not None


def is_client(address: str) -> bool:
    """Return whether it is a client's name."""
    return CLIENT.fullmatch(address) is not None


def is_caller(address: str) -> bool:
    """Return whether it may call a SIP address or a client: letters, digits and `+ - _ .` are enough there (DIAL)."""
    return CALLER.fullmatch(address) is not None or is_sip(address) or is_client(address)


def from_error(number: str) -> int | None:
    """Return the code that a magic From gets; of +1500555… only …0006 may call."""
    if number in MAGIC_FROM:
        return MAGIC_FROM[number]
    return 21210 if number.startswith("+1500555") and number != OWNED else None


def to_error(number: str) -> int | None:
    """Return the code that a magic To gets."""
    return MAGIC_TO.get(number)


def dialled(kind: str, address: str) -> str:
    """Return whom a noun of Dial rings; empty when that can't be dialled."""
    match kind:
        case "Number":
            number = normal(address)
            return number if is_number(number) and to_error(number) is None else ""
        case "Sip":
            return address if is_sip(address) else ""
        case _:
            name = address if address.lower().startswith("client:") else f"client:{address}"
            return name if is_client(name) else ""
