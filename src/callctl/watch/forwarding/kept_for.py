"""Finds which of the requests that applications did not take are meant by a URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from yarl import URL

from callctl.errors import without_secrets
from callctl.support.urls import one_spelling

if TYPE_CHECKING:
    from callctl.calls.event import CallEvent
    from callctl.store.records import Undelivered

_Kept = Sequence[tuple["Undelivered", "CallEvent"]]


def kept_for(kept: _Kept, url: str) -> _Kept | None:
    """Return what was to go to a URL or, if all was to go to one other URL, all; None if it is not clear.

    A query is part of what is meant only as far as ``url`` has it, for that of a request was added to it. User and
    password count only where they make a difference. One request never stands for those of two URLs.
    """
    meant = _Location.of(without_secrets(url))
    places = {row.url: _Location.of(row.url) for row, _ in kept}
    same = {given for given, place in places.items() if place.is_below(meant)}
    if not same and len({place.address for place in places.values()}) == 1:
        same = set(places)
    same = {given for given in same if places[given].user == meant.user} or same
    chosen = [(row, event) for row, event in kept if row.url in same]
    is_clear = len({event.key for _, event in chosen}) == len(chosen)
    return chosen if is_clear and (chosen or not kept) else None


def is_same_location(url: str, other: str) -> bool:
    """Return whether a kept URL is another one, whatever the user and what was added to its query."""
    return _Location.of(url).is_below(_Location.of(without_secrets(other)))


class _Location(NamedTuple):
    """A URL in parts: its user with ``***`` for a password, the address, and the parameters."""

    user: str
    address: str
    parameters: frozenset[str]

    @classmethod
    def of(cls, url: str) -> _Location:
        try:
            parts = urlsplit(one_spelling(str(URL(url))))
        except ValueError:  # what the store has may be anything
            return cls("", url, frozenset())
        user, _, host = parts.netloc.rpartition("@")
        parameters = frozenset(filter(None, parts.query.split("&")))
        return cls(user, f"{parts.scheme}://{host}{parts.path or '/'}", parameters)

    def is_below(self, other: _Location) -> bool:
        """Return whether it is the other, or that with more parameters."""
        return self.address == other.address and self.parameters >= other.parameters
