"""How the values of options are read, and what can be wrong with one before anything is sent."""

from __future__ import annotations

import re
import shlex
from ipaddress import ip_address

from callctl.calls.call import is_endpoint, is_party, number_meant
from callctl.calls.sid import LEAST_START, LENGTH, is_call_sid, kind_of_sid
from callctl.cli.options.common import EMPTY
from callctl.errors import SettingsError, UsageError, without_user_info
from callctl.settings import Settings
from callctl.settings.values import wrong_kind_of_sid
from callctl.support.dates import read_duration
from callctl.support.urls import why_unreachable

# Seconds; that of <Dial> is not documented, and taken to be that of a call (OAS, Timeout).
LONGEST_RINGING = 600
_HEX = frozenset("0123456789abcdefABCDEF")


def check_host(text: str, *, option: str = "--host") -> None:
    """Make sure that a text can be the address to listen at; an empty one would stand for all of this machine's.

    Raises:
        UsageError: It can't.
    """
    if not _may_be_host(text):
        raise UsageError(
            f"{option} is no address: {text.strip() or EMPTY}",
            hint="127.0.0.1, ::1, or 0.0.0.0 for all of this machine's; --port has the port",
        )


def _may_be_host(text: str) -> bool:
    try:
        if ":" in text:  # else it is HOST:PORT, or a whole URL
            ip_address(text)
        return bool(text.strip()) and text.isprintable() and bool(text.encode("idna")) and not set(text) & set("/[]@")
    except ValueError:
        return False


def read_ring_limit(text: str | None, *, option: str) -> int | None:
    """Return how long a phone may ring, in whole seconds, or None where it is left to Twilio.

    Raises:
        UsageError: It is no duration, or one that Twilio does not take.
    """
    return read_seconds(text, option=option, longest=LONGEST_RINGING)


def read_seconds(text: str | None, *, option: str, longest: int | None = None) -> int | None:
    """Return a duration as the API takes it, in whole seconds from 1 on; None for None.

    Raises:
        UsageError: It is no duration, not a whole number of seconds, or out of range.
    """
    if text is None:
        return None
    seconds = read_duration(text, option=option)
    if seconds < 1 or seconds != int(seconds) or (longest is not None and seconds > longest):
        most = f"1 to {longest}" if longest is not None else "1 or more"
        raise UsageError(f"{option} is out of range: {text}", hint=f"whole seconds, {most}")
    return int(seconds)


def check_method(method: str | None) -> str | None:
    """Return GET or POST in Twilio's spelling, or None when nothing was given.

    Raises:
        UsageError: It is another method.
    """
    if method is None or method.upper() in ("GET", "POST"):
        return method.upper() if method else None
    raise UsageError(
        f"--method is GET or POST, not {method}",
        hint="static hosting answers GET only; Twilio sends a POST unless set",
    )


def check_endpoint(text: str, *, what: str) -> str:
    """Return a destination if a call can go there.

    Raises:
        UsageError: It is no E.164 number, SIP address or client name.
    """
    if is_endpoint(text):
        return text
    raise _no_endpoint(text, what=what)


def check_party(text: str, *, what: str) -> str:
    """Return what one end of a call is to be, for a filter, if a call can have it.

    Raises:
        UsageError: No call has an end that is written so, such as a number without its ``+``.
    """
    if is_party(text):
        return text
    raise _no_endpoint(text, what=what)


def _no_endpoint(text: str, *, what: str) -> UsageError:
    meant = f"did you mean {number}? " if (number := number_meant(text)) else ""
    shown = without_user_info(text) if text.count(":") > 1 else text  # sip:user:password@host, with a blank in it
    return UsageError(
        f"{what}: not a number, SIP address or client: {shown or EMPTY}",
        hint=f"{meant}write a number in E.164 form (+12025550100), sip:user@example.com or client:name",
    )


def check_reachable(settings: Settings, url: str, *, what: str) -> None:
    """Refuse a URL that the API could not reach; an API on loopback reaches everything that this machine does.

    Raises:
        UsageError: The URL is loopback, private, or has a host Twilio refuses.
    """
    reason = None if settings.is_loopback else why_unreachable(url)
    if reason:
        raise UsageError(
            f"{what}: {settings.api_url} can't reach {url}: {reason}",
            hint="give a public address, such as a tunnel's",
        )


def check_account(settings: Settings) -> None:
    """Check that there is an account SID: the store is kept apart by it, and without the right one seems empty.

    Raises:
        SettingsError: It is missing, or the SID of something else.
    """
    if settings.account_sid is None:
        raise SettingsError(
            "missing credentials: TWILIO_ACCOUNT_SID",
            hint="set it in the environment or a .env file, or try `callctl demo`, which needs no account",
        )
    settings.check_kinds()


def signing_trouble(settings: Settings) -> SettingsError | None:
    """Return why no callback could be verified, with what to set; None if one can be (docs/twilio.md, "Signatures")."""
    name = "CALLCTL_SIGNING_TOKEN" if settings.signing_token else "TWILIO_AUTH_TOKEN"
    wrong = (wrong_kind_of_sid(name, key) for key in settings.signing_keys)
    if settings.is_twilio and (kind := next(filter(None, wrong), None)):
        return SettingsError(
            f"{settings.named(name)} {kind}, so that no callback can be verified with it",
            hint="Twilio signs callbacks with the account's auth token: 32 hexadecimal digits",
        )
    if settings.holds_no_tokens:
        return SettingsError(
            f"{settings.named(name)} holds characters that no token has, so that no callback can be verified with it",
            hint="look for a line break or typographic quotes that came along when it was copied",
        )
    if settings.signing_keys:
        return None
    if settings.auth_token:  # then it is the main account's
        return SettingsError(
            f"missing credentials: the auth token of the subaccount {settings.account_sid}, without which no callback "
            "can be verified",
            hint="Twilio signs a subaccount's callbacks with that account's own auth token: set CALLCTL_SIGNING_TOKEN "
            "to it; the main account's opens the API, but signs nothing here",
        )
    return SettingsError(
        "missing credentials: TWILIO_AUTH_TOKEN, without which no callback can be verified",
        hint="Twilio signs callbacks with the auth token, never with an API key: "
        "set TWILIO_AUTH_TOKEN, or CALLCTL_SIGNING_TOKEN beside an API key",
    )


def check_sid(text: str) -> str:
    """Return a call SID if it can be one.

    Raises:
        UsageError: No service has SIDs of this form.
    """
    if is_call_sid(text) and why_no_call_sid(text) is None:
        return text
    raise no_sid(text, wanted="give the whole SID: CA and 32 hexadecimal digits")


def no_sid(text: str, *, wanted: str) -> UsageError:
    """Return the error for a text that is no SID of a call, with the reason if that is known."""
    reason = why_no_call_sid(text)
    return UsageError(
        f"not a call SID: {text or EMPTY}{f' ({reason})' if reason else ''}", hint=call_sid_hint(text) or wanted
    )


def why_no_call_sid(text: str) -> str | None:
    """Say what of a text keeps it from being the SID of a call or a start of one, as far as that is known."""
    kind = kind_of_sid(text)
    if kind is not None and text[:2] != "CA":
        return f"it is the SID of {kind}"
    if text[:2] != "CA" and text[:2].upper() == "CA" and set(text[2:]) <= _HEX and len(text) == LENGTH:
        return "it begins with CA in capitals, and here it does not"
    if len(text) == LENGTH - 2 and set(text) <= _HEX:
        return f"it lacks the CA before its 32 digits: CA{text}"
    if number_meant(text) is not None:
        return "it is a phone number"
    if any(char.isspace() for char in text):
        return "it has a blank in it"
    if text.startswith("CA"):
        return _why_not_twilios(text)
    return None


def _why_not_twilios(text: str) -> str | None:
    stray = next(((position, char) for position, char in enumerate(text[2:], 3) if char not in _HEX), None)
    if stray is not None:
        return f"its character {stray[0]}, {stray[1]!r}, is no hexadecimal digit"
    if text[2:] != text[2:].lower():
        return f"its letters are small in Twilio's: {text[:2]}{text[2:].lower()}"
    if len(text) > LENGTH:
        return f"it has {len(text)} characters, a call SID has {LENGTH}"
    return f"it has {len(text)} characters, a start of one at least {LEAST_START}" if len(text) < LEAST_START else None


def call_sid_hint(text: str) -> str | None:
    """Return what would help who gave this; None if that is to be said in general."""
    if re.fullmatch(r"CA[xX]+|CA…", text):
        return "put a SID in its place: `callctl list` shows them, and @last is the call that was placed last"
    party = number_meant(text) or (text if is_endpoint(text) else None)
    if party is not None:
        return f"`callctl list --live --to {shlex.quote(party)}` shows the SIDs of the live calls to it"
    if re.fullmatch(r"[0-9.]+[a-z]+", text):
        return f"how long to wait is said by --wait-timeout {text}"
    return None
