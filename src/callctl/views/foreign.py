"""Foreign text is data: numbers, caller names and error messages never steer the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# Control, format (bidirectional overrides, zero-width), surrogate, private-use and line or paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str) -> str:
    """Return a text with every character that could move the cursor, paint or reorder shown as ``�``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("�" if unicodedata.category(char) in _UNSAFE else char for char in text)


def plain_console(stream: TextIO, *, environ: Mapping[str, str], width: int | None = None) -> Console:
    """Return a rich console that takes no text as markup, emoji or something to highlight."""
    from rich.console import Console

    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
        width=width,
        # Rich reads only what it is given: NO_COLOR, TERM, COLUMNS.
        _environ=environ,
    )
