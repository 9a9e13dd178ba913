"""Lists: filters by name, and pages that stay the same while calls come and go.

A page token names the ordinal below which the page begins, so new calls, which come in front, move nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import islice
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote, urlencode

from callctl.simulator.errors import ApiError
from callctl.simulator.models import Facts, Leg
from callctl.simulator.switch.numbers import normal

DEFAULT_SIZE, MAX_SIZE = 50, 1000  # OAS
MAX_PAGE = 10**9

Query = Mapping[str, str]


class Numbered(Protocol):
    """A resource that is numbered in the order of creation."""

    @property
    def ordinal(self) -> int:
        """Its number in the order in which they were created."""


T = TypeVar("T", bound=Numbered)
Dated = TypeVar("Dated")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page: its items, and the query strings of the pages around it (None where there is none)."""

    items: tuple[T, ...]
    number: int
    size: int
    first: str
    previous: str | None
    following: str | None

    def envelope(self, path: str, *, uri: str) -> dict[str, object]:
        """Return what surrounds the items of a list."""
        start = self.number * self.size
        return {
            "first_page_uri": f"{path}?{self.first}",
            "previous_page_uri": f"{path}?{self.previous}" if self.previous else None,
            "next_page_uri": f"{path}?{self.following}" if self.following else None,
            "uri": uri,
            "page": self.number,
            "page_size": self.size,
            "start": start,
            "end": start + max(len(self.items) - 1, 0),
        }


def page(newest_first: Callable[[], Iterable[T]], query: Query, *, matches: Callable[[T], bool]) -> Page[T]:
    """Return a page of what matches. `Page` is only the client's own count (OAS): the token decides."""
    size = min(_whole(query, "PageSize", DEFAULT_SIZE, least=1), MAX_SIZE)
    number = min(_whole(query, "Page", 0, least=0), MAX_PAGE)
    below = _below(query.get("PageToken", ""))
    matching = (item for item in newest_first() if (below is None or item.ordinal < below) and matches(item))
    items = list(islice(matching, size + 1))
    shown = tuple(items[:size])
    following = shown[-1].ordinal if len(items) > size else None
    kept = {name: value for name, value in query.items() if name not in ("Page", "PageToken")}
    kept["PageSize"] = str(size)
    previous = None
    if number and below is not None:
        previous = _link(kept, number - 1, _before(newest_first, below, size, matches))
    return Page(
        items=shown,
        number=number,
        size=size,
        first=_link(kept, 0, None),
        previous=previous,
        following=None if following is None else _link(kept, number + 1, following),
    )


def _before(newest_first: Callable[[], Iterable[T]], below: int, size: int, matches: Callable[[T], bool]) -> int | None:
    """Return below which ordinal the page before this one begins; None for the very first."""
    newer = [item.ordinal for item in newest_first() if item.ordinal >= below and matches(item)]
    return newer[-size] + 1 if len(newer) > size else None


def _link(kept: Query, number: int, below: int | None) -> str:
    pairs = dict(kept) | {"Page": str(number)}
    if below is not None:
        pairs["PageToken"] = f"PA{below:032x}"
    return urlencode(pairs, quote_via=quote)


def _below(token: str) -> int | None:
    if not token:
        return None
    try:
        if token[:2] != "PA" or not token[2:].isalnum() or len(token) > 40:
            raise ValueError(token)
        return int(token[2:], 16)
    except ValueError as error:
        raise ApiError(20001, "PageToken") from error


Check = Callable[[Leg, Facts], bool]


def filters(query: Query) -> list[Check]:
    """Return the checks of a query's filters; a filter with another name is ignored, as Twilio does."""
    checks: list[Check] = []
    if query.get("To"):
        to = normal(query["To"])
        checks.append(lambda leg, _: leg.to == to)
    if query.get("From"):
        from_ = normal(query["From"])
        checks.append(lambda leg, _: leg.from_ == from_)
    if query.get("ParentCallSid"):
        parent = query["ParentCallSid"]
        checks.append(lambda leg, _: leg.parent is not None and leg.parent.sid == parent)
    if query.get("Status"):
        status = query["Status"]
        checks.append(lambda _, facts: facts.status == status)
    for name, time_of in (("StartTime", _started), ("EndTime", _ended)):
        checks += [partial(_by_facts, check) for check in time_checks(query, name, time_of)]
    return checks


def _started(facts: Facts) -> datetime | None:
    return facts.started


def _ended(facts: Facts) -> datetime | None:
    return facts.ended


def _by_facts(check: Callable[[Facts], bool], _leg: Leg, facts: Facts) -> bool:
    return check(facts)


def time_checks(
    query: Query, name: str, time_of: Callable[[Dated], datetime | None]
) -> Iterator[Callable[[Dated], bool]]:
    """Return the checks of a filter by time: by its name, and with `<` and `>` behind it; raise ApiError."""
    for sign, compare in (("", _same), ("<", _before_time), (">", _not_before)):
        if query.get(name + sign):
            yield _timed(name + sign, query[name + sign], time_of, compare)


def _same(moment: datetime, begin: datetime, end: datetime) -> bool:
    return begin <= moment < end


def _before_time(moment: datetime, begin: datetime, _end: datetime) -> bool:
    return moment < begin


def _not_before(moment: datetime, begin: datetime, _end: datetime) -> bool:
    return moment >= begin  # `>` is on or after (OAS)


def _timed(
    name: str,
    text: str,
    time_of: Callable[[Dated], datetime | None],
    compare: Callable[[datetime, datetime, datetime], bool],
) -> Callable[[Dated], bool]:
    begin, end = _span(name, text)

    def check(item: Dated) -> bool:
        moment = time_of(item)
        # What the API shows has no fractions of a second, so neither has what is compared.
        return moment is not None and compare(moment.replace(microsecond=0), begin, end)

    return check


def _span(name: str, text: str) -> tuple[datetime, datetime]:
    """Return the UTC day, or the second, that a value names."""
    try:
        if len(text) == len("2026-01-05"):
            begin = datetime.combine(date.fromisoformat(text), time(), UTC)
            return begin, begin + timedelta(days=1)
        moment = datetime.fromisoformat(text)
        begin = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        begin = begin.replace(microsecond=0)
        return begin, begin + timedelta(seconds=1)
    except (ValueError, OverflowError) as error:
        raise ApiError(20001, f"{name} is neither a date nor a time") from error


def _whole(query: Query, name: str, default: int, *, least: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < least:
        raise ApiError(20001, f"{name} must be a whole number of at least {least}")
    return int(text)
