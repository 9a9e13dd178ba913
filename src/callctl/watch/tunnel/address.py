"""The addresses that a tunnel command prints, and which of them may be its public end.

Most print addresses of documentation, of a dashboard or of the local target as well, often first. What is surely no
public end of a tunnel is left out here; which of the others is one, a request through it shows.

Some print the requests that come through them as well, and anybody who knows the address can have a URL of his own
be in those. He could pass requests on, so that one through his address proves nothing: a URL in a request is left
out, and once an address has been proven, only such are taken as are of the same provider.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from types import MappingProxyType
from urllib.parse import urlsplit

from callctl.support.urls import is_http_url, is_unencrypted

_URL = re.compile(r"https?://[A-Za-z0-9._\-\[\]:]+(?:/[^\s\"'|<>\x00-\x1f]*)?")
# A line about a request: its method, its version, or the status that answered it.
_REQUEST = re.compile(
    r"\b(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE)\b|\bHTTP/\d|\b[1-5]\d\d (OK\b|[A-Z][a-z]+)"
)
# What comes before a URL that is part of a path or of a query.
_IN_PATH = re.compile(r"/$|(^|\s)\W?/\S*$|[?&%]\S*$")
# Under these, in a country's domain, names belong to different people.
_SHARED_LABELS = frozenset({"ac", "co", "com", "edu", "gov", "net", "or", "org"})
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Hosts that tunnel commands name before, or instead of, the tunnel's own: manuals, terms, sign-in, their dashboards.
_OTHER_HOSTS = frozenset(
    {
        "developers.cloudflare.com", "www.cloudflare.com", "cloudflare.com", "api.trycloudflare.com",
        "ngrok.com", "dashboard.ngrok.com", "github.com", "localhost.run", "admin.localhost.run", "twitter.com",
        "login.tailscale.com", "tailscale.com", "localtunnel.me", "localtunnel.github.io",
    }
)  # fmt: skip
# How many addresses are kept at most, the newest of them: some tunnels print another one now and then.
_MOST = 50
# How many of one host are: some tunnels print the URL of each request, and those must not displace another host's.
_MOST_OF_HOST = 5
# Some programs' addresses are known by their form; then nothing else that they print counts.
_KNOWN: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "cloudflared": re.compile(r"https://[a-z0-9-]+\.trycloudflare\.com"),
        "ngrok": re.compile(r"(?:\burl=|Forwarding\s+)\"?(https://[^\s\"]+)"),
    }
)


class AddressFinder:
    """Collects from a tunnel command's output, line by line and from both streams, what may be the tunnel's address."""

    def __init__(self, program: str, *, port: int) -> None:
        """``program`` is the command's first word, ``port`` where the tunnel leads to on this machine."""
        self._known = _KNOWN.get(PurePath(program).name)
        self._port = port
        self._hosts: dict[str, str] = {}  # addresses, each with its host
        self._printed: dict[str, int] = {}  # and which of all that were printed it was, the last time
        self._count = 0
        self._proven: str | None = None
        self.other_provider: str | None = None  # an address that was printed since the proven one, and is not taken

    @property
    def candidates(self) -> list[str]:
        """The addresses so far, the likeliest first: https before http on loopback, bare ones before those with a path.

        A tunnel's own address is a host alone as a rule, where dashboards and manuals have a path.
        """
        return sorted(self._hosts, key=lambda url: (not url.startswith("https:"), urlsplit(url).path != ""))

    def prove(self, url: str) -> None:
        """Take from now on only what may follow this address, by which the listener has been reached."""
        self._proven = url
        for other in [other for other in self._hosts if not may_follow(url, other)]:
            del self._hosts[other], self._printed[other]

    def newest(self, *, since: int = 0) -> list[str]:
        """Return the addresses that were printed after the first ``since`` ones, or again; the newest first."""
        urls = [url for url in self._hosts if self._printed[url] > since]
        return sorted(urls, key=self._printed.__getitem__, reverse=True)

    @property
    def count(self) -> int:
        """How many addresses were printed, those counted that were printed before."""
        return self._count

    def read(self, line: str) -> None:
        """Read one line."""
        text = _ESCAPE.sub("", line)
        if _REQUEST.search(text):
            return
        for url in self._urls(text):
            if self._proven is None or may_follow(self._proven, url):
                self._add(url)
            else:
                self.other_provider = url

    def _urls(self, text: str) -> Iterator[str]:
        for match in (self._known or _URL).finditer(text):
            group = match.lastindex or 0
            url = _tidy(match[group])
            if _IN_PATH.search(text, 0, match.start(group)) or not is_http_url(url):
                continue
            if self._known is not None or not self._is_other(url):
                yield url

    def _add(self, url: str) -> None:
        host = urlsplit(url).netloc
        if url not in self._hosts and list(self._hosts.values()).count(host) >= _MOST_OF_HOST:
            return
        self._count += 1
        self._hosts[url], self._printed[url] = host, self._count
        if len(self._hosts) > _MOST:
            oldest = min(self._hosts, key=self._printed.__getitem__)
            del self._hosts[oldest], self._printed[oldest]

    def _is_other(self, url: str) -> bool:
        parts = urlsplit(url)
        if (parts.hostname or "") in _OTHER_HOSTS or parts.query:
            return True  # a query belongs to a link for signing in or up
        # Our own port is where the tunnel leads to.
        return is_unencrypted(url) or (parts.scheme == "http" and parts.port == self._port)


def may_follow(first: str, later: str) -> bool:
    """Return whether a tunnel that was at the first address may be at a later one: of the same provider.

    That is the same host at whatever port, or one that differs in its first label alone, below a domain of at least two
    labels.
    """
    former, new = urlsplit(first), urlsplit(later)
    if former.scheme == "https" != new.scheme:
        return False
    host, later_host = (former.hostname or "").rstrip("."), (new.hostname or "").rstrip(".")
    if host == later_host:
        return True
    domain = host.partition(".")[2]
    return later_host.partition(".")[2] == domain and not _is_shared(domain) and not _is_ip(host)


def _is_shared(domain: str) -> bool:
    """Return whether names below a domain belong to different people, as below ``com`` and ``co.uk``."""
    label, _, rest = domain.partition(".")
    return rest == "" or (label in _SHARED_LABELS and len(rest) == 2)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _tidy(url: str) -> str:
    return url.rstrip(".,;:)/")
