"""The values of settings, each read and checked by itself: SettingsError says what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from callctl.calls.sid import KINDS, is_twilio_sid, kind_of_sid
from callctl.errors import SettingsError, without_user_info
from callctl.support.urls import is_http_url, is_loopback_host, one_spelling, scheme_hint

TWILIO_API_URL = "https://api.twilio.com"
DEFAULT_PORT = 8765
FLAG = "flag"  # the source of what an option says
ENVIRONMENT = "environment"  # and of a variable; else it is a file's path
URL_PREFIX = "CALLCTL_URL_"


# Twilio switched off api.REGION.twilio.com on 28 April 2026, except for us1: a region is reached through an edge. These
# two process calls outside the US, each with its own edge; the others were names of edges alone. See "Legacy Edge
# Location IDs" and "API domain migration guide" in Twilio's documentation.
OWN_EDGES = {"ie1": "dublin", "au1": "sydney"}
OLD_NAMES = {"br1": "sao-paulo", "de1": "frankfurt", "jp1": "tokyo", "sg1": "singapore", "us2": "umatilla"}
# "Edge Locations" in Twilio's documentation; those with -ix are private.
EDGES = (
    *("ashburn", "dublin", "frankfurt", "sao-paulo", "singapore", "sydney", "tokyo", "umatilla", "roaming"),
    *("ashburn-ix", "san-jose-ix", "london-ix", "frankfurt-ix", "singapore-ix", "sydney-ix", "tokyo-ix"),
)
# Characters of a region or an edge: more than any has, and fewer than a token or a key.
_LONGEST_LABEL = 24


class NamedUrl(NamedTuple):
    """A TwiML URL that a name stands for, with the method Twilio shall use to fetch it."""

    url: str
    method: str | None = None


def url_name(text: str) -> str:
    """Return the one spelling of a URL's name: lower case, hyphens (``CALLCTL_URL_AFTER_HOURS`` → ``after-hours``)."""
    return text.lower().replace("_", "-")


def path(text: str, *, what: str) -> Path:
    """Return a path, with ``~`` and ``~ann`` put in full; ``what`` names it in errors.

    Raises:
        SettingsError: There is no such home folder, or the text can't be a path.
    """
    try:
        expanded = Path(text).expanduser()
    except RuntimeError:
        raise SettingsError(
            f"{what} can't be found: nobody here has the home folder {Path(text).parts[0]}", hint="give the whole path"
        ) from None
    if "\0" in text:
        raise SettingsError(f"{what} is no path: it holds a NUL", hint="give the path of a file")
    return expanded


def real_path(location: Path, *, what: str) -> Path:
    """Return where a path leads once symbolic links are followed, whether or not there is a file.

    Raises:
        SettingsError: They lead in a circle, or the path is too long.
    """
    try:
        return location.resolve()
    except (OSError, RuntimeError):  # too long; links that lead in a circle
        raise SettingsError(f"{what} leads nowhere: {location}", hint="give the path of a file") from None


def account_sid(values: Mapping[str, str], sources: Mapping[str, str]) -> str | None:
    """Return the account's SID, if one is set.

    Raises:
        SettingsError: It could not be part of a URL's path.
    """
    text = values.get("TWILIO_ACCOUNT_SID")
    # It becomes part of the path of every request, so nothing that could change the path may be in it.
    if text is None or re.fullmatch(r"[A-Za-z0-9-]{2,64}", text):
        return text
    name = "--account-sid" if sources["TWILIO_ACCOUNT_SID"] == FLAG else "TWILIO_ACCOUNT_SID"
    raise SettingsError(f"{name} is malformed", hint="it begins with AC and has 34 characters")


def wrong_kind_of_sid(name: str, text: str) -> str | None:
    """Say that a setting is the SID of something else than it should be, to end a sentence with; None if it is not."""
    wanted = {"TWILIO_ACCOUNT_SID": "AC", "TWILIO_API_KEY": "SK"}.get(name)
    if not is_twilio_sid(text) or text[:2] == wanted:
        return None
    kind = kind_of_sid(text) or "something else"
    if wanted is None:
        return f"is the SID of {kind} ({text[:2]}…), no token"
    return f"is the SID of {kind} ({text[:2]}…), not of {KINDS[wanted]} ({wanted}…)"


def may_be_token(text: str) -> bool:
    """Return whether a text can be a token or a secret: HTTP Basic carries no others, and no account has them.

    Others come in unnoticed: a line break, quotes of a typesetter, bytes that are no UTF-8.
    """
    return text.isascii() and text.isprintable()


def signing_tokens(text: str) -> tuple[str, ...]:
    """Return the tokens that are in a text, each once."""
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def checked_signing_tokens(text: str | None) -> str | None:
    """Return the text of one or two signing tokens.

    Raises:
        SettingsError: There are more.
    """
    if text and len(signing_tokens(text)) not in (1, 2):
        raise SettingsError(
            "CALLCTL_SIGNING_TOKEN takes one token, or two while it is rotated",
            hint="write the new one and the old one with a comma between them",
        )
    return text


def host_label(values: Mapping[str, str], key: str) -> str | None:
    """Return a region or an edge.

    Raises:
        SettingsError: It could not be a part of the host that receives the token.
    """
    text = values.get(key)
    # It becomes part of the host that receives the token.
    if text is None or (len(text) <= _LONGEST_LABEL and re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", text)):
        return text
    raise SettingsError(f"{key} is malformed", hint="for example ie1 or dublin")  # not shown: it may be a token


def api_url(text: str | None, *, region: str | None, edge: str | None) -> str:
    """Return the API's address: the one set, else Twilio's own for this region and edge.

    Raises:
        SettingsError: It is no address, plain http to another machine, or comes with a region or an edge.
    """
    if text is None:
        return _twilio_url(region=region, edge=edge)
    if region or edge:
        raise SettingsError(
            "CALLCTL_API_URL can't be combined with TWILIO_REGION or TWILIO_EDGE",
            hint="the region and the edge choose among Twilio's own hosts; unset them, or unset CALLCTL_API_URL",
        )
    if is_http_url(text):
        text = one_spelling(text)
    parts = urlsplit(text) if is_http_url(text) else None
    if parts is None or "?" in text or "#" in text or parts.username is not None:
        raise SettingsError(
            "CALLCTL_API_URL is not a plain http or https address",  # not shown: it may hold a password
            hint=scheme_hint(text, otherwise="for example https://example.signalwire.com/api/laml"),
        )
    if parts.scheme == "http" and not is_loopback_host(parts.hostname or ""):
        raise SettingsError(
            f"CALLCTL_API_URL is plain http: {text}",
            hint="the token would travel unencrypted; use https (http is for loopback only)",
        )
    _check_host(parts.hostname or "")
    return re.sub(r"/2010-04-01(/.*)?$", "", text).rstrip("/")  # which the library appends


def _check_host(host: str) -> None:
    region = host.removeprefix("api.").removesuffix(".twilio.com")
    if region in OWN_EDGES | OLD_NAMES and host == f"api.{region}.twilio.com":
        raise SettingsError(
            f"CALLCTL_API_URL names {host}, which Twilio has switched off",
            hint=f"unset it, and set TWILIO_REGION={region} if the account's keys are of that region",
        )
    if region in EDGES and host == f"api.{region}.twilio.com":
        own = {edge: name for name, edge in OWN_EDGES.items()}.get(region)
        other = f", and TWILIO_REGION={own} if the account's keys are of that region" if own else ""
        raise SettingsError(
            f"CALLCTL_API_URL names {host}, an edge without a region",
            hint=f"unset it, and set TWILIO_EDGE={region}{other}",
        )


def _twilio_url(*, region: str | None, edge: str | None) -> str:
    meant = ({"us1": "ashburn"} | OWN_EDGES | OLD_NAMES).get(edge or "")
    if meant is not None:
        right = f"set TWILIO_EDGE={meant}, or unset it"
        if region == meant:
            right = f"they are exchanged: set TWILIO_REGION={edge} and TWILIO_EDGE={meant}"
        raise SettingsError(f"TWILIO_EDGE is {edge}, which is a region, not an edge", hint=right)
    if region in EDGES:
        raise SettingsError(
            f"TWILIO_REGION is {region}, which is an edge, not a region", hint=_right_region(region, edge)
        )
    if edge and not region:
        region = "us1"  # what the library does (docs/twilio.md, "Regions and edges")
    if region and not edge and region != "us1":
        edge = OWN_EDGES.get(region)
        if edge is None:
            known = OLD_NAMES.get(region)
            raise SettingsError(
                f"TWILIO_REGION is {region}, and TWILIO_EDGE is not set: Twilio takes no region without an edge",
                hint=f"set TWILIO_EDGE={known or '…'} beside it, or, for keys of the US, unset TWILIO_REGION",
            )
    return "https://" + ".".join(part for part in ("api", edge, region, "twilio.com") if part)


def without_edge(url: str) -> str:
    """Return the address of Twilio's at which a region is reached where no edge is set; any other as it is.

    Source: docs/twilio.md, "Regions and edges".
    """
    match = re.fullmatch(r"https://api(?:\.([a-z0-9-]+))?\.([a-z0-9]+)\.twilio\.com", url)
    if match is None:
        return url
    region = match[2]
    if region == "us1":
        return _twilio_url(region=None, edge=None)
    return _twilio_url(region=region, edge=OWN_EDGES[region]) if region in OWN_EDGES else url


def _right_region(given: str, edge: str | None) -> str:
    """Say what to set for a region that is given by the name of an edge."""
    region = {own: name for name, own in ({"us1": "ashburn"} | OWN_EDGES).items()}.get(given)
    if region is None:
        return f"unset it, and set TWILIO_EDGE={given}: the region is us1 then"
    return f"set TWILIO_REGION={region}" + ("" if edge else f" and TWILIO_EDGE={given}")


def public_url(text: str | None) -> str | None:
    """Return the public address, if one is set.

    Raises:
        SettingsError: It is no http or https URL.
    """
    if text is None or is_http_url(text):
        return text
    raise SettingsError(
        f"CALLCTL_PUBLIC_URL is not an http or https address: {without_user_info(text)}",
        hint=scheme_hint(text, otherwise="such as https://example.ngrok.app"),
    )


def port(text: str | None) -> int:
    """Return the port.

    Raises:
        SettingsError: It is no number from 0 to 65535.
    """
    if text is None:
        return DEFAULT_PORT
    if text.isdecimal() and len(text) < 10 and int(text) <= 65535:
        return int(text)
    raise SettingsError(f"CALLCTL_PORT is not a port number: {text}", hint=f"0 to 65535; {DEFAULT_PORT} unless set")


def named_urls(values: Mapping[str, str]) -> dict[str, NamedUrl]:
    """Return the TwiML URLs by their names."""
    named = {}
    for key, value in values.items():
        if key.startswith(URL_PREFIX) and len(key) > len(URL_PREFIX):
            method, _, rest = value.partition(" ")
            has_method = method in ("GET", "POST") and rest
            url = rest.strip() if has_method else value
            if not is_http_url(url):
                raise SettingsError(
                    f"{key} is not an http or https address: {without_user_info(value)}",
                    hint=scheme_hint(
                        url, otherwise="write https://…, or GET https://… for a document on static hosting"
                    ),
                )
            named[url_name(key.removeprefix(URL_PREFIX))] = NamedUrl(url, method if has_method else None)
    return named
