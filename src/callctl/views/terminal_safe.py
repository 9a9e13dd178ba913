"""Foreign text is data: numbers, caller names and error messages never steer the terminal.

Whatever is written to stdout and stderr passes one of two gates: text a ``Gate``, what rich paints its console's. Only
sequences that callctl makes itself go by way of ``own``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

from callctl.errors import without_sip_passwords
from callctl.support.dates import writable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

# Control, format (bidirectional overrides, zero-width), surrogate, private-use and line or paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_BREAKS = re.compile("([\n\t])")
_PAINT = re.compile("(\x1b\\[[0-9;]*m)")  # what chooses colours and the like (SGR)
_SIZES = ("COLUMNS", "LINES")
_SIZE = re.compile("[1-9][0-9]{0,3}")  # rich would take any number, and fill lines as long
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def printable(text: str) -> str:
    """Return a text with every character that could move the cursor, paint or reorder shown as ``�``.

    The ends of calls may be SIP addresses with passwords, which are left out.
    """
    text = without_sip_passwords(text)
    if text.isprintable():  # of what is not, some is harmless
        return text
    return "".join("�" if unicodedata.category(char) in _UNSAFE else char for char in text)


def json_text(value: Any) -> str:
    """Return a value as JSON on one line, with the same characters escaped and without the same passwords.

    It may be read on a terminal, too. What JSON can't hold is null: a number that is not finite, and what is nested too
    deeply.
    """
    try:
        text = _encode(value)
    except (ValueError, RecursionError):
        text = _encode(writable(value))
    text = without_sip_passwords(text)
    if text.isascii() and "\x7f" not in text:  # of the others, JSON escapes the ASCII ones itself
        return text
    return "".join(_escaped(char) if unicodedata.category(char) in _UNSAFE else char for char in text)


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def printable_lines(text: str) -> str:
    """Return a text likewise, but leave its line breaks and tabs."""
    if text.isprintable():
        return text
    return "".join(part if part in ("\n", "\t") else printable(part) for part in _BREAKS.split(text))


class Gate:
    """A stream that passes text on so that it can't steer a terminal: ``printable_lines``, and no paint.

    It stands for ``sys.stdout`` and ``sys.stderr``, so that warnings, logging and tracebacks pass it, too; a new
    Python paints them. ``own`` is the stream behind it.
    """

    def __init__(self, own: TextIO) -> None:
        self.own = own
        self.takes_paint = False  # set before help is written, in which nothing is foreign

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def write(self, text: str) -> int:
        """Write a text."""
        self.own.write(text if text.isprintable() else self._gated(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def _gated(self, text: str) -> str:
        if not self.takes_paint:
            return printable_lines(_PAINT.sub("", text))
        return "".join(part if _PAINT.fullmatch(part) else printable_lines(part) for part in _PAINT.split(text))


def own(stream: TextIO) -> TextIO:
    """Return a stream without its gate, for sequences that callctl makes itself."""
    return stream.own if isinstance(stream, Gate) else stream


def let_paint_through(stream: TextIO) -> None:
    """Let paint through a stream's gate from now on; the rest of its text stays what it is."""
    if isinstance(stream, Gate):
        stream.takes_paint = True


def plain_console(stream: TextIO, *, environ: Mapping[str, str], width: int | None = None) -> Console:
    """Return a rich console that takes no text as markup, emoji or something to highlight, nor as control sequences."""
    return _gated_console()(
        file=own(stream),
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
        width=width,
        # Rich reads only what it is given: NO_COLOR, TERM, COLUMNS.
        _environ={name: value for name, value in environ.items() if name not in _SIZES or _SIZE.fullmatch(value)},
    )


@cache
def _gated_console() -> type[Console]:
    from rich.console import Console
    from rich.segment import Segment

    class GatedConsole(Console):
        """Passes text on so that nobody but rich itself moves the cursor and paints."""

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                is_harmless = segment.control or segment.text.isprintable()
                yield segment if is_harmless else Segment(printable_lines(segment.text), segment.style)

    return GatedConsole
