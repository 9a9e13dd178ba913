"""Who runs this process, and where: it distinguishes colleagues who share a store."""

from __future__ import annotations

from functools import cache


@cache
def user_at_host() -> str:
    """Return ``user@host``. A user without a name, as in a container, is a number.

    Who works as another user by sudo, as several do on the machine of a service, is who called sudo.
    """
    import getpass
    import os
    import socket

    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
