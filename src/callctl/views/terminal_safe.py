"""Makes text safe for a terminal: numbers, caller names and error messages can't move the cursor or paint.

All text that goes to stdout and stderr passes a ``SafeStream``, or the console of ``plain_console`` where rich draws.
Only control sequences that callctl makes itself, and long lists that ``json_text`` has made, go to the ``unfiltered``
stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

from callctl.errors import without_sip_passwords

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

# Control, format (bidirectional overrides, zero-width), surrogate, private-use and line or paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Patterns are compiled when they are needed: most texts are lines of printable characters.
_LINE_BREAKS = "([\n\t])"
_COLOURS = "(\x1b\\[[0-9;]*m)"  # SGR sequences: colours, bold and the like
_SIZES = ("COLUMNS", "LINES")
_SIZE = "[1-9][0-9]{0,3}"  # rich would take any number, and fill lines as long
_UNESCAPED = "[^\x20-\x7e]"  # what JSON does not escape itself, where it is not made to be ASCII


def printable(text: str) -> str:
    """Return a text with every character that could move the cursor, paint or reorder replaced by ``�``.

    Passwords of SIP addresses are replaced too.
    """
    text = without_sip_passwords(text)
    if text.isprintable():  # of what is not, some is harmless
        return text
    return "".join("�" if _is_unsafe(char) else char for char in text)


def json_text(value: Any) -> str:
    """Return a value as JSON on one line, safe for a terminal: the same characters escaped, passwords replaced.

    A number that is not finite and what is nested too deeply become null.
    """
    try:
        text = _encoder()(value)
    except (ValueError, RecursionError):
        from callctl.support.dates import writable

        text = _encoder()(writable(value))
    text = without_sip_passwords(text)
    if (text.isascii() and "\x7f" not in text) or text.isprintable():  # the first is much quicker
        return text
    return re.sub(_UNESCAPED, _escaped, text)


def _is_unsafe(char: str) -> bool:
    import unicodedata

    return unicodedata.category(char) in _UNSAFE


@cache
def _encoder() -> Callable[[Any], str]:
    import json

    # What goes in circles would be nested too deeply, which is noticed without keeping a record of each object.
    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode


def _escaped(match: re.Match[str]) -> str:
    import json

    char = match[0]
    if not _is_unsafe(char):
        return char
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def printable_lines(text: str) -> str:
    """Return a text as :func:`printable` does, with its line breaks and tabs kept."""
    if text.replace("\n", "").replace("\t", "").isprintable():  # a long list is written in long pieces
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
        self.unfiltered.write(text if text.isprintable() else self._made_safe(text))
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
                is_harmless = segment.control or segment.text.isprintable()
                yield segment if is_harmless else Segment(printable_lines(segment.text), segment.style)

    return SafeConsole
