"""Finding live calls so that none is missed: one that moves on meanwhile, or that no list of REST shows yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from callctl.api.calls_api import CallsApi
from callctl.calls.call import Call
from callctl.calls.filter import CallFilter
from callctl.errors import NotFoundError

# Of the calls that callbacks reported as live and REST does not list.
_MOST_FETCHED = 100
_FETCHED_AT_ONCE = 8
# How far REST may lag behind callbacks, at most. Twilio does not say; it is seconds.
_REST_LAG = timedelta(minutes=5)


def is_recent(last_event_at: datetime, *, now: datetime) -> bool:
    """Return whether the last event of a call came so lately that REST may not show it yet."""
    return now - last_event_at < _REST_LAG


def list_in_turn(
    api: CallsApi, filters: Sequence[CallFilter], *, page_size: int = 1000, limit: int | None = None
) -> Iterator[Call]:
    """Yield the calls of several lists, each read to its end, or to ``limit`` calls, before the next one is begun.

    REST takes one status at a time (docs/twilio.md, "Listing calls"). If the filters are in the order in which
    a call moves on, as REST_LIVE_STATUSES is, a call that leaves one list meanwhile is in a later one. It may come
    twice, as it is now the last time.

    Raises:
        CallctlError: A list can't be read; what was yielded is incomplete then.
    """
    for call_filter in filters:
        yield from api.list(call_filter, page_size=page_size, limit=limit)


def fetch_unlisted(api: CallsApi, sids: Sequence[str]) -> tuple[list[Call], list[str]]:
    """Fetch calls that callbacks lately reported as live and that no list shows.

    Return them, and the SIDs of those that REST does not show, as far as it was read (docs/twilio.md, "Eventual
    consistency").

    Raises:
        CallctlError: One can't be fetched, for another reason than that REST has no such call.
    """
    from callctl.operations.bulk import Done, for_each

    found, unknown = list[Call](), list(sids[_MOST_FETCHED:])
    for group in for_each(sids[:_MOST_FETCHED], api.fetch, parallel=_FETCHED_AT_ONCE):
        for result in group:
            if isinstance(result, Done):
                found.append(result.value)
            elif isinstance(result.error, NotFoundError):
                unknown.append(result.sid)
            else:
                raise result.error
    return found, unknown
