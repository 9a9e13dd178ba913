"""The keyboard of a terminal, on a pseudo-terminal: what its bytes are read as, and in which state it is left."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator
from contextlib import ExitStack
from queue import Empty, SimpleQueue

import pytest

from callctl.views.live import keys
from callctl.views.live.keyboard import Keyboard
from callctl.views.live.keys import Key

LIMIT = 60.0  # seconds


class Typed:
    """A keyboard on a pseudo-terminal, and the keys that it has read."""

    def __init__(self, stack: ExitStack) -> None:
        self.master, slave = pty.openpty()
        stack.callback(os.close, self.master)
        self.stdin = stack.enter_context(os.fdopen(slave, "r"))
        self.stdout = stack.enter_context(os.fdopen(os.dup(slave), "w"))
        self._keys: SimpleQueue[Key] = SimpleQueue()
        self.keyboard = Keyboard(self.stdin, self.stdout, on_key=self._keys.put)
        stack.callback(self.keyboard.stop)

    @property
    def attributes(self) -> list[object]:
        return termios.tcgetattr(self.stdin.fileno())

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def key(self) -> Key:
        return self._keys.get(timeout=LIMIT)

    def names(self, count: int) -> list[str]:
        return [self.key().name for _ in range(count)]

    def take_all(self) -> None:
        """Take the keys that were read so far."""
        while not self._keys.empty():
            self._keys.get_nowait()

    def assert_written(self, text: str) -> None:
        """Assert that the terminal was sent this, and nothing before it."""
        written = b""
        while len(written) < len(text):
            written += os.read(self.master, 1000)
        assert written.decode() == text

    def assert_nothing_read(self) -> None:
        with pytest.raises(Empty):
            self._keys.get_nowait()


@pytest.fixture
def typed() -> Iterator[Typed]:
    with ExitStack() as stack:
        typed = Typed(stack)
        typed.keyboard.start()
        yield typed


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("\x1b[A", keys.UP),
        ("\x1bOA", keys.UP),
        ("\x1b[B", keys.DOWN),
        ("\x1bOB", keys.DOWN),
        ("\x1b[5~", keys.PAGE_UP),
        ("\x1b[6~", keys.PAGE_DOWN),
        ("\x1b[H", keys.HOME),
        ("\x1b[1~", keys.HOME),
        ("\x1b[F", keys.END),
        ("\x1b[4~", keys.END),
        ("\r", keys.ENTER),
        ("\n", keys.ENTER),
        ("\x7f", keys.BACKSPACE),
        ("\x08", keys.BACKSPACE),
        ("\x02", keys.CTRL_B),
        ("\x03", keys.CTRL_C),
        ("\x06", keys.CTRL_F),
        ("\x15", keys.CTRL_U),
        ("\x1a", keys.CTRL_Z),
        ("\x1b", keys.ESCAPE),
        ("g", "g"),
        (" ", " "),
        ("é", "é"),
        ("日", "日"),
    ],
)
def test_a_key_is_read_whatever_the_terminal_sends_for_it(typed: Typed, sent: str, name: str) -> None:
    typed.type(sent)
    assert typed.key().name == name


def test_keys_that_come_together_are_read_one_by_one_and_others_are_left_out(typed: Typed) -> None:
    # F12, Ctrl-arrow, Ctrl-A and Tab are none of the table's; no part of them is taken for a letter or for Esc.
    typed.type("a\x1b[24~\x1b[1;5Ab\x01\x09c\x1b[Ad")
    assert typed.names(5) == ["a", "b", "c", keys.UP, "d"]
    typed.assert_nothing_read()


def test_an_arrow_that_comes_byte_by_byte_is_no_esc(typed: Typed) -> None:
    for piece in ("\x1b", "[", "A"):
        typed.type(piece)
    assert typed.key().name == keys.UP
    typed.type("\x1b")
    assert typed.key().name == keys.ESCAPE
    typed.assert_nothing_read()


def test_a_pasted_text_is_one_key_whatever_is_in_it(typed: Typed) -> None:
    typed.type("\x1b[200~xy\x03 q\r\n\x1b[A日\x1b[201~z")
    pasted = typed.key()
    assert pasted.name == keys.PASTE
    assert pasted.text.startswith("xy\x03 q")
    assert "日" in pasted.typed
    assert typed.key().name == "z"
    typed.assert_nothing_read()


def test_each_key_has_the_time_at_which_it_was_read(typed: Typed) -> None:
    typed.type("ab")
    first, second = typed.key(), typed.key()
    typed.type("c")
    assert first.at <= second.at < typed.key().at


def test_the_terminal_is_left_as_it_was_and_what_was_not_read_reaches_nobody() -> None:
    with ExitStack() as stack:
        typed = Typed(stack)
        before = typed.attributes
        for _ in range(2):  # it may be started again
            typed.keyboard.start()
            typed.keyboard.start()  # and twice is once
            assert typed.attributes != before
            typed.type("j")
            assert typed.key().name == "j"
            typed.type("kkkk")
            typed.keyboard.stop()
            typed.keyboard.stop()
            typed.take_all()  # some may have been read before
            assert typed.attributes == before
        typed.assert_written("\x1b[?2004h\x1b[?2004l" * 2)
        os.set_blocking(typed.stdin.fileno(), False)
        typed.type("\n")  # or the driver keeps the line
        assert os.read(typed.stdin.fileno(), 100) == b"\n"


def test_a_terminal_that_is_held_goes_on(typed: Typed) -> None:
    typed.assert_written("\x1b[?2004h")
    typed.type("\x13a")  # Ctrl-S is the driver's, and holds the output only
    assert typed.key().name == "a"
    os.set_blocking(typed.stdout.fileno(), False)
    with pytest.raises(BlockingIOError):
        os.write(typed.stdout.fileno(), b"held")
    typed.keyboard.resume_output()
    os.write(typed.stdout.fileno(), b"goes on")
    typed.assert_written("goes on")
