"""The glyph and colour of each status. The word stands beside them: colour is never the only sign."""

from __future__ import annotations

from callctl.calls.call import CallStatus

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


def glyph(status: str) -> str:
    """Return the one-cell glyph of a status."""
    return _STYLES.get(status, _UNKNOWN)[0]


def style(status: str) -> str:
    """Return the rich style of a status."""
    return _STYLES.get(status, _UNKNOWN)[1]
