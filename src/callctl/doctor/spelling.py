"""How a URL is spelled, beside that of a listener at the same address.

Twilio signs a URL as it was given it (docs/twilio.md, "Signatures"), and the signature check takes it by the letter.
So what is sent to a listener by another spelling of its URL arrives there, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from callctl.support.urls import is_same_address


class _Letters(NamedTuple):
    """What is signed of a URL, by the letter; the host with its port, unless that is the usual one."""

    scheme: str
    host: str
    path: str
    query: str


def is_same_url(url: str, own: str) -> bool:
    """Return whether Twilio sends and signs the same request to both: a fragment and the usual port don't matter."""
    return _letters(url) == _letters(own) and _user(url) == _user(own)


def is_at(url: str, own: str) -> bool:
    """Return whether requests to a URL are ones to a listener's own URL, as it takes them: with any query besides.

    Twilio signs the query that it sends. What the listener's URL has in its own may be for a proxy in front.
    """
    return _letters(url)[:3] == _letters(own)[:3] and _user(url) == _user(own) and _has_query_of(url, own)


def is_same_origin(url: str, own: str) -> bool:
    """Return whether scheme, host, port and user are the same, by the letter."""
    return _letters(url)[:2] == _letters(own)[:2] and _user(url) == _user(own)


def leads_to_same(url: str, own: str) -> bool:
    """Return whether requests to both go to the same place and sign in there alike, however the URLs are spelled."""
    return is_same_address(url, own) and _user(url) == _user(own)


def leads_to(url: str, own: str) -> bool:
    """Return whether requests to a URL arrive at a listener's own, with any query besides, however it is spelled."""
    return leads_to_same(without_query(url), without_query(own)) and _has_query_of(url, own)


def signs_in(url: str) -> bool:
    """Return whether Twilio signs in at a URL, with the user and password that it holds."""
    return any(_user(url))


def respelled(url: str, urls: Sequence[str]) -> str:
    """Return a URL in the spelling of that one of several to which it leads, or else in that of one at its host.

    It is returned as it is where it has that spelling already, or leads to no host of theirs.
    """
    if any(is_at(url, own) for own in urls):
        return url
    for own in urls:
        if leads_to(url, own):
            return without_query(own) + url[len(without_query(url)) :]
    if any(is_same_origin(url, own) for own in urls):
        return url
    root = _root(url)
    return next((_root(own) + url[len(root) :] for own in urls if leads_to_same(root, _root(own))), url)


def difference(url: str, own: str) -> str:
    """Return in words what of a URL is not as a listener spells it."""
    given, expected = _letters(url), _letters(own)
    host, own_host = _without_dot(given.host), _without_dot(expected.host)
    parts = []
    if (given.scheme, host) != (expected.scheme, own_host) and host.lower() == own_host.lower():
        parts.append("other capitals in scheme or host")
    if (given.host == host) != (expected.host == own_host):
        parts.append("a dot after the host" if given.host != host else "no dot after the host")
    if not given.path and expected.path:
        parts.append("no path")
    elif given.path != expected.path:
        parts.append("a slash at the end" if len(given.path) > len(expected.path) else "no slash at the end")
    return f"with {' and '.join(parts) or 'another spelling'}, unlike the listener's"


@lru_cache
def _letters(url: str) -> _Letters:
    scheme, _, rest = url.partition("#")[0].partition("://")
    place, _, query = rest.partition("?")
    netloc, slash, path = place.partition("/")
    usual = 443 if scheme.lower() == "https" else 80
    return _Letters(scheme, netloc.rpartition("@")[2].removesuffix(f":{usual}"), slash + path, query)


def _has_query_of(url: str, own: str) -> bool:
    return set(filter(None, _letters(own).query.split("&"))) <= set(_letters(url).query.split("&"))


def without_query(url: str) -> str:
    """Return what is before query and fragment."""
    return re.split(r"[?#]", url, maxsplit=1)[0]


def _without_dot(host: str) -> str:
    return re.sub(r"(?<=.)\.(?=:\d*$|$)", "", host)


def _root(url: str) -> str:
    """Return what is before the path."""
    found = re.match(r"[^:/?#]+://[^/?#]*", url)
    return found[0] if found else ""


@lru_cache
def _user(url: str) -> tuple[str, str]:
    """Return user and password with which Twilio signs in at a URL. They are compared, and never shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return unquote(parts.username or ""), unquote(parts.password or "")
