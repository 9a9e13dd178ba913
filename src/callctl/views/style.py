"""The glyph and colour of each status. The word stands beside them: colour is never the only sign.

Words are drawn as the terminal draws any text, but for red ones: yellow, cyan and green words can't be read on a white
ground, nor magenta ones, where they are dimmed, on a black one. There the glyph alone has the colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callctl.calls.call import CallStatus

if TYPE_CHECKING:
    from rich.text import Text

_STYLES: dict[str, tuple[str, str]] = {
    CallStatus.QUEUED: ("◌", "cyan"),
    CallStatus.INITIATED: ("◌", "cyan"),
    CallStatus.RINGING: ("◔", "yellow"),
    CallStatus.IN_PROGRESS: ("●", "green"),
    CallStatus.COMPLETED: ("✓", "dim"),
    CallStatus.BUSY: ("○", "magenta"),
    CallStatus.NO_ANSWER: ("○", "magenta"),
    CallStatus.CANCELED: ("○", "dim"),
    CallStatus.FAILED: ("✗", "red"),
}
_UNKNOWN = ("?", "bold")
GLYPHS = frozenset(glyph for glyph, _ in _STYLES.values())
# What can be read on a black ground and on a white one.
_FOR_WORDS = frozenset({"dim", "bold", "red", "bold red"})


def glyph(status: str) -> str:
    """Return the one-cell glyph of a status."""
    return _STYLES.get(status, _UNKNOWN)[0]


def style(status: str) -> str:
    """Return the rich style of a status."""
    return _STYLES.get(status, _UNKNOWN)[1]


def append_status(line: Text, shown: str, look: str) -> Text:
    """Append what begins with the glyph of a status; only the glyph, where its colour is not for words."""
    if look in _FOR_WORDS:
        return line.append(shown, style=look)
    return line.append(shown[:1], style=look).append(shown[1:])
