"""Listing live calls so that none is missed that moves on from one status to the next meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from callctl.api.calls_api import CallsApi
from callctl.calls.call import Call
from callctl.calls.filter import CallFilter


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
