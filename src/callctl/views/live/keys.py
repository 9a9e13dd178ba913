"""Keys as the live table takes them."""

from __future__ import annotations

from dataclasses import dataclass

UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "page-up", "page-down", "home", "end"
ENTER, ESCAPE, BACKSPACE = "enter", "escape", "backspace"
CTRL_B, CTRL_C, CTRL_F, CTRL_U, CTRL_Z = "ctrl-b", "ctrl-c", "ctrl-f", "ctrl-u", "ctrl-z"
PASTE = "paste"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was pressed: its name, or the character itself; of pasted text, the text.

    ``at`` is when it was read, in seconds of elapsed time.
    """

    name: str
    at: float
    text: str = ""

    @property
    def typed(self) -> str:
        """The text that it stands for: a character, or what was pasted; empty for any other key."""
        if self.name == PASTE:
            return " ".join(self.text.split())
        return self.name if len(self.name) == 1 else ""


def edited(text: str, key: Key) -> str:
    """Return a text that is typed after one more key."""
    if key.name == BACKSPACE:
        return text[:-1]
    return "" if key.name == CTRL_U else text + key.typed
