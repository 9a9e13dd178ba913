"""What a check found: one line, how bad it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from callctl.errors import ApiError, CallctlError, without_secrets


class Level(StrEnum):
    """How a check came out."""

    FINE = "ok"
    WARNING = "warning"
    """Works, or is needed for some commands only."""
    WRONG = "error"
    SKIPPED = "skipped"
    """Not checked, because of something above."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome. ``error`` is what an exit code is made of, ``facts`` what programs read beside the text."""

    name: str
    level: Level
    text: str
    fix: str | None = None
    error: CallctlError | None = field(default=None, compare=False)
    facts: Mapping[str, object] = field(default_factory=dict)


def fine(name: str, text: str, **facts: object) -> Finding:
    """Return what is as it should be."""
    return Finding(name, Level.FINE, without_secrets(text), facts=facts)


def warning(name: str, text: str, *, fix: str | None, **facts: object) -> Finding:
    """Return what works, but not for everything."""
    return Finding(name, Level.WARNING, without_secrets(text), without_secrets(fix) if fix else None, facts=facts)


def wrong(name: str, error: CallctlError) -> Finding:
    """Return what keeps callctl from working; a refusal of the API comes with its code."""
    return Finding(name, Level.WRONG, error.message, error.hint, error, _refusal(error))


def skipped(name: str, text: str, *, error: CallctlError | None = None, **facts: object) -> Finding:
    """Return what could not be checked; ``error`` is why, if it is one. A refusal of the API comes with its code."""
    why = "" if error is None else f": {error.message}"
    return Finding(name, Level.SKIPPED, without_secrets(f"{text}{why}"), facts=_refusal(error) | facts)


def _refusal(error: CallctlError | None) -> dict[str, object]:
    if not isinstance(error, ApiError):
        return {}
    known = {"code": error.code, "more_info": error.more_info, "request_id": error.request_id}
    return {"status": error.status} | {key: value for key, value in known.items() if value}
