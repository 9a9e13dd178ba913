"""What the query of a request at /simulator says."""

import re
from collections.abc import Collection

from aiohttp import web

from callctl.simulator.errors import ControlError

MOST_SECONDS = 999_999_999_999
NUMBER = re.compile(r"[0-9.eE+-]{1,40}")  # float() takes spaces, underscores and nan as well


def whole(request: web.Request, name: str) -> int | None:
    """Return a number of the query, None where it is not there; raise ControlError for what is none."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise ControlError(20001, f"{name} must be a whole number, 0 or more, and not {text[:40]!r}")
    return int(text)


def seconds(request: web.Request, name: str) -> float | None:
    """Return simulated seconds of the query, None where they are not there; raise ControlError for what is none."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        value = float(text) if NUMBER.fullmatch(text) else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value <= MOST_SECONDS:
        raise ControlError(20001, f"{name} must be seconds, such as 12.5, and not {text[:40]!r}")
    return value


def one_of(request: web.Request, name: str, known: Collection[str]) -> str | None:
    """Return a word of the query, None where it is not there; raise ControlError for one that is not known."""
    text = request.query.get(name)
    if text is not None and text not in known:
        raise ControlError(20001, f"{name} must be one of {', '.join(known)}, and not {text[:40]!r}")
    return text
