"""Another process at an event store, which loads nothing of pytest.

It is run as ``store_process.py write LOCATION SEED COUNT PARTS``, or ``claim LOCATION FIRST``.
"""

from __future__ import annotations

import random
import sys
from datetime import timedelta
from pathlib import Path

from events import START, WORLD, event, sid

from callctl.store.event_store import EventStore
from callctl.store.postgresql.store import PostgresStore
from callctl.store.records import ActionLimit, OpenClaim, Refusal
from callctl.store.sqlite.store import SqliteStore

LEASE = timedelta(seconds=90)


def open_at(location: str) -> EventStore:
    if "://" in location:
        return PostgresStore.open(location, world=WORLD)
    return SqliteStore.open_for_watch(Path(location), world=WORLD)


def write_many(location: str, seed: int, count: int, parts: int) -> None:
    """Store the same events as another process does, in another order; print which were new.

    Each part of them but the first waits for a line on stdin.
    """
    store = open_at(location)
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)
    outcomes = []
    for part in range(parts):
        if part:
            sys.stdin.readline()
        outcomes += [
            (number, store.submit(event(number // 4, "ringing", number=number % 4, at=number)))
            for number in numbers[part::parts]
        ]
    print(*[number for number, outcome in outcomes if outcome.result(timeout=120)])  # noqa: T201
    store.close()


def claim_many(location: str, first: int) -> None:
    """Claim actions as another process does, one for each limit that is typed; print what came of each."""
    store = open_at(location)
    for number, line in enumerate(sys.stdin, first):
        wanted, limit = OpenClaim("rule", sid(number), sid(number), "hangup"), ActionLimit(1000, int(line))
        outcome = store.claim(wanted, now=START, until=START + LEASE, limit=limit)
        print(outcome.name if isinstance(outcome, Refusal) else "claimed", flush=True)  # noqa: T201
    store.close()


if __name__ == "__main__":
    what, where, first, *more = sys.argv[1:]
    if what == "write":
        write_many(where, int(first), *map(int, more))
    else:
        claim_many(where, int(first))
