"""Why a connection failed, in words."""

from __future__ import annotations

import os


def reason_of(error: OSError) -> str:
    """Return why a connection failed, without the address, which asyncio puts in; name resolution has its own words."""
    tls = tls_reason(error)
    if tls is not None:
        return tls
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


def tls_reason(error: Exception) -> str | None:
    """Return why TLS failed, such as "self-signed certificate"; None if the error is not about TLS.

    The numbers of such an error are not the system's.
    """
    # By its attributes: the module that has the class is not loaded for every command.
    text = getattr(error, "verify_message", None) or (
        getattr(error, "library", None) and getattr(error, "reason", None)
    )
    return str(text).replace("_", " ").lower() if text else None
