"""``list --sort``: in which order calls are shown, if not newest first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from callctl.calls.call import REST_STATUSES, Call
from callctl.errors import UsageError

SORTS = ("start", "duration", "status")
_LAST = datetime.max.replace(tzinfo=UTC)


def read_sort(text: str | None) -> str | None:
    """Return what calls are sorted by, or None for the order of the API.

    Raises:
        UsageError: They can't be sorted by that.
    """
    if text is None or text in SORTS:
        return text
    raise UsageError(
        f"--sort is {', '.join(SORTS[:-1])} or {SORTS[-1]}, not {text}", hint="duration: the longest first"
    )


def in_order(calls: Iterable[Call], sort: str, *, most: int | None, now: datetime) -> list[Call]:
    """Return calls in an order, at most ``most``, of which no more are kept in memory.

    ``start``: the oldest first, of calls still queued by when they were created. ``duration``: the longest first, of
    live calls so far. ``status``: as a call's life goes on, within each status the oldest first.
    """
    keys: dict[str, Callable[[Call], Any]] = {
        "start": lambda call: (_start(call), call.sid),
        "duration": lambda call: (-(call.seconds_so_far(now) or 0.0), call.sid),
        "status": lambda call: (_step(call), _start(call), call.sid),
    }
    key = keys[sort]
    return sorted(calls, key=key) if most is None else heapq.nsmallest(most, calls, key=key)


def _start(call: Call) -> datetime:
    return call.start_time or call.date_created or _LAST


def _step(call: Call) -> int:
    return REST_STATUSES.index(call.status) if call.status in REST_STATUSES else len(REST_STATUSES)
