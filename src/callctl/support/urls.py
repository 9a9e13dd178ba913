"""Judges URLs without a request: is it loopback, could Twilio reach it."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import SplitResult, unquote_plus, urlsplit

from callctl.errors import without_secrets


def is_loopback_host(host: str) -> bool:
    """Return whether a host name or IP literal stands for this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def hostname_of(url: str) -> str | None:
    """Return the host of a URL in lower case, without its port; None if it has none or is no URL."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def is_loopback_url(url: str) -> bool:
    """Return whether a URL points to this machine."""
    return is_loopback_host(hostname_of(url) or "")


def is_unencrypted(url: str) -> bool:
    """Return whether others could read what is sent to a URL: it is http, and not to this machine."""
    return urlsplit(url).scheme == "http" and not is_loopback_url(url)


def is_http_url(url: str) -> bool:
    """Return whether a text is an absolute http or https URL with a host, all of it text that can be seen.

    Python holds a byte that is not UTF-8 as a surrogate, which can't be seen either.
    """
    if " " in url or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        # A quote or an angle bracket before the path would end the URL where it is in a text, and hide a password.
        # A backslash ends the host for what sends the request, but not for what judges it here.
        labels = re.split(r"[.\u3002\uff0e\uff61]", (parts.hostname or "").removesuffix("."))  # with IDNA's other dots
        has_host = all(labels)
        is_whole = has_host and not set(parts.netloc) & set('"<>\\') and _has_usable_host(parts.netloc)
        return parts.scheme in ("http", "https") and is_whole and parts.port != 0
    except ValueError:
        return False


def _has_usable_host(netloc: str) -> bool:
    """Return whether brackets are around an IP literal alone, and a name is one that can be looked up.

    ``urlsplit`` drops what is between a bracket and the port; what sends the request does not. It refuses a percent
    sign next to some letters that are not ASCII, too.
    """
    if "%" in netloc and not netloc.isascii():
        return False
    return re.fullmatch(r"([^\[\]]*@)?([^\[\]%]*|\[[^\[\]]+\](:[0-9]*)?)", netloc) is not None


def one_spelling(url: str) -> str:
    """Return an http or https URL without what makes no other address of it.

    That is upper case in scheme and host, a dot at the end of the host, and the usual port.
    """
    parts = urlsplit(url)
    host = re.sub(rf":(0*{443 if parts.scheme == 'https' else 80})?$", "", parts.netloc.lower())
    host = re.sub(r"(?<=.)\.(?=:\d*$|$)", "", host)
    return f"{parts.scheme}://{host}{url[url.index('//') + 2 + len(parts.netloc) :]}"


def is_same_address(url: str, other: str) -> bool:
    """Return whether requests to two URLs go to the same place, though they may be signed otherwise.

    User, fragment and a slash at the end are left out. What is no URL is at no address.
    """
    address = _address(url)
    return address is not None and address == _address(other)


@lru_cache
def _address(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(one_spelling(without_user_and_fragment(url)))
    except ValueError:
        return None
    return parts._replace(path=parts.path.rstrip("/"))


def scheme_hint(text: str, *, otherwise: str) -> str:
    """Return what to do about a text that is no http or https URL: to add the scheme, where that makes it one.

    No password is shown: not that of the URL, and nothing where an ``@`` is that would be no part of its host.
    """
    rest = re.sub(r"^(https?(:|(?=//)))?/*", "", text, flags=re.IGNORECASE)
    if "://" in text or not re.search(r"[./:]", rest):
        return otherwise
    scheme = "http" if is_loopback_url(f"http://{rest}") else "https"
    url = f"{scheme}://{rest}"
    if not is_http_url(url) or url.count("@") != urlsplit(url).netloc.count("@"):
        return otherwise
    return f"{scheme}:// is missing: {without_secrets(url)}"


def why_unreachable(url: str) -> str | None:
    """Say why Twilio could not reach a URL, or None if nothing speaks against it.

    Twilio refuses a host with an underscore (docs/twilio.md, "Creating a call") and, from outside, no
    loopback, private or link-local address can be reached.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    if is_loopback_host(host):
        return "it is a loopback address"
    if "_" in host:
        return "its host name contains an underscore, which Twilio refuses"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if re.fullmatch(r"(0x[0-9a-f]+|[0-9]+)(\.(0x[0-9a-f]+|[0-9]+))*", host):
            return "its host is an IP address in an unusual spelling"  # 127.1 and 0x7f.1 are loopback to many programs
        return None if "." in host else "its host name has no domain"
    return None if address.is_global else "it is a private address"


def joined_queries(own: str, query: str) -> str:
    """Return two queries as one. Of a name that both have, what the second one says counts alone."""
    names = {_name(pair) for pair in query.split("&")}
    kept = (pair for pair in own.split("&") if pair and _name(pair) not in names)
    return "&".join((*kept, query) if query else kept)


def _name(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])


def with_fragment(url: str, fragment: str) -> str:
    """Return a URL with a fragment, or as it is where it has one of its own."""
    return url if "#" in url else f"{url}#{fragment}"


def without_user_and_fragment(url: str) -> str:
    """Return a URL as it goes over the wire: no user information, no fragment; neither is signed.

    Source: docs/twilio.md, "Signatures".
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
