"""Durations as people write them, on a command line and in a rules file."""

from __future__ import annotations

import re

from callctl.errors import UsageError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w)"
_DURATION = re.compile(rf"(?:{_PART})+")
_BARE = re.compile(r"\d+(?:\.\d+)?")
_LONGEST = 100 * 365 * 86400.0  # seconds; what is longer leaves the calendar


def read_duration(text: str, *, option: str) -> float:
    """Return a duration in seconds: ``500ms``, ``45s``, ``1h30m``, ``2d``. The unit is never left out.

    Raises:
        UsageError: It is none, has no unit, or is longer than a century.
    """
    word = text.strip().lower()
    if _BARE.fullmatch(word):
        raise UsageError(
            f"{option} needs a unit: {text}", hint=f"write {word}s for seconds, {word}m for minutes, {word}h for hours"
        )
    if not _DURATION.fullmatch(word):
        raise UsageError(f"{option} is no duration: {text}", hint="such as 500ms, 45s, 10m, 1h30m or 2d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, word))
    if seconds > _LONGEST:
        raise UsageError(f"{option} is too long: {text}", hint="a century at most")
    return seconds
