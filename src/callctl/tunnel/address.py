"""What a tunnel command tells of its address: the one public end among the addresses that it prints.

Most tell addresses of documentation, of a dashboard or of the local target as well, often first. What is no public end
of a tunnel is passed over here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType
from urllib.parse import urlsplit

from callctl.addresses import is_http_url, is_loopback_url

_URL = re.compile(r"https?://[A-Za-z0-9._\-\[\]:]+(?:/[^\s\"'|<>\x00-\x1f]*)?")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Hosts that tunnel commands name before, or instead of, the tunnel's own: manuals, terms, sign-in, their dashboards.
_TALK = frozenset(
    {
        "developers.cloudflare.com", "www.cloudflare.com", "cloudflare.com", "api.trycloudflare.com",
        "ngrok.com", "dashboard.ngrok.com", "github.com", "localhost.run", "admin.localhost.run", "twitter.com",
        "login.tailscale.com", "tailscale.com", "localtunnel.me", "localtunnel.github.io",
    }
)  # fmt: skip
# Some programs' addresses are known by their form; then nothing else that they print counts.
_KNOWN: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "cloudflared": re.compile(r"https://[a-z0-9-]+\.trycloudflare\.com"),
        "ngrok": re.compile(r"(?:\burl=|Forwarding\s+)\"?(https://[^\s\"]+)"),
    }
)


class AddressFinder:
    """Reads a tunnel command's output line by line, from both streams, and finds the tunnel's address in it."""

    def __init__(self, program: str, *, port: int) -> None:
        """``program`` is the command's first word, ``port`` where the tunnel leads to on this machine."""
        self._known = _KNOWN.get(PurePath(program).name)
        self._port = port
        self.https: str | None = None
        self.http: str | None = None

    def read(self, line: str) -> None:
        """Look through one line; what was found first stays."""
        text = _ESCAPE.sub("", line)
        if self._known is not None:
            if self.https is None and (match := self._known.search(text)):
                self.https = _tidy(match[match.lastindex or 0])
            return
        for url in map(_tidy, _URL.findall(text)):
            if not is_http_url(url) or (urlsplit(url).hostname or "") in _TALK:
                continue
            if url.startswith("https:"):
                self.https = self.https or url
            elif is_loopback_url(url) and urlsplit(url).port != self._port:  # ours is where the tunnel leads to
                self.http = self.http or url


def _tidy(url: str) -> str:
    return url.rstrip(".,;:)/")
