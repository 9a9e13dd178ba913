"""The writer of a shared store: while the server is away, events wait for it for a while, and then are refused."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from callctl.calls.event import CallEvent
from callctl.errors import StoreAwayError, StoreBusyError, StoreError
from callctl.store.group_writer import GROUP, Entry, GroupWriter
from callctl.store.postgresql.connection import Engine, Link
from callctl.store.postgresql.rows import event_row

# Seconds that an event waits for a server that is away. Twilio waits 15 for an answer.
PATIENCE = 2.0
# Events that may wait: with the largest forms (64 KiB) 130 MB, with Twilio's ordinary ones 3.
MOST_WAITING = 2000
# Events that this process has written and not read back yet: more than come between two reads.
_MOST_KEPT = 2000

_APPEND = "SELECT outcomes, before FROM callctl.append(%(world)s, %(events)s::jsonb)"


class _Row(NamedTuple):
    """An event, and as JSON what is written of it."""

    text: str
    event: CallEvent


class SharedWriter(GroupWriter[_Row]):
    """Commits events in groups by ``callctl.append``, and keeps those that were new for the next read of the store."""

    def __init__(self, engine: Engine, *, world: str) -> None:
        """Write by a connection of its own."""
        super().__init__(engine.name)
        self._engine, self._world = engine, world
        self._link = Link(engine)
        self._waiting = 0  # events that were submitted and are not settled; under the lock
        self._kept: dict[int, CallEvent] = {}  # by position, under the lock
        engine.when_back(self.request_check)

    def take(self, position: int) -> CallEvent | None:
        """Return the event at a position if it was written here lately, once; None where it has to be read."""
        with self._lock:
            return self._kept.pop(position, None)

    def take_from(self, position: int, *, limit: int) -> list[tuple[int, CallEvent]]:
        """Return the events from a position on, with these, at most ``limit``, as far as all were written here lately.

        Each is returned once.
        """
        events: list[tuple[int, CallEvent]] = []
        with self._lock:
            while len(events) < limit and (event := self._kept.pop(position, None)) is not None:
                events.append((position, event))
                position += 1
        return events

    def forget_kept(self) -> None:
        """Have all events read back: the store has others at their positions."""
        with self._lock:
            self._kept.clear()

    def break_off(self) -> None:
        """Have what is being written fail: a server that hangs would hold the thread for seconds."""
        self._link.close()

    def _row_of(self, event: CallEvent) -> _Row:
        return _Row(event_row(event), event)

    def _add(self, entry: Entry[_Row]) -> None:
        if self._waiting >= MOST_WAITING:
            raise StoreAwayError(
                f"{MOST_WAITING} events wait for the event store {self._name}",
                hint="the server is away, or slower than events come",
            )
        super()._add(entry)
        self._waiting += 1

    def _commit(self, rows: Sequence[_Row], *, follows: bool = False) -> list[bool]:  # noqa: ARG002
        events = f"[{','.join([row.text for row in rows])}]"
        ((outcomes, position),) = self._link.write(_APPEND, {"world": self._world, "events": events})
        with self._lock:
            for row, is_new in zip(rows, outcomes, strict=True):
                if is_new:
                    position += 1
                    self._kept[position] = row.event
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return list(outcomes)

    def _write(self) -> None:
        waiting: list[Entry[_Row]] = []
        # Of events with these keys it is not known whether an earlier try has written them. If so, no caller has heard
        # that they are new; the first of each gets that answer.
        unsure: set[str] = set()
        more = True
        while more or waiting:
            if not waiting:
                unsure.clear()
                waiting, more = self._group()
            elif (why := self._engine.away or self._write_now(waiting[:GROUP], unsure)) is None:
                waiting = waiting[GROUP:]
            else:
                waiting, more = self._wait(waiting, more, why)
        self._link.close()

    def _write_now(self, entries: Sequence[Entry[_Row]], unsure: set[str]) -> StoreError | None:
        """Commit entries and settle them; where the server is away or busy, settle none and return why."""
        try:
            began = time.perf_counter()
            outcomes = self._commit([entry.row for entry in entries])
        except StoreBusyError as error:
            return error
        except StoreAwayError as error:
            unsure.update(entry.row.event.key for entry in entries)
            with self._lock:
                self._kept.clear()  # another server may be the next one, and lack what this one had
            return error
        except Exception:
            self._write_group(entries)  # fails again, or is written one by one
            return None
        self.observe(time.perf_counter() - began, len(entries))
        if unsure:
            outcomes = [
                _is_taken(unsure, entry.row.event.key) or is_new
                for entry, is_new in zip(entries, outcomes, strict=True)
            ]
        self._settle(entries, outcomes)
        return None

    def _wait(self, waiting: list[Entry[_Row]], more: bool, why: StoreError) -> tuple[list[Entry[_Row]], bool]:
        """Wait a little for the server; return the entries that wait on, with what came, and whether more may come.

        Those that have waited long enough are refused, with why, and all of them at the end.
        """
        batch: list[Entry[_Row]] | None = []
        if more:
            with suppress(queue.Empty):
                batch = self._queue.get(timeout=min(max(waiting[0].at + PATIENCE - time.monotonic(), 0.01), 0.1))
            more = batch is not None
        waiting = [*waiting, *(batch or ())]
        due = time.monotonic() - PATIENCE if more else float("inf")
        refused = [entry for entry in waiting if entry.at <= due]
        if refused:
            self._fail(refused, why)
        return [entry for entry in waiting if entry.at > due], more

    def _settle(self, entries: Sequence[Entry[_Row]], outcomes: Sequence[object]) -> None:
        with self._lock:
            self._waiting -= len(entries)
        super()._settle(entries, outcomes)  # type: ignore[arg-type]


def _is_taken(keys: set[str], key: str) -> bool:
    """Return whether a key was among others; it is not any more."""
    is_there = key in keys
    keys.discard(key)
    return is_there
