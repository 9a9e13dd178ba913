"""Makes text safe for a terminal: numbers, caller names and error messages can't move the cursor or paint.

All text that goes to stdout and stderr passes a ``SafeStream``, or the console of ``plain_console`` where rich draws.
Only control sequences that callctl makes itself, and long lists that ``json_text`` has made, go to the ``unfiltered``
stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TextIO

from callctl.errors import without_sip_passwords

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

# Control, format (bidirectional overrides, zero-width), surrogate, private-use and line or paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Letters and symbols that show as nothing, or as a blank: fillers of Hangul, inherent vowels of Khmer, the blank of
# Braille and of hieroglyphs, a note without a head. A name of them can't be seen, nor can what tells it from another.
_BLANK = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U00013441\U00013442\U0001d159"
# More marks on one letter than any script has: a high stack of them is drawn over the lines above and below.
_MOST_MARKS = 8
# What may be such a stack: there are no marks outside of these ranges. Two patterns are quicker than one for both.
_STACK = (
    "[\u0300-\u20ff\u2cef-\u30ff\ua66f-\uabff\ufb1e\ufe00-\ufe2f\U00010000-\U0001ffff\U000e0000-\U0010ffff]"
    f"{{{_MOST_MARKS + 1}}}"
)
# Patterns are compiled when they are needed: most texts are lines of printable characters.
_LINE_BREAKS = "([\n\t])"
_COLOURS = "(\x1b\\[[0-9;]*m)"  # SGR sequences: colours, bold and the like
_LONG = 500  # characters; longer texts are lists, and no words that come again
_SIZES = ("COLUMNS", "LINES")
_SIZE = "[1-9][0-9]{0,3}"  # rich would take any number, and fill lines as long
# Sequences for a terminal: cut a line that is too long at the edge; go on in the next line, as it usually does.
CUT_LINES, WRAP_LINES = "\x1b[?7l", "\x1b[?7h"


def printable(text: str) -> str:
    """Return a text with every character that could move the cursor, paint, reorder or hide replaced by ``�``.

    Passwords of SIP addresses are replaced too.
    """
    text = without_sip_passwords(text)
    return text if _is_harmless(text) else _replaced(text, lambda _char: "�")


def json_text(value: Any) -> str:
    """Return a value as JSON on one line, safe for a terminal: the same characters escaped, passwords replaced.

    A number that is not finite and what is nested too deeply become null.
    """
    try:
        text = _encoder()(value)
    except (ValueError, RecursionError):
        from callctl.support.parsing import writable

        text = _encoder()(writable(value))
    text = without_sip_passwords(text)
    if (text.isascii() and "\x7f" not in text) or _is_harmless(text):  # the first is much quicker
        return text
    return _replaced(text, _escaped)


def _is_harmless(text: str) -> bool:
    """Return whether a text can be shown as it is, as far as a quick look can tell."""
    if not text.isprintable():  # of what is not, some is harmless
        return False
    return text.isascii() or not (_hides(text) if len(text) < _LONG else _hides.__wrapped__(text))


@lru_cache(maxsize=4096)  # the live table shows the same words in each frame, and in several parts of it
def _hides(text: str) -> bool:
    return bool(re.search(f"[{_BLANK}]", text) or re.search(_STACK, text))


def _replaced(text: str, replacement: Callable[[str], str]) -> str:
    """Return a text of which every character that is not safe is replaced."""
    import unicodedata

    safe, marks = [], 0  # how many stand on one letter
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category.startswith("M") else 0
        is_safe = category not in _UNSAFE and char not in _BLANK and marks <= _MOST_MARKS
        safe.append(char if is_safe else replacement(char))
    return "".join(safe)


@cache
def _encoder() -> Callable[[Any], str]:
    import json

    # What goes in circles would be nested too deeply, which is noticed without keeping a record of each object.
    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode


def _escaped(char: str) -> str:
    import json

    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def printable_lines(text: str) -> str:
    """Return a text as :func:`printable` does, with its line breaks and tabs kept."""
    if _is_harmless(text.replace("\n", "").replace("\t", "")):  # a long list is written in long pieces
        return without_sip_passwords(text)
    return "".join(part if part in ("\n", "\t") else printable(part) for part in re.split(_LINE_BREAKS, text))


class SafeStream:
    """A stream that passes text through ``printable_lines`` and drops colours unless ``allows_colours`` is set.

    It replaces ``sys.stdout`` and ``sys.stderr``, so that warnings, logging and tracebacks are safe too; Python 3.13
    and later colour them. ``unfiltered`` is the stream that it writes to.
    """

    def __init__(self, unfiltered: TextIO) -> None:
        self.unfiltered = unfiltered
        self.allows_colours = False  # set for help, which is callctl's own text alone

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)

    def write(self, text: str) -> int:
        """Write a text."""
        self.unfiltered.write(text if _is_harmless(text) else self._made_safe(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def _made_safe(self, text: str) -> str:
        if not self.allows_colours:
            return printable_lines(re.sub(_COLOURS, "", text) if "\x1b" in text else text)
        parts = re.split(_COLOURS, text)
        return "".join(part if re.fullmatch(_COLOURS, part) else printable_lines(part) for part in parts)


def unfiltered(stream: TextIO) -> TextIO:
    """Return the stream that a safe stream writes to, for what callctl makes itself, and knows to be safe."""
    return stream.unfiltered if isinstance(stream, SafeStream) else stream


def allow_colours(stream: TextIO) -> None:
    """Let a safe stream pass colours from now on; all else is still made safe."""
    if isinstance(stream, SafeStream):
        stream.allows_colours = True


def plain_console(stream: TextIO, *, environ: Mapping[str, str], width: int | None = None) -> Console:
    """Return a rich console that takes no text as markup, emoji, a highlight or a control sequence."""
    return _safe_console()(
        file=unfiltered(stream),
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
        width=width,
        # Rich reads only what it is given: NO_COLOR, TERM, COLUMNS.
        _environ={name: value for name, value in environ.items() if name not in _SIZES or re.fullmatch(_SIZE, value)},
    )


@cache
def _safe_console() -> type[Console]:
    from rich.console import Console
    from rich.segment import Segment

    class SafeConsole(Console):
        """Makes all text safe; only rich itself moves the cursor and paints."""

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                is_harmless = segment.control or _is_harmless(segment.text)
                yield segment if is_harmless else Segment(printable_lines(segment.text), segment.style)

    return SafeConsole
