"""What a person has made of the live table: what is selected, typed, marked and asked; values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

from callctl.calls.board import Snapshot
from callctl.calls.leg import Leg
from callctl.views.live.filter import TextFilter
from callctl.views.live.intents import HangUp, Leave, Redirect, Target
from callctl.views.live.sorted_legs import Arrangement, Listing, Sort

# Seconds after its question was drawn in which a confirmation counts.
CONFIRM_WITHIN = 10.0
# Seconds after a key in which no family changes its place.
ORDER_STAYS = 1.0

# What has the keys, where it is not the table itself.


@dataclass(frozen=True, slots=True)
class Filtering:
    """A filter is typed; ``is_typed``: something of it since a leg was selected."""

    is_typed: bool = False


@dataclass(frozen=True, slots=True)
class Confirming:
    """Something is to be confirmed, with ``y``, or with the number of legs where they are marked.

    ``drawn_at`` is when the question was first on the screen: keys from before do not count. ``typed_at`` is when a
    digit of the number was last typed.
    """

    intent: HangUp | Redirect | Leave
    are_marked: bool = False
    drawn_at: float | None = None
    typed: str = ""
    typed_at: float = float("-inf")

    @property
    def open_until(self) -> float:
        """When it is over, unless it is confirmed; it must have been drawn."""
        return max(self.drawn_at or 0.0, self.typed_at) + CONFIRM_WITHIN

    @property
    def targets(self) -> tuple[Target, ...]:
        """The legs that would be changed."""
        return () if isinstance(self.intent, Leave) else self.intent.targets

    @property
    def outlives_changes(self) -> bool:
        """Whether it stands though a leg changes: there are several, and each is looked at before it is changed."""
        return self.are_marked and len(self.targets) > 1

    @property
    def is_family(self) -> bool:
        """Whether the whole family is to be ended."""
        return isinstance(self.intent, HangUp) and self.intent.is_family


@dataclass(frozen=True, slots=True)
class ChoosingUrl:
    """The URL of a redirect is chosen by its letter, or typed; ``typed`` is None while it is chosen.

    ``are_marked`` and ``drawn_at`` are as those of a confirmation.
    """

    targets: tuple[Target, ...]
    are_marked: bool = False
    typed: str | None = None
    drawn_at: float | None = None


@dataclass(frozen=True, slots=True)
class Dismissing:
    """It is to be confirmed, with ``y``, that these failures need nobody; ``drawn_at`` is as that of a confirmation."""

    failures: frozenset[tuple[str, datetime]]
    drawn_at: float | None = None

    @property
    def open_until(self) -> float:
        """When it is over, unless it is confirmed; it must have been drawn."""
        return (self.drawn_at or 0.0) + CONFIRM_WITHIN


@dataclass(frozen=True, slots=True)
class LegPage:
    """The page of a leg is shown, from its line ``top`` on."""

    sid: str
    top: int = 0


@dataclass(frozen=True, slots=True)
class KeysPage:
    """The page about the keys is shown, from its line ``top`` on."""

    top: int = 0


# A question stands in the foot, and is closed by what happens to its legs; a page takes the place of the table.
Question: TypeAlias = Confirming | ChoosingUrl | Dismissing
Page: TypeAlias = LegPage | KeysPage
Mode: TypeAlias = Filtering | Question | Page


@dataclass(frozen=True, slots=True)
class Departure:
    """The selected row is about to leave its place because of a key, and ``rows`` are those before it does.

    ``is_dismissed``: at once, even while nothing else changes its place.
    """

    row: str
    rows: Sequence[str]
    is_dismissed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A redirect was refused, or a question is over: text that goes on as if it stood there is no key of the table.

    ``at`` is when that was, or text last typed that may be an answer, in seconds of elapsed time. ``keys`` are the
    characters that count all the same, as the first text after it.
    """

    at: float
    keys: str = ""


@dataclass(frozen=True, slots=True)
class ViewState:
    """What a person has made of the table; all of it is a value.

    ``selected`` is the SID of a leg, or ``FAILURES``; ``top`` the first row on the screen. ``row`` is where the
    selected one was when it was last on the screen, ``departure`` is set when it is about to go. ``marks`` have the
    status of each marked leg when it was marked. ``message`` stands in the foot since ``message_at``, ``key_at`` is
    when the last key came, ``closed_at`` when a question was last closed: all in seconds of elapsed time. ``is_held``:
    the picture stays as it is. ``is_ending``: the watch is to end, and no key counts any more. ``selects_first``: if
    none is selected, the first leg is to be.
    """

    selected: str | None = None
    top: int = 0
    row: int | None = field(default=None, compare=False)
    departure: Departure | None = None
    filter: str = ""
    sort: Sort = Sort.ATTENTION
    marks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    mode: Mode | None = None
    message: str = ""
    message_at: float = 0.0
    dismissed: frozenset[tuple[str, datetime]] = frozenset()
    failures_open: bool = False
    is_held: bool = False
    is_ending: bool = False
    selects_first: bool = False
    key_at: float = float("-inf")
    closed_at: float = float("-inf")
    suspend_key_at: float = float("-inf")
    refusal: Refusal | None = None

    def arrangement(self, now: float) -> Arrangement:
        """Return how the legs are arranged at a time, in seconds of elapsed time."""
        return Arrangement(
            sort=self.sort,
            text_filter=TextFilter.read(self.filter),
            dismissed=self.dismissed,
            failures_open=self.failures_open,
            order_is_kept=self.order_is_kept(now),
        )

    def order_is_kept(self, now: float) -> bool:
        """Return whether nothing changes its place at a time, in seconds of elapsed time."""
        has_question = self.mode is not None and not isinstance(self.mode, Page)
        return has_question or self.is_held or now - self.key_at < ORDER_STAYS

    def saying(self, message: str, at: float) -> ViewState:
        """Return the state with a message in the foot."""
        return replace(self, message=message, message_at=at)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a key meets: the rows on the screen, the board as it is now, and what may be done.

    ``room`` is how many rows the screen has or, while a page is open, how many of its ``page_lines``. ``listens``:
    callbacks come to this process. ``urls`` are the names of the named URLs. ``latest`` has all legs, also where the
    table shows a part of them: ``matches`` says whether a leg is in that part, not only the parent of one that is.
    """

    listing: Listing
    latest: Snapshot
    room: int = 1
    page_lines: int = 0
    listens: bool = False
    may_act: bool = True
    urls: Sequence[str] = ()
    matches: Callable[[Leg], bool] = lambda _leg: True
