"""What keys ask for: values, which the program that shows the table carries out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Target:
    """A leg that is to be changed, and the status in which it is meant: in any other it is left alone."""

    sid: str
    status: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """End these legs; ``is_family``: they are the live legs of one family."""

    targets: tuple[Target, ...]
    is_family: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """Give these legs the TwiML at a URL, or at a named one."""

    targets: tuple[Target, ...]
    url: str


@dataclass(frozen=True, slots=True)
class OpenPage:
    """Fetch what is known of a leg."""

    sid: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Put a text on the clipboard."""

    text: str


@dataclass(frozen=True, slots=True)
class Leave:
    """End the watch."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """Stop the process until the shell lets it go on."""


Intent: TypeAlias = HangUp | Redirect | OpenPage | Copy | Leave | Suspend
