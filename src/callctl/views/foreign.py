"""Foreign text is data: numbers, caller names and error messages never steer the terminal."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# Control, format (bidirectional overrides, zero-width), surrogate, private-use and line or paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_encode = json.JSONEncoder(ensure_ascii=False).encode


def printable(text: str) -> str:
    """Return a text with every character that could move the cursor, paint or reorder shown as ``�``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("�" if unicodedata.category(char) in _UNSAFE else char for char in text)


def json_text(value: Any) -> str:
    """Return a value as JSON on one line, with the same characters escaped: it may be read on a terminal, too."""
    text = _encode(value)
    if text.isascii() and "\x7f" not in text:  # of the others, JSON escapes the ASCII ones itself
        return text
    return "".join(_escaped(char) if unicodedata.category(char) in _UNSAFE else char for char in text)


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


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
