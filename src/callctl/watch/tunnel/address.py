"""The addresses that a tunnel command prints, and which of them may be its public end.

Most print addresses of documentation, of a dashboard or of the local target as well, often first. What is surely no
public end of a tunnel is left out here; which of the others is one, a request through it shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType
from urllib.parse import urlsplit

from callctl.support.urls import is_http_url, is_unencrypted

_URL = re.compile(r"https?://[A-Za-z0-9._\-\[\]:]+(?:/[^\s\"'|<>\x00-\x1f]*)?")
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
        self._found: dict[str, str] = {}  # addresses, each with its host

    @property
    def candidates(self) -> list[str]:
        """The addresses so far, the likeliest first: https before http on loopback, bare ones before those with a path.

        A tunnel's own address is a host alone as a rule, where dashboards and manuals have a path.
        """
        return sorted(self._found, key=lambda url: (not url.startswith("https:"), urlsplit(url).path != ""))

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts of the addresses so far, with their ports."""
        return frozenset(self._found.values())

    def read(self, line: str) -> None:
        """Read one line."""
        text = _ESCAPE.sub("", line)
        if self._known is not None:
            for match in self._known.finditer(text):
                if is_http_url(url := _tidy(match[match.lastindex or 0])):
                    self._add(url)
            return
        for url in map(_tidy, _URL.findall(text)):
            if is_http_url(url) and not self._is_other(url):
                self._add(url)

    def _add(self, url: str) -> None:
        host = urlsplit(url).netloc
        if url not in self._found and list(self._found.values()).count(host) >= _MOST_OF_HOST:
            return
        self._found[url] = host
        if len(self._found) > _MOST:
            del self._found[next(iter(self._found))]

    def _is_other(self, url: str) -> bool:
        parts = urlsplit(url)
        if (parts.hostname or "") in _OTHER_HOSTS or parts.query:
            return True  # a query belongs to a link for signing in or up
        # Our own port is where the tunnel leads to.
        return is_unencrypted(url) or (parts.scheme == "http" and parts.port == self._port)


def _tidy(url: str) -> str:
    return url.rstrip(".,;:)/")
