"""Forms whose parameters are kept as fields: what a phone number and an application are set to."""

import re
from collections.abc import Callable, Mapping

from callctl.simulator.errors import ApiError
from callctl.simulator.models import API_VERSION
from callctl.simulator.rest.requests import Form, is_url, text_of

MAX_NAME = 64  # characters (OAS)
# What a parameter's name and its text stand for, as the resource shows it; it raises ApiError.
Read = Callable[[str, str], object]


def _name(name: str, text: str) -> str:
    if len(text) > MAX_NAME:
        raise ApiError(20001, f"{name} has more than {MAX_NAME} characters")
    return text


def _url(name: str, text: str) -> str:
    if text and not is_url(text):
        raise ApiError(21402, f"{name} {text[:200]}")
    return text


def _method(name: str, text: str) -> str:
    method = text.upper() or "POST"
    if method not in ("GET", "POST"):
        raise ApiError(21403, f"{name} {text[:20]}")
    return method


def _flag(_name: str, text: str) -> bool:
    return text.lower() == "true"


def sid(prefix: str) -> Read:
    """Return what reads a SID; an empty one takes away what was set."""

    def read(name: str, text: str) -> str | None:
        if text and not re.fullmatch(rf"{prefix}[0-9a-fA-F]{{32}}", text):
            raise ApiError(20001, f"{name} is no SID that begins with {prefix}")
        return text or None

    return read


def one_of(*known: str) -> Read:
    """Return what reads one of some words; the first where it is empty."""

    def read(name: str, text: str) -> str:
        if text and text not in known:
            raise ApiError(20001, f"{name} must be one of {', '.join(known)}")
        return text or known[0]

    return read


# The parameters that a phone number and an application have in common (OAS).
WEBHOOKS: Mapping[str, Read] = {
    "FriendlyName": _name,
    "ApiVersion": one_of(API_VERSION, "2008-08-01"),
    "VoiceUrl": _url,
    "VoiceMethod": _method,
    "VoiceFallbackUrl": _url,
    "VoiceFallbackMethod": _method,
    "StatusCallback": _url,
    "StatusCallbackMethod": _method,
    "VoiceCallerIdLookup": _flag,
    "SmsUrl": _url,
    "SmsMethod": _method,
    "SmsFallbackUrl": _url,
    "SmsFallbackMethod": _method,
}
OF_APPLICATIONS: Mapping[str, Read] = {
    **WEBHOOKS,
    "SmsStatusCallback": _url,
    "MessageStatusCallback": _url,
    "PublicApplicationConnectEnabled": _flag,
}
OF_NUMBERS: Mapping[str, Read] = {
    **WEBHOOKS,
    "VoiceApplicationSid": sid("AP"),
    "SmsApplicationSid": sid("AP"),
    "TrunkSid": sid("TK"),
    "IdentitySid": sid("RI"),
    "AddressSid": sid("AD"),
    "BundleSid": sid("BU"),
    "EmergencyAddressSid": sid("AD"),
    "EmergencyStatus": one_of("Active", "Inactive"),
    "VoiceReceiveMode": one_of("voice", "fax"),
}


def unset(parameters: Mapping[str, Read]) -> dict[str, object]:
    """Return the fields of which nothing was said."""
    return {key_of(name): read(name, "") for name, read in parameters.items()}


def changes(form: Form, parameters: Mapping[str, Read], *, before: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that a form sets, over those before; raise ApiError.

    A fallback without what it stands in for is refused (ERR 21405, 21406).
    """
    changed = {key_of(name): read(name, text_of(form, name)) for name, read in parameters.items() if name in form}
    for kind, code in (("voice", 21405), ("sms", 21406)):
        if changed.get(f"{kind}_fallback_url") and not (before | changed)[f"{kind}_url"]:  # type: ignore[operator]
            raise ApiError(code)
    return changed


def key_of(name: str) -> str:
    """Return the key under which a resource shows a parameter: `voice_url` of `VoiceUrl`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
