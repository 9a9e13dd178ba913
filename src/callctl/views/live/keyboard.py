"""The keyboard of a terminal: raw mode, and keys as they are pressed, read in a thread of its own.

prompt_toolkit decodes what terminals send (docs/decisions.md, "The live table").
"""

from __future__ import annotations

import os
import select
import termios
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, Any, TextIO

from callctl.support.clock import elapsed
from callctl.support.terminal import drop_input, resume_output
from callctl.support.threads import start
from callctl.views.live import keys
from callctl.views.live.keys import Key

if TYPE_CHECKING:
    from prompt_toolkit.input.vt100 import Vt100Input
    from prompt_toolkit.key_binding import KeyPress

# Seconds after which an Esc that nothing follows is the key itself, not the begin of a sequence.
_ESCAPE_ALONE = 0.06
_PASTE_ON, _PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"
_NAMES = {
    "up": keys.UP,
    "down": keys.DOWN,
    "pageup": keys.PAGE_UP,
    "pagedown": keys.PAGE_DOWN,
    "home": keys.HOME,
    "end": keys.END,
    "c-m": keys.ENTER,
    "c-j": keys.ENTER,
    "escape": keys.ESCAPE,
    "c-h": keys.BACKSPACE,
    "c-b": keys.CTRL_B,
    "c-c": keys.CTRL_C,
    "c-f": keys.CTRL_F,
    "c-u": keys.CTRL_U,
    "c-z": keys.CTRL_Z,
    "<bracketed-paste>": keys.PASTE,
}


class Keyboard:
    """Reads keys from a terminal between ``start`` and ``stop``; may be started again."""

    def __init__(self, stdin: TextIO, stdout: IO[str], *, on_key: Callable[[Key], None]) -> None:
        """Prepare. ``on_key`` is called in the thread that reads."""
        self._stdin, self._stdout, self._on_key = stdin, stdout, on_key
        self._stack: ExitStack | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the terminal into raw mode, in which Ctrl-C and Ctrl-Z are keys, and begin to read."""
        if self._stack is not None:
            return
        from prompt_toolkit.input import create_input

        terminal: Any = create_input(self._stdin)
        with ExitStack() as stack:
            stack.enter_context(terminal.raw_mode())
            stack.callback(drop_input, self._stdin.fileno())
            self._keep_flow_control()
            stopping, wake = os.pipe()
            stack.callback(os.close, stopping)
            stack.callback(os.close, wake)
            # A daemon, so that nothing waits for a key when the program ends.
            self._thread = threading.Thread(
                target=self._read, args=(terminal, stopping), name="callctl-keys", daemon=True
            )
            start(self._thread)
            stack.callback(self._thread.join, 1.0)
            stack.callback(os.write, wake, b"x")
            self._write(_PASTE_ON)
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """Give the terminal back as it was; what was typed and not read reaches nobody."""
        if self.release():
            self._write(_PASTE_OFF)

    def release(self) -> bool:
        """Do so without writing to it, which may wait for ever; return whether it was taken."""
        stack, self._stack = self._stack, None
        if stack is None:
            return False
        stack.close()
        return True

    def _read(self, terminal: Vt100Input, stopping: int) -> None:
        read_from = terminal.fileno()
        while not terminal.closed:
            ready, _, _ = select.select([read_from, stopping], [], [])
            if stopping in ready:
                return
            self._pass_on(terminal.read_keys())
            while not select.select([read_from, stopping], [], [], _ESCAPE_ALONE)[0]:
                if not (pressed := terminal.flush_keys()):
                    break
                self._pass_on(pressed)

    def _pass_on(self, pressed: list[KeyPress]) -> None:
        now = elapsed()
        for key in pressed:
            name = str(getattr(key.key, "value", key.key))
            if name in _NAMES:
                self._on_key(Key(_NAMES[name], now, key.data if name == "<bracketed-paste>" else ""))
            elif len(name) == 1 and name.isprintable():
                self._on_key(Key(name, now))

    def resume_output(self) -> None:
        """Let a terminal that is held by Ctrl-S go on, so that it can be given back."""
        with suppress(termios.error, OSError, ValueError):
            resume_output(self._stdout.fileno())

    def _keep_flow_control(self) -> None:
        """Let Ctrl-S hold the terminal, as it does elsewhere."""
        number = self._stdin.fileno()
        attributes = termios.tcgetattr(number)
        attributes[0] |= termios.IXON
        termios.tcsetattr(number, termios.TCSANOW, attributes)

    def _write(self, sequence: str) -> None:
        self._stdout.write(sequence)
        self._stdout.flush()
