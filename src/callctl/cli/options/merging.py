"""Several lists of calls read as one: begun side by side, newest first, each call once."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice

from callctl.calls.call import Call
from callctl.support.threads import start_in_thread

_NEWEST = datetime.max.replace(tzinfo=UTC)
# A call that is in two lists was in both within moments, so both have it in the same place.
_REMEMBERED = 4096


def newest_first(lists: Sequence[Iterator[Call]]) -> Iterator[Call]:
    """Merge lists that are newest first; of a call that is in several, the one in the first of them is kept."""
    # A list's first page comes with its first call; what comes later is asked for as it is read.
    heads = [start_in_thread(partial(_first, calls)) for calls in lists]
    begun = [chain(head.result(), calls) for head, calls in zip(heads, lists, strict=True)]
    known: dict[str, None] = {}
    for call in heapq.merge(*begun, key=_age, reverse=True):
        if call.sid in known:
            continue
        known[call.sid] = None
        if len(known) > _REMEMBERED:
            del known[next(iter(known))]
        yield call


def _first(calls: Iterator[Call]) -> list[Call]:
    return list(islice(calls, 1))


def _age(call: Call) -> datetime:
    return call.date_created or call.start_time or _NEWEST
