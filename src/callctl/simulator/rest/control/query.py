"""What the query of a request at /simulator says."""

from collections.abc import Collection

from aiohttp import web

from callctl.simulator.errors import ControlError


def whole(request: web.Request, name: str) -> int | None:
    """Return a number of the query, None where it is not there; raise ControlError for what is none."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise ControlError(20001, f"{name} must be a whole number, 0 or more, and not {text[:40]!r}")
    return int(text)


def one_of(request: web.Request, name: str, known: Collection[str]) -> str | None:
    """Return a word of the query, None where it is not there; raise ControlError for one that is not known."""
    text = request.query.get(name)
    if text is not None and text not in known:
        raise ControlError(20001, f"{name} must be one of {', '.join(known)}, and not {text[:40]!r}")
    return text
