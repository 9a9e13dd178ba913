"""Cookies that an application sets, kept for each pair of From and To. Whether Twilio does so for calls is unproven.

Source: docs/twilio.md, "Cookies".
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookies import CookieError, Morsel, SimpleCookie
from urllib.parse import urlsplit

MOST_SECONDS = 4 * 3600.0
MAX_JARS = 10_000
MAX_COOKIES = 50  # in a jar
MAX_LENGTH = 4096  # of a cookie's name and value


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie as it is sent back, and until when, in simulated seconds."""

    text: str
    until: float


# Of a jar: by host, path and name. A cookie goes back to the host that set it, whatever domain it named.
Jar = dict[tuple[str, str, str], Cookie]


class CookieJars:
    """A jar for each pair; those that got a cookie the longest ago are dropped first. It is given simulated seconds."""

    def __init__(self, *, now: Callable[[], float], wall: Callable[[], datetime]) -> None:
        self._now = now
        self._wall = wall
        self._jars: dict[str, Jar] = {}

    def header(self, pair: str, url: str) -> str:
        """Return the Cookie header of a request; empty where there is none to send."""
        jar, parts = self._fresh(pair), urlsplit(url)
        matching = [
            (path, cookie)
            for (host, path, _), cookie in jar.items()
            if host == parts.hostname and _is_below(parts.path or "/", path)
        ]
        matching.sort(key=lambda each: -len(each[0]))  # the longest path first, as browsers do
        return "; ".join(cookie.text for _, cookie in matching)

    def keep(self, pair: str, url: str, headers: Iterable[str]) -> None:
        """Keep what the reply to a request sets, each by a header of its own."""
        for header in headers:
            cookies = SimpleCookie()
            try:
                cookies.load(header)
            except CookieError:
                continue  # such a name no cookie can have
            for name, morsel in cookies.items():
                self._keep(pair, url, name, morsel)

    def _keep(self, pair: str, url: str, name: str, morsel: "Morsel[str]") -> None:
        parts = urlsplit(url)
        path = morsel["path"] if morsel["path"].startswith("/") else (parts.path or "/").rpartition("/")[0] or "/"
        jar, key = self._fresh(pair), (parts.hostname or "", path, name)
        jar.pop(key, None)
        seconds, text = self._lifetime(morsel), f"{name}={morsel.coded_value}"
        if seconds > 0 and len(text) <= MAX_LENGTH and text.isascii() and text.isprintable():
            jar[key] = Cookie(text, self._now() + min(seconds, MOST_SECONDS))
        while len(jar) > MAX_COOKIES:
            jar.pop(next(iter(jar)))
        self._jars.pop(pair, None)
        if jar:
            self._jars[pair] = jar
        while len(self._jars) > MAX_JARS:
            self._jars.pop(next(iter(self._jars)))

    def _fresh(self, pair: str) -> Jar:
        """Return the jar of a pair without what is too old."""
        now = self._now()
        return {key: cookie for key, cookie in self._jars.get(pair, {}).items() if cookie.until > now}

    def _lifetime(self, morsel: "Morsel[str]") -> float:
        """Return for how many seconds a cookie says that it holds; Max-Age rules, then Expires."""
        age = morsel["max-age"]
        try:
            if age:
                return float(int(age))
            expires = parsedate_to_datetime(morsel["expires"]) if morsel["expires"] else None
        except (ValueError, OverflowError):
            return MOST_SECONDS
        if expires is None:
            return MOST_SECONDS
        return (expires.replace(tzinfo=expires.tzinfo or UTC) - self._wall()).total_seconds()


def _is_below(path: str, cookies_path: str) -> bool:
    """Return whether a request's path is a cookie's, or below it."""
    return path == cookies_path or path.startswith(cookies_path if cookies_path.endswith("/") else f"{cookies_path}/")
