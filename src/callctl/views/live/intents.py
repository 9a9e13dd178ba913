"""What keys request, as values, and the protocol of what carries them out, which knows the API and the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from callctl.calls.board import Snapshot


@dataclass(frozen=True, slots=True)
class Target:
    """A leg that is to be changed, and the status in which it is meant: in any other it is left alone.

    ``parent`` is the SID of its parent leg; None if it has none, or none is known.
    """

    sid: str
    status: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class HangUp:
    """End these legs, parents before their children; ``is_family``: they are the live legs of one family."""

    targets: tuple[Target, ...]
    is_family: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """Give these legs the TwiML at a URL, or at a named one; children before their parents."""

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


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """What came of an action, in a sentence; ``unrecorded`` are sentences on what the store has no record of.

    ``unchanged`` are the SIDs of the legs that it did not change, or maybe did not.
    """

    sentence: str
    unrecorded: Sequence[str] = ()
    unchanged: frozenset[str] = frozenset()


class Operator(Protocol):
    """Carries out what keys request. No method but ``close`` waits for the API.

    ``report`` may be called in any thread.
    """

    @property
    def listens(self) -> bool:
        """Whether callbacks come to this process, and are lost while it is stopped."""

    @property
    def may_act(self) -> bool:
        """Whether it changes calls."""

    @property
    def urls(self) -> Sequence[str]:
        """The names of the named URLs."""

    def put_question(self, intent: HangUp | Redirect, *, last_action: int | None) -> None:
        """Note that the question is put whether to end or redirect legs.

        ``last_action`` is the store's id of the last action that has been shown; None if it is not known.
        """

    def effects(self, intent: HangUp | Redirect, snapshot: Snapshot) -> str:
        """Say what becomes of the other legs."""

    def act(self, intent: HangUp | Redirect, *, question_at: datetime, report: Callable[[ActionOutcome], None]) -> None:
        """Begin to end or redirect legs; report the outcome, once.

        A leg that was changed since the question was put is left alone. ``question_at`` is when that was by the wall
        clock: it counts where it is not known what the store had then.
        """

    def load_page(self, sid: str, width: int, report: Callable[[Sequence[str]], None]) -> None:
        """Begin to fetch what is known of a leg; report the lines of its page, once or several times."""

    def close(self) -> None:
        """Give the actions in flight a moment, and say what is not known of them; after the picture."""

    def leave(self) -> None:
        """End the watch."""

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""

    def suspend(self) -> None:
        """Stop the process until it is continued."""
