"""The local store as a watch might have left it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from running import env_for

from callctl.calls.event import CallEvent
from callctl.settings import load
from callctl.simulator import Simulator
from callctl.store.sqlite.store import SqliteStore


@contextmanager
def store_of(home: Path, simulator: Simulator) -> Iterator[SqliteStore]:
    """Open the store that callctl uses in this home with this simulator."""
    settings = load({"HOME": str(home), **env_for(simulator)}, cwd=home)
    store = SqliteStore.open_for_watch(settings.store, world=settings.world)
    try:
        yield store
    finally:
        store.close()


def add_callback(store: SqliteStore, sid: str, status: str, *, at: datetime, **fields: str) -> None:
    """Append a callback's event that was sent at a moment and came a little later."""
    form = {
        "CallSid": sid,
        "CallStatus": status,
        "From": "+15005550006",
        "To": "+12025550100",
        "Timestamp": at.strftime("%a, %d %b %Y %H:%M:%S +0000"),
        **fields,
    }
    arrived = at + timedelta(milliseconds=84)
    store.append(CallEvent.from_form(form.items(), received_at=arrived, world="w", verified=True))
