"""Figures out of a store alone, read once, in memory that does not grow with the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from callctl.reports.figures import Done, Figures, Groups
from callctl.reports.leg_facts import LegFacts
from callctl.reports.record_reader import RecordReader
from callctl.support.dates import microseconds, nearest_time

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.filter import CallFilter
    from callctl.store.event_store import EventStore

_ACTIONS_AT_ONCE = 1000
_MOST_HOURS = 100_000  # eleven years
_QUARTER = 15 * 60 * 1_000_000  # microseconds; no zone has hours that begin at other times


def read_figures(
    store: EventStore,
    chosen: CallFilter,
    *,
    by: str | None = None,
    part: int = 0,
    of: int = 1,
    counted: Callable[[Iterator[list[str]]], Iterable[list[str]]] = iter,
) -> Figures:
    """Return the figures of the legs that match, by what the store holds of them.

    The filter's numbers, statuses and span count; a leg must have begun in the span. Actions count if they are on these
    legs. With a span alone they count if they happened in it, also on calls that have no event.

    Args:
        store: The store.
        chosen: The filter.
        by: The groups: to, from, status or hour, the local hour in which a leg began, in microseconds since 1970.
        part: Which part of the store is read, from 0; the figures of all parts can be merged.
        of: How many parts there are.
        counted: Passes the records of each call on, and may count them.

    Raises:
        StoreError: The store can't be read.
    """
    figures = Figures(None if by is None else _GROUPS[by]())
    done_to = _actions_by_leg(store) if chosen.concerns_leg else {}
    reader = RecordReader()
    begin = None if chosen.since is None else microseconds(chosen.since)
    end = None if chosen.until is None else microseconds(chosen.until)
    for records in counted(store.records(since=chosen.since, part=part, of=of)):
        leg = reader.facts(records)
        if leg is None:
            figures.unreported += 1
        elif (
            (begin is None or leg.started_at >= begin)
            and (end is None or leg.started_at < end)
            and (not chosen.concerns_leg or chosen.matches_leg(leg))
        ):
            figures.add(leg)
            figures.actions.update(done_to.get(leg.call_sid, ()))
    figures.unreadable = reader.unreadable
    if not chosen.concerns_leg and part == 0:
        for action in _actions(store):
            at = microseconds(action.at)
            if (begin is None or at >= begin) and (end is None or at < end):
                figures.add_action(action)
    return figures


def _actions_by_leg(store: EventStore) -> dict[str, list[Done]]:
    done_to: dict[str, list[Done]] = {}
    once: dict[Done, Done] = {}
    for action in _actions(store):
        done = Done.of(action)
        done_to.setdefault(action.call_sid, []).append(once.setdefault(done, done))
    return done_to


def _actions(store: EventStore) -> Iterator[ActionEvent]:
    last = 0
    while page := store.actions_after(last, limit=_ACTIONS_AT_ONCE):
        last = page[-1][0]
        yield from (action for _, action in page)


class _Hour:
    """Returns the local hour in which a leg began, in microseconds since 1970."""

    def __init__(self) -> None:
        self._hours: dict[int, int] = {}

    def __call__(self, leg: LegFacts) -> int:
        quarter = leg.started_at // _QUARTER
        if quarter not in self._hours:
            begin = nearest_time(quarter * _QUARTER).astimezone().replace(minute=0, second=0, microsecond=0)
            self._hours[quarter] = microseconds(begin)
        return self._hours[quarter]


_GROUPS: dict[str, Callable[[], Groups]] = {
    "to": lambda: Groups(attrgetter("to")),
    "from": lambda: Groups(attrgetter("from_")),
    "status": lambda: Groups(attrgetter("status")),
    "hour": lambda: Groups(_Hour(), most=_MOST_HOURS),
}
