"""Finds the known word that is most like a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like a mistyped one, whatever its case and hyphens; None if none is."""
    from difflib import get_close_matches

    words = list(known)
    near = get_close_matches(word.lower().replace("_", "-"), words, n=1) or get_close_matches(word, words, n=1)
    return near[0] if near else None
