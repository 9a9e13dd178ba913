"""Durations as people write them, on a command line and in a rules file."""

from __future__ import annotations

import re

from callctl.errors import UsageError

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w)"
_DURATION = re.compile(rf"(?:{_PART})+")
_BARE = re.compile(r"\d+(?:\.\d+)?")
_LONGEST = 100 * 365 * 86400.0  # seconds; what is longer leaves the calendar


def read_duration(text: str, *, option: str) -> float:
    """Return a duration in seconds: ``90``, ``500ms``, ``45s``, ``1h30m``, ``2d``. A bare number is seconds.

    Raises:
        UsageError: It is none.
    """
    word = text.strip().lower()
    if _BARE.fullmatch(word):
        seconds = float(word)
    elif _DURATION.fullmatch(word):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, word))
    else:
        raise UsageError(f"{option} is no duration: {text}", hint="such as 500ms, 45s, 10m, 1h30m, 2d or 45 (seconds)")
    if seconds > _LONGEST:
        raise UsageError(f"{option} is too long: {text}", hint="a century at most")
    return seconds
