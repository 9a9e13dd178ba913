"""Report the state of a service to systemd, where systemd runs it as ``Type=notify``."""

from __future__ import annotations

import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
_LIMIT = 0.5  # seconds that a service manager which does not read may hold up the listener


def notify(environ: Mapping[str, str], state: str) -> None:
    """Report a state to the service manager of this process (sd_notify(3)); do nothing where there is none."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # Linux's abstract names
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_LIMIT)
            channel.sendto(state.encode(), address)
    except OSError:  # it no longer listens, or does not read what was sent
        return
