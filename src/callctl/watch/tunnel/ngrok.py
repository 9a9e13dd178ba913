"""An ngrok agent that runs already, found by its local API."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from callctl.errors import CallctlError
from callctl.support.parsing import parse_int, parse_text, read_json
from callctl.support.urls import is_http_url, is_loopback_host, is_unencrypted
from callctl.watch.tunnel.listening_users import listening_users

NGROK_AGENT: Final = "http://127.0.0.1:4040"
_LIMIT = 1.0  # seconds
_LONGEST = 1 << 20  # bytes of a reply; anything may listen at the agent's port


class OthersAgentError(CallctlError):
    """What answers at the agent's port may be another user's, who could have callbacks sent through a server of his."""

    def __init__(self, agent: str, urls: Sequence[str]) -> None:
        self.url = urls[0]
        super().__init__(
            f"an agent at {agent} says that {urls[0]} leads to this port; it is not known to be yours, and is not used",
            hint="if it is, name the address: --public-url, or CALLCTL_PUBLIC_URL",
        )


async def find_agent(port: int, *, agent: str = NGROK_AGENT) -> list[str]:
    """Return the public addresses of a running ngrok agent's tunnels to our port: https, or on loopback, https first.

    Plain http would carry phone numbers for all to read, and any program may answer at the agent's port.
    ``/api/tunnels`` of the agent's local API (ngrok.com/docs/agent/api) lists ``public_url`` and ``config.addr``.

    Raises:
        OthersAgentError: There are such, and what answers is neither this user's nor root's.
    """
    limit = aiohttp.ClientTimeout(total=_LIMIT)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, auto_decompress=False) as http,
            http.get(f"{agent}/api/tunnels", headers={"Accept-Encoding": "identity"}, allow_redirects=False) as reply,
        ):
            listed = read_json((await _read(reply)).decode("utf-8", "replace"))
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return []
    urls = sorted(_agent_urls(listed, port=port), key=lambda url: not url.startswith("https:"))
    if urls:
        users = await listening_users(urlsplit(agent).port or 80)
        if not users or users - {os.geteuid(), 0}:
            raise OthersAgentError(agent, urls)
    return urls


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > _LONGEST:
            raise ValueError("longer than any agent's reply")
    return bytes(body)


def _agent_urls(listed: Any, *, port: int) -> list[str]:
    tunnels = listed.get("tunnels") if isinstance(listed, dict) else None
    urls = []
    for tunnel in tunnels if isinstance(tunnels, list) else []:
        config = tunnel.get("config") if isinstance(tunnel, dict) else None
        address = config.get("addr") if isinstance(config, dict) else None
        url = parse_text(tunnel.get("public_url")) if isinstance(tunnel, dict) else ""
        if is_http_url(url) and not is_unencrypted(url) and _leads_to(parse_text(address), port):
            urls.append(url.rstrip("/"))
    return urls


def _leads_to(address: str, port: int) -> bool:
    """Return whether an agent's ``addr`` (``8765``, ``localhost:8765``, ``http://localhost:8765``) is our port."""
    if address.isdecimal():
        return parse_int(address) == port
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        return parts.scheme in ("", "http") and parts.port == port and is_loopback_host(parts.hostname or "")
    except ValueError:
        return False
