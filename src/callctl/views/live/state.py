"""What the live table's header says, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line says, and in a narrow terminal a second; what has no room there falls away from the right.

    ``round_trip`` is that of the last self-test through the callback URL, in seconds; ``deaf`` says why nothing can
    arrive, if so, and is to be seen at any width. ``ignored`` counts requests that tell of no call, ``features``
    those of machine detection, recordings and conferences, by kind, and ``misdirected`` signed ones that came to a path
    where nothing is; ``chosen`` says which legs alone are shown.
    ``unverified`` is true where anybody's events are believed, ``rules_stopped`` where the rules did too much and act
    no more; ``rules`` says how many are at work, and how. ``recalled`` counts the events that were read so far from the
    store, while that is not done.
    """

    title: str
    listening: str
    callback_url: str
    api_url: str | None
    accepted: int = 0
    refused: int = 0
    duplicates: int = 0
    failed: int = 0
    ignored: int = 0
    features: Mapping[str, int] = field(default_factory=dict)
    misdirected: int = 0
    chosen: str | None = None
    last_callback_at: datetime | None = None
    round_trip: float | None = None
    deaf: str | None = None
    unverified: bool = False
    rules_stopped: bool = False
    rules: str | None = None
    recalled: int | None = None
